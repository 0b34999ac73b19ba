// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A FUSE file system that takes its time: slow SECONDS GATE DIRECTORY FILE...
 * mounts the files, by their last names and for reading, on DIRECTORY.  A
 * request is answered when the file GATE exists, and so many seconds later.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fuse.h>

#define MAX_READ	(128 << 10)
/* Node 1 is the directory, file I is node I + FIRST. */
#define FIRST		2

static char **files;
static unsigned int nr_files;
static int device;

static void answer(const struct fuse_in_header *in, int error,
		   const void *data, size_t size)
{
	static char buf[sizeof(struct fuse_out_header) + MAX_READ];
	struct fuse_out_header out = {
		.len = sizeof(out) + size,
		.error = -error,
		.unique = in->unique,
	};

	memcpy(buf, &out, sizeof(out));
	if (size)
		memcpy(buf + sizeof(out), data, size);
	/* Whoever asked may be gone by now. */
	if (write(device, buf, out.len) < 0 && errno != ENOENT)
		exit(0);
}

static void fill_attr(struct fuse_attr *attr, unsigned long node)
{
	struct stat st = { .st_mode = S_IFDIR | 0755, .st_nlink = 2 };

	if (node >= FIRST && stat(files[node - FIRST], &st))
		err(1, "%s", files[node - FIRST]);
	attr->ino = node;
	attr->size = st.st_size;
	attr->blocks = st.st_blocks;
	attr->mode = st.st_mode;
	attr->nlink = st.st_nlink;
	attr->blksize = 4096;
}

static void init(const struct fuse_in_header *in, const void *arg)
{
	const struct fuse_init_in *request = arg;
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = request->max_readahead,
		.max_write = 4096,
		.flags = FUSE_ASYNC_READ & request->flags,
	};

	answer(in, 0, &out, sizeof(out));
}

static void lookup(const struct fuse_in_header *in, const char *name)
{
	struct fuse_entry_out out = { .entry_valid = 3600, .attr_valid = 3600 };
	unsigned int i;

	for (i = 0; i < nr_files; i++) {
		const char *last = strrchr(files[i], '/');

		if (strcmp(last ? last + 1 : files[i], name))
			continue;
		out.nodeid = i + FIRST;
		fill_attr(&out.attr, out.nodeid);
		answer(in, 0, &out, sizeof(out));
		return;
	}
	answer(in, ENOENT, NULL, 0);
}

static void getattr(const struct fuse_in_header *in)
{
	struct fuse_attr_out out = { .attr_valid = 3600 };

	fill_attr(&out.attr, in->nodeid);
	answer(in, 0, &out, sizeof(out));
}

static void open_file(const struct fuse_in_header *in)
{
	struct fuse_open_out out = { .open_flags = FOPEN_KEEP_CACHE };

	answer(in, 0, &out, sizeof(out));
}

static void read_file(const struct fuse_in_header *in,
		      const struct fuse_read_in *request)
{
	static char data[MAX_READ];
	int fd = open(files[in->nodeid - FIRST], O_RDONLY);
	ssize_t n = request->size > MAX_READ ? -1 :
		pread(fd, data, request->size, request->offset);

	close(fd);
	answer(in, n < 0 ? EIO : 0, data, n < 0 ? 0 : n);
}

static void serve(const struct fuse_in_header *in, const void *arg)
{
	switch (in->opcode) {
	case FUSE_INIT:
		init(in, arg);
		break;
	case FUSE_LOOKUP:
		lookup(in, arg);
		break;
	case FUSE_GETATTR:
		getattr(in);
		break;
	case FUSE_OPEN:
		open_file(in);
		break;
	case FUSE_READ:
		read_file(in, arg);
		break;
	case FUSE_RELEASE:
		answer(in, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		answer(in, ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	static char buf[MAX_READ];
	const struct fuse_in_header *in = (void *)buf;
	char options[128];

	device = open("/dev/fuse", O_RDWR);
	if (argc < 5 || device < 0)
		err(2, "usage: slow SECONDS GATE DIRECTORY FILE...");
	files = argv + 4;
	nr_files = argc - 4;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,"
		 "group_id=0,allow_other,default_permissions", device);
	if (mount("slow", argv[3], "fuse", 0, options))
		err(1, "%s", argv[3]);
	while (read(device, buf, sizeof(buf)) > 0) {
		/* The mount itself is quick. */
		if (in->opcode != FUSE_INIT) {
			while (access(argv[2], F_OK))
				usleep(10000);
			sleep(atoi(argv[1]));
		}
		serve(in, buf + sizeof(*in));
	}
	return 0;
}
