// SPDX-License-Identifier: GPL-2.0-or-later
/* pbitmap add, remove, verify: the bitmap of each file as a whole. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "objects.h"
#include "tool.h"

static bool with_objects;	/* --objects */

static bool is_dry(const struct tool *tool)
{
	return tool->options.flags & PBITMAP_DRY_RUN;
}

/* Says what was done, in a word for JSON and in words. */
static int done(struct tool *tool, const char *result, const char *text)
{
	tool->result = result;
	say(tool, PBITMAP_LOG_INFO, text);
	return EXIT_DONE;
}

/*
 * Whether a program may be asked what it is linked to: the dynamic linker of
 * its choice will be run, so it has to be one that the administrator keeps.
 */
static bool is_trusted(const char *interpreter)
{
	char *real = realpath(interpreter, NULL), *slash;
	bool trusted = false;
	struct stat st;

	if (real && (!strncmp(real, "/usr/lib", 8) ||
		     !strncmp(real, "/lib", 4))) {
		slash = strrchr(real, '/');
		trusted = !strncmp(slash, "/ld", 3) && strstr(slash, ".so") &&
			  !stat(real, &st) && st.st_uid == 0 &&
			  !(st.st_mode & (S_IWGRP | S_IWOTH));
	}
	free(real);
	return trusted;
}

/* Puts what the program is linked to into the list of its objects. */
static int seed(struct tool *tool, struct pbitmap *pb,
		const struct objects *objects)
{
	const char **names = calloc(objects->count + 1, sizeof(*names));
	char *interpreter = realpath(objects->interpreter, NULL);
	int ret = -ENOMEM;
	size_t i, n = 0;

	for (i = 0; names && i < objects->count; i++)
		if (objects->list[i].mapped &&
		    strcmp(objects->list[i].path, objects->executable) &&
		    (!interpreter ||
		     strcmp(objects->list[i].path, interpreter)))
			names[n++] = objects->list[i].path;
	if (names)
		ret = pbitmap_add_objects(pb, names, n);
	if (ret >= 0 && ret < n)
		say(tool, PBITMAP_LOG_WARNING,
		    "not all of its objects have room in the list");
	free(names);
	free(interpreter);
	return exit_code(ret);
}

static int seed_file(struct tool *tool, struct pbitmap *pb, const char *file)
{
	struct pbitmap_info info = { .sz = sizeof(info) };
	char *real, *interpreter;
	struct objects objects;
	int code = EXIT_DONE;

	pbitmap_get_info(pb, &info);
	if (!info.objects_size)
		return EXIT_DONE;
	interpreter = find_interpreter(file);
	if (!interpreter || !is_trusted(interpreter)) {
		say(tool, PBITMAP_LOG_ERROR, "refused: its dynamic linker is"
		    " none of the system's, and would be run");
		code = EXIT_REFUSED;
	}
	free(interpreter);
	real = code ? NULL : realpath(file, NULL);
	if (real) {
		char *arguments[] = { real, NULL };

		code = find_objects(tool, arguments, false, &objects);
		tool->file = file;
		if (!code)
			code = seed(tool, pb, &objects);
		free_objects(&objects);
	}
	free(real);
	return code;
}

/* Like pbitmap_add(), but the list of objects is not empty. */
static int add_with_objects(struct tool *tool, const char *file)
{
	struct pbitmap *pb;
	int ret, code;

	ret = pbitmap_open(file, &tool->options, &pb);
	if (ret)
		return exit_code(ret);
	ret = pbitmap_prepare(pb);
	code = exit_code(ret);
	if (!code)
		code = seed_file(tool, pb, file);
	if (!code) {
		ret = pbitmap_write(pb, file, &tool->options);
		code = exit_code(ret);
	}
	pbitmap_close(pb);
	if (code)
		return code;
	if (ret == PBITMAP_UNCHANGED)
		return done(tool, "unchanged", "has a bitmap");
	return done(tool, "added", is_dry(tool) ? "to be added" : "added");
}

static int add_file(struct tool *tool, const char *file)
{
	int ret;

	if (with_objects)
		return add_with_objects(tool, file);
	ret = pbitmap_add(file, &tool->options);
	if (ret < 0)
		return exit_code(ret);
	if (ret == PBITMAP_UNCHANGED)
		return done(tool, "unchanged", "has a bitmap");
	return done(tool, "added", is_dry(tool) ? "to be added" : "added");
}

static int remove_file(struct tool *tool, const char *file)
{
	int ret = pbitmap_remove(file, &tool->options);

	if (ret < 0)
		return exit_code(ret);
	if (ret == PBITMAP_UNCHANGED)
		return done(tool, "unchanged", "has no bitmap");
	return done(tool, ret == PBITMAP_INEXACT ? "dropped" : "removed",
		    is_dry(tool) ? "to be removed" : "removed");
}

static int verify_file(struct tool *tool, const char *file)
{
	struct pbitmap_info info = { .sz = sizeof(info) };
	struct pbitmap *pb;
	int ret, faults;

	ret = pbitmap_open(file, &tool->options, &pb);
	if (ret)
		return exit_code(ret);
	pbitmap_get_info(pb, &info);
	faults = pbitmap_verify(pb);
	pbitmap_close(pb);
	if (info.state == PBITMAP_OK)
		return done(tool, faults ? "flawed" : "ok",
			    faults ? "valid, but" : "ok");
	tool->result = info.state == PBITMAP_NONE ? "none" : "stale";
	return EXIT_NO_BITMAP;
}

enum { LETTER_OBJECTS = LETTER_OTHER };

static bool add_option(struct tool *tool, int letter, const char *value)
{
	(void)tool;
	(void)letter;
	(void)value;
	with_objects = true;	/* the only one that is left */
	return true;
}

/* Running other programs changes how signals are treated, of all threads. */
static int add_begin(struct tool *tool)
{
	if (with_objects)
		tool->jobs = 1;
	return EXIT_DONE;
}

static const struct tool_option add_options[] = {
	OPTION_FORCE,
	OPTION_HARDLINKS,
	OPTION_JOBS,
	OPTION_JSON,
	OPTION_DRY_RUN,
	{ LETTER_OBJECTS, "objects", NULL,
	  "fill the list of a program's objects with\n"
	  "what it is linked to" },
	OPTION_OUTPUT,
	OPTION_PRESERVE,
	{ 'P', "page-size", "SIZE", "bytes of a page, 4096 by default" },
	OPTION_RECURSIVE,
	{ }
};

const struct command add_command = {
	.name = "add",
	.operands = "FILE...",
	.help = "give each FILE an empty bitmap",
	.options = add_options,
	.option = add_option,
	.begin = add_begin,
	.work = add_file,
	.parallel = true,
	.one_output = true,
	.results = true,
};

const struct tool_option edit_options[] = {
	OPTION_FORCE,
	OPTION_HARDLINKS,
	OPTION_JOBS,
	OPTION_JSON,
	OPTION_DRY_RUN,
	OPTION_OUTPUT,
	OPTION_PRESERVE,
	OPTION_RECURSIVE,
	{ }
};

const struct command remove_command = {
	.name = "remove",
	.operands = "FILE...",
	.help = "take the bitmap of each FILE away",
	.options = edit_options,
	.work = remove_file,
	.parallel = true,
	.one_output = true,
	.results = true,
};

static const struct tool_option verify_options[] = {
	OPTION_JOBS,
	OPTION_JSON,
	OPTION_RECURSIVE,
	{ }
};

const struct command verify_command = {
	.name = "verify",
	.operands = "FILE...",
	.help = "check the bitmap of each FILE",
	.options = verify_options,
	.work = verify_file,
	.parallel = true,
	.results = true,
};
