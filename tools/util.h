/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What several commands need to read and print. */
#ifndef PBITMAP_UTIL_H
#define PBITMAP_UTIL_H

#include <stdint.h>

struct json_object;

/* All of a file, as a string to be freed; NULL with errno 0: it is empty. */
char *read_text(const char *file);

/* A value for @key: a number, or a part of 1 with four decimals. */
void add_number(struct json_object *object, const char *key, uint64_t value);
void add_part(struct json_object *object, const char *key, double value);

/* As text, with ? for what a terminal might take for a command. */
void print_path(const char *path);

/* Prints the whole, and frees it. */
void print_document(struct json_object *root);

#endif /* PBITMAP_UTIL_H */
