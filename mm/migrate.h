/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page migration, seen from the inside.
 *
 * A folio passes through these phases. A batch of them moves from one phase
 * to the next together; each phase is one function of mm/migrate.c.
 *
 *  phase     src     dst     page tables        src is on     may fail
 *            locked  locked
 *  --------  ------  ------  -----------------  ------------  ------------------
 *  queued    no      -       map src            batch->todo   -
 *  unmapped  yes     yes     migration entries, batch->pairs  yes: undo, then
 *                            flush may pend                   retry or give up
 *  flushed   yes     yes     migration entries  batch->pairs  no
 *  switched  yes     yes     migration entries  batch->pairs  yes: stays, or undo;
 *                                                             freezing the
 *                                                             references of src
 *                                                             is the last step
 *                                                             that can fail
 *  restored  yes     yes     map dst            batch->pairs  no
 *  done      no      no      map dst            nowhere       no
 *
 * Lock order: src before dst, dst never waited for; with more than one pair
 * in a batch src is not waited for either. The rmap locks (anon_vma, i_mmap)
 * nest inside the folio locks; hugetlb takes i_mmap by trylock and keeps it
 * from unmapping to restoring. No LRU cache of another CPU is drained while a
 * folio is locked.
 *
 * Who does what: a step (unmap, move, ...) works on one &struct migrate_pair
 * and says what came of it as &enum migrate_outcome. It moves no source between
 * the lists of a batch and touches no counter; migrate_settle() alone does that.
 */
#ifndef _MM_MIGRATE_H
#define _MM_MIGRATE_H

#include <linux/folio_batch.h>
#include <linux/list.h>
#include <linux/migrate.h>
#include <linux/mm_inline.h>
#include <linux/mmzone.h>
#include <linux/rmap.h>
#include <linux/types.h>
#include <linux/vmstat.h>

struct anon_vma;
struct folio;
struct page;

/**
 * enum migrate_outcome - what a step says about its folio
 * @MIGRATE_NEXT: The step is complete and the next phase may begin.
 * @MIGRATE_DONE: The folio has been replaced, or nobody needs it any more.
 * @MIGRATE_SPLIT: The large folio is in pieces, which are on
 *	&migrate_run.split.
 * @MIGRATE_RETRY: What stood in the way may go away by itself soon.
 * @MIGRATE_NOMEM: No target could be had; the others would fare no better.
 * @MIGRATE_FAILED: Trying again now is of no use.
 */
enum migrate_outcome {
	MIGRATE_NEXT,
	MIGRATE_DONE,
	MIGRATE_SPLIT,
	MIGRATE_RETRY,
	MIGRATE_NOMEM,
	MIGRATE_FAILED,
};

/**
 * enum migrate_cause - why a folio did not move
 * @MIGRATE_CAUSE_NONE: Nothing stood in the way so far.
 * @MIGRATE_CAUSE_LOCKED: Somebody else holds a lock that is not waited for.
 * @MIGRATE_CAUSE_WRITEBACK: Under writeback, which the mode does not wait for, or
 *	which lasted until the caller was killed.
 * @MIGRATE_CAUSE_BUFFERS: A truncated folio kept alive by its buffers.
 * @MIGRATE_CAUSE_MAPPED: A mapping remained after unmapping.
 * @MIGRATE_CAUSE_REFS: A reference that nobody accounts for.
 * @MIGRATE_CAUSE_PINNED: Pinned by an I/O or by a device.
 * @MIGRATE_CAUSE_REFUSED: Its owner, the mapping or its kind does not allow it.
 * @MIGRATE_CAUSE_NOMEM: No target.
 *
 * mm/migrate_trace.h has a word for each.
 */
enum migrate_cause {
	MIGRATE_CAUSE_NONE,
	MIGRATE_CAUSE_LOCKED,
	MIGRATE_CAUSE_WRITEBACK,
	MIGRATE_CAUSE_BUFFERS,
	MIGRATE_CAUSE_MAPPED,
	MIGRATE_CAUSE_REFS,
	MIGRATE_CAUSE_PINNED,
	MIGRATE_CAUSE_REFUSED,
	MIGRATE_CAUSE_NOMEM,
};

/**
 * enum migrate_resort - what may be done for a folio that cannot be moved
 * @MIGRATE_WRITE_OUT: Write it out if it is dirty, so that it can be moved.
 * @MIGRATE_DROP: Drop it from the page cache.
 * @MIGRATE_SWAP_OUT: Swap it out.
 *
 * The bits of the sysctl vm.migrate_resort.
 */
enum migrate_resort {
	MIGRATE_WRITE_OUT	= BIT(0),
	MIGRATE_DROP		= BIT(1),
	MIGRATE_SWAP_OUT	= BIT(2),
};

/**
 * struct migrate_control - what the caller of migrate_pages() asked for
 * @get_new_folio: Allocates the target of one folio.
 * @put_new_folio: Takes an unused target back; NULL means folio_put().
 * @private: Handed to both callbacks.
 * @mode: How long the call may take over one folio.
 * @reason: On whose behalf.
 * @resorts: Bits of &enum migrate_resort, see migrate_resorts().
 *
 * Written once, const from then on.
 */
struct migrate_control {
	new_folio_t *get_new_folio;
	free_folio_t *put_new_folio;
	unsigned long private;
	enum migrate_mode mode;
	enum migrate_reason reason;
	unsigned int resorts;
};

/**
 * struct migrate_tally - a number of folios, in the units that get reported
 * @folios: Folios of any size.
 * @thps: Those of them that a PMD can map, hugetlb folios apart.
 * @pages: All of them in base pages.
 */
struct migrate_tally {
	unsigned int folios;
	unsigned int thps;
	unsigned int pages;
};

static inline void migrate_tally_join(struct migrate_tally *to,
				      const struct migrate_tally *from)
{
	to->folios += from->folios;
	to->thps += from->thps;
	to->pages += from->pages;
}

/* Tell the node of an LRU folio that @nr_pages of it are isolated from now on. */
static inline void migrate_count_isolated(struct folio *folio, long nr_pages)
{
	node_stat_mod_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio),
			    nr_pages);
}

/**
 * struct migrate_isolated - a change of a node's isolated counts, to be made
 * @pgdat: The node, NULL if there is nothing to change.
 * @nr_pages: By how many base pages, anonymous and file.
 */
struct migrate_isolated {
	pg_data_t *pgdat;
	long nr_pages[2];
};

/**
 * migrate_isolated_flush - make the change that has been put off
 * @isolated: The change; none on return.
 *
 * Context: Any.
 */
static inline void migrate_isolated_flush(struct migrate_isolated *isolated)
{
	int is_file;

	for (is_file = 0; is_file < 2; is_file++) {
		if (isolated->nr_pages[is_file])
			mod_node_page_state(isolated->pgdat,
					    NR_ISOLATED_ANON + is_file,
					    isolated->nr_pages[is_file]);
		isolated->nr_pages[is_file] = 0;
	}
	isolated->pgdat = NULL;
}

/**
 * migrate_isolated_mod - change the isolated count of a folio's node, later
 * @isolated: Where the change is noted. One node at a time: the change of
 *	another one is made first.
 * @folio: LRU folio.
 * @nr_pages: Base pages that are isolated from now on, or are not any more.
 *
 * Context: Any. Followed by migrate_isolated_flush() before long, because those
 * who isolate for reclaim are throttled by this count.
 */
static inline void migrate_isolated_mod(struct migrate_isolated *isolated,
					const struct folio *folio, long nr_pages)
{
	pg_data_t *pgdat = folio_pgdat(folio);

	if (isolated->pgdat != pgdat) {
		migrate_isolated_flush(isolated);
		isolated->pgdat = pgdat;
	}
	isolated->nr_pages[folio_is_file_lru(folio)] += nr_pages;
}

/* Enough to forget what the first of them costs more than the others. */
#define MIGRATE_SPARES		16

/**
 * struct migrate_spares - small targets, allocated before they are needed
 * @nid: The node they were asked from.
 * @gfp: How they were asked for.
 * @next: The next one to be used.
 * @nr: The end of those that are there.
 * @page: The targets.
 */
struct migrate_spares {
	int nid;
	gfp_t gfp;
	unsigned int next;
	unsigned int nr;
	struct page *page[MIGRATE_SPARES];
};

/**
 * struct migrate_run - what has become of one call of migrate_pages()
 * @mc: The request.
 * @failed: List of the folios that the caller gets back.
 * @split: List of the pieces of large folios, tried once after their slice.
 * @resorts: &migrate_control.resorts until all have been tried, 0 from then on.
 * @no_room: A small folio has found no target. As long as others may be swapped
 *	out, none is looked for any more.
 * @lacks_room: One that may not be swapped out has found none.
 * @aside: List of the folios for which one of them may help, not counted yet.
 * @aside_pieces: The same for pieces of large folios.
 * @nr_done: Migrated, or freed by their last user before that.
 * @nr_failed: Not migrated. A split folio counts as one failed folio, whatever
 *	happens to its pieces; pieces that fail count as pages only.
 * @nr_split: Large folios that were split.
 * @isolated: Isolated pages that have left since the last settlement.
 * @unused: Small sources that have been replaced, to be freed together.
 * @spares: Targets for the small folios to come.
 *
 * The counters have one writer, migrate_settle() and the functions it is made of,
 * and migrate_give_up() for those that were put aside. What the pieces of a folio
 * add to the folios of @nr_failed is taken back by who has them tried.
 * The lists are spliced by those who begin and end a batch, @split is filled by
 * who splits and @spares by who allocates.
 */
struct migrate_run {
	const struct migrate_control *mc;
	struct list_head failed;
	struct list_head split;
	unsigned int resorts;
	bool no_room;
	bool lacks_room;
	struct list_head aside;
	struct list_head aside_pieces;
	struct migrate_tally nr_done;
	struct migrate_tally nr_failed;
	struct migrate_tally nr_split;
	struct migrate_isolated isolated;
	struct folio_batch unused;
	struct migrate_spares spares;
};

/**
 * struct migrate_batch - folios that pass through the phases together
 * @run: The call they belong to.
 * @mode: What this batch may wait for; never more than the caller's mode. Must
 *	be MIGRATE_ASYNC if there can be more than one folio.
 * @tries: How often each of the fallible phases is tried.
 * @is_final: Nobody tries again what fails here.
 * @aside: Where what fails here may be put aside, or NULL.
 * @flush: How try_to_migrate() shall flush the TLBs.
 * @todo: Queued folios.
 * @pairs: Unmapped folios, each followed by its target.
 * @failed: Folios that are not tried again within this batch.
 * @nr_failed: Folios that count as failed: those on @failed, and in the end
 *	those that are still on @todo.
 * @nr_retry: Folios of the try under way that deserve another one.
 * @anon_vma: Reference that serves all the folios with this anon_vma, held
 *	until the page tables of the whole batch are restored.
 */
struct migrate_batch {
	struct migrate_run *run;
	enum migrate_mode mode;
	unsigned int tries;
	bool is_final;
	struct list_head *aside;
	enum ttu_flags flush;
	struct list_head todo;
	struct list_head pairs;
	struct list_head failed;
	struct migrate_tally nr_failed;
	struct migrate_tally nr_retry;
	struct anon_vma *anon_vma;
};

#define DEFINE_MIGRATE_BATCH(_name, _run, _mode, _tries, _is_final)		\
	struct migrate_batch _name = {					\
		.run = (_run),						\
		.mode = (_mode),					\
		.tries = (_tries),					\
		.is_final = (_is_final),				\
		.todo = LIST_HEAD_INIT(_name.todo),			\
		.pairs = LIST_HEAD_INIT(_name.pairs),			\
		.failed = LIST_HEAD_INIT(_name.failed),			\
	}

/*
 * Tries for each phase of a batch. What may wait is done in two batches: all
 * folios at once without waiting, then what is left over one by one.
 */
#define MIGRATE_TRIES		10
#define MIGRATE_TRIES_ASYNC	3
#define MIGRATE_TRIES_SYNC	(MIGRATE_TRIES - MIGRATE_TRIES_ASYNC)

/**
 * enum migrate_was - the state of a source that must be given on, or undone
 * @MIGRATE_SRC_LOCKED: This call holds the lock of the source.
 * @MIGRATE_DST_LOCKED: This call holds the lock of the target.
 * @MIGRATE_WAS_MAPPED: Migration entries stand for the source.
 * @MIGRATE_WAS_MLOCKED: The source was mlocked.
 * @MIGRATE_WAS_QUEUED: The source was queued for a deferred split.
 * @MIGRATE_WAS_PARTIAL: The source was marked as partially mapped.
 * @MIGRATE_GOT_MARKED: The mark appeared while the source was being unmapped.
 * @MIGRATE_IS_MOVABLE_OPS: Not a folio, but a page with movable_operations.
 * @MIGRATE_IS_HUGETLB: A hugetlb folio.
 */
enum migrate_was {
	MIGRATE_SRC_LOCKED	= BIT(0),
	MIGRATE_DST_LOCKED	= BIT(1),
	MIGRATE_WAS_MAPPED	= BIT(2),
	MIGRATE_WAS_MLOCKED	= BIT(3),
	MIGRATE_WAS_QUEUED	= BIT(4),
	MIGRATE_WAS_PARTIAL	= BIT(5),
	MIGRATE_GOT_MARKED	= BIT(6),
	MIGRATE_IS_MOVABLE_OPS	= BIT(7),
	MIGRATE_IS_HUGETLB	= BIT(8),
};

/**
 * struct migrate_pair - a source, its target and what must be undone
 * @src: The folio to be moved; the caller's isolation holds a reference.
 * @dst: Its target, or NULL.
 * @anon_vma: Reference to be dropped when the page tables are whole again, or
 *	NULL.
 * @was: Bits of &enum migrate_was.
 * @nr_pages: Size of the source when it was picked.
 * @is_thp: Whether a PMD could map it.
 * @cause: Why the last step did not succeed.
 *
 * While it waits in a batch, @dst->migrate_info and @dst->index keep what
 * cannot be read off the source. Both are free until the target takes the
 * place of the source; two whole words, so no bits of a pointer are borrowed.
 */
struct migrate_pair {
	struct folio *src;
	struct folio *dst;
	struct anon_vma *anon_vma;
	unsigned long was;
	unsigned int nr_pages;
	bool is_thp;
	enum migrate_cause cause;
};

/* mm/migrate_mapping.c */
int migrate_folio_switch(struct folio *src, struct folio *dst,
			 enum migrate_mode mode);

/* mm/migrate.c */
void migrate_pair_init(struct migrate_pair *pair, struct folio *src);
enum migrate_outcome migrate_verdict(struct migrate_pair *pair,
				     enum migrate_cause cause);
enum migrate_outcome migrate_switch_verdict(struct migrate_pair *pair, int err);
void migrate_settle(struct migrate_batch *batch, struct migrate_pair *pair,
		    enum migrate_outcome outcome);
void migrate_batch_end(struct migrate_batch *batch, int err);
void migrate_put_target(const struct migrate_control *mc,
			struct migrate_pair *pair);
int migrate_folios(const struct migrate_control *mc, struct list_head *from,
		   unsigned int *ret_succeeded);

/* mm/migrate_writeout.c */
extern unsigned int sysctl_migrate_resort;	/* bits of enum migrate_resort */
unsigned int migrate_resorts(enum migrate_mode mode, enum migrate_reason reason);
bool migrate_may_swap_out(unsigned int resorts, struct folio *src);
bool migrate_may_help(const struct migrate_run *run,
		      const struct migrate_pair *pair);
void migrate_help(const struct migrate_control *mc, struct list_head *aside,
		  struct list_head *again);

/* mm/migrate_movable.c */
int migrate_movable_ops_page(struct page *src, struct page *dst,
			     enum migrate_mode mode);
void putback_movable_ops_page(struct page *page);

/* mm/migrate_hugetlb.c */
#ifdef CONFIG_HUGETLB_PAGE
int migrate_hugetlbs(struct migrate_run *run, struct list_head *from);
#else
static inline int migrate_hugetlbs(struct migrate_run *run,
				   struct list_head *from)
{
	return 0;
}
#endif

/* mm/migrate_copy.c */
int migrate_copy_folio(struct folio *src, struct folio *dst);

#endif /* _MM_MIGRATE_H */
