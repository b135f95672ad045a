// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of memory that a driver moves itself. The driver is lib/test_vma_migrate.c.
 *
 * System calls and cpusets move the memory. System calls and numa_maps report its
 * nodes. During a move other threads and processes write to the memory, unmap it,
 * fork, exit, and move it to another node. Each step of the driver is made to fail,
 * and to take so long that its caller is killed. The target node runs out of memory.
 *
 * The module test_vma_migrate must be loaded. At the end of each case, end_memory()
 * checks that the driver has freed all pages that it allocated.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lib/test_vma_migrate_uapi.h>

#include "migrate_lib.h"

#define DEVICE		"/dev/test_vma_migrate"
#define KNOBS		"/sys/kernel/debug/test_vma_migrate"
#define CGROUP		"/sys/fs/cgroup"
#define CPUSET		CGROUP "/migrate_vma"
#define PAGES		100	/* more than BATCH, but not a multiple of it */
#define BATCH		32	/* TVM_BATCH: pages that are moved at a time */
#define FEW		8
#define BIT_OF(node)	(1UL << (node))
#define MPOL_LOCAL	4
#define SOME_UID	12345
#define WRITERS		3
#define READERS		2
#define ASKER		(WRITERS + READERS)
#define RUN_SECONDS	3
#define LONG_MS		20000	/* longer than any caller may take that is killed */
#define FAIL_SPACE	"/sys/kernel/debug/fail_page_alloc/space"
/* Pages: one batch and what else a system call allocates, but not two batches. */
#define LITTLE		"60"
/* More than the kernel can reclaim on a full node. */
#define MORE		(64UL << 20)
#define MOST_FILES	64

/**
 * struct memory - the memory that a case works on
 * @fd: the open file of the device
 * @mem: address of the mapping, NULL if it was unmapped
 * @len: length of the mapping
 */
struct memory {
	int fd;
	char *mem;
	size_t len;
};

/*
 * The driver
 */

static long counter(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), KNOBS "/%s", name);
	return mig_read_long(path);
}

/* Write to a debugfs file of a step. It is reset to 0 when the case is over. */
static void set_knob(const char *step, const char *knob, long value)
{
	char path[128], text[32];
	int err;

	snprintf(path, sizeof(path), KNOBS "/%s/%s", step, knob);
	snprintf(text, sizeof(text), "%ld", value);
	if (value)
		mig_on_end_write(path, "0");
	err = mig_write(path, text);
	mig_check(!err, "%s: %s", path, strerror(-err));
}

static long nr_hits(const char *step)
{
	char name[64];

	snprintf(name, sizeof(name), "%s/hits", step);
	return counter(name);
}

static void wait_for_hit(const char *step, long before)
{
	double end = mig_seconds() + 10 * mig_patience();

	while (nr_hits(step) == before) {
		mig_check(mig_seconds() < end, "step %s is not reached", step);
		usleep(1000);
	}
}

static long held(void)
{
	return counter("allocated") - counter("freed");
}

/* As held(), but wait for 0 first: a kworker may put the last reference. */
static long held_at_rest(void)
{
	double end = mig_seconds() + 5 * mig_patience();

	while (held() && mig_seconds() < end)
		usleep(10000);
	return held();
}

/*
 * The memory
 */

static struct memory more_memory(size_t pages)
{
	struct memory m = { .len = pages * mig_psize };

	m.fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (m.fd < 0 && errno == ENOENT)
		mig_skip("the module test_vma_migrate is not loaded");
	mig_check(m.fd >= 0, DEVICE ": %m");
	m.mem = mig_map(m.len, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd);
	return m;
}

/* The first memory of a case: the driver must have no pages yet. */
static struct memory new_memory(size_t pages)
{
	struct memory m = more_memory(pages);

	mig_check(!held_at_rest(),
		  "the driver has pages that another process uses or that were leaked");
	return m;
}

/* Allocate pages on a node. None of them may have been accessed before. */
static void place(const struct memory *m, size_t first, size_t nr, int node)
{
	size_t i;

	mig_alloc_on(node);
	for (i = first; i < first + nr; i++)
		__atomic_store_n(m->mem + i * mig_psize, 0, __ATOMIC_RELAXED);
	mig_alloc_anywhere();
}

static struct memory memory_on(size_t pages, int node)
{
	struct memory m = new_memory(pages);

	place(&m, 0, pages, node);
	mig_fill(m.mem, m.len, 1);
	return m;
}

static void expect_on(char *mem, size_t len, int node)
{
	size_t there = mig_count_on(mem, len, node);

	mig_check(there == len / mig_psize, "%zu of %zu pages are on node %d",
		  there, len / mig_psize, node);
}

static void expect_contents(const struct memory *m)
{
	mig_spoil_byte(m->mem, m->len);
	mig_check(mig_verify(m->mem, m->len, 1) == m->len, "contents changed");
}

/* All pages are on the node, with their contents. */
static void expect_moved(const struct memory *m, int node)
{
	mig_spoil_node(m->mem, m->len, node);
	expect_on(m->mem, m->len, node);
	expect_contents(m);
}

static void expect_long(const char *what, long got, long want)
{
	got += mig_breaks(MIG_BREAK_STATUS);
	mig_check(got == want, "%s is %ld instead of %ld", what, got, want);
}

/* Unmap and close the memory. The driver must free all pages. */
static void end_memory(struct memory *m)
{
	long left;

	if (m->mem)
		munmap(m->mem, m->len);
	close(m->fd);
	left = held_at_rest() + mig_breaks(MIG_BREAK_COUNT);
	mig_check(!left, "%ld pages were not freed", left);
}

static void need_nodes(int nr)
{
	if (mig_nr_nodes < nr)
		mig_skip("needs %d nodes with memory, has %d", nr, mig_nr_nodes);
}

/* A child that fails has set the message, so only its exit status is passed on. */
static void expect_good_end(pid_t pid)
{
	int status;

	mig_check(waitpid(pid, &status, 0) == pid, "waitpid: %m");
	mig_check(WIFEXITED(status), "a child was killed by signal %d",
		  WTERMSIG(status));
	if (WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
}

/* Kill a process. It must exit soon, although a step of the driver takes LONG_MS. */
static void expect_killed(pid_t pid)
{
	double start = mig_seconds();
	int status;

	kill(pid, SIGKILL);
	mig_check(waitpid(pid, &status, 0) == pid, "waitpid: %m");
	mig_check(mig_seconds() - start < 5 * mig_patience(),
		  "the killed process exited after %.1f s", mig_seconds() - start);
	expect_long("the signal that ended the process",
		    WIFSIGNALED(status) ? WTERMSIG(status) : 0, SIGKILL);
}

/* Has a child not exited yet? */
static bool is_running(pid_t pid)
{
	return waitpid(pid, NULL, WNOHANG) == 0;
}

/*
 * Cpusets
 */

static void write_in(const char *dir, const char *file, const char *text)
{
	char path[256];
	int err;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	err = mig_write(path, text);
	mig_check(!err, "cannot write %s to %s: %s", text, path, strerror(-err));
}

static void write_number_in(const char *dir, const char *file, long number)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", number);
	write_in(dir, file, text);
}

static void new_group(const char *dir)
{
	mig_on_end_rmdir(dir);
	mig_check(!mkdir(dir, 0755) || errno == EEXIST, "%s: %m", dir);
}

static void need_cpuset_v2(void)
{
	int err = mig_write(CGROUP "/cgroup.subtree_control", "+cpuset");

	if (err)
		mig_skip("no cpusets of version 2 at " CGROUP ": %s", strerror(-err));
}

/* Copy a file of the root cpuset of version 1, which has all CPUs and nodes. */
static void copy_from_root(const char *root, const char *dir, const char *file)
{
	char path[256], text[128];

	snprintf(path, sizeof(path), "%s/%s", root, file);
	mig_check(mig_read(path, text, sizeof(text)) > 0, "%s cannot be read", path);
	write_in(dir, file, text);
}

/* A kernel with cpusets of version 1 has the file system type "cpuset". */
static bool knows_cpuset_v1(void)
{
	char text[2048];

	return mig_read("/proc/filesystems", text, sizeof(text)) > 0 &&
	       strstr(text, "\tcpuset\n");
}

/*
 * The cpuset controller is in one hierarchy at a time, so it must leave that of
 * version 2 first. This may take a moment.
 */
static void mount_cpuset_v1(const char *root)
{
	double end = mig_seconds() + 10 * mig_patience();
	int err;

	if (!knows_cpuset_v1())
		mig_skip("this kernel has no cpusets of version 1");
	while ((err = mig_write(CGROUP "/cgroup.subtree_control", "-cpuset"))) {
		if (err == -ENOENT)
			break;
		if (mig_seconds() > end)
			mig_skip("others have cpusets at " CGROUP ": %s", strerror(-err));
		usleep(50000);
	}
	while (mount("none", root, "cgroup", 0, "cpuset")) {
		mig_check(mig_seconds() < end, "no cpusets of version 1: %m");
		usleep(50000);
	}
}

/* Move a process to CPUSET, a cpuset of version 2 with these nodes. */
static void put_in_cpuset(pid_t pid, const char *mems)
{
	need_cpuset_v2();
	new_group(CPUSET);
	write_in(CPUSET, "cpuset.mems", mems);
	write_number_in(CPUSET, "cgroup.procs", pid);
}

static void enter_v2(char *dir, size_t size, const char *mems)
{
	put_in_cpuset(getpid(), mems);
	snprintf(dir, size, "%s", CPUSET);
}

/*
 * The same with a cpuset of version 1. It moves memory only if cpuset.memory_migrate
 * is set.
 */
static void enter_v1(char *dir, size_t size, const char *mems)
{
	char root[] = "/tmp/migrate_vma.XXXXXX";

	mig_check(mkdtemp(root), "mkdtemp: %m");
	mig_on_end_rmdir(root);
	mount_cpuset_v1(root);
	mig_on_end_umount(root);
	snprintf(dir, size, "%s/group", root);
	new_group(dir);
	copy_from_root(root, dir, "cpuset.cpus");
	write_in(dir, "cpuset.mems", mems);
	write_number_in(dir, "cgroup.procs", getpid());
}

/* Format a list of nodes for cpuset.mems. */
static const char *list_of(int nr, const int *nodes)
{
	static char text[64];
	int i, len = 0;

	for (i = 0; i < nr; i++)
		len += snprintf(text + len, sizeof(text) - len, "%s%d",
				i ? "," : "", nodes[i]);
	return text;
}

/*
 * The ways to move all of the memory to a node. They return 0 or -errno of the
 * system call. by_move_pages() and by_cpuset() also check the nodes. They return the
 * negative status of the first page that is not on the node, or -EAGAIN.
 */

static long by_move_pages(const struct memory *m, int node, int flags)
{
	int status[TVM_PAGES];
	size_t i;
	long ret;

	ret = mig_move_to(m->mem, m->len, node, flags, status);
	if (ret < 0)
		return -errno;
	for (i = 0; i < m->len / mig_psize; i++) {
		if (status[i] != node)
			return status[i] < 0 ? status[i] : -EAGAIN;
	}
	return ret;
}

static long by_mbind(const struct memory *m, int node, int flags)
{
	return mig_mbind(m->mem, m->len, MIG_MPOL_BIND, BIT_OF(node), flags) ?
	       -errno : 0;
}

/* If the caller is root, migrate_pages(2) also moves shared memory. */
static long by_migrate_pages(const struct memory *m, int node, int flags)
{
	unsigned long all = 0;
	long ret;
	int i;

	for (i = 0; i < mig_nr_nodes; i++)
		all |= BIT_OF(mig_nodes[i]);
	ret = mig_migrate_pages(0, all & ~BIT_OF(node), BIT_OF(node));
	return ret < 0 ? -errno : 0;
}

/*
 * This process is in CPUSET. The write returns after the kworker that it starts has
 * moved the memory.
 */
static long by_cpuset(const struct memory *m, int node, int flags)
{
	size_t i;
	int got;

	write_number_in(CPUSET, "cpuset.mems", node);
	for (i = 0; i < m->len / mig_psize; i++) {
		got = mig_node_of(m->mem + i * mig_psize);
		if (got != node)
			return got < 0 ? got : -EAGAIN;
	}
	return 0;
}

static void enter_cpuset(void)
{
	put_in_cpuset(getpid(), list_of(1, &MIG_A));
}

/**
 * struct way - a way to move memory
 * @name: its name
 * @move: moves all of the memory to a node
 * @prepare: called before the memory is allocated, or NULL
 */
struct way {
	const char *name;
	long (*move)(const struct memory *m, int node, int flags);
	void (*prepare)(void);
};

static const struct way ways[] = {
	{ "move_pages", by_move_pages },
	{ "mbind", by_mbind },
	{ "migrate_pages", by_migrate_pages },
};

static const struct way cpuset = { "cpuset", by_cpuset, enter_cpuset };

static void prepare(const struct way *way)
{
	if (way->prepare)
		way->prepare();
}

static void two_moves(const void *arg)
{
	const struct way *way = arg;
	struct memory m;
	long moved;

	prepare(way);
	m = memory_on(PAGES, MIG_A);
	moved = counter("moved");
	expect_on(m.mem, m.len, MIG_A);
	expect_long(way->name, way->move(&m, MIG_B, MIG_MF_MOVE), 0);
	expect_moved(&m, MIG_B);
	expect_long("moved", counter("moved") - moved, PAGES);
	expect_long(way->name, way->move(&m, MIG_A, MIG_MF_MOVE_ALL), 0);
	expect_moved(&m, MIG_A);
	/* Pages that are on the target node already do not move. */
	expect_long(way->name, way->move(&m, MIG_A, MIG_MF_MOVE_ALL), 0);
	expect_long("moved", counter("moved") - moved, 2 * PAGES);
	end_memory(&m);
}

static void move_to(void *m, int node)
{
	expect_long("mbind", by_mbind(m, node, MIG_MF_MOVE), 0);
}

static void no_leak(const void *arg)
{
	struct memory m = memory_on(PAGES, MIG_A);

	mig_check_loss(move_to, &m);
	expect_moved(&m, MIG_A);
	end_memory(&m);
}

/*
 * Queries of the node
 */

/* A query does not fault in or allocate pages. */
static void query(const void *arg)
{
	struct memory m = new_memory(4);
	long faults, allocated;

	place(&m, 1, 1, MIG_B);
	place(&m, 2, 1, MIG_A);
	faults = nr_hits("fault");
	allocated = counter("allocated");
	expect_long("page 0", mig_node_of(m.mem), -ENOENT);
	expect_long("page 1", mig_node_of(m.mem + mig_psize), MIG_B);
	expect_long("page 2", mig_node_of(m.mem + 2 * mig_psize), MIG_A);
	expect_long("page 3", mig_node_of(m.mem + 3 * mig_psize), -ENOENT);
	/* Nor does a move of a page that does not exist. */
	expect_long("page 3 after a move", by_move_pages(&(struct memory) {
			.mem = m.mem + 3 * mig_psize, .len = mig_psize },
			MIG_B, MIG_MF_MOVE), -ENOENT);
	expect_long("migrate_pages", by_migrate_pages(&m, MIG_A, 0), 0);
	expect_long("faults", nr_hits("fault") - faults, 0);
	expect_long("pages allocated", counter("allocated") - allocated, 1);
	end_memory(&m);
}

/* An error of get_node() is the status of the page. */
static void query_fails(const void *arg)
{
	struct memory m = memory_on(2, MIG_A);

	set_knob("query", "error", EIO);
	expect_long("status", mig_node_of(m.mem), -EIO);
	set_knob("query", "error", 0);
	expect_long("status", mig_node_of(m.mem), MIG_A);
	end_memory(&m);
}

/*
 * get_mempolicy(2) faults in a page that does not exist. If the fault fails, it
 * returns the error of get_user_pages(). It also returns errors of get_node().
 */
static void get_mempolicy_node(const void *arg)
{
	struct memory m = new_memory(4);

	place(&m, 0, 1, MIG_A);
	place(&m, 1, 1, MIG_B);
	expect_long("page 0", mig_node_by_policy(m.mem), MIG_A);
	expect_long("page 1", mig_node_by_policy(m.mem + mig_psize + 1), MIG_B);
	mig_alloc_on(MIG_B);
	expect_long("page 2", mig_node_by_policy(m.mem + 2 * mig_psize), MIG_B);
	mig_alloc_anywhere();
	expect_long("pages held", held(), 3);

	set_knob("query", "error", EXDEV);
	expect_long("page 0", mig_node_by_policy(m.mem), -EXDEV);
	set_knob("query", "error", 0);
	set_knob("fault", "error", EIO);
	expect_long("page 0", mig_node_by_policy(m.mem), MIG_A);
	expect_long("page 3", mig_node_by_policy(m.mem + 3 * mig_psize), -EFAULT);
	set_knob("fault", "error", 0);
	expect_long("pages held", held(), 3);
	end_memory(&m);
}

/* Read the line of numa_maps for an address, which must be the start of a VMA. */
static void read_numa_maps(const void *addr, char *line, size_t size)
{
	FILE *f = fopen("/proc/self/numa_maps", "r");
	char want[32];

	mig_check(f, "numa_maps: %m");
	snprintf(want, sizeof(want), "%08lx ", (unsigned long)addr);
	while (fgets(line, size, f)) {
		if (!strncmp(line, want, strlen(want))) {
			fclose(f);
			return;
		}
	}
	mig_fail("numa_maps has no line for %p", addr);
}

/* The number of pages on a node, according to a line of numa_maps. */
static size_t nr_in_line(const char *line, int node)
{
	char name[32];
	const char *at;

	snprintf(name, sizeof(name), " N%d=", node);
	at = strstr(line, name);
	return at ? strtoul(at + strlen(name), NULL, 10) : 0;
}

static void expect_in_line(const char *line, const char *name, int node, size_t nr)
{
	char want[32];

	if (node >= 0)
		snprintf(want, sizeof(want), " N%d=%zu ", node, nr);
	else
		snprintf(want, sizeof(want), " %s=%zu ", name, nr);
	mig_check(!!strstr(line, want) != mig_breaks(MIG_BREAK_STATUS),
		  "no%sin %s", want, line);
}

static void in_numa_maps(const void *arg)
{
	struct memory m = new_memory(50);
	char line[512];
	long faults;

	read_numa_maps(m.mem, line, sizeof(line));
	mig_check(!strstr(line, " N"),
		  "numa_maps counts pages that were never allocated: %s", line);
	place(&m, 0, 7, MIG_A);
	place(&m, 20, 30, MIG_B);
	faults = nr_hits("fault");
	read_numa_maps(m.mem, line, sizeof(line));
	expect_in_line(line, "", MIG_A, 7);
	expect_in_line(line, "", MIG_B, 30);
	expect_in_line(line, "mapped", -1, 37);
	expect_long("faults", nr_hits("fault") - faults, 0);
	end_memory(&m);
}

/*
 * Ranges and target nodes
 */

/*
 * Each page has its own target node. A page that is passed twice ends on the last of
 * its targets.
 */
static void mixed_targets(const void *arg)
{
	struct memory m = memory_on(PAGES, MIG_A);
	void *pages[2 * PAGES];
	int nodes[2 * PAGES], status[2 * PAGES], want;
	size_t i;

	for (i = 0; i < PAGES; i++) {
		pages[i] = m.mem + i * mig_psize + i;
		pages[PAGES + i] = pages[i];
		nodes[i] = i % 2 ? MIG_A : MIG_B;
		nodes[PAGES + i] = i % 3 ? MIG_A : MIG_B;
	}
	expect_long("move_pages", mig_move_pages(0, 2 * PAGES, pages, nodes, status,
						 MIG_MF_MOVE), 0);
	for (i = 0; i < PAGES; i++) {
		want = nodes[PAGES + i];
		expect_long("status", status[PAGES + i], want);
		expect_long("node", mig_node_of(pages[i]), want);
	}
	expect_contents(&m);
	end_memory(&m);
}

/* One call moves folios and memory of the driver, which fails for some pages. */
static void with_folios(const void *arg)
{
	struct memory m = memory_on(4, MIG_A);
	char *anon = mig_anon_on(4 * mig_psize, MIG_A);
	int nodes[9], status[9];
	void *pages[9];
	size_t i;

	for (i = 0; i < 8; i++)
		pages[i] = (i % 2 ? anon : m.mem) + i / 2 * mig_psize;
	pages[8] = NULL;
	for (i = 0; i < 9; i++)
		nodes[i] = MIG_B;
	set_knob("begin", "error", ENXIO);
	set_knob("begin", "skip", 2);
	expect_long("move_pages", mig_move_pages(0, 9, pages, nodes, status,
						 MIG_MF_MOVE), 2);
	for (i = 0; i < 8; i++)
		expect_long("status", status[i], i == 4 || i == 6 ? -ENXIO : MIG_B);
	expect_long("status of no page", status[8], -EFAULT);
	expect_on(anon, 4 * mig_psize, MIG_B);
	expect_contents(&m);
	end_memory(&m);
}

/*
 * A policy for a part of the VMA moves only that part. The pages are on two nodes in
 * turn. Pages on the node that the policy allows stay.
 */
static void mbind_part(const void *arg)
{
	struct memory m = new_memory(PAGES);
	long moved = counter("moved");
	size_t i, first = 10, nr = 60;

	for (i = 0; i < PAGES; i++)
		place(&m, i, 1, i % 2 ? MIG_B : MIG_A);
	mig_fill(m.mem, m.len, 1);
	mig_expect_errno(mig_mbind(m.mem + first * mig_psize, nr * mig_psize,
				   MIG_MPOL_BIND, BIT_OF(MIG_B), MIG_MF_MOVE), 0);
	for (i = 0; i < PAGES; i++) {
		bool in = i >= first && i < first + nr;

		expect_long("node", mig_node_of(m.mem + i * mig_psize),
			    in || i % 2 ? MIG_B : MIG_A);
	}
	expect_long("moved", counter("moved") - moved, nr / 2);
	expect_contents(&m);
	end_memory(&m);
}

/* A fault allocates memory of the driver on a node of the policy. */
static void mbind_then_fault(const void *arg)
{
	struct memory m = new_memory(8);

	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE | MIG_MF_STRICT), 0);
	mig_fill(m.mem, m.len, 1);
	expect_moved(&m, MIG_B);
	end_memory(&m);
}

/*
 * MPOL_INTERLEAVE allows each of its nodes. MPOL_DEFAULT stands for the policy of
 * the task, and MPOL_LOCAL for the node of the CPU.
 */
static void mbind_modes(const void *arg)
{
	struct memory m = memory_on(8, MIG_A);
	long moved = counter("moved");
	size_t on;

	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_INTERLEAVE,
				   BIT_OF(MIG_A) | BIT_OF(MIG_B), MIG_MF_MOVE), 0);
	expect_long("moved", counter("moved") - moved, 0);
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE), 0);
	expect_on(m.mem, m.len, MIG_B);

	mig_alloc_on(MIG_A);
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_DEFAULT, 0, MIG_MF_MOVE), 0);
	expect_on(m.mem, m.len, MIG_A);
	mig_alloc_anywhere();

	mig_expect_errno(mig_mbind(m.mem, m.len, MPOL_LOCAL, 0, MIG_MF_MOVE), 0);
	on = mig_node_of(m.mem);
	expect_moved(&m, on);
	end_memory(&m);
}

/* MPOL_MF_STRICT alone moves nothing. If it fails, the policy is not set. */
static void mbind_strict(const void *arg)
{
	struct memory m = memory_on(8, MIG_A);
	long moved = counter("moved");

	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_STRICT), EIO);
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_A),
				   MIG_MF_STRICT), 0);
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_B), 0), 0);
	expect_long("moved", counter("moved") - moved, 0);
	expect_on(m.mem, m.len, MIG_A);

	set_knob("begin", "error", ENXIO);
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_STRICT | MIG_MF_MOVE), ENXIO);
	set_knob("begin", "error", 0);
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_STRICT | MIG_MF_MOVE), 0);
	expect_moved(&m, MIG_B);
	end_memory(&m);
}

/* For a hole mbind(2) fails before it moves anything, except with MPOL_DEFAULT. */
static void mbind_hole(const void *arg)
{
	struct memory m = memory_on(FEW, MIG_A);
	const size_t hole = 3 * mig_psize, behind = hole + mig_psize;
	long begun = nr_hits("begin");

	mig_check(!munmap(m.mem + hole, mig_psize), "munmap: %m");
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE | MIG_MF_STRICT), EFAULT);
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_STRICT), EFAULT);
	expect_long("moves begun", nr_hits("begin") - begun, 0);
	expect_on(m.mem, hole, MIG_A);

	mig_alloc_on(MIG_B);
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_DEFAULT, 0, MIG_MF_MOVE), 0);
	mig_alloc_anywhere();
	expect_long("moves begun", nr_hits("begin") - begun, 2);
	expect_on(m.mem, hole, MIG_B);
	expect_on(m.mem + behind, m.len - behind, MIG_B);
	end_memory(&m);
}

/**
 * struct placement - a move between several nodes
 * @nr_nodes: number of nodes that the move needs
 * @from: the source nodes; bit i stands for mig_nodes[i]
 * @to: the target nodes, as bits like @from
 * @target: for memory on mig_nodes[i], the index of its node after the move
 */
struct placement {
	int nr_nodes;
	unsigned int from;
	unsigned int to;
	int target[4];
};

static unsigned long mask_of(unsigned int bits)
{
	unsigned long mask = 0;
	int i;

	for (i = 0; i < 4; i++) {
		if (bits & BIT_OF(i))
			mask |= BIT_OF(mig_nodes[i]);
	}
	return mask;
}

static void relative_placement(const void *arg)
{
	const struct placement *p = arg;
	struct memory m;
	size_t i;

	need_nodes(p->nr_nodes);
	m = new_memory(PAGES);
	for (i = 0; i < PAGES; i++)
		place(&m, i, 1, mig_nodes[i % p->nr_nodes]);
	mig_fill(m.mem, m.len, 1);
	mig_check(mig_migrate_pages(0, mask_of(p->from), mask_of(p->to)) >= 0,
		  "migrate_pages: %m");
	for (i = 0; i < PAGES; i++) {
		expect_long("node", mig_node_of(m.mem + i * mig_psize),
			    mig_nodes[p->target[i % p->nr_nodes]]);
	}
	expect_contents(&m);
	end_memory(&m);
}

/* Memory that is mapped at two addresses moves once, to the target of its node. */
static void mapped_twice(const void *arg)
{
	long moved = counter("moved");
	struct memory m;
	char *again;
	size_t i;

	need_nodes(3);
	m = new_memory(PAGES);
	again = mig_map(m.len, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd);
	for (i = 0; i < PAGES; i++)
		place(&m, i, 1, mig_nodes[i % 2]);
	mig_fill(m.mem, m.len, 1);
	mig_check(mig_migrate_pages(0, mask_of(0x3), mask_of(0x6)) >= 0,
		  "migrate_pages: %m");
	for (i = 0; i < PAGES; i++)
		expect_long("node", mig_node_of(again + i * mig_psize),
			    mig_nodes[i % 2 + 1]);
	expect_long("moved", counter("moved") - moved, PAGES);
	mig_check(mig_verify(again, m.len, 1) == m.len, "contents changed");
	munmap(again, m.len);
	expect_contents(&m);
	end_memory(&m);
}

/*
 * If two addresses of a page have different targets, the page ends on the target of
 * the last address. The order of the node numbers does not matter.
 */
static void two_addresses(const void *arg)
{
	struct memory m = memory_on(2, MIG_A);
	char *again = mig_map(m.len, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd);
	void *pages[] = { m.mem, m.mem + mig_psize, again + mig_psize };
	int nodes[] = { MIG_A, MIG_B, MIG_A }, status[3];

	expect_long("move_pages", mig_move_pages(0, 3, pages, nodes, status,
						 MIG_MF_MOVE), 0);
	expect_long("status", status[2], MIG_A);
	expect_on(m.mem, m.len, MIG_A);
	munmap(again, m.len);
	expect_contents(&m);
	end_memory(&m);
}

/* VMAs keep their methods after a split, mremap(2) and mprotect(2). */
static void changed_vmas(const void *arg)
{
	struct memory m = memory_on(PAGES, MIG_A);
	size_t half = PAGES / 2 * mig_psize;
	char *moved;

	mig_check(!mprotect(m.mem + mig_psize, mig_psize, PROT_READ), "mprotect: %m");
	moved = mmap(NULL, half, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mig_check(moved != MAP_FAILED, "mmap: %m");
	mig_check(mremap(m.mem + half, half, half, MREMAP_MAYMOVE | MREMAP_FIXED,
			 moved) == moved, "mremap: %m");
	expect_long("migrate_pages", by_migrate_pages(&m, MIG_B, 0), 0);
	expect_on(m.mem, half, MIG_B);
	expect_on(moved, half, MIG_B);
	mig_check(mremap(moved, half, half, MREMAP_MAYMOVE | MREMAP_FIXED,
			 m.mem + half) == m.mem + half, "mremap: %m");
	expect_contents(&m);
	end_memory(&m);
}

/*
 * Errors
 */

/* The steps of a move, in their order. */
static const char *const steps[] = { "begin", "alloc", "unmap", "copy", "replace" };

/* The error of each step is returned. No page moves, and all targets are freed. */
static void step_fails(const void *arg)
{
	struct memory m = memory_on(PAGES, MIG_A);
	const struct way *way = arg;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		set_knob(steps[i], "error", EXDEV);
		expect_long(steps[i], way->move(&m, MIG_B, MIG_MF_MOVE), -EXDEV);
		set_knob(steps[i], "error", 0);
		expect_on(m.mem, m.len, MIG_A);
		expect_contents(&m);
		expect_long("pages held", held(), PAGES);
	}
	expect_long(way->name, way->move(&m, MIG_B, MIG_MF_MOVE), 0);
	expect_moved(&m, MIG_B);
	end_memory(&m);
}

/* Pages that moved before an error are not moved back. The others do not move. */
static void fails_in_the_middle(const void *arg)
{
	struct memory m = memory_on(PAGES, MIG_A);
	const struct way *way = arg;

	set_knob("copy", "skip", 1);
	set_knob("copy", "error", EXDEV);
	expect_long(way->name, way->move(&m, MIG_B, MIG_MF_MOVE), -EXDEV);
	set_knob("copy", "error", 0);
	expect_on(m.mem, BATCH * mig_psize, MIG_B);
	expect_on(m.mem + BATCH * mig_psize, m.len - BATCH * mig_psize, MIG_A);
	expect_contents(&m);
	end_memory(&m);
}

/*
 * After an error migrate_pages(2) does not move folios either. move_pages(2) does,
 * see with_folios().
 */
static void error_ends_move(const void *arg)
{
	struct memory m = memory_on(4, MIG_A);
	char *anon = mig_anon_on(4 * mig_psize, MIG_A);

	set_knob("begin", "error", ENXIO);
	expect_long("migrate_pages", by_migrate_pages(&m, MIG_B, 0), -ENXIO);
	expect_on(anon, 4 * mig_psize, MIG_A);
	set_knob("begin", "error", 0);
	expect_long("migrate_pages", by_migrate_pages(&m, MIG_B, 0), 0);
	expect_on(anon, 4 * mig_psize, MIG_B);
	expect_moved(&m, MIG_B);
	end_memory(&m);
}

static void page_pinned(const void *arg)
{
	struct memory m = memory_on(8, MIG_A);
	struct tvm_range range = { .first = 3, .nr = 1 };
	const struct way *way = arg;

	mig_check(!ioctl(m.fd, TVM_PIN, &range), "TVM_PIN: %m");
	expect_long(way->name, way->move(&m, MIG_B, MIG_MF_MOVE), -EBUSY);
	expect_long("pinned page", mig_node_of(m.mem + 3 * mig_psize), MIG_A);
	mig_check(!ioctl(m.fd, TVM_UNPIN, &range), "TVM_UNPIN: %m");
	expect_long(way->name, way->move(&m, MIG_B, MIG_MF_MOVE), 0);
	expect_moved(&m, MIG_B);
	end_memory(&m);
}

/*
 * Move memory while this process can allocate only LITTLE pages. Later page faults
 * would be retried without end. So move it first without the limit, to a node where
 * it is already: then the pages that this code needs are mapped.
 */
static long move_with_little(const struct memory *m, const struct way *way)
{
	int fd = mig_fail_pages(0);
	long ret;

	mig_must_set(FAIL_SPACE, LITTLE);
	expect_long(way->name, way->move(m, MIG_A, MIG_MF_MOVE), 0);
	mig_set_failing(fd, true);
	ret = way->move(m, MIG_B, MIG_MF_MOVE);
	mig_set_failing(fd, false);
	close(fd);
	return ret;
}

/*
 * The driver gets too little memory. Whole batches move, or single pages by
 * move_pages(2). The driver frees the targets of the batch that has failed.
 */
static void little_memory(const void *arg)
{
	const struct way *way = arg;
	struct memory m = memory_on(PAGES, MIG_A);
	long moved = counter("moved"), nr;

	expect_long(way->name, move_with_little(&m, way), -ENOMEM);
	nr = counter("moved") - moved;
	mig_check(nr > 0 && nr < PAGES, "%ld of %d pages moved", nr, PAGES);
	if (way->move != by_move_pages)
		expect_long("moved", nr, BATCH);
	expect_long("pages held", held(), PAGES);
	expect_on(m.mem, nr * mig_psize, MIG_B);
	expect_on(m.mem + nr * mig_psize, m.len - nr * mig_psize, MIG_A);
	expect_contents(&m);
	expect_long(way->name, way->move(&m, MIG_B, MIG_MF_MOVE), 0);
	expect_moved(&m, MIG_B);
	end_memory(&m);
}

/* Get the path of the file with the number of huge pages of a node. */
static void huge_pages_file(char *path, size_t size, int node)
{
	long kb = mig_meminfo("Hugepagesize");

	if (kb <= 0)
		mig_skip("no hugetlb pages of the default size");
	snprintf(path, size,
		 "/sys/devices/system/node/node%d/hugepages/hugepages-%ldkB/nr_hugepages",
		 node, kb);
}

/* Make memory on MIG_A that does not fit on MIG_B. Return the number of files. */
static size_t too_much(struct memory *m)
{
	const size_t size = TVM_PAGES * mig_psize, left = mig_node_free(MIG_B);
	size_t i, nr = (left + MORE) / size + 1;

	if (nr > MOST_FILES)
		mig_skip("%zu MiB of node %d are still free", left >> 20, MIG_B);
	for (i = 0; i < nr; i++) {
		m[i] = i ? more_memory(TVM_PAGES) : new_memory(TVM_PAGES);
		place(&m[i], 0, TVM_PAGES, MIG_A);
		mig_fill(m[i].mem, m[i].len, 1);
	}
	return nr;
}

/* Return the number of pages on MIG_B. All others must be on MIG_A. */
static long nr_on_b(const struct memory *m, size_t nr)
{
	long there, sum = 0;
	size_t i;

	for (i = 0; i < nr; i++) {
		there = mig_count_on(m[i].mem, m[i].len, MIG_B);
		expect_long("pages that stayed",
			    mig_count_on(m[i].mem, m[i].len, MIG_A), TVM_PAGES - there);
		expect_contents(&m[i]);
		sum += there;
	}
	return sum;
}

/*
 * Huge pages fill the target node. The driver must not take memory of a third node.
 * When the huge pages have been freed, all memory moves.
 */
static void full_node(const void *arg)
{
	struct memory m[MOST_FILES];
	long have, moved = counter("moved");
	char path[160];
	size_t i, nr;

	huge_pages_file(path, sizeof(path), MIG_B);
	have = mig_read_long(path);
	mig_write("/proc/sys/vm/drop_caches", "1");
	mig_must_set(path, "1000000");
	nr = too_much(m);
	expect_long("migrate_pages", by_migrate_pages(m, MIG_B, 0), -ENOMEM);
	expect_long("moved", counter("moved") - moved, nr_on_b(m, nr));
	expect_long("pages held", held(), nr * TVM_PAGES);

	mig_write_number(path, have);
	expect_long("migrate_pages", by_migrate_pages(m, MIG_B, 0), 0);
	for (i = 0; i < nr; i++)
		expect_moved(&m[i], MIG_B);
	for (i = 1; i < nr; i++) {
		munmap(m[i].mem, m[i].len);
		close(m[i].fd);
	}
	end_memory(&m[0]);
}

/* Return a node without memory. It need not exist. */
static int node_without_memory(void)
{
	int i = 0, node = 0;

	while (i < mig_nr_nodes) {
		if (mig_nodes[i++] == node) {
			node++;
			i = 0;
		}
	}
	if (node == MIG_MAX_NODES)
		mig_skip("all nodes have memory");
	return node;
}

/* System calls refuse a target without memory, so the driver is not called. */
static void target_without_memory(const void *arg)
{
	struct memory m = memory_on(FEW, MIG_A);
	long begun = nr_hits("begin");
	int node = node_without_memory();

	expect_long("move_pages", by_move_pages(&m, node, MIG_MF_MOVE), -ENODEV);
	expect_long("mbind", by_mbind(&m, node, MIG_MF_MOVE), -EINVAL);
	expect_long("migrate_pages", by_migrate_pages(&m, node, 0), -EINVAL);
	expect_long("moves begun", nr_hits("begin") - begun, 0);
	expect_moved(&m, MIG_A);
	end_memory(&m);
}

/* If the driver fails a fault, the task gets SIGBUS. The memory does not change. */
static void fault_fails(const void *arg)
{
	struct memory m = memory_on(4, MIG_A);
	int status;
	pid_t pid;

	expect_long("mbind", by_mbind(&m, MIG_B, MIG_MF_MOVE), 0);
	set_knob("fault", "error", EIO);
	pid = fork();
	if (!pid)
		_exit(__atomic_load_n(m.mem, __ATOMIC_RELAXED) & 0);
	mig_check(waitpid(pid, &status, 0) == pid, "waitpid: %m");
	mig_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS,
		  "no SIGBUS, but status %#x", status);
	set_knob("fault", "error", 0);
	expect_moved(&m, MIG_B);
	end_memory(&m);
}

static void private_refused(const void *arg)
{
	struct memory m = new_memory(1);

	mig_expect_errno(mmap(NULL, mig_psize, PROT_READ, MAP_PRIVATE, m.fd, 0) ==
			 MAP_FAILED ? -1 : 0, EINVAL);
	mig_expect_errno(mmap(NULL, mig_psize, PROT_READ, MAP_SHARED, m.fd,
			      TVM_PAGES * mig_psize) == MAP_FAILED ? -1 : 0, EINVAL);
	end_memory(&m);
}

/*
 * VMAs without one or both of the methods
 */

/* Map the memory again, by a VMA with these methods. */
static void map_again(struct memory *m, unsigned long methods)
{
	mig_check(!ioctl(m->fd, TVM_METHODS, methods), "TVM_METHODS: %m");
	munmap(m->mem, m->len);
	m->mem = mig_map(m->len, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd);
}

/* If neither mm nor the VMA can move a page, its status is -EFAULT. */
static void expect_not_movable(char *page)
{
	int node = MIG_B, status = -ENOMSG;
	void *addr = page;

	expect_long("move_pages", mig_move_pages(0, 1, &addr, &node, &status,
						 MIG_MF_MOVE), 0);
	expect_long("status", status, -EFAULT);
}

static void expect_not_in_numa_maps(const struct memory *m)
{
	char line[512];

	read_numa_maps(m->mem, line, sizeof(line));
	mig_check(!strstr(line, " N"),
		  "numa_maps counts memory of a VMA without get_node(): %s", line);
}

/* A PFN mapping without methods is treated as before the methods existed. */
static void without_method(const void *arg)
{
	struct memory m = memory_on(4, MIG_A);

	map_again(&m, 0);
	mig_fill(m.mem, m.len, 1);
	expect_not_movable(m.mem);
	expect_long("query", mig_node_of(m.mem), -ENOENT);
	expect_long("get_mempolicy", mig_node_by_policy(m.mem), -EFAULT);
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_MOVE | MIG_MF_STRICT), 0);
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_STRICT), 0);
	expect_long("migrate_pages", by_migrate_pages(&m, MIG_B, 0), 0);
	expect_not_in_numa_maps(&m);
	map_again(&m, TVM_MIGRATE | TVM_GET_NODE);
	expect_moved(&m, MIG_A);
	end_memory(&m);
}

/* Without get_node() memory counts as moved when migrate() returns 0. */
static void without_get_node(const void *arg)
{
	const struct way *way = arg;
	struct memory m = memory_on(PAGES, MIG_A);
	long moved = counter("moved"), asked = nr_hits("query");

	map_again(&m, TVM_MIGRATE);
	expect_long("query", mig_node_of(m.mem), -ENOENT);
	expect_long("get_mempolicy", mig_node_by_policy(m.mem), -EFAULT);
	expect_not_in_numa_maps(&m);
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_STRICT), 0);
	expect_long("moved", counter("moved") - moved, 0);

	set_knob("begin", "error", ENXIO);
	expect_long(way->name, way->move(&m, MIG_B, MIG_MF_MOVE), -ENXIO);
	set_knob("begin", "error", 0);
	expect_long(way->name, way->move(&m, MIG_B, MIG_MF_MOVE), 0);
	expect_long("moved", counter("moved") - moved, PAGES);
	/* mbind(2) calls migrate(), but cannot check the nodes afterwards. */
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   MIG_MF_STRICT | MIG_MF_MOVE_ALL), 0);
	expect_long("queries", nr_hits("query") - asked, 0);

	map_again(&m, TVM_MIGRATE | TVM_GET_NODE);
	expect_moved(&m, MIG_B);
	end_memory(&m);
}

/*
 * The VMA has get_node(), but not migrate(). mbind(2) with MPOL_MF_STRICT fails if
 * the memory is on another node. With MPOL_MF_MOVE or MPOL_MF_MOVE_ALL it still
 * moves the other memory of the range, which is anonymous memory behind the VMA.
 */
static void without_migrate(const void *arg)
{
	const int move = MIG_MF_MOVE, all = MIG_MF_MOVE_ALL, strict = MIG_MF_STRICT;
	struct memory m = memory_on(FEW, MIG_A);
	char *area = mig_anon_on(2 * m.len, MIG_A), *rest = area + m.len;
	long begun = nr_hits("begin");

	mig_check(!ioctl(m.fd, TVM_METHODS, TVM_GET_NODE), "TVM_METHODS: %m");
	munmap(m.mem, m.len);
	m.mem = mmap(area, m.len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		     m.fd, 0);
	mig_check(m.mem == area, "mmap: %m");

	expect_not_movable(m.mem);
	expect_long("get_mempolicy", mig_node_by_policy(m.mem), MIG_A);
	mig_expect_errno(mig_mbind(m.mem, m.len, MIG_MPOL_BIND, BIT_OF(MIG_A),
				   strict | move), 0);
	mig_expect_errno(mig_mbind(area, 2 * m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   strict), EIO);
	expect_on(rest, m.len, MIG_A);
	mig_expect_errno(mig_mbind(area, 2 * m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   strict | move), EIO);
	expect_on(rest, m.len, MIG_B);
	mig_expect_errno(mig_mbind(area, 2 * m.len, MIG_MPOL_BIND, BIT_OF(MIG_A),
				   move), 0);
	expect_on(rest, m.len, MIG_A);
	mig_expect_errno(mig_mbind(area, 2 * m.len, MIG_MPOL_BIND, BIT_OF(MIG_B),
				   strict | all), EIO);
	expect_on(rest, m.len, MIG_B);
	expect_long("migrate_pages", by_migrate_pages(&m, MIG_B, 0), 0);

	expect_long("moves begun", nr_hits("begin") - begun, 0);
	mig_check(mig_verify(area, 2 * m.len, 1) == 2 * m.len, "contents changed");
	expect_moved(&m, MIG_A);
	end_memory(&m);
}

/*
 * Memory that other processes use
 */

/* Fork a child that checks the contents and exits when the parent closes @go. */
static pid_t fork_checker(const struct memory *m, int *go)
{
	char byte;
	int fds[2];
	pid_t pid;

	mig_check(!pipe(fds), "pipe: %m");
	pid = fork();
	mig_check(pid >= 0, "fork: %m");
	if (!pid) {
		close(fds[1]);
		mig_check(read(fds[0], &byte, 1) == 0, "the pipe has data");
		expect_contents(m);
		_exit(0);
	}
	close(fds[0]);
	*go = fds[1];
	return pid;
}

/*
 * With MPOL_MF_MOVE shared memory stays. move_pages(2) sets the status of the page
 * to -EACCES. mbind(2) returns 0, even with MPOL_MF_STRICT, as for shared folios.
 */
static void shared(const void *arg)
{
	struct memory m = memory_on(PAGES, MIG_A);
	struct memory folios = { .mem = mig_anon_on(m.len, MIG_A), .len = m.len };
	int go;
	pid_t pid = fork_checker(&m, &go);

	expect_long("move_pages", by_move_pages(&m, MIG_B, MIG_MF_MOVE), -EACCES);
	expect_long("mbind", by_mbind(&m, MIG_B, MIG_MF_MOVE), 0);
	expect_on(m.mem, m.len, MIG_A);
	expect_long("folios", by_mbind(&folios, MIG_B, MIG_MF_STRICT | MIG_MF_MOVE), 0);
	expect_long("mbind", by_mbind(&m, MIG_B, MIG_MF_STRICT | MIG_MF_MOVE), 0);
	expect_on(folios.mem, m.len, MIG_A);
	expect_on(m.mem, m.len, MIG_A);
	/* MPOL_MF_STRICT alone fails, because the policy forbids the node. */
	expect_long("folios", by_mbind(&folios, MIG_B, MIG_MF_STRICT), -EIO);
	expect_long("mbind", by_mbind(&m, MIG_B, MIG_MF_STRICT), -EIO);
	expect_long("move_pages", by_move_pages(&m, MIG_B, MIG_MF_MOVE_ALL), 0);
	expect_on(m.mem, m.len, MIG_B);
	expect_long("mbind", by_mbind(&m, MIG_A, MIG_MF_STRICT | MIG_MF_MOVE_ALL), 0);
	expect_on(m.mem, m.len, MIG_A);
	expect_long("migrate_pages", by_migrate_pages(&m, MIG_B, 0), 0);
	expect_moved(&m, MIG_B);
	close(go);
	expect_good_end(pid);
	/* The child has exited, so the memory is no longer shared. */
	expect_long("move_pages", by_move_pages(&m, MIG_A, MIG_MF_MOVE), 0);
	expect_moved(&m, MIG_A);
	end_memory(&m);
}

/* Call move_pages(2) for at most BATCH pages at @mem in another process. */
static long move_other(pid_t pid, char *mem, size_t nr, int node, int *status)
{
	void *pages[BATCH] = {};
	int nodes[BATCH] = {};
	size_t i;

	for (i = 0; i < nr; i++) {
		pages[i] = mem + i * mig_psize;
		nodes[i] = node;
		status[i] = -ENOMSG;
	}
	return mig_move_pages(pid, nr, pages, nodes, status, MIG_MF_MOVE);
}

/* The caller does not map the memory, so it is not shared. MPOL_MF_MOVE moves it. */
static void other_process(const void *arg)
{
	struct memory m = memory_on(FEW, MIG_A);
	char *mem = m.mem;
	int status[FEW], go;
	pid_t pid = fork_checker(&m, &go);
	size_t i;

	munmap(m.mem, m.len);
	m.mem = NULL;
	expect_long("move_pages", move_other(pid, mem, FEW, MIG_B, status), 0);
	for (i = 0; i < FEW; i++) {
		expect_long("status", status[i], MIG_B);
		expect_long("node", mig_node_of_in(pid, mem + i * mig_psize), MIG_B);
	}
	mig_check(mig_migrate_pages(pid, BIT_OF(MIG_B), BIT_OF(MIG_A)) >= 0,
		  "migrate_pages: %m");
	for (i = 0; i < FEW; i++)
		expect_long("node", mig_node_of_in(pid, mem + i * mig_psize), MIG_A);
	close(go);
	expect_good_end(pid);
	end_memory(&m);
}

/*
 * Without privileges MPOL_MF_MOVE_ALL fails with -EPERM. migrate_pages(2) does not
 * move shared memory.
 */
static void unprivileged(const void *arg)
{
	struct memory m = memory_on(8, MIG_A);
	int go;
	pid_t other = fork_checker(&m, &go), pid = fork();

	mig_check(pid >= 0, "fork: %m");
	if (!pid) {
		close(go);
		mig_check(!setresuid(SOME_UID, SOME_UID, SOME_UID), "setresuid: %m");
		expect_long("move_pages", by_move_pages(&m, MIG_B, MIG_MF_MOVE_ALL), -EPERM);
		expect_long("mbind", by_mbind(&m, MIG_B, MIG_MF_MOVE_ALL), -EPERM);
		expect_long("migrate_pages", by_migrate_pages(&m, MIG_B, 0), 0);
		expect_on(m.mem, m.len, MIG_A);
		_exit(0);
	}
	expect_good_end(pid);
	close(go);
	expect_good_end(other);
	end_memory(&m);
}

/*
 * Memory that is written during the move. Each writer has two words of its own in
 * each page. In each round it increments the first word and then the second one.
 */

struct work {
	const struct memory *m;
	int index;
	atomic_bool stop;
};

static atomic_ulong *word_of(const struct memory *m, size_t page, int writer)
{
	return (atomic_ulong *)(m->mem + page * mig_psize) + 64 * writer;
}

static unsigned long get(atomic_ulong *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

static void put(atomic_ulong *word, unsigned long value)
{
	atomic_store_explicit(word, value, memory_order_release);
}

static void *write_all(void *arg)
{
	struct work *w = arg;
	unsigned long round;
	size_t i;

	for (round = 1; !w->stop; round++) {
		for (i = 0; i < PAGES; i++) {
			atomic_ulong *word = word_of(w->m, i, w->index);

			if (get(word) != round - 1 || get(word + 1) != round - 1)
				mig_fail("page %zu: a write was lost: %lu and %lu after %lu",
					 i, get(word), get(word + 1), round - 1);
			put(word, round);
			put(word + 1, round);
		}
	}
	return NULL;
}

/*
 * The second word of a writer is read first. So the first word must not be less than
 * the second one. The second word must never decrease.
 */
static void *read_all(void *arg)
{
	unsigned long second, first, last[PAGES][WRITERS] = {};
	struct work *w = arg;
	size_t i;
	int writer;

	while (!w->stop) {
		for (i = 0; i < PAGES; i++) {
			for (writer = 0; writer < WRITERS; writer++) {
				second = get(word_of(w->m, i, writer) + 1);
				first = get(word_of(w->m, i, writer));
				if (first < second || second < last[i][writer])
					mig_fail("page %zu: %lu after %lu, %lu before", i,
						 second, first, last[i][writer]);
				last[i][writer] = second;
			}
		}
	}
	return NULL;
}

/* Each page must be on MIG_A or MIG_B, according to a query of all pages. */
static void ask_pages(const struct memory *m)
{
	void *pages[PAGES];
	int status[PAGES];
	size_t i;

	for (i = 0; i < PAGES; i++)
		pages[i] = m->mem + i * mig_psize;
	expect_long("the query", mig_move_pages(0, PAGES, pages, NULL, status, 0), 0);
	for (i = 0; i < PAGES; i++)
		mig_check(status[i] == MIG_A || status[i] == MIG_B,
			  "page %zu is reported on node %d", i, status[i]);
}

/*
 * Ask for the nodes without end. A page may move while numa_maps counts, but must be
 * counted once.
 */
static void *ask_all(void *arg)
{
	struct work *w = arg;
	char line[512];

	while (!w->stop) {
		ask_pages(w->m);
		read_numa_maps(w->m->mem, line, sizeof(line));
		mig_check(nr_in_line(line, MIG_A) + nr_in_line(line, MIG_B) == PAGES,
			  "numa_maps does not count %d pages: %s", PAGES, line);
	}
	return NULL;
}

/**
 * struct users - threads that use the memory
 * @work: what each of them does
 * @threads: the threads
 * @nr: the number of threads
 */
struct users {
	struct work work[ASKER + 1];
	pthread_t threads[ASKER + 1];
	int nr;
};

/*
 * Start the threads from @first up to @last. The first WRITERS of all threads write,
 * the next READERS read, and ASKER asks for the nodes.
 */
static void start_users(struct users *u, const struct memory *m, int first, int last)
{
	void *(*job)(void *arg);
	int i;

	u->nr = last - first + 1;
	for (i = 0; i < u->nr; i++) {
		u->work[i].m = m;
		u->work[i].index = first + i;
		job = first + i == ASKER ? ask_all : read_all;
		if (first + i < WRITERS)
			job = write_all;
		mig_check(!pthread_create(&u->threads[i], NULL, job, &u->work[i]),
			  "no thread");
	}
}

static void stop_users(struct users *u)
{
	int i;

	for (i = 0; i < u->nr; i++)
		u->work[i].stop = true;
	for (i = 0; i < u->nr; i++)
		pthread_join(u->threads[i], NULL);
}

/* After the writers have stopped, all words of a writer must have its last value. */
static void expect_written(const struct memory *m)
{
	unsigned long last;
	size_t i;
	int writer;

	mig_spoil_byte(m->mem, m->len);
	for (writer = 0; writer < WRITERS; writer++) {
		last = get(word_of(m, 0, writer));
		for (i = 0; i < PAGES; i++)
			mig_check(get(word_of(m, i, writer)) == last &&
				  get(word_of(m, i, writer) + 1) == last,
				  "page %zu: writer %d wrote %lu last, not %lu and %lu",
				  i, writer, last, get(word_of(m, i, writer)),
				  get(word_of(m, i, writer) + 1));
	}
}

/*
 * Move the memory between two nodes for RUN_SECONDS, by @nr ways in turn. Make at
 * least two moves, which may take longer if the steps are slow.
 */
static void move_around(const struct memory *m, const struct way *way, size_t nr)
{
	double end = mig_seconds() + RUN_SECONDS;
	size_t round;

	for (round = 0; round < 2 || mig_seconds() < end; round++) {
		expect_long(way[round % nr].name,
			    way[round % nr].move(m, round % 2 ? MIG_A : MIG_B,
						 MIG_MF_MOVE_ALL), 0);
	}
}

/* Threads write and read during the moves. The driver sleeps in @step, if any. */
static void write_while_moved(const struct way *way, size_t nr, const char *step)
{
	struct users users = {};
	struct memory m;

	prepare(way);
	m = new_memory(PAGES);
	place(&m, 0, PAGES, MIG_A);
	if (step)
		set_knob(step, "sleep_ms", 2);
	start_users(&users, &m, 0, ASKER - 1);
	move_around(&m, way, nr);
	stop_users(&users);
	expect_written(&m);
	end_memory(&m);
}

static void written_while_moved(const void *arg)
{
	write_while_moved(ways, ARRAY_SIZE(ways), arg);
}

static void written_in_cpuset(const void *arg)
{
	write_while_moved(&cpuset, 1, arg);
}

/* The same with writers in other processes, and without readers. */
static void written_by_others(const void *arg)
{
	struct memory m = new_memory(PAGES);
	struct work *work = mig_map(mig_psize, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1);
	pid_t pids[WRITERS];
	int i;

	place(&m, 0, PAGES, MIG_A);
	for (i = 0; i < WRITERS; i++) {
		work[i].m = &m;
		work[i].index = i;
		pids[i] = fork();
		mig_check(pids[i] >= 0, "fork: %m");
		if (!pids[i]) {
			write_all(&work[i]);
			_exit(0);
		}
	}
	move_around(&m, ways, ARRAY_SIZE(ways));
	for (i = 0; i < WRITERS; i++)
		work[i].stop = true;
	for (i = 0; i < WRITERS; i++)
		expect_good_end(pids[i]);
	expect_written(&m);
	end_memory(&m);
}

/**
 * struct rival - one of two movers that move the same memory to different nodes
 * @m: the memory
 * @way: how it moves
 * @node: where it moves to
 * @enough: the counter "moved" after so many moves that both movers have moved pages
 */
struct rival {
	const struct memory *m;
	const struct way *way;
	int node;
	long enough;
};

/*
 * Move for RUN_SECONDS, or longer until there were enough moves. If the other mover
 * has moved a page back, move_pages(2) sets the status of the page to -EBUSY.
 */
static void *move_against(void *arg)
{
	const double end = mig_seconds() + RUN_SECONDS;
	const double last = end + 20 * mig_patience();
	const struct rival *r = arg;
	long ret;

	do {
		ret = r->way->move(r->m, r->node, MIG_MF_MOVE_ALL);
		if (ret != -EBUSY || r->way->move != by_move_pages)
			expect_long(r->way->name, ret, 0);
	} while (mig_seconds() < end ||
		 (counter("moved") < r->enough && mig_seconds() < last));
	return NULL;
}

static void rivals_in_threads(struct rival *rivals)
{
	struct users users = {};
	pthread_t thread;

	start_users(&users, rivals->m, 0, ASKER);
	mig_check(!pthread_create(&thread, NULL, move_against, &rivals[0]), "no thread");
	move_against(&rivals[1]);
	pthread_join(thread, NULL);
	stop_users(&users);
}

/* This process has a mover and the writers. Its child has the other users. */
static void rivals_in_processes(struct rival *rivals)
{
	struct users users = {};
	pid_t pid = fork();

	mig_check(pid >= 0, "fork: %m");
	if (!pid) {
		start_users(&users, rivals->m, WRITERS, ASKER);
		move_against(&rivals[0]);
		stop_users(&users);
		_exit(0);
	}
	start_users(&users, rivals->m, 0, WRITERS - 1);
	move_against(&rivals[1]);
	stop_users(&users);
	expect_good_end(pid);
}

/**
 * struct contest - how two movers move the same memory at the same time
 * @ways: the ways in which they move
 * @run: starts them
 */
struct contest {
	const struct way *ways[2];
	void (*run)(struct rival *rivals);
};

static const struct contest contests[] = {
	{ { &ways[0], &ways[1] }, rivals_in_threads },
	{ { &ways[0], &ways[2] }, rivals_in_threads },
	{ { &ways[1], &ways[2] }, rivals_in_threads },
	{ { &ways[2], &ways[0] }, rivals_in_processes },
	{ { &ways[0], &ways[1] }, rivals_in_processes },
};

/*
 * One mover moves all pages to MIG_A, and the other one to MIG_B. If only one of
 * them worked, no page would move more than once.
 */
static void two_movers(const void *arg)
{
	const struct contest *contest = arg;
	struct memory m = new_memory(PAGES);
	struct rival rivals[2];
	size_t there;
	int i;

	place(&m, 0, PAGES, MIG_A);
	for (i = 0; i < 2; i++)
		rivals[i] = (struct rival) {
			.m = &m,
			.way = contest->ways[i],
			.node = i ? MIG_B : MIG_A,
			.enough = counter("moved") + 4 * PAGES,
		};
	contest->run(rivals);
	mig_check(counter("moved") >= rivals[0].enough, "a mover has moved nothing");
	expect_written(&m);
	there = mig_count_on(m.mem, m.len, MIG_A) + mig_count_on(m.mem, m.len, MIG_B) +
		mig_breaks(MIG_BREAK_NODE);
	mig_check(there == PAGES, "%zu of %d pages are on a target", there, PAGES);

	expect_long("the last move",
		    rivals[0].way->move(&m, MIG_B, MIG_MF_MOVE_ALL), 0);
	expect_on(m.mem, m.len, MIG_B);
	expect_written(&m);
	expect_long("pages held", held(), PAGES);
	end_memory(&m);
}

/* A thread that moves the memory once. */
struct mover {
	const struct memory *m;
	const struct way *way;
	long ret;
	pthread_t thread;
};

static void *move_once(void *arg)
{
	struct mover *mover = arg;

	mover->ret = mover->way->move(mover->m, MIG_B, MIG_MF_MOVE_ALL);
	return NULL;
}

/* Start a move, and return when it has reached @step, which takes @ms. */
static void begin_move(struct mover *mover, const struct memory *m,
		       const struct way *way, const char *step, long ms)
{
	long before = nr_hits(step);

	set_knob(step, "sleep_ms", ms);
	mover->m = m;
	mover->way = way;
	mig_check(!pthread_create(&mover->thread, NULL, move_once, mover), "no thread");
	wait_for_hit(step, before);
}

static long end_move(struct mover *mover)
{
	pthread_join(mover->thread, NULL);
	return mover->ret;
}

/* A child that is forked during the move shares the memory. */
static void fork_while_moved(const void *arg)
{
	struct mover mover;
	struct memory m;
	pid_t pid;

	prepare(arg);
	m = memory_on(FEW, MIG_A);
	begin_move(&mover, &m, arg, "copy", 200);
	pid = fork();
	mig_check(pid >= 0, "fork: %m");
	if (!pid) {
		expect_contents(&m);
		m.mem[0] ^= 1;
		_exit(0);
	}
	expect_good_end(pid);
	expect_long("the move", end_move(&mover), 0);
	m.mem[0] ^= 1;
	expect_moved(&m, MIG_B);
	end_memory(&m);
}

static void munmap_while_moved(const void *arg)
{
	struct mover mover;
	struct memory m;
	long ret;

	prepare(arg);
	m = memory_on(FEW, MIG_A);
	begin_move(&mover, &m, arg, "copy", 200);
	mig_check(!munmap(m.mem, m.len), "munmap: %m");
	ret = end_move(&mover);
	/* by_move_pages() and by_cpuset() return -EFAULT for unmapped pages. */
	mig_check(!ret || ret == -EFAULT, "the move gives %ld", ret);
	m.mem = NULL;
	end_memory(&m);
}

/**
 * struct other_way - a way to move the memory of another process
 * @move: moves pages of the process from MIG_A to MIG_B
 * @prepare: called for the process before the move, or NULL
 */
struct other_way {
	void (*move)(pid_t pid, char *mem, size_t nr);
	void (*prepare)(pid_t pid);
};

static void other_by_move_pages(pid_t pid, char *mem, size_t nr)
{
	int status[BATCH];
	size_t i;

	expect_long("move_pages", move_other(pid, mem, nr, MIG_B, status), 0);
	for (i = 0; i < nr; i++)
		expect_long("status", status[i], MIG_B);
}

static void other_by_migrate_pages(pid_t pid, char *mem, size_t nr)
{
	mig_check(mig_migrate_pages(pid, BIT_OF(MIG_A), BIT_OF(MIG_B)) >= 0,
		  "migrate_pages: %m");
}

static void other_in_cpuset(pid_t pid)
{
	put_in_cpuset(pid, list_of(1, &MIG_A));
}

static void other_by_cpuset(pid_t pid, char *mem, size_t nr)
{
	write_number_in(CPUSET, "cpuset.mems", MIG_B);
}

static const struct other_way other_ways[] = {
	{ other_by_move_pages },
	{ other_by_migrate_pages },
	{ other_by_cpuset, other_in_cpuset },
};

/*
 * The owner of the memory is killed while another process moves it. The step "copy"
 * sleeps only until then.
 */
static void exit_while_moved(const void *arg)
{
	long before, start = counter("moved");
	const struct other_way *way = arg;
	struct memory m = new_memory(BATCH);
	char *mem = m.mem;
	pid_t pid, mover;
	int go;

	place(&m, 0, BATCH, MIG_A);
	mig_fill(m.mem, m.len, 1);
	pid = fork_checker(&m, &go);
	munmap(m.mem, m.len);
	m.mem = NULL;
	if (way->prepare)
		way->prepare(pid);
	before = nr_hits("copy");
	set_knob("copy", "sleep_ms", 500);
	mover = fork();
	mig_check(mover >= 0, "fork: %m");
	if (!mover) {
		close(go);
		way->move(pid, mem, BATCH);
		_exit(0);
	}
	wait_for_hit("copy", before);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	set_knob("copy", "sleep_ms", 0);
	close(go);
	expect_good_end(mover);
	expect_long("moved", counter("moved") - start, BATCH);
	end_memory(&m);
}

/* Start a process that moves the memory. Return when it has reached @step. */
static pid_t fork_mover(const struct memory *m, const struct way *way,
			const char *step)
{
	long before = nr_hits(step);
	pid_t pid = fork();

	mig_check(pid >= 0, "fork: %m");
	if (!pid) {
		way->move(m, MIG_B, MIG_MF_MOVE_ALL);
		_exit(1);
	}
	wait_for_hit(step, before);
	return pid;
}

/*
 * If the mover is killed in any step it exits soon. The memory stays where it was,
 * and the driver frees the targets.
 */
static void mover_killed(const void *arg)
{
	struct memory m = memory_on(PAGES, MIG_A);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		set_knob(steps[i], "sleep_ms", LONG_MS);
		expect_killed(fork_mover(&m, arg, steps[i]));
		set_knob(steps[i], "sleep_ms", 0);
		expect_long("pages held", held(), PAGES);
		expect_on(m.mem, m.len, MIG_A);
		expect_contents(&m);
	}
	end_memory(&m);
}

static atomic_int nr_signals;

static void count_signal(int sig)
{
	nr_signals++;
}

/* Signals with a handler do not interrupt the move. */
static void mover_signalled(const void *arg)
{
	const struct itimerval often = { { 0, 2000 }, { 0, 2000 } }, never = {};
	struct sigaction action = { .sa_handler = count_signal, .sa_flags = SA_RESTART };
	struct memory m = memory_on(PAGES, MIG_A);
	const struct way *way = arg;
	long there, back;

	set_knob("copy", "sleep_ms", 10);
	sigaction(SIGALRM, &action, NULL);
	mig_check(!setitimer(ITIMER_REAL, &often, NULL), "setitimer: %m");
	there = way->move(&m, MIG_B, MIG_MF_MOVE);
	back = way->move(&m, MIG_A, MIG_MF_MOVE);
	setitimer(ITIMER_REAL, &never, NULL);
	mig_check(nr_signals, "there was no signal");
	expect_long(way->name, there, 0);
	expect_long(way->name, back, 0);
	expect_moved(&m, MIG_A);
	end_memory(&m);
}

/*
 * Faults and queries that take long
 */

/*
 * Start a process that reads a page, or has a system call read it. Return when it
 * should be in the fault.
 */
static pid_t fork_accessor(char *addr, bool by_kernel)
{
	int ready[2], data[2];
	char byte;
	pid_t pid;

	mig_check(!pipe(ready) && !pipe(data), "pipe: %m");
	pid = fork();
	mig_check(pid >= 0, "fork: %m");
	if (!pid) {
		mig_check(write(ready[1], "", 1) == 1, "write: %m");
		if (by_kernel && write(data[1], addr, 1) < 0)
			_exit(2);
		_exit(mig_sum(addr, mig_psize) & 1);
	}
	mig_check(read(ready[0], &byte, 1) == 1, "read: %m");
	usleep(50000);
	return pid;
}

/*
 * A process waits in a fault until a move is over. If it is killed it exits before.
 * With an argument the kernel accesses the memory, in a system call of the process.
 */
static void killed_in_fault(const void *arg)
{
	struct memory m = memory_on(FEW, MIG_A);
	pid_t mover, pid;

	set_knob("copy", "sleep_ms", LONG_MS);
	mover = fork_mover(&m, &ways[2], "copy");
	pid = fork_accessor(m.mem, arg);
	expect_killed(pid);
	mig_check(is_running(mover), "the move did not last");
	expect_killed(mover);
	set_knob("copy", "sleep_ms", 0);
	expect_moved(&m, MIG_A);
	end_memory(&m);
}

/*
 * A mover waits until a fault is over. If it is killed it exits before. The process
 * in the fault is killed then, so the fault allocates no page.
 */
static void killed_behind_fault(const void *arg)
{
	struct memory m = new_memory(FEW), rest = m;
	const size_t last = m.len - mig_psize;
	pid_t pid, mover;
	long before;

	place(&m, 0, FEW - 1, MIG_A);
	rest.len = last;
	mig_fill(rest.mem, rest.len, 1);
	before = nr_hits("fault");
	set_knob("fault", "sleep_ms", LONG_MS);
	pid = fork_accessor(m.mem + last, false);
	wait_for_hit("fault", before);
	mover = fork_mover(&rest, arg, "begin");
	usleep(50000);
	expect_killed(mover);
	mig_check(is_running(pid), "the fault did not last");
	expect_killed(pid);
	set_knob("fault", "sleep_ms", 0);
	expect_long("pages held", held(), FEW - 1);
	expect_moved(&rest, MIG_A);
	expect_long("the lost page", mig_node_of(m.mem + last), -ENOENT);
	end_memory(&m);
}

static long ask_move_pages(const struct memory *m)
{
	return mig_node_of(m->mem);
}

static long ask_get_mempolicy(const struct memory *m)
{
	return mig_node_by_policy(m->mem);
}

static long ask_numa_maps(const struct memory *m)
{
	char line[512];

	read_numa_maps(m->mem, line, sizeof(line));
	return nr_in_line(line, MIG_A) == m->len / mig_psize ? MIG_A : -EAGAIN;
}

static long ask_mbind(const struct memory *m)
{
	long err = by_mbind(m, MIG_A, MIG_MF_STRICT);

	return err ? err : MIG_A;
}

/**
 * struct question - a system call that asks for the node of the memory
 * @name: its name
 * @ask: returns the node of all pages, or a negative errno
 */
struct question {
	const char *name;
	long (*ask)(const struct memory *m);
};

static const struct question questions[] = {
	{ "move_pages", ask_move_pages },
	{ "get_mempolicy", ask_get_mempolicy },
	{ "numa_maps", ask_numa_maps },
	{ "mbind", ask_mbind },
};

/* A process that asks the driver exits soon if it is killed. */
static void killed_in_query(const void *arg)
{
	struct memory m = memory_on(FEW, MIG_A);
	long before = nr_hits("query");
	const struct question *q = arg;
	pid_t pid;

	set_knob("query", "sleep_ms", LONG_MS);
	pid = fork();
	mig_check(pid >= 0, "fork: %m");
	if (!pid) {
		q->ask(&m);
		_exit(1);
	}
	wait_for_hit("query", before);
	expect_killed(pid);
	set_knob("query", "sleep_ms", 0);
	expect_long(q->name, q->ask(&m), MIG_A);
	expect_moved(&m, MIG_A);
	end_memory(&m);
}

/**
 * struct asker - a thread that asks once
 * @m: the memory
 * @q: the question
 * @answer: what @q returned
 */
struct asker {
	const struct memory *m;
	const struct question *q;
	long answer;
};

static void *ask_once(void *arg)
{
	struct asker *asker = arg;

	asker->answer = asker->q->ask(asker->m);
	return NULL;
}

/*
 * munmap(2) waits for the query, which uses the VMA. The query began after @start and
 * takes 500 ms. Demand less, because on a slow machine the kernel's time may be late
 * when the driver sets its timer.
 */
static void munmap_while_queried(const void *arg)
{
	struct memory m = memory_on(FEW, MIG_A);
	struct asker asker = { .m = &m, .q = arg };
	long before = nr_hits("query");
	pthread_t thread;
	double start;

	set_knob("query", "sleep_ms", 500);
	start = mig_seconds();
	mig_check(!pthread_create(&thread, NULL, ask_once, &asker), "no thread");
	wait_for_hit("query", before);
	mig_check(!munmap(m.mem, m.len), "munmap: %m");
	mig_check(mig_seconds() - start > 0.1, "munmap did not wait for the query");
	pthread_join(thread, NULL);
	expect_long(asker.q->name, asker.answer, MIG_A);
	m.mem = NULL;
	end_memory(&m);
}

/*
 * Other cases of cpusets
 */

/* If a process enters another cpuset, its memory moves to the nodes of that one. */
static void cpuset_entered(const void *arg)
{
	const char *other = CGROUP "/migrate_vma2";
	struct memory m;

	enter_cpuset();
	new_group(other);
	write_number_in(other, "cpuset.mems", MIG_B);
	m = new_memory(PAGES);
	mig_fill(m.mem, m.len, 1);
	expect_on(m.mem, m.len, MIG_A);
	write_number_in(other, "cgroup.procs", getpid());
	expect_moved(&m, MIG_B);
	end_memory(&m);
}

/**
 * struct version - a version of cpusets
 * @enter: makes a cpuset with these nodes, and moves this process there
 * @follows: name of the file that enables moves, or NULL if memory always moves
 */
struct version {
	void (*enter)(char *dir, size_t size, const char *mems);
	const char *follows;
};

static const struct version versions[] = {
	{ enter_v1, "cpuset.memory_migrate" },
	{ enter_v2 },
};

/* The memory of each node has its own target node, and moves once. */
static void cpuset_placement(const void *arg)
{
	const struct version *version = arg;
	long moved = counter("moved");
	struct memory m;
	char dir[64];
	size_t i;

	need_nodes(3);
	version->enter(dir, sizeof(dir), list_of(2, mig_nodes));
	if (version->follows)
		write_number_in(dir, version->follows, 1);
	m = new_memory(PAGES);
	for (i = 0; i < PAGES; i++)
		place(&m, i, 1, mig_nodes[i % 2]);
	mig_fill(m.mem, m.len, 1);
	write_in(dir, "cpuset.mems", list_of(2, mig_nodes + 1));
	for (i = 0; i < PAGES; i++)
		expect_long("node", mig_node_of(m.mem + i * mig_psize),
			    mig_nodes[i % 2 + 1]);
	expect_long("moved", counter("moved") - moved, PAGES);
	expect_contents(&m);
	end_memory(&m);
}

/*
 * A write to cpuset.mems does not return errors of the driver. The memory stays, and
 * so do the folios of the process. They move if MIG_B becomes the node of the cpuset
 * once more.
 */
static void cpuset_fails(const void *arg)
{
	struct memory m;
	char *anon;
	long before;
	size_t i;

	enter_cpuset();
	m = memory_on(PAGES, MIG_A);
	anon = mig_anon_on(m.len, MIG_A);
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		before = nr_hits(steps[i]);
		set_knob(steps[i], "error", EXDEV);
		expect_long(steps[i], by_cpuset(&m, MIG_B, 0), -EAGAIN);
		set_knob(steps[i], "error", 0);
		expect_long("hits", nr_hits(steps[i]) - before, 1);
		expect_on(m.mem, m.len, MIG_A);
		expect_on(anon, m.len, MIG_A);
		expect_contents(&m);
		expect_long("pages held", held(), PAGES);
		expect_long("cpuset", by_cpuset(&m, MIG_A, 0), 0);
	}
	expect_long("cpuset", by_cpuset(&m, MIG_B, 0), 0);
	expect_on(anon, m.len, MIG_B);
	expect_moved(&m, MIG_B);
	end_memory(&m);
}

/* The same with a pinned page in the second batch. The first batch moves. */
static void cpuset_pinned(const void *arg)
{
	struct tvm_range range = { .first = BATCH + 3, .nr = 1 };
	const size_t first = BATCH * mig_psize;
	struct memory m;
	char *anon;

	enter_cpuset();
	m = memory_on(PAGES, MIG_A);
	anon = mig_anon_on(m.len, MIG_A);
	mig_check(!ioctl(m.fd, TVM_PIN, &range), "TVM_PIN: %m");
	expect_long("cpuset", by_cpuset(&m, MIG_B, 0), -EAGAIN);
	expect_on(m.mem, first, MIG_B);
	expect_on(m.mem + first, m.len - first, MIG_A);
	expect_on(anon, m.len, MIG_A);
	expect_contents(&m);
	expect_long("pages held", held(), PAGES);
	mig_check(!ioctl(m.fd, TVM_UNPIN, &range), "TVM_UNPIN: %m");
	expect_long("cpuset", by_cpuset(&m, MIG_A, 0), 0);
	expect_long("cpuset", by_cpuset(&m, MIG_B, 0), 0);
	expect_on(anon, m.len, MIG_B);
	expect_moved(&m, MIG_B);
	end_memory(&m);
}

/*
 * A VMA without migrate() is left out, without an error. The argument gives its
 * methods. The other memory of the process moves, as if there were no such VMA. In
 * the end both nodes are allowed, so that -b can move a page.
 */
static void cpuset_without_migrate(const void *arg)
{
	const long moved = counter("moved"), begun = nr_hits("begin");
	const unsigned long *methods = arg;
	struct memory m;
	long asked;
	char *anon;

	enter_cpuset();
	m = memory_on(FEW, MIG_A);
	map_again(&m, *methods);
	mig_check(mig_verify(m.mem, m.len, 1) == m.len, "contents changed");
	anon = mig_anon_on(m.len, MIG_A);
	asked = nr_hits("query");
	write_number_in(CPUSET, "cpuset.mems", MIG_B);
	write_in(CPUSET, "cpuset.mems", list_of(2, mig_nodes));
	mig_expect_on(anon, m.len, MIG_B);
	expect_long("moves begun", nr_hits("begin") - begun, 0);
	expect_long("queries", nr_hits("query") - asked, 0);
	expect_long("moved", counter("moved") - moved, 0);
	map_again(&m, TVM_MIGRATE | TVM_GET_NODE);
	expect_moved(&m, MIG_A);
	end_memory(&m);
}

/* Memory moves only if cpuset.memory_migrate is set. */
static void cpuset_v1(const void *arg)
{
	struct memory m;
	char dir[64];

	enter_v1(dir, sizeof(dir), list_of(1, &MIG_A));
	m = new_memory(PAGES);
	mig_fill(m.mem, m.len, 1);
	expect_on(m.mem, m.len, MIG_A);

	write_number_in(dir, "cpuset.mems", MIG_B);
	expect_on(m.mem, m.len, MIG_A);
	write_number_in(dir, "cpuset.mems", MIG_A);
	write_number_in(dir, "cpuset.memory_migrate", 1);
	write_number_in(dir, "cpuset.mems", MIG_B);
	expect_moved(&m, MIG_B);
	end_memory(&m);
}

static const unsigned long no_methods, only_get_node = TVM_GET_NODE;

static const struct placement apart = { 4, 0x3, 0xc, { 2, 3, 2, 3 } };
static const struct placement next_node = { 4, 0x7, 0xe, { 1, 2, 3, 3 } };
static const struct placement exchanged = { 2, 0x3, 0x3, { 0, 1 } };
static const struct placement fewer = { 3, 0x7, 0x6, { 1, 1, 2 } };

static const struct mig_case cases[] = {
	{ "two moves: move_pages", two_moves, &ways[0] },
	{ "two moves: mbind", two_moves, &ways[1] },
	{ "two moves: migrate_pages", two_moves, &ways[2] },
	{ "two moves: cpuset", two_moves, &cpuset },
	{ "no memory leaked", no_leak },
	{ "query", query },
	{ "query fails", query_fails },
	{ "get_mempolicy", get_mempolicy_node },
	{ "numa_maps", in_numa_maps },
	{ "mixed targets", mixed_targets },
	{ "with folios", with_folios },
	{ "mbind: part", mbind_part },
	{ "mbind: then fault", mbind_then_fault },
	{ "mbind: modes", mbind_modes },
	{ "mbind: strict", mbind_strict },
	{ "mbind: hole", mbind_hole },
	{ "placement: apart", relative_placement, &apart },
	{ "placement: next node", relative_placement, &next_node },
	{ "placement: the same nodes", relative_placement, &exchanged },
	{ "placement: fewer nodes", relative_placement, &fewer },
	{ "mapped twice", mapped_twice },
	{ "two addresses", two_addresses },
	{ "changed VMAs", changed_vmas },
	{ "step fails: move_pages", step_fails, &ways[0] },
	{ "step fails: mbind", step_fails, &ways[1] },
	{ "step fails: migrate_pages", step_fails, &ways[2] },
	{ "fails in the middle: mbind", fails_in_the_middle, &ways[1] },
	{ "fails in the middle: migrate_pages", fails_in_the_middle, &ways[2] },
	{ "error ends the move", error_ends_move },
	{ "pinned: move_pages", page_pinned, &ways[0] },
	{ "pinned: mbind", page_pinned, &ways[1] },
	{ "pinned: migrate_pages", page_pinned, &ways[2] },
	{ "little memory: move_pages", little_memory, &ways[0] },
	{ "little memory: mbind", little_memory, &ways[1] },
	{ "little memory: migrate_pages", little_memory, &ways[2] },
	{ "full node", full_node },
	{ "target without memory", target_without_memory },
	{ "fault fails", fault_fails },
	{ "private mapping", private_refused },
	{ "VMA without the methods", without_method },
	{ "VMA without get_node: move_pages", without_get_node, &ways[0] },
	{ "VMA without get_node: mbind", without_get_node, &ways[1] },
	{ "VMA without get_node: migrate_pages", without_get_node, &ways[2] },
	{ "VMA without migrate", without_migrate },
	{ "shared", shared },
	{ "another process", other_process },
	{ "unprivileged", unprivileged },
	{ "written while moved", written_while_moved },
	{ "written while moved: slow alloc", written_while_moved, "alloc" },
	{ "written while moved: slow unmap", written_while_moved, "unmap" },
	{ "written while moved: slow copy", written_while_moved, "copy" },
	{ "written while moved: slow replace", written_while_moved, "replace" },
	{ "written while moved: cpuset", written_in_cpuset },
	{ "written while moved: cpuset, slow copy", written_in_cpuset, "copy" },
	{ "written by others", written_by_others },
	{ "two movers: move_pages, mbind", two_movers, &contests[0] },
	{ "two movers: move_pages, migrate_pages", two_movers, &contests[1] },
	{ "two movers: mbind, migrate_pages", two_movers, &contests[2] },
	{ "two processes: migrate_pages, move_pages", two_movers, &contests[3] },
	{ "two processes: move_pages, mbind", two_movers, &contests[4] },
	{ "fork while moved: move_pages", fork_while_moved, &ways[0] },
	{ "fork while moved: mbind", fork_while_moved, &ways[1] },
	{ "fork while moved: migrate_pages", fork_while_moved, &ways[2] },
	{ "fork while moved: cpuset", fork_while_moved, &cpuset },
	{ "munmap while moved: move_pages", munmap_while_moved, &ways[0] },
	{ "munmap while moved: mbind", munmap_while_moved, &ways[1] },
	{ "munmap while moved: migrate_pages", munmap_while_moved, &ways[2] },
	{ "munmap while moved: cpuset", munmap_while_moved, &cpuset },
	{ "exit while moved: move_pages", exit_while_moved, &other_ways[0] },
	{ "exit while moved: migrate_pages", exit_while_moved, &other_ways[1] },
	{ "exit while moved: cpuset", exit_while_moved, &other_ways[2] },
	{ "mover killed: move_pages", mover_killed, &ways[0] },
	{ "mover killed: mbind", mover_killed, &ways[1] },
	{ "mover killed: migrate_pages", mover_killed, &ways[2] },
	{ "mover signalled: move_pages", mover_signalled, &ways[0] },
	{ "mover signalled: mbind", mover_signalled, &ways[1] },
	{ "mover signalled: migrate_pages", mover_signalled, &ways[2] },
	{ "killed in a fault", killed_in_fault },
	{ "killed in a fault: system call", killed_in_fault, "kernel" },
	{ "killed behind a fault: mbind", killed_behind_fault, &ways[1] },
	{ "killed behind a fault: migrate_pages", killed_behind_fault, &ways[2] },
	{ "killed in a query: move_pages", killed_in_query, &questions[0] },
	{ "killed in a query: get_mempolicy", killed_in_query, &questions[1] },
	{ "killed in a query: numa_maps", killed_in_query, &questions[2] },
	{ "killed in a query: mbind", killed_in_query, &questions[3] },
	{ "munmap while queried: move_pages", munmap_while_queried, &questions[0] },
	{ "munmap while queried: get_mempolicy", munmap_while_queried, &questions[1] },
	{ "munmap while queried: numa_maps", munmap_while_queried, &questions[2] },
	{ "munmap while queried: mbind", munmap_while_queried, &questions[3] },
	{ "cpuset: another one", cpuset_entered },
	{ "cpuset: placement", cpuset_placement, &versions[1] },
	{ "cpuset: driver fails", cpuset_fails },
	{ "cpuset: pinned", cpuset_pinned },
	{ "cpuset: VMA without the methods", cpuset_without_migrate, &no_methods },
	{ "cpuset: VMA without migrate", cpuset_without_migrate, &only_get_node },
	/* Last, because the controller may need a moment to return to version 2. */
	{ "cpuset: placement, v1", cpuset_placement, &versions[0] },
	{ "cpuset: v1", cpuset_v1 },
};

int main(int argc, char **argv)
{
	return mig_main(argc, argv, cases, ARRAY_SIZE(cases));
}
