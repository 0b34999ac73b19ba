// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * powercut: make of a disk what a power cut could have left of it.
 *
 *	powercut entries LOG
 *	powercut replay LOG IMAGE COPY FIRST POINTS COMMAND
 *	powercut compare FILE VERSIONS
 *
 * LOG is what QEMU's blklogwrites, or dm-log-writes, wrote about a disk, and
 * IMAGE what the disk was when the log had FIRST entries.  Replays the rest of
 * it, and stops at POINTS points on the way: at each COPY is IMAGE as a power
 * cut there could have left it, and COMMAND has to find nothing wrong with it.
 * At one point in three all writes so far are on the disk; at others the last
 * one is torn, some of its sectors being old; or of those since the last flush
 * some are missing as well.
 *
 * compare says whether FILE is one of VERSIONS, a directory with what it was
 * ("whole"), or such but for its bitmap section ("torn"), or fails.
 */
#include <dirent.h>
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/pbitmap.h>

#define SECTOR		512
#define LOG_MAGIC	0x6a736677736872ULL
#define LOG_FLUSH	1
#define LOG_FUA		2
#define LOG_DISCARD	4

struct log_super {
	uint64_t magic, version, nr_entries;
	uint32_t sector_size;
};

struct log_entry {
	uint64_t sector, nr_sectors, flags, data_len;
};

/* An entry as it is in memory: where its data is in the log. */
struct entry {
	struct log_entry e;
	off_t data;
};

static int log_fd;
static struct entry *entries;
static uint64_t nr_entries;

static void read_at(int fd, void *buffer, size_t n, off_t at)
{
	if (pread(fd, buffer, n, at) != (ssize_t)n)
		err(2, "read");
}

static void write_at(int fd, const void *buffer, size_t n, off_t at)
{
	if (pwrite(fd, buffer, n, at) != (ssize_t)n)
		err(2, "write");
}

static void read_log(const char *name)
{
	struct log_super super;
	off_t at = SECTOR;
	uint64_t i;

	log_fd = open(name, O_RDONLY);
	if (log_fd < 0)
		err(2, "%s", name);
	read_at(log_fd, &super, sizeof(super), 0);
	if (super.magic != LOG_MAGIC || super.sector_size != SECTOR)
		errx(2, "%s is no log", name);
	nr_entries = super.nr_entries;
	entries = calloc(nr_entries, sizeof(*entries));
	if (!entries)
		err(2, "%s", name);
	for (i = 0; i < nr_entries; i++) {
		struct entry *entry = &entries[i];

		read_at(log_fd, &entry->e, sizeof(entry->e), at);
		entry->data = at + SECTOR;
		at = entry->data;
		if (!(entry->e.flags & LOG_DISCARD))
			at += entry->e.nr_sectors * SECTOR;
	}
}

/* One write; of a torn one each sector with even odds. */
static void apply(int fd, const struct entry *entry, bool torn)
{
	char sector[SECTOR];
	uint64_t i;

	if (entry->e.flags & LOG_DISCARD)
		return;
	for (i = 0; i < entry->e.nr_sectors; i++) {
		if (torn && random() & 1)
			continue;
		read_at(log_fd, sector, SECTOR, entry->data + i * SECTOR);
		write_at(fd, sector, SECTOR, (entry->e.sector + i) * SECTOR);
	}
}

/* COPY becomes IMAGE without copying anything. */
static int clone_image(int image, const char *copy)
{
	int fd = open(copy, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || ioctl(fd, FICLONE, image))
		err(2, "%s", copy);
	return fd;
}

/*
 * The disk at a cut: IMAGE has what was written before the last flush, which
 * entry SINCE follows, and entry END is the first that was not issued.
 */
static void cut(int image, const char *copy, uint64_t since, uint64_t end,
		unsigned int how)
{
	int fd = clone_image(image, copy);
	uint64_t i;

	for (i = since; i < end; i++) {
		bool fua = entries[i].e.flags & LOG_FUA;

		if (how == 2 && !fua && random() % 3 == 0)
			continue;
		apply(fd, &entries[i], how && i + 1 == end);
	}
	close(fd);
}

static void replay(const char *name, const char *copy, uint64_t first,
		   unsigned int points, const char *command)
{
	int image = open(name, O_RDWR);
	uint64_t since = first, end, i;
	unsigned int n;

	if (image < 0)
		err(2, "%s", name);
	if (nr_entries <= first)
		errx(2, "nothing was written");
	for (n = 0; n < points; n++) {
		end = first + (nr_entries - first) * (n + 1) / points;
		for (i = since; i < end; i++) {
			if (!(entries[i].e.flags & LOG_FLUSH))
				continue;
			for (; since <= i; since++)
				apply(image, &entries[since], false);
		}
		srandom(n);
		cut(image, copy, since, end, n % 3);
		if (system(command))
			errx(1, "point %u of %u, entries %ju to %ju, %s", n,
			     points, (uintmax_t)since, (uintmax_t)end,
			     n % 3 == 0 ? "whole" : n % 3 == 1 ? "torn" :
			     "some missing");
	}
}

static unsigned char *read_file(const char *name, size_t *size)
{
	int fd = open(name, O_RDONLY);
	unsigned char *data;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", name);
	*size = st.st_size;
	data = malloc(*size + 1);
	if (!data)
		err(2, "%s", name);
	read_at(fd, data, *size, 0);
	close(fd);
	return data;
}

/* Are both the same but for the section that OLD has? */
static bool same_outside(const unsigned char *old, const unsigned char *new,
			 size_t size)
{
	const Elf64_Ehdr *ehdr = (const void *)old;
	const Elf64_Shdr *s = (const void *)(old + ehdr->e_shoff);
	int i;

	for (i = 0; i < ehdr->e_shnum; i++, s++)
		if (s->sh_type == SHT_PRESENT_BITMAP)
			return !memcmp(old, new, s->sh_offset) &&
				!memcmp(old + s->sh_offset + s->sh_size,
					new + s->sh_offset + s->sh_size,
					size - s->sh_offset - s->sh_size);
	return false;
}

static void compare(const char *name, const char *versions)
{
	size_t size, old_size;
	unsigned char *new = read_file(name, &size), *old;
	bool outside = false;
	struct dirent *d;
	DIR *dir = opendir(versions);

	if (!dir || chdir(versions))
		err(2, "%s", versions);
	while ((d = readdir(dir))) {
		if (*d->d_name == '.')
			continue;
		old = read_file(d->d_name, &old_size);
		if (old_size == size && !memcmp(old, new, size)) {
			puts("whole");
			return;
		}
		outside |= old_size == size && same_outside(old, new, size);
		free(old);
	}
	if (!outside)
		errx(1, "%s has changed outside its bitmap", name);
	puts("torn");
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "compare")) {
		compare(argv[2], argv[3]);
	} else if (argc == 3 && !strcmp(argv[1], "entries")) {
		read_log(argv[2]);
		printf("%ju\n", (uintmax_t)nr_entries);
	} else if (argc == 8 && !strcmp(argv[1], "replay")) {
		read_log(argv[2]);
		replay(argv[3], argv[4], strtoull(argv[5], NULL, 10),
		       atoi(argv[6]), argv[7]);
	} else {
		errx(2, "usage: powercut entries|replay|compare ...");
	}
	return 0;
}
