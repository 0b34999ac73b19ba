// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program without libc that reads a byte at each address that it is given,
 * in hexadecimal, for layouts that are not everyday's: of its pages only that
 * of its code is touched besides.  The layouts:
 *
 *	HUGE		300 MiB of constants
 *	SECTIONS	1,100 sections, 32 in a page
 *	LOADS		segments as layout.lds has them
 */
#include "bare.h"

#if defined(HUGE)
asm(".section .rodata,\"a\",@progbits\n"
    ".balign 4096\n"
    ".globl pages_rodata\n"
    "pages_rodata:\n"
    ".space 300 << 20\n"
    ".previous\n");
#elif defined(SECTIONS)
asm(".altmacro\n"
    ".macro one n\n"
    ".section .s\\n,\"a\",@progbits\n"
    ".balign 128\n"
    ".long 1\n"
    ".endm\n"
    ".section .s0,\"a\",@progbits\n"
    ".balign 4096\n"
    ".globl pages_sections\n"
    "pages_sections:\n"
    ".set n, 0\n"
    ".rept 1100\n"
    "one %n\n"
    ".set n, n + 1\n"
    ".endr\n"
    ".text\n");
#elif defined(LOADS)
#define PART(name, flags, rest)						\
	asm(".section ." name ",\"" flags "\",@progbits\n"		\
	    ".byte 1\n"							\
	    rest "\n"							\
	    ".previous\n")
PART("a", "a", ".space 3 * 4096 - 1");
PART("b", "a", ".space 99");
PART("c", "aw", ".space 5000");
PART("d", "a", "");
PART("e", "aw", ".space 4095");
PART("f", "a", ".space 64 * 4096 - 1");
PART("g", "aw", ".space 4096");
PART("h", "a", ".space 70 * 4096");
#endif

static CODE __attribute__((noreturn)) void leave(int status)
{
	asm volatile("syscall" : : "a" (231), "D" (status));
	__builtin_unreachable();
}

/* STACK is argc, then argv. */
CODE __attribute__((noreturn)) void bare_main(long *stack)
{
	char **argv = (char **)(stack + 1);
	long i;

	for (i = 1; i < stack[0]; i++) {
		unsigned long address = 0;
		const char *p;

		for (p = argv[i]; *p; p++) {
			unsigned int digit = *p <= '9' ? *p - '0' : *p - 'a' + 10;

			if (digit > 15)
				leave(2);
			address = address * 16 + digit;
		}
		*(volatile char *)address;
	}
	leave(0);
}
