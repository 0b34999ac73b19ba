// SPDX-License-Identifier: GPL-2.0-only
/*
 * A model of a rotating disk, with its contents in memory: null_blk has one
 * latency for all requests, and on a rotating disk order is what counts.  For
 * ./build.sh bench, built into a kernel of its own.
 *
 * Writing a size in MiB to /sys/module/rotating/parameters/mib makes the disk
 * /dev/rotating.  It is the outer end of one with these properties, which are
 * those that data sheets of 7200 rpm desktop drives of 1 TB give:
 *
 *	rotation	8.33 ms
 *	track		1.5 MB, which at 120 rotations a second are 180 MB/s
 *	seek		0.8 ms to the next track, 8.5 ms over a third of all; in
 *			between it grows with the square root of the distance,
 *			the first half of the curve of Ruemmler and Wilkes, "An
 *			introduction to disk drive modeling", 1994
 *	queue		32 requests, of which the one is served next that the
 *			head can reach first
 *	buffer		while nothing is asked for the head reads on, up to 2 MB
 *			behind the last request; what is there by then takes no
 *			positioning
 *
 * Tracks are skewed by the time of a seek to the next one, so that reading in
 * order goes on at once.  Writing takes what reading takes.
 *
 * The data is copied when a request is given to the disk, by whoever gives it,
 * as null_blk does it.
 */
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/highmem.h>
#include <linux/hrtimer.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/xarray.h>

#define TRACK_SECTORS	3000			/* 1.5 MB */
#define ROTATION_NS	8333333
#define SECTOR_NS	(ROTATION_NS / TRACK_SECTORS)
#define SEEK_NEXT_NS	800000
#define SEEK_ROOT_NS	16350			/* times the root of tracks */
#define BUFFER_SECTORS	4096
#define QUEUE_DEPTH	32

/**
 * struct rotating - the disk
 * @set: its tags
 * @disk: what the block layer knows of it
 * @pages: contents, by page number; what was never written has none
 * @lock: guards what follows
 * @queued: requests that wait for the head
 * @current_rq: the request that is being served, or NULL
 * @timer: when it will be
 * @head: the sector behind the last request
 * @since: when that was done, ns
 */
struct rotating {
	struct blk_mq_tag_set set;
	struct gendisk *disk;
	struct xarray pages;
	spinlock_t lock;	/* queued to since */
	struct list_head queued;
	struct request *current_rq;
	struct hrtimer timer;
	sector_t head;
	u64 since;
};

static struct rotating rotating;

/* ns from the end of a seek until @sector is under the head at time @now. */
static u64 rotation(sector_t sector, u64 now)
{
	u32 track_sector, at;
	u64 track = div_u64_rem(sector, TRACK_SECTORS, &track_sector);
	u64 angle = track_sector * SECTOR_NS + track * SEEK_NEXT_NS;

	div_u64_rem(angle, ROTATION_NS, &track_sector);
	div_u64_rem(now, ROTATION_NS, &at);
	return (track_sector + ROTATION_NS - at) % ROTATION_NS;
}

/* ns until the head is where @rq begins, or 0 when that is in the buffer. */
static u64 positioning(struct rotating *r, struct request *rq, u64 now)
{
	sector_t sector = blk_rq_pos(rq);
	u64 ahead = min_t(u64, div_u64(now - r->since, SECTOR_NS),
			  BUFFER_SECTORS);
	u64 from = div_u64(r->head, TRACK_SECTORS);
	u64 to = div_u64(sector, TRACK_SECTORS);
	u64 tracks = from > to ? from - to : to - from, seek = 0;

	if (req_op(rq) == REQ_OP_READ && sector >= r->head &&
	    sector <= r->head + ahead)
		return 0;
	if (tracks)
		seek = SEEK_NEXT_NS + SEEK_ROOT_NS * int_sqrt64(tracks);
	return seek + rotation(sector, now + seek);
}

/* ns to move the data of @rq: what the buffer holds of it is there. */
static u64 transfer(struct rotating *r, struct request *rq, u64 now, u64 wait)
{
	u64 ahead = min_t(u64, div_u64(now - r->since, SECTOR_NS),
			  BUFFER_SECTORS);
	u64 there = r->head + ahead, end = blk_rq_pos(rq) + blk_rq_sectors(rq);
	u64 sectors = blk_rq_sectors(rq);

	if (!wait && req_op(rq) == REQ_OP_READ)
		sectors = end > there ? end - there : 0;
	return max_t(u64, sectors, 1) * SECTOR_NS;
}

/* Serve the request next that the head reaches first. */
static void serve_next(struct rotating *r)
{
	u64 now = ktime_get_ns(), least = U64_MAX, wait;
	struct request *rq, *next = NULL;

	lockdep_assert_held(&r->lock);
	list_for_each_entry(rq, &r->queued, queuelist) {
		wait = positioning(r, rq, now);
		if (wait < least) {
			least = wait;
			next = rq;
		}
	}
	r->current_rq = next;
	if (!next)
		return;
	list_del_init(&next->queuelist);
	hrtimer_start(&r->timer,
		      ns_to_ktime(least + transfer(r, next, now, least)),
		      HRTIMER_MODE_REL);
}

static enum hrtimer_restart served(struct hrtimer *timer)
{
	struct rotating *r = container_of(timer, struct rotating, timer);
	struct request *rq;
	unsigned long flags;

	spin_lock_irqsave(&r->lock, flags);
	rq = r->current_rq;
	r->head = blk_rq_pos(rq) + blk_rq_sectors(rq);
	r->since = ktime_get_ns();
	serve_next(r);
	spin_unlock_irqrestore(&r->lock, flags);
	blk_mq_end_request(rq, BLK_STS_OK);
	return HRTIMER_NORESTART;
}

/* The page of the disk with @sector; to be written to, it is made. */
static struct page *disk_page(struct rotating *r, sector_t sector, bool write)
{
	unsigned long index = sector >> PAGE_SECTORS_SHIFT;
	struct page *page = xa_load(&r->pages, index), *old;

	if (page || !write)
		return page;
	page = alloc_page(GFP_NOIO | __GFP_ZERO);
	if (!page)
		return NULL;
	old = xa_cmpxchg(&r->pages, index, NULL, page, GFP_NOIO);
	if (!old)
		return page;
	__free_page(page);
	return xa_is_err(old) ? NULL : old;
}

/* Copy the part of one page of the disk, from or to @bv at @done. */
static int copy_part(struct rotating *r, struct bio_vec *bv, unsigned int done,
		     unsigned int len, sector_t sector, bool write)
{
	unsigned int off = (sector & (PAGE_SECTORS - 1)) << SECTOR_SHIFT;
	struct page *page = disk_page(r, sector, write);

	if (page && write)
		memcpy_page(page, off, bv->bv_page, bv->bv_offset + done, len);
	else if (page)
		memcpy_page(bv->bv_page, bv->bv_offset + done, page, off, len);
	else if (!write)
		memzero_page(bv->bv_page, bv->bv_offset + done, len);
	else
		return -ENOMEM;
	return 0;
}

static int copy_data(struct rotating *r, struct request *rq)
{
	sector_t sector = blk_rq_pos(rq);
	struct req_iterator iter;
	unsigned int done, len;
	struct bio_vec bv;

	rq_for_each_segment(bv, rq, iter) {
		for (done = 0; done < bv.bv_len; done += len) {
			len = (PAGE_SECTORS - (sector & (PAGE_SECTORS - 1)))
				<< SECTOR_SHIFT;
			len = min(len, bv.bv_len - done);
			if (copy_part(r, &bv, done, len, sector, rq_data_dir(rq)))
				return -ENOMEM;
			sector += len >> SECTOR_SHIFT;
		}
		flush_dcache_page(bv.bv_page);
	}
	return 0;
}

static blk_status_t queue_rq(struct blk_mq_hw_ctx *hctx,
			     const struct blk_mq_queue_data *bd)
{
	struct rotating *r = hctx->queue->queuedata;
	struct request *rq = bd->rq;

	blk_mq_start_request(rq);
	if (copy_data(r, rq))
		return BLK_STS_RESOURCE;
	spin_lock_irq(&r->lock);
	list_add_tail(&rq->queuelist, &r->queued);
	if (!r->current_rq)
		serve_next(r);
	spin_unlock_irq(&r->lock);
	return BLK_STS_OK;
}

static const struct blk_mq_ops rotating_ops = {
	.queue_rq = queue_rq,
};

static const struct block_device_operations rotating_fops = {
	.owner = THIS_MODULE,
};

static int make_disk(struct rotating *r, unsigned int mib)
{
	struct queue_limits limits = {
		.logical_block_size = PAGE_SIZE,
		.physical_block_size = PAGE_SIZE,
		.max_hw_sectors = 2048,
		.features = BLK_FEAT_ROTATIONAL,
	};
	int err;

	xa_init(&r->pages);
	spin_lock_init(&r->lock);
	INIT_LIST_HEAD(&r->queued);
	hrtimer_init(&r->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	r->timer.function = served;
	r->set = (struct blk_mq_tag_set) {
		.ops		= &rotating_ops,
		.nr_hw_queues	= 1,
		.queue_depth	= QUEUE_DEPTH,
		.numa_node	= NUMA_NO_NODE,
		.flags		= BLK_MQ_F_SHOULD_MERGE | BLK_MQ_F_BLOCKING,
	};
	err = blk_mq_alloc_tag_set(&r->set);
	if (err)
		return err;
	r->disk = blk_mq_alloc_disk(&r->set, &limits, r);
	if (IS_ERR(r->disk)) {
		err = PTR_ERR(r->disk);
		goto out;
	}
	strscpy(r->disk->disk_name, "rotating");
	r->disk->fops = &rotating_fops;
	set_capacity(r->disk, (sector_t)mib << (20 - SECTOR_SHIFT));
	err = add_disk(r->disk);
	if (!err)
		return 0;
	put_disk(r->disk);
out:
	r->disk = NULL;
	blk_mq_free_tag_set(&r->set);
	return err;
}

static int set_mib(const char *value, const struct kernel_param *param)
{
	unsigned int mib;
	int err = kstrtouint(value, 0, &mib);

	if (err || !mib)
		return err ?: -EINVAL;
	return rotating.disk ? -EBUSY : make_disk(&rotating, mib);
}

static const struct kernel_param_ops mib_ops = {
	.set = set_mib,
};

module_param_cb(mib, &mib_ops, NULL, 0200);
MODULE_PARM_DESC(mib, "Make the disk, this large");
MODULE_DESCRIPTION("A model of a rotating disk");
MODULE_LICENSE("GPL");
