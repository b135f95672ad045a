/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel counts per node, zone and memory cgroup, and what a piece of
 * memory has a share in. See migrate_counters.c.
 */
#ifndef __MIGRATE_COUNTERS_H
#define __MIGRATE_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>

#define MIG_MAX_ZONES		64

/**
 * enum mig_item - what a page is counted as
 * @MIG_INACTIVE_ANON: on this LRU list
 * @MIG_ACTIVE_ANON: on this LRU list
 * @MIG_INACTIVE_FILE: on this LRU list
 * @MIG_ACTIVE_FILE: on this LRU list
 * @MIG_UNEVICTABLE: on this LRU list
 * @MIG_ANON_MAPPED: anonymous, with at least one mapping
 * @MIG_FILE_MAPPED: of a file, with at least one mapping
 * @MIG_PAGE_CACHE: in the cache of a file
 * @MIG_SWAP_CACHE: in the swap cache
 * @MIG_SHMEM: in the cache of a file that is swapped
 * @MIG_DIRTY: dirty, and of a file that is written back
 * @MIG_MLOCKED: mlocked
 * @MIG_ANON_THP: of an anonymous folio that a PMD maps
 * @MIG_SHMEM_THP: of a folio of PMD size, of a file that is swapped
 * @MIG_FILE_THP: of a folio of PMD size, of another file
 * @MIG_SHMEM_PMD: those of MIG_SHMEM_THP that a PMD maps
 * @MIG_FILE_PMD: those of MIG_FILE_THP that a PMD maps
 * @MIG_HUGETLB: hugetlb
 * @MIG_FROM_BUDDY: came from the buddy allocator, and returns to it
 * @MIG_NR_ITEMS: how many there are
 */
enum mig_item {
	MIG_INACTIVE_ANON,
	MIG_ACTIVE_ANON,
	MIG_INACTIVE_FILE,
	MIG_ACTIVE_FILE,
	MIG_UNEVICTABLE,
	MIG_ANON_MAPPED,
	MIG_FILE_MAPPED,
	MIG_PAGE_CACHE,
	MIG_SWAP_CACHE,
	MIG_SHMEM,
	MIG_DIRTY,
	MIG_MLOCKED,
	MIG_ANON_THP,
	MIG_SHMEM_THP,
	MIG_FILE_THP,
	MIG_SHMEM_PMD,
	MIG_FILE_PMD,
	MIG_HUGETLB,
	MIG_FROM_BUDDY,
	MIG_NR_ITEMS,
};

/**
 * struct mig_share - what some memory contributes to the counters
 * @pages: in each zone, in the order of /proc/zoneinfo
 */
struct mig_share {
	long pages[MIG_MAX_ZONES][MIG_NR_ITEMS];
};

struct mig_counters;

void mig_counters_begin(void);
void mig_counters_of_hugetlb(void);
void mig_counters_populate(const char *part);
struct mig_counters *mig_counters_new(void);
void mig_counters_read(struct mig_counters *counters);
void mig_counters_share(void *mem, size_t len, bool written_back,
			struct mig_share *share);
void mig_counters_check(const struct mig_counters *was,
			const struct mig_share *had,
			const struct mig_counters *is,
			const struct mig_share *has);

#endif /* __MIGRATE_COUNTERS_H */
