// SPDX-License-Identifier: GPL-2.0-or-later
/* pbitmap show: what bitmaps predict, as text for a terminal or as JSON. */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "names.h"
#include "tool.h"
#include "util.h"

#define MAP_ROWS	4	/* at most, of each segment */
#define MAP_INDENT	4

enum {
	LETTER_PAGES = LETTER_OTHER,
	LETTER_PLOT,
};

static bool list_pages;
static const char *picture;		/* --plot, or NULL */
static json_object *json_files;
static unsigned int columns;
static bool plotting;

/* Characters in a line of the terminal. */
static unsigned int terminal_columns(void)
{
	const char *text = getenv("COLUMNS");
	unsigned long value = text ? strtoul(text, NULL, 10) : 0;
	struct winsize size;

	if (!value && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		value = size.ws_col;
	if (!value)
		value = 80;
	return value < 20 ? 20 : value > 1000 ? 1000 : value;
}

static int show_begin(struct tool *tool)
{
	columns = terminal_columns();
	if (picture)
		plotting = plot_begin();
	if (tool->json)
		json_files = json_object_new_array();
	return EXIT_DONE;
}

static int show_end(struct tool *tool)
{
	json_object *root;
	int code = EXIT_DONE;

	if (picture)
		code = plotting ? plot_end(tool, picture) : EXIT_FAILED;
	if (!tool->json)
		return code;
	root = json_object_new_object();
	json_object_object_add(root, "version", json_object_new_int(1));
	json_object_object_add(root, "files", json_files);
	print_document(root);
	return code;
}

static bool is_predicted(const struct pbitmap *pb, unsigned int segment,
			 uint64_t page)
{
	return pbitmap_counter(pb, segment, page) >= 2;
}

/* Predicted pages as [first, last] pairs. */
static json_object *json_ranges(const struct pbitmap *pb, unsigned int segment,
				uint64_t pages)
{
	json_object *ranges = json_object_new_array(), *range;
	uint64_t page, first;

	for (page = 0; page < pages; page++) {
		if (!is_predicted(pb, segment, page))
			continue;
		first = page;
		while (page + 1 < pages && is_predicted(pb, segment, page + 1))
			page++;
		range = json_object_new_array_ext(2);
		json_object_array_add(range, json_object_new_uint64(first));
		json_object_array_add(range, json_object_new_uint64(page));
		json_object_array_add(ranges, range);
	}
	return ranges;
}

static json_object *json_segment(const struct pbitmap *pb,
				 unsigned int segment, uint32_t page_size,
				 const struct names *names)
{
	struct pbitmap_segment_info info = { .sz = sizeof(info) };
	json_object *object = json_object_new_object();

	pbitmap_get_segment(pb, segment, &info);
	add_number(object, "vaddr", info.vaddr);
	add_number(object, "file_offset", info.file_offset);
	add_number(object, "pages", info.pages);
	add_number(object, "predicted", info.predicted);
	json_object_object_add(object, "predicted_ranges",
			       json_ranges(pb, segment, info.pages));
	if (names)
		json_object_object_add(object, "predicted_pages",
				       pages_json(pb, segment, &info,
						  page_size, names));
	return object;
}

static json_object *json_objects(const struct pbitmap *pb)
{
	struct pbitmap_object_info info = { .sz = sizeof(info) };
	json_object *objects = json_object_new_array(), *object;
	unsigned int i;

	for (i = 0; !pbitmap_get_object(pb, i, &info); i++) {
		object = json_object_new_object();
		json_object_object_add(object, "name",
				       json_object_new_string(info.name));
		add_number(object, "counter", info.counter);
		json_object_array_add(objects, object);
	}
	return objects;
}

/* With @names the pages are listed. */
static void json_file(const struct pbitmap *pb,
		      const struct pbitmap_info *info, const char *file,
		      const struct names *names)
{
	static const char *const states[] = {
		[PBITMAP_NONE] = "none",
		[PBITMAP_OK] = "ok",
		[PBITMAP_STALE] = "stale",
	};
	json_object *object = json_object_new_object();
	json_object *segments = json_object_new_array();
	unsigned int i;

	for (i = 0; i < info->nr_segments; i++)
		json_object_array_add(segments, json_segment(pb, i,
							     info->page_size,
							     names));
	json_object_object_add(object, "file", json_object_new_string(file));
	json_object_object_add(object, "state",
			       json_object_new_string(states[info->state]));
	if (info->reason)
		json_object_object_add(object, "reason",
				       json_object_new_string(info->reason));
	add_number(object, "launches", info->launches);
	add_number(object, "updated", info->updated);
	add_number(object, "page_size", info->page_size);
	add_number(object, "pages", info->pages);
	add_number(object, "predicted", info->predicted);
	json_object_object_add(object, "segments", segments);
	json_object_object_add(object, "objects", json_objects(pb));
	json_object_array_add(json_files, object);
}

/* How many of the pages from @first that one character stands for. */
static char map_character(const struct pbitmap *pb, unsigned int segment,
			  uint64_t first, uint64_t pages)
{
	uint64_t page, count = 0;

	for (page = first; page < first + pages; page++)
		count += is_predicted(pb, segment, page);
	if (!count)
		return '.';
	if (count == pages)
		return '#';
	return count * 2 < pages ? '-' : '+';
}

/* As many pages for each character as make the map fit. */
static void text_map(const struct pbitmap *pb, unsigned int segment,
		     uint64_t pages)
{
	unsigned int width = columns - MAP_INDENT - 1, column = 0;
	uint64_t cells = (uint64_t)width * MAP_ROWS, page, n;
	uint64_t each = (pages + cells - 1) / cells;

	for (page = 0; page < pages; page += n) {
		n = pages - page < each ? pages - page : each;
		if (column == 0)
			printf("%*s", MAP_INDENT, "");
		putchar(map_character(pb, segment, page, n));
		column++;
		if (column == width || page + n == pages) {
			putchar('\n');
			column = 0;
		}
	}
	if (each > 1)
		printf("%*s(%" PRIu64 " pages a character: # all of them,"
		       " + half or more, - fewer)\n", MAP_INDENT, "", each);
}

static void text_objects(const struct pbitmap *pb)
{
	struct pbitmap_object_info info = { .sz = sizeof(info) };
	unsigned int i;

	for (i = 0; !pbitmap_get_object(pb, i, &info); i++) {
		printf("    %u ", info.counter);
		print_path(info.name);
		putchar('\n');
	}
}

/* With @names the pages are listed instead of the map. */
static void text_file(const struct pbitmap *pb,
		      const struct pbitmap_info *info, const char *file,
		      const struct names *names)
{
	struct pbitmap_segment_info segment = { .sz = sizeof(segment) };
	char date[64] = "never";
	time_t updated = info->updated;
	struct tm tm;
	unsigned int i;

	if (updated && localtime_r(&updated, &tm))
		strftime(date, sizeof(date), "%F %T %Z", &tm);
	printf("%s\n  launches %" PRIu32 ", last update %s\n"
	       "  %" PRIu64 " of %" PRIu64 " pages of %" PRIu32
	       " bytes predicted\n", file, info->launches, date,
	       info->predicted, info->pages, info->page_size);
	for (i = 0; i < info->nr_segments; i++) {
		pbitmap_get_segment(pb, i, &segment);
		printf("  segment at 0x%" PRIx64 ": %" PRIu64 " page%s, %"
		       PRIu64 " predicted\n", segment.vaddr, segment.pages,
		       segment.pages == 1 ? "" : "s", segment.predicted);
		if (names)
			pages_text(pb, i, &segment, info->page_size, names);
		else
			text_map(pb, i, segment.pages);
	}
	if (info->nr_objects)
		printf("  objects %" PRIu32 "\n", info->nr_objects);
	text_objects(pb);
}

/* Whatever was asked for of a file whose bitmap was read. */
static int show_bitmap(struct tool *tool, const struct pbitmap *pb,
		       const struct pbitmap_info *info, const char *file)
{
	bool valid = info->state == PBITMAP_OK;
	bool named = valid && (list_pages || plotting);
	struct names names, *listed;

	if (named && names_open(file, &names)) {
		say(tool, PBITMAP_LOG_ERROR, strerror(ENOMEM));
		return EXIT_FAILED;
	}
	listed = named && list_pages ? &names : NULL;
	if (tool->json)
		json_file(pb, info, file, listed);
	else if (valid && (list_pages || !picture))
		text_file(pb, info, file, listed);
	if (valid && plotting)
		plot_object(pb, info, &names, file);
	if (named)
		names_close(&names);
	return valid ? EXIT_DONE : EXIT_NO_BITMAP;
}

static int show_file(struct tool *tool, const char *file)
{
	struct pbitmap_info info = { .sz = sizeof(info) };
	struct pbitmap *pb;
	char text[128];
	int ret;

	ret = pbitmap_open(file, &tool->options, &pb);
	if (ret)
		return exit_code(ret);
	pbitmap_get_info(pb, &info);
	ret = show_bitmap(tool, pb, &info, file);

	snprintf(text, sizeof(text), "stale bitmap: %s", info.reason);
	if (info.state == PBITMAP_STALE)
		say(tool, PBITMAP_LOG_WARNING, text);
	else if (info.state == PBITMAP_NONE)
		say(tool, PBITMAP_LOG_WARNING, "no bitmap");
	pbitmap_close(pb);
	return ret;
}

static bool show_option(struct tool *tool, int letter, const char *value)
{
	(void)tool;
	if (letter == LETTER_PAGES) {
		list_pages = true;
		return true;
	}
	picture = value;
	return is_picture(value);
}

static const struct tool_option show_options[] = {
	OPTION_JSON,
	{ LETTER_PAGES, "pages", NULL,
	  "list the predicted pages, and what lies there" },
	{ LETTER_PLOT, "plot", "PICTURE",
	  "draw a heat map, as NAME.svg or NAME.png" },
	OPTION_RECURSIVE,
	{ }
};

const struct command show_command = {
	.name = "show",
	.operands = "FILE...",
	.help = "print what the bitmap of each FILE predicts",
	.options = show_options,
	.option = show_option,
	.begin = show_begin,
	.work = show_file,
	.end = show_end,
};
