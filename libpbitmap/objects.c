// SPDX-License-Identifier: LGPL-2.1-or-later
/* The objects that launches of an executable map: a list of names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define FIRST_COUNTER	2
#define MAX_COUNTER	3

/* Whether a part of a path is neither empty nor "." or "..". */
static bool is_plain(const char *part, size_t len)
{
	return len && !(part[0] == '.' &&
			(len == 1 || (len == 2 && part[1] == '.')));
}

/* Absolute and in its simplest form; no NUL inside its @len bytes. */
static bool is_name(const char *name, size_t len)
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

bool pb_are_names(const char *const names[], size_t n)
{
	while (n--)
		if (!is_name(names[n], strlen(names[n])))
			return false;
	return true;
}

/* Room for as many as there can be. */
static bool allocate(struct object **objects)
{
	*objects = calloc(PBITMAP_MAX_OBJECTS, sizeof(**objects));
	return *objects != NULL;
}

static bool append(struct pbitmap *pb, const char *name, size_t len,
		   unsigned int counter)
{
	struct object *o;

	if (!pb->objects && !allocate(&pb->objects))
		return false;
	o = &pb->objects[pb->nr_objects];
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
	while (end - at >= (int)sizeof(struct pbitmap_entry)) {
		struct pbitmap_entry e;

		memcpy(&e, at, sizeof(e));
		at += sizeof(e);
		if (!e.len)
			break;
		if (e.counter > MAX_COUNTER || e.shared > len ||
		    e.len > end - at || pb->nr_objects == PBITMAP_MAX_OBJECTS)
			return "the list of objects is damaged";
		len = e.shared + e.len;
		memcpy(name + e.shared, at, e.len);
		at += e.len;
		if (!is_name(name, len))
			return "the list of objects is damaged";
		if (!append(pb, name, len, e.counter)) {
			pb->error = ENOMEM;
			return "it cannot be read";
		}
	}
	return NULL;
}

/*
 * How to write @name behind @last, which may be NULL; false where its rest
 * would be too long.
 */
static bool encode(const char *name, const char *last, struct pbitmap_entry *e)
{
	size_t len = strlen(name), shared = 0;

	while (last && shared < 255 && name[shared] &&
	       name[shared] == last[shared])
		shared++;
	if (shared == len)
		shared--;
	if (len - shared > 255)
		return false;
	e->shared = shared;
	e->len = len - shared;
	return true;
}

/* Puts the list into the data, as far as there is room, and drops the rest. */
void pb_put_objects(struct pbitmap *pb)
{
	const struct pbitmap_header *h = &pb->header;
	unsigned char *at = pb->data + h->objects_offset;
	size_t left = h->objects_offset ? h->objects_size : 0, i, n = 0;
	const char *last = NULL;

	if (left)
		memset(at, 0, left);
	for (i = 0; i < pb->nr_objects; i++) {
		struct object o = pb->objects[i];
		struct pbitmap_entry e = { .counter = o.counter };

		if (!encode(o.name, last, &e) || sizeof(e) + e.len > left) {
			free(o.name);
			continue;
		}
		memcpy(at, &e, sizeof(e));
		memcpy(at + sizeof(e), o.name + e.shared, e.len);
		at += sizeof(e) + e.len;
		left -= sizeof(e) + e.len;
		last = o.name;
		pb->objects[n++] = o;
	}
	pb->nr_objects = n;
	pb->objects_changed = false;
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

static struct object *find(const struct pbitmap *pb, const char *name)
{
	size_t i;

	for (i = 0; i < pb->nr_objects; i++)
		if (!strcmp(pb->objects[i].name, name))
			return &pb->objects[i];
	return NULL;
}

/* An object that was not known, unless it is one too many. */
static bool add(struct pbitmap *pb, const char *name, unsigned int counter)
{
	if (pb->nr_objects == PBITMAP_MAX_OBJECTS)
		return true;
	pb->objects_changed = true;
	return append(pb, name, strlen(name), counter);
}

bool pb_copy_objects(struct pbitmap *pb, const struct pbitmap *from)
{
	size_t i;

	pb_free_objects(pb);
	pb->objects_changed = true;
	for (i = 0; i < from->nr_objects; i++)
		if (!add(pb, from->objects[i].name, from->objects[i].counter))
			return false;
	return true;
}

/* Drops those whose counter is above what one can be. */
static void drop_marked(struct pbitmap *pb)
{
	size_t i, n = 0;

	for (i = 0; i < pb->nr_objects; i++) {
		if (pb->objects[i].counter > MAX_COUNTER)
			free(pb->objects[i].name);
		else
			pb->objects[n++] = pb->objects[i];
	}
	pb->nr_objects = n;
	pb->objects_changed = true;
}

static bool contains(const char *const names[], size_t n, const char *name)
{
	while (n--)
		if (!strcmp(names[n], name))
			return true;
	return false;
}

/*
 * What was mapped counts two up, what was not one down and goes below 0.  What
 * was not known counts from 0, but in the first launch.
 */
bool pb_vote_objects(struct pbitmap *pb, const char *const names[],
		     size_t n, bool first)
{
	unsigned int fresh = first ? MAX_COUNTER : FIRST_COUNTER;
	size_t i;

	for (i = 0; i < pb->nr_objects; i++) {
		struct object *o = &pb->objects[i];

		if (!contains(names, n, o->name))
			o->counter--;
		else
			o->counter = o->counter ? MAX_COUNTER : FIRST_COUNTER;
	}
	drop_marked(pb);
	for (i = 0; i < n; i++)
		if (!find(pb, names[i]) && !add(pb, names[i], fresh))
			return false;
	return true;
}

/*
 * The mean of the counters; who does not know an object counts as 0.  In the
 * order of the first who does.
 */
bool pb_merge_objects(struct pbitmap *pb, const struct pbitmap *const *voters,
		      size_t n)
{
	struct pbitmap sum = { 0 };
	size_t i, k;

	for (k = 0; k < n; k++)
		for (i = 0; i < voters[k]->nr_objects; i++) {
			const struct object *o = &voters[k]->objects[i];
			struct object *known = find(&sum, o->name);

			if (known)
				known->counter += o->counter;
			else if (!add(&sum, o->name, o->counter))
				goto fail;
		}
	for (i = 0; i < sum.nr_objects; i++) {
		struct object *o = &sum.objects[i];

		o->counter = (2 * o->counter + n) / (2 * n);
		if (!o->counter)
			o->counter = -1U;
	}
	drop_marked(&sum);
	pb_free_objects(pb);
	pb->objects = sum.objects;
	pb->nr_objects = sum.nr_objects;
	pb->objects_changed = true;
	return true;
fail:
	pb_free_objects(&sum);
	return false;
}

EXPORT int pbitmap_add_objects(struct pbitmap *pb, const char *const names[],
			       size_t n)
{
	size_t i, kept = 0;
	int ret = pb_want_valid(pb);

	if (ret)
		return ret;
	if (!pb_are_names(names, n))
		return pb_fail(&pb->options, EINVAL, "not an object's path");
	for (i = 0; i < n; i++)
		if (!find(pb, names[i]) && !add(pb, names[i], FIRST_COUNTER))
			return pb_fail_errno(&pb->options, "objects");
	if (pb->objects_changed)
		pb_put_objects(pb);
	for (i = 0; i < n; i++)
		kept += find(pb, names[i]) != NULL;
	return kept;
}
