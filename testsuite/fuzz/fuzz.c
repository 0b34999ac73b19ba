// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libFuzzer's target: every function of libpbitmap on hostile input, which is
 * an ELF file or an archive of bitmaps.
 *
 * Besides errors of memory and undefined behaviour it finds broken promises:
 * a file that a failed add changed, a second add that writes, a remove that
 * says it is exact and is not, a bitmap that is not valid once written.
 *
 * crc32() below takes the place of zlib's: with real checksums no input but
 * the seeds would get past the first of them.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <pbitmap.h>

#include "seed.h"

#define MAX_RECORDS	8
#define MAX_PAGES	(1U << 22)

#define PROMISE(condition)						\
	do {								\
		if (!(condition)) {					\
			fprintf(stderr, "%s:%d: broken: %s\n",		\
				__FILE__, __LINE__, #condition);	\
			abort();					\
		}							\
	} while (0)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static volatile unsigned long sink;
static bool verbose;

uLong crc32(uLong crc, const Bytef *bytes, uInt size)
{
	uInt i;

	(void)crc;
	for (i = 0; i < size; i++)
		sink += bytes[i];
	return 0;
}

static void keep_message(void *arg, enum pbitmap_level level,
			 const char *message)
{
	(void)arg;
	sink += level + strlen(message);
	if (verbose)
		fprintf(stderr, "%d: %s\n", level, message);
}

static void spill(const char *path, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	PROMISE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
}

static bool holds(const char *path, const void *want, size_t size)
{
	char *got = malloc(size + 1);
	int fd = open(path, O_RDONLY);
	bool same;

	PROMISE(got && fd >= 0);
	same = read(fd, got, size + 1) == (ssize_t)size &&
	       !memcmp(got, want, size);
	close(fd);
	free(got);
	return same;
}

/* All that can be asked. */
static void read_all(const struct pbitmap *pb, struct pbitmap_info *info)
{
	struct pbitmap_segment_info segment = { .sz = sizeof(segment) };
	struct pbitmap_object_info object = { .sz = sizeof(object) };
	const unsigned char *id;
	unsigned int i, predicted;
	int n = pbitmap_build_id(pb, &id);
	uint64_t page;

	info->sz = sizeof(*info);
	PROMISE(!pbitmap_get_info(pb, info));
	PROMISE((info->state == PBITMAP_STALE) == !!info->reason);
	while (n-- > 0)
		sink += id[n];
	for (i = 0; i < info->nr_segments; i++) {
		PROMISE(!pbitmap_get_segment(pb, i, &segment));
		predicted = 0;
		for (page = 0; page < segment.pages; page++)
			predicted += pbitmap_counter(pb, i, page) > 1;
		PROMISE(predicted == segment.predicted);
	}
	for (i = 0; i < info->nr_objects; i++) {
		PROMISE(!pbitmap_get_object(pb, i, &object));
		sink += strlen(object.name);
	}
	sink += pbitmap_verify(pb);
}

/* Learns from a launch that touched what @data says, in vectors just as long
 * as they have to be. */
static void learn(struct pbitmap *pb, const struct pbitmap_info *info,
		  const unsigned char *data, size_t size)
{
	struct pbitmap_segment_info segment = { .sz = sizeof(segment) };
	static const char *const objects[] = {
		"/lib/a.so", "/lib/b.so", "/usr/lib/b.so" };
	unsigned char *touched[64] = { NULL };
	struct pbitmap_launch launch = {
		.sz = sizeof(launch),
		.touched = (const unsigned char *const *)touched,
		.unknown = size % 3 ? NULL :
			(const unsigned char *const *)touched,
		.objects = objects,
		.nr_objects = size % 4,
		.time = size,
	};
	unsigned int i;
	size_t at;

	if (info->pages > MAX_PAGES)
		return;
	for (i = 0; i < info->nr_segments; i++) {
		PROMISE(!pbitmap_get_segment(pb, i, &segment));
		touched[i] = malloc((segment.pages + 7) / 8);
		for (at = 0; at < (segment.pages + 7) / 8; at++)
			touched[i][at] = data[at % size];
	}
	PROMISE(!pbitmap_update(pb, &launch));
	PROMISE(!pbitmap_set_counter(pb, 0, 0, size % 4));
	PROMISE(pbitmap_counter(pb, 0, 0) == size % 4);
	PROMISE(pbitmap_add_objects(pb, objects, 3) >= 0);
	for (i = 0; i < info->nr_segments; i++)
		free(touched[i]);
}

/* What has been exported can be imported, and says the same. */
static void export_import(struct pbitmap *pb)
{
	struct pbitmap_info before, after;
	struct pbitmap *copy;
	size_t size, offset = 0;
	void *record;

	if (pbitmap_export(pb, "/some/name", &record, &size))
		return;
	PROMISE(pbitmap_import(record, size, &offset, NULL, &copy) == 1);
	PROMISE(offset == size);
	read_all(pb, &before);
	read_all(copy, &after);
	PROMISE(before.predicted == after.predicted);
	PROMISE(before.launches == after.launches);
	PROMISE(!pbitmap_merge(pb, (const struct pbitmap **)&copy, 1));
	PROMISE(!pbitmap_copy(pb, copy));
	pbitmap_close(copy);
	free(record);
}

/* In memory: from whatever it has to a bitmap that has learned. */
static void change_handle(const unsigned char *data, size_t size,
			  const struct pbitmap_options *options)
{
	struct pbitmap_info info;
	struct pbitmap *pb;

	if (pbitmap_open_memory(data, size, options, &pb))
		return;
	read_all(pb, &info);
	if (info.state == PBITMAP_OK)
		export_import(pb);
	if (pbitmap_prepare(pb) >= 0) {
		read_all(pb, &info);
		PROMISE(info.state == PBITMAP_OK);
		learn(pb, &info, data, size);
		export_import(pb);
		PROMISE(!pbitmap_reset(pb));
	}
	pbitmap_close(pb);
}

/* The file f, which holds the input: learn, write, and read again. */
static void write_file(const unsigned char *data, size_t size,
		       const struct pbitmap_options *options)
{
	struct pbitmap_info info, written;
	struct pbitmap *pb;
	int fd = open("f", O_RDONLY);

	PROMISE(fd >= 0);
	if (pbitmap_open_fd(fd, options, &pb)) {
		close(fd);
		return;
	}
	close(fd);
	if (pbitmap_prepare(pb) >= 0) {
		read_all(pb, &info);
		learn(pb, &info, data, size);
		read_all(pb, &info);
		if (pbitmap_write(pb, "f", options) == PBITMAP_WRITTEN) {
			pbitmap_close(pb);
			PROMISE(!pbitmap_open("f", options, &pb));
			read_all(pb, &written);
			PROMISE(written.state == PBITMAP_OK);
			PROMISE(written.predicted == info.predicted);
		}
	}
	pbitmap_close(pb);
}

/* The file f again: give it a bitmap, and take it away. */
static void add_remove(const unsigned char *data, size_t size,
		       const struct pbitmap_options *options)
{
	struct pbitmap_info before = { .sz = sizeof(before) };
	struct pbitmap *pb;
	struct stat st, again;
	int added, removed;
	bool had_none;

	if (pbitmap_open("f", options, &pb)) {
		PROMISE(pbitmap_add("f", options) < 0);
		PROMISE(pbitmap_remove("f", options) < 0);
		PROMISE(holds("f", data, size));
		return;
	}
	pbitmap_get_info(pb, &before);
	had_none = before.state == PBITMAP_NONE;
	pbitmap_close(pb);

	added = pbitmap_add("f", options);
	if (added == PBITMAP_WRITTEN) {
		PROMISE(!stat("f", &st));
		PROMISE(pbitmap_add("f", options) == PBITMAP_UNCHANGED);
		PROMISE(!stat("f", &again) && st.st_ino == again.st_ino);
	} else {
		PROMISE(holds("f", data, size));
	}
	removed = pbitmap_remove("f", options);
	if (removed == PBITMAP_WRITTEN && had_none && added == PBITMAP_WRITTEN)
		PROMISE(holds("f", data, size));
	if (added == PBITMAP_WRITTEN)
		PROMISE(removed > 0);
}

static void import_all(const unsigned char *data, size_t size,
		       const struct pbitmap_options *options)
{
	struct pbitmap *records[MAX_RECORDS];
	struct pbitmap_info info;
	size_t offset = 0, n = 0, i;

	while (n < MAX_RECORDS && pbitmap_import(data, size, &offset, options,
						 &records[n]) == 1)
		n++;
	for (i = 0; i < n; i++) {
		read_all(records[i], &info);
		sink += strlen(pbitmap_name(records[i]));
	}
	if (n > 1) {
		sink += pbitmap_merge(records[0], (const struct pbitmap **)
				      records + 1, n - 1);
		sink += pbitmap_copy(records[n - 1], records[0]);
	}
	for (i = 0; i < n; i++) {
		read_all(records[i], &info);
		learn(records[i], &info, data, size);
		pbitmap_close(records[i]);
	}
}

/* The last byte of the input chooses options. */
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct pbitmap_options options = {
		.sz = sizeof(options),
		.log = keep_message,
	};

	if (!size)
		return 0;
	options.flags = data[size - 1] & 1 ? 0 : PBITMAP_FORCE;
	if (data[size - 1] & 2)
		options.page_size = 4096 << (data[size - 1] >> 2 & 7);
	if (data[0] == 'P') {
		import_all(data, size, &options);
		return 0;
	}
	change_handle(data, size, &options);
	spill("f", data, size);
	add_remove(data, size, &options);
	spill("f", data, size);
	write_file(data, size, &options);
	return 0;
}

/* V=1 in the environment shows messages; --seeds writes those, no more. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	verbose = getenv("V");
	if (*argc == 2 && !strcmp((*argv)[1], "--seeds")) {
		write_seeds();
		exit(0);
	}
	return 0;
}
