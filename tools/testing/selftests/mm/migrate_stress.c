// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stress test of the migration of memory in use. Workers write, fork, pin, unmap,
 * split, lock, swap, protect and remap their chunks. Readers read /proc files about
 * the chunks. Movers move the chunks from node to node all the time. A second case
 * maps and unmaps single pages, each with its own anon_vma, while movers move them.
 *
 * A chunk belongs to one worker, so the contents of each page are known at any time:
 * a pattern that depends on the position of the page and on the number of times that
 * it was written. The worker checks the contents before every change.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate_lib.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif

#define KB			1024UL
#define MB			(1024 * KB)
#define NR_WORKERS		4
#define NR_MOVERS		3
#define NR_READERS		2
/* Movers and readers sleep for less than this many microseconds in each round. */
#define PAUSE			10000
#define GATHER_TRIES		20
#define SPLIT_FILE		"/sys/kernel/debug/split_huge_pages"

/**
 * struct region - memory of one kind
 * @label: name of this kind
 * @flags: for mmap(); MAP_PRIVATE memory reads as zero after it was dropped
 * @size: size in bytes
 * @chunk: size of a chunk, which belongs to one worker
 * @huge: use MADV_HUGEPAGE
 * @file: creates the file that is mapped, NULL if there is none
 * @fd: that file
 * @mem: address of the mapping, NULL if this kind is not available
 * @written: number of times that each page was written; 0 means all zero
 */
struct region {
	const char *label;
	int flags;
	size_t size;
	size_t chunk;
	bool huge;
	int (*file)(void);
	int fd;
	char *mem;
	unsigned int *written;
};

static int ext4_file(void)
{
	static char path[256];

	if (!mig_ext4_dir(path, sizeof(path)))
		return -1;
	return mig_ext4_file(path, mig_psize);
}

static int tmpfs_file(void)
{
	return memfd_create("stress", MFD_CLOEXEC);
}

static struct region regions[] = {
	{ "base pages", MAP_PRIVATE | MAP_ANONYMOUS, 512 * KB, 64 * KB },
	{ "large folios", MAP_PRIVATE | MAP_ANONYMOUS, MB, 128 * KB, true },
	{ "huge pages", MAP_PRIVATE | MAP_ANONYMOUS, 8 * MB, 2 * MB, true },
	{ "shared memory", MAP_SHARED, 512 * KB, 64 * KB, .file = tmpfs_file },
	{ "ext4", MAP_SHARED, 512 * KB, 64 * KB, .file = ext4_file },
	{ "private file", MAP_PRIVATE, 512 * KB, 64 * KB, .file = tmpfs_file },
};

static atomic_bool over;
static atomic_long nr_moved, nr_shifted, nr_changed, nr_read;

/* The chunks are assigned to the workers in turn. */
static unsigned int owner_of(const struct region *r, size_t offset)
{
	return offset / r->chunk % NR_WORKERS;
}

/*
 * Contents
 */

static uint64_t seed_of(const struct region *r, size_t page)
{
	return ((uint64_t)(r - regions) << 56) + ((uint64_t)page << 32) +
	       r->written[page];
}

static bool all_zero(const char *mem)
{
	return !*mem && !memcmp(mem, mem + 1, mig_psize - 1);
}

static bool page_is_right(const struct region *r, size_t page)
{
	const char *mem = r->mem + page * mig_psize;

	if (!r->written[page])
		return all_zero(mem);
	return mig_verify(mem, mig_psize, seed_of(r, page)) == mig_psize;
}

static void check_chunk(const struct region *r, size_t offset, const char *when)
{
	size_t page, first = offset / mig_psize;

	for (page = first; page < first + r->chunk / mig_psize; page++)
		mig_check(page_is_right(r, page),
			  "%s: page %zu has other contents after %s", r->label,
			  page, when);
}

static void write_page(struct region *r, size_t page)
{
	r->written[page]++;
	mig_fill(r->mem + page * mig_psize, mig_psize, seed_of(r, page));
}

/* Pages of private memory read as zero after they were dropped. */
static void forget_pages(struct region *r, size_t offset, size_t len)
{
	size_t page;

	for (page = offset / mig_psize; page < (offset + len) / mig_psize; page++)
		r->written[page] = 0;
}

/*
 * The operations of the workers. The contents of the chunk are known after each.
 */

static void do_write(struct region *r, size_t offset, unsigned int *dice)
{
	size_t nr = r->chunk / mig_psize, page;

	for (page = 0; page < nr; page++) {
		if (rand_r(dice) % 2)
			write_page(r, offset / mig_psize + page);
	}
}

static void do_nothing(struct region *r, size_t offset, unsigned int *dice)
{
	sched_yield();
}

static void do_fork(struct region *r, size_t offset, unsigned int *dice)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		check_chunk(r, offset, "fork");
		if (r->flags & MAP_PRIVATE)
			write_page(r, offset / mig_psize);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	mig_check(pid < 0 || (WIFEXITED(status) && !WEXITSTATUS(status)),
		  "%s: the child saw wrong contents", r->label);
}

static void do_pin(struct region *r, size_t offset, unsigned int *dice)
{
	size_t page = offset / mig_psize + rand_r(dice) % (r->chunk / mig_psize);
	int fd = mig_try_pin(r->mem + page * mig_psize, mig_psize);

	usleep(rand_r(dice) % 3000);
	write_page(r, page);
	if (fd >= 0)
		mig_unpin(fd);
}

/* Drop a part of the chunk, so that large folios become partially mapped. */
static void do_drop(struct region *r, size_t offset, unsigned int *dice)
{
	size_t nr = r->chunk / mig_psize;
	size_t first = rand_r(dice) % nr;
	size_t len = (1 + rand_r(dice) % (nr - first)) * mig_psize;

	offset += first * mig_psize;
	if (madvise(r->mem + offset, len, MADV_DONTNEED))
		return;
	/* A shared file keeps its contents. Unwritten pages stay all zero. */
	if (r->flags & MAP_PRIVATE)
		forget_pages(r, offset, len);
}

static void do_unmap(struct region *r, size_t offset, unsigned int *dice)
{
	void *mem = mmap(r->mem + offset, r->chunk, PROT_READ | PROT_WRITE,
			 r->flags | MAP_FIXED, r->fd, r->fd < 0 ? 0 : offset);

	mig_check(mem == r->mem + offset, "mmap: %m");
	if (r->huge)
		madvise(mem, r->chunk, MADV_HUGEPAGE);
	if (r->flags & MAP_PRIVATE)
		forget_pages(r, offset, r->chunk);
}

/* A folio in the swap cache must be split to single pages, or the kernel warns. */
static void do_split(struct region *r, size_t offset, unsigned int *dice)
{
	int order = r->flags & MAP_PRIVATE || rand_r(dice) % 3 ? 0 : 2;
	char text[128];

	snprintf(text, sizeof(text), "%d,0x%lx,0x%lx,%d", getpid(),
		 (unsigned long)r->mem + offset,
		 (unsigned long)r->mem + offset + r->chunk, order);
	mig_write(SPLIT_FILE, text);
}

static void do_lock(struct region *r, size_t offset, unsigned int *dice)
{
	mlock(r->mem + offset, r->chunk);
	check_chunk(r, offset, "mlock");
	usleep(rand_r(dice) % 2000);
	munlock(r->mem + offset, r->chunk);
}

static void do_swap(struct region *r, size_t offset, unsigned int *dice)
{
	madvise(r->mem + offset, r->chunk, MADV_PAGEOUT);
}

static void do_protect(struct region *r, size_t offset, unsigned int *dice)
{
	size_t some = r->chunk / 2 + mig_psize;

	mprotect(r->mem + offset, some, PROT_NONE);
	usleep(rand_r(dice) % 1000);
	mprotect(r->mem + offset, some, PROT_READ);
	check_chunk(r, offset, "mprotect");
	mprotect(r->mem + offset, r->chunk, PROT_READ | PROT_WRITE);
}

/*
 * Move the chunk to another address and back. Its own address range stays mapped, so
 * that no other mapping gets it.
 */
static void do_remap(struct region *r, size_t offset, unsigned int *dice)
{
	char *home = r->mem + offset;
	char *away = mremap(home, r->chunk, r->chunk,
			    MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);

	if (away == MAP_FAILED)
		return;
	usleep(rand_r(dice) % 1000);
	mig_check(mremap(away, r->chunk, r->chunk, MREMAP_MAYMOVE | MREMAP_FIXED,
			 home) == home, "%s: mremap: %m", r->label);
}

struct operation {
	const char *label;
	void (*act)(struct region *r, size_t offset, unsigned int *dice);
};

static const struct operation operations[] = {
	{ "a write", do_write },
	{ "a write", do_write },
	{ "waiting", do_nothing },
	{ "fork", do_fork },
	{ "a pin", do_pin },
	{ "MADV_DONTNEED", do_drop },
	{ "munmap", do_unmap },
	{ "a split", do_split },
	{ "mlock", do_lock },
	{ "MADV_PAGEOUT", do_swap },
	{ "mprotect", do_protect },
	{ "mremap", do_remap },
};

static struct region *any_region(unsigned int *dice)
{
	struct region *r;

	do {
		r = &regions[rand_r(dice) % ARRAY_SIZE(regions)];
	} while (!r->mem);
	return r;
}

static size_t any_chunk_of(const struct region *r, unsigned int worker,
			   unsigned int *dice)
{
	size_t offset;

	do {
		offset = rand_r(dice) % (r->size / r->chunk) * r->chunk;
	} while (owner_of(r, offset) != worker);
	return offset;
}

static void *worker(void *arg)
{
	unsigned int me = (uintptr_t)arg, dice = me + 1;
	const struct operation *operation;
	struct region *r;
	size_t offset;

	while (!over) {
		r = any_region(&dice);
		offset = any_chunk_of(r, me, &dice);
		operation = &operations[rand_r(&dice) % ARRAY_SIZE(operations)];
		check_chunk(r, offset, "being moved");
		operation->act(r, offset, &dice);
		check_chunk(r, offset, operation->label);
		nr_changed++;
	}
	return NULL;
}

/*
 * Movers
 */

static void scatter(struct region *r, unsigned int *dice)
{
	void *pages[64];
	int nodes[64], status[64], i;
	size_t from = rand_r(dice) % (r->size / mig_psize - 64);

	for (i = 0; i < 64; i++) {
		pages[i] = r->mem + (from + i) * mig_psize;
		nodes[i] = i % 8 ? nodes[i - 1] :
			   mig_nodes[rand_r(dice) % mig_nr_nodes];
	}
	mig_check(mig_move_pages(0, 64, pages, nodes, status, MIG_MF_MOVE_ALL) >= 0,
		  "%s: move_pages: %m", r->label);
	for (i = 0; i < 64; i++)
		nr_moved += status[i] == nodes[i];
}

/* With MPOL_MF_STRICT, mbind() succeeds only if all of the region is on the node. */
static void shift(struct region *r, unsigned int *dice)
{
	int node = mig_nodes[rand_r(dice) % mig_nr_nodes];

	nr_shifted += !mig_mbind(r->mem, r->size, MIG_MPOL_BIND, 1UL << node,
				 MIG_MF_MOVE_ALL | MIG_MF_STRICT);
	mig_mbind(r->mem, r->size, MIG_MPOL_DEFAULT, 0, 0);
}

static void shift_everything(unsigned int *dice)
{
	int from = rand_r(dice) % mig_nr_nodes;
	int to = (from + 1) % mig_nr_nodes;

	mig_migrate_pages(0, 1UL << mig_nodes[from], 1UL << mig_nodes[to]);
}

static void *mover(void *arg)
{
	unsigned int way = (uintptr_t)arg, dice = way + 100;

	while (!over) {
		if (way == 0)
			scatter(any_region(&dice), &dice);
		else if (way == 1)
			shift(any_region(&dice), &dice);
		else
			shift_everything(&dice);
		usleep(rand_r(&dice) % PAUSE);
	}
	return NULL;
}

/*
 * Readers
 */

static void read_whole(const char *path)
{
	static __thread char buf[64 * KB];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && !over && read(fd, buf, sizeof(buf)) > 0)
		;
	if (fd >= 0)
		close(fd);
}

static void read_entries(const struct region *r)
{
	size_t len = r->size / mig_psize * sizeof(uint64_t);
	uint64_t *entries = malloc(len);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	mig_check(pread(fd, entries, len, (uintptr_t)r->mem / mig_psize *
			sizeof(*entries)) == (ssize_t)len, "pagemap: %m");
	close(fd);
	free(entries);
}

static void *reader(void *arg)
{
	unsigned int dice = (uintptr_t)arg + 200;

	while (!over) {
		read_whole("/proc/self/smaps");
		read_whole("/proc/self/numa_maps");
		read_whole("/proc/self/smaps_rollup");
		read_entries(any_region(&dice));
		nr_read++;
		usleep(rand_r(&dice) % PAUSE);
	}
	return NULL;
}

/*
 * Case "memory in use"
 */

static void map_region(struct region *r)
{
	char *area;
	void *mem;

	r->fd = r->file ? r->file() : -1;
	if (r->file && r->fd < 0)
		return;
	if (r->file && ftruncate(r->fd, 0) | ftruncate(r->fd, r->size))
		mig_fail("ftruncate: %m");
	area = mig_map_aligned(r->size, 2 * MB);
	mem = mmap(area, r->size, PROT_READ | PROT_WRITE, r->flags | MAP_FIXED,
		   r->fd, 0);
	mig_check(mem == area, "mmap: %m");
	if (r->huge)
		madvise(mem, r->size, MADV_HUGEPAGE);
	r->written = calloc(r->size / mig_psize, sizeof(*r->written));
	r->mem = mem;
}

static void allow_all_sizes(void)
{
	size_t kb[MIG_MAX_SIZES];
	int i, nr = mig_thp_sizes(kb, MIG_MAX_SIZES);
	char path[128];

	for (i = 0; i < nr; i++) {
		snprintf(path, sizeof(path),
			 "/sys/kernel/mm/transparent_hugepage/hugepages-%zukB/enabled",
			 kb[i]);
		mig_set(path, "madvise");
	}
}

static void start(pthread_t *threads, int nr, void *(*run)(void *arg))
{
	int i;

	for (i = 0; i < nr; i++) {
		if (pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)i))
			mig_fail("pthread_create: %m");
	}
}

static void spoil_one(void)
{
	size_t page;

	/* One page of each chunk, as a worker may write one before it checks it. */
	for (page = 0; page < regions[0].size / mig_psize; page += 16)
		mig_spoil_byte(regions[0].mem + page * mig_psize, mig_psize);
}

static void check_everything(void)
{
	size_t i, offset;

	for (i = 0; i < ARRAY_SIZE(regions); i++) {
		for (offset = 0; regions[i].mem && offset < regions[i].size;
		     offset += regions[i].chunk)
			check_chunk(&regions[i], offset, "the end of the stress");
	}
}

static size_t nr_elsewhere(const struct region *r, int node)
{
	size_t offset, nr = 0;
	int where;

	for (offset = 0; offset < r->size; offset += mig_psize) {
		where = mig_node_of(r->mem + offset);
		nr += where >= 0 && where != node;
	}
	return nr;
}

/*
 * A page with a leaked reference can no longer move. Try this several times, because
 * swap I/O may still be in progress.
 */
static void gather(const struct region *r, int node)
{
	size_t left = 1;
	int try;

	for (try = 1; left && try <= GATHER_TRIES; try++) {
		if (try > 1)
			mig_try_again(try, GATHER_TRIES, "%s: %zu pages were left",
				      r->label, left);
		mig_drain();
		mig_move_to(r->mem, r->size, node, MIG_MF_MOVE_ALL, NULL);
		mig_spoil(r->mem, r->size, node);
		left = nr_elsewhere(r, node);
	}
	mig_check(!left, "%s: %zu pages cannot be moved any more", r->label, left);
}

/* Workers, movers and readers must all have made progress. */
static void check_busy(void)
{
	long moved = nr_moved * !mig_breaks(MIG_BREAK_COUNT);

	mig_check(nr_changed, "nothing was changed");
	mig_check(nr_read, "no reader finished a round");
	mig_check(moved >= nr_changed / 100, "only %ld pages moved during %ld changes",
		  moved, nr_changed);
	mig_check(nr_shifted, "no range was moved");
}

static void stress(const void *arg)
{
	pthread_t threads[NR_WORKERS + NR_MOVERS + NR_READERS];
	size_t i;

	allow_all_sizes();
	for (i = 0; i < ARRAY_SIZE(regions); i++)
		map_region(&regions[i]);
	start(threads, NR_WORKERS, worker);
	start(threads + NR_WORKERS, NR_MOVERS, mover);
	start(threads + NR_WORKERS + NR_MOVERS, NR_READERS, reader);
	sleep(mig_duration);
	spoil_one();
	over = true;
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	check_everything();
	check_busy();
	for (i = 0; i < ARRAY_SIZE(regions); i++) {
		if (regions[i].mem)
			gather(&regions[i], MIG_A);
	}
	check_everything();
	mig_note("%ld changes, %ld pages and %ld ranges moved, %ld reads",
		 nr_changed, nr_moved, nr_shifted, nr_read);
}

/*
 * Single pages. A PROT_NONE page is between any two of them, so a mapping cannot
 * share the anon_vma of a neighbour. It has an anon_vma of its own, which is freed
 * when the page is unmapped. While a mover has isolated the page, only the mover
 * keeps the anon_vma from being reused.
 */
#define NR_MAPPERS		3
#define NR_LONE_MOVERS		2
#define NR_LONE			64	/* for each mapper */

static char *lone_area;
static uint64_t lone_seed[NR_MAPPERS * NR_LONE];
static atomic_long nr_mapped;

static char *lone_page(unsigned int i)
{
	return lone_area + (2 * i + 1) * mig_psize;
}

static void map_lone(unsigned int i, int prot)
{
	char *mem = mmap(lone_page(i), mig_psize, prot,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	mig_check(mem == lone_page(i), "mmap: %m");
}

static void check_lone(unsigned int i)
{
	mig_check(mig_verify(lone_page(i), mig_psize, lone_seed[i]) == mig_psize,
		  "single page %u has other contents", i);
}

/* Only the mappers map memory meanwhile, so no other mapping gets into a hole. */
static void unmap_lone(unsigned int i, bool hole)
{
	if (hole)
		mig_check(!munmap(lone_page(i), mig_psize), "munmap: %m");
	else
		map_lone(i, PROT_NONE);
}

static void *mapper(void *arg)
{
	unsigned int me = (uintptr_t)arg, dice = me + 300, i;

	while (!over) {
		i = me * NR_LONE + rand_r(&dice) % NR_LONE;
		if (lone_seed[i]) {
			check_lone(i);
			unmap_lone(i, rand_r(&dice) % 2);
		}
		map_lone(i, PROT_READ | PROT_WRITE);
		lone_seed[i] = ++nr_mapped;
		mig_fill(lone_page(i), mig_psize, lone_seed[i]);
	}
	return NULL;
}

static void *lone_mover(void *arg)
{
	unsigned int dice = (uintptr_t)arg + 400, i, first;
	int nodes[NR_LONE], status[NR_LONE];
	void *pages[NR_LONE];

	while (!over) {
		first = rand_r(&dice) % (NR_MAPPERS * NR_LONE - NR_LONE);
		for (i = 0; i < NR_LONE; i++) {
			pages[i] = lone_page(first + i);
			nodes[i] = mig_nodes[rand_r(&dice) % mig_nr_nodes];
		}
		mig_check(mig_move_pages(0, NR_LONE, pages, nodes, status,
					 MIG_MF_MOVE) >= 0, "move_pages: %m");
		for (i = 0; i < NR_LONE; i++)
			nr_moved += status[i] == nodes[i];
	}
	return NULL;
}

/* All mapped pages must have the contents that were written, and must be movable. */
static void check_lone_pages(void)
{
	unsigned int i;

	for (i = 0; i < NR_MAPPERS * NR_LONE; i++) {
		if (!lone_seed[i])
			continue;
		mig_must_move_to(lone_page(i), mig_psize, MIG_A);
		mig_spoil(lone_page(i), mig_psize, MIG_A);
		check_lone(i);
		mig_check(mig_node_of(lone_page(i)) == MIG_A,
			  "single page %u is not on its target node", i);
	}
}

static void stress_lone(const void *arg)
{
	pthread_t threads[NR_MAPPERS + NR_LONE_MOVERS];
	size_t i;

	lone_area = mig_map((2 * NR_MAPPERS * NR_LONE + 1) * mig_psize, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);
	start(threads, NR_MAPPERS, mapper);
	start(threads + NR_MAPPERS, NR_LONE_MOVERS, lone_mover);
	sleep(mig_duration);
	over = true;
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	mig_check(nr_moved > 0, "no page has been moved");
	check_lone_pages();
	mig_note("%ld mappings, %ld pages moved", nr_mapped, nr_moved);
}

static const struct mig_case cases[] = {
	{ "memory in use", stress },
	{ "single pages", stress_lone },
};

int main(int argc, char **argv)
{
	return mig_main(argc, argv, cases, ARRAY_SIZE(cases));
}
