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

/* More than any section names and headers: of what is beyond no CRC is made. */
#define MAX_TAIL	(64 << 20)

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

/*
 * The objects get what is left of a section of @section_size bytes behind the
 * planes, but for the undo record.
 */
void pb_plan_room(struct plan *plan, uint64_t section_size)
{
	struct pbitmap_header *h = &plan->header;
	uint64_t room;

	h->size = pb_planes_end(h);
	h->objects_offset = h->objects_size = 0;
	if (section_size <= h->size + sizeof(struct undo))
		return;
	room = (section_size - sizeof(struct undo) - h->size) & -8ULL;
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
const char *pb_plan(const struct pbitmap *pb, unsigned int page_shift,
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

	memcpy(h->magic, PBITMAP_MAGIC, sizeof(h->magic));
	h->version = PBITMAP_VERSION;
	h->header_size = sizeof(*h);
	h->size = size;
	h->page_shift = page_shift;
	h->layout_crc = pb->layout_crc;
	if (pb->program)
		pb_plan_room(plan, align_up(size + MIN_OBJECTS_SIZE +
					    sizeof(struct undo),
					    1ULL << page_shift));
	return NULL;
}

/* Makes the handle hold an empty bitmap. */
bool pb_make_empty(struct pbitmap *pb, const struct plan *plan)
{
	unsigned char *data = calloc(1, plan->header.size), *to = data;
	unsigned int i;

	if (!data)
		return false;
	free(pb->data);
	pb_free_objects(pb);
	pb->data = data;
	pb->plan = *plan;
	pb->header = plan->header;
	to += plan->header.header_size;
	for (i = 0; i < plan->header.nr_segments; i++) {
		struct pbitmap_segment raw = plan->segments[i];

		swap_segment(pb, &raw);
		memcpy(to, &raw, sizeof(raw));
		to += sizeof(raw);
	}
	pb->fresh = true;
	pb->state = PBITMAP_OK;
	pb->reason = NULL;
	return true;
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

/* Brings what is to be written up to what the handle says. */
void pb_seal(struct pbitmap *pb)
{
	const size_t at = offsetof(struct pbitmap_header, header_crc);
	struct pbitmap_header *h = &pb->header;
	uint32_t table_end = pb_table_end(h);

	if (pb->objects_changed)
		pb_put_objects(pb);
	h->planes_crc = crc32(0, pb->data + table_end,
			      pb_planes_end(h) - table_end);
	if (h->objects_offset)
		h->objects_crc = crc32(0, pb->data + h->objects_offset,
				       h->objects_size);
	memcpy(pb->data, h, sizeof(*h));
	swap_header(pb, (void *)pb->data);
	h->header_crc = header_crc(pb, table_end);
	pb_put(pb, pb->data + at, sizeof(h->header_crc), h->header_crc);
}

/* The undo record as it stands in the file. */
void pb_put_undo(const struct pbitmap *pb, const struct undo *undo,
		 unsigned char *to)
{
	struct undo raw = *undo;
	uint32_t crc;

	swap_undo(pb, &raw);
	raw.crc = 0;
	crc = crc32(0, (void *)&raw, sizeof(raw));
	pb_put(pb, &raw.crc, sizeof(raw.crc), crc);
	memcpy(to, &raw, sizeof(raw));
}

static bool overlaps(const struct pbitmap *pb, uint64_t start, uint64_t end)
{
	return start < end && start < pb->offset + pb->size &&
	       pb->offset < end;
}

/* Whether the section owns whole pages, apart from all that is mapped. */
bool pb_placed(const struct pbitmap *pb, uint64_t page)
{
	size_t i;

	if (!pb->size || !pb_in_file(pb, pb->offset, pb->size) ||
	    (pb->offset | pb->size) & (page - 1))
		return false;
	if (overlaps(pb, 0, pb->is64 ? sizeof(Elf64_Ehdr) :
		     sizeof(Elf32_Ehdr)) ||
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

/* Whether the header's own numbers make sense, for @size bytes of room. */
static bool is_sane(const struct pbitmap_header *h, uint64_t size)
{
	if (h->size > PBITMAP_MAX_SIZE || h->size > size ||
	    h->header_size < sizeof(*h) ||
	    h->nr_segments > PBITMAP_MAX_SEGMENTS ||
	    pb_table_end(h) > h->size)
		return false;
	return !h->objects_offset ||
	       (h->objects_offset >= pb_table_end(h) &&
		h->objects_offset <= h->size &&
		h->objects_size == h->size - h->objects_offset &&
		h->objects_size <= PBITMAP_MAX_OBJECTS_SIZE);
}

/* Reads the first header.size bytes; why they are not to be believed. */
static const char *read_section(struct pbitmap *pb)
{
	struct pbitmap_header *h = &pb->header;

	pb->placed = pb_placed(pb, 1 << MIN_PAGE_SHIFT);
	if (!pb->placed)
		return "the section lies where it must not";
	if (!pb_read_at(pb, h, sizeof(*h), pb->offset))
		return "it cannot be read";
	swap_header(pb, h);
	/* As a linker leaves it. */
	if (!memcmp(h->magic, "\0\0\0", sizeof(h->magic)))
		return "the section is empty";
	if (memcmp(h->magic, PBITMAP_MAGIC, sizeof(h->magic)))
		return "the section does not begin with a bitmap";
	if (h->version != PBITMAP_VERSION)
		return "the version is unknown";
	pb->readable = true;

	if (h->page_shift < MIN_PAGE_SHIFT || h->page_shift > MAX_PAGE_SHIFT ||
	    !pb_placed(pb, 1ULL << h->page_shift))
		return "the page size does not fit";
	if (!is_sane(h, pb->size))
		return "the header is damaged";
	pb->data = malloc(h->size);
	if (!pb->data) {
		pb->error = ENOMEM;
		return "it cannot be read";
	}
	if (!pb_read_at(pb, pb->data, h->size, pb->offset))
		return "it cannot be read";
	return NULL;
}

/* Whether the planes of segment @n lie where they may. */
static bool planes_placed(const struct pbitmap *pb, unsigned int n)
{
	const struct pbitmap_segment *segments = pb->plan.segments;
	const struct pbitmap_segment *s = &segments[n];
	uint64_t size = PBITMAP_NR_PLANES * PBITMAP_PLANE_SIZE(s->pages);
	uint32_t end = pb_planes_end(&pb->header);
	unsigned int i;

	if (s->offset % 8 || s->offset < pb_table_end(&pb->header) ||
	    s->offset > end || size > end - s->offset)
		return false;
	for (i = 0; i < n; i++)
		if (s->offset < segments[i].offset + PBITMAP_NR_PLANES *
		    PBITMAP_PLANE_SIZE(segments[i].pages) &&
		    segments[i].offset < s->offset + size)
			return false;
	return true;
}

static struct pbitmap_segment table_entry(const struct pbitmap *pb,
					  unsigned int n)
{
	struct pbitmap_segment s;

	memcpy(&s, pb->data + pb->header.header_size + n * sizeof(s),
	       sizeof(s));
	swap_segment(pb, &s);
	return s;
}

/* Takes the offsets of the planes over into the plan, if the rest fits it. */
static const char *check_table(struct pbitmap *pb)
{
	unsigned int i;

	for (i = 0; i < pb->header.nr_segments; i++) {
		struct pbitmap_segment in_file = table_entry(pb, i);
		struct pbitmap_segment *s = &pb->plan.segments[i];

		if (in_file.vaddr != s->vaddr || in_file.pages != s->pages ||
		    in_file.nr_planes != s->nr_planes)
			return "made for other segments";
		s->offset = in_file.offset;
		if (!planes_placed(pb, i))
			return "the segment table is damaged";
	}
	return NULL;
}

/* What is behind the segment table. */
static const char *check_contents(struct pbitmap *pb)
{
	const struct pbitmap_header *h = &pb->header;
	uint32_t table_end = pb_table_end(h);

	if (crc32(0, pb->data + table_end, pb_planes_end(h) - table_end) !=
	    h->planes_crc)
		return "the planes are damaged";
	if (h->objects_offset && crc32(0, pb->data + h->objects_offset,
				       h->objects_size) != h->objects_crc)
		return "the list of objects is damaged";
	return pb_read_objects(pb);
}

/* Why the bitmap is stale, or NULL if it is valid. */
static const char *check(struct pbitmap *pb)
{
	struct pbitmap_header *h = &pb->header;
	const char *why;

	why = read_section(pb);
	if (why)
		return why;
	pb->file_crc = h->header_crc;
	if (header_crc(pb, pb_table_end(h)) != h->header_crc)
		return "the header is damaged";
	why = pb_plan(pb, h->page_shift, &pb->plan);
	if (why)
		return why;
	if (pb->layout_crc != h->layout_crc ||
	    pb->plan.header.nr_segments != h->nr_segments)
		return "made for other segments";
	why = check_table(pb);
	if (why)
		return why;
	why = check_contents(pb);
	if (why)
		return why;
	if (!pb->announced &&
	    !(pb->stack && pb->stack->p_flags & PF_PLEASE_LOAD_SHDRS))
		return "PT_GNU_STACK does not say that it is there";
	return NULL;
}

/*
 * The same for a bitmap without its file, @size bytes at pb->data: why it is
 * not to be believed.
 */
const char *pb_check_record(struct pbitmap *pb, size_t size)
{
	struct pbitmap_header *h = &pb->header;
	unsigned int i;

	if (size < sizeof(*h))
		return "the header is damaged";
	memcpy(h, pb->data, sizeof(*h));
	swap_header(pb, h);
	if (memcmp(h->magic, PBITMAP_MAGIC, sizeof(h->magic)) ||
	    h->version != PBITMAP_VERSION || h->size != size ||
	    h->page_shift < MIN_PAGE_SHIFT || h->page_shift > MAX_PAGE_SHIFT ||
	    !is_sane(h, size) || !h->nr_segments ||
	    header_crc(pb, pb_table_end(h)) != h->header_crc)
		return "the header is damaged";
	for (i = 0; i < h->nr_segments; i++) {
		struct pbitmap_segment *s = &pb->plan.segments[i];

		*s = table_entry(pb, i);
		if (!s->pages || s->pages > 8ULL * PBITMAP_MAX_SIZE ||
		    s->nr_planes != PBITMAP_NR_PLANES || !planes_placed(pb, i))
			return "the segment table is damaged";
	}
	pb->layout_crc = h->layout_crc;
	return check_contents(pb);
}

/* CRC of the file from the end of the section. */
static bool tail_crc(struct pbitmap *pb, uint32_t *crcp)
{
	uint64_t at = pb->offset + pb->size;
	unsigned char buffer[4096];
	uint32_t crc = 0;

	if (pb->file_size - at > MAX_TAIL)
		return false;
	while (at < pb->file_size) {
		size_t n = sizeof(buffer);

		if (n > pb->file_size - at)
			n = pb->file_size - at;
		if (!pb_read_at(pb, buffer, n, at))
			return false;
		crc = crc32(crc, buffer, n);
		at += n;
	}
	*crcp = crc;
	return true;
}

/*
 * Whether there is an undo record and the file is still what adding left.  It
 * has a CRC of its own, so a damaged header does not matter much.
 */
static bool find_undo(struct pbitmap *pb)
{
	const struct pbitmap_header *h = &pb->header;
	struct undo *undo = &pb->undo;
	uint32_t crc, tail;

	if (!pb->readable || !pb->stack || !h->undo_offset ||
	    h->undo_size != sizeof(*undo) || h->undo_offset > pb->size ||
	    pb->size - h->undo_offset < sizeof(*undo) ||
	    !pb_read_at(pb, undo, sizeof(*undo), pb->offset + h->undo_offset))
		return false;
	if (memcmp(undo->magic, UNDO_MAGIC, sizeof(undo->magic)))
		return false;
	crc = pb_get(pb, &undo->crc, sizeof(undo->crc));
	undo->crc = 0;
	if (crc32(0, (void *)undo, sizeof(*undo)) != crc)
		return false;
	swap_undo(pb, undo);
	if (undo->new_size != pb->file_size ||
	    undo->new_shoff != pb->ehdr.e_shoff ||
	    undo->new_shnum != pb->shnum)
		return false;
	if (undo->size == pb->file_size)
		return undo->shoff == pb->ehdr.e_shoff;
	return !pb->linked && pb->shndx && undo->size <= pb->offset &&
	       tail_crc(pb, &tail) && undo->tail_crc == tail;
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
		pb->announced = pb->linked = true;
		pb->offset = ph->p_offset;
		pb->size = ph->p_filesz;
	}
	if (!pb_has_section(pb))
		return 0;

	pb->reason = check(pb);
	if (!pb->error)
		pb->exact = find_undo(pb);
	if (pb->error)
		return pb_fail_read(pb);
	pb->state = pb->reason ? PBITMAP_STALE : PBITMAP_OK;
	if (pb->reason)
		pb_free_objects(pb);
	return 0;
}
