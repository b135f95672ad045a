// SPDX-License-Identifier: GPL-2.0-only

/*
 * Copyright (C) 2006 Silicon Graphics, Inc., Christoph Lameter
 *
 * The first authors of page migration were IWAMOTO Toshihiro, Hirokazu Takahashi,
 * Dave Hansen and Christoph Lameter, who needed it for memory hotplug.
 */

/*
 * Page migration: move a list of isolated folios through the phases that
 * mm/migrate.h describes.
 *
 * migrate_pages(), at the end of the file, cuts the list into slices of at most
 * one PMD's worth of memory. A slice is processed as one batch: all its folios
 * are unmapped, the TLBs are flushed once, and all its folios are moved. If the
 * mode allows waiting, the folios that remain are tried again one by one,
 * because a task must not wait while it holds another folio lock.
 *
 * Each step on a folio returns an enum migrate_outcome. migrate_account() moves
 * the folio between the lists and counts it.
 */
#include <linux/buffer_head.h>
#include <linux/cpuset.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/hugetlb.h>
#include <linux/mm_inline.h>
#include <linux/page_owner.h>
#include <linux/rmap.h>
#include <linux/sched.h>
#include <linux/swap.h>
#include <linux/vmstat.h>
#include <linux/writeback.h>

#include <trace/events/kmem.h>
#include <trace/events/migrate.h>

#include "internal.h"
#include "migrate.h"
#include "page_alloc.h"

#define CREATE_TRACE_POINTS
#include "migrate_trace.h"

/*
 * Number of base pages that may be unmapped at the same time. A task that
 * accesses one of them blocks until it is moved, so this must not depend on the
 * length of the list.
 */
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
#define MIGRATE_SLICE_PAGES	HPAGE_PMD_NR
#else
#define MIGRATE_SLICE_PAGES	512
#endif

/* Above this number of pages, flush the whole TLB instead of single entries. */
#define MIGRATE_FLUSH_PAGES	33

/*
 * Delay before the next try to unmap. Without it, all tries would be over
 * before a page fault releases a folio lock. The delay is about the time that
 * it takes to allocate and free a target, which migrate_is_busy() avoids.
 */
#define MIGRATE_PAUSE_NS	500

/* ------------------------------------------------ isolation and putting back */

/**
 * isolate_folio_to_list - isolate a folio for migration
 * @folio: LRU folio, hugetlb folio or page with movable_operations.
 * @list: List to add @folio to.
 *
 * Isolation takes a reference to @folio. A folio from the LRU is added to the
 * isolated count of its node.
 *
 * Context: May sleep. The caller must hold a reference to @folio, unless it is
 * a hugetlb folio.
 * Return: true if @folio was isolated and is on @list.
 */
bool isolate_folio_to_list(struct folio *folio, struct list_head *list)
{
	if (folio_test_hugetlb(folio))
		return folio_isolate_hugetlb(folio, list);

	if (unlikely(page_has_movable_ops(&folio->page))) {
		if (!isolate_movable_ops_page(&folio->page, ISOLATE_UNEVICTABLE))
			return false;
	} else if (folio_isolate_lru(folio)) {
		migrate_count_isolated(folio, folio_nr_pages(folio));
	} else {
		return false;
	}

	list_add(&folio->lru, list);
	return true;
}

/**
 * putback_movable_pages - undo the isolation of folios
 * @l: List of isolated folios of every kind; empty on return.
 *
 * Puts each folio back to where it was isolated from (the LRU, the active list
 * of its hstate, its driver) and drops the reference of the isolation.
 *
 * Context: May sleep. The caller must not hold the lock of any of the folios.
 */
void putback_movable_pages(struct list_head *l)
{
	struct folio *folio, *next;

	list_for_each_entry_safe(folio, next, l, lru) {
		if (unlikely(folio_test_hugetlb(folio))) {
			folio_putback_hugetlb(folio);
			continue;
		}

		list_del(&folio->lru);
		if (unlikely(page_has_movable_ops(&folio->page))) {
			putback_movable_ops_page(&folio->page);
			continue;
		}
		migrate_count_isolated(folio, -folio_nr_pages(folio));
		folio_putback_lru(folio);
	}
}

/* ------------------------------------------------------------------- targets */

static struct folio *
alloc_hugetlb_target(struct folio *src, int nid,
		     const struct migration_target_control *mtc)
{
	struct hstate *h = folio_hstate(src);
	gfp_t gfp = htlb_modify_alloc_mask(h, mtc->gfp_mask);
	bool may_fall_back = htlb_allow_alloc_fallback(mtc->reason);

	return alloc_hugetlb_folio_nodemask(h, nid, mtc->nmask, gfp,
					    may_fall_back);
}

static int migrate_target_nid(const struct folio *src,
			      const struct migration_target_control *mtc)
{
	return mtc->nid == NUMA_NO_NODE ? folio_nid(src) : mtc->nid;
}

/* The target of a folio in ZONE_MOVABLE or highmem may be in highmem as well. */
static gfp_t migrate_target_gfp(const struct folio *src,
				const struct migration_target_control *mtc)
{
	enum zone_type zone = folio_zonenum(src);

	if (zone == ZONE_MOVABLE || is_highmem_idx(zone))
		return mtc->gfp_mask | __GFP_HIGHMEM;
	return mtc->gfp_mask;
}

/**
 * alloc_migration_target - allocate a target, for callers without special needs
 * @src: The folio to be migrated.
 * @private: Address of a struct migration_target_control.
 *
 * A &new_folio_t callback that may also be called directly. The target has the
 * size of @src. The preferred node is &migration_target_control.nid, or the
 * node of @src if that is NUMA_NO_NODE.
 *
 * Context: May sleep if the gfp mask allows it. @src is not locked.
 * Return: A folio with one reference, or NULL.
 */
struct folio *alloc_migration_target(struct folio *src, unsigned long private)
{
	const struct migration_target_control *mtc = (void *)private;
	int nid = migrate_target_nid(src, mtc);
	gfp_t gfp = migrate_target_gfp(src, mtc);

	if (folio_test_hugetlb(src))
		return alloc_hugetlb_target(src, nid, mtc);

	/* Reclaim and compact for a large target as a THP fault does. */
	if (folio_test_large(src))
		gfp = (gfp & ~__GFP_RECLAIM) | GFP_TRANSHUGE;

	return __folio_alloc(gfp, folio_order(src), nid, mtc->nmask);
}

static void migrate_spares_put(struct migrate_spares *spares)
{
	while (spares->next < spares->nr)
		__free_page(spares->page[spares->next++]);
}

/* Number of small folios that follow each other on the list, from @src on. */
static unsigned int migrate_spares_wanted(const struct migrate_batch *batch,
					  struct folio *src)
{
	unsigned int nr = 0;

	list_for_each_entry_from(src, &batch->todo, lru) {
		if (folio_test_large(src) || ++nr == MIGRATE_SPARES)
			break;
	}
	return nr;
}

/*
 * Does a bulk allocation return the same pages as single allocations? It does
 * not if
 *
 * - the allocation may leave the cpuset, as that for memory offlining and for
 *   contiguous ranges may: alloc_pages_bulk() adds __GFP_HARDWALL, while a
 *   single allocation drops it after the first try;
 * - the pages must not be taken from page blocks of another type. That holds for
 *   pages that are not movable, which fragment a movable block for as long as
 *   they exist, and for all pages in defrag_mode;
 * - the tracepoint mm_page_alloc is enabled, which must record each page.
 */
static bool migrate_may_bulk(gfp_t gfp)
{
	if (cpusets_enabled() && !(gfp & __GFP_HARDWALL))
		return false;
	return (gfp & __GFP_MOVABLE) && !defrag_mode &&
	       !trace_mm_page_alloc_enabled();
}

/*
 * Taking pages from a block of another type boosts the watermarks, so that
 * kswapd reclaims memory in blocks of the right type. Single allocations wake
 * kswapd for that, bulk allocations do not.
 */
static void migrate_wake_kswapd(struct zone *zone, gfp_t gfp)
{
	if (unlikely(zone->watermark_boost) && (gfp & __GFP_KSWAPD_RECLAIM))
		wakeup_kswapd(zone, 0, 0, zone_idx(zone));
}

/* Returns a spare, or NULL if none is left. */
static struct page *migrate_spare(struct migrate_spares *spares)
{
	struct page *page;

	while (spares->next < spares->nr) {
		page = spares->page[spares->next++];
		if (likely(!PageHWPoison(page)))
			return page;
		/* Poisoned since it was allocated: the allocator discards it. */
		__free_page(page);
	}
	return NULL;
}

/*
 * Like alloc_migration_target() for @nr small folios. __alloc_pages_bulk()
 * falls back to a single page, and to reclaim, if the watermarks do not allow
 * more.
 */
static struct page *migrate_alloc_spares(struct migrate_batch *batch,
					 unsigned int nr, int nid, gfp_t gfp)
{
	struct migrate_spares *spares = &batch->run->spares;
	const struct migration_target_control *mtc =
		(void *)batch->run->mc->private;

	spares->nid = nid;
	spares->gfp = gfp;
	spares->next = 0;
	memset(spares->page, 0, sizeof(spares->page));
	spares->nr = __alloc_pages_bulk(gfp, nid, mtc->nmask, nr, spares->page);
	if (spares->nr)
		migrate_wake_kswapd(page_zone(spares->page[0]), gfp);
	return migrate_spare(spares);
}

/* Get the target of a small folio in place of alloc_migration_target(). */
static struct folio *migrate_take_spare(struct migrate_batch *batch,
					struct folio *src)
{
	const struct migrate_control *mc = batch->run->mc;
	struct migrate_spares *spares = &batch->run->spares;
	const struct migration_target_control *mtc = (void *)mc->private;
	int nid = migrate_target_nid(src, mtc);
	gfp_t gfp = migrate_target_gfp(src, mtc);
	struct page *page;
	unsigned int nr;

	if (spares->nid != nid || spares->gfp != gfp)
		migrate_spares_put(spares);

	page = migrate_spare(spares);
	if (!page) {
		nr = migrate_spares_wanted(batch, src);
		if (nr == 1 || !migrate_may_bulk(gfp))
			return mc->get_new_folio(src, mc->private);
		page = migrate_alloc_spares(batch, nr, nid, gfp);
	}
	return page ? page_folio(page) : NULL;
}

static struct folio *migrate_get_target(struct migrate_batch *batch,
					struct folio *src)
{
	const struct migrate_run *run = batch->run;
	const struct migrate_control *mc = run->mc;

	/* The last allocation failed after reclaim. Do not reclaim for each folio. */
	if (run->no_target && (run->resorts & MIGRATE_SWAP_OUT) &&
	    !folio_test_large(src))
		return NULL;
	if (mc->get_new_folio == alloc_migration_target &&
	    !folio_test_large(src))
		return migrate_take_spare(batch, src);
	return mc->get_new_folio(src, mc->private);
}

/**
 * migrate_put_target - free a target that was not used
 * @mc: The request.
 * @pair: The pair. Its target must be unlocked and is NULL on return.
 *
 * Context: May sleep.
 */
void migrate_put_target(const struct migrate_control *mc,
			struct migrate_pair *pair)
{
	if (mc->put_new_folio)
		mc->put_new_folio(pair->dst, mc->private);
	else
		folio_put(pair->dst);
	pair->dst = NULL;
}

/* --------------------------------------------------------------------- pairs */

/**
 * migrate_pair_init - initialise the pair of a source without a target
 * @pair: Pair to be initialised.
 * @src: Isolated folio.
 *
 * Context: Any.
 */
void migrate_pair_init(struct migrate_pair *pair, struct folio *src)
{
	pair->src = src;
	pair->dst = NULL;
	pair->anon_vma = NULL;
	pair->was = 0;
	pair->nr_pages = folio_nr_pages(src);
	pair->is_thp = folio_test_pmd_mappable(src);
	pair->cause = MIGRATE_CAUSE_NONE;
}

/* Store in the target what the next phase needs and cannot read from the source. */
static void migrate_pair_store(const struct migrate_pair *pair)
{
	pair->dst->migrate_info = (unsigned long)pair->anon_vma;
	pair->dst->index = pair->was;
}

/* Inverse of migrate_pair_store(). Clears the members of the target it used. */
static void migrate_pair_load(struct migrate_pair *pair, struct folio *src)
{
	struct folio *dst = list_next_entry(src, lru);

	migrate_pair_init(pair, src);
	pair->dst = dst;
	pair->anon_vma = (struct anon_vma *)dst->migrate_info;
	pair->was = dst->index;
	dst->migrate_info = 0;
	dst->index = 0;
}

/**
 * migrate_fail - decide whether a failed step is retried
 * @pair: The pair; records @cause.
 * @cause: Why the step failed.
 *
 * Locks, faults in progress and references usually last for a short time only.
 * Pins are retried as well. A pin for I/O may last, but get_user_pages() drops
 * its pin soon if it lost a race or is about to migrate the folio for a
 * long-term pin, and the two cases look the same.
 *
 * Context: Any.
 * Return: MIGRATE_RETRY, MIGRATE_NOMEM or MIGRATE_FAILED.
 */
enum migrate_outcome migrate_fail(struct migrate_pair *pair,
				  enum migrate_cause cause)
{
	pair->cause = cause;

	switch (cause) {
	case MIGRATE_CAUSE_LOCKED:
	case MIGRATE_CAUSE_BUFFERS:
	case MIGRATE_CAUSE_MAPPED:
	case MIGRATE_CAUSE_REFS:
	case MIGRATE_CAUSE_PINNED:
		return MIGRATE_RETRY;
	case MIGRATE_CAUSE_NOMEM:
		return MIGRATE_NOMEM;
	default:
		return MIGRATE_FAILED;
	}
}

/*
 * The pins of a folio without a pincount are part of its reference count.
 * Subtract the references of the mappings, as many of them would look like
 * pins.
 */
static bool migrate_is_pinned(struct folio *folio)
{
	if (folio_has_pincount(folio))
		return folio_maybe_dma_pinned(folio);
	return folio_ref_count(folio) - folio_mapcount(folio) >=
	       GUP_PIN_COUNTING_BIAS;
}

/**
 * migrate_switch_outcome - decide whether a failed move is retried
 * @pair: The pair; records the cause.
 * @err: 0 or the negative errno of the move.
 *
 * Context: Any.
 * Return: MIGRATE_DONE, MIGRATE_RETRY or MIGRATE_FAILED.
 */
enum migrate_outcome migrate_switch_outcome(struct migrate_pair *pair, int err)
{
	if (!err)
		return MIGRATE_DONE;
	if (err != -EAGAIN)
		return migrate_fail(pair, MIGRATE_CAUSE_REFUSED);
	if (pair->was & MIGRATE_IS_MOVABLE_OPS)
		return migrate_fail(pair, MIGRATE_CAUSE_REFS);
	if (folio_mapped(pair->src))
		return migrate_fail(pair, MIGRATE_CAUSE_MAPPED);
	return migrate_fail(pair, migrate_is_pinned(pair->src) ?
			    MIGRATE_CAUSE_PINNED : MIGRATE_CAUSE_REFS);
}

/* ---------------------------------------------------------------- accounting */

static void migrate_tally_pair(struct migrate_tally *tally,
			       const struct migrate_pair *pair)
{
	tally->folios++;
	tally->thps += pair->is_thp;
	tally->pages += pair->nr_pages;
}

static void migrate_uncount_isolated(struct migrate_run *run,
				     const struct migrate_pair *pair)
{
	/* Reclaim maintains the isolated counts of demoted folios. */
	if (run->mc->reason != MR_DEMOTION)
		migrate_isolated_mod(&run->isolated, pair->src,
				     -(long)pair->nr_pages);
}

/* Drop a source that has been replaced, or that its last user has freed. */
static void migrate_release(struct migrate_run *run, struct migrate_pair *pair)
{
	struct folio *src = pair->src;

	if (unlikely(pair->was & MIGRATE_IS_HUGETLB)) {
		folio_putback_hugetlb(src);
		return;
	}

	list_del(&src->lru);
	if (likely(!(pair->was & MIGRATE_IS_MOVABLE_OPS)))
		migrate_uncount_isolated(run, pair);

	/* A poisoned page must not be freed: page_handle_poison() puts it. */
	if (unlikely(run->mc->reason == MR_MEMORY_FAILURE))
		return;
	if (folio_test_large(src))
		folio_put(src);
	else if (!folio_batch_add(&run->unused, src))
		folios_put(&run->unused);
}

/**
 * migrate_account - account for the result of a step
 * @batch: Batch that the folio belongs to.
 * @pair: The pair that the step worked on.
 * @outcome: Result of the step.
 *
 * Moves the source to the list that @outcome demands, links the target after
 * it if the pair stays unmapped, and counts the folio.
 *
 * Context: May sleep. The folios of @pair are unlocked, unless @outcome is
 * MIGRATE_NEXT, or MIGRATE_RETRY with a target.
 */
void migrate_account(struct migrate_batch *batch, struct migrate_pair *pair,
		     enum migrate_outcome outcome)
{
	struct migrate_run *run = batch->run;
	struct folio *src = pair->src;

	switch (outcome) {
	case MIGRATE_NEXT:
		migrate_pair_store(pair);
		list_move_tail(&src->lru, &batch->pairs);
		list_add(&pair->dst->lru, &src->lru);
		break;
	case MIGRATE_DONE:
		migrate_tally_pair(&run->nr_done, pair);
		migrate_release(run, pair);
		break;
	case MIGRATE_SPLIT:
		migrate_tally_pair(&run->nr_split, pair);
		run->nr_failed.folios++;
		run->nr_failed.thps += pair->is_thp;
		list_move_tail(&src->lru, &run->split);
		break;
	case MIGRATE_RETRY:
		trace_mm_migrate_folio_failed(pair, true, batch->mode,
					      run->mc->reason);
		migrate_tally_pair(&batch->nr_retry, pair);
		if (pair->dst) {
			migrate_pair_store(pair);
			list_add(&pair->dst->lru, &src->lru);
		}
		break;
	case MIGRATE_NOMEM:
	case MIGRATE_FAILED:
		trace_mm_migrate_folio_failed(pair, false, batch->mode,
					      run->mc->reason);
		if (batch->aside && migrate_may_help(run, pair)) {
			list_move_tail(&src->lru, batch->aside);
			break;
		}
		migrate_tally_pair(&batch->nr_failed, pair);
		list_move_tail(&src->lru, &batch->failed);
		break;
	}
}

/**
 * migrate_batch_end - account for the folios that a batch did not move
 * @batch: Batch without unmapped folios.
 * @err: 0, or the error that ended the batch early.
 *
 * If the batch is the final one, or @err is not 0, the folios are moved to
 * &migrate_run.failed and counted. Otherwise all of them are on @batch->todo on
 * return, for the next batch, and are not counted.
 *
 * Context: Any.
 */
void migrate_batch_end(struct migrate_batch *batch, int err)
{
	struct migrate_run *run = batch->run;

	migrate_isolated_flush(&run->isolated);
	folios_put(&run->unused);
	if (!err && !batch->is_final) {
		list_splice_tail_init(&batch->failed, &batch->todo);
		return;
	}

	migrate_tally_join(&run->nr_failed, &batch->nr_failed);
	list_splice_tail_init(&batch->failed, &run->failed);
	list_splice_tail_init(&batch->todo, &run->failed);
}

/* --------------------------------------------- large folios: deferred splits */

/*
 * While a large anonymous folio is unmapped from several page tables, rmap may
 * see it as partially mapped, mark it, and queue it for a deferred split. The
 * functions below prevent that from lasting: the state before unmapping is
 * saved, and is set for the target, or for the source again if it stays.
 *
 * A part of the folio can also be unmapped by others in the meantime. rmap does
 * not notice that where the part is mapped by migration entries. So the
 * mapcount is checked after the page tables have been restored.
 */
static unsigned long migrate_deferral(struct folio *folio)
{
	unsigned long was = 0;

	if (folio_order(folio) <= 1 || !folio_test_anon(folio))
		return 0;
	/* Without the lock of the queue: the shrinker may move the folio now. */
	if (!data_race(list_empty(&folio->_deferred_list)))
		was |= MIGRATE_WAS_QUEUED;
	if (folio_test_partially_mapped(folio))
		was |= MIGRATE_WAS_PARTIAL;
	return was;
}

static bool migrate_partly_mapped(const struct folio *folio)
{
	int nr_mapped;

	if (folio_entire_mapcount(folio))
		return false;
	if (IS_ENABLED(CONFIG_NO_PAGE_MAPCOUNT))
		nr_mapped = folio_large_mapcount(folio);
	else
		nr_mapped = folio_nr_pages_mapped(folio);
	return nr_mapped && nr_mapped < folio_large_nr_pages(folio);
}

/* Set the saved state of the source for @folio. */
static void migrate_defer_again(const struct migrate_pair *pair,
				struct folio *folio)
{
	if (pair->was & (MIGRATE_WAS_QUEUED | MIGRATE_WAS_PARTIAL))
		deferred_split_folio(folio, pair->was & MIGRATE_WAS_PARTIAL);
}

/*
 * Remove the mark that unmapping has set on a source that stays.
 *
 * The source is locked. If it is not mapped, nobody else can mark it, and it
 * may be removed from the queue if freezing its references shows that the
 * shrinker has none. Otherwise only the mark is cleared. The folio may remain
 * on the queue: the shrinker checks it once, like any folio that may be
 * underused. If a part is unmapped while the mark is cleared,
 * migrate_mark_if_partial() sets it again.
 */
static void migrate_unmark_src(const struct migrate_pair *pair)
{
	struct folio *src = pair->src;
	int refs = folio_expected_ref_count(src) + 1;

	if (!folio_mapped(src) && folio_ref_freeze(src, refs)) {
		folio_unqueue_deferred_split(src);
		folio_ref_unfreeze(src, refs);
		migrate_defer_again(pair, src);
	}
	if (folio_test_partially_mapped(src)) {
		folio_clear_partially_mapped(src);
		mod_mthp_stat(folio_order(src),
			      MTHP_STAT_NR_ANON_PARTIALLY_MAPPED, -1);
		/*
		 * Pairs with the atomic operation on the mapcount that precedes
		 * the test of the mark in folio_remove_rmap_ptes().
		 */
		smp_mb__after_atomic();
	}
}

/* Called after the page tables are restored: some parts may have been unmapped. */
static void migrate_mark_if_partial(struct folio *folio)
{
	if (folio_test_large(folio) && folio_test_anon(folio) &&
	    migrate_partly_mapped(folio))
		deferred_split_folio(folio, true);
}

/* ---------------------------------------------------------------- locking src */

/*
 * Wait for the lock of the source if the mode allows it.
 *
 * Direct reclaim and direct compaction must not wait, because their task may
 * hold the lock itself: readahead locks the folios that it adds to the page
 * cache, and may then have to allocate the next one.
 */
static bool migrate_wait_lock(struct migrate_batch *batch, struct folio *src)
{
	if (batch->mode == MIGRATE_ASYNC || (current->flags & PF_MEMALLOC))
		return false;
	if (batch->mode == MIGRATE_SYNC)
		return migrate_wait_locked(batch->run, src);
	/* Not uptodate: the lock is held until the folio has been read. */
	return folio_test_uptodate(src) && !folio_lock_killable(src);
}

static bool migrate_lock_src(struct migrate_batch *batch, struct folio *src)
{
	return likely(folio_trylock(src)) || migrate_wait_lock(batch, src);
}

/* ------------------------------------------------------------ splitting large */

/*
 * Split a large folio instead of moving it. migrate_pieces() tries the pieces
 * later, and allocates a target for each.
 */
static int migrate_split(struct migrate_batch *batch, struct folio *folio)
{
	int err;

	if (!migrate_lock_src(batch, folio))
		return -EAGAIN;
	err = split_folio_to_list(folio, &batch->run->split);
	folio_unlock(folio);
	return err;
}

/*
 * Split a large folio before it is moved if it is partially mapped and queued
 * for a deferred split, because the target would contain unused pages. Split it
 * as well if a PMD can map it but the architecture has no migration entry for a
 * PMD. A partially mapped folio that cannot be split is moved as a whole.
 */
static enum migrate_outcome migrate_presplit(struct migrate_batch *batch,
					     struct migrate_pair *pair)
{
	struct folio *src = pair->src;

	/* migrate_hugetlbs() has taken these off the list. */
	if (WARN_ON_ONCE(folio_test_hugetlb(src)))
		return migrate_fail(pair, MIGRATE_CAUSE_REFUSED);

	if (unlikely(folio_test_partially_mapped(src)) &&
	    migrate_deferral(src) & MIGRATE_WAS_QUEUED &&
	    !migrate_split(batch, src))
		return MIGRATE_SPLIT;

	if (thp_migration_supported() || !pair->is_thp)
		return MIGRATE_NEXT;
	if (!migrate_split(batch, src))
		return MIGRATE_SPLIT;
	return migrate_fail(pair, MIGRATE_CAUSE_REFUSED);
}

/*
 * No target could be allocated. This ends the call unless the call may swap
 * out. In that case only this folio fails, as the others may be swapped out.
 */
static enum migrate_outcome migrate_target_failed(struct migrate_run *run,
						  struct migrate_pair *pair)
{
	enum migrate_outcome outcome = migrate_fail(pair,
						    MIGRATE_CAUSE_NOMEM);

	if (!(run->resorts & MIGRATE_SWAP_OUT))
		return outcome;
	if (!folio_test_large(pair->src))
		run->no_target = true;
	if (!migrate_may_swap_out(run->resorts, pair->src))
		run->enomem = true;
	return MIGRATE_FAILED;
}

/*
 * No target could be allocated. Split a large folio, as there may be targets
 * for its pieces, but do not split a THP for NUMA balancing, which is only an
 * optimisation. A long-term pin fails if the folio stays where it is, so a
 * split that fails temporarily is retried for it.
 */
static enum migrate_outcome migrate_no_target(struct migrate_batch *batch,
					      struct migrate_pair *pair)
{
	enum migrate_reason reason = batch->run->mc->reason;
	int err;

	if (!folio_test_large(pair->src) || reason == MR_NUMA_MISPLACED)
		return migrate_target_failed(batch->run, pair);

	err = migrate_split(batch, pair->src);
	if (!err)
		return MIGRATE_SPLIT;
	if (err == -EAGAIN && reason == MR_LONGTERM_PIN)
		return migrate_fail(pair, MIGRATE_CAUSE_LOCKED);
	return migrate_target_failed(batch->run, pair);
}

/* ------------------------------------------------------------------ unmapping */

/* A KSM folio has a stable node in place of an anon_vma. */
static bool migrate_has_anon_vma(const struct folio *src)
{
	return folio_test_anon(src) && !folio_test_ksm(src);
}

/*
 * Restoring the page tables walks the anon_vma of an anonymous folio, but the
 * anon_vma can be freed once the folio is not mapped any more. So hold a
 * reference. The batch holds one for all folios that have the same anon_vma as
 * the first; any other pair holds its own. KSM folios have no anon_vma, and
 * files do not need one.
 *
 * The folio can lose its last mapping at any time, so this precedes the test of
 * the mapcount. folio_get_anon_vma() fails only if the folio is not mapped, and
 * it cannot be mapped again as it is locked. If its anon_vma has been freed and
 * reused as the one of the batch, the comparison succeeds by accident. That
 * does no harm, because a folio that is not mapped needs no reference.
 */
static void migrate_get_anon_vma(struct migrate_batch *batch,
				 struct migrate_pair *pair)
{
	struct folio *src = pair->src;
	struct anon_vma *anon_vma;

	if (batch->anon_vma && folio_anon_vma(src) == batch->anon_vma)
		return;
	if (!migrate_has_anon_vma(src))
		return;

	anon_vma = folio_get_anon_vma(src);
	if (batch->anon_vma)
		pair->anon_vma = anon_vma;
	else
		batch->anon_vma = anon_vma;
}

/* Can the rmap of the source be walked after the source has been unmapped? */
static bool migrate_rmap_is_held(const struct migrate_batch *batch,
				 const struct migrate_pair *pair)
{
	const struct anon_vma *anon_vma;

	/* The folio lock protects the file mapping and the KSM stable node. */
	if (!migrate_has_anon_vma(pair->src))
		return true;
	anon_vma = pair->anon_vma ? : batch->anon_vma;
	return anon_vma && anon_vma == folio_anon_vma(pair->src);
}

/* The source is mapped, and migrate_get_anon_vma() has been called for it. */
static void migrate_install_entries(struct migrate_batch *batch,
				    struct migrate_pair *pair)
{
	struct folio *src = pair->src;

	VM_WARN_ON_ONCE_FOLIO(!migrate_rmap_is_held(batch, pair), src);

	if (folio_test_large(src))
		pair->was |= migrate_deferral(src);
	try_to_migrate(src, batch->flush);
	pair->was |= MIGRATE_WAS_MAPPED;
	if (folio_test_large(src) && folio_test_partially_mapped(src) &&
	    !(pair->was & MIGRATE_WAS_PARTIAL))
		pair->was |= MIGRATE_GOT_MARKED;
}

/*
 * Replace every mapping of the source by a migration entry.
 *
 * A folio whose ->mapping is NULL has no rmap:
 *
 * - A new folio in the swap cache is not mapped and can be moved.
 * - A truncated folio may be kept by its buffers. They are dropped here, and the
 *   next try finds that the folio has no other user.
 * - A truncated folio that somebody holds a reference to may have been mapped by
 *   vm_insert_page(), for example by TCP receive zerocopy. The rmap does not
 *   find these page table entries, so the folio cannot be moved.
 */
static enum migrate_outcome migrate_unmap_src(struct migrate_batch *batch,
					      struct migrate_pair *pair)
{
	struct folio *src = pair->src;

	if (likely(src->mapping)) {
		migrate_get_anon_vma(batch, pair);
		if (folio_mapped(src))
			migrate_install_entries(batch, pair);
	} else if (folio_test_private(src)) {
		try_to_free_buffers(src);
		return migrate_fail(pair, MIGRATE_CAUSE_BUFFERS);
	}

	if (!folio_mapped(src))
		return MIGRATE_NEXT;
	return migrate_fail(pair, migrate_is_pinned(src) ?
			    MIGRATE_CAUSE_PINNED : MIGRATE_CAUSE_MAPPED);
}

/* Do not retry after a wait that had a limit. */
static enum migrate_outcome migrate_not_locked(const struct migrate_batch *batch,
					       struct migrate_pair *pair)
{
	enum migrate_outcome outcome = migrate_fail(pair, MIGRATE_CAUSE_LOCKED);

	if (batch->mode == MIGRATE_SYNC && batch->run->mc->patience)
		return MIGRATE_FAILED;
	return outcome;
}

/*
 * Lock both folios and unmap the source.
 *
 * Only a batch with MIGRATE_SYNC waits for writeback. Any other batch does not
 * retry, because its tries would be over before the I/O completes.
 */
static enum migrate_outcome migrate_unmap(struct migrate_batch *batch,
					  struct migrate_pair *pair)
{
	struct folio *src = pair->src;

	if (!migrate_lock_src(batch, src))
		return migrate_not_locked(batch, pair);
	pair->was |= MIGRATE_SRC_LOCKED;
	if (folio_test_mlocked(src))
		pair->was |= MIGRATE_WAS_MLOCKED;

	if (folio_test_writeback(src)) {
		if (batch->mode != MIGRATE_SYNC ||
		    !migrate_wait_writeback(batch->run, src))
			return migrate_fail(pair, MIGRATE_CAUSE_WRITEBACK);
	}

	/* Nobody else uses the target, but a pfn walker may lock it for a moment. */
	if (unlikely(!folio_trylock(pair->dst)))
		return migrate_fail(pair, MIGRATE_CAUSE_LOCKED);
	pair->was |= MIGRATE_DST_LOCKED;

	if (unlikely(pair->was & MIGRATE_IS_MOVABLE_OPS))
		return MIGRATE_NEXT;
	return migrate_unmap_src(batch, pair);
}

/* Restore the mappings of the source, unlock both folios, and put the target. */
static void migrate_undo(const struct migrate_control *mc,
			 struct migrate_pair *pair)
{
	struct folio *src = pair->src;

	if (pair->was & MIGRATE_GOT_MARKED)
		migrate_unmark_src(pair);
	if (pair->was & MIGRATE_WAS_MAPPED) {
		/* No TLB may cache the old entries when new ones are written. */
		try_to_unmap_flush();
		remove_migration_ptes(src, src, 0);
		migrate_mark_if_partial(src);
	}
	if (pair->anon_vma)
		put_anon_vma(pair->anon_vma);
	if (pair->was & MIGRATE_SRC_LOCKED)
		folio_unlock(src);
	if (pair->was & MIGRATE_DST_LOCKED)
		folio_unlock(pair->dst);
	migrate_put_target(mc, pair);
}

/* Avoid the allocation of a target if the source could not be locked. */
static bool migrate_is_busy(const struct migrate_batch *batch,
			    struct folio *src)
{
	return batch->mode == MIGRATE_ASYNC && folio_test_locked(src);
}

/* Tests the type first because it is the faster test: LRU folios have none. */
static bool migrate_has_movable_ops(const struct folio *src)
{
	return page_has_type(&src->page) && page_has_movable_ops(&src->page);
}

/* First phase, one folio: from queued to unmapped. */
static enum migrate_outcome migrate_begin(struct migrate_batch *batch,
					  struct migrate_pair *pair)
{
	const struct migrate_control *mc = batch->run->mc;
	struct folio *src = pair->src;
	enum migrate_outcome outcome;

	if (unlikely(migrate_has_movable_ops(src))) {
		pair->was = MIGRATE_IS_MOVABLE_OPS;
	} else {
		if (folio_test_large(src)) {
			outcome = migrate_presplit(batch, pair);
			if (outcome != MIGRATE_NEXT)
				return outcome;
		}
		/* Only the isolation holds a reference: its users have freed it. */
		if (unlikely(folio_ref_count(src) == 1)) {
			folio_clear_active(src);
			folio_clear_unevictable(src);
			return MIGRATE_DONE;
		}
	}

	if (unlikely(migrate_is_busy(batch, src)))
		return migrate_fail(pair, MIGRATE_CAUSE_LOCKED);
	pair->dst = migrate_get_target(batch, src);
	if (unlikely(!pair->dst))
		return migrate_no_target(batch, pair);

	outcome = migrate_unmap(batch, pair);
	if (unlikely(outcome != MIGRATE_NEXT))
		migrate_undo(mc, pair);
	return outcome;
}

/* One try to unmap everything that is queued. */
static int migrate_batch_unmap_once(struct migrate_batch *batch)
{
	enum migrate_outcome outcome;
	struct migrate_pair pair;
	struct folio *src, *next;

	batch->nr_retry = (struct migrate_tally){};
	list_for_each_entry_safe(src, next, &batch->todo, lru) {
		cond_resched_tasks_rcu_qs();
		migrate_pair_init(&pair, src);
		outcome = migrate_begin(batch, &pair);
		migrate_account(batch, &pair, outcome);
		if (unlikely(outcome == MIGRATE_NOMEM))
			return -ENOMEM;
	}
	return 0;
}

static int migrate_batch_unmap(struct migrate_batch *batch)
{
	unsigned int try;
	int err = 0;

	for (try = 0; try < batch->tries && !err; try++) {
		if (try)
			ndelay(MIGRATE_PAUSE_NS);
		err = migrate_batch_unmap_once(batch);
		if (!batch->nr_retry.folios)
			break;
	}
	/* The folios that are still to be retried stay on todo, but have failed. */
	migrate_tally_join(&batch->nr_failed, &batch->nr_retry);
	return err;
}

/* --------------------------------------------------------- moving, restoring */

/*
 * May the target be added to the LRU after it has been mapped and unlocked?
 *
 * A small folio may: folio_add_lru() puts it into a per-CPU batch, which holds
 * a reference until the batch is full. A large folio is added to its list at
 * once. That is done before the unlock, so that this call's reference is
 * dropped by then and does not prevent a write fault from reusing the folio, or
 * a split.
 *
 * A mlocked folio must be on the LRU before it is mapped: its mlock count
 * starts at zero on the unevictable list and is incremented for each mapping in
 * a locked VMA. If a VMA is locked while migration entries replace the mappings
 * of the source, MIGRATE_WAS_MLOCKED is not set and the count misses this
 * mapping. That can happen to any folio that is mapped before it is on the LRU.
 * Reclaim finds the locked VMA and moves the folio to the unevictable list.
 */
static bool migrate_lru_can_wait(const struct migrate_pair *pair)
{
	return !(pair->was & (MIGRATE_IS_MOVABLE_OPS | MIGRATE_WAS_MLOCKED)) &&
	       !folio_test_large(pair->dst);
}

static void migrate_lru_first(const struct migrate_pair *pair)
{
	folio_add_lru(pair->dst);
	if (pair->was & MIGRATE_WAS_MLOCKED)
		lru_add_drain();
}

/*
 * The target has replaced the source: map it, unlock both folios, and add the
 * target to the LRU. A task that has faulted on a migration entry waits for the
 * lock of the source. A task that has found the target in the page cache waits
 * for the lock of the target.
 */
static void migrate_finish(const struct migrate_control *mc,
			   struct migrate_pair *pair)
{
	const bool lru_last = migrate_lru_can_wait(pair);
	struct folio *src = pair->src, *dst = pair->dst;

	if (likely(!(pair->was & MIGRATE_IS_MOVABLE_OPS))) {
		migrate_defer_again(pair, dst);
		if (!lru_last)
			migrate_lru_first(pair);
		if (pair->was & MIGRATE_WAS_MAPPED) {
			remove_migration_ptes(src, dst, 0);
			migrate_mark_if_partial(dst);
		}
	}

	folio_set_owner_migrate_reason(dst, mc->reason);
	folio_unlock(dst);
	/* The page cache and the page tables hold their own references. */
	if (!lru_last)
		folio_put(dst);
	folio_unlock(src);
	if (lru_last) {
		folio_add_lru(dst);
		folio_put(dst);
	}
	pair->dst = NULL;

	if (pair->anon_vma)
		put_anon_vma(pair->anon_vma);
}

/*
 * Switch in a call that has a time limit. The method of a file system may wait, for
 * buffer heads for example. One that fails after a tenth of a second has waited.
 */
static int migrate_switch_limited(struct migrate_batch *batch, struct folio *src,
				  struct folio *dst)
{
	const unsigned long start = jiffies;
	int err;

	err = migrate_folio_switch(src, dst, batch->run->patience ?
				   batch->mode : MIGRATE_ASYNC);
	if (err && time_after(jiffies, start + HZ / 10))
		migrate_charge(batch->run, start);
	return err;
}

/* Second phase, one pair: from unmapped to done. */
static enum migrate_outcome migrate_move(struct migrate_batch *batch,
					 struct migrate_pair *pair)
{
	const struct migrate_control *mc = batch->run->mc;
	struct folio *src = pair->src, *dst = pair->dst;
	enum migrate_outcome outcome;
	int err;

	if (unlikely(pair->was & MIGRATE_IS_MOVABLE_OPS)) {
		err = migrate_movable_ops_page(&src->page, &dst->page,
					       batch->mode);
	} else {
		/*
		 * The switch removes the source from the deferred split queue.
		 * Save whether it is queued, unless unmapping has marked it.
		 */
		if (folio_test_large(src) && !(pair->was & MIGRATE_GOT_MARKED))
			pair->was |= migrate_deferral(src);
		if (unlikely(mc->patience))
			err = migrate_switch_limited(batch, src, dst);
		else
			err = migrate_folio_switch(src, dst, batch->mode);
	}

	outcome = migrate_switch_outcome(pair, err);
	if (likely(outcome == MIGRATE_DONE))
		migrate_finish(mc, pair);
	else if (outcome == MIGRATE_FAILED)
		migrate_undo(mc, pair);
	return outcome;
}

/* The source of the next pair. The target of @pair must still be on the list. */
static struct folio *migrate_next_src(const struct migrate_pair *pair)
{
	return list_next_entry(pair->dst, lru);
}

/* One try to move everything that is unmapped. */
static void migrate_batch_move_once(struct migrate_batch *batch)
{
	struct folio *src = list_first_entry(&batch->pairs, struct folio, lru);
	struct migrate_pair pair;
	struct folio *next;

	batch->nr_retry = (struct migrate_tally){};
	for (; !list_entry_is_head(src, &batch->pairs, lru); src = next) {
		cond_resched();
		migrate_pair_load(&pair, src);
		next = migrate_next_src(&pair);
		list_del(&pair.dst->lru);
		migrate_account(batch, &pair, migrate_move(batch, &pair));
	}
}

/* Restore the sources of the pairs that have not been moved after the last try. */
static void migrate_batch_undo(struct migrate_batch *batch)
{
	struct migrate_pair pair;

	while (!list_empty(&batch->pairs)) {
		migrate_pair_load(&pair, list_first_entry(&batch->pairs,
							  struct folio, lru));
		list_del(&pair.dst->lru);
		migrate_undo(batch->run->mc, &pair);
		migrate_account(batch, &pair, MIGRATE_FAILED);
	}
}

static void migrate_batch_move(struct migrate_batch *batch)
{
	unsigned int try;

	for (try = 0; try < batch->tries && !list_empty(&batch->pairs); try++)
		migrate_batch_move_once(batch);
	migrate_batch_undo(batch);
}

/* -------------------------------------------------------- batches and slices */

/*
 * Take a batch through all phases. The TLB flush must come after unmapping and
 * before the first copy, so that no CPU can write to a page while it is copied.
 */
static int migrate_batch_run(struct migrate_batch *batch)
{
	int err;

	VM_WARN_ON_ONCE(batch->mode != MIGRATE_ASYNC &&
			!list_is_singular(&batch->todo));

	err = migrate_batch_unmap(batch);
	try_to_unmap_flush();
	migrate_batch_move(batch);
	if (batch->anon_vma)
		put_anon_vma(batch->anon_vma);
	batch->anon_vma = NULL;

	migrate_batch_end(batch, err);
	return err;
}

/*
 * If the mode allows waiting, try the folios that the batch did not move one by
 * one. A wait for I/O may take long. The spares are freed before, because until
 * then nobody else could use them, or free the page blocks that they are in.
 */
static int migrate_slice_singly(struct migrate_run *run, struct list_head *slice)
{
	int err = 0;

	migrate_spares_put(&run->spares);
	while (!err && !list_empty(slice)) {
		DEFINE_MIGRATE_BATCH(batch, run, run->mc->mode,
				     MIGRATE_TRIES_SYNC, /* is_final = */ true);

		batch.aside = &run->aside;
		list_move(slice->next, &batch.todo);
		err = migrate_batch_run(&batch);
	}
	list_splice_tail_init(slice, &run->failed);
	return err;
}

/*
 * Try the pieces of the folios that were split once, without waiting. A piece
 * that fails does not count as a folio, because the split folio has been
 * counted.
 */
static void migrate_pieces(struct migrate_run *run)
{
	DEFINE_MIGRATE_BATCH(batch, run, MIGRATE_ASYNC, /* tries = */ 1,
			     /* is_final = */ true);
	unsigned int nr_failed = run->nr_failed.folios;

	batch.flush = TTU_BATCH_FLUSH;
	batch.aside = &run->aside_pieces;
	list_splice_init(&run->split, &batch.todo);
	migrate_batch_run(&batch);
	run->nr_failed.folios = nr_failed;
}

/*
 * How to flush the TLBs for @nr_pages. A single flush for all pages always
 * saves interrupts to other CPUs. If only this CPU needs a flush, flushing many
 * pages one by one is slower than flushing the whole TLB. TTU_BATCH_LOCAL
 * allows that, and arch_tlbbatch_may_defer_local() decides. MIGRATE_FLUSH_PAGES
 * is the default of tlb_single_page_flush_ceiling on x86.
 */
static enum ttu_flags migrate_flush_flags(unsigned int nr_pages)
{
	if (nr_pages > MIGRATE_FLUSH_PAGES)
		return TTU_BATCH_FLUSH | TTU_BATCH_LOCAL;
	return TTU_BATCH_FLUSH;
}

static int migrate_slice(struct migrate_run *run, struct list_head *slice,
			 unsigned int nr_pages)
{
	const bool async = run->mc->mode == MIGRATE_ASYNC;
	DEFINE_MIGRATE_BATCH(batch, run, MIGRATE_ASYNC,
			     async ? MIGRATE_TRIES : MIGRATE_TRIES_ASYNC,
			     /* is_final = */ async);
	int err;

	batch.flush = migrate_flush_flags(nr_pages);
	list_splice_init(slice, &batch.todo);
	err = migrate_batch_run(&batch);
	if (!err)
		err = migrate_slice_singly(run, &batch.todo);
	if (!err && !list_empty(&run->split))
		migrate_pieces(run);
	list_splice_tail_init(&run->split, &run->failed);
	return err;
}

/*
 * Move as many folios to @slice as may be unmapped together, but at least one.
 * Returns their number of base pages.
 */
static unsigned int migrate_cut_slice(struct list_head *from,
				      struct list_head *slice)
{
	unsigned int nr_pages = 0, nr;
	struct folio *folio;

	list_for_each_entry(folio, from, lru) {
		nr = folio_nr_pages(folio);
		if (nr_pages + nr > MIGRATE_SLICE_PAGES && nr_pages)
			break;
		nr_pages += nr;
	}
	list_cut_before(slice, from, &folio->lru);
	return nr_pages;
}

/* Try each folio on the list. After an error the rest of @from was not tried. */
static int migrate_list(struct migrate_run *run, struct list_head *from)
{
	unsigned int nr_pages;
	LIST_HEAD(slice);
	int err = 0;

	while (!err && !list_empty(from)) {
		nr_pages = migrate_cut_slice(from, &slice);
		err = migrate_slice(run, &slice, nr_pages);
	}
	migrate_spares_put(&run->spares);
	return err;
}

/* ---------------------------------------------------------- the second attempt */

/* Count the folios that were set aside as failed. */
static int migrate_give_up(struct migrate_run *run, struct list_head *aside)
{
	struct migrate_pair pair;
	struct folio *folio;
	int err = 0;

	list_for_each_entry(folio, aside, lru) {
		migrate_pair_init(&pair, folio);
		migrate_tally_pair(&run->nr_failed, &pair);
		/* Anonymous folios are put aside only if they have no target. */
		if (folio_test_anon(folio))
			err = -ENOMEM;
	}
	list_splice_tail_init(aside, &run->failed);
	return err;
}

/* Apply the resorts to the folios that were set aside, and try them again. */
static int migrate_again(struct migrate_run *run, struct list_head *aside)
{
	LIST_HEAD(again);
	int err, err_left;

	if (list_empty(aside))
		return 0;

	migrate_help(run, aside, &again);
	err = migrate_list(run, &again);
	list_splice_tail(&again, aside);
	err_left = migrate_give_up(run, aside);
	return err ? : err_left;
}

/*
 * Called after all folios have been tried once, or @err has ended the first
 * attempt. The number of failed folios is not changed by pieces, as the folios
 * that they are from have been counted when they were split.
 */
static int migrate_second_attempt(struct migrate_run *run, int err)
{
	unsigned int nr_failed;

	run->resorts = 0;
	if (err)
		migrate_give_up(run, &run->aside);
	else
		err = migrate_again(run, &run->aside);

	nr_failed = run->nr_failed.folios;
	if (err)
		migrate_give_up(run, &run->aside_pieces);
	else
		migrate_again(run, &run->aside_pieces);
	run->nr_failed.folios = nr_failed;
	if (!err && run->enomem)
		err = -ENOMEM;
	return err;
}

/* Add the results of a call to the VM events, and trace them. */
static void migrate_report(const struct migrate_run *run)
{
	count_vm_events(PGMIGRATE_SUCCESS, run->nr_done.pages);
	count_vm_events(PGMIGRATE_FAIL, run->nr_failed.pages);
	count_vm_events(THP_MIGRATION_SUCCESS, run->nr_done.thps);
	count_vm_events(THP_MIGRATION_FAIL, run->nr_failed.thps);
	count_vm_events(THP_MIGRATION_SPLIT, run->nr_split.thps);
	trace_mm_migrate_pages(run->nr_done.pages, run->nr_failed.pages,
			       run->nr_done.thps, run->nr_failed.thps,
			       run->nr_split.thps, run->nr_split.folios,
			       run->mc->mode, run->mc->reason);
}

/**
 * migrate_folios - migrate_pages() for callers within page migration
 * @mc: The request.
 * @from: Isolated folios; on return, those that were not migrated.
 * @ret_succeeded: Set to the number of base pages that were migrated, or NULL.
 *
 * Context: May sleep. No folio of @from may be locked by the caller.
 * Return: As migrate_pages().
 */
int migrate_folios(const struct migrate_control *mc, struct list_head *from,
		   unsigned int *ret_succeeded)
{
	struct migrate_run run = {
		.mc = mc,
		.failed = LIST_HEAD_INIT(run.failed),
		.split = LIST_HEAD_INIT(run.split),
		.resorts = mc->resorts,
		.patience = mc->patience,
		.aside = LIST_HEAD_INIT(run.aside),
		.aside_pieces = LIST_HEAD_INIT(run.aside_pieces),
	};
	int err;

	folio_batch_init(&run.unused);
	trace_mm_migrate_pages_start(mc->mode, mc->reason);

	err = migrate_hugetlbs(&run, from);
	if (!err)
		err = migrate_list(&run, from);
	if (mc->resorts)
		err = migrate_second_attempt(&run, err);
	list_splice(&run.failed, from);

	migrate_report(&run);
	if (ret_succeeded)
		*ret_succeeded = run.nr_done.pages;
	if (list_empty(from))
		return 0;
	return err ? : run.nr_failed.folios;
}

/**
 * migrate_pages - move isolated folios to other memory
 * @from: Isolated folios of every kind. On return it contains the folios that
 *	were not migrated, in any order and still isolated.
 * @get_new_folio: Allocates a target. It is called at most once for every
 *	attempt, and the call does not hold the lock of the source then. The
 *	target must not be on a list, and its &folio.private and &folio.index
 *	must be unused (hugetlb targets keep their &folio.private). Small
 *	targets may come from alloc_pages_bulk() if the callback is
 *	alloc_migration_target().
 * @put_new_folio: Called for every target that was not used, or NULL for
 *	folio_put().
 * @private: Passed to both callbacks.
 * @mode: What the call may wait for.
 * @reason: Why the caller migrates, for tracepoints and page owner. Some
 *	reasons also change what is done, see &enum migrate_reason.
 * @ret_succeeded: If not NULL, always set to the number of base pages that were
 *	migrated.
 *
 * Folios that were migrated, or freed by their last user, are removed from
 * @from. If the result is not 0, the caller must retry or call
 * putback_movable_pages() for the rest. hugetlb folios are migrated before all
 * others.
 *
 * A large folio is moved as a whole if possible. If it has to be split, it
 * counts as one folio that was not migrated, even if all its pieces were.
 *
 * A folio that cannot be moved may be written out and tried again, or dropped
 * from the page cache, or swapped out, see &enum migrate_resort. A folio that
 * is dropped or swapped out counts as migrated, like one that its last user
 * frees.
 *
 * Context: May sleep. No folio of @from may be locked by the caller.
 * Return: 0 if @from is empty, the number of folios that were not migrated, or
 * -ENOMEM if no target could be allocated. -ENOMEM ends the call early, unless
 * it may swap folios out.
 */
int migrate_pages(struct list_head *from, new_folio_t get_new_folio,
		  free_folio_t put_new_folio, unsigned long private,
		  enum migrate_mode mode, enum migrate_reason reason,
		  unsigned int *ret_succeeded)
{
	const struct migrate_control mc = {
		.get_new_folio = get_new_folio,
		.put_new_folio = put_new_folio,
		.private = private,
		.mode = mode,
		.reason = reason,
		.resorts = migrate_resorts(mode, reason),
		.patience = migrate_patience(mode, reason),
	};

	return migrate_folios(&mc, from, ret_succeeded);
}
