// SPDX-License-Identifier: GPL-2.0-only
/*
 * Other callers of page migration: mbind(2), migrate_pages(2), NUMA balancing and
 * compaction.
 */
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define SIZE		MIB(256)
#define NUMAB_SIZE	MIB(64)
#define NODE3		"/sys/devices/system/node/node3/"
#define HIGH_FRACTION	"/proc/sys/vm/percpu_pagelist_high_fraction"
#define PASSES		50
#define MAX_PASSES	10000
#define SCHED_DEBUG	"/sys/kernel/debug/sched/numa_balancing/"

/* Add a note to the sample if pages of the area are not on the node. */
static void expect_on(const struct area *a, int node)
{
	struct request rq;

	request_make(&rq, a, PAGE);
	request_aim(&rq, node);
	request_expect(&rq);
	request_free(&rq);
}

static void run_mbind(const struct workload *w, unsigned int rounds)
{
	struct area a;
	__u64 cost;
	int target = 2;

	area_make(&a, SIZE, BASE_PAGES, 1);
	for (; rounds--; target = 3 - target) {
		settle();
		cost = clock_now();
		if (sys_mbind(a.start, a.size, MPOL_BIND, 1UL << target,
			      MPOL_MF_MOVE))
			fail("mbind");
		cost = clock_now() - cost;
		expect_on(&a, target);
		report(w, NULL, a.size / PAGE, cost, area_intact(&a));
	}
}

static void run_migrate_pages(const struct workload *w, unsigned int rounds)
{
	struct area a;
	__u64 cost;
	int target = 2;

	area_make(&a, SIZE, BASE_PAGES, 1);
	for (; rounds--; target = 3 - target) {
		settle();
		cost = clock_now();
		if (sys_migrate_pages(1UL << (3 - target), 1UL << target) < 0)
			fail("migrate_pages");
		cost = clock_now() - cost;
		expect_on(&a, target);
		report(w, NULL, a.size / PAGE, cost, area_intact(&a));
	}
}

static __u64 touch_all(const struct area *a)
{
	__u64 start = clock_now();
	size_t at;

	for (at = 0; at < a->size; at += PAGE)
		touch_page(a->start + at);
	return clock_now() - start;
}

/* The lowest cost of a pass over memory that does not move. */
static __u64 cheapest_pass(const struct area *a)
{
	__u64 best = ~0ULL, cost;
	int i;

	for (i = 0; i < 50; i++) {
		cost = touch_all(a);
		if (cost < best)
			best = cost;
	}
	return best;
}

/* Read all memory until balancing has moved it. Returns the number of passes. */
static int balance(const struct area *a, struct request *rq, double *cost)
{
	__u64 before = vm_event("numa_pages_migrated");
	int pass, turn;

	for (pass = 0; pass < MAX_PASSES; pass += turn) {
		for (turn = 0; turn < PASSES; turn++)
			*cost += touch_all(a);
		if (vm_event("numa_pages_migrated") - before >= rq->nr &&
		    request_arrived(rq) == rq->nr)
			return pass + turn;
	}
	return pass;
}

static void balance_rounds(const struct workload *w, unsigned int rounds)
{
	struct request rq;
	struct area a;
	double cost;
	bool good;
	int passes;

	pin_to(2);
	while (rounds--) {
		area_make(&a, NUMAB_SIZE, BASE_PAGES, 1);
		request_make(&rq, &a, PAGE);
		request_aim(&rq, 2);
		settle();
		cost = 0;
		need_write("/proc/sys/kernel/numa_balancing", "1");
		passes = balance(&a, &rq, &cost);
		need_write("/proc/sys/kernel/numa_balancing", "0");
		cost -= (double)passes * cheapest_pass(&a);
		good = area_intact(&a);
		note("%lu pages moved in %d passes", request_arrived(&rq),
		     passes);
		report(w, NULL, rq.nr, cost, good);
		request_free(&rq);
		area_free(&a);
	}
}

/* A process takes its scan period from these settings when it is created. */
static void run_balancing(const struct workload *w, unsigned int rounds)
{
	pid_t pid;

	need_write(SCHED_DEBUG "scan_delay_ms", "1");
	need_write(SCHED_DEBUG "scan_period_min_ms", "10");
	need_write(SCHED_DEBUG "scan_period_max_ms", "10");
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (!pid) {
		balance_rounds(w, rounds);
		exit(0);
	}
	waitpid(pid, NULL, 0);
}

/*
 * The memory that is compacted: the last node, or all memory if there are no nodes.
 * The kernel without nodes is User Mode Linux. There each page that is mapped alone
 * is a mapping of the host. The host limits the number of its mappings, so .most
 * limits the memory.
 */
static const struct compactable {
	const char *trigger;
	const char *meminfo;
	const char *format;
	size_t most;
} last_node = {
	NODE3 "compact", NODE3 "meminfo", "Node 3 MemFree: %lu kB", SIZE_MAX,
}, all_memory = {
	"/proc/sys/vm/compact_memory", "/proc/meminfo", "MemFree: %lu kB",
	MIB(128),
};

/* Returns three quarters of the free memory, in whole huge pages, or where->most. */
static size_t most_of(const struct compactable *where)
{
	FILE *file = fopen(where->meminfo, "r");
	unsigned long kib = 0;
	char line[128];
	size_t size;

	if (!file)
		skip_workload("no %s", where->meminfo);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, where->format, &kib) == 1)
			break;
	fclose(file);
	size = KIB(kib) / 4 * 3 / HUGE * HUGE;
	return size < where->most ? size : where->most;
}

/*
 * One page of each pair is freed, so that hardly any free memory is contiguous. The
 * choice is pseudo-random: a scanner that has found nothing for a while looks at
 * every second page only, and must not miss all free pages.
 */
static bool is_hole(size_t page)
{
	return (page & 1) == (page / 2 * GOLDEN) >> 63;
}

/* Keep the per-CPU lists small: compaction does not find the free pages on them. */
static void make_holes(struct area *a)
{
	size_t page;

	need_write(HIGH_FRACTION, "1000000");
	for (page = 0; page < a->size / PAGE; page++)
		if (is_hole(page) &&
		    madvise(a->start + page * PAGE, PAGE, MADV_DONTNEED))
			fail("madvise");
	need_write(HIGH_FRACTION, "0");
}

/* Check the pages that make_holes() has not freed. */
static bool rest_intact(const struct area *a)
{
	size_t page;

	for (page = 0; page < a->size / PAGE; page++)
		if (!is_hole(page) && !page_intact(a, page))
			return false;
	return true;
}

/*
 * Compact until four turns in a row have moved few pages. One such turn is not
 * enough, because it may have stopped where it began. Turns that move few pages do
 * not count. Returns the number of pages that were moved.
 */
static __u64 compact(const struct compactable *where, const struct area *a,
		     __u64 *cost)
{
	__u64 moved = 0, before, turn, took;
	unsigned int idle;

	*cost = 0;
	for (idle = 0; idle < 4; idle++) {
		before = vm_event("pgmigrate_success");
		took = clock_now();
		need_write(where->trigger, "1");
		took = clock_now() - took;
		turn = vm_event("pgmigrate_success") - before;
		if (turn <= a->size / PAGE / 64)
			continue;
		idle = 0;
		*cost += took;
		moved += turn;
	}
	return moved;
}

static void run_compaction(const struct workload *w, unsigned int rounds)
{
	const struct compactable *where =
		access(NODE3, F_OK) ? &all_memory : &last_node;
	__u64 cost, moved;
	struct area a;

	while (rounds--) {
		area_make(&a, most_of(where), BASE_PAGES, 3);
		make_holes(&a);
		settle();
		moved = compact(where, &a, &cost);
		note("%llu pages moved", moved);
		report(w, NULL, moved, cost, rest_intact(&a));
		area_free(&a);
	}
}

const struct workload caller_workloads[] = {
	{ "mbind", "256 MiB of base pages by mbind(2)", "page", "callers",
	  ON_BOTH, 2, run_mbind, 0 },
	{ "migrate_pages", "256 MiB of base pages by migrate_pages(2)",
	  "page", "callers", ON_BOTH, 2, run_migrate_pages, 0 },
	{ "numa-balancing", "64 MiB of base pages until all are local",
	  "page", "callers", ON_BOTH, 2, run_balancing, 0 },
	{ "compaction", "compaction of a node with every second page free", "page",
	  "compact", ON_INSN | ON_NATIVE, 1, run_compaction, 0 },
	{ }
};
