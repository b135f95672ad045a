// SPDX-License-Identifier: GPL-2.0-only
/*
 * Migration of hugetlb folios.
 *
 * They go one at a time, each through all phases at once. There would be
 * little to gain from a batch: one TLB flush is nothing beside the copy. And
 * there is something to lose: the mapping of a shared folio has to be locked
 * from the first unmapping to the last remapping, because unmapping may find
 * that the page table itself is shared and then has to unshare it.
 *
 * The target keeps flags of its own in &folio.private, so a pair lives on the
 * stack only.
 */
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched.h>

#include "internal.h"
#include "migrate.h"

/* From this try on, a full wait includes the folio lock. */
#define MIGRATE_HUGETLB_PATIENT	3

/*
 * Replace the mappings by migration entries, move, and map what is valid then,
 * the target or the source.
 *
 * Direct I/O to a hugetlb folio takes no lock and sets no writeback flag, it
 * just holds references, and these make the switch fail. New I/O faults on the
 * migration entry and waits.
 */
static int migrate_hugetlb_switch(struct migrate_pair *pair,
				  enum migrate_mode mode, enum ttu_flags ttu)
{
	struct folio *src = pair->src, *dst = pair->dst;
	const bool mapped = folio_mapped(src);
	int err = -EAGAIN;

	if (mapped) {
		/* Mapping it again needs the rmap; a file is held by the lock. */
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
 * As above, with the lock of the mapping held where page tables may be shared.
 * It ranks before the folio lock that we hold, so it is only tried.
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

/* Move a source that is locked; the target is not. */
static int migrate_hugetlb_move(struct migrate_pair *pair,
				const struct migrate_control *mc)
{
	struct folio *src = pair->src, *dst = pair->dst;
	int err = -EAGAIN;

	/*
	 * On its way to be freed. Its subpool is told by free_huge_folio(), for
	 * which it must not get lost; moving it would leak a page of the quota.
	 */
	if (hugetlb_folio_subpool(src) && !folio_mapping(src))
		return -EBUSY;

	/* Before the mapcount is looked at. None to be had means not mapped. */
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
	if (folio_trylock(src))
		return true;
	if (may_wait)
		folio_lock(src);
	return may_wait;
}

/* All phases for one folio. Nothing is locked on return. */
static enum migrate_outcome
migrate_hugetlb_folio(struct migrate_pair *pair,
		      const struct migrate_control *mc, bool may_wait)
{
	enum migrate_outcome outcome;
	int err;

	/*
	 * Not every size can be migrated on every architecture, and those who
	 * isolate by pfn instead of by page table do not ask.
	 */
	if (!hugepage_migration_supported(folio_hstate(pair->src)))
		return migrate_verdict(pair, MIGRATE_CAUSE_REFUSED);

	/* Freed under us. */
	if (folio_ref_count(pair->src) == 1)
		return MIGRATE_DONE;

	pair->dst = mc->get_new_folio(pair->src, mc->private);
	if (!pair->dst)
		return migrate_verdict(pair, MIGRATE_CAUSE_NOMEM);

	if (migrate_hugetlb_lock(pair->src, may_wait)) {
		err = migrate_hugetlb_move(pair, mc);
		outcome = migrate_switch_verdict(pair, err);
		folio_unlock(pair->src);
	} else {
		outcome = migrate_verdict(pair, MIGRATE_CAUSE_LOCKED);
	}

	if (outcome == MIGRATE_DONE) {
		folio_put(pair->dst);
		pair->dst = NULL;
	} else {
		migrate_put_target(mc, pair);
	}
	return outcome;
}

/* One try to move all hugetlb folios that are queued. */
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
		migrate_settle(batch, &pair, outcome);
		if (outcome == MIGRATE_NOMEM)
			return -ENOMEM;
	}
	return 0;
}

/**
 * migrate_hugetlbs - migrate the hugetlb folios of a list
 * @run: The call of migrate_pages().
 * @from: The caller's list. No hugetlb folio is on it afterwards.
 *
 * Folios that were migrated are back with their hstate, the others are on
 * &migrate_run.failed.
 *
 * Context: May sleep, no folio is locked.
 * Return: 0, or -ENOMEM if there was no target for one of them.
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

	/* An isolated hugetlb folio is in use, so the pools cannot be empty. */
	if (!hugetlb_total_pages())
		return 0;

	list_for_each_entry_safe(folio, next, from, lru)
		if (folio_test_hugetlb(folio))
			list_move_tail(&folio->lru, &batch.todo);

	for (try = 0; try < batch.tries && !list_empty(&batch.todo); try++) {
		may_wait = sync && try >= MIGRATE_HUGETLB_PATIENT;
		err = migrate_hugetlbs_once(&batch, may_wait);
		if (err)
			break;
	}

	migrate_tally_join(&batch.nr_failed, &batch.nr_retry);
	migrate_batch_end(&batch, err);
	return err;
}
