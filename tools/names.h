/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sections and symbols of an ELF file, by address. */
#ifndef PBITMAP_NAMES_H
#define PBITMAP_NAMES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json_object;

struct name {
	uint64_t start;
	uint64_t end;
	uint64_t flags;			/* of a section: sh_flags */
	const char *name;
};

/* In the order of their addresses; no two symbols start at the same. */
struct names {
	struct Dwfl *dwfl;
	struct name *sections;
	size_t nr_sections;
	struct name *symbols;
	size_t nr_symbols;
};

int names_open(const char *file, struct names *names);
void names_close(struct names *names);

/*
 * Walk what overlaps @start to @end: the first entry, and its successor, NULL
 * when there is none.  first_symbol() falls back on the last one before that
 * lies in the same section.
 */
const struct name *first_section(const struct names *names, uint64_t start,
				 uint64_t end);
const struct name *next_section(const struct names *names,
				const struct name *at, uint64_t end);
const struct name *first_symbol(const struct names *names, uint64_t start,
				uint64_t end);
const struct name *next_symbol(const struct names *names,
			       const struct name *at, uint64_t end);

/* As in the source, shortened; to be freed. */
char *readable(const char *symbol);

/* With ? for all that is not a character of ASCII. */
int harmless(char c);
void print_name(FILE *to, const char *name);
struct json_object *json_name(const char *name);

#endif /* PBITMAP_NAMES_H */
