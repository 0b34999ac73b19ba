// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Do what the arguments say, one after the other:
 *
 *	t1,4-6		touch these pages of the text block (pages.h); also
 *			r, d and w
 *	present		print how many pages of each block have a PTE
 *	resident N	print which pages from N on are in the page cache
 *	dlopen FILE	load FILE and use its blocks from here on
 *	wait FILE	wait until FILE exists
 *	fork		a child does the rest; then end as it did
 *	exec FILE ARG...	become another program
 */
#include <dlfcn.h>
#include <err.h>
#include <fcntl.h>
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

static void print_present(void)
{
	uint64_t entry[PAGES];
	int fd = open("/proc/self/pagemap", O_RDONLY);
	size_t k;
	int i;

	for (k = 0; k < sizeof(kinds); k++) {
		uintptr_t start = (uintptr_t)block(kinds[k]);
		int count = 0;

		if (pread(fd, entry, sizeof(entry),
			  start / PAGES_SIZE * sizeof(entry[0])) !=
		    sizeof(entry))
			err(2, "pagemap");
		for (i = 0; i < PAGES; i++)
			count += entry[i] >> 63;
		printf("%c %d ", kinds[k], count);
	}
	puts("");
	close(fd);
}

/* One block: its resident pages from FIRST on, in the form of a list. */
static int print_resident_block(const char *separator, char kind, int first)
{
	unsigned char state[PAGES + 1] = { 0 };
	int i, runs = 0;

	if (mincore(block(kind), PAGES * PAGES_SIZE, state))
		err(2, "mincore");
	for (i = first; i < PAGES; i++) {
		int start = i;

		if (!(state[i] & 1))
			continue;
		while (state[i + 1] & 1)
			i++;
		if (runs++)
			printf(",%d", start);
		else
			printf("%s%c%d", separator, kind, start);
		if (i > start)
			printf("-%d", i);
	}
	return runs;
}

static void print_resident(const char *first)
{
	const char *separator = "";
	size_t k;

	for (k = 0; k < sizeof(kinds); k++)
		if (print_resident_block(separator, kinds[k], atoi(first)))
			separator = " ";
	puts("");
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

		if (!strcmp(arg, "present"))
			print_present();
		else if (i + 1 < argc && !strcmp(arg, "resident"))
			print_resident(argv[++i]);
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
