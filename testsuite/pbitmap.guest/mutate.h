/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Damage an annotated ELF file in what a reader of its bitmap goes by.
 */
#ifndef MUTATE_H
#define MUTATE_H

#include <stddef.h>

/*
 * Kinds of damage: number N is of kind N % KINDS.  The first ones leave alone
 * what the object itself is loaded by: whoever ignores bitmaps sees no
 * difference.
 */
#define MUTATE_BITMAP_KINDS	9
#define MUTATE_KINDS		15

/* Read the file to damage. */
void mutate_read(const char *name);

/* Make copy NUMBER of it, or one without damage; valid until the next. */
void mutate(unsigned int number, unsigned int kinds);
void mutate_not(void);
/* Or one with a list of objects that nobody should believe. */
void mutate_list(unsigned int number);
extern unsigned char *mutant;
extern size_t mutant_size;

/* Where the section of the undamaged file lies. */
extern size_t mutate_section, mutate_section_size;

#endif
