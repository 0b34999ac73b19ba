/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a program without a C library begins: bare_main(), on the stack that the
 * kernel made.  With BARE_LIBRARY only where its code lies, nothing to start.
 */
#ifndef BARE_H
#define BARE_H

/* All code in one page, which begins with the asm (-fno-toplevel-reorder). */
#define CODE __attribute__((section(".text.bare"), used))
asm(".section .text.bare,\"ax\",@progbits\n"
    ".balign 4096\n"
    ".globl bare_code\n"
    ".hidden bare_code\n"
    "bare_code:\n"
#ifndef BARE_LIBRARY
    ".globl _start\n"
    "_start:\n"
    "xor %ebp, %ebp\n"
    "mov %rsp, %rdi\n"
    "and $-16, %rsp\n"
    "call bare_main\n"
#endif
    ".previous\n");

#endif
