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
 *	fork		a child does the rest; then end as it did
 *	exec FILE ARG...	become another program
 */
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
			if (n >= PAGES || touch(*list, n) != n)
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
		bool so = n <= high && is_so(block(kind) + n * PAGES_SIZE);

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

static void become(char **argv)
{
	execv(argv[0], argv);
	err(2, "%s", argv[0]);
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		const char *arg = argv[i];

		if (i + 1 < argc && !strcmp(arg, "present"))
			print_pages(argv[++i], in_page_table);
		else if (i + 1 < argc && !strcmp(arg, "resident"))
			print_pages(argv[++i], in_page_cache);
		else if (!strcmp(arg, "fork"))
			fork_rest();
		else if (i + 1 < argc && !strcmp(arg, "dlopen"))
			load(argv[++i]);
		else if (i + 1 < argc && !strcmp(arg, "wait"))
			wait_for(argv[++i]);
		else if (i + 1 < argc && !strcmp(arg, "exec"))
			become(argv + i + 1);
		else
			touch_list(arg);
	}
	return 0;
}
