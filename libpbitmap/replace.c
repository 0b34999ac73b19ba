// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Replaces a file by an edited copy of itself: under the same name, with the
 * same owner, mode and attributes, and at once.  Processes that have the old
 * file open or mapped keep it.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "internal.h"

#define CAPABILITY	"security.capability"

/* Attributes that vouch for the contents; a copy must not have them. */
static const char *const signatures[] = { "security.ima", "security.evm" };

/* The regular file at @path, for reading. */
int pb_open_file(const char *path, const struct pbitmap_options *options)
{
	struct stat st = { 0 };
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return pb_fail_errno(options, "open");
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		if (S_ISDIR(st.st_mode))
			return pb_fail(options, EISDIR, "a directory");
		return pb_fail(options, EINVAL, "not a regular file");
	}
	return fd;
}

/* Whether there is such an attribute; if that is not to be known, say so. */
static bool has_attribute(int fd, const char *name, bool *unknown)
{
	if (fgetxattr(fd, name, NULL, 0) >= 0)
		return true;
	*unknown |= errno != ENODATA && errno != ENOTSUP;
	return false;
}

/* What a rewrite would lose or break, or NULL. */
static const char *loss(int fd, const struct pbitmap_options *options)
{
	bool unknown = false;
	struct statx stx;
	size_t i;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx))
		return "its attributes cannot be read";
	if (stx.stx_mode & S_ISUID)
		return "setuid";
	if (stx.stx_mode & S_ISGID)
		return "setgid";
	if (stx.stx_attributes & STATX_ATTR_IMMUTABLE)
		return "immutable";
	if (stx.stx_attributes & STATX_ATTR_APPEND)
		return "append-only";
	if (stx.stx_attributes & STATX_ATTR_VERITY)
		return "protected by fs-verity";
	if (!options->output && stx.stx_nlink > options->nr_links + 1)
		return options->nr_links ?
		       "has other hard links than those named" :
		       "has several hard links";
	if (has_attribute(fd, CAPABILITY, &unknown))
		return "has file capabilities";
	for (i = 0; i < sizeof(signatures) / sizeof(*signatures); i++)
		if (has_attribute(fd, signatures[i], &unknown))
			return "signed or measured (IMA, EVM)";
	return unknown ? "its attributes cannot be read" : NULL;
}

int pb_check_file(int fd, const struct pbitmap_options *options)
{
	const char *why;

	if (options->flags & PBITMAP_FORCE)
		return 0;
	why = loss(fd, options);
	if (!why)
		return 0;
	return pb_fail(options, PBITMAP_ERR_REFUSED, "refused: %s", why);
}

static bool copy_bytes(int from, int to)
{
	char buffer[65536];
	off_t in = 0, out = 0;
	ssize_t n;

	do {
		n = copy_file_range(from, &in, to, &out, 1 << 30, 0);
	} while (n > 0);
	if (n == 0 && in)
		return true;

	for (in = 0; ; in += n) {
		n = pread(from, buffer, sizeof(buffer), in);
		if (n <= 0)
			return n == 0;
		if (!pb_write(to, buffer, n, in))
			return false;
	}
}

static bool copy_xattr(int from, int to, const char *name)
{
	char value[65536];	/* XATTR_SIZE_MAX */
	ssize_t n = fgetxattr(from, name, value, sizeof(value));

	return n >= 0 && !fsetxattr(to, name, value, n, 0);
}

static bool is_signature(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(signatures) / sizeof(*signatures); i++)
		if (!strcmp(name, signatures[i]))
			return true;
	return false;
}

/* All but signatures; capabilities last, since a change takes them away. */
static bool copy_xattrs(int from, int to)
{
	char names[65536];	/* XATTR_LIST_MAX */
	ssize_t n = flistxattr(from, names, sizeof(names));
	bool capability = false;
	const char *name;

	if (n < 0)
		return errno == ENOTSUP;
	for (name = names; name < names + n; name += strlen(name) + 1) {
		if (!strcmp(name, CAPABILITY))
			capability = true;
		else if (!is_signature(name) && !copy_xattr(from, to, name))
			return false;
	}
	return !capability || copy_xattr(from, to, CAPABILITY);
}

/* A new file may have got one from its directory. */
static bool drop_acl(int fd)
{
	return !fremovexattr(fd, "system.posix_acl_access") ||
	       errno == ENODATA || errno == ENOTSUP;
}

/* The owner first: changing it takes set-id bits away. */
static bool copy_attributes(int from, int to, const struct stat *st,
			    const struct pbitmap_options *options)
{
	const struct timespec times[] = { st->st_atim, st->st_mtim };

	return drop_acl(to) && !fchown(to, st->st_uid, st->st_gid) &&
	       !fchmod(to, st->st_mode & 07777) &&
	       copy_xattrs(from, to) &&
	       (!(options->flags & PBITMAP_KEEP_TIMES) ||
		!futimens(to, times));
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       a->st_size == b->st_size && a->st_nlink == b->st_nlink &&
	       a->st_mode == b->st_mode && a->st_uid == b->st_uid &&
	       a->st_gid == b->st_gid &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Makes the rename last. */
static bool sync_directory(const char *path)
{
	char *copy = strdup(path);
	int fd = -1;
	bool done;

	if (copy)
		fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	done = fd >= 0 && !fsync(fd);
	if (fd >= 0)
		close(fd);
	free(copy);
	return done;
}

/*
 * A new file without a name, or with a hidden one where the file system cannot
 * do otherwise.  @name is what it gets in the end.  It stays locked as long as
 * it is open, and a hidden file that is not locked is what a process left
 * behind that was killed.
 */
struct temporary {
	int fd;
	char *name;
	bool named;
};

/* Of the directory of @target and of the file, so that nothing gathers. */
static char *temporary_name(const char *target, const struct stat *st)
{
	int directory = strrchr(target, '/') - target;
	char *name;

	if (asprintf(&name, "%.*s/.pbitmap-%llx-%llx", directory, target,
		     (unsigned long long)st->st_dev,
		     (unsigned long long)st->st_ino) < 0)
		return NULL;
	return name;
}

/* Deletes what was left behind; EBUSY if somebody is at work on it. */
static bool delete_leftover(const char *name)
{
	struct stat locked, named;
	int fd, error = 0;

	fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT;
	if (fstat(fd, &locked) || flock(fd, LOCK_EX | LOCK_NB))
		error = errno == EWOULDBLOCK ? EBUSY : errno;
	/* Whoever else may delete it has to have the lock. */
	else if (!S_ISREG(locked.st_mode) ||
		 lstat(name, &named) || named.st_dev != locked.st_dev ||
		 named.st_ino != locked.st_ino)
		error = EBUSY;
	else if (unlink(name))
		error = errno;
	close(fd);
	errno = error;
	return !error;
}

static bool create_named(struct temporary *t)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
	struct stat st;

	t->fd = open(t->name, flags, 0600);
	if (t->fd < 0 && errno == EEXIST && delete_leftover(t->name))
		t->fd = open(t->name, flags, 0600);
	if (t->fd < 0)
		return false;
	t->named = true;
	/* Somebody may have taken it for a leftover before it was locked. */
	if (!flock(t->fd, LOCK_EX | LOCK_NB) && !fstat(t->fd, &st)) {
		if (st.st_nlink)
			return true;
		errno = EWOULDBLOCK;
	}
	if (errno == EWOULDBLOCK) {
		t->named = false;
		errno = EBUSY;
	}
	return false;
}

static bool create(struct temporary *t, const char *target)
{
	char *copy = strdup(target);

	t->fd = -1;
	if (copy && !access("/proc/self/fd", X_OK))
		t->fd = open(dirname(copy), O_TMPFILE | O_RDWR | O_CLOEXEC,
			     0600);
	free(copy);
	if (t->fd >= 0)
		return !flock(t->fd, LOCK_EX | LOCK_NB);
	return create_named(t);
}

/* Gives a file without a name its hidden one. */
static bool give_name(struct temporary *t)
{
	char self[40];

	if (t->named)
		return true;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", t->fd);
	if (linkat(AT_FDCWD, self, AT_FDCWD, t->name, AT_SYMLINK_FOLLOW) &&
	    (errno != EEXIST || !delete_leftover(t->name) ||
	     linkat(AT_FDCWD, self, AT_FDCWD, t->name, AT_SYMLINK_FOLLOW)))
		return false;
	t->named = true;
	return true;
}

static bool give_final_name(struct temporary *t, const char *name)
{
	if (!give_name(t) || rename(t->name, name))
		return false;
	t->named = false;
	return true;
}

/* The other names of the old file become names of the new one. */
static int relink(struct temporary *t, const struct stat *old,
		  const struct pbitmap_options *options)
{
	struct stat st;
	size_t i;

	for (i = 0; i < options->nr_links; i++) {
		const char *name = options->links[i];
		struct temporary other = { .fd = t->fd };
		char *target = realpath(name, NULL);
		bool done = false;

		if (target && !stat(target, &st) &&
		    st.st_dev == old->st_dev && st.st_ino == old->st_ino) {
			other.name = temporary_name(target, old);
			done = other.name && give_final_name(&other, target) &&
			       sync_directory(target);
			free(other.name);
		}
		free(target);
		if (!done)
			return pb_fail_errno(options, name);
	}
	return 0;
}

/* Fills the temporary file and gives it the name @to. */
static int fill_and_rename(const char *path, const char *to, int from,
			   struct temporary *t,
			   const struct pbitmap_options *options,
			   int (*edit)(int, const struct pbitmap_options *,
				       void *), void *arg)
{
	struct stat before, after;
	int ret;

	if (fstat(from, &before))
		return pb_fail_errno(options, "stat");
	if (!copy_bytes(from, t->fd))
		return pb_fail_errno(options, "copy");
	ret = edit(t->fd, options, arg);
	if (ret)
		return ret;
	if (!copy_attributes(from, t->fd, &before, options))
		return pb_fail_errno(options, "keep owner and attributes");
	if (fsync(t->fd))
		return pb_fail_errno(options, "fsync");
	if (stat(path, &after))
		return pb_fail_errno(options, "stat");
	if (!is_same(&before, &after))
		return pb_fail(options, PBITMAP_ERR_CHANGED,
			       "changed while it was worked on");
	if (!give_final_name(t, to))
		return pb_fail_errno(options, "rename");
	if (!sync_directory(to))
		return pb_fail_errno(options, "fsync of the directory");
	return options->output ? 0 : relink(t, &before, options);
}

/* Where the new file goes, without symbolic links; to be freed. */
static char *find_target(const char *path,
			 const struct pbitmap_options *options)
{
	const char *output = options->output;
	char *target;

	if (!output)
		return realpath(path, NULL);
	target = realpath(output, NULL);
	if (target || errno != ENOENT)
		return target;
	/* A slash for the directory of the temporary file to end at. */
	if (strchr(output, '/'))
		return strdup(output);
	return asprintf(&target, "./%s", output) < 0 ? NULL : target;
}

/*
 * Replaces the file at @path, open at @fd, by a copy that @edit has worked
 * on, or makes the copy elsewhere.  A symbolic link stays and its target is
 * replaced.
 */
int pb_replace(const char *path, int fd,
	       const struct pbitmap_options *options,
	       int (*edit)(int fd, const struct pbitmap_options *options,
			   void *arg), void *arg)
{
	struct temporary t = { .fd = -1 };
	struct stat st;
	char *target;
	int ret;

	if (options->flags & PBITMAP_DRY_RUN)
		return 0;
	target = find_target(path, options);
	if (!target || fstat(fd, &st) ||
	    !(t.name = temporary_name(target, &st))) {
		ret = pb_fail_errno(options, "name of the temporary file");
		goto out;
	}
	if (create(&t, target))
		ret = fill_and_rename(path, target, fd, &t, options, edit,
				      arg);
	else
		ret = pb_fail_errno(options, "temporary file");
	if (t.named)
		unlink(t.name);
	if (t.fd >= 0)
		close(t.fd);
out:
	free(t.name);
	free(target);
	return ret;
}
