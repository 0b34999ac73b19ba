// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pbitmap reset, merge, export, import: what was learned, and how it gets from
 * one machine to another.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

/* Bitmaps of objects with the same build-id, the first one seen first. */
struct group {
	struct pbitmap **members;
	size_t count;
};

static struct group *groups;
static size_t nr_groups;

static FILE *archive;			/* in memory, until all is well */
static char *archive_bytes;
static size_t archive_size;

static bool by_vote;			/* import --merge */

static int fail(struct tool *tool, const char *file)
{
	tool->file = file;
	say(tool, PBITMAP_LOG_ERROR, strerror(errno));
	return EXIT_FAILED;
}

static int skip(struct tool *tool, const char *why)
{
	tool->result = "skipped";
	say(tool, PBITMAP_LOG_INFO, why);
	return EXIT_DONE;
}

/* All bytes of @fd, to be freed; NULL with errno. */
static unsigned char *read_all(int fd, size_t *size)
{
	unsigned char *bytes = NULL, *more;
	size_t room = 0;
	ssize_t n;

	*size = 0;
	do {
		if (room - *size < 65536) {
			room = 2 * room + 65536;
			more = realloc(bytes, room);
			if (!more) {
				free(bytes);
				return NULL;
			}
			bytes = more;
		}
		n = read(fd, bytes + *size, room - *size);
		if (n > 0)
			*size += n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0) {
		free(bytes);
		return NULL;
	}
	return bytes;
}

static bool has_same_id(const struct pbitmap *a, const struct pbitmap *b)
{
	const unsigned char *x, *y;
	int n = pbitmap_build_id(a, &x);

	return n > 0 && n == pbitmap_build_id(b, &y) && !memcmp(x, y, n);
}

static struct group *find_group(const struct pbitmap *pb)
{
	size_t i;

	for (i = 0; i < nr_groups; i++)
		if (has_same_id(groups[i].members[0], pb))
			return &groups[i];
	return NULL;
}

/* Takes the handle over. */
static bool add_member(struct pbitmap *pb)
{
	struct group *g = find_group(pb);
	struct pbitmap **members;

	if (!g) {
		g = reallocarray(groups, nr_groups + 1, sizeof(*g));
		if (!g)
			return false;
		groups = g;
		g += nr_groups++;
		memset(g, 0, sizeof(*g));
	}
	members = reallocarray(g->members, g->count + 1, sizeof(*members));
	if (!members)
		return false;
	g->members = members;
	members[g->count++] = pb;
	return true;
}

static void free_groups(void)
{
	size_t i, k;

	for (i = 0; i < nr_groups; i++) {
		for (k = 0; k < groups[i].count; k++)
			pbitmap_close(groups[i].members[k]);
		free(groups[i].members);
	}
	free(groups);
	groups = NULL;
	nr_groups = 0;
}

/* All records of an archive that is in memory. */
static int add_records(struct tool *tool, const unsigned char *bytes,
		       size_t size)
{
	struct pbitmap *pb;
	size_t offset = 0;
	int ret;

	while ((ret = pbitmap_import(bytes, size, &offset, &tool->options,
				     &pb)) > 0)
		if (!add_member(pb)) {
			pbitmap_close(pb);
			return fail(tool, tool->file);
		}
	return exit_code(ret);
}

static int reset_file(struct tool *tool, const char *file)
{
	struct pbitmap *pb;
	int ret;

	ret = pbitmap_open(file, &tool->options, &pb);
	if (ret)
		return exit_code(ret);
	ret = pbitmap_reset(pb);
	if (!ret)
		ret = pbitmap_write(pb, file, &tool->options);
	pbitmap_close(pb);
	if (ret < 0)
		return exit_code(ret);
	tool->result = ret == PBITMAP_UNCHANGED ? "unchanged" : "reset";
	say(tool, PBITMAP_LOG_INFO, ret == PBITMAP_UNCHANGED ?
	    "has learned nothing" : "reset");
	return EXIT_DONE;
}

const struct command reset_command = {
	.name = "reset",
	.operands = "FILE...",
	.help = "forget what the bitmap of each FILE has learned",
	.options = edit_options,
	.work = reset_file,
	.parallel = true,
	.one_output = true,
	.results = true,
};

static int begin_archive(struct tool *tool)
{
	if (!tool->output && tool->json)
		return usage("--json needs --output", "");
	if (!tool->output && isatty(STDOUT_FILENO))
		return usage("an archive is nothing for a terminal: --output"
			     " or a redirection", "");
	archive = open_memstream(&archive_bytes, &archive_size);
	return archive ? EXIT_DONE : fail(tool, "archive");
}

/* Adds a record to the archive. */
static int put_record(struct tool *tool, struct pbitmap *pb, const char *name)
{
	void *record;
	size_t size;
	int ret;

	ret = pbitmap_export(pb, name, &record, &size);
	if (ret)
		return exit_code(ret);
	if (fwrite(record, 1, size, archive) != size)
		ret = fail(tool, name);
	free(record);
	return ret;
}

/* Replaces @name at once. */
static bool write_file(const char *name)
{
	mode_t mask = umask(0);
	char *temporary;
	FILE *f = NULL;
	bool done;
	int fd;

	umask(mask);
	if (asprintf(&temporary, "%s.XXXXXX", name) < 0)
		return false;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd >= 0)
		f = fdopen(fd, "w");
	done = f && !fchmod(fd, 0666 & ~mask) &&
	       fwrite(archive_bytes, 1, archive_size, f) == archive_size &&
	       !fflush(f) && !fsync(fd);
	if (f && fclose(f))
		done = false;
	done = done && !rename(temporary, name);
	if (fd >= 0 && !done)
		unlink(temporary);
	free(temporary);
	return done;
}

static int end_archive(struct tool *tool)
{
	int code = EXIT_DONE;

	if (fclose(archive))
		code = fail(tool, "archive");
	else if (!tool->output)
		/* finish() says whether it went well */
		fwrite(archive_bytes, 1, archive_size, stdout);
	else if (!write_file(tool->output))
		code = fail(tool, tool->output);
	free(archive_bytes);
	return code;
}

static int export_file(struct tool *tool, const char *file)
{
	struct pbitmap_info info = { .sz = sizeof(info) };
	struct pbitmap *pb;
	int ret, code;

	ret = pbitmap_open(file, &tool->options, &pb);
	if (ret)
		return exit_code(ret);
	pbitmap_get_info(pb, &info);
	if (info.state == PBITMAP_NONE)
		code = skip(tool, "no bitmap");
	else if (info.state == PBITMAP_OK && !info.launches)
		code = skip(tool, "has learned nothing");
	else
		code = put_record(tool, pb, file);
	if (!code && !tool->result) {
		tool->result = "exported";
		say(tool, PBITMAP_LOG_INFO, tool->result);
	}
	pbitmap_close(pb);
	return code;
}

static const struct tool_option export_options[] = {
	OPTION_JSON,
	{ 'o', "output", "ARCHIVE", "write ARCHIVE, not standard output" },
	OPTION_RECURSIVE,
	{ }
};

const struct command export_command = {
	.name = "export",
	.operands = "FILE...",
	.help = "write what the bitmaps have learned into an archive",
	.options = export_options,
	.begin = begin_archive,
	.work = export_file,
	.end = end_archive,
	.results = true,
};

/* An ELF file, or an archive with many of them. */
static int merge_file(struct tool *tool, const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), ret, code;
	struct pbitmap_info info = { .sz = sizeof(info) };
	struct pbitmap *pb;
	unsigned char *bytes;
	char magic[4] = "";
	size_t size;

	if (fd < 0)
		return fail(tool, file);
	/* An empty file is an archive of nothing. */
	if (!pread(fd, magic, 4, 0) || !memcmp(magic, "PBMX", 4)) {
		bytes = read_all(fd, &size);
		code = bytes ? add_records(tool, bytes, size) :
			       fail(tool, file);
		free(bytes);
		goto out;
	}
	ret = pbitmap_open_fd(fd, &tool->options, &pb);
	code = exit_code(ret);
	if (ret)
		goto out;
	pbitmap_get_info(pb, &info);
	if (info.state == PBITMAP_OK && info.launches && add_member(pb))
		goto out;
	code = skip(tool, info.state == PBITMAP_OK ? "has learned nothing" :
		    "no valid bitmap");
	pbitmap_close(pb);
out:
	close(fd);
	return code;
}

static int merge_group(struct tool *tool, struct group *g)
{
	struct pbitmap *first = g->members[0];
	const char *name = pbitmap_name(first) ?: "";
	int ret;

	ret = pbitmap_merge(first, (const struct pbitmap *const *)
			    g->members + 1, g->count - 1);
	return worse(exit_code(ret), ret ? EXIT_DONE :
		     put_record(tool, first, name));
}

static int end_merge(struct tool *tool)
{
	int code = EXIT_DONE;
	size_t i;

	for (i = 0; i < nr_groups; i++)
		code = worse(code, merge_group(tool, &groups[i]));
	free_groups();
	return worse(code, end_archive(tool));
}

const struct command merge_command = {
	.name = "merge",
	.operands = "FILE|ARCHIVE...",
	.help = "let bitmaps of the same objects vote, write an archive",
	.options = export_options,
	.begin = begin_archive,
	.work = merge_file,
	.end = end_merge,
	.results = true,
};

/* The archive to import, "-" for standard input. */
static int read_archive(struct tool *tool, const char *name)
{
	bool is_stdin = !strcmp(name, "-");
	int fd = is_stdin ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
	unsigned char *bytes;
	size_t size;
	int code;

	tool->file = is_stdin ? "standard input" : name;
	if (fd < 0)
		return fail(tool, name);
	bytes = read_all(fd, &size);
	code = bytes ? add_records(tool, bytes, size) : fail(tool, tool->file);
	free(bytes);
	if (!is_stdin)
		close(fd);
	return code;
}

/* Gives @pb what the archive has for it. */
static int take_over(struct pbitmap *pb, const struct group *g)
{
	const struct pbitmap *const *members =
		(const struct pbitmap *const *)g->members;
	int ret;

	ret = pbitmap_prepare(pb);
	if (ret >= 0 && !by_vote && g->count == 1)
		return pbitmap_copy(pb, members[0]);
	if (ret >= 0 && !by_vote)
		ret = pbitmap_reset(pb);
	return ret < 0 ? ret : pbitmap_merge(pb, members, g->count);
}

static int import_file(struct tool *tool, const char *file)
{
	struct pbitmap_info info = { .sz = sizeof(info) };
	struct pbitmap_options options = tool->options;
	struct pbitmap *pb;
	struct group *g;
	int ret;

	ret = pbitmap_open(file, &options, &pb);
	if (ret)
		return exit_code(ret);
	g = find_group(pb);
	if (!g) {
		pbitmap_close(pb);
		return skip(tool, "not in the archive");
	}
	pbitmap_close(pb);
	pbitmap_get_info(g->members[0], &info);
	options.page_size = info.page_size;
	ret = pbitmap_open(file, &options, &pb);
	if (ret)
		return exit_code(ret);
	ret = take_over(pb, g);
	if (!ret)
		ret = pbitmap_write(pb, file, &options);
	pbitmap_close(pb);
	if (ret < 0)
		return exit_code(ret);
	tool->result = ret == PBITMAP_UNCHANGED ? "unchanged" : "imported";
	say(tool, PBITMAP_LOG_INFO, tool->result);
	return EXIT_DONE;
}

static int end_import(struct tool *tool)
{
	(void)tool;
	free_groups();
	return EXIT_DONE;
}

enum { LETTER_MERGE = LETTER_OTHER };

static bool import_option(struct tool *tool, int letter, const char *value)
{
	(void)tool;
	(void)letter;
	(void)value;
	by_vote = true;		/* the only one that is left */
	return true;
}

static const struct tool_option import_options[] = {
	OPTION_FORCE,
	OPTION_HARDLINKS,
	OPTION_JOBS,
	OPTION_JSON,
	{ LETTER_MERGE, "merge", NULL,
	  "let what a file has learned vote too,\n"
	  "instead of replacing it" },
	OPTION_DRY_RUN,
	OPTION_PRESERVE,
	OPTION_RECURSIVE,
	{ }
};

const struct command import_command = {
	.name = "import",
	.operands = "ARCHIVE FILE...",
	.help = "give each FILE the bitmap that ARCHIVE has for it",
	.options = import_options,
	.option = import_option,
	.first = read_archive,
	.work = import_file,
	.end = end_import,
	.parallel = true,
	.results = true,
};
