// SPDX-License-Identifier: GPL-2.0-only
/* move_pages(2): arguments, calls, and checks of the nodes. */
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdlib.h>

#include "bench.h"

/**
 * request_make() - make a request for the pages of an area
 * @rq: filled in
 * @a: the area
 * @step: bytes from one address to the next
 */
void request_make(struct request *rq, const struct area *a, size_t step)
{
	unsigned long i;

	rq->nr = a->size / step;
	rq->batch = rq->nr;
	rq->flags = MPOL_MF_MOVE;
	rq->addr = calloc(rq->nr, sizeof(*rq->addr));
	rq->node = calloc(rq->nr, sizeof(*rq->node));
	rq->status = calloc(rq->nr, sizeof(*rq->status));
	if (!rq->addr || !rq->node || !rq->status)
		fail("calloc");
	for (i = 0; i < rq->nr; i++) {
		rq->addr[i] = a->start + i * step;
		rq->status[i] = -1;
	}
}

/**
 * random_below() - get the next number of a sequence that is the same in each run
 * @limit: at most 65536
 *
 * Return: a number below @limit
 */
unsigned int random_below(unsigned int limit)
{
	static unsigned int state = 1;

	state = state * 1664525 + 1013904223;
	return (state >> 16) % limit;
}

/**
 * request_shuffle() - put the folios into a random order
 * @rq: the request, before request_aim(); at most 65536 folios
 * @run: number of addresses in each folio
 *
 * Consecutive folios get consecutive target frames. So without this, each target is
 * as far from its source as the first one.
 */
void request_shuffle(struct request *rq, unsigned long run)
{
	unsigned long left, i;

	for (left = rq->nr / run; left > 1; left--) {
		void **last = rq->addr + (left - 1) * run;
		void **other = rq->addr + random_below(left) * run;

		for (i = 0; i < run; i++) {
			void *addr = last[i];

			last[i] = other[i];
			other[i] = addr;
		}
	}
}

/**
 * request_free() - free a request
 * @rq: the request
 */
void request_free(struct request *rq)
{
	free(rq->addr);
	free(rq->node);
	free(rq->status);
}

/**
 * request_aim() - set the same target node for all pages
 * @rq: the request
 * @node: the target
 */
void request_aim(struct request *rq, int node)
{
	unsigned long i;

	for (i = 0; i < rq->nr; i++)
		rq->node[i] = node;
}

/**
 * request_run() - move the pages
 * @rq: the request
 *
 * Return: the cost of all its calls
 */
__u64 request_run(struct request *rq)
{
	__u64 start = clock_now();
	unsigned long at, nr;

	for (at = 0; at < rq->nr; at += nr) {
		nr = rq->nr - at < rq->batch ? rq->nr - at : rq->batch;
		if (sys_move_pages(nr, rq->addr + at, rq->node + at,
				   rq->status + at, rq->flags) < 0)
			fail("move_pages");
	}
	return clock_now() - start;
}

/**
 * request_ask() - get the nodes of the pages
 * @rq: the request; its status is filled in
 */
void request_ask(struct request *rq)
{
	if (sys_move_pages(rq->nr, rq->addr, NULL, rq->status, 0))
		fail("move_pages query");
}

/**
 * request_arrived() - count the pages that are on their target node
 * @rq: the request
 *
 * Return: their number
 */
unsigned long request_arrived(struct request *rq)
{
	unsigned long i, count = 0;

	request_ask(rq);
	for (i = 0; i < rq->nr; i++)
		count += rq->status[i] == rq->node[i];
	return count;
}

/**
 * request_expect() - add a note to the next sample if pages are not on their target
 * @rq: the request
 */
void request_expect(struct request *rq)
{
	unsigned long arrived = request_arrived(rq);

	if (arrived != rq->nr)
		note("%lu of %lu stayed", rq->nr - arrived, rq->nr);
}
