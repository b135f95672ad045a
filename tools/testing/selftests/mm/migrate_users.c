// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of the users of page migration inside the kernel: memory policies, cpusets,
 * NUMA balancing, compaction, memory hot-remove, CMA, long-term pins, soft
 * offlining, demotion, DAMON, the balloon and zsmalloc. Each case checks the
 * contents and the place of its memory. Other cases check the results of the system
 * calls for memory that cannot be moved.
 *
 * A case whose user is not available is skipped, with the reason.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate_lib.h"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

#define KB			1024UL
#define MB			(1024 * KB)
#define SOME_UID		12345
#define MAX_BLOCK		65535
#define MAX_BLOCKS		64
/* A block takes a second or two. The kernel retries until a signal ends that. */
#define OFFLINE_SECONDS		60
#define PINNED_SECONDS		3
/*
 * More than two blocks. The first block of a node can have memory of two zones, and the
 * last one memory that the kernel allocated at boot. Neither can go offline.
 */
#define OFFLINE_LEN		(288 * MB)
#define RESERVE			(32 * MB)
#define BIT_OF(node)		(1UL << (node))
#define BALLOON_SECONDS		5
#define BALLOON_TRIES		5

#define NODE_DIR		"/sys/devices/system/node"
#define BLOCK_DIR		"/sys/devices/system/memory"
#define CMA_DIR			"/sys/kernel/debug/cma"
#define DAMON_DIR		"/sys/kernel/mm/damon/admin/kdamonds"
#define BALANCE_DIR		"/sys/kernel/debug/sched/numa_balancing"
#define ZRAM_DIR		"/sys/block/zram0"
#define HWPOISON_DIR		"/sys/kernel/debug/hwpoison"

/* Wait until all of the memory is on the node. Fail after @seconds. */
static void wait_on(void *mem, size_t len, int node, double seconds)
{
	double end = mig_seconds() + seconds * mig_patience();

	while (mig_count_on(mem, len, node) < len / mig_psize &&
	       mig_seconds() < end)
		usleep(20000);
	mig_expect_on(mem, len, node);
}

static void need_nodes(int nr)
{
	if (mig_nr_nodes < nr)
		mig_skip("needs %d nodes with memory, has %d", nr, mig_nr_nodes);
}

/*
 * mbind(2)
 */

static void mbind_moves(const void *arg)
{
	char *mem = mig_anon_on(MB, MIG_A);

	mig_expect_errno(mig_mbind(mem, MB, MIG_MPOL_BIND, BIT_OF(MIG_B), MIG_MF_MOVE),
			 0);
	mig_expect_on(mem, MB, MIG_B);
}

/* The policy changes, but existing pages stay on their node. */
static void mbind_without_move(const void *arg)
{
	char *mem = mig_anon_on(64 * KB, MIG_A);

	mig_expect_errno(mig_mbind(mem, 64 * KB, MIG_MPOL_BIND, BIT_OF(MIG_B), 0), 0);
	mig_expect_on(mem, 64 * KB, MIG_A);
	mig_expect_errno(mig_mbind(mem, 64 * KB, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_STRICT), EIO);
}

static void mbind_shared(const void *arg)
{
	char *mem = mig_anon_on(64 * KB, MIG_A);

	mig_holder(NULL, NULL);
	mig_expect_errno(mig_mbind(mem, 64 * KB, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE), 0);
	/* MPOL_MF_STRICT does not report shared pages that did not move. */
	mig_expect_errno(mig_mbind(mem, 64 * KB, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE | MIG_MF_STRICT), 0);
	mig_expect_on(mem, 64 * KB, MIG_A);
	mig_expect_errno(mig_mbind(mem, 64 * KB, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE_ALL), 0);
	mig_expect_on(mem, 64 * KB, MIG_B);
}

/* A page that cannot move is an error only with MPOL_MF_STRICT. */
static void mbind_pinned(const void *arg)
{
	char *mem = mig_anon_on(64 * KB, MIG_A);

	mig_pin(mem, mig_psize);
	mig_expect_errno(mig_mbind(mem, 64 * KB, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE), 0);
	mig_spoil(mem + mig_psize, 64 * KB - mig_psize, MIG_B);
	mig_check(mig_node_of(mem) == MIG_A, "a pinned page moved");
	mig_check(mig_count_on(mem, 64 * KB, MIG_B) == 64 * KB / mig_psize - 1,
		  "the others did not all move");
	mig_check(mig_verify(mem, 64 * KB, 1) == 64 * KB, "contents changed");
}

static void mbind_pinned_strict(const void *arg)
{
	char *mem = mig_anon_on(64 * KB, MIG_A);
	int pin = mig_pin(mem, mig_psize);

	mig_expect_errno(mig_mbind(mem, 64 * KB, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE | MIG_MF_STRICT), EIO);
	mig_check(mig_node_of(mem) == MIG_A, "a pinned page moved");
	mig_unpin(pin);
	mig_expect_errno(mig_mbind(mem, 64 * KB, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE | MIG_MF_STRICT), 0);
	mig_expect_on(mem, 64 * KB, MIG_B);
}

static void move_by_mbind(void *mem, int node)
{
	mig_expect_errno(mig_mbind(mem, MB, MIG_MPOL_BIND, BIT_OF(node), MIG_MF_MOVE), 0);
}

static void mbind_no_leak(const void *arg)
{
	char *mem = mig_anon_on(MB, MIG_A);

	mig_check_loss(move_by_mbind, mem);
	mig_expect_on(mem, MB, MIG_A);
}

static void mbind_errors(const void *arg)
{
	char *mem = mig_anon_on(3 * mig_psize, MIG_A);

	mig_expect_errno(mig_mbind(mem, mig_psize, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   1 << 10), EINVAL);
	mig_expect_errno(mig_mbind(mem + 1, mig_psize, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE), EINVAL);
	munmap(mem + mig_psize, mig_psize);
	mig_expect_errno(mig_mbind(mem, 3 * mig_psize, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE), EFAULT);
	if (setuid(SOME_UID))
		mig_skip("setuid: %m");
	mig_expect_errno(mig_mbind(mem, mig_psize, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE_ALL), EPERM);
}

static void mbind_interleaves(const void *arg)
{
	unsigned long mask = BIT_OF(MIG_A) | BIT_OF(MIG_B);
	char *mem = mig_anon_on(MB, MIG_A);
	size_t i, same = 0;

	mig_mbind(mem, MB, MIG_MPOL_BIND, BIT_OF(MIG_B), MIG_MF_MOVE);
	mig_mbind(mem, MB, MIG_MPOL_BIND, BIT_OF(MIG_A), MIG_MF_MOVE);
	/* Only pages outside of the mask move, so use a mask without MIG_A. */
	if (mig_nr_nodes > 2)
		mask = BIT_OF(mig_nodes[1]) | BIT_OF(mig_nodes[2]);
	else
		mig_skip("needs three nodes with memory");
	mig_expect_errno(mig_mbind(mem, MB, MIG_MPOL_INTERLEAVE, mask, MIG_MF_MOVE), 0);
	mig_spoil(mem, MB, mig_nodes[1]);
	for (i = mig_psize; i < MB; i += mig_psize)
		same += mig_node_of(mem + i) == mig_node_of(mem + i - mig_psize);
	mig_check(!same, "%zu neighbours on the same node", same);
	for (i = 1; i <= 2; i++)
		mig_check(mig_count_on(mem, MB, mig_nodes[i]) == MB / mig_psize / 2,
			  "%zu pages are on node %d",
			  mig_count_on(mem, MB, mig_nodes[i]), mig_nodes[i]);
	mig_check(mig_verify(mem, MB, 1) == MB, "contents changed");
}

/*
 * migrate_pages(2)
 */

/* @stay: number of pages that cannot move, including those that others map. */
static void send(pid_t pid, unsigned long from, unsigned long to, long stay)
{
	long left = mig_migrate_pages(pid, from, to);

	mig_check(left >= 0, "migrate_pages: %m");
	left += mig_breaks(MIG_BREAK_STATUS);
	mig_check(left == stay, "%ld pages could not be moved, not %ld", left, stay);
}

static void migrate_self(const void *arg)
{
	long rest = mig_nr_unmovable(0, BIT_OF(MIG_A), BIT_OF(MIG_B));
	char *mem = mig_anon_on(MB, MIG_A);

	send(0, BIT_OF(MIG_A), BIT_OF(MIG_B), rest);
	mig_expect_on(mem, MB, MIG_B);
}

static void migrate_pinned(const void *arg)
{
	long rest = mig_nr_unmovable(0, BIT_OF(MIG_A), BIT_OF(MIG_B));
	char *mem = mig_anon_on(16 * mig_psize, MIG_A);
	int pin = mig_pin(mem, 3 * mig_psize);

	send(0, BIT_OF(MIG_A), BIT_OF(MIG_B), rest + 3);
	mig_check(mig_count_on(mem, 3 * mig_psize, MIG_A) == 3, "a pinned page moved");
	mig_check(mig_count_on(mem + 3 * mig_psize, 13 * mig_psize, MIG_B) == 13,
		  "the others did not all move");
	mig_unpin(pin);
	send(0, BIT_OF(MIG_A), BIT_OF(MIG_B), rest);
	mig_expect_on(mem, 16 * mig_psize, MIG_B);
}

static void move_by_migrate_pages(void *mem, int node)
{
	int from = node == MIG_A ? MIG_B : MIG_A;

	mig_check(mig_migrate_pages(0, BIT_OF(from), BIT_OF(node)) >= 0,
		  "migrate_pages: %m");
	mig_check(mig_node_of(mem) == node, "the memory is not on node %d", node);
}

static void migrate_no_leak(const void *arg)
{
	char *mem = mig_anon_on(MB, MIG_A);

	mig_check_loss(move_by_migrate_pages, mem);
	mig_expect_on(mem, MB, MIG_A);
}

/* {A, B} to {B, C}: pages keep their relative node, so A moves to B and B to C. */
static void migrate_relative(const void *arg)
{
	unsigned long from, to;
	char *on_a, *on_b;
	long rest;

	need_nodes(3);
	from = BIT_OF(MIG_A) | BIT_OF(MIG_B);
	to = BIT_OF(MIG_B) | BIT_OF(mig_nodes[2]);
	rest = mig_nr_unmovable(0, from, to);
	on_a = mig_anon_on(256 * KB, MIG_A);
	on_b = mig_anon_on(256 * KB, MIG_B);
	send(0, from, to, rest);
	mig_expect_on(on_a, 256 * KB, MIG_B);
	mig_expect_on(on_b, 256 * KB, mig_nodes[2]);
}

/* {A, B} to {B}: pages that are on B already must not move. */
static void migrate_to_fewer(const void *arg)
{
	unsigned long from = BIT_OF(MIG_A) | BIT_OF(MIG_B), to = BIT_OF(MIG_B);
	long rest = mig_nr_unmovable(0, from, to);
	char *on_a = mig_anon_on(256 * KB, MIG_A);
	char *on_b = mig_anon_on(256 * KB, MIG_B);
	uint64_t pfn = mig_pagemap(on_b) & MIG_PM_PFN;

	send(0, from, to, rest);
	mig_check((mig_pagemap(on_b) & MIG_PM_PFN) == pfn, "moved on its node");
	mig_expect_on(on_a, 256 * KB, MIG_B);
	mig_expect_on(on_b, 256 * KB, MIG_B);
}

static void fill_on_a(void *mem)
{
	mig_alloc_on(MIG_A);
	mig_fill(mem, 256 * KB, 1);
}

static size_t count_in(pid_t pid, char *mem, size_t len, int node)
{
	size_t i, nr = 0;

	for (i = 0; i < len; i += mig_psize)
		nr += mig_node_of_in(pid, mem + i) == node;
	return nr + mig_breaks(MIG_BREAK_NODE);
}

/* Check memory of another process that mig_fill() has filled with seed 1. */
static void check_contents_of(pid_t pid, char *mem, size_t len)
{
	char path[64], *copy = mig_map(len, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	mig_check(fd >= 0 && pread(fd, copy, len, (uintptr_t)mem) == (ssize_t)len,
		  "%s: %m", path);
	close(fd);
	mig_spoil_byte(copy, len);
	mig_check(mig_verify(copy, len, 1) == len, "contents of the other process changed");
	munmap(copy, len);
}

static void migrate_other(const void *arg)
{
	char *mem = mig_map(256 * KB, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);
	pid_t other = mig_holder(NULL, NULL);
	long rest = mig_nr_unmovable(other, BIT_OF(MIG_A), BIT_OF(MIG_B));

	mig_end_holder(other);
	other = mig_holder(fill_on_a, mem);
	send(other, BIT_OF(MIG_A), BIT_OF(MIG_B), rest);
	mig_check(count_in(other, mem, 256 * KB, MIG_B) == 256 * KB / mig_psize,
		  "not all of the other process moved");
	check_contents_of(other, mem, 256 * KB);
}

static void migrate_errors(const void *arg)
{
	pid_t gone = mig_holder(NULL, NULL);

	mig_end_holder(gone);
	mig_expect_errno(mig_migrate_pages(gone, BIT_OF(MIG_A), BIT_OF(MIG_B)), ESRCH);
	mig_expect_errno(syscall(SYS_migrate_pages, 0, MIG_MAX_NODES, 8, 8), EFAULT);
	mig_expect_errno(mig_migrate_pages(0, BIT_OF(MIG_A), 1UL << 62), EINVAL);
	if (setuid(SOME_UID))
		mig_skip("setuid: %m");
	mig_expect_errno(mig_migrate_pages(1, BIT_OF(MIG_A), BIT_OF(MIG_B)), EPERM);
}

/*
 * Registers of a device: memory without a folio, in a VMA that does not move it
 * itself. The system calls return the same for it on every kernel.
 */

#define PCI_DIR			"/sys/bus/pci/devices"
#define VIRTIO			0x1af4

/* Map a page of one resource of the device. Only memory resources can be mapped. */
static bool map_resource(const char *device, char *at)
{
	char path[320];
	void *mem;
	int i, fd;

	for (i = 0; i < 6; i++) {
		snprintf(path, sizeof(path), PCI_DIR "/%s/resource%d", device, i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		mem = mmap(at, mig_psize, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
		close(fd);
		if (mem == at)
			return true;
	}
	return false;
}

/* Use only virtio devices, which a mapping does not disturb. It is never read. */
static void map_device(char *at)
{
	DIR *dir = opendir(PCI_DIR);
	struct dirent *entry;
	bool found = false;
	char path[320];

	while (!found && dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), PCI_DIR "/%s/vendor", entry->d_name);
		if (mig_read_long(path) == VIRTIO)
			found = map_resource(entry->d_name, at);
	}
	if (dir)
		closedir(dir);
	if (!found)
		mig_skip("no virtio device on a PCI bus whose registers can be mapped");
}

/**
 * struct registers - a page of a device between two anonymous pages
 * @mem: the three pages
 * @sum: checksums of the anonymous pages
 */
struct registers {
	char *mem;
	uint64_t sum[2];
};

static struct registers map_registers(void)
{
	struct registers r = { .mem = mig_anon_on(3 * mig_psize, MIG_A) };

	map_device(r.mem + mig_psize);
	r.sum[0] = mig_sum(r.mem, mig_psize);
	r.sum[1] = mig_sum(r.mem + 2 * mig_psize, mig_psize);
	return r;
}

static void expect_node(const void *page, int want)
{
	int got = mig_node_of(page);

	mig_check(got == want, "%p is on %d, not on %d", page, got, want);
}

/* The anonymous pages must be on the node. The page of the device has no node. */
static void expect_around(const struct registers *r, int node)
{
	const void *registers = r->mem + mig_psize;

	mig_spoil(r->mem, mig_psize, node);
	expect_node(r->mem, node);
	expect_node(registers, -ENOENT);
	expect_node(r->mem + 2 * mig_psize, node);
	mig_check(mig_sum(r->mem, mig_psize) == r->sum[0] &&
		  mig_sum(r->mem + 2 * mig_psize, mig_psize) == r->sum[1],
		  "contents changed");
	mig_expect_errno(mig_node_by_policy(registers), EFAULT);
}

static void registers_move_pages(const void *arg)
{
	struct registers r = map_registers();
	int status[3], i;

	expect_around(&r, MIG_A);
	mig_check(!mig_move_to(r.mem, 3 * mig_psize, MIG_B, MIG_MF_MOVE, status),
		  "the page of the device counts as failed");
	for (i = 0; i < 3; i++)
		mig_check(status[i] == (i == 1 ? -EFAULT : MIG_B),
			  "status %d is %d", i, status[i]);
	expect_around(&r, MIG_B);
	mig_check(!mig_move_to(r.mem + mig_psize, mig_psize, MIG_A, MIG_MF_MOVE_ALL,
			       status), "the page of the device counts as failed");
	mig_check(status[0] == -EFAULT, "its status is %d", status[0]);
	expect_around(&r, MIG_B);
}

/* MPOL_MF_STRICT must not report the page of the device as a failure. */
static void registers_mbind(const void *arg)
{
	struct registers r = map_registers();

	mig_expect_errno(mig_mbind(r.mem, 3 * mig_psize, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE | MIG_MF_STRICT), 0);
	expect_around(&r, MIG_B);
	mig_expect_errno(mig_mbind(r.mem, 3 * mig_psize, MIG_MPOL_BIND, BIT_OF(MIG_A),
				   MIG_MF_MOVE_ALL | MIG_MF_STRICT), 0);
	expect_around(&r, MIG_A);
	mig_expect_errno(mig_mbind(r.mem + mig_psize, mig_psize, MIG_MPOL_BIND,
				   BIT_OF(MIG_B), MIG_MF_STRICT), 0);
	expect_around(&r, MIG_A);
}

static void registers_migrate_pages(const void *arg)
{
	long rest = mig_nr_unmovable(0, BIT_OF(MIG_A), BIT_OF(MIG_B));
	struct registers r = map_registers();

	send(0, BIT_OF(MIG_A), BIT_OF(MIG_B), rest);
	expect_around(&r, MIG_B);
}

/*
 * Control groups
 */

static void cpuset_changes(const void *arg)
{
	char dir[128], *mem;

	mig_enter_cgroup(dir, sizeof(dir), "cpuset", "+cpuset");
	mig_set_mem(dir, MIG_A);
	mem = mig_map(MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	mig_fill(mem, MB, 1);
	mig_check(mig_count_on(mem, MB, MIG_A) == MB / mig_psize,
		  "memory was allocated outside of the cpuset");
	mig_set_mem(dir, MIG_B);
	wait_on(mem, MB, MIG_B, 10);
}

static void cpuset_entered(const void *arg)
{
	char from[128], to[128], *mem;

	mig_enter_cgroup(to, sizeof(to), "to", "+cpuset");
	mig_set_mem(to, MIG_B);
	mig_enter_cgroup(from, sizeof(from), "from", "+cpuset");
	mig_set_mem(from, MIG_A);
	mem = mig_map(MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	mig_fill(mem, MB, 1);
	mig_enter_cgroup(to, sizeof(to), "to", "+cpuset");
	wait_on(mem, MB, MIG_B, 10);
}

/**
 * struct resident - memory of a task in a cpuset
 * @dir: directory of the control group
 * @mem: the memory
 */
struct resident {
	char dir[128];
	char *mem;
};

static void move_by_cpuset(void *arg, int node)
{
	struct resident *r = arg;
	double end = mig_seconds() + 10 * mig_patience();

	mig_set_mem(r->dir, node);
	while (mig_count_on(r->mem, MB, node) < MB / mig_psize) {
		mig_check(mig_seconds() < end, "the memory is not on node %d", node);
		usleep(2000);
	}
}

static void cpuset_no_leak(const void *arg)
{
	struct resident r;

	mig_enter_cgroup(r.dir, sizeof(r.dir), "cpuset", "+cpuset");
	mig_set_mem(r.dir, MIG_A);
	r.mem = mig_anon_on(MB, MIG_A);
	mig_check_loss(move_by_cpuset, &r);
	mig_expect_on(r.mem, MB, MIG_A);
}

/* A cpuset also moves dirty folios of a file system that cannot migrate them. */
static void cpuset_dirty(const void *arg)
{
	long written = mig_vmstat("pgmigrate_writeout");
	int fd = mig_fs_file();
	char dir[128], *mem;

	mig_enter_cgroup(dir, sizeof(dir), "cpuset", "+cpuset");
	mig_set_mem(dir, MIG_A);
	mem = mig_fs_dirty(fd, MB, MIG_A);
	mig_set_mem(dir, MIG_B);
	wait_on(mem, MB, MIG_B, 10);
	written = mig_vmstat("pgmigrate_writeout") - written;
	written -= mig_breaks(MIG_BREAK_COUNT) << 30;
	mig_check(written >= (long)(MB / mig_psize), "%ld pages written", written);
}

static int cpu_of_node(int node)
{
	char path[96], text[128];

	snprintf(path, sizeof(path), NODE_DIR "/node%d/cpulist", node);
	if (mig_read(path, text, sizeof(text)) <= 0)
		return -1;
	return atoi(text);
}

static int nr_tiers(void)
{
	DIR *dir = opendir("/sys/devices/virtual/memory_tiering");
	struct dirent *entry;
	int nr = 0;

	while (dir && (entry = readdir(dir)))
		nr += !strncmp(entry->d_name, "memory_tier", 11) &&
		      entry->d_name[11] >= '0' && entry->d_name[11] <= '9';
	if (dir)
		closedir(dir);
	return nr;
}

static long demoted(void)
{
	static const char *const names[] = {
		"pgdemote_kswapd", "pgdemote_direct", "pgdemote_khugepaged",
		"pgdemote_proactive",
	};
	long value, sum = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		value = mig_vmstat(names[i]);
		sum += value > 0 ? value : 0;
	}
	return sum;
}

/* Count the pages on slow memory, which is on the nodes without a CPU. */
static long count_on_slow(char *mem, size_t len)
{
	size_t nr = 0;
	int i;

	for (i = 0; i < mig_nr_nodes; i++) {
		if (cpu_of_node(mig_nodes[i]) < 0)
			nr += mig_count_on(mem, len, mig_nodes[i]);
	}
	return nr;
}

/* Pages that leave their node must be on a slow node, and not in swap. */
static void demotion(const void *arg)
{
	long before, slow, stayed, nr = 16 * MB / mig_psize;
	char dir[128], path[256], *mem;
	int err;

	if (nr_tiers() < 2)
		mig_skip("needs two memory tiers, this machine has %d", nr_tiers());
	mig_must_set("/sys/kernel/mm/numa/demotion_enabled", "1");
	mig_enter_cgroup(dir, sizeof(dir), "demotion", "+memory");
	snprintf(path, sizeof(path), "%s/memory.swap.max", dir);
	mig_write_number(path, 0);
	mem = mig_anon_on(16 * MB, MIG_A);
	snprintf(path, sizeof(path), "%s/memory.reclaim", dir);
	madvise(mem, 16 * MB, MADV_COLD);
	before = demoted();
	err = mig_write(path, "8M swappiness=200");
	mig_check(!err || err == -EAGAIN, "%s: %s", path, strerror(-err));
	before += mig_breaks(MIG_BREAK_COUNT) << 20;
	slow = count_on_slow(mem, 16 * MB);
	mig_check(demoted() - before >= slow, "%ld pages are on a slow node, %ld are counted",
		  slow, demoted() - before);
	slow -= mig_breaks(MIG_BREAK_NODE);
	stayed = mig_count_on(mem, 16 * MB, MIG_A);
	mig_check(slow && slow + stayed == nr, "%ld pages are on a slow node, %ld stayed",
		  slow, stayed);
	mig_spoil_byte(mem, 16 * MB);
	mig_check(mig_verify(mem, 16 * MB, 1) == 16 * MB, "contents changed");
}

/*
 * NUMA balancing
 */

static void run_on_node(int node)
{
	int cpu = cpu_of_node(node);
	cpu_set_t set;

	CPU_ZERO(&set);
	if (cpu >= 0)
		CPU_SET(cpu, &set);
	if (cpu < 0 || sched_setaffinity(0, sizeof(set), &set))
		mig_skip("node %d has no CPU", node);
}

static void balance_fast(void)
{
	mig_set(BALANCE_DIR "/scan_delay_ms", "1");
	mig_set(BALANCE_DIR "/scan_period_min_ms", "20");
	mig_set(BALANCE_DIR "/scan_period_max_ms", "100");
	mig_set(BALANCE_DIR "/scan_size_mb", "256");
	mig_must_set("/proc/sys/kernel/numa_balancing", "1");
}

/* The memory must move to the node of the only CPU that uses it. */
static void wait_balanced(char *mem, size_t len)
{
	long before = mig_vmstat("numa_pages_migrated");
	double end = mig_seconds() + 40 * mig_patience();
	size_t i;

	/* Pages in the per-CPU LRU caches cannot be isolated and moved. */
	mig_drain();
	balance_fast();
	run_on_node(MIG_B);
	while (mig_count_on(mem, len, MIG_B) < len / mig_psize) {
		mig_check(mig_seconds() < end,
			  "only %zu of %zu pages moved to the node of the CPU",
			  mig_count_on(mem, len, MIG_B), len / mig_psize);
		for (i = 0; i < 200; i++)
			mig_sum(mem, len);
	}
	before += mig_breaks(MIG_BREAK_COUNT) << 20;
	mig_check(mig_vmstat("numa_pages_migrated") - before >= (long)(len / mig_psize),
		  "%ld pages are counted of %zu",
		  mig_vmstat("numa_pages_migrated") - before, len / mig_psize);
	mig_spoil_byte(mem, len);
	mig_check(mig_verify(mem, len, 1) == len, "contents changed");
}

static void balance_small(const void *arg)
{
	wait_balanced(mig_anon_on(256 * KB, MIG_A), 256 * KB);
}

static void balance_huge(const void *arg)
{
	size_t size = mig_pmd_size();

	if (!size)
		mig_skip("no transparent huge pages");
	wait_balanced(mig_thp_on(size, size / KB, MIG_A), size);
}

/*
 * Compaction
 */

static void compact_node(int node)
{
	char path[96];

	snprintf(path, sizeof(path), NODE_DIR "/node%d/compact", node);
	if (mig_write(path, "1") && mig_write("/proc/sys/vm/compact_memory", "1"))
		mig_skip("no compaction");
}

static void note_pfns(char *mem, size_t len, uint64_t *pfns)
{
	size_t i;

	for (i = 0; i < len / mig_psize; i++)
		pfns[i] = mig_pagemap(mem + i * mig_psize) & MIG_PM_PFN;
}

static size_t nr_changed(const uint64_t *was, const uint64_t *is, size_t nr)
{
	size_t i, changed = 0;

	for (i = 0; i < nr; i++)
		changed += was[i] && is[i] && was[i] != is[i];
	return changed;
}

#define STRETCH		16	/* pages */
#define HIGH_FRACTION	"/proc/sys/vm/percpu_pagelist_high_fraction"

/*
 * Of each two stretches of pages one is freed, and one stays. The choice is
 * pseudo-random, because a scanner that has found nothing for a while looks only at
 * every 32nd page.
 */
static size_t first_is_freed(size_t pair)
{
	return (pair * 0x9e3779b97f4a7c15ULL) >> 63;
}

/* Compaction does not find pages on the per-CPU free lists, so keep these short. */
static void fragment(char *mem, size_t len)
{
	size_t stretch = STRETCH * mig_psize, i;

	mig_must_set(HIGH_FRACTION, "1000000");
	for (i = 0; i < len / stretch; i += 2)
		madvise(mem + (i + !first_is_freed(i / 2)) * stretch, stretch,
			MADV_DONTNEED);
}

/* Check the pages that remain of memory that was filled and fragmented. */
static void check_rest(char *mem, size_t len)
{
	char *want = mig_map(len, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1);
	size_t stretch = STRETCH * mig_psize, i, at;

	mig_fill(want, len, 1);
	for (i = 0; i < len / stretch; i += 2) {
		at = (i + first_is_freed(i / 2)) * stretch;
		mig_check(!memcmp(want + at, mem + at, stretch),
			  "contents changed near byte %zu", at);
	}
}

static void compact_anon(const void *arg)
{
	size_t len = 96 * MB, nr = len / mig_psize, changed;
	uint64_t *was = calloc(nr, sizeof(*was)), *is = calloc(nr, sizeof(*is));
	char *mem = mig_anon_on(len, MIG_A);
	long before = mig_vmstat("pgmigrate_success");

	fragment(mem, len);
	note_pfns(mem, len, was);
	compact_node(MIG_A);
	note_pfns(mem, len, is);
	changed = nr_changed(was, is, nr);
	before += mig_breaks(MIG_BREAK_COUNT) << 30;
	mig_check(changed > 16, "compaction moved %zu pages", changed);
	mig_check(mig_vmstat("pgmigrate_success") - before >= (long)changed,
		  "%zu pages moved, but %ld are counted", changed,
		  mig_vmstat("pgmigrate_success") - before);
	mig_spoil_byte(mem + first_is_freed(0) * STRETCH * mig_psize, mig_psize);
	check_rest(mem, len);
}

/* Map the file to read the pfns of its pages, and unmap it again. */
static void file_pfns(int fd, size_t len, uint64_t *pfns)
{
	char *mem = mig_map(len, PROT_READ, MAP_SHARED | MAP_POPULATE, fd);

	mig_sum(mem, len);
	note_pfns(mem, len, pfns);
	munmap(mem, len);
}

static void check_file(int fd, size_t len)
{
	char *mem = mig_map(len, PROT_READ | PROT_WRITE, MAP_SHARED, fd);

	mig_spoil_byte(mem, len);
	mig_check(mig_verify(mem, len, 1) == len, "contents of the file changed");
}

static int empty_memfd(size_t len)
{
	int fd = memfd_create("migrate", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, len))
		mig_fail("memfd: %m");
	return fd;
}

static int uncached_on_ext4(size_t len)
{
	static char path[256];

	return mig_ext4_file(path, len);
}

struct page_cache {
	int (*make)(size_t len);
	bool written;
};

#define PIECES			32
#define PIECE			(512 * KB)
#define BETWEEN			(3 * MB)

/* Bring the piece of the file at @at into the page cache. @data has its contents. */
static void cache_piece(const struct page_cache *kind, int fd, size_t at, const char *data)
{
	char *mem = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);

	mig_check(mem != MAP_FAILED, "mmap of the file: %m");
	/* No readahead, which allocates large folios: there is no free memory of their size. */
	madvise(mem, PIECE, MADV_RANDOM);
	if (kind->written)
		memcpy(mem, data + at, PIECE);
	else
		mig_check(!memcmp(mem, data + at, PIECE), "the file has other contents");
	munmap(mem, PIECE);
}

/* Allocate page cache in pieces, and memory of this process before each piece. */
static int cache_between(const struct page_cache *kind, char *mem)
{
	char *data = mig_anon_on(PIECES * BETWEEN, MIG_B);
	int fd = kind->make(PIECES * PIECE);
	size_t i;

	mig_alloc_on(MIG_A);
	for (i = 0; i < PIECES; i++) {
		memcpy(mem + i * BETWEEN, data + i * BETWEEN, BETWEEN);
		cache_piece(kind, fd, i * PIECE, data);
	}
	mig_alloc_anywhere();
	munmap(data, PIECES * BETWEEN);
	return fd;
}

/*
 * Compaction of page cache that no process maps. The page cache is spread out, so
 * compaction finds some of it wherever it begins and ends.
 */
static void compact_unmapped(const void *arg)
{
	size_t len = PIECES * PIECE, nr = len / mig_psize, moved;
	uint64_t *was = calloc(nr, sizeof(*was)), *is = calloc(nr, sizeof(*is));
	char *mem = mig_map(PIECES * BETWEEN, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);
	int fd;

	madvise(mem, PIECES * BETWEEN, MADV_NOHUGEPAGE);
	fd = cache_between(arg, mem);
	file_pfns(fd, len, was);
	fragment(mem, PIECES * BETWEEN);
	mig_drain();
	compact_node(MIG_A);
	file_pfns(fd, len, is);
	moved = nr_changed(was, is, nr) * !mig_breaks(MIG_BREAK_COUNT);
	mig_check(moved, "compaction left the file where it is");
	check_file(fd, len);
	check_rest(mem, PIECES * BETWEEN);
}

/*
 * zsmalloc and the balloon: pages that are not folios
 */

/* Write @data in pieces, and allocate a part of @mem before each piece. */
static void write_pieces(int fd, const char *data, char *mem)
{
	char *other = mig_anon_on(PIECES * BETWEEN, MIG_B);
	size_t i;

	mig_alloc_on(MIG_A);
	for (i = 0; i < PIECES; i++) {
		memcpy(mem + i * BETWEEN, other + i * BETWEEN, BETWEEN);
		if (pwrite(fd, data + i * PIECE, PIECE, i * PIECE) != PIECE)
			mig_fail("write to zram: %m");
	}
	mig_alloc_anywhere();
	munmap(other, PIECES * BETWEEN);
}

static void write_zram(const char *data, char *mem)
{
	int fd;

	if (access(ZRAM_DIR, F_OK))
		mig_skip("no zram device");
	if (mig_read_long(ZRAM_DIR "/disksize"))
		mig_skip("zram0 is in use");
	mig_on_end_write(ZRAM_DIR "/reset", "1");
	mig_write_number(ZRAM_DIR "/disksize", PIECES * PIECE);
	fd = open("/dev/zram0", O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		mig_skip("/dev/zram0: %m");
	write_pieces(fd, data, mem);
	close(fd);
}

static void read_zram(char *data, size_t len)
{
	int fd = open("/dev/zram0", O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd < 0 || read(fd, data, len) != (ssize_t)len)
		mig_fail("read of zram: %m");
	close(fd);
}

/* Each page compresses to about half its size, so that objects share pages. */
static void fill_compressible(char *data, size_t len)
{
	size_t i;

	for (i = 0; i < len; i += mig_psize)
		mig_fill(data + i, mig_psize / 2, i);
}

/*
 * Pages of zsmalloc are on no LRU. The flag that marks them as movable is the bit of
 * PG_uptodate.
 */
#define ZS_FLAGS		MIG_KPF_UPTODATE
#define NO_ZS_FLAGS		(MIG_KPF_LRU | MIG_KPF_DIRTY | MIG_KPF_SLAB |		\
				 MIG_KPF_BUDDY | MIG_KPF_MMAP | MIG_KPF_ANON |		\
				 MIG_KPF_SWAPCACHE | MIG_KPF_SWAPBACKED |		\
				 MIG_KPF_HEAD | MIG_KPF_TAIL | MIG_KPF_HUGE |		\
				 MIG_KPF_NOPAGE | MIG_KPF_OFFLINE | MIG_KPF_ZERO |	\
				 MIG_KPF_PGTABLE | MIG_KPF_RESERVED)
#define AT_ONCE			8192
#define ENOUGH_ZS_PAGES		16
#define ZS_TRIES		5

/**
 * struct pfns - page frame numbers, in ascending order
 * @pfn: the numbers
 * @nr: number of elements in use
 * @size: number of elements allocated
 */
struct pfns {
	uint64_t *pfn;
	size_t nr;
	size_t size;
};

static void add_pfn(struct pfns *pfns, uint64_t pfn)
{
	if (pfns->nr == pfns->size) {
		pfns->size = pfns->size ? 2 * pfns->size : AT_ONCE;
		pfns->pfn = realloc(pfns->pfn, pfns->size * sizeof(*pfns->pfn));
		mig_check(pfns->pfn, "no memory for %zu numbers", pfns->size);
	}
	pfns->pfn[pfns->nr++] = pfn;
}

static bool is_zsmalloc(uint64_t flags)
{
	return (flags & (ZS_FLAGS | NO_ZS_FLAGS)) == ZS_FLAGS;
}

/* Search all page frames for the pages of zsmalloc. */
static struct pfns find_zsmalloc(void)
{
	const size_t size = sizeof(uint64_t);
	uint64_t *flags = calloc(AT_ONCE, size), pfn = 0;
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	struct pfns found = { };
	ssize_t i, len;

	if (fd < 0)
		mig_skip("/proc/kpageflags: %m");
	mig_drain();
	while ((len = pread(fd, flags, AT_ONCE * size, pfn * size)) > 0) {
		for (i = 0; i < len / (ssize_t)size; i++, pfn++) {
			if (is_zsmalloc(flags[i]))
				add_pfn(&found, pfn);
		}
	}
	close(fd);
	free(flags);
	return found;
}

/* Count the pages of @was that are not in @is. */
static size_t nr_gone(const struct pfns *was, const struct pfns *is)
{
	size_t i, j = 0, nr = 0;

	for (i = 0; i < was->nr; i++) {
		while (j < is->nr && is->pfn[j] < was->pfn[i])
			j++;
		nr += j == is->nr || is->pfn[j] != was->pfn[i];
	}
	return nr;
}

/* The pages may be on any node, so compact every node. */
static void compact_everywhere(void)
{
	char *mem;
	int i;

	for (i = 0; i < mig_nr_nodes; i++) {
		mem = mig_anon_on(32 * MB, mig_nodes[i]);
		fragment(mem, 32 * MB);
		compact_node(mig_nodes[i]);
		check_rest(mem, 32 * MB);
		munmap(mem, 32 * MB);
	}
}

/*
 * Nothing is written to zram meanwhile, so a page that zsmalloc no longer uses was
 * moved. At most two of the written pages share one page of zsmalloc.
 */
static void check_zsmalloc_moves(size_t written)
{
	struct pfns was = find_zsmalloc(), is;
	size_t moved = 0;
	int try;

	mig_check(was.nr >= written / mig_psize / 4, "only %zu pages of zsmalloc are seen",
		  was.nr);
	for (try = 1; try <= ZS_TRIES && moved < ENOUGH_ZS_PAGES; try++) {
		if (try > 1)
			mig_try_again(try, ZS_TRIES, "%zu pages of zsmalloc moved", moved);
		compact_node(MIG_A);
		is = find_zsmalloc();
		moved = nr_gone(&was, &is);
		free(is.pfn);
	}
	moved *= !mig_breaks(MIG_BREAK_COUNT);
	mig_check(moved >= ENOUGH_ZS_PAGES, "%zu pages of zsmalloc moved", moved);
	free(was.pfn);
}

/*
 * zram allocates a page of zsmalloc on the node of the data. The pages are spread out,
 * so compaction finds some of them wherever it begins and ends.
 */
static void compact_zsmalloc(const void *arg)
{
	size_t len = PIECES * PIECE, filler = PIECES * BETWEEN;
	char *data = mig_map(len, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *mem = mig_map(filler, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uint64_t sum;

	madvise(mem, filler, MADV_NOHUGEPAGE);
	mig_alloc_on(MIG_A);
	fill_compressible(data, len);
	mig_alloc_anywhere();
	sum = mig_sum(data, len);
	write_zram(data, mem);
	fragment(mem, filler);
	check_zsmalloc_moves(len);
	mig_write(ZRAM_DIR "/compact", "1");
	memset(data, 0, len);
	read_zram(data, len);
	mig_spoil_byte(data, len);
	mig_check(mig_sum(data, len) == sum, "zram has other contents");
	check_rest(mem, filler);
}

/* Inflating takes some time. Wait until the balloon stops growing. */
static void wait_inflated(void)
{
	double end = mig_seconds() + 60 * mig_patience();
	long was, is = mig_vmstat("nr_balloon_pages");

	do {
		was = is;
		sleep(2);
		is = mig_vmstat("nr_balloon_pages");
	} while (is != was && mig_seconds() < end);
}

/* The runner sets MIGRATE_HOST if it passes such requests on to the host. */
static bool ask_host(const char *what)
{
	if (!getenv("MIGRATE_HOST"))
		return false;
	ksft_print_msg("host: %s\n", what);
	return true;
}

/* All pages of the balloon must be freed, including those that were moved. */
static void check_deflates(void)
{
	double end = mig_seconds() + 60 * mig_patience();

	if (!ask_host("deflate"))
		return;
	while (mig_vmstat("nr_balloon_pages")) {
		mig_check(mig_seconds() < end,
			  "%ld pages of the balloon were not freed",
			  mig_vmstat("nr_balloon_pages"));
		usleep(100000);
	}
}

static void compact_balloon(const void *arg)
{
	unsigned int seconds;
	long before, size, is;
	int try;

	if (mig_vmstat("balloon_migrate") < 0)
		mig_skip("the kernel cannot move pages of a balloon");
	ask_host("inflate");
	for (seconds = 0; mig_vmstat("nr_balloon_pages") <= 0; seconds++) {
		if (seconds == BALLOON_SECONDS * mig_patience())
			mig_skip("no balloon, or the host has not inflated it");
		sleep(1);
	}
	wait_inflated();
	size = mig_vmstat("nr_balloon_pages");
	before = mig_vmstat("balloon_migrate");
	before += mig_breaks(MIG_BREAK_COUNT) << 30;
	compact_everywhere();
	for (try = 2; try <= BALLOON_TRIES && mig_vmstat("balloon_migrate") <= before; try++) {
		mig_try_again(try, BALLOON_TRIES, "no page of the balloon moved");
		compact_everywhere();
	}
	mig_check(mig_vmstat("balloon_migrate") > before, "no page of the balloon moved");
	/* The host may still inflate the balloon, but it must not shrink. */
	is = mig_vmstat("nr_balloon_pages") * !mig_breaks(MIG_BREAK_STATUS);
	mig_check(is >= size, "the balloon had %ld pages, and has %ld", size, is);
	check_deflates();
}

/*
 * Memory offlining and soft offlining
 */

static uint64_t pages_per_block(void)
{
	char text[32];

	if (mig_read(BLOCK_DIR "/block_size_bytes", text, sizeof(text)) <= 0)
		mig_skip("no memory blocks in sysfs");
	return strtoull(text, NULL, 16) / mig_psize;
}

static void interrupt(int sig)
{
}

/* Fail, and list the pages that are not free: they may keep the block online. */
static void fail_in_use(long block)
{
	uint64_t pfn = block * pages_per_block(), end = pfn + pages_per_block(), flags;
	char text[256] = "";
	size_t len = 0, nr = 0;

	for (; pfn < end; pfn++) {
		flags = mig_kpageflags(pfn);
		if (flags & MIG_KPF_BUDDY)
			continue;
		if (len < sizeof(text) - 40)
			len += snprintf(text + len, sizeof(text) - len, " %llx: %llx",
					(unsigned long long)pfn, (unsigned long long)flags);
		nr++;
	}
	mig_fail("block %ld is not offline after %u seconds, %zu pages are not free, with flags%s",
		 block, OFFLINE_SECONDS * mig_patience(), nr, text);
}

static bool is_online(long block)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), BLOCK_DIR "/memory%ld/state", block);
	return mig_read(path, text, sizeof(text)) > 0 && !strcmp(text, "online");
}

/* The state to write to bring the block that went offline last back into its zone. */
static const char *online_again;

/*
 * A block at the end of its zone is not in the range of the zone any more when it is
 * offline. The word `online` would then make it memory of the kernel.
 */
static const char *word_for_zone(long block)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), BLOCK_DIR "/memory%ld/valid_zones", block);
	mig_read(path, text, sizeof(text));
	return strcmp(text, "Movable") ? "online" : "online_movable";
}

static void bring_online(long block)
{
	char path[128];
	int err;

	snprintf(path, sizeof(path), BLOCK_DIR "/memory%ld/state", block);
	err = mig_write(path, online_again);
	err -= mig_breaks(MIG_BREAK_STATUS);
	mig_check(!err && is_online(block), "block %ld is not online again: %s",
		  block, strerror(-err));
}

/* Returns 0 or -errno: -EINTR if the block is not offline after @seconds. */
static int try_offline(long block, unsigned int seconds)
{
	struct sigaction action = { .sa_handler = interrupt };
	char path[128];
	int err;

	if (!is_online(block))
		return -EINVAL;
	snprintf(path, sizeof(path), BLOCK_DIR "/memory%ld/state", block);
	online_again = word_for_zone(block);
	sigaction(SIGALRM, &action, NULL);
	alarm(seconds);
	err = mig_write(path, "offline");
	alarm(0);
	if (!err)
		mig_on_end_write(path, online_again);
	return err;
}

static int take_offline(long block)
{
	int err = try_offline(block, OFFLINE_SECONDS * mig_patience());

	if (err == -EINTR)
		fail_in_use(block);
	return err;
}

/*
 * This uses one read for all pages, because the kernel allocates a buffer for each
 * read. If the task may use one node only, the slabs of these buffers are in the
 * blocks that the case takes offline, and cannot move.
 */
static size_t nr_in_range(char *mem, size_t len, uint64_t from, uint64_t to)
{
	uint64_t *entries = mig_pagemap_range(mem, len), pfn;
	size_t i, nr = 0;

	for (i = 0; i < len / mig_psize; i++) {
		pfn = entries[i] & MIG_PM_PFN;
		nr += pfn >= from && pfn < to;
	}
	free(entries);
	return nr;
}

static char *first_in_range(char *mem, size_t len, uint64_t from, uint64_t to)
{
	size_t i;

	for (i = 0; i < len; i += mig_psize) {
		if (nr_in_range(mem + i, mig_psize, from, to))
			return mem + i;
	}
	return NULL;
}

/* Enter a cpuset, so that this task may allocate memory only on @node. */
static void enter_cpuset_of(int node)
{
	char dir[128];

	mig_enter_cgroup(dir, sizeof(dir), "offline", "+cpuset");
	mig_set_mem(dir, node);
}

/* The blocks that contain some of the memory, the last one first. */
static size_t blocks_with(char *mem, size_t len, long *blocks)
{
	const uint64_t per = pages_per_block();
	uint64_t *entries = mig_pagemap_range(mem, len), pfn;
	size_t i, at, nr = 0;
	long block;

	for (i = 0; i < len / mig_psize; i++) {
		pfn = entries[i] & MIG_PM_PFN;
		if (!pfn)
			continue;
		block = pfn / per;
		for (at = 0; at < nr && blocks[at] > block; at++)
			;
		if (at < nr && blocks[at] == block)
			continue;
		mig_check(nr < MAX_BLOCKS, "the memory is in too many blocks");
		memmove(blocks + at + 1, blocks + at, (nr - at) * sizeof(*blocks));
		blocks[at] = block;
		nr++;
	}
	free(entries);
	return nr;
}

/* Take the first of these blocks offline that can be, and return it. */
static long take_one(const long *blocks, size_t nr, int node, uint64_t per)
{
	char tried[256] = "";
	size_t i, len = 0;
	int err;

	for (i = 0; i < nr; i++) {
		if (mig_node_of_pfn(blocks[i] * per) != node)
			continue;
		err = take_offline(blocks[i]);
		if (!err)
			return blocks[i];
		if (len < sizeof(tried) - 80)
			len += snprintf(tried + len, sizeof(tried) - len, ", %ld: %s",
					blocks[i], strerror(-err));
	}
	mig_skip("no memory block of node %d can be taken offline%s", node, tried);
}

/* The pages that were in the block, according to @was, must be on another node. */
static void check_left(char *mem, size_t len, const uint64_t *was, long block)
{
	const uint64_t per = pages_per_block(), from = block * per;
	uint64_t *is = mig_pagemap_range(mem, len), pfn;
	size_t i, nr = 0, left = 0, in;

	for (i = 0; i < len / mig_psize; i++) {
		if (!(was[i] & MIG_PM_PRESENT) ||
		    (was[i] & MIG_PM_PFN) / per != (uint64_t)block)
			continue;
		pfn = is[i] & MIG_PM_PFN;
		nr++;
		left += is[i] & MIG_PM_PRESENT && mig_node_of_pfn(pfn) >= 0 &&
			mig_node_of_pfn(pfn) != mig_node_of_pfn(from);
	}
	free(is);
	left -= mig_breaks(MIG_BREAK_NODE);
	mig_check(nr && left == nr, "%zu of %zu pages of the block are on another node",
		  left, nr);
	in = nr_in_range(mem, len, from, from + per);
	mig_check(!in, "%zu pages are in the block", in);
	mig_note("%zu pages left the block", nr);
}

/*
 * Take the last block offline that contains some of the memory, and bring it online
 * again. If @is_confined, the task enters a cpuset first that has no other node. From
 * then on the kernel allocates page tables of the task on that node. They cannot move,
 * so the task allocates as little as possible.
 */
static void remove_last_block(char *mem, size_t len, int node, bool is_confined)
{
	uint64_t *was = mig_pagemap_range(mem, len), per = pages_per_block();
	long blocks[MAX_BLOCKS], block;
	size_t nr = blocks_with(mem, len, blocks);

	if (is_confined)
		enter_cpuset_of(node);
	block = take_one(blocks, nr, node, per);
	mig_spoil_byte(mem, len);
	mig_check(mig_verify(mem, len, 1) == len, "contents changed");
	check_left(mem, len, was, block);
	bring_online(block);
	free(was);
}

/*
 * Kinds of memory that must leave a block or ZONE_MOVABLE
 */

/**
 * struct kind - kind of memory
 * @make: allocates it on a node, with the contents that seed 1 gives
 * @folio: returns the size of its folios, NULL if that is not checked
 * @need: flags that each page has, and keeps
 * @never: flags that no page has, or gets
 */
struct kind {
	char *(*make)(size_t len, int node);
	size_t (*folio)(void);
	uint64_t need;
	uint64_t never;
};

/* Return the needed flags that some page lacks, and the others that some page has. */
static uint64_t wrong_flags(const struct kind *kind, char *mem, size_t len)
{
	uint64_t *entries, flags, wrong = 0;
	size_t i;

	mig_drain();
	entries = mig_pagemap_range(mem, len);
	for (i = 0; i < len / mig_psize; i++) {
		flags = mig_kpageflags(entries[i] & MIG_PM_PFN);
		wrong |= (kind->need & ~flags) | (kind->never & flags);
	}
	free(entries);
	return wrong;
}

static bool has_folios(const struct kind *kind, char *mem, size_t len)
{
	size_t size = kind->folio ? kind->folio() : 0;

	return !size || mig_nr_folios(mem, len, size / mig_psize) == len / size;
}

static void need_kind(const struct kind *kind, char *mem, size_t len)
{
	uint64_t wrong = wrong_flags(kind, mem, len);

	if (wrong)
		mig_skip("flags %#llx of the memory are not as needed",
			 (unsigned long long)wrong);
	if (!has_folios(kind, mem, len))
		mig_skip("the folios of the memory do not have the size needed");
}

static void expect_kind(const struct kind *kind, char *mem, size_t len)
{
	uint64_t wrong = wrong_flags(kind, mem, len);

	if (mig_breaks(MIG_BREAK_FLAG))
		wrong ^= kind->need;
	mig_check(!wrong, "flags %#llx of some pages are wrong", (unsigned long long)wrong);
	mig_check(has_folios(kind, mem, len), "the folios have another size");
}

static size_t thp_size(void)
{
	size_t size = mig_pmd_size();

	if (!size)
		mig_skip("no transparent huge pages");
	return size;
}

static size_t hugetlb_size(void)
{
	long kb = mig_meminfo("Hugepagesize");

	if (kb <= 0)
		mig_skip("no hugetlb");
	return kb * KB;
}

/* Allocate memory on @node. Its page tables, which cannot move, are on MIG_A. */
static char *fill_on(char *mem, size_t len, int node)
{
	/* Without enough memory, the kernel would kill this process. */
	if (mig_node_free(node) < len + RESERVE)
		mig_skip("node %d has less than %zu MiB free", node, (len + RESERVE) / MB);
	mig_check(!mig_mbind(mem, len, MIG_MPOL_BIND, BIT_OF(node), 0), "mbind: %m");
	mig_alloc_on(MIG_A);
	mig_fill(mem, len, 1);
	mig_alloc_anywhere();
	mig_mbind(mem, len, MIG_MPOL_DEFAULT, 0, 0);
	return mem;
}

static char *anon_pages(size_t len, int node)
{
	char *mem = mig_map(len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);

	madvise(mem, len, MADV_NOHUGEPAGE);
	return fill_on(mem, len, node);
}

static char *locked_pages(size_t len, int node)
{
	char *mem = anon_pages(len, node);

	if (mlock(mem, len))
		mig_skip("mlock of %zu MiB: %m", len / MB);
	return mem;
}

static char *thp_pages(size_t len, int node)
{
	size_t size = thp_size();
	char *mem = mig_map_aligned(len, size);

	mig_thp_enable(size / KB);
	madvise(mem, len, MADV_HUGEPAGE);
	return fill_on(mem, len, node);
}

static char *memfd_pages(size_t len, int node)
{
	char *mem = mig_map(len, PROT_READ | PROT_WRITE, MAP_SHARED, empty_memfd(len));

	return fill_on(mem, len, node);
}

static char *hugetlb_pages(size_t len, int node)
{
	char *mem;

	mig_hugetlb_reserve(node, len / hugetlb_size());
	mem = mig_map(len, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	return fill_on(mem, len, node);
}

/* Reading ahead may make folios of several sizes. */
static char *ext4_pages(size_t len, int node)
{
	char path[256], *mem;
	int fd;

	/* ext4 keeps metadata in page cache, which the journal prevents from moving. */
	mig_alloc_on(MIG_A);
	fd = mig_ext4_file(path, len);
	mem = mig_map(len, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	mig_alloc_on(node);
	mig_read_all(fd, len);
	mig_alloc_on(MIG_A);
	mig_sum(mem, len);
	mig_alloc_anywhere();
	return mem;
}

/**
 * struct zones - where ZONE_MOVABLE is
 * @from: for each node the first pfn of its ZONE_MOVABLE
 * @to: for each node the pfn behind its ZONE_MOVABLE, equal to @from if it has none
 * @others: for each node the number of pages in its other zones
 */
struct zones {
	uint64_t from[MIG_MAX_NODES];
	uint64_t to[MIG_MAX_NODES];
	uint64_t others[MIG_MAX_NODES];
};

static struct zones read_zones(void)
{
	FILE *file = fopen("/proc/zoneinfo", "re");
	unsigned long value, spanned = 0;
	char line[128], name[16] = "";
	struct zones zones = { };
	int node = 0;

	if (!file)
		mig_skip("/proc/zoneinfo: %m");
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Node %d, zone %15s", &node, name) == 2) {
			mig_check(node < MIG_MAX_NODES, "there is a node %d", node);
		} else if (strcmp(name, "Movable")) {
			if (sscanf(line, " present %lu", &value) == 1)
				zones.others[node] += value;
		} else if (sscanf(line, " spanned %lu", &spanned) != 1 &&
			   sscanf(line, " start_pfn: %lu", &value) == 1) {
			zones.from[node] = value;
			zones.to[node] = value + spanned;
		}
	}
	fclose(file);
	return zones;
}

/* Count the pages in ZONE_MOVABLE of any node. */
static size_t nr_movable(char *mem, size_t len)
{
	const struct zones zones = read_zones();
	size_t nr = 0;
	int i, node;

	for (i = 0; i < mig_nr_nodes; i++) {
		node = mig_nodes[i];
		if (zones.from[node] < zones.to[node])
			nr += nr_in_range(mem, len, zones.from[node], zones.to[node]);
	}
	return nr;
}

/* Return the last node that has a ZONE_MOVABLE. */
static int movable_node(void)
{
	const struct zones zones = read_zones();
	int i;

	for (i = mig_nr_nodes - 1; i >= 0; i--) {
		if (zones.from[mig_nodes[i]] < zones.to[mig_nodes[i]])
			return mig_nodes[i];
	}
	mig_skip("no node has a ZONE_MOVABLE, for which the kernel needs kernelcore=");
}

/* Return the first node that has no ZONE_MOVABLE. */
static int outer_node(void)
{
	const struct zones zones = read_zones();
	int i;

	for (i = 0; i < mig_nr_nodes; i++) {
		if (zones.from[mig_nodes[i]] == zones.to[mig_nodes[i]])
			return mig_nodes[i];
	}
	mig_skip("each node has a ZONE_MOVABLE");
}

/*
 * Also give another node as many free pages. Without them, the kernel would allocate
 * pages there that stay in the pool of that node when the case has ended.
 */
static char *hugetlb_with_spares(size_t len, int node)
{
	char *mem = hugetlb_pages(len, node);

	mig_hugetlb_reserve(outer_node(), len / hugetlb_size());
	return mem;
}

static const struct kind anon_kind = {
	.make = anon_pages,
	.need = MIG_KPF_ANON | MIG_KPF_SWAPBACKED,
	.never = MIG_KPF_THP,
};

static const struct kind locked_kind = {
	.make = locked_pages,
	.need = MIG_KPF_ANON | MIG_KPF_MLOCKED | MIG_KPF_UNEVICTABLE,
	.never = MIG_KPF_THP,
};

static const struct kind thp_kind = {
	.make = thp_pages,
	.folio = thp_size,
	.need = MIG_KPF_ANON | MIG_KPF_THP,
};

static const struct kind memfd_kind = {
	.make = memfd_pages,
	.need = MIG_KPF_SWAPBACKED | MIG_KPF_MMAP,
	.never = MIG_KPF_ANON | MIG_KPF_THP,
};

static const struct kind hugetlb_kind = {
	.make = hugetlb_with_spares,
	.folio = hugetlb_size,
	.need = MIG_KPF_HUGE,
};

static const struct kind hugetlb_without_spares = {
	.make = hugetlb_pages,
	.folio = hugetlb_size,
	.need = MIG_KPF_HUGE,
};

static const struct kind ext4_kind = {
	.make = ext4_pages,
	.need = MIG_KPF_UPTODATE | MIG_KPF_MMAP,
	.never = MIG_KPF_ANON | MIG_KPF_SWAPBACKED,
};

/* Without @make: the case needs the file, too. */
static const struct kind dirty_kind = {
	.need = MIG_KPF_DIRTY | MIG_KPF_MMAP,
	.never = MIG_KPF_ANON | MIG_KPF_SWAPBACKED,
};

/*
 * Offline a block of the last node, whose memory the kernel itself uses least. With
 * @arg, the cpuset of the task allows no other node, but the pages must move to one.
 */
static void remove_block(const void *arg)
{
	int node = mig_nodes[mig_nr_nodes - 1];
	size_t len = OFFLINE_LEN;
	char *mem = anon_pages(len, node);

	remove_last_block(mem, len, node, arg);
}

static void remove_filled(const struct kind *kind, char *mem, size_t len, int node)
{
	need_kind(kind, mem, len);
	remove_last_block(mem, len, node, false);
	expect_kind(kind, mem, len);
}

static void remove_kind(const void *arg)
{
	const struct kind *kind = arg;
	int node = mig_nodes[mig_nr_nodes - 1];
	char *mem;

	if (kind->folio && kind->folio() > OFFLINE_LEN)
		mig_skip("a huge page has more than %lu MiB", OFFLINE_LEN / MB);
	mem = kind->make(OFFLINE_LEN, node);
	remove_filled(kind, mem, OFFLINE_LEN, node);
}

/*
 * Make a new file on ext4. Metadata of ext4 is page cache that cannot move while the
 * journal uses it, so it must not be in the block. Have the journal release what it
 * uses, drop it from the page cache, and allocate it on MIG_A from now on. The first
 * write to drop_caches releases the clean buffers, the second one drops their pages.
 * The blocks of the file are allocated here: if ext4 allocated them during writeback,
 * it would begin to write when half of the free blocks are reserved.
 */
static int new_file_on_ext4(size_t len)
{
	char dir[128], path[256];
	int fd;

	if (!mig_ext4_dir(dir, sizeof(dir)))
		mig_skip("no ext4 mounted and MIGRATE_EXT4 not set");
	mig_alloc_on(MIG_A);
	sync();
	mig_write("/proc/sys/vm/drop_caches", "3");
	mig_write("/proc/sys/vm/drop_caches", "3");
	fd = mig_new_file(dir, path, sizeof(path));
	if (posix_fallocate(fd, 0, len))
		mig_skip("no space for a file of %zu bytes on ext4", len);
	return fd;
}

/* Write the file to the disk, drop it from the page cache, and read it again. */
static void check_on_disk(int fd, char *mem, size_t len)
{
	size_t i, nr = len / mig_psize, cached = 0;
	unsigned char *vec = calloc(nr, 1);

	mig_check(!fsync(fd), "fsync: %m");
	munmap(mem, len);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	mem = mig_map(len, PROT_READ, MAP_SHARED, fd);
	mig_check(vec && !mincore(mem, len, vec), "mincore: %m");
	for (i = 0; i < nr; i++)
		cached += vec[i] & 1;
	mig_check(!cached, "%zu pages are still in the page cache", cached);
	mig_check(mig_verify(mem, len, 1) == len, "contents on the disk are wrong");
	free(vec);
}

/* ext4 can move dirty pages, so they must stay dirty until the case writes them. */
static void remove_dirty_ext4(const void *arg)
{
	int fd = new_file_on_ext4(OFFLINE_LEN), node = mig_nodes[mig_nr_nodes - 1];
	char *mem = mig_fs_dirty(fd, OFFLINE_LEN, node);

	remove_filled(&dirty_kind, mem, OFFLINE_LEN, node);
	check_on_disk(fd, mem, OFFLINE_LEN);
}

/*
 * Returns false if the block has no page of the memory, or if another page of the
 * block cannot move either.
 */
static bool stays_while_pinned(char *mem, size_t len, long block)
{
	const uint64_t per = pages_per_block(), from = block * per;
	char *page = first_in_range(mem, len, from, from + per);
	int pin, err;

	if (!page)
		return false;
	pin = mig_hold(page, mig_psize);
	err = try_offline(block, PINNED_SECONDS * mig_patience());
	if (err && err != -EINTR) {
		mig_unpin(pin);
		return false;
	}
	err += mig_breaks(MIG_BREAK_STATUS);
	mig_check(err == -EINTR, "offlining a block with a pinned page returned: %s",
		  strerror(-err));
	mig_check(is_online(block), "the block is not online any more");
	mig_check(nr_in_range(page, mig_psize, from, from + per), "the pinned page moved");
	mig_unpin(pin);
	mig_check(!take_offline(block),
		  "the block cannot go offline after the unpin");
	mig_check(!nr_in_range(mem, len, from, from + per), "some pages stayed in the block");
	return true;
}

/*
 * The kernel tries to move a pinned page out of the block until a signal ends that.
 * The block must then be online as before. Without the pin it can go offline.
 */
static void remove_pinned(const void *arg)
{
	const uint64_t per = pages_per_block();
	int node = mig_nodes[mig_nr_nodes - 1];
	size_t len = OFFLINE_LEN;
	char *mem = anon_pages(len, node);
	long block;

	for (block = MAX_BLOCK; block >= 0; block--) {
		if (mig_node_of_pfn(block * per) == node &&
		    stays_while_pinned(mem, len, block))
			break;
	}
	if (block < 0)
		mig_skip("no memory block of node %d can be taken offline", node);
	mig_spoil_byte(mem, len);
	mig_check(mig_verify(mem, len, 1) == len, "contents changed");
}

/*
 * Offline a block with dirty pages that must be written out before they can move.
 * With @arg, the disk fails with this error, but the block must go offline.
 */
static void remove_dirty(const void *arg)
{
	int fd = mig_fs_file(), node = mig_nodes[mig_nr_nodes - 1];
	long written = mig_vmstat("pgmigrate_writeout");
	size_t len = OFFLINE_LEN;
	char *mem = mig_fs_dirty(fd, len, node);

	if (arg)
		mig_fs_set("error", arg);
	remove_last_block(mem, len, node, false);
	written = mig_vmstat("pgmigrate_writeout") - written;
	if (mig_breaks(MIG_BREAK_COUNT))
		written = !written;
	mig_check(!written == !!arg, "%ld pages written", written);
}

static void unpoison_later(uint64_t pfn)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)pfn);
	mig_on_end_write(HWPOISON_DIR "/unpoison-pfn", text);
}

static void soft_offline_at(char *mem, size_t len, char *addr)
{
	uint64_t was = mig_pagemap(addr) & MIG_PM_PFN, is, flags;

	if (access(HWPOISON_DIR "/unpoison-pfn", F_OK))
		mig_skip("no hwpoison/unpoison-pfn, the page would be lost");
	if (madvise(addr, mig_psize, MADV_SOFT_OFFLINE))
		mig_fail("MADV_SOFT_OFFLINE: %m");
	unpoison_later(was);
	is = mig_pagemap(addr) & MIG_PM_PFN;
	mig_check(is && is != was, "the page is still in use");
	flags = mig_kpageflags(was);
	if (mig_breaks(MIG_BREAK_FLAG))
		flags ^= MIG_KPF_HWPOISON;
	mig_check(flags & MIG_KPF_HWPOISON, "the page is not offline");
	mig_spoil_byte(mem, len);
	mig_check(mig_verify(mem, len, 1) == len, "contents changed");
}

static void soft_offline_small(const void *arg)
{
	char *mem = mig_anon_on(16 * mig_psize, MIG_A);

	soft_offline_at(mem, 16 * mig_psize, mem + 3 * mig_psize);
}

static void soft_offline_huge(const void *arg)
{
	size_t size = mig_pmd_size();
	char *mem;

	if (!size)
		mig_skip("no transparent huge pages");
	mem = mig_thp_on(size, size / KB, MIG_A);
	soft_offline_at(mem, size, mem + 3 * mig_psize);
}

static void soft_offline_file(const void *arg)
{
	char path[256], *mem;
	int fd = mig_ext4_file(path, 16 * mig_psize);

	mem = mig_map(16 * mig_psize, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	mig_fill(mem, 16 * mig_psize, 1);
	soft_offline_at(mem, 16 * mig_psize, mem + 3 * mig_psize);
}

/*
 * CMA
 */

#define STEP			(2 * MB)
#define CMA_TRIES		20
#define FILL_TRIES		5
/* MLOCK_ONFAULT of mlock2(2) */
#define ON_FAULT		1

/**
 * struct cma - an area of contiguous memory
 * @dir: its directory in debugfs
 * @from: first pfn
 * @nr: number of pages
 */
struct cma {
	char dir[160];
	uint64_t from;
	long nr;
};

static bool read_cma(struct cma *cma, const char *label)
{
	char path[192];

	snprintf(cma->dir, sizeof(cma->dir), CMA_DIR "/%.100s", label);
	snprintf(path, sizeof(path), "%s/base_pfn", cma->dir);
	cma->from = mig_read_long(path);
	snprintf(path, sizeof(path), "%s/count", cma->dir);
	cma->nr = mig_read_long(path);
	return cma->nr > 0;
}

static void find_cma(struct cma *cma)
{
	DIR *dir = opendir(CMA_DIR);
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.' && read_cma(cma, entry->d_name);
	if (dir)
		closedir(dir);
	if (!found)
		mig_skip("no CMA area in debugfs");
}

/* Leave little free memory on the node. Reclaim cannot free locked memory. */
static void take_most_of(int node)
{
	size_t len;
	char *mem;

	mig_set("/proc/sys/vm/min_free_kbytes", "8192");
	len = mig_node_free(node);
	if (len <= 64 * MB)
		return;
	len -= 64 * MB;
	mem = mig_map(len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	/* If no other huge page is free, one is allocated from the CMA area. */
	madvise(mem, len, MADV_NOHUGEPAGE);
	mig_mbind(mem, len, MIG_MPOL_BIND, BIT_OF(node), 0);
	if (mlock(mem, len))
		mig_skip("mlock of %zu MiB: %m", len / MB);
}

/*
 * Move all pages out of the area, and leave it free. This also drains the per-CPU
 * free lists, whose pages would be allocated first.
 */
static void vacate(const struct cma *cma)
{
	char path[192], text[32];

	snprintf(text, sizeof(text), "%ld", cma->nr);
	snprintf(path, sizeof(path), "%s/alloc", cma->dir);
	if (mig_write(path, text))
		return;
	snprintf(path, sizeof(path), "%s/free", cma->dir);
	mig_write(path, text);
}

/**
 * enum filling - kind of memory that is allocated in the area
 * @FILL_ANON: anonymous base pages
 * @FILL_HUGE: huge pages, and possibly others
 * @FILL_FILE: pages of a memfd
 */
enum filling {
	FILL_ANON,
	FILL_HUGE,
	FILL_FILE,
};

static char *map_filling(size_t len, enum filling what)
{
	char *mem;

	if (what == FILL_FILE)
		return mig_map(len, PROT_READ | PROT_WRITE, MAP_SHARED, empty_memfd(len));
	mem = mig_map_aligned(len, STEP);
	madvise(mem, len, what == FILL_HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return mem;
}

/*
 * Allocate memory on the node of the area in steps, until enough of it is in the
 * area. The page allocator uses the area when little other memory is left. Returns
 * NULL if no page is in the area.
 */
static char *try_fill_cma(const struct cma *cma, int node, enum filling what,
			  size_t *len)
{
	size_t most = 96 * MB, in = 0;
	char *mem = map_filling(most, what);

	vacate(cma);
	take_most_of(node);
	syscall(SYS_mlock2, mem, most, ON_FAULT);
	mig_alloc_on(node);
	for (*len = 0; *len < most && in < 256 && mig_node_free(node) > 20 * MB;
	     *len += STEP) {
		mig_fill(mem + *len, STEP, 1);
		in += nr_in_range(mem + *len, STEP, cma->from, cma->from + cma->nr);
	}
	mig_alloc_anywhere();
	if (in)
		return mem;
	munmap(mem, most);
	return NULL;
}

/*
 * Try several times: a try may fail because other tasks free memory meanwhile, or
 * because a page in the area temporarily cannot move.
 */
static char *fill_cma(const struct cma *cma, enum filling what, size_t *len)
{
	int node = mig_node_of_pfn(cma->from);
	char *mem = NULL;

	for (int try = 1; try <= FILL_TRIES && !mem; try++) {
		if (try > 1)
			mig_try_again(try, FILL_TRIES, "no page got into the CMA area");
		mem = try_fill_cma(cma, node, what, len);
	}
	if (!mem)
		mig_skip("no page of ours got into the CMA area, with %zu KiB free on its node",
			 mig_node_free(node) / KB);
	return mem;
}

static void check_steps(char *mem, size_t len)
{
	size_t i;

	mig_spoil_byte(mem, len);
	for (i = 0; i < len; i += STEP)
		mig_check(mig_verify(mem + i, STEP, 1) == STEP,
			  "contents changed in step %zu", i / STEP);
}

/*
 * Allocate the whole area, so that the range of the allocation is known. This is
 * retried, because another user may hold a page temporarily, for example a disk.
 */
static void take_cma(const struct cma *cma)
{
	const int most = CMA_TRIES * mig_patience();
	char path[192], text[32];
	int try;

	snprintf(text, sizeof(text), "%ld", cma->nr);
	snprintf(path, sizeof(path), "%s/free", cma->dir);
	mig_on_end_write(path, text);
	snprintf(path, sizeof(path), "%s/alloc", cma->dir);
	for (try = 2; mig_write(path, text); try++) {
		mig_check(try <= most, "no %s contiguous pages", text);
		mig_try_again(try, most, "no %s contiguous pages", text);
		sync();
		mig_write("/proc/sys/vm/drop_caches", "3");
		usleep(100000);
	}
}

static void cma_alloc(const void *arg)
{
	size_t len, before, after;
	struct cma cma;
	char *mem;

	find_cma(&cma);
	mem = fill_cma(&cma, FILL_ANON, &len);
	before = nr_in_range(mem, len, cma.from, cma.from + cma.nr);
	take_cma(&cma);
	after = nr_in_range(mem, len, cma.from, cma.from + cma.nr);
	after += mig_breaks(MIG_BREAK_COUNT);
	mig_check(!after, "%zu pages of ours are still in the area", after);
	check_steps(mem, len);
	mig_note("%zu pages moved", before);
}

static bool is_in_cma(const struct cma *cma, uint64_t pfn)
{
	return pfn >= cma->from && pfn < cma->from + cma->nr;
}

static void pin_out_of_cma(const struct cma *cma, char *addr)
{
	uint64_t pfn;

	if (mig_try_pin(addr, mig_psize) < 0)
		mig_fail("gup_test: %m");
	pfn = mig_pagemap(addr) & MIG_PM_PFN;
	pfn = mig_breaks(MIG_BREAK_NODE) ? cma->from : pfn;
	mig_check(pfn && !is_in_cma(cma, pfn), "pinned inside of the CMA area");
}

/* A long-term pin must not keep memory that an allocation from CMA may need. */
static void longterm_pin(const void *arg)
{
	const enum filling what = *(const enum filling *)arg;
	uint64_t pfn, need = what == FILL_HUGE ? MIG_KPF_THP : 0;
	struct cma cma;
	size_t len, i, nr = 0;
	char *mem;

	find_cma(&cma);
	if (access("/sys/kernel/debug/gup_test", F_OK))
		mig_skip("no gup_test in debugfs");
	if (need && !mig_pmd_size())
		mig_skip("no transparent huge pages");
	if (need)
		mig_thp_enable(mig_pmd_size() / KB);
	mem = fill_cma(&cma, what, &len);
	for (i = 0; i < len && nr < 16; i += mig_psize) {
		pfn = mig_pagemap(mem + i) & MIG_PM_PFN;
		if (!is_in_cma(&cma, pfn) || (need & ~mig_kpageflags(pfn)))
			continue;
		pin_out_of_cma(&cma, mem + i);
		nr++;
	}
	mig_check(nr, "nothing of this kind got into the CMA area");
	check_steps(mem, len);
	mig_note("%zu pins", nr);
}

/*
 * Long-term pins of memory in ZONE_MOVABLE
 */

#define PIN_FOLIOS		8

static char *movable_pages(const struct kind *kind, size_t len)
{
	int node = movable_node();
	char *mem;
	size_t in;

	if (access("/sys/kernel/debug/gup_test", F_OK))
		mig_skip("no gup_test in debugfs");
	mem = kind->make(len, node);
	need_kind(kind, mem, len);
	in = nr_movable(mem, len);
	if (in != len / mig_psize)
		mig_skip("only %zu of %zu pages are in ZONE_MOVABLE", in, len / mig_psize);
	return mem;
}

static void expect_counted(const char *name, long before, long least)
{
	long grown = mig_vmstat(name) - before;

	grown *= !mig_breaks(MIG_BREAK_COUNT);
	mig_check(grown >= least, "%s grew by %ld, not by %ld", name, grown, least);
}

static void expect_pinner_sees(int pin, size_t len, uint64_t seed)
{
	char *copy = mig_map(len, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1);

	mig_read_pinned(pin, copy);
	mig_check(mig_verify(copy, len, seed) == len, "the pinner sees other contents");
	munmap(copy, len);
}

/* The process and the pinner must see the same pages, so let the process write. */
static void check_pinned(const struct kind *kind, int pin, char *mem, size_t len)
{
	size_t in = nr_movable(mem, len);

	in += mig_breaks(MIG_BREAK_NODE);
	mig_check(!in, "%zu pinned pages are in ZONE_MOVABLE", in);
	expect_kind(kind, mem, len);
	mig_spoil_byte(mem, len);
	mig_check(mig_verify(mem, len, 1) == len, "contents changed");
	expect_pinner_sees(pin, len, 1);
	mig_fill(mem, len, 2);
	expect_pinner_sees(pin, len, 2);
}

/*
 * No reference may be left after the unpin. Some pages may be on @node, in another zone
 * of it, so move them to another node and then back.
 */
static void check_unpinned(int pin, char *mem, size_t len, int node)
{
	size_t in;

	mig_unpin(pin);
	mig_must_move_to(mem, len, outer_node());
	mig_must_move_to(mem, len, node);
	in = nr_movable(mem, len);
	mig_check(in == len / mig_psize, "%zu of %zu pages are back in ZONE_MOVABLE",
		  in, len / mig_psize);
	mig_check(mig_verify(mem, len, 2) == len, "contents changed after the unpin");
}

/* Pin @mem. Afterwards it must be of this kind. */
static void pin_as(const struct kind *kind, char *mem, size_t len,
		   int (*try_pin)(void *mem, size_t len))
{
	long before = mig_vmstat("pgmigrate_success");
	int pin = try_pin(mem, len);

	mig_expect_errno(pin, 0);
	expect_counted("pgmigrate_success", before, len / mig_psize);
	check_pinned(kind, pin, mem, len);
	check_unpinned(pin, mem, len, movable_node());
}

static void pin_movable(const void *arg)
{
	const struct kind *kind = arg;
	size_t len = kind->folio ? PIN_FOLIOS * kind->folio() : MB;

	pin_as(kind, movable_pages(kind, len), len, mig_try_pin);
}

/*
 * ext4 must know when its pages become dirty, so the kernel refuses long-term pins for
 * writing.
 */
static void pin_ext4(const void *arg)
{
	char *mem = movable_pages(&ext4_kind, MB);

	mig_expect_errno(mig_try_pin(mem, MB), EFAULT);
	mig_check(nr_movable(mem, MB) == MB / mig_psize,
		  "a pin that was refused has moved pages");
	pin_as(&ext4_kind, mem, MB, mig_try_pin_to_read);
}

/* Pin while this process can allocate no huge page, but smaller ones. */
static int pin_without_huge(void *mem, size_t len)
{
	int fd = mig_fail_pages(__builtin_ctzl(thp_size() / mig_psize)), pin, err;

	mig_set_failing(fd, true);
	pin = mig_try_pin(mem, len);
	err = errno;
	mig_set_failing(fd, false);
	close(fd);
	errno = err;
	return pin;
}

/* Without a huge page elsewhere, each THP must be split, and its pages pinned. */
static void pin_split(const void *arg)
{
	size_t len = PIN_FOLIOS * thp_size();
	char *mem = movable_pages(&thp_kind, len);
	long before = mig_vmstat("thp_migration_split");

	pin_as(&anon_kind, mem, len, pin_without_huge);
	expect_counted("thp_migration_split", before, PIN_FOLIOS);
}

/*
 * hugetlb pages move only on their node for a pin, or to free pages of the pool, but
 * they do not fit into the other zones of their node, and no page of the pool is free.
 */
static void pin_without_spares(const void *arg)
{
	size_t len = PIN_FOLIOS * hugetlb_size(), nr = len / mig_psize, others, in;
	char *mem = movable_pages(&hugetlb_without_spares, len);
	long before = mig_vmstat("pgmigrate_fail");
	int node = movable_node();

	others = read_zones().others[node];
	if (others >= nr)
		mig_skip("%zu pages of node %d are not in ZONE_MOVABLE", others, node);
	if (mig_meminfo("HugePages_Free"))
		mig_skip("%ld hugetlb pages are free", mig_meminfo("HugePages_Free"));
	mig_expect_errno(mig_try_pin(mem, len), ENOMEM);
	expect_counted("pgmigrate_fail", before, 1);
	in = nr_movable(mem, len);
	mig_check(in + others >= nr, "only %zu of %zu pages are in ZONE_MOVABLE", in, nr);
	mig_hugetlb_reserve(outer_node(), PIN_FOLIOS);
	mig_expect_on(mem, len, node);
	/* No pin may be left. */
	mig_must_move_to(mem, len, outer_node());
	mig_check(mig_verify(mem, len, 1) == len, "contents changed");
}

/*
 * DAMON
 */

static void damon(const char *file, const char *text)
{
	char path[256];
	int err;

	snprintf(path, sizeof(path), DAMON_DIR "/%s", file);
	err = mig_write(path, text);
	if (err)
		mig_skip("%s cannot be %s: %s", path, text, strerror(-err));
}

#define CONTEXT		"0/contexts/0/"
#define SCHEME		CONTEXT "schemes/0/"

static void damon_scheme(const char *action, int node)
{
	char text[32];

	snprintf(text, sizeof(text), "%d", node);
	damon(CONTEXT "schemes/nr_schemes", "1");
	damon(SCHEME "action", action);
	damon(SCHEME "target_nid", text);
	damon(SCHEME "access_pattern/sz/max", "18446744073709551615");
	damon(SCHEME "access_pattern/nr_accesses/max", "18446744073709551615");
	damon(SCHEME "access_pattern/age/max", "18446744073709551615");
}

static void damon_target(char *mem, size_t len)
{
	char text[32];

	damon(CONTEXT "targets/nr_targets", "1");
	snprintf(text, sizeof(text), "%d", getpid());
	damon(CONTEXT "targets/0/pid_target", text);
	damon(CONTEXT "targets/0/regions/nr_regions", "1");
	snprintf(text, sizeof(text), "%lu", (unsigned long)mem);
	damon(CONTEXT "targets/0/regions/0/start", text);
	snprintf(text, sizeof(text), "%lu", (unsigned long)mem + len);
	damon(CONTEXT "targets/0/regions/0/end", text);
}

static void damon_moves(const void *arg)
{
	char *mem = mig_anon_on(MB, MIG_A);

	if (access(DAMON_DIR "/nr_kdamonds", F_OK))
		mig_skip("no DAMON in sysfs");
	if (mig_read_long(DAMON_DIR "/nr_kdamonds"))
		mig_skip("DAMON is in use");
	mig_on_end_write(DAMON_DIR "/nr_kdamonds", "0");
	damon("nr_kdamonds", "1");
	mig_on_end_write(DAMON_DIR "/0/state", "off");
	damon("0/contexts/nr_contexts", "1");
	damon(CONTEXT "operations", "fvaddr");
	damon(CONTEXT "monitoring_attrs/intervals/sample_us", "10000");
	damon(CONTEXT "monitoring_attrs/intervals/aggr_us", "50000");
	damon_target(mem, MB);
	damon_scheme("migrate_cold", MIG_B);
	/* DAMON moves only pages that are on an LRU. */
	mig_drain();
	damon("0/state", "on");
	wait_on(mem, MB, MIG_B, 15);
}

static const struct mig_case cases[] = {
	{ "mbind: MOVE", mbind_moves },
	{ "mbind: without MOVE, and STRICT", mbind_without_move },
	{ "mbind: shared memory and MOVE_ALL", mbind_shared },
	{ "mbind: pinned page", mbind_pinned },
	{ "mbind: pinned page and STRICT", mbind_pinned_strict },
	{ "mbind: no memory leaked", mbind_no_leak },
	{ "mbind: errors", mbind_errors },
	{ "mbind: interleave", mbind_interleaves },
	{ "migrate_pages: oneself", migrate_self },
	{ "migrate_pages: pinned pages", migrate_pinned },
	{ "migrate_pages: relative nodes", migrate_relative },
	{ "migrate_pages: to fewer nodes", migrate_to_fewer },
	{ "migrate_pages: another process", migrate_other },
	{ "migrate_pages: no memory leaked", migrate_no_leak },
	{ "migrate_pages: errors", migrate_errors },
	{ "registers of a device: move_pages", registers_move_pages },
	{ "registers of a device: mbind", registers_mbind },
	{ "registers of a device: migrate_pages", registers_migrate_pages },
	{ "cpuset: new nodes", cpuset_changes },
	{ "cpuset: entered", cpuset_entered },
	{ "cpuset: no memory leaked", cpuset_no_leak },
	{ "cpuset: dirty file", cpuset_dirty },
	{ "NUMA balancing: base pages", balance_small },
	{ "NUMA balancing: PMD THP", balance_huge },
	{ "compaction: anon", compact_anon },
	{ "compaction: unmapped pages of ext4", compact_unmapped,
	  &(const struct page_cache){ uncached_on_ext4, false } },
	{ "compaction: unmapped pages of a memfd", compact_unmapped,
	  &(const struct page_cache){ empty_memfd, true } },
	{ "compaction: zsmalloc", compact_zsmalloc },
	{ "compaction: balloon", compact_balloon },
	{ "memory offline", remove_block },
	{ "memory offline: by a task that a cpuset confines to the node",
	  remove_block, "cpuset" },
	{ "memory offline: pinned page", remove_pinned },
	{ "memory offline: PMD THP", remove_kind, &thp_kind },
	{ "memory offline: hugetlb", remove_kind, &hugetlb_kind },
	{ "memory offline: mlocked anon", remove_kind, &locked_kind },
	{ "memory offline: memfd", remove_kind, &memfd_kind },
	{ "memory offline: dirty file", remove_dirty },
	{ "memory offline: dirty file, disk fails", remove_dirty, "5" },
	{ "memory offline: dirty file of ext4", remove_dirty_ext4 },
	{ "CMA allocation", cma_alloc },
	{ "long-term pin of CMA memory", longterm_pin,
	  &(const enum filling){ FILL_ANON } },
	{ "long-term pin of CMA memory: PMD THP", longterm_pin,
	  &(const enum filling){ FILL_HUGE } },
	{ "long-term pin of CMA memory: memfd", longterm_pin,
	  &(const enum filling){ FILL_FILE } },
	{ "long-term pin, movable zone: anon", pin_movable, &anon_kind },
	{ "long-term pin, movable zone: PMD THP", pin_movable, &thp_kind },
	{ "long-term pin, movable zone: PMD THP, no huge page elsewhere", pin_split },
	{ "long-term pin, movable zone: memfd", pin_movable, &memfd_kind },
	{ "long-term pin, movable zone: hugetlb", pin_movable, &hugetlb_kind },
	{ "long-term pin, movable zone: hugetlb, no page elsewhere", pin_without_spares },
	{ "long-term pin, movable zone: file of ext4", pin_ext4 },
	{ "soft offline: base page", soft_offline_small },
	{ "soft offline: PMD THP", soft_offline_huge },
	{ "soft offline: file", soft_offline_file },
	{ "demotion", demotion },
	{ "DAMON: migrate_cold", damon_moves },
};

int main(int argc, char **argv)
{
	return mig_main(argc, argv, cases, ARRAY_SIZE(cases));
}
