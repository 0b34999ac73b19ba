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

/* What a program gets for the objects of its launches, at least. */
#define MIN_OBJECTS_SIZE	8192

/*
 * Undo record: what pbitmap_add() changed and what it left behind.  It holds
 * as long as no other tool has rewritten the file.  In the byte order of the
 * file, like everything in the section.
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
	int fd;
	uint64_t file_size;
	int error;		/* errno of a read that failed, else 0 */

	Elf *elf;
	bool is64;
	bool little;
	GElf_Ehdr ehdr;
	GElf_Phdr *phdrs;
	size_t phnum;
	GElf_Shdr *shdrs;
	size_t shnum;
	size_t shstrndx;
	GElf_Phdr *stack;	/* PT_GNU_STACK among phdrs, or NULL */

	bool linked;		/* laid out by a linker, not by us */
	size_t shndx;		/* of the section, 0: none */
	uint64_t offset;	/* of the section or PT_PRESENT_BITMAP */
	uint64_t size;
	unsigned int page_shift; /* pages it owns whole; 0: it owns none */
	bool readable;		/* begins with a header of our version */
	struct pbitmap_header header;
	unsigned char *data;	/* its first header.size bytes */

	enum pbitmap_state state;
	const char *reason;	/* why it is stale */
	struct plan plan;	/* what it holds, when PBITMAP_OK */
	struct object *objects;
	size_t nr_objects;
};

/* error.c */
struct pbitmap_options pb_options(const struct pbitmap_options *options);
void pb_log(const struct pbitmap_options *options, enum pbitmap_level level,
	    const char *format, ...) __attribute__((format(printf, 3, 4)));
int pb_fail(const struct pbitmap_options *options, int error,
	    const char *format, ...) __attribute__((format(printf, 3, 4)));
int pb_fail_errno(const struct pbitmap_options *options, const char *what);
int pb_fail_read(const struct pbitmap *pb);

/* elf.c */
int pb_load(int fd, const struct pbitmap_options *options,
	    struct pbitmap **pbp);
void pb_unload(struct pbitmap *pb);
bool pb_read(int fd, void *buffer, size_t size, uint64_t offset);
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

/* Where the planes end and the objects, if any, begin. */
static inline uint32_t pb_planes_end(const struct pbitmap_header *h)
{
	return h->objects_offset ? h->objects_offset : h->size;
}

/* bitmap.c */
const char *pb_plan(struct pbitmap *pb, unsigned int page_shift,
		    struct plan *plan);
int pb_find(struct pbitmap *pb);
uint64_t pb_section_size(const struct plan *plan);
void pb_fill(const struct pbitmap *pb, struct plan *plan,
	     const struct undo *undo, unsigned char *section);
bool pb_get_undo(struct pbitmap *pb, struct undo *undo);

/* objects.c */
bool pb_is_object_name(const char *name, size_t len);
const char *pb_read_objects(struct pbitmap *pb);
void pb_free_objects(struct pbitmap *pb);

/* replace.c */
int pb_open_file(const char *path, const struct pbitmap_options *options);
int pb_check_file(int fd, const struct pbitmap_options *options);
int pb_replace(const char *path, int fd,
	       const struct pbitmap_options *options,
	       int (*edit)(int fd, const struct pbitmap_options *options));

#endif /* PBITMAP_INTERNAL_H */
