// SPDX-License-Identifier: GPL-2.0-or-later
/* pbitmap show --pages: the predicted pages, and what lies on them. */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "tool.h"
#include "util.h"

#define TEXT_SYMBOLS	2		/* named in the text, of each page */
#define TEXT_SECTIONS	40		/* width, but for pages with many */

struct page {
	uint64_t number;
	uint64_t offset;
	uint64_t start;			/* addresses */
	uint64_t end;
	int counter;
};

/* Takes the next predicted page from page->number on; false: there is none. */
static bool next_page(const struct pbitmap *pb, unsigned int segment,
		      const struct pbitmap_segment_info *info,
		      uint32_t page_size, struct page *page)
{
	uint64_t n;

	for (n = page->number; n < info->pages; n++) {
		page->counter = pbitmap_counter(pb, segment, n);
		if (page->counter < 2)
			continue;
		page->number = n;
		page->offset = info->file_offset + n * page_size;
		page->start = info->vaddr + n * page_size;
		page->end = page->start + page_size;
		return true;
	}
	return false;
}

/* How many characters the names of the page's sections take. */
static int sections_width(const struct names *names, const struct page *page)
{
	const struct name *at = first_section(names, page->start, page->end);
	int width = 0;

	for (; at; at = next_section(names, at, page->end))
		width += strlen(at->name) + (width ? 1 : 0);
	return width ? width : 1;
}

static void text_sections(const struct names *names, const struct page *page,
			  int width)
{
	const struct name *at = first_section(names, page->start, page->end);

	printf("%s", at ? "" : "-");
	while (at) {
		print_name(stdout, at->name);
		at = next_section(names, at, page->end);
		printf("%s", at ? "," : "");
	}
	width -= sections_width(names, page);
	printf("%*s", width < 0 ? 0 : width, "");
}

static void text_symbols(const struct names *names, const struct page *page)
{
	const struct name *symbol = first_symbol(names, page->start, page->end);
	unsigned int n = 0;
	char *text;

	printf("  %s", symbol ? "" : "-");
	for (; symbol; symbol = next_symbol(names, symbol, page->end)) {
		if (n++ >= TEXT_SYMBOLS)
			continue;
		text = readable(symbol->name);
		printf("%s", n > 1 ? ", " : "");
		print_name(stdout, text ? text : symbol->name);
		if (symbol->start < page->start)
			printf("+0x%" PRIx64, page->start - symbol->start);
		free(text);
	}
	if (n > TEXT_SYMBOLS)
		printf(", and %u more", n - TEXT_SYMBOLS);
}

void pages_text(const struct pbitmap *pb, unsigned int segment,
		const struct pbitmap_segment_info *info, uint32_t page_size,
		const struct names *names)
{
	struct page page = { 0 };
	int width = strlen("sections"), n;

	if (!info->predicted)
		return;
	for (; next_page(pb, segment, info, page_size, &page); page.number++) {
		n = sections_width(names, &page);
		if (width < n)
			width = n < TEXT_SECTIONS ? n : TEXT_SECTIONS;
	}
	printf("    %8s %10s  %-*s  %s\n", "page", "offset", width, "sections",
	       "symbols");
	page.number = 0;
	for (; next_page(pb, segment, info, page_size, &page); page.number++) {
		printf("    %8" PRIu64 " 0x%08" PRIx64 "  ", page.number,
		       page.offset);
		text_sections(names, &page, width);
		text_symbols(names, &page);
		putchar('\n');
	}
}

static json_object *json_sections(const struct names *names,
				  const struct page *page)
{
	json_object *list = json_object_new_array();
	const struct name *at = first_section(names, page->start, page->end);

	for (; at; at = next_section(names, at, page->end))
		json_object_array_add(list, json_name(at->name));
	return list;
}

static json_object *json_symbols(const struct names *names,
				 const struct page *page)
{
	json_object *list = json_object_new_array(), *symbol;
	const struct name *at = first_symbol(names, page->start, page->end);

	for (; at; at = next_symbol(names, at, page->end)) {
		symbol = json_object_new_object();
		json_object_object_add(symbol, "name", json_name(at->name));
		add_number(symbol, "vaddr", at->start);
		json_object_array_add(list, symbol);
	}
	return list;
}

json_object *pages_json(const struct pbitmap *pb, unsigned int segment,
			const struct pbitmap_segment_info *info,
			uint32_t page_size, const struct names *names)
{
	json_object *list = json_object_new_array(), *object;
	struct page page = { 0 };

	for (; next_page(pb, segment, info, page_size, &page); page.number++) {
		object = json_object_new_object();
		add_number(object, "page", page.number);
		add_number(object, "offset", page.offset);
		add_number(object, "vaddr", page.start);
		add_number(object, "counter", page.counter);
		json_object_object_add(object, "sections",
				       json_sections(names, &page));
		json_object_object_add(object, "symbols",
				       json_symbols(names, &page));
		json_object_array_add(list, object);
	}
	return list;
}
