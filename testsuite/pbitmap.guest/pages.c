// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Blocks of pages that a program touches one by one, and nothing else does:
 * page-aligned functions, constants and data, in the segments that the linker
 * puts such things into.  Each page holds its number.
 */
#include "pages.h"

/* Attributes of the code here, for who wants to know its page. */
#ifndef PAGES_CODE
#define PAGES_CODE
#endif

#define STR_(x) #x
#define STR(x) STR_(x)
#define BLOCK(section, flags, symbol, insn)				\
	asm(".section " section ",\"" flags "\",@progbits\n"		\
	    ".balign " STR(PAGES_SIZE) "\n"				\
	    ".globl " symbol "\n"					\
	    ".hidden " symbol "\n"					\
	    symbol ":\n"						\
	    ".set n, 0\n"						\
	    ".rept " STR(PAGES) "\n"					\
	    insn "\n"							\
	    ".balign " STR(PAGES_SIZE) "\n"				\
	    ".set n, n + 1\n"						\
	    ".endr\n"							\
	    ".previous\n")

BLOCK(".text.pages", "ax", "pages_text", "mov $n, %eax; ret");
BLOCK(".rodata.pages", "a", "pages_rodata", ".long n");
BLOCK(".data.pages", "aw", "pages_data", ".long n");

#define HIDDEN __attribute__((visibility("hidden")))

extern char pages_text[] HIDDEN;
extern char pages_rodata[] HIDDEN;
extern char pages_data[] HIDDEN;

PAGES_CODE char *pages_block(char kind)
{
	if (kind == PAGES_TEXT)
		return pages_text;
	return kind == PAGES_RODATA ? pages_rodata : pages_data;
}

PAGES_CODE unsigned int pages_touch(char kind, unsigned int n)
{
	volatile unsigned int *page;

	page = (void *)(pages_block(kind) + n * PAGES_SIZE);
	if (kind == PAGES_TEXT)
		return ((unsigned int (*)(void))page)();
	if (kind == PAGES_WRITE)
		*page = n;
	return *page;
}
