// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Example of libpbitmap: let a launch vote that touched every other page.
 *
 *	vote FILE
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pbitmap.h>

static void print_message(void *file, enum pbitmap_level level,
			  const char *message)
{
	if (level == PBITMAP_LOG_ERROR)
		fprintf(stderr, "%s: %s\n", (const char *)file, message);
}

/* Bits for the pages of each segment; here every other one. */
static unsigned char **touch(const struct pbitmap *pb, unsigned int segments)
{
	struct pbitmap_segment_info segment = { .sz = sizeof(segment) };
	unsigned char **touched = calloc(segments, sizeof(*touched));
	unsigned int i;

	for (i = 0; touched && i < segments; i++) {
		pbitmap_get_segment(pb, i, &segment);
		touched[i] = malloc((segment.pages + 7) / 8);
		if (!touched[i])
			return NULL;
		memset(touched[i], 0x55, (segment.pages + 7) / 8);
	}
	return touched;
}

static int vote(struct pbitmap *pb, const char *file,
		const struct pbitmap_options *options)
{
	struct pbitmap_info info = { .sz = sizeof(info) };
	struct pbitmap_launch launch = { .sz = sizeof(launch) };
	unsigned char **touched;
	int ret;

	/* An empty bitmap, if the file has none. */
	ret = pbitmap_prepare(pb);
	if (ret < 0)
		return ret;
	pbitmap_get_info(pb, &info);
	touched = touch(pb, info.nr_segments);
	launch.touched = (const unsigned char *const *)touched;
	launch.time = time(NULL);
	ret = pbitmap_update(pb, &launch);
	if (!ret)
		ret = pbitmap_write(pb, file, options);
	pbitmap_get_info(pb, &info);
	if (ret >= 0)
		printf("%s: launches %u, %llu of %llu pages\n", file,
		       info.launches, (unsigned long long)info.predicted,
		       (unsigned long long)info.pages);
	while (info.nr_segments)
		free(touched[--info.nr_segments]);
	free(touched);
	return ret;
}

int main(int argc, char **argv)
{
	struct pbitmap_options options = {
		.sz = sizeof(options),
		.log = print_message,
		.log_arg = argv[1],
	};
	struct pbitmap *pb;
	int ret;

	if (argc != 2) {
		fprintf(stderr, "usage: vote FILE\n");
		return 2;
	}
	ret = pbitmap_open(argv[1], &options, &pb);
	if (!ret) {
		ret = vote(pb, argv[1], &options);
		pbitmap_close(pb);
	}
	if (ret < 0)
		fprintf(stderr, "%s: %s\n", argv[1], pbitmap_strerror(ret));
	return ret < 0;
}
