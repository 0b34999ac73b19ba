// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The bitmap section: what it has to look like for a file, whether the one
 * that is there does, and what it says.  The format is described in
 * linux/pbitmap.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "internal.h"

/* One field, between file and host order; the same in both directions. */
#define SWAP(pb, field)							\
	pb_put(pb, &(field), sizeof(field), host(&(field), sizeof(field)))

static uint64_t host(const void *from, size_t size)
{
	switch (size) {
	case 2:
		return *(const uint16_t *)from;
	case 4:
		return *(const uint32_t *)from;
	}
	return *(const uint64_t *)from;
}

static void swap_header(const struct pbitmap *pb, struct pbitmap_header *h)
{
	SWAP(pb, h->version);
	SWAP(pb, h->header_size);
	SWAP(pb, h->size);
	SWAP(pb, h->flags);
	SWAP(pb, h->page_shift);
	SWAP(pb, h->nr_segments);
	SWAP(pb, h->launches);
	SWAP(pb, h->updated);
	SWAP(pb, h->layout_crc);
	SWAP(pb, h->header_crc);
	SWAP(pb, h->planes_crc);
	SWAP(pb, h->undo_offset);
	SWAP(pb, h->undo_size);
	SWAP(pb, h->objects_offset);
	SWAP(pb, h->objects_size);
	SWAP(pb, h->objects_crc);
}

static void swap_segment(const struct pbitmap *pb, struct pbitmap_segment *s)
{
	SWAP(pb, s->vaddr);
	SWAP(pb, s->pages);
	SWAP(pb, s->offset);
	SWAP(pb, s->nr_planes);
	SWAP(pb, s->reserved);
}

static void swap_undo(const struct pbitmap *pb, struct undo *u)
{
	SWAP(pb, u->crc);
	SWAP(pb, u->size);
	SWAP(pb, u->shoff);
	SWAP(pb, u->shentsize);
	SWAP(pb, u->shnum);
	SWAP(pb, u->shstrndx);
	SWAP(pb, u->stack_flags);
	SWAP(pb, u->new_size);
	SWAP(pb, u->new_shoff);
	SWAP(pb, u->new_shnum);
	SWAP(pb, u->tail_crc);
}

/* A read that fails must not look like a file that is damaged. */
static bool read_at(struct pbitmap *pb, void *buffer, size_t size,
		    uint64_t offset)
{
	if (pb_read(pb->fd, buffer, size, offset))
		return true;
	pb->error = errno;
	return false;
}

static bool layout_crc(struct pbitmap *pb, uint32_t *crcp)
{
	unsigned char raw[sizeof(Elf64_Phdr)];
	uint32_t crc = 0;
	size_t i;

	for (i = 0; i < pb->phnum; i++) {
		if (pb->phdrs[i].p_type != PT_LOAD)
			continue;
		if (!read_at(pb, raw, pb->ehdr.e_phentsize,
			     pb_phdr_offset(pb, i)))
			return false;
		crc = crc32(crc, raw, pb->ehdr.e_phentsize);
	}
	*crcp = crc;
	return true;
}

/* Entry of the segment table for one PT_LOAD; why there can be none. */
static const char *plan_segment(const struct pbitmap *pb, const GElf_Phdr *ph,
				unsigned int page_shift, struct plan *plan)
{
	uint64_t page = 1ULL << page_shift, start = ph->p_vaddr & -page, bytes;
	unsigned int n = plan->header.nr_segments;
	struct pbitmap_segment *s = &plan->segments[n];

	if (!pb_in_file(pb, ph->p_offset, ph->p_filesz))
		return "a segment reaches past the end of the file";
	if ((ph->p_offset ^ ph->p_vaddr) & (page - 1))
		return "a segment cannot be mapped in pages";
	if (n == PBITMAP_MAX_SEGMENTS)
		return "too many segments";
	if (ph->p_vaddr > UINT64_MAX - page ||
	    ph->p_filesz > UINT64_MAX - page - ph->p_vaddr)
		return "a segment wraps around";

	bytes = ph->p_vaddr - start + ph->p_filesz;
	s->vaddr = start;
	s->pages = align_up(bytes, page) >> page_shift;
	s->nr_planes = PBITMAP_NR_PLANES;
	plan->file_offset[n] = ph->p_offset & -page;
	plan->header.nr_segments++;
	return NULL;
}

/* Whether the object is a program that ld.so starts, and no library. */
static bool is_program(const struct pbitmap *pb)
{
	const GElf_Phdr *dynamic = NULL;
	bool interpreted = false;
	Elf_Data *data;
	GElf_Dyn dyn;
	size_t i;

	for (i = 0; i < pb->phnum; i++) {
		interpreted |= pb->phdrs[i].p_type == PT_INTERP;
		if (pb->phdrs[i].p_type == PT_DYNAMIC)
			dynamic = &pb->phdrs[i];
	}
	if (!interpreted || pb->ehdr.e_type == ET_EXEC)
		return interpreted;
	if (!dynamic || !pb_in_file(pb, dynamic->p_offset, dynamic->p_filesz))
		return false;
	data = elf_getdata_rawchunk(pb->elf, dynamic->p_offset,
				    dynamic->p_filesz, ELF_T_DYN);
	for (i = 0; data && gelf_getdyn(data, i, &dyn); i++) {
		if (dyn.d_tag == DT_NULL)
			break;
		if (dyn.d_tag == DT_FLAGS_1)
			return dyn.d_un.d_val & DF_1_PIE;
	}
	return false;
}

/* Behind the planes: what is left of the pages that are needed anyway. */
static void plan_objects(struct plan *plan)
{
	struct pbitmap_header *h = &plan->header;
	uint64_t end = align_up(h->size + MIN_OBJECTS_SIZE +
				sizeof(struct undo), 1ULL << h->page_shift);
	uint64_t room = end - sizeof(struct undo) - h->size;

	if (room > PBITMAP_MAX_OBJECTS_SIZE)
		room = PBITMAP_MAX_OBJECTS_SIZE;
	if (room > PBITMAP_MAX_SIZE - h->size)
		room = PBITMAP_MAX_SIZE - h->size;
	if (!room)
		return;
	h->objects_offset = h->size;
	h->objects_size = room;
	h->size += room;
}

/*
 * Lays out an empty bitmap for the file.  Returns NULL, or why there can be
 * no bitmap.
 */
const char *pb_plan(struct pbitmap *pb, unsigned int page_shift,
		    struct plan *plan)
{
	struct pbitmap_header *h = &plan->header;
	const char *why;
	uint64_t size;
	size_t i;

	memset(plan, 0, sizeof(*plan));
	for (i = 0; i < pb->phnum; i++) {
		const GElf_Phdr *ph = &pb->phdrs[i];

		if (ph->p_type != PT_LOAD || !ph->p_filesz)
			continue;
		why = plan_segment(pb, ph, page_shift, plan);
		if (why)
			return why;
	}
	if (!h->nr_segments)
		return "no segment has bytes in the file";

	size = sizeof(*h) + h->nr_segments * sizeof(struct pbitmap_segment);
	for (i = 0; i < h->nr_segments; i++) {
		struct pbitmap_segment *s = &plan->segments[i];

		s->offset = size;
		size += PBITMAP_NR_PLANES * PBITMAP_PLANE_SIZE(s->pages);
		if (size > PBITMAP_MAX_SIZE)
			return "the segments are too large";
	}
	h->size = size;
	h->page_shift = page_shift;
	if (is_program(pb))
		plan_objects(plan);

	memcpy(h->magic, PBITMAP_MAGIC, sizeof(h->magic));
	h->version = PBITMAP_VERSION;
	h->header_size = sizeof(*h);
	return layout_crc(pb, &h->layout_crc) ? NULL : "it cannot be read";
}

/* Bytes of a new section: all that is in it, in whole pages. */
uint64_t pb_section_size(const struct plan *plan)
{
	return align_up(plan->header.size + sizeof(struct undo),
			1ULL << plan->header.page_shift);
}

/* Writes an empty bitmap into @section, which is all zero. */
void pb_fill(const struct pbitmap *pb, struct plan *plan,
	     const struct undo *undo, unsigned char *section)
{
	struct pbitmap_header *h = &plan->header;
	uint32_t end = h->size, table_end, crc, i;

	if (undo) {
		struct undo raw = *undo;

		h->undo_offset = end;
		h->undo_size = sizeof(raw);
		swap_undo(pb, &raw);
		raw.crc = 0;
		crc = crc32(0, (void *)&raw, sizeof(raw));
		pb_put(pb, &raw.crc, sizeof(raw.crc), crc);
		memcpy(section + end, &raw, sizeof(raw));
	}

	table_end = h->header_size;
	for (i = 0; i < h->nr_segments; i++) {
		struct pbitmap_segment raw = plan->segments[i];

		swap_segment(pb, &raw);
		memcpy(section + table_end, &raw, sizeof(raw));
		table_end += sizeof(raw);
	}
	h->planes_crc = crc32(0, section + table_end,
			      pb_planes_end(h) - table_end);
	if (h->objects_offset)
		h->objects_crc = crc32(0, section + h->objects_offset,
				       h->objects_size);

	memcpy(section, h, sizeof(*h));
	swap_header(pb, (void *)section);
	crc = crc32(0, section, table_end);
	pb_put(pb, section + offsetof(struct pbitmap_header, header_crc),
	       sizeof(h->header_crc), crc);
}

static bool overlaps(const struct pbitmap *pb, uint64_t start, uint64_t end)
{
	return start < end && start < pb->offset + pb->size &&
	       pb->offset < end;
}

/* Whether the section owns whole pages, apart from all that is mapped. */
static bool placed(const struct pbitmap *pb, uint64_t page)
{
	size_t i;

	if (!pb->size || !pb_in_file(pb, pb->offset, pb->size) ||
	    (pb->offset | pb->size) & (page - 1))
		return false;
	if (overlaps(pb, 0, pb->ehdr.e_ehsize) ||
	    overlaps(pb, pb->ehdr.e_phoff, pb_phdr_offset(pb, pb->phnum)) ||
	    overlaps(pb, pb->ehdr.e_shoff, pb->ehdr.e_shoff +
		     pb->shnum * pb->ehdr.e_shentsize))
		return false;
	for (i = 0; i < pb->phnum; i++) {
		const GElf_Phdr *ph = &pb->phdrs[i];

		if (ph->p_type != PT_LOAD || !ph->p_filesz)
			continue;
		if (!pb_in_file(pb, ph->p_offset, ph->p_filesz) ||
		    overlaps(pb, ph->p_offset & -page,
			     align_up(ph->p_offset + ph->p_filesz, page)))
			return false;
	}
	for (i = 1; i < pb->shnum; i++) {
		const GElf_Shdr *sh = &pb->shdrs[i];

		if (i == pb->shndx || sh->sh_type == SHT_NOBITS)
			continue;
		if (pb_in_file(pb, sh->sh_offset, sh->sh_size) &&
		    overlaps(pb, sh->sh_offset, sh->sh_offset + sh->sh_size))
			return false;
	}
	return true;
}

/* Reads the first header.size bytes; why they are not to be believed. */
static const char *read_section(struct pbitmap *pb)
{
	struct pbitmap_header *h = &pb->header;

	if (!placed(pb, 1 << MIN_PAGE_SHIFT))
		return "the section lies where it must not";
	pb->page_shift = MIN_PAGE_SHIFT;
	if (!read_at(pb, h, sizeof(*h), pb->offset))
		return "it cannot be read";
	swap_header(pb, h);
	if (memcmp(h->magic, PBITMAP_MAGIC, sizeof(h->magic)))
		return "the section does not begin with a bitmap";
	if (h->version != PBITMAP_VERSION)
		return "the version is unknown";
	pb->readable = true;

	if (h->page_shift < MIN_PAGE_SHIFT || h->page_shift > MAX_PAGE_SHIFT ||
	    !placed(pb, 1ULL << h->page_shift))
		return "the page size does not fit";
	pb->page_shift = h->page_shift;
	if (h->size > PBITMAP_MAX_SIZE || h->size > pb->size ||
	    h->header_size < sizeof(*h) ||
	    h->nr_segments > PBITMAP_MAX_SEGMENTS ||
	    h->header_size + h->nr_segments * sizeof(struct pbitmap_segment) >
	    h->size)
		return "the header is damaged";
	pb->data = malloc(h->size);
	if (!pb->data) {
		pb->error = ENOMEM;
		return "it cannot be read";
	}
	if (!read_at(pb, pb->data, h->size, pb->offset))
		return "it cannot be read";
	return NULL;
}

/* Whether the planes of segment @n lie where they may. */
static bool planes_placed(const struct pbitmap *pb, unsigned int n,
			  uint32_t table_end)
{
	const struct pbitmap_segment *segments = pb->plan.segments;
	const struct pbitmap_segment *s = &segments[n];
	uint64_t size = PBITMAP_NR_PLANES * PBITMAP_PLANE_SIZE(s->pages);
	uint32_t end = pb_planes_end(&pb->header);
	unsigned int i;

	if (s->offset % 8 || s->offset < table_end ||
	    s->offset > end || size > end - s->offset)
		return false;
	for (i = 0; i < n; i++)
		if (s->offset < segments[i].offset + PBITMAP_NR_PLANES *
		    PBITMAP_PLANE_SIZE(segments[i].pages) &&
		    segments[i].offset < s->offset + size)
			return false;
	return true;
}

/* Takes the offsets of the planes over into the plan, if the rest fits it. */
static const char *check_table(struct pbitmap *pb, uint32_t table_end)
{
	const unsigned char *table = pb->data + pb->header.header_size;
	unsigned int i;

	for (i = 0; i < pb->header.nr_segments; i++) {
		struct pbitmap_segment *s = &pb->plan.segments[i], in_file;

		memcpy(&in_file, table + i * sizeof(in_file), sizeof(in_file));
		swap_segment(pb, &in_file);
		if (in_file.vaddr != s->vaddr || in_file.pages != s->pages ||
		    in_file.nr_planes != s->nr_planes)
			return "made for other segments";
		s->offset = in_file.offset;
		if (!planes_placed(pb, i, table_end))
			return "the segment table is damaged";
	}
	return NULL;
}

static uint32_t header_crc(const struct pbitmap *pb, uint32_t table_end)
{
	const size_t at = offsetof(struct pbitmap_header, header_crc);
	const unsigned char zero[4] = { 0 };
	uint32_t crc;

	crc = crc32(0, pb->data, at);
	crc = crc32(crc, zero, sizeof(zero));
	return crc32(crc, pb->data + at + sizeof(zero),
		     table_end - at - sizeof(zero));
}

/* Why the bitmap is stale, or NULL if it is valid. */
static const char *check(struct pbitmap *pb)
{
	struct pbitmap_header *h = &pb->header;
	uint32_t table_end;
	const char *why;

	why = read_section(pb);
	if (why)
		return why;
	table_end = h->header_size +
		    h->nr_segments * sizeof(struct pbitmap_segment);
	if (header_crc(pb, table_end) != h->header_crc ||
	    (h->objects_offset &&
	     (h->objects_offset < table_end || h->objects_offset > h->size ||
	      h->objects_size != h->size - h->objects_offset ||
	      h->objects_size > PBITMAP_MAX_OBJECTS_SIZE)))
		return "the header is damaged";
	why = pb_plan(pb, h->page_shift, &pb->plan);
	if (why)
		return why;
	if (pb->plan.header.layout_crc != h->layout_crc ||
	    pb->plan.header.nr_segments != h->nr_segments)
		return "made for other segments";
	why = check_table(pb, table_end);
	if (why)
		return why;
	if (crc32(0, pb->data + table_end, pb_planes_end(h) - table_end) !=
	    h->planes_crc)
		return "the planes are damaged";
	if (h->objects_offset && crc32(0, pb->data + h->objects_offset,
				       h->objects_size) != h->objects_crc)
		return "the list of objects is damaged";
	why = pb_read_objects(pb);
	if (why)
		return why;
	if (!pb->linked &&
	    !(pb->stack && pb->stack->p_flags & PF_PLEASE_LOAD_SHDRS))
		return "PT_GNU_STACK does not say that it is there";
	return NULL;
}

/* Finds the file's bitmap section and judges it. */
int pb_find(struct pbitmap *pb)
{
	size_t i;

	for (i = 1; i < pb->shnum; i++) {
		const GElf_Shdr *sh = &pb->shdrs[i];

		if (sh->sh_type != SHT_PRESENT_BITMAP)
			continue;
		if (pb->shndx)
			return pb_fail(&pb->options, PBITMAP_ERR_FORMAT,
				       "two bitmap sections");
		pb->shndx = i;
		pb->offset = sh->sh_offset;
		pb->size = sh->sh_size;
		pb->linked = sh->sh_addr || sh->sh_flags & SHF_ALLOC;
	}
	for (i = 0; i < pb->phnum; i++) {
		const GElf_Phdr *ph = &pb->phdrs[i];

		if (ph->p_type != PT_PRESENT_BITMAP)
			continue;
		pb->linked = true;
		pb->offset = ph->p_offset;
		pb->size = ph->p_filesz;
	}
	if (!pb->shndx && !pb->linked)
		return 0;

	pb->reason = check(pb);
	if (pb->error)
		return pb_fail_read(pb);
	pb->state = pb->reason ? PBITMAP_STALE : PBITMAP_OK;
	return 0;
}

/* CRC of the file from the end of the section. */
static bool tail_crc(struct pbitmap *pb, uint32_t *crcp)
{
	uint64_t at = pb->offset + pb->size;
	unsigned char buffer[4096];
	uint32_t crc = 0;

	while (at < pb->file_size) {
		size_t n = sizeof(buffer);

		if (n > pb->file_size - at)
			n = pb->file_size - at;
		if (!read_at(pb, buffer, n, at))
			return false;
		crc = crc32(crc, buffer, n);
		at += n;
	}
	*crcp = crc;
	return true;
}

/*
 * The undo record, if there is one and the file is still what pbitmap_add()
 * left.  It has a CRC of its own, so a damaged header does not matter much.
 * When it could not be read, pb->error says so.
 */
bool pb_get_undo(struct pbitmap *pb, struct undo *undo)
{
	const struct pbitmap_header *h = &pb->header;
	uint32_t crc, tail;

	if (!pb->readable || pb->linked || !pb->shndx || !pb->stack ||
	    !h->undo_offset || h->undo_size != sizeof(*undo) ||
	    h->undo_offset > pb->size ||
	    pb->size - h->undo_offset < sizeof(*undo) ||
	    !read_at(pb, undo, sizeof(*undo), pb->offset + h->undo_offset))
		return false;
	if (memcmp(undo->magic, UNDO_MAGIC, sizeof(undo->magic)))
		return false;
	crc = pb_get(pb, &undo->crc, sizeof(undo->crc));
	undo->crc = 0;
	if (crc32(0, (void *)undo, sizeof(*undo)) != crc)
		return false;
	swap_undo(pb, undo);
	return undo->new_size == pb->file_size &&
	       undo->new_shoff == pb->ehdr.e_shoff &&
	       undo->new_shnum == pb->shnum &&
	       undo->size <= pb->offset &&
	       tail_crc(pb, &tail) && undo->tail_crc == tail;
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

EXPORT void pbitmap_close(struct pbitmap *pb)
{
	if (pb)
		pb_unload(pb);
}

static uint64_t predicted(const struct pbitmap *pb, unsigned int n)
{
	const struct pbitmap_segment *s = &pb->plan.segments[n];
	const unsigned char *plane = pb->data + s->offset;
	uint64_t page, count = 0;

	for (page = 0; page < s->pages; page++)
		count += plane[page / 8] >> page % 8 & 1;
	return count;
}

EXPORT int pbitmap_get_info(const struct pbitmap *pb,
			    struct pbitmap_info *info)
{
	struct pbitmap_info own = {
		.sz = info->sz,
		.state = pb->state,
		.reason = pb->reason,
	};
	unsigned int i;

	if (pb->state == PBITMAP_OK) {
		own.launches = pb->header.launches;
		own.updated = pb->header.updated;
		own.page_size = 1U << pb->header.page_shift;
		own.nr_segments = pb->header.nr_segments;
		own.nr_objects = pb->nr_objects;
		own.objects_size = pb->header.objects_offset ?
				   pb->header.objects_size : 0;
		for (i = 0; i < own.nr_segments; i++) {
			own.pages += pb->plan.segments[i].pages;
			own.predicted += predicted(pb, i);
		}
	}
	memcpy(info, &own, info->sz < sizeof(own) ? info->sz : sizeof(own));
	return 0;
}

EXPORT int pbitmap_get_segment(const struct pbitmap *pb, unsigned int segment,
			       struct pbitmap_segment_info *info)
{
	struct pbitmap_segment_info own = { .sz = info->sz };

	if (pb->state != PBITMAP_OK || segment >= pb->header.nr_segments)
		return -EINVAL;
	own.vaddr = pb->plan.segments[segment].vaddr;
	own.file_offset = pb->plan.file_offset[segment];
	own.pages = pb->plan.segments[segment].pages;
	own.predicted = predicted(pb, segment);
	memcpy(info, &own, info->sz < sizeof(own) ? info->sz : sizeof(own));
	return 0;
}

EXPORT int pbitmap_counter(const struct pbitmap *pb, unsigned int segment,
			   uint64_t page)
{
	const struct pbitmap_segment *s;
	const unsigned char *high, *low;

	if (pb->state != PBITMAP_OK || segment >= pb->header.nr_segments)
		return -EINVAL;
	s = &pb->plan.segments[segment];
	if (page >= s->pages)
		return -EINVAL;
	high = pb->data + s->offset;
	low = high + PBITMAP_PLANE_SIZE(s->pages);
	return (high[page / 8] >> page % 8 & 1) * 2 +
	       (low[page / 8] >> page % 8 & 1);
}
