// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory whose node, folio size and contents are known.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define WORDS		(PAGE / sizeof(__u64))
#define ALL_NODES	0xfUL
#define THP_FOLDER	"/sys/kernel/mm/transparent_hugepage"

/* Bits of /proc/kpageflags and /proc/self/pagemap. */
#define KPF_HEAD	BIT_ULL(15)
#define KPF_TAIL	BIT_ULL(16)
#define PM_PRESENT	BIT_ULL(63)
#define PM_PFN		(BIT_ULL(55) - 1)

static __u64 last_seed;

/* A kernel without nodes has no policies and does not need any. */
static void place(int mode, unsigned long nodes)
{
	if (sys_set_mempolicy(mode, nodes) && errno != ENOSYS)
		fail("set_mempolicy");
}

/**
 * place_on() - take new memory from one node
 * @node: the node
 */
void place_on(int node)
{
	place(MPOL_BIND, 1UL << node);
}

/**
 * place_spread() - take new memory from all nodes in turn
 */
void place_spread(void)
{
	place(MPOL_INTERLEAVE, ALL_NODES);
}

/**
 * place_freely() - reset the policy to the default
 */
void place_freely(void)
{
	place(MPOL_DEFAULT, 0);
}

/**
 * pin_to() - run only on one CPU
 * @cpu: the CPU
 */
void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("sched_setaffinity");
}

/**
 * touch_page() - read a byte of a page, so that the compiler cannot omit it
 * @page: any address in the page
 */
void touch_page(const void *page)
{
	asm volatile("" : : "r"(*(const char *)page) : "memory");
}

/**
 * folio_size() - allow anonymous folios of one size
 * @size: bytes; other sizes are switched off
 *
 * This applies to memory with MADV_HUGEPAGE.
 */
void folio_size(size_t size)
{
	DIR *folder = opendir(THP_FOLDER);
	struct dirent *entry;
	char path[300];
	bool found = false;
	size_t kib;

	if (!folder)
		skip_workload("no %s", THP_FOLDER);
	while ((entry = readdir(folder))) {
		if (sscanf(entry->d_name, "hugepages-%zukB", &kib) != 1)
			continue;
		snprintf(path, sizeof(path), THP_FOLDER "/%s/enabled",
			 entry->d_name);
		if (access(path, W_OK))
			continue;
		need_write(path, KIB(kib) == size ? "madvise" : "never");
		found |= KIB(kib) == size;
	}
	closedir(folder);
	if (!found)
		skip_workload("no anonymous folios of %zu KiB", size / 1024);
}

/* Map more than needed, and unmap the parts outside the aligned range. */
static char *map_aligned(size_t size, size_t align, int flags)
{
	char *raw, *start;

	raw = mmap(NULL, size + align, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	if (raw == MAP_FAILED)
		fail("mmap");
	start = (char *)(((uintptr_t)raw + align - 1) & ~(align - 1));
	if (start > raw)
		munmap(raw, start - raw);
	munmap(start + size, raw + align - start);
	return start;
}

/**
 * area_map() - map an area without allocating memory
 * @a: filled in
 * @size: bytes
 * @kind: kind of folios that it gets
 */
void area_map(struct area *a, size_t size, enum kind kind)
{
	int flags = MAP_NORESERVE;

	if (kind == HUGETLB_PAGES)
		flags |= MAP_HUGETLB;
	a->start = map_aligned(size, HUGE, flags);
	a->size = size;
	a->seed = ++last_seed * GOLDEN;
	if (kind == HUGETLB_PAGES)
		return;
	if (kind == HUGE_PAGES) {
		if (madvise(a->start, size, MADV_HUGEPAGE))
			fail("madvise");
	} else if (madvise(a->start, size, MADV_NOHUGEPAGE) &&
		   errno != EINVAL) {
		/* EINVAL: the kernel has no huge pages. */
		fail("madvise");
	}
}

/* The first word of a page. Each next word is larger by GOLDEN. */
static __u64 first_word(const struct area *a, size_t page)
{
	return a->seed ^ (page * WORDS * GOLDEN);
}

/**
 * area_fill() - write every word
 * @a: the area
 */
void area_fill(struct area *a)
{
	size_t page, i;

	for (page = 0; page < a->size / PAGE; page++) {
		__u64 *words = (__u64 *)(a->start + page * PAGE);
		__u64 word = first_word(a, page);

		for (i = 0; i < WORDS; i++, word += GOLDEN)
			words[i] = word;
	}
}

/**
 * page_intact() - compare every word of a page with what was written
 * @a: the area
 * @page: index of the page
 *
 * Return: true if no word has changed
 */
bool page_intact(const struct area *a, size_t page)
{
	__u64 *words = (__u64 *)(a->start + page * PAGE);
	__u64 word = first_word(a, page), wrong = 0;
	size_t i;

	for (i = 0; i < WORDS; i++, word += GOLDEN)
		wrong |= words[i] ^ word;
	return !wrong;
}

/**
 * area_intact() - compare every word with what was written
 * @a: the area
 *
 * Return: true if no word has changed
 */
bool area_intact(const struct area *a)
{
	size_t page;

	for (page = 0; page < a->size / PAGE; page++)
		if (!page_intact(a, page))
			return false;
	return true;
}

/**
 * area_make() - map an area and fill it
 * @a: filled in
 * @size: bytes
 * @kind: kind of its folios
 * @node: node of its memory
 */
void area_make(struct area *a, size_t size, enum kind kind, int node)
{
	area_map(a, size, kind);
	place_on(node);
	area_fill(a);
	place_freely();
}

/**
 * area_free() - unmap an area
 * @a: the area
 */
void area_free(struct area *a)
{
	munmap(a->start, a->size);
	a->start = NULL;
}

static int open_or_skip(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		skip_workload("cannot open %s", path);
	return fd;
}

/* Is the page with this PFN the first page of a folio of nr pages? */
static bool folio_at(int kpageflags, __u64 pfn, size_t nr)
{
	__u64 flags[HUGE / PAGE + 1] = { 0 };
	size_t i;

	if (pread(kpageflags, flags, (nr + 1) * sizeof(*flags),
		  pfn * sizeof(*flags)) < (ssize_t)(nr * sizeof(*flags)))
		return false;
	if (nr == 1)
		return !(flags[0] & (KPF_HEAD | KPF_TAIL));
	if (!(flags[0] & KPF_HEAD) || flags[nr] & KPF_TAIL)
		return false;
	for (i = 1; i < nr; i++)
		if (!(flags[i] & KPF_TAIL))
			return false;
	return true;
}

/**
 * area_folios() - count the folios of one size
 * @a: the area
 * @size: bytes of a folio
 *
 * Return: number of naturally aligned parts of @a that are a folio of this size
 */
unsigned long area_folios(const struct area *a, size_t size)
{
	int pagemap = open_or_skip("/proc/self/pagemap");
	int kpageflags = open_or_skip("/proc/kpageflags");
	unsigned long count = 0;
	__u64 entry;
	size_t at;

	for (at = 0; at < a->size; at += size) {
		off_t offset = ((uintptr_t)a->start + at) / PAGE *
			       sizeof(entry);

		if (pread(pagemap, &entry, sizeof(entry), offset) !=
		    sizeof(entry))
			fail("pagemap");
		if (entry & PM_PRESENT)
			count += folio_at(kpageflags, entry & PM_PFN,
					  size / PAGE);
	}
	close(kpageflags);
	close(pagemap);
	return count;
}
