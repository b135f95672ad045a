// SPDX-License-Identifier: GPL-2.0-only

/*
 * Copyright (C) 2006 Silicon Graphics, Inc., Christoph Lameter
 *
 * The first authors of page migration were IWAMOTO Toshihiro, Hirokazu Takahashi,
 * Dave Hansen and Christoph Lameter, who needed it for memory hotplug.
 */

/*
 * The engine of page migration: it takes a list of isolated folios through
 * the phases that mm/migrate.h describes.
 *
 * Read it from the bottom. migrate_pages() cuts the list into slices of at
 * most one PMD's worth of memory. A slice passes as one batch: all of it is
 * unmapped, the TLBs are flushed once, all of it is moved. Whoever is willing
 * to wait gets what the batch left over tried once more, folio by folio,
 * because waiting is forbidden while another folio is locked.
 *
 * Every step on one folio returns an enum migrate_outcome. Lists and counters
 * belong to migrate_settle().
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
 * What may be unmapped at a time. Everybody who touches an unmapped page has
 * to wait for it, so the batch must not grow with the request.
 */
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
#define MIGRATE_SLICE_PAGES	HPAGE_PMD_NR
#else
#define MIGRATE_SLICE_PAGES	512
#endif

/* More pages than these are not taken out of a TLB one by one. */
#define MIGRATE_FLUSH_PAGES	33

/*
 * How long to wait before folios are unmapped once more. What is in the way for
 * a moment only, like the lock that a page fault takes, has to get that moment:
 * a look at the lock is over much sooner. It is about what a target takes to be
 * allocated and freed, which a folio that is busy is spared.
 */
#define MIGRATE_PAUSE_NS	500

/* ------------------------------------------------ isolation and putting back */

/**
 * isolate_folio_to_list - isolate whatever can be migrated
 * @folio: LRU folio, hugetlb folio or page with movable_operations.
 * @list: List that it is added to.
 *
 * The isolated folio has one more reference than before, and is counted as
 * isolated by its node if it came from the LRU.
 *
 * Context: May sleep. The caller must hold a reference to @folio, unless it is
 * a hugetlb folio.
 * Return: true if @folio is on @list now.
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
 * Each folio returns to where it was isolated from (the LRU, the active list
 * of its hstate, its driver) and loses the reference of the isolation.
 *
 * Context: May sleep. The folios must not be locked by the caller.
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

/* What lives in a movable zone does not care where it lives. */
static gfp_t migrate_target_gfp(const struct folio *src,
				const struct migration_target_control *mtc)
{
	enum zone_type zone = folio_zonenum(src);

	if (zone == ZONE_MOVABLE || is_highmem_idx(zone))
		return mtc->gfp_mask | __GFP_HIGHMEM;
	return mtc->gfp_mask;
}

/**
 * alloc_migration_target - the common way to get a target
 * @src: The folio to be migrated.
 * @private: Address of a struct migration_target_control.
 *
 * A &new_folio_t callback that may also be called directly. The target has the
 * size of @src and comes from &migration_target_control.nid, or from the node
 * of @src if that is NUMA_NO_NODE.
 *
 * Context: May sleep as the gfp mask allows. @src is not locked.
 * Return: A folio with one reference, or NULL.
 */
struct folio *alloc_migration_target(struct folio *src, unsigned long private)
{
	const struct migration_target_control *mtc = (void *)private;
	int nid = migrate_target_nid(src, mtc);
	gfp_t gfp = migrate_target_gfp(src, mtc);

	if (folio_test_hugetlb(src))
		return alloc_hugetlb_target(src, nid, mtc);

	/* A large target is worth as much effort as a THP fault is, not more. */
	if (folio_test_large(src))
		gfp = (gfp & ~__GFP_RECLAIM) | GFP_TRANSHUGE;

	return __folio_alloc(gfp, folio_order(src), nid, mtc->nmask);
}

static void migrate_spares_put(struct migrate_spares *spares)
{
	while (spares->next < spares->nr)
		__free_page(spares->page[spares->next++]);
}

/* How many spares there is certainly use for: small folios from @src on. */
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
 * Are pages that are allocated together what they would be one by one? Not if
 *
 * - the request may leave the cpuset when there is no room there, as those for
 *   memory that goes offline or becomes contiguous may: alloc_pages_bulk() adds
 *   __GFP_HARDWALL for good, where a single page gets it for the first try;
 * - they had better not come from the page blocks of other types: unmovable ones
 *   spoil a block for as long as they live, and in defrag_mode none may;
 * - somebody traces each page that is allocated.
 */
static bool migrate_may_bulk(gfp_t gfp)
{
	if (cpusets_enabled() && !(gfp & __GFP_HARDWALL))
		return false;
	return (gfp & __GFP_MOVABLE) && !defrag_mode &&
	       !trace_mm_page_alloc_enabled();
}

/*
 * A page of a block of another type raises the watermarks, so that kswapd makes
 * room in blocks of the right type. A single page wakes kswapd for it.
 */
static void migrate_wake_kswapd(struct zone *zone, gfp_t gfp)
{
	if (unlikely(zone->watermark_boost) && (gfp & __GFP_KSWAPD_RECLAIM))
		wakeup_kswapd(zone, 0, 0, zone_idx(zone));
}

/* A spare, or NULL if there is none left. */
static struct page *migrate_spare(struct migrate_spares *spares)
{
	struct page *page;

	while (spares->next < spares->nr) {
		page = spares->page[spares->next++];
		if (likely(!PageHWPoison(page)))
			return page;
		/* Poisoned as it waited, which freeing takes into account. */
		__free_page(page);
	}
	return NULL;
}

/*
 * What alloc_migration_target() does for a small folio, for @nr at a time: going
 * to the allocator costs more than what it gives. It falls back to a single
 * page, and to reclaim, by itself.
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

/* The target of a small folio that alloc_migration_target() is asked for. */
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

	/* Each look for room takes a lot of reclaim, and there was none. */
	if (run->no_room && (run->resorts & MIGRATE_SWAP_OUT) &&
	    !folio_test_large(src))
		return NULL;
	if (mc->get_new_folio == alloc_migration_target &&
	    !folio_test_large(src))
		return migrate_take_spare(batch, src);
	return mc->get_new_folio(src, mc->private);
}

/**
 * migrate_put_target - give back a target that was not used
 * @mc: The request.
 * @pair: Its target must be unlocked; it is NULL on return.
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
 * migrate_pair_init - begin with a source that has no target yet
 * @pair: Pair to be set up.
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

/* Leave in the target what must survive until the next phase. */
static void migrate_pair_store(const struct migrate_pair *pair)
{
	pair->dst->migrate_info = (unsigned long)pair->anon_vma;
	pair->dst->index = pair->was;
}

/* Inverse of migrate_pair_store(); the target is as good as new afterwards. */
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
 * migrate_verdict - what to make of an obstacle
 * @pair: Remembers the obstacle.
 * @cause: The obstacle.
 *
 * Locks, half-done faults and references are gone in a moment, most of them.
 * That goes for pins, too: an I/O may last, but get_user_pages() that has lost
 * a race, or another one who wants the folio out of the way of a long-term pin,
 * drops its pin at once, and nobody can tell them apart.
 *
 * Context: Any.
 * Return: MIGRATE_RETRY, MIGRATE_NOMEM or MIGRATE_FAILED.
 */
enum migrate_outcome migrate_verdict(struct migrate_pair *pair,
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

/* Without the mappings, whose references look like pins when they are many. */
static bool migrate_is_pinned(struct folio *folio)
{
	if (folio_has_pincount(folio))
		return folio_maybe_dma_pinned(folio);
	return folio_ref_count(folio) - folio_mapcount(folio) >=
	       GUP_PIN_COUNTING_BIAS;
}

/**
 * migrate_switch_verdict - what to make of the result of a move
 * @pair: The pair.
 * @err: 0 or the negative errno of the move.
 *
 * Context: Any.
 * Return: MIGRATE_DONE, MIGRATE_RETRY or MIGRATE_FAILED.
 */
enum migrate_outcome migrate_switch_verdict(struct migrate_pair *pair, int err)
{
	if (!err)
		return MIGRATE_DONE;
	if (err != -EAGAIN)
		return migrate_verdict(pair, MIGRATE_CAUSE_REFUSED);
	if (pair->was & MIGRATE_IS_MOVABLE_OPS)
		return migrate_verdict(pair, MIGRATE_CAUSE_REFS);
	if (folio_mapped(pair->src))
		return migrate_verdict(pair, MIGRATE_CAUSE_MAPPED);
	return migrate_verdict(pair, migrate_is_pinned(pair->src) ?
			       MIGRATE_CAUSE_PINNED : MIGRATE_CAUSE_REFS);
}

/* --------------------------------------------------------------- bookkeeping */

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
	/* Reclaim counts what it isolates itself. */
	if (run->mc->reason != MR_DEMOTION)
		migrate_isolated_mod(&run->isolated, pair->src,
				     -(long)pair->nr_pages);
}

/* Let go of a source that has been replaced, or that nobody else refers to. */
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

	/* A poisoned page must not be freed: page_handle_poison() has the rest. */
	if (unlikely(run->mc->reason == MR_MEMORY_FAILURE))
		return;
	if (folio_test_large(src))
		folio_put(src);
	else if (!folio_batch_add(&run->unused, src))
		folios_put(&run->unused);
}

/**
 * migrate_settle - book what has come of one step on one folio
 * @batch: Batch that the folio belongs to.
 * @pair: The folio. Unless it goes on, nothing of it is held any more.
 * @outcome: What the step said.
 *
 * The only place that moves sources between lists, links targets and counts.
 *
 * Context: May sleep, no folio that goes elsewhere than on is locked.
 */
void migrate_settle(struct migrate_batch *batch, struct migrate_pair *pair,
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
 * migrate_batch_end - close the books of a batch
 * @batch: Batch without unmapped folios.
 * @err: 0, or the error that ended it early.
 *
 * What the batch did not move goes to &migrate_run.failed. If another batch
 * follows to try harder, and there is memory left to do so, all of it is on
 * @batch->todo instead and does not count as failed.
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

/* ------------------------------------------- large folios and their deferral */

/*
 * Taking a large folio off several page tables one after the other looks like
 * taking away parts of it for good: rmap marks the folio as partially mapped
 * and queues it for a deferred split. Hence the functions below. The state
 * before unmapping is what counts, and it is noted then; the target gets exactly
 * that, or the source gets it back. Parts that somebody else has unmapped in the
 * meantime, which may be migration entries of which rmap knows nothing, are
 * found by looking at the result.
 */
static unsigned long migrate_deferral(struct folio *folio)
{
	unsigned long was = 0;

	if (folio_order(folio) <= 1 || !folio_test_anon(folio))
		return 0;
	/* The shrinker may move it from list to list as we look. */
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

/* Give @folio the state that the source had. */
static void migrate_defer_again(const struct migrate_pair *pair,
				struct folio *folio)
{
	if (pair->was & (MIGRATE_WAS_QUEUED | MIGRATE_WAS_PARTIAL))
		deferred_split_folio(folio, pair->was & MIGRATE_WAS_PARTIAL);
}

/*
 * Take back a mark that unmapping has left on a source which stays.
 *
 * The source is locked. If it is also unmapped then nobody else can mark it,
 * and without a reference of the shrinker, which freezing rules out, it may be
 * taken off the queue. Otherwise only the mark goes. The queue entry that
 * remains is harmless: the shrinker looks at the folio once as at any other
 * that may be underused. Whoever unmaps a part while the mark goes is noticed
 * when the page tables are whole again, see migrate_mark_if_partial().
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
		/* Pairs with the atomic mapcounts of who unmaps and then tests. */
		smp_mb__after_atomic();
	}
}

/* The page tables are whole again: is what they map the whole folio? */
static void migrate_mark_if_partial(struct folio *folio)
{
	if (folio_test_large(folio) && folio_test_anon(folio) &&
	    migrate_partly_mapped(folio))
		deferred_split_folio(folio, true);
}

/* ---------------------------------------------------------------- locking src */

/*
 * Wait for the lock of the source, as long as the mode allows.
 *
 * Direct reclaim and direct compaction never wait. They may be running on
 * behalf of the very task that holds the lock: readahead locks the folios it
 * adds to the page cache, and may need memory for the next one.
 */
static bool migrate_wait_lock(struct folio *src, enum migrate_mode mode)
{
	if (mode == MIGRATE_ASYNC || (current->flags & PF_MEMALLOC))
		return false;
	/* Not uptodate: the lock is held until a read from disk is complete. */
	if (mode == MIGRATE_SYNC_LIGHT && !folio_test_uptodate(src))
		return false;
	folio_lock(src);
	return true;
}

static bool migrate_lock_src(struct folio *src, enum migrate_mode mode)
{
	return likely(folio_trylock(src)) || migrate_wait_lock(src, mode);
}

/* ------------------------------------------------------------ splitting large */

/*
 * Split instead of moving whole. With the pieces goes a new chance to find
 * room for them.
 */
static int migrate_split(struct migrate_batch *batch, struct folio *folio)
{
	int err;

	if (!migrate_lock_src(folio, batch->mode))
		return -EAGAIN;
	err = split_folio_to_list(folio, &batch->run->split);
	folio_unlock(folio);
	return err;
}

/*
 * Some large folios had better not travel whole: one that is mapped in part
 * only would cost the target memory that nobody uses, and some architectures
 * know no migration entry for a PMD. The queue is only looked at, never
 * touched: the shrinker may have moved the folio to a list of its own.
 */
static enum migrate_outcome migrate_presplit(struct migrate_batch *batch,
					     struct migrate_pair *pair)
{
	struct folio *src = pair->src;

	/* Sorted out before, and fatal to everything that follows. */
	if (WARN_ON_ONCE(folio_test_hugetlb(src)))
		return migrate_verdict(pair, MIGRATE_CAUSE_REFUSED);

	if (unlikely(folio_test_partially_mapped(src)) &&
	    migrate_deferral(src) & MIGRATE_WAS_QUEUED &&
	    !migrate_split(batch, src))
		return MIGRATE_SPLIT;

	if (thp_migration_supported() || !pair->is_thp)
		return MIGRATE_NEXT;
	if (!migrate_split(batch, src))
		return MIGRATE_SPLIT;
	return migrate_verdict(pair, MIGRATE_CAUSE_REFUSED);
}

/*
 * A folio has found no target. That ends the call, unless the call may swap out:
 * then it is only this folio that fails, as others on the list may go to swap.
 */
static enum migrate_outcome migrate_lacks_room(struct migrate_run *run,
					       struct migrate_pair *pair)
{
	enum migrate_outcome outcome = migrate_verdict(pair,
						       MIGRATE_CAUSE_NOMEM);

	if (!(run->resorts & MIGRATE_SWAP_OUT))
		return outcome;
	if (!folio_test_large(pair->src))
		run->no_room = true;
	if (!migrate_may_swap_out(run->resorts, pair->src))
		run->lacks_room = true;
	return MIGRATE_FAILED;
}

/*
 * No target. The pieces of a large folio may still find one each, but a fault
 * that only wants to be nearer to its memory shall not destroy a THP for it.
 * A long-term pin cannot go on without, so it tries to get hold of the folio
 * again.
 */
static enum migrate_outcome migrate_no_target(struct migrate_batch *batch,
					      struct migrate_pair *pair)
{
	enum migrate_reason reason = batch->run->mc->reason;
	int err;

	if (!folio_test_large(pair->src) || reason == MR_NUMA_MISPLACED)
		return migrate_lacks_room(batch->run, pair);

	err = migrate_split(batch, pair->src);
	if (!err)
		return MIGRATE_SPLIT;
	if (err == -EAGAIN && reason == MR_LONGTERM_PIN)
		return migrate_verdict(pair, MIGRATE_CAUSE_LOCKED);
	return migrate_lacks_room(batch->run, pair);
}

/* ------------------------------------------------------------------ unmapping */

/* What is anonymous has an anon_vma, unless KSM has made it one of many. */
static bool migrate_has_anon_vma(const struct folio *src)
{
	return folio_test_anon(src) && !folio_test_ksm(src);
}

/*
 * Once the last mapping of an anonymous folio is gone, nothing keeps its
 * anon_vma, but restoring the page tables must walk it. One reference held by
 * the batch does for all the folios that share its anon_vma; the others bring
 * their own. KSM folios have no single anon_vma, files need none.
 *
 * The folio may lose its last mapping at any time, so this comes before the
 * mapcount is looked at. There may be none to be had: then the folio is not
 * mapped, and as the source is locked it will not be. It is the same with a
 * folio whose anon_vma has been freed, and is now that of the batch: the
 * comparison finds a reference that nobody needs.
 */
static void migrate_hold_anon_vma(struct migrate_batch *batch,
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

/* Will the rmap of the source still be there when it is not mapped any more? */
static bool migrate_rmap_is_held(const struct migrate_batch *batch,
				 const struct migrate_pair *pair)
{
	const struct anon_vma *anon_vma;

	/* The folio lock keeps the mapping of a file, and the KSM node. */
	if (!migrate_has_anon_vma(pair->src))
		return true;
	anon_vma = pair->anon_vma ? : batch->anon_vma;
	return anon_vma && anon_vma == folio_anon_vma(pair->src);
}

/* The source is mapped, and what its rmap needs is held. */
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
 * A folio without a mapping of its own has no rmap. Fresh swap cache is not
 * mapped yet, which is fine. What truncation has left behind because of its
 * buffers is free at the next try, once they are dropped. And what truncation
 * took away from somebody who still held it may have been mapped since by
 * vm_insert_page(), as TCP does it for what it received: no walk leads to these
 * entries, so they cannot be replaced.
 */
static enum migrate_outcome migrate_unmap_src(struct migrate_batch *batch,
					      struct migrate_pair *pair)
{
	struct folio *src = pair->src;

	if (likely(src->mapping)) {
		migrate_hold_anon_vma(batch, pair);
		if (folio_mapped(src))
			migrate_install_entries(batch, pair);
	} else if (folio_test_private(src)) {
		try_to_free_buffers(src);
		return migrate_verdict(pair, MIGRATE_CAUSE_BUFFERS);
	}

	if (!folio_mapped(src))
		return MIGRATE_NEXT;
	return migrate_verdict(pair, migrate_is_pinned(src) ?
			       MIGRATE_CAUSE_PINNED : MIGRATE_CAUSE_MAPPED);
}

/*
 * Lock both folios and unmap the source.
 *
 * Writeback is only waited for by those who asked for a full wait: the tries
 * of the others are over long before a disk is done. Who is killed meanwhile has no
 * use for the folio, and the disk may never be done.
 */
static enum migrate_outcome migrate_unmap(struct migrate_batch *batch,
					  struct migrate_pair *pair)
{
	struct folio *src = pair->src;

	if (!migrate_lock_src(src, batch->mode))
		return migrate_verdict(pair, MIGRATE_CAUSE_LOCKED);
	pair->was |= MIGRATE_SRC_LOCKED;
	if (folio_test_mlocked(src))
		pair->was |= MIGRATE_WAS_MLOCKED;

	if (folio_test_writeback(src)) {
		if (batch->mode != MIGRATE_SYNC ||
		    folio_wait_writeback_killable(src))
			return migrate_verdict(pair, MIGRATE_CAUSE_WRITEBACK);
	}

	/* Ours alone, but a walker by pfn may hold the lock for an instant. */
	if (unlikely(!folio_trylock(pair->dst)))
		return migrate_verdict(pair, MIGRATE_CAUSE_LOCKED);
	pair->was |= MIGRATE_DST_LOCKED;

	if (unlikely(pair->was & MIGRATE_IS_MOVABLE_OPS))
		return MIGRATE_NEXT;
	return migrate_unmap_src(batch, pair);
}

/* Put the source back where it was, and give the target back. */
static void migrate_undo(const struct migrate_control *mc,
			 struct migrate_pair *pair)
{
	struct folio *src = pair->src;

	if (pair->was & MIGRATE_GOT_MARKED)
		migrate_unmark_src(pair);
	if (pair->was & MIGRATE_WAS_MAPPED) {
		/* No TLB may know the old entries when others take their place. */
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

/* Asked before a target is allocated in vain. */
static bool migrate_is_busy(const struct migrate_batch *batch,
			    struct folio *src)
{
	return batch->mode == MIGRATE_ASYNC && folio_test_locked(src);
}

/* Looks at the type first: no folio of the LRU has one, whatever its flags. */
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
		/* Only the isolation refers to it: freed under us. */
		if (unlikely(folio_ref_count(src) == 1)) {
			folio_clear_active(src);
			folio_clear_unevictable(src);
			return MIGRATE_DONE;
		}
	}

	if (unlikely(migrate_is_busy(batch, src)))
		return migrate_verdict(pair, MIGRATE_CAUSE_LOCKED);
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
		migrate_settle(batch, &pair, outcome);
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
	/* Those that came to no end remain queued, but count. */
	migrate_tally_join(&batch->nr_failed, &batch->nr_retry);
	return err;
}

/* --------------------------------------------------------- moving, restoring */

/*
 * Is it time to put the target on the LRU when nobody waits for it any more?
 *
 * A small folio has to wait there until a batch is full, and then all of them
 * are added to their lists at once. A large one is added alone, and who wants
 * to write to it or to split it had better find no reference of ours.
 *
 * On the unevictable list the mlock count begins at zero, and mapping the folio
 * into locked VMAs counts it up. So the LRU comes first for what is mlocked. A
 * VMA that is locked while only migration entries stand for the source is not
 * known here. The count misses its mapping then, as it does for any folio that is
 * mapped on its way to the LRU; reclaim finds the VMA and puts that right.
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
 * The target has replaced the source: make it whole and let it go. Who has
 * touched a migration entry waits for the lock of the source, who finds the
 * target in the page cache for its lock.
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
	/* The mapping and the page tables have references of their own. */
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
		/* What nobody has marked by unmapping may still be queued. */
		if (folio_test_large(src) && !(pair->was & MIGRATE_GOT_MARKED))
			pair->was |= migrate_deferral(src);
		err = migrate_folio_switch(src, dst, batch->mode);
	}

	outcome = migrate_switch_verdict(pair, err);
	if (likely(outcome == MIGRATE_DONE))
		migrate_finish(mc, pair);
	else if (outcome == MIGRATE_FAILED)
		migrate_undo(mc, pair);
	return outcome;
}

/* The source of the pair that follows @pair, whose target is still linked. */
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
		migrate_settle(batch, &pair, migrate_move(batch, &pair));
	}
}

/* Give up on the pairs that are left. */
static void migrate_batch_undo(struct migrate_batch *batch)
{
	struct migrate_pair pair;

	while (!list_empty(&batch->pairs)) {
		migrate_pair_load(&pair, list_first_entry(&batch->pairs,
							  struct folio, lru));
		list_del(&pair.dst->lru);
		migrate_undo(batch->run->mc, &pair);
		migrate_settle(batch, &pair, MIGRATE_FAILED);
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
 * Take a batch through all phases. The flush is between unmapping and the
 * first copy, so nobody can write to a page any more that is being copied.
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
 * Whoever asked to wait has what the batch left over tried one by one. Waiting
 * may take as long as a disk, or a server, is gone. Spares would be missing that
 * long, and keep others from emptying the page blocks that they are in.
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
 * The pieces of what was split get one try without waiting. Failing here is no
 * failure of its own, the folio they come from has been counted.
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
 * How to flush the TLBs for @nr_pages. When other CPUs are concerned, a single
 * flush for all pages saves interrupts. When it is only this one, dropping many
 * pages one after the other costs more than beginning with an empty TLB does, as
 * long as the architecture can flush this CPU alone, which it decides; x86 draws
 * the line at the same number, see tlb_single_page_flush_ceiling.
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
 * Cut off as many folios as may be unmapped together, but one at least. Returns
 * how many pages they have.
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

/* Try each folio on the list. What remains there has not been tried. */
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

/* Folios that had been put aside stay where they are, and count. */
static int migrate_give_up(struct migrate_run *run, struct list_head *aside)
{
	struct migrate_pair pair;
	struct folio *folio;
	int err = 0;

	list_for_each_entry(folio, aside, lru) {
		migrate_pair_init(&pair, folio);
		migrate_tally_pair(&run->nr_failed, &pair);
		/* The only reason to put these aside. */
		if (folio_test_anon(folio))
			err = -ENOMEM;
	}
	list_splice_tail_init(aside, &run->failed);
	return err;
}

/* Do what can be done for folios that had been put aside, and try these again. */
static int migrate_again(struct migrate_run *run, struct list_head *aside)
{
	LIST_HEAD(again);
	int err, err_left;

	if (list_empty(aside))
		return 0;

	migrate_help(run->mc, aside, &again);
	err = migrate_list(run, &again);
	list_splice_tail(&again, aside);
	err_left = migrate_give_up(run, aside);
	return err ? : err_left;
}

/*
 * All folios have been tried once, or @err has ended that. Large folios have been
 * counted when they were split, so their pieces count as pages only.
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
	if (!err && run->lacks_room)
		err = -ENOMEM;
	return err;
}

/* Publish the counts of a finished call. */
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
 * @ret_succeeded: Number of base pages that were migrated, or NULL.
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
 * @from: Isolated folios of every kind. On return, in any order and still
 *	isolated, those that were not migrated.
 * @get_new_folio: Called at most once for every attempt, the source not locked
 *	by the call; not if the source is seen to be locked by somebody who is
 *	not waited for. The target must be fresh: not on a list, &folio.private
 *	and &folio.index unused (hugetlb targets keep theirs). Small targets
 *	that alloc_migration_target() would give may come from
 *	alloc_pages_bulk() instead, several at a time.
 * @put_new_folio: Called for every target that was not used after all, or NULL
 *	if folio_put() will do.
 * @private: Passed to both.
 * @mode: How long to wait for a single folio.
 * @reason: For the records, and for the exceptions that &enum migrate_reason
 *	lists.
 * @ret_succeeded: If not NULL, set on every path to the number of base pages
 *	that were migrated.
 *
 * Folios that can be migrated, or that nobody needs any more, disappear from
 * @from. hugetlb folios have their turn first. The caller calls
 * putback_movable_pages() for the rest, that is, if the result is not 0.
 *
 * A large folio is moved as a whole if possible. If it has to be split then it
 * counts as one folio that was not migrated, however many of its pieces were.
 *
 * What cannot be moved may be written out first, or go without being moved, see
 * &enum migrate_resort. The latter counts as migrated, like all that is freed.
 *
 * Context: May sleep. No folio of @from may be locked by the caller.
 * Return: 0 if @from is empty, the number of folios that were not migrated, or
 * -ENOMEM if there was no target to be had. That ends it early, unless some
 * folios may go to swap.
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
	};

	return migrate_folios(&mc, from, ret_succeeded);
}
