// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reads the headers of an ELF file, of either class and byte order, and
 * gives access to single fields of its raw structures.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "internal.h"

/* More than real files have; what is beyond is not read. */
#define MAX_PADDING	(1 << 20)
#define MAX_DYNAMIC	(1 << 20)
#define MAX_NOTE	(1 << 16)
#define MAX_NOTES	16

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

/*
 * From the file or the image.  A read that fails is remembered: it must not
 * look like a file that is damaged.
 */
bool pb_read_at(struct pbitmap *pb, void *buffer, size_t size,
		uint64_t offset)
{
	if (!pb->image) {
		if (pb_read(pb->fd, buffer, size, offset))
			return true;
		pb->error = errno;
		return false;
	}
	if (!pb_in_file(pb, offset, size)) {
		pb->error = EIO;
		return false;
	}
	memcpy(buffer, pb->image + offset, size);
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

static int load_phdrs(struct pbitmap *pb, Elf *elf)
{
	const struct pbitmap_options *options = &pb->options;
	size_t i;

	if (elf_getphdrnum(elf, &pb->phnum) ||
	    (pb->phnum && pb->ehdr.e_phentsize !=
	     gelf_fsize(elf, ELF_T_PHDR, 1, EV_CURRENT)) ||
	    !pb_in_file(pb, pb->ehdr.e_phoff,
			pb->phnum * pb->ehdr.e_phentsize))
		goto damaged;
	pb->phdrs = calloc(pb->phnum + 1, sizeof(*pb->phdrs));
	if (!pb->phdrs)
		return pb_fail_errno(options, "program headers");

	for (i = 0; i < pb->phnum; i++) {
		if (!gelf_getphdr(elf, i, &pb->phdrs[i]))
			goto damaged;
		if (pb->phdrs[i].p_type == PT_GNU_STACK)
			pb->stack = &pb->phdrs[i];
	}
	return 0;
damaged:
	return pb_fail(options, PBITMAP_ERR_FORMAT,
		       "damaged program header table");
}

static int load_shdrs(struct pbitmap *pb, Elf *elf)
{
	const struct pbitmap_options *options = &pb->options;
	size_t i;

	if (!pb->ehdr.e_shoff)
		return 0;
	if (elf_getshdrnum(elf, &pb->shnum))
		goto damaged;
	if (!pb->shnum) {
		/* For libelf there is none if it is not in the file. */
		if (pb->ehdr.e_shnum || !pb_in_file(pb, pb->ehdr.e_shoff,
						    pb->shdr_size))
			goto damaged;
		return 0;
	}
	if (elf_getshdrstrndx(elf, &pb->shstrndx) ||
	    pb->shstrndx >= pb->shnum ||
	    pb->ehdr.e_shentsize !=
	    gelf_fsize(elf, ELF_T_SHDR, 1, EV_CURRENT) ||
	    pb->shnum > pb->file_size / pb->ehdr.e_shentsize ||
	    !pb_in_file(pb, pb->ehdr.e_shoff,
			pb->shnum * pb->ehdr.e_shentsize))
		goto damaged;
	pb->shdrs = calloc(pb->shnum, sizeof(*pb->shdrs));
	if (!pb->shdrs)
		return pb_fail_errno(options, "section headers");

	for (i = 0; i < pb->shnum; i++)
		if (!gelf_getshdr(elf_getscn(elf, i), &pb->shdrs[i]))
			goto damaged;
	return 0;
damaged:
	return pb_fail(options, PBITMAP_ERR_FORMAT,
		       "damaged section header table");
}

/* What the checksum that binds a bitmap to the file is taken over. */
static bool load_layout(struct pbitmap *pb)
{
	unsigned char raw[sizeof(Elf64_Phdr)];
	size_t i;

	for (i = 0; i < pb->phnum; i++) {
		if (pb->phdrs[i].p_type != PT_LOAD)
			continue;
		if (!pb_read_at(pb, raw, pb->ehdr.e_phentsize,
				pb_phdr_offset(pb, i)))
			return false;
		pb->layout_crc = crc32(pb->layout_crc, raw,
				       pb->ehdr.e_phentsize);
	}
	return true;
}

static const GElf_Phdr *find_phdr(const struct pbitmap *pb, uint32_t type)
{
	size_t i;

	for (i = 0; i < pb->phnum; i++)
		if (pb->phdrs[i].p_type == type)
			return &pb->phdrs[i];
	return NULL;
}

/* Whether ld.so starts the object as a program; else it is a library. */
static bool is_program(const struct pbitmap *pb, Elf *elf)
{
	const GElf_Phdr *dynamic = find_phdr(pb, PT_DYNAMIC);
	Elf_Data *data;
	GElf_Dyn dyn;
	int i;

	if (!find_phdr(pb, PT_INTERP))
		return false;
	if (pb->ehdr.e_type == ET_EXEC)
		return true;
	if (!dynamic || dynamic->p_filesz > MAX_DYNAMIC ||
	    !pb_in_file(pb, dynamic->p_offset, dynamic->p_filesz))
		return false;
	data = elf_getdata_rawchunk(elf, dynamic->p_offset,
				    dynamic->p_filesz, ELF_T_DYN);
	for (i = 0; data && gelf_getdyn(data, i, &dyn); i++) {
		if (dyn.d_tag == DT_NULL)
			break;
		if (dyn.d_tag == DT_FLAGS_1)
			return dyn.d_un.d_val & DF_1_PIE;
	}
	return false;
}

/* The build-id among the notes of one PT_NOTE. */
static bool find_build_id(struct pbitmap *pb, Elf_Data *data)
{
	size_t at = 0, name, desc;
	GElf_Nhdr note;

	while (data && (at = gelf_getnote(data, at, &note, &name, &desc))) {
		const char *bytes = data->d_buf;

		if (note.n_type != NT_GNU_BUILD_ID || note.n_namesz != 4 ||
		    memcmp(bytes + name, "GNU", 4) || !note.n_descsz ||
		    note.n_descsz > MAX_BUILD_ID)
			continue;
		memcpy(pb->build_id, bytes + desc, note.n_descsz);
		pb->build_id_size = note.n_descsz;
		return true;
	}
	return false;
}

static void load_build_id(struct pbitmap *pb, Elf *elf)
{
	size_t i, n = 0;

	for (i = 0; i < pb->phnum && n < MAX_NOTES; i++) {
		const GElf_Phdr *ph = &pb->phdrs[i];
		Elf_Type type = ph->p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR;

		if (ph->p_type != PT_NOTE || ph->p_filesz > MAX_NOTE ||
		    !pb_in_file(pb, ph->p_offset, ph->p_filesz))
			continue;
		n++;
		if (find_build_id(pb, elf_getdata_rawchunk(elf, ph->p_offset,
							   ph->p_filesz,
							   type)))
			return;
	}
}

/* The last byte of the file that something in its ELF headers speaks of. */
static uint64_t elf_end_offset(const struct pbitmap *pb)
{
	uint64_t end = pb->ehdr.e_shoff +
		       pb->shnum * pb->ehdr.e_shentsize;
	size_t i;

	for (i = 0; i < pb->phnum; i++) {
		const GElf_Phdr *ph = &pb->phdrs[i];

		if (pb_in_file(pb, ph->p_offset, ph->p_filesz) &&
		    ph->p_offset + ph->p_filesz > end)
			end = ph->p_offset + ph->p_filesz;
	}
	for (i = 1; i < pb->shnum; i++) {
		const GElf_Shdr *sh = &pb->shdrs[i];

		if (sh->sh_type != SHT_NOBITS &&
		    pb_in_file(pb, sh->sh_offset, sh->sh_size) &&
		    sh->sh_offset + sh->sh_size > end)
			end = sh->sh_offset + sh->sh_size;
	}
	return end;
}

/*
 * Self-extracting programs look for their data at the end of the file.  Much
 * padding is data too: it is not read to its end.
 */
static bool has_payload(struct pbitmap *pb)
{
	static const char zero[4096];
	uint64_t at = elf_end_offset(pb), n;
	char buffer[sizeof(zero)];

	if (at < pb->file_size && pb->file_size - at > MAX_PADDING)
		return true;
	for (; at < pb->file_size; at += n) {
		n = pb->file_size - at;
		if (n > sizeof(buffer))
			n = sizeof(buffer);
		if (!pb_read_at(pb, buffer, n, at) || memcmp(buffer, zero, n))
			return true;
	}
	return false;
}

static int load(struct pbitmap *pb, Elf *elf)
{
	const struct pbitmap_options *options = &pb->options;
	int ret;

	if (elf_kind(elf) == ELF_K_AR)
		return pb_fail(options, PBITMAP_ERR_NOT_ELF,
			       "an archive, not an ELF file");
	if (elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &pb->ehdr))
		return pb_fail(options, PBITMAP_ERR_NOT_ELF,
			       "not an ELF file");
	pb->is64 = gelf_getclass(elf) == ELFCLASS64;
	pb->little = pb->ehdr.e_ident[EI_DATA] == ELFDATA2LSB;
	pb->shdr_size = gelf_fsize(elf, ELF_T_SHDR, 1, EV_CURRENT);

	ret = load_phdrs(pb, elf);
	if (!ret)
		ret = load_shdrs(pb, elf);
	if (ret)
		return ret;
	pb->program = is_program(pb, elf);
	load_build_id(pb, elf);
	if (load_layout(pb))
		pb->payload = has_payload(pb);
	return pb->error ? pb_fail_read(pb) : pb_find(pb);
}

/* Reads all that is of interest; @image or else @fd, neither is kept. */
static int load_from(int fd, const void *image, uint64_t size,
		     const struct pbitmap_options *options,
		     struct pbitmap **pbp)
{
	struct pbitmap *pb = calloc(1, sizeof(*pb));
	Elf *elf;
	int ret;

	if (!pb)
		return pb_fail_errno(options, "open");
	pb->options = *options;
	pb->fd = fd;
	pb->image = image;
	pb->file_size = size;
	elf_version(EV_CURRENT);
	elf = image ? elf_memory((char *)image, size) :
		      elf_begin(fd, ELF_C_READ, NULL);
	ret = load(pb, elf);
	elf_end(elf);
	pb->image = NULL;
	if (ret) {
		pb_unload(pb);
		return ret;
	}
	*pbp = pb;
	return 0;
}

/* Reads the file open at @fd, which stays the caller's. */
int pb_load(int fd, const struct pbitmap_options *options,
	    struct pbitmap **pbp)
{
	struct stat st;

	if (fstat(fd, &st))
		return pb_fail_errno(options, "stat");
	return load_from(fd, NULL, st.st_size, options, pbp);
}

void pb_unload(struct pbitmap *pb)
{
	free(pb->phdrs);
	free(pb->shdrs);
	free(pb->data);
	free(pb->name);
	pb_free_objects(pb);
	free(pb);
}

EXPORT int pbitmap_open(const char *path,
			const struct pbitmap_options *options,
			struct pbitmap **pbp)
{
	struct pbitmap_options own = pb_options(options);
	int fd, ret;

	fd = pb_open_file(path, &own);
	if (fd < 0)
		return fd;
	ret = pb_load(fd, &own, pbp);
	close(fd);
	return ret;
}

EXPORT int pbitmap_open_fd(int fd, const struct pbitmap_options *options,
			   struct pbitmap **pbp)
{
	struct pbitmap_options own = pb_options(options);

	return pb_load(fd, &own, pbp);
}

EXPORT int pbitmap_open_memory(const void *data, size_t size,
			       const struct pbitmap_options *options,
			       struct pbitmap **pbp)
{
	struct pbitmap_options own = pb_options(options);

	if (!size)
		return pb_fail(&own, PBITMAP_ERR_NOT_ELF, "not an ELF file");
	return load_from(-1, data, size, &own, pbp);
}

EXPORT void pbitmap_close(struct pbitmap *pb)
{
	if (pb)
		pb_unload(pb);
}

EXPORT int pbitmap_build_id(const struct pbitmap *pb,
			    const unsigned char **id)
{
	*id = pb->build_id;
	return pb->build_id_size;
}
