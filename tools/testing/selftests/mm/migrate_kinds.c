// SPDX-License-Identifier: GPL-2.0-only
/*
 * Move each kind of memory that user space can make between two nodes by
 * move_pages(2), mbind(2) and migrate_pages(2). After each move every page must be
 * on the target node. Its contents, its flags, the number of its mappings and the
 * bits of its page table entry must be as before.
 *
 * A kind is a line of the table at the end. For each kind there is a second case,
 * named "counters". It compares all counters of nodes, zones and of a memory cgroup
 * before and after, see migrate_counters.c. For some kinds there are the cases
 * "origin: owner" and "origin: tags", see migrate_origin.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <asm/posix_types.h>
#include <linux/aio_abi.h>
#include <linux/loop.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate_counters.h"
#include "migrate_lib.h"
#include "migrate_origin.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret	447
#endif

#define THP_DIR			"/sys/kernel/mm/transparent_hugepage"

#define KB			1024UL
#define MB			(1024 * KB)

/* Flags of a page that migration must keep. */
#define KEPT_KPF	(MIG_KPF_UPTODATE | MIG_KPF_LRU | MIG_KPF_MMAP |	\
			 MIG_KPF_ANON | MIG_KPF_SWAPCACHE |			\
			 MIG_KPF_SWAPBACKED | MIG_KPF_HEAD | MIG_KPF_TAIL |	\
			 MIG_KPF_HUGE | MIG_KPF_UNEVICTABLE | MIG_KPF_KSM |	\
			 MIG_KPF_HWPOISON | MIG_KPF_THP | MIG_KPF_ZERO |	\
			 MIG_KPF_MLOCKED | MIG_KPF_PRIVATE)
/* Bits of a pagemap entry that migration must keep. */
#define KEPT_PM		(MIG_PM_SOFT_DIRTY | MIG_PM_EXCLUSIVE |			\
			 MIG_PM_UFFD_WP | MIG_PM_GUARD | MIG_PM_FILE |		\
			 MIG_PM_SWAP | MIG_PM_PRESENT)

/**
 * enum way - how a test moves memory to another node
 * @BY_MOVE_PAGES: by address, with an exact count
 * @BY_MBIND: by range
 * @BY_MIGRATE_PAGES: with all other memory of the process
 */
enum way {
	BY_MOVE_PAGES,
	BY_MBIND,
	BY_MIGRATE_PAGES,
};

/**
 * struct area - the memory of one kind
 * @mem: its address
 * @len: its length in bytes
 * @named: length of the part that move_pages(2) has to name to move all of it
 * @step: distance between the addresses that move_pages(2) gets
 * @fd: the file that is mapped, or another descriptor to keep open
 * @path: the name of that file
 * @other: another process that maps it at the same address, or 0
 * @rest: pages outside the area that migrate_pages(2) leaves behind
 * @was: the pages before the move
 * @is: the pages after the move
 */
struct area {
	char *mem;
	size_t len;
	size_t named;
	size_t step;
	int fd;
	char path[256];
	pid_t other;
	long rest;
	struct mig_page *was;
	struct mig_page *is;
};

/* Kind: a move must not make the memory dirty. */
#define KIND_CLEAN		MIG_BIT(0)
/* Kind: the memory cannot move. An attempt must leave it unchanged. */
#define KIND_STAYS		MIG_BIT(1)
/* Kind: parts are unmapped, so the test moves it by range, not by move_pages(2). */
#define KIND_RANGE_ONLY		MIG_BIT(2)
/* Kind: a move may split folios, but must keep everything else. */
#define KIND_MAY_SPLIT		MIG_BIT(3)
/* Kind: of a file that has writeback, so that the kernel counts dirty pages. */
#define KIND_WRITTEN_BACK	MIG_BIT(4)
/* Kind: the base counts it on the wrong node or in the wrong cgroup after a move. */
#define KIND_MISCOUNTED		MIG_BIT(5)

/**
 * struct kind - one kind of memory
 * @setup: makes it on node A; sets at least area.mem
 * @arg: argument of @setup
 * @len: length in bytes, 0 if @setup sets it
 * @need: flags that every page must have; otherwise the case is skipped
 * @opts: KIND_*
 * @status: status of each page that move_pages(2) cannot move
 * @after: checks after the moves, or NULL
 */
struct kind {
	void (*setup)(struct area *a, unsigned long arg);
	unsigned long arg;
	size_t len;
	uint64_t need;
	unsigned int opts;
	int status;
	void (*after)(struct area *a);
};

static size_t nr_pages(const struct area *a)
{
	return a->len / mig_psize;
}

/*
 * Moves
 */

static bool moves(const struct mig_page *was)
{
	return was->node >= 0;
}

static long send_by_address(const struct area *a, int node, int *status)
{
	size_t i, nr = a->named / a->step;
	void **pages = calloc(nr, sizeof(*pages));
	int *nodes = calloc(nr, sizeof(*nodes));
	long ret;

	for (i = 0; i < nr; i++) {
		pages[i] = a->mem + i * a->step;
		nodes[i] = node;
		status[i] = -ENOMSG;
	}
	ret = mig_move_pages(0, nr, pages, nodes, status, MIG_MF_MOVE_ALL);
	if (ret < 0)
		mig_fail("move_pages: %m");
	free(pages);
	free(nodes);
	return ret;
}

static void check_status(const struct area *a, int node, const int *status)
{
	const struct mig_page *was;
	int want, got;
	size_t i;

	for (i = 0; i < a->named / a->step; i++) {
		was = &a->was[i * a->step / mig_psize];
		want = moves(was) ? node : was->node;
		got = status[i] + mig_breaks(MIG_BREAK_STATUS);
		mig_check(got == want, "status %d instead of %d for page %zu",
			  got, want, i * a->step / mig_psize);
	}
}

/* By how much the event counters must rise: pages, and folios of PMD size. */
static void count_expected(const struct area *a, long *pages, long *huge)
{
	size_t i, per = mig_pmd_size() / mig_psize;
	size_t nr = a->named / mig_psize;

	*pages = *huge = 0;
	for (i = 0; i < nr; i++)
		*pages += moves(&a->was[i]);
	if (per && a->was[0].kpf & MIG_KPF_THP)
		*huge = mig_nr_folios(a->mem, a->named, per);
}

static void check_counted(const char *name, long before, long expected)
{
	long now = mig_vmstat(name) + mig_breaks(MIG_BREAK_COUNT);

	mig_check(now - before == expected, "%s went up by %ld, not %ld", name,
		  now - before, expected);
}

/* Move by address. The statuses and counters must be exactly those of the pages. */
static void go_by_address(const struct area *a, int node)
{
	int *status = calloc(a->named / a->step, sizeof(*status));
	long moved = mig_vmstat("pgmigrate_success");
	long failed = mig_vmstat("pgmigrate_fail");
	long huge = mig_vmstat("thp_migration_success");
	long scanned = mig_vmstat("compact_migrate_scanned");
	long ret, pages, folios;

	count_expected(a, &pages, &folios);
	ret = send_by_address(a, node, status);
	mig_check(!ret, "move_pages left %ld behind", ret);
	check_status(a, node, status);
	free(status);
	if (scanned != mig_vmstat("compact_migrate_scanned")) {
		mig_not_compared("the VM events, as compaction ran");
		return;
	}
	check_counted("pgmigrate_success", moved, pages);
	check_counted("pgmigrate_fail", failed, 0);
	if (huge >= 0)
		check_counted("thp_migration_success", huge, folios);
}

static void go_by_range(const struct area *a, int node)
{
	if (mig_mbind(a->mem, a->named, MIG_MPOL_BIND, 1UL << node,
		      MIG_MF_MOVE_ALL | MIG_MF_STRICT))
		mig_fail("mbind to node %d: %m", node);
}

/* Besides the pages outside the area, @stay pages must stay behind. */
static void go_with_all(const struct area *a, int from, int to, long stay)
{
	long ret = mig_migrate_pages(0, 1UL << from, 1UL << to);

	if (ret < 0)
		mig_fail("migrate_pages from %d to %d: %m", from, to);
	mig_check(ret == a->rest + stay, "migrate_pages left %ld pages behind, not %ld",
		  ret, a->rest + stay);
}

/* Return the flags that differ although they must not. */
static uint64_t lost_flags(const struct kind *kind, const struct mig_page *was,
			   const struct mig_page *is)
{
	uint64_t diff = (was->kpf ^ is->kpf) & KEPT_KPF;

	if (kind->opts & KIND_MAY_SPLIT)
		diff &= ~(MIG_KPF_HEAD | MIG_KPF_TAIL | MIG_KPF_THP);
	/*
	 * The unmap of a dirty page table entry sets the dirty flag of its folio. A
	 * move must not clear the flag.
	 */
	if (was->kpf & ~is->kpf & MIG_KPF_DIRTY)
		diff |= MIG_KPF_DIRTY;
	if ((kind->opts & KIND_CLEAN) && (is->kpf & ~was->kpf & MIG_KPF_DIRTY))
		diff |= MIG_KPF_DIRTY;
	return diff;
}

static void check_page(const struct kind *kind, const struct area *a, size_t i,
		       int node)
{
	const struct mig_page *was = &a->was[i], *is = &a->is[i];
	int want = moves(was) ? node : was->node;

	mig_check(is->node == want, "page %zu on node %d, not %d", i, is->node,
		  want);
	mig_check(is->sum == was->sum, "page %zu has other contents", i);
	mig_check(!((was->pm ^ is->pm) & KEPT_PM),
		  "page %zu had pagemap %#llx, has %#llx", i,
		  (unsigned long long)was->pm, (unsigned long long)is->pm);
	mig_check(!lost_flags(kind, was, is),
		  "page %zu had kpageflags %#llx, has %#llx", i,
		  (unsigned long long)was->kpf, (unsigned long long)is->kpf);
	mig_check(was->maps == is->maps, "page %zu was mapped %lld times, is %lld",
		  i, (long long)was->maps, (long long)is->maps);
}

/*
 * The other process must map the same pages, with the same contents. The test does
 * not read them by process_vm_readv(), whose pins would end the sharing.
 */
static void check_other(const struct area *a)
{
	char path[64], *addr, *buf = malloc(mig_psize);
	size_t i;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", a->other);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		mig_fail("%s: %m", path);
	for (i = 0; i < nr_pages(a); i++) {
		addr = a->mem + i * mig_psize;
		if ((mig_pagemap_of(a->other, addr) ^ a->is[i].pm) & MIG_PM_PFN)
			mig_check(a->is[i].maps == 1,
				  "the other process lost page %zu", i);
		else if (pread(fd, buf, mig_psize, (uintptr_t)addr) < 0 ||
			 memcmp(buf, addr, mig_psize))
			mig_fail("the other process reads another page %zu", i);
	}
	close(fd);
	free(buf);
}

static void check_area(const struct kind *kind, struct area *a, int node)
{
	size_t i;

	mig_spoil_byte(a->mem, a->len);
	if (!(kind->opts & KIND_STAYS))
		mig_spoil_node(a->mem, a->len, node);
	mig_look(a->mem, nr_pages(a), a->is);
	if (mig_breaks(MIG_BREAK_FLAG))
		a->is[nr_pages(a) / 2].pm ^= MIG_PM_SOFT_DIRTY;
	for (i = 0; i < nr_pages(a); i++)
		check_page(kind, a, i, node);
	if (a->other)
		check_other(a);
}

/*
 * Count the pages that the area maps at a second address, as KSM does. When
 * migrate_pages(2) gets to that address, the page is isolated already, and the call
 * counts it as left behind.
 */
static long nr_mapped_again(const struct area *a)
{
	size_t i, k;
	long nr = 0;

	for (i = 1; i < nr_pages(a); i++) {
		for (k = 0; k < i && moves(&a->was[i]); k++) {
			if ((a->was[k].pm ^ a->was[i].pm) & MIG_PM_PFN)
				continue;
			nr++;
			break;
		}
	}
	return nr;
}

static void move_and_check(const struct kind *kind, struct area *a, int from, int to,
			   enum way way)
{
	if (way == BY_MOVE_PAGES)
		go_by_address(a, to);
	else if (way == BY_MBIND)
		go_by_range(a, to);
	else
		go_with_all(a, from, to, nr_mapped_again(a));
	check_area(kind, a, to);
}

/* Move to the other node and back, twice, by every way that this kind allows. */
static void move_all_ways(const struct kind *kind, struct area *a)
{
	enum way by_name = kind->opts & KIND_RANGE_ONLY ? BY_MBIND : BY_MOVE_PAGES;

	move_and_check(kind, a, MIG_A, MIG_B, by_name);
	move_and_check(kind, a, MIG_B, MIG_A, BY_MBIND);
	move_and_check(kind, a, MIG_A, MIG_B, BY_MIGRATE_PAGES);
	move_and_check(kind, a, MIG_B, MIG_A, by_name);
}

static void check_refused(const struct kind *kind, const struct area *a,
			  const int *status)
{
	size_t i;
	int got;

	for (i = 0; i < a->named / a->step; i++) {
		got = status[i] + mig_breaks(MIG_BREAK_STATUS);
		mig_check(got == kind->status, "status %d instead of %d for a page that stays",
			  got, kind->status);
	}
}

/*
 * The statuses must show that the memory cannot move, and it must not change.
 * migrate_pages(2) does not count the zero page as left behind.
 */
static void try_to_move(const struct kind *kind, struct area *a)
{
	int *status = calloc(a->named / a->step, sizeof(*status));

	send_by_address(a, MIG_B, status);
	check_refused(kind, a, status);
	go_with_all(a, MIG_A, MIG_B, kind->status == -EBUSY ? nr_pages(a) : 0);
	/* -b node cannot spoil a page that is on no node. */
	check_area(kind, a, moves(a->was) && mig_breaks(MIG_BREAK_NODE) ? MIG_B : MIG_A);
	free(status);
}

static bool all_on_a(const struct area *a)
{
	size_t i;

	for (i = 0; i < nr_pages(a); i++) {
		if (moves(&a->was[i]) && a->was[i].node != MIG_A)
			return false;
	}
	return true;
}

static void check_is_kind(const struct kind *kind, const struct area *a)
{
	size_t i;

	for (i = 0; i < nr_pages(a); i++) {
		uint64_t missing = kind->need & ~a->was[i].kpf;

		if (missing && (moves(&a->was[i]) || kind->opts & KIND_STAYS))
			mig_skip("page %zu lacks the flags %#llx before the move", i,
				 (unsigned long long)missing);
	}
}

/* Make the memory and record the state of its pages before the moves. */
static void make_area(const struct kind *kind, struct area *a)
{
	*a = (struct area){
		.len = kind->len,
		.named = kind->len,
		.step = mig_psize,
		.fd = -1,
	};
	mig_alloc_on(MIG_A);
	kind->setup(a, kind->arg);
	mig_alloc_anywhere();
	a->was = calloc(nr_pages(a), sizeof(*a->was));
	a->is = calloc(nr_pages(a), sizeof(*a->is));
	mig_look(a->mem, nr_pages(a), a->was);
	check_is_kind(kind, a);
	if (all_on_a(a))
		return;
	mig_try_again(2, 2, "the kernel allocated some pages on another node");
	mig_move_to(a->mem, a->len, MIG_A, MIG_MF_MOVE_ALL, NULL);
	mig_look(a->mem, nr_pages(a), a->was);
	check_is_kind(kind, a);
	if (!all_on_a(a))
		mig_skip("pages are still on another node after the second try");
}

/**
 * struct move_arg - argument of move_area()
 * @kind: the kind of the area
 * @a: the area
 * @status: the statuses that move_pages(2) returned
 */
struct move_arg {
	const struct kind *kind;
	struct area *a;
	int *status;
};

static void move_area(void *arg, int node)
{
	struct move_arg *m = arg;

	if (m->kind->opts & KIND_RANGE_ONLY)
		go_by_range(m->a, node);
	else
		send_by_address(m->a, node, m->status);
	/* A page that cannot move is on node A, so a move to node A succeeds. */
	if (m->kind->opts & KIND_STAYS && node != MIG_A)
		check_refused(m->kind, m->a, m->status);
}

/*
 * Check that repeated moves lose no memory and change nothing. A move that fails
 * may also lose a page each time.
 */
static void check_no_loss(const struct kind *kind, struct area *a)
{
	struct move_arg move = {
		.kind = kind,
		.a = a,
		.status = calloc(a->named / a->step, sizeof(int)),
	};

	mig_check_loss(move_area, &move);
	if (!(kind->opts & (KIND_STAYS | KIND_RANGE_ONLY)))
		check_status(a, MIG_A, move.status);
	check_area(kind, a, MIG_A);
	free(move.status);
}

static void run_kind(const void *arg)
{
	const struct kind *kind = arg;
	long rest = mig_nr_unmovable(0, 1UL << MIG_A, 1UL << MIG_B);
	struct area a;

	/* Keep the kernel from writing back dirty pages during the case. */
	if (kind->opts & KIND_WRITTEN_BACK)
		mig_set("/proc/sys/vm/dirty_writeback_centisecs", "0");
	make_area(kind, &a);
	a.rest = rest;
	if (kind->opts & KIND_STAYS)
		try_to_move(kind, &a);
	else
		move_all_ways(kind, &a);
	check_no_loss(kind, &a);
	if (kind->after)
		kind->after(&a);
}

/*
 * Moves with a check of the counters
 */

/*
 * A file system commits its journal a few seconds after a write. The commit makes
 * pages dirty in the page cache of the disk. The fsync() of a second file commits
 * the journal now and leaves the first file dirty.
 */
static void commit_journal(const struct area *a)
{
	char path[300];
	int fd;

	if (!*a->path || !strncmp(a->path, "/dev/", 5))
		return;
	snprintf(path, sizeof(path), "%s.2", a->path);
	mig_on_end_unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "", 1) != 1 || fsync(fd))
		mig_fail("%s: %m", path);
	close(fd);
}

static void check_moved(const struct kind *kind, struct area *a, int node,
			const int *status)
{
	size_t i;
	int is;

	mig_spoil_node(a->mem, a->len, node);
	for (i = 0; i < a->len / mig_psize; i++) {
		is = moves(&a->was[i]) ? mig_node_of(a->mem + i * mig_psize) : node;
		mig_check(is == node, "page %zu on node %d, not %d", i, is, node);
	}
	if (!(kind->opts & (KIND_RANGE_ONLY | KIND_STAYS)))
		check_status(a, node, status);
}

/* Move there (@back 0) or back (@back 1). Memory that cannot move must stay. */
static void move_and_check_node(const struct kind *kind, struct area *a, int back,
				int *status)
{
	const bool stays = kind->opts & KIND_STAYS;

	move_area(&(struct move_arg){ kind, a, status }, back ? MIG_A : MIG_B);
	check_moved(kind, a, back || stays ? MIG_A : MIG_B, status);
}

static void run_counted(const void *arg)
{
	const struct kind *kind = arg;
	const bool written_back = kind->opts & KIND_WRITTEN_BACK;
	static struct mig_share had, has;
	struct mig_counters *was, *is;
	struct area a;
	int *status, back;

	mig_counters_begin();
	if (kind->need & MIG_KPF_HUGE)
		mig_counters_of_hugetlb();
	was = mig_counters_new();
	is = mig_counters_new();
	make_area(kind, &a);
	if (written_back)
		commit_journal(&a);
	status = calloc(a.named / a.step, sizeof(*status));
	mig_counters_populate("[heap]");

	/*
	 * Move there and back once without a check, so that all memory that this
	 * takes is allocated. The second reading waits until that memory is
	 * counted.
	 */
	for (back = 0; back < 2; back++)
		move_and_check_node(kind, &a, back, status);
	mig_counters_read(is);
	mig_counters_share(a.mem, a.len, written_back, &has);
	mig_counters_check(is, &has, is, &has);

	mig_counters_share(a.mem, a.len, written_back, &had);
	mig_counters_read(was);
	for (back = 0; back < 2; back++) {
		move_and_check_node(kind, &a, back, status);
		mig_counters_read(is);
		mig_counters_share(a.mem, a.len, written_back, &has);
		mig_counters_check(was, &had, is, &has);
	}
	check_area(kind, &a, MIG_A);
}

/*
 * Moves with a check of who allocated the memory
 */

/* page_owner knows folios, so leave out the pages of one that are not its first. */
static void read_owners(const struct area *a, struct mig_owner *owners)
{
	size_t i;

	for (i = 0; i < nr_pages(a); i++) {
		if (!(a->was[i].kpf & MIG_KPF_TAIL))
			mig_owner_read(a->mem + i * mig_psize, &owners[i]);
	}
}

/* Check the owners after a move that was for @reason. */
static void check_owners(const struct area *a, const struct mig_owner *was,
			 struct mig_owner *is, const char *reason)
{
	size_t i;

	read_owners(a, is);
	for (i = 0; i < nr_pages(a); i++) {
		if (!(a->was[i].kpf & MIG_KPF_TAIL))
			mig_owner_check(&was[i], &is[i], reason);
	}
}

static void run_owned(const void *arg)
{
	const struct kind *kind = arg;
	struct mig_owner *was, *is;
	struct area a;
	int *status;

	mig_quiet();
	make_area(kind, &a);
	was = calloc(nr_pages(&a), sizeof(*was));
	is = calloc(nr_pages(&a), sizeof(*is));
	status = calloc(a.named / a.step, sizeof(*status));
	read_owners(&a, was);
	go_by_range(&a, MIG_B);
	check_owners(&a, was, is, "mempolicy_mbind");
	check_area(kind, &a, MIG_B);
	send_by_address(&a, MIG_A, status);
	check_owners(&a, was, is, "syscall_or_cpuset");
	check_area(kind, &a, MIG_A);
}

/* If the tags stayed behind, a tag would get all bytes of the area, or lose them. */
static void run_tagged(const void *arg)
{
	const struct kind *kind = arg;
	struct mig_tags before, was, is;
	struct area a;

	mig_quiet();
	mig_tags_new(&before);
	mig_tags_new(&was);
	mig_tags_new(&is);
	mig_tags_read(&before);
	make_area(kind, &a);
	mig_tags_read(&was);
	if (mig_tags_most(&before, &was, NULL) < (long)a.len / 2)
		mig_skip("allocations are not counted");
	go_by_range(&a, MIG_B);
	mig_tags_read(&is);
	check_area(kind, &a, MIG_B);
	mig_tags_check(&was, &is, a.len / 2);
}

/*
 * Anonymous memory. Setups run with the memory policy bound to node A.
 */

static void map_anon(struct area *a)
{
	a->mem = mig_map(a->len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1);
	madvise(a->mem, a->len, MADV_NOHUGEPAGE);
}

static void anon(struct area *a, unsigned long unused)
{
	map_anon(a);
	mig_fill(a->mem, a->len, 1);
}

/* arg: the protection after the memory is filled. */
static void anon_protected(struct area *a, unsigned long prot)
{
	anon(a, 0);
	mprotect(a->mem, a->len, prot);
}

static void anon_in_two(struct area *a, unsigned long unused)
{
	anon(a, 0);
	a->other = mig_holder(NULL, NULL);
}

static void write_half(void *arg)
{
	struct area *a = arg;

	mig_fill(a->mem, a->len / 2, 2);
}

/* Half is shared, half was copied on write by the other process. */
static void anon_half_copied(struct area *a, unsigned long unused)
{
	anon(a, 0);
	a->other = mig_holder(write_half, a);
}

/* Every other page was never touched. */
static void anon_holes(struct area *a, unsigned long unused)
{
	size_t i;

	map_anon(a);
	for (i = 0; i < a->len; i += 2 * mig_psize)
		mig_fill(a->mem + i, mig_psize, i);
}

static void anon_locked(struct area *a, unsigned long unused)
{
	anon(a, 0);
	if (mlock(a->mem, a->len))
		mig_skip("mlock: %m");
}

static void zero_pages(struct area *a, unsigned long unused)
{
	map_anon(a);
	mig_sum(a->mem, a->len);
}

static void guard_regions(struct area *a, unsigned long unused)
{
	size_t i;

	anon(a, 0);
	for (i = 0; i < a->len; i += 4 * mig_psize) {
		if (madvise(a->mem + i, mig_psize, MADV_GUARD_INSTALL))
			mig_skip("MADV_GUARD_INSTALL: %m");
	}
}

static void check_guards(struct area *a)
{
	size_t i;

	for (i = 0; i < a->len; i += 4 * mig_psize)
		mig_check(mig_pagemap(a->mem + i) & MIG_PM_GUARD,
			  "the guard at page %zu is gone", i / mig_psize);
}

static void soft_dirty(struct area *a, unsigned long unused)
{
	size_t i;

	anon(a, 0);
	if (mig_write("/proc/self/clear_refs", "4"))
		mig_skip("clear_refs cannot clear the soft-dirty bits");
	for (i = 0; i < a->len; i += 2 * mig_psize)
		a->mem[i]++;
	if ((mig_pagemap(a->mem + mig_psize) & MIG_PM_SOFT_DIRTY) ||
	    !(mig_pagemap(a->mem) & MIG_PM_SOFT_DIRTY))
		mig_skip("the kernel does not track soft-dirty pages");
}

static int open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		mig_skip("userfaultfd: %m");
	return fd;
}

static void mark_page(int fd, char *addr)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)addr, .len = mig_psize },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	if (ioctl(fd, UFFDIO_WRITEPROTECT, &wp))
		mig_skip("UFFDIO_WRITEPROTECT: %m");
}

/* Every odd page is write protected by userfaultfd. */
static void uffd_marked(struct area *a, unsigned long unused)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	size_t i;

	anon(a, 0);
	a->fd = open_uffd();
	reg.range.start = (uintptr_t)a->mem;
	reg.range.len = a->len;
	if (ioctl(a->fd, UFFDIO_REGISTER, &reg))
		mig_skip("UFFDIO_REGISTER: %m");
	for (i = mig_psize; i < a->len; i += 2 * mig_psize)
		mark_page(a->fd, a->mem + i);
	mig_check(mig_pagemap(a->mem + mig_psize) & MIG_PM_UFFD_WP,
		  "no uffd-wp bit");
}

/* Both halves map the same pages, so a move of one half moves both. */
static void ksm(struct area *a, unsigned long unused)
{
	map_anon(a);
	mig_fill(a->mem, a->len / 2, 1);
	memcpy(a->mem + a->len / 2, a->mem, a->len / 2);
	mig_ksm_merge(a->mem, a->len, nr_pages(a) / 2);
	a->named = a->len / 2;
}

static void need_swap(void)
{
	if (mig_meminfo("SwapFree") < 16 * 1024)
		mig_skip("no swap space");
}

static size_t nr_swapped(const struct area *a)
{
	size_t i, nr = 0;

	for (i = 0; i < a->len; i += mig_psize)
		nr += !!(mig_pagemap(a->mem + i) & MIG_PM_SWAP);
	return nr;
}

static void page_out(struct area *a)
{
	double end = mig_seconds() + 30 * mig_patience();

	need_swap();
	while (nr_swapped(a) < nr_pages(a)) {
		if (mig_seconds() > end)
			mig_skip("only %zu of %zu pages went to swap",
				 nr_swapped(a), nr_pages(a));
		mig_drain();
		madvise(a->mem, a->len, MADV_PAGEOUT);
		usleep(10000);
	}
}

static void swapped(struct area *a, unsigned long unused)
{
	anon(a, 0);
	page_out(a);
}

/* Write to the pages after swap-out, so that no copy remains in swap. */
static void swapped_in(struct area *a, unsigned long unused)
{
	swapped(a, 0);
	mig_fill(a->mem, a->len, 1);
}

/* Read the pages after swap-out. The copy in swap stays valid, in the swap cache. */
static void swap_cache(struct area *a, unsigned long unused)
{
	anon(a, 0);
	page_out(a);
	mig_sum(a->mem, a->len);
}

static void check_anon(struct area *a)
{
	size_t good = mig_verify(a->mem, a->len, 1);

	mig_check(good == a->len, "wrong contents from byte %zu on", good);
}

static void check_swap_cache(struct area *a)
{
	page_out(a);
	check_anon(a);
}

/* Make protected memory accessible again and check it. */
static void check_protected(struct area *a)
{
	mprotect(a->mem, a->len, PROT_READ | PROT_WRITE);
	check_anon(a);
	mig_fill(a->mem, a->len, 3);
	mig_check(mig_verify(a->mem, a->len, 3) == a->len, "not writable");
}

/*
 * Large folios
 */

/* arg: size in kB, or 0 for PMD size. */
static void large(struct area *a, unsigned long kb)
{
	kb = kb ? kb : mig_pmd_size() / KB;
	if (!kb)
		mig_skip("no transparent huge pages");
	if (a->len < 4 * kb * KB)
		a->len = 2 * kb * KB;
	mig_alloc_anywhere();
	a->mem = mig_thp_on(a->len, kb, MIG_A);
	a->named = a->len;
	a->step = kb * KB;
}

static void large_in_two(struct area *a, unsigned long kb)
{
	large(a, kb);
	a->other = mig_holder(NULL, NULL);
}

static void large_locked(struct area *a, unsigned long kb)
{
	large(a, kb);
	if (mlock(a->mem, a->len))
		mig_skip("mlock: %m");
}

/* khugepaged may collapse a folio that PTEs map, as if it were small pages. */
static void large_to_stay(struct area *a, unsigned long kb)
{
	large(a, kb);
	if (madvise(a->mem, a->len, MADV_NOHUGEPAGE))
		mig_fail("MADV_NOHUGEPAGE: %m");
}

/* Map each folio as a whole, but by PTEs: mprotect() of one page splits the PMD. */
static void large_by_ptes(struct area *a, unsigned long kb)
{
	size_t i;

	large_to_stay(a, kb);
	for (i = 0; i < a->len; i += a->step) {
		mprotect(a->mem + i + mig_psize, mig_psize, PROT_READ);
		mprotect(a->mem + i + mig_psize, mig_psize, PROT_READ | PROT_WRITE);
	}
}

static size_t nr_large(const struct area *a)
{
	size_t i, nr = 0;

	for (i = 0; i < a->len; i += a->step)
		nr += !!(mig_pagemap(a->mem + i) & MIG_PM_PFN) &&
		      (mig_kpageflags(mig_pagemap(a->mem + i) & MIG_PM_PFN) &
		       MIG_KPF_THP);
	return nr;
}

#define SPLIT_TRIES	10

/* Split huge pages. The split of one fails while another user has a reference. */
static void large_split(struct area *a, unsigned long kb)
{
	char text[64];
	int try;

	large_to_stay(a, kb);
	snprintf(text, sizeof(text), "%d,%p,%p", getpid(), a->mem, a->mem + a->len);
	for (try = 1; try <= SPLIT_TRIES; try++) {
		if (try > 1) {
			mig_try_again(try, SPLIT_TRIES, "%zu huge pages did not split",
				      nr_large(a));
			mig_drain();
			usleep(100000);
		}
		if (mig_write("/sys/kernel/debug/split_huge_pages", text))
			mig_skip("cannot split huge pages by debugfs");
		if (!nr_large(a))
			break;
	}
	if (nr_large(a))
		mig_skip("%zu huge pages did not split", nr_large(a));
	a->step = mig_psize;
}

static void collapse(struct area *a)
{
	size_t i, huge = mig_pmd_size();

	for (i = 0; i < a->len; i += huge) {
		if (madvise(a->mem + i, huge, MADV_COLLAPSE))
			mig_skip("MADV_COLLAPSE: %m");
	}
	a->step = huge;
}

/* Collapse small pages into huge pages. */
static void anon_collapsed(struct area *a, unsigned long unused)
{
	size_t huge = mig_pmd_size();

	if (!huge)
		mig_skip("no transparent huge pages");
	a->len = 2 * huge;
	a->named = a->len;
	a->mem = mig_map_aligned(a->len, huge);
	madvise(a->mem, a->len, MADV_NOHUGEPAGE);
	mig_fill(a->mem, a->len, 1);
	madvise(a->mem, a->len, MADV_HUGEPAGE);
	collapse(a);
}

/* In every folio, unmap a range that is not aligned to a power of two. */
static void large_partly(struct area *a, unsigned long kb)
{
	size_t i;

	large_to_stay(a, kb);
	for (i = 0; i < a->len; i += a->step)
		madvise(a->mem + i + mig_psize, a->step / 4, MADV_DONTNEED);
	mig_sum(a->mem, a->len);
}

/* The kernel must count a folio that is still large as partially mapped. */
static void check_partly(struct area *a)
{
	double end = mig_seconds() + 2 * mig_patience();
	long known;

	do {
		mig_drain();
		known = mig_thp_stat(a->step / KB, "nr_anon_partially_mapped");
		known += mig_breaks(MIG_BREAK_COUNT);
	} while (known != (long)nr_large(a) && mig_seconds() < end);
	mig_check(known == (long)nr_large(a),
		  "%zu folios are partially mapped, the kernel knows of %ld",
		  nr_large(a), known);
}

static void huge_zero(struct area *a, unsigned long unused)
{
	a->len = mig_pmd_size();
	if (!a->len)
		mig_skip("no transparent huge pages");
	a->mem = mig_map_aligned(a->len, a->len);
	a->named = a->len;
	a->step = a->len;
	mig_set(THP_DIR "/use_zero_page", "1");
	mig_thp_enable(a->len / KB);
	mig_sum(a->mem, mig_psize);
}

/*
 * Files
 */

static void map_file(struct area *a, int prot, int flags)
{
	a->mem = mig_map(a->len, prot, flags, a->fd);
}

/* arg: mmap flags. The pages are in the page cache and clean. */
static void ext4_clean(struct area *a, unsigned long flags)
{
	a->fd = mig_ext4_file(a->path, a->len);
	map_file(a, PROT_READ, flags);
	mig_sum(a->mem, a->len);
}

static void ext4_dirty(struct area *a, unsigned long unused)
{
	a->fd = mig_ext4_file(a->path, a->len);
	map_file(a, PROT_READ | PROT_WRITE, MAP_SHARED);
	mig_fill(a->mem, a->len, 1);
}

/* Write through a private mapping, which gives anonymous pages over a file. */
static void ext4_copied(struct area *a, unsigned long unused)
{
	a->fd = mig_ext4_file(a->path, a->len);
	map_file(a, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	mig_fill(a->mem, a->len, 1);
}

/* The disk must have the contents of the mapping. */
static void check_on_disk(struct area *a)
{
	char *buf = mig_map(a->len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);
	int fd;

	if (fsync(a->fd))
		mig_fail("fsync: %m");
	fd = open(a->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	mig_check(fd >= 0 && read(fd, buf, a->len) == (ssize_t)a->len,
		  "reading %s past the cache: %m", a->path);
	close(fd);
	mig_check(mig_verify(buf, a->len, 1) == a->len, "the disk has other data");
}

static int attach_loop(int backing, char *path, size_t size)
{
	struct loop_config config = {
		.fd = backing,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR,
	};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int nr = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	int fd;

	if (nr < 0)
		mig_skip("no loop device: %m");
	snprintf(path, size, "/dev/loop%d", nr);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, LOOP_CONFIGURE, &config))
		mig_skip("%s: %m", path);
	close(control);
	return fd;
}

/* The page cache of a block device, which keeps its state in buffer heads. */
static void block_device(struct area *a, unsigned long dirty)
{
	int backing = memfd_create("migrate", MFD_CLOEXEC);

	if (backing < 0 || ftruncate(backing, a->len))
		mig_fail("memfd: %m");
	a->fd = attach_loop(backing, a->path, sizeof(a->path));
	close(backing);
	map_file(a, PROT_READ | PROT_WRITE, MAP_SHARED);
	mig_fill(a->mem, a->len, 1);
	/* Writeback attaches the buffer heads to the pages. */
	if (fsync(a->fd))
		mig_fail("fsync of %s: %m", a->path);
	if (dirty)
		mig_fill(a->mem, a->len, 1);
}

static void mount_here(struct area *a, const char *type, const char *options)
{
	snprintf(a->path, sizeof(a->path), "/tmp/migrate.%d", getpid());
	mkdir(a->path, 0700);
	mig_on_end_rmdir(a->path);
	if (mount("migrate", a->path, type, 0, options))
		mig_skip("mount of %s (%s): %m", type, options);
	mig_on_end_umount(a->path);
	strcat(a->path, "/file");
	a->fd = open(a->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (a->fd < 0)
		mig_fail("%s: %m", a->path);
}

/* ramfs has no migrate_folio(), and its pages are dirty once written. */
static void ramfs(struct area *a, unsigned long written)
{
	mount_here(a, "ramfs", "");
	if (ftruncate(a->fd, a->len))
		mig_fail("ftruncate: %m");
	map_file(a, PROT_READ | PROT_WRITE, MAP_SHARED);
	if (written)
		mig_fill(a->mem, a->len, 1);
	else
		mig_sum(a->mem, a->len);
}

static void tmpfs(struct area *a, unsigned long unused)
{
	mount_here(a, "tmpfs", "");
	if (ftruncate(a->fd, a->len))
		mig_fail("ftruncate: %m");
	map_file(a, PROT_READ | PROT_WRITE, MAP_SHARED);
	mig_fill(a->mem, a->len, 1);
}

/* Map two huge pages of a file at addresses where a PMD can map each. */
static void map_file_aligned(struct area *a)
{
	char *area = mig_map_aligned(a->len, a->step);

	a->mem = mmap(area, a->len, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_FIXED, a->fd, 0);
	mig_check(a->mem == area, "mmap: %m");
}

static void want_two_huge(struct area *a)
{
	a->step = mig_pmd_size();
	if (!a->step)
		mig_skip("no transparent huge pages");
	a->len = 2 * a->step;
	a->named = a->len;
}

static void need_two_huge(struct area *a, const char *source)
{
	if (mig_nr_folios(a->mem, a->len, a->step / mig_psize) != 2)
		mig_skip("%s did not allocate huge pages", source);
}

/* Map and fill a file of the size of two huge pages on a new tmpfs. */
static void tmpfs_for_two_huge(struct area *a, const char *options)
{
	want_two_huge(a);
	mount_here(a, "tmpfs", options);
	if (ftruncate(a->fd, a->len))
		mig_fail("ftruncate: %m");
	map_file_aligned(a);
	mig_fill(a->mem, a->len, 1);
}

static void tmpfs_huge(struct area *a, unsigned long unused)
{
	tmpfs_for_two_huge(a, "huge=always");
	need_two_huge(a, "tmpfs");
}

static void tmpfs_collapsed(struct area *a, unsigned long unused)
{
	tmpfs_for_two_huge(a, "huge=never");
	collapse(a);
	need_two_huge(a, "MADV_COLLAPSE");
}

/* xfs allocates large folios for a large write. */
static void xfs_huge(struct area *a, unsigned long dirty)
{
	char dir[128];

	want_two_huge(a);
	if (!mig_xfs_dir(dir, sizeof(dir)))
		mig_skip("no xfs mounted and MIGRATE_XFS not set");
	a->fd = mig_new_file(dir, a->path, sizeof(a->path));
	mig_write_pattern(a->fd, a->len);
	if (!dirty && fsync(a->fd))
		mig_fail("fsync of %s: %m", a->path);
	map_file_aligned(a);
	mig_sum(a->mem, a->len);
	need_two_huge(a, "xfs");
}

static void shared_anon(struct area *a, unsigned long unused)
{
	a->mem = mig_map(a->len, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1);
	mig_fill(a->mem, a->len, 1);
}

static void shared_anon_in_two(struct area *a, unsigned long unused)
{
	shared_anon(a, 0);
	a->other = mig_holder((void (*)(void *))check_anon, a);
}

static void shared_anon_locked(struct area *a, unsigned long unused)
{
	shared_anon(a, 0);
	if (mlock(a->mem, a->len))
		mig_skip("mlock: %m");
}

static void shared_memfd(struct area *a, unsigned long unused)
{
	a->fd = memfd_create("migrate", MFD_CLOEXEC);
	if (a->fd < 0 || ftruncate(a->fd, a->len))
		mig_fail("memfd: %m");
	map_file(a, PROT_READ | PROT_WRITE, MAP_SHARED);
	mig_fill(a->mem, a->len, 1);
}

static void secret(struct area *a, unsigned long unused)
{
	a->fd = syscall(SYS_memfd_secret, 0);
	if (a->fd < 0 || ftruncate(a->fd, a->len))
		mig_skip("memfd_secret: %m");
	map_file(a, PROT_READ | PROT_WRITE, MAP_SHARED);
	mig_fill(a->mem, a->len, 1);
}

static void pinned(struct area *a, unsigned long unused)
{
	anon(a, 0);
	a->fd = mig_pin(a->mem, a->len);
}

/* Without the pin the memory must move. */
static void check_unpinned(struct area *a)
{
	mig_unpin(a->fd);
	mig_must_move_to(a->mem, a->len, MIG_B);
	check_anon(a);
}

/*
 * hugetlb
 */

static void reserve_both(struct area *a)
{
	long kb = mig_meminfo("Hugepagesize");

	if (kb <= 0)
		mig_skip("no hugetlb");
	a->step = kb * KB;
	a->len = 2 * a->step;
	a->named = a->len;
	mig_hugetlb_reserve(MIG_A, 2);
	mig_hugetlb_reserve(MIG_B, 2);
}

/* arg: mmap flags besides MAP_HUGETLB. */
static void hugetlb(struct area *a, unsigned long flags)
{
	reserve_both(a);
	a->mem = mig_map(a->len, PROT_READ | PROT_WRITE,
			 MAP_ANONYMOUS | MAP_HUGETLB | flags, -1);
	mig_fill(a->mem, a->len, 1);
}

static void hugetlb_in_two(struct area *a, unsigned long flags)
{
	hugetlb(a, flags);
	a->other = mig_holder(NULL, NULL);
}

/* A hugetlbfs with limits of its own, which must apply to the pages after a move. */
static void hugetlb_subpool(struct area *a, unsigned long unused)
{
	char options[64];

	reserve_both(a);
	snprintf(options, sizeof(options), "size=%zu,min_size=%zu", a->len, a->len);
	mount_here(a, "hugetlbfs", options);
	map_file(a, PROT_READ | PROT_WRITE, MAP_SHARED);
	mig_fill(a->mem, a->len, 1);
}

/* A page that the file gives back to the subpool can be allocated again. */
static void check_subpool(struct area *a)
{
	check_anon(a);
	if (fallocate(a->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, a->step))
		mig_fail("fallocate: %m");
	mig_fill(a->mem, a->len, 1);
	check_anon(a);
}

/*
 * Program text and aio rings
 */

#ifdef __x86_64__
static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 };

/* Program text: a private mapping of a file, which the test executes. */
static void text(struct area *a, unsigned long unused)
{
	size_t i;

	a->fd = memfd_create("migrate", MFD_CLOEXEC);
	for (i = 0; i < a->len; i += mig_psize) {
		if (pwrite(a->fd, code, sizeof(code), i) != sizeof(code))
			mig_fail("pwrite: %m");
	}
	if (ftruncate(a->fd, a->len))
		mig_fail("ftruncate: %m");
	a->mem = mig_map(a->len, PROT_READ | PROT_EXEC, MAP_PRIVATE, a->fd);
	mig_sum(a->mem, a->len);
}

static void check_text(struct area *a)
{
	int (*run)(void);
	size_t i;

	for (i = 0; i < a->len; i += mig_psize) {
		run = (int (*)(void))(a->mem + i);
		mig_check(run() == 42, "page %zu does not run", i / mig_psize);
	}
}
#else
static void text(struct area *a, unsigned long unused)
{
	mig_skip("only for x86-64");
}

static void check_text(struct area *a)
{
}
#endif

static size_t mapped_size(unsigned long start)
{
	unsigned long from, to;
	size_t size = 0;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "re");

	while (maps && !size && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && from == start)
			size = to - from;
	}
	if (maps)
		fclose(maps);
	return size;
}

/* The ring of an asynchronous I/O context. Its address is the context itself. */
static void aio_ring(struct area *a, unsigned long unused)
{
	aio_context_t context = 0;

	if (syscall(SYS_io_setup, 64, &context))
		mig_skip("io_setup: %m");
	a->mem = (char *)context;
	a->len = mapped_size(context);
	a->named = a->len;
	mig_check(a->len, "no mapping of the ring");
	mig_sum(a->mem, a->len);
}

/* Operations must still complete through the ring. */
static void check_aio(struct area *a)
{
	char data[16] = "";
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_buf = (uintptr_t)data,
		.aio_nbytes = sizeof(data),
	};
	struct iocb *list = &cb;
	aio_context_t context = (uintptr_t)a->mem;
	struct io_event event = { 0 };

	cb.aio_fildes = memfd_create("migrate", MFD_CLOEXEC);
	if (pwrite(cb.aio_fildes, "sixteen bytes...", 16, 0) != 16)
		mig_fail("pwrite: %m");
	mig_check(syscall(SYS_io_submit, context, 1, &list) == 1, "io_submit: %m");
	mig_check(syscall(SYS_io_getevents, context, 1, 1, &event, NULL) == 1,
		  "io_getevents: %m");
	mig_check(event.res == 16 && !memcmp(data, "sixteen bytes...", 16),
		  "the ring reports %lld", (long long)event.res);
}

/*
 * Cases that are not kinds
 */

#define WHOLE_FOLIOS		512
#define WHOLE_MOVES		4

struct whole {
	long split, anon, partial;
};

static struct whole whole_stats(void)
{
	return (struct whole){
		.split = mig_thp_stat(64, "split"),
		.anon = mig_thp_stat(64, "nr_anon"),
		.partial = mig_thp_stat(64, "nr_anon_partially_mapped"),
	};
}

static void check_whole(char *mem, size_t len, struct whole was, int move)
{
	struct whole is = whole_stats();
	size_t folios = mig_nr_folios(mem, len, 64 * KB / mig_psize);

	folios -= mig_breaks(MIG_BREAK_COUNT);
	mig_check(is.split == was.split, "move %d split %ld folios", move,
		  is.split - was.split);
	mig_check(is.anon == was.anon, "move %d: nr_anon %ld, was %ld", move,
		  is.anon, was.anon);
	mig_check(is.partial == was.partial,
		  "move %d left %ld folios marked as partially mapped", move,
		  is.partial - was.partial);
	mig_check(folios == WHOLE_FOLIOS, "move %d: %zu folios of 64K left of %d",
		  move, folios, WHOLE_FOLIOS);
}

/* Write only to the first page of each folio, so that the other pages are zero. */
static char *zero_filled_folios(size_t len)
{
	char *mem = mig_map_aligned(len, 64 * KB);
	size_t i;

	mig_thp_enable(64);
	mig_alloc_on(MIG_A);
	for (i = 0; i < len; i += 64 * KB)
		mig_fill(mem + i, mig_psize, i);
	mig_alloc_anywhere();
	if (mig_nr_folios(mem, len, 64 * KB / mig_psize) != WHOLE_FOLIOS)
		mig_skip("no memory for %d folios of 64K", WHOLE_FOLIOS);
	return mem;
}

static void large_stays_whole(const void *arg)
{
	size_t i, len = WHOLE_FOLIOS * 64 * KB;
	char *mem = zero_filled_folios(len);
	uint64_t sum = mig_sum(mem, len);
	struct whole was = whole_stats();
	int move, node;

	for (move = 1; move <= WHOLE_MOVES; move++) {
		node = move % 2 ? MIG_B : MIG_A;
		for (i = 0; i < len; i += 2048 * KB)
			mig_mbind(mem + i, 2048 * KB, MIG_MPOL_BIND, 1UL << node,
				  MIG_MF_MOVE);
		mig_spoil(mem, len, node);
		mig_check(mig_count_on(mem, len, node) == len / mig_psize,
			  "move %d: not all pages on node %d", move, node);
		check_whole(mem, len, was, move);
		mig_check(mig_sum(mem, len) == sum, "move %d changed contents",
			  move);
	}
}

/* Fork a child that writes the same contents in a loop and starts writeback. */
static pid_t start_writer(struct area *a)
{
	pid_t pid = fork();

	if (pid < 0)
		mig_fail("fork: %m");
	while (!pid) {
		mig_fill(a->mem, a->len, 1);
		sync_file_range(a->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	}
	return pid;
}

static size_t nr_under_writeback(const struct area *a)
{
	size_t i, nr = 0;
	uint64_t pm;

	for (i = 0; i < a->len; i += mig_psize) {
		pm = mig_pagemap(a->mem + i);
		nr += (pm & MIG_PM_PRESENT) &&
		      (mig_kpageflags(pm & MIG_PM_PFN) & MIG_KPF_WRITEBACK);
	}
	return nr;
}

/* A try fails with EIO if the writer has a page in use. */
static void go_by_range_in_use(const struct area *a, int node)
{
	int try;

	for (try = 1; mig_mbind(a->mem, a->named, MIG_MPOL_BIND, 1UL << node,
				MIG_MF_MOVE_ALL | MIG_MF_STRICT); try++) {
		mig_check(errno == EIO && try < 10, "mbind to node %d: %m", node);
		mig_try_again(try + 1, 10, "the writer has a page in use");
	}
}

/*
 * Migration must wait for a page under writeback, and the page must keep its
 * contents. The test goes on until it has seen pages under writeback right before a
 * move.
 */
static void under_writeback(const void *arg)
{
	struct area a = { .len = 512 * KB, .named = 512 * KB };
	double end = mig_seconds() + 30 * mig_patience();
	size_t move, seen = 0;
	pid_t writer;
	int node;

	ext4_dirty(&a, 0);
	writer = start_writer(&a);
	for (move = 0; move < 24 || !seen || move % 2; move++) {
		mig_check(seen || mig_seconds() < end,
			  "no page was seen under writeback");
		node = move % 2 ? MIG_A : MIG_B;
		seen += nr_under_writeback(&a);
		go_by_range_in_use(&a, node);
		mig_spoil_node(a.mem, a.len, node);
		mig_check(mig_count_on(a.mem, a.len, node) == nr_pages(&a),
			  "move %zu: not all pages are on node %d", move, node);
	}
	mig_end_holder(writer);
	mig_spoil_byte(a.mem, a.len);
	mig_check(mig_verify(a.mem, a.len, 1) == a.len, "contents changed");
	check_on_disk(&a);
	mig_note("%zu pages were seen under writeback in %zu moves", seen, move);
}

/*
 * The kernel queues a new huge page for a deferred split, in case it is mostly
 * zeroes. The target folio of a move must be on that queue as well.
 */
static void stays_queued(const void *arg)
{
	size_t size = mig_pmd_size();
	long before = mig_vmstat("thp_underused_split_page");
	double end = mig_seconds() + 10 * mig_patience();
	char *mem;

	if (!size || before < 0)
		mig_skip("no splitting of underused huge pages");
	mig_must_set(THP_DIR "/khugepaged/max_ptes_none", "64");
	mig_thp_enable(size / KB);
	mem = mig_map_aligned(size, size);
	mig_alloc_on(MIG_A);
	mig_fill(mem, mig_psize, 1);
	mig_alloc_anywhere();
	if (mig_nr_folios(mem, size, size / mig_psize) != 1)
		mig_skip("no huge page");
	mig_must_move_to(mem, mig_psize, MIG_B);
	mig_spoil(mem, mig_psize, MIG_B);
	before += mig_breaks(MIG_BREAK_COUNT) << 30;
	while (mig_vmstat("thp_underused_split_page") <= before) {
		mig_check(mig_seconds() < end, "the folio left the queue");
		mig_write("/proc/sys/vm/drop_caches", "2");
	}
	mig_check(mig_node_of(mem) == MIG_B, "on node %d", mig_node_of(mem));
	mig_check(mig_verify(mem, mig_psize, 1) == mig_psize, "contents changed");
}

/**
 * struct mixed - memory that move_mixed() moves together
 * @small: base pages, some of which are pinned
 * @huge: huge pages, or NULL
 * @len: length of each in bytes
 */
struct mixed {
	char *small;
	char *huge;
	size_t len;
};

static void move_mixed(void *arg, int node)
{
	struct mixed *m = arg;

	mig_move_to(m->small, m->len, node, MIG_MF_MOVE, NULL);
	if (m->huge)
		mig_mbind(m->huge, m->len, MIG_MPOL_BIND, 1UL << node, MIG_MF_MOVE);
	mig_check(mig_node_of(m->small + m->len - mig_psize) == node,
		  "the last page is not on node %d", node);
	mig_check(!m->huge || mig_node_of(m->huge) == node,
		  "the huge page is not on node %d", node);
}

/* Moves must not lose memory if some of the pages fail to move each time. */
static void failed_moves_no_leak(const void *arg)
{
	size_t len = 4 * MB, kb = mig_pmd_size() / KB;
	struct mixed mixed = {
		.small = mig_anon_on(len, MIG_A),
		.huge = kb ? mig_thp_on(len, kb, MIG_A) : NULL,
		.len = len,
	};
	int pin = mig_pin(mixed.small, 64 * mig_psize);

	mig_check_loss(move_mixed, &mixed);
	mig_unpin(pin);
	mig_spoil(mixed.small, len, MIG_A);
	mig_check(mig_verify(mixed.small, len, 1) == len, "contents changed");
	mig_check(mig_count_on(mixed.small, len, MIG_A) == len / mig_psize,
		  "not all pages are on node A");
}

/*
 * The table
 */

/* A kind that does not move as it should on the base, and one that does. */
#define KNOWN(_bug, _name, _setup, _arg, _len, ...)				\
	{ .name = _name, .run = run_kind, .known_bug = _bug,			\
	  .arg = &(const struct kind){						\
		.setup = _setup, .arg = _arg, .len = _len, __VA_ARGS__ } }

#define KIND(...)	KNOWN(NULL, __VA_ARGS__)

#define PTES_BUG								\
	"unmapping a large folio PTE by PTE marks it as partially mapped, so that the next move splits it"

#define COUNTERS_BUG								\
	"FileHugePages of the source node still counts huge pages of files that moved, and the migration of a swap cache folio changes a memory cgroup counter that does not include it"

#define LARGE(_kb)								\
	KNOWN(PTES_BUG, "anon folios of " #_kb "K", large, _kb, 256 * KB,	\
	      .need = MIG_KPF_ANON | MIG_KPF_THP, .after = check_anon)

static const struct mig_case cases[] = {
	KIND("anon", anon, 0, MB, .need = MIG_KPF_ANON, .after = check_anon),
	KIND("anon, read only", anon_protected, PROT_READ, 256 * KB,
	     .after = check_protected),
	KIND("anon, no access", anon_protected, PROT_NONE, 256 * KB,
	     .after = check_protected),
	KIND("anon shared by fork", anon_in_two, 0, 256 * KB, .after = check_anon),
	KIND("anon half copied after fork", anon_half_copied, 0, 256 * KB),
	KIND("anon with holes", anon_holes, 0, 256 * KB),
	KIND("anon mlocked", anon_locked, 0, 256 * KB,
	     .need = MIG_KPF_UNEVICTABLE | MIG_KPF_MLOCKED, .after = check_anon),
	KIND("zero pages", zero_pages, 0, 64 * KB, .opts = KIND_STAYS,
	     .status = -EFAULT, .need = MIG_KPF_ZERO),
	KIND("huge zero page", huge_zero, 0, 0, .opts = KIND_STAYS,
	     .status = -EFAULT, .need = MIG_KPF_ZERO | MIG_KPF_THP),
	KIND("guard regions", guard_regions, 0, 256 * KB, .after = check_guards),
	KIND("soft-dirty", soft_dirty, 0, 256 * KB),
	KIND("userfaultfd write protected", uffd_marked, 0, 256 * KB),
	KIND("KSM", ksm, 0, 512 * KB, .need = MIG_KPF_KSM),
	KIND("swapped out", swapped, 0, 256 * KB, .after = check_anon),
	KIND("swapped in", swapped_in, 0, 256 * KB, .need = MIG_KPF_ANON,
	     .after = check_anon),
	KIND("swap cache", swap_cache, 0, 256 * KB, .need = MIG_KPF_SWAPCACHE,
	     .opts = KIND_MISCOUNTED, .after = check_swap_cache),
	LARGE(16), LARGE(32), LARGE(64), LARGE(128), LARGE(256),
	LARGE(512), LARGE(1024),
	KIND("PMD THP", large, 0, 0, .need = MIG_KPF_THP, .after = check_anon),
	KIND("PMD THP shared by fork", large_in_two, 0, 0, .need = MIG_KPF_THP,
	     .after = check_anon),
	KIND("PMD THP mlocked", large_locked, 0, 0,
	     .need = MIG_KPF_THP | MIG_KPF_MLOCKED, .after = check_anon),
	KNOWN(PTES_BUG, "PMD THP mapped by PTEs", large_by_ptes, 0, 0,
	      .need = MIG_KPF_THP, .after = check_anon),
	KIND("PMD THP, split", large_split, 0, 0, .need = MIG_KPF_ANON,
	     .after = check_anon),
	KIND("anon, collapsed", anon_collapsed, 0, 0, .need = MIG_KPF_THP,
	     .after = check_anon),
	KIND("PMD THP partially mapped", large_partly, 0, 0,
	     .opts = KIND_RANGE_ONLY | KIND_MAY_SPLIT, .after = check_partly),
	KIND("64K folios partially mapped", large_partly, 64, 256 * KB,
	     .opts = KIND_RANGE_ONLY | KIND_MAY_SPLIT, .after = check_partly),
	{ .name = "512 folios of 64K stay whole", .run = large_stays_whole,
	  .known_bug = PTES_BUG },
	{ .name = "queued for a deferred split", .run = stays_queued },
	KIND("ext4 clean, shared", ext4_clean, MAP_SHARED, 512 * KB,
	     .opts = KIND_CLEAN | KIND_WRITTEN_BACK,
	     .after = check_on_disk),
	KIND("ext4 clean, private", ext4_clean, MAP_PRIVATE, 512 * KB,
	     .opts = KIND_CLEAN | KIND_WRITTEN_BACK),
	KIND("ext4 dirty", ext4_dirty, 0, 512 * KB, .need = MIG_KPF_DIRTY,
	     .opts = KIND_WRITTEN_BACK,
	     .after = check_on_disk),
	{ .name = "ext4 under writeback", .run = under_writeback },
	KIND("ext4 copied on write", ext4_copied, 0, 256 * KB,
	     .need = MIG_KPF_ANON, .opts = KIND_WRITTEN_BACK,
	     .after = check_anon),
	KIND("xfs, huge pages, clean", xfs_huge, 0, 0, .need = MIG_KPF_THP,
	     .opts = KIND_CLEAN | KIND_WRITTEN_BACK | KIND_MISCOUNTED,
	     .after = check_on_disk),
	KIND("xfs, huge pages, dirty", xfs_huge, 1, 0,
	     .need = MIG_KPF_THP | MIG_KPF_DIRTY,
	     .opts = KIND_WRITTEN_BACK | KIND_MISCOUNTED, .after = check_on_disk),
	KNOWN(MIG_TWICE_BUG, "block device, clean", block_device, 0, 256 * KB,
	      .need = MIG_KPF_PRIVATE,
	      .opts = KIND_WRITTEN_BACK),
	KNOWN(MIG_TWICE_BUG, "block device, dirty", block_device, 1, 256 * KB,
	      .need = MIG_KPF_PRIVATE | MIG_KPF_DIRTY,
	      .opts = KIND_WRITTEN_BACK),
	KIND("no migrate_folio, clean", ramfs, 0, 64 * KB),
	KNOWN(MIG_FAILED_BUG, "no migrate_folio, dirty", ramfs, 1, 16 * KB, .opts = KIND_STAYS,
	      .status = -EBUSY, .need = MIG_KPF_DIRTY, .after = check_anon),
	KIND("shared anon", shared_anon, 0, 512 * KB,
	     .need = MIG_KPF_SWAPBACKED, .after = check_anon),
	KIND("shared anon of two processes", shared_anon_in_two, 0, 256 * KB,
	     .after = check_anon),
	KIND("shared anon mlocked", shared_anon_locked, 0, 256 * KB,
	     .need = MIG_KPF_MLOCKED, .after = check_anon),
	KIND("tmpfs", tmpfs, 0, 256 * KB, .after = check_anon),
	KIND("tmpfs, huge pages", tmpfs_huge, 0, 0, .need = MIG_KPF_THP,
	     .after = check_anon),
	KIND("tmpfs, collapsed", tmpfs_collapsed, 0, 0, .need = MIG_KPF_THP,
	     .after = check_anon),
	KIND("memfd", shared_memfd, 0, 256 * KB, .after = check_anon),
	KIND("hugetlb private", hugetlb, MAP_PRIVATE, 0, .need = MIG_KPF_HUGE,
	     .after = check_anon),
	KIND("hugetlb private, no reservation", hugetlb,
	     MAP_PRIVATE | MAP_NORESERVE, 0, .need = MIG_KPF_HUGE,
	     .after = check_anon),
	KIND("hugetlb private, shared by fork", hugetlb_in_two, MAP_PRIVATE, 0,
	     .need = MIG_KPF_HUGE, .after = check_anon),
	KIND("hugetlb shared", hugetlb, MAP_SHARED, 0, .need = MIG_KPF_HUGE,
	     .after = check_anon),
	KIND("hugetlb shared, no reservation", hugetlb,
	     MAP_SHARED | MAP_NORESERVE, 0, .need = MIG_KPF_HUGE,
	     .after = check_anon),
	KIND("hugetlb shared by two processes", hugetlb_in_two, MAP_SHARED, 0,
	     .need = MIG_KPF_HUGE, .after = check_anon),
	KIND("hugetlbfs with a subpool", hugetlb_subpool, 0, 0,
	     .need = MIG_KPF_HUGE, .after = check_subpool),
	KIND("program text", text, 0, 64 * KB, .after = check_text),
	KIND("aio ring", aio_ring, 0, 0, .after = check_aio),
	KNOWN(MIG_FAILED_BUG, "secretmem", secret, 0, 64 * KB, .opts = KIND_STAYS,
	      .status = -EBUSY, .after = check_anon),
	KNOWN(MIG_FAILED_BUG, "pinned", pinned, 0, 64 * KB, .opts = KIND_STAYS,
	      .status = -EBUSY, .after = check_unpinned),
	{ .name = "failed moves lose no memory", .run = failed_moves_no_leak },
};

/* The kinds whose allocation is checked. Tags need at least 1 MiB to be told apart. */
static const struct {
	const char *kind;
	bool tags;
} origins[] = {
	{ "anon", true },
	{ "anon folios of 64K" },
	{ "PMD THP", true },
	{ "KSM" },
	{ "swap cache" },
	{ "ext4 dirty" },
	{ "shared anon" },
	{ "tmpfs, huge pages", true },
	{ "hugetlb shared" },
};

#define NR_CASES	(2 * ARRAY_SIZE(cases) + 2 * ARRAY_SIZE(origins))

static struct mig_case all[NR_CASES];
static size_t nr_all;

/* Add the case of a kind with another name and another function. */
static void add_case(const struct mig_case *of, const char *prefix,
		     void (*run)(const void *arg))
{
	const struct kind *kind = of->arg;
	char *name;

	if (asprintf(&name, "%s: %s", prefix, of->name) < 0)
		exit(1);
	all[nr_all] = *of;
	all[nr_all].name = name;
	if (run == run_counted && kind->opts & KIND_MISCOUNTED)
		all[nr_all].known_bug = COUNTERS_BUG;
	all[nr_all++].run = run;
}

static const struct mig_case *find_case(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!strcmp(cases[i].name, name))
			return &cases[i];
	}
	ksft_exit_fail_msg("there is no case '%s'\n", name);
}

/* Run all cases, then each kind a second time for its counters, then the origins. */
int main(int argc, char **argv)
{
	const struct mig_case *of;
	size_t i;

	memcpy(all, cases, sizeof(cases));
	nr_all = ARRAY_SIZE(cases);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].run == run_kind)
			add_case(&cases[i], "counters", run_counted);
	}
	for (i = 0; i < ARRAY_SIZE(origins); i++) {
		of = find_case(origins[i].kind);
		add_case(of, "origin: owner", run_owned);
		if (origins[i].tags)
			add_case(of, "origin: tags", run_tagged);
	}
	return mig_main(argc, argv, all, nr_all);
}
