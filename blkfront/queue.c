// SPDX-License-Identifier: GPL-2.0-only
/* blk-mq on one side, batches of requests on the other. */
#include <linux/bio.h>
#include <asm/xen/hypercall.h>

#include "blkfront/blkfront.h"

/* Most requests are: no walk then. */
static u8 *one_piece(const struct request *rq)
{
	struct bio *bio = rq->bio;
	struct bio_vec piece;

	if (!bio || bio->bi_iter.bi_size != blk_rq_bytes(rq))
		return NULL;
	piece = mp_bvec_iter_bvec(bio->bi_io_vec, bio->bi_iter);
	return piece.bv_len == bio->bi_iter.bi_size ? bvec_virt(&piece) : NULL;
}

static struct xpv_blkfront_request *request_of(struct request *rq)
{
	struct xpv_blkfront_request *request = blk_mq_rq_to_pdu(rq);

	request->next = NULL;
	request->memory = NULL;
	request->sector = blk_rq_pos(rq);
	request->sectors = blk_rq_sectors(rq);
	request->queue = rq->mq_hctx->queue_num;
	request->polled = rq->mq_hctx->type == HCTX_TYPE_POLL;
	switch (req_op(rq)) {
	case REQ_OP_WRITE:
		request->op = XPV_BLKFRONT_WRITE;
		request->memory = one_piece(rq);
		break;
	case REQ_OP_FLUSH:
		request->op = XPV_BLKFRONT_FLUSH;
		break;
	case REQ_OP_DISCARD:
		request->op = XPV_BLKFRONT_DISCARD;
		break;
	case REQ_OP_SECURE_ERASE:
		request->op = XPV_BLKFRONT_ERASE;
		break;
	default: /* no other was said to be known */
		request->op = XPV_BLKFRONT_READ;
		request->memory = one_piece(rq);
		break;
	}
	return request;
}

static blk_status_t blkfront_queue_rq(struct blk_mq_hw_ctx *hctx,
				      const struct blk_mq_queue_data *bd)
{
	struct xpv_blkfront_os *os = hctx->queue->queuedata;

	blk_mq_start_request(bd->rq);
	xpv_blkfront_submit(os->core, hctx->queue_num, request_of(bd->rq),
			    !bd->last);
	return BLK_STS_OK;
}

static void blkfront_commit_rqs(struct blk_mq_hw_ctx *hctx)
{
	struct xpv_blkfront_os *os = hctx->queue->queuedata;

	xpv_blkfront_commit(os->core, hctx->queue_num);
}

/* A plug's requests, each hardware queue's together. Lists of 6.1 are a pointer, and the
 * last request comes first. */
#ifdef rq_list_pop
typedef struct request *blkfront_rq_list;
#define NEWEST_FIRST true
#else
typedef struct rq_list blkfront_rq_list;
#define NEWEST_FIRST false
#endif

static void blkfront_queue_rqs(blkfront_rq_list *list)
{
	struct xpv_blkfront_request *first = NULL, **end = &first, *request;
	struct blk_mq_hw_ctx *hctx = NULL;
	struct xpv_blkfront_os *os = NULL;
	struct request *rq;

	while ((rq = rq_list_pop(list))) {
		if (hctx && hctx != rq->mq_hctx) {
			xpv_blkfront_submit(os->core, hctx->queue_num, first,
					    false);
			first = NULL;
			end = &first;
		}
		hctx = rq->mq_hctx;
		os = hctx->queue->queuedata;
		hctx->tags->rqs[rq->tag] = rq;
		blk_mq_start_request(rq);
		request = request_of(rq);
		if (NEWEST_FIRST) {
			request->next = first;
			first = request;
		} else {
			*end = request;
			end = &request->next;
		}
	}
	if (first)
		xpv_blkfront_submit(os->core, hctx->queue_num, first, false);
}

static enum blk_eh_timer_return blkfront_timeout(struct request *rq)
{
	struct xpv_blkfront_os *os = rq->q->queuedata;

	xpv_blkfront_timeout(os->core, blk_mq_rq_to_pdu(rq));
	return blk_mq_rq_state(rq) == MQ_RQ_IN_FLIGHT ? BLK_EH_RESET_TIMER :
							BLK_EH_DONE;
}

static int blkfront_poll(struct blk_mq_hw_ctx *hctx,
			 struct io_comp_batch *batch)
{
	struct xpv_blkfront_os *os = hctx->queue->queuedata;

	return xpv_blkfront_poll(os->core, hctx->queue_num);
}

/* First those of all processors, then those that are polled. */
static void blkfront_map_queues(struct blk_mq_tag_set *set)
{
	const struct xpv_blkfront_os *os = set->driver_data;
	struct blk_mq_queue_map *own = &set->map[HCTX_TYPE_DEFAULT];
	struct blk_mq_queue_map *polled = &set->map[HCTX_TYPE_POLL];

	own->nr_queues = set->nr_hw_queues - os->poll_queues;
	blk_mq_map_queues(own);
	if (!os->poll_queues)
		return;
	set->map[HCTX_TYPE_READ].nr_queues = 0;
	polled->nr_queues = os->poll_queues;
	polled->queue_offset = own->nr_queues;
	blk_mq_map_queues(polled);
}

const struct blk_mq_ops blkfront_mq_ops = {
	.queue_rq = blkfront_queue_rq,
	.queue_rqs = blkfront_queue_rqs,
	.commit_rqs = blkfront_commit_rqs,
	.timeout = blkfront_timeout,
	.poll = blkfront_poll,
	.map_queues = blkfront_map_queues,
};

/* ---- upcalls ------------------------------------------------------------- */

struct walk {
	struct bio *bio;
	struct bvec_iter iter;
	bool begun;
};

uint32_t
xpv_blkfront_os_segments(struct xpv_blkfront_request *request,
			 struct xpv_blkfront_cursor *cursor,
			 struct xpv_blkfront_segment *segments, uint32_t max)
{
	struct walk *walk = (struct walk *)cursor;
	struct bio_vec piece;
	u32 n = 0;

	BUILD_BUG_ON(sizeof(*walk) > sizeof(*cursor));
	if (!walk->begun) {
		walk->bio = blk_mq_rq_from_pdu(request)->bio;
		if (walk->bio)
			walk->iter = walk->bio->bi_iter;
		walk->begun = true;
	}
	while (n < max && walk->bio) {
		if (!walk->iter.bi_size) {
			walk->bio = walk->bio->bi_next;
			if (walk->bio)
				walk->iter = walk->bio->bi_iter;
			continue;
		}
		piece = bio_iter_iovec(walk->bio, walk->iter);
		segments[n].page = xpv_from_page(piece.bv_page);
		segments[n].address = bvec_virt(&piece);
		segments[n].bytes = piece.bv_len;
		n++;
		bio_advance_iter_single(walk->bio, &walk->iter, piece.bv_len);
	}
	return n;
}

static blk_status_t status_of(const struct xpv_blkfront_request *request)
{
	switch (request->status) {
	case XPV_BLKFRONT_OK:
		return BLK_STS_OK;
	case XPV_BLKFRONT_UNSUPPORTED:
		return BLK_STS_NOTSUPP;
	default:
		return BLK_STS_IOERR;
	}
}

void xpv_blkfront_os_done(struct xpv_blkfront_os *os,
			  struct xpv_blkfront_request *first)
{
	struct io_comp_batch batch = {};
	struct xpv_blkfront_request *request;
	blk_status_t status;
	struct request *rq;

	while ((request = first)) {
		first = request->next; /* it is gone when its request is */
		status = status_of(request);
		rq = blk_mq_rq_from_pdu(request);
		if (!blk_mq_add_to_batch(rq, &batch, status != BLK_STS_OK,
					 blk_mq_end_request_batch))
			blk_mq_end_request(rq, status);
	}
	if (batch.complete)
		batch.complete(&batch);
}

void xpv_blkfront_os_yield(struct xpv_blkfront_os *os)
{
	HYPERVISOR_sched_op(SCHEDOP_yield, NULL);
}

/* ---- looks without an event ------------------------------------------------ */

static enum hrtimer_restart timer_look(struct hrtimer *timer)
{
	struct blkfront_timer *own =
		container_of(timer, struct blkfront_timer, timer);

	xpv_blkfront_look(own->os->core, own->ring);
	return HRTIMER_NORESTART;
}

void xpv_blkfront_os_look(struct xpv_blkfront_os *os, uint32_t ring,
			  uint32_t us)
{
	struct hrtimer *timer = &os->timers[ring].timer;

	if (!hrtimer_is_queued(timer))
		hrtimer_start(timer, ns_to_ktime(us * NSEC_PER_USEC), HRTIMER_MODE_REL);
}

void blkfront_timers_init(struct xpv_blkfront_os *os)
{
	u32 i;

	for (i = 0; i < XPV_BLKFRONT_MAX_RINGS; i++) {
		struct blkfront_timer *own = &os->timers[i];

		own->os = os;
		own->ring = i;
		hrtimer_init(&own->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
		own->timer.function = timer_look;
	}
}

void blkfront_timers_cancel(struct xpv_blkfront_os *os)
{
	u32 i;

	for (i = 0; i < XPV_BLKFRONT_MAX_RINGS; i++)
		hrtimer_cancel(&os->timers[i].timer);
}
