/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands of pbitmap share. */
#ifndef PBITMAP_TOOL_H
#define PBITMAP_TOOL_H

#include <stdbool.h>
#include <pbitmap.h>

/* Exit codes; of several, the first of 1, 4, 3, 0 that a file asks for. */
enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NO_BITMAP = 3,
	EXIT_REFUSED = 4,
};

struct tool {
	struct pbitmap_options options;
	const char *file;		/* being worked on */
	bool json;
	int verbosity;			/* -1: errors only, 1: each file */
	unsigned int count[5];		/* of files, by exit code */
};

void say(const struct tool *tool, enum pbitmap_level level, const char *text);
int exit_code(int error);

/* show.c: like the other commands they take one file and return a code. */
void show_begin(struct tool *tool);
int show_file(struct tool *tool, const char *file);
int show_end(struct tool *tool);

#endif /* PBITMAP_TOOL_H */
