/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands of pbitmap share. */
#ifndef PBITMAP_TOOL_H
#define PBITMAP_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <pbitmap.h>

/* Exit codes; of several, the first of 1, 4, 3, 0 that a file asks for. */
enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NO_BITMAP = 3,
	EXIT_REFUSED = 4,
};

struct json_object;
struct names;

#define MAX_JOBS	64

/*
 * What a command is told.  Where files are worked on by several threads each
 * has a copy, with the file it works on.
 */
struct tool {
	struct pbitmap_options options;
	bool json;
	int verbosity;			/* -1: errors only, 1: each file */
	const char *output;		/* --output, or NULL */

	/* pbitmap.c, files.c */
	bool recursive;
	bool hardlinks;
	unsigned int jobs;
	const char *file;		/* being worked on */
	const char *result;		/* what was done to it, in a word */
	char message[256];		/* the last error that it had */
	unsigned int count[5];		/* of files, by exit code */
};

/* A row of --help; the array of a command ends with an empty one. */
struct tool_option {
	int letter;			/* above 255: it has none */
	const char *name;
	const char *argument;		/* what it is called, NULL: none */
	const char *help;
};

/* Of options that have none. */
enum {
	LETTER_JSON = 256,
	LETTER_HARDLINKS,
	LETTER_OTHER,			/* from here on as a command likes */
};

/* Options that mean the same wherever they are; pbitmap.c knows them. */
#define OPTION_DRY_RUN	{ 'n', "dry-run", NULL, "check, but write nothing" }
#define OPTION_FORCE	{ 'f', "force", NULL, \
			  "skip the checks for signatures, privileges,\n" \
			  "hard links and appended data" }
#define OPTION_HARDLINKS { LETTER_HARDLINKS, "hardlinks", NULL, \
			  "work on a file with several names all of\n" \
			  "which are given, and keep it one file" }
#define OPTION_JOBS	{ 'j', "jobs", "N", "work on N files at a time" }
#define OPTION_JSON	{ LETTER_JSON, "json", NULL, "print JSON" }
#define OPTION_OUTPUT	{ 'o', "output", "FILE", \
			  "write FILE instead of the one read" }
#define OPTION_PRESERVE	{ 'p', "preserve", NULL, \
			  "keep the time of the last modification" }
#define OPTION_RECURSIVE { 'r', "recursive", NULL, \
			  "FILE may be a directory: all executables\n" \
			  "and shared objects below it" }

/**
 * struct command - a verb
 * @name: its name
 * @operands: what is behind its options, for --help
 * @help: what it does, one line
 * @options: beyond -h -q -v and -V, which every command has
 * @option: called for each of those that pbitmap.c does not know; returns
 *	whether the value is good
 * @first: takes the first argument, which then is no file to work on
 * @begin: called before the first file, may be NULL; nothing is done unless it
 *	returns EXIT_DONE
 * @work: called for each file, returns an exit code
 * @end: called after the last file, may be NULL
 * @parallel: @work may run in several threads
 * @one_output: --output takes what becomes of one file
 * @results: @work sets tool->result, which --json prints
 * @run: instead of @begin, @work and @end, where arguments are not a list of
 *	files
 * @no_arguments: there need not be any argument
 */
struct command {
	const char *name;
	const char *operands;
	const char *help;
	const struct tool_option *options;
	bool (*option)(struct tool *tool, int letter, const char *value);
	int (*first)(struct tool *tool, const char *argument);
	int (*begin)(struct tool *tool);
	int (*work)(struct tool *tool, const char *file);
	int (*end)(struct tool *tool);
	bool parallel;
	bool one_output;
	bool results;
	int (*run)(struct tool *tool, char **arguments);
	bool no_arguments;
};

extern const struct command add_command, eval_command, export_command,
	import_command, link_command, merge_command, remove_command,
	report_command, reset_command, show_command, status_command,
	verify_command;

/* pbitmap.c */
int usage(const char *text, const char *what);
void say(struct tool *tool, enum pbitmap_level level, const char *text);
int exit_code(int error);
bool parse_number(const char *text, unsigned long min, unsigned long max,
		  unsigned long *value);

/* files.c */
int worse(int a, int b);
int work_on_files(const struct command *command, struct tool *tool,
		  char **arguments);
void progress_clear(void);

/* edit.c: options of what changes a bitmap and needs to know no more. */
extern const struct tool_option edit_options[];

/* pages.c: what show --pages says of a segment. */
void pages_text(const struct pbitmap *pb, unsigned int segment,
		const struct pbitmap_segment_info *info, uint32_t page_size,
		const struct names *names);
struct json_object *pages_json(const struct pbitmap *pb, unsigned int segment,
			       const struct pbitmap_segment_info *info,
			       uint32_t page_size, const struct names *names);

/* plot.c: a picture of one object after the other. */
bool is_picture(const char *file);
bool plot_begin(void);
void plot_object(const struct pbitmap *pb, const struct pbitmap_info *info,
		 const struct names *names, const char *file);
int plot_end(struct tool *tool, const char *file);

/* spawn.c: another program. */
pid_t start_program(char **arguments, char **environment, int input,
		    int output);
int end_of_program(pid_t pid);

#endif /* PBITMAP_TOOL_H */
