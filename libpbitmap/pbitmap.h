/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libpbitmap: the predictive bitmaps of ELF files.
 *
 * A handle is what a file's bitmap says, read once and held in memory.  It is
 * changed there; pbitmap_write() puts it into the file.  Functions return 0 or
 * more on success and a negative error: -errno, or minus one of the codes
 * below.  The library prints nothing; it hands one line of text for each
 * error, and for what else is worth saying, to the log function of the
 * options.  It has no global state: different handles can be used by different
 * threads at the same time.
 *
 * libpbitmap(3) is the manual.
 */
#ifndef PBITMAP_H
#define PBITMAP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Errors of its own, beyond those of errno. */
enum pbitmap_error {
	PBITMAP_ERR_NOT_ELF = 4000,	/* not an ELF file */
	PBITMAP_ERR_FORMAT,		/* its headers are damaged */
	PBITMAP_ERR_REFUSED,		/* must not, or cannot, be annotated */
	PBITMAP_ERR_CHANGED,		/* changed while it was worked on */
	PBITMAP_ERR_NO_BITMAP,		/* there is no bitmap */
	PBITMAP_ERR_STALE,		/* it is not for this file */
};

enum pbitmap_state {
	PBITMAP_NONE,			/* no bitmap */
	PBITMAP_OK,			/* valid for this file */
	PBITMAP_STALE,			/* there, but not to be believed */
};

/* What was done to a file. */
enum pbitmap_result {
	PBITMAP_UNCHANGED,		/* nothing to do, nothing written */
	PBITMAP_WRITTEN,		/* file replaced */
	PBITMAP_INEXACT,		/* removed, original bytes are lost */
};

enum pbitmap_level {
	PBITMAP_LOG_ERROR,
	PBITMAP_LOG_WARNING,
	PBITMAP_LOG_INFO,
};

#define PBITMAP_FORCE		(1U << 0) /* whatever a rewrite loses */
#define PBITMAP_DRY_RUN		(1U << 1) /* all checks, but write nothing */
#define PBITMAP_KEEP_TIMES	(1U << 2) /* of last access and change */

/**
 * struct pbitmap_options - how to do it
 * @sz: sizeof(struct pbitmap_options), so that later versions can grow it
 * @flags: PBITMAP_FORCE and so on
 * @page_size: bytes of a page of a new bitmap; 0: whatever is there, or 4096
 * @log: called with each message, without newline; may be NULL
 * @log_arg: first argument of @log
 * @output: write this file instead of replacing the one that is read
 * @links: other names of the file, which shall be names of the new one as
 *	well; a file with names that are not known here is refused
 * @nr_links: how many
 */
struct pbitmap_options {
	size_t sz;
	unsigned int flags;
	unsigned int page_size;
	void (*log)(void *arg, enum pbitmap_level level, const char *message);
	void *log_arg;
	const char *output;
	const char *const *links;
	size_t nr_links;
};

/* What the bitmap of a file says. */
struct pbitmap;

/**
 * struct pbitmap_info - the bitmap of a file as a whole
 * @sz: sizeof(struct pbitmap_info)
 * @state: whether there is one and whether it is to be believed; if not, the
 *	fields from @launches on are 0
 * @reason: why it is stale, else NULL; lives as long as the handle
 * @launches: launches that were counted
 * @updated: time of the last update, seconds since the Epoch, 0: never
 * @page_size: bytes of a page
 * @nr_segments: segments with bytes in the file
 * @pages: pages of all of them
 * @predicted: pages that are predicted
 * @nr_objects: objects that launches of the file mapped, and other files that
 *	they read
 * @objects_size: bytes of room for their names, 0 for a library
 * @exact: pbitmap_remove() would bring the original bytes back
 * @layout_crc: CRC of the program headers that the bitmap was made for
 */
struct pbitmap_info {
	size_t sz;
	enum pbitmap_state state;
	const char *reason;
	uint32_t launches;
	uint64_t updated;
	uint32_t page_size;
	uint32_t nr_segments;
	uint64_t pages;
	uint64_t predicted;
	uint32_t nr_objects;
	uint32_t objects_size;
	uint32_t exact;
	uint32_t layout_crc;
};

/**
 * struct pbitmap_segment_info - the bitmap of one segment
 * @sz: sizeof(struct pbitmap_segment_info)
 * @vaddr: address of page 0, as in the file
 * @file_offset: where page 0 lies in the file; 0 for what was imported
 * @pages: number of pages
 * @predicted: pages that are predicted
 */
struct pbitmap_segment_info {
	size_t sz;
	uint64_t vaddr;
	uint64_t file_offset;
	uint64_t pages;
	uint64_t predicted;
};

/**
 * struct pbitmap_object_info - an object that launches of an executable map
 * @sz: sizeof(struct pbitmap_object_info)
 * @counter: like that of a page: from 2 on it is opened ahead
 * @name: absolute path, lives until the handle is changed or closed
 */
struct pbitmap_object_info {
	size_t sz;
	unsigned int counter;
	const char *name;
};

/**
 * struct pbitmap_launch - what one launch of a program did
 * @sz: sizeof(struct pbitmap_launch)
 * @touched: for each segment a vector of bits, one for each page: page n is
 *	bit n % 8 of byte n / 8
 * @unknown: the same for pages of which it is not known; the array or a
 *	vector of it may be NULL
 * @objects: what was mapped, in the order in which it was, as absolute paths
 *	without symbolic links; NULL: not known
 * @nr_objects: how many
 * @time: when, in seconds since the Epoch
 */
struct pbitmap_launch {
	size_t sz;
	const unsigned char *const *touched;
	const unsigned char *const *unknown;
	const char *const *objects;
	size_t nr_objects;
	uint64_t time;
};

/*
 * Opening.  Reads the file at @path, the one that is open at @fd, or the @size
 * bytes at @data.  Descriptor and memory are used during the call only.
 */
int pbitmap_open(const char *path, const struct pbitmap_options *options,
		 struct pbitmap **pbp);
int pbitmap_open_fd(int fd, const struct pbitmap_options *options,
		    struct pbitmap **pbp);
int pbitmap_open_memory(const void *data, size_t size,
			const struct pbitmap_options *options,
			struct pbitmap **pbp);
void pbitmap_close(struct pbitmap *pb);

/*
 * Reading.  A segment, page or object that there is not is -EINVAL.  The
 * counter of a page is 0 to 3; it is predicted from 2 on.
 */
int pbitmap_get_info(const struct pbitmap *pb, struct pbitmap_info *info);
int pbitmap_get_segment(const struct pbitmap *pb, unsigned int segment,
			struct pbitmap_segment_info *info);
int pbitmap_get_object(const struct pbitmap *pb, unsigned int n,
		       struct pbitmap_object_info *info);
int pbitmap_counter(const struct pbitmap *pb, unsigned int segment,
		    uint64_t page);
/* Returns how many bytes it has, 0: none; @id lives as long as the handle. */
int pbitmap_build_id(const struct pbitmap *pb, const unsigned char **id);
/* What an archive calls the file, else NULL. */
const char *pbitmap_name(const struct pbitmap *pb);
/* Logs what is wrong, whether it matters or not; returns how many faults. */
int pbitmap_verify(const struct pbitmap *pb);

/*
 * Changing the handle.  All but pbitmap_prepare() want a valid bitmap, else
 * they return PBITMAP_ERR_NO_BITMAP or PBITMAP_ERR_STALE.
 */
/* An empty bitmap, unless there is a valid one for pages of this size. */
int pbitmap_prepare(struct pbitmap *pb);
/* Forget all that was learned. */
int pbitmap_reset(struct pbitmap *pb);
/* Learn from a launch as the kernel does. */
int pbitmap_update(struct pbitmap *pb, const struct pbitmap_launch *launch);
int pbitmap_set_counter(struct pbitmap *pb, unsigned int segment,
			uint64_t page, unsigned int counter);
/* Those that are not known yet; returns how many there was room for. */
int pbitmap_add_objects(struct pbitmap *pb, const char *const names[],
			size_t n);
/* Each of @others, bitmaps of the same object, and @pb itself have a vote. */
int pbitmap_merge(struct pbitmap *pb, const struct pbitmap *const others[],
		  size_t n);
/* Take over what @from, a bitmap of the same object, has learned. */
int pbitmap_copy(struct pbitmap *pb, const struct pbitmap *from);

/*
 * Files.  A file is replaced by a changed copy under the same name, at once or
 * not at all.  These return an enum pbitmap_result or a negative error.
 *
 * pbitmap_write() puts the bitmap of @pb into the file at @path, the one that
 * was opened; pbitmap_add() gives it an empty one unless it has one, and
 * pbitmap_remove() takes it away.
 */
int pbitmap_write(struct pbitmap *pb, const char *path,
		  const struct pbitmap_options *options);
int pbitmap_add(const char *path, const struct pbitmap_options *options);
int pbitmap_remove(const char *path, const struct pbitmap_options *options);

/*
 * Archives.  pbitmap_export() makes a record of the bitmap, to be freed with
 * free(); records in a row are an archive.  pbitmap_import() opens the record
 * at *@offset of an archive and moves *@offset behind it; it returns 1, or 0
 * at the end.  What it opens cannot be written, but merged and copied.
 */
int pbitmap_export(struct pbitmap *pb, const char *name, void **record,
		   size_t *size);
int pbitmap_import(const void *data, size_t size, size_t *offset,
		   const struct pbitmap_options *options,
		   struct pbitmap **pbp);

/* Text for an error, negative or not. */
const char *pbitmap_strerror(int error);

#ifdef __cplusplus
}
#endif

#endif /* PBITMAP_H */
