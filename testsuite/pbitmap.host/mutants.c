// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mutants: give damaged copies of an annotated DSO to dlopen.
 *
 *	mutants SEED COPY COUNT [KIND...]
 *
 * Makes COUNT copies of the DSO SEED as the file COPY, each damaged in its own
 * way in what a reader of its bitmap goes by: the bitmap, its section header,
 * what leads to that, the length of the file. KINDs, numbers of the table of
 * damages below, leave out the others. Prints for each copy what dlopen did:
 * "ok", dlopen's error, or the signal. The same number is the same damage, so
 * that two runs can be compared.
 */
#include <dlfcn.h>
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pbitmap.h>

static unsigned char *seed, *image;
static size_t seed_size, size;
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

static void read_seed(const char *name)
{
	struct stat st;
	int fd = open(name, O_RDONLY);

	if (fd < 0 || fstat(fd, &st))
		err(2, "%s", name);
	seed_size = st.st_size;
	seed = malloc(seed_size);
	image = malloc(seed_size);
	if (!seed || !image)
		err(2, "%s", name);
	if (read(fd, seed, seed_size) != (ssize_t)seed_size)
		err(2, "%s", name);
	close(fd);
}

/* A fresh image, and pointers to its parts. */
static void fresh(void)
{
	Elf64_Shdr *shdr;
	int i;

	memcpy(image, seed, seed_size);
	size = seed_size;
	ehdr = (void *)image;
	phdr = (void *)(image + ehdr->e_phoff);
	shdr = (void *)(image + ehdr->e_shoff);
	section = NULL;
	for (i = 0; i < ehdr->e_shnum; i++)
		if (shdr[i].sh_type == SHT_PRESENT_BITMAP)
			section = &shdr[i];
	if (!section)
		errx(2, "the seed has no bitmap");
	bitmap = (void *)(image + section->sh_offset);
	bitmap_size = section->sh_size;
}

static uint32_t crc(const unsigned char *p, size_t n)
{
	uint32_t crc = ~0U;
	int i;

	while (n--) {
		crc ^= *p++;
		for (i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

/* So that what was damaged behind the checksum is looked at. */
static void fix_crc(void)
{
	size_t n = bitmap->header_size +
		   bitmap->nr_segments * sizeof(struct pbitmap_segment);

	if (n > bitmap_size || n < sizeof(*bitmap))
		return;
	bitmap->header_crc = 0;
	bitmap->header_crc = crc((unsigned char *)bitmap, n);
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
	odd_part(image + ehdr->e_shoff, ehdr->e_shnum * sizeof(*section));
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

/* Never into a PT_LOAD: whoever maps that gets SIGBUS, bitmap or not. */
static void damage_length(void)
{
	size_t end = 0;
	int i;

	for (i = 0; i < ehdr->e_phnum; i++)
		if (phdr[i].p_type == PT_LOAD &&
		    phdr[i].p_offset + phdr[i].p_filesz > end)
			end = phdr[i].p_offset + phdr[i].p_filesz;
	size = end + below(seed_size - end);
}

static void (*const damages[])(void) = {
	damage_header, damage_table, damage_bitmap, damage_planes,
	damage_section, damage_section_headers, damage_way, damage_phdr,
	damage_length,
};

#define NR_DAMAGES (sizeof(damages) / sizeof(damages[0]))

static void mutate(unsigned int number)
{
	state = number;
	fresh();
	damages[number % NR_DAMAGES]();
	if (below(4) == 0)
		damage_bitmap();
}

static void write_copy(const char *copy)
{
	int fd;

	unlink(copy);
	fd = open(copy, O_WRONLY | O_CREAT | O_EXCL, 0700);
	if (fd < 0 || write(fd, image, size) != (ssize_t)size || close(fd))
		err(2, "%s", copy);
}

/* In a process of its own, so that a crash is a result. */
static void open_copy(const char *copy)
{
	void *handle = dlopen(copy, RTLD_NOW);
	int (*answer)(void);

	if (!handle) {
		puts(dlerror());
		return;
	}
	answer = (int (*)(void))dlsym(handle, "answer");
	puts(answer && answer() == 42 && !dlclose(handle) ? "ok" : "not ok");
}

static void try(unsigned int number, const char *copy)
{
	int status;
	pid_t pid;

	mutate(number);
	write_copy(copy);
	printf("%u ", number);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		open_copy(copy);
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		err(2, "fork");
	if (WIFSIGNALED(status))
		printf("signal %d\n", WTERMSIG(status));
	else if (status)
		printf("status %d\n", WEXITSTATUS(status));
	fflush(stdout);
}

/* Whether one of the KINDs is that of this number. */
static int wanted(unsigned int number, char **kinds)
{
	if (!*kinds)
		return 1;
	while (*kinds)
		if (number % NR_DAMAGES == strtoul(*kinds++, NULL, 10))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int number, count;

	if (argc < 4)
		errx(2, "usage: mutants SEED COPY COUNT [KIND...]");
	read_seed(argv[1]);
	count = atoi(argv[3]);
	for (number = 0; count; number++) {
		if (!wanted(number, argv + 4))
			continue;
		try(number, argv[2]);
		count--;
	}
	unlink(argv[2]);
	return 0;
}
