// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reads the headers of an ELF file, of either class and byte order, and
 * gives access to single fields of its raw structures.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

/* Reads all of it; a short file is EIO. */
bool pb_read(int fd, void *buffer, size_t size, uint64_t offset)
{
	char *p = buffer;

	while (size) {
		ssize_t n = pread(fd, p, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO;
		if (n <= 0)
			return false;
		p += n;
		size -= n;
		offset += n;
	}
	return true;
}

bool pb_write(int fd, const void *buffer, size_t size, uint64_t offset)
{
	const char *p = buffer;

	while (size) {
		ssize_t n = pwrite(fd, p, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		p += n;
		size -= n;
		offset += n;
	}
	return true;
}

/* An integer of @size bytes in the byte order of the file. */
uint64_t pb_get(const struct pbitmap *pb, const void *from, size_t size)
{
	const unsigned char *p = from;
	uint64_t value = 0;
	size_t i;

	for (i = 0; i < size; i++)
		value = value << 8 | p[pb->little ? size - 1 - i : i];
	return value;
}

void pb_put(const struct pbitmap *pb, void *to, size_t size, uint64_t value)
{
	unsigned char *p = to;
	size_t i;

	for (i = 0; i < size; i++, value >>= 8)
		p[pb->little ? i : size - 1 - i] = value;
}

/* Overwrites one integer in the file. */
bool pb_poke(const struct pbitmap *pb, uint64_t offset, size_t size,
	     uint64_t value)
{
	unsigned char bytes[8];

	pb_put(pb, bytes, size, value);
	return pb_write(pb->fd, bytes, size, offset);
}

static int load_phdrs(struct pbitmap *pb)
{
	const struct pbitmap_options *options = &pb->options;
	size_t i;

	if (elf_getphdrnum(pb->elf, &pb->phnum) ||
	    (pb->phnum && pb->ehdr.e_phentsize !=
	     gelf_fsize(pb->elf, ELF_T_PHDR, 1, EV_CURRENT)) ||
	    !pb_in_file(pb, pb->ehdr.e_phoff,
			pb->phnum * pb->ehdr.e_phentsize))
		goto damaged;
	pb->phdrs = calloc(pb->phnum + 1, sizeof(*pb->phdrs));
	if (!pb->phdrs)
		return pb_fail_errno(options, "program headers");

	for (i = 0; i < pb->phnum; i++) {
		if (!gelf_getphdr(pb->elf, i, &pb->phdrs[i]))
			goto damaged;
		if (pb->phdrs[i].p_type == PT_GNU_STACK)
			pb->stack = &pb->phdrs[i];
	}
	return 0;
damaged:
	return pb_fail(options, PBITMAP_ERR_FORMAT,
		       "damaged program header table");
}

static int load_shdrs(struct pbitmap *pb)
{
	const struct pbitmap_options *options = &pb->options;
	size_t i;

	if (!pb->ehdr.e_shoff)
		return 0;
	if (elf_getshdrnum(pb->elf, &pb->shnum))
		goto damaged;
	if (!pb->shnum)
		return 0;
	if (elf_getshdrstrndx(pb->elf, &pb->shstrndx) ||
	    pb->shstrndx >= pb->shnum ||
	    pb->ehdr.e_shentsize !=
	    gelf_fsize(pb->elf, ELF_T_SHDR, 1, EV_CURRENT) ||
	    pb->shnum > pb->file_size / pb->ehdr.e_shentsize ||
	    !pb_in_file(pb, pb->ehdr.e_shoff,
			pb->shnum * pb->ehdr.e_shentsize))
		goto damaged;
	pb->shdrs = calloc(pb->shnum, sizeof(*pb->shdrs));
	if (!pb->shdrs)
		return pb_fail_errno(options, "section headers");

	for (i = 0; i < pb->shnum; i++)
		if (!gelf_getshdr(elf_getscn(pb->elf, i), &pb->shdrs[i]))
			goto damaged;
	return 0;
damaged:
	return pb_fail(options, PBITMAP_ERR_FORMAT,
		       "damaged section header table");
}

static int load(struct pbitmap *pb)
{
	const struct pbitmap_options *options = &pb->options;
	struct stat st;
	int ret;

	if (fstat(pb->fd, &st))
		return pb_fail_errno(options, "stat");
	pb->file_size = st.st_size;

	elf_version(EV_CURRENT);
	pb->elf = elf_begin(pb->fd, ELF_C_READ, NULL);
	if (elf_kind(pb->elf) == ELF_K_AR)
		return pb_fail(options, PBITMAP_ERR_NOT_ELF,
			       "an archive, not an ELF file");
	if (elf_kind(pb->elf) != ELF_K_ELF ||
	    !gelf_getehdr(pb->elf, &pb->ehdr))
		return pb_fail(options, PBITMAP_ERR_NOT_ELF,
			       "not an ELF file");
	pb->is64 = gelf_getclass(pb->elf) == ELFCLASS64;
	pb->little = pb->ehdr.e_ident[EI_DATA] == ELFDATA2LSB;

	ret = load_phdrs(pb);
	if (!ret)
		ret = load_shdrs(pb);
	if (!ret)
		ret = pb_find(pb);
	return ret;
}

/* Reads the headers of the file open at @fd, which stays the caller's. */
int pb_load(int fd, const struct pbitmap_options *options,
	    struct pbitmap **pbp)
{
	struct pbitmap *pb = calloc(1, sizeof(*pb));
	int ret;

	if (!pb)
		return pb_fail_errno(options, "open");
	pb->options = *options;
	pb->fd = fd;
	ret = load(pb);
	if (ret) {
		pb_unload(pb);
		return ret;
	}
	*pbp = pb;
	return 0;
}

void pb_unload(struct pbitmap *pb)
{
	elf_end(pb->elf);
	free(pb->phdrs);
	free(pb->shdrs);
	free(pb->data);
	pb_free_objects(pb);
	free(pb);
}
