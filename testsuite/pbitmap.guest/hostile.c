// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hostile: give damaged executables to execve() and to madvise().
 *
 *	hostile SEED DIRECTORY FIRST COUNT [lists]
 *
 * Makes damaged copies of SEED (mutate.c), numbers FIRST to FIRST + COUNT - 1,
 * that belong to nobody, who maps and executes each.  What they do is their
 * business, unless only the bitmap is damaged; but no byte outside the section
 * may change.  Says how many ran to their end.  With "lists" their lists of
 * objects are what is damaged, and root executes them as well.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pbitmap.h>

#include "mutate.h"

#define PAGE	4096UL
#define NOBODY	65534

static char self[4096];
static const char *seed, *directory;
static unsigned int first, count;
static bool lists;

static const char *path_of(unsigned int number)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%u", directory, number);
	return path;
}

static void write_all(const char *path, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0700);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size ||
	    fchown(fd, NOBODY, NOBODY))
		err(2, "%s", path);
	close(fd);
}

/* Out of memory, so that its bitmap has to be waited for. */
static void forget(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0 || fdatasync(fd) || posix_fadvise(fd, 0, 0,
						     POSIX_FADV_DONTNEED))
		err(2, "%s", path);
	close(fd);
}

static void damage(unsigned int number)
{
	if (lists)
		mutate_list(number);
	else
		mutate(number, MUTATE_KINDS);
}

/* Some are cut while they are read. */
static bool is_cut(unsigned int number)
{
	return !lists && number % 16 == 5;
}

/* Does it run as if nothing were damaged? */
static bool is_sound(unsigned int number)
{
	return lists || (number % MUTATE_KINDS < MUTATE_BITMAP_KINDS &&
			 !is_cut(number));
}

static void make(void)
{
	unsigned int n;

	for (n = first; n < first + count; n++) {
		damage(n);
		write_all(path_of(n), mutant, mutant_size);
		if (n % 8 == 3)
			forget(path_of(n));
	}
}

/*
 * Whatever the program is made to do, it ends, after @seconds of processor time
 * or twenty times as many of waiting, and does no harm.
 */
static void confine(unsigned int seconds)
{
	struct rlimit cpu = { seconds, seconds };
	struct rlimit none = { 0, 0 }, few = { 50, 50 };
	int null = open("/dev/null", O_RDWR);

	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_NPROC, &few);
	alarm(20 * seconds);
}

static void become_nobody(void)
{
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		_exit(99);
}

static pid_t start_cutting(unsigned int number)
{
	const char *path = path_of(number);
	struct stat st;
	pid_t pid = fork();
	int i;

	if (pid)
		return pid;
	if (stat(path, &st))
		_exit(1);
	for (i = 15; i >= 0; i--) {
		if (truncate(path, st.st_size * i / 16) && errno != ETXTBSY)
			_exit(1);
		usleep(200);
	}
	_exit(0);
}

/* Without copying page tables: there are thousands of them. */
static pid_t __attribute__((noinline)) start(const char *path, bool as_root)
{
	pid_t pid = vfork();

	if (!pid) {
		confine(1);
		if (!as_root)
			become_nobody();
		execl(path, path, "t1", "r1", "w1", NULL);
		_exit(126);
	}
	return pid;
}

/* How the program ended, as by wait(). */
static int run(unsigned int number, bool as_root)
{
	pid_t cutter = is_cut(number) ? start_cutting(number) : 0;
	pid_t pid = start(path_of(number), as_root);
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		err(2, "fork");
	if (cutter)
		waitpid(cutter, NULL, 0);
	return status;
}

/* Run all; how many ended well. */
static unsigned int run_all(void)
{
	unsigned int n, good = 0;

	for (n = first; n < first + count; n++) {
		int status = run(n, false);

		if (lists && !status)
			status = run(n, true);
		good += !status;
		if (status && is_sound(n))
			errx(1, "%u: status 0x%x", n, status);
		if (status && WIFSIGNALED(status) &&
		    WTERMSIG(status) == SIGALRM)
			errx(1, "%u hangs", n);
	}
	return good;
}

static sigjmp_buf fault;

static void on_fault(int signal)
{
	siglongjmp(fault, signal);
}

/* Pages that are not there any more are no fault of the kernel's. */
static void touch(const volatile char *page)
{
	if (!sigsetjmp(fault, 1))
		(void)*page;
}

static void advise(unsigned int number)
{
	struct stat st;
	int i, fd = open(path_of(number), O_RDONLY);
	char *map, *page;

	if (fd < 0 || fstat(fd, &st))
		err(1, "%u", number);
	map = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		err(1, "mmap %u", number);
	for (i = 0; i < 2; i++) {
		if (madvise(map, st.st_size, MADV_PBITMAP))
			err(1, "madvise %u", number);
		for (page = map; page < map + st.st_size; page += 3 * PAGE)
			touch(page);
	}
	munmap(map, st.st_size);
}

/* In a program of its own, which is the launch: the others are its parent's. */
static int advise_all(void)
{
	unsigned int n;

	signal(SIGBUS, on_fault);
	for (n = first; n < first + count; n++)
		advise(n);
	return 0;
}

static void start_advising(void)
{
	char from[16], number[16];
	int status, out = dup(2);
	pid_t pid = fork();

	snprintf(from, sizeof(from), "%u", first);
	snprintf(number, sizeof(number), "%u", count);
	if (!pid) {
		confine(25);
		become_nobody();
		dup2(out, 2);
		execl(self, self, "advise", directory, from, number, NULL);
		_exit(126);
	}
	close(out);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		errx(1, "madvise of %u to %u: status 0x%x", first,
		     first + count - 1, status);
}

/* Launches seen by the bitmap of the undamaged seed's copy. */
static uint32_t launches(const char *path)
{
	struct pbitmap_header header;
	int fd = open(path, O_RDONLY);

	if (fd < 0 || pread(fd, &header, sizeof(header), mutate_section) !=
		      sizeof(header))
		err(2, "%s", path);
	close(fd);
	return header.launches;
}

/*
 * Wait until all is written: one worker writes one after the other, and the
 * copy that runs last comes last.
 */
static void settle(void)
{
	unsigned int last = first + count;
	int i;

	mutate_not();
	write_all(path_of(last), mutant, mutant_size);
	if (run(last, false))
		errx(1, "the undamaged program fails");
	for (i = 0; !launches(path_of(last)); i++) {
		if (i == 600)
			errx(1, "the undamaged program is not recorded");
		usleep(100000);
	}
	unlink(path_of(last));
}

/* What is outside the section and was not cut off is what it was. */
static void compare(unsigned int number)
{
	int fd = open(path_of(number), O_RDONLY);
	unsigned char *now;
	struct stat st;
	size_t size, i;

	damage(number);
	if (fd < 0 || fstat(fd, &st))
		err(2, "%u", number);
	size = st.st_size;
	if (size != mutant_size && !(is_cut(number) && size < mutant_size))
		errx(1, "%u: %zu bytes, were %zu", number, size, mutant_size);
	now = malloc(size + 1);
	if (!now || pread(fd, now, size, 0) != (ssize_t)size)
		err(2, "%u", number);
	for (i = 0; i < size; i++)
		if (now[i] != mutant[i] && i - mutate_section >=
					   mutate_section_size)
			errx(1, "%u: byte %zu has changed", number, i);
	free(now);
	close(fd);
	unlink(path_of(number));
}

int main(int argc, char **argv)
{
	unsigned int n, good;

	if (argc < 5)
		errx(2, "usage: hostile SEED DIRECTORY FIRST COUNT [lists]");
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		err(2, "/proc/self/exe");
	seed = argv[1];
	directory = argv[2];
	first = atoi(argv[3]);
	count = atoi(argv[4]);
	lists = argc > 5;
	if (!strcmp(seed, "advise"))
		return advise_all();
	mutate_read(seed);
	make();
	if (!lists)
		start_advising();
	good = run_all();
	settle();
	for (n = first; n < first + count; n++)
		compare(n);
	printf("%u\n", good);
	return 0;
}
