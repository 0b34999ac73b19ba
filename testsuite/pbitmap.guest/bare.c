// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program without libc, whose every touched page is known: this page of
 * code, and the pages of the blocks (pages.h) that the arguments name, as in
 * "t1,4 r7".  Built as an executable, and as something that serves as the
 * interpreter of another.
 */
#include "bare.h"

#define PAGES_CODE CODE
#include "pages.c"

static CODE __attribute__((noreturn)) void leave(int status)
{
	asm volatile("syscall" : : "a" (231), "D" (status));
	__builtin_unreachable();
}

static CODE int touch_list(const char *list)
{
	const char *p = list + 1;

	while (*p) {
		unsigned int n = 0;

		while (*p >= '0' && *p <= '9')
			n = n * 10 + *p++ - '0';
		if (n >= PAGES || pages_touch(*list, n) != n)
			return 2;
		if (*p && *p++ != ',')
			return 2;
	}
	return 0;
}

/* STACK is argc, then argv. */
CODE __attribute__((noreturn)) void bare_main(long *stack)
{
	char **argv = (char **)(stack + 1);
	long i;

	for (i = 1; i < stack[0]; i++)
		if (touch_list(argv[i]))
			leave(2);
	leave(0);
}
