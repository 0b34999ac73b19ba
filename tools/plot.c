// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pbitmap show --plot: a heat map of one object after the other, as SVG.  Rows
 * of cells run from the low addresses to the high ones; what begins in a row
 * stands to its left, what its predicted pages are to its right.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "names.h"
#include "tool.h"

#define ZOOM		1.5		/* of PNG, if its height allows */
#define MAX_HEIGHT	32000.
#define MARGIN		16
#define CELLS		128		/* in a row */
#define ROWS		64		/* of an object, about */
#define CELL		6		/* width of one */
#define CELL_HEIGHT	11
#define ROW		14		/* from one to the next */
#define LINE		16		/* of text */
#define ADDRESS		62		/* width of the addresses */
#define SECTIONS	30		/* characters for the sections */
#define SYMBOLS		72		/* characters for the symbols */
#define BEST		4		/* of them at most */
#define LETTER		5.42		/* width of a character */

#define GRID_X		(MARGIN + ADDRESS + (SECTIONS + 2) * LETTER)
#define SYMBOLS_X	(GRID_X + CELLS * CELL + 8)
#define WIDTH		(SYMBOLS_X + SYMBOLS * LETTER + MARGIN)

static const char style[] =
	"text{font:9px 'DejaVu Sans Mono',monospace;fill:#222}"
	".t{font-weight:bold;font-size:13px}.s{font-size:10px}.a{fill:#888}"
	".k0{fill:#e4e4e4}.k1{fill:#d4e3f5}.k2{fill:#dcecd0}.k3{fill:#efdff0}"
	".h1{fill:#fdbb84}.h2{fill:#fc8d59}.h3{fill:#e34a33}.h4{fill:#a50f15}"
	".g{stroke:#fff;stroke-width:11;stroke-dasharray:.6 5.4}"
	".w{stroke:#fff;stroke-width:3}.b{stroke:#222;stroke-width:1.2}";

/* Backgrounds k0 to k3 and heat h1 to h4. */
static const char *const kinds[] = {
	"headers and other", "code", "read-only data", "writable data",
};
static const char *const shares[] = {
	"", "up to 1/4", "up to 1/2", "up to 3/4", "more, or all",
};

static FILE *body;
static char *body_text;
static size_t body_size;
static double y;

/* What a row of cells stands for. */
struct row {
	const struct pbitmap *pb;
	const struct names *names;
	unsigned int segment;
	uint64_t page_size;
	uint64_t vaddr;			/* of page 0 of the segment */
	uint64_t first;			/* page of the row */
	uint64_t pages;
	uint64_t each;			/* pages in a cell */
};

/* The names with the most weight, best first. */
struct ranking {
	const struct name *name[BEST];
	uint64_t weight[BEST];
};

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && !strcmp(text + n - m, end);
}

bool is_picture(const char *file)
{
	return ends_with(file, ".svg") || ends_with(file, ".png");
}

/* At most @max characters of @text. */
static void put_text(const char *text, size_t max)
{
	bool cut = strlen(text) > max;

	for (; *text && max > cut; text++, max--) {
		switch (*text) {
		case '&':
			fputs("&amp;", body);
			break;
		case '<':
			fputs("&lt;", body);
			break;
		case '>':
			fputs("&gt;", body);
			break;
		default:
			putc(harmless(*text), body);
		}
	}
	if (cut)
		fputs("…", body);
}

static void begin_text(double x, double at, const char *class)
{
	fprintf(body, "<text x='%.1f' y='%.1f' class='%s'>", x, at, class);
}

static void end_text(void)
{
	fputs("</text>\n", body);
}

static void put_run(unsigned int from, unsigned int to, const char *kind,
		    unsigned int n)
{
	fprintf(body, "<rect x='%.1f' y='%.1f' width='%u' height='%u'"
		" class='%s%u'/>\n", GRID_X + from * CELL, y,
		(to - from) * CELL, CELL_HEIGHT, kind, n);
}

/* Where a section begins, to be seen on each of the colours. */
static void put_mark(double x)
{
	static const char *const strokes[] = { "w", "b" };
	unsigned int i;

	for (i = 0; i < 2; i++)
		fprintf(body, "<path d='M%.1f %.1fv%u' class='%s'/>\n", x,
			y - 1, CELL_HEIGHT + 2, strokes[i]);
}

static uint64_t address(const struct row *row, uint64_t page)
{
	return row->vaddr + page * row->page_size;
}

static unsigned int kind_at(const struct row *row, uint64_t page,
			    uint64_t pages)
{
	const struct name *at = first_section(row->names, address(row, page),
					      address(row, page + pages));

	if (!at)
		return 0;
	if (at->flags & SHF_WRITE)
		return 3;
	return at->flags & SHF_EXECINSTR ? 1 : 2;
}

static bool is_predicted(const struct row *row, uint64_t page)
{
	return pbitmap_counter(row->pb, row->segment, page) >= 2;
}

/* 0 to 4, for the share of pages that are predicted. */
static unsigned int heat_at(const struct row *row, uint64_t page,
			    uint64_t pages)
{
	uint64_t n, count = 0;

	for (n = page; n < page + pages; n++)
		count += is_predicted(row, n);
	return (count * 4 + pages - 1) / pages;
}

/* Neighbours of one colour are one rectangle. */
static void put_cells(const struct row *row, const char *class,
		      unsigned int (*colour)(const struct row *row,
					     uint64_t page, uint64_t pages))
{
	unsigned int cells = (row->pages + row->each - 1) / row->each;
	unsigned int from = 0, cell, last = 0, now;
	uint64_t page, left;

	for (cell = 0; cell <= cells; cell++) {
		page = cell * row->each;
		left = row->pages > page ? row->pages - page : 0;
		now = left ? colour(row, row->first + page,
				    left < row->each ? left : row->each) : 0;
		if (cell && cell < cells && now == last)
			continue;
		if (cell && (last || *class == 'k'))
			put_run(from, cell, class, last);
		from = cell;
		last = now;
	}
}

/* Sorts @name in, by @weight, if it is among the best. */
static void rank(struct ranking *ranking, const struct name *name,
		 uint64_t weight)
{
	unsigned int n, i;

	for (n = BEST; n && weight > ranking->weight[n - 1]; n--)
		;
	if (n == BEST)
		return;
	for (i = BEST - 1; i > n; i--) {
		ranking->name[i] = ranking->name[i - 1];
		ranking->weight[i] = ranking->weight[i - 1];
	}
	ranking->name[n] = name;
	ranking->weight[n] = weight;
}

/* A long name leaves room for another one. */
static size_t longest(const struct ranking *ranking, size_t left)
{
	return ranking->name[1] ? left / 2 : left - 1;
}

/* Those that @left characters are enough for, in the order of addresses. */
static void order(struct ranking *ranking, size_t left)
{
	size_t most = longest(ranking, left), length;
	struct ranking best = *ranking;
	unsigned int i, n, count = 0;

	memset(ranking, 0, sizeof(*ranking));
	for (i = 0; i < BEST && best.name[i]; i++) {
		length = strlen(best.name[i]->name);
		if (length > most)
			length = most;
		if (length >= left)
			continue;
		left -= length + 1;
		for (n = count++; n && best.name[i]->start <
		     ranking->name[n - 1]->start; n--)
			ranking->name[n] = ranking->name[n - 1];
		ranking->name[n] = best.name[i];
	}
}

static void put_ranking(const struct ranking *ranking, double x, size_t left)
{
	size_t n, most = longest(ranking, left);
	unsigned int i;
	char *text;

	begin_text(x, y + 9, "");
	for (i = 0; i < BEST && ranking->name[i]; i++) {
		text = readable(ranking->name[i]->name);
		if (!text)
			break;
		n = strlen(text) < most ? strlen(text) : most;
		if (n < left) {
			put_text(text, n);
			putc(' ', body);
			left -= n + 1;
		}
		free(text);
	}
	end_text();
}

/* The largest sections that begin in the row, and a line where they do. */
static void put_sections(const struct row *row)
{
	uint64_t start = address(row, row->first);
	uint64_t end = address(row, row->first + row->pages);
	uint64_t cell = row->each * row->page_size;
	const struct name *at = first_section(row->names, start, end);
	struct ranking ranking = { 0 };

	for (; at; at = next_section(row->names, at, end)) {
		if (at->start < start)
			continue;
		rank(&ranking, at, at->end - at->start);
		if (at->start > start && at->end - at->start >= cell)
			put_mark(GRID_X + (at->start - start) * CELL /
				 (double)cell);
	}
	order(&ranking, SECTIONS);
	put_ranking(&ranking, MARGIN + ADDRESS, SECTIONS);
}

/* Bytes of a symbol that lie on predicted pages of the row. */
static uint64_t predicted_bytes(const struct row *row,
				const struct name *symbol)
{
	uint64_t start = address(row, row->first), page, from, to, bytes = 0;

	page = row->first;
	if (symbol->start > start)
		page += (symbol->start - start) / row->page_size;
	for (; page < row->first + row->pages; page++) {
		from = address(row, page);
		to = from + row->page_size;
		if (symbol->end <= from)
			break;
		if (!is_predicted(row, page))
			continue;
		if (from < symbol->start)
			from = symbol->start;
		if (to > symbol->end)
			to = symbol->end;
		bytes += to - from;
	}
	return bytes;
}

/* The symbols that have most of the predicted bytes. */
static void put_symbols(const struct row *row)
{
	uint64_t start = address(row, row->first);
	uint64_t end = address(row, row->first + row->pages);
	const struct name *at = first_symbol(row->names, start, end);
	struct ranking ranking = { 0 };

	for (; at; at = next_symbol(row->names, at, end))
		rank(&ranking, at, predicted_bytes(row, at));
	put_ranking(&ranking, SYMBOLS_X, SYMBOLS);
}

static void put_row(const struct row *row)
{
	unsigned int cells = (row->pages + row->each - 1) / row->each;

	begin_text(MARGIN, y + 9, "a");
	fprintf(body, "0x%" PRIx64, address(row, row->first));
	end_text();
	put_cells(row, "k", kind_at);
	put_cells(row, "h", heat_at);
	fprintf(body, "<path d='M%.1f %.1fh%u' class='g'/>\n", GRID_X - .3,
		y + CELL_HEIGHT / 2., cells * CELL + 1);
	put_sections(row);
	put_symbols(row);
	y += ROW;
}

static void put_share(uint64_t predicted, uint64_t pages)
{
	fprintf(body, "%" PRIu64 " of %" PRIu64 " pages predicted", predicted,
		pages);
	if (pages)
		fprintf(body, ", %.1f %%", 100. * predicted / pages);
}

static void put_segment(struct row *row,
			const struct pbitmap_segment_info *info)
{
	uint64_t row_pages = CELLS * row->each;

	y += LINE - 4;
	begin_text(MARGIN, y, "s");
	fprintf(body, "segment at 0x%" PRIx64 ": ", info->vaddr);
	put_share(info->predicted, info->pages);
	end_text();
	y += 5;
	row->vaddr = info->vaddr;
	for (row->first = 0; row->first < info->pages;
	     row->first += row_pages) {
		row->pages = info->pages - row->first;
		if (row->pages > row_pages)
			row->pages = row_pages;
		put_row(row);
	}
}

/* The fewest pages in a cell that make the object fit. */
static uint64_t pages_in_cell(const struct pbitmap_info *info)
{
	uint64_t each = 1;

	while (info->pages > each * CELLS * ROWS)
		each *= 2;
	return each;
}

/* One text of the legend or of the heads at @x; where the next can begin. */
static double put_label(double x, const char *class, const char *text)
{
	begin_text(x, y + 9, class);
	fputs(text, body);
	end_text();
	return x + (strlen(text) + 2) * LETTER;
}

static double put_sample(double x, const char *kind, unsigned int n,
			 const char *text)
{
	fprintf(body, "<rect x='%.1f' y='%.1f' width='11' height='11'"
		" class='%s%u'/>\n", x, y, kind, n);
	return put_label(x + 16, "", text);
}

/* What the colours mean, and what stands in the columns. */
static void put_legend(void)
{
	double x = put_label(MARGIN, "", "not predicted:");
	unsigned int i;

	for (i = 0; i < 4; i++)
		x = put_sample(x, "k", i, kinds[i]);
	x = put_label(x + 16, "", "predicted, of a cell's pages:");
	for (i = 1; i < 5; i++)
		x = put_sample(x, "h", i, shares[i]);
	x += 16;
	put_mark(x);
	put_label(x + 6, "", "a section begins");
	y += LINE + 6;
	put_label(MARGIN, "a", "address");
	put_label(MARGIN + ADDRESS, "a", "sections that begin there");
	put_label(GRID_X, "a", "pages, a row from left to right");
	put_label(SYMBOLS_X, "a", "symbols with most bytes on predicted pages");
	y += LINE - 6;
}

bool plot_begin(void)
{
	body = open_memstream(&body_text, &body_size);
	if (!body)
		return false;
	y = MARGIN;
	put_legend();
	return true;
}

void plot_object(const struct pbitmap *pb, const struct pbitmap_info *info,
		 const struct names *names, const char *file)
{
	struct pbitmap_segment_info segment = { .sz = sizeof(segment) };
	struct row row = {
		.pb = pb,
		.names = names,
		.page_size = info->page_size,
		.each = pages_in_cell(info),
	};

	y += LINE + 6;
	begin_text(MARGIN, y, "t");
	put_text(file, 150);
	end_text();
	y += LINE;
	begin_text(MARGIN, y, "s");
	put_share(info->predicted, info->pages);
	fprintf(body, ", %.1f of %.1f MiB; %" PRIu32 " launch%s; a cell is %"
		PRIu64 " page%s of %" PRIu32 " bytes",
		info->predicted * info->page_size / 1048576.,
		info->pages * info->page_size / 1048576., info->launches,
		info->launches == 1 ? "" : "es", row.each, row.each == 1 ? "" : "s", info->page_size);
	end_text();
	y += 2;
	for (row.segment = 0; row.segment < info->nr_segments; row.segment++) {
		pbitmap_get_segment(pb, row.segment, &segment);
		put_segment(&row, &segment);
	}
}

/* The whole document, in memory; -1 and errno. */
static int make_document(void)
{
	int fd = memfd_create("plot", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	if (!fflush(body) &&
	    dprintf(fd, "<svg xmlns='http://www.w3.org/2000/svg'"
		    " width='%.0f' height='%.0f'>\n<style>%s</style>\n"
		    "<rect width='100%%' height='100%%' fill='#fff'/>\n"
		    "%s</svg>\n", WIDTH, y + MARGIN, style, body_text) >= 0 &&
	    !lseek(fd, 0, SEEK_SET))
		return fd;
	close(fd);
	return -1;
}

static bool copy(int from, int to)
{
	ssize_t n;

	do
		n = sendfile(to, from, NULL, 1 << 30);
	while (n > 0);
	return n == 0;
}

/* NULL, or who could not do it. */
static const char *convert(int from, int to)
{
	double height = y + MARGIN;
	char zoom[32];
	char *arguments[] = { "rsvg-convert", "--format=png", zoom, NULL };
	pid_t pid;

	snprintf(zoom, sizeof(zoom), "--zoom=%.3f", height * ZOOM < MAX_HEIGHT ?
		 ZOOM : MAX_HEIGHT / height);
	pid = start_program(arguments, environ, from, to);
	errno = pid < 0 ? -pid : EIO;
	return pid < 0 || end_of_program(pid) ? "rsvg-convert: " : NULL;
}

/* The same, with errno set. */
static const char *write_picture(const char *file)
{
	int document = make_document(), fd = -1;
	const char *who = "";

	if (document >= 0)
		fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			  0666);
	if (fd >= 0 && ends_with(file, ".png"))
		who = convert(document, fd);
	else if (fd >= 0 && copy(document, fd))
		who = NULL;
	if (fd >= 0 && close(fd) && !who)
		who = "";
	if (document >= 0)
		close(document);
	return who;
}

int plot_end(struct tool *tool, const char *file)
{
	const char *who = write_picture(file);
	char text[128];

	tool->file = file;
	snprintf(text, sizeof(text), "%s%s", who ? who : "", strerror(errno));
	if (who)
		say(tool, PBITMAP_LOG_ERROR, text);
	fclose(body);
	free(body_text);
	return who ? EXIT_FAILED : EXIT_DONE;
}
