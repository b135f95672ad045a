// SPDX-License-Identifier: GPL-2.0-only
/*
 * move_pages(2) as its manual page describes it: which error for what, and
 * what the status of every page says, also next to pages that failed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate_lib.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret	447
#endif

#define KB			1024UL
#define NOTHING			(-ENOMSG)
#define SOME_UID		12345
#define MAX_PAGES		1024

/**
 * struct call - the arguments of one call and what it left behind
 * @nr: pages named
 * @pages: their addresses
 * @nodes: where each is to go
 * @status: what the kernel wrote, one element more than it may write
 * @ret: what it returned, or -errno
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
	if (mig_break == MIG_BREAK_STATUS)
		call.ret++;
	if (mig_break == MIG_BREAK_NODE && nodes && !pid && call.nr)
		mig_spoil(call.pages[0], mig_psize, nodes[0]);
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

/* The page is where its status says, and that is where it was sent. */
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
	mig_spoil(mem, len, mig_node_of(mem));
	mig_check(mig_verify(mem, len, 1) == len, "contents changed");
}

static void *some_pages(size_t nr)
{
	return mig_anon_on(nr * mig_psize, MIG_A);
}

/* An array whose last elements lie in front of unmapped memory. */
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
	if (mig_break == MIG_BREAK_STATUS)
		call.ret++;
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
	mig_check(mig_node_of(call.pages[0]) == MIG_A, "moved all the same");
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

static void become_somebody(void)
{
	if (setgid(SOME_UID) || setuid(SOME_UID))
		mig_skip("setuid: %m");
}

static void move_all_needs_right(const void *arg)
{
	name(some_pages(1), MIG_B);
	become_somebody();
	move(MIG_MF_MOVE_ALL);
	expect_ret(-EPERM);
	move(MIG_MF_MOVE);
	expect_ret(0);
	expect_status(0, MIG_B);
}

static void somebody_else(const void *arg)
{
	name(some_pages(1), MIG_B);
	become_somebody();
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

static void confine_to_a(void)
{
	char dir[] = "/sys/fs/cgroup/migrate_moves", text[32];

	if (access("/sys/fs/cgroup/cgroup.subtree_control", F_OK))
		mig_skip("no cgroup2 at /sys/fs/cgroup");
	mig_write("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset");
	mig_on_end_rmdir(dir);
	if (mkdir(dir, 0755))
		mig_skip("%s: %m", dir);
	snprintf(text, sizeof(text), "%d", MIG_A);
	if (mig_write("/sys/fs/cgroup/migrate_moves/cpuset.mems", text))
		mig_skip("no cpuset controller");
	enter_cgroup(dir);
}

/* A node outside of the cpuset ends the call; what came before is done. */
static void outside_cpuset(const void *arg)
{
	char *mem = mig_anon_on(3 * mig_psize, MIG_B);

	confine_to_a();
	name(mem, MIG_A);
	name(mem + mig_psize, MIG_B);
	name(mem + 2 * mig_psize, MIG_A);
	move(MIG_MF_MOVE_ALL);
	expect_ret(-EACCES);
	expect_status(1, NOTHING);
	expect_status(2, NOTHING);
	mig_must_move_to(mem, 2 * mig_psize, MIG_A);
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
 * A count that fits no 32 bits, but whose lower half would do: it is not cut
 * off, so the end of the array is met.
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
	long before = mig_vmstat("pgmigrate_success");

	name_all(mem, 16 * mig_psize, MIG_A);
	move(MIG_MF_MOVE);
	expect_all_moved();
	before -= mig_break == MIG_BREAK_COUNT;
	mig_check(mig_vmstat("pgmigrate_success") == before, "moved for nothing");
	expect_contents(mem, 16 * mig_psize);
}

/* Present, a hole in the address space, never touched, a zero page, present. */
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

/* More than the kernel looks at in one go, on alternating nodes. */
static void many_queried(const void *arg)
{
	char *mem = some_pages(200);
	size_t i;

	for (i = 0; i < 200; i++)
		name(mem + i * mig_psize, i % 2 ? MIG_B : MIG_A);
	move(MIG_MF_MOVE);
	query();
	expect_ret(0);
	mig_spoil(mem, 200 * mig_psize, MIG_A);
	for (i = 0; i < 200; i++)
		expect_status(i, i % 2 ? MIG_B : MIG_A);
}

/* Nothing but the address range of user space is looked at. */
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

/* A ring of the kernel, mapped by its pfns and so never ours to move. */
static void mapped_by_pfn(const void *arg)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	char *ring;

	if (fd < 0)
		mig_skip("perf_event_open: %m");
	ring = mmap(NULL, 2 * mig_psize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED)
		mig_skip("mmap of the ring: %m");
	mig_sum(ring + mig_psize, mig_psize);
	name(ring + mig_psize, mig_node_of(ring + mig_psize) == MIG_A ? MIG_B : MIG_A);
	move(MIG_MF_MOVE_ALL);
	expect_ret(0);
	expect_status(0, -EFAULT);
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

/* Any order of addresses, any order of nodes. */
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

/* The same page for two nodes: it ends on one of them and both are told. */
static void torn_page(const void *arg)
{
	char *mem = some_pages(1);
	int node;

	name(mem, MIG_B);
	name(mem, mig_nodes[mig_nr_nodes - 1]);
	move(MIG_MF_MOVE);
	expect_ret(0);
	node = mig_node_of(mem);
	mig_check(node == call.nodes[0] || node == call.nodes[1],
		  "page is on node %d", node);
	mig_check(call.status[0] == call.nodes[0] || call.status[0] == node,
		  "first status %d", call.status[0]);
	mig_check(call.status[1] == call.nodes[1] || call.status[1] == node,
		  "second status %d", call.status[1]);
	expect_contents(mem, mig_psize);
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

/* A large folio, of which every single page is named. */
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

/* The last page of every folio before the first page of any. */
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

/* The folios take turns between the nodes, page by page. */
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

/*
 * Page 2 of 6 has a reference that does not go away. The others move, and
 * every status tells the truth.
 */
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

/* A trace of its own: its buffers go with it. */
#define TRACING		"/sys/kernel/tracing/instances/migrate_move_pages/"
#define FAILED_EVENT	TRACING "events/migrate/mm_migrate_folio_failed/enable"

/* What the last line of the trace about page frame @pfn says in its end. */
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

/* The kernel says why it did not move a page. */
static void cause_is_traced(const void *arg)
{
	char *mem = some_pages(2), cause[256];
	uint64_t pfn = mig_pagemap(mem) & MIG_PM_PFN;
	int pin = mig_pin(mem, mig_psize);

	/* One that was killed may have left its own: the last line counts. */
	if (mkdir(TRACING, 0700) && errno != EEXIST)
		mig_skip("%s: %m", TRACING);
	mig_on_end_rmdir(TRACING);
	if (access(FAILED_EVENT, W_OK))
		mig_skip("no such trace event");
	mig_must_set(FAILED_EVENT, "1");
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

/* The same with another target behind the failure. */
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

/* A file that refuses to let its pages move, among memory that does not. */
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

/* An unreadable node number behind pages that are queued already. */
static void error_behind_pinned(const void *arg)
{
	char *mem = some_pages(3);
	int pin = mig_pin(mem, mig_psize);

	name_all(mem, 3 * mig_psize, MIG_B);
	call.nodes[2] = -1;
	move(MIG_MF_MOVE);
	mig_check(call.ret == -ENODEV || call.ret > 0, "returned %ld", call.ret);
	expect_status(0, -EBUSY);
	expect_moved(1);
	expect_status(2, NOTHING);
	mig_unpin(pin);
	expect_contents(mem, 3 * mig_psize);
}

/*
 * Other processes, other forms
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
		node += mig_break == MIG_BREAK_NODE;
		expect_status(i, MIG_B);
		mig_check(node == MIG_B, "page %zu is on node %d", i, node);
		mig_check(mig_node_of(call.pages[i]) == -ENOENT,
			  "our own memory was touched");
	}
}

#ifdef __x86_64__
#define NR_MOVE_PAGES_32	317

static void *low_memory(size_t len)
{
	return mig_map(len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1);
}

/* The call of a 32-bit program, from here: all pointers must be low ones. */
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

/* 100 pages, so that every chunk the kernel works in has neighbours. */
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
	mig_spoil(mem, 100 * mig_psize, MIG_B);
	ret = move_pages_32(100, pages, NULL, status);
	ret += mig_break == MIG_BREAK_STATUS;
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

/* Above 4 GiB and far above. */
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

/* Two threads of one process move the same pages in opposite directions. */
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
	waitpid(other, NULL, 0);
	for (i = 0; i < 64; i++)
		call.nodes[i] = MIG_B;
	issue(0, call.nodes, MIG_MF_MOVE_ALL);
	expect_all_moved();
	expect_contents(mem, 64 * mig_psize);
}

#define TWICE_WRONG	"an address inside of a queued folio is reported busy"
#define FAILED_WRONG	"a failure leaves the statuses of its neighbours unwritten"

static const struct mig_case cases[] = {
	{ "no pages", no_pages },
	{ "bad flags: EINVAL", bad_flags },
	{ "no such process: ESRCH", no_process },
	{ "kernel thread: EINVAL", no_memory_of_its_own },
	{ "MOVE_ALL without the right: EPERM", move_all_needs_right },
	{ "process of somebody else: EPERM", somebody_else },
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
	{ "holes, only asked", holes_queried },
	{ "many pages, only asked", many_queried },
	{ "addresses that no process has", wild_addresses },
	{ "mapping of pfns", mapped_by_pfn },
	{ "alternating nodes", alternating },
	{ "random pages to random nodes", at_random },
	{ "same page twice", same_page_twice, .wrong = TWICE_WRONG },
	{ "same page to two nodes", torn_page },
	{ "all pages of 64K folios", large_in_full, .wrong = TWICE_WRONG },
	{ "all pages of a PMD THP", huge_in_full, .wrong = TWICE_WRONG },
	{ "all pages of 64K folios, backwards", large_backwards,
	  .wrong = TWICE_WRONG },
	{ "all pages of 64K folios, alternating nodes", large_alternating,
	  .wrong = TWICE_WRONG },
	{ "shared page without MOVE_ALL: EACCES", shared_stays },
	{ "next to a pinned page", pinned_neighbour, .wrong = FAILED_WRONG },
	{ "why a page did not move", cause_is_traced },
	{ "pinned page before another node", pinned_before_other_node,
	  .wrong = FAILED_WRONG },
	{ "next to a page that its file keeps", refused_neighbour,
	  .wrong = FAILED_WRONG },
	{ "error behind a pinned page", error_behind_pinned,
	  .wrong = FAILED_WRONG },
	{ "pages of another process", other_process },
	{ "32-bit form", from_32bit },
	{ "addresses beyond 4 GiB", high_addresses },
	{ "two processes at cross purposes", back_and_forth },
};

int main(int argc, char **argv)
{
	return mig_main(argc, argv, cases, ARRAY_SIZE(cases));
}
