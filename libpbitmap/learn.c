// SPDX-License-Identifier: LGPL-2.1-or-later
/* The predictor: learn from launches and from other bitmaps, and forget. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* The two planes of a segment. */
struct planes {
	unsigned char *high;
	unsigned char *low;
	uint64_t size;		/* bytes of each */
	uint64_t pages;
};

static struct planes planes_of(const struct pbitmap *pb, unsigned int n)
{
	const struct pbitmap_segment *s = &pb->plan.segments[n];
	struct planes p = {
		.high = pb->data + s->offset,
		.size = PBITMAP_PLANE_SIZE(s->pages),
		.pages = s->pages,
	};

	p.low = p.high + p.size;
	return p;
}

static unsigned int get(const struct planes *p, uint64_t page)
{
	return (p->high[page / 8] >> page % 8 & 1) * 2 +
	       (p->low[page / 8] >> page % 8 & 1);
}

static void set(const struct planes *p, uint64_t page, unsigned int counter)
{
	unsigned char bit = 1 << page % 8;

	p->high[page / 8] &= ~bit;
	p->low[page / 8] &= ~bit;
	if (counter & 2)
		p->high[page / 8] |= bit;
	if (counter & 1)
		p->low[page / 8] |= bit;
}

EXPORT int pbitmap_set_counter(struct pbitmap *pb, unsigned int segment,
			       uint64_t page, unsigned int counter)
{
	struct planes p;
	int ret = pb_want_valid(pb);

	if (ret)
		return ret;
	if (segment >= pb->header.nr_segments || counter > 3)
		return -EINVAL;
	p = planes_of(pb, segment);
	if (page >= p.pages)
		return -EINVAL;
	set(&p, page, counter);
	return 0;
}

EXPORT int pbitmap_reset(struct pbitmap *pb)
{
	struct pbitmap_header *h = &pb->header;
	int ret = pb_want_valid(pb);
	unsigned int i;

	if (ret)
		return ret;
	for (i = 0; i < h->nr_segments; i++) {
		struct planes p = planes_of(pb, i);

		memset(p.high, 0, PBITMAP_NR_PLANES * p.size);
	}
	h->launches = 0;
	h->updated = 0;
	pb_free_objects(pb);
	pb->objects_changed = true;
	return 0;
}

/*
 * The counters of eight pages at a time: two up where touched, one down where
 * not, as they were where it is not known.  The first launch sets them.
 */
static void vote(const struct planes *p, bool first,
		 const unsigned char *touched, const unsigned char *unknown)
{
	uint64_t i, bytes = (p->pages + 7) / 8;

	for (i = 0; i < bytes; i++) {
		unsigned char h = p->high[i], l = p->low[i], t = touched[i];
		unsigned char keep = unknown ? unknown[i] : 0, high, low;

		if (i == bytes - 1 && p->pages % 8)
			keep |= 0xff << p->pages % 8;
		high = first ? t : t | (h & l);
		low = first ? t : (t & (h | l)) | (~t & h & ~l);
		p->high[i] = (h & keep) | (high & ~keep);
		p->low[i] = (l & keep) | (low & ~keep);
	}
}

EXPORT int pbitmap_update(struct pbitmap *pb,
			  const struct pbitmap_launch *launch)
{
	struct pbitmap_launch own = { .sz = sizeof(own) };
	struct pbitmap_header *h = &pb->header;
	int ret = pb_want_valid(pb);
	bool first = !h->launches;
	unsigned int i;

	if (ret)
		return ret;
	memcpy(&own, launch, launch->sz < sizeof(own) ? launch->sz :
	       sizeof(own));
	if (!own.touched || !pb_are_names(own.objects, own.nr_objects))
		return pb_fail(&pb->options, EINVAL, "no such launch");
	for (i = 0; i < h->nr_segments; i++) {
		struct planes p = planes_of(pb, i);

		vote(&p, first, own.touched[i],
		     own.unknown ? own.unknown[i] : NULL);
	}
	if (h->launches != UINT32_MAX)
		h->launches++;
	h->updated = own.time;
	if (own.objects && h->objects_offset &&
	    !pb_vote_objects(pb, own.objects, own.nr_objects, first))
		return pb_fail_errno(&pb->options, "objects");
	return 0;
}

/* Whether two bitmaps are of the same object. */
static int check_same(const struct pbitmap *pb, const struct pbitmap *other)
{
	unsigned int i;
	int ret = pb_want_valid(other);

	if (ret)
		return ret;
	if (pb->build_id_size && other->build_id_size &&
	    (pb->build_id_size != other->build_id_size ||
	     memcmp(pb->build_id, other->build_id, pb->build_id_size)))
		return pb_fail(&pb->options, PBITMAP_ERR_STALE,
			       "another build-id");
	if (pb->header.layout_crc != other->header.layout_crc ||
	    pb->header.page_shift != other->header.page_shift ||
	    pb->header.nr_segments != other->header.nr_segments)
		goto other_segments;
	for (i = 0; i < pb->header.nr_segments; i++)
		if (pb->plan.segments[i].vaddr !=
		    other->plan.segments[i].vaddr ||
		    pb->plan.segments[i].pages !=
		    other->plan.segments[i].pages)
			goto other_segments;
	return 0;
other_segments:
	return pb_fail(&pb->options, PBITMAP_ERR_STALE,
		       "made for other segments");
}

EXPORT int pbitmap_copy(struct pbitmap *pb, const struct pbitmap *from)
{
	int ret = pb_want_valid(pb);
	unsigned int i;
	uint64_t page;

	if (!ret)
		ret = check_same(pb, from);
	if (ret)
		return ret;
	for (i = 0; i < pb->header.nr_segments; i++) {
		struct planes to = planes_of(pb, i), p = planes_of(from, i);

		for (page = 0; page < to.pages; page++)
			set(&to, page, get(&p, page));
	}
	pb->header.launches = from->header.launches;
	pb->header.updated = from->header.updated;
	if (!pb_copy_objects(pb, from))
		return pb_fail_errno(&pb->options, "objects");
	return 0;
}

/* The mean of the counters, one half rounded up. */
static void merge_segment(struct pbitmap *pb, unsigned int segment,
			  const struct pbitmap *const *voters, size_t n)
{
	struct planes to = planes_of(pb, segment), from;
	unsigned int sum;
	uint64_t page;
	size_t k;

	for (page = 0; page < to.pages; page++) {
		sum = 0;
		for (k = 0; k < n; k++) {
			from = planes_of(voters[k], segment);
			sum += get(&from, page);
		}
		set(&to, page, (2 * sum + n) / (2 * n));
	}
}

static void merge_header(struct pbitmap *pb,
			 const struct pbitmap *const *voters, size_t n)
{
	uint64_t launches = 0, updated = 0;
	size_t k;

	for (k = 0; k < n; k++) {
		const struct pbitmap_header *h = &voters[k]->header;

		launches += h->launches;
		if (updated < h->updated)
			updated = h->updated;
	}
	pb->header.launches = launches < UINT32_MAX ? launches : UINT32_MAX;
	pb->header.updated = updated;
}

/* Only who has learned something has a vote. */
EXPORT int pbitmap_merge(struct pbitmap *pb,
			 const struct pbitmap *const others[], size_t n)
{
	const struct pbitmap **voters;
	int ret = pb_want_valid(pb);
	unsigned int segment;
	size_t i, k = 0;

	for (i = 0; i < n && !ret; i++)
		ret = check_same(pb, others[i]);
	if (ret)
		return ret;
	voters = calloc(n + 1, sizeof(*voters));
	if (!voters)
		return pb_fail_errno(&pb->options, "merge");
	if (pb->header.launches)
		voters[k++] = pb;
	for (i = 0; i < n; i++)
		if (others[i]->header.launches)
			voters[k++] = others[i];
	if (k) {
		for (segment = 0; segment < pb->header.nr_segments; segment++)
			merge_segment(pb, segment, voters, k);
		if (!pb_merge_objects(pb, voters, k))
			ret = pb_fail_errno(&pb->options, "merge");
		merge_header(pb, voters, k);
	}
	free(voters);
	return ret;
}
