// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of move_pages(2) as its manual page describes it: its errors, and the status
 * of every page, including pages next to pages that fail.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate_lib.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret	447
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup	425
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif

#define KB			1024UL
#define NOTHING			(-ENOMSG)
#define SOME_UID		12345
#define MAX_PAGES		1024

/**
 * struct call - the arguments and the results of one call
 * @nr: number of pages
 * @pages: addresses of the pages
 * @nodes: target node of each page
 * @status: status of each page, and one element that the kernel must not write
 * @ret: return value, or -errno
 */
struct call {
	size_t nr;
	void *pages[MAX_PAGES];
	int nodes[MAX_PAGES];
	int status[MAX_PAGES + 1];
	long ret;
};

static struct call call;

static void name(void *addr, int node)
{
	if (call.nr == MAX_PAGES)
		mig_fail("too many pages for one call");
	call.pages[call.nr] = addr;
	call.nodes[call.nr++] = node;
}

static void name_all(char *mem, size_t len, int node)
{
	size_t i;

	for (i = 0; i < len; i += mig_psize)
		name(mem + i, node);
}

static void forget_statuses(void)
{
	size_t i;

	for (i = 0; i <= MAX_PAGES; i++)
		call.status[i] = NOTHING;
}

static void issue(pid_t pid, const int *nodes, int flags)
{
	forget_statuses();
	call.ret = mig_move_pages(pid, call.nr, call.pages, nodes, call.status,
				  flags);
	if (call.ret < 0)
		call.ret = -errno;
	call.ret += mig_breaks(MIG_BREAK_STATUS);
	if (nodes && !pid && call.nr)
		mig_spoil_node(call.pages[0], mig_psize, nodes[0]);
	mig_check(call.status[call.nr] == NOTHING,
		  "wrote a status behind the last page");
}

static void move(int flags)
{
	issue(0, call.nodes, flags);
}

static void query(void)
{
	issue(0, NULL, 0);
}

static void expect_ret(long want)
{
	mig_check(call.ret == want, "returned %ld, not %ld", call.ret, want);
}

static void expect_status(size_t i, int want)
{
	mig_check(call.status[i] == want, "status[%zu] is %d, not %d", i,
		  call.status[i], want);
}

/* The page must be on its target node, and its status must say so. */
static void expect_moved(size_t i)
{
	int node = mig_node_of(call.pages[i]);

	expect_status(i, call.nodes[i]);
	mig_check(node == call.nodes[i], "page %zu is on node %d, not %d", i,
		  node, call.nodes[i]);
}

static void expect_all_moved(void)
{
	size_t i;

	expect_ret(0);
	for (i = 0; i < call.nr; i++)
		expect_moved(i);
}

static void expect_contents(char *mem, size_t len)
{
	mig_spoil_byte(mem, len);
	mig_check(mig_verify(mem, len, 1) == len, "contents changed");
}

static void *some_pages(size_t nr)
{
	return mig_anon_on(nr * mig_psize, MIG_A);
}

/* Returns a copy of the array that ends where unmapped memory begins. */
static void *before_a_hole(const void *data, size_t size)
{
	size_t len = (size + mig_psize - 1) & ~(mig_psize - 1);
	char *mem = mig_map(len + mig_psize, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);

	munmap(mem + len, mig_psize);
	memcpy(mem + len - size, data, size);
	return mem + len - size;
}

static void call_raw(size_t nr, void *pages, void *nodes, void *status)
{
	call.ret = mig_move_pages(0, nr, pages, nodes, status, MIG_MF_MOVE);
	if (call.ret < 0)
		call.ret = -errno;
	call.ret += mig_breaks(MIG_BREAK_STATUS);
}

/*
 * Errors
 */

static void no_pages(const void *arg)
{
	move(MIG_MF_MOVE);
	expect_ret(0);
	query();
	expect_ret(0);
	call_raw(0, NULL, NULL, NULL);
	expect_ret(0);
}

static void bad_flags(const void *arg)
{
	static const int flags[] = { MIG_MF_STRICT, 1 << 3, 1 << 16, -1 };
	size_t i;

	name(some_pages(1), MIG_B);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		move(flags[i]);
		expect_ret(-EINVAL);
		expect_status(0, NOTHING);
	}
	mig_check(mig_node_of(call.pages[0]) == MIG_A,
		  "moved despite invalid flags");
}

static void no_process(const void *arg)
{
	pid_t gone = mig_holder(NULL, NULL);

	mig_end_holder(gone);
	name(some_pages(1), MIG_B);
	issue(gone, call.nodes, MIG_MF_MOVE);
	expect_ret(-ESRCH);
	issue(gone, NULL, 0);
	expect_ret(-ESRCH);
}

static void no_memory_of_its_own(const void *arg)
{
	name(some_pages(1), MIG_B);
	issue(2, call.nodes, MIG_MF_MOVE);
	expect_ret(-EINVAL);
}

static void become_other_user(void)
{
	if (setgid(SOME_UID) || setuid(SOME_UID))
		mig_skip("setuid: %m");
}

static void move_all_needs_capability(const void *arg)
{
	name(some_pages(1), MIG_B);
	become_other_user();
	move(MIG_MF_MOVE_ALL);
	expect_ret(-EPERM);
	move(MIG_MF_MOVE);
	expect_ret(0);
	expect_status(0, MIG_B);
}

static void process_of_other_user(const void *arg)
{
	name(some_pages(1), MIG_B);
	become_other_user();
	issue(1, call.nodes, MIG_MF_MOVE);
	expect_ret(-EPERM);
	issue(1, NULL, 0);
	expect_ret(-EPERM);
}

static void bad_node(const void *arg)
{
	static const int nodes[] = { -1, 1 << 20, 4096, INT_MIN };
	char *mem = some_pages(3);
	size_t i, bad;

	for (i = 0; i < ARRAY_SIZE(nodes); i++) {
		for (bad = 0; bad < 2; bad++) {
			mig_must_move_to(mem, 3 * mig_psize, MIG_A);
			call.nr = 0;
			name_all(mem, 3 * mig_psize, MIG_B);
			call.nodes[bad] = nodes[i];
			move(MIG_MF_MOVE);
			expect_ret(-ENODEV);
			if (bad)
				expect_moved(0);
			else
				expect_status(0, NOTHING);
			expect_status(1, NOTHING);
			expect_status(2, NOTHING);
		}
	}
	expect_contents(mem, 3 * mig_psize);
}

static void node_without_memory(const void *arg)
{
	int node, i;

	for (node = 0; node < MIG_MAX_NODES; node++) {
		for (i = 0; i < mig_nr_nodes && mig_nodes[i] != node; i++)
			;
		if (i == mig_nr_nodes)
			break;
	}
	name(some_pages(1), node);
	move(MIG_MF_MOVE);
	expect_ret(-ENODEV);
}

static void enter_cgroup(const char *dir)
{
	char path[160], text[32];

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	snprintf(text, sizeof(text), "%d", getpid());
	if (mig_write(path, text))
		mig_skip("cannot enter %s", dir);
}

/* Enter a cpuset of nodes A and B. Memory that is on these nodes stays there. */
static void confine_to_a_and_b(void)
{
	char dir[] = "/sys/fs/cgroup/migrate_moves", text[32];

	if (access("/sys/fs/cgroup/cgroup.subtree_control", F_OK))
		mig_skip("no cgroup2 at /sys/fs/cgroup");
	mig_write("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset");
	mig_on_end_rmdir(dir);
	if (mkdir(dir, 0755))
		mig_skip("%s: %m", dir);
	snprintf(text, sizeof(text), "%d,%d", MIG_A, MIG_B);
	if (mig_write("/sys/fs/cgroup/migrate_moves/cpuset.mems", text))
		mig_skip("no cpuset controller");
	enter_cgroup(dir);
}

/* A node outside of the cpuset ends the call. The pages before it must move. */
static void outside_cpuset(const void *arg)
{
	char *mem = some_pages(3);

	if (mig_nr_nodes < 3)
		mig_skip("needs three nodes with memory");
	confine_to_a_and_b();
	name(mem, MIG_B);
	name(mem + mig_psize, mig_nodes[2]);
	name(mem + 2 * mig_psize, MIG_B);
	move(MIG_MF_MOVE_ALL);
	expect_ret(-EACCES);
	expect_moved(0);
	expect_status(1, NOTHING);
	expect_status(2, NOTHING);
	mig_check(mig_count_on(mem, 3 * mig_psize, MIG_A) == 2,
		  "pages after the node outside of the cpuset moved");
	mig_must_move_to(mem, 3 * mig_psize, MIG_B);
	expect_contents(mem, 3 * mig_psize);
}

/* The second of three addresses cannot be read. */
static void pages_array_ends(const void *arg)
{
	char *mem = some_pages(3);

	name_all(mem, 3 * mig_psize, MIG_B);
	forget_statuses();
	call_raw(3, before_a_hole(call.pages, sizeof(void *)), call.nodes,
		 call.status);
	expect_ret(-EFAULT);
	expect_moved(0);
	expect_status(1, NOTHING);
	expect_contents(mem, 3 * mig_psize);
}

static void nodes_array_ends(const void *arg)
{
	char *mem = some_pages(3);

	name_all(mem, 3 * mig_psize, MIG_B);
	forget_statuses();
	call_raw(3, call.pages, before_a_hole(call.nodes, sizeof(int)),
		 call.status);
	expect_ret(-EFAULT);
	expect_moved(0);
	expect_status(1, NOTHING);
	expect_contents(mem, 3 * mig_psize);
}

static void status_array_ends(const void *arg)
{
	char *mem = some_pages(3);
	int nothing = NOTHING;

	name_all(mem, 3 * mig_psize, MIG_B);
	call_raw(3, call.pages, call.nodes, before_a_hole(&nothing, sizeof(int)));
	expect_ret(-EFAULT);
	call_raw(3, call.pages, NULL, before_a_hole(&nothing, sizeof(int)));
	expect_ret(-EFAULT);
	expect_contents(mem, 3 * mig_psize);
}

static void no_arrays(const void *arg)
{
	char *mem = some_pages(1);

	name(mem, MIG_B);
	call_raw(1, NULL, call.nodes, call.status);
	expect_ret(-EFAULT);
	call_raw(1, NULL, NULL, call.status);
	expect_ret(-EFAULT);
	call_raw(1, call.pages, NULL, NULL);
	expect_ret(-EFAULT);
	call_raw(1, call.pages, call.nodes, NULL);
	expect_ret(-EFAULT);
}

/*
 * The count does not fit in 32 bits, but its lower 32 bits are a valid count. The
 * kernel must not truncate it, and must return -EFAULT at the end of the array.
 */
static void huge_count(const void *arg)
{
	char *mem = some_pages(2);
	void **pages;
	int *nodes, *status;

	name_all(mem, 2 * mig_psize, MIG_B);
	forget_statuses();
	pages = before_a_hole(call.pages, 2 * sizeof(*pages));
	nodes = before_a_hole(call.nodes, 2 * sizeof(*nodes));
	status = before_a_hole(call.status, 2 * sizeof(*status));
	call_raw((1UL << 32) + 2, pages, nodes, status);
	expect_ret(-EFAULT);
	memcpy(call.status, status, 2 * sizeof(*status));
	expect_moved(0);
	expect_moved(1);
	call_raw((1UL << 32) + 2, pages, NULL, status);
	expect_ret(-EFAULT);
	expect_contents(mem, 2 * mig_psize);
}

/*
 * Statuses
 */

static void simple(const void *arg)
{
	char *mem = some_pages(64);

	name_all(mem, 64 * mig_psize, MIG_B);
	move(MIG_MF_MOVE);
	expect_all_moved();
	expect_contents(mem, 64 * mig_psize);
}

static void unaligned(const void *arg)
{
	char *mem = some_pages(2);

	name(mem + 1, MIG_B);
	name(mem + 2 * mig_psize - 1, MIG_B);
	move(MIG_MF_MOVE);
	expect_all_moved();
	expect_contents(mem, 2 * mig_psize);
}

static void already_there(const void *arg)
{
	char *mem = some_pages(16);
	long before, moved = -1;
	int try;

	name_all(mem, 16 * mig_psize, MIG_A);
	/* Other tasks may migrate pages too, but not in each try. */
	for (try = 1; try <= 5 && moved; try++) {
		if (try > 1)
			mig_try_again(try, 5, "%ld pages moved", moved);
		before = mig_vmstat("pgmigrate_success");
		move(MIG_MF_MOVE);
		expect_all_moved();
		moved = mig_vmstat("pgmigrate_success") - before;
		moved += mig_breaks(MIG_BREAK_COUNT);
	}
	mig_check(!moved, "%ld pages that were on their target node moved", moved);
	expect_contents(mem, 16 * mig_psize);
}

/* Five pages: present, unmapped, never touched, zero page, present. */
static char *mixed_pages(void)
{
	char *mem = mig_map(5 * mig_psize, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);

	madvise(mem, 5 * mig_psize, MADV_NOHUGEPAGE);
	mig_alloc_on(MIG_A);
	mig_fill(mem, mig_psize, 1);
	mig_fill(mem + 4 * mig_psize, mig_psize, 1);
	mig_alloc_anywhere();
	mig_sum(mem + 3 * mig_psize, mig_psize);
	munmap(mem + mig_psize, mig_psize);
	return mem;
}

static void holes(const void *arg)
{
	char *mem = mixed_pages();

	name_all(mem, 5 * mig_psize, MIG_B);
	move(MIG_MF_MOVE);
	expect_ret(0);
	expect_moved(0);
	expect_status(1, -EFAULT);
	expect_status(2, -ENOENT);
	expect_status(3, -EFAULT);
	expect_moved(4);
	expect_contents(mem, mig_psize);
}

static void holes_queried(const void *arg)
{
	char *mem = mixed_pages();

	name_all(mem, 5 * mig_psize, MIG_B);
	query();
	expect_ret(0);
	expect_status(0, MIG_A);
	expect_status(1, -EFAULT);
	expect_status(2, -ENOENT);
	expect_status(3, -EFAULT);
	expect_status(4, MIG_A);
}

/* More pages than a small chunk of move_pages() has, on alternating nodes. */
static void many_queried(const void *arg)
{
	char *mem = some_pages(200);
	size_t i;

	for (i = 0; i < 200; i++)
		name(mem + i * mig_psize, i % 2 ? MIG_B : MIG_A);
	move(MIG_MF_MOVE);
	query();
	expect_ret(0);
	for (i = 0; i < 200; i++)
		expect_status(i, i % 2 ? MIG_B : MIG_A);
	expect_contents(mem, 200 * mig_psize);
}

/* The kernel must look up only addresses of user space. */
static void wild_addresses(const void *arg)
{
	name(NULL, MIG_B);
	name((void *)~0UL, MIG_B);
	name((void *)0xffff888000000000UL, MIG_B);
	name((void *)0x800000000000UL, MIG_B);
	move(MIG_MF_MOVE);
	expect_ret(0);
	expect_status(0, -EFAULT);
	expect_status(1, -EFAULT);
	expect_status(2, -EFAULT);
	expect_status(3, -EFAULT);
}

/*
 * A ring buffer of the kernel is mapped by pfn, and its VMA has no migrate() and no
 * get_node(). So each system call treats it as the base does.
 */
static void mapped_by_pfn(const void *arg)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
	};
	const unsigned long from = MIG_BIT(MIG_A), to = MIG_BIT(MIG_B);
	const int strict = MIG_MF_STRICT, all = MIG_MF_MOVE_ALL;
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0), node;
	long left = mig_nr_unmovable(0, from, to);
	const size_t len = 2 * mig_psize;
	char *ring;

	if (fd < 0)
		mig_skip("perf_event_open: %m");
	ring = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED)
		mig_skip("mmap of the ring: %m");
	mig_sum(ring, len);

	for (node = 0; node < 2; node++) {
		call.nr = 0;
		name(ring + mig_psize, node ? MIG_B : MIG_A);
		move(MIG_MF_MOVE);
		expect_ret(0);
		expect_status(0, -EFAULT);
		move(MIG_MF_MOVE_ALL);
		expect_ret(0);
		expect_status(0, -EFAULT);
	}
	query();
	expect_ret(0);
	expect_status(0, -ENOENT);
	mig_expect_errno(mig_node_by_policy(ring + mig_psize), EFAULT);
	for (node = 0; node < 2; node++) {
		mig_expect_errno(mig_mbind(ring, len, MIG_MPOL_BIND, node ? to : from,
					   strict), 0);
		mig_expect_errno(mig_mbind(ring, len, MIG_MPOL_BIND, node ? to : from,
					   strict | MIG_MF_MOVE), 0);
		mig_expect_errno(mig_mbind(ring, len, MIG_MPOL_BIND, node ? to : from,
					   strict | all), 0);
	}
	mig_check(mig_migrate_pages(0, from, to) == left,
		  "migrate_pages: the ring changes the number of pages left behind");
}

static void alternating(const void *arg)
{
	char *mem = some_pages(256);
	size_t i;

	for (i = 0; i < 256; i++)
		name(mem + i * mig_psize, mig_nodes[i % mig_nr_nodes]);
	move(MIG_MF_MOVE);
	expect_all_moved();
	for (i = 0; i < 256; i++)
		call.nodes[i] = mig_nodes[(i + 1) % mig_nr_nodes];
	move(MIG_MF_MOVE);
	expect_all_moved();
	expect_contents(mem, 256 * mig_psize);
}

/* The addresses and the nodes are in random order. */
static void at_random(const void *arg)
{
	char *mem = some_pages(512);
	size_t i, j;
	int round;

	srandom(1);
	name_all(mem, 512 * mig_psize, MIG_B);
	for (round = 0; round < 4; round++) {
		for (i = 0; i < 512; i++) {
			void *page = call.pages[i];

			j = random() % 512;
			call.pages[i] = call.pages[j];
			call.pages[j] = page;
		}
		for (i = 0; i < 512; i++)
			call.nodes[i] = mig_nodes[random() % mig_nr_nodes];
		move(MIG_MF_MOVE);
		expect_all_moved();
	}
	expect_contents(mem, 512 * mig_psize);
}

static void same_page_twice(const void *arg)
{
	char *mem = some_pages(2);

	name(mem, MIG_B);
	name(mem + mig_psize, MIG_B);
	name(mem, MIG_B);
	name(mem + 8, MIG_B);
	move(MIG_MF_MOVE);
	expect_all_moved();
	expect_contents(mem, 2 * mig_psize);
}

/*
 * Each page, of @size bytes, is named several times. The status of each address must
 * be its target node. The page must be on the last of these nodes.
 */
static void expect_last_holds(size_t size)
{
	size_t i, j;

	expect_ret(0);
	for (i = 0; i < call.nr; i++) {
		for (j = i + 1; j < call.nr; j++) {
			if ((uintptr_t)call.pages[i] / size ==
			    (uintptr_t)call.pages[j] / size)
				break;
		}
		if (j == call.nr)
			expect_moved(i);
		else
			expect_status(i, call.nodes[i]);
	}
}

/* Orders of moves of one page, or of two, to MIG_B ("away") and to MIG_A. */
static const struct order {
	size_t nr;
	struct {
		int page;
		bool away;
	} to[4];
} orders[] = {
	{ 2, { { 0, true }, { 0, false } } },
	{ 3, { { 0, true }, { 0, false }, { 0, true } } },
	{ 3, { { 0, false }, { 0, true }, { 0, false } } },
	{ 4, { { 0, true }, { 1, false }, { 1, true }, { 0, false } } },
	{ 4, { { 0, false }, { 1, true }, { 1, false }, { 0, true } } },
};

/* The same page is named with different nodes. It must end up on the last one. */
static void page_to_two_nodes(const void *arg)
{
	const struct order *o = orders;
	char *mem = some_pages(2);
	size_t i;

	for (; o < orders + ARRAY_SIZE(orders); o++) {
		mig_must_move_to(mem, 2 * mig_psize, MIG_A);
		call.nr = 0;
		for (i = 0; i < o->nr; i++)
			name(mem + o->to[i].page * mig_psize,
			     o->to[i].away ? MIG_B : MIG_A);
		move(MIG_MF_MOVE);
		expect_last_holds(mig_psize);
	}
	expect_contents(mem, 2 * mig_psize);
}

/* The same for addresses inside of large folios. */
static void folio_to_two_nodes(const void *arg)
{
	size_t i, size = 64 * KB;
	char *mem = mig_thp_on(2 * size, 64, MIG_A);

	for (i = 0; i < 2 * size; i += mig_psize)
		name(mem + i, i / mig_psize % 3 ? MIG_A : MIG_B);
	move(MIG_MF_MOVE);
	expect_last_holds(size);
	expect_contents(mem, 2 * size);
}

static void named_in_full(size_t kb)
{
	size_t len = 2 * kb * KB;
	char *mem = mig_thp_on(len, kb, MIG_A);

	if (len / mig_psize > MAX_PAGES)
		mig_skip("folios of %zu kB have too many pages", kb);
	name_all(mem, len, MIG_B);
	move(MIG_MF_MOVE);
	expect_all_moved();
	mig_check(mig_nr_folios(mem, len, kb * KB / mig_psize) == 2,
		  "the folios of %zu kB were split", kb);
	expect_contents(mem, len);
}

/* Every page of each large folio is named. */
static void large_in_full(const void *arg)
{
	named_in_full(64);
}

static void huge_in_full(const void *arg)
{
	if (!mig_pmd_size())
		mig_skip("no transparent huge pages");
	named_in_full(mig_pmd_size() / KB);
}

/* In descending order: the last page of each folio is named first. */
static void large_backwards(const void *arg)
{
	size_t i, len = 256 * KB;
	char *mem = mig_thp_on(len, 64, MIG_A);

	for (i = len; i; i -= mig_psize)
		name(mem + i - mig_psize, MIG_B);
	move(MIG_MF_MOVE);
	expect_all_moved();
	expect_contents(mem, len);
}

/* The target node alternates from folio to folio. Every page is named. */
static void large_alternating(const void *arg)
{
	size_t i, len = 512 * KB;
	char *mem = mig_thp_on(len, 64, MIG_A);

	for (i = 0; i < len; i += mig_psize)
		name(mem + i, mig_nodes[1 + i / (64 * KB) % (mig_nr_nodes - 1)]);
	move(MIG_MF_MOVE);
	expect_all_moved();
	mig_check(mig_nr_folios(mem, len, 64 * KB / mig_psize) == 8, "split");
	expect_contents(mem, len);
}

static void shared_stays(const void *arg)
{
	char *mem = some_pages(4);
	pid_t other = mig_holder(NULL, NULL);
	size_t i;

	name_all(mem, 4 * mig_psize, MIG_B);
	move(MIG_MF_MOVE);
	expect_ret(0);
	for (i = 0; i < 4; i++)
		expect_status(i, -EACCES);
	mig_check(mig_count_on(mem, 4 * mig_psize, MIG_A) == 4, "moved");
	move(MIG_MF_MOVE_ALL);
	expect_all_moved();
	mig_end_holder(other);
	expect_contents(mem, 4 * mig_psize);
}

/* Create and map a file of @len bytes on node A, filled with seed 1. */
static char *new_file(size_t len, unsigned int flags, int *fd)
{
	char *mem;

	*fd = memfd_create("migrate_move_pages", flags);
	if (*fd < 0 || ftruncate(*fd, len))
		mig_skip("memfd_create: %m");
	mig_alloc_on(MIG_A);
	mem = mig_map(len, PROT_READ | PROT_WRITE, MAP_SHARED, *fd);
	mig_fill(mem, len, 1);
	mig_alloc_anywhere();
	return mem;
}

static void touch_page(void *mem)
{
	mig_sum(mem, mig_psize);
}

static void expect_not_shared(int node)
{
	call.nodes[0] = node;
	move(MIG_MF_MOVE);
	expect_all_moved();
}

static void expect_shared(int node)
{
	int before = mig_node_of(call.pages[0]);

	call.nodes[0] = node;
	move(MIG_MF_MOVE);
	expect_ret(0);
	expect_status(0, -EACCES);
	mig_check(mig_node_of(call.pages[0]) == before, "a shared page moved");
}

/*
 * A page of a file is shared if several processes map it, not if one process maps it
 * several times. While only this process maps the page, it must move.
 */
static void file_mapped_twice(size_t len, unsigned int flags)
{
	char *mem, *again;
	pid_t other;
	int fd;

	mem = new_file(len, flags, &fd);
	again = mig_map(len, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	mig_sum(again, len);
	name(mem + mig_psize / 2, MIG_B);
	expect_not_shared(MIG_B);

	other = mig_holder(touch_page, again);
	expect_shared(MIG_A);
	munmap(again, len);
	expect_shared(MIG_A);
	mig_end_holder(other);
	expect_not_shared(MIG_A);
	expect_contents(mem, len);
}

static void page_mapped_twice(const void *arg)
{
	file_mapped_twice(mig_psize, 0);
}

static void hugetlb_mapped_twice(const void *arg)
{
	mig_hugetlb_reserve(MIG_A, 1);
	mig_hugetlb_reserve(MIG_B, 1);
	file_mapped_twice(mig_meminfo("Hugepagesize") * KB, MFD_HUGETLB);
}

/* Move a page between two nodes without end, and count the moves in *@moved. */
static void __noreturn move_for_ever(void *page, int *moved)
{
	int node, status;
	size_t round;

	touch_page(page);
	for (round = 0;; round++) {
		node = round % 2 ? MIG_A : MIG_B;
		if (!mig_move_pages(0, 1, &page, &node, &status, MIG_MF_MOVE_ALL) &&
		    status == node)
			__atomic_add_fetch(moved, 1, __ATOMIC_RELAXED);
	}
}

/*
 * While a task moves one page of a hugetlb file, the kernel cannot search for the
 * processes that map the others. It must report a shared page as shared, not busy.
 */
static void hugetlb_of_busy_file(const void *arg)
{
	size_t size = mig_meminfo("Hugepagesize") * KB;
	int *moved = mig_map(mig_psize, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1);
	double end = mig_seconds() + 60 * mig_patience();
	pid_t other, mover;
	int fd, round;
	char *mem;

	mig_hugetlb_reserve(MIG_A, 2);
	mig_hugetlb_reserve(MIG_B, 1);
	mem = new_file(2 * size, MFD_HUGETLB, &fd);
	name(mem, MIG_B);
	other = mig_holder(touch_page, mem);
	mover = fork();
	if (!mover)
		move_for_ever(mem + size, moved);
	for (round = 0;
	     round < 500 || __atomic_load_n(moved, __ATOMIC_RELAXED) < 20; round++) {
		if (mig_seconds() > end)
			mig_skip("the file was not busy");
		expect_shared(MIG_B);
	}
	mig_end_holder(mover);
	mig_end_holder(other);
	expect_contents(mem, 2 * size);
}

/* More processes map the page than any of them has VMAs. */
static void file_of_many(const void *arg)
{
	pid_t other[64];
	size_t i;
	char *mem;
	int fd;

	mem = new_file(mig_psize, 0, &fd);
	name(mem, MIG_B);
	for (i = 0; i < ARRAY_SIZE(other); i++)
		other[i] = mig_holder(touch_page, mem);
	expect_shared(MIG_B);
	for (i = 0; i < ARRAY_SIZE(other); i++)
		mig_end_holder(other[i]);
	expect_not_shared(MIG_B);
	expect_contents(mem, mig_psize);
}

/**
 * struct vmas - mappings of one page of a file that are never accessed
 * @fd: the file
 * @nr: number of mappings
 */
struct vmas {
	int fd;
	int nr;
};

static void map_untouched(void *arg)
{
	const struct vmas *vmas = arg;
	int i;

	for (i = 0; i < vmas->nr; i++)
		mig_map(mig_psize, PROT_READ, MAP_SHARED, vmas->fd);
}

/*
 * Another process has VMAs of the file, but does not map the page. The kernel
 * searches 500 VMAs for the page. It does not search 2000 VMAs, and assumes that the
 * page is shared.
 */
static void file_of_many_vmas(const void *arg)
{
	struct vmas few = { .nr = 500 }, many = { .nr = 2000 };
	pid_t other;
	char *mem;

	mem = new_file(mig_psize, 0, &few.fd);
	many.fd = few.fd;
	touch_page(mig_map(mig_psize, PROT_READ, MAP_SHARED, few.fd));
	name(mem, MIG_B);
	other = mig_holder(map_untouched, &few);
	expect_not_shared(MIG_B);
	mig_end_holder(other);
	other = mig_holder(map_untouched, &many);
	expect_shared(MIG_A);
	mig_end_holder(other);
	expect_not_shared(MIG_A);
	expect_contents(mem, mig_psize);
}

/* Pages that KSM has merged are reported as shared, even within one process. */
static void merged_by_ksm(const void *arg)
{
	char *mem = some_pages(2);

	memcpy(mem + mig_psize, mem, mig_psize);
	mig_ksm_merge(mem, 2 * mig_psize, 1);
	name(mem, MIG_B);
	expect_shared(MIG_B);
	name(mem + mig_psize, MIG_B);
	move(MIG_MF_MOVE_ALL);
	expect_all_moved();
	expect_contents(mem, mig_psize);
}

/* If the child has failed, it has set the message. Then exit with its status. */
static void expect_child(pid_t pid)
{
	int status;

	waitpid(pid, &status, 0);
	mig_check(WIFEXITED(status), "the child ended with status %#x", status);
	if (WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
}

/*
 * The kernel keeps track of at most two processes that map a large folio. Three
 * processes map the folios here, and all but the third one unmap them. The third one
 * must be able to move them.
 */
static void last_of_three(const void *arg)
{
	size_t len = 128 * KB;
	char *mem = mig_thp_on(len, 64, MIG_A), go;
	pid_t second, third;
	int gate[2];

	mig_check(!pipe(gate), "pipe: %m");
	name_all(mem, len, MIG_B);
	second = mig_holder(NULL, NULL);
	third = fork();
	if (!third) {
		mig_check(read(gate[0], &go, 1) == 1, "read: %m");
		move(MIG_MF_MOVE);
		expect_all_moved();
		mig_check(mig_nr_folios(mem, len, 64 * KB / mig_psize) == 2,
			  "split");
		expect_contents(mem, len);
		_exit(0);
	}
	mig_end_holder(second);
	munmap(mem, len);
	mig_check(write(gate[1], "", 1) == 1, "write: %m");
	expect_child(third);
}

static void keep_one_page(void *mem)
{
	munmap((char *)mem + mig_psize, 64 * KB - mig_psize);
}

/* Three processes map the folio. The other two map only one page of it. */
static void large_shared(const void *arg)
{
	size_t i, len = 64 * KB;
	char *mem = mig_thp_on(len, 64, MIG_A);
	pid_t second = mig_holder(keep_one_page, mem);
	pid_t third = mig_holder(keep_one_page, mem);

	name_all(mem, len, MIG_B);
	move(MIG_MF_MOVE);
	expect_ret(0);
	for (i = 0; i < call.nr; i++)
		expect_status(i, -EACCES);
	mig_check(mig_count_on(mem, len, MIG_A) == call.nr, "moved");
	mig_end_holder(second);
	mig_end_holder(third);
	move(MIG_MF_MOVE);
	expect_all_moved();
	expect_contents(mem, len);
}

/*
 * Per-CPU LRU caches. A new page is in one of them, and is not on the LRU yet.
 */

struct cpus {
	int here;
	int there;
};

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		mig_fail("sched_setaffinity to %d: %m", cpu);
}

static struct cpus two_cpus(void)
{
	struct cpus cpus = { -1, -1 };
	cpu_set_t set;
	int cpu;

	sched_getaffinity(0, sizeof(set), &set);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		cpus.there = cpus.here;
		cpus.here = cpu;
	}
	if (cpus.there < 0)
		mig_skip("needs two CPUs");
	run_on(cpus.here);
	return cpus;
}

/* Map a new file on node A whose page is in a cache of the other CPU. */
static char *cached_page(const struct cpus *cpus, int *fd)
{
	char *mem;

	run_on(cpus->there);
	mem = new_file(mig_psize, 0, fd);
	run_on(cpus->here);
	return mem;
}

/* Number of tries: other tasks may drain the caches. */
#define CACHE_TRIES	20

static bool is_cached(const void *mem)
{
	return !(mig_kpageflags(mig_pagemap(mem) & MIG_PM_PFN) & MIG_KPF_LRU);
}

/*
 * The page has so many mappings that their references look like those of a pin. The
 * page is in a cache of another CPU, but must move. The kernel does not search so
 * many mappings, so without MPOL_MF_MOVE_ALL it reports the page as shared.
 */
static void cached_and_mapped_often(const void *arg)
{
	struct cpus cpus = two_cpus();
	int i, try, fd;
	char *mem;

	for (try = 1; try <= CACHE_TRIES; try++) {
		if (try > 1)
			mig_try_again(try, CACHE_TRIES,
				      "another task drained the LRU caches");
		mem = cached_page(&cpus, &fd);
		for (i = 0; i < 1100; i++)
			touch_page(mig_map(mig_psize, PROT_READ, MAP_SHARED, fd));
		if (is_cached(mem))
			break;
	}
	if (try > CACHE_TRIES)
		mig_skip("other tasks drained the LRU caches in every try");
	name(mem, MIG_B);
	move(MIG_MF_MOVE_ALL);
	expect_all_moved();
	expect_shared(MIG_A);
	expect_contents(mem, mig_psize);
}

/* Map a page of an io_uring, which never was on an LRU. */
static char *ring_page(void)
{
	uint32_t params[30] = {};
	int fd = syscall(SYS_io_uring_setup, 8, params);
	char *ring;

	if (fd < 0)
		mig_skip("io_uring_setup: %m");
	ring = mmap(NULL, mig_psize, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_POPULATE, fd, 0);
	if (ring == MAP_FAILED)
		mig_skip("mmap of the ring: %m");
	return ring;
}

/*
 * The page of a ring cannot move. A cache is not the cause, so the kernel must not
 * drain the caches. The test checks this with a page in a cache of another CPU.
 * Other tasks may drain that cache too, but not in each round.
 */
static void ring_drains_nothing(const void *arg)
{
	struct cpus cpus = two_cpus();
	char *ring = ring_page(), *mem;
	int i, fd, kept = 0, made = 0;

	name(ring, mig_node_of(ring) == MIG_A ? MIG_B : MIG_A);
	for (i = 0; i < CACHE_TRIES && made < 8; i++) {
		mem = cached_page(&cpus, &fd);
		made += is_cached(mem);
		move(MIG_MF_MOVE_ALL);
		expect_ret(1);
		expect_status(0, -EBUSY);
		kept += is_cached(mem);
	}
	if (!made)
		mig_skip("other tasks drained the LRU caches in every try");
	mig_check(kept, "the caches were drained in all %d rounds", made);
}

/**
 * struct turns - lets two processes run in turns
 * @nr: even if make_pages() is next, odd if the process that moves the page is next
 * @fd: the file
 * @cpu: the CPU that runs make_pages()
 */
struct turns {
	int nr;
	int fd;
	int cpu;
};

#define CACHE_ROUNDS	400
#define BUSY_ROUNDS	4

static void await_turn(struct turns *turns, int nr)
{
	while (__atomic_load_n(&turns->nr, __ATOMIC_ACQUIRE) != nr)
		sched_yield();
}

static void end_turn(struct turns *turns)
{
	__atomic_add_fetch(&turns->nr, 1, __ATOMIC_RELEASE);
}

/* Allocate the page again, and drain the cache after a random time. */
static void make_pages(struct turns *turns)
{
	char *buf = some_pages(1), *cold = some_pages(1);
	int round, spin;

	srandom(1);
	run_on(turns->cpu);
	for (round = 0; round < CACHE_ROUNDS; round++) {
		await_turn(turns, 2 * round);
		fallocate(turns->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  0, mig_psize);
		mig_check(pwrite(turns->fd, buf, mig_psize, 0) == (ssize_t)mig_psize,
			  "pwrite: %m");
		end_turn(turns);
		for (spin = random() % 20000; spin > 0; spin--)
			asm volatile("" : : : "memory");
		madvise(cold, mig_psize, MADV_COLD);
	}
	_exit(0);
}

/*
 * A page must also move while another CPU drains it from its cache. That CPU has a
 * reference to the page meanwhile. The host may keep it from running for longer than
 * the kernel tries, which happens rarely. The page must move later, then.
 */
static void drained_during_move(const void *arg)
{
	struct turns *turns = mig_map(mig_psize, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1);
	struct cpus cpus = two_cpus();
	int round, busy = 0;
	long isolated;
	char *mem;
	pid_t other;

	/* If another task isolates the page, it cannot be moved. */
	mig_set("/proc/sys/kernel/numa_balancing", "0");
	mem = new_file(mig_psize, 0, &turns->fd);
	turns->cpu = cpus.there;
	name(mem, MIG_B);
	other = fork();
	if (!other)
		make_pages(turns);
	for (round = 0; round < CACHE_ROUNDS; round++) {
		await_turn(turns, 2 * round + 1);
		touch_page(mem);
		call.nodes[0] = mig_node_of(mem) == MIG_A ? MIG_B : MIG_A;
		isolated = mig_vmstat("compact_isolated");
		move(MIG_MF_MOVE_ALL);
		if (call.ret && busy++ < BUSY_ROUNDS) {
			mig_try_again(busy + 1, BUSY_ROUNDS + 1, "round %d: status %d",
				      round, call.status[0]);
			usleep(10000);
			move(MIG_MF_MOVE_ALL);
		}
		mig_check(!call.ret, "round %d: returned %ld, status %d, compaction isolated %ld",
			  round, call.ret, call.status[0],
			  mig_vmstat("compact_isolated") - isolated);
		expect_all_moved();
		end_turn(turns);
	}
	expect_child(other);
}

/* Page 2 of 6 is pinned. The others must move, and every status must be right. */
static void pinned_neighbour(const void *arg)
{
	char *mem = some_pages(6);
	int pin = mig_pin(mem + 2 * mig_psize, mig_psize);
	size_t i;

	name_all(mem, 6 * mig_psize, MIG_B);
	move(MIG_MF_MOVE);
	mig_check(mig_node_of(mem + 2 * mig_psize) == MIG_A, "a pinned page moved");
	expect_ret(1);
	for (i = 0; i < 6; i++) {
		if (i != 2)
			expect_moved(i);
	}
	expect_status(2, -EBUSY);
	mig_unpin(pin);
	move(MIG_MF_MOVE);
	expect_all_moved();
	expect_contents(mem, 6 * mig_psize);
}

/* The test has its own trace instance, whose buffers are freed with it. */
#define TRACING		"/sys/kernel/tracing/instances/migrate_move_pages/"
#define FAILED_EVENT	TRACING "events/migrate/mm_migrate_folio_failed/"

/* Copy the end of the last line about @pfn in the trace, from "cause=" on. */
static void last_cause(uint64_t pfn, char *cause, size_t size)
{
	FILE *trace = fopen(TRACING "trace", "re");
	char line[512], want[64];
	const char *found;

	if (!trace)
		mig_fail("%s: %m", TRACING "trace");
	snprintf(want, sizeof(want), " pfn=0x%llx ", (unsigned long long)pfn);
	*cause = '\0';
	while (fgets(line, sizeof(line), trace)) {
		found = strstr(line, want);
		found = found ? strstr(found, "cause=") : NULL;
		if (found)
			snprintf(cause, size, "%s", found);
	}
	fclose(trace);
	cause[strcspn(cause, "\n")] = '\0';
}

/* The format must have numbers: readers of raw events do not know enum names. */
static void check_format(void)
{
	FILE *file = fopen(FAILED_EVENT "format", "re");
	char format[8192];

	if (!file)
		mig_fail("%s: %m", FAILED_EVENT "format");
	format[fread(format, 1, sizeof(format) - 1, file)] = '\0';
	fclose(file);
	mig_check(strstr(format, "print fmt:"), "the format is too long or cut off");
	mig_check(!strstr(format, "{ MIGRATE_") && !strstr(format, "{ MR_"),
		  "there are values without a number");
}

/* The event mm_migrate_folio_failed must report why a page did not move. */
static void cause_is_traced(const void *arg)
{
	char *mem = some_pages(2), cause[256];
	uint64_t pfn = mig_pagemap(mem) & MIG_PM_PFN;
	int pin = mig_pin(mem, mig_psize);

	/* A run that was killed may have left the instance, so use the last line. */
	if (mkdir(TRACING, 0700) && errno != EEXIST)
		mig_skip("%s: %m", TRACING);
	mig_on_end_rmdir(TRACING);
	if (access(FAILED_EVENT "enable", W_OK))
		mig_skip("no such trace event");
	check_format();
	mig_must_set(FAILED_EVENT "enable", "1");
	name_all(mem, 2 * mig_psize, MIG_B);
	move(MIG_MF_MOVE);
	last_cause(pfn, cause, sizeof(cause));
	expect_ret(1);
	expect_status(0, -EBUSY);
	expect_moved(1);
	mig_check(!strncmp(cause, "cause=pinned again=1 mode=", 26) ||
		  !strncmp(cause, "cause=references again=1 mode=", 30),
		  "the trace says: %s", cause);
	mig_check(strstr(cause, " reason=syscall_or_cpuset"),
		  "the trace says: %s", cause);
	mig_unpin(pin);
	expect_contents(mem, 2 * mig_psize);
}

/* The same if pages with another target node follow the pinned page. */
static void pinned_before_other_node(const void *arg)
{
	char *mem = some_pages(4);
	int pin = mig_pin(mem, mig_psize);
	int last = mig_nodes[mig_nr_nodes - 1];

	if (last == MIG_B)
		mig_skip("needs three nodes with memory");
	name(mem, MIG_B);
	name(mem + mig_psize, MIG_B);
	name(mem + 2 * mig_psize, last);
	name(mem + 3 * mig_psize, last);
	move(MIG_MF_MOVE);
	expect_ret(1);
	expect_status(0, -EBUSY);
	expect_moved(1);
	expect_moved(2);
	expect_moved(3);
	mig_unpin(pin);
	expect_contents(mem, 4 * mig_psize);
}

/* A page of memfd_secret() between other pages. Its file does not let it move. */
static void refused_neighbour(const void *arg)
{
	char *mem = some_pages(2), *secret;
	int fd = syscall(SYS_memfd_secret, 0);

	if (fd < 0 || ftruncate(fd, mig_psize))
		mig_skip("memfd_secret: %m");
	mig_alloc_on(MIG_A);
	secret = mig_map(mig_psize, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	mig_fill(secret, mig_psize, 1);
	mig_alloc_anywhere();
	name(mem, MIG_B);
	name(secret, MIG_B);
	name(mem + mig_psize, MIG_B);
	move(MIG_MF_MOVE);
	mig_check(mig_verify(secret, mig_psize, 1) == mig_psize, "contents changed");
	mig_check(mig_node_of(secret) == MIG_A, "secret memory moved");
	expect_ret(1);
	expect_moved(0);
	expect_status(1, -EBUSY);
	expect_moved(2);
}

/* An invalid node after pages that are already queued. */
static void error_behind_pinned(const void *arg)
{
	char *mem = some_pages(3);
	int pin = mig_pin(mem, mig_psize);

	name_all(mem, 3 * mig_psize, MIG_B);
	call.nodes[2] = -1;
	move(MIG_MF_MOVE);
	expect_ret(-ENODEV);
	expect_status(0, -EBUSY);
	expect_moved(1);
	expect_status(2, NOTHING);
	mig_unpin(pin);
	expect_contents(mem, 3 * mig_psize);
}

/*
 * No memory: each page allocation of this process fails.
 */

/* No page fault may occur here: it would be retried until there is memory. */
static void move_without_memory(int fd)
{
	forget_statuses();
	mig_set_failing(fd, true);
	call_raw(call.nr, call.pages, call.nodes, call.status);
	mig_set_failing(fd, false);
}

static void no_memory(const void *arg)
{
	char *mem = some_pages(4);

	name(mem, MIG_B);
	name(mem + mig_psize, MIG_A);
	name(mem + 2 * mig_psize, MIG_B);
	move_without_memory(mig_fail_pages(0));
	expect_ret(-ENOMEM);
	expect_status(0, -ENOMEM);
	expect_status(1, MIG_A);
	expect_status(2, -ENOMEM);
	expect_contents(mem, 4 * mig_psize);
}

/*
 * There is no memory for a large folio, and it cannot be split because it is pinned.
 * There is memory for small folios. They must all move: those in the same chunk of
 * move_pages(), and those in the next chunk.
 */
static void no_memory_for_large(const void *arg)
{
	char *mem = some_pages(600), *large = mig_thp_on(64 * KB, 64, MIG_A);
	int fd = mig_fail_pages(1), pin = mig_pin(large, mig_psize);
	size_t i;

	name(large, MIG_B);
	name_all(mem, 600 * mig_psize, MIG_B);
	move_without_memory(fd);
	expect_ret(-ENOMEM);
	expect_status(0, -ENOMEM);
	for (i = 1; i < call.nr; i++)
		expect_moved(i);
	mig_check(mig_node_of(large) == MIG_A, "moved without memory");
	mig_unpin(pin);
	expect_contents(large, 64 * KB);
	expect_contents(mem, 600 * mig_psize);
}

/*
 * Each page must have its own status. The small page is pinned, so it is busy,
 * although there is no memory for the large folio. All addresses in the large folio
 * must have the same status.
 */
static void no_memory_for_large_and_pinned(const void *arg)
{
	char *mem = some_pages(2), *large = mig_thp_on(64 * KB, 64, MIG_A);
	int fd = mig_fail_pages(1), pin = mig_pin(large, mig_psize);
	int pin_small = mig_pin(mem, mig_psize);

	name(large, MIG_B);
	name(mem, MIG_B);
	name(mem + mig_psize, MIG_B);
	name(large + mig_psize, MIG_B);
	move_without_memory(fd);
	expect_ret(-ENOMEM);
	expect_status(0, -ENOMEM);
	expect_status(1, -EBUSY);
	expect_moved(2);
	expect_status(3, -ENOMEM);
	mig_unpin(pin);
	mig_unpin(pin_small);
	expect_contents(large, 64 * KB);
	expect_contents(mem, 2 * mig_psize);
}

/**
 * struct shuttle - a page that a thread remaps between two addresses
 * @from: first address
 * @to: second address
 * @stop: the thread must end
 */
struct shuttle {
	char *from;
	char *to;
	bool stop;
};

static void *run_shuttle(void *arg)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
	struct shuttle *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		mremap(s->from, mig_psize, mig_psize, flags, s->to);
		mremap(s->to, mig_psize, mig_psize, flags, s->from);
	}
	return NULL;
}

/*
 * The first page without a target may be at another address when the kernel sets its
 * status. Then the pages of later chunks must have the status -ENOMEM. The call must
 * return -ENOMEM.
 */
static void no_memory_for_one_gone(const void *arg)
{
	char *mem = some_pages(4), *none;
	struct shuttle shuttle = { .from = mem };
	int round, fd = mig_fail_pages(0);
	pthread_t thread;
	size_t i;

	shuttle.to = mig_map(mig_psize, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1);
	none = mig_map(600 * mig_psize, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	name(mem, MIG_B);
	name_all(none, 600 * mig_psize, MIG_B);
	name(mem + 2 * mig_psize, MIG_B);
	name(mem + 3 * mig_psize, MIG_B);
	mig_check(!pthread_create(&thread, NULL, run_shuttle, &shuttle),
		  "pthread_create");
	for (round = 0; round < 400; round++) {
		move_without_memory(fd);
		for (i = 0; i < call.nr && call.status[i] != -ENOMEM; i++)
			;
		mig_check(i < call.nr, "round %d: moved without memory", round);
		mig_check(call.ret == -ENOMEM,
			  "round %d: status[%zu] is -ENOMEM, and %ld was returned",
			  round, i, call.ret);
	}
	__atomic_store_n(&shuttle.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

/*
 * Other processes, and other forms of the call
 */

static void other_fills(void *mem)
{
	mig_alloc_on(MIG_A);
	mig_fill(mem, 8 * mig_psize, 1);
}

static void other_process(const void *arg)
{
	char *mem = mig_map(8 * mig_psize, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);
	pid_t other = mig_holder(other_fills, mem);
	size_t i;
	int node;

	name_all(mem, 8 * mig_psize, MIG_B);
	issue(other, call.nodes, MIG_MF_MOVE);
	expect_ret(0);
	for (i = 0; i < 8; i++) {
		node = mig_node_of_in(other, call.pages[i]);
		node += mig_breaks(MIG_BREAK_NODE);
		expect_status(i, MIG_B);
		mig_check(node == MIG_B, "page %zu is on node %d", i, node);
		mig_check(mig_node_of(call.pages[i]) == -ENOENT,
			  "our own memory was touched");
	}
}

#ifdef __aarch64__
/* The addresses have tags in the byte that the CPU ignores. */
static void tagged_addresses(const void *arg)
{
	char *mem = some_pages(4);
	size_t i;

	if (prctl(PR_SET_TAGGED_ADDR_CTRL, PR_TAGGED_ADDR_ENABLE, 0, 0, 0))
		mig_skip("PR_SET_TAGGED_ADDR_CTRL: %m");
	for (i = 0; i < 4; i++)
		name((void *)((uintptr_t)(mem + i * mig_psize) | 0x5aUL << 56), MIG_B);
	move(MIG_MF_MOVE);
	expect_all_moved();
	query();
	expect_ret(0);
	for (i = 0; i < 4; i++)
		expect_status(i, MIG_B);
	mig_check(mig_count_on(mem, 4 * mig_psize, MIG_B) == 4, "other pages moved");
	expect_contents(mem, 4 * mig_psize);
}
#endif

#ifdef __x86_64__
#define NR_MOVE_PAGES_32	317

static void *low_memory(size_t len)
{
	return mig_map(len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1);
}

/* The system call of a 32-bit program. All pointers must fit into 32 bits. */
static long move_pages_32(long nr, uint32_t *pages, int *nodes, int *status)
{
	register long flags asm("rax") = NR_MOVE_PAGES_32;

	asm volatile("push %%rbp\n\t"
		     "mov %[move], %%ebp\n\t"
		     "int $0x80\n\t"
		     "pop %%rbp"
		     : "+r" (flags)
		     : "b" (0), "c" (nr), "d" (pages), "S" (nodes), "D" (status),
		       [move] "i" (MIG_MF_MOVE)
		     : "memory", "r8", "r9", "r10", "r11", "cc");
	return (int)flags;
}

static void need_32bit(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit(move_pages_32(0, NULL, NULL, NULL) ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		mig_skip("the kernel runs no 32-bit programs");
}

/* 100 pages, so that small chunks of move_pages() have neighbours. */
static void from_32bit(const void *arg)
{
	uint32_t *pages = low_memory(mig_psize);
	int *nodes = low_memory(mig_psize);
	int *status = low_memory(mig_psize);
	char *mem = low_memory(100 * mig_psize);
	long ret, i;

	need_32bit();
	madvise(mem, 100 * mig_psize, MADV_NOHUGEPAGE);
	mig_alloc_on(MIG_A);
	mig_fill(mem, 100 * mig_psize, 1);
	mig_alloc_anywhere();
	for (i = 0; i < 100; i++) {
		pages[i] = (uintptr_t)mem + i * mig_psize;
		nodes[i] = i % 3 ? MIG_B : MIG_A;
		status[i] = NOTHING;
	}
	ret = move_pages_32(100, pages, nodes, status);
	mig_check(ret == 0, "returned %ld", ret);
	for (i = 0; i < 100; i++)
		mig_check(status[i] == nodes[i] &&
			  mig_node_of(mem + i * mig_psize) == nodes[i],
			  "page %ld has status %d", i, status[i]);
	memset(status, 0xff, 100 * sizeof(*status));
	mig_spoil_node(mem, 100 * mig_psize, nodes[50]);
	ret = move_pages_32(100, pages, NULL, status);
	ret += mig_breaks(MIG_BREAK_STATUS);
	mig_check(ret == 0, "query returned %ld", ret);
	for (i = 0; i < 100; i++)
		mig_check(status[i] == nodes[i], "page %ld: query says %d", i,
			  status[i]);
	expect_contents(mem, 100 * mig_psize);
}
#else
static void from_32bit(const void *arg)
{
	mig_skip("only for x86-64");
}
#endif

/* Addresses from 5 GiB to 64 TiB. */
static void high_addresses(const void *arg)
{
	void *hint[] = { (void *)(5UL << 30), (void *)(1UL << 40),
			 (void *)((1UL << 46) + 0x123000) };
	size_t i;

	mig_alloc_on(MIG_A);
	for (i = 0; i < ARRAY_SIZE(hint); i++) {
		char *mem = mmap(hint[i], mig_psize, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		mig_check(mem != MAP_FAILED, "mmap: %m");
		mig_fill(mem, mig_psize, 1);
		name(mem, MIG_B);
	}
	mig_alloc_anywhere();
	move(MIG_MF_MOVE);
	expect_all_moved();
	expect_contents(call.pages[2], mig_psize);
}

/* Two processes move the same pages in opposite directions. */
static void back_and_forth(const void *arg)
{
	char *mem = mig_map(64 * mig_psize, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1);
	size_t i, round;
	pid_t other;

	mig_fill(mem, 64 * mig_psize, 1);
	name_all(mem, 64 * mig_psize, MIG_B);
	other = fork();
	for (round = 0; round < 40; round++) {
		for (i = 0; i < 64; i++)
			call.nodes[i] = (round + !other) % 2 ? MIG_A : MIG_B;
		issue(0, call.nodes, MIG_MF_MOVE_ALL);
		mig_check(call.ret >= 0, "returned %ld", call.ret);
	}
	if (!other)
		_exit(0);
	expect_child(other);
	for (i = 0; i < 64; i++)
		call.nodes[i] = MIG_B;
	issue(0, call.nodes, MIG_MF_MOVE_ALL);
	expect_all_moved();
	expect_contents(mem, 64 * mig_psize);
}

/**
 * struct carrier - a process that moves a page on request
 * @mem: the page
 * @node: target node of the last request
 * @rounds: number of requests
 * @done: number of requests that are complete
 * @over: there are no more requests
 */
struct carrier {
	char *mem;
	int node;
	int rounds;
	int done;
	bool over;
};

/* MOST_ROUNDS is the limit while no round has found a migration entry. */
#define CARRIER_ROUNDS	20
#define MOST_ROUNDS	500
#define CARRIER_MAPS	3000

static void carry(struct carrier *c)
{
	int round, node, status;
	void *page = c->mem;

	touch_page(page);
	for (round = 1;; round++) {
		while (__atomic_load_n(&c->rounds, __ATOMIC_ACQUIRE) < round) {
			if (__atomic_load_n(&c->over, __ATOMIC_ACQUIRE))
				_exit(0);
			sched_yield();
		}
		node = c->node;
		mig_check(!mig_move_pages(0, 1, &page, &node, &status,
					  MIG_MF_MOVE_ALL) && status == node,
			  "the other process could not move the page");
		__atomic_store_n(&c->done, round, __ATOMIC_RELEASE);
	}
}

/* Has the other process moved the page? If that process has failed, exit. */
static bool is_carried(struct carrier *c, pid_t other)
{
	siginfo_t info = {};

	if (__atomic_load_n(&c->done, __ATOMIC_ACQUIRE) == c->rounds)
		return true;
	if (!waitid(P_PID, other, &info, WEXITED | WNOHANG | WNOWAIT) &&
	    info.si_pid == other)
		expect_child(other);
	return false;
}

/* Wait for a migration entry. Returns false if the move ends before one is seen. */
static bool wait_migration_entry(struct carrier *c, pid_t other)
{
	while (!(mig_pagemap(c->mem) & MIG_PM_SWAP)) {
		if (is_carried(c, other))
			return false;
	}
	return true;
}

/*
 * Another process is moving the page to the same node. The page has so many mappings
 * that this takes some time. move_pages() must wait for it.
 */
static void moved_by_other_process(const void *arg)
{
	struct carrier *c = mig_map(mig_psize, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1);
	int i, fd, round, nr_seen = 0;
	pid_t other;

	c->mem = new_file(mig_psize, 0, &fd);
	for (i = 0; i < CARRIER_MAPS; i++)
		touch_page(mig_map(mig_psize, PROT_READ, MAP_SHARED, fd));
	mig_drain();
	name(c->mem, MIG_B);
	other = fork();
	if (!other)
		carry(c);
	for (round = 1; round <= (nr_seen ? CARRIER_ROUNDS : MOST_ROUNDS); round++) {
		c->node = round % 2 ? MIG_B : MIG_A;
		call.nodes[0] = c->node;
		__atomic_store_n(&c->rounds, round, __ATOMIC_RELEASE);
		if (wait_migration_entry(c, other)) {
			nr_seen++;
			move(MIG_MF_MOVE_ALL);
			expect_all_moved();
		}
		while (!is_carried(c, other))
			sched_yield();
	}
	__atomic_store_n(&c->over, true, __ATOMIC_RELEASE);
	expect_child(other);
	expect_contents(c->mem, mig_psize);
	if (!nr_seen)
		mig_skip("no migration entry was seen");
}

#define QUERY_MOST	MIG_BIT(31)
#define QUERY_FEW	MIG_BIT(18)
#define QUERY_SECONDS	25
#define KILLED_SECONDS	5

/*
 * Query so many addresses, all NULL, that the call takes QUERY_SECONDS. A kernel that
 * does not notice the signal then still ends the call. The fastest of some short calls
 * gives the number, except the first, which also populates memory. The statuses share
 * one piece of memory.
 */
static void ask_for_long(int gate)
{
	const size_t piece = 2048 * KB;
	int fd = memfd_create("status", 0), *status, try;
	double began, took, best = 0;
	void **pages;
	size_t i, nr;

	pages = mig_map(QUERY_MOST * sizeof(*pages), PROT_READ,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	madvise(pages, QUERY_MOST * sizeof(*pages), MADV_NOHUGEPAGE);
	status = mig_map(QUERY_MOST * sizeof(int), PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	if (fd < 0 || ftruncate(fd, piece))
		mig_skip("memfd_create: %m");
	for (i = 0; i < QUERY_MOST * sizeof(int); i += piece) {
		if (mmap((char *)status + i, piece, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
			mig_skip("mmap: %m");
	}
	for (try = 0; try < 4; try++) {
		began = mig_seconds();
		mig_check(!mig_move_pages(0, QUERY_FEW, pages, NULL, status, 0),
			  "move_pages: %m");
		took = mig_seconds() - began;
		if (try == 1 || took < best)
			best = took;
	}
	nr = QUERY_FEW * (QUERY_SECONDS * mig_patience() / best);
	if (nr > QUERY_MOST)
		nr = QUERY_MOST;
	if (nr * best / QUERY_FEW < 2 * KILLED_SECONDS * mig_patience())
		mig_skip("a query of one address takes only %.9f s", best / QUERY_FEW);
	if (write(gate, "", 1) == 1)
		mig_move_pages(0, nr, pages, NULL, status, 0);
	_exit(0);
}

/* A fatal signal must end a query long before it is complete. */
static void query_killed(const void *arg)
{
	double end;
	int gate[2], status;
	pid_t pid;
	char byte;

	mig_check(!pipe(gate), "pipe: %m");
	pid = fork();
	if (!pid)
		ask_for_long(gate[1]);
	close(gate[1]);
	if (read(gate[0], &byte, 1) != 1)
		expect_child(pid);
	usleep(300000);
	mig_check(!waitpid(pid, &status, WNOHANG), "the query ended by itself");
	if (!mig_breaks(MIG_BREAK_STATUS))
		kill(pid, SIGKILL);
	end = mig_seconds() + KILLED_SECONDS * mig_patience();
	while (!waitpid(pid, &status, WNOHANG)) {
		mig_check(mig_seconds() < end,
			  "the query did not end after SIGKILL");
		usleep(1000);
	}
	mig_check(WIFSIGNALED(status), "the query ended by itself");
}

#define SHARED_BUG	"a page that no other process maps is reported as shared"
#define MOVING_BUG	"a page that another task is migrating is reported as absent"
#define DRAIN_BUG	"the LRU caches of all CPUs are drained although that cannot help"
#define KILLED_BUG	"a query goes on after a fatal signal"
#define NOMEM_BUG	"if one page has no target, the other pages get no status"

static const struct mig_case cases[] = {
	{ "no pages", no_pages },
	{ "bad flags: EINVAL", bad_flags },
	{ "no such process: ESRCH", no_process },
	{ "kernel thread: EINVAL", no_memory_of_its_own },
	{ "MOVE_ALL without CAP_SYS_NICE: EPERM", move_all_needs_capability },
	{ "process of another user: EPERM", process_of_other_user },
	{ "impossible node: ENODEV", bad_node },
	{ "node without memory: ENODEV", node_without_memory },
	{ "node outside of the cpuset: EACCES", outside_cpuset },
	{ "array of pages ends early: EFAULT", pages_array_ends },
	{ "array of nodes ends early: EFAULT", nodes_array_ends },
	{ "array of statuses ends early: EFAULT", status_array_ends },
	{ "no array at all: EFAULT", no_arrays },
	{ "more than 2^32 pages", huge_count },
	{ "to one node", simple },
	{ "addresses inside of pages", unaligned },
	{ "already there", already_there },
	{ "holes", holes },
	{ "holes, query", holes_queried },
	{ "many pages, query", many_queried },
	{ "addresses that no process has", wild_addresses },
	{ "mapping of pfns", mapped_by_pfn },
	{ "alternating nodes", alternating },
	{ "random pages to random nodes", at_random },
	{ "same page twice", same_page_twice, .known_bug = MIG_TWICE_BUG },
	{ "same page to two nodes", page_to_two_nodes },
	{ "pages of one folio to two nodes", folio_to_two_nodes, .known_bug = MIG_TWICE_BUG },
	{ "all pages of 64K folios", large_in_full, .known_bug = MIG_TWICE_BUG },
	{ "all pages of a PMD THP", huge_in_full, .known_bug = MIG_TWICE_BUG },
	{ "all pages of 64K folios, backwards", large_backwards,
	  .known_bug = MIG_TWICE_BUG },
	{ "all pages of 64K folios, alternating nodes", large_alternating,
	  .known_bug = MIG_TWICE_BUG },
	{ "shared page without MOVE_ALL: EACCES", shared_stays },
	{ "page of a file mapped twice", page_mapped_twice,
	  .known_bug = SHARED_BUG },
	{ "hugetlb page of a file mapped twice", hugetlb_mapped_twice,
	  .known_bug = SHARED_BUG },
	{ "shared hugetlb page of a busy file: EACCES", hugetlb_of_busy_file },
	{ "page of a file that 65 processes map", file_of_many },
	{ "page of a file with thousands of VMAs", file_of_many_vmas,
	  .known_bug = SHARED_BUG },
	{ "page that KSM has merged: EACCES", merged_by_ksm, .known_bug = MIG_TWICE_BUG },
	{ "large folio, last mapped by the third of three processes", last_of_three,
	  .known_bug = SHARED_BUG },
	{ "large folio of which others map a page", large_shared,
	  .known_bug = MIG_TWICE_BUG },
	{ "cached by a CPU and mapped often", cached_and_mapped_often },
	{ "page drained from an LRU cache during the move", drained_during_move },
	{ "page of a ring, no cache is drained", ring_drains_nothing,
	  .known_bug = DRAIN_BUG },
	{ "no memory: ENOMEM", no_memory, .known_bug = NOMEM_BUG },
	{ "no memory for a large folio: ENOMEM", no_memory_for_large,
	  .known_bug = NOMEM_BUG },
	{ "no memory for a large folio, and a pinned page", no_memory_for_large_and_pinned,
	  .known_bug = NOMEM_BUG },
	{ "no memory, and the page has gone: ENOMEM", no_memory_for_one_gone,
	  .known_bug = NOMEM_BUG },
	{ "page that another process is migrating", moved_by_other_process,
	  .known_bug = MOVING_BUG },
	{ "query that is killed", query_killed, .known_bug = KILLED_BUG },
	{ "next to a pinned page", pinned_neighbour, .known_bug = MIG_FAILED_BUG },
	{ "why a page did not move", cause_is_traced },
	{ "pinned page before another node", pinned_before_other_node,
	  .known_bug = MIG_FAILED_BUG },
	{ "next to a memfd_secret page", refused_neighbour,
	  .known_bug = MIG_FAILED_BUG },
	{ "error behind a pinned page", error_behind_pinned,
	  .known_bug = MIG_FAILED_BUG },
	{ "pages of another process", other_process },
	{ "32-bit form", from_32bit },
	{ "addresses beyond 4 GiB", high_addresses },
#ifdef __aarch64__
	{ "tagged addresses", tagged_addresses },
#endif
	{ "two processes move pages in opposite directions", back_and_forth },
};

int main(int argc, char **argv)
{
	return mig_main(argc, argv, cases, ARRAY_SIZE(cases));
}
