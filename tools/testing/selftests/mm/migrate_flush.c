// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test that a thread does not access the source pages after its memory has moved.
 *
 * The thread accesses every page before the move, so the TLB of its CPU has entries
 * for the source pages. The thread moves the pages itself and accesses them again at
 * once. Nothing else has a reason to flush the TLB of this CPU in between. So a
 * missing flush shows: the thread does not read what the kernel writes through the
 * page tables, and the kernel does not read what the thread writes.
 *
 * With two nodes, move_pages(2) moves the pages. Compaction works with any number of
 * nodes, but may not move every page.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest.h"
#include "migrate_break.h"
#include "vm_util.h"

#define NODES_FILE	"/sys/devices/system/node/has_memory"
#define COMPACT_FILE	"/proc/sys/vm/compact_memory"
#define KEPT_FILE	"/proc/sys/vm/percpu_pagelist_high_fraction"

/* MPOL_MF_MOVE of <numaif.h>, on which the build must not depend. */
#define MF_MOVE		0x2

#define NR_PAGES	64
#define NR_SCATTERED	4096
#define SCATTER		7	/* not 8: some pageblocks must begin free */
#define MIN_COMPACTED	64
#define NR_ROUNDS	4

/**
 * struct area - memory that moves
 * @mem: address of the mapping
 * @nr: number of pages that the test checks
 * @step: distance from one such page to the next, in pages
 * @pfns: pfn of each of these pages before the move
 * @len: length of the mapping
 */
struct area {
	char *mem;
	size_t nr;
	size_t step;
	uint64_t *pfns;
	size_t len;
};

/**
 * struct test - one line of the table
 * @name: name of the test
 * @map: maps and fills the area; returns false if there is no such memory
 * @move: moves the pages of the area; returns false and sets errno if that fails
 * @nodes: number of nodes with memory that the test needs
 * @all: all pages must move, not just some
 */
struct test {
	const char *name;
	bool (*map)(struct area *area);
	bool (*move)(const struct area *area);
	int nodes;
	bool all;
};

static size_t page_size;
static int mem_fd, pagemap_fd, nodes[2], nr_nodes;

static uint64_t *word_at(const struct area *area, size_t i)
{
	return (uint64_t *)(area->mem + i * area->step * page_size);
}

/* The compiler must emit each access: it does not know that a TLB may be stale. */
static uint64_t load(const struct area *area, size_t i)
{
	return __atomic_load_n(word_at(area, i), __ATOMIC_RELAXED);
}

static void store(const struct area *area, size_t i, uint64_t value)
{
	__atomic_store_n(word_at(area, i), value, __ATOMIC_RELAXED);
}

static uint64_t pfn_at(const struct area *area, size_t i)
{
	return pagemap_get_pfn(pagemap_fd, (char *)word_at(area, i));
}

/* Kinds of memory. */

static bool map_pages(struct area *area, size_t nr, size_t step, int flags, int fd)
{
	size_t i;

	area->nr = nr;
	area->step = step;
	area->len = nr * step * page_size;
	area->mem = mmap(NULL, area->len, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (area->mem == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	/* This may fail: kernels that do not know it have no huge pages either. */
	madvise(area->mem, area->len, MADV_NOHUGEPAGE);
	for (i = 0; i < nr * step; i++)
		area->mem[i * page_size] = 1;
	return true;
}

static bool map_anon(struct area *area)
{
	return map_pages(area, NR_PAGES, 1, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static bool map_memfd(struct area *area)
{
	int fd = memfd_create("flush", 0);

	if (fd < 0 || ftruncate(fd, NR_PAGES * page_size))
		ksft_exit_fail_msg("memfd: %s\n", strerror(errno));
	map_pages(area, NR_PAGES, 1, MAP_SHARED, fd);
	close(fd);
	return true;
}

/* Set the limit of the per-CPU free lists, where compaction does not find pages. */
static void set_kept(const char *fraction)
{
	int fd = open(KEPT_FILE, O_WRONLY);

	if (fd < 0 || write(fd, fraction, strlen(fraction)) < 0)
		ksft_exit_fail_msg("%s: %s\n", KEPT_FILE, strerror(errno));
	close(fd);
}

/*
 * Keep one page of each SCATTER pages and free the others, so that compaction has
 * pages to move and free pages as targets.
 */
static bool map_scattered(struct area *area)
{
	FILE *file = fopen(KEPT_FILE, "r");
	char was[32];
	size_t i;

	if (!file || !fgets(was, sizeof(was), file))
		ksft_exit_fail_msg("%s: %s\n", KEPT_FILE, strerror(errno));
	fclose(file);
	map_pages(area, NR_SCATTERED, SCATTER, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	set_kept("1000000");
	for (i = 0; i < area->nr; i++)
		if (madvise((char *)word_at(area, i) + page_size,
			    (SCATTER - 1) * page_size, MADV_DONTNEED))
			ksft_exit_fail_msg("MADV_DONTNEED: %s\n", strerror(errno));
	set_kept(was);
	return true;
}

/* One huge page, mapped by a PMD. */
static bool map_huge(struct area *area)
{
	size_t size = read_pmd_pagesize(), len = 2 * size, i;
	char *mem;

	if (!size)
		return false;
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	if (mem == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	area->mem = (char *)(((uintptr_t)mem + size - 1) & ~(size - 1));
	area->nr = size / page_size;
	area->step = 1;
	area->len = size;
	if (madvise(area->mem, size, MADV_HUGEPAGE))
		return false;
	for (i = 0; i < area->nr; i++)
		area->mem[i * page_size] = 1;
	return check_huge_anon(area->mem, size, 1, size);
}

/* One huge page, mapped by PTEs. */
static bool map_huge_ptes(struct area *area)
{
	if (!map_huge(area))
		return false;
	if (mprotect(area->mem, page_size, PROT_READ) ||
	    mprotect(area->mem, page_size, PROT_READ | PROT_WRITE))
		ksft_exit_fail_msg("mprotect: %s\n", strerror(errno));
	return check_huge_anon(area->mem, area->len, 0, area->len);
}

/* Ways to move the memory. */

static bool move_to(const struct area *area, int node)
{
	void **pages = calloc(area->nr, sizeof(*pages));
	int *where = calloc(2 * area->nr, sizeof(*where));
	long ret = -1;
	size_t i;

	for (i = 0; pages && where && i < area->nr; i++) {
		pages[i] = word_at(area, i);
		where[i] = node;
	}
	if (pages && where)
		ret = syscall(__NR_move_pages, 0, area->nr, pages, where,
			      where + area->nr, MF_MOVE);
	free(pages);
	free(where);
	return !ret;
}

static bool move_pages_there(const struct area *area)
{
	return move_to(area, nodes[1]);
}

static bool compact(const struct area *area)
{
	int fd = open(COMPACT_FILE, O_WRONLY);
	bool ok = fd >= 0 && write(fd, "1", 1) == 1;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Checks for stale TLB entries. */

static uint64_t value_for(size_t i, int turn)
{
	return (i + 1) * 0x9e3779b97f4a7c15ULL + turn;
}

/* Write and read every page, so that the TLB of this CPU maps it. */
static void use(const struct area *area)
{
	size_t i;

	for (i = 0; i < area->nr; i++) {
		store(area, i, value_for(i, 0));
		if (load(area, i) != value_for(i, 0))
			ksft_exit_fail_msg("a read returned other data than was written\n");
	}
}

/* Does the thread see what the kernel writes to page @i? */
static bool reads_new_place(const struct area *area, size_t i)
{
	uint64_t value = value_for(i, 1);

	if (pwrite(mem_fd, &value, sizeof(value), (uintptr_t)word_at(area, i)) !=
	    sizeof(value))
		ksft_exit_fail_msg("write to /proc/self/mem: %s\n", strerror(errno));
	return load(area, i) == value;
}

/* Does the kernel see what the thread writes to page @i? */
static bool writes_new_place(const struct area *area, size_t i)
{
	uint64_t value;

	store(area, i, value_for(i, 2));
	if (pread(mem_fd, &value, sizeof(value), (uintptr_t)word_at(area, i)) !=
	    sizeof(value))
		ksft_exit_fail_msg("read of /proc/self/mem: %s\n", strerror(errno));
	return value == value_for(i, 2);
}

/*
 * Returns the number of pages for which the thread still accesses the source page.
 * If the thread reads any source page, it does not write: others may use that page.
 */
static size_t count_stale(const struct area *area)
{
	size_t i, stale = 0;

	for (i = 0; i < area->nr; i++)
		stale += !reads_new_place(area, i);
	for (i = 0; i < area->nr && !stale; i++)
		stale += !writes_new_place(area, i);
	return stale + migrate_spoils("byte");
}

/* Returns the number of pages that have moved. *@stale is that of count_stale(). */
static size_t move_in_use(const struct area *area, const struct test *test,
			  size_t *stale)
{
	size_t i, moved = 0;

	for (i = 0; i < area->nr; i++)
		area->pfns[i] = pfn_at(area, i);
	if (area->pfns[0] == -1ULL || !area->pfns[0])
		ksft_exit_fail_msg("pagemap shows no page frame numbers\n");
	use(area);
	if (!test->move(area))
		ksft_exit_fail_msg("%s: %s\n", test->name, strerror(errno));
	*stale = count_stale(area);
	for (i = 0; i < area->nr; i++)
		moved += pfn_at(area, i) != area->pfns[i];
	return migrate_spoils("node") ? 0 : moved;
}

/* One try with new memory. Returns 1 if it passed, 0 if it failed, -1 if skipped. */
static int try_once(const struct test *test, size_t *moved)
{
	struct area area;
	size_t stale;

	if (!test->map(&area))
		return -1;
	area.pfns = calloc(area.nr, sizeof(*area.pfns));
	if (!area.pfns)
		ksft_exit_fail_msg("no memory\n");
	if (nr_nodes > 1 && test->nodes > 1 && !move_to(&area, nodes[0]))
		ksft_exit_fail_msg("move_pages: %s\n", strerror(errno));
	*moved = move_in_use(&area, test, &stale);
	ksft_print_msg("%s: %zu of %zu pages moved, %zu still accessed at the source page\n",
		       test->name, *moved, area.nr, stale);
	if (test->all && *moved < area.nr)
		stale++;
	free(area.pfns);
	munmap(area.mem, area.len);
	return !stale;
}

static void run(const struct test *test)
{
	const size_t enough = test->all ? 1 : MIN_COMPACTED;
	size_t moved = 0;
	int round, ok = 1;

	if (nr_nodes < test->nodes) {
		ksft_test_result_code(KSFT_SKIP, test->name,
				      "needs %d nodes with memory, has %d",
				      test->nodes, nr_nodes);
		return;
	}
	/* Compacted memory may not move again, so each round maps new memory. */
	for (round = 1; ok == 1 && moved < enough && round <= NR_ROUNDS; round++) {
		if (round > 1)
			ksft_print_msg("try %d of %d: too few pages of %s moved\n",
				       round, NR_ROUNDS, test->name);
		ok = try_once(test, &moved);
	}
	if (ok < 0)
		ksft_test_result_code(KSFT_SKIP, test->name,
				      "no huge page could be allocated");
	else
		ksft_test_result(ok && moved >= enough, "%s\n", test->name);
}

static const struct test tests[] = {
	{ "move_pages: anon", map_anon, move_pages_there, 2, true },
	{ "move_pages: memfd", map_memfd, move_pages_there, 2, true },
	{ "move_pages: PMD THP", map_huge, move_pages_there, 2, true },
	{ "move_pages: THP of PTEs", map_huge_ptes, move_pages_there, 2, true },
	{ "compaction: anon", map_scattered, compact, 1, false },
};

/* Find the first two nodes with memory. The file looks like "0,2-3". */
static void find_nodes(void)
{
	FILE *file = fopen(NODES_FILE, "r");
	int from, to, c = ',';

	nr_nodes = 0;
	while (file && c == ',' && fscanf(file, "%d", &from) == 1) {
		to = from;
		c = fgetc(file);
		if (c == '-' && fscanf(file, "%d", &to) == 1)
			c = fgetc(file);
		for (; from <= to && nr_nodes < 2; from++)
			nodes[nr_nodes++] = from;
	}
	if (file)
		fclose(file);
	if (!nr_nodes)
		nr_nodes = 1;
}

/* Run on one CPU, so that no other CPU has TLB entries of this task to flush. */
static void stay_on_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		ksft_exit_fail_msg("sched_setaffinity: %s\n", strerror(errno));
}

int main(void)
{
	size_t i;

	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("needs root, for page frame numbers\n");
	ksft_set_plan(ARRAY_SIZE(tests));
	page_size = getpagesize();
	mem_fd = open("/proc/self/mem", O_RDWR);
	pagemap_fd = open("/proc/self/pagemap", O_RDONLY);
	if (mem_fd < 0 || pagemap_fd < 0)
		ksft_exit_fail_msg("no /proc/self/mem or pagemap\n");
	find_nodes();
	stay_on_cpu();
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		run(&tests[i]);
	ksft_finished();
}
