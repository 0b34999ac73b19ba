// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Do what the arguments say, one after the other:
 *
 *	t1,4-6		touch these pages of the text block (pages.h); also
 *			r, d and w
 *	present M-N	print which pages M to N of the blocks have a PTE
 *	resident M-N	print which of them are in the page cache
 *	dlopen FILE	load FILE and use its blocks from here on
 *	wait FILE	wait until FILE exists
 *	lock B		lock block B (t, r or d) in memory, unlock B releases it
 *	populate B	have all of it mapped, without looking at it
 *	move B		move its mapping, and use it there from here on
 *	cold B, pageout B, drop B
 *			say that block B will not be needed soon, have it
 *			reclaimed, take it out of the page tables
 *	eat		use up all memory
 *	user N		become user N
 *	fork		a child does the rest; then end as it did
 *	exec FILE ARG...	become another program
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pages.h"

#ifdef LATE
/* The blocks are in a library that is loaded later. */
static char *(*block)(char kind);
static unsigned int (*touch)(char kind, unsigned int n);

static void load(const char *file)
{
	void *handle = dlopen(file, RTLD_NOW);

	if (!handle)
		errx(2, "%s", dlerror());
	block = dlsym(handle, "pages_block");
	touch = dlsym(handle, "pages_touch");
}
#else
#define block pages_block
#define touch pages_touch

static void load(const char *file)
{
	errx(2, "%s: only pages-dlopen loads", file);
}
#endif

static const char kinds[] = { PAGES_TEXT, PAGES_RODATA, PAGES_DATA };

#define BLOCK_SIZE	(PAGES * PAGES_SIZE)

/* Where blocks are that were moved. */
static char *moved[128];

static char *block_at(char kind)
{
	if (kind == PAGES_WRITE)
		kind = PAGES_DATA;
	return moved[(int)kind] ? moved[(int)kind] : block(kind);
}

/* As touch(), but for the code that does it. */
static unsigned int touch_at(char kind, unsigned int n)
{
	volatile unsigned int *page = (void *)(block_at(kind) + n * PAGES_SIZE);

	if (kind == PAGES_TEXT)
		return ((unsigned int (*)(void))page)();
	if (kind == PAGES_WRITE)
		*page = n;
	return *page;
}

static unsigned int touch_one(char kind, unsigned int n)
{
	if (block_at(kind) == block(kind))
		return touch(kind, n);
	return touch_at(kind, n);
}

static void touch_list(const char *list)
{
	const char *p = list + 1;

	while (*p) {
		char *end;
		unsigned long n = strtoul(p, &end, 10);
		unsigned long last = n;

		if (end == p)
			errx(2, "bad list %s", list);
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (; n <= last; n++) {
			if (n >= PAGES || touch_one(*list, n) != n)
				errx(2, "%c%lu is not what it was", *list, n);
		}
		p = *end == ',' ? end + 1 : end;
	}
}

static bool in_page_table(const char *page)
{
	uint64_t entry;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (pread(fd, &entry, sizeof(entry), (uintptr_t)page / PAGES_SIZE *
		  sizeof(entry)) != sizeof(entry))
		err(2, "pagemap");
	close(fd);
	return entry >> 63;
}

static bool in_page_cache(const char *page)
{
	unsigned char state;

	if (mincore((void *)page, PAGES_SIZE, &state))
		err(2, "mincore");
	return state & 1;
}

/* Print which pages of a block, from LOW to HIGH, are so, as a list. */
static bool print_block(char kind, int low, int high, const char *separator,
			bool (*is_so)(const char *page))
{
	bool any = false;
	int n, start = -1;

	for (n = low; n <= high + 1; n++) {
		bool so = n <= high && is_so(block_at(kind) + n * PAGES_SIZE);

		if (so && start < 0) {
			start = n;
			continue;
		}
		if (so || start < 0)
			continue;
		if (any)
			printf(",%d", start);
		else
			printf("%s%c%d", separator, kind, start);
		if (n - 1 > start)
			printf("-%d", n - 1);
		any = true;
		start = -1;
	}
	return any;
}

static void print_pages(const char *range, bool (*is_so)(const char *page))
{
	const char *separator = "";
	int low, high;
	size_t k;

	if (sscanf(range, "%d-%d", &low, &high) != 2 || high >= PAGES)
		errx(2, "bad range %s", range);
	for (k = 0; k < sizeof(kinds); k++)
		if (print_block(kinds[k], low, high, separator, is_so))
			separator = " ";
	puts("");
	fflush(stdout);
}

static void print_present(const char *range)
{
	print_pages(range, in_page_table);
}

static void print_resident(const char *range)
{
	print_pages(range, in_page_cache);
}

/* Return in a child; the parent ends as the child did. */
static void fork_rest(void)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		err(2, "fork");
	if (!pid)
		return;
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		errx(2, "a child was killed");
	exit(WEXITSTATUS(status));
}

static void wait_for(const char *file)
{
	while (access(file, F_OK))
		usleep(10000);
}

static void lock(const char *kind)
{
	if (mlock(block_at(*kind), BLOCK_SIZE))
		err(2, "mlock");
}

static void unlock(const char *kind)
{
	if (munlock(block_at(*kind), BLOCK_SIZE))
		err(2, "munlock");
}

static void advise(const char *kind, int advice)
{
	if (madvise(block_at(*kind), BLOCK_SIZE, advice))
		err(2, "madvise %d", advice);
}

static void populate(const char *kind)
{
	advise(kind, MADV_POPULATE_READ);
}

static void cold(const char *kind)
{
	advise(kind, MADV_COLD);
}

static void pageout(const char *kind)
{
	advise(kind, MADV_PAGEOUT);
}

static void drop(const char *kind)
{
	advise(kind, MADV_DONTNEED);
}

static void move(const char *kind)
{
	char *new = mmap(NULL, BLOCK_SIZE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (new == MAP_FAILED)
		err(2, "mmap");
	new = mremap(block_at(*kind), BLOCK_SIZE, BLOCK_SIZE,
		     MREMAP_MAYMOVE | MREMAP_FIXED, new);
	if (new == MAP_FAILED)
		err(2, "mremap");
	moved[(int)*kind] = new;
}

static void eat(void)
{
	const size_t piece = 1 << 20;

	for (;;) {
		char *p = mmap(NULL, piece, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			err(2, "mmap");
		memset(p, 1, piece);
	}
}

static void become_user(const char *number)
{
	uid_t uid = atoi(number);

	if (setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
		err(2, "setresuid");
}

static void become(char **argv)
{
	execv(argv[0], argv);
	err(2, "%s", argv[0]);
}

/* Verbs that want an argument. */
static const struct {
	const char *name;
	void (*run)(const char *arg);
} verbs[] = {
	{ "present", print_present },
	{ "resident", print_resident },
	{ "dlopen", load },
	{ "wait", wait_for },
	{ "lock", lock },
	{ "unlock", unlock },
	{ "populate", populate },
	{ "move", move },
	{ "cold", cold },
	{ "pageout", pageout },
	{ "drop", drop },
	{ "user", become_user },
};

static bool run_verb(const char *name, const char *arg)
{
	size_t i;

	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!strcmp(name, verbs[i].name)) {
			verbs[i].run(arg);
			return true;
		}
	}
	return false;
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		const char *arg = argv[i];

		if (i + 1 < argc && run_verb(arg, argv[i + 1]))
			i++;
		else if (!strcmp(arg, "fork"))
			fork_rest();
		else if (!strcmp(arg, "eat"))
			eat();
		else if (i + 1 < argc && !strcmp(arg, "exec"))
			become(argv + i + 1);
		else
			touch_list(arg);
	}
	return 0;
}
