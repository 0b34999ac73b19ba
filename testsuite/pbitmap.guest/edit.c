// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Look at and damage the bitmap of an ELF64 little-endian file:
 *
 *	edit FILE outside		print every byte outside its section
 *	edit FILE inside		print the bytes of its section
 *	edit FILE ACTION...		change it in place, in this order:
 *		xor:OFFSET:VALUE	a byte of the section
 *		fill:OFFSET:LENGTH:SEED	with noise
 *		u16|u32|u64:OFFSET:VALUE
 *		header-crc, planes-crc, objects-crc
 *					make that checksum right again
 *		predict:SEED		what a launch could have taught: about
 *					half of the pages, in runs of 4
 *		objects			empty the list of objects
 *		object:COUNTER:NAME	add an entry to it
 *		entry:COUNTER:SHARED:LEN:BYTES	the same, as it stands there
 *		elf:OFFSET:VALUE	exclusive or on a byte of the file
 *		section:FIELD:VALUE	the sh_offset or sh_size of its header
 */
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/pbitmap.h>

static unsigned char *image;
static size_t image_size;
static Elf64_Shdr *section;

static void map_image(const char *name, bool change)
{
	struct stat st;
	int fd = open(name, change ? O_RDWR : O_RDONLY);

	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", name);
	image_size = st.st_size;
	image = mmap(NULL, image_size, PROT_READ | (change ? PROT_WRITE : 0),
		     MAP_SHARED, fd, 0);
	if (image == MAP_FAILED)
		err(1, "%s", name);
	close(fd);
}

static void find_section(void)
{
	Elf64_Ehdr *ehdr = (Elf64_Ehdr *)image;
	Elf64_Shdr *shdr = (Elf64_Shdr *)(image + ehdr->e_shoff);
	int i;

	for (i = 0; i < ehdr->e_shnum; i++)
		if (shdr[i].sh_type == SHT_PRESENT_BITMAP)
			section = &shdr[i];
	if (!section)
		errx(1, "no bitmap");
}

static uint32_t crc(uint32_t crc, const unsigned char *p, size_t n)
{
	int i;

	crc = ~crc;
	while (n--) {
		crc ^= *p++;
		for (i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static unsigned char *at(uint64_t offset, size_t n)
{
	if (offset > image_size || n > image_size - offset)
		errx(1, "outside the file");
	return image + offset;
}

/* Where the planes begin. */
static size_t table_end(const struct pbitmap_header *h)
{
	return h->header_size +
	       h->nr_segments * sizeof(struct pbitmap_segment);
}

static void fix_header(struct pbitmap_header *h)
{
	h->header_crc = 0;
	h->header_crc = crc(0, at(section->sh_offset, table_end(h)),
			    table_end(h));
}

static void fix_planes(struct pbitmap_header *h)
{
	size_t start = table_end(h);
	size_t end = h->objects_offset ? h->objects_offset : h->size;

	h->planes_crc = crc(0, at(section->sh_offset + start, end - start),
			    end - start);
}

static void fix_objects(struct pbitmap_header *h)
{
	h->objects_crc = crc(0, at(section->sh_offset + h->objects_offset,
				   h->objects_size), h->objects_size);
}

/* Bytes of the list that are in use. */
static size_t list_used;

static void clear_list(struct pbitmap_header *h)
{
	memset(at(section->sh_offset + h->objects_offset, h->objects_size), 0,
	       h->objects_size);
	list_used = 0;
}

/* What does not fit any more is left out. */
static void add_bytes(struct pbitmap_header *h, const void *bytes, size_t n)
{
	unsigned char *list = at(section->sh_offset + h->objects_offset,
				 h->objects_size);

	if (n > h->objects_size - list_used)
		n = h->objects_size - list_used;
	memcpy(list + list_used, bytes, n);
	list_used += n;
}

static void add_entry(struct pbitmap_header *h, unsigned int counter,
		      unsigned int shared, unsigned int len, const char *rest)
{
	unsigned char head[] = { counter, shared, len };

	add_bytes(h, head, sizeof(head));
	add_bytes(h, rest, strlen(rest) < len ? strlen(rest) : len);
}

static void change_list(struct pbitmap_header *h, const char *action)
{
	unsigned int a, b, c;
	int name = 0;

	if (!strcmp(action, "objects"))
		clear_list(h);
	else if (sscanf(action, "object:%u:%n", &a, &name) == 1 && name)
		add_entry(h, a, 0, strlen(action + name), action + name);
	else if (sscanf(action, "entry:%u:%u:%u:%n", &a, &b, &c, &name) == 3 &&
		 name)
		add_entry(h, a, b, c, action + name);
	else
		errx(2, "cannot %s", action);
	fix_objects(h);
	fix_header(h);
}

static void fill(uint64_t offset, size_t n, unsigned int seed)
{
	unsigned char *p = at(section->sh_offset + offset, n);

	while (n--) {
		seed = seed * 1103515245 + 12345;
		*p++ = seed >> 16;
	}
}

static void predict_segment(struct pbitmap_header *h,
			    struct pbitmap_segment *segment, unsigned int seed)
{
	size_t size = PBITMAP_PLANE_SIZE(segment->pages);
	unsigned char *plane = at(section->sh_offset + segment->offset,
				  PBITMAP_NR_PLANES * size);
	uint64_t n;

	memset(plane, 0, PBITMAP_NR_PLANES * size);
	for (n = 0; n < segment->pages; n++) {
		if (n % 4 == 0)
			seed = seed * 1103515245 + 12345;
		if (seed & 1 << 28)
			plane[n / 8] |= 1 << n % 8;
	}
	memcpy(plane + size, plane, size);
	h->launches = 1;
}

static void predict(struct pbitmap_header *h, unsigned int seed)
{
	struct pbitmap_segment *segment = (void *)((char *)h + h->header_size);
	int i;

	for (i = 0; i < h->nr_segments; i++)
		predict_segment(h, &segment[i], seed + i);
	fix_planes(h);
	fix_header(h);
}

static void change(const char *action)
{
	struct pbitmap_header *h = (void *)at(section->sh_offset, sizeof(*h));
	unsigned long long a, b;
	unsigned int c;

	if (!strcmp(action, "header-crc"))
		fix_header(h);
	else if (!strcmp(action, "planes-crc"))
		fix_planes(h);
	else if (!strcmp(action, "objects-crc"))
		fix_objects(h);
	else if (sscanf(action, "fill:%lli:%lli:%u", &a, &b, &c) == 3)
		fill(a, b, c);
	else if (sscanf(action, "predict:%u", &c) == 1)
		predict(h, c);
	else if (sscanf(action, "xor:%lli:%lli", &a, &b) == 2)
		*at(section->sh_offset + a, 1) ^= b;
	else if (sscanf(action, "u16:%lli:%lli", &a, &b) == 2)
		memcpy(at(section->sh_offset + a, 2), &b, 2);
	else if (sscanf(action, "u32:%lli:%lli", &a, &b) == 2)
		memcpy(at(section->sh_offset + a, 4), &b, 4);
	else if (sscanf(action, "u64:%lli:%lli", &a, &b) == 2)
		memcpy(at(section->sh_offset + a, 8), &b, 8);
	else if (sscanf(action, "elf:%lli:%lli", &a, &b) == 2)
		*at(a, 1) ^= b;
	else if (sscanf(action, "section:offset:%lli", &a) == 1)
		section->sh_offset = a;
	else if (sscanf(action, "section:size:%lli", &a) == 1)
		section->sh_size = a;
	else
		change_list(h, action);
}

static void print(uint64_t offset, size_t n)
{
	if (fwrite(at(offset, n), 1, n, stdout) != n)
		err(1, "write");
}

int main(int argc, char **argv)
{
	bool outside, inside;
	int i;

	if (argc < 3)
		errx(2, "usage: edit FILE ACTION...");
	outside = !strcmp(argv[2], "outside");
	inside = !strcmp(argv[2], "inside");
	map_image(argv[1], !outside && !inside);
	find_section();
	if (outside) {
		uint64_t end = section->sh_offset + section->sh_size;

		print(0, section->sh_offset);
		print(end, image_size - end);
	} else if (inside) {
		print(section->sh_offset, section->sh_size);
	} else {
		for (i = 2; i < argc; i++)
			change(argv[i]);
	}
	return 0;
}
