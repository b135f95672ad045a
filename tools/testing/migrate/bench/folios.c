// SPDX-License-Identifier: GPL-2.0-only
/* move_pages(2) on large folios and hugetlb pages. */
#include "bench.h"

#define SIZE		MIB(64)

/* The hugetlb pool of a node; 32 pages are 64 MiB. */
#define POOL(node)	"/sys/devices/system/node/node" #node \
			"/hugepages/hugepages-2048kB/nr_hugepages"

/* From this size on the pages of two folios often conflict in a cache. */
#define LARGE		KIB(256)

/* Move to another node and back. Both moves are reported. */
static void move_twice(const struct workload *w, const struct area *a,
		       struct request *rq, size_t folio)
{
	static const char * const moves[] = { "first", "second" };
	unsigned long left;
	__u64 cost;
	int i;

	for (i = 0; i < 2; i++) {
		if (!counting_insns && folio >= LARGE)
			request_shuffle(rq, rq->nr * folio / a->size);
		request_aim(rq, 2 - i);
		settle();
		cost = request_run(rq);
		request_expect(rq);
		left = area_folios(a, folio);
		if (left != a->size / folio)
			note("%lu of %lu folios kept their size", left,
			     a->size / folio);
		report(w, moves[i], a->size / folio, cost, area_intact(a));
	}
}

/* Each round needs a new area, because a folio has only one first move. */
static void run_folios(const struct workload *w, unsigned int rounds)
{
	struct request rq;
	struct area a;

	folio_size(w->arg);
	while (rounds--) {
		area_make(&a, SIZE, HUGE_PAGES, 1);
		if (area_folios(&a, w->arg) != SIZE / w->arg)
			skip_workload("only %lu of %lu folios have the size wanted",
				      area_folios(&a, w->arg), SIZE / w->arg);
		request_make(&rq, &a, w->arg);
		move_twice(w, &a, &rq, w->arg);
		request_free(&rq);
		area_free(&a);
	}
}

/* Pass the address of each base page, as programs do that do not know folios. */
static void run_every_address(const struct workload *w, unsigned int rounds)
{
	struct request rq;
	struct area a;

	folio_size(w->arg);
	while (rounds--) {
		area_make(&a, SIZE, HUGE_PAGES, 1);
		if (area_folios(&a, w->arg) != SIZE / w->arg)
			skip_workload("no folios of the size wanted");
		request_make(&rq, &a, PAGE);
		move_twice(w, &a, &rq, w->arg);
		request_free(&rq);
		area_free(&a);
	}
}

static void run_hugetlb(const struct workload *w, unsigned int rounds)
{
	struct request rq;
	struct area a;

	need_write(POOL(1), "32");
	need_write(POOL(2), "32");
	while (rounds--) {
		area_make(&a, SIZE, HUGETLB_PAGES, 1);
		request_make(&rq, &a, HUGE);
		move_twice(w, &a, &rq, HUGE);
		request_free(&rq);
		area_free(&a);
	}
	need_write("/proc/sys/vm/nr_hugepages", "0");
}

const struct workload folio_workloads[] = {
	{ "folio-16K", "64 MiB in 16K folios, one address each", "folio",
	  "folios", ON_BOTH, 3, run_folios, KIB(16) },
	{ "folio-64K", "64 MiB in 64K folios, one address each", "folio",
	  "folios", ON_BOTH, 3, run_folios, KIB(64) },
	{ "folio-256K", "64 MiB in 256K folios, one address each", "folio",
	  "folios", ON_BOTH, 3, run_folios, KIB(256) },
	{ "folio-1M", "64 MiB in 1M folios, one address each", "folio",
	  "folios", ON_BOTH, 3, run_folios, MIB(1) },
	{ "folio-2M", "64 MiB in THPs, one address each", "folio", "folios",
	  ON_BOTH, 3, run_folios, HUGE },
	{ "every-64K", "64 MiB in 64K folios, every address", "folio",
	  "folios", ON_BOTH, 3, run_every_address, KIB(64) },
	{ "every-2M", "64 MiB in THPs, every address", "folio", "folios",
	  ON_BOTH, 3, run_every_address, HUGE },
	{ "hugetlb-2M", "64 MiB of hugetlb pages", "folio", "folios", ON_BOTH,
	  3, run_hugetlb, HUGE },
	{ }
};
