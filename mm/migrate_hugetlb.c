// SPDX-License-Identifier: GPL-2.0-only

/*
 * Copyright (C) 2006 Silicon Graphics, Inc., Christoph Lameter
 *
 * This file replaces a part of mm/migrate.c, whose authors were IWAMOTO Toshihiro,
 * Hirokazu Takahashi, Dave Hansen and Christoph Lameter.
 */

/*
 * Migration of hugetlb folios.
 *
 * Each folio passes through all phases before the next one is tried. A batch
 * would save little, as a TLB flush costs little compared with the copy. It
 * would also have to keep i_mmap_rwsem of every file in it. i_mmap_rwsem is
 * held from the first unmap to the last restore, because unmapping may have to
 * unshare a shared page table.
 *
 * hugetlb uses &folio.private of the target for its own flags. So the state of
 * a pair cannot be stored in the target and is kept on the stack.
 */
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched.h>

#include "internal.h"
#include "migrate.h"

/* From this try on, MIGRATE_SYNC waits for the lock of the source. */
#define MIGRATE_HUGETLB_WAIT_TRY	3

/*
 * Replace the mappings by migration entries and move the folio. Then map the
 * target, or after a failure the source.
 *
 * Direct I/O holds only references to the folio: it neither locks it nor marks it
 * as under writeback. These references make migrate_folio_switch() fail. I/O that
 * begins later faults on the migration entry and waits.
 */
static int migrate_hugetlb_switch(struct migrate_pair *pair,
				  enum migrate_mode mode, enum ttu_flags ttu)
{
	struct folio *src = pair->src, *dst = pair->dst;
	const bool mapped = folio_mapped(src);
	int err = -EAGAIN;

	if (mapped) {
		/*
		 * remove_migration_ptes() needs the rmap. The folio lock keeps the
		 * mapping of a file, and @pair->anon_vma the anon_vma.
		 */
		VM_WARN_ON_ONCE_FOLIO(folio_test_anon(src) && !pair->anon_vma,
				      src);
		try_to_migrate(src, ttu);
	}
	if (!folio_mapped(src))
		err = migrate_folio_switch(src, dst, mode);
	if (mapped)
		remove_migration_ptes(src, err ? src : dst, ttu);
	return err;
}

/*
 * As migrate_hugetlb_switch(), but for a mapped file folio with i_mmap_rwsem held
 * for writing, which unsharing a page table requires. i_mmap_rwsem comes before
 * the folio lock in the lock order. The source is locked here, so only a trylock
 * is possible.
 */
static int migrate_hugetlb_locked(struct migrate_pair *pair,
				  enum migrate_mode mode)
{
	struct address_space *mapping;
	int err;

	if (folio_test_anon(pair->src) || !folio_mapped(pair->src))
		return migrate_hugetlb_switch(pair, mode, 0);

	mapping = hugetlb_folio_mapping_lock_write(pair->src);
	if (!mapping)
		return -EAGAIN;
	err = migrate_hugetlb_switch(pair, mode, TTU_RMAP_LOCKED);
	i_mmap_unlock_write(mapping);
	return err;
}

/* The source is locked, the target is not. */
static int migrate_hugetlb_move(struct migrate_pair *pair,
				const struct migrate_control *mc)
{
	struct folio *src = pair->src, *dst = pair->dst;
	int err = -EAGAIN;

	/*
	 * A folio with a subpool but without a mapping is being freed, and
	 * free_huge_folio() will return its page to the subpool. Migration would
	 * lose the subpool, and a page of its quota would leak.
	 */
	if (hugetlb_folio_subpool(src) && !folio_mapping(src))
		return -EBUSY;

	/* Must come before the check of the mapcount. NULL means not mapped. */
	if (folio_test_anon(src))
		pair->anon_vma = folio_get_anon_vma(src);
	if (likely(folio_trylock(dst))) {
		err = migrate_hugetlb_locked(pair, mc->mode);
		folio_unlock(dst);
	}
	if (pair->anon_vma)
		put_anon_vma(pair->anon_vma);
	pair->anon_vma = NULL;

	if (!err)
		move_hugetlb_state(src, dst, mc->reason);
	return err;
}

static bool migrate_hugetlb_lock(struct folio *src, bool may_wait)
{
	return folio_trylock(src) || (may_wait && !folio_lock_killable(src));
}

/* Take one folio through all phases. Neither folio is locked on return. */
static enum migrate_outcome
migrate_hugetlb_folio(struct migrate_pair *pair,
		      const struct migrate_control *mc, bool may_wait)
{
	enum migrate_outcome outcome;
	int err;

	/*
	 * Some architectures cannot migrate all sizes. Callers that isolate by pfn
	 * have not checked that.
	 */
	if (!hugepage_migration_supported(folio_hstate(pair->src)))
		return migrate_fail(pair, MIGRATE_CAUSE_REFUSED);

	/* Its last user has freed it since the isolation. */
	if (folio_ref_count(pair->src) == 1)
		return MIGRATE_DONE;

	pair->dst = mc->get_new_folio(pair->src, mc->private);
	if (!pair->dst)
		return migrate_fail(pair, MIGRATE_CAUSE_NOMEM);

	if (migrate_hugetlb_lock(pair->src, may_wait)) {
		err = migrate_hugetlb_move(pair, mc);
		outcome = migrate_switch_outcome(pair, err);
		folio_unlock(pair->src);
	} else {
		outcome = migrate_fail(pair, MIGRATE_CAUSE_LOCKED);
	}

	if (outcome == MIGRATE_DONE) {
		folio_put(pair->dst);
		pair->dst = NULL;
	} else {
		migrate_put_target(mc, pair);
	}
	return outcome;
}

/* Try once to move each queued folio. */
static int migrate_hugetlbs_once(struct migrate_batch *batch, bool may_wait)
{
	enum migrate_outcome outcome;
	struct migrate_pair pair;
	struct folio *src, *next;

	batch->nr_retry = (struct migrate_tally){};
	list_for_each_entry_safe(src, next, &batch->todo, lru) {
		cond_resched();
		migrate_pair_init(&pair, src);
		pair.was = MIGRATE_IS_HUGETLB;
		pair.is_thp = false;
		outcome = migrate_hugetlb_folio(&pair, batch->run->mc, may_wait);
		migrate_account(batch, &pair, outcome);
		if (outcome == MIGRATE_NOMEM)
			return -ENOMEM;
	}
	return 0;
}

/**
 * migrate_hugetlbs - migrate the hugetlb folios of a list
 * @run: The call of migrate_pages().
 * @from: The caller's list. No hugetlb folio is on it on return.
 *
 * The sources of successful migrations are returned to their hstate. The other
 * hugetlb folios are put on &migrate_run.failed.
 *
 * Context: May sleep. The caller must not hold the lock of a folio.
 * Return: 0, or -ENOMEM if no target could be allocated for one of them.
 */
int migrate_hugetlbs(struct migrate_run *run, struct list_head *from)
{
	const bool sync = run->mc->mode == MIGRATE_SYNC;
	DEFINE_MIGRATE_BATCH(batch, run, run->mc->mode, MIGRATE_TRIES,
			     /* is_final = */ true);
	struct folio *folio, *next;
	unsigned int try;
	bool may_wait;
	int err = 0;

	/* Spare other calls the search of the list if no hugetlb page exists. */
	if (!hugetlb_total_pages())
		return 0;

	list_for_each_entry_safe(folio, next, from, lru)
		if (folio_test_hugetlb(folio))
			list_move_tail(&folio->lru, &batch.todo);

	for (try = 0; try < batch.tries && !list_empty(&batch.todo); try++) {
		may_wait = sync && try >= MIGRATE_HUGETLB_WAIT_TRY;
		err = migrate_hugetlbs_once(&batch, may_wait);
		if (err)
			break;
	}

	migrate_tally_join(&batch.nr_failed, &batch.nr_retry);
	migrate_batch_end(&batch, err);
	return err;
}
