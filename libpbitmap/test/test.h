/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the unit tests share: a failed check ends the program. */
#ifndef PBITMAP_TEST_H
#define PBITMAP_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK(condition)						\
	do {								\
		if (!(condition)) {					\
			fprintf(stderr, "%s:%d: not true: %s (%s)\n",	\
				__FILE__, __LINE__, #condition,		\
				strerror(errno));			\
			exit(1);					\
		}							\
	} while (0)

struct bytes {
	unsigned char *data;
	size_t size;
};

static inline struct bytes slurp(const char *path)
{
	struct bytes b = { NULL, 0 };
	struct stat st;
	int fd = open(path, O_RDONLY);

	CHECK(fd >= 0 && !fstat(fd, &st));
	b.size = st.st_size;
	b.data = malloc(b.size);
	CHECK(b.data && read(fd, b.data, b.size) == (ssize_t)b.size);
	close(fd);
	return b;
}

static inline void spill(const char *path, struct bytes b)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	CHECK(fd >= 0 && write(fd, b.data, b.size) == (ssize_t)b.size);
	close(fd);
}

static inline bool equal(struct bytes a, struct bytes b)
{
	return a.size == b.size && !memcmp(a.data, b.data, a.size);
}

static inline bool holds(const char *path, struct bytes want)
{
	struct bytes got = slurp(path);
	bool same = equal(got, want);

	free(got.data);
	return same;
}

/* A new current directory, and in it a copy of this very program. */
static inline struct bytes set_up(void)
{
	const char *parent = getenv("TMPDIR");
	struct bytes self = slurp("/proc/self/exe");
	char directory[PATH_MAX];

	snprintf(directory, sizeof(directory), "%s/pbitmap-test-XXXXXX",
		 parent ? parent : "/tmp");
	CHECK(mkdtemp(directory) && !chdir(directory));
	spill("f", self);
	return self;
}

static inline void tear_down(void)
{
	char directory[PATH_MAX];

	CHECK(getcwd(directory, sizeof(directory)));
	CHECK(!unlink("f") && !rmdir(directory));
}

#endif /* PBITMAP_TEST_H */
