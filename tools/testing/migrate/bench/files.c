// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page cache. move_pages(2) moves page cache that is mapped. No system call moves
 * unmapped page cache. It is put into the range of the contiguous memory allocator.
 * Then all of this range is allocated, so the allocator must move it out.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define SIZE		MIB(64)
#define CMA		"/sys/kernel/debug/cma/reserved"

/* File systems differ in how they migrate their pages. */
enum fs { TMPFS, EXT4 };

static const char * const files[] = {
	[TMPFS] = "/tmp/migrate_bench",
	[EXT4] = "/mnt/bench/migrate_bench",
};

/*
 * Make a file with the contents of an area. It is written page by page, so that each
 * page is a folio.
 */
static int file_make(struct area *a, enum fs fs)
{
	int fd = open(files[fs], O_CREAT | O_TRUNC | O_RDWR, 0600);
	size_t at;

	if (fd < 0)
		skip_workload("cannot create %s", files[fs]);
	unlink(files[fs]);
	area_make(a, SIZE, BASE_PAGES, 1);
	place_on(3);
	for (at = 0; at < SIZE; at += PAGE)
		if (write(fd, a->start + at, PAGE) != (ssize_t)PAGE)
			fail("write");
	place_freely();
	return fd;
}

/* Map the file in place of the memory that it was written from. */
static void file_map(const struct area *a, int fd)
{
	if (mmap(a->start, a->size, PROT_READ,
		 MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0) != a->start)
		fail("mmap of the file");
}

static void run_mapped(const struct workload *w, unsigned int rounds)
{
	struct request rq;
	struct area a;
	unsigned int i;
	__u64 cost;
	int fd;

	fd = file_make(&a, w->arg);
	fsync(fd);
	file_map(&a, fd);
	request_make(&rq, &a, PAGE);
	for (i = 0; i < rounds; i++) {
		request_aim(&rq, 2 - i % 2);
		settle();
		cost = request_run(&rq);
		request_expect(&rq);
		report(w, NULL, rq.nr, cost, area_intact(&a));
	}
	close(fd);
}

/* The size of the contiguous memory allocator's default range, in pages. */
static unsigned long cma_pages(void)
{
	FILE *file = fopen(CMA "/count", "r");
	unsigned long count;

	if (!file || fscanf(file, "%lu", &count) != 1)
		skip_workload("no contiguous memory allocator in debugfs");
	fclose(file);
	return count;
}

/*
 * Page cache would get the free pages of other types on the per-CPU lists first. The
 * allocation of one page from the contiguous range empties these lists.
 */
static void empty_lists(void)
{
	need_write(CMA "/alloc", "1");
	need_write(CMA "/free", "1");
}

/* The pages stay dirty, because clean pages would be dropped, not moved. */
static void run_unmapped(const struct workload *w, unsigned int rounds)
{
	unsigned long nr = cma_pages();
	__u64 cost, moved;
	struct area a;
	char text[32];
	int fd;

	snprintf(text, sizeof(text), "%lu", nr);
	while (rounds--) {
		empty_lists();
		fd = file_make(&a, w->arg);
		munmap(a.start, a.size);
		settle();
		moved = vm_event("pgmigrate_success");
		cost = clock_now();
		need_write(CMA "/alloc", text);
		cost = clock_now() - cost;
		moved = vm_event("pgmigrate_success") - moved;
		need_write(CMA "/free", text);
		if (moved < SIZE / PAGE / 2)
			skip_workload("only %llu pages of the file were in the range",
				      moved);
		note("%llu pages moved", moved);
		file_map(&a, fd);
		report(w, NULL, moved, cost, area_intact(&a));
		munmap(a.start, a.size);
		close(fd);
	}
}

const struct workload file_workloads[] = {
	{ "file-mapped", "64 MiB of mapped page cache of ext4", "page",
	  "moves", ON_BOTH, 4, run_mapped, EXT4 },
	{ "tmpfs-mapped", "64 MiB of mapped page cache of tmpfs", "page",
	  "moves", ON_BOTH, 4, run_mapped, TMPFS },
	{ "file-unmapped", "unmapped page cache of tmpfs, moved out of a CMA area",
	  "page", "cma", ON_INSN, 3, run_unmapped, TMPFS },
	{ }
};
