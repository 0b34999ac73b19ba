// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Bitmaps outside of their files, to be moved to others of the same build-id.
 * An archive is a row of records, and records in a row are an archive.  Each
 * is a header, the build-id, the name that the file had, and the first
 * pbitmap_header.size bytes of the section as they were.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "internal.h"

#define RECORD_MAGIC	"PBMX"
#define RECORD_VERSION	1
#define MAX_FILE_NAME	4096

/* In little-endian order, whatever that of the section. */
struct record {
	__u8	magic[4];
	__u16	version;
	__u8	data_encoding;		/* EI_DATA of the file */
	__u8	build_id_size;
	__u32	name_size;		/* without a NUL */
	__u32	data_size;
	__u32	crc;			/* of the record, with this as 0 */
	__u32	reserved;		/* 0 */
};

static uint32_t record_crc(const unsigned char *record, size_t size)
{
	const size_t at = offsetof(struct record, crc);
	const unsigned char zero[4] = { 0 };
	uint32_t crc;

	crc = crc32(0, record, at);
	crc = crc32(crc, zero, sizeof(zero));
	return crc32(crc, record + at + sizeof(zero),
		     size - at - sizeof(zero));
}

EXPORT int pbitmap_export(struct pbitmap *pb, const char *name, void **record,
			  size_t *size)
{
	size_t name_size = strlen(name);
	unsigned char *to, *bytes;
	struct record r = { .magic = RECORD_MAGIC };
	int ret = pb_want_valid(pb);
	uint32_t crc;

	if (ret)
		return ret;
	if (!pb->build_id_size)
		return pb_refuse(pb, "it has no build-id");
	if (name_size > MAX_FILE_NAME)
		return pb_fail(&pb->options, ENAMETOOLONG, "name too long");
	pb_seal(pb);
	*size = sizeof(r) + pb->build_id_size + name_size + pb->header.size;
	bytes = malloc(*size);
	if (!bytes)
		return pb_fail_errno(&pb->options, "export");

	r.version = htole16(RECORD_VERSION);
	r.data_encoding = pb->little ? ELFDATA2LSB : ELFDATA2MSB;
	r.build_id_size = pb->build_id_size;
	r.name_size = htole32(name_size);
	r.data_size = htole32(pb->header.size);
	to = mempcpy(bytes, &r, sizeof(r));
	to = mempcpy(to, pb->build_id, pb->build_id_size);
	to = mempcpy(to, name, name_size);
	memcpy(to, pb->data, pb->header.size);
	crc = htole32(record_crc(bytes, *size));
	memcpy(bytes + offsetof(struct record, crc), &crc, sizeof(crc));
	*record = bytes;
	return 0;
}

/* Where the parts of a record are. */
static const char *check_record(const unsigned char *bytes, size_t size,
				struct record *r, size_t *record_size)
{
	if (size < sizeof(*r))
		return "it is cut off";
	memcpy(r, bytes, sizeof(*r));
	r->name_size = le32toh(r->name_size);
	r->data_size = le32toh(r->data_size);
	if (memcmp(r->magic, RECORD_MAGIC, sizeof(r->magic)))
		return "not an archive of bitmaps";
	if (le16toh(r->version) != RECORD_VERSION)
		return "its version is unknown";
	if ((r->data_encoding != ELFDATA2LSB &&
	     r->data_encoding != ELFDATA2MSB) ||
	    !r->build_id_size || r->build_id_size > MAX_BUILD_ID ||
	    r->name_size > MAX_FILE_NAME || r->data_size > PBITMAP_MAX_SIZE)
		return "it is damaged";
	*record_size = sizeof(*r) + r->build_id_size + r->name_size +
		       r->data_size;
	if (*record_size > size)
		return "it is cut off";
	if (record_crc(bytes, *record_size) != le32toh(r->crc))
		return "it is damaged";
	return NULL;
}

/* Fills the handle; why that cannot be. */
static const char *take(struct pbitmap *pb, const struct record *r,
			const unsigned char *bytes)
{
	pb->little = r->data_encoding == ELFDATA2LSB;
	pb->build_id_size = r->build_id_size;
	memcpy(pb->build_id, bytes, r->build_id_size);
	bytes += r->build_id_size;
	if (memchr(bytes, '\0', r->name_size))
		return "it is damaged";
	pb->name = strndup((const char *)bytes, r->name_size);
	pb->data = malloc(r->data_size + 1);
	if (!pb->name || !pb->data) {
		pb->error = ENOMEM;
		return "memory";
	}
	memcpy(pb->data, bytes + r->name_size, r->data_size);
	pb->state = PBITMAP_OK;
	return pb_check_record(pb, r->data_size);
}

EXPORT int pbitmap_import(const void *data, size_t size, size_t *offset,
			  const struct pbitmap_options *options,
			  struct pbitmap **pbp)
{
	struct pbitmap_options own = pb_options(options);
	const unsigned char *bytes = data;
	struct pbitmap *pb;
	struct record r;
	size_t record_size;
	const char *why;
	int ret;

	if (*offset >= size)
		return 0;
	bytes += *offset;
	why = check_record(bytes, size - *offset, &r, &record_size);
	if (why)
		return pb_fail(&own, PBITMAP_ERR_FORMAT, "record at %zu: %s",
			       *offset, why);
	pb = calloc(1, sizeof(*pb));
	if (!pb)
		return pb_fail_errno(&own, "import");
	pb->options = own;
	pb->fd = -1;
	why = take(pb, &r, bytes + sizeof(r));
	if (why) {
		ret = pb->error ? pb_fail_read(pb) :
			pb_fail(&own, PBITMAP_ERR_FORMAT,
				"record at %zu: %s", *offset, why);
		pb_unload(pb);
		return ret;
	}
	*offset += record_size;
	*pbp = pb;
	return 1;
}
