// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Damage an annotated ELF file in what a reader of its bitmap goes by.
 *
 * The same number is the same damage, so that two runs can be compared.
 */
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/pbitmap.h>

#include "mutate.h"

/* Room behind the file for section headers. */
#define GROWTH		(5UL << 20)
#define PAGE		4096UL

unsigned char *mutant;
size_t mutant_size, mutate_section, mutate_section_size;

static unsigned char *seed;
static size_t seed_size;
static Elf64_Ehdr *ehdr;
static Elf64_Phdr *phdr;
static Elf64_Shdr *section;
static struct pbitmap_header *bitmap;
static size_t bitmap_size;

static uint64_t state;

/* SplitMix64: a good generator of three lines. */
static uint64_t noise(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static unsigned int below(unsigned int n)
{
	return noise() % n;
}

void mutate_read(const char *name)
{
	struct stat st;
	int fd = open(name, O_RDONLY);

	if (fd < 0 || fstat(fd, &st))
		err(2, "%s", name);
	seed_size = st.st_size;
	seed = malloc(seed_size);
	mutant = malloc(seed_size + GROWTH);
	if (!seed || !mutant)
		err(2, "%s", name);
	if (read(fd, seed, seed_size) != (ssize_t)seed_size)
		err(2, "%s", name);
	close(fd);
}

/* A fresh image, and pointers to its parts. */
void mutate_not(void)
{
	Elf64_Shdr *shdr;
	int i;

	memcpy(mutant, seed, seed_size);
	mutant_size = seed_size;
	ehdr = (void *)mutant;
	phdr = (void *)(mutant + ehdr->e_phoff);
	shdr = (void *)(mutant + ehdr->e_shoff);
	section = NULL;
	for (i = 0; i < ehdr->e_shnum; i++)
		if (shdr[i].sh_type == SHT_PRESENT_BITMAP)
			section = &shdr[i];
	if (!section)
		errx(2, "the seed has no bitmap");
	bitmap = (void *)(mutant + section->sh_offset);
	bitmap_size = section->sh_size;
	mutate_section = section->sh_offset;
	mutate_section_size = bitmap_size;
}

static uint32_t crc_more(uint32_t crc, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	int i;

	while (n--) {
		crc ^= *p++;
		for (i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return crc;
}

static uint32_t crc(const void *bytes, size_t n)
{
	return ~crc_more(~0U, bytes, n);
}

/* So that what was damaged behind the checksum is looked at. */
static void fix_crc(void)
{
	size_t n = bitmap->header_size +
		   bitmap->nr_segments * sizeof(struct pbitmap_segment);

	if (n > bitmap_size || n < sizeof(*bitmap))
		return;
	bitmap->header_crc = 0;
	bitmap->header_crc = crc(bitmap, n);
}

/* A number that somebody may not have thought of. */
static uint64_t odd_number(uint64_t was)
{
	switch (below(8)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX >> below(64);
	case 2:
		return 1ULL << below(64);
	case 3:
		return was + (1ULL << below(16));
	case 4:
		return was - (1ULL << below(16));
	case 5:
		return seed_size - below(4096);
	case 6:
		return -(uint64_t)below(65536);
	default:
		return noise() >> below(64);
	}
}

static void odd_field(void *field, size_t n)
{
	uint64_t value = 0;

	memcpy(&value, field, n);
	value = odd_number(value);
	memcpy(field, &value, n);
}

/* A field of those of a structure, at a multiple of its width. */
static void odd_part(void *structure, size_t n)
{
	static const size_t widths[] = { 2, 4, 8 };
	size_t width = widths[below(3)];

	odd_field((char *)structure + below(n / width) * width, width);
}

static void damage_header(void)
{
	odd_part(bitmap, sizeof(*bitmap));
	fix_crc();
}

static void damage_table(void)
{
	odd_part((char *)bitmap + bitmap->header_size, bitmap->nr_segments *
		 sizeof(struct pbitmap_segment));
	fix_crc();
}

static void damage_bitmap(void)
{
	int n = 1 + below(8);

	while (n--)
		((unsigned char *)bitmap)[below(bitmap_size)] ^= noise();
}

static void damage_planes(void)
{
	unsigned char *p = (unsigned char *)bitmap + bitmap->header_size +
			   bitmap->nr_segments * sizeof(struct pbitmap_segment);

	while (p < (unsigned char *)bitmap + bitmap->size)
		*p++ = noise();
}

static void damage_section(void)
{
	odd_part(section, sizeof(*section));
}

static void damage_section_headers(void)
{
	odd_part(mutant + ehdr->e_shoff, ehdr->e_shnum * sizeof(*section));
}

static void damage_way(void)
{
	switch (below(4)) {
	case 0:
		odd_field(&ehdr->e_shoff, sizeof(ehdr->e_shoff));
		break;
	case 1:
		odd_field(&ehdr->e_shnum, sizeof(ehdr->e_shnum));
		break;
	case 2:
		odd_field(&ehdr->e_shentsize, sizeof(ehdr->e_shentsize));
		break;
	default:
		odd_field(&ehdr->e_shstrndx, sizeof(ehdr->e_shstrndx));
	}
}

/* A note becomes a program header over the bitmap, or over something. */
static void damage_phdr(void)
{
	int i;

	for (i = 0; i < ehdr->e_phnum && phdr[i].p_type != PT_NOTE; i++)
		;
	if (i == ehdr->e_phnum)
		errx(2, "the seed has no PT_NOTE");
	phdr[i].p_type = PT_PRESENT_BITMAP;
	phdr[i].p_offset = section->sh_offset;
	phdr[i].p_filesz = section->sh_size;
	if (below(4))
		odd_part(&phdr[i].p_flags,
			 sizeof(*phdr) - offsetof(Elf64_Phdr, p_flags));
}

/* Where the last PT_LOAD ends in the file. */
static size_t loads_end(void)
{
	size_t end = 0;
	int i;

	for (i = 0; i < ehdr->e_phnum; i++)
		if (phdr[i].p_type == PT_LOAD &&
		    phdr[i].p_offset + phdr[i].p_filesz > end)
			end = phdr[i].p_offset + phdr[i].p_filesz;
	return end;
}

/* Never into a PT_LOAD: whoever maps that gets SIGBUS, bitmap or not. */
static void damage_length(void)
{
	size_t end = loads_end();

	mutant_size = end + below(seed_size - end);
}

static void damage_elf(void)
{
	odd_part(ehdr, sizeof(*ehdr));
}

static void damage_phdrs(void)
{
	odd_part(phdr, ehdr->e_phnum * sizeof(*phdr));
}

/* Have the segment table say what the program headers say. */
static void follow_loads(void)
{
	struct pbitmap_segment *table = (void *)((char *)bitmap +
						 bitmap->header_size);
	uint32_t layout = ~0U;
	int i, n = 0;

	for (i = 0; i < ehdr->e_phnum; i++) {
		uint64_t in_page = phdr[i].p_vaddr & (PAGE - 1);

		if (phdr[i].p_type != PT_LOAD)
			continue;
		layout = crc_more(layout, &phdr[i], sizeof(phdr[i]));
		if (!phdr[i].p_filesz || n == bitmap->nr_segments)
			continue;
		table[n].vaddr = phdr[i].p_vaddr - in_page;
		table[n].pages = (in_page + phdr[i].p_filesz + PAGE - 1) / PAGE;
		n++;
	}
	bitmap->nr_segments = n;
	bitmap->layout_crc = ~layout;
	fix_crc();
}

/* A segment where none can be; often with a bitmap that agrees. */
static void damage_loads(void)
{
	static const size_t fields[] = {
		offsetof(Elf64_Phdr, p_offset), offsetof(Elf64_Phdr, p_vaddr),
		offsetof(Elf64_Phdr, p_filesz), offsetof(Elf64_Phdr, p_memsz),
		offsetof(Elf64_Phdr, p_align),
	};
	int i = below(ehdr->e_phnum);

	while (phdr[i].p_type != PT_LOAD)
		i = (i + 1) % ehdr->e_phnum;
	odd_field((char *)&phdr[i] + fields[below(5)], sizeof(uint64_t));
	/* As far from its page as before: else it is not looked at. */
	if (below(2)) {
		phdr[i].p_vaddr &= -PAGE;
		phdr[i].p_offset &= -PAGE;
	}
	if (below(4))
		follow_loads();
}

/* Pages and objects that nobody recorded, under checksums that are right. */
static void damage_prediction(void)
{
	unsigned char *p = (unsigned char *)bitmap;
	size_t planes = bitmap->header_size +
			bitmap->nr_segments * sizeof(struct pbitmap_segment);
	size_t objects = bitmap->objects_offset ?: bitmap->size;
	int n = 1 + below(64);

	while (n--)
		p[planes + below(bitmap->size - planes)] = noise();
	bitmap->launches = odd_number(1);
	bitmap->planes_crc = crc(p + planes, objects - planes);
	bitmap->objects_crc = crc(p + objects, bitmap->size - objects);
	fix_crc();
}

/* More section headers than anybody wants to read. */
static void many_sections(void)
{
	size_t n = below(10) ? 100 + below(6000) : below(2) ? 65000 : 70000;
	size_t first = (seed_size + 63) & -64UL;
	Elf64_Shdr *shdr = (void *)(mutant + first);
	Elf64_Shdr ours = *section;

	memset(mutant + seed_size, 0, first - seed_size + n * sizeof(*shdr));
	mutant_size = first + n * sizeof(*shdr);
	ehdr->e_shoff = first;
	ehdr->e_shnum = n < SHN_LORESERVE ? n : 0;
	if (!ehdr->e_shnum)
		shdr[0].sh_size = n;
	shdr[below(2) ? n - 1 - below(100) : below(n)] = ours;
}

/* The whole bitmap once more, over what is mapped, and the section there. */
static void overlap(void)
{
	size_t at = below((loads_end() + PAGE - 1) / PAGE) * PAGE;

	memmove(mutant + at, bitmap, bitmap_size);
	if (at) {
		section->sh_offset = at;
		return;
	}
	/* It was the headers: have them point there nevertheless. */
	memcpy(mutant, seed, PAGE);
	section->sh_offset = below(8) * 8;
}

static void (*const damages[MUTATE_KINDS])(void) = {
	damage_header, damage_table, damage_bitmap, damage_planes,
	damage_section, damage_section_headers, damage_way, damage_phdr,
	damage_length,
	/* MUTATE_BITMAP_KINDS */
	damage_elf, damage_phdrs, damage_loads, damage_prediction,
	many_sections, overlap,
};

void mutate(unsigned int number, unsigned int kinds)
{
	state = number;
	mutate_not();
	damages[number % kinds]();
	if (below(4) == 0)
		damage_bitmap();
}

/* Names that lead where an exec must not go, or nowhere. */
static const char *const bad_names[] = {
	"/dev/null", "/dev/vda", "/dev/console", "/dev/random",
	"/proc/self/exe", "/proc/self/root/etc/passwd", "/proc/kmsg",
	"/sys/kernel/debug", "/sys/kernel/config", "/bad/fifo", "/bad/loop",
	"/bad/loop/a/b", "/bad", "/bad/secret", "/bad/fuse/x", "/bad/dangling",
	"/etc/shadow", "/root/x", "/usr/bin/../bin/true", "/usr//bin/true",
	"/usr/bin/.", "/usr/bin/true/", "usr/bin/true", "/", "//", "/.", "/..",
	"", ".", "/tmp", "/usr/bin/true", "/usr/bin/ffmpeg", "/etc/passwd",
	"/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2",
	"/usr/lib/x86_64-linux-gnu/libm.so.6", "/no/such/file",
};

/* Append to the list of objects, of which @used bytes are in use, what fits. */
static size_t add_bytes(size_t used, const void *bytes, size_t n)
{
	if (n > bitmap->objects_size - used)
		n = bitmap->objects_size - used;
	memcpy((char *)bitmap + bitmap->objects_offset + used, bytes, n);
	return used + n;
}

static size_t add_entry(size_t used, unsigned int counter, unsigned int shared,
			unsigned int len, const char *rest)
{
	unsigned char head[] = { counter, shared, len };

	used = add_bytes(used, head, sizeof(head));
	return add_bytes(used, rest, strnlen(rest, len));
}

static size_t add_random(size_t used)
{
	const char *name = bad_names[below(sizeof(bad_names) /
					   sizeof(*bad_names))];
	char bytes[256];
	unsigned int i;

	switch (below(8)) {
	case 0:
		for (i = 0; i < sizeof(bytes); i++)
			bytes[i] = noise();
		return add_bytes(used, bytes, 1 + below(sizeof(bytes)));
	case 1:	/* as long as a name can be */
		memset(bytes, 'a' + below(26), sizeof(bytes) - 1);
		bytes[0] = '/';
		bytes[sizeof(bytes) - 1] = '\0';
		return add_entry(used, below(4), below(256), 255, bytes);
	case 2:	/* says more than there is, or shares what is not there */
		return add_entry(used, below(256), below(256), below(256),
				 name);
	default:
		return add_entry(used, below(4), 0, strlen(name), name);
	}
}

void mutate_list(unsigned int number)
{
	unsigned char *list;
	size_t used = 0;
	unsigned int n;

	state = number;
	mutate_not();
	if (!bitmap->objects_offset)
		errx(2, "the seed has no room for objects");
	list = (unsigned char *)bitmap + bitmap->objects_offset;
	memset(list, 0, bitmap->objects_size);
	n = below(4) ? 1 + below(40) : bitmap->objects_size;
	while (n-- && used < bitmap->objects_size)
		used = add_random(used);
	bitmap->launches = 1;
	bitmap->objects_crc = crc(list, bitmap->objects_size);
	switch (below(32)) {
	case 0:
		bitmap->objects_offset = below(1 << 20);
		break;
	case 1:
		bitmap->objects_size = below(1 << 20);
		break;
	case 2:
		bitmap->objects_offset = -below(16);
		break;
	case 3:
		bitmap->size = bitmap->objects_offset + below(1 << 17);
	}
	fix_crc();
}
