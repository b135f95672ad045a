// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of memory that is written out, dropped or swapped out because it cannot be
 * migrated:
 *
 *  - dirty files whose file system has no migrate_folio()
 *  - files with private data that migrate_folio() does not move
 *  - anonymous memory, if the nodes that its policy or cpuset allows are full
 *
 * System calls and cpusets move the memory. The tests check the contents and the
 * node of each page, and the contents of the disk. Other tests check that compaction
 * and reclaim do none of this.
 *
 * Today each file system that writes files back has migrate_folio(). So the tests
 * use the file system lib/tests/migrate_fs.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate_lib.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif

#ifndef SYS_memfd_secret
#define SYS_memfd_secret	447
#endif

#define KB		1024UL
#define MB		(1024 * KB)
#define LEN		(256 * KB)
#define BIT_OF(node)	(1UL << (node))
#define SWITCH		"/proc/sys/vm/migrate_resort"
#define WRITES		"/sys/kernel/debug/migrate_fs/writes"
#define COMPACT		"/proc/sys/vm/compact_memory"
#define GROUP		"writeout"
#define ZRAM		"/sys/block/zram0"

/* Seconds. A system call that does not wait for a disk takes less. */
#define A_LONG_TIME	10

/* Seconds. A cpuset waits less for a disk, for each pair of nodes. */
#define MOVE_SECONDS	100

/* fill_node() leaves about ROOM free on a node. TOO_MUCH does not fit there. */
#define ROOM		(16 * MB)
#define TOO_MUCH	(64 * MB)

/*
 * Swap space for a part of TOO_MUCH. It must be larger than the tmpfs pages on MIG_B,
 * for example those of an initramfs, because reclaim swaps them out first.
 */
#define LITTLE		(24 * MB)

/* A file is written in pieces, and other memory is allocated before each of them. */
#define PIECES		16
#define PIECE		(256 * KB)
#define BETWEEN		(3 * MB)
#define SPREAD		(PIECES * PIECE)

/* Memory limit of a zram disk. A small part of TOO_MUCH uses it up. */
#define SMALL		MB

static size_t nr_pages(void)
{
	return LEN / mig_psize;
}

static long bind_to(void *mem, size_t len, int node, int flags)
{
	return mig_mbind(mem, len, MIG_MPOL_BIND, BIT_OF(node),
			 MIG_MF_MOVE | flags);
}

/* The counters are those of the whole machine, so it should be idle otherwise. */
static void expect_counted(const char *name, long before, long want)
{
	long got = mig_vmstat(name) - before;

	got += mig_breaks(MIG_BREAK_COUNT);
	mig_check(got == want, "%s went up by %ld, not %ld", name, got, want);
}

/* Drop the page cache of the file, and check the contents of the disk. */
static void expect_on_disk(int fd, char *mem, size_t len)
{
	char *again;

	mig_check(!fsync(fd), "fsync: %m");
	munmap(mem, len);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	again = mig_map(len, PROT_READ, MAP_SHARED, fd);
	mig_spoil_byte(again, len);
	mig_check(mig_verify(again, len, 1) == len,
		  "the contents on the disk are wrong");
}

/*
 * Written out
 */

static void move_by_mbind(char *mem, long rest)
{
	mig_expect_errno(bind_to(mem, LEN, MIG_B, MIG_MF_STRICT), 0);
}

static void move_by_migrate_pages(char *mem, long rest)
{
	long left = mig_migrate_pages(0, BIT_OF(MIG_A), BIT_OF(MIG_B));

	left += mig_breaks(MIG_BREAK_STATUS);
	mig_check(left == rest, "migrate_pages returned %ld, not %ld", left, rest);
}

static void move_by_move_pages(char *mem, long rest)
{
	mig_must_move_to(mem, LEN, MIG_B);
}

/* For a cpuset, the flusher threads write the folios. */
static void move_by_cpuset(char *mem, long rest)
{
	char dir[128];

	mig_enter_cgroup(dir, sizeof(dir), GROUP, "+cpuset");
	mig_set_mem(dir, MIG_A);
	mig_expect_on(mem, LEN, MIG_A);
	mig_set_mem(dir, MIG_B);
}

/**
 * struct way - a system call or a cpuset that moves memory
 * @move: moves @mem from MIG_A to MIG_B; @rest is the number of other pages that
 *	migrate_pages(2) does not move
 */
struct way {
	void (*move)(char *mem, long rest);
};

static void written(const void *arg)
{
	const struct way *way = arg;
	long rest = mig_nr_unmovable(0, BIT_OF(MIG_A), BIT_OF(MIG_B));
	int fd = mig_fs_file();
	char *mem = mig_fs_dirty(fd, LEN, MIG_A);
	long before = mig_vmstat("pgmigrate_writeout");

	way->move(mem, rest);
	expect_counted("pgmigrate_writeout", before, nr_pages());
	mig_expect_on(mem, LEN, MIG_B);
	expect_on_disk(fd, mem, LEN);
}

static void move_to(void *mem, int node)
{
	mig_fill(mem, LEN, 1);
	mig_expect_errno(bind_to(mem, LEN, node, MIG_MF_STRICT), 0);
}

/* With @arg, each write ends with this errno. */
static void no_leak(const void *arg)
{
	char *mem = mig_fs_dirty(mig_fs_file(), LEN, MIG_A);

	if (arg)
		mig_fs_set("late_error", arg);
	mig_check_loss(move_to, mem);
	mig_expect_on(mem, LEN, MIG_A);
}

/* If vm.migrate_resort is 0, mbind(2) fails. No page is written or moved. */
static void not_written(const void *arg)
{
	int fd = mig_fs_file();
	char *mem = mig_fs_dirty(fd, LEN, MIG_A);
	long before = mig_vmstat("pgmigrate_writeout");

	mig_must_set(SWITCH, "0");
	mig_expect_errno(bind_to(mem, LEN, MIG_B, MIG_MF_STRICT), EIO);
	expect_counted("pgmigrate_writeout", before, 0);
	mig_expect_on(mem, LEN, MIG_A);
	expect_on_disk(fd, mem, LEN);
}

/* With @arg, folios that could not be written become dirty again. */
static void disk_fails(const void *arg)
{
	int fd = mig_fs_file();
	char *mem = mig_fs_dirty(fd, LEN, MIG_A);

	mig_fs_set("error", "5");
	mig_fs_set("keep_dirty", arg ? "Y" : "N");
	mig_expect_errno(bind_to(mem, LEN, MIG_B, MIG_MF_STRICT), EIO);
	mig_expect_on(mem, LEN, MIG_A);
	mig_expect_errno(fsync(fd), EIO);

	mig_fs_set("error", "0");
	mig_expect_errno(bind_to(mem, LEN, MIG_B, MIG_MF_STRICT), 0);
	mig_expect_on(mem, LEN, MIG_B);
	/* Folios that are clean after the error are not written when they move. */
	if (!arg)
		mig_fill(mem, LEN, 1);
	expect_on_disk(fd, mem, LEN);
}

/*
 * The disk accepts all folios, and fails later. They are clean then, so they are
 * moved. fsync(2) reports the error once.
 */
static void disk_fails_late(const void *arg)
{
	int fd = mig_fs_file();
	char *mem = mig_fs_dirty(fd, LEN, MIG_A);
	long before = mig_vmstat("pgmigrate_writeout");

	mig_fs_set("late_error", "5");
	mig_check(!bind_to(mem, LEN, MIG_B, MIG_MF_STRICT), "mbind: %m");
	expect_counted("pgmigrate_writeout", before, nr_pages());
	mig_expect_on(mem, LEN, MIG_B);

	mig_fs_set("late_error", "0");
	mig_expect_errno(fsync(fd), EIO);
	mig_expect_errno(fsync(fd), 0);
	/* The disk does not have the data. Have it written again. */
	mig_fill(mem, LEN, 1);
	expect_on_disk(fd, mem, LEN);
}

static bool ends_within(pid_t pid, double seconds)
{
	double end = mig_seconds() + seconds;

	while (mig_seconds() < end) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		usleep(10000);
	}
	return false;
}

/*
 * A task that waits for a stalled disk can be killed. With @arg, the writeback has
 * been started before the move.
 */
static void disk_stalls(const void *arg)
{
	int fd = mig_fs_file();
	char *mem = mig_fs_dirty(fd, LEN, MIG_A);
	bool ended, waited;
	pid_t pid;

	mig_fs_set("stall", "Y");
	if (arg)
		mig_check(!sync_file_range(fd, 0, LEN, SYNC_FILE_RANGE_WRITE),
			  "sync_file_range: %m");
	pid = fork();
	mig_check(pid >= 0, "fork: %m");
	if (!pid) {
		/* mbind(2) moves only pages that the child has accessed itself. */
		mig_sum(mem, LEN);
		bind_to(mem, LEN, MIG_B, MIG_MF_STRICT | MIG_MF_MOVE_ALL);
		_exit(0);
	}
	waited = !ends_within(pid, 1);
	kill(pid, SIGKILL);
	ended = !waited || ends_within(pid, A_LONG_TIME * mig_patience());
	mig_fs_set("stall", "N");
	mig_check(waited, "mbind did not wait for the disk");
	mig_check(ended, "the task that called mbind could not be killed");
	mig_expect_on(mem, LEN, MIG_A);
	expect_on_disk(fd, mem, LEN);
}

/**
 * struct member - a process in a control group
 * @label: the name of the group
 * @mem: memory that it uses
 * @dir: path of the group
 */
struct member {
	const char *label;
	char *mem;
	char dir[128];
};

/* A cpuset moves only pages that the process has accessed, so access all of them. */
static void enter(void *arg)
{
	struct member *member = arg;

	mig_enter_cgroup(member->dir, sizeof(member->dir), member->label, "+cpuset");
	mig_set_mem(member->dir, MIG_A);
	mig_sum(member->mem, LEN);
}

/* Start a process that changes the nodes of a group and waits for the move. */
static pid_t move_group(const char *label)
{
	char dir[128];
	pid_t pid;

	mig_cgroup_dir(dir, sizeof(dir), label);
	pid = fork();
	mig_check(pid >= 0, "fork: %m");
	if (!pid) {
		mig_set_mem(dir, MIG_B);
		_exit(0);
	}
	return pid;
}

/*
 * The disk stalls for one cpuset. Its memory does not move. The memory of another
 * cpuset moves after a while.
 */
static void cpuset_stalls(const void *arg)
{
	int fd = mig_fs_file();
	struct member stuck = { "stuck", mig_fs_dirty(fd, LEN, MIG_A) };
	struct member other = { "other", mig_anon_on(LEN, MIG_A) };
	pid_t first = mig_holder(enter, &stuck), second, one, two;
	bool waited, ended;

	second = mig_holder(enter, &other);
	mig_fs_set("stall", "Y");
	one = move_group(stuck.label);
	waited = !ends_within(one, 1);
	two = move_group(other.label);
	ended = ends_within(two, MOVE_SECONDS * mig_patience());
	mig_fs_set("stall", "N");
	mig_check(waited, "the first move did not wait for the disk");
	mig_check(ended, "the second move waits for the disk of the first");
	mig_check(ends_within(one, A_LONG_TIME * mig_patience()), "the first move waits still");
	mig_expect_on(stuck.mem, LEN, MIG_A);
	mig_expect_on(other.mem, LEN, MIG_B);
	expect_on_disk(fd, stuck.mem, LEN);
	mig_end_holder(first);
	mig_end_holder(second);
}

/**
 * struct scribe - a thread that writes to memory while it moves
 * @mem: the memory
 * @round: the value that was last written to each page
 * @stop: the thread must stop
 */
struct scribe {
	char *mem;
	uint64_t round;
	bool stop;
};

static void *write_on(void *arg)
{
	struct scribe *scribe = arg;
	size_t i;

	while (!__atomic_load_n(&scribe->stop, __ATOMIC_RELAXED)) {
		scribe->round++;
		for (i = 0; i < LEN; i += mig_psize)
			__atomic_store_n((uint64_t *)(scribe->mem + i),
					 scribe->round, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* A thread writes to the memory. Pages may fail to move, but no write is lost. */
static void written_to(const void *arg)
{
	int i, fd = mig_fs_file();
	struct scribe scribe = { .mem = mig_fs_dirty(fd, LEN, MIG_A) };
	long before = mig_vmstat("pgmigrate_writeout");
	size_t lost = 0, at;
	pthread_t thread;

	mig_check(!pthread_create(&thread, NULL, write_on, &scribe),
		  "pthread_create failed");
	for (i = 0; i < 50; i++)
		bind_to(scribe.mem, LEN, i % 2 ? MIG_A : MIG_B, 0);
	__atomic_store_n(&scribe.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	before += mig_breaks(MIG_BREAK_COUNT) << 30;
	mig_check(mig_vmstat("pgmigrate_writeout") > before, "no page was written");
	mig_spoil_byte(scribe.mem, LEN);
	for (at = 0; at < LEN; at += mig_psize)
		lost += *(uint64_t *)(scribe.mem + at) != scribe.round;
	mig_check(!lost, "%zu pages have lost a write", lost);
}

/*
 * Dropped
 */

/*
 * New files have migrate_folio(), which does not move their private data. If @busy is
 * true, it returns -EAGAIN, as if the data were in use.
 */
static void use_private(bool busy)
{
	mig_fs_set("method", "Y");
	mig_fs_set("private", "Y");
	mig_fs_set("busy", busy ? "Y" : "N");
}

/* Memory of a clean file with private data. */
static char *clean_private(bool busy)
{
	char *mem;
	int fd;

	use_private(busy);
	fd = mig_fs_file();
	mem = mig_fs_dirty(fd, LEN, MIG_A);
	mig_check(!fsync(fd), "fsync: %m");
	return mem;
}

static void dropped(const void *arg)
{
	const struct way *way = arg;
	long rest = mig_nr_unmovable(0, BIT_OF(MIG_A), BIT_OF(MIG_B));
	char *mem = clean_private(false);
	long before = mig_vmstat("pgmigrate_drop");
	size_t i;

	way->move(mem, rest);
	expect_counted("pgmigrate_drop", before, nr_pages());
	for (i = 0; i < LEN; i += mig_psize)
		mig_check(!(mig_pagemap(mem + i) & MIG_PM_PRESENT),
			  "page %zu is still there", i / mig_psize);

	mig_alloc_on(MIG_B);
	mig_sum(mem, LEN);
	mig_alloc_anywhere();
	mig_expect_on(mem, LEN, MIG_B);
}

/* move_pages(2) must report a node for each page, so it leaves them where they are. */
static void not_dropped_by_move_pages(const void *arg)
{
	char *mem = clean_private(arg);
	int *status = calloc(nr_pages(), sizeof(*status));
	long before = mig_vmstat("pgmigrate_drop"), ret;
	size_t i;

	mig_must_set(SWITCH, "7");
	ret = mig_move_to(mem, LEN, MIG_B, MIG_MF_MOVE_ALL, status);
	ret += mig_breaks(MIG_BREAK_STATUS);
	mig_check(ret == (long)nr_pages(), "move_pages returned %ld", ret);
	for (i = 0; i < nr_pages(); i++)
		mig_check(status[i] == -EBUSY, "page %zu: %d", i, status[i]);
	expect_counted("pgmigrate_drop", before, 0);
	mig_expect_on(mem, LEN, MIG_A);
	free(status);
}

/*
 * An mlocked folio is not dropped, nor is one that may be in use. With private data it
 * does not move either.
 */
static void not_dropped(const void *busy)
{
	char *mem = clean_private(busy);
	long before = mig_vmstat("pgmigrate_drop");

	mig_check(busy || !mlock(mem, LEN), "mlock: %m");
	mig_expect_errno(bind_to(mem, LEN, MIG_B, MIG_MF_STRICT), EIO);
	expect_counted("pgmigrate_drop", before, 0);
	mig_expect_on(mem, LEN, MIG_A);
}

/*
 * Swapped out
 */

/*
 * Reclaim on the target node would swap out pages that have moved there, and the
 * node would never be full. Reclaim does not take memory that memory.min protects.
 */
static void forbid_reclaim(void)
{
	char dir[128], path[256];

	mig_enter_cgroup(dir, sizeof(dir), GROUP, "+memory");
	snprintf(path, sizeof(path), "%s/memory.min", dir);
	if (mig_write(path, "max"))
		mig_skip("no memory.min");
}

static void take_from(int node, size_t len)
{
	char *mem = mig_map(len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);

	/* Huge pages take less time. */
	madvise(mem, len, MADV_HUGEPAGE);
	mig_mbind(mem, len, MIG_MPOL_BIND, BIT_OF(node), 0);
	if (mlock(mem, len))
		mig_skip("mlock of %zu MiB: %m", len / MB);
}

/*
 * The per-CPU lists may have tens of MiB that can be allocated, but do not count as
 * free. Each write to stat_refresh shrinks the lists by an eighth.
 */
static void empty_lists_of_cpus(void)
{
	int i;

	mig_set("/proc/sys/vm/percpu_pagelist_high_fraction", "100000");
	for (i = 0; i < 40; i++)
		mig_write("/proc/sys/vm/stat_refresh", "1");
}

/*
 * Leave only about ROOM free on a node. Reclaim cannot take the memory that fills
 * the node. Each step takes half of the rest, because page tables and other users
 * also take some of it.
 */
static void fill_node(int node)
{
	size_t left;

	mig_set("/proc/sys/vm/min_free_kbytes", "8192");
	/* Otherwise the boost would change when huge pages are allocated. */
	mig_set("/proc/sys/vm/watermark_boost_factor", "0");
	mig_write("/proc/sys/vm/drop_caches", "1");
	empty_lists_of_cpus();
	for (;;) {
		left = mig_node_free(node);
		if (left <= ROOM + MB)
			return;
		take_from(node, (left - ROOM) / 2 / mig_psize * mig_psize);
	}
}

/* The number of pages that reclaim has scanned. */
static long nr_scanned(void)
{
	return mig_vmstat("pgscan_kswapd") + mig_vmstat("pgscan_direct");
}

/*
 * The target node is full: memory and clean page cache fill it. Reclaim must free page
 * cache before the file can move there.
 */
static void written_under_pressure(const void *arg)
{
	const size_t len = ROOM / 2;
	int fd = mig_fs_file(), cache;
	long scanned;
	char path[256], *mem;

	mem = mig_fs_dirty(fd, len, MIG_A);
	cache = mig_ext4_file(path, 2 * ROOM);
	fill_node(MIG_B);
	mig_alloc_on(MIG_B);
	mig_read_all(cache, 2 * ROOM);
	mig_alloc_anywhere();
	scanned = nr_scanned();

	/*
	 * Reclaim may fail to free enough pages, so some pages may stay. It also wakes
	 * the flusher, which writes the file at the same time. No write may be lost.
	 */
	if (bind_to(mem, len, MIG_B, MIG_MF_STRICT))
		mig_expect_errno(-1, EIO);
	mig_check(nr_scanned() > scanned, "reclaim scanned no pages");
	mig_check(mig_count_on(mem, len, MIG_B), "no page has moved");
	expect_on_disk(fd, mem, len);
}

static void need_swap(void)
{
	if (mig_meminfo("SwapFree") < (long)(2 * TOO_MUCH / KB))
		mig_skip("not enough swap space");
}

/* Make memory on MIG_A that does not fit on MIG_B. There is enough swap space. */
static char *too_much(void)
{
	char *mem;

	need_swap();
	forbid_reclaim();
	mem = mig_anon_on(TOO_MUCH, MIG_A);
	fill_node(MIG_B);
	return mem;
}

static size_t nr_on(char *mem, int node)
{
	return mig_count_on(mem, TOO_MUCH, node) + mig_breaks(MIG_BREAK_NODE);
}

static size_t nr_in_swap(char *mem)
{
	size_t i, nr = 0;

	for (i = 0; i < TOO_MUCH; i += mig_psize)
		nr += !!(mig_pagemap(mem + i) & MIG_PM_SWAP);
	return nr;
}

/* Without a policy, pages can be swapped in on any node. */
static void expect_contents(char *mem)
{
	mig_mbind(mem, TOO_MUCH, MIG_MPOL_DEFAULT, 0, 0);
	mig_spoil_byte(mem, TOO_MUCH);
	mig_check(mig_verify(mem, TOO_MUCH, 1) == TOO_MUCH, "contents changed");
}

/* No page has stayed on MIG_A, and some pages are in swap. */
static void expect_swapped_out(char *mem, long before)
{
	size_t stayed = nr_on(mem, MIG_A);
	long counted = mig_vmstat("pgmigrate_swapout") - before;

	mig_check(!stayed, "%zu pages stayed on node %d", stayed, MIG_A);
	mig_check(nr_in_swap(mem), "nothing is in swap");
	mig_check((counted > 0) != mig_breaks(MIG_BREAK_COUNT),
		  "pgmigrate_swapout went up by %ld", counted);
}

static void swapped_out(const void *arg)
{
	char *mem = too_much();
	long before = mig_vmstat("pgmigrate_swapout");

	mig_must_set(SWITCH, "7");
	mig_expect_errno(bind_to(mem, TOO_MUCH, MIG_B, MIG_MF_STRICT), 0);
	expect_swapped_out(mem, before);
	expect_contents(mem);
}

/* THPs are split. The base pages that find no free memory are swapped out. */
static void split_thp_swapped_out(const void *arg)
{
	const size_t size = mig_pmd_size();
	long before, split;
	char *mem;

	if (!size)
		mig_skip("no transparent huge pages");
	need_swap();
	forbid_reclaim();
	mig_must_set(SWITCH, "7");
	mem = mig_thp_on(TOO_MUCH, size / KB, MIG_A);
	fill_node(MIG_B);
	before = mig_vmstat("pgmigrate_swapout");
	split = mig_vmstat("thp_migration_split");

	mig_expect_errno(bind_to(mem, TOO_MUCH, MIG_B, MIG_MF_STRICT), 0);
	expect_swapped_out(mem, before);
	mig_check(mig_vmstat("thp_migration_split") > split, "no THP was split");
	expect_contents(mem);
}

/*
 * MADV_PAGEOUT starts to write the pages to swap, and the test writes to them again.
 * mbind(2) to a full node must wait for the first writeback before it starts another
 * one. The disk takes an unknown time, so the test repeats this.
 */
static void swapped_out_twice(const void *arg)
{
	char *mem = too_much();
	long before;
	int i;

	mig_must_set(SWITCH, "7");
	for (i = 0; i < 3; i++) {
		before = mig_vmstat("pgmigrate_swapout");
		before += mig_breaks(MIG_BREAK_COUNT) << 30;
		mig_expect_errno(madvise(mem, TOO_MUCH, MADV_PAGEOUT), 0);
		mig_fill(mem, TOO_MUCH, 1);
		bind_to(mem, TOO_MUCH, MIG_B, 0);
		mig_check(mig_vmstat("pgmigrate_swapout") > before,
			  "no page was swapped out in round %d", i);
		expect_contents(mem);
	}
}

/* By default vm.migrate_resort does not allow folios to be swapped out. */
static void not_swapped_out(const void *arg)
{
	char *mem = too_much();
	long before = mig_vmstat("pgmigrate_swapout");

	mig_expect_errno(bind_to(mem, TOO_MUCH, MIG_B, MIG_MF_STRICT), EIO);
	expect_counted("pgmigrate_swapout", before, 0);
	mig_check(mig_count_on(mem, TOO_MUCH, MIG_A),
		  "all pages fit on the target node");
	expect_contents(mem);
}

/*
 * Other swap space
 */

/* Turn off all swap space until the end of the case, which may add its own. */
static void swap_off(void)
{
	FILE *file = fopen("/proc/swaps", "re");
	char line[512], path[256];

	while (file && fgets(line, sizeof(line), file)) {
		if (*line != '/' || sscanf(line, "%255s", path) != 1)
			continue;
		mig_on_end_swapon(path);
		if (swapoff(path))
			mig_skip("swapoff of %s: %m", path);
	}
	if (file)
		fclose(file);
}

/* Do the same as mkswap(8) and swapon(8). */
static void swap_on(const char *path, size_t len)
{
	char *page = mig_map(mig_psize, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1);
	/* The version and the last page. They follow 1024 bytes for boot loaders. */
	const uint32_t header[] = { 1, len / mig_psize - 1 };
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	memcpy(page + 1024, header, sizeof(header));
	memcpy(page + mig_psize - 10, "SWAPSPACE2", 10);
	if (fd < 0 || pwrite(fd, page, mig_psize, 0) != (ssize_t)mig_psize || fsync(fd))
		mig_skip("%s: %m", path);
	close(fd);
	munmap(page, mig_psize);
	mig_on_end_swapoff(path);
	if (swapon(path, 0))
		mig_skip("swapon of %s: %m", path);
}

/*
 * The pages that were swapped out fit in @room. The others have stayed. If a write
 * to the disk has failed, the page is not mapped until the next access. So this
 * counts after expect_contents() has read all pages.
 */
static void expect_little_swapped_out(char *mem, size_t room, long before)
{
	long counted = mig_vmstat("pgmigrate_swapout") - before;
	size_t stayed;

	counted += mig_breaks(MIG_BREAK_COUNT) * TOO_MUCH;
	mig_check(counted <= (long)(room / mig_psize),
		  "pgmigrate_swapout counts %ld pages, more than fit into swap",
		  counted);
	expect_contents(mem);
	stayed = mig_count_on(mem, TOO_MUCH, MIG_A);
	mig_check(stayed > TOO_MUCH / mig_psize / 4, "only %zu pages stayed", stayed);
}

/* Without swap space no page is swapped out. With LITTLE of it, some pages are. */
static void swap_full(const void *arg)
{
	char dir[128], path[256], *mem;
	long before;
	size_t nr;

	if (!mig_ext4_dir(dir, sizeof(dir)))
		mig_skip("no ext4 mounted and MIGRATE_EXT4 not set");
	mig_must_set(SWITCH, "7");
	mem = too_much();
	before = mig_vmstat("pgmigrate_swapout");
	swap_off();
	mig_expect_errno(bind_to(mem, TOO_MUCH, MIG_B, MIG_MF_STRICT), EIO);
	expect_counted("pgmigrate_swapout", before, 0);
	mig_check(!nr_in_swap(mem), "pages are in swap without swap space");
	expect_little_swapped_out(mem, 0, before);

	close(mig_ext4_file(path, LITTLE));
	swap_on(path, LITTLE);
	mig_expect_errno(bind_to(mem, TOO_MUCH, MIG_B, MIG_MF_STRICT), EIO);
	nr = nr_in_swap(mem);
	mig_check(nr && nr < LITTLE / mig_psize, "%zu pages are in swap", nr);
	expect_little_swapped_out(mem, LITTLE, before);
}

/* The number of failed writes of the disk is the second number in io_stat. */
static long nr_failed_writes(void)
{
	char text[128];
	long nr;

	mig_check(mig_read(ZRAM "/io_stat", text, sizeof(text)) > 0 &&
		  sscanf(text, "%*d %ld", &nr) == 1, "no " ZRAM "/io_stat");
	return nr;
}

/* The disk is not full, but writes fail after it has used up its memory. */
static void swap_fails(const void *arg)
{
	char *mem;
	long before;

	if (access(ZRAM, F_OK))
		mig_skip("no zram device");
	if (mig_read_long(ZRAM "/disksize"))
		mig_skip("zram0 is in use");
	mig_must_set(SWITCH, "7");
	mem = too_much();
	before = mig_vmstat("pgmigrate_swapout");
	swap_off();
	mig_on_end_write(ZRAM "/reset", "1");
	mig_write_number(ZRAM "/disksize", 2 * TOO_MUCH);
	mig_write_number(ZRAM "/mem_limit", SMALL);
	swap_on("/dev/zram0", 2 * TOO_MUCH);

	mig_expect_errno(bind_to(mem, TOO_MUCH, MIG_B, MIG_MF_STRICT), EIO);
	mig_check(nr_failed_writes() > 0, "the disk has not failed");
	expect_little_swapped_out(mem, SMALL, before);
}

/*
 * Which memory may be swapped out
 */

static void fill_b(void *unused)
{
	fill_node(MIG_B);
}

/*
 * Map a file that must move as well. Memory that is mapped later has lower addresses
 * and moves first, so the target node is full before the file moves. Files are not
 * swapped out. This must not keep other memory from being swapped out.
 */
static char *file_behind(void)
{
	char path[256], *file;
	int fd = mig_ext4_file(path, LEN);

	mig_alloc_on(MIG_A);
	file = mig_map(LEN, PROT_READ, MAP_PRIVATE, fd);
	mig_verify(file, LEN, 1);
	mig_alloc_anywhere();
	close(fd);
	return file;
}

/*
 * A cpuset forbids a node as a policy does, but it cannot report an error. The
 * process that fills the other node is not in the cpuset. Otherwise its memory would
 * move, too.
 */
static void bound_by_cpuset(const void *arg)
{
	char dir[128], text[128], nodes[16], *mem, *file;
	pid_t filler;
	long before;

	need_swap();
	if (mig_read("/sys/fs/cgroup/cgroup.controllers", text, sizeof(text)) <= 0 ||
	    !strstr(text, "memory"))
		mig_skip("no memory cgroups: the kernel cannot find the cpuset of the memory");
	mig_must_set(SWITCH, "7");
	filler = mig_holder(fill_b, NULL);
	forbid_reclaim();
	mig_enter_cgroup(dir, sizeof(dir), GROUP, "+cpuset");
	mig_set_mem(dir, MIG_A);
	/* The process needs its stack, which could not be swapped in again. */
	mig_check(!mlockall(MCL_CURRENT), "mlockall: %m");
	file = file_behind();
	mem = mig_anon_on(TOO_MUCH, MIG_A);
	mig_check(mem < file, "the file does not come last");
	before = mig_vmstat("pgmigrate_swapout");

	mig_set_mem(dir, MIG_B);
	expect_swapped_out(mem, before);
	/* MIG_B has no free memory to swap in the pages. */
	snprintf(nodes, sizeof(nodes), "%d,%d", MIG_A, MIG_B);
	mig_set_mems(dir, nodes);
	expect_contents(mem);
	mig_check(mig_verify(file, LEN, 1) == LEN, "the file changed");
	mig_end_holder(filler);
}

/* Set a policy, but leave the memory on MIG_A, which the policy does not allow. */
static void misplace(char *mem, size_t len)
{
	mig_check(!mig_mbind(mem, len, MIG_MPOL_BIND, BIT_OF(MIG_B), 0), "mbind: %m");
}

/*
 * An earlier mbind(2) has set the policy. Another page has none. Its address is higher,
 * so it is tried last. It stays, and the call fails.
 */
static void swapped_out_by_migrate_pages(const void *arg)
{
	char *last = mig_map(mig_psize, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *mem = too_much();
	long before = mig_vmstat("pgmigrate_swapout");

	mig_check(mem < last, "the page without a policy does not come last");
	mig_must_set(SWITCH, "7");
	misplace(mem, TOO_MUCH);
	mig_alloc_on(MIG_A);
	mig_fill(last, mig_psize, 1);
	mig_alloc_anywhere();

	mig_expect_errno(mig_migrate_pages(0, BIT_OF(MIG_A), BIT_OF(MIG_B)), ENOMEM);
	expect_swapped_out(mem, before);
	mig_check(mig_node_of(last) == MIG_A, "the page without a policy is gone");
	mig_check(mig_verify(last, mig_psize, 1) == mig_psize, "its contents changed");
	expect_contents(mem);
}

/* move_pages(2) must not swap out. mbind(2) swaps out the same memory afterwards. */
static void not_swapped_out_by_move_pages(const void *arg)
{
	char *mem = too_much();
	long before = mig_vmstat("pgmigrate_swapout"), ret;
	size_t there;

	mig_must_set(SWITCH, "7");
	misplace(mem, TOO_MUCH);
	ret = mig_move_to(mem, TOO_MUCH, MIG_B, MIG_MF_MOVE_ALL, NULL);
	errno = -ret;
	mig_expect_errno(ret, ENOMEM);
	expect_counted("pgmigrate_swapout", before, 0);
	there = nr_on(mem, MIG_A) + mig_count_on(mem, TOO_MUCH, MIG_B);
	mig_check(there == TOO_MUCH / mig_psize,
		  "only %zu pages are on the two nodes", there);

	mig_check(!bind_to(mem, TOO_MUCH, MIG_B, MIG_MF_STRICT), "mbind: %m");
	expect_swapped_out(mem, before);
	expect_contents(mem);
}

/* migrate_pages(2) sets no policy, so memory may stay on MIG_A. */
static void not_bound(const void *arg)
{
	char *mem = too_much();
	long before = mig_vmstat("pgmigrate_swapout");

	mig_must_set(SWITCH, "7");
	mig_expect_errno(mig_migrate_pages(0, BIT_OF(MIG_A), BIT_OF(MIG_B)), ENOMEM);
	expect_counted("pgmigrate_swapout", before, 0);
	expect_contents(mem);
}

/* Secret memory does not move, whether the target node has free memory or not. */
static void not_secret(const void *arg)
{
	int fd = syscall(SYS_memfd_secret, 0);
	char *mem, *secret;
	long before, dropped;

	if (fd < 0)
		mig_skip("memfd_secret: %m");
	mig_check(!ftruncate(fd, LEN), "ftruncate: %m");
	secret = mig_map(LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	mig_alloc_on(MIG_A);
	mig_fill(secret, LEN, 1);
	mig_alloc_anywhere();

	before = mig_vmstat("pgmigrate_swapout");
	dropped = mig_vmstat("pgmigrate_drop");
	mig_must_set(SWITCH, "7");
	mig_expect_errno(bind_to(secret, LEN, MIG_B, MIG_MF_STRICT), EIO);
	mem = too_much();
	mig_must_set(SWITCH, "3");
	mig_expect_errno(bind_to(mem, TOO_MUCH, MIG_B, MIG_MF_STRICT), EIO);
	mig_must_set(SWITCH, "7");
	mig_expect_errno(bind_to(secret, LEN, MIG_B, MIG_MF_STRICT), EIO);
	expect_counted("pgmigrate_swapout", before, 0);
	expect_counted("pgmigrate_drop", dropped, 0);
	mig_expect_on(secret, LEN, MIG_A);
	expect_contents(mem);
}

static void not_mlocked(const void *arg)
{
	char *mem = too_much();
	long before = mig_vmstat("pgmigrate_swapout");

	mig_must_set(SWITCH, "7");
	mig_check(!mlock(mem, TOO_MUCH), "mlock: %m");
	mig_expect_errno(bind_to(mem, TOO_MUCH, MIG_B, MIG_MF_STRICT), EIO);
	expect_counted("pgmigrate_swapout", before, 0);
	mig_check(!nr_in_swap(mem), "mlocked memory is in swap");
	expect_contents(mem);
}

static void not_pinned(const void *arg)
{
	char *mem = too_much(), *pinned = mem + TOO_MUCH - LEN;
	int pin = mig_pin(pinned, LEN);
	size_t left;

	mig_must_set(SWITCH, "7");
	mig_expect_errno(bind_to(mem, TOO_MUCH, MIG_B, MIG_MF_STRICT), EIO);
	left = nr_pages() - mig_count_on(pinned, LEN, MIG_A) + mig_breaks(MIG_BREAK_NODE);
	mig_check(!left, "%zu pinned pages were moved or swapped out", left);
	mig_unpin(pin);
	expect_contents(mem);
}

/*
 * Left alone by compaction and reclaim
 */

static const char *const counters[] = {
	"pgmigrate_writeout", "pgmigrate_drop", "pgmigrate_swapout",
};

/**
 * struct candidates - memory that system calls would write out, drop or swap out
 * @fd: a file of migrate_fs, either dirty, or clean with private data
 * @file: its memory
 * @anon: anonymous memory on a node that its policy does not allow
 * @before: the counters
 */
struct candidates {
	int fd;
	char *file;
	char *anon;
	long before[ARRAY_SIZE(counters)];
};

/*
 * Fill a file. Its page cache is spread over MIG_A, so compaction finds some of it
 * wherever it begins and ends.
 */
static char *spread_file(int fd)
{
	char *data = mig_anon_on(SPREAD, MIG_B), *mem;
	char *between = mig_map(PIECES * BETWEEN, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1);
	ssize_t put;
	size_t i;

	madvise(between, PIECES * BETWEEN, MADV_NOHUGEPAGE);
	mig_alloc_on(MIG_A);
	for (i = 0; i < PIECES; i++) {
		memset(between + i * BETWEEN, 1, BETWEEN);
		put = pwrite(fd, data + i * PIECE, PIECE, i * PIECE);
		mig_check(put == (ssize_t)PIECE, "write of the file: %m");
	}
	munmap(between, PIECES * BETWEEN);
	munmap(data, SPREAD);
	mem = mig_map(SPREAD, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	mig_sum(mem, SPREAD);
	mig_alloc_anywhere();
	return mem;
}

static void make_candidates(struct candidates *c, bool private)
{
	size_t i;

	mig_quiet();
	mig_must_set(SWITCH, "7");
	if (private)
		use_private(false);
	c->fd = mig_fs_file();
	c->file = spread_file(c->fd);
	if (private)
		mig_check(!fsync(c->fd), "fsync: %m");
	c->anon = mig_anon_on(LEN, MIG_A);
	misplace(c->anon, LEN);
	mig_drain();
	for (i = 0; i < ARRAY_SIZE(counters); i++)
		c->before[i] = mig_vmstat(counters[i]);
}

static void expect_not_counted(const struct candidates *c)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(counters); i++)
		expect_counted(counters[i], c->before[i], 0);
}

static void expect_same_contents(const struct candidates *c)
{
	mig_check(mig_verify(c->anon, LEN, 1) == LEN, "anonymous memory changed");
	mig_spoil_byte(c->file, SPREAD);
	mig_check(mig_verify(c->file, SPREAD, 1) == SPREAD, "the file changed");
	expect_on_disk(c->fd, c->file, SPREAD);
}

/*
 * This compaction waits for I/O as a system call does. It tries to move the file and
 * fails. With @arg, the file has private data.
 */
static void left_by_compaction(const void *arg)
{
	const size_t nr = SPREAD / mig_psize;
	long tried, writes, written;
	struct candidates c;
	size_t there;
	int err;

	if (access(COMPACT, F_OK))
		mig_skip("no compaction");
	make_candidates(&c, arg);
	writes = mig_read_long(WRITES);
	mig_check(writes >= 0, "cannot read " WRITES);
	tried = mig_vmstat("pgmigrate_fail");
	err = mig_write(COMPACT, "1");
	mig_check(!err, COMPACT ": %s", strerror(-err));

	expect_not_counted(&c);
	written = mig_read_long(WRITES) - writes;
	mig_check(!written, "%ld pages were written", written);
	tried = mig_vmstat("pgmigrate_fail") - tried;
	mig_check(tried > 0, "compaction tried no page");
	there = mig_count_on(c.file, SPREAD, MIG_A) - mig_breaks(MIG_BREAK_NODE);
	mig_check(there == nr, "only %zu of %zu pages are mapped", there, nr);
	expect_same_contents(&c);
}

/*
 * Reclaim writes, frees and swaps out in its own way, which is not counted here. With
 * @arg, the file has private data.
 */
static void left_by_reclaim(const void *arg)
{
	char dir[128], path[256];
	struct candidates c;
	long scanned;
	int err;

	mig_enter_cgroup(dir, sizeof(dir), GROUP, "+memory");
	snprintf(path, sizeof(path), "%s/memory.reclaim", dir);
	if (access(path, F_OK))
		mig_skip("no memory.reclaim");
	make_candidates(&c, arg);
	mig_write("/proc/sys/vm/stat_refresh", "1");
	scanned = mig_vmstat("pgscan_file");

	err = mig_write(path, "8M");
	mig_check(!err || err == -EAGAIN, "%s: %s", path, strerror(-err));
	mig_write("/proc/sys/vm/stat_refresh", "1");
	mig_check(mig_vmstat("pgscan_file") > scanned, "reclaim scanned no page of a file");
	expect_not_counted(&c);
	expect_same_contents(&c);
}

static const struct mig_case cases[] = {
	{ "written out: mbind", written, &(const struct way){ move_by_mbind } },
	{ "written out: migrate_pages", written,
	  &(const struct way){ move_by_migrate_pages } },
	{ "written out: move_pages", written,
	  &(const struct way){ move_by_move_pages } },
	{ "written out: by a cpuset", written, &(const struct way){ move_by_cpuset } },
	{ "written out: no memory leaked", no_leak },
	{ "written out: no memory leaked, disk fails late", no_leak, "5" },
	{ "written out: switched off", not_written },
	{ "written out: disk fails", disk_fails },
	{ "written out: disk fails, dirty again", disk_fails, "dirty" },
	{ "written out: disk fails late", disk_fails_late },
	{ "written out: disk stalls", disk_stalls },
	{ "written out: disk stalls, already under writeback", disk_stalls,
	  "begun" },
	{ "written out: disk of a cpuset stalls", cpuset_stalls },
	{ "written out: written to meanwhile", written_to },
	{ "written out: under memory pressure", written_under_pressure },
	{ "dropped: mbind", dropped, &(const struct way){ move_by_mbind } },
	{ "dropped: migrate_pages", dropped,
	  &(const struct way){ move_by_migrate_pages } },
	{ "dropped: by a cpuset", dropped, &(const struct way){ move_by_cpuset } },
	{ "dropped: not by move_pages", not_dropped_by_move_pages },
	{ "dropped: not by move_pages, in use", not_dropped_by_move_pages, "busy" },
	{ "dropped: not if in use", not_dropped, "busy" },
	{ "dropped: not if mlocked", not_dropped },
	{ "swapped out: no room", swapped_out },
	{ "swapped out: migrate_pages", swapped_out_by_migrate_pages },
	{ "swapped out: base pages of split THPs", split_thp_swapped_out },
	{ "swapped out: by a cpuset", bound_by_cpuset },
	{ "swapped out: written to meanwhile", swapped_out_twice },
	{ "swapped out: switched off", not_swapped_out },
	{ "swapped out: swap space missing or full", swap_full },
	{ "swapped out: disk fails", swap_fails },
	{ "swapped out: not by move_pages", not_swapped_out_by_move_pages },
	{ "swapped out: not if not bound", not_bound },
	{ "swapped out: not if mlocked", not_mlocked },
	{ "swapped out: not if secret", not_secret },
	{ "swapped out: not if pinned", not_pinned },
	{ "left by compaction: dirty file", left_by_compaction },
	{ "left by compaction: private data", left_by_compaction, "private" },
	{ "left by reclaim: dirty file", left_by_reclaim },
	{ "left by reclaim: private data", left_by_reclaim, "private" },
};

int main(int argc, char **argv)
{
	return mig_main(argc, argv, cases, ARRAY_SIZE(cases));
}
