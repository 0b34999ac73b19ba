// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An object of 8192 pages, 32 MiB, and code that touches a set of them which
 * is drawn by lot:
 *
 *	wide SEED CLUMPS PAGES PROCESSES
 *
 * touches CLUMPS clumps of PAGES neighbours each, of all four blocks, in an
 * order of its own, shared out among so many processes.  Who knows the
 * arguments knows the set: accuracy.exp draws it again.
 *
 * Built as a program without libc (BARE), whose every page is known, as a
 * library, and as a program that calls it (MAIN).
 */
#define PAGE		4096UL

/* Pages of the blocks, and of all. */
#define TEXT		512
#define RODATA		2560
#define RELRO		1024
#define DATA		4096
#define ALL		(TEXT + RODATA + RELRO + DATA)

#ifdef MAIN

int wide(char **argv);

int main(int argc, char **argv)
{
	return argc == 5 ? wide(argv) : 2;
}

#else

#ifndef BARE
#define BARE_LIBRARY
#endif
#include "bare.h"

#define STR_(x) #x
#define STR(x) STR_(x)
#define BLOCK(section, flags, symbol, pages, insn)			\
	asm(".section " section ",\"" flags "\",@progbits\n"		\
	    ".balign 4096\n"						\
	    ".globl " symbol "\n"					\
	    ".hidden " symbol "\n"					\
	    symbol ":\n"						\
	    ".rept " STR(pages) "\n"					\
	    insn "\n"							\
	    ".endr\n"							\
	    ".previous\n")

/* Zeros are not stored, but in the text: a copy is with or without holes. */
BLOCK(".text.pages", "ax", "pages_text", TEXT, "ret; .balign 4096, 0");
BLOCK(".rodata.pages", "a", "pages_rodata", RODATA, ".space 4096");
/* One page in 64 is changed by ld.so. */
BLOCK(".data.rel.ro.pages", "aw", "pages_relro", RELRO / 64,
      ".quad pages_relro; .space 64 * 4096 - 8");
BLOCK(".data.pages", "aw", "pages_data", DATA, ".space 4096");

#define HIDDEN __attribute__((visibility("hidden")))

extern char pages_text[] HIDDEN;
extern char pages_rodata[] HIDDEN;
extern char pages_relro[] HIDDEN;
extern char pages_data[] HIDDEN;

static CODE long call(long nr, long a, long b, long c, long d)
{
	register long r10 asm("r10") = d;
	long ret;

	asm volatile("syscall" : "=a" (ret) : "a" (nr), "D" (a), "S" (b),
		     "d" (c), "r" (r10) : "rcx", "r11", "memory");
	return ret;
}

#define SYS_NANOSLEEP	35
#define SYS_FORK	57
#define SYS_WAIT4	61
#define SYS_EXIT_GROUP	231

static CODE void touch(unsigned int n, unsigned int seed)
{
	if (n < TEXT) {
		((void (*)(void))(pages_text + n * PAGE))();
		return;
	}
	n -= TEXT;
	if (n < RODATA) {
		*(volatile char *)(pages_rodata + n * PAGE);
		return;
	}
	n -= RODATA;
	if (n < RELRO) {
		*(volatile char *)(pages_relro + n * PAGE);
		return;
	}
	n -= RELRO;
	if ((n ^ seed) & 1)
		*(volatile char *)(pages_data + n * PAGE + 8) = 1;
	else
		*(volatile char *)(pages_data + n * PAGE + 8);
}

static CODE unsigned int number(const char *p)
{
	unsigned int n = 0;

	while (*p >= '0' && *p <= '9')
		n = n * 10 + *p++ - '0';
	return n;
}

/*
 * Draw the clumps, and touch those that are ours.  The multiplier is odd, so
 * that all are visited, and large, so that neighbours are not.
 */
static CODE void touch_set(unsigned int seed, unsigned int clumps,
			   unsigned int size, unsigned int processes,
			   unsigned int self)
{
	unsigned int all = ALL / size, state = seed, i, j;

	for (i = 0; i < all && clumps; i++) {
		unsigned int first = (i * 5167 + seed) % all * size;

		state = state * 1664525 + 1013904223;
		if ((state >> 16) % (all - i) >= clumps)
			continue;
		if (clumps-- % processes != self)
			continue;
		for (j = 0; j < size; j++)
			touch(first + j, seed);
	}
}

/*
 * A cold launch reads its bitmap without waiting for it and looks for it when
 * a page of a file is faulted in: children that stay a moment fault.
 */
static CODE void stay(void)
{
	volatile long moment[2];	/* no constants in another page */
	int i;

	moment[0] = 0;
	moment[1] = 10000000;
	for (i = 0; i < 12; i++) {
		long pid = call(SYS_FORK, 0, 0, 0, 0);

		if (!pid) {
			call(SYS_NANOSLEEP, (long)moment, 0, 0, 0);
			call(SYS_EXIT_GROUP, 0, 0, 0, 0);
		}
		call(SYS_WAIT4, pid, 0, 0, 0);
	}
}

CODE int wide(char **argv)
{
	unsigned int seed = number(argv[1]), clumps = number(argv[2]);
	unsigned int size = number(argv[3]), processes = number(argv[4]);
	unsigned int self = 0;

	stay();
	while (self + 1 < processes && !call(SYS_FORK, 0, 0, 0, 0))
		self++;
	touch_set(seed, clumps, size, processes, self);
	/* The one that each has, or an error: no matter. */
	call(SYS_WAIT4, -1, 0, 0, 0);
	if (self)
		call(SYS_EXIT_GROUP, 0, 0, 0, 0);
	return 0;
}

#ifdef BARE
/* STACK is argc, then argv. */
CODE __attribute__((noreturn)) void bare_main(long *stack)
{
	int status = stack[0] == 5 ? wide((char **)(stack + 1)) : 2;

	call(SYS_EXIT_GROUP, status, 0, 0, 0);
	__builtin_unreachable();
}
#endif
#endif
