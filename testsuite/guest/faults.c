// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a page fault costs: nanoseconds, which are instructions in a guest with
 * virtual time, for each of a number of minor faults on a file mapping.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Farther apart than what one fault maps together. */
#define STRIDE	(128 << 10)
#define ROUNDS	64

static void die(const char *what)
{
	fprintf(stderr, "faults: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* The time that one fault after the other takes over all of a new mapping. */
static int64_t fault_in(int fd, size_t size)
{
	volatile char *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	int64_t start;
	size_t at;

	if (map == MAP_FAILED)
		die("mmap");
	start = now();
	for (at = 0; at < size; at += STRIDE)
		(void)map[at];
	start = now() - start;
	munmap((void *)map, size);
	return start;
}

int main(int argc, char **argv)
{
	int64_t time = 0;
	struct stat st;
	int fd, i;

	if (argc != 2) {
		fprintf(stderr, "usage: faults FILE\n");
		return 2;
	}
	fd = open(argv[1], O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		die(argv[1]);
	fault_in(fd, st.st_size);	/* the pages are in memory from now on */
	for (i = 0; i < ROUNDS; i++)
		time += fault_in(fd, st.st_size);
	printf("%.3f\n", (double)time / ROUNDS /
	       ((st.st_size + STRIDE - 1) / STRIDE));
	return 0;
}
