// SPDX-License-Identifier: GPL-2.0-only

/*
 * Copyright (C) 2006 Silicon Graphics, Inc., Christoph Lameter
 *
 * This file replaces a part of mm/migrate.c, whose authors were IWAMOTO Toshihiro,
 * Hirokazu Takahashi, Dave Hansen and Christoph Lameter.
 */

/*
 * Migration of a folio to the node of the task that uses it, on behalf of a
 * NUMA hinting fault.
 *
 * The task waits in a page fault meanwhile. So this code does not wait for
 * locks or I/O, does not reclaim memory and does not split a folio for which no
 * target could be allocated. The migration fails where it would need any of these.
 */
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/memory-tiers.h>
#include <linux/mm_inline.h>
#include <linux/rmap.h>
#include <linux/sched/sysctl.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include "internal.h"
#include "migrate.h"
#include "page_alloc.h"

static bool numa_tiering(void)
{
	return sysctl_numa_balancing_mode & NUMA_BALANCING_MEMORY_TIERING;
}

static struct zone *numa_next_zone_down(pg_data_t *pgdat, struct zone *zone)
{
	while (zone > pgdat->node_zones)
		if (managed_zone(--zone))
			return zone;
	return NULL;
}

static struct zone *numa_top_zone(pg_data_t *pgdat)
{
	return numa_next_zone_down(pgdat, pgdat->node_zones + pgdat->nr_zones);
}

/* Would a zone stay above its high watermark without @nr_pages? */
static bool numa_node_has_free_pages(pg_data_t *pgdat, long nr_pages)
{
	struct zone *zone;

	for (zone = numa_top_zone(pgdat); zone;
	     zone = numa_next_zone_down(pgdat, zone))
		if (zone_watermark_ok(zone, 0, high_wmark_pages(zone) + nr_pages,
				      ZONE_MOVABLE, ALLOC_CMA))
			return true;
	return false;
}

/* With memory tiering, kswapd demotes folios, which frees memory for promotion. */
static void numa_wake_kswapd(pg_data_t *pgdat, unsigned int order)
{
	struct zone *zone = numa_tiering() ? numa_top_zone(pgdat) : NULL;

	if (zone)
		wakeup_kswapd(zone, 0, order, ZONE_MOVABLE);
}

/*
 * Some file folios are not migrated. An executable mapping of a folio that several
 * processes map is probably a library in use on all nodes. And many file systems
 * cannot migrate a dirty folio without waiting.
 */
static int numa_file_folio_movable(struct folio *folio,
				   const struct vm_area_struct *vma)
{
	if ((vma->vm_flags & VM_EXEC) && folio_maybe_mapped_shared(folio))
		return -EACCES;
	return folio_test_dirty(folio) ? -EAGAIN : 0;
}

/**
 * migrate_misplaced_folio_prepare - isolate a folio that is to change its node
 * @folio: The folio that the fault has found.
 * @vma: The VMA that maps it.
 * @node: The node to migrate it to.
 *
 * On success the caller must call migrate_misplaced_folio().
 *
 * Context: The caller holds the page table lock of the entry that maps @folio.
 * Does not sleep.
 * Return: 0 if @folio was isolated and is counted as isolated, -EACCES if it
 * should not be migrated, -EAGAIN if a later fault may try again.
 */
int migrate_misplaced_folio_prepare(struct folio *folio,
				    struct vm_area_struct *vma, int node)
{
	const long nr_pages = folio_nr_pages(folio);
	int err;

	if (folio_is_file_lru(folio)) {
		err = numa_file_folio_movable(folio, vma);
		if (err)
			return err;
	}

	if (!numa_node_has_free_pages(NODE_DATA(node), nr_pages)) {
		numa_wake_kswapd(NODE_DATA(node), folio_order(folio));
		return -EAGAIN;
	}

	if (!folio_isolate_lru(folio))
		return -EAGAIN;
	/*
	 * MADV_FREE turns an anonymous folio into a file LRU folio, but not while
	 * it is isolated. So the count must come after the isolation.
	 */
	migrate_count_isolated(folio, nr_pages);
	return 0;
}

/* Allocate from @node only, without reclaim. */
static struct folio *numa_alloc_target(struct folio *src, unsigned long node)
{
	gfp_t gfp = GFP_TRANSHUGE_LIGHT;

	if (!folio_test_large(src))
		gfp = (GFP_HIGHUSER_MOVABLE & ~__GFP_RECLAIM) | __GFP_NORETRY |
		      __GFP_NOMEMALLOC | __GFP_NOWARN;
	return __folio_alloc_node(gfp | __GFP_THISNODE, folio_order(src), node);
}

static void numa_count_migrated(struct mem_cgroup *memcg, int from, int to,
				unsigned int nr_pages)
{
	count_vm_numa_events(NUMA_PAGE_MIGRATE, nr_pages);
	count_memcg_events(memcg, NUMA_PAGE_MIGRATE, nr_pages);
	if (numa_tiering() && node_is_toptier(to) && !node_is_toptier(from))
		mod_lruvec_state(mem_cgroup_lruvec(memcg, NODE_DATA(to)),
				 PGPROMOTE_SUCCESS, nr_pages);
}

/**
 * migrate_misplaced_folio - migrate a folio to the node of its user
 * @folio: Folio isolated by migrate_misplaced_folio_prepare(). On return it is
 *	no longer isolated, also after a failure. The caller must not access it.
 * @node: The node to migrate it to.
 *
 * Context: May sleep, but does not wait for locks or I/O.
 * Return: 0 if it was migrated or its last user freed it, -EAGAIN if not.
 */
int migrate_misplaced_folio(struct folio *folio, int node)
{
	/* Needed for the statistics after @folio may have been freed. */
	struct mem_cgroup *memcg = get_mem_cgroup_from_folio(folio);
	const int from = folio_nid(folio);
	unsigned int nr_succeeded;
	LIST_HEAD(list);
	int nr_failed;

	list_add(&folio->lru, &list);
	nr_failed = migrate_pages(&list, numa_alloc_target, NULL, node,
				  MIGRATE_ASYNC, MR_NUMA_MISPLACED,
				  &nr_succeeded);
	putback_movable_pages(&list);

	if (nr_succeeded)
		numa_count_migrated(memcg, from, node, nr_succeeded);
	mem_cgroup_put(memcg);
	return nr_failed ? -EAGAIN : 0;
}
