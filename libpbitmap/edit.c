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

/*
 * Whether another section has bytes behind the end of the file, where what is
 * appended would lie.
 */
static bool has_lost_section(const struct pbitmap *pb)
{
	size_t i;

	for (i = 1; i < pb->shnum; i++) {
		const GElf_Shdr *sh = &pb->shdrs[i];

		if (i != pb->shndx && sh->sh_type != SHT_NOBITS &&
		    sh->sh_size &&
		    !pb_in_file(pb, sh->sh_offset, sh->sh_size))
			return true;
	}
	return false;
}

/* Whether the object is one that can have a bitmap; force changes nothing. */
static int check_object(const struct pbitmap *pb)
{
	const GElf_Shdr *names = NULL;

	if (pb->shstrndx)
		names = &pb->shdrs[pb->shstrndx];
	if (pb->ehdr.e_type != ET_EXEC && pb->ehdr.e_type != ET_DYN)
		return pb_refuse(pb, "neither executable nor shared object");
	if (pb->ehdr.e_machine == EM_PARISC)
		return pb_refuse(pb, "PA-RISC uses the flag for something"
				 " else");
	if (!pb->stack)
		return pb_refuse(pb, "no PT_GNU_STACK");
	if (is_debug_file(pb))
		return pb_refuse(pb, "debugging information only");
	if (names && names->sh_flags & SHF_ALLOC)
		return pb_refuse(pb, "section names are loaded into memory");
	if (names && (names->sh_type != SHT_STRTAB ||
		      !pb_in_file(pb, names->sh_offset, names->sh_size)))
		return pb_fail(&pb->options, PBITMAP_ERR_FORMAT,
			       "damaged section name table");
	if (has_lost_section(pb))
		return pb_refuse(pb, "a section reaches past the end of the"
				 " file");
	return 0;
}

/* Bytes of a new section: all that is in it, in whole pages. */
static uint64_t section_size(const struct plan *plan)
{
	return align_up(align_up(plan->header.size, 8) + sizeof(struct undo),
			1ULL << plan->header.page_shift);
}

/* Where everything goes; the bytes come later. */
static void lay_out(const struct pbitmap *pb, const struct plan *plan,
		    struct tail *tail)
{
	uint64_t names_size = sizeof("") + sizeof(PBITMAP_SECTION);

	tail->start = align_up(pb->file_size, 1ULL << plan->header.page_shift);
	tail->section_size = section_size(plan);
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
	tail->size = tail->shoff + tail->shnum * pb->shdr_size;
}

static uint64_t end_of_tail(const struct pbitmap *pb, const struct plan *plan)
{
	struct tail tail;

	lay_out(pb, plan, &tail);
	return tail.start + tail.size;
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
	size_t entsize = pb->shdr_size;
	unsigned char *table = tail->bytes + tail->shoff;
	unsigned char *ours = table + tail->shndx * entsize;
	unsigned char *names = table + tail->shstrndx * entsize;

	if (pb->shnum && !pb_read(pb->fd, table, pb->shnum * entsize,
				  pb->ehdr.e_shoff))
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
			 pb->shdr_size,
			 shnum < SHN_LORESERVE ? shnum : 0,
			 shstrndx < SHN_LORESERVE ? shstrndx : SHN_XINDEX) &&
	       poke_flag(pb, true);
}

/*
 * The section of @size bytes as @from says, with the undo record, if any.
 * @to is all zero.
 */
static void fill(struct pbitmap *from, const struct undo *undo, uint64_t size,
		 unsigned char *to)
{
	struct pbitmap_header *h = &from->header;
	uint64_t at = align_up(h->size, 8);

	h->undo_offset = h->undo_size = 0;
	if (undo && at + sizeof(*undo) <= size) {
		h->undo_offset = at;
		h->undo_size = sizeof(*undo);
		pb_put_undo(from, undo, to + at);
	}
	pb_seal(from);
	memcpy(to, from->data, h->size);
}

static int append(const struct pbitmap *pb, struct pbitmap *from)
{
	struct tail tail = { 0 };
	struct undo undo;
	int ret = 0;

	lay_out(pb, &from->plan, &tail);
	tail.bytes = calloc(1, tail.size);
	if (!tail.bytes)
		return pb_fail_errno(&pb->options, "section headers");
	if (!put_names(pb, &tail) || !put_shdrs(pb, &from->plan, &tail)) {
		ret = pb_fail_errno(&pb->options, "read");
		goto out;
	}
	undo = make_undo(pb, &tail);
	fill(from, &undo, tail.section_size, tail.bytes);
	if (!write_tail(pb, &tail))
		ret = pb_fail_errno(&pb->options, "write");
out:
	free(tail.bytes);
	return ret;
}

/* Whether a section that is there already can take the planned bitmap. */
static bool fits(const struct pbitmap *pb, const struct plan *plan)
{
	return pb_placed(pb, 1ULL << plan->header.page_shift) &&
	       pb->size >= align_up(pb_planes_end(&plan->header), 8) +
			   sizeof(struct undo);
}

/* What remove has to do where the linker reserved the section. */
static struct undo make_undo_in_place(const struct pbitmap *pb)
{
	struct undo undo = {
		.magic = UNDO_MAGIC,
		.size = pb->file_size,
		.shoff = pb->ehdr.e_shoff,
		.shentsize = pb->ehdr.e_shentsize,
		.shnum = pb->ehdr.e_shnum,
		.shstrndx = pb->ehdr.e_shstrndx,
		.stack_flags = pb->stack->p_flags,
		.new_size = pb->file_size,
		.new_shoff = pb->ehdr.e_shoff,
		.new_shnum = pb->shnum,
	};

	return undo;
}

/* Whether nobody has written into the section, and it is all zero. */
static bool is_blank(const struct pbitmap *pb, const unsigned char *section)
{
	uint64_t i;

	for (i = 0; i < pb->size; i++)
		if (section[i])
			return false;
	return !(pb->stack->p_flags & PF_PLEASE_LOAD_SHDRS);
}

/* Puts the bitmap into the section that is there. */
static int renew(struct pbitmap *pb, struct pbitmap *from)
{
	unsigned char *section = malloc(pb->size);
	bool exact = pb->exact;
	int ret = 0;

	if (!section || !pb_read(pb->fd, section, pb->size, pb->offset)) {
		ret = pb_fail_errno(&pb->options, "section");
		goto out;
	}
	if (is_blank(pb, section)) {
		pb->undo = make_undo_in_place(pb);
		exact = true;
	}
	memset(section, 0, pb->size);
	fill(from, exact ? &pb->undo : NULL, pb->size, section);
	if (!pb_write(pb->fd, section, pb->size, pb->offset) ||
	    !poke_flag(pb, true))
		ret = pb_fail_errno(&pb->options, "write");
out:
	free(section);
	return ret;
}

static bool put_zeros(const struct pbitmap *pb)
{
	static const unsigned char zero[4096];
	uint64_t at;

	for (at = 0; at < pb->size; at += sizeof(zero))
		if (!pb_write(pb->fd, zero, sizeof(zero), pb->offset + at))
			return false;
	return true;
}

/*
 * Takes the section out of a file that another tool has rewritten.  Nothing
 * moves here either: its header becomes an unused one, its bytes zero.
 */
static bool drop(const struct pbitmap *pb)
{
	static const unsigned char zero[sizeof(Elf64_Shdr)];

	if (pb->placed && !put_zeros(pb))
		return false;
	return pb->linked || !pb->shndx ||
	       pb_write(pb->fd, zero, pb->ehdr.e_shentsize,
			pb->ehdr.e_shoff + pb->shndx * pb->ehdr.e_shentsize);
}

static bool restore(const struct pbitmap *pb)
{
	const struct undo *undo = &pb->undo;

	if (!poke_flag(pb, undo->stack_flags & PF_PLEASE_LOAD_SHDRS))
		return false;
	if (undo->size == pb->file_size)
		return put_zeros(pb);
	return poke_ehdr(pb, undo->shoff, undo->shentsize, undo->shnum,
			 undo->shstrndx) &&
	       !ftruncate(pb->fd, undo->size);
}

/* Takes the bitmap away, and brings the original back if that is possible. */
static int strip(struct pbitmap *pb)
{
	bool done;

	if (pb->exact)
		done = restore(pb);
	else
		done = drop(pb) && (!pb->stack || poke_flag(pb, false));
	return done ? 0 : pb_fail_errno(&pb->options, "write");
}

static unsigned int wanted_shift(const struct pbitmap *pb)
{
	const struct pbitmap_header *h = &pb->header;

	if (pb->options.page_size)
		return __builtin_ctz(pb->options.page_size);
	return pb->readable && h->page_shift >= MIN_PAGE_SHIFT &&
	       h->page_shift <= MAX_PAGE_SHIFT &&
	       pb_placed(pb, 1ULL << h->page_shift) ?
	       h->page_shift : MIN_PAGE_SHIFT;
}

/* An empty bitmap, in the section that is there or in one to be appended. */
static int prepare(struct pbitmap *pb, unsigned int shift)
{
	const struct pbitmap_options *options = &pb->options;
	struct plan plan;
	const char *why;
	int ret;

	ret = check_object(pb);
	if (ret)
		return ret;
	why = pb_plan(pb, shift, &plan);
	if (why)
		return pb_refuse(pb, why);
	if (pb_has_section(pb) && fits(pb, &plan)) {
		if (pb->program)
			pb_plan_room(&plan, pb->size);
	} else if (pb->linked) {
		return pb_refuse(pb, "the linker left no room of its own for"
				 " a bitmap");
	} else if (pb->payload && !(options->flags & PBITMAP_FORCE)) {
		return pb_refuse(pb, "data follow the end of the ELF file");
	} else if (!pb->is64 && end_of_tail(pb, &plan) > UINT32_MAX) {
		return pb_refuse(pb, "too large for its ELF class");
	}
	if (pb->state == PBITMAP_STALE)
		pb_log(options, PBITMAP_LOG_INFO, "replacing stale bitmap: %s",
		       pb->reason);
	if (!pb_make_empty(pb, &plan))
		return pb_fail_errno(options, "bitmap");
	return PBITMAP_WRITTEN;
}

EXPORT int pbitmap_prepare(struct pbitmap *pb)
{
	const struct pbitmap_options *options = &pb->options;
	unsigned int shift = wanted_shift(pb);

	if (pb->name)
		return -EINVAL;
	if (shift < MIN_PAGE_SHIFT || shift > MAX_PAGE_SHIFT ||
	    (options->page_size && options->page_size != 1U << shift))
		return pb_fail(options, EINVAL, "no such page size");
	if (pb->state == PBITMAP_OK && pb->header.page_shift == shift)
		return PBITMAP_UNCHANGED;
	return prepare(pb, shift);
}

/* Edits the copy of a file: the bitmap of the handle @arg. */
static int edit_write(int fd, const struct pbitmap_options *options,
		      void *arg)
{
	struct pbitmap *from = arg, *pb;
	int ret;

	ret = pb_load(fd, options, &pb);
	if (ret)
		return ret;
	if (pb_has_section(pb) && !fits(pb, &from->plan)) {
		ret = strip(pb);
		pb_unload(pb);
		if (!ret)
			ret = pb_load(fd, options, &pb);
		if (ret)
			return ret;
	}
	ret = pb_has_section(pb) ? renew(pb, from) : append(pb, from);
	pb_unload(pb);
	return ret;
}

/* Edits the copy of a file that is not to have a bitmap. */
static int edit_remove(int fd, const struct pbitmap_options *options,
		       void *arg)
{
	struct pbitmap *pb;
	int ret;

	(void)arg;
	ret = pb_load(fd, options, &pb);
	if (ret)
		return ret;
	ret = strip(pb);
	pb_unload(pb);
	return ret;
}

/* A copy that is like the file, for --output where nothing is to be done. */
static int edit_nothing(int fd, const struct pbitmap_options *options,
			void *arg)
{
	(void)fd;
	(void)options;
	(void)arg;
	return 0;
}

static int unchanged(const struct pbitmap *pb, const char *path)
{
	int ret = 0;

	if (pb->options.output)
		ret = pb_replace(path, pb->fd, &pb->options, edit_nothing,
				 NULL);
	return ret ? ret : PBITMAP_UNCHANGED;
}

/* Whether the file is still what the handle was read from. */
static bool is_same_file(const struct pbitmap *pb, const struct pbitmap *now)
{
	return pb->file_size == now->file_size &&
	       !memcmp(&pb->ehdr, &now->ehdr, sizeof(pb->ehdr)) &&
	       pb->phnum == now->phnum && pb->shnum == now->shnum &&
	       !memcmp(pb->phdrs, now->phdrs,
		       pb->phnum * sizeof(*pb->phdrs)) &&
	       (!pb->shnum || !memcmp(pb->shdrs, now->shdrs,
				      pb->shnum * sizeof(*pb->shdrs))) &&
	       pb->layout_crc == now->layout_crc &&
	       pb->file_crc == now->file_crc;
}

/* @now is the file as it is at this moment. */
static int write_over(struct pbitmap *pb, struct pbitmap *now,
		      const char *path)
{
	const struct pbitmap_options *options = &now->options;
	int ret;

	if (!is_same_file(pb, now))
		return pb_fail(options, PBITMAP_ERR_CHANGED,
			       "changed while it was worked on");
	pb_seal(pb);
	if (!pb->fresh && now->state == PBITMAP_OK &&
	    now->header.size == pb->header.size &&
	    !memcmp(now->data, pb->data, pb->header.size))
		return unchanged(now, path);
	ret = pb_check_file(now->fd, options);
	if (!ret)
		ret = pb_replace(path, now->fd, options, edit_write, pb);
	if (ret)
		return ret;
	return PBITMAP_WRITTEN;
}

static int delete(struct pbitmap *pb, const char *path)
{
	const struct pbitmap_options *options = &pb->options;
	int ret;

	if (!pb_has_section(pb) &&
	    !(pb->stack && pb->stack->p_flags & PF_PLEASE_LOAD_SHDRS))
		return unchanged(pb, path);
	if (pb->linked && !pb->placed)
		return pb_refuse(pb, "the linker left no room of its own for"
				 " a bitmap");
	ret = pb_check_file(pb->fd, options);
	if (ret)
		return ret;
	ret = pb_replace(path, pb->fd, options, edit_remove, NULL);
	if (ret)
		return ret;
	if (pb->exact)
		return PBITMAP_WRITTEN;
	pb_log(options, PBITMAP_LOG_WARNING,
	       "another tool has rewritten the file: not byte-exact");
	return PBITMAP_INEXACT;
}

static int add(struct pbitmap *pb, const char *path)
{
	int ret;

	ret = pbitmap_prepare(pb);
	if (ret < 0)
		return ret;
	if (ret == PBITMAP_UNCHANGED)
		return unchanged(pb, path);
	ret = pb_check_file(pb->fd, &pb->options);
	if (!ret)
		ret = pb_replace(path, pb->fd, &pb->options, edit_write, pb);
	return ret ? ret : PBITMAP_WRITTEN;
}

/* Calls @work with a handle for the file, and the descriptor open. */
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

EXPORT int pbitmap_write(struct pbitmap *pb, const char *path,
			 const struct pbitmap_options *options)
{
	struct pbitmap_options own = pb_options(options);
	struct pbitmap *now;
	int fd, ret;

	ret = pb_want_valid(pb);
	if (ret)
		return ret;
	if (pb->name)
		return -EINVAL;
	fd = pb_open_file(path, &own);
	if (fd < 0)
		return fd;
	ret = pb_load(fd, &own, &now);
	if (!ret) {
		ret = write_over(pb, now, path);
		pb_unload(now);
	}
	close(fd);
	return ret;
}
