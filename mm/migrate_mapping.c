// SPDX-License-Identifier: GPL-2.0-only

/*
 * Copyright (C) 2006 Silicon Graphics, Inc., Christoph Lameter
 *
 * This file replaces a part of mm/migrate.c, whose authors were IWAMOTO Toshihiro,
 * Hirokazu Takahashi, Dave Hansen and Christoph Lameter.
 */

/*
 * How a new folio takes the place of an old one.
 *
 * Once nothing maps the old folio any more, one thing in the system may still
 * lead to it: a slot, which is an entry of the page cache or of the swap cache.
 * A folio that neither cache knows has no slot and only hands its identity on.
 *
 * The order is always the same:
 *
 *  1. compare the references with those that are accounted for
 *  2. copy the contents
 *  3. close the slot: i_pages lock or swap cluster lock, interrupts off
 *  4. freeze the references of the old folio
 *  5. identity, dirty state and slot go to the new folio
 *  6. thaw the old folio without the references that the slot had
 *  7. open the slot, move the counters, interrupts on
 *  8. flags, owner and memory cgroup follow
 *
 * Steps 1, 2 and 4 can fail, and up to there the old folio is where it was. From
 * step 5 on nothing can fail. Whoever looks the slot up without its lock sees
 * either folio. With the old one there is no reference to take before step 6;
 * after it the slot has changed, and whoever took one looks again.
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
 * What the first flag word says about the contents, their use and the list they
 * belong on. PG_mappedtodisk is PG_anon_exclusive in anonymous memory. There the
 * page table entries carry the state, but the first page of a large folio may
 * hold the flag without being mapped, and copying it then is harmless. PG_checked
 * shares its bit with PG_swapcache, which a new folio in the swap cache has
 * already, as a slot that was swapped has moved PG_dirty.
 */
#define MIGRATE_FLAGS_CARRIED						\
	(BIT(PG_uptodate) | BIT(PG_dirty) | BIT(PG_referenced) |	\
	 BIT(PG_workingset) | BIT(PG_checked) | BIT(PG_mappedtodisk) |	\
	 BIT(PG_active) | BIT(PG_unevictable))

/* Close the slot of @src. Returns the swap cluster, NULL for the page cache. */
static struct swap_cluster_info *migrate_slot_lock(struct address_space *mapping,
						   struct folio *src)
{
	if (folio_test_swapcache(src))
		return swap_cluster_get_and_lock_irq(src);

	xa_lock_irq(&mapping->i_pages);
	return NULL;
}

/* Open the slot again and leave it to the caller to enable interrupts. */
static void migrate_slot_unlock(struct address_space *mapping,
				struct swap_cluster_info *ci)
{
	if (ci)
		swap_cluster_unlock(ci);
	else
		xa_unlock(&mapping->i_pages);
}

/* Let the closed slot point to @dst. Marks belong to the slot and stay. */
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
 * Freezing is the last step that can fail. While nobody can get a reference,
 * take the folio off the queue of deferred splits: the shrinker there works on
 * a private list without a lock and is kept away by the missing reference only.
 * The queue is also chosen by memory cgroup, so this precedes its change.
 */
static bool migrate_freeze(struct folio *src, int refs)
{
	if (!folio_ref_freeze(src, refs))
		return false;

	folio_unqueue_deferred_split(src);
	return true;
}

/* Who the memory belongs to, and at which offset. */
static void migrate_identity(struct folio *src, struct folio *dst)
{
	dst->index = src->index;
	dst->mapping = src->mapping;
	if (folio_test_swapbacked(src))
		__folio_set_swapbacked(dst);

	/* Freeing takes src off this count, but nothing would put dst on it. */
	if (folio_test_anon(src) && !folio_test_hugetlb(src))
		mod_mthp_stat(folio_order(src), MTHP_STAT_NR_ANON, 1);
}

/* The references and the swap entry that come with being in a cache. */
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
 * The dirty bit moves while nobody can find either folio in an odd state: src
 * is frozen and dst not yet in the slot. The counters follow elsewhere.
 */
static bool migrate_dirty(struct folio *src, struct folio *dst)
{
	if (!folio_test_dirty(src))
		return false;

	folio_clear_dirty(src);
	folio_set_dirty(dst);
	return true;
}

/* Per node, and per memory cgroup and node. */
static void migrate_stat(struct lruvec *from, struct lruvec *to,
			 enum node_stat_item item, long nr)
{
	mod_lruvec_state(from, item, -nr);
	mod_lruvec_state(to, item, nr);
}

/* Per node alone: no memory cgroup counts this. */
static void migrate_node_stat(struct lruvec *from, struct lruvec *to,
			      enum node_stat_item item, long nr)
{
	__mod_node_page_state(lruvec_pgdat(from), item, -nr);
	__mod_node_page_state(lruvec_pgdat(to), item, nr);
}

/*
 * A folio of the swap cache is a file page for its node, but not for its memory
 * cgroup, which would be left with too many on one node and too few on another
 * when the folio leaves the cache.
 */
static void migrate_swap_stats(struct lruvec *from, struct lruvec *to, long nr)
{
	migrate_node_stat(from, to, NR_FILE_PAGES, nr);
#ifdef CONFIG_SWAP
	migrate_stat(from, to, NR_SWAPCACHE, nr);
#endif
}

/*
 * What filemap_unaccount_folio() and shmem take off when the folio leaves the
 * page cache, under the same conditions.
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
 * The folio has gone to another node. What counts mappings is not here: it goes
 * down with the last entry for src and up with the first one for dst.
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
 * Tell the counters where the cached memory went. @dirty asks for those that
 * writeback is throttled by; a mapping without writeback is not in them.
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
 * A folio that no cache holds. With the page tables out of the way nothing leads
 * to it but the deferred split queue, so only that queue asks for a freeze.
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

		/* The caller has one more, so this is not the last reference. */
		folio_ref_unfreeze(src, refs - folio_nr_pages(src));
	}
	migrate_slot_unlock(mapping, ci);

	/* Interrupts are still off: that is cheaper for so many counters. */
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
 * How many references @src has if nobody but its cache, its private data and
 * the caller holds one, or 0 if somebody else does. Speculative references come
 * and go, so this only saves work; the freeze decides.
 */
static int migrate_refs(struct folio *src, int extra)
{
	const int refs = folio_expected_ref_count(src) + extra + 1;

	return folio_ref_count(src) == refs ? refs : 0;
}

/**
 * folio_migrate_mapping() - Put a folio in the place of another.
 * @mapping: The address space that holds @src, NULL if none does.
 * @dst: The folio that takes the place. Not visible to anybody yet.
 * @src: The folio that is replaced.
 * @extra_count: References to @src which the caller has in addition to the
 *	one of its isolation.
 *
 * Neither contents nor flags other than dirty, swap backed and swap cache are
 * moved. The caller does that, folio_migrate_flags() coming last. @dst must
 * have the order of @src.
 *
 * Context: Both folios locked, @src mapped by no page table, interrupts
 * enabled (they are enabled on return, whatever they were before).
 *
 * Return: 0, or -EAGAIN if somebody else holds a reference to @src. Nothing
 * has changed then.
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

/* Flags that describe the memory and its use, all with one atomic operation. */
static void migrate_carry_flags(struct folio *src, struct folio *dst)
{
	/* A full barrier: the contents are there before PG_uptodate says so. */
	set_mask_bits(&dst->flags.f, 0,
		      READ_ONCE(src->flags.f) & MIGRATE_FLAGS_CARRIED);

	/* On 32-bit these two are not in the flag word. */
	if (folio_test_young(src))
		folio_set_young(dst);
	if (folio_test_idle(src))
		folio_set_idle(dst);
}

/* The list belongs to @dst now, and freeing takes offence at these flags. */
static void migrate_leave_lists(struct folio *src)
{
	VM_WARN_ON_ONCE_FOLIO(folio_test_active(src) && folio_test_unevictable(src), src);

	if (folio_test_active(src))
		folio_clear_active(src);
	if (folio_test_unevictable(src))
		folio_clear_unevictable(src);
}

/*
 * Who used the memory last, so that NUMA balancing does not move it at once
 * again. With memory tiering the field is a time stamp while the folio is in a
 * slow tier, which must not be mistaken for a CPU and a process or vice versa.
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
 * Make @src a folio that no cache and no file system knows. The KSM node moves
 * before the swap cache flag goes, as the flag is what keeps ksm_get_folio()
 * from giving up a node whose folio is frozen.
 */
static void migrate_detach(struct folio *src, struct folio *dst)
{
	if (folio_test_ksm(src))
		folio_migrate_ksm(dst, src);

	if (folio_test_swapcache(src))
		folio_clear_swapcache(src);
	if (folio_test_private(src))
		folio_clear_private(src);

	/* hugetlb keeps flags there, and moves them in its own way. */
	if (!folio_test_hugetlb(src))
		src->private = NULL;
}

/**
 * folio_migrate_flags() - Let a folio inherit the state of another.
 * @dst: The folio that inherits.
 * @src: The folio that has been replaced.
 *
 * Moves flags, reclaim and NUMA history, the KSM node, the page owner, the
 * allocation tag and the memory cgroup, and clears the private data of @src.
 * A file system that wants to keep its private data detaches it before.
 *
 * Context: Both folios locked, after folio_migrate_mapping() has succeeded and
 * before either folio is unlocked.
 */
void folio_migrate_flags(struct folio *dst, struct folio *src)
{
	migrate_carry_flags(src, dst);
	folio_migrate_refs(dst, src);
	migrate_leave_lists(src);
	migrate_last_cpupid(src, dst);
	migrate_detach(src, dst);

	/* Somebody may already wait for writeback of the new folio. */
	if (folio_test_writeback(dst))
		folio_end_writeback(dst);

	/* PG_readahead is PG_reclaim, which the end of writeback clears. */
	if (folio_test_readahead(src))
		folio_set_readahead(dst);

	folio_copy_owner(dst, src);
	pgalloc_tag_swap(dst, src);
	mem_cgroup_migrate(src, dst);
}
EXPORT_SYMBOL(folio_migrate_flags);

/* Steps 1 to 7 for a folio to which only the caller adds a reference. */
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
 * @mapping: The hugetlbfs mapping that holds @src.
 * @dst: The folio that takes the place.
 * @src: The folio that is replaced.
 *
 * folio_migrate_flags() is left to the caller, who has to move more than that.
 *
 * Context: Both folios locked, @src mapped by no page table. May sleep.
 *
 * Return: 0, -EAGAIN if somebody else holds a reference to @src, or -EHWPOISON
 * if @src could not be read.
 */
int migrate_huge_page_move_mapping(struct address_space *mapping,
				   struct folio *dst, struct folio *src)
{
	return migrate_copy_and_place(mapping, src, dst);
}

/**
 * migrate_folio() - Migrate a folio that has no private data.
 * @mapping: The address space that holds @src, NULL if none does.
 * @dst: The folio to move to.
 * @src: The folio to move.
 * @mode: Not used: nothing here waits for anybody.
 *
 * Context: Both folios locked, @src mapped by no page table and not under
 * writeback. May sleep.
 *
 * Return: 0, -EAGAIN if somebody else holds a reference to @src, -EHWPOISON if
 * @src could not be read, or -EBUSY if it is under writeback after all.
 */
int migrate_folio(struct address_space *mapping, struct folio *dst,
		  struct folio *src, enum migrate_mode mode)
{
	int err;

	/* The device would go on reading pages that are given away. */
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
 * @mapping: The address space that holds @src, NULL if none does.
 * @dst: The folio to move to.
 * @src: The folio to move.
 * @mode: Not used: nothing here waits for anybody.
 *
 * For file systems whose private data means the same wherever the folio is, and
 * is followed under the folio lock only.
 *
 * Context: Both folios locked, @src mapped by no page table and not under
 * writeback. May sleep.
 *
 * Return: 0, -EAGAIN if somebody else holds a reference to @src, or -EHWPOISON
 * if @src could not be read.
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
 * For a mapping that brings no method: what it keeps in the folio is unknown, so
 * only a clean folio that it parts from can go. Whoever can write folios back
 * has reason to bring a method, and is named once; until it does, those who can
 * wait write its folios out, see mm/migrate_writeout.c.
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

	/* Only who may wait for long has something to gain from a retry. */
	return mode == MIGRATE_SYNC ? -EAGAIN : -EBUSY;
}

/* Anonymous memory without a swap entry is the only kind without a mapping. */
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
 * migrate_folio_switch() - Copy a folio and let the copy replace it.
 * @src: The folio to move.
 * @dst: The folio to move to.
 * @mode: How long the owner of the mapping may wait.
 *
 * Asks the swap cache, the file system or nobody, depending on what @src is.
 * Nothing of the engine's may be left in @dst->migrate_info: the field is the
 * one for private data and for the swap entry.
 *
 * Context: Both folios locked, @src unmapped and not under writeback. May sleep.
 *
 * Return: 0, and @dst has all that @src had. -EAGAIN if @src is held by somebody
 * who may let go of it, or has been mapped again. Any other error is one that does
 * not go away by trying again. After an error @src is where it was; its owner may
 * have dropped its private data, and @dst may have been written to.
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

	/* A file folio must not be freed with it, an anonymous one stays so. */
	if (!folio_test_anon(src))
		src->mapping = NULL;

	if (!folio_is_zone_device(dst))
		flush_dcache_folio(dst);
	return 0;
}
