// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of device migration with several tasks and devices: ranges of which only a
 * part can move; processes that fork, unmap, protect and discard memory while a
 * device holds it; many threads that fault on one huge page; eviction; two devices.
 * Other tests use memory of a device that CPUs can access. Such memory moves to the
 * system when a task pins it for a long time.
 *
 * The device is that of lib/test_hmm.c; see test_hmm.sh for how to load it. Each
 * page contains its own pattern, so that a test detects a page in a wrong place. At
 * its end, each test releases the memory of the devices. The release blocks if a
 * reference to any of this memory was not dropped. The test then checks the kernel's
 * counts of anonymous memory and huge pages.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <lib/test_hmm_uapi.h>
#include <mm/gup_test.h>

#include "migrate_break.h"
#include "vm_util.h"

#define DEVICES		2
#define MAX_NODES	8
#define THREADS		4
#define ROUNDS		8
#define STRESS_SECONDS	3

/* Numbers of the first private device and of the first coherent device */
#define PRIVATE		0
#define COHERENT	2

/*
 * Number of absent pages that khugepaged moves back to make a huge page. It
 * includes pages on a device. The tests set it to 0, so that khugepaged does not
 * move their pages back from a device.
 */
#define MAX_PTES_SWAP	"/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_swap"

/* The bits of a snapshot entry that say where a page is */
#define PLACE_MASK	0xf0

FIXTURE(migrate_device)
{
	int dev[DEVICES];
	int pagemap;
	size_t page;
	size_t pmd;
	unsigned long nr;	/* pages in a huge page */
	char *map;		/* the whole mapping */
	size_t map_len;
	char *mem;		/* aligned memory for two huge pages, in @map */
	long anon;		/* anonymous memory before the test, in kB */
	long thps;		/* huge pages of all processes before the test */
	unsigned long max_ptes_swap;	/* value of MAX_PTES_SWAP before the test */
};

/* Fixtures of tests with small pages only, and with huge pages only */
FIXTURE(migrate_device_small)
{
	FIXTURE_DATA(migrate_device) m;
};

FIXTURE(migrate_device_huge)
{
	FIXTURE_DATA(migrate_device) m;
};

FIXTURE_VARIANT(migrate_device)
{
	bool huge;
};

FIXTURE_VARIANT_ADD(migrate_device, small)
{
	.huge = false,
};

FIXTURE_VARIANT_ADD(migrate_device, huge)
{
	.huge = true,
};

static int device_open(int nr)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/hmm_dmirror%d", nr);
	return open(path, O_RDWR);
}

/* Returns 0 or a negative error, which is -ENOENT if a page did not move. */
static int device_cmd(int fd, unsigned long request, void *addr,
		      unsigned long npages, void *ptr)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)addr,
		.ptr = (uintptr_t)ptr,
		.npages = npages,
	};

	while (ioctl(fd, request, &cmd)) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static int device_pull(int fd, void *addr, unsigned long npages)
{
	void *copy = malloc(npages * getpagesize());
	int ret = -ENOMEM;

	if (copy)
		ret = device_cmd(fd, HMM_DMIRROR_MIGRATE_TO_DEV, addr, npages, copy);
	free(copy);
	return ret;
}

static int device_push(int fd, void *addr, unsigned long npages)
{
	return device_cmd(fd, HMM_DMIRROR_MIGRATE_TO_SYS, addr, npages, NULL);
}

/* Let the driver's next allocation fail, on the device or in the system. */
static int device_fail_next(int fd, void *addr)
{
	return device_cmd(fd, HMM_DMIRROR_FLAGS, addr,
			  HMM_DMIRROR_FLAG_FAIL_ALLOC, NULL);
}

/*
 * Release all memory of the device, in all processes that map it. This blocks while
 * there is a reference to any of it.
 */
static int device_release(int fd)
{
	return device_cmd(fd, HMM_DMIRROR_RELEASE, (void *)(long)getpagesize(), 1,
			  NULL);
}

/*
 * Return the number of these pages whose snapshot entry is @what under @mask, or a
 * negative error.
 */
static long device_counts(int fd, void *addr, unsigned long npages,
			  unsigned char mask, unsigned char what)
{
	unsigned char *place = malloc(npages);
	long ret, n = 0;

	if (!place)
		return -ENOMEM;
	ret = device_cmd(fd, HMM_DMIRROR_SNAPSHOT, addr, npages, place);
	for (unsigned long i = 0; !ret && i < npages; i++)
		n += (place[i] & mask) == what;
	free(place);
	return ret ? ret : n;
}

static long device_sees(int fd, void *addr, unsigned long npages,
			unsigned char mask, unsigned char what)
{
	long n = device_counts(fd, addr, npages, mask, what);

	return n < 0 ? n : n + migrate_spoils("node");
}

/* Return the number of these pages that the device holds, or a negative error. */
static long device_holds(int fd, void *addr, unsigned long npages)
{
	return device_sees(fd, addr, npages, PLACE_MASK,
			   HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL);
}

/* Returns true if the device holds one of these pages or more. */
static bool device_holds_some(int fd, void *addr, unsigned long npages)
{
	return device_counts(fd, addr, npages, PLACE_MASK,
			     HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL) > 0;
}

/* Open the device once more, and close it. The driver then evicts all memory. */
static int device_evict(int nr)
{
	int fd = device_open(nr);

	return fd < 0 ? -errno : close(fd);
}

static uint64_t stamp(unsigned long page, unsigned long word, uint64_t seed)
{
	return (seed << 48) | ((uint64_t)page << 16) | word;
}

static void fill(char *mem, unsigned long first, unsigned long npages,
		 size_t page, uint64_t seed)
{
	for (unsigned long p = first; p < first + npages; p++) {
		uint64_t *word = (uint64_t *)(mem + p * page);

		for (unsigned long w = 0; w < page / sizeof(*word); w++)
			word[w] = stamp(p, w, seed);
	}
}

/* Return the number of pages that do not contain what fill() has written. */
static long differing(char *mem, unsigned long first, unsigned long npages,
		      size_t page, uint64_t seed)
{
	long bad = 0;

	for (unsigned long p = first; p < first + npages; p++) {
		const uint64_t *word = (void *)(mem + p * page);
		unsigned long w = 0;

		while (w < page / sizeof(*word) && word[w] == stamp(p, w, seed))
			w++;
		bad += w < page / sizeof(*word);
	}
	return bad + migrate_spoils("byte");
}

/* Returns the number of pages that are not all zeroes. */
static long nonzero_pages(char *mem, unsigned long first, unsigned long npages,
			  size_t page)
{
	long bad = 0;

	for (unsigned long p = first; p < first + npages; p++) {
		const uint64_t *word = (void *)(mem + p * page);
		unsigned long w = 0;

		while (w < page / sizeof(*word) && !word[w])
			w++;
		bad += w < page / sizeof(*word);
	}
	return bad + migrate_spoils("byte");
}

static sigjmp_buf fault_jump;

static void fault_handler(int sig)
{
	siglongjmp(fault_jump, sig);
}

/* Write to @addr. Return false if the protection does not allow that. */
static bool try_write(uint64_t *addr, uint64_t value)
{
	struct sigaction act = { .sa_handler = fault_handler }, old;

	sigaction(SIGSEGV, &act, &old);
	if (sigsetjmp(fault_jump, 1)) {
		sigaction(SIGSEGV, &old, NULL);
		return false;
	}
	__atomic_store_n(addr, value, __ATOMIC_RELAXED);
	sigaction(SIGSEGV, &old, NULL);
	return true;
}

/* Write the value of fill() to the first word of a page. Return true on failure. */
static bool write_is_refused(char *mem, unsigned long p, size_t page,
			     uint64_t seed)
{
	return !try_write((uint64_t *)(mem + p * page), stamp(p, 0, seed));
}

/* Keep a reference to a page for as long as the pipe exists. */
static int page_hold(int pipefd[2], void *addr)
{
	struct iovec iov = { .iov_base = addr, .iov_len = getpagesize() };

	if (pipe(pipefd))
		return -1;
	return vmsplice(pipefd[1], &iov, 1, 0) == getpagesize() ? 0 : -1;
}

static void page_release(int pipefd[2])
{
	close(pipefd[0]);
	close(pipefd[1]);
}

/* Run @fn in a child. @fn returns the number of errors that it has found. */
static pid_t child_start(long (*fn)(char *mem, unsigned long nr, size_t page),
			 char *mem, unsigned long nr, size_t page)
{
	pid_t pid = fork();

	if (!pid)
		_exit(!!fn(mem, nr, page));
	return pid;
}

static int child_status(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* Return the number after @name in a file, or -1 if there is none. */
static long number_in(const char *path, const char *name)
{
	size_t len = strlen(name);
	char line[256];
	long n = -1;
	FILE *f = fopen(path, "r");

	while (f && n < 0 && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, name, len))
			n = strtol(line + len, NULL, 10);
	}
	if (f)
		fclose(f);
	return n;
}

/* Return the number of anonymous huge pages, including those on a device. */
static long thps_counted(size_t pmd)
{
	char path[96];

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/transparent_hugepage/hugepages-%zukB/stats/nr_anon",
		 pmd >> 10);
	return number_in(path, "");
}

/* Set up the fixture with the devices from number @first on. */
static void setup(struct __test_metadata *const _metadata,
		  FIXTURE_DATA(migrate_device) *self, int first, bool huge)
{
	self->map = MAP_FAILED;
	self->page = getpagesize();
	self->pmd = read_pmd_pagesize();
	for (int i = 0; i < DEVICES; i++) {
		self->dev[i] = device_open(first + i);
		if (self->dev[i] < 0)
			SKIP(return, "no /dev/hmm_dmirror%d: load test_hmm%s",
			     first + i, first == COHERENT ?
			     " with spm_addr_dev0 and spm_addr_dev1" : "");
	}
	if (!self->pmd)
		SKIP(return, "no huge pages");
	self->nr = self->pmd / self->page;
	self->pagemap = open("/proc/self/pagemap", O_RDONLY);
	ASSERT_GE(self->pagemap, 0);

	/* free() must unmap large blocks, so that teardown() can compare RssAnon. */
	ASSERT_EQ(mallopt(M_MMAP_THRESHOLD, 1 << 16), 1);
	self->anon = number_in("/proc/self/status", "RssAnon:");
	self->thps = thps_counted(self->pmd);
	ASSERT_GT(self->anon, 0);

	self->map_len = 3 * self->pmd;
	self->map = mmap(NULL, self->map_len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(self->map, MAP_FAILED);
	self->mem = (char *)(((uintptr_t)self->map + self->pmd - 1) &
			     ~(self->pmd - 1));
	ASSERT_EQ(madvise(self->map, self->map_len,
			  huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE), 0);
	ASSERT_EQ(read_sysfs(MAX_PTES_SWAP, &self->max_ptes_swap), 0);
	ASSERT_EQ(write_sysfs(MAX_PTES_SWAP, 0), 0);
}

static void teardown(struct __test_metadata *const _metadata,
		     FIXTURE_DATA(migrate_device) *self)
{
	long anon;

	if (self->map != MAP_FAILED)
		munmap(self->map, self->map_len);
	for (int i = 0; i < DEVICES; i++) {
		if (self->dev[i] < 0)
			continue;
		EXPECT_EQ(device_release(self->dev[i]), 0);
		close(self->dev[i]);
	}
	if (self->map == MAP_FAILED)
		return;
	EXPECT_EQ(write_sysfs(MAX_PTES_SWAP, self->max_ptes_swap), 0);

	/* Thread stacks may change RssAnon a little. No huge page may be left. */
	anon = number_in("/proc/self/status", "RssAnon:") - self->anon;
	EXPECT_LT(labs(anon), (long)(self->pmd >> 11));
	EXPECT_EQ(thps_counted(self->pmd), self->thps);
}

FIXTURE_SETUP(migrate_device)
{
	setup(_metadata, self, PRIVATE, variant->huge);
}

FIXTURE_TEARDOWN(migrate_device)
{
	teardown(_metadata, self);
}

FIXTURE_SETUP(migrate_device_small)
{
	setup(_metadata, &self->m, PRIVATE, false);
}

FIXTURE_TEARDOWN(migrate_device_small)
{
	teardown(_metadata, &self->m);
}

FIXTURE_SETUP(migrate_device_huge)
{
	setup(_metadata, &self->m, PRIVATE, true);
}

FIXTURE_TEARDOWN(migrate_device_huge)
{
	teardown(_metadata, &self->m);
}

/* Move a range of written, only read, and untouched pages, and move it back. */
TEST_F(migrate_device, mixed_entries)
{
	const unsigned long third = self->nr / 3;
	char *mem = self->mem;

	fill(mem, 0, third, self->page, 1);
	for (unsigned long p = third; p < 2 * third; p++)
		FORCE_READ(mem[p * self->page]);

	ASSERT_EQ(device_pull(self->dev[0], mem, self->nr), 0);
	ASSERT_EQ(device_holds(self->dev[0], mem, self->nr), self->nr);

	EXPECT_EQ(differing(mem, 0, third, self->page, 1), 0);
	EXPECT_EQ(nonzero_pages(mem, third, self->nr - third, self->page), 0);
	EXPECT_EQ(device_holds(self->dev[0], mem, self->nr), 0);
}

/* The range begins and ends in the middle of huge pages. */
TEST_F(migrate_device, unaligned_range)
{
	const unsigned long first = self->nr / 4, count = self->nr;
	char *mem = self->mem;

	fill(mem, 0, 2 * self->nr, self->page, 2);
	ASSERT_EQ(device_pull(self->dev[0], mem + first * self->page, count), 0);
	EXPECT_EQ(device_holds(self->dev[0], mem, 2 * self->nr), count);
	EXPECT_EQ(device_holds(self->dev[0], mem + first * self->page, count),
		  count);
	EXPECT_EQ(differing(mem, 0, 2 * self->nr, self->page, 2), 0);
}

/* Move two huge pages to the device, and then only the middle of them back. */
TEST_F(migrate_device, partial_return)
{
	const unsigned long first = self->nr / 2, count = self->nr;
	char *mem = self->mem;

	fill(mem, 0, 2 * self->nr, self->page, 3);
	ASSERT_EQ(device_pull(self->dev[0], mem, 2 * self->nr), 0);
	ASSERT_EQ(device_holds(self->dev[0], mem, 2 * self->nr), 2 * self->nr);

	ASSERT_EQ(device_push(self->dev[0], mem + first * self->page, count), 0);
	EXPECT_EQ(device_holds(self->dev[0], mem, 2 * self->nr), count);
	EXPECT_EQ(device_holds(self->dev[0], mem + first * self->page, count), 0);
	EXPECT_EQ(differing(mem, 0, 2 * self->nr, self->page, 3), 0);
}

/* A page with another reference stays, and the huge page that contains it, too. */
TEST_F(migrate_device, held_page_stays)
{
	const unsigned long held = self->nr / 2 + 3;
	long stays = variant->huge ? self->nr : 1;
	char *mem = self->mem;
	int pipefd[2];

	fill(mem, 0, 2 * self->nr, self->page, 4);
	ASSERT_EQ(page_hold(pipefd, mem + held * self->page), 0);

	EXPECT_EQ(device_pull(self->dev[0], mem, 2 * self->nr), -ENOENT);
	EXPECT_EQ(device_holds(self->dev[0], mem, 2 * self->nr),
		  2 * self->nr - stays);
	EXPECT_EQ(device_holds(self->dev[0], mem + held * self->page, 1), 0);
	EXPECT_EQ(differing(mem, 0, 2 * self->nr, self->page, 4), 0);

	page_release(pipefd);
	EXPECT_EQ(device_pull(self->dev[0], mem, 2 * self->nr), 0);
	EXPECT_EQ(device_holds(self->dev[0], mem, 2 * self->nr), 2 * self->nr);
	EXPECT_EQ(differing(mem, 0, 2 * self->nr, self->page, 4), 0);
}

/* The device has no huge page. Small pages replace all of the huge page. */
TEST_F(migrate_device, split_when_pulled)
{
	char *mem = self->mem;

	fill(mem, 0, self->nr, self->page, 5);
	ASSERT_EQ(device_fail_next(self->dev[0], mem), 0);
	ASSERT_EQ(device_pull(self->dev[0], mem, self->nr),
		  variant->huge ? 0 : -ENOENT);
	EXPECT_EQ(device_holds(self->dev[0], mem, self->nr),
		  variant->huge ? self->nr : self->nr - 1);
	EXPECT_EQ(differing(mem, 0, self->nr, self->page, 5), 0);
}

/* The system has no huge page for a fault. Small pages replace the huge page. */
TEST_F(migrate_device_huge, split_by_fault)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	char *mem = m->mem;

	fill(mem, 0, m->nr, m->page, 6);
	ASSERT_EQ(device_pull(m->dev[0], mem, m->nr), 0);
	ASSERT_EQ(device_fail_next(m->dev[0], mem), 0);

	EXPECT_EQ(differing(mem, m->nr / 2, 1, m->page, 6), 0);
	EXPECT_EQ(device_holds(m->dev[0], mem, m->nr), 0);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 6), 0);
}

/* The device has no huge page for a huge hole. Small pages fill it. */
TEST_F(migrate_device_huge, hole_gets_small_pages)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	char *mem = m->mem;

	ASSERT_EQ(device_fail_next(m->dev[0], mem), 0);
	ASSERT_EQ(device_pull(m->dev[0], mem, m->nr), 0);
	EXPECT_EQ(device_holds(m->dev[0], mem, m->nr), m->nr);
	EXPECT_EQ(nonzero_pages(mem, 0, m->nr, m->page), 0);
}

static long child_reads(char *mem, unsigned long nr, size_t page)
{
	return differing(mem, 0, nr, page, 7);
}

static long child_writes(char *mem, unsigned long nr, size_t page)
{
	long bad = differing(mem, 0, nr, page, 7);

	fill(mem, 0, nr, page, 8);
	return bad + differing(mem, 0, nr, page, 8);
}

/* Parent and child share memory on the device until one of them writes. */
TEST_F(migrate_device, fork_on_device)
{
	char *mem = self->mem;
	pid_t pid[2];

	fill(mem, 0, self->nr, self->page, 7);
	ASSERT_EQ(device_pull(self->dev[0], mem, self->nr), 0);
	pid[0] = child_start(child_reads, mem, self->nr, self->page);
	pid[1] = child_start(child_writes, mem, self->nr, self->page);
	EXPECT_EQ(child_status(pid[0]), 0);
	EXPECT_EQ(child_status(pid[1]), 0);
	EXPECT_EQ(differing(mem, 0, self->nr, self->page, 7), 0);

	/* Now the parent writes while a child reads. */
	ASSERT_EQ(device_pull(self->dev[0], mem, self->nr), 0);
	pid[0] = child_start(child_reads, mem, self->nr, self->page);
	fill(mem, 0, self->nr, self->page, 9);
	EXPECT_EQ(child_status(pid[0]), 0);
	EXPECT_EQ(differing(mem, 0, self->nr, self->page, 9), 0);
}

static long child_waits(char *mem, unsigned long nr, size_t page)
{
	raise(SIGSTOP);
	return differing(mem, 0, nr, page, 10);
}

/* Memory that a child maps, too, moves to the device in both processes. */
TEST_F(migrate_device, fork_before_device)
{
	char *mem = self->mem;
	int status;
	pid_t pid;

	fill(mem, 0, self->nr, self->page, 10);
	pid = child_start(child_waits, mem, self->nr, self->page);
	ASSERT_EQ(waitpid(pid, &status, WUNTRACED), pid);

	ASSERT_EQ(device_pull(self->dev[0], mem, self->nr), 0);
	EXPECT_EQ(device_holds(self->dev[0], mem, self->nr), self->nr);
	kill(pid, SIGCONT);
	EXPECT_EQ(child_status(pid), 0);
	EXPECT_EQ(differing(mem, 0, self->nr, self->page, 10), 0);
}

/* Unmap parts at an end and in the middle while the device holds the memory. */
TEST_F(migrate_device, munmap_on_device)
{
	const unsigned long part = self->nr / 8;
	char *mem = self->mem;

	fill(mem, 0, 2 * self->nr, self->page, 11);
	ASSERT_EQ(device_pull(self->dev[0], mem, 2 * self->nr), 0);

	ASSERT_EQ(munmap(mem + 3 * part * self->page, part * self->page), 0);
	EXPECT_EQ(differing(mem, 0, 3 * part, self->page, 11), 0);
	ASSERT_EQ(munmap(mem + self->pmd, part * self->page), 0);
	EXPECT_EQ(differing(mem, 4 * part, 4 * part, self->page, 11), 0);
	EXPECT_EQ(differing(mem, 9 * part, 7 * part, self->page, 11), 0);

	/* Move a remaining part again. teardown() unmaps it on the device. */
	EXPECT_EQ(device_pull(self->dev[0], mem, 3 * part), 0);
	EXPECT_EQ(device_holds(self->dev[0], mem, 3 * part), 3 * part);
}

/* A change of the protection at any time of a migration is in effect afterwards. */
TEST_F(migrate_device, mprotect_on_device)
{
	const size_t half = self->pmd / 2;
	char *mem = self->mem;

	fill(mem, 0, self->nr, self->page, 12);

	/* Before: read-only memory moves to the device and back, and stays so. */
	ASSERT_EQ(mprotect(mem, self->pmd, PROT_READ), 0);
	ASSERT_EQ(device_pull(self->dev[0], mem, self->nr), 0);
	EXPECT_TRUE(write_is_refused(mem, 0, self->page, 12));
	EXPECT_EQ(differing(mem, 0, self->nr, self->page, 12), 0);
	EXPECT_TRUE(write_is_refused(mem, 0, self->page, 12));

	/* Meanwhile: half of the memory becomes read-only, and writable again. */
	ASSERT_EQ(mprotect(mem, self->pmd, PROT_READ | PROT_WRITE), 0);
	ASSERT_EQ(device_pull(self->dev[0], mem, self->nr), 0);
	ASSERT_EQ(mprotect(mem + half, half, PROT_READ), 0);
	EXPECT_FALSE(write_is_refused(mem, 0, self->page, 12));
	EXPECT_TRUE(write_is_refused(mem, self->nr / 2, self->page, 12));
	EXPECT_EQ(differing(mem, 0, self->nr, self->page, 12), 0);
	ASSERT_EQ(device_pull(self->dev[0], mem, self->nr / 2), 0);
	ASSERT_EQ(mprotect(mem + half, half, PROT_READ | PROT_WRITE), 0);

	/* Afterwards: all of the memory becomes read-only, and writable again. */
	EXPECT_EQ(differing(mem, 0, self->nr, self->page, 12), 0);
	ASSERT_EQ(mprotect(mem, self->pmd, PROT_READ), 0);
	EXPECT_TRUE(write_is_refused(mem, 0, self->page, 12));
	ASSERT_EQ(mprotect(mem, self->pmd, PROT_READ | PROT_WRITE), 0);
	EXPECT_FALSE(write_is_refused(mem, 0, self->page, 12));
}

/* Locked memory moves like any other. */
TEST_F(migrate_device, mlocked)
{
	char *mem = self->mem;

	fill(mem, 0, self->nr, self->page, 13);
	if (mlock(mem, self->pmd))
		SKIP(return, "mlock: %s", strerror(errno));
	ASSERT_EQ(device_pull(self->dev[0], mem, self->nr), 0);
	EXPECT_EQ(device_holds(self->dev[0], mem, self->nr), self->nr);
	EXPECT_EQ(differing(mem, 0, self->nr, self->page, 13), 0);
	ASSERT_EQ(munlock(mem, self->pmd), 0);
	ASSERT_EQ(device_pull(self->dev[0], mem, self->nr), 0);
	EXPECT_EQ(differing(mem, 0, self->nr, self->page, 13), 0);
}

/* Pages keep their soft-dirty state on the device and when they come back. */
TEST_F(migrate_device, soft_dirty_kept)
{
	char *mem = self->mem;
	long there = 0, back = 0;

	if (!softdirty_supported())
		SKIP(return, "no soft-dirty bits");
	fill(mem, 0, 2 * self->nr, self->page, 14);
	clear_softdirty();
	fill(mem, 0, self->nr, self->page, 15);

	ASSERT_EQ(device_pull(self->dev[0], mem, 2 * self->nr), 0);
	for (unsigned long p = 0; p < 2 * self->nr; p++)
		there += pagemap_is_softdirty(self->pagemap, mem + p * self->page)
			 != (p < self->nr);
	ASSERT_EQ(device_push(self->dev[0], mem, 2 * self->nr), 0);
	for (unsigned long p = 0; p < 2 * self->nr; p++)
		back += pagemap_is_softdirty(self->pagemap, mem + p * self->page)
			!= (p < self->nr);

	EXPECT_EQ(there, 0);
	EXPECT_EQ(back, 0);
	EXPECT_EQ(differing(mem, 0, self->nr, self->page, 15), 0);
	EXPECT_EQ(differing(mem, self->nr, self->nr, self->page, 14), 0);
}

/* Return how many of the @nr pages from @mem on are soft-dirty. */
static unsigned long softdirty_pages(FIXTURE_DATA(migrate_device) *self,
				     char *mem, unsigned long nr)
{
	unsigned long n = 0;

	for (unsigned long p = 0; p < nr; p++)
		n += pagemap_is_softdirty(self->pagemap, mem + p * self->page);
	return n;
}

/* The same for huge pages that small pages replace, in both directions. */
TEST_F(migrate_device_huge, soft_dirty_split)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	char *mem = m->mem;

	if (!softdirty_supported())
		SKIP(return, "no soft-dirty bits");
	fill(mem, 0, 2 * m->nr, m->page, 14);
	clear_softdirty();
	fill(mem, 0, m->nr, m->page, 15);

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(device_fail_next(m->dev[0], mem), 0);
		ASSERT_EQ(device_pull(m->dev[0], mem + i * m->pmd, m->nr), 0);
	}
	EXPECT_EQ(softdirty_pages(m, mem, m->nr), m->nr);
	EXPECT_EQ(softdirty_pages(m, mem + m->pmd, m->nr), 0);
	ASSERT_EQ(device_push(m->dev[0], mem, 2 * m->nr), 0);
	EXPECT_EQ(softdirty_pages(m, mem, m->nr), m->nr);
	EXPECT_EQ(softdirty_pages(m, mem + m->pmd, m->nr), 0);

	/* Huge pages are on the device. Small pages replace them in the system. */
	ASSERT_EQ(munmap(mem, 2 * m->pmd), 0);
	ASSERT_EQ(mmap(mem, 2 * m->pmd, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), mem);
	ASSERT_EQ(madvise(mem, 2 * m->pmd, MADV_HUGEPAGE), 0);
	fill(mem, 0, 2 * m->nr, m->page, 14);
	clear_softdirty();
	fill(mem, 0, m->nr, m->page, 15);
	ASSERT_EQ(device_pull(m->dev[0], mem, 2 * m->nr), 0);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(device_fail_next(m->dev[0], mem), 0);
		EXPECT_EQ(differing(mem, i * m->nr, 1, m->page, 15 - i), 0);
	}
	EXPECT_EQ(device_holds(m->dev[0], mem, 2 * m->nr), 0);
	EXPECT_EQ(softdirty_pages(m, mem, m->nr), m->nr);
	EXPECT_EQ(softdirty_pages(m, mem + m->pmd, m->nr), 0);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 15), 0);
	EXPECT_EQ(differing(mem, m->nr, m->nr, m->page, 14), 0);
}

/* A huge page on the device keeps its soft-dirty state when it becomes read-only. */
TEST_F(migrate_device_huge, soft_dirty_protected)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	char *mem = m->mem;

	if (!softdirty_supported())
		SKIP(return, "no soft-dirty bits");
	fill(mem, 0, 2 * m->nr, m->page, 14);
	clear_softdirty();
	fill(mem, 0, m->nr, m->page, 15);
	ASSERT_EQ(device_pull(m->dev[0], mem, 2 * m->nr), 0);

	ASSERT_EQ(mprotect(mem, 2 * m->pmd, PROT_READ), 0);
	EXPECT_EQ(device_holds(m->dev[0], mem, 2 * m->nr), 2 * m->nr);
	EXPECT_EQ(softdirty_pages(m, mem, m->nr), m->nr);
	EXPECT_EQ(softdirty_pages(m, mem + m->pmd, m->nr), 0);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 15), 0);
	EXPECT_EQ(differing(mem, m->nr, m->nr, m->page, 14), 0);
}

/* mremap() makes a huge page on the device soft-dirty until clear_softdirty(). */
TEST_F(migrate_device_huge, soft_dirty_moved)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	char *mem = m->mem, *to = m->mem + m->pmd;

	if (!softdirty_supported())
		SKIP(return, "no soft-dirty bits");
	fill(mem, 0, m->nr, m->page, 14);
	clear_softdirty();
	ASSERT_EQ(device_pull(m->dev[0], mem, m->nr), 0);
	EXPECT_EQ(softdirty_pages(m, mem, m->nr), 0);

	ASSERT_EQ(mremap(mem, m->pmd, m->pmd, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	EXPECT_EQ(device_holds(m->dev[0], to, m->nr), m->nr);
	EXPECT_EQ(softdirty_pages(m, to, m->nr), m->nr);
	clear_softdirty();
	EXPECT_EQ(softdirty_pages(m, to, m->nr), 0);
	EXPECT_EQ(device_holds(m->dev[0], to, m->nr), m->nr);
	EXPECT_EQ(differing(to, 0, m->nr, m->page, 14), 0);
}

static int uffd_protect(int uffd, void *addr, size_t len, bool on)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)addr, .len = len },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
}

/* Returns a userfaultfd that can protect the two huge pages, or -1. */
static int uffd_open(FIXTURE_DATA(migrate_device) *self)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)self->mem, .len = 2 * self->pmd },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api) &&
	    !ioctl(uffd, UFFDIO_REGISTER, &reg))
		return uffd;
	close(uffd);
	return -1;
}

/* Return how many of the @nr pages from @first on userfaultfd protects. */
static unsigned long uffd_protected(FIXTURE_DATA(migrate_device) *self,
				    unsigned long first, unsigned long nr)
{
	unsigned long n = 0;

	for (unsigned long p = first; p < first + nr; p++)
		n += !!(pagemap_get_entry(self->pagemap, self->mem + p * self->page) &
			PM_UFFD_WP);
	return n;
}

/* Pages that move keep the protection by userfaultfd. Zero pages keep it, too. */
TEST_F(migrate_device, userfaultfd_wp_kept)
{
	int uffd = uffd_open(self);
	char *mem = self->mem;

	if (uffd < 0)
		SKIP(return, "no userfaultfd write protection");

	fill(mem, 0, self->nr, self->page, 16);
	for (unsigned long p = self->nr; p < 2 * self->nr; p++)
		FORCE_READ(mem[p * self->page]);
	ASSERT_EQ(uffd_protect(uffd, mem, 2 * self->pmd, true), 0);

	device_pull(self->dev[0], mem, 2 * self->nr);
	EXPECT_EQ(device_holds(self->dev[0], mem, self->nr), self->nr);
	EXPECT_EQ(uffd_protected(self, 0, 2 * self->nr), 2 * self->nr);

	EXPECT_EQ(device_push(self->dev[0], mem, self->nr), 0);
	EXPECT_EQ(uffd_protected(self, 0, self->nr), self->nr);

	ASSERT_EQ(uffd_protect(uffd, mem, 2 * self->pmd, false), 0);
	EXPECT_EQ(differing(mem, 0, self->nr, self->page, 16), 0);
	EXPECT_EQ(nonzero_pages(mem, self->nr, self->nr, self->page), 0);
	close(uffd);
}

/* The same for a huge page that small pages replace, in both directions. */
TEST_F(migrate_device_huge, userfaultfd_wp_split)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	int uffd = uffd_open(m);
	char *mem = m->mem;

	if (uffd < 0)
		SKIP(return, "no userfaultfd write protection");
	fill(mem, 0, 2 * m->nr, m->page, 16);
	ASSERT_EQ(uffd_protect(uffd, mem, m->pmd, true), 0);

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(device_fail_next(m->dev[0], mem), 0);
		ASSERT_EQ(device_pull(m->dev[0], mem + i * m->pmd, m->nr), 0);
	}
	EXPECT_EQ(uffd_protected(m, 0, m->nr), m->nr);
	EXPECT_EQ(uffd_protected(m, m->nr, m->nr), 0);
	EXPECT_EQ(device_push(m->dev[0], mem, 2 * m->nr), 0);
	EXPECT_EQ(uffd_protected(m, 0, m->nr), m->nr);
	EXPECT_EQ(uffd_protected(m, m->nr, m->nr), 0);

	ASSERT_EQ(uffd_protect(uffd, mem, m->pmd, false), 0);
	EXPECT_EQ(differing(mem, 0, 2 * m->nr, m->page, 16), 0);
	close(uffd);
}

struct worker {
	pthread_barrier_t *start;
	int *stop;
	int dev;
	char *mem;
	unsigned long nr;
	size_t page;
	unsigned long nth;
	long bad;
};

/* Access every THREADS-th page, in an order of its own. */
static void *worker_faults(void *arg)
{
	struct worker *w = arg;

	pthread_barrier_wait(w->start);
	for (unsigned long i = 0; i < w->nr; i += THREADS) {
		unsigned long p = (i + w->nth * (w->nr / THREADS)) % w->nr;

		w->bad += differing(w->mem, p - p % THREADS + w->nth, 1,
				    w->page, 17);
	}
	return NULL;
}

/* Many threads fault on one huge page that is on the device. */
TEST_F(migrate_device, threads_fault)
{
	pthread_barrier_t start;
	struct worker w[THREADS];
	pthread_t thread[THREADS];

	pthread_barrier_init(&start, NULL, THREADS);
	fill(self->mem, 0, self->nr, self->page, 17);
	for (int round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(device_pull(self->dev[0], self->mem, self->nr), 0);
		ASSERT_EQ(device_holds(self->dev[0], self->mem, self->nr), self->nr);
		for (int i = 0; i < THREADS; i++) {
			w[i] = (struct worker){
				.start = &start, .mem = self->mem, .nr = self->nr,
				.page = self->page, .nth = i,
			};
			ASSERT_EQ(pthread_create(&thread[i], NULL, worker_faults,
						 &w[i]), 0);
		}
		for (int i = 0; i < THREADS; i++) {
			pthread_join(thread[i], NULL);
			EXPECT_EQ(w[i].bad, 0);
		}
		EXPECT_EQ(device_holds(self->dev[0], self->mem, self->nr), 0);
	}
	pthread_barrier_destroy(&start);
}

/* Discard random parts. Each page must then be zero or have its whole pattern. */
static void *worker_discards(void *arg)
{
	struct worker *w = arg;
	unsigned int seed = 1;

	while (!__atomic_load_n(w->stop, __ATOMIC_RELAXED)) {
		unsigned long p = rand_r(&seed) % w->nr;
		unsigned long n = 1 + rand_r(&seed) % (w->nr / 8);

		if (rand_r(&seed) % 16 == 0)
			p = 0, n = w->nr;
		if (p + n > w->nr)
			n = w->nr - p;
		madvise(w->mem + p * w->page, n * w->page, MADV_DONTNEED);
		usleep(rand_r(&seed) % 500);
	}
	return NULL;
}

static void *worker_protects(void *arg)
{
	struct worker *w = arg;
	unsigned int seed = 2;

	while (!__atomic_load_n(w->stop, __ATOMIC_RELAXED)) {
		unsigned long p = rand_r(&seed) % (w->nr / 2);

		mprotect(w->mem + p * w->page, w->nr / 2 * w->page, PROT_READ);
		mprotect(w->mem, w->nr * w->page, PROT_READ | PROT_WRITE);
		usleep(rand_r(&seed) % 2000);
	}
	return NULL;
}

static void *worker_reads(void *arg)
{
	struct worker *w = arg;
	unsigned int seed = 3;

	while (!__atomic_load_n(w->stop, __ATOMIC_RELAXED)) {
		unsigned long p = rand_r(&seed) % w->nr;
		const uint64_t *word = (void *)(w->mem + p * w->page);
		uint64_t value = FORCE_READ(word[7]);

		w->bad += value && value != stamp(p, 7, 18);
	}
	w->bad += migrate_spoils("byte");
	return NULL;
}

static void *worker_pushes(void *arg)
{
	struct worker *w = arg;

	while (!__atomic_load_n(w->stop, __ATOMIC_RELAXED))
		device_push(w->dev, w->mem, w->nr);
	return NULL;
}

/* All workers run at once, in any stage of a migration. */
TEST_F_TIMEOUT(migrate_device, race_everything, 120)
{
	static void *(*const job[])(void *) = {
		worker_discards, worker_protects, worker_reads, worker_pushes,
	};
	struct worker w[ARRAY_SIZE(job)];
	pthread_t thread[ARRAY_SIZE(job)];
	time_t end = time(NULL) + STRESS_SECONDS;
	int stop = 0;

	for (size_t i = 0; i < ARRAY_SIZE(job); i++) {
		w[i] = (struct worker){
			.stop = &stop, .mem = self->mem, .nr = 2 * self->nr,
			.page = self->page, .dev = self->dev[0],
		};
		ASSERT_EQ(pthread_create(&thread[i], NULL, job[i], &w[i]), 0);
	}
	while (time(NULL) < end) {
		/* A write to a read-only page fails, which does not matter. */
		for (unsigned long p = 0; p < 2 * self->nr; p += 5)
			try_write((uint64_t *)(self->mem + p * self->page) + 7,
				  stamp(p, 7, 18));
		device_pull(self->dev[0], self->mem, 2 * self->nr);
	}
	stop = 1;
	for (size_t i = 0; i < ARRAY_SIZE(job); i++) {
		pthread_join(thread[i], NULL);
		EXPECT_EQ(w[i].bad, 0);
	}
}

/* Evict the memory of the device from all processes that map it. */
TEST_F(migrate_device, evict)
{
	char *mem = self->mem;
	int status;
	pid_t pid;

	fill(mem, 0, 2 * self->nr, self->page, 10);
	ASSERT_EQ(device_pull(self->dev[0], mem, 2 * self->nr), 0);
	pid = child_start(child_waits, mem, 2 * self->nr, self->page);
	ASSERT_EQ(waitpid(pid, &status, WUNTRACED), pid);

	ASSERT_EQ(device_evict(0), 0);
	EXPECT_EQ(device_holds(self->dev[0], mem, 2 * self->nr), 0);
	kill(pid, SIGCONT);
	EXPECT_EQ(child_status(pid), 0);
	EXPECT_EQ(differing(mem, 0, 2 * self->nr, self->page, 10), 0);
}

/* Evict memory while threads fault on it. They must get it in either case. */
TEST_F_TIMEOUT(migrate_device, evict_while_faulting, 120)
{
	pthread_barrier_t start;
	struct worker w[THREADS];
	pthread_t thread[THREADS];

	pthread_barrier_init(&start, NULL, THREADS + 1);
	fill(self->mem, 0, self->nr, self->page, 17);
	for (int round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(device_pull(self->dev[0], self->mem, self->nr), 0);
		for (int i = 0; i < THREADS; i++) {
			w[i] = (struct worker){
				.start = &start, .mem = self->mem, .nr = self->nr,
				.page = self->page, .nth = i,
			};
			ASSERT_EQ(pthread_create(&thread[i], NULL, worker_faults,
						 &w[i]), 0);
		}
		pthread_barrier_wait(&start);
		EXPECT_EQ(device_evict(0), 0);
		for (int i = 0; i < THREADS; i++) {
			pthread_join(thread[i], NULL);
			EXPECT_EQ(w[i].bad, 0);
		}
	}
	pthread_barrier_destroy(&start);
}

/*
 * Evict memory while the system has little free memory. The test uses small pages,
 * because the test driver does not handle the failure to allocate a huge page. The
 * driver of the KUnit test does.
 */
TEST_F_TIMEOUT(migrate_device_small, evict_under_pressure, 120)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	size_t len = number_in("/proc/meminfo", "MemAvailable:") / 10 * 8 << 10;
	char *hog;

	fill(m->mem, 0, 2 * m->nr, m->page, 20);
	ASSERT_EQ(device_pull(m->dev[0], m->mem, 2 * m->nr), 0);
	hog = mmap(NULL, len, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(hog, MAP_FAILED);
	/* With small pages this takes minutes in a kernel that checks each fault. */
	madvise(hog, len, MADV_HUGEPAGE);
	memset(hog, 1, len);

	EXPECT_EQ(device_evict(0), 0);
	EXPECT_EQ(device_holds(m->dev[0], m->mem, 2 * m->nr), 0);
	munmap(hog, len);
	EXPECT_EQ(differing(m->mem, 0, 2 * m->nr, m->page, 20), 0);
}

#define CGROUPS		"/sys/fs/cgroup/"
#define GROUP		CGROUPS "migrate_device/"

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret = -1;

	if (fd >= 0) {
		ret = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
		close(fd);
	}
	return ret;
}

/* Enter a cgroup with the memory limit @limit. Store the old cgroup in @back. */
static int group_enter(const char *limit, char back[64])
{
	FILE *f = fopen("/proc/self/cgroup", "r");
	int found = f ? fscanf(f, "0::%63s", back) : 0;

	if (f)
		fclose(f);
	if (found != 1 || write_text(CGROUPS "cgroup.subtree_control", "+memory") ||
	    (mkdir(GROUP, 0755) && errno != EEXIST))
		return -1;
	if (write_text(GROUP "memory.max", limit))
		return -1;
	return write_text(GROUP "cgroup.procs", "0");
}

static int group_leave(const char *back)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUPS "%s/cgroup.procs", back);
	return write_text(path, "0") || rmdir(GROUP);
}

/* A huge hole is not filled if the memory cgroup would exceed its limit. */
TEST_F(migrate_device_huge, charge_refused)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	char *mem = m->mem, *copy = malloc(m->pmd);
	char back[64];
	long held;
	int ret;

	ASSERT_NE(copy, NULL);
	memset(copy, 1, m->pmd);
	if (group_enter("1M", back))
		SKIP(return, "no control group for memory");
	ret = device_cmd(m->dev[0], HMM_DMIRROR_MIGRATE_TO_DEV, mem, m->nr, copy);
	held = device_holds(m->dev[0], mem, m->nr);
	ASSERT_EQ(group_leave(back), 0);

	EXPECT_EQ(ret, -ENOENT);
	EXPECT_EQ(held, 0);
	EXPECT_EQ(nonzero_pages(mem, 0, m->nr, m->page), 0);
	EXPECT_EQ(device_pull(m->dev[0], mem, m->nr), 0);
	EXPECT_EQ(device_holds(m->dev[0], mem, m->nr), m->nr);
	EXPECT_EQ(nonzero_pages(mem, 0, m->nr, m->page), 0);
	free(copy);
}

static const char *const fail_page_alloc = "/sys/kernel/debug/fail_page_alloc/";

/* Write @value to a file of the fault injection. Return 0 on success. */
static int fail_knob(const char *name, const char *value)
{
	char path[96];
	ssize_t ret = -1;
	int fd;

	snprintf(path, sizeof(path), "%s%s", fail_page_alloc, name);
	fd = open(path, O_WRONLY);
	if (fd >= 0) {
		ret = write(fd, value, strlen(value));
		close(fd);
	}
	return ret < 0 ? -1 : 0;
}

/* If @on, any allocation of a page can fail, even one that may wait for memory. */
static int fail_knobs(bool on)
{
	if (fail_knob("ignore-gfp-wait", on ? "N" : "Y") ||
	    fail_knob("min-order", on ? "0" : "1"))
		return -1;
	return fail_knob("verbose", on ? "0" : "2");
}

/* Pull while the @nth allocation fails. Return true if there was an @nth one. */
static bool pull_failing(int dev, void *mem, unsigned long nr, void *copy,
			 int nth, int *ret)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR);
	char left[16] = "", text[16];
	int len;

	len = snprintf(text, sizeof(text), "%d", nth);
	if (fd < 0 || write(fd, text, len) != len)
		return false;
	*ret = device_cmd(dev, HMM_DMIRROR_MIGRATE_TO_DEV, mem, nr, copy);
	if (pread(fd, left, sizeof(left) - 1, 0) <= 0 || write(fd, "0", 1) != 1)
		left[0] = 0;
	close(fd);
	return left[0] == '0';
}

/*
 * Fill a hole where the address space has no page tables yet. Each allocation that
 * this needs fails once. An entry that could not be inserted must still be a hole,
 * must not be reported as moved, and must not lose memory. In Linux 7.3.4 the
 * function that inserts a huge page returns 0 for -ENOMEM. This does no harm, as
 * the function clears MIGRATE_PFN_MIGRATE in the entry before.
 */
TEST_F_TIMEOUT(migrate_device, insertion_fails, 120)
{
	const unsigned long nr = variant->huge ? self->nr : 8;
	void *where = (void *)(1UL << 40);
	char *copy = calloc(nr, self->page);
	int nth, ret = 0, failures = 0;
	bool failed = true;

	ASSERT_NE(copy, NULL);
	/* Let the driver allocate its own memory now, before allocations fail. */
	ASSERT_EQ(device_pull(self->dev[0], self->mem, nr), 0);
	ASSERT_EQ(device_push(self->dev[0], self->mem, nr), 0);
	if (fail_knobs(true))
		SKIP(return, "no fault injection");
	for (nth = 1; failed; nth++) {
		char *mem = mmap(where, self->pmd, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
				 -1, 0);
		long held;

		ASSERT_EQ(mem, where);
		madvise(mem, self->pmd,
			variant->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		failed = pull_failing(self->dev[0], mem, nr, copy, nth, &ret);
		failures += failed;
		held = device_holds(self->dev[0], mem, nr);
		if (!failed)
			EXPECT_EQ(ret, 0);
		EXPECT_GE(held, 0);
		EXPECT_TRUE(ret || held == (long)nr);
		EXPECT_EQ(nonzero_pages(mem, 0, nr, self->page), 0);
		munmap(mem, self->pmd);
	}
	fail_knobs(false);
	TH_LOG("%d allocations failed, one at a time", failures);
	EXPECT_GE(failures, 3);
	free(copy);
}

/* Pages of a file stay. Pages that were copied from the file on write move. */
TEST_F(migrate_device, file_pages_stay)
{
	const unsigned long nr = 32;
	int fd = memfd_create("migrate_device", 0);
	char *mem;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(ftruncate(fd, nr * self->page), 0);
	mem = mmap(NULL, nr * self->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(mem, MAP_FAILED);
	fill(mem, 0, nr, self->page, 24);
	ASSERT_EQ(munmap(mem, nr * self->page), 0);

	mem = mmap(NULL, nr * self->page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(mem, MAP_FAILED);
	EXPECT_EQ(differing(mem, 0, nr, self->page, 24), 0);
	for (unsigned long p = 0; p < nr; p += 2)
		fill(mem, p, 1, self->page, 25);

	EXPECT_EQ(device_pull(self->dev[0], mem, nr), -ENOENT);
	EXPECT_EQ(device_holds(self->dev[0], mem, nr), nr / 2);
	for (unsigned long p = 0; p < nr; p++)
		EXPECT_EQ(differing(mem, p, 1, self->page, p % 2 ? 24 : 25), 0);
	munmap(mem, nr * self->page);
	close(fd);
}

/*
 * A driver cannot copy pages that are not in the direct map of the kernel. Such
 * pages must not be collected.
 */
TEST_F(migrate_device_small, secret_pages_stay)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	const unsigned long nr = 4;
	int fd = syscall(__NR_memfd_secret, 0);
	char *mem;

	if (fd < 0)
		SKIP(return, "memfd_secret: %s", strerror(errno));
	ASSERT_EQ(ftruncate(fd, nr * m->page), 0);
	mem = mmap(NULL, nr * m->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(mem, MAP_FAILED);
	fill(mem, 0, nr, m->page, 26);
	EXPECT_EQ(device_pull(m->dev[0], mem, nr), -ENOENT);
	EXPECT_EQ(device_holds(m->dev[0], mem, nr), 0);
	EXPECT_EQ(differing(mem, 0, nr, m->page, 26), 0);
	munmap(mem, nr * m->page);
	close(fd);
}

/*
 * KSM can compare its pages with others at any time. They must stay where KSM can
 * read them. After MADV_UNMERGEABLE they move like other pages.
 */
TEST_F_TIMEOUT(migrate_device_small, ksm_pages_stay, 120)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	const unsigned long nr = 8;
	char *mem = m->mem;

	memset(mem, 0xa5, nr * m->page);
	if (madvise(mem, nr * m->page, MADV_MERGEABLE) || ksm_start())
		SKIP(return, "no KSM");
	ASSERT_EQ(ksm_get_self_merging_pages(), nr);

	EXPECT_EQ(device_pull(m->dev[0], mem, nr), -ENOENT);
	EXPECT_EQ(device_holds(m->dev[0], mem, nr), 0);
	EXPECT_EQ(ksm_start(), 0);
	ASSERT_EQ(madvise(mem, nr * m->page, MADV_UNMERGEABLE), 0);
	EXPECT_EQ(ksm_stop(), 0);

	EXPECT_EQ(device_pull(m->dev[0], mem, nr), 0);
	EXPECT_EQ(device_holds(m->dev[0], mem, nr), nr);
	EXPECT_EQ(device_evict(0), 0);
	EXPECT_EQ(device_holds(m->dev[0], mem, nr), 0);
	for (unsigned long i = 0; i < nr * m->page; i++)
		ASSERT_EQ((unsigned char)mem[i], 0xa5);
}

/* A device does not move pages that the other device holds. */
TEST_F(migrate_device, two_owners)
{
	char *mem = self->mem;
	const unsigned long nr = self->nr;

	fill(mem, 0, 2 * nr, self->page, 21);
	ASSERT_EQ(device_pull(self->dev[0], mem, nr), 0);
	EXPECT_EQ(device_pull(self->dev[1], mem, 2 * nr), -ENOENT);
	EXPECT_EQ(device_holds(self->dev[0], mem, 2 * nr), nr);
	EXPECT_EQ(device_holds(self->dev[1], mem, 2 * nr), nr);

	EXPECT_EQ(device_push(self->dev[1], mem, 2 * nr), 0);
	EXPECT_EQ(device_holds(self->dev[0], mem, 2 * nr), nr);
	EXPECT_EQ(device_holds(self->dev[1], mem, 2 * nr), 0);
	EXPECT_EQ(device_push(self->dev[0], mem, 2 * nr), 0);
	EXPECT_EQ(device_holds(self->dev[0], mem, 2 * nr), 0);
	EXPECT_EQ(differing(mem, 0, 2 * nr, self->page, 21), 0);
}

/* The devices pull pages in turns: a huge page is split between the two. */
TEST_F(migrate_device, two_owners_interleaved)
{
	const unsigned long nr = 32;
	char *mem = self->mem;

	fill(mem, 0, self->nr, self->page, 22);
	for (unsigned long p = 0; p < nr; p++)
		ASSERT_EQ(device_pull(self->dev[p % 2], mem + p * self->page, 1), 0);
	EXPECT_EQ(device_holds(self->dev[0], mem, self->nr), nr / 2);
	EXPECT_EQ(device_holds(self->dev[1], mem, self->nr), nr / 2);

	ASSERT_EQ(device_evict(0), 0);
	EXPECT_EQ(device_holds(self->dev[0], mem, self->nr), 0);
	EXPECT_EQ(device_holds(self->dev[1], mem, self->nr), nr / 2);
	EXPECT_EQ(differing(mem, 0, self->nr, self->page, 22), 0);
}

/* A device reads memory that the other one holds. The memory moves back first. */
TEST_F(migrate_device, read_from_other_owner)
{
	char *mem = self->mem, *copy = malloc(self->pmd);

	ASSERT_NE(copy, NULL);
	fill(mem, 0, self->nr, self->page, 23);
	ASSERT_EQ(device_pull(self->dev[0], mem, self->nr), 0);
	ASSERT_EQ(device_cmd(self->dev[1], HMM_DMIRROR_READ, mem, self->nr, copy),
		  0);
	EXPECT_EQ(differing(copy, 0, self->nr, self->page, 23), 0);
	EXPECT_EQ(device_holds(self->dev[0], mem, self->nr), 0);
	EXPECT_EQ(differing(mem, 0, self->nr, self->page, 23), 0);
	free(copy);
}

/*
 * Small pages replace a huge page that two processes map. Each process has a huge
 * migration entry during the migration, and maps small pages at the end.
 */
TEST_F(migrate_device_huge, split_while_shared)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	char *mem = m->mem;
	int status;
	pid_t pid;

	fill(mem, 0, m->nr, m->page, 10);
	pid = child_start(child_waits, mem, m->nr, m->page);
	ASSERT_EQ(waitpid(pid, &status, WUNTRACED), pid);

	ASSERT_EQ(device_fail_next(m->dev[0], mem), 0);
	ASSERT_EQ(device_pull(m->dev[0], mem, m->nr), 0);
	EXPECT_EQ(device_holds(m->dev[0], mem, m->nr), m->nr);
	kill(pid, SIGCONT);
	EXPECT_EQ(child_status(pid), 0);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 10), 0);
}

static void *worker_evicts(void *arg)
{
	struct worker *w = arg;

	while (!__atomic_load_n(w->stop, __ATOMIC_RELAXED))
		w->bad += !!device_evict(0);
	return NULL;
}

/* Fork children in any stage of an eviction. They check the memory. */
TEST_F_TIMEOUT(migrate_device, fork_while_evicted, 120)
{
	int stop = 0;
	struct worker w = { .stop = &stop };
	pthread_t thread;

	fill(self->mem, 0, self->nr, self->page, 7);
	ASSERT_EQ(pthread_create(&thread, NULL, worker_evicts, &w), 0);
	for (int round = 0; round < 4 * ROUNDS; round++) {
		pid_t pid[2];

		device_pull(self->dev[0], self->mem, self->nr);
		pid[0] = child_start(child_reads, self->mem, self->nr, self->page);
		pid[1] = child_start(child_writes, self->mem, self->nr, self->page);
		EXPECT_EQ(child_status(pid[0]), 0);
		EXPECT_EQ(child_status(pid[1]), 0);
		EXPECT_EQ(differing(self->mem, 0, self->nr, self->page, 7), 0);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(w.bad, 0);
}

/* A process exits with memory on a device while the device is evicted. */
TEST_F_TIMEOUT(migrate_device, evict_while_exiting, 120)
{
	for (int round = 0; round < 4 * ROUNDS; round++) {
		pid_t pid = fork();
		int fd, status;

		ASSERT_GE(pid, 0);
		if (!pid) {
			fd = device_open(0);
			fill(self->mem, 0, self->nr, self->page, 19);
			device_pull(fd, self->mem, self->nr);
			if (!device_holds_some(fd, self->mem, self->nr))
				_exit(1);
			raise(SIGSTOP);
			usleep(round * 50);
			_exit(0);
		}
		ASSERT_EQ(waitpid(pid, &status, WUNTRACED), pid);
		kill(pid, SIGCONT);
		EXPECT_EQ(device_evict(0), 0);
		EXPECT_EQ(child_status(pid), 0);
	}
}

/*
 * Coherent memory: memory of a device that CPUs can access
 *
 * The test driver has one range of coherent memory for each device. It divides the
 * range when it needs the first page, into pages of the size of that page. It does
 * not divide the range again before it has released the range. A test therefore
 * uses one size. No test unmaps a part of a huge page, or writes to a huge page
 * that is shared. Linux 7.3.4 would put such a page on the list of folios to
 * split, where memory of a device must not be.
 */
FIXTURE(migrate_device_coherent)
{
	FIXTURE_DATA(migrate_device) m;
};

FIXTURE(migrate_device_coherent_small)
{
	FIXTURE_DATA(migrate_device) m;
};

FIXTURE_VARIANT(migrate_device_coherent)
{
	bool huge;
};

FIXTURE_VARIANT_ADD(migrate_device_coherent, small)
{
	.huge = false,
};

/*
 * This variant is not for a kernel with CONFIG_DEBUG_VM. Such a kernel warns when
 * the test driver releases the range, because the driver walks its free huge pages
 * with a function for private memory.
 */
FIXTURE_VARIANT_ADD(migrate_device_coherent, huge)
{
	.huge = true,
};

FIXTURE_SETUP(migrate_device_coherent)
{
	setup(_metadata, &self->m, COHERENT, variant->huge);
	if (_metadata->exit_code || !variant->huge)
		return;

	/* When loaded, the test driver divides the range into small pages. */
	for (int i = 0; i < DEVICES; i++)
		ASSERT_EQ(device_release(self->m.dev[i]), 0);
}

FIXTURE_TEARDOWN(migrate_device_coherent)
{
	teardown(_metadata, &self->m);
}

FIXTURE_SETUP(migrate_device_coherent_small)
{
	setup(_metadata, &self->m, COHERENT, false);
}

FIXTURE_TEARDOWN(migrate_device_coherent_small)
{
	teardown(_metadata, &self->m);
}

static long coherent_holds(int fd, void *addr, unsigned long npages)
{
	return device_sees(fd, addr, npages, PLACE_MASK,
			   HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL);
}

/* Write to new memory of the size of a huge page. Move it to the first device. */
static void coherent_pull(struct __test_metadata *const _metadata,
			  FIXTURE_DATA(migrate_device) *m, bool huge,
			  uint64_t seed)
{
	unsigned char what = HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL |
			     HMM_DMIRROR_PROT_WRITE;

	ASSERT_EQ(madvise(m->mem, m->pmd, MADV_DONTNEED), 0);
	fill(m->mem, 0, m->nr, m->page, seed);
	if (huge) {
		what |= HMM_DMIRROR_PROT_PMD;
		ASSERT_TRUE(check_huge_anon(m->mem, m->pmd, 1, m->pmd));
	}
	ASSERT_EQ(device_pull(m->dev[0], m->mem, m->nr), 0);
	ASSERT_EQ(device_sees(m->dev[0], m->mem, m->nr, 0xff, what), m->nr);
}

/* Return an array with the frame number of each page. */
static unsigned long *frames_read(int pagemap, char *mem, unsigned long nr,
				  size_t page)
{
	unsigned long *frame = malloc(nr * sizeof(*frame));

	for (unsigned long p = 0; frame && p < nr; p++)
		frame[p] = pagemap_get_pfn(pagemap, mem + p * page);
	return frame;
}

/* Return how many of the pages from @first on have another frame than in @frame. */
static long frames_changed(int pagemap, char *mem, unsigned long first,
			   unsigned long nr, size_t page,
			   const unsigned long *frame)
{
	long n = 0;

	for (unsigned long p = first; p < first + nr; p++)
		n += pagemap_get_pfn(pagemap, mem + p * page) != frame[p];
	return n;
}

/* CPUs and devices read and write coherent memory, and it does not move. */
TEST_F(migrate_device_coherent, used_in_place)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	char *mem = m->mem, *copy = malloc(m->pmd);
	unsigned long *frame;

	ASSERT_NE(copy, NULL);
	coherent_pull(_metadata, m, variant->huge, 30);
	frame = frames_read(m->pagemap, mem, m->nr, m->page);
	ASSERT_NE(frame, NULL);

	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 30), 0);
	fill(mem, 0, m->nr, m->page, 31);
	for (int i = 0; i < DEVICES; i++) {
		ASSERT_EQ(device_cmd(m->dev[i], HMM_DMIRROR_READ, mem, m->nr, copy),
			  0);
		EXPECT_EQ(differing(copy, 0, m->nr, m->page, 31), 0);
	}
	fill(copy, 0, m->nr, m->page, 32);
	ASSERT_EQ(device_cmd(m->dev[0], HMM_DMIRROR_WRITE, mem, m->nr, copy), 0);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 32), 0);

	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), m->nr);
	EXPECT_EQ(device_sees(m->dev[1], mem, m->nr, PLACE_MASK,
			      HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE), m->nr);
	EXPECT_EQ(frames_changed(m->pagemap, mem, 0, m->nr, m->page, frame), 0);
	free(frame);
	free(copy);
}

/* The driver moves coherent memory back by address, and by frame number. */
TEST_F(migrate_device_coherent, pushed_and_evicted)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	char *mem = m->mem;
	unsigned long *frame;

	coherent_pull(_metadata, m, variant->huge, 33);
	frame = frames_read(m->pagemap, mem, m->nr, m->page);
	ASSERT_NE(frame, NULL);
	ASSERT_EQ(device_push(m->dev[0], mem, m->nr), 0);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), 0);
	EXPECT_EQ(frames_changed(m->pagemap, mem, 0, m->nr, m->page, frame), m->nr);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 33), 0);

	coherent_pull(_metadata, m, variant->huge, 34);
	ASSERT_EQ(device_evict(COHERENT), 0);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), 0);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 34), 0);
	free(frame);
}

/* The same while a child maps the memory, too. */
TEST_F(migrate_device_coherent, pushed_while_shared)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	char *mem = m->mem;
	int status;
	pid_t pid;

	for (int evict = 0; evict < 2; evict++) {
		coherent_pull(_metadata, m, variant->huge, 10);
		pid = child_start(child_waits, mem, m->nr, m->page);
		ASSERT_EQ(waitpid(pid, &status, WUNTRACED), pid);
		EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), m->nr);

		EXPECT_EQ(evict ? device_evict(COHERENT) :
			  device_push(m->dev[0], mem, m->nr), 0);
		EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), 0);
		kill(pid, SIGCONT);
		EXPECT_EQ(child_status(pid), 0);
		EXPECT_EQ(differing(mem, 0, m->nr, m->page, 10), 0);
	}
}

/* Release a device that holds memory, and use the device again. */
TEST_F(migrate_device_coherent, released)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	char *mem = m->mem;
	int status;
	pid_t pid;

	coherent_pull(_metadata, m, variant->huge, 10);
	pid = child_start(child_waits, mem, m->nr, m->page);
	ASSERT_EQ(waitpid(pid, &status, WUNTRACED), pid);
	EXPECT_EQ(device_release(m->dev[0]), 0);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), 0);
	kill(pid, SIGCONT);
	EXPECT_EQ(child_status(pid), 0);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 10), 0);

	coherent_pull(_metadata, m, variant->huge, 35);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 35), 0);
}

/* Exit with memory on the device that no other process maps. */
static long child_exits(char *mem, unsigned long nr, size_t page)
{
	int fd = device_open(COHERENT);

	fill(mem, 0, nr, page, 36);
	if (fd < 0 || device_pull(fd, mem, nr))
		return 1;
	return coherent_holds(fd, mem, nr) != (long)nr ||
	       differing(mem, 0, nr, page, 36);
}

TEST_F(migrate_device_coherent, exit_on_device)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	char *mem = m->mem;
	int status;
	pid_t pid;

	pid = child_start(child_exits, mem, m->nr, m->page);
	EXPECT_EQ(child_status(pid), 0);

	/* Only the child still maps memory of the parent. */
	coherent_pull(_metadata, m, variant->huge, 10);
	pid = child_start(child_waits, mem, m->nr, m->page);
	ASSERT_EQ(waitpid(pid, &status, WUNTRACED), pid);
	EXPECT_EQ(munmap(mem, m->pmd), 0);
	kill(pid, SIGCONT);
	EXPECT_EQ(child_status(pid), 0);
}

static int pin_open(void)
{
	return open("/sys/kernel/debug/gup_test", O_RDWR);
}

/* Pin for a long time, until pin_stop(). Return 0 or a negative error. */
static int pin_start(int fd, void *addr, size_t len, unsigned int flags)
{
	struct pin_longterm_test pin = {
		.addr = (uintptr_t)addr,
		.size = len,
		.flags = flags,
	};

	return ioctl(fd, PIN_LONGTERM_TEST_START, &pin) ? -errno : 0;
}

static int pin_stop(int fd)
{
	return ioctl(fd, PIN_LONGTERM_TEST_STOP) ? -errno : 0;
}

/*
 * Return how many of the @nr pinned pages from @first on differ from what fill()
 * has written, or a negative error.
 */
static long pin_differing(int fd, unsigned long first, unsigned long nr,
			  size_t page, uint64_t seed)
{
	char *copy = malloc((first + nr) * page);
	__u64 addr = (uintptr_t)copy + first * page;
	long ret = -ENOMEM;

	if (copy)
		ret = ioctl(fd, PIN_LONGTERM_TEST_READ, &addr) ?
		      -errno : differing(copy, first, nr, page, seed);
	free(copy);
	return ret;
}

/* Read the memory at its address, through the pin, and by a device. Check it. */
static void pin_check(struct __test_metadata *const _metadata,
		      FIXTURE_DATA(migrate_device) *m, int fd,
		      unsigned long first, unsigned long nr, uint64_t seed)
{
	char *copy = malloc(m->pmd);

	ASSERT_NE(copy, NULL);
	EXPECT_EQ(differing(m->mem, 0, m->nr, m->page, seed), 0);
	EXPECT_EQ(pin_differing(fd, first, nr, m->page, seed), 0);
	EXPECT_EQ(device_cmd(m->dev[0], HMM_DMIRROR_READ, m->mem, m->nr, copy), 0);
	EXPECT_EQ(differing(copy, 0, m->nr, m->page, seed), 0);
	free(copy);
}

/*
 * Memory leaves the device before it is pinned for a long time, and cannot move to
 * the device meanwhile. Of a huge page only one page is pinned: if one call pinned
 * several pages, each of them would keep the huge page from moving.
 */
TEST_F(migrate_device_coherent, pinned_for_long)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	const unsigned long first = variant->huge ? m->nr / 2 : 0;
	const unsigned long nr = variant->huge ? 1 : m->nr;
	char *mem = m->mem;
	int fd = pin_open();

	if (fd < 0)
		SKIP(return, "no gup_test in debugfs");
	for (unsigned int flags = 0; flags < 4; flags++) {
		coherent_pull(_metadata, m, variant->huge, 37);
		ASSERT_EQ(pin_start(fd, mem + first * m->page, nr * m->page, flags),
			  0);
		EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), 0);
		if (variant->huge)
			EXPECT_TRUE(check_huge_anon(mem, m->pmd, 1, m->pmd));
		pin_check(_metadata, m, fd, first, nr, 37);

		/* The process, the pin and the device must use the same memory. */
		fill(mem, 0, m->nr, m->page, 38);
		pin_check(_metadata, m, fd, first, nr, 38);
		device_pull(m->dev[0], mem, m->nr);
		EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), 0);
		pin_check(_metadata, m, fd, first, nr, 38);
		ASSERT_EQ(pin_stop(fd), 0);
	}
	close(fd);
}

/* A page with another reference can neither be pinned for long nor be moved back. */
TEST_F(migrate_device_coherent, held_page_stays)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	const unsigned long held = m->nr / 2 + 3;
	long stays = variant->huge ? m->nr : 1;
	char *mem = m->mem, *page = mem + held * m->page;
	int fd = pin_open(), pipefd[2];

	if (fd < 0)
		SKIP(return, "no gup_test in debugfs");
	coherent_pull(_metadata, m, variant->huge, 39);
	ASSERT_EQ(page_hold(pipefd, page), 0);

	EXPECT_EQ(pin_start(fd, page, m->page, 0), -EBUSY);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), m->nr);
	EXPECT_EQ(pin_start(fd, page - 2 * m->page, 4 * m->page,
			    PIN_LONGTERM_TEST_FLAG_USE_WRITE), -EBUSY);
	EXPECT_EQ(coherent_holds(m->dev[0], page, 1), 1);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 39), 0);

	EXPECT_EQ(device_push(m->dev[0], mem, m->nr), 0);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), stays);
	EXPECT_EQ(device_evict(COHERENT), 0);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), stays);
	EXPECT_EQ(coherent_holds(m->dev[0], page, 1), 1);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 39), 0);

	fill(mem, 0, m->nr, m->page, 40);
	page_release(pipefd);
	EXPECT_EQ(pin_start(fd, page, m->page, 0), 0);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), 0);
	pin_check(_metadata, m, fd, held, 1, 40);
	close(fd);
}

/*
 * Call move_pages() to move pages to @node, or to query their nodes if @node is
 * negative. Return its result, or a negative error.
 */
static long move_pages_to(int node, char *mem, unsigned long nr, size_t page,
			  int *status)
{
	void **addr = calloc(nr, sizeof(*addr));
	int *nodes = calloc(nr, sizeof(*nodes));
	long ret = -ENOMEM;

	for (unsigned long p = 0; addr && nodes && p < nr; p++) {
		addr[p] = mem + p * page;
		nodes[p] = node;
		status[p] = MAX_NODES;
	}
	if (addr && nodes)
		ret = syscall(__NR_move_pages, 0, nr, addr,
			      node < 0 ? NULL : nodes, status, MPOL_MF_MOVE);
	if (ret == -1)
		ret = -errno;
	free(nodes);
	free(addr);
	return ret;
}

/* Check every @step-th status. Return how many of them are not @what. */
static long status_differs(const int *status, unsigned long nr, int step, int what)
{
	long n = 0;

	for (unsigned long p = 0; p < nr; p += step)
		n += status[p] != what;
	return n;
}

static long migrations_counted(void)
{
	return number_in("/proc/vmstat", "pgmigrate_success ") +
	       number_in("/proc/vmstat", "pgmigrate_fail ");
}

/* move_pages() finds no page that it can move, and moves none. */
TEST_F(migrate_device_coherent, move_pages_refused)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	int *status = calloc(m->nr, sizeof(*status));
	bool uncounted = false;
	unsigned long *frame;
	char *mem = m->mem;

	ASSERT_NE(status, NULL);
	coherent_pull(_metadata, m, variant->huge, 41);
	frame = frames_read(m->pagemap, mem, m->nr, m->page);
	ASSERT_NE(frame, NULL);
	for (int node = -1; node < MAX_NODES; node++) {
		long counted = migrations_counted();
		long ret = move_pages_to(node, mem, m->nr, m->page, status);

		if (ret == -ENODEV)
			continue;
		EXPECT_EQ(ret, 0);
		EXPECT_EQ(status_differs(status, m->nr, 1, -ENOENT), 0);
		/* Other tasks may migrate their memory, but not during each call. */
		if (node >= 0)
			uncounted |= migrations_counted() == counted;
	}
	EXPECT_TRUE(uncounted);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), m->nr);
	EXPECT_EQ(frames_changed(m->pagemap, mem, 0, m->nr, m->page, frame), 0);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 41), 0);
	free(frame);
	free(status);
}

/* The device holds every other page. move_pages() moves the rest. All are pinned. */
TEST_F(migrate_device_coherent_small, every_other_page)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	const unsigned long nr = 32;
	int fd = pin_open(), status[32], asked = 0;
	char *mem = m->mem;

	if (fd < 0)
		SKIP(return, "no gup_test in debugfs");
	fill(mem, 0, m->nr, m->page, 42);
	for (unsigned long p = 0; p < nr; p += 2)
		ASSERT_EQ(device_pull(m->dev[0], mem + p * m->page, 1), 0);
	for (int node = 0; node < MAX_NODES; node++) {
		long ret = move_pages_to(node, mem, nr, m->page, status);

		if (ret == -ENODEV)
			continue;
		asked++;
		EXPECT_EQ(ret, 0);
		EXPECT_EQ(status_differs(status, nr, 2, -ENOENT), 0);
		EXPECT_EQ(status_differs(status + 1, nr - 1, 2, node), 0);
	}
	EXPECT_GT(asked, 0);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), nr / 2);

	EXPECT_EQ(pin_start(fd, mem, nr * m->page, 0), 0);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), 0);
	pin_check(_metadata, m, fd, 0, nr, 42);
	close(fd);
}

/* Move written, only read, and untouched pages, fewer than a huge page has. */
TEST_F(migrate_device_coherent_small, mixed_entries)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	const unsigned long third = 20, nr = 3 * third;
	char *mem = m->mem;

	fill(mem, 0, third, m->page, 43);
	for (unsigned long p = third; p < 2 * third; p++)
		FORCE_READ(mem[p * m->page]);
	ASSERT_EQ(device_pull(m->dev[0], mem, nr), 0);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, nr), nr);
	EXPECT_EQ(differing(mem, 0, third, m->page, 43), 0);
	EXPECT_EQ(nonzero_pages(mem, third, nr - third, m->page), 0);

	fill(mem, 0, nr, m->page, 44);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, nr), nr);
	EXPECT_EQ(device_push(m->dev[0], mem, nr), 0);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, nr), 0);
	EXPECT_EQ(differing(mem, 0, nr, m->page, 44), 0);
}

/* Write to half of the memory. This must not change the memory of the parent. */
static long child_copies(char *mem, unsigned long nr, size_t page)
{
	const unsigned long half = nr / 2;
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	unsigned long *frame = frames_read(pagemap, mem, nr, page);
	long bad = pagemap < 0 || !frame;

	if (bad)
		return bad;
	bad = differing(mem, 0, nr, page, 45);
	fill(mem, 0, half, page, 46);
	bad += frames_changed(pagemap, mem, 0, half, page, frame) != (long)half;
	bad += frames_changed(pagemap, mem, half, half, page, frame);
	bad += differing(mem, 0, half, page, 46);
	return bad + differing(mem, half, half, page, 45);
}

/* The first process that writes gets a copy in system memory, the last one none. */
TEST_F(migrate_device_coherent_small, copied_on_write)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	char *mem = m->mem;
	unsigned long *frame;
	int status;
	pid_t pid;

	coherent_pull(_metadata, m, false, 45);
	frame = frames_read(m->pagemap, mem, m->nr, m->page);
	ASSERT_NE(frame, NULL);
	pid = child_start(child_copies, mem, m->nr, m->page);
	EXPECT_EQ(child_status(pid), 0);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 45), 0);
	fill(mem, 0, m->nr, m->page, 10);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), m->nr);
	EXPECT_EQ(frames_changed(m->pagemap, mem, 0, m->nr, m->page, frame), 0);

	pid = child_start(child_waits, mem, m->nr, m->page);
	ASSERT_EQ(waitpid(pid, &status, WUNTRACED), pid);
	fill(mem, 0, m->nr, m->page, 47);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), 0);
	kill(pid, SIGCONT);
	EXPECT_EQ(child_status(pid), 0);
	EXPECT_EQ(differing(mem, 0, m->nr, m->page, 47), 0);
	free(frame);
}

/* A long-term pin of memory that a child maps, too, pins a copy. */
TEST_F(migrate_device_coherent_small, pinned_while_shared)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	int fd = pin_open(), status;
	char *mem = m->mem;
	pid_t pid;

	if (fd < 0)
		SKIP(return, "no gup_test in debugfs");
	coherent_pull(_metadata, m, false, 10);
	pid = child_start(child_waits, mem, m->nr, m->page);
	ASSERT_EQ(waitpid(pid, &status, WUNTRACED), pid);

	EXPECT_EQ(pin_start(fd, mem, m->pmd, 0), 0);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), 0);
	pin_check(_metadata, m, fd, 0, m->nr, 10);
	fill(mem, 0, m->nr, m->page, 48);
	pin_check(_metadata, m, fd, 0, m->nr, 48);
	kill(pid, SIGCONT);
	EXPECT_EQ(child_status(pid), 0);
	close(fd);
}

/* Protected memory stays protected on the device, and after a pin has moved it. */
TEST_F(migrate_device_coherent_small, protected)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	int fd = pin_open();
	char *mem = m->mem;

	if (fd < 0)
		SKIP(return, "no gup_test in debugfs");
	coherent_pull(_metadata, m, false, 49);
	ASSERT_EQ(mprotect(mem, m->pmd, PROT_READ), 0);
	EXPECT_TRUE(write_is_refused(mem, 0, m->page, 49));
	EXPECT_EQ(pin_start(fd, mem, m->pmd, PIN_LONGTERM_TEST_FLAG_USE_WRITE),
		  -EFAULT);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), m->nr);

	EXPECT_EQ(pin_start(fd, mem, m->pmd / 2, 0), 0);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), m->nr / 2);
	EXPECT_TRUE(write_is_refused(mem, 0, m->page, 49));
	EXPECT_TRUE(write_is_refused(mem, m->nr / 2, m->page, 49));
	ASSERT_EQ(mprotect(mem, m->pmd, PROT_READ | PROT_WRITE), 0);
	fill(mem, 0, m->nr, m->page, 50);
	pin_check(_metadata, m, fd, 0, m->nr / 2, 50);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, m->nr), m->nr / 2);
	close(fd);
}

/* Unmap and discard parts while the device holds the memory. It keeps the rest. */
TEST_F(migrate_device_coherent_small, munmap_on_device)
{
	FIXTURE_DATA(migrate_device) *m = &self->m;
	const unsigned long part = m->nr / 4;
	char *mem = m->mem;

	coherent_pull(_metadata, m, false, 51);
	ASSERT_EQ(munmap(mem + part * m->page, part * m->page), 0);
	ASSERT_EQ(madvise(mem + 2 * part * m->page, part * m->page, MADV_DONTNEED),
		  0);
	EXPECT_EQ(coherent_holds(m->dev[0], mem, part), part);
	EXPECT_EQ(coherent_holds(m->dev[0], mem + 2 * part * m->page, 2 * part), part);
	EXPECT_EQ(differing(mem, 0, part, m->page, 51), 0);
	EXPECT_EQ(nonzero_pages(mem, 2 * part, part, m->page), 0);
	EXPECT_EQ(differing(mem, 3 * part, part, m->page, 51), 0);
}

TEST_HARNESS_MAIN
