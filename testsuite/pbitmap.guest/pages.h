/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks of pages that a program touches one by one, and nothing else does.
 */
#ifndef PAGES_H
#define PAGES_H

/* Pages in each block, and their size. */
#ifndef PAGES
#define PAGES		256
#endif
#define PAGES_SIZE	4096

/* The blocks: functions, constants, data read, data written. */
#define PAGES_TEXT	't'
#define PAGES_RODATA	'r'
#define PAGES_DATA	'd'
#define PAGES_WRITE	'w'

/* Where the block begins. */
char *pages_block(char kind);

/* Touch page N of a block; what stands there, which is N. */
unsigned int pages_touch(char kind, unsigned int n);

#endif
