/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of libpbitmap share. */
#ifndef PBITMAP_INTERNAL_H
#define PBITMAP_INTERNAL_H

#include <gelf.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <linux/pbitmap.h>

#include "pbitmap.h"

#define EXPORT	__attribute__((visibility("default")))

#define MIN_PAGE_SHIFT	12
#define MAX_PAGE_SHIFT	16

/*
 * What a program gets for the objects of its launches, at least: 8 KiB have the
 * names of 293 of the 671 files that python3 of Debian 13 opens for scipy.  The
 * kernel reads the last 32 KiB of an executable along with its first page.
 */
#define MIN_OBJECTS_SIZE	24576

#define MAX_BUILD_ID	64

/*
 * Undo record: what adding changed and what it left behind.  It holds as long
 * as no other tool has rewritten the file.  In the byte order of the file,
 * like everything in the section.  Where the section was in the file already,
 * laid out by the linker and all zero, @size and @new_size are the same.
 */
struct undo {
	__u8	magic[4];
	__u32	crc;		/* of the record, with this field as 0 */
	__u64	size;		/* before: of the file */
	__u64	shoff;		/* before: fields of the ELF header */
	__u32	shentsize;
	__u32	shnum;
	__u32	shstrndx;
	__u32	stack_flags;	/* before: p_flags of PT_GNU_STACK */
	__u64	new_size;	/* after */
	__u64	new_shoff;
	__u32	new_shnum;
	__u32	tail_crc;	/* after: from the end of the section */
};

#define UNDO_MAGIC	"PBMU"

/* A bitmap section, as it has to be for the file's program headers. */
struct plan {
	struct pbitmap_header header;
	struct pbitmap_segment segments[PBITMAP_MAX_SEGMENTS];
	uint64_t file_offset[PBITMAP_MAX_SEGMENTS];
};

/* An object that launches of the file map. */
struct object {
	char *name;
	unsigned int counter;
};

struct pbitmap {
	struct pbitmap_options options;
	int fd;			/* while it is loaded or edited */
	const unsigned char *image; /* instead of it, while it is loaded */
	uint64_t file_size;
	int error;		/* errno of a read that failed, else 0 */

	bool is64;
	bool little;
	GElf_Ehdr ehdr;
	GElf_Phdr *phdrs;
	size_t phnum;
	GElf_Shdr *shdrs;
	size_t shnum;
	size_t shstrndx;
	size_t shdr_size;
	GElf_Phdr *stack;	/* PT_GNU_STACK among phdrs, or NULL */
	bool program;		/* ld.so starts it */
	bool payload;		/* data follow the end of the ELF file */
	uint32_t layout_crc;
	unsigned char build_id[MAX_BUILD_ID];
	size_t build_id_size;

	bool announced;		/* there is a PT_PRESENT_BITMAP */
	bool linked;		/* laid out by a linker, not to be moved */
	size_t shndx;		/* of the section, 0: none */
	uint64_t offset;	/* of the section or PT_PRESENT_BITMAP */
	uint64_t size;
	bool placed;		/* it may be where it is */
	bool readable;		/* begins with a header of our version */
	bool exact;		/* undo holds */
	struct undo undo;

	enum pbitmap_state state;
	const char *reason;	/* why it is stale */
	uint32_t file_crc;	/* header_crc in the file */
	bool fresh;		/* prepared, not what is in the file */
	char *name;		/* of a record of an archive */

	/* When PBITMAP_OK: */
	struct pbitmap_header header;
	unsigned char *data;	/* its first header.size bytes */
	struct plan plan;	/* segments with the offsets of their planes */
	struct object *objects;
	size_t nr_objects;
	bool objects_changed;	/* data does not have them yet */
};

/* error.c */
struct pbitmap_options pb_options(const struct pbitmap_options *options);
void pb_log(const struct pbitmap_options *options, enum pbitmap_level level,
	    const char *format, ...) __attribute__((format(printf, 3, 4)));
int pb_fail(const struct pbitmap_options *options, int error,
	    const char *format, ...) __attribute__((format(printf, 3, 4)));
int pb_fail_errno(const struct pbitmap_options *options, const char *what);
int pb_fail_read(const struct pbitmap *pb);
int pb_refuse(const struct pbitmap *pb, const char *why);

/* elf.c */
int pb_load(int fd, const struct pbitmap_options *options,
	    struct pbitmap **pbp);
void pb_unload(struct pbitmap *pb);
bool pb_read(int fd, void *buffer, size_t size, uint64_t offset);
bool pb_read_at(struct pbitmap *pb, void *buffer, size_t size,
		uint64_t offset);
bool pb_write(int fd, const void *buffer, size_t size, uint64_t offset);
uint64_t pb_get(const struct pbitmap *pb, const void *from, size_t size);
void pb_put(const struct pbitmap *pb, void *to, size_t size, uint64_t value);
bool pb_poke(const struct pbitmap *pb, uint64_t offset, size_t size,
	     uint64_t value);

/* Field of a raw ELF structure: its offset and size in the file's class. */
#define FIELD(pb, type, field)						\
	((pb)->is64 ? offsetof(Elf64_##type, field) :			\
		      offsetof(Elf32_##type, field)),			\
	((pb)->is64 ? sizeof(((Elf64_##type *)0)->field) :		\
		      sizeof(((Elf32_##type *)0)->field))

static inline bool pb_in_file(const struct pbitmap *pb, uint64_t offset,
			      uint64_t size)
{
	return offset <= pb->file_size && size <= pb->file_size - offset;
}

static inline uint64_t pb_phdr_offset(const struct pbitmap *pb, size_t n)
{
	return pb->ehdr.e_phoff + n * pb->ehdr.e_phentsize;
}

static inline uint64_t align_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) & ~(to - 1);
}

/* Where the segment table ends. */
static inline uint32_t pb_table_end(const struct pbitmap_header *h)
{
	return h->header_size +
	       h->nr_segments * sizeof(struct pbitmap_segment);
}

/* Where the planes end and the objects, if any, begin. */
static inline uint32_t pb_planes_end(const struct pbitmap_header *h)
{
	return h->objects_offset ? h->objects_offset : h->size;
}

static inline bool pb_has_section(const struct pbitmap *pb)
{
	return pb->shndx || pb->announced;
}

/* bitmap.c */
const char *pb_plan(const struct pbitmap *pb, unsigned int page_shift,
		    struct plan *plan);
void pb_plan_room(struct plan *plan, uint64_t section_size);
bool pb_placed(const struct pbitmap *pb, uint64_t page);
int pb_find(struct pbitmap *pb);
const char *pb_check_record(struct pbitmap *pb, size_t size);
bool pb_make_empty(struct pbitmap *pb, const struct plan *plan);
void pb_seal(struct pbitmap *pb);
void pb_put_undo(const struct pbitmap *pb, const struct undo *undo,
		 unsigned char *to);
int pb_want_valid(const struct pbitmap *pb);

/* objects.c */
bool pb_are_names(const char *const names[], size_t n);
const char *pb_read_objects(struct pbitmap *pb);
void pb_put_objects(struct pbitmap *pb);
bool pb_copy_objects(struct pbitmap *pb, const struct pbitmap *from);
bool pb_vote_objects(struct pbitmap *pb, const char *const names[],
		     size_t n, bool first);
bool pb_merge_objects(struct pbitmap *pb, const struct pbitmap *const *voters,
		      size_t n);
void pb_free_objects(struct pbitmap *pb);

/* replace.c */
int pb_open_file(const char *path, const struct pbitmap_options *options);
int pb_check_file(int fd, const struct pbitmap_options *options);
int pb_replace(const char *path, int fd,
	       const struct pbitmap_options *options,
	       int (*edit)(int fd, const struct pbitmap_options *options,
			   void *arg), void *arg);

#endif /* PBITMAP_INTERNAL_H */
