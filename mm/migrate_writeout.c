// SPDX-License-Identifier: GPL-2.0-only
/*
 * What may still be done for a folio that cannot be moved.
 *
 * Such a folio is put aside until its call of migrate_pages() has been through
 * all the others. No folio is locked then, and one of these may be done:
 *
 *  the folio is                          it is        which helps because
 *  ------------------------------------  -----------  ---------------------------
 *  dirty, and its file system does not   written out  a clean folio needs no help
 *  move it                                            of the file system
 *  clean, with private data that its     dropped      the next fault reads it to
 *  file system does not move                          where it belongs
 *  anonymous, and there is no room       swapped out  the same
 *  where a policy binds it to
 *
 * Dropping and swapping leave the folio on its list with the reference of the
 * isolation alone, which the engine takes for a folio that its last user has freed.
 * Then the folios for which something has changed are tried once more, and
 * nothing is put aside any more: that is the end of it.
 *
 * All is begun for each folio before it is waited for, apart from folios that
 * somebody else has begun to write. Whoever waits may be killed. A folio that is
 * not clean then has had its chance, be it that somebody wrote to it meanwhile or
 * that the disk fails; an error of the disk is kept by the mapping for the next
 * fsync().
 */
#include <linux/backing-dev.h>
#include <linux/blkdev.h>
#include <linux/cpuset.h>
#include <linux/fs.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/swap_ops.h>
#include <linux/sysctl.h>
#include <linux/vmstat.h>
#include <linux/writeback.h>

#include "internal.h"
#include "migrate.h"
#include "swap.h"

/* Swapping out is for who asks for it. */
unsigned int sysctl_migrate_resort __read_mostly =
	MIGRATE_WRITE_OUT | MIGRATE_DROP;

#ifdef CONFIG_SYSCTL
static const unsigned int migrate_resort_max =
	MIGRATE_WRITE_OUT | MIGRATE_DROP | MIGRATE_SWAP_OUT;

static const struct ctl_table migrate_table[] = {
	{
		.procname	= "migrate_resort",
		.data		= &sysctl_migrate_resort,
		.maxlen		= sizeof(sysctl_migrate_resort),
		.mode		= 0644,
		.proc_handler	= proc_douintvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= (void *)&migrate_resort_max,
	},
};

static int __init migrate_resort_init(void)
{
	register_sysctl_init("vm", migrate_table);
	return 0;
}
late_initcall(migrate_resort_init);
#endif

/* ----------------------------------------------------- who may ask, and when */

/*
 * The callers that hold no lock of a file system, of an mm or of a folio, and
 * for whom a folio that stays is a failure.
 */
static unsigned int migrate_resorts_of(enum migrate_reason reason)
{
	switch (reason) {
	case MR_SYSCALL:
	case MR_MEMPOLICY_MBIND:
		return MIGRATE_WRITE_OUT | MIGRATE_DROP | MIGRATE_SWAP_OUT;
	case MR_MEMORY_HOTPLUG:
		/* Its targets have nothing to do with a policy. */
		return MIGRATE_WRITE_OUT | MIGRATE_DROP;
	default:
		return 0;
	}
}

/**
 * migrate_resorts - what may be done for the folios of a call
 * @mode: How long the call may take over one folio.
 * @reason: On whose behalf.
 *
 * Nothing for those who do not wait for I/O or who may be in the middle of some:
 * reclaim, compaction, and whoever allocates without __GFP_IO or __GFP_FS now.
 *
 * Context: Any.
 * Return: Bits of &enum migrate_resort.
 */
unsigned int migrate_resorts(enum migrate_mode mode, enum migrate_reason reason)
{
	if (mode != MIGRATE_SYNC || (current->flags & PF_MEMALLOC))
		return 0;
	if (current_gfp_context(GFP_KERNEL) != GFP_KERNEL)
		return 0;
	return migrate_resorts_of(reason) & READ_ONCE(sysctl_migrate_resort);
}

/* Does swap have room, and may the folio's memory cgroup have some of it? */
static bool migrate_has_swap(struct folio *folio)
{
	struct mem_cgroup *memcg;
	long nr;

	rcu_read_lock();
	memcg = folio_memcg(folio);
	nr = memcg ? mem_cgroup_get_nr_swap_pages(memcg) : get_nr_swap_pages();
	rcu_read_unlock();
	return nr > 0;
}

/* Cheap reasons why an anonymous folio has to stay in memory. */
static bool migrate_is_swappable(struct folio *folio)
{
	return !folio_test_large(folio) && !folio_test_ksm(folio) &&
	       folio_test_swapbacked(folio) && !folio_test_mlocked(folio) &&
	       migrate_has_swap(folio);
}

/**
 * migrate_may_swap_out - may a folio without a target be swapped out?
 * @resorts: Bits of &enum migrate_resort.
 * @src: The folio.
 *
 * A look without a lock. migrate_help() takes another one.
 *
 * Context: Any.
 * Return: false if it may certainly not.
 */
bool migrate_may_swap_out(unsigned int resorts, struct folio *src)
{
	return (resorts & MIGRATE_SWAP_OUT) && folio_test_anon(src) &&
	       migrate_is_swappable(src);
}

/*
 * Was it the folio's own file system that did not move it? The method says so by
 * an error that does not go away. A folio that has failed in each of its tries, and
 * has no cause then, was in use most likely: it had better stay than be dropped.
 * Memory that is to be removed has to go at any price, and some methods give
 * out that a dirty folio, or one with busy buffers, may be tried again.
 */
static bool migrate_is_refused(const struct migrate_control *mc,
			       const struct migrate_pair *pair)
{
	if (pair->cause == MIGRATE_CAUSE_NONE)
		return mc->reason == MR_MEMORY_HOTPLUG;
	return pair->cause == MIGRATE_CAUSE_REFUSED;
}

/**
 * migrate_may_help - is it worth to put a folio aside?
 * @run: The call.
 * @pair: The folio, which has been given up. If it has been unmapped before, and
 *	was tried until there were no tries left, then there is no cause.
 *
 * A look without a lock. migrate_help() takes another one.
 *
 * Context: Any.
 * Return: false if nothing could be done for it.
 */
bool migrate_may_help(const struct migrate_run *run,
		      const struct migrate_pair *pair)
{
	struct folio *src = pair->src;

	if (!run->resorts ||
	    (pair->was & (MIGRATE_IS_MOVABLE_OPS | MIGRATE_IS_HUGETLB)))
		return false;
	if (pair->cause == MIGRATE_CAUSE_NOMEM)
		return migrate_may_swap_out(run->resorts, src);
	if (!migrate_is_refused(run->mc, pair) || folio_test_anon(src))
		return false;
	if (folio_test_dirty(src))
		return run->resorts & MIGRATE_WRITE_OUT;
	return (run->resorts & MIGRATE_DROP) && folio_test_private(src);
}

/* --------------------------------------------------------------- writing out */

/*
 * Keep the inode of a locked folio, which keeps the mapping, and keep its file
 * system mounted. Both are only tried: whoever unmounts the file system, or lets
 * go of the last link, is about to take the folio away. And both are let go
 * without waiting for somebody to thaw the file system, as it cannot be frozen as
 * long as it is kept.
 */
static struct inode *migrate_hold_inode(struct address_space *mapping)
{
	struct inode *inode = mapping->host;
	struct super_block *sb = inode->i_sb;

	/* Some file systems have mappings that live elsewhere. */
	if (mapping != &inode->i_data || !super_trylock_shared(sb))
		return NULL;
	if (sb->s_writers.frozen == SB_UNFROZEN && igrab(inode))
		return inode;
	up_read(&sb->s_umount);
	return NULL;
}

static void migrate_put_inode(struct inode *inode)
{
	struct super_block *sb = inode->i_sb;

	iput(inode);
	up_read(&sb->s_umount);
}

/*
 * Does writing help? Not if the file system has a method and had a reason of its
 * own. Unless the memory has to go: some methods do not move what is dirty.
 *
 * Whose server may be waiting for our caller is not waited for.
 */
static bool migrate_may_write(struct address_space *mapping,
			      enum migrate_reason reason)
{
	if (mapping->a_ops->migrate_folio && reason != MR_MEMORY_HOTPLUG)
		return false;
	return mapping->a_ops->writepages && mapping_can_writeback(mapping) &&
	       !mapping_writeback_may_deadlock_on_reclaim(mapping);
}

/*
 * Begin to write a folio out, like the flusher would some time.
 *
 * The folio is locked and not under writeback, and unlocked on return.
 */
static bool migrate_write_out(struct folio *folio)
{
	struct address_space *mapping = folio->mapping;
	struct inode *inode = migrate_hold_inode(mapping);
	const loff_t pos = folio_pos(folio);
	const loff_t end = pos + folio_size(folio) - 1;
	const bool dirty = folio_test_dirty(folio);
	int err;

	folio_unlock(folio);
	if (!inode)
		return false;

	err = filemap_flush_range(mapping, pos, end);
	migrate_put_inode(inode);
	if (!err && dirty)
		count_vm_events(PGMIGRATE_WRITEOUT, folio_nr_pages(folio));
	return !err;
}

/* Has the folio been written, and not been written to since? */
static bool migrate_is_written(struct folio *folio)
{
	return !folio_wait_writeback_killable(folio) && !folio_test_dirty(folio);
}

/* ------------------------------------------------------------------ dropping */

/*
 * Only private data that a method does not move: without a method the folio
 * could have been moved if it parted from its private data.
 */
static bool migrate_may_drop(struct address_space *mapping, struct folio *folio)
{
	return mapping->a_ops->migrate_folio && folio_test_private(folio) &&
	       !folio_test_dirty(folio) && !folio_test_writeback(folio) &&
	       !folio_test_mlocked(folio) && !mapping_unevictable(mapping);
}

/* As reclaim does. */
static enum ttu_flags migrate_drop_flags(struct folio *folio)
{
	enum ttu_flags flags = 0;

	if (folio_test_large(folio))
		flags |= TTU_SYNC;
	if (folio_test_pmd_mappable(folio))
		flags |= TTU_SPLIT_HUGE_PMD;
	return flags;
}

/*
 * Take a clean folio out of the page cache. If it has parted from its private
 * data but somebody uses it, then it may be moved now.
 */
static bool migrate_drop(struct folio *folio)
{
	struct address_space *mapping = folio->mapping;

	if (!filemap_release_folio(folio, GFP_KERNEL))
		return false;
	if (folio_mapped(folio))
		try_to_unmap(folio, migrate_drop_flags(folio));
	if (!folio_mapped(folio) && remove_mapping(mapping, folio))
		count_vm_events(PGMIGRATE_DROP, folio_nr_pages(folio));
	return true;
}

/* -------------------------------------------------------------- swapping out */

#ifdef CONFIG_NUMA
/* Policies are freed by RCU. One that changes now will have been the other one. */
static bool migrate_policy_forbids(const struct vm_area_struct *vma, int nid)
{
	const struct mempolicy *pol;
	bool forbids;

	rcu_read_lock();
	pol = READ_ONCE(vma->vm_policy);
	forbids = pol && pol->mode == MPOL_BIND && !node_isset(nid, pol->nodes);
	rcu_read_unlock();
	return forbids;
}
#else
static bool migrate_policy_forbids(const struct vm_area_struct *vma, int nid)
{
	return false;
}
#endif

#ifdef CONFIG_MEMCG
static bool migrate_cpuset_forbids(const struct vm_area_struct *vma, int nid)
{
	struct task_struct *owner;
	nodemask_t allowed;
	bool forbids = false;

	rcu_read_lock();
	owner = rcu_dereference(vma->vm_mm->owner);
	if (owner) {
		allowed = cpuset_mems_allowed(owner);
		forbids = !node_isset(nid, allowed);
	}
	rcu_read_unlock();
	return forbids;
}
#else
/* Nobody knows whose memory it is. */
static bool migrate_cpuset_forbids(const struct vm_area_struct *vma, int nid)
{
	return false;
}
#endif

/* Goes on while there is a policy for each VMA. The rmap keeps the VMA. */
static bool migrate_vma_forbids(struct folio *folio, struct vm_area_struct *vma,
				unsigned long addr, void *forbids)
{
	const int nid = folio_nid(folio);
	bool *all_forbid = forbids;

	*all_forbid = migrate_policy_forbids(vma, nid) ||
		      migrate_cpuset_forbids(vma, nid);
	return *all_forbid;
}

/*
 * May none of those who use a locked folio have it where it is? That is more than
 * that somebody wants it elsewhere. The process's own policy does not count: it
 * says where memory comes from, not where it is.
 */
static bool migrate_is_misplaced(struct folio *folio)
{
	bool all_forbid = false;
	struct rmap_walk_control rwc = {
		.rmap_one = migrate_vma_forbids,
		.arg = &all_forbid,
		.anon_lock = folio_lock_anon_vma_read,
	};

	rmap_walk(folio, &rwc);
	return all_forbid;
}

/*
 * Unmap a folio and begin to write it to swap. There is nothing in an entry that
 * is new, so the folio is dirty then, whatever the page tables say.
 *
 * The folio is locked and not under writeback, and unlocked on return.
 */
static bool migrate_swap_out(struct folio *folio, struct swap_io_ctx *ctx)
{
	int err;

	if (!folio_test_swapcache(folio)) {
		if (folio_alloc_swap(folio))
			goto unlock;
		folio_mark_dirty(folio);
	}
	if (folio_mapped(folio))
		try_to_unmap(folio, 0);
	if (folio_mapped(folio) || folio_maybe_dma_pinned(folio)) {
		folio_free_swap(folio);
		goto unlock;
	}
	if (!folio_clear_dirty_for_io(folio)) {
		/* Written already, and only read since. */
		folio_unlock(folio);
		return true;
	}

	err = swap_writeout(ctx, folio);
	if (err != AOP_WRITEPAGE_ACTIVATE)
		return !err;
unlock:
	folio_unlock(folio);
	return false;
}

/* Take a folio that has been written out of the swap cache. */
static bool migrate_is_swapped_out(struct folio *folio)
{
	bool gone = false;

	if (folio_wait_writeback_killable(folio) || folio_lock_killable(folio))
		return false;
	if (folio_test_swapcache(folio) && !folio_mapped(folio) &&
	    !folio_test_writeback(folio))
		gone = remove_mapping(folio_mapping(folio), folio);
	folio_unlock(folio);
	if (gone)
		count_vm_event(PGMIGRATE_SWAPOUT);
	return gone;
}

/* ----------------------------------------------------------- who needs what */

/* What can be done for a locked file folio, if anything. */
static unsigned int migrate_choose_file(const struct migrate_control *mc,
					struct folio *folio)
{
	struct address_space *mapping = folio->mapping;

	/* Truncated, not to be read, or to be swapped. */
	if (!mapping || mapping_inaccessible(mapping) ||
	    folio_test_swapbacked(folio))
		return 0;
	if (migrate_may_drop(mapping, folio))
		return MIGRATE_DROP;
	return migrate_may_write(mapping, mc->reason) ? MIGRATE_WRITE_OUT : 0;
}

/*
 * What can be done for a locked folio, if anything. Not for one that somebody
 * refers to whom nobody knows: it would stay where it is.
 */
static unsigned int migrate_choose(const struct migrate_control *mc,
				   struct folio *folio)
{
	unsigned int resort;

	if (folio_ref_count(folio) != folio_expected_ref_count(folio) + 1 ||
	    folio_contain_hwpoisoned_page(folio))
		return 0;
	if (!folio_test_anon(folio))
		resort = migrate_choose_file(mc, folio);
	else if (migrate_is_swappable(folio) && migrate_is_misplaced(folio))
		resort = MIGRATE_SWAP_OUT;
	else
		resort = 0;
	return resort & mc->resorts;
}

/*
 * Is only the isolation left? A file may have been truncated, and a process may have
 * come to its end, since the folio was tried.
 */
static bool migrate_is_freed(const struct folio *folio)
{
	return folio_ref_count(folio) == 1;
}

/*
 * Lock a folio that nobody is writing. Nothing may begin to write it a second time,
 * but it may be dirty: who finds it in the swap cache writes to it while it is on
 * its way to the disk. Who has not found a target has not waited for that.
 */
static bool migrate_help_lock(struct folio *folio, struct swap_io_ctx *ctx)
{
	if (folio_lock_killable(folio))
		return false;
	if (!folio_test_writeback(folio))
		return true;

	/* The disk may be slow, and somebody may wait for what is collected. */
	swap_write_submit(ctx);
	if (!folio_wait_writeback_killable(folio))
		return true;
	folio_unlock(folio);
	return false;
}

/*
 * Begin to do for a folio what can be done. Returns false if that is nothing.
 *
 * Pages that go to swap are collected as long as there is nothing else to do:
 * file systems allocate, which may take that others get rid of theirs.
 */
static bool migrate_help_begin(const struct migrate_control *mc,
			       struct folio *folio, struct swap_io_ctx *ctx)
{
	bool begun = false;

	if (!folio_test_anon(folio))
		swap_write_submit(ctx);
	if (migrate_is_freed(folio))
		return true;
	if (!migrate_help_lock(folio, ctx))
		return false;

	switch (migrate_choose(mc, folio)) {
	case MIGRATE_WRITE_OUT:
		return migrate_write_out(folio);
	case MIGRATE_SWAP_OUT:
		return migrate_swap_out(folio, ctx);
	case MIGRATE_DROP:
		begun = migrate_drop(folio);
		break;
	}
	folio_unlock(folio);
	return begun;
}

/* Wait for what has been begun. Returns false if it has not been successful. */
static bool migrate_help_end(struct folio *folio)
{
	if (migrate_is_freed(folio))
		return true;
	if (folio_test_anon(folio))
		return migrate_is_swapped_out(folio);
	return migrate_is_written(folio);
}

/**
 * migrate_help - do what can be done for folios that could not be moved
 * @mc: The request.
 * @aside: The folios. Those that stay here are not to be tried again.
 * @again: Empty. Those for which something has changed, on return.
 *
 * Context: May sleep, and wait for I/O. Nothing of any folio is held.
 */
void migrate_help(const struct migrate_control *mc, struct list_head *aside,
		  struct list_head *again)
{
	struct folio *folio, *next;
	struct swap_io_ctx ctx = {};
	struct blk_plug plug;
	LIST_HEAD(begun);

	blk_start_plug(&plug);
	list_for_each_entry_safe(folio, next, aside, lru) {
		cond_resched();
		if (fatal_signal_pending(current))
			break;
		if (migrate_help_begin(mc, folio, &ctx))
			list_move_tail(&folio->lru, &begun);
	}
	swap_write_submit(&ctx);
	blk_finish_plug(&plug);

	list_for_each_entry_safe(folio, next, &begun, lru) {
		if (migrate_help_end(folio))
			list_move_tail(&folio->lru, again);
	}
	list_splice_tail(&begun, aside);
}
