// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Through the shared library: add to a copy of this program, learn as the
 * kernel would, read it back, damage it, remove.
 */
#include <elf.h>
#include <link.h>
#include <linux/pbitmap.h>
#include <zlib.h>

#include <pbitmap.h>

#include "test.h"

static char last_message[256];

static void keep_message(void *arg, enum pbitmap_level level,
			 const char *message)
{
	(void)arg;
	(void)level;
	snprintf(last_message, sizeof(last_message), "%s", message);
}

static const struct pbitmap_options options = {
	.sz = sizeof(options),
	.log = keep_message,
};

/* The bitmap section of a file of our own class and byte order. */
static struct pbitmap_header *section_of(struct bytes file)
{
	ElfW(Ehdr) *ehdr = (void *)file.data;
	ElfW(Shdr) *shdr = (void *)(file.data + ehdr->e_shoff);

	shdr += ehdr->e_shnum - 1;
	CHECK(shdr->sh_type == SHT_PRESENT_BITMAP);
	CHECK(shdr->sh_offset % 4096 == 0 && shdr->sh_size % 4096 == 0);
	return (void *)(file.data + shdr->sh_offset);
}

static struct pbitmap_segment *segments_of(struct pbitmap_header *h)
{
	return (void *)((unsigned char *)h + h->header_size);
}

static void put_crcs(struct pbitmap_header *h)
{
	unsigned char *start = (unsigned char *)h;
	uint32_t end = h->header_size +
		       h->nr_segments * sizeof(struct pbitmap_segment);

	h->planes_crc = crc32(0, start + end, h->objects_offset - end);
	h->objects_crc = crc32(0, start + h->objects_offset, h->objects_size);
	h->header_crc = 0;
	h->header_crc = crc32(0, start, end);
}

static enum pbitmap_state state_of(struct bytes file)
{
	struct pbitmap_info info = { .sz = sizeof(info) };
	struct pbitmap *pb;

	spill("f", file);
	CHECK(!pbitmap_open("f", &options, &pb));
	CHECK(!pbitmap_get_info(pb, &info));
	CHECK((info.state == PBITMAP_STALE) == (info.reason != NULL));
	pbitmap_close(pb);
	return info.state;
}

/* The bytes of a new section, as linux/pbitmap.h describes them. */
static void test_format(struct bytes file)
{
	struct pbitmap_header *h = section_of(file), crcs = *h;
	struct pbitmap_segment *s = segments_of(h);
	ElfW(Ehdr) *ehdr = (void *)file.data;
	ElfW(Phdr) *ph = (void *)(file.data + ehdr->e_phoff);
	unsigned char *byte = (unsigned char *)(s + h->nr_segments);
	uint32_t layout = 0, end = sizeof(*h) + h->nr_segments * sizeof(*s);
	unsigned int i;

	CHECK(sizeof(*h) == 64 && sizeof(*s) == 32);
	CHECK(!memcmp(h->magic, "PBM1", 4) && h->version == 1);
	CHECK(h->header_size == 64 && h->page_shift == 12);
	CHECK(!h->flags && !h->launches && !h->updated && !h->flags);
	for (i = 0; i < ehdr->e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD)
			layout = crc32(layout, (void *)&ph[i], sizeof(*ph));
		if (ph[i].p_type == PT_GNU_STACK)
			CHECK(ph[i].p_flags == (PF_R | PF_W |
						PF_PLEASE_LOAD_SHDRS));
	}
	CHECK(h->layout_crc == layout);
	for (i = 0; i < h->nr_segments; i++) {
		CHECK(s[i].offset == end && s[i].nr_planes == 2);
		CHECK(!s[i].reserved);
		end += 2 * PBITMAP_PLANE_SIZE(s[i].pages);
	}
	CHECK(h->objects_offset == end && h->objects_size >= 24576);
	CHECK(h->size == end + h->objects_size);
	for (; byte < (unsigned char *)h + h->size; byte++)
		CHECK(!*byte);
	CHECK(h->undo_offset >= h->size && h->undo_offset % 8 == 0);
	CHECK(h->undo_size && (h->undo_offset + h->undo_size) % 4096 == 0);
	put_crcs(h);
	CHECK(h->planes_crc == crcs.planes_crc);
	CHECK(h->objects_crc == crcs.objects_crc);
	CHECK(h->header_crc == crcs.header_crc);
}

/* Segments are the PT_LOADs with bytes in the file, and nothing is learned. */
static void test_empty(struct bytes file)
{
	ElfW(Ehdr) *ehdr = (void *)file.data;
	ElfW(Phdr) *ph = (void *)(file.data + ehdr->e_phoff);
	struct pbitmap_segment_info segment = { .sz = sizeof(segment) };
	struct pbitmap_info info = { .sz = sizeof(info) };
	struct pbitmap *pb;
	uint64_t pages = 0, page;
	unsigned int n = 0;

	CHECK(!pbitmap_open("f", &options, &pb));
	CHECK(!pbitmap_get_info(pb, &info));
	CHECK(info.state == PBITMAP_OK && !info.reason);
	CHECK(!info.launches && !info.updated && !info.predicted);
	CHECK(info.page_size == 4096);
	for (; ph < (ElfW(Phdr) *)(file.data + ehdr->e_phoff) + ehdr->e_phnum;
	     ph++) {
		if (ph->p_type != PT_LOAD || !ph->p_filesz)
			continue;
		CHECK(!pbitmap_get_segment(pb, n, &segment));
		CHECK(segment.vaddr == (ph->p_vaddr & -4096UL));
		CHECK(segment.file_offset == (ph->p_offset & -4096UL));
		CHECK(segment.vaddr + segment.pages * 4096 >=
		      ph->p_vaddr + ph->p_filesz);
		CHECK(segment.vaddr + (segment.pages - 1) * 4096 <
		      ph->p_vaddr + ph->p_filesz);
		for (page = 0; page < segment.pages; page++)
			CHECK(pbitmap_counter(pb, n, page) == 0);
		CHECK(pbitmap_counter(pb, n, page) == -EINVAL);
		pages += segment.pages;
		n++;
	}
	CHECK(n == info.nr_segments && pages == info.pages);
	CHECK(pbitmap_get_segment(pb, n, &segment) == -EINVAL);
	CHECK(pbitmap_counter(pb, n, 0) == -EINVAL);
	pbitmap_close(pb);
}

/* Makes the third segment, with constants, large enough. */
static const char constants[4 * 4096] __attribute__((used)) = "constants";

/* Counters 3, 2, 1, 0 of the first four pages of the third segment. */
static void test_learned(struct bytes file)
{
	struct pbitmap_header *h = section_of(file);
	struct pbitmap_segment *s = &segments_of(h)[2];
	struct pbitmap_info info = { .sz = sizeof(info) };
	unsigned char *plane = (unsigned char *)h + s->offset;
	struct pbitmap *pb;
	int page;

	CHECK(s->pages >= 4);
	plane[0] = 3;
	plane[PBITMAP_PLANE_SIZE(s->pages)] = 5;
	h->launches = 0xffffffff;
	h->updated = 1ULL << 33;
	put_crcs(h);
	CHECK(state_of(file) == PBITMAP_OK);

	CHECK(!pbitmap_open("f", &options, &pb));
	CHECK(!pbitmap_get_info(pb, &info));
	CHECK(info.launches == 0xffffffff && info.updated == 1ULL << 33);
	CHECK(info.predicted == 2);
	for (page = 0; page < 4; page++)
		CHECK(pbitmap_counter(pb, 2, page) == 3 - page);
	CHECK(pbitmap_counter(pb, 0, 0) == 0);
	pbitmap_close(pb);
	CHECK(pbitmap_add("f", &options) == PBITMAP_UNCHANGED);
}

/* Headers that somebody made on purpose, with good CRCs. */
static void test_hostile(struct bytes file)
{
	struct pbitmap_header *h = section_of(file), good = *h;
	struct pbitmap_segment *s = segments_of(h), first = s[0];

#define HOSTILE(what)							\
	do {								\
		what;							\
		h->header_crc = 0;					\
		h->header_crc = crc32(0, (void *)h, good.header_size +	\
				      good.nr_segments * sizeof(*s));	\
		CHECK(state_of(file) == PBITMAP_STALE);			\
		*h = good;						\
		s[0] = first;						\
	} while (0)

	HOSTILE(h->nr_segments--);
	HOSTILE(h->layout_crc++);
	HOSTILE(h->planes_crc++);
	HOSTILE(s[0].vaddr += 4096);
	HOSTILE(s[0].pages++);
	HOSTILE(s[0].pages = UINT64_MAX);
	HOSTILE(s[0].nr_planes = 1);
	HOSTILE(s[0].offset = 0);
	HOSTILE(s[0].offset += 4);
	HOSTILE(s[0].offset = s[1].offset);
	HOSTILE(s[0].offset = h->size);
	HOSTILE(s[0].offset = -8U);
	HOSTILE(s[0].offset = h->objects_offset);
	HOSTILE(h->objects_offset = 8);
	HOSTILE(h->objects_offset = h->size + 8);
	HOSTILE(h->objects_offset = -8U);
	HOSTILE(h->objects_size = -1U);
	HOSTILE(h->objects_size -= 8);
	HOSTILE(h->objects_crc++);
	CHECK(state_of(file) == PBITMAP_OK);
}

/* Unknown flags are ignored, and so is where the undo record lies. */
static void test_lenient(struct bytes file)
{
	struct pbitmap_header *h = section_of(file), good = *h;

	h->flags = 0xffffffff;
	h->undo_offset = h->undo_size = -1U;
	put_crcs(h);
	CHECK(state_of(file) == PBITMAP_OK);
	CHECK(pbitmap_remove("f", &options) == PBITMAP_INEXACT);
	*h = good;
}

/* Entries of @list, NUL included, as the objects of the file. */
static enum pbitmap_state with_objects(struct bytes file, const char *list,
				       size_t size)
{
	struct pbitmap_header *h = section_of(file);
	unsigned char *objects = (unsigned char *)h + h->objects_offset;
	enum pbitmap_state state;

	CHECK(size <= h->objects_size);
	memcpy(objects, list, size);
	put_crcs(h);
	state = state_of(file);
	memset(objects, 0, size);
	put_crcs(h);
	return state;
}

#define WITH_OBJECTS(file, list) with_objects(file, list, sizeof(list))

/* Names share their beginnings; whatever is odd makes the bitmap stale. */
static void test_objects(struct bytes file)
{
	static const char good[] = "\3\0\5/libc\0\4\2/a\2\1\1b";
	struct pbitmap_object_info info = { .sz = sizeof(info) };
	struct pbitmap_header *h = section_of(file);
	unsigned char *room = (unsigned char *)h + h->objects_offset;
	struct pbitmap *pb;
	int i;

	CHECK(WITH_OBJECTS(file, good) == PBITMAP_OK);
	CHECK(!pbitmap_open("f", &options, &pb));
	CHECK(!pbitmap_get_object(pb, 0, &info));
	CHECK(info.counter == 3 && !strcmp(info.name, "/libc"));
	CHECK(!pbitmap_get_object(pb, 1, &info));
	CHECK(info.counter == 0 && !strcmp(info.name, "/lib/a"));
	CHECK(!pbitmap_get_object(pb, 2, &info));
	CHECK(info.counter == 2 && !strcmp(info.name, "/b"));
	CHECK(pbitmap_get_object(pb, 3, &info) == -EINVAL);
	pbitmap_close(pb);

	CHECK(WITH_OBJECTS(file, "\4\0\2/a") == PBITMAP_STALE);
	CHECK(WITH_OBJECTS(file, "\3\1\2/a") == PBITMAP_STALE);
	CHECK(WITH_OBJECTS(file, "\3\0\2/a\3\3\1x") == PBITMAP_STALE);
	CHECK(WITH_OBJECTS(file, "\3\0\2aa") == PBITMAP_STALE);
	CHECK(WITH_OBJECTS(file, "\3\0\2/") == PBITMAP_STALE);
	CHECK(WITH_OBJECTS(file, "\3\0\4/a//") == PBITMAP_STALE);
	CHECK(WITH_OBJECTS(file, "\3\0\3//a") == PBITMAP_STALE);
	CHECK(WITH_OBJECTS(file, "\3\0\3/a/") == PBITMAP_STALE);
	CHECK(WITH_OBJECTS(file, "\3\0\4/./a") == PBITMAP_STALE);
	CHECK(WITH_OBJECTS(file, "\3\0\5/a/..") == PBITMAP_STALE);
	CHECK(WITH_OBJECTS(file, "\3\0\7/...a/b") == PBITMAP_OK);

	/* More than are allowed, then a last one that has no room. */
	for (i = 0; i <= PBITMAP_MAX_OBJECTS; i++)
		memcpy(room + 5 * i, "\3\0\2/a", 5);
	put_crcs(h);
	CHECK(state_of(file) == PBITMAP_STALE);
	memset(room, 0, 5 * i);
	memcpy(room, "\3\0\2/a\3\2\377", 8);
	memset(room + 8, 'a', 255);
	CHECK(h->objects_size >= 8192);
	h->objects_size = 8 + 254;
	h->size = h->objects_offset + h->objects_size;
	put_crcs(h);
	CHECK(state_of(file) == PBITMAP_STALE);
}

/* A new structure version has more fields than an old program knows of. */
static void test_sizes(void)
{
	struct { struct pbitmap_info info; char more[8]; } large = { 0 };
	struct pbitmap_info small = { .sz = sizeof(size_t) +
				      sizeof(enum pbitmap_state) };
	struct pbitmap *pb;

	memset(large.more, 'x', sizeof(large.more));
	large.info.sz = sizeof(large.info);
	small.launches = 77;
	CHECK(!pbitmap_open("f", NULL, &pb));
	CHECK(!pbitmap_get_info(pb, &small));
	CHECK(!pbitmap_get_info(pb, &large.info));
	CHECK(small.state == PBITMAP_OK && small.launches == 77);
	CHECK(!memcmp(large.more, "xxxxxxxx", sizeof(large.more)));
	pbitmap_close(pb);
}

int main(void)
{
	struct bytes original = set_up(), file, added;
	struct pbitmap *pb;

	CHECK(pbitmap_remove("f", &options) == PBITMAP_UNCHANGED);
	CHECK(pbitmap_add("f", &options) == PBITMAP_WRITTEN);
	CHECK(pbitmap_add("f", &options) == PBITMAP_UNCHANGED);
	file = slurp("f");
	added = slurp("f");
	test_format(file);
	test_empty(file);
	test_sizes();
	test_hostile(file);
	test_lenient(file);
	test_objects(file);
	free(file.data);
	file = added;
	spill("f", file);
	test_learned(file);
	CHECK(pbitmap_remove("f", &options) == PBITMAP_WRITTEN);
	CHECK(holds("f", original));
	CHECK(state_of(original) == PBITMAP_NONE);

	CHECK(pbitmap_open("none", &options, &pb) == -ENOENT);
	CHECK(!strcmp(last_message, "open: No such file or directory"));
	CHECK(!strcmp(pbitmap_strerror(-ENOENT), strerror(ENOENT)));
	CHECK(!strcmp(pbitmap_strerror(PBITMAP_ERR_REFUSED), "refused"));
	free(original.data);
	free(file.data);
	tear_down();
	return 0;
}
