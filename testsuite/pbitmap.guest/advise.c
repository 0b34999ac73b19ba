// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * madvise(MADV_PBITMAP), case by case: advise CASE FILE maps FILE, an
 * annotated object, where the case needs it.  Says what is wrong and ends
 * with 1, or ends with 0.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/pbitmap.h>

#define PAGE	4096UL

static const char *file;

static void expect(const char *what, void *addr, size_t length, int want)
{
	int got = madvise(addr, length, MADV_PBITMAP) ? errno : 0;

	if (got != want)
		errx(1, "%s: errno %d, want %d", what, got, want);
}

/* Map the file from its beginning, over ADDR if that is not NULL. */
static char *map_file(void *addr, size_t length)
{
	int fd = open(file, O_RDONLY);
	char *p = mmap(addr, length, PROT_READ,
		       MAP_PRIVATE | (addr ? MAP_FIXED : 0), fd, 0);

	if (fd < 0 || p == MAP_FAILED)
		err(1, "%s", file);
	close(fd);
	return p;
}

static char *map_anonymous(size_t length)
{
	char *p = mmap(NULL, length, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

static size_t file_size(void)
{
	struct stat st;

	if (stat(file, &st))
		err(1, "%s", file);
	return st.st_size;
}

static void probe(void)
{
	expect("probe", NULL, 0, 0);
}

static void disabled(void)
{
	expect("probe", NULL, 0, EINVAL);
	expect("a file", map_file(NULL, PAGE), PAGE, EINVAL);
}

static void unaligned(void)
{
	char *p = map_file(NULL, 2 * PAGE);

	expect("address 1", p + 1, PAGE, EINVAL);
	expect("address of half a page", p + PAGE / 2, PAGE, EINVAL);
	expect("address 1, no length", p + 1, 0, EINVAL);
}

static void bad_length(void)
{
	char *p = map_file(NULL, PAGE);

	expect("a length that wraps", p, -PAGE, EINVAL);
	expect("a length that rounds to 0", p, -1UL, EINVAL);
	expect("a length of 1", p, 1, 0);
}

static void hole(void)
{
	char *p = map_anonymous(3 * PAGE);

	munmap(p + PAGE, PAGE);
	expect("a hole between", p, 3 * PAGE, ENOMEM);
	munmap(p, PAGE);
	expect("a hole before", p, 3 * PAGE, ENOMEM);
	munmap(p + 2 * PAGE, PAGE);
	expect("nothing there", p, 3 * PAGE, ENOMEM);
}

/* What is mapped behind a hole is enrolled all the same: its first page. */
static void behind_hole(void)
{
	size_t size = file_size() & -PAGE;
	char *p = map_anonymous(size + 2 * PAGE);

	munmap(p + PAGE, PAGE);
	map_file(p + 2 * PAGE, size);
	expect("a hole", p, size + 2 * PAGE, ENOMEM);
	*(volatile char *)(p + 2 * PAGE);
}

static void anonymous(void)
{
	char *p = map_anonymous(4 * PAGE);

	expect("untouched", p, 4 * PAGE, 0);
	memset(p, 1, 4 * PAGE);
	expect("touched", p, 4 * PAGE, 0);
	if (p[0] != 1 || p[4 * PAGE - 1] != 1)
		errx(1, "the memory changed");
}

/* FILE has no bitmap. */
static void no_bitmap(void)
{
	expect("whole", map_file(NULL, file_size()), file_size(), 0);
}

static void twice(void)
{
	char *p = map_file(NULL, file_size());
	int i;

	for (i = 0; i < 100; i++)
		expect("again", p, file_size(), 0);
	*(volatile char *)p;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
		{ "probe", probe },
		{ "disabled", disabled },
		{ "unaligned", unaligned },
		{ "bad-length", bad_length },
		{ "hole", hole },
		{ "behind-hole", behind_hole },
		{ "anonymous", anonymous },
		{ "no-bitmap", no_bitmap },
		{ "twice", twice },
	};
	size_t i;

	if (argc != 3)
		errx(2, "usage: advise CASE FILE");
	file = argv[2];
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			return 0;
		}
	}
	errx(2, "no case %s", argv[1]);
}
