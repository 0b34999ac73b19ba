// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * launch: start a program and say what its start cost, as one line of JSON.
 *
 * Static and locked in memory, so that it takes no fault and no request of
 * its own while it measures.  The program's output goes to /dev/null; its
 * status is launch's own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct sample {
	struct timespec time;
	uint64_t requests;	/* reads completed */
	uint64_t bytes;		/* bytes read */
	uint64_t predicted;	/* pages predicted at enrolment */
};

static void die(const char *what)
{
	fprintf(stderr, "launch: %s: %s\n", what, strerror(errno));
	exit(125);
}

static void help(void)
{
	fprintf(stderr,
		"usage: launch [-cs] [-d DISK] [-r ROOT] [-e NAME=VALUE]\n"
		"              [-p LIST | -w LIST] PROGRAM [ARG...]\n"
		"  -c  drop all caches first\n"
		"  -s  return when the kernel has written its bitmaps back\n"
		"  -d  count the requests of this disk, as in /sys/block\n"
		"  -r  change root before the program starts\n"
		"  -e  set a variable in the program's environment\n"
		"  -p  replay LIST beside the program: lines PATH OFFSET LENGTH, read\n"
		"      ahead by 16 threads, a file at a time\n"
		"  -w  read LIST, and start the program then\n");
	exit(125);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd) < 0)
		die(path);
}

static void read_file(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t length;

	if (fd < 0)
		die(path);
	length = read(fd, buffer, size - 1);
	if (length < 0)
		die(path);
	buffer[length] = '\0';
	close(fd);
}

static void read_disk(const char *disk, struct sample *sample)
{
	char path[256], text[512];
	uint64_t sectors;

	snprintf(path, sizeof(path), "/sys/block/%s/stat", disk);
	read_file(path, text, sizeof(text));
	if (sscanf(text, "%" SCNu64 " %*u %" SCNu64, &sample->requests,
		   &sectors) != 2)
		die(path);
	sample->bytes = sectors * 512;
}

/* The counter @name, "\nNAME "; a kernel that does not have it counts nothing. */
static uint64_t vmstat(const char *name)
{
	static char text[1 << 16];
	char *line;

	read_file("/proc/vmstat", text, sizeof(text));
	line = strstr(text, name);
	return line ? strtoull(line + strlen(name), NULL, 10) : 0;
}

/* All but the time, which is read next to the launch itself. */
static void take(const char *disk, struct sample *sample)
{
	if (disk)
		read_disk(disk, sample);
	sample->predicted = vmstat("\npbitmap_predicted ");
}

static void now(struct sample *sample)
{
	if (clock_gettime(CLOCK_MONOTONIC, &sample->time))
		die("clock_gettime");
}

#define REPLAY_THREADS	16
/* Bytes in one call: readahead() silently stops at what the disk has set. */
#define REPLAY_PIECE	(128 << 10)

struct extent {
	const char *path;
	off_t offset;
	off_t length;
};

static struct extent *extents;
static size_t nr_extents;
static size_t *files;		/* the first extent of each file */
static size_t nr_files;
static atomic_size_t next_file;

static void load_list(const char *path)
{
	char name[4096];
	long long offset, length;
	FILE *list = fopen(path, "r");
	size_t i;

	if (!list)
		die(path);
	while (fscanf(list, "%4095s %lld %lld", name, &offset, &length) == 3) {
		extents = realloc(extents, (nr_extents + 1) * sizeof(*extents));
		if (!extents)
			die(path);
		extents[nr_extents++] = (struct extent) {
			strdup(name), offset, length
		};
	}
	fclose(list);
	files = calloc(nr_extents + 1, sizeof(*files));
	for (i = 0; i < nr_extents; i++)
		if (!i || strcmp(extents[i].path, extents[i - 1].path))
			files[nr_files++] = i;
	files[nr_files] = nr_extents;
}

static void *replay(void *unused)
{
	size_t f, i;

	(void)unused;
	while ((f = atomic_fetch_add(&next_file, 1)) < nr_files) {
		int fd = open(extents[files[f]].path, O_RDONLY);

		for (i = files[f]; fd >= 0 && i < files[f + 1]; i++) {
			off_t offset = extents[i].offset;
			off_t end = offset + extents[i].length;

			for (; offset < end; offset += REPLAY_PIECE)
				readahead(fd, offset, end - offset < REPLAY_PIECE ?
					  end - offset : REPLAY_PIECE);
		}
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

/* Small stacks: all memory is locked, so they are filled as they are made. */
static void start_replay(pthread_t *threads)
{
	pthread_attr_t attr;
	int i;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (i = 0; i < REPLAY_THREADS; i++)
		if (pthread_create(&threads[i], &attr, replay, NULL))
			die("pthread_create");
}

/* What is read is counted as part of the launch. */
static void warm(void)
{
	static char buffer[REPLAY_PIECE];
	size_t i;

	for (i = 0; i < nr_extents; i++) {
		int fd = open(extents[i].path, O_RDONLY);
		off_t offset = extents[i].offset;
		off_t end = offset + extents[i].length;
		ssize_t length = 1;

		if (fd < 0)
			die(extents[i].path);
		for (; offset < end && length > 0; offset += length)
			length = pread(fd, buffer, sizeof(buffer), offset);
		if (length < 0)
			die(extents[i].path);
		close(fd);
	}
}

/*
 * What was stirred up comes to rest, and the launch begins with a tick of the
 * kernel's clock, so that the next ones come at the same points of it each time
 * and what runs beside it is scheduled alike.  A socket's timeout is counted in
 * ticks; those of sleeping and polling are not.
 */
static void wait_for_tick(void)
{
	static const struct timeval second = { .tv_sec = 1 };
	int pair[2];
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ||
	    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &second,
		       sizeof(second)))
		die("socketpair");
	if (recv(pair[0], &byte, 1, 0) != -1 || errno != EAGAIN)
		die("recv");
	close(pair[0]);
	close(pair[1]);
}

static uint64_t written(void)
{
	return vmstat("\npbitmap_written ") +
	       vmstat("\npbitmap_write_skipped ");
}

/* A worker writes bitmaps, after the launch: wait for a second without one. */
static void settle(void)
{
	uint64_t before, now = written();

	do {
		before = now;
		wait_for_tick();
		now = written();
	} while (now != before);
	sync();
}

static void run(const char *root, int null, char **argv)
{
	if (root && (chroot(root) || chdir("/")))
		die(root);
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0)
		die("dup2");
	execv(argv[0], argv);
	die(argv[0]);
}

static void report(const struct sample *before, const struct sample *after,
		   const struct rusage *usage, int status)
{
	int64_t ns = (after->time.tv_sec - before->time.tv_sec) *
		     INT64_C(1000000000) +
		     (after->time.tv_nsec - before->time.tv_nsec);

	printf("{\"virtual_ms\": %.6f, \"requests\": %" PRIu64
	       ", \"read_bytes\": %" PRIu64
	       ", \"major_faults\": %ld, \"minor_faults\": %ld"
	       ", \"pages_predicted\": %" PRIu64 ", \"status\": %d}\n",
	       ns / 1e6, after->requests - before->requests,
	       after->bytes - before->bytes,
	       usage->ru_majflt, usage->ru_minflt,
	       after->predicted - before->predicted, status);
}

int main(int argc, char **argv)
{
	const char *disk = NULL, *root = NULL, *list = NULL;
	pthread_t threads[REPLAY_THREADS];
	struct sample before = { 0 }, after = { 0 };
	struct rusage usage;
	int option, null, status, cold = 0, settled = 0, wait_for_list = 0;
	pid_t child;

	while ((option = getopt(argc, argv, "+csd:r:e:p:w:")) != -1) {
		switch (option) {
		case 'c':
			cold = 1;
			break;
		case 's':
			settled = 1;
			break;
		case 'd':
			disk = optarg;
			break;
		case 'r':
			root = optarg;
			break;
		case 'e':
			if (putenv(optarg))
				die(optarg);
			break;
		case 'w':
			wait_for_list = 1;
			/* fallthrough */
		case 'p':
			list = optarg;
			break;
		default:
			help();
		}
	}
	if (optind == argc)
		help();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		die("/dev/null");
	if (list)
		load_list(list);
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		die("mlockall");
	sync();
	if (cold)
		write_file("/proc/sys/vm/drop_caches", "3");

	wait_for_tick();
	take(disk, &before);
	now(&before);
	if (wait_for_list)
		warm();
	child = fork();
	if (child < 0)
		die("fork");
	if (!child)
		run(root, null, argv + optind);
	if (list && !wait_for_list)
		start_replay(threads);
	if (wait4(child, &status, 0, &usage) != child)
		die("wait4");
	now(&after);
	take(disk, &after);
	status = WIFEXITED(status) ? WEXITSTATUS(status)
				   : 128 + WTERMSIG(status);
	report(&before, &after, &usage, status);
	if (settled)
		settle();
	return status;
}
