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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
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
		"usage: launch [-c] [-d DISK] [-r ROOT] [-e NAME=VALUE] PROGRAM [ARG...]\n"
		"  -c  drop all caches first\n"
		"  -d  count the requests of this disk, as in /sys/block\n"
		"  -r  change root before the program starts\n"
		"  -e  set a variable in the program's environment\n");
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

/* A kernel without the counter has predicted nothing. */
static void read_predicted(struct sample *sample)
{
	static const char name[] = "\npbitmap_predicted ";
	static char text[1 << 16];
	char *line;

	read_file("/proc/vmstat", text, sizeof(text));
	line = strstr(text, name);
	if (line)
		sample->predicted = strtoull(line + strlen(name), NULL, 10);
}

/* All but the time, which is read next to the launch itself. */
static void take(const char *disk, struct sample *sample)
{
	if (disk)
		read_disk(disk, sample);
	read_predicted(sample);
}

static void now(struct sample *sample)
{
	if (clock_gettime(CLOCK_MONOTONIC, &sample->time))
		die("clock_gettime");
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

	printf("{\"virtual_ms\": %.3f, \"requests\": %" PRIu64
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
	const char *disk = NULL, *root = NULL;
	struct sample before = { 0 }, after = { 0 };
	struct rusage usage;
	int option, null, status, cold = 0;
	pid_t child;

	while ((option = getopt(argc, argv, "+cd:r:e:")) != -1) {
		switch (option) {
		case 'c':
			cold = 1;
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
		default:
			help();
		}
	}
	if (optind == argc)
		help();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		die("/dev/null");
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		die("mlockall");
	sync();
	if (cold)
		write_file("/proc/sys/vm/drop_caches", "3");

	take(disk, &before);
	now(&before);
	child = fork();
	if (child < 0)
		die("fork");
	if (!child)
		run(root, null, argv + optind);
	if (wait4(child, &status, 0, &usage) != child)
		die("wait4");
	now(&after);
	take(disk, &after);
	status = WIFEXITED(status) ? WEXITSTATUS(status)
				   : 128 + WTERMSIG(status);
	report(&before, &after, &usage, status);
	return status;
}
