// SPDX-License-Identifier: LGPL-2.1-or-later
/* The objects that launches of an executable map: a list of names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Whether a part of a path is neither empty nor "." or "..". */
static bool is_plain(const char *part, size_t len)
{
	return len && !(part[0] == '.' &&
			(len == 1 || (len == 2 && part[1] == '.')));
}

/* Absolute and in its simplest form; no NUL inside its @len bytes. */
bool pb_is_object_name(const char *name, size_t len)
{
	const char *end = name + len, *slash;

	if (!len || len > PBITMAP_MAX_NAME || *name != '/' ||
	    memchr(name, '\0', len))
		return false;
	for (; name < end; name = slash) {
		slash = memchr(name + 1, '/', end - name - 1);
		if (!slash)
			slash = end;
		if (!is_plain(name + 1, slash - name - 1))
			return false;
	}
	return true;
}

static bool append(struct pbitmap *pb, const char *name, size_t len,
		   unsigned int counter)
{
	struct object *o = &pb->objects[pb->nr_objects];

	o->name = strndup(name, len);
	o->counter = counter;
	pb->nr_objects += o->name != NULL;
	return o->name != NULL;
}

/* Decodes the list; why it is not to be believed. */
const char *pb_read_objects(struct pbitmap *pb)
{
	const struct pbitmap_header *h = &pb->header;
	const unsigned char *at, *end;
	char name[PBITMAP_MAX_NAME];
	size_t len = 0;

	if (!h->objects_offset)
		return NULL;
	at = pb->data + h->objects_offset;
	end = at + h->objects_size;
	pb->objects = calloc(PBITMAP_MAX_OBJECTS, sizeof(*pb->objects));
	if (!pb->objects) {
		pb->error = ENOMEM;
		return "it cannot be read";
	}
	while (end - at >= (int)sizeof(struct pbitmap_entry)) {
		struct pbitmap_entry o;

		memcpy(&o, at, sizeof(o));
		at += sizeof(o);
		if (!o.len)
			break;
		if (o.counter > 3 || o.shared > len || o.len > end - at ||
		    pb->nr_objects == PBITMAP_MAX_OBJECTS)
			return "the list of objects is damaged";
		len = o.shared + o.len;
		memcpy(name + o.shared, at, o.len);
		at += o.len;
		if (!pb_is_object_name(name, len))
			return "the list of objects is damaged";
		if (!append(pb, name, len, o.counter)) {
			pb->error = ENOMEM;
			return "it cannot be read";
		}
	}
	return NULL;
}

void pb_free_objects(struct pbitmap *pb)
{
	size_t i;

	for (i = 0; i < pb->nr_objects; i++)
		free(pb->objects[i].name);
	free(pb->objects);
	pb->objects = NULL;
	pb->nr_objects = 0;
}

EXPORT int pbitmap_get_object(const struct pbitmap *pb, unsigned int n,
			      struct pbitmap_object_info *info)
{
	struct pbitmap_object_info own = { .sz = info->sz };

	if (pb->state != PBITMAP_OK || n >= pb->nr_objects)
		return -EINVAL;
	own.name = pb->objects[n].name;
	own.counter = pb->objects[n].counter;
	memcpy(info, &own, info->sz < sizeof(own) ? info->sz : sizeof(own));
	return 0;
}
