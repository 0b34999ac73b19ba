// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Whatever system call fails, and wherever the process is killed: the file is
 * the old one or the new one.  The calls that the library makes go through
 * the __wrap_ functions here, and the n-th of them fails, or kills.
 *
 * usage: test-atomic fail|kill
 */
#include <dirent.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <pbitmap.h>

#include "test.h"

static int calls_left = -1;	/* until one fails; -1: none does */
static bool die;		/* instead of failing */
static bool plain;		/* a file system that can do little */

static bool fails(void)
{
	if (calls_left < 0 || calls_left-- > 0)
		return false;
	if (die)
		_exit(0);
	errno = EIO;
	return true;
}

/* The order of those calls that make a change last, a letter for each. */
static char trace[64];

static void add_to_trace(char letter)
{
	size_t n = strlen(trace);

	if (n < sizeof(trace) - 1 && letter)
		trace[n] = letter;
}

static bool is_directory(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISDIR(st.st_mode);
}

#define WRAP_TRACED(type, name, parameters, arguments, letter)		\
	type __real_##name parameters;					\
	type __wrap_##name parameters;					\
	type __wrap_##name parameters					\
	{								\
		add_to_trace(letter);					\
		return fails() ? (type)-1 : __real_##name arguments;	\
	}

#define WRAP(type, name, parameters, arguments)				\
	WRAP_TRACED(type, name, parameters, arguments, 0)

WRAP(ssize_t, pread64, (int fd, void *p, size_t n, off_t at),
     (fd, p, n, at))
WRAP(ssize_t, pwrite64, (int fd, const void *p, size_t n, off_t at),
     (fd, p, n, at))
WRAP(int, ftruncate64, (int fd, off_t size), (fd, size))
WRAP(int, fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(int, futimens, (int fd, const struct timespec *t), (fd, t))
WRAP_TRACED(int, fsync, (int fd), (fd), is_directory(fd) ? 'D' : 'F')
WRAP_TRACED(int, rename, (const char *from, const char *to), (from, to), 'R')
WRAP_TRACED(int, linkat, (int from_fd, const char *from, int to_fd,
			  const char *to, int flags),
	    (from_fd, from, to_fd, to, flags), 'L')
WRAP(int, flock, (int fd, int operation), (fd, operation))
WRAP(ssize_t, fgetxattr,
     (int fd, const char *name, void *p, size_t n), (fd, name, p, n))
WRAP(ssize_t, flistxattr, (int fd, char *p, size_t n), (fd, p, n))
WRAP(int, fsetxattr,
     (int fd, const char *name, const void *p, size_t n, int flags),
     (fd, name, p, n, flags))

int __real_open64(const char *name, int flags, ...);
int __wrap_open64(const char *name, int flags, ...);

ssize_t __real_copy_file_range(int from, off_t *in, int to, off_t *out,
			       size_t n, unsigned int flags);
ssize_t __wrap_copy_file_range(int from, off_t *in, int to, off_t *out,
			       size_t n, unsigned int flags);

/* Some file systems cannot do this, and have no O_TMPFILE. */
ssize_t __wrap_copy_file_range(int from, off_t *in, int to, off_t *out,
			       size_t n, unsigned int flags)
{
	if (fails())
		return -1;
	if (plain) {
		errno = EXDEV;
		return -1;
	}
	return __real_copy_file_range(from, in, to, out, n, flags);
}

int __wrap_open64(const char *name, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & (O_CREAT | __O_TMPFILE))
		mode = va_arg(ap, mode_t);
	va_end(ap);
	if (fails())
		return -1;
	if (plain && (flags & O_TMPFILE) == O_TMPFILE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return __real_open64(name, flags, mode);
}

static const struct pbitmap_options options = {
	.sz = sizeof(options),
	.flags = PBITMAP_KEEP_TIMES,
};

static bool is_file(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
}

/* Files in the current directory. */
static int count_files(void)
{
	struct dirent *entry;
	DIR *dir = opendir(".");
	int n = 0;

	CHECK(dir);
	while ((entry = readdir(dir)))
		n += is_file(entry);
	closedir(dir);
	return n;
}

static void test_failure(struct bytes old, struct bytes new,
			 int (*work)(const char *,
				     const struct pbitmap_options *))
{
	bool all = false;
	int n, ret, failures = 0;

	for (n = 0; !all; n++) {
		CHECK(n < 1000);
		spill("f", old);
		calls_left = n;
		ret = work("f", &options);
		all = calls_left >= 0;
		calls_left = -1;
		CHECK(ret >= 0 || ret == -EIO || ret <= -4000);
		CHECK(count_files() == 1);
		CHECK(holds("f", old) || holds("f", new));
		failures += ret < 0;
	}
	CHECK(holds("f", new));
	CHECK(failures > 10);
}

static void test_kill(struct bytes old, struct bytes new,
		      int (*work)(const char *,
				  const struct pbitmap_options *))
{
	int n, status, kills = 0, leftovers = 0;

	for (n = 0; ; n++) {
		CHECK(n < 1000);
		spill("f", old);
		fflush(NULL);
		if (!fork()) {
			die = true;
			calls_left = n;
			work("f", &options);
			_exit(7);
		}
		CHECK(wait(&status) > 0 && WIFEXITED(status));
		CHECK(holds("f", old) || holds("f", new));
		leftovers += count_files() - 1;
		/* What was left behind goes with the next try. */
		CHECK(work("f", &options) >= 0);
		CHECK(holds("f", new) && count_files() == 1);
		if (WEXITSTATUS(status) == 7)
			break;
		kills++;
	}
	CHECK(holds("f", new));
	CHECK(kills > 10);
	CHECK(plain ? leftovers > 10 : leftovers <= 1);
}

/* The file is on the disk before it has a name, and then the name is. */
static void test_order(struct bytes old, const char *order)
{
	spill("f", old);
	memset(trace, 0, sizeof(trace));
	CHECK(pbitmap_add("f", &options) == PBITMAP_WRITTEN);
	CHECK(!strcmp(trace, order));
	memset(trace, 0, sizeof(trace));
	CHECK(pbitmap_add("f", &options) == PBITMAP_UNCHANGED);
	CHECK(!*trace);
	CHECK(pbitmap_remove("f", &options) == PBITMAP_WRITTEN);
	CHECK(!strcmp(trace, order));
}

/* Somebody else at work on the file, and what is no leftover of ours. */
static void test_busy(struct bytes old)
{
	char name[64];
	struct stat st;
	int fd;

	spill("f", old);
	CHECK(!stat("f", &st));
	snprintf(name, sizeof(name), ".pbitmap-%llx-%llx",
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0 && !flock(fd, LOCK_EX));
	CHECK(pbitmap_add("f", &options) == -EBUSY);
	CHECK(holds("f", old) && count_files() == 2);
	close(fd);
	CHECK(!unlink(name) && !symlink("f", name));
	CHECK(pbitmap_add("f", &options) < 0);
	CHECK(holds("f", old) && count_files() == 2);
	CHECK(!unlink(name));
}

int main(int argc, char **argv)
{
	struct bytes bare = set_up(), annotated;
	int i;

	CHECK(argc == 2);
	CHECK(pbitmap_add("f", &options) == PBITMAP_WRITTEN);
	annotated = slurp("f");
	for (i = 0; i < 2; i++) {
		plain = i;
		if (!strcmp(argv[1], "fail")) {
			test_failure(bare, annotated, pbitmap_add);
			test_failure(annotated, bare, pbitmap_remove);
		} else {
			test_kill(bare, annotated, pbitmap_add);
			test_kill(annotated, bare, pbitmap_remove);
			test_busy(bare);
			test_order(bare, plain ? "FRD" : "FLRD");
		}
	}
	free(bare.data);
	free(annotated.data);
	tear_down();
	return 0;
}
