// SPDX-License-Identifier: LGPL-2.1-or-later
/* What a handle says. */
#include <errno.h>
#include <string.h>

#include "internal.h"

int pb_want_valid(const struct pbitmap *pb)
{
	switch (pb->state) {
	case PBITMAP_NONE:
		return pb_fail(&pb->options, PBITMAP_ERR_NO_BITMAP,
			       "no bitmap");
	case PBITMAP_STALE:
		return pb_fail(&pb->options, PBITMAP_ERR_STALE,
			       "stale bitmap: %s", pb->reason);
	default:
		return 0;
	}
}

static uint64_t predicted(const struct pbitmap *pb, unsigned int n)
{
	const struct pbitmap_segment *s = &pb->plan.segments[n];
	const unsigned char *plane = pb->data + s->offset;
	uint64_t page, count = 0;

	for (page = 0; page < s->pages; page++)
		count += plane[page / 8] >> page % 8 & 1;
	return count;
}

EXPORT int pbitmap_get_info(const struct pbitmap *pb,
			    struct pbitmap_info *info)
{
	struct pbitmap_info own = {
		.sz = info->sz,
		.state = pb->state,
		.reason = pb->reason,
	};
	const struct pbitmap_header *h = &pb->header;
	unsigned int i;

	if (pb->state == PBITMAP_OK) {
		own.launches = h->launches;
		own.updated = h->updated;
		own.page_size = 1U << h->page_shift;
		own.nr_segments = h->nr_segments;
		own.nr_objects = pb->nr_objects;
		own.objects_size = h->objects_offset ? h->objects_size : 0;
		own.layout_crc = h->layout_crc;
		own.exact = pb->exact;
		for (i = 0; i < own.nr_segments; i++) {
			own.pages += pb->plan.segments[i].pages;
			own.predicted += predicted(pb, i);
		}
	}
	memcpy(info, &own, info->sz < sizeof(own) ? info->sz : sizeof(own));
	return 0;
}

EXPORT int pbitmap_get_segment(const struct pbitmap *pb, unsigned int segment,
			       struct pbitmap_segment_info *info)
{
	struct pbitmap_segment_info own = { .sz = info->sz };

	if (pb->state != PBITMAP_OK || segment >= pb->header.nr_segments)
		return -EINVAL;
	own.vaddr = pb->plan.segments[segment].vaddr;
	own.file_offset = pb->plan.file_offset[segment];
	own.pages = pb->plan.segments[segment].pages;
	own.predicted = predicted(pb, segment);
	memcpy(info, &own, info->sz < sizeof(own) ? info->sz : sizeof(own));
	return 0;
}

EXPORT int pbitmap_get_object(const struct pbitmap *pb, unsigned int n,
			      struct pbitmap_object_info *info)
{
	struct pbitmap_object_info own = { .sz = info->sz };

	if (pb->state != PBITMAP_OK || n >= pb->nr_objects)
		return -EINVAL;
	own.name = pb->objects[n].name;
	own.counter = pb->objects[n].counter;
	memcpy(info, &own, info->sz < sizeof(own) ? info->sz : sizeof(own));
	return 0;
}

EXPORT int pbitmap_counter(const struct pbitmap *pb, unsigned int segment,
			   uint64_t page)
{
	const struct pbitmap_segment *s;
	const unsigned char *high, *low;

	if (pb->state != PBITMAP_OK || segment >= pb->header.nr_segments)
		return -EINVAL;
	s = &pb->plan.segments[segment];
	if (page >= s->pages)
		return -EINVAL;
	high = pb->data + s->offset;
	low = high + PBITMAP_PLANE_SIZE(s->pages);
	return (high[page / 8] >> page % 8 & 1) * 2 +
	       (low[page / 8] >> page % 8 & 1);
}

EXPORT const char *pbitmap_name(const struct pbitmap *pb)
{
	return pb->name;
}

/* Whether a plane has bits set for pages that there are not. */
static bool has_stray_bits(const struct pbitmap *pb, unsigned int n)
{
	const struct pbitmap_segment *s = &pb->plan.segments[n];
	uint64_t size = PBITMAP_PLANE_SIZE(s->pages), bit;
	const unsigned char *plane = pb->data + s->offset;

	for (bit = s->pages; bit < size * 8; bit++)
		if ((plane[bit / 8] | plane[size + bit / 8]) >> bit % 8 & 1)
			return true;
	return false;
}

EXPORT int pbitmap_verify(const struct pbitmap *pb)
{
	const struct pbitmap_options *options = &pb->options;
	unsigned int i;
	int faults = 0;

	if (pb_want_valid(pb))
		return 1;
	for (i = 0; i < pb->header.nr_segments; i++)
		if (has_stray_bits(pb, i)) {
			pb_log(options, PBITMAP_LOG_WARNING,
			       "segment %u: bits behind the last page", i);
			faults++;
		}
	if (!pb->exact && !pb->fresh && !pb->name) {
		pb_log(options, PBITMAP_LOG_WARNING,
		       "another tool has rewritten the file: to remove the"
		       " bitmap would not be byte-exact");
		faults++;
	}
	if (pb->program && !pb->header.objects_offset) {
		pb_log(options, PBITMAP_LOG_WARNING,
		       "no room for the objects of its launches");
		faults++;
	}
	return faults;
}
