/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's counters of nodes, zones and a memory cgroup, and the share that
 * some memory has in them. See migrate_counters.c.
 */
#ifndef __MIGRATE_COUNTERS_H
#define __MIGRATE_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>

#define MIG_MAX_ZONES		64

/**
 * enum mig_item - ways in which the kernel counts a page
 * @MIG_INACTIVE_ANON: on the LRU list inactive_anon
 * @MIG_ACTIVE_ANON: on the LRU list active_anon
 * @MIG_INACTIVE_FILE: on the LRU list inactive_file
 * @MIG_ACTIVE_FILE: on the LRU list active_file
 * @MIG_UNEVICTABLE: on the LRU list unevictable
 * @MIG_ANON_MAPPED: anonymous and mapped
 * @MIG_FILE_MAPPED: of a file and mapped
 * @MIG_PAGE_CACHE: in the page cache
 * @MIG_SWAP_CACHE: in the swap cache
 * @MIG_SHMEM: in the page cache of shmem
 * @MIG_DIRTY: dirty, and of a file that has writeback
 * @MIG_MLOCKED: mlocked
 * @MIG_ANON_THP: of an anonymous folio that a PMD maps
 * @MIG_SHMEM_THP: of a shmem folio of PMD size
 * @MIG_FILE_THP: of a folio of PMD size of another file
 * @MIG_SHMEM_PMD: of MIG_SHMEM_THP, and mapped by a PMD
 * @MIG_FILE_PMD: of MIG_FILE_THP, and mapped by a PMD
 * @MIG_HUGETLB: hugetlb
 * @MIG_FROM_BUDDY: allocated from the buddy allocator, which also frees it
 * @MIG_NR_ITEMS: number of items
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
 * struct mig_share - the part of the counters that some memory accounts for
 * @pages: number of pages by zone and item, zones in the order of /proc/zoneinfo
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
