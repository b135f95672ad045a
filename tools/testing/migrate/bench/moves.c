// SPDX-License-Identifier: GPL-2.0-only
/* move_pages(2) on base pages: moves by target and by batch size, and queries. */
#include <stdlib.h>

#include "bench.h"

#define SIZE		MIB(64)
#define NODES		4
#define SHIFT		MIB(1)

/* How aim() chooses the target nodes of a request. */
enum aim { ONE, ALTERNATE, RANDOM };

/* Every page gets a target that it is not on, so that every page moves. */
static void aim(struct request *rq, enum aim how, unsigned int round)
{
	unsigned long i;

	for (i = 0; i < rq->nr; i++) {
		if (how == ONE)
			rq->node[i] = 1 + (round + 1) % 2;
		else if (how == ALTERNATE)
			rq->node[i] = 2 + (round + i) % 2;
		else
			rq->node[i] = (rq->node[i] + 1 +
				       random_below(3)) % NODES;
	}
}

static void run_move(const struct workload *w, unsigned int rounds)
{
	struct request rq;
	struct area a;
	unsigned int i;
	__u64 cost;

	area_make(&a, SIZE, BASE_PAGES, 1);
	request_make(&rq, &a, PAGE);
	request_aim(&rq, 1);
	for (i = 0; i < rounds; i++) {
		aim(&rq, w->arg, i);
		settle();
		cost = request_run(&rq);
		request_expect(&rq);
		report(w, NULL, rq.nr, cost, area_intact(&a));
	}
}

static void run_inplace(const struct workload *w, unsigned int rounds)
{
	struct request rq;
	struct area a;
	__u64 cost;

	area_make(&a, SIZE, BASE_PAGES, 1);
	request_make(&rq, &a, PAGE);
	request_aim(&rq, 1);
	while (rounds--) {
		settle();
		cost = request_run(&rq);
		request_expect(&rq);
		report(w, NULL, rq.nr, cost, area_intact(&a));
	}
}

static void run_status(const struct workload *w, unsigned int rounds)
{
	struct request rq;
	struct area a;
	__u64 cost;

	area_make(&a, SIZE, BASE_PAGES, 1);
	request_make(&rq, &a, PAGE);
	request_aim(&rq, 1);
	while (rounds--) {
		settle();
		cost = clock_now();
		request_ask(&rq);
		cost = clock_now() - cost;
		request_expect(&rq);
		report(w, NULL, rq.nr, cost, area_intact(&a));
	}
}

/* The argument is the number of pages in a call. */
static void run_batch(const struct workload *w, unsigned int rounds)
{
	size_t size = w->arg * 256 * PAGE;
	struct request rq;
	struct area a;
	unsigned int i;
	__u64 cost;

	area_make(&a, size < MIB(16) ? size : MIB(16), BASE_PAGES, 1);
	request_make(&rq, &a, PAGE);
	rq.batch = w->arg;
	for (i = 0; i < rounds; i++) {
		aim(&rq, ONE, i);
		settle();
		cost = request_run(&rq);
		request_expect(&rq);
		report(w, NULL, rq.nr, cost, area_intact(&a));
	}
}

#ifdef __x86_64__
/* Copy as the kernel's memcpy() does on a CPU without fast string operations. */
static void copy_page(char *to, const char *from)
{
	__u64 left = PAGE, a, b, c, d;

	asm volatile("1: sub $32, %[left]\n\t"
		     "mov 0(%[from]), %[a]\n\tmov 8(%[from]), %[b]\n\t"
		     "mov 16(%[from]), %[c]\n\tmov 24(%[from]), %[d]\n\t"
		     "lea 32(%[from]), %[from]\n\t"
		     "mov %[a], 0(%[to])\n\tmov %[b], 8(%[to])\n\t"
		     "mov %[c], 16(%[to])\n\tmov %[d], 24(%[to])\n\t"
		     "lea 32(%[to]), %[to]\n\t"
		     "jne 1b"
		     : [left] "+r"(left), [to] "+r"(to), [from] "+r"(from),
		       [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d)
		     : : "memory", "cc");
}
#else
static void copy_page(char *to, const char *from)
{
	__builtin_memcpy(to, from, PAGE);
}
#endif

static void run_copy(const struct workload *w, unsigned int rounds)
{
	struct area from, to;
	__u64 cost;
	size_t at;

	area_make(&from, SIZE, BASE_PAGES, 1);
	/* The areas must not conflict in a cache indexed by low address bits. */
	area_make(&to, SIZE + SHIFT, BASE_PAGES, 2);
	to.start += SHIFT;
	to.size = SIZE;
	to.seed = from.seed;
	while (rounds--) {
		settle();
		cost = clock_now();
		for (at = 0; at < SIZE; at += PAGE)
			copy_page(to.start + at, from.start + at);
		cost = clock_now() - cost;
		report(w, NULL, SIZE / PAGE, cost, area_intact(&to));
	}
}

const struct workload move_workloads[] = {
	{ "copy", "the copy loop alone, 64 MiB", "page", "moves",
	  ON_BOTH | ON_NATIVE, 3, run_copy, 0 },
	{ "one-node", "64 MiB of base pages to one node", "page", "moves",
	  ON_BOTH, 4, run_move, ONE },
	{ "alternate", "64 MiB of base pages to two nodes in turn", "page",
	  "moves", ON_BOTH, 4, run_move, ALTERNATE },
	{ "random", "64 MiB of base pages to three nodes at random", "page",
	  "moves", ON_BOTH, 4, run_move, RANDOM },
	{ "in-place", "64 MiB of base pages that are there already",
	  "address", "moves", ON_BOTH, 4, run_inplace, 0 },
	{ "status", "the nodes of 64 MiB of base pages", "address", "moves",
	  ON_BOTH, 4, run_status, 0 },
	{ "batch-1", "1 page a call", "page", "moves", ON_BOTH, 4,
	  run_batch, 1 },
	{ "batch-8", "8 pages a call", "page", "moves", ON_BOTH, 4,
	  run_batch, 8 },
	{ "batch-64", "64 pages a call", "page", "moves", ON_BOTH, 4,
	  run_batch, 64 },
	{ "batch-512", "512 pages a call", "page", "moves", ON_BOTH, 4,
	  run_batch, 512 },
	{ "batch-4096", "4096 pages a call", "page", "moves", ON_BOTH, 4,
	  run_batch, 4096 },
	{ }
};
