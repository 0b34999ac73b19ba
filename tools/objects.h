/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The objects of a program's start. */
#ifndef PBITMAP_OBJECTS_H
#define PBITMAP_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>

struct tool;

struct object {
	char *path;			/* without symbolic links */
	bool mapped;
	bool listed;			/* in the executable's bitmap */
	unsigned int counter;		/* there */
};

struct objects {
	char *executable;
	char *interpreter;		/* NULL: static */
	int status;			/* with which it ended, -1: not run */
	struct object *list;		/* in the order of finding them */
	size_t count;
};

/*
 * Finds what @arguments, a program's name and its arguments, maps: by running
 * it, if @run, by what it is linked to, and by its bitmap.  Returns an exit
 * code, after saying why it is not 0.
 */
int find_objects(struct tool *tool, char **arguments, bool run,
		 struct objects *objects);
void free_objects(struct objects *objects);

/* The dynamic linker that @executable asks for, or NULL; to be freed. */
char *find_interpreter(const char *executable);

#endif /* PBITMAP_OBJECTS_H */
