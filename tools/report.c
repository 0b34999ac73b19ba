// SPDX-License-Identifier: GPL-2.0-or-later
/* pbitmap report: what a program maps, and what is predicted of it. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "objects.h"
#include "tool.h"
#include "util.h"

enum {
	LETTER_NO_RUN = LETTER_OTHER,
};

static bool no_run;

/* A line of the table. */
struct line {
	const struct object *object;
	const char *state;		/* ok, none, stale, file, missing, failed */
	bool data;			/* in the list, and no ELF file */
	bool unlisted;			/* though the executable has a list */
	uint64_t size;
	uint64_t predicted_bytes;
	struct pbitmap_info info;
};

struct totals {
	unsigned int objects, ok, none, stale, files, missing, failed;
	unsigned int unlisted, unmapped;
	uint64_t size, pages, predicted, predicted_bytes;
};

/* What cannot be read may be one, and reading it will say why. */
static bool is_elf(const char *file)
{
	char magic[SELFMAG] = ELFMAG;
	int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && read(fd, magic, SELFMAG) < SELFMAG)
		*magic = '\0';
	if (fd >= 0)
		close(fd);
	return !memcmp(magic, ELFMAG, SELFMAG);
}

/* Reads what its file says; returns an exit code. */
static int read_line(struct tool *tool, struct line *line)
{
	struct pbitmap *pb;
	struct stat st;
	int ret;

	line->info.sz = sizeof(line->info);
	tool->file = line->object->path;
	if (stat(tool->file, &st) && errno == ENOENT) {
		line->state = "missing";
		return line->object->mapped ? EXIT_FAILED : EXIT_DONE;
	}
	if (!line->object->mapped && !is_elf(tool->file)) {
		line->data = true;
		line->state = "file";
		line->size = st.st_size;
		return EXIT_DONE;
	}
	ret = pbitmap_open(tool->file, &tool->options, &pb);
	if (ret) {
		line->state = "failed";
		return EXIT_FAILED;
	}
	pbitmap_get_info(pb, &line->info);
	line->info.reason = NULL;	/* is the handle's */
	line->state = line->info.state == PBITMAP_OK ? "ok" :
		      line->info.state == PBITMAP_NONE ? "none" : "stale";
	line->size = st.st_size;
	line->predicted_bytes = line->info.predicted * line->info.page_size;
	pbitmap_close(pb);
	return line->object->mapped && line->info.state != PBITMAP_OK ?
	       EXIT_NO_BITMAP : EXIT_DONE;
}

static void add_up(struct totals *totals, const struct line *line)
{
	totals->objects += !line->data;
	totals->ok += !strcmp(line->state, "ok");
	totals->none += !strcmp(line->state, "none");
	totals->stale += !strcmp(line->state, "stale");
	totals->files += line->data;
	totals->missing += !strcmp(line->state, "missing");
	totals->failed += !strcmp(line->state, "failed");
	totals->unlisted += line->unlisted;
	if (line->data)
		return;
	totals->unmapped += !line->object->mapped;
	totals->size += line->size;
	totals->pages += line->info.pages;
	totals->predicted += line->info.predicted;
	totals->predicted_bytes += line->predicted_bytes;
}

static double share(uint64_t predicted, uint64_t pages)
{
	return pages ? (double)predicted / pages : 0;
}

static void text_numbers(uint64_t size, uint64_t pages, uint64_t predicted,
			 uint64_t predicted_bytes)
{
	printf("%9.1f %8" PRIu64 " %9" PRIu64 " %9.1f %5.1f %%", size / 1024.,
	       pages, predicted, predicted_bytes / 1024.,
	       100 * share(predicted, pages));
}

static void text_line(const struct line *line)
{
	const char *list = line->object->listed ? "yes" :
			   line->unlisted ? "no" : "-";

	text_numbers(line->size, line->info.pages, line->info.predicted,
		     line->predicted_bytes);
	printf("  %-4s  %-7s  ", list, line->state);
	print_path(line->object->path);
	puts(line->object->mapped || line->data ? "" : " (not mapped)");
}

static void text_totals(const struct totals *totals)
{
	text_numbers(totals->size, totals->pages, totals->predicted,
		     totals->predicted_bytes);
	printf("  %4s  %7s  %u objects\n", "", "", totals->objects);
	printf("%u with a bitmap, %u without, %u with a stale one", totals->ok,
	       totals->none, totals->stale);
	if (totals->missing)
		printf(", %u missing", totals->missing);
	if (totals->failed)
		printf(", %u not readable", totals->failed);
	printf("\n%u mapped but not in the list, %u in the list but not"
	       " mapped\n", totals->unlisted, totals->unmapped);
	if (totals->files)
		printf("%u other files in the list, which it reads\n",
		       totals->files);
}

static void add_bool(json_object *object, const char *key, bool value)
{
	json_object_object_add(object, key, json_object_new_boolean(value));
}

static json_object *json_line(const struct line *line)
{
	json_object *object = json_object_new_object();

	json_object_object_add(object, "file",
			       json_object_new_string(line->object->path));
	json_object_object_add(object, "state",
			       json_object_new_string(line->state));
	add_bool(object, "mapped", line->object->mapped);
	add_bool(object, "listed", line->object->listed);
	add_number(object, "counter", line->object->counter);
	add_number(object, "launches", line->info.launches);
	add_number(object, "size", line->size);
	add_number(object, "pages", line->info.pages);
	add_number(object, "predicted", line->info.predicted);
	add_number(object, "predicted_bytes", line->predicted_bytes);
	add_part(object, "share",
		 share(line->info.predicted, line->info.pages));
	return object;
}

static json_object *json_totals(const struct totals *totals)
{
	json_object *object = json_object_new_object();

	add_number(object, "objects", totals->objects);
	add_number(object, "ok", totals->ok);
	add_number(object, "none", totals->none);
	add_number(object, "stale", totals->stale);
	add_number(object, "files", totals->files);
	add_number(object, "missing", totals->missing);
	add_number(object, "failed", totals->failed);
	add_number(object, "not_listed", totals->unlisted);
	add_number(object, "not_mapped", totals->unmapped);
	add_number(object, "size", totals->size);
	add_number(object, "pages", totals->pages);
	add_number(object, "predicted", totals->predicted);
	add_number(object, "predicted_bytes", totals->predicted_bytes);
	add_part(object, "share", share(totals->predicted, totals->pages));
	return object;
}

static void json_report(const struct objects *objects, json_object *list,
			const struct totals *totals)
{
	json_object *root = json_object_new_object();

	json_object_object_add(root, "version", json_object_new_int(1));
	json_object_object_add(root, "program",
			       json_object_new_string(objects->executable));
	if (objects->status >= 0)
		json_object_object_add(root, "status",
				       json_object_new_int(objects->status));
	json_object_object_add(root, "objects", list);
	json_object_object_add(root, "totals", json_totals(totals));
	print_document(root);
}

static bool is_same(const char *path, const char *other)
{
	struct stat a, b;

	return other && !stat(path, &a) && !stat(other, &b) &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Prints all of them; returns the exit code that says most. */
static int print_report(struct tool *tool, const struct objects *objects)
{
	json_object *list = tool->json ? json_object_new_array() : NULL;
	struct totals totals = { 0 };
	bool has_list = false;
	int code = EXIT_DONE;
	size_t i;

	for (i = 0; i < objects->count; i++)
		has_list |= objects->list[i].listed;
	if (!tool->json)
		printf("%9s %8s %9s %9s %7s  %-4s  %-7s  object\n", "size/KiB",
		       "pages", "predicted", "KiB", "share", "list", "bitmap");
	for (i = 0; i < objects->count; i++) {
		struct line line = { .object = &objects->list[i] };
		const char *path = line.object->path;

		line.unlisted = has_list && !line.object->listed &&
				!is_same(path, objects->executable) &&
				!is_same(path, objects->interpreter);
		code = worse(code, read_line(tool, &line));
		add_up(&totals, &line);
		if (tool->json)
			json_object_array_add(list, json_line(&line));
		else
			text_line(&line);
	}
	if (tool->json)
		json_report(objects, list, &totals);
	else
		text_totals(&totals);
	return code;
}

static int report(struct tool *tool, char **arguments)
{
	struct objects objects;
	int code;

	code = find_objects(tool, arguments, !no_run, &objects);
	if (!code)
		code = print_report(tool, &objects);
	free_objects(&objects);
	return code;
}

static bool report_option(struct tool *tool, int letter, const char *value)
{
	(void)tool;
	(void)letter;
	(void)value;
	no_run = true;
	return true;
}

static const struct tool_option report_options[] = {
	OPTION_JSON,
	{ LETTER_NO_RUN, "no-run", NULL,
	  "do not run PROGRAM: only what it is linked to,\n"
	  "and what its bitmap lists" },
	{ }
};

const struct command report_command = {
	.name = "report",
	.operands = "PROGRAM [ARGUMENT...]",
	.help = "run PROGRAM and print what is predicted of all that it maps",
	.options = report_options,
	.option = report_option,
	.run = report,
};
