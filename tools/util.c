// SPDX-License-Identifier: GPL-2.0-or-later
/* What several commands need to read and print. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "util.h"

char *read_text(const char *file)
{
	FILE *stream = fopen(file, "r");
	char *text = NULL;
	size_t size = 0;

	if (!stream)
		return NULL;
	errno = 0;
	if (getdelim(&text, &size, '\0', stream) < 0) {
		free(text);
		text = NULL;
	}
	fclose(stream);
	return text;
}

void add_number(json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

void add_part(json_object *object, const char *key, double value)
{
	json_object *number = json_object_new_double(value);

	json_object_set_serializer(number, json_object_double_to_json_string,
				   "%.4f", NULL);
	json_object_object_add(object, key, number);
}

void print_path(const char *path)
{
	unsigned char c;

	while ((c = *path++))
		putchar(c < ' ' || c == 0x7f ? '?' : c);
}

void print_document(json_object *root)
{
	puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(root);
}
