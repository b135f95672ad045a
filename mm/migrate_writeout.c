// SPDX-License-Identifier: GPL-2.0-only
/*
 * Write out, drop or swap out folios that could not be migrated.
 *
 * Such a folio is put aside until migrate_pages() has tried all other folios of the
 * call. No folio is locked then. Depending on the folio, one of these is done:
 *
 *  the folio is                          it is        afterwards
 *  ------------------------------------  -----------  ---------------------------
 *  dirty, and its file system does not   written out  a clean folio can be migrated
 *  migrate it                                         without its file system
 *  clean, with private data that its     dropped      the next access reads it into
 *  file system does not migrate                       a new folio
 *  anonymous, without a target, on a     swapped out  the next fault reads it into
 *  node that policy or cpuset forbid                  a new folio
 *
 * A folio that was dropped or swapped out stays on its list, with only the reference
 * of the isolation. mm/migrate.c treats it as a folio that its last user has freed.
 * The folios for which this was successful are tried once more. A folio that fails
 * then is not put aside again.
 *
 * migrate_help() starts the I/O of all folios before it waits for any of it. But if a
 * folio is under writeback already, it waits for that first. A fatal signal ends the
 * waits for locks and for writeback, but not the start of a write, which waits for a
 * free request of the disk as in fsync(). A move for a cpuset has a time limit instead,
 * and has the flusher threads write files. It starts writes to swap itself.
 *
 * A folio that is dirty after its writeback is not tried again: either a process has
 * written to it, or the disk has failed. The mapping keeps the error of the disk for the
 * next fsync().
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

/* Folios are not swapped out unless the administrator enables it. */
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

/* ------------------------------------------------ callers and their conditions */

/*
 * Allow something only to callers that hold no lock of a file system, of an mm or of a
 * folio, and that report a folio which was not migrated as a failure.
 */
static unsigned int migrate_resorts_of(enum migrate_reason reason)
{
	switch (reason) {
	case MR_SYSCALL:
	case MR_MEMPOLICY_MBIND:
		return MIGRATE_WRITE_OUT | MIGRATE_DROP | MIGRATE_SWAP_OUT;
	case MR_MEMORY_HOTPLUG:
		/* Only folios on a node that a policy forbids are swapped out. */
		return MIGRATE_WRITE_OUT | MIGRATE_DROP;
	default:
		return 0;
	}
}

/**
 * migrate_resorts - what may be done for the folios of a call
 * @mode: Mode of the call.
 * @reason: Reason of the call.
 *
 * Callers that do not wait for I/O get nothing. Nor does a task that may be doing
 * I/O itself: one with PF_MEMALLOC, or one that must allocate without __GFP_IO or
 * __GFP_FS.
 *
 * Context: Any.
 * Return: Bits of &enum migrate_resort, only those that vm.migrate_resort has.
 */
unsigned int migrate_resorts(enum migrate_mode mode, enum migrate_reason reason)
{
	if (mode != MIGRATE_SYNC || (current->flags & PF_MEMALLOC))
		return 0;
	if (current_gfp_context(GFP_KERNEL) != GFP_KERNEL)
		return 0;
	return migrate_resorts_of(reason) & READ_ONCE(sysctl_migrate_resort);
}

/* Is there free swap space that the memory cgroup of the folio may use? */
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

/* Check what needs no rmap walk. */
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
 * The folio need not be locked. migrate_help() checks again under the folio lock.
 *
 * Context: Any.
 * Return: false if @src must not be swapped out, true if it may be possible.
 */
bool migrate_may_swap_out(unsigned int resorts, struct folio *src)
{
	return (resorts & MIGRATE_SWAP_OUT) && folio_test_anon(src) &&
	       migrate_is_swappable(src);
}

/*
 * Did the file system of the folio refuse to migrate it? MIGRATE_CAUSE_REFUSED stands
 * for any error of migrate_folio() but -EAGAIN. MIGRATE_CAUSE_NONE means that -EAGAIN
 * was returned until no tries were left. Such a folio is most likely in use, or its
 * buffers are, as when another process writes to the file. It is left alone. Hot-remove
 * makes an exception, because some migrate_folio() methods return -EAGAIN for a dirty
 * folio or for one with busy buffers.
 */
static bool migrate_is_refused(const struct migrate_control *mc,
			       const struct migrate_pair *pair)
{
	if (pair->cause == MIGRATE_CAUSE_NONE)
		return mc->reason == MR_MEMORY_HOTPLUG;
	return pair->cause == MIGRATE_CAUSE_REFUSED;
}

/**
 * migrate_may_help - should a folio be put aside for migrate_help()?
 * @run: The call.
 * @pair: The folio, which has failed. Its cause is MIGRATE_CAUSE_NONE if it was
 *	unmapped and then could not be moved until no tries were left.
 *
 * The folio need not be locked. migrate_help() checks again under the folio lock.
 *
 * Context: Any.
 * Return: false if nothing can be done for it, true if something may be possible.
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

/* Is there a reference besides those of page cache, page tables and isolation? */
static bool migrate_is_in_use(const struct folio *folio)
{
	return folio_ref_count(folio) > folio_expected_ref_count(folio) + 1;
}

/* --------------------------------------------------------------- writing out */

/*
 * Take s_umount of the file system of a locked folio for reading. It keeps the file
 * system from being unmounted and from being frozen. This fails, without waiting, if
 * the file system is frozen or being unmounted.
 */
static bool migrate_hold_sb(struct address_space *mapping)
{
	struct inode *inode = mapping->host;
	struct super_block *sb = inode->i_sb;

	/* The inode keeps only its own mapping. Some file systems use others. */
	if (mapping != &inode->i_data || !super_trylock_shared(sb))
		return false;
	if (sb->s_writers.frozen == SB_UNFROZEN)
		return true;
	up_read(&sb->s_umount);
	return false;
}

/*
 * Take a reference to the inode of a locked folio, and s_umount. The inode keeps the
 * mapping. While s_umount is held, iput() cannot block until a thaw.
 */
static struct inode *migrate_hold_inode(struct address_space *mapping)
{
	if (!migrate_hold_sb(mapping))
		return NULL;
	if (igrab(mapping->host))
		return mapping->host;
	up_read(&mapping->host->i_sb->s_umount);
	return NULL;
}

static void migrate_put_inode(struct inode *inode)
{
	struct super_block *sb = inode->i_sb;

	iput(inode);
	up_read(&sb->s_umount);
}

/*
 * A file system with a migrate_folio() method has refused the folio for a reason of
 * its own, which a write rarely changes. Hot-remove writes it out nevertheless,
 * because some methods do not migrate dirty folios.
 *
 * Mappings for which writeback may deadlock are never written: their server may be
 * waiting for the caller.
 */
static bool migrate_may_write(struct address_space *mapping,
			      enum migrate_reason reason)
{
	if (mapping->a_ops->migrate_folio && reason != MR_MEMORY_HOTPLUG)
		return false;
	return mapping->a_ops->writepages && mapping_can_writeback(mapping) &&
	       !mapping_writeback_may_deadlock_on_reclaim(mapping);
}

/* Write the folio out. The folio is locked, and unlocked on return. */
static bool migrate_flush(struct folio *folio)
{
	struct address_space *mapping = folio->mapping;
	struct inode *inode = migrate_hold_inode(mapping);
	const loff_t pos = folio_pos(folio);
	const loff_t end = pos + folio_size(folio) - 1;
	int err;

	folio_unlock(folio);
	if (!inode)
		return false;

	err = filemap_flush_range(mapping, pos, end);
	migrate_put_inode(inode);
	return !err;
}

/* Leave the folio to migrate_start_flushers(). It is locked, and unlocked on return. */
static bool migrate_flush_later(struct folio *folio)
{
	struct address_space *mapping = folio->mapping;
	const bool can_write = migrate_hold_sb(mapping);

	if (can_write)
		up_read(&mapping->host->i_sb->s_umount);
	folio_unlock(folio);
	return can_write;
}

/*
 * Start the writeback of a folio, if it is dirty. The folio is locked and not under
 * writeback. It is unlocked on return.
 *
 * A task that submits I/O may wait for a free request. If the disk stalls, no request
 * becomes free, so a call with a time limit does not submit.
 */
static bool migrate_write_out(const struct migrate_control *mc, struct folio *folio)
{
	const bool dirty = folio_test_dirty(folio);
	bool begun;

	if (mc->patience)
		begun = migrate_flush_later(folio);
	else
		begun = migrate_flush(folio);
	if (begun && dirty)
		count_vm_events(PGMIGRATE_WRITEOUT, folio_nr_pages(folio));
	return begun;
}

/*
 * Make the flusher threads write everything that is dirty on the disks of the folios.
 * Returns false if the writeback of all folios has been started. The folio lock keeps
 * the inode.
 */
static bool migrate_wake_flushers(struct list_head *begun)
{
	struct address_space *mapping;
	bool is_pending = false;
	struct folio *folio;

	list_for_each_entry(folio, begun, lru) {
		if (folio_test_anon(folio) || !folio_test_dirty(folio) ||
		    folio_test_writeback(folio))
			continue;
		is_pending = true;
		if (!folio_trylock(folio))
			continue;
		mapping = folio->mapping;
		if (mapping)
			wakeup_flusher_threads_bdi(inode_to_bdi(mapping->host),
						   WB_REASON_VMSCAN);
		folio_unlock(folio);
	}
	return is_pending;
}

/*
 * Wait until the flusher threads have started the writeback of the folios, but at most
 * for a sixth of the time limit: a folio that is made dirty again and again looks as if
 * its writeback had never started.
 *
 * A pass of a flusher thread may skip inodes that have become dirty since it began, so
 * the threads are woken again.
 *
 * The threads take references to many folios at once, so this must come after
 * migrate_choose().
 */
static void migrate_start_flushers(struct migrate_run *run, struct list_head *begun)
{
	const unsigned long end = jiffies + run->mc->patience / 6;
	const unsigned long patience = run->patience;
	long ticks = 1;

	while (migrate_wake_flushers(begun)) {
		if (time_after(jiffies, end) || !migrate_pause(run, ticks))
			return;
		ticks = min(2 * ticks, HZ / 4);
	}
	run->patience = patience;
}

/* Wait for writeback. Returns false if the folio is dirty afterwards. */
static bool migrate_is_written(struct migrate_run *run, struct folio *folio)
{
	return migrate_wait_writeback(run, folio) && !folio_test_dirty(folio);
}

/* Sleep for a tick. Returns false if the call must not wait any more. */
static bool migrate_sleep(struct migrate_run *run)
{
	if (run->mc->patience)
		return migrate_pause(run, 1);
	schedule_timeout_killable(1);
	return !fatal_signal_pending(current);
}

/*
 * Wait at most half a second until other tasks have put their references. The flusher
 * threads have some to folios that they have written. folio_end_writeback() has one
 * until it has woken the tasks that wait.
 */
static void migrate_wait_refs(struct migrate_run *run, struct list_head *again)
{
	const unsigned long end = jiffies + HZ / 2;
	struct folio *folio;

	list_for_each_entry(folio, again, lru) {
		while (migrate_is_in_use(folio)) {
			if (time_after(jiffies, end) || !migrate_sleep(run))
				return;
		}
	}
}

/* ------------------------------------------------------------------ dropping */

/*
 * A folio is dropped only if there is a migrate_folio() method, which did not migrate
 * the private data. Without one, migrate_fallback() has already tried to release the private data.
 */
static bool migrate_may_drop(struct address_space *mapping, struct folio *folio)
{
	return mapping->a_ops->migrate_folio && folio_test_private(folio) &&
	       !folio_test_dirty(folio) && !folio_test_writeback(folio) &&
	       !folio_test_mlocked(folio) && !mapping_unevictable(mapping);
}

/* The flags with which reclaim calls try_to_unmap(). */
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
 * Release the private data of a clean folio and remove it from the page cache. If it
 * is in use it cannot be removed. Then it may be possible to migrate it now, so
 * this returns true whenever the private data was released.
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
/* RCU keeps the policy. A concurrent change may be seen or not. */
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
/* mm->owner exists only with CONFIG_MEMCG. */
static bool migrate_cpuset_forbids(const struct vm_area_struct *vma, int nid)
{
	return false;
}
#endif

/*
 * An &rmap_walk_control.rmap_one: go on while each VMA forbids the node of the folio.
 * The lock of the rmap keeps the VMA.
 */
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
 * Does each VMA of a locked folio forbid the node it is on? If one of them allows the
 * node, the folio is not swapped out. The policy of the task is not considered: it
 * only selects the node of new allocations.
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
 * Unmap a folio and start to write it to swap. A new swap entry has no contents yet,
 * so the folio must be marked dirty, even if all page tables say it is clean.
 *
 * The folio is locked and not under writeback. It is unlocked on return.
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
		/* Clean: swap holds the current contents. */
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

/* Remove a folio from the swap cache after it has been written. */
static bool migrate_is_swapped_out(struct migrate_run *run, struct folio *folio)
{
	bool gone = false;

	if (!migrate_wait_writeback(run, folio) || !migrate_wait_locked(run, folio))
		return false;
	if (folio_test_swapcache(folio) && !folio_mapped(folio) &&
	    !folio_test_writeback(folio))
		gone = remove_mapping(folio_mapping(folio), folio);
	folio_unlock(folio);
	if (gone)
		count_vm_event(PGMIGRATE_SWAPOUT);
	return gone;
}

/* -------------------------------------------------------- choosing for a folio */

/* Returns one bit of enum migrate_resort, or 0. The folio is locked. */
static unsigned int migrate_choose_file(const struct migrate_control *mc,
					struct folio *folio)
{
	struct address_space *mapping = folio->mapping;

	/* Truncated, inaccessible to the kernel, or shmem. */
	if (!mapping || mapping_inaccessible(mapping) ||
	    folio_test_swapbacked(folio))
		return 0;
	if (migrate_may_drop(mapping, folio))
		return MIGRATE_DROP;
	return migrate_may_write(mapping, mc->reason) ? MIGRATE_WRITE_OUT : 0;
}

/*
 * Returns one bit of enum migrate_resort, or 0. The folio is locked. Nothing is done
 * for a folio with an unexpected reference, as it could not be migrated afterwards.
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
 * Is only the reference of the isolation left? Since the folio was tried, its file
 * may have been truncated, or its process may have exited.
 */
static bool migrate_is_freed(const struct folio *folio)
{
	return folio_ref_count(folio) == 1;
}

/*
 * Lock a folio and wait for its writeback, as writeback must not be started twice. A
 * folio in the swap cache may be mapped and written to during writeback, so it may
 * be dirty afterwards. A folio without a target is not locked before, so its
 * writeback has not been waited for.
 *
 * The pages that are collected in @ctx are submitted before each wait, because other
 * tasks may be waiting for them.
 */
static bool migrate_help_lock(struct migrate_run *run, struct folio *folio,
			      struct swap_io_ctx *ctx)
{
	if (!folio_trylock(folio)) {
		swap_write_submit(ctx);
		if (!migrate_wait_locked(run, folio))
			return false;
	}
	if (!folio_test_writeback(folio))
		return true;

	swap_write_submit(ctx);
	if (migrate_wait_writeback(run, folio))
		return true;
	folio_unlock(folio);
	return false;
}

/*
 * Start what can be done for a folio. Returns false if that is nothing.
 *
 * Swap writes are collected in @ctx. They are submitted before a file folio is
 * handled: its file system may allocate memory, and the allocation may depend on the
 * completion of these writes.
 */
static bool migrate_help_begin(struct migrate_run *run, struct folio *folio,
			       struct swap_io_ctx *ctx)
{
	bool begun = false;

	if (!folio_test_anon(folio))
		swap_write_submit(ctx);
	if (migrate_is_freed(folio))
		return true;
	if (!migrate_help_lock(run, folio, ctx))
		return false;

	switch (migrate_choose(run->mc, folio)) {
	case MIGRATE_WRITE_OUT:
		return migrate_write_out(run->mc, folio);
	case MIGRATE_SWAP_OUT:
		return migrate_swap_out(folio, ctx);
	case MIGRATE_DROP:
		begun = migrate_drop(folio);
		break;
	}
	folio_unlock(folio);
	return begun;
}

/* Wait for what migrate_help_begin() has started. Returns false if it failed. */
static bool migrate_help_end(struct migrate_run *run, struct folio *folio)
{
	if (migrate_is_freed(folio))
		return true;
	if (folio_test_anon(folio))
		return migrate_is_swapped_out(run, folio);
	return migrate_is_written(run, folio);
}

/**
 * migrate_help - do what can be done for folios that could not be moved
 * @run: The call.
 * @aside: The folios. Those that are still on this list on return must not be tried
 *	again.
 * @again: Empty. On return, the folios that should be tried again.
 *
 * Context: May sleep and wait for I/O. The caller holds no folio lock.
 */
void migrate_help(struct migrate_run *run, struct list_head *aside,
		  struct list_head *again)
{
	const struct migrate_control *mc = run->mc;
	struct folio *folio, *next;
	struct swap_io_ctx ctx = {};
	struct blk_plug plug;
	LIST_HEAD(begun);

	blk_start_plug(&plug);
	list_for_each_entry_safe(folio, next, aside, lru) {
		cond_resched();
		if (fatal_signal_pending(current) || (mc->patience && !run->patience))
			break;
		if (migrate_help_begin(run, folio, &ctx))
			list_move_tail(&folio->lru, &begun);
	}
	swap_write_submit(&ctx);
	blk_finish_plug(&plug);
	if (mc->patience)
		migrate_start_flushers(run, &begun);

	list_for_each_entry_safe(folio, next, &begun, lru) {
		if (migrate_help_end(run, folio))
			list_move_tail(&folio->lru, again);
	}
	migrate_wait_refs(run, again);
	list_splice_tail(&begun, aside);
}
