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
		return pb_fail(options, S_ISDIR(st.st_mode) ? EISDIR : EINVAL,
			       "not a regular file");
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
static const char *loss(int fd)
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
	if (stx.stx_nlink > 1)
		return "has several hard links";
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
	why = loss(fd);
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

/* The owner first: changing it takes set-id bits away. */
static bool copy_attributes(int from, int to, const struct stat *st,
			    const struct pbitmap_options *options)
{
	const struct timespec times[] = { st->st_atim, st->st_mtim };

	return !fchown(to, st->st_uid, st->st_gid) &&
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

/* Fills the temporary file and gives it the name of the old one. */
static int fill_and_rename(const char *path, int from, const char *temporary,
			   int to, const struct pbitmap_options *options,
			   int (*edit)(int, const struct pbitmap_options *))
{
	struct stat before, after;
	int ret;

	if (fstat(from, &before))
		return pb_fail_errno(options, "stat");
	if (!copy_bytes(from, to))
		return pb_fail_errno(options, "copy");
	ret = edit(to, options);
	if (ret)
		return ret;
	if (!copy_attributes(from, to, &before, options))
		return pb_fail_errno(options, "keep owner and attributes");
	if (fsync(to))
		return pb_fail_errno(options, "fsync");
	if (stat(path, &after))
		return pb_fail_errno(options, "stat");
	if (!is_same(&before, &after))
		return pb_fail(options, PBITMAP_ERR_CHANGED,
			       "changed while it was worked on");
	if (rename(temporary, path))
		return pb_fail_errno(options, "rename");
	return 0;
}

/* Hidden, so that no ldconfig takes it for a library meanwhile. */
static char *temporary_name(const char *target)
{
	int directory = strrchr(target, '/') - target;
	char *name;

	if (asprintf(&name, "%.*s/.pbitmap-XXXXXX", directory, target) < 0)
		return NULL;
	return name;
}

/*
 * Replaces the file at @path, open at @fd, by a copy that @edit has worked
 * on.  A symbolic link stays and its target is replaced.
 */
int pb_replace(const char *path, int fd,
	       const struct pbitmap_options *options,
	       int (*edit)(int fd, const struct pbitmap_options *options))
{
	char *target, *temporary;
	int to, ret;

	if (options->flags & PBITMAP_DRY_RUN)
		return 0;
	target = realpath(path, NULL);
	temporary = target ? temporary_name(target) : NULL;
	if (!temporary) {
		ret = pb_fail_errno(options, "name of the temporary file");
		goto out_target;
	}
	to = mkostemp(temporary, O_CLOEXEC);
	if (to < 0) {
		ret = pb_fail_errno(options, "temporary file");
		goto out_temporary;
	}
	ret = fill_and_rename(target, fd, temporary, to, options, edit);
	close(to);
	if (ret)
		unlink(temporary);
	else if (!sync_directory(target))
		ret = pb_fail_errno(options, "fsync of the directory");
out_temporary:
	free(temporary);
out_target:
	free(target);
	return ret;
}
