// SPDX-License-Identifier: GPL-2.0-only

/*
 * Copyright (C) 2006 Silicon Graphics, Inc., Christoph Lameter
 *
 * This file replaces a part of mm/migrate.c, whose authors were IWAMOTO Toshihiro,
 * Hirokazu Takahashi, Dave Hansen and Christoph Lameter.
 */

/*
 * Replace a folio by another one in its page cache or swap cache, and move its
 * state.
 *
 * When this begins, no page table maps the old folio. It can still be found by
 * a lookup in the page cache or in the swap cache. Its entry there is called
 * the slot below. A folio that is in neither cache has no slot.
 *
 *  1. Compare the reference count of the old folio with the expected one.
 *  2. Copy the contents.
 *  3. Lock the slot by the i_pages lock or the swap cluster lock, with interrupts
 *     off.
 *  4. Freeze the references of the old folio.
 *  5. Set mapping, index and dirty state of the new folio, and store it in the
 *     slot.
 *  6. Unfreeze the old folio, without the references that the cache had.
 *  7. Unlock the slot, move the counters, enable interrupts.
 *  8. Move the flags, the page owner and the memory cgroup.
 *
 * Steps 1, 2 and 4 can fail. The old folio is still in its slot then. Nothing
 * can fail from step 5 on.
 *
 * A lookup without the lock of the slot may find either folio. It cannot take a
 * reference to the old folio while the references are frozen. If it takes one
 * later, it finds that the slot has changed, and is repeated.
 */

#include <linux/backing-dev.h>
#include <linux/export.h>
#include <linux/hugetlb.h>
#include <linux/ksm.h>
#include <linux/memory-tiers.h>
#include <linux/migrate.h>
#include <linux/mm_inline.h>
#include <linux/page_idle.h>
#include <linux/page_owner.h>
#include <linux/pagemap.h>
#include <linux/sched/sysctl.h>
#include <linux/swap.h>
#include <linux/writeback.h>

#include "internal.h"
#include "migrate.h"
#include "swap.h"

/*
 * Flags about the contents, their use, and the LRU list of a folio, which are
 * copied to the target.
 *
 * PG_mappedtodisk is PG_anon_exclusive in anonymous memory. The migration
 * entries preserve that flag, so unmapping has cleared it. Only the first page
 * of a large folio may have it without being mapped, and copying it is harmless
 * then. PG_checked shares its bit with PG_swapcache. Copying it changes nothing
 * for a folio in the swap cache, because the target has PG_swapcache already.
 */
#define MIGRATE_FLAGS_COPIED						\
	(BIT(PG_uptodate) | BIT(PG_dirty) | BIT(PG_referenced) |	\
	 BIT(PG_workingset) | BIT(PG_checked) | BIT(PG_mappedtodisk) |	\
	 BIT(PG_active) | BIT(PG_unevictable))

/*
 * Lock the slot of @src against changes and disable interrupts. Returns the
 * swap cluster, or NULL for the page cache.
 */
static struct swap_cluster_info *migrate_slot_lock(struct address_space *mapping,
						   struct folio *src)
{
	if (folio_test_swapcache(src))
		return swap_cluster_get_and_lock_irq(src);

	xa_lock_irq(&mapping->i_pages);
	return NULL;
}

/* Unlock the slot. The caller has to enable interrupts. */
static void migrate_slot_unlock(struct address_space *mapping,
				struct swap_cluster_info *ci)
{
	if (ci)
		swap_cluster_unlock(ci);
	else
		xa_unlock(&mapping->i_pages);
}

/* Store @dst in the locked slot. XArray marks belong to the slot and are kept. */
static void migrate_slot_store(struct address_space *mapping,
			       struct swap_cluster_info *ci,
			       struct folio *src, struct folio *dst)
{
	XA_STATE(xas, &mapping->i_pages, src->index);

	if (ci)
		__swap_cache_replace_folio(ci, src, dst);
	else
		xas_store(&xas, dst);
}

/*
 * Freezing the references is the last step that can fail. Remove the folio from
 * the deferred split queue while they are frozen: the shrinker moves folios to
 * a private list and needs a reference for that. The queue depends on the
 * memory cgroup, so this must precede mem_cgroup_migrate().
 */
static bool migrate_freeze(struct folio *src, int refs)
{
	if (!folio_ref_freeze(src, refs))
		return false;

	folio_unqueue_deferred_split(src);
	return true;
}

static void migrate_identity(struct folio *src, struct folio *dst)
{
	dst->index = src->index;
	dst->mapping = src->mapping;
	if (folio_test_swapbacked(src))
		__folio_set_swapbacked(dst);

	/* Freeing src decrements this counter. Nothing else increments it for dst. */
	if (folio_test_anon(src) && !folio_test_hugetlb(src))
		mod_mthp_stat(folio_order(src), MTHP_STAT_NR_ANON, 1);
}

/* As above for a folio in a cache: the cache holds a reference for each page. */
static void migrate_cache_identity(struct folio *src, struct folio *dst)
{
	migrate_identity(src, dst);
	folio_ref_add(dst, folio_nr_pages(dst));
	if (folio_test_swapcache(src)) {
		folio_set_swapcache(dst);
		dst->swap = src->swap;
	}
}

/*
 * Move PG_dirty. No lookup gets either folio at this time: src is frozen and
 * dst is not in the slot yet. migrate_cache_stats() moves the counters.
 */
static bool migrate_dirty(struct folio *src, struct folio *dst)
{
	if (!folio_test_dirty(src))
		return false;

	folio_clear_dirty(src);
	folio_set_dirty(dst);
	return true;
}

/* For a counter that exists per node and per memory cgroup. */
static void migrate_stat(struct lruvec *from, struct lruvec *to,
			 enum node_stat_item item, long nr)
{
	mod_lruvec_state(from, item, -nr);
	mod_lruvec_state(to, item, nr);
}

/* For a counter that exists per node only, or must change per node only. */
static void migrate_node_stat(struct lruvec *from, struct lruvec *to,
			      enum node_stat_item item, long nr)
{
	__mod_node_page_state(lruvec_pgdat(from), item, -nr);
	__mod_node_page_state(lruvec_pgdat(to), item, nr);
}

/*
 * The swap cache counts a folio as NR_FILE_PAGES of its node, but not of its
 * memory cgroup. If this changed the counter of the memory cgroup as well, it
 * would be wrong after the folio has left the swap cache.
 */
static void migrate_swap_stats(struct lruvec *from, struct lruvec *to, long nr)
{
	migrate_node_stat(from, to, NR_FILE_PAGES, nr);
#ifdef CONFIG_SWAP
	migrate_stat(from, to, NR_SWAPCACHE, nr);
#endif
}

/*
 * The counters that filemap_unaccount_folio() and shmem decrement when a folio
 * leaves the page cache, under the same conditions.
 */
static void migrate_file_stats(struct address_space *mapping,
			       struct folio *src,
			       struct lruvec *from, struct lruvec *to)
{
	const bool shmem = folio_test_swapbacked(src);
	const long nr = folio_nr_pages(src);

	migrate_stat(from, to, NR_FILE_PAGES, nr);
	if (shmem)
		migrate_stat(from, to, NR_SHMEM, nr);
	if (folio_test_pmd_mappable(src))
		migrate_stat(from, to, shmem ? NR_SHMEM_THPS : NR_FILE_THPS, nr);
	if (test_bit(AS_KERNEL_FILE, &mapping->flags))
		migrate_node_stat(from, to, NR_KERNEL_FILE_PAGES, nr);
}

/*
 * The folio has moved to another node. The counters of mappings are not changed
 * here: rmap does that when it removes the last mapping of src, and when it
 * adds the first mapping of dst.
 */
static void migrate_node_stats(struct address_space *mapping,
			       struct folio *src, struct folio *dst, bool dirty)
{
	const long nr = folio_nr_pages(src);
	struct lruvec *from, *to;
	struct mem_cgroup *memcg;

	rcu_read_lock();
	memcg = folio_memcg(src);
	from = mem_cgroup_lruvec(memcg, folio_pgdat(src));
	to = mem_cgroup_lruvec(memcg, folio_pgdat(dst));

	if (folio_test_swapcache(src))
		migrate_swap_stats(from, to, nr);
	else
		migrate_file_stats(mapping, src, from, to);
	if (dirty)
		migrate_stat(from, to, NR_FILE_DIRTY, nr);
	rcu_read_unlock();
}

/*
 * Move the counters of cached memory. @dirty: move those of dirty memory, by
 * which writers are throttled, as well. A mapping without writeback is not in
 * them.
 */
static void migrate_cache_stats(struct address_space *mapping,
				struct folio *src, struct folio *dst, bool dirty)
{
	const long nr = folio_nr_pages(src);
	struct zone *from = folio_zone(src);
	struct zone *to = folio_zone(dst);

	if (from == to)
		return;

	if (from->zone_pgdat != to->zone_pgdat)
		migrate_node_stats(mapping, src, dst, dirty);
	if (dirty) {
		__mod_zone_page_state(from, NR_ZONE_WRITE_PENDING, -nr);
		__mod_zone_page_state(to, NR_ZONE_WRITE_PENDING, nr);
	}
}

/*
 * A folio that is in no cache. As no page table maps it, it can be found on the
 * deferred split queue only. So the references need be frozen only for a folio
 * that may be on that queue.
 */
static int migrate_place_uncached(struct folio *src, struct folio *dst, int refs)
{
	if (folio_test_large(src) && folio_test_large_rmappable(src)) {
		if (!migrate_freeze(src, refs))
			return -EAGAIN;
		folio_ref_unfreeze(src, refs);
	}

	migrate_identity(src, dst);
	return 0;
}

/* A folio in the page cache or in the swap cache: steps 3 to 7. */
static int migrate_place_cached(struct address_space *mapping,
				struct folio *src, struct folio *dst, int refs)
{
	struct swap_cluster_info *ci;
	bool frozen, dirty;

	ci = migrate_slot_lock(mapping, src);
	frozen = migrate_freeze(src, refs);
	if (frozen) {
		migrate_cache_identity(src, dst);
		dirty = migrate_dirty(src, dst);
		migrate_slot_store(mapping, ci, src, dst);

		/* The isolation holds a reference, so the count cannot become 0. */
		folio_ref_unfreeze(src, refs - folio_nr_pages(src));
	}
	migrate_slot_unlock(mapping, ci);

	/* Interrupts are still off, as __mod_zone_page_state() requires. */
	if (frozen && !folio_test_hugetlb(src))
		migrate_cache_stats(mapping, src, dst,
				    dirty && mapping_can_writeback(mapping));
	local_irq_enable();

	return frozen ? 0 : -EAGAIN;
}

static int migrate_place(struct address_space *mapping, struct folio *src,
			 struct folio *dst, int refs)
{
	if (mapping)
		return migrate_place_cached(mapping, src, dst, refs);
	return migrate_place_uncached(src, dst, refs);
}

/*
 * Returns the number of references to @src if only its cache, its private data
 * and the caller hold any, or 0 if there are others. Speculative references can
 * appear after that. This check only avoids a useless copy: whether the move
 * succeeds is decided by folio_ref_freeze().
 */
static int migrate_refs(struct folio *src, int extra)
{
	const int refs = folio_expected_ref_count(src) + extra + 1;

	return folio_ref_count(src) == refs ? refs : 0;
}

/**
 * folio_migrate_mapping() - Replace a folio in its page cache or swap cache.
 * @mapping: The address space that contains @src, NULL if there is none.
 * @dst: The new folio. No lookup can find it yet.
 * @src: The folio that is replaced.
 * @extra_count: Number of references to @src that the caller holds in addition
 *	to the one of the isolation.
 *
 * Sets the mapping and the index of @dst, and moves the dirty, swap backed and
 * swap cache flags. The caller must copy the contents, and must move the other
 * flags by folio_migrate_flags() afterwards. @dst must have the order of @src.
 *
 * Context: Both folios are locked, and no page table maps @src. Interrupts must
 * be enabled, as they are enabled on return.
 *
 * Return: 0, or -EAGAIN if @src has unexpected references. Nothing has changed
 * after -EAGAIN.
 */
int folio_migrate_mapping(struct address_space *mapping, struct folio *dst,
			  struct folio *src, int extra_count)
{
	const int refs = migrate_refs(src, extra_count);

	if (!refs)
		return -EAGAIN;

	return migrate_place(mapping, src, dst, refs);
}
EXPORT_SYMBOL(folio_migrate_mapping);

static void migrate_copy_flags(struct folio *src, struct folio *dst)
{
	/* A full barrier: the contents must be visible before PG_uptodate is. */
	set_mask_bits(&dst->flags.f, 0,
		      READ_ONCE(src->flags.f) & MIGRATE_FLAGS_COPIED);

	/* On 32-bit these two flags are not in the flag word. */
	if (folio_test_young(src))
		folio_set_young(dst);
	if (folio_test_idle(src))
		folio_set_idle(dst);
}

/* @dst has got these flags. Freeing @src with one of them set is a bug. */
static void migrate_clear_lru_flags(struct folio *src)
{
	VM_WARN_ON_ONCE_FOLIO(folio_test_active(src) && folio_test_unevictable(src), src);

	if (folio_test_active(src))
		folio_clear_active(src);
	if (folio_test_unevictable(src))
		folio_clear_unevictable(src);
}

/*
 * Copy the last CPU and PID, so that NUMA balancing does not move the folio
 * again at once. With memory tiering, the field contains a time stamp while the
 * folio is in a slow tier. So it is reset when the folio moves between a slow
 * tier and the top tier.
 */
static void migrate_last_cpupid(struct folio *src, struct folio *dst)
{
	int cpupid = folio_xchg_last_cpupid(src, -1);

	if ((sysctl_numa_balancing_mode & NUMA_BALANCING_MEMORY_TIERING) &&
	    node_is_toptier(folio_nid(src)) != node_is_toptier(folio_nid(dst)))
		cpupid = -1;

	folio_xchg_last_cpupid(dst, cpupid);
}

/*
 * Detach @src from KSM, the swap cache and the file system. folio_migrate_ksm()
 * must be called before PG_swapcache is cleared: ksm_get_folio() removes a
 * stable node whose folio has no references and no PG_swapcache.
 */
static void migrate_detach(struct folio *src, struct folio *dst)
{
	if (folio_test_ksm(src))
		folio_migrate_ksm(dst, src);

	if (folio_test_swapcache(src))
		folio_clear_swapcache(src);
	if (folio_test_private(src))
		folio_clear_private(src);

	/* For hugetlb it contains flags, which move_hugetlb_state() moves. */
	if (!folio_test_hugetlb(src))
		src->private = NULL;
}

/**
 * folio_migrate_flags() - Move the flags and other state to the new folio.
 * @dst: The new folio.
 * @src: The folio that has been replaced.
 *
 * Moves flags, reclaim and NUMA history, the KSM node, the page owner, the
 * allocation tag and the memory cgroup, and clears the private data of @src. A
 * file system that moves its private data must detach it from @src before.
 *
 * Context: Both folios are locked. Must be called after folio_migrate_mapping()
 * has succeeded, and before either folio is unlocked.
 */
void folio_migrate_flags(struct folio *dst, struct folio *src)
{
	migrate_copy_flags(src, dst);
	folio_migrate_refs(dst, src);
	migrate_clear_lru_flags(src);
	migrate_last_cpupid(src, dst);
	migrate_detach(src, dst);

	/* Wake the tasks that already wait for writeback of dst. */
	if (folio_test_writeback(dst))
		folio_end_writeback(dst);

	/* PG_readahead is PG_reclaim, which folio_end_writeback() clears. */
	if (folio_test_readahead(src))
		folio_set_readahead(dst);

	folio_copy_owner(dst, src);
	pgalloc_tag_swap(dst, src);
	mem_cgroup_migrate(src, dst);
}
EXPORT_SYMBOL(folio_migrate_flags);

/* Steps 1 to 7, if the caller holds no reference but that of the isolation. */
static int migrate_copy_and_place(struct address_space *mapping,
				  struct folio *src, struct folio *dst)
{
	const int refs = migrate_refs(src, 0);
	int err;

	if (!refs)
		return -EAGAIN;

	err = migrate_copy_folio(src, dst);
	if (err)
		return err;

	return migrate_place(mapping, src, dst, refs);
}

/**
 * migrate_huge_page_move_mapping() - Copy a hugetlb folio and replace it.
 * @mapping: The hugetlbfs mapping that contains @src.
 * @dst: The new folio.
 * @src: The folio that is replaced.
 *
 * The caller must call folio_migrate_flags() afterwards.
 *
 * Context: Both folios are locked, and no page table maps @src. May sleep.
 *
 * Return: 0, -EAGAIN if @src has unexpected references, or -EHWPOISON if @src
 * could not be read.
 */
int migrate_huge_page_move_mapping(struct address_space *mapping,
				   struct folio *dst, struct folio *src)
{
	return migrate_copy_and_place(mapping, src, dst);
}

/**
 * migrate_folio() - Migrate a folio that has no private data.
 * @mapping: The address space that contains @src, NULL if there is none.
 * @dst: The folio to move to.
 * @src: The folio to move.
 * @mode: Not used, because this function does not wait.
 *
 * Context: Both folios are locked. No page table maps @src, and it is not under
 * writeback. May sleep.
 *
 * Return: 0, -EAGAIN if @src has unexpected references, -EHWPOISON if @src
 * could not be read, or -EBUSY if it is under writeback, which is a bug.
 */
int migrate_folio(struct address_space *mapping, struct folio *dst,
		  struct folio *src, enum migrate_mode mode)
{
	int err;

	/* The device would still read from src after it has been freed. */
	if (WARN_ON_ONCE(folio_test_writeback(src)))
		return -EBUSY;

	err = migrate_copy_and_place(mapping, src, dst);
	if (!err)
		folio_migrate_flags(dst, src);
	return err;
}
EXPORT_SYMBOL(migrate_folio);

/**
 * filemap_migrate_folio() - Migrate a folio together with its private data.
 * @mapping: The address space that contains @src, NULL if there is none.
 * @dst: The folio to move to.
 * @src: The folio to move.
 * @mode: Not used, because this function does not wait.
 *
 * For file systems whose private data does not refer to the folio, and is only
 * accessed under the folio lock.
 *
 * Context: Both folios are locked. No page table maps @src, and it is not under
 * writeback. May sleep.
 *
 * Return: 0, -EAGAIN if @src has unexpected references, or -EHWPOISON if @src
 * could not be read.
 */
int filemap_migrate_folio(struct address_space *mapping, struct folio *dst,
			  struct folio *src, enum migrate_mode mode)
{
	int err = migrate_copy_and_place(mapping, src, dst);

	if (err)
		return err;

	if (folio_test_private(src))
		folio_attach_private(dst, folio_detach_private(src));
	folio_migrate_flags(dst, src);
	return 0;
}
EXPORT_SYMBOL_GPL(filemap_migrate_folio);

/*
 * For a mapping without a migrate_folio method. Its private data is unknown, so
 * a folio can be moved only if it is clean and filemap_release_folio() drops
 * the private data. The first mapping of that kind that has a writepages method
 * is logged, because it should have a migrate_folio method as well. A dirty
 * folio may be written out and tried again, see mm/migrate_writeout.c.
 */
static int migrate_fallback(struct address_space *mapping, struct folio *dst,
			    struct folio *src, enum migrate_mode mode)
{
	if (mapping->a_ops->writepages)
		pr_info_once("no migrate_folio method: %ps\n", mapping->a_ops);

	if (folio_test_dirty(src))
		return -EBUSY;
	if (filemap_release_folio(src, GFP_KERNEL))
		return migrate_folio(mapping, dst, src, mode);

	/* The tries of the other modes would be over too soon to succeed. */
	return mode == MIGRATE_SYNC ? -EAGAIN : -EBUSY;
}

/* @mapping is NULL for a truncated folio, and for anonymous memory without swap cache. */
static int migrate_by_mapping(struct address_space *mapping, struct folio *dst,
			      struct folio *src, enum migrate_mode mode)
{
	if (!mapping)
		return migrate_folio(NULL, dst, src, mode);
	if (mapping_inaccessible(mapping))
		return -EOPNOTSUPP;
	if (mapping->a_ops->migrate_folio)
		return mapping->a_ops->migrate_folio(mapping, dst, src, mode);
	return migrate_fallback(mapping, dst, src, mode);
}

/**
 * migrate_folio_switch() - Copy a folio and replace it by the copy.
 * @src: The folio to move.
 * @dst: The folio to move to.
 * @mode: What the migrate_folio method of the mapping may wait for.
 *
 * Calls the migrate_folio method of the mapping if there is one.
 * @dst->migrate_info must be cleared before, as it shares its storage with the
 * private data and the swap entry.
 *
 * Context: Both folios are locked, and @src is unmapped and not under
 * writeback. May sleep.
 *
 * Return: 0 if @dst has replaced @src, -EAGAIN if @src has unexpected
 * references or has been mapped again, or another error if a retry is of no
 * use. After an error @src is still in its place, but the file system may have
 * dropped its private data, and the contents of @dst may have changed.
 */
int migrate_folio_switch(struct folio *src, struct folio *dst,
			 enum migrate_mode mode)
{
	int err;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(src), src);
	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(dst), dst);

	/* KSM and vm_insert_page() map a folio without its lock. */
	if (unlikely(folio_mapped(src)))
		return -EAGAIN;

	err = migrate_by_mapping(folio_mapping(src), dst, src, mode);
	if (err)
		return err;

	/*
	 * Freeing a file folio that has a mapping is a bug. An anonymous folio
	 * keeps its mapping, because freeing needs to know that it is
	 * anonymous.
	 */
	if (!folio_test_anon(src))
		src->mapping = NULL;

	if (!folio_is_zone_device(dst))
		flush_dcache_folio(dst);
	return 0;
}
