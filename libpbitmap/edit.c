// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Adds a bitmap section to a file and takes it away.  Adding appends the
 * section, the section names and the section headers, in this order and close
 * together so that they can be read in one go; no other byte moves, so that
 * removing can restore the file from a few numbers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "internal.h"

#define NAMES		".shstrtab"

/* What goes behind the file: section, section names, section headers. */
struct tail {
	uint64_t start;		/* in the file, of the section */
	uint64_t section_size;
	uint64_t names_size;
	uint64_t shoff;		/* from the start */
	uint64_t size;
	unsigned char *bytes;
	size_t shndx;		/* of the section */
	size_t shnum;
	size_t shstrndx;
};

static int refuse(const struct pbitmap *pb, const char *why)
{
	return pb_fail(&pb->options, PBITMAP_ERR_REFUSED, "refused: %s", why);
}

/* Why there is no plan for a file: its contents, or a read that failed. */
static int no_plan(const struct pbitmap *pb, const char *why)
{
	return pb->error ? pb_fail_read(pb) : refuse(pb, why);
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

/* Self-extracting programs look for their data at the end of the file. */
static bool has_payload(const struct pbitmap *pb)
{
	static const char zero[4096];
	uint64_t at = elf_end_offset(pb), n;
	char buffer[sizeof(zero)];

	for (; at < pb->file_size; at += n) {
		n = pb->file_size - at;
		if (n > sizeof(buffer))
			n = sizeof(buffer);
		if (!pb_read(pb->fd, buffer, n, at) || memcmp(buffer, zero, n))
			return true;
	}
	return false;
}

/* A file with debugging information only has headers, but no code. */
static bool is_debug_file(const struct pbitmap *pb)
{
	size_t i;

	for (i = 1; i < pb->shnum; i++)
		if (pb->shdrs[i].sh_type == SHT_NOBITS &&
		    pb->shdrs[i].sh_flags & SHF_EXECINSTR)
			return true;
	return false;
}

/* Whether the object is one that can have a bitmap; force changes nothing. */
static int check_object(const struct pbitmap *pb)
{
	const GElf_Shdr *names = pb->shdrs + pb->shstrndx;

	if (pb->linked)
		return refuse(pb, "its bitmap was laid out by the linker");
	if (pb->ehdr.e_type != ET_EXEC && pb->ehdr.e_type != ET_DYN)
		return refuse(pb, "neither executable nor shared object");
	if (pb->ehdr.e_machine == EM_PARISC)
		return refuse(pb, "PA-RISC uses the flag for something else");
	if (!pb->stack)
		return refuse(pb, "no PT_GNU_STACK");
	if (is_debug_file(pb))
		return refuse(pb, "debugging information only");
	if (pb->shstrndx && names->sh_flags & SHF_ALLOC)
		return refuse(pb, "section names are loaded into memory");
	if (pb->shstrndx && (names->sh_type != SHT_STRTAB ||
			     !pb_in_file(pb, names->sh_offset, names->sh_size)))
		return pb_fail(&pb->options, PBITMAP_ERR_FORMAT,
			       "damaged section name table");
	return 0;
}

/* Decides where everything goes. */
static int lay_out(const struct pbitmap *pb, const struct plan *plan,
		   struct tail *tail)
{
	size_t shentsize = gelf_fsize(pb->elf, ELF_T_SHDR, 1, EV_CURRENT);
	uint64_t names_size = sizeof("") + sizeof(PBITMAP_SECTION);

	tail->start = align_up(pb->file_size, 1ULL << plan->header.page_shift);
	tail->section_size = pb_section_size(plan);
	tail->shndx = pb->shnum ? pb->shnum : 1;
	tail->shnum = tail->shndx + 1;
	tail->shstrndx = pb->shstrndx;
	if (pb->shstrndx) {
		names_size += pb->shdrs[pb->shstrndx].sh_size;
	} else {
		names_size += sizeof(NAMES);
		tail->shstrndx = tail->shnum++;
	}
	tail->names_size = names_size;
	tail->shoff = tail->section_size + align_up(names_size, 8);
	tail->size = tail->shoff + tail->shnum * shentsize;
	if (!pb->is64 && tail->start + tail->size > UINT32_MAX)
		return refuse(pb, "too large for its ELF class");

	tail->bytes = calloc(1, tail->size);
	if (!tail->bytes)
		return pb_fail_errno(&pb->options, "section headers");
	return 0;
}

/*
 * The names as they were, a NUL in case they lack the last one, and ours at
 * the very end.
 */
static bool put_names(const struct pbitmap *pb, const struct tail *tail)
{
	unsigned char *names = tail->bytes + tail->section_size;
	unsigned char *end = names + tail->names_size;

	memcpy(end - sizeof(PBITMAP_SECTION), PBITMAP_SECTION,
	       sizeof(PBITMAP_SECTION));
	if (pb->shstrndx) {
		const GElf_Shdr *sh = &pb->shdrs[pb->shstrndx];

		return pb_read(pb->fd, names, sh->sh_size, sh->sh_offset);
	}
	memcpy(names + 1, NAMES, sizeof(NAMES));
	return true;
}

/* The section headers as they were, and ours. */
static bool put_shdrs(const struct pbitmap *pb, const struct plan *plan,
		      const struct tail *tail)
{
	size_t entsize = gelf_fsize(pb->elf, ELF_T_SHDR, 1, EV_CURRENT);
	unsigned char *table = tail->bytes + tail->shoff;
	unsigned char *ours = table + tail->shndx * entsize;
	unsigned char *names = table + tail->shstrndx * entsize;

	if (!pb_read(pb->fd, table, pb->shnum * entsize, pb->ehdr.e_shoff))
		return false;
	if (tail->shnum >= SHN_LORESERVE)
		pb_put(pb, table + FIELD(pb, Shdr, sh_size), tail->shnum);
	if (tail->shstrndx >= SHN_LORESERVE)
		pb_put(pb, table + FIELD(pb, Shdr, sh_link), tail->shstrndx);

	if (!pb->shstrndx) {
		pb_put(pb, names + FIELD(pb, Shdr, sh_name), 1);
		pb_put(pb, names + FIELD(pb, Shdr, sh_type), SHT_STRTAB);
		pb_put(pb, names + FIELD(pb, Shdr, sh_addralign), 1);
	}
	pb_put(pb, names + FIELD(pb, Shdr, sh_offset),
	       tail->start + tail->section_size);
	pb_put(pb, names + FIELD(pb, Shdr, sh_size), tail->names_size);

	pb_put(pb, ours + FIELD(pb, Shdr, sh_name),
	       tail->names_size - sizeof(PBITMAP_SECTION));
	pb_put(pb, ours + FIELD(pb, Shdr, sh_type), SHT_PRESENT_BITMAP);
	pb_put(pb, ours + FIELD(pb, Shdr, sh_offset), tail->start);
	pb_put(pb, ours + FIELD(pb, Shdr, sh_size), tail->section_size);
	pb_put(pb, ours + FIELD(pb, Shdr, sh_addralign),
	       1ULL << plan->header.page_shift);
	return true;
}

static struct undo make_undo(const struct pbitmap *pb,
			     const struct tail *tail)
{
	struct undo undo = {
		.magic = UNDO_MAGIC,
		.size = pb->file_size,
		.shoff = pb->ehdr.e_shoff,
		.shentsize = pb->ehdr.e_shentsize,
		.shnum = pb->ehdr.e_shnum,
		.shstrndx = pb->ehdr.e_shstrndx,
		.stack_flags = pb->stack->p_flags,
		.new_size = tail->start + tail->size,
		.new_shoff = tail->start + tail->shoff,
		.new_shnum = tail->shnum,
	};

	undo.tail_crc = crc32(0, tail->bytes + tail->section_size,
			      tail->size - tail->section_size);
	return undo;
}

static bool poke_ehdr(const struct pbitmap *pb, uint64_t shoff,
		      uint32_t shentsize, uint32_t shnum, uint32_t shstrndx)
{
	return pb_poke(pb, FIELD(pb, Ehdr, e_shoff), shoff) &&
	       pb_poke(pb, FIELD(pb, Ehdr, e_shentsize), shentsize) &&
	       pb_poke(pb, FIELD(pb, Ehdr, e_shnum), shnum) &&
	       pb_poke(pb, FIELD(pb, Ehdr, e_shstrndx), shstrndx);
}

/* Sets the flag on PT_GNU_STACK, if @on, else clears it. */
static bool poke_flag(const struct pbitmap *pb, bool on)
{
	uint64_t at = pb_phdr_offset(pb, pb->stack - pb->phdrs);
	uint32_t flags = pb->stack->p_flags & ~PF_PLEASE_LOAD_SHDRS;

	if (on)
		flags |= PF_PLEASE_LOAD_SHDRS;
	return pb_poke(pb, at + FIELD(pb, Phdr, p_flags), flags);
}

static bool write_tail(const struct pbitmap *pb, const struct tail *tail)
{
	size_t shnum = tail->shnum, shstrndx = tail->shstrndx;

	return pb_write(pb->fd, tail->bytes, tail->size, tail->start) &&
	       poke_ehdr(pb, tail->start + tail->shoff,
			 gelf_fsize(pb->elf, ELF_T_SHDR, 1, EV_CURRENT),
			 shnum < SHN_LORESERVE ? shnum : 0,
			 shstrndx < SHN_LORESERVE ? shstrndx : SHN_XINDEX) &&
	       poke_flag(pb, true);
}

static int append(const struct pbitmap *pb, struct plan *plan)
{
	struct tail tail = { 0 };
	struct undo undo;
	int ret;

	ret = lay_out(pb, plan, &tail);
	if (ret)
		return ret;
	if (!put_names(pb, &tail) || !put_shdrs(pb, plan, &tail)) {
		ret = pb_fail_errno(&pb->options, "read");
		goto out;
	}
	undo = make_undo(pb, &tail);
	pb_fill(pb, plan, &undo, tail.bytes);
	if (!write_tail(pb, &tail))
		ret = pb_fail_errno(&pb->options, "write");
out:
	free(tail.bytes);
	return ret;
}

/* Whether a section that is there already can take the planned bitmap. */
static bool fits(const struct pbitmap *pb, const struct plan *plan)
{
	return pb->page_shift == plan->header.page_shift &&
	       pb->size >= pb_section_size(plan);
}

/* Puts an empty bitmap where a stale one is. */
static int renew(struct pbitmap *pb, struct plan *plan)
{
	struct undo undo;
	bool has_undo = pb_get_undo(pb, &undo);
	unsigned char *section;
	int ret = 0;

	if (pb->error)
		return pb_fail_read(pb);
	section = calloc(1, pb->size);
	if (!section)
		return pb_fail_errno(&pb->options, "section");
	pb_fill(pb, plan, has_undo ? &undo : NULL, section);
	if (!pb_write(pb->fd, section, pb->size, pb->offset) ||
	    !poke_flag(pb, true))
		ret = pb_fail_errno(&pb->options, "write");
	free(section);
	return ret;
}

/*
 * Takes the section out of a file that another tool has rewritten.  Nothing
 * moves here either: its header becomes an unused one, its bytes zero.
 */
static bool drop(const struct pbitmap *pb)
{
	unsigned char zero[4096] = { 0 };
	uint64_t at;

	if (pb->page_shift)
		for (at = 0; at < pb->size; at += sizeof(zero))
			if (!pb_write(pb->fd, zero, sizeof(zero),
				      pb->offset + at))
				return false;
	return pb_write(pb->fd, zero, pb->ehdr.e_shentsize, pb->ehdr.e_shoff +
			pb->shndx * pb->ehdr.e_shentsize);
}

static bool restore(const struct pbitmap *pb, const struct undo *undo)
{
	return poke_ehdr(pb, undo->shoff, undo->shentsize, undo->shnum,
			 undo->shstrndx) &&
	       poke_flag(pb, undo->stack_flags & PF_PLEASE_LOAD_SHDRS) &&
	       !ftruncate(pb->fd, undo->size);
}

/* Takes the bitmap away, and brings the original back if that is possible. */
static int strip(struct pbitmap *pb)
{
	struct undo undo;
	bool exact = pb_get_undo(pb, &undo), done;

	if (pb->error)
		return pb_fail_read(pb);
	if (exact)
		done = restore(pb, &undo);
	else
		done = (!pb->shndx || drop(pb)) &&
		       (!pb->stack || poke_flag(pb, false));
	return done ? 0 : pb_fail_errno(&pb->options, "write");
}

static unsigned int wanted_shift(const struct pbitmap *pb)
{
	if (pb->options.page_size)
		return __builtin_ctz(pb->options.page_size);
	return pb->page_shift ? pb->page_shift : MIN_PAGE_SHIFT;
}

/* Edits the copy of a file: an empty bitmap in place of whatever there is. */
static int edit_add(int fd, const struct pbitmap_options *options)
{
	struct pbitmap *pb;
	struct plan plan;
	const char *why;
	int ret;

	ret = pb_load(fd, options, &pb);
	if (ret)
		return ret;
	why = pb_plan(pb, wanted_shift(pb), &plan);
	if (!why && pb->shndx && !fits(pb, &plan)) {
		ret = strip(pb);
		pb_unload(pb);
		if (!ret)
			ret = pb_load(fd, options, &pb);
		if (ret)
			return ret;
		why = pb_plan(pb, plan.header.page_shift, &plan);
	}
	if (why)
		ret = no_plan(pb, why);
	else
		ret = pb->shndx ? renew(pb, &plan) : append(pb, &plan);
	pb_unload(pb);
	return ret;
}

static int edit_remove(int fd, const struct pbitmap_options *options)
{
	struct pbitmap *pb;
	int ret;

	ret = pb_load(fd, options, &pb);
	if (ret)
		return ret;
	ret = strip(pb);
	pb_unload(pb);
	return ret;
}

static int add(struct pbitmap *pb, const char *path)
{
	const struct pbitmap_options *options = &pb->options;
	unsigned int shift = wanted_shift(pb);
	struct plan plan;
	const char *why;
	int ret;

	if (shift < MIN_PAGE_SHIFT || shift > MAX_PAGE_SHIFT ||
	    (options->page_size && options->page_size != 1U << shift))
		return pb_fail(options, EINVAL, "no such page size");
	if (pb->state == PBITMAP_OK && pb->page_shift == shift)
		return PBITMAP_UNCHANGED;
	ret = check_object(pb);
	if (ret)
		return ret;
	why = pb_plan(pb, shift, &plan);
	if (why)
		return no_plan(pb, why);
	if (!(options->flags & PBITMAP_FORCE) && has_payload(pb))
		return refuse(pb, "data follow the end of the ELF file");
	ret = pb_check_file(pb->fd, options);
	if (ret)
		return ret;
	if (pb->state == PBITMAP_STALE)
		pb_log(options, PBITMAP_LOG_INFO, "replacing stale bitmap: %s",
		       pb->reason);
	ret = pb_replace(path, pb->fd, options, edit_add);
	return ret ? ret : PBITMAP_WRITTEN;
}

static int delete(struct pbitmap *pb, const char *path)
{
	const struct pbitmap_options *options = &pb->options;
	struct undo undo;
	bool exact;
	int ret;

	if (pb->linked)
		return refuse(pb, "its bitmap was laid out by the linker");
	if (!pb->shndx &&
	    !(pb->stack && pb->stack->p_flags & PF_PLEASE_LOAD_SHDRS))
		return PBITMAP_UNCHANGED;
	ret = pb_check_file(pb->fd, options);
	if (ret)
		return ret;
	exact = pb_get_undo(pb, &undo);
	if (pb->error)
		return pb_fail_read(pb);
	ret = pb_replace(path, pb->fd, options, edit_remove);
	if (ret)
		return ret;
	if (exact)
		return PBITMAP_WRITTEN;
	pb_log(options, PBITMAP_LOG_WARNING,
	       "another tool has rewritten the file: not byte-exact");
	return PBITMAP_INEXACT;
}

static int work_on(const char *path, const struct pbitmap_options *options,
		   int (*work)(struct pbitmap *pb, const char *path))
{
	struct pbitmap_options own = pb_options(options);
	struct pbitmap *pb;
	int fd, ret;

	fd = pb_open_file(path, &own);
	if (fd < 0)
		return fd;
	ret = pb_load(fd, &own, &pb);
	if (!ret) {
		ret = work(pb, path);
		pb_unload(pb);
	}
	close(fd);
	return ret;
}

EXPORT int pbitmap_add(const char *path,
		       const struct pbitmap_options *options)
{
	return work_on(path, options, add);
}

EXPORT int pbitmap_remove(const char *path,
			  const struct pbitmap_options *options)
{
	return work_on(path, options, delete);
}
