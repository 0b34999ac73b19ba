// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The objects of a program's start, as the dynamic linker tells of them: those
 * that the program is linked to, by --list, and all others, by LD_DEBUG=files
 * while the program runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "objects.h"
#include "tool.h"
#include "util.h"

#define MAX_SCRIPTS	4		/* interpreted by each other */

static int fail(struct tool *tool, const char *file, const char *text)
{
	tool->file = file;
	say(tool, PBITMAP_LOG_ERROR, text);
	return EXIT_FAILED;
}

/* The entry for @path, which is new if need be; NULL: there is no such file. */
static struct object *add_object(struct objects *objects, const char *path)
{
	char *real = realpath(path, NULL);
	struct object *list;
	size_t i;

	if (!real)
		real = errno == ENOENT ? strdup(path) : NULL;
	if (!real)
		return NULL;
	for (i = 0; i < objects->count; i++) {
		if (!strcmp(objects->list[i].path, real)) {
			free(real);
			return &objects->list[i];
		}
	}
	list = reallocarray(objects->list, objects->count + 1, sizeof(*list));
	if (!list) {
		free(real);
		return NULL;
	}
	objects->list = list;
	list += objects->count++;
	memset(list, 0, sizeof(*list));
	list->path = real;
	return list;
}

static void add_mapped(struct objects *objects, const char *path)
{
	struct object *object = add_object(objects, path);

	if (object)
		object->mapped = true;
}

/* Where a shell finds @name; to be freed. */
static char *search(const char *name)
{
	const char *path = getenv("PATH"), *end;
	char *file;

	if (strchr(name, '/'))
		return realpath(name, NULL);
	for (; path; path = *end ? end + 1 : NULL) {
		end = strchrnul(path, ':');
		if (asprintf(&file, "%.*s/%s", (int)(end - path), path,
			     name) < 0)
			return NULL;
		if (!access(file, X_OK)) {
			char *real = realpath(file, NULL);

			free(file);
			return real;
		}
		free(file);
	}
	errno = ENOENT;
	return NULL;
}

/* The first word behind #! of a script; NULL: it is none.  To be freed. */
static char *script_interpreter(const char *file)
{
	char head[256] = "", *word;
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof(head) - 1);

	if (fd >= 0)
		close(fd);
	if (n < 3 || strncmp(head, "#!", 2))
		return NULL;
	word = head + 2 + strspn(head + 2, " \t");
	word[strcspn(word, " \t\n")] = '\0';
	return realpath(word, NULL);
}

/* The program's file, or for a script that of what interprets it. */
static char *find_executable(const char *name)
{
	char *file = search(name), *next;
	unsigned int i;

	for (i = 0; file && i < MAX_SCRIPTS; i++) {
		next = script_interpreter(file);
		if (!next)
			break;
		free(file);
		file = next;
	}
	return file;
}

static char *interp_of(Elf *elf)
{
	size_t n, i, size;
	const char *image = elf_rawfile(elf, &size);
	GElf_Phdr ph;

	if (!image || elf_getphdrnum(elf, &n))
		return NULL;
	for (i = 0; i < n; i++) {
		if (!gelf_getphdr(elf, i, &ph) || ph.p_type != PT_INTERP)
			continue;
		if (ph.p_offset > size || ph.p_filesz > size - ph.p_offset)
			return NULL;
		return strndup(image + ph.p_offset, ph.p_filesz);
	}
	return NULL;
}

char *find_interpreter(const char *executable)
{
	int fd = open(executable, O_RDONLY | O_CLOEXEC);
	char *interpreter = NULL;
	Elf *elf;

	if (fd < 0)
		return NULL;
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	if (elf_kind(elf) == ELF_K_ELF)
		interpreter = interp_of(elf);
	elf_end(elf);
	close(fd);
	return interpreter;
}

/* A line of --list: "NAME => PATH (ADDRESS)" or "PATH (ADDRESS)". */
static void add_listed_line(struct objects *objects, char *line)
{
	char *path = strstr(line, " => "), *end = strrchr(line, '(');

	path = path ? path + 4 : line + strspn(line, " \t");
	if (*path != '/' || !end || end - 1 <= path)
		return;
	end[-1] = '\0';
	add_mapped(objects, path);
}

/*
 * What it is linked to.  The dynamic linker is called as a program, because a
 * set-id executable would ignore LD_TRACE_LOADED_OBJECTS and run.
 */
static int add_linked(struct tool *tool, struct objects *objects)
{
	char *arguments[] = { objects->interpreter, "--list",
			      objects->executable, NULL };
	int ends[2], status;
	char *line = NULL;
	size_t size = 0;
	FILE *output;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return fail(tool, objects->interpreter, strerror(errno));
	pid = start_program(arguments, environ, -1, ends[1]);
	close(ends[1]);
	output = fdopen(ends[0], "r");
	while (output && getline(&line, &size, output) > 0)
		add_listed_line(objects, line);
	free(line);
	if (output)
		fclose(output);
	if (pid < 0)
		return fail(tool, objects->interpreter, strerror(-pid));
	status = end_of_program(pid);
	if (status)
		return fail(tool, objects->interpreter,
			    "cannot list what the program is linked to");
	return EXIT_DONE;
}

static char *last(char *text, const char *what)
{
	char *found = NULL, *at;

	for (at = text; (at = strstr(at, what)); at++)
		found = at;
	return found;
}

/*
 * A process may execute one program after the other, as wrappers do; each is
 * a launch of its own, and the last one is what the user sees.  Returns where
 * the lines of that begin, and its name in *@namep, to be freed.
 */
static char *last_program(char *text, char **namep)
{
	static const char initialize[] = "initialize program: ";
	static const char transfer[] = "transferring control: ";
	char *at = last(text, initialize), *begin = text, *end, *needed;
	const char *name;

	if (!at)
		return NULL;
	name = at + strlen(initialize);
	*namep = strndup(name, strcspn(name, "\n"));
	if (!*namep)
		return NULL;
	*at = '\0';
	end = last(text, transfer);
	if (end)
		begin = end;
	if (asprintf(&needed, " needed by %s [", *namep) >= 0) {
		end = strstr(begin, needed);
		if (end)
			begin = end;
		free(needed);
	}
	*at = *initialize;
	return begin;
}

/* What ld.so wrote to @file of the last program that the process became. */
static void add_debugged(struct objects *objects, const char *file)
{
	static const char init[] = "calling init: ";
	char *text = read_text(file), *name = NULL, *at, *end;

	at = text ? last_program(text, &name) : NULL;
	if (at) {
		char *executable = find_executable(name);

		if (executable) {
			free(objects->executable);
			objects->executable = executable;
		}
		add_mapped(objects, objects->executable);
	}
	while (at && (at = strstr(at, init))) {
		at += strlen(init);
		end = at + strcspn(at, "\n");
		if (!*end)
			break;
		*end = '\0';
		add_mapped(objects, at);
		at = end + 1;
	}
	free(name);
	free(text);
}

static void remove_directory(char *directory)
{
	char *const roots[] = { directory, NULL };
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *entry;

	while (fts && (entry = fts_read(fts)))
		if (entry->fts_info == FTS_F)
			unlink(entry->fts_path);
	if (fts)
		fts_close(fts);
	rmdir(directory);
}

/*
 * Runs it, with ld.so writing to @prefix and its process id.  What the program
 * prints is not our output.
 */
static int run_program(struct tool *tool, struct objects *objects,
		       char **arguments, const char *prefix)
{
	char *file;
	pid_t pid;

	setenv("LD_DEBUG", "files", 1);
	setenv("LD_DEBUG_OUTPUT", prefix, 1);
	pid = start_program(arguments, environ, -1, STDERR_FILENO);
	unsetenv("LD_DEBUG");
	unsetenv("LD_DEBUG_OUTPUT");
	if (pid < 0)
		return fail(tool, arguments[0], strerror(-pid));
	objects->status = end_of_program(pid);
	if (asprintf(&file, "%s.%d", prefix, (int)pid) < 0)
		return fail(tool, arguments[0], strerror(ENOMEM));
	add_debugged(objects, file);
	free(file);
	return EXIT_DONE;
}

static int add_run(struct tool *tool, struct objects *objects,
		   char **arguments)
{
	const char *tmp = getenv("TMPDIR");
	char *directory, *prefix, text[64];
	int code = EXIT_FAILED;

	if (asprintf(&directory, "%s/pbitmap-XXXXXX",
		     tmp && *tmp ? tmp : "/tmp") < 0)
		return fail(tool, arguments[0], strerror(ENOMEM));
	if (!mkdtemp(directory)) {
		fail(tool, directory, strerror(errno));
	} else if (asprintf(&prefix, "%s/ld", directory) >= 0) {
		code = run_program(tool, objects, arguments, prefix);
		free(prefix);
		remove_directory(directory);
	}
	free(directory);
	if (objects->status > 0) {
		snprintf(text, sizeof(text), "ends with status %d",
			 objects->status);
		tool->file = arguments[0];
		say(tool, PBITMAP_LOG_WARNING, text);
	}
	return code;
}

/* What launches have mapped. */
static int add_learned(struct tool *tool, struct objects *objects)
{
	struct pbitmap_object_info info = { .sz = sizeof(info) };
	struct object *object;
	struct pbitmap *pb;
	unsigned int i;
	int ret;

	tool->file = objects->executable;
	ret = pbitmap_open(objects->executable, &tool->options, &pb);
	if (ret)
		return exit_code(ret);
	for (i = 0; !pbitmap_get_object(pb, i, &info); i++) {
		object = add_object(objects, info.name);
		if (!object)
			continue;
		object->listed = true;
		object->counter = info.counter;
	}
	pbitmap_close(pb);
	return EXIT_DONE;
}

int find_objects(struct tool *tool, char **arguments, bool run,
		 struct objects *objects)
{
	int code = EXIT_DONE;

	memset(objects, 0, sizeof(*objects));
	objects->status = -1;
	objects->executable = find_executable(arguments[0]);
	if (!objects->executable)
		return fail(tool, arguments[0], strerror(errno));
	if (run)
		code = add_run(tool, objects, arguments);
	if (code)
		return code;
	add_mapped(objects, objects->executable);
	objects->interpreter = find_interpreter(objects->executable);
	if (objects->interpreter) {
		add_mapped(objects, objects->interpreter);
		code = add_linked(tool, objects);
	}
	return code ? code : add_learned(tool, objects);
}

void free_objects(struct objects *objects)
{
	size_t i;

	for (i = 0; i < objects->count; i++)
		free(objects->list[i].path);
	free(objects->list);
	free(objects->executable);
	free(objects->interpreter);
}
