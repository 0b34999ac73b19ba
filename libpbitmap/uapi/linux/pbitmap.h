/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause) */
/*
 * Predictive bitmaps: what stands in an ELF file, and what the kernel, the
 * dynamic linker and tools agree on.
 *
 * An annotated object carries one section of type SHT_PRESENT_BITMAP, named
 * ".pbitmap".  It says which pages of the object's file-backed PT_LOAD
 * segments a program is expected to touch when it starts.  Its layout:
 *
 *	struct pbitmap_header
 *	struct pbitmap_segment [nr_segments]	at header_size
 *	planes of each segment			at pbitmap_segment.offset
 *	objects of a launch, executables only	at objects_offset
 *	undo record				written by the tool alone
 *
 * The kernel rewrites the first pbitmap_header.size bytes of the section and
 * nothing else.  The section starts on a page boundary of the file and its
 * size is a multiple of the page size, so that it shares no page with
 * anything that is mapped.  It never overlaps the ELF header, the program
 * headers or a PT_LOAD.
 *
 * Integers are in the byte order of the ELF file (EI_DATA), whatever its
 * class.  Offsets are bytes from the start of the section.  CRC is the CRC-32
 * of zlib's crc32(0, ...), in the kernel ~crc32_le(~0, ...).
 */
#ifndef _UAPI_LINUX_PBITMAP_H
#define _UAPI_LINUX_PBITMAP_H

#include <linux/types.h>

/*
 * The section's sh_type, the p_type of an optional program header over the
 * same bytes (preferred by readers: it saves reading the section headers),
 * and the flag in p_flags of PT_GNU_STACK that says that the section headers
 * lead to a bitmap.  Section type and p_type are the letters "mbpe" in the
 * range reserved to the operating system; the flag lies in PF_MASKOS.
 */
#ifndef SHT_PRESENT_BITMAP
#define SHT_PRESENT_BITMAP	0x6570626d
#endif
#ifndef PT_PRESENT_BITMAP
#define PT_PRESENT_BITMAP	0x6570626d
#endif
#ifndef PF_PLEASE_LOAD_SHDRS
#define PF_PLEASE_LOAD_SHDRS	0x00100000
#endif

/* madvise(2) advice, the same on every architecture; see madvise(2). */
#ifndef MADV_PBITMAP
#define MADV_PBITMAP		0x7062
#endif

#define PBITMAP_SECTION		".pbitmap"
#define PBITMAP_MAGIC		"PBM1"
#define PBITMAP_VERSION		1

/*
 * Bounds a reader enforces before it allocates anything.  The largest
 * objects known have a dozen PT_LOADs; 1 MiB of planes predicts 16 GiB of
 * segments at 4 KiB a page.
 */
#define PBITMAP_MAX_SEGMENTS	64
#define PBITMAP_MAX_SIZE	(1U << 20)

/*
 * Objects of an executable's launches: bytes of all their entries, and how
 * many.  ffmpeg of Debian 13 starts with 211 of them, in 5 KiB.
 */
#define PBITMAP_MAX_OBJECTS_SIZE (1U << 16)
#define PBITMAP_MAX_OBJECTS	1024

/* Planes of a segment in version 1. */
#define PBITMAP_PLANE_PREDICTED	0	/* high bit: the page is predicted */
#define PBITMAP_PLANE_HYSTERESIS 1	/* low bit of the 2-bit counter */
#define PBITMAP_NR_PLANES	2

/**
 * struct pbitmap_header - first bytes of the section, 64 of them
 * @magic: PBITMAP_MAGIC without the terminating NUL
 * @version: PBITMAP_VERSION; a reader ignores any other
 * @header_size: bytes of this header, offset of the segment table; 64 here,
 *	a later version may grow it
 * @size: bytes from the header to the end of the planes and of the objects:
 *	what one write-back replaces; at most PBITMAP_MAX_SIZE
 * @flags: none defined; readers ignore and writers keep what they do not know
 * @page_shift: log2 of the page size the planes count in
 * @nr_segments: entries in the segment table, 1 to PBITMAP_MAX_SEGMENTS
 * @launches: launches that voted, saturating at 2^32 - 1; 0: nothing learned,
 *	all planes are 0
 * @updated: time of the last update, seconds since the Epoch; 0: never
 * @layout_crc: CRC over the PT_LOAD program headers as they stand in the
 *	file, in table order, including those without bytes in the file
 * @header_crc: CRC over this header, with this field as 0, and the segment
 *	table
 * @planes_crc: CRC over the planes, all bytes from the end of the segment
 *	table to @objects_offset, or to @size if that is 0
 * @undo_offset: where the tool's undo record lies, a multiple of 8 at or
 *	after @size; 0: none
 * @undo_size: its size in bytes
 * @objects_offset: where the entries of struct pbitmap_entry lie, behind the
 *	planes; 0: there is no room for any, as in a library
 * @objects_size: bytes from there to @size, used or not; at most
 *	PBITMAP_MAX_OBJECTS_SIZE
 * @objects_crc: CRC over these bytes
 *
 * A bitmap whose magic, version, header CRC, page size or layout CRC is not
 * what a reader expects is stale and ignored.
 */
struct pbitmap_header {
	__u8	magic[4];
	__u16	version;
	__u16	header_size;
	__u32	size;
	__u32	flags;
	__u16	page_shift;
	__u16	nr_segments;
	__u32	launches;
	__u64	updated;
	__u32	layout_crc;
	__u32	header_crc;
	__u32	planes_crc;
	__u32	undo_offset;
	__u32	undo_size;
	__u32	objects_offset;
	__u32	objects_size;
	__u32	objects_crc;
};

/**
 * struct pbitmap_segment - one file-backed PT_LOAD, 32 bytes
 * @vaddr: p_vaddr rounded down to a page
 * @pages: pages from @vaddr to the end of p_filesz, rounded up
 * @offset: where its planes lie, a multiple of 8, after the segment table
 *	and before pbitmap_header.size; planes of two segments do not overlap
 * @nr_planes: PBITMAP_NR_PLANES
 * @reserved: 0
 *
 * The table has an entry for each PT_LOAD with p_filesz > 0, in the order of
 * the program headers.  Planes follow each other, each of PBITMAP_PLANE_SIZE
 * bytes.  Page n, at @vaddr + (n << page_shift), is bit n % 8 of byte n / 8,
 * in either byte order; bits past the last page are 0.
 *
 * The two planes are a saturating 2-bit counter per page, plane 0 is its high
 * bit and the prediction.  The first launch sets it to 3 where the page was
 * touched and to 0 elsewhere; later ones count two up where it was touched and
 * one down where it was not.
 */
struct pbitmap_segment {
	__u64	vaddr;
	__u64	pages;
	__u32	offset;
	__u32	nr_planes;
	__u64	reserved;
};

/**
 * struct pbitmap_entry - a file that launches of an executable map or read
 * @counter: a counter like that of a page: from 2 on the file is opened when
 *	the executable starts; of an object the predicted pages are prefetched,
 *	of a file without a bitmap the beginning
 * @shared: how many bytes its name has in common with the entry before it; 0
 *	in the first entry
 * @len: bytes of the rest of the name; 0 in the entry that ends the list
 * @rest: the rest of the name, no NUL at its end
 *
 * First come the objects, in the order in which a launch mapped them, then the
 * other files in the order in which it opened them.  The entries follow each
 * other without padding; the list ends with an entry whose @len is 0 or where
 * the room ends.  A name is absolute, as seen by the program, with no symbolic
 * links, "." or ".." in it, and at most PBITMAP_MAX_NAME bytes long.  A file
 * that is not in the list has the counter 0; one whose counter would fall below
 * 0 is dropped.
 */
struct pbitmap_entry {
	__u8	counter;
	__u8	shared;
	__u8	len;
	char	rest[];
};

/* Longest name: what @shared and @len can say. */
#define PBITMAP_MAX_NAME	510

/* Bytes of one plane for @pages pages: a whole number of 64-bit words. */
#define PBITMAP_PLANE_SIZE(pages)	((((pages) + 63) / 64) * 8)

#endif /* _UAPI_LINUX_PBITMAP_H */
