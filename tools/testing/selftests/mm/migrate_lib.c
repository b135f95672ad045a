// SPDX-License-Identifier: GPL-2.0-only
/*
 * Helpers of the migrate_* tests, see migrate_lib.h.
 *
 * Where the kernel offers two sources for a property of a page, the tests read
 * both. The node comes from move_pages(2) and from the range of pfns that sysfs
 * gives for each node. The contents are compared with the pattern that the test
 * wrote and with a checksum taken before.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "migrate_lib.h"

#ifndef MADV_COLD
#define MADV_COLD		20
#endif

#define THP_DIR			"/sys/kernel/mm/transparent_hugepage"
#define BLOCK_DIR		"/sys/devices/system/memory"
#define NODE_DIR		"/sys/devices/system/node"
#define KSM_DIR			"/sys/kernel/mm/ksm"
#define CGROUP			"/sys/fs/cgroup"

#define MAX_UNDO		64
#define MAX_BLOCKS		65536
#define FAIL_PAGES		"/sys/kernel/debug/fail_page_alloc/"
#define CASE_SECONDS		120
/*
 * Memory in kB that may be missing after a case, as the kernel does not report all
 * uses of memory. It is less than a huge page.
 */
#define LOST_KB			1536
/* From mm/gup_test.h: long-term pins, the only kind that the tests need. */
#define GUP_PIN_START		_IOW('g', 7, struct gup_pin)
#define GUP_PIN_READ		_IOW('g', 9, uint64_t)
#define GUP_PIN_WRITE		1

struct gup_pin {
	uint64_t addr;
	uint64_t size;
	uint32_t flags;
};

enum undo_kind {
	UNDO_WRITE,
	UNDO_UNLINK,
	UNDO_RMDIR,
	UNDO_UMOUNT,
	UNDO_REMOUNT,
	UNDO_SWAPON,
	UNDO_SWAPOFF,
};

/**
 * struct undo - one action of the parent after the case
 * @kind: the action
 * @path: the path that it acts on
 * @text: text to write, or mount options
 */
struct undo {
	enum undo_kind kind;
	char path[256];
	char text[128];
};

/**
 * struct shared - what the child of a case reports to its parent
 * @message: why the case failed or was skipped, or the text of mig_note()
 * @observed: observations that the case makes, a bit for each &enum mig_break
 * @spoiled: an observation of the case was spoiled for -b
 * @nr_undo: entries of @undo in use
 * @undo: actions of the parent after the case, done last to first
 */
struct shared {
	char message[768];
	unsigned int observed;
	bool spoiled;
	int nr_undo;
	struct undo undo[MAX_UNDO];
};

/**
 * struct totals - what the runner reads before and after a case
 * @isolated: isolated pages, anonymous and of files
 * @huge: hugetlb pages: total, free, reserved, surplus
 * @locked: nr_mlock and nr_unevictable
 * @folios: large anonymous folios of all sizes
 * @partial: those of them that are partially mapped
 * @swap_kb: the swap cache, which is not compared; a folio stays in it if its
 *	process ends while the kernel writes the folio to swap
 * @known_kb: memory that is free or whose use is known
 */
struct totals {
	long isolated[2];
	long huge[4];
	long locked[2];
	long folios;
	long partial;
	long swap_kb;
	long known_kb;
};

int mig_nodes[MIG_MAX_NODES];
int mig_nr_nodes;
size_t mig_psize;
unsigned int mig_duration = 10;

static enum mig_break mig_break;
/* The last case failed by a crash, a timeout or a leak, not by mig_fail(). */
static bool failed_otherwise;
static struct shared *shared;
static unsigned char block_node[MAX_BLOCKS];
static uint64_t block_pages;
static int pagemap_fd = -1;
static pid_t pagemap_owner;
static int kpageflags_fd = -1;
static int kpagecount_fd = -1;

/* The factor by which time limits are longer on a slow machine. */
unsigned int mig_patience(void)
{
	const char *times = getenv("PATIENCE");

	return times && atoi(times) > 1 ? atoi(times) : 1;
}

double mig_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void __noreturn leave(int code, const char *fmt, va_list args)
{
	vsnprintf(shared->message, sizeof(shared->message), fmt, args);
	_exit(code);
}

void mig_fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	leave(KSFT_FAIL, fmt, args);
}

void mig_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	leave(KSFT_SKIP, fmt, args);
}

/* Set the message that is printed with the result. A later message replaces it. */
void mig_note(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(shared->message, sizeof(shared->message), fmt, args);
	va_end(args);
}

/* Print at once what is not compared, and why. The test scripts report these lines. */
void mig_not_compared(const char *fmt, ...)
{
	char what[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	ksft_print_msg("not compared: %s\n", what);
}

/* Print at once that try @nr begins, and why. The test scripts count these lines. */
void mig_try_again(int nr, int most, const char *fmt, ...)
{
	char why[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	ksft_print_msg("try %d of %d: %s\n", nr, most, why);
}

/*
 * Files
 */

/* Return the length or -errno. The text ends without its newline. */
int mig_read(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	buf[0] = '\0';
	if (fd < 0)
		return -errno;
	len = read(fd, buf, size - 1);
	if (len < 0)
		len = -errno;
	close(fd);
	if (len <= 0)
		return len;
	buf[len] = '\0';
	if (buf[len - 1] == '\n')
		buf[--len] = '\0';
	return len;
}

int mig_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	if (close(fd) && !err)
		err = -errno;
	return err;
}

/* The runner does not undo this at the end of the case. */
void mig_write_number(const char *path, long number)
{
	char text[32];
	int err;

	snprintf(text, sizeof(text), "%ld", number);
	err = mig_write(path, text);
	if (err)
		mig_skip("cannot write %ld to %s: %s", number, path, strerror(-err));
}

long mig_read_long(const char *path)
{
	char buf[64];

	return mig_read(path, buf, sizeof(buf)) > 0 ? strtol(buf, NULL, 0) : -1;
}

static void on_end(enum undo_kind kind, const char *path, const char *text)
{
	struct undo *undo;

	if (shared->nr_undo == MAX_UNDO)
		mig_fail("too many things to undo");
	undo = &shared->undo[shared->nr_undo];
	undo->kind = kind;
	snprintf(undo->path, sizeof(undo->path), "%s", path);
	snprintf(undo->text, sizeof(undo->text), "%s", text);
	shared->nr_undo++;
}

void mig_on_end_write(const char *path, const char *text)
{
	on_end(UNDO_WRITE, path, text);
}

void mig_on_end_unlink(const char *path)
{
	on_end(UNDO_UNLINK, path, "");
}

void mig_on_end_rmdir(const char *path)
{
	on_end(UNDO_RMDIR, path, "");
}

void mig_on_end_umount(const char *path)
{
	on_end(UNDO_UMOUNT, path, "");
}

void mig_on_end_remount(const char *path, const char *options)
{
	on_end(UNDO_REMOUNT, path, options);
}

void mig_on_end_swapon(const char *path)
{
	on_end(UNDO_SWAPON, path, "");
}

void mig_on_end_swapoff(const char *path)
{
	on_end(UNDO_SWAPOFF, path, "");
}

/* Change the options of a file system, but not the mount flags. Return 0 or -1. */
int mig_remount(const char *path, const char *options)
{
	struct statvfs fs;

	if (statvfs(path, &fs))
		return -1;
	fs.f_flag &= ST_NOSUID | ST_NODEV | ST_NOEXEC;
	return mount("none", path, NULL, MS_REMOUNT | fs.f_flag, options);
}

/* In "always [madvise] never" the choice is the word in brackets. */
static void keep_choice(char *text)
{
	char *from = strchr(text, '[');
	char *to = from ? strchr(from, ']') : NULL;

	if (!to)
		return;
	*to = '\0';
	memmove(text, from + 1, strlen(from + 1) + 1);
}

/* Write a setting, which the runner restores after the case. Return 0 or -errno. */
int mig_set(const char *path, const char *text)
{
	char old[128];
	int err = mig_read(path, old, sizeof(old));

	if (err < 0)
		return err;
	keep_choice(old);
	mig_on_end_write(path, old);
	return mig_write(path, text);
}

void mig_must_set(const char *path, const char *text)
{
	int err = mig_set(path, text);

	if (err)
		mig_skip("cannot write %s to %s: %s", text, path, strerror(-err));
}

/* rmdir() of a cgroup fails with EBUSY until its last process has ended. */
static void undo_rmdir(const char *path)
{
	double end = mig_seconds() + 2 * mig_patience();

	while (rmdir(path) && errno == EBUSY && mig_seconds() < end)
		usleep(10000);
}

static void undo_one(const struct undo *undo)
{
	switch (undo->kind) {
	case UNDO_WRITE:
		mig_write(undo->path, undo->text);
		break;
	case UNDO_UNLINK:
		unlink(undo->path);
		break;
	case UNDO_RMDIR:
		undo_rmdir(undo->path);
		break;
	case UNDO_UMOUNT:
		umount2(undo->path, MNT_DETACH);
		break;
	case UNDO_REMOUNT:
		mig_remount(undo->path, undo->text);
		break;
	case UNDO_SWAPON:
		swapon(undo->path, 0);
		break;
	case UNDO_SWAPOFF:
		swapoff(undo->path);
		break;
	}
}

static void undo_all(void)
{
	while (shared->nr_undo)
		undo_one(&shared->undo[--shared->nr_undo]);
}

/**
 * struct proc_file - a file of /proc that is read often
 * @path: its path
 * @fd: its descriptor, 0 if it is not open yet
 * @text: its contents when it was last read
 *
 * The file stays open. To open, read and close it takes memory from the per-CPU
 * lists, and KASAN keeps that memory for a while.
 */
struct proc_file {
	const char *path;
	int fd;
	char text[128 * 1024];
};

static struct proc_file vmstat = { .path = "/proc/vmstat" };
static struct proc_file meminfo = { .path = "/proc/meminfo" };
static struct proc_file zoneinfo = { .path = "/proc/zoneinfo" };

static const char *proc_read(struct proc_file *file)
{
	size_t len = 0;
	ssize_t got;

	if (!file->fd)
		file->fd = open(file->path, O_RDONLY | O_CLOEXEC);
	do {
		got = pread(file->fd, file->text + len,
			    sizeof(file->text) - 1 - len, len);
		len += got > 0 ? got : 0;
	} while (got > 0);
	file->text[len] = '\0';
	return file->text;
}

static const char *next_line(const char *line)
{
	line = strchr(line, '\n');
	return line ? line + 1 : NULL;
}

/* Return the number behind @name at the beginning of a line, -1 if there is none. */
static long value_in(const char *text, const char *name)
{
	const size_t len = strlen(name);

	for (; text; text = next_line(text)) {
		if (!strncmp(text, name, len) && text[len] &&
		    strchr(" :\t", text[len]))
			return strtol(text + len + 1, NULL, 10);
	}
	return -1;
}

/* Return -1 if there is no such counter. */
long mig_vmstat(const char *name)
{
	return value_in(proc_read(&vmstat), name);
}

long mig_meminfo(const char *name)
{
	return value_in(proc_read(&meminfo), name);
}

/* The kernel counts pages on the per-CPU free lists neither as free nor as used. */
static long pcp_pages(void)
{
	static const char name[] = " count:";
	const char *at = proc_read(&zoneinfo);
	long sum = 0;

	while ((at = strstr(at, name))) {
		at += strlen(name);
		sum += strtol(at, NULL, 10);
	}
	return sum;
}

/*
 * Return the sum of free memory and of memory whose use the kernel reports. A page
 * that lost its last owner, but not its last reference, is not in the sum. A page
 * that leaves a per-CPU list between the two reads counts twice, so read again if
 * the lists changed. The sum includes the balloon, as the host may fill it at any
 * time.
 */
long mig_known_kb(void)
{
	static const char *const uses[] = {
		"Balloon", "MemFree", "Buffers", "Cached", "SwapCached",
		"AnonPages", "Slab", "KernelStack", "PageTables", "Percpu",
	};
	const char *text;
	int try = 100;
	long pcp, sum;
	size_t i;

	do {
		pcp = pcp_pages();
		sum = pcp * (long)mig_psize / 1024;
		text = proc_read(&meminfo);
		for (i = 0; i < ARRAY_SIZE(uses); i++)
			sum += value_in(text, uses[i]);
	} while (pcp_pages() != pcp && --try);
	return sum;
}

/*
 * System calls
 */

long mig_move_pages(pid_t pid, unsigned long nr, void *const *pages,
		    const int *nodes, int *status, int flags)
{
	return syscall(SYS_move_pages, pid, nr, pages, nodes, status, flags);
}

long mig_migrate_pages(pid_t pid, unsigned long from, unsigned long to)
{
	return syscall(SYS_migrate_pages, pid, MIG_MAX_NODES, &from, &to);
}

long mig_mbind(void *addr, size_t len, int mode, unsigned long mask, int flags)
{
	return syscall(SYS_mbind, addr, len, mode, mask ? &mask : NULL,
		       mask ? MIG_MAX_NODES : 0, flags);
}

void mig_alloc_on(int node)
{
	unsigned long mask = 1UL << node;

	if (syscall(SYS_set_mempolicy, MIG_MPOL_BIND, &mask, MIG_MAX_NODES))
		mig_fail("set_mempolicy(bind to %d): %m", node);
}

void mig_alloc_anywhere(void)
{
	if (syscall(SYS_set_mempolicy, MIG_MPOL_DEFAULT, NULL, 0))
		mig_fail("set_mempolicy(default): %m");
}

/*
 * Memory
 */

void *mig_map(size_t len, int prot, int flags, int fd)
{
	void *mem = mmap(NULL, len, prot, flags, fd, 0);

	if (mem == MAP_FAILED)
		mig_fail("mmap of %zu bytes, flags %#x: %m", len, flags);
	return mem;
}

/* Map anonymous memory at a multiple of @align and do not touch it. */
void *mig_map_aligned(size_t len, size_t align)
{
	char *mem = mig_map(len + align, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	size_t head = -(uintptr_t)mem & (align - 1);

	if (head)
		munmap(mem, head);
	munmap(mem + head + len, align - head);
	return mem + head;
}

/* Map base pages on one node and fill them. */
void *mig_anon_on(size_t len, int node)
{
	void *mem = mig_map(len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);

	madvise(mem, len, MADV_NOHUGEPAGE);
	mig_alloc_on(node);
	mig_fill(mem, len, 1);
	mig_alloc_anywhere();
	return mem;
}

/* Return the word that mig_fill() writes at this index with this seed. */
static uint64_t pattern(size_t index, uint64_t seed)
{
	uint64_t x = (index + 1) * 0x9e3779b97f4a7c15ULL + seed;

	x ^= x >> 29;
	return x * 0xbf58476d1ce4e5b9ULL;
}

void mig_fill(void *mem, size_t len, uint64_t seed)
{
	uint64_t *word = mem;
	size_t i;

	for (i = 0; i < len / sizeof(*word); i++)
		word[i] = pattern(i, seed);
}

/* Return the offset of the first wrong word, or @len if all words are right. */
size_t mig_verify(const void *mem, size_t len, uint64_t seed)
{
	const uint64_t *word = mem;
	size_t i;

	for (i = 0; i < len / sizeof(*word); i++) {
		if (word[i] != pattern(i, seed))
			return i * sizeof(*word);
	}
	return len;
}

uint64_t mig_sum(const void *mem, size_t len)
{
	const uint64_t *word = mem;
	uint64_t sum = len;
	size_t i;

	for (i = 0; i < len / sizeof(*word); i++)
		sum = (sum ^ word[i]) * 0x100000001b3ULL + (sum >> 47);
	return sum;
}

/*
 * Pages may be in per-CPU batches and not on an LRU yet. madvise() drains the
 * batches of the CPU that it runs on, so call it on every CPU.
 */
void mig_drain(void)
{
	void *page = mmap(NULL, mig_psize, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cpu_set_t mine, one;
	int cpu;

	sched_getaffinity(0, sizeof(mine), &mine);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &mine))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		madvise(page, mig_psize, MADV_COLD);
	}
	sched_setaffinity(0, sizeof(mine), &mine);
	munmap(page, mig_psize);
}

/*
 * Pages
 */

static uint64_t entry_of(int fd, uint64_t index)
{
	uint64_t entry;

	if (pread(fd, &entry, sizeof(entry), index * sizeof(entry)) != sizeof(entry))
		return 0;
	return entry;
}

static int must_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		mig_skip("%s: %m", path);
	return fd;
}

static int own_pagemap(void)
{
	if (pagemap_owner != getpid()) {
		pagemap_fd = must_open("/proc/self/pagemap");
		pagemap_owner = getpid();
	}
	return pagemap_fd;
}

uint64_t mig_pagemap(const void *addr)
{
	return entry_of(own_pagemap(), (uintptr_t)addr / mig_psize);
}

/* Return the pagemap entries of all pages. The caller must free the result. */
uint64_t *mig_pagemap_range(const void *mem, size_t len)
{
	const off_t at = (uintptr_t)mem / mig_psize * sizeof(uint64_t);
	const size_t size = len / mig_psize * sizeof(uint64_t);
	char *entries = malloc(size);
	size_t done;
	ssize_t got;

	for (done = 0; done < size; done += got) {
		got = pread(own_pagemap(), entries + done, size - done, at + done);
		if (got <= 0)
			mig_fail("read of pagemap: %m");
	}
	return (uint64_t *)entries;
}

uint64_t mig_pagemap_of(pid_t pid, const void *addr)
{
	char path[64];
	uint64_t entry;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = must_open(path);
	entry = entry_of(fd, (uintptr_t)addr / mig_psize);
	close(fd);
	return entry;
}

uint64_t mig_kpageflags(uint64_t pfn)
{
	if (kpageflags_fd < 0)
		kpageflags_fd = must_open("/proc/kpageflags");
	return entry_of(kpageflags_fd, pfn);
}

uint64_t mig_kpagecount(uint64_t pfn)
{
	if (kpagecount_fd < 0)
		kpagecount_fd = must_open("/proc/kpagecount");
	return entry_of(kpagecount_fd, pfn);
}

static void map_block(unsigned long block, int node)
{
	char path[128];

	snprintf(path, sizeof(path), NODE_DIR "/node%d/memory%lu", node, block);
	if (!access(path, F_OK))
		block_node[block] = node + 1;
}

/* Record the node of each memory block, and so of each range of pfns. */
static void map_blocks(void)
{
	char buf[64];
	unsigned long block;
	int i;

	if (mig_read(BLOCK_DIR "/block_size_bytes", buf, sizeof(buf)) <= 0)
		return;
	block_pages = strtoull(buf, NULL, 16) / mig_psize;
	for (block = 0; block < MAX_BLOCKS; block++) {
		snprintf(buf, sizeof(buf), BLOCK_DIR "/memory%lu", block);
		if (access(buf, F_OK))
			continue;
		for (i = 0; i < mig_nr_nodes; i++)
			map_block(block, mig_nodes[i]);
	}
}

/* Return -1 if sysfs does not know the block. */
int mig_node_of_pfn(uint64_t pfn)
{
	uint64_t block = block_pages ? pfn / block_pages : MAX_BLOCKS;

	return block < MAX_BLOCKS ? block_node[block] - 1 : -1;
}

int mig_node_of_in(pid_t pid, const void *addr)
{
	void *page = (void *)addr;
	int status = -ENOMSG;

	if (mig_move_pages(pid, 1, &page, NULL, &status, 0))
		return -errno;
	return status;
}

int mig_node_of(const void *addr)
{
	return mig_node_of_in(0, addr);
}

/* Return what get_mempolicy(2) says is the node of the page, or a negative errno. */
int mig_node_by_policy(const void *addr)
{
	int node = -1;

	if (syscall(SYS_get_mempolicy, &node, NULL, 0, addr,
		    MIG_MPOL_F_NODE | MIG_MPOL_F_ADDR))
		return -errno;
	return node;
}

/* Return 0 if the page is not readable. Call this for present pages only. */
static uint64_t sum_of(char *addr)
{
	static int sink = -1;

	if (sink < 0)
		sink = memfd_create("sink", MFD_CLOEXEC);
	/* pwrite() fails where a load from the page would raise a signal. */
	if (pwrite(sink, addr, 1, 0) != 1)
		return 0;
	return mig_sum(addr, mig_psize);
}

static void look_at(char *addr, struct mig_page *page)
{
	uint64_t pfn;
	int other;

	*page = (struct mig_page){ .pm = mig_pagemap(addr) };
	page->node = mig_node_of(addr);
	pfn = page->pm & MIG_PM_PFN;
	if (!(page->pm & MIG_PM_PRESENT) || !pfn)
		return;
	page->kpf = mig_kpageflags(pfn);
	page->maps = mig_kpagecount(pfn);
	page->sum = sum_of(addr);
	other = mig_node_of_pfn(pfn);
	if (page->node >= 0 && other >= 0 && page->node != other)
		mig_fail("page %p: move_pages says node %d, pfn %#llx is on %d",
			 addr, page->node, (unsigned long long)pfn, other);
}

/* Read the state of @nr pages, and the contents of those that are mapped already. */
void mig_look(void *mem, size_t nr, struct mig_page *pages)
{
	char *addr = mem;
	size_t i;

	mig_drain();
	for (i = 0; i < nr; i++, addr += mig_psize)
		look_at(addr, &pages[i]);
}

/* Count the folios of @pages_each pages that the memory maps as a whole. */
size_t mig_nr_folios(void *mem, size_t len, size_t pages_each)
{
	size_t i, run = 0, found = 0;
	uint64_t kpf, pfn, last = 0;

	for (i = 0; i < len; i += mig_psize, last = pfn) {
		pfn = mig_pagemap((char *)mem + i) & MIG_PM_PFN;
		kpf = pfn ? mig_kpageflags(pfn) : 0;
		if (kpf & MIG_KPF_HEAD)
			run = 1;
		else if ((kpf & MIG_KPF_TAIL) && run && pfn == last + 1)
			run++;
		else
			run = 0;
		/* If the next page is a tail too, the folio is larger. */
		if (run == pages_each &&
		    !(mig_kpageflags(pfn + 1) & MIG_KPF_TAIL))
			found++;
	}
	return found;
}

size_t mig_count_on(void *mem, size_t len, int node)
{
	size_t i, nr = 0;

	for (i = 0; i < len; i += mig_psize)
		nr += mig_node_of((char *)mem + i) == node;
	return nr;
}

/*
 * Moves
 */

/* Pass every page to move_pages(2). @status may be NULL. Return -errno on error. */
long mig_move_to(void *mem, size_t len, int node, int flags, int *status)
{
	size_t i, nr = len / mig_psize;
	void **pages = calloc(nr, sizeof(*pages));
	int *nodes = calloc(nr, sizeof(*nodes));
	int *local = status ? status : calloc(nr, sizeof(*local));
	long ret;

	for (i = 0; i < nr; i++) {
		pages[i] = (char *)mem + i * mig_psize;
		nodes[i] = node;
		local[i] = -ENOMSG;
	}
	ret = mig_move_pages(0, nr, pages, nodes, local, flags);
	if (ret < 0)
		ret = -errno;
	free(pages);
	free(nodes);
	if (!status)
		free(local);
	return ret;
}

void mig_must_move_to(void *mem, size_t len, int node)
{
	long ret = mig_move_to(mem, len, node, MIG_MF_MOVE_ALL, NULL);
	size_t there;

	mig_check(!ret, "move to node %d returned %ld", node, ret);
	there = mig_count_on(mem, len, node);
	mig_check(there == len / mig_psize, "only %zu of %zu pages on node %d",
		  there, len / mig_psize, node);
}

/* Check that all pages are on @node, with the contents that seed 1 gives. */
void mig_expect_on(void *mem, size_t len, int node)
{
	size_t there;

	mig_spoil(mem, len, node);
	there = mig_count_on(mem, len, node);
	mig_check(there == len / mig_psize, "%zu of %zu pages are on node %d",
		  there, len / mig_psize, node);
	mig_check(mig_verify(mem, len, 1) == len, "contents changed");
}

/* Check the errno of the last system call, which returned @ret. 0 is no error. */
void mig_expect_errno(long ret, int want)
{
	int got = ret < 0 ? errno : 0;

	got += mig_breaks(MIG_BREAK_STATUS);
	mig_check(got == want, "%s instead of %s", strerror(got), strerror(want));
}

/*
 * Return how many pages of a process migrate_pages(2) leaves behind because all
 * processes share them. Afterwards all pages that can move are on the nodes in
 * @from. Call this before the test makes the memory that it counts.
 */
long mig_nr_unmovable(pid_t pid, unsigned long from, unsigned long to)
{
	long left;

	mig_migrate_pages(pid, to, from);
	left = mig_migrate_pages(pid, from, to);
	mig_check(left >= 0, "migrate_pages: %m");
	mig_migrate_pages(pid, to, from);
	return left;
}

#define LOSS_MOVES		32
#define LOSS_ROUNDS		3
#define LOSS_ROUNDS_MOST	12
#define SETTLE_TRIES		50

/*
 * Return mig_known_kb() when it has stopped to change. After the end of a process the
 * kernel frees some of its memory with a delay.
 */
static long settled_kb(void)
{
	long was, is = 0;
	int try;

	for (try = 0; try < SETTLE_TRIES; try++) {
		was = is;
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
		mig_drain();
		mig_write("/proc/sys/vm/stat_refresh", "1");
		is = mig_known_kb();
		if (labs(is - was) <= (long)mig_psize / 1024)
			break;
		usleep(10000);
	}
	return is;
}

/*
 * Move memory to and fro, and check that no page is lost with each move. Other
 * users also allocate and free memory, but the amount does not grow with time. So
 * the check uses the loss of all rounds together, and the limit grows with each
 * round. If another user has freed memory, the check begins anew.
 */
void mig_check_loss(void (*move)(void *arg, int node), void *arg)
{
	const long limit = LOSS_MOVES * (long)(mig_psize / 1024) / 2;
	const bool spoiled = mig_breaks(MIG_BREAK_LOSS);
	int round, since = 0, nr;
	long was, is, lost;

	move(arg, MIG_B);
	move(arg, MIG_A);
	was = settled_kb();
	for (round = 1;; round++) {
		for (nr = 0; nr < LOSS_MOVES; nr++)
			move(arg, nr % 2 ? MIG_A : MIG_B);
		if (round - since < LOSS_ROUNDS)
			continue;
		is = settled_kb();
		lost = was - is;
		if (spoiled)
			lost += (round - since) * 2 * limit;
		if (labs(lost) < (round - since) * limit)
			return;
		if (spoiled || round >= LOSS_ROUNDS_MOST)
			mig_fail("lost %ld kB in %d moves", lost,
				 (round - since) * LOSS_MOVES);
		mig_try_again(round - LOSS_ROUNDS + 2,
			      LOSS_ROUNDS_MOST - LOSS_ROUNDS + 1,
			      "lost %ld kB in %d moves", lost,
			      (round - since) * LOSS_MOVES);
		if (lost < 0) {
			was = is;
			since = round;
		}
	}
}

/*
 * Spoiled observations
 */

/* Return true if -b names this observation. Several threads may call this. */
static bool must_spoil(enum mig_break what)
{
	__atomic_fetch_or(&shared->observed, 1U << what, __ATOMIC_RELAXED);
	return mig_break == what;
}

/* Return true if the caller must spoil this observation. */
bool mig_breaks(enum mig_break what)
{
	if (!must_spoil(what))
		return false;
	shared->spoiled = true;
	return true;
}

static bool can_change(int probe, char *addr)
{
	return pwrite(probe, addr, 1, 0) == 1 && pread(probe, addr, 1, 0) == 1;
}

/* Flip a bit, also in read-only memory if it can be made writable. */
static bool flip_byte(char *addr)
{
	int probe = memfd_create("probe", MFD_CLOEXEC);
	bool done;

	done = can_change(probe, addr) ||
	       (!mprotect(addr, mig_psize, PROT_READ | PROT_WRITE) &&
		can_change(probe, addr));
	if (done)
		*addr ^= 1;
	close(probe);
	return done;
}

/* Return one page after the other, the one in the middle first. */
static char *nth_page(void *mem, size_t len, size_t nth)
{
	size_t nr = len / mig_psize;

	return (char *)mem + (nr / 2 + nth) % nr * mig_psize;
}

/*
 * Spoil the contents for -b byte. Call this between a move and the check of
 * contents. It flips a bit once, in a page that can be read.
 */
void mig_spoil_byte(void *mem, size_t len)
{
	static char *flipped;
	char *addr;
	size_t i;

	if (!must_spoil(MIG_BREAK_BYTE))
		return;
	for (i = 0; i < len / mig_psize; i++) {
		addr = nth_page(mem, len, i);
		if (addr == flipped)
			return;
		if (!flip_byte(addr))
			continue;
		flipped = addr;
		shared->spoiled = true;
		return;
	}
}

/*
 * Spoil the location for -b node. Call this between a move to @node and the check
 * of nodes. It moves one page that can move to another node.
 */
void mig_spoil_node(void *mem, size_t len, int node)
{
	int was, other = node == MIG_A ? MIG_B : MIG_A;
	char *addr;
	size_t i;

	if (!must_spoil(MIG_BREAK_NODE))
		return;
	for (i = 0; i < len / mig_psize; i++) {
		addr = nth_page(mem, len, i);
		was = mig_node_of(addr);
		if (was < 0)
			continue;
		mig_move_to(addr, mig_psize, other, MIG_MF_MOVE_ALL, NULL);
		if (mig_node_of(addr) == was)
			continue;
		shared->spoiled = true;
		return;
	}
}

void mig_spoil(void *mem, size_t len, int node)
{
	mig_spoil_byte(mem, len);
	mig_spoil_node(mem, len, node);
}

/*
 * Large folios
 */

/* Return 0 without transparent huge pages. */
size_t mig_pmd_size(void)
{
	long size = mig_read_long(THP_DIR "/hpage_pmd_size");

	return size > 0 ? size : 0;
}

/* Get the sizes that a large anonymous folio can have, in kB, small ones first. */
int mig_thp_sizes(size_t *kb, int max)
{
	size_t size, last = mig_pmd_size() / 1024;
	char path[128];
	int nr = 0;

	for (size = 2 * mig_psize / 1024; size <= last && nr < max; size *= 2) {
		snprintf(path, sizeof(path), THP_DIR "/hugepages-%zukB/enabled", size);
		if (!access(path, F_OK))
			kb[nr++] = size;
	}
	return nr;
}

/* Allow folios of one size, and no other, until the case ends. */
void mig_thp_enable(size_t kb)
{
	size_t sizes[MIG_MAX_SIZES];
	int i, nr = mig_thp_sizes(sizes, MIG_MAX_SIZES);
	bool found = false;
	char path[128];

	for (i = 0; i < nr; i++) {
		snprintf(path, sizeof(path), THP_DIR "/hugepages-%zukB/enabled",
			 sizes[i]);
		found |= sizes[i] == kb;
		mig_must_set(path, sizes[i] == kb ? "always" : "never");
	}
	if (!found)
		mig_skip("no anonymous folios of %zu kB here", kb);
}

long mig_thp_stat(size_t kb, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), THP_DIR "/hugepages-%zukB/stats/%s", kb, name);
	return mig_read_long(path);
}

/* Map and fill memory that consists of folios of this size only. */
void *mig_thp_on(size_t len, size_t kb, int node)
{
	void *mem = mig_map_aligned(len, kb * 1024);
	size_t want = len / (kb * 1024);
	size_t got;

	mig_thp_enable(kb);
	mig_alloc_on(node);
	mig_fill(mem, len, 1);
	mig_alloc_anywhere();
	got = mig_nr_folios(mem, len, kb * 1024 / mig_psize);
	if (got != want)
		mig_skip("got %zu of %zu folios of %zu kB", got, want, kb);
	return mem;
}

/*
 * Other processes, files, pins
 */

/* Fork a child that runs prepare() and then keeps its memory until it is killed. */
pid_t mig_holder(void (*prepare)(void *arg), void *arg)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready))
		mig_fail("pipe: %m");
	pid = fork();
	if (pid < 0)
		mig_fail("fork: %m");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		if (prepare)
			prepare(arg);
		if (write(ready[1], "", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		mig_fail("the child ended early: %s", shared->message);
	close(ready[0]);
	return pid;
}

void mig_end_holder(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Get the path of the cgroup that mig_enter_cgroup() makes. */
void mig_cgroup_dir(char *dir, size_t size, const char *label)
{
	snprintf(dir, size, CGROUP "/migrate_%s", label);
}

/* Enter a cgroup that has this controller. The cgroup may exist already. */
void mig_enter_cgroup(char *dir, size_t size, const char *label,
		      const char *controller)
{
	char path[256];

	if (access(CGROUP "/cgroup.subtree_control", F_OK))
		mig_skip("no cgroup2 at " CGROUP);
	mig_write(CGROUP "/cgroup.subtree_control", controller);
	mig_cgroup_dir(dir, size, label);
	mig_on_end_rmdir(dir);
	if (mkdir(dir, 0755) && errno != EEXIST)
		mig_skip("%s: %m", dir);
	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	mig_write_number(path, getpid());
}

/* Let the tasks of a cpuset use a list of nodes. */
void mig_set_mems(const char *dir, const char *nodes)
{
	char path[256];
	int err;

	snprintf(path, sizeof(path), "%s/cpuset.mems", dir);
	err = mig_write(path, nodes);
	mig_check(!err, "cannot write %s to %s: %s", nodes, path, strerror(-err));
}

void mig_set_mem(const char *dir, int node)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", node);
	mig_set_mems(dir, number);
}

static bool dir_from_mounts(const char *type, char *dir, size_t size)
{
	char line[512], where[128], word[64];
	FILE *file = fopen("/proc/mounts", "re");
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%*s %127s %63s", where, word) == 2 &&
		    !strcmp(word, type)) {
			snprintf(dir, size, "%s", where);
			found = true;
		}
	}
	fclose(file);
	return found;
}

static bool given_or_mounted(const char *variable, const char *type,
			     char *dir, size_t size)
{
	const char *given = getenv(variable);

	if (given)
		snprintf(dir, size, "%s", given);
	return given || dir_from_mounts(type, dir, size);
}

/* Find a directory on ext4. Return false if ext4 is not mounted. */
bool mig_ext4_dir(char *dir, size_t size)
{
	return given_or_mounted("MIGRATE_EXT4", "ext4", dir, size);
}

/* Find a directory on xfs. Return false if xfs is not mounted. */
bool mig_xfs_dir(char *dir, size_t size)
{
	return given_or_mounted("MIGRATE_XFS", "xfs", dir, size);
}

/* Create an empty file in a directory. The runner removes it after the case. */
int mig_new_file(const char *dir, char *path, size_t size)
{
	int fd;

	snprintf(path, size, "%s/migrate.%d", dir, getpid());
	mig_on_end_unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		mig_skip("%s: %m", path);
	return fd;
}

/* Write @size bytes of the pattern to a file with one system call. */
void mig_write_pattern(int fd, size_t size)
{
	char *bytes = mig_map(size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1);

	mig_fill(bytes, size, 1);
	if (pwrite(fd, bytes, size, 0) != (ssize_t)size)
		mig_fail("write of %zu bytes: %m", size);
	munmap(bytes, size);
}

/* Create a file with @size bytes of the pattern on ext4, not in the page cache. */
int mig_ext4_file(char *path, size_t size)
{
	char dir[128];
	int fd;

	if (!mig_ext4_dir(dir, sizeof(dir)))
		mig_skip("no ext4 mounted and MIGRATE_EXT4 not set");
	fd = mig_new_file(dir, path, 256);
	mig_write_pattern(fd, size);
	if (fsync(fd))
		mig_fail("fsync of %s: %m", path);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return fd;
}

/*
 * The file system of lib/tests/migrate_fs.c, which cannot move its folios.
 */

#define FS_STATE	"/sys/kernel/debug/migrate_fs"

/* Write a setting of migrate_fs, until the end of the case. */
void mig_fs_set(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), FS_STATE "/%s", name);
	mig_must_set(path, text);
}

/* Mount migrate_fs and create a file on it. */
int mig_fs_file(void)
{
	char dir[64], path[128];

	snprintf(dir, sizeof(dir), "/tmp/migrate_fs.%d", getpid());
	mig_on_end_rmdir(dir);
	if (mkdir(dir, 0700))
		mig_skip("%s: %m", dir);
	mig_on_end_umount(dir);
	if (mount("none", dir, "migrate_fs", 0, NULL))
		mig_skip("no migrate_fs, see CONFIG_MIGRATE_KUNIT_TEST: %m");
	return mig_new_file(dir, path, sizeof(path));
}

/* Read the first @len bytes of a file into the page cache. */
void mig_read_all(int fd, size_t len)
{
	char buf[64 * 1024];
	size_t at;
	ssize_t got;

	for (at = 0; at < len; at += got) {
		got = pread(fd, buf, sizeof(buf), at);
		if (got <= 0)
			mig_fail("read at %zu of %zu: %m", at, len);
	}
}

/* Keep the kernel from moving or writing memory of its own accord during the case. */
void mig_quiet(void)
{
	mig_set("/proc/sys/kernel/numa_balancing", "0");
	mig_set("/proc/sys/vm/dirty_writeback_centisecs", "0");
	mig_set("/proc/sys/vm/compaction_proactiveness", "0");
	mig_set(THP_DIR "/khugepaged/scan_sleep_millisecs", "600000");
}

/*
 * Prepare that this process can allocate no folio of @min_order or a higher order.
 * Return a file for mig_set_failing().
 */
int mig_fail_pages(unsigned int min_order)
{
	int fd = open("/proc/self/make-it-fail", O_WRONLY | O_CLOEXEC);
	char order[16];

	if (fd < 0 || access(FAIL_PAGES, F_OK))
		mig_skip("no fault injection");
	snprintf(order, sizeof(order), "%u", min_order);
	mig_must_set(FAIL_PAGES "task-filter", "Y");
	mig_must_set(FAIL_PAGES "ignore-gfp-wait", "N");
	mig_must_set(FAIL_PAGES "ignore-gfp-highmem", "N");
	mig_must_set(FAIL_PAGES "min-order", order);
	mig_must_set(FAIL_PAGES "verbose", "0");
	mig_must_set(FAIL_PAGES "times", "-1");
	mig_must_set(FAIL_PAGES "probability", "100");
	return fd;
}

/* Begin or end the failures that mig_fail_pages() has prepared. */
void mig_set_failing(int fd, bool failing)
{
	mig_check(pwrite(fd, failing ? "1" : "0", 1, 0) == 1, "make-it-fail: %m");
}

/*
 * Map a new file and make its pages dirty. They have never been written to the disk,
 * and the settings of writeback keep the kernel from writing them soon.
 */
char *mig_fs_dirty(int fd, size_t len, int node)
{
	char *mem;

	mig_set("/proc/sys/vm/dirty_ratio", "90");
	mig_set("/proc/sys/vm/dirty_background_ratio", "80");
	mig_set("/proc/sys/vm/dirty_writeback_centisecs", "0");
	if (ftruncate(fd, len))
		mig_fail("ftruncate: %m");
	mem = mig_map(len, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	mig_alloc_on(node);
	mig_read_all(fd, len);
	/* Page tables cannot move. Cases that empty @node need them elsewhere. */
	mig_alloc_on(MIG_A);
	mig_fill(mem, len, 1);
	mig_alloc_anywhere();
	mig_drain();
	if (mig_count_on(mem, len, node) != len / mig_psize)
		mig_skip("the file is not all on node %d", node);
	return mem;
}

/*
 * Take references as vmsplice(2) does until mig_unpin(). They are not long-term pins, so
 * pages of ZONE_MOVABLE stay where they are.
 */
int mig_hold(void *mem, size_t len)
{
	struct iovec part = { .iov_base = mem, .iov_len = len };
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		mig_skip("pipe2: %m");
	fcntl(ends[1], F_SETPIPE_SZ, len);
	if (syscall(SYS_vmsplice, ends[1], &part, 1, 0) != (long)len)
		mig_skip("a pipe does not hold the pages: %m");
	close(ends[1]);
	return ends[0];
}

static int try_pin(void *mem, size_t len, uint32_t flags)
{
	struct gup_pin pin = {
		.addr = (uintptr_t)mem,
		.size = len,
		.flags = flags,
	};
	int fd = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, GUP_PIN_START, &pin)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Pin by gup_test. Return -1 if there is none or it cannot pin this memory. */
int mig_try_pin(void *mem, size_t len)
{
	return try_pin(mem, len, GUP_PIN_WRITE);
}

/* Pin pages that the pinner will not write to. */
int mig_try_pin_to_read(void *mem, size_t len)
{
	return try_pin(mem, len, 0);
}

/* Copy what the pages that mig_try_pin() has pinned contain now. */
void mig_read_pinned(int pin, void *copy)
{
	uint64_t addr = (uintptr_t)copy;

	if (ioctl(pin, GUP_PIN_READ, &addr))
		mig_fail("gup_test cannot read: %m");
}

/* Take references until mig_unpin(). No migration waits for them that long. */
int mig_pin(void *mem, size_t len)
{
	int fd = mig_try_pin(mem, len);

	return fd < 0 ? mig_hold(mem, len) : fd;
}

void mig_unpin(int fd)
{
	close(fd);
}

/* Return the free memory of a node in bytes. */
size_t mig_node_free(int node)
{
	char path[96], text[4096], *at;

	snprintf(path, sizeof(path), NODE_DIR "/node%d/meminfo", node);
	if (mig_read(path, text, sizeof(text)) <= 0)
		return 0;
	at = strstr(text, "MemFree:");
	return at ? strtoul(at + strlen("MemFree:"), NULL, 10) * 1024 : 0;
}

/* Give a node @nr more free hugetlb pages until the case ends. */
void mig_hugetlb_reserve(int node, int nr)
{
	long kb = mig_meminfo("Hugepagesize");
	char path[160], text[32];
	long have;

	snprintf(path, sizeof(path),
		 NODE_DIR "/node%d/hugepages/hugepages-%ldkB/nr_hugepages", node, kb);
	have = mig_read_long(path);
	if (kb <= 0 || have < 0)
		mig_skip("no hugetlb pages of the default size");
	snprintf(text, sizeof(text), "%ld", have + nr);
	mig_must_set(path, text);
	if (mig_read_long(path) != have + nr)
		mig_skip("node %d has no room for %d hugetlb pages", node, nr);
}

static void wait_merged(long saved)
{
	double end = mig_seconds() + 60 * mig_patience();

	while (mig_read_long(KSM_DIR "/pages_sharing") < saved) {
		if (mig_seconds() > end)
			mig_skip("KSM merged only %ld of %ld pages",
				 mig_read_long(KSM_DIR "/pages_sharing"), saved);
		usleep(20000);
	}
}

/* Have KSM merge memory in which @saved pages are copies of other pages. */
void mig_ksm_merge(void *mem, size_t len, long saved)
{
	if (madvise(mem, len, MADV_MERGEABLE))
		mig_skip("MADV_MERGEABLE: %m");
	mig_set(KSM_DIR "/sleep_millisecs", "5");
	mig_set(KSM_DIR "/pages_to_scan", "5000");
	/* Unmerge the pages of earlier processes, which must not count. */
	mig_must_set(KSM_DIR "/run", "2");
	mig_write(KSM_DIR "/run", "1");
	wait_merged(saved);
	mig_write(KSM_DIR "/run", "0");
}

/*
 * The runner
 */

static long all_sizes(const char *name)
{
	size_t kb[MIG_MAX_SIZES];
	int i, nr = mig_thp_sizes(kb, MIG_MAX_SIZES);
	long sum = 0;

	for (i = 0; i < nr; i++)
		sum += mig_thp_stat(kb[i], name);
	return sum;
}

static void read_totals(struct totals *totals)
{
	mig_drain();
	mig_write("/proc/sys/vm/stat_refresh", "1");
	totals->isolated[0] = mig_vmstat("nr_isolated_anon");
	totals->isolated[1] = mig_vmstat("nr_isolated_file");
	totals->huge[0] = mig_meminfo("HugePages_Total");
	totals->huge[1] = mig_meminfo("HugePages_Free");
	totals->huge[2] = mig_meminfo("HugePages_Rsvd");
	totals->huge[3] = mig_meminfo("HugePages_Surp");
	totals->locked[0] = mig_vmstat("nr_mlock");
	totals->locked[1] = mig_vmstat("nr_unevictable");
	totals->folios = all_sizes("nr_anon");
	totals->partial = all_sizes("nr_anon_partially_mapped");
	totals->swap_kb = mig_meminfo("SwapCached");
	totals->known_kb = mig_known_kb();
}

static bool same_counts(const struct totals *was, const struct totals *is)
{
	return !memcmp(was->isolated, is->isolated, sizeof(was->isolated)) &&
	       !memcmp(was->huge, is->huge, sizeof(was->huge)) &&
	       !memcmp(was->locked, is->locked, sizeof(was->locked)) &&
	       was->folios == is->folios && was->partial == is->partial;
}

static bool same_totals(const struct totals *was, const struct totals *is)
{
	return same_counts(was, is) && was->known_kb - is->known_kb <= LOST_KB;
}

static void report_totals(const struct totals *was, const struct totals *is)
{
	snprintf(shared->message, sizeof(shared->message),
		 "changes after the case: isolated %ld+%ld, hugetlb total %ld free %ld rsvd %ld surp %ld, mlock %ld unevictable %ld, large %ld partial %ld, swap cache %ld kB, known memory %ld kB",
		 is->isolated[0] - was->isolated[0],
		 is->isolated[1] - was->isolated[1],
		 is->huge[0] - was->huge[0], is->huge[1] - was->huge[1],
		 is->huge[2] - was->huge[2], is->huge[3] - was->huge[3],
		 is->locked[0] - was->locked[0], is->locked[1] - was->locked[1],
		 is->folios - was->folios, is->partial - was->partial,
		 is->swap_kb - was->swap_kb, is->known_kb - was->known_kb);
}

/*
 * Have the kernel free memory that has no user. The huge zero page stays until a
 * shrinker runs, and a folio of the swap cache stays until it is reclaimed.
 */
static void reclaim_unused(const struct totals *is)
{
	char path[64];
	int i;

	mig_write("/proc/sys/vm/drop_caches", "2");
	for (i = 0; is->swap_kb && i < mig_nr_nodes; i++) {
		snprintf(path, sizeof(path), NODE_DIR "/node%d/reclaim", mig_nodes[i]);
		mig_write(path, "64M swappiness=max");
	}
}

/**
 * enum leak - what spoil_totals() adds to the totals, for -b leak
 * @LEAK_NOTHING: nothing
 * @LEAK_ISOLATED: isolated pages, more than any other process isolates
 * @LEAK_MEMORY: missing memory, a little more than LOST_KB
 */
enum leak {
	LEAK_NOTHING,
	LEAK_ISOLATED,
	LEAK_MEMORY,
};

static void spoil_totals(const struct totals *was, struct totals *is, enum leak leak)
{
	if (leak == LEAK_ISOLATED)
		is->isolated[0] += 1 << 20;
	else if (leak == LEAK_MEMORY)
		is->known_kb = was->known_kb - LOST_KB - 1;
}

/* The kernel frees some memory late, so wait a while for the totals to agree. */
static bool totals_agree(const struct totals *was, enum leak leak)
{
	double end = mig_seconds() + (leak ? 0 : 3 * mig_patience());
	struct totals is;

	for (;;) {
		read_totals(&is);
		spoil_totals(was, &is, leak);
		if (same_totals(was, &is))
			return true;
		if (mig_seconds() > end)
			break;
		reclaim_unused(&is);
		usleep(50000);
	}
	report_totals(was, &is);
	return false;
}

static void __noreturn run_child(const struct mig_case *test)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	test->run(test->arg);
	_exit(KSFT_PASS);
}

/* Wait for the child, but not longer than the case may take. */
static int wait_child(pid_t pid, unsigned int seconds)
{
	double end = mig_seconds() + seconds;
	int status;

	failed_otherwise = true;
	while (!waitpid(pid, &status, WNOHANG)) {
		if (mig_seconds() > end) {
			kill(-pid, SIGKILL);
			waitpid(pid, &status, 0);
			mig_note("timeout after %u seconds", seconds);
			return KSFT_FAIL;
		}
		usleep(1000);
	}
	failed_otherwise = !WIFEXITED(status);
	if (!failed_otherwise)
		return WEXITSTATUS(status);
	mig_note("killed by signal %d", WTERMSIG(status));
	return KSFT_FAIL;
}

/*
 * Kill the processes that the case started, which are children of this process by
 * now. Wait for their end, so that their memory is free when the next case begins.
 */
static void end_group(pid_t pid)
{
	double end = mig_seconds() + 40 * mig_patience();

	kill(-pid, SIGKILL);
	while (waitpid(-pid, NULL, WNOHANG) >= 0 && mig_seconds() < end)
		usleep(1000);
}

static const char *const break_words[] = {
	"nothing", "byte", "node", "flag", "status", "count", "loss", "leak",
};

static bool break_each;

/* Check that totals_agree(), which has just passed, notices spoiled totals. */
static bool leak_is_noticed(const struct totals *was)
{
	if (totals_agree(was, LEAK_ISOLATED))
		mig_note("the runner does not notice pages that stay isolated");
	else if (totals_agree(was, LEAK_MEMORY))
		mig_note("the runner does not notice lost memory");
	else
		return true;
	return false;
}

static int run_case(const struct mig_case *test)
{
	struct totals before;
	enum leak leak;
	int result;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	read_totals(&before);
	pid = fork();
	if (pid < 0)
		return KSFT_SKIP;
	if (!pid)
		run_child(test);
	result = wait_child(pid, CASE_SECONDS * mig_patience() + mig_duration);
	end_group(pid);
	undo_all();
	leak = mig_breaks(MIG_BREAK_LEAK) ? LEAK_ISOLATED : LEAK_NOTHING;
	if (result == KSFT_PASS && !totals_agree(&before, leak)) {
		failed_otherwise = true;
		return KSFT_FAIL;
	}
	if (result == KSFT_PASS && break_each && !mig_break &&
	    !leak_is_noticed(&before))
		return KSFT_FAIL;
	return result;
}

static void report(const struct mig_case *test, int result, double took)
{
	const char *why = shared->message;

	if (test->known_bug && !failed_otherwise)
		ksft_print_msg("%s: fails on the base: %s\n", test->name, test->known_bug);
	if (*why && result != KSFT_SKIP)
		ksft_print_msg("%s: %s\n", test->name, why);
	if (result == KSFT_SKIP)
		ksft_test_result_code(KSFT_SKIP, test->name, "%s", why);
	else
		ksft_test_result(result == KSFT_PASS, "%s\n", test->name);
	if (took > 2)
		ksft_print_msg("%s took %.1f s\n", test->name, took);
}

static void add_word(char *text, size_t size, const char *word)
{
	size_t len = strlen(text);

	snprintf(text + len, size - len, "%s%s", len ? ", " : "", word);
}

/**
 * struct verdict - how a case reacts to spoiled observations
 * @noticed: observations for which it fails
 * @missed: observations for which it does not fail
 * @unspoiled: observations that could not be spoiled
 */
struct verdict {
	char noticed[64];
	char missed[64];
	char unspoiled[64];
};

/* Return false if the case fails for another reason, which shared->message gives. */
static bool spoil_one(const struct mig_case *test, enum mig_break what,
		      struct verdict *verdict)
{
	const char *word = break_words[what];
	int result;

	mig_break = what;
	result = run_case(test);
	mig_break = MIG_BREAK_NOTHING;
	if (result == KSFT_FAIL && (failed_otherwise || !shared->spoiled))
		return false;
	if (!shared->spoiled)
		add_word(verdict->unspoiled, sizeof(verdict->unspoiled), word);
	else if (result == KSFT_FAIL)
		add_word(verdict->noticed, sizeof(verdict->noticed), word);
	else
		add_word(verdict->missed, sizeof(verdict->missed), word);
	return true;
}

static int judge(const struct verdict *v)
{
	const char *also = *v->unspoiled ? "; could not be spoiled: " : "";

	if (*v->missed) {
		mig_note("does not notice: %s", v->missed);
		return KSFT_FAIL;
	}
	if (*v->noticed) {
		mig_note("notices: %s%s%s", v->noticed, also, v->unspoiled);
		return KSFT_PASS;
	}
	mig_note("none of its observations can be spoiled%s%s",
		 *v->unspoiled ? ": " : "", v->unspoiled);
	return KSFT_SKIP;
}

/* Run a case, then once more with each observation spoiled, which must fail. */
static int run_spoiled(const struct mig_case *test)
{
	int what, result = run_case(test);
	unsigned int observed = shared->observed;
	struct verdict verdict = { };

	if (result != KSFT_PASS)
		return result;
	for (what = MIG_BREAK_BYTE; what < MIG_BREAK_LEAK; what++) {
		if (!(observed & MIG_BIT(what)) || spoil_one(test, what, &verdict))
			continue;
		ksft_print_msg("%s: with -b %s it fails for another reason\n",
			       test->name, break_words[what]);
		return KSFT_FAIL;
	}
	return judge(&verdict);
}

static void run_reported(const struct mig_case *test)
{
	double start = mig_seconds();
	int result = break_each ? run_spoiled(test) : run_case(test);

	report(test, result, mig_seconds() - start);
}

/* Parse a set of nodes as the kernel prints it, such as "0-2,5". */
static void parse_nodes(const char *text)
{
	int from, to, used;

	while (sscanf(text, "%d%n", &from, &used) == 1) {
		text += used;
		to = from;
		if (sscanf(text, "-%d%n", &to, &used) == 1)
			text += used;
		for (; from <= to && mig_nr_nodes < MIG_MAX_NODES; from++)
			mig_nodes[mig_nr_nodes++] = from;
		if (*text++ != ',')
			return;
	}
}

static void init(void)
{
	char text[256];

	mig_psize = sysconf(_SC_PAGESIZE);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	if (mig_read(NODE_DIR "/has_memory", text, sizeof(text)) > 0)
		parse_nodes(text);
	if (geteuid())
		ksft_exit_skip("needs root\n");
	if (mig_nr_nodes < 2)
		ksft_exit_skip("needs two nodes with memory\n");
	map_blocks();
}

static void parse_break(const char *word)
{
	size_t i;

	break_each = !strcmp(word, "each");
	for (i = 0; i < ARRAY_SIZE(break_words); i++) {
		if (!strcmp(word, break_words[i]))
			mig_break = i;
	}
	if (!break_each && !mig_break)
		ksft_exit_fail_msg("-b byte|node|flag|status|count|loss|leak|each\n");
}

/*
 * With -c TEXT the name of a case must contain TEXT, or the text of another -c. With
 * -x TEXT it must not contain TEXT.
 */
static bool chosen(const struct mig_case *test, int argc, char **argv)
{
	bool limited = false, named = false;
	int i;

	for (i = 1; i + 1 < argc; i += 2) {
		if (argv[i][1] == 'x' && strstr(test->name, argv[i + 1]))
			return false;
		if (argv[i][1] != 'c')
			continue;
		limited = true;
		named |= !!strstr(test->name, argv[i + 1]);
	}
	return named || !limited;
}

/*
 * -c TEXT and -x TEXT select cases, see chosen(). -b WHAT spoils an observation, so
 * that the cases that make it must fail. With -b each a case passes if it fails for
 * each observation that was spoiled. -t SECONDS is the run time of cases that have
 * no end of their own.
 */
int mig_main(int argc, char **argv, const struct mig_case *cases, size_t nr)
{
	unsigned int plan = 0;
	size_t i;
	int opt;

	ksft_print_header();
	while ((opt = getopt(argc, argv, "b:c:t:x:")) != -1) {
		if (opt == 't')
			mig_duration = atoi(optarg);
		else if (opt == 'b' || opt == '?')
			parse_break(opt == 'b' ? optarg : "?");
	}
	init();
	for (i = 0; i < nr; i++)
		plan += chosen(&cases[i], argc, argv);
	ksft_set_plan(plan);
	for (i = 0; i < nr; i++) {
		if (chosen(&cases[i], argc, argv))
			run_reported(&cases[i]);
	}
	ksft_finished();
}
