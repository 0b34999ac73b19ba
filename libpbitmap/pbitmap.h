/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libpbitmap: add, read and remove the predictive bitmaps of ELF files.
 *
 * Functions return 0 or more on success and a negative error: -errno, or
 * minus one of the codes below.  The library prints nothing; it hands one
 * line of text for each error, and for what else is worth saying, to the log
 * function of the options.  It has no global state, so different files can be
 * worked on by different threads.
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
	PBITMAP_ERR_FORMAT,		/* ELF, but its headers are damaged */
	PBITMAP_ERR_REFUSED,		/* must not, or cannot, be annotated */
	PBITMAP_ERR_CHANGED,		/* changed while it was worked on */
};

enum pbitmap_state {
	PBITMAP_NONE,			/* no bitmap */
	PBITMAP_OK,			/* valid for this file */
	PBITMAP_STALE,			/* there, but not to be believed */
};

/* What pbitmap_add() and pbitmap_remove() did. */
enum pbitmap_result {
	PBITMAP_UNCHANGED,		/* nothing to do, nothing written */
	PBITMAP_WRITTEN,		/* file replaced */
	PBITMAP_INEXACT,		/* removed, the original bytes are lost */
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
 * @page_size: bytes of a page, for pbitmap_add(); 0: whatever is there, or
 *	4096
 * @log: called with each message, without newline; may be NULL
 * @log_arg: first argument of @log
 */
struct pbitmap_options {
	size_t sz;
	unsigned int flags;
	unsigned int page_size;
	void (*log)(void *arg, enum pbitmap_level level, const char *message);
	void *log_arg;
};

/* An open file with what its bitmap section says. */
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
 * @nr_objects: objects that launches of the file mapped
 * @objects_size: bytes of room for their names, 0 for a library
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
};

/**
 * struct pbitmap_segment_info - the bitmap of one segment
 * @sz: sizeof(struct pbitmap_segment_info)
 * @vaddr: address of page 0, as in the file
 * @file_offset: where page 0 lies in the file
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
 * @name: absolute path, lives as long as the handle
 */
struct pbitmap_object_info {
	size_t sz;
	unsigned int counter;
	const char *name;
};

/* Opens @path, checks its bitmap, and returns a handle in @pbp. */
int pbitmap_open(const char *path, const struct pbitmap_options *options,
		 struct pbitmap **pbp);
void pbitmap_close(struct pbitmap *pb);

int pbitmap_get_info(const struct pbitmap *pb, struct pbitmap_info *info);
int pbitmap_get_segment(const struct pbitmap *pb, unsigned int segment,
			struct pbitmap_segment_info *info);

/* The page's counter, 0 to 3; it is predicted from 2 on. */
int pbitmap_counter(const struct pbitmap *pb, unsigned int segment,
		    uint64_t page);

/* Object @n, in the order in which a launch first mapped them. */
int pbitmap_get_object(const struct pbitmap *pb, unsigned int n,
		       struct pbitmap_object_info *info);

/*
 * Give @path an empty bitmap, or take its bitmap away.  The file is replaced
 * by a changed copy under the same name, at once or not at all.  Both return
 * an enum pbitmap_result or a negative error.
 */
int pbitmap_add(const char *path, const struct pbitmap_options *options);
int pbitmap_remove(const char *path, const struct pbitmap_options *options);

/* Text for an error, negative or not. */
const char *pbitmap_strerror(int error);

#ifdef __cplusplus
}
#endif

#endif /* PBITMAP_H */
