/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Internal declarations of page migration.
 *
 * A folio passes through the phases below. All folios of a batch complete one
 * phase before the next one begins. The last column says whether the step into
 * the phase can fail.
 *
 *  phase     src     dst     page tables        src is on     may fail
 *            locked  locked
 *  --------  ------  ------  -----------------  ------------  ------------------
 *  queued    no      -       map src            batch->todo   -
 *  unmapped  yes     yes     migration entries, batch->pairs  yes: undo, then
 *                            flush pending                    retry or fail
 *  flushed   yes     yes     migration entries  batch->pairs  no
 *  switched  yes     yes     migration entries  batch->pairs  yes: retry without
 *                                                             undo, or undo and
 *                                                             fail. Freezing the
 *                                                             references of src
 *                                                             is the last step
 *                                                             that can fail
 *  restored  yes     yes     map dst            batch->pairs  no
 *  done      no      no      map dst            nowhere       no
 *
 * Lock order: the lock of src is taken before that of dst. The lock of dst is
 * only tried. If a batch can hold several folio locks, the lock of src is only
 * tried, too. The rmap locks (anon_vma, i_mmap) nest inside the folio locks.
 * For hugetlb files the i_mmap lock is only tried, and held from unmapping to
 * restoring. migrate_pages() does not drain the LRU caches of other CPUs while a
 * folio is locked.
 *
 * A step (unmap, move, ...) works on one &struct migrate_pair and returns an
 * &enum migrate_outcome. Only migrate_account() moves the source between the
 * lists of a batch and counts the outcome.
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
 * enum migrate_outcome - result of a step
 * @MIGRATE_NEXT: The step is complete and the next phase may begin.
 * @MIGRATE_DONE: The folio has been replaced, or its last user has freed it.
 * @MIGRATE_SPLIT: The large folio has been split. Its pieces go to
 *	&migrate_run.split.
 * @MIGRATE_RETRY: The obstacle is probably temporary. The folio is retried if
 *	there are tries left.
 * @MIGRATE_NOMEM: No target could be allocated. No other folio is unmapped
 *	after that, because the allocation would fail for it as well.
 * @MIGRATE_FAILED: The folio is not retried in this batch.
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
 * @MIGRATE_CAUSE_NONE: No obstacle has been found.
 * @MIGRATE_CAUSE_LOCKED: A lock is contended. The call does not wait for it, or
 *	has stopped waiting, see &migrate_control.patience.
 * @MIGRATE_CAUSE_WRITEBACK: The folio is under writeback. The mode does not
 *	allow to wait for it, or the call has stopped waiting.
 * @MIGRATE_CAUSE_BUFFERS: The folio was truncated, but buffers were left.
 * @MIGRATE_CAUSE_MAPPED: The folio is still mapped after unmapping.
 * @MIGRATE_CAUSE_REFS: The folio has an unexpected reference.
 * @MIGRATE_CAUSE_PINNED: The folio is pinned, or has so many references that it
 *	looks pinned.
 * @MIGRATE_CAUSE_REFUSED: The mapping, the driver or the type of the folio does
 *	not allow migration.
 * @MIGRATE_CAUSE_NOMEM: No target could be allocated.
 *
 * The tracepoint mm_migrate_folio_failed reports the cause by the name that
 * mm/migrate_trace.h defines for it.
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
 * enum migrate_resort - what may be done to a folio that cannot be moved
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
 * @put_new_folio: Frees an unused target; NULL means folio_put().
 * @private: Passed to both callbacks.
 * @mode: What the call may wait for.
 * @reason: Why the caller migrates.
 * @resorts: Bits of &enum migrate_resort, see migrate_resorts().
 * @patience: Jiffies that waits for locks and writeback may take in all if they
 *	fail. 0 if there is no limit except a fatal signal.
 *
 * Does not change during the call.
 */
struct migrate_control {
	new_folio_t *get_new_folio;
	free_folio_t *put_new_folio;
	unsigned long private;
	enum migrate_mode mode;
	enum migrate_reason reason;
	unsigned int resorts;
	unsigned long patience;
};

/**
 * struct migrate_tally - a number of folios, in the units that are reported
 * @folios: Number of folios of any size.
 * @thps: Number of these folios that a PMD can map, without hugetlb folios.
 * @pages: Number of base pages of all these folios.
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

/* Add @nr_pages to the isolated count that an LRU folio belongs to. */
static inline void migrate_count_isolated(struct folio *folio, long nr_pages)
{
	node_stat_mod_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio),
			    nr_pages);
}

/**
 * struct migrate_isolated - a pending change of a node's isolated counts
 * @pgdat: The node, NULL if no change is pending.
 * @nr_pages: Base pages to add, for anonymous and for file folios.
 */
struct migrate_isolated {
	pg_data_t *pgdat;
	long nr_pages[2];
};

/**
 * migrate_isolated_flush - apply the pending change
 * @isolated: The change; none is pending on return.
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
 * migrate_isolated_mod - defer a change of the isolated count of a folio's node
 * @isolated: Records the change. A pending change for another node is applied
 *	first.
 * @folio: LRU folio.
 * @nr_pages: Number of base pages to add; negative if they are no longer
 *	isolated.
 *
 * Context: Any. The caller must call migrate_isolated_flush() soon, because
 * reclaim and compaction are throttled while these counts are high.
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

/* Enough to amortise the fixed cost of a bulk allocation. */
#define MIGRATE_SPARES		16

/**
 * struct migrate_spares - small targets that were allocated in bulk
 * @nid: The preferred node of the allocation.
 * @gfp: The flags of the allocation.
 * @next: Index of the first target that has not been used.
 * @nr: Number of targets that were allocated.
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
 * struct migrate_run - state and result of one call of migrate_pages()
 * @mc: The request.
 * @failed: List of the folios that are returned to the caller.
 * @split: List of the pieces of large folios. They are tried once, after the
 *	slice that their folio was in.
 * @resorts: &migrate_control.resorts until all folios have been tried, then 0.
 * @patience: What is left of &migrate_control.patience.
 * @no_target: No target could be allocated for a small folio. While @resorts
 *	allows to swap out, no further small target is allocated.
 * @enomem: No target could be allocated for a folio that must not be
 *	swapped out.
 * @aside: List of the folios for which one of @resorts may help. They are not
 *	counted yet.
 * @aside_pieces: The same for pieces of large folios.
 * @nr_done: Folios that were migrated, or freed by their last user.
 * @nr_failed: Folios that were not migrated. A split folio counts as one failed
 *	folio, whatever happens to its pieces. The pieces that fail are counted
 *	in the number of pages only.
 * @nr_split: Large folios that were split.
 * @isolated: Pending change of the isolated counts.
 * @unused: Small sources that have been replaced, to be freed together.
 * @spares: Targets for the next small folios.
 *
 * Only migrate_account() and migrate_give_up() count a folio.
 * migrate_batch_end() adds the failures of a batch to @nr_failed.
 * migrate_pieces() and migrate_second_attempt() reset the number of failed
 * folios after they have tried pieces, because the folio that was split has
 * been counted.
 */
struct migrate_run {
	const struct migrate_control *mc;
	struct list_head failed;
	struct list_head split;
	unsigned int resorts;
	unsigned long patience;
	bool no_target;
	bool enomem;
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
 * @run: The call of migrate_pages().
 * @mode: What this batch may wait for; never more than the caller's mode. It
 *	must be MIGRATE_ASYNC if several folios can be locked at the same time.
 * @tries: How often each phase that can fail is tried.
 * @is_final: No later batch retries the folios that fail in this one.
 * @aside: List for the folios that fail but may be tried again after one of
 *	&migrate_run.resorts; NULL if there is none.
 * @flush: TTU_BATCH_FLUSH and TTU_BATCH_LOCAL, as passed to try_to_migrate().
 * @todo: Queued folios.
 * @pairs: Unmapped folios, each followed by its target.
 * @failed: Folios that are not tried again within this batch.
 * @nr_failed: Folios that count as failed: those on @failed, and those left on
 *	@todo after the last try.
 * @nr_retry: Folios for which the current try ended in MIGRATE_RETRY.
 * @anon_vma: Reference for all folios with this anon_vma, held until the page
 *	tables of the whole batch are restored.
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
 * Tries for each phase of a batch. If the mode allows waiting, the folios of a
 * slice are first tried together without waiting, and those that remain are
 * then tried one by one.
 */
#define MIGRATE_TRIES		10
#define MIGRATE_TRIES_ASYNC	3
#define MIGRATE_TRIES_SYNC	(MIGRATE_TRIES - MIGRATE_TRIES_ASYNC)

/**
 * enum migrate_was - state of a pair that must be restored or undone
 * @MIGRATE_SRC_LOCKED: This call holds the lock of the source.
 * @MIGRATE_DST_LOCKED: This call holds the lock of the target.
 * @MIGRATE_WAS_MAPPED: Mappings of the source were replaced by migration
 *	entries.
 * @MIGRATE_WAS_MLOCKED: The source was mlocked.
 * @MIGRATE_WAS_QUEUED: The source was queued for a deferred split.
 * @MIGRATE_WAS_PARTIAL: The source was marked as partially mapped.
 * @MIGRATE_GOT_MARKED: The source was marked as partially mapped while it was
 *	being unmapped.
 * @MIGRATE_IS_MOVABLE_OPS: The source is a page with movable_operations.
 * @MIGRATE_IS_HUGETLB: The source is a hugetlb folio.
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
 * @src: The folio to be moved. The isolation holds a reference to it.
 * @dst: Its target, or NULL.
 * @anon_vma: Reference to be dropped after the page tables are restored, or
 *	NULL.
 * @was: Bits of &enum migrate_was.
 * @nr_pages: Number of base pages of the source at the beginning of the step.
 * @is_thp: A PMD could map the source at that time.
 * @cause: Why the last step failed.
 *
 * While a pair is on &migrate_batch.pairs, @dst->migrate_info stores @anon_vma
 * and @dst->index stores @was. Neither member of @dst is used otherwise before
 * @dst replaces @src.
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
enum migrate_outcome migrate_fail(struct migrate_pair *pair,
				  enum migrate_cause cause);
enum migrate_outcome migrate_switch_outcome(struct migrate_pair *pair, int err);
void migrate_account(struct migrate_batch *batch, struct migrate_pair *pair,
		     enum migrate_outcome outcome);
void migrate_batch_end(struct migrate_batch *batch, int err);
void migrate_put_target(const struct migrate_control *mc,
			struct migrate_pair *pair);
int migrate_folios(const struct migrate_control *mc, struct list_head *from,
		   unsigned int *ret_succeeded);

/* mm/migrate_wait.c */
unsigned long migrate_patience(enum migrate_mode mode, enum migrate_reason reason);
void migrate_charge(struct migrate_run *run, unsigned long start);
bool migrate_pause(struct migrate_run *run, long ticks);
bool migrate_wait_locked(struct migrate_run *run, struct folio *folio);
bool migrate_wait_writeback(struct migrate_run *run, struct folio *folio);

/* mm/migrate_writeout.c */
extern unsigned int sysctl_migrate_resort;	/* bits of enum migrate_resort */
unsigned int migrate_resorts(enum migrate_mode mode, enum migrate_reason reason);
bool migrate_may_swap_out(unsigned int resorts, struct folio *src);
bool migrate_may_help(const struct migrate_run *run,
		      const struct migrate_pair *pair);
void migrate_help(struct migrate_run *run, struct list_head *aside,
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
