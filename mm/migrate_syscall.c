// SPDX-License-Identifier: GPL-2.0-only

/*
 * Copyright (C) 2006 Silicon Graphics, Inc., Christoph Lameter
 *
 * This file replaces a part of mm/migrate.c, whose authors were IWAMOTO Toshihiro,
 * Hirokazu Takahashi, Dave Hansen and Christoph Lameter.
 */

/*
 * move_pages(2): report the node of each page, or move each page to a node.
 *
 * The user's arrays are processed in chunks. User memory is accessed only between
 * chunks, with no lock held. The addresses of a chunk are looked up under the mmap
 * lock. The page table lock is kept from one address to the next if both are in
 * the same page table.
 *
 * One pass moves the pages of all addresses of the chunk that have the same target
 * node, in any order. If a pass has moved a page away from the target node of an
 * earlier pass, the pages may be on wrong nodes. Then the addresses of the chunk
 * are processed again in their order.
 *
 * While a chunk is processed, the status of an address is its state:
 *
 *	MOVE_TODO ---> MOVE_QUEUED ---> node, or -errno
 *	    |                             ^   ^
 *	    +-----------------------------+   |
 *	    +--------> MOVE_OWN --------------+
 *
 * If a folio cannot be isolated, its address stays MOVE_TODO and is tried again
 * after the queue has been moved: another address may have queued the folio. If
 * nothing was queued, the per-CPU caches that keep folios off the LRU are drained,
 * first those of this CPU. If another task is migrating a page, the pass waits for
 * that without holding a lock.
 *
 * Memory without a folio, in a VMA that moves its own memory, is MOVE_OWN until the
 * pass has no isolated folios. Then the VMA moves it, page by page.
 */

#include <linux/capability.h>
#include <linux/compat.h>
#include <linux/cpuset.h>
#include <linux/hugetlb.h>
#include <linux/leafops.h>
#include <linux/mempolicy.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/nodemask.h>
#include <linux/pagemap.h>
#include <linux/pagewalk.h>
#include <linux/ptrace.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/syscalls.h>
#include <linux/uaccess.h>

#include "internal.h"
#include "migrate.h"

/*
 * Addresses per chunk. With base pages, MOVE_CHUNK is about what migrate_folios()
 * unmaps at a time. Calls with at most MOVE_CHUNK_SMALL addresses need no
 * allocation: their arrays are on the stack.
 */
#define MOVE_CHUNK		512
#define MOVE_CHUNK_SMALL	16

/*
 * The most VMAs that one search for other users of a folio looks at. One VMA takes
 * about a microsecond, so the folio lock and the lock of the rmap are held for about
 * a millisecond. After as many VMAs, in one search or in several, move_gather() also
 * drops the mmap lock and takes it again.
 */
#define MOVE_SEARCH_MAX		1024

/* Bytes per address in a chunk: for the address, its node and its status. */
#define MOVE_SLOT		(sizeof(unsigned long) + 2 * sizeof(int))

/* A status that is neither a node nor an error. */
enum {
	MOVE_TODO = MAX_NUMNODES,	/* not tried, or could not be isolated */
	MOVE_QUEUED,			/* its folio is on one of the queues */
	MOVE_OWN,			/* no folio: its VMA must move it */
	MOVE_ASK,			/* never stored: search for other users first */
};

/**
 * struct move_chunk - the part of the user's arrays that is being processed
 * @max: Number of addresses that the arrays can hold.
 * @nr: Number of addresses.
 * @addr: The addresses.
 * @node: The target node of each address.
 * @status: The status of each address.
 * @addr32: Buffer for the addresses of a 32-bit caller, from which @addr is filled.
 *	Shares its memory with @status, which is not used before that.
 * @small: Memory for the arrays of a small chunk.
 */
struct move_chunk {
	unsigned int max;
	unsigned int nr;
	unsigned long *addr;
	int *node;
	union {
		int *status;
		compat_uptr_t *addr32;
	};
	unsigned long small[MOVE_CHUNK_SMALL * MOVE_SLOT / sizeof(long)];
};

/**
 * struct move_walk - state of the look-up of addresses
 * @mm: The address space. The mmap lock is held for reading during the look-ups.
 * @migratable: Return -EFAULT for VMAs whose memory neither mm nor the VMA itself can
 *	move.
 * @vma: The VMA of the last address, NULL if there was none.
 * @own: @vma moves its own memory.
 * @fw: The page table walk that found @folio.
 * @table: Page table of the entry that @fw has locked, if that is a PTE.
 * @start: First address that the lock held by @fw covers.
 * @end: End of these addresses, @start if there are none; 0 if no lock is held.
 * @folio: The folio of the last address, NULL if there was none. Not freed before
 *	the next look-up or move_walk_release().
 * @moving: @folio was found by a migration entry: another task is migrating it. Only
 *	its node may be read.
 */
struct move_walk {
	struct mm_struct *mm;
	bool migratable;
	struct vm_area_struct *vma;
	bool own;
	struct folio_walk fw;
	pte_t *table;
	unsigned long start;
	unsigned long end;
	struct folio *folio;
	bool moving;
};

/**
 * enum move_drained - which per-CPU LRU caches have been drained
 * @MOVE_DRAINED_NONE: None.
 * @MOVE_DRAINED_LOCAL: Those of this CPU. The next pass begins anew.
 * @MOVE_DRAINED_ALL: Those of all CPUs. They stay disabled until the call returns.
 */
enum move_drained {
	MOVE_DRAINED_NONE,
	MOVE_DRAINED_LOCAL,
	MOVE_DRAINED_ALL,
};

/**
 * struct move_queue - isolated folios that are moved together
 * @list: The folios.
 * @err: The error with which small folios have failed, 0 if none has.
 * @err_large: The same for large folios.
 */
struct move_queue {
	struct list_head list;
	int err;
	int err_large;
};

/*
 * hugetlb folios are allocated from pools of their own. An empty pool must not make
 * other folios fail, so there are two queues.
 */
enum {
	MOVE_FOLIOS,
	MOVE_HUGETLBS,
	MOVE_NR_QUEUES,
};

/**
 * struct move_run - state of one call that moves pages
 * @walk: State of the look-ups.
 * @chunk: The current chunk.
 * @allowed: Nodes that the cpuset of the task allows.
 * @full: Nodes on which no small folio could be allocated.
 * @served: Target nodes of the passes that are complete, in this chunk.
 * @taken_from: Nodes of @served from which a later pass has moved pages.
 * @shared: Also move pages that other processes map.
 * @asked: The folio for which the rmap was searched last, with a reference.
 * @asked_shared: That search has found another process.
 * @nr_searched: VMAs searched since the mmap lock was taken.
 * @drained: Which LRU caches have been drained.
 * @queue: The folios that this pass moves next.
 * @isolated: Change of the isolated counts of a node that is not made yet.
 * @failed: Isolated folios that could not be moved. They stay isolated until the
 *	pass is over, so that another address does not queue them again.
 * @no_target: The same for large folios without a target.
 * @last: The folio that was queued last, NULL if the queues are empty.
 * @nr_todo: Addresses that the last move_gather() has left as MOVE_TODO.
 * @own: At least one address is MOVE_OWN.
 * @may_drain: Draining LRU caches may help at least one address.
 * @may_wait: Waiting may help at least one address.
 * @wait_addr: The last of the addresses that waiting may help.
 * @nr_waits: How often the pass has waited.
 * @nr_failed: Number of pages that failed with -EBUSY, or with any error of the
 *	method of their VMA.
 * @err: Error to return after all pages have been tried.
 */
struct move_run {
	struct move_walk walk;
	struct move_chunk chunk;
	nodemask_t allowed;
	nodemask_t full;
	nodemask_t served;
	nodemask_t taken_from;
	bool shared;
	struct folio *asked;
	bool asked_shared;
	unsigned int nr_searched;
	enum move_drained drained;
	struct move_queue queue[MOVE_NR_QUEUES];
	struct migrate_isolated isolated;
	struct list_head failed;
	struct list_head no_target;
	struct folio *last;
	unsigned int nr_todo;
	bool own;
	bool may_drain;
	bool may_wait;
	unsigned long wait_addr;
	unsigned int nr_waits;
	unsigned long nr_failed;
	int err;
};

/**
 * struct move_args - the user's arrays
 * @nr: Number of elements in each of them.
 * @pages: Addresses. Those of a 32-bit caller have 32 bits each.
 * @nodes: Target nodes, NULL to report the nodes of the pages.
 * @status: Where to write the status of each page.
 */
struct move_args {
	unsigned long nr;
	const void __user * __user *pages;
	const int __user *nodes;
	int __user *status;
};

static void move_walk_release(struct move_walk *walk)
{
	if (walk->end)
		folio_walk_end(&walk->fw, walk->vma);
	walk->end = 0;
	walk->folio = NULL;
}

/*
 * Does the held page table lock cover @addr, and may it be kept? It must be released
 * if another CPU is waiting for it, or if this task should reschedule.
 */
static bool move_walk_holds(const struct move_walk *walk, unsigned long addr)
{
	if (addr < walk->start || addr >= walk->end)
		return false;
	return !need_resched() && !spin_needbreak(walk->fw.ptl);
}

static int move_walk_begin(struct move_walk *walk)
{
	return mmap_read_lock_killable(walk->mm);
}

static void move_walk_end(struct move_walk *walk)
{
	move_walk_release(walk);
	walk->vma = NULL;
	mmap_read_unlock(walk->mm);
}

/* Most often the VMA is that of the previous address. */
static bool move_walk_vma(struct move_walk *walk, unsigned long addr)
{
	struct vm_area_struct *vma = walk->vma;

	if (vma && addr >= vma->vm_start && addr < vma->vm_end)
		return true;

	move_walk_release(walk);
	vma = vma_lookup(walk->mm, addr);
	walk->own = vma && vma_can_migrate(vma);
	if (vma && walk->migratable && !walk->own && !vma_migratable(vma))
		vma = NULL;
	walk->vma = vma;
	return vma;
}

/* May the VMA have memory of its own, without folios? */
static bool move_vma_knows(const struct vm_area_struct *vma)
{
	return vma->vm_ops && (vma->vm_ops->migrate || vma->vm_ops->get_node);
}

/*
 * Set the range of addresses that the held lock covers: all that a huge entry maps,
 * or all entries of a page table. The range is empty for hugetlb, which has its own
 * rules for entries and their locks. It is also empty for a VMA that may have memory
 * without folios: it must be asked about such memory without a page table lock.
 */
static void move_walk_range(struct move_walk *walk, unsigned long addr)
{
	struct vm_area_struct *vma = walk->vma;
	unsigned long size = PMD_SIZE;

	if (is_vm_hugetlb_page(vma) || move_vma_knows(vma)) {
		walk->start = vma->vm_end;
		walk->end = vma->vm_end;
		return;
	}
	if (walk->fw.level == FW_LEVEL_PUD)
		size = PUD_SIZE;
	if (walk->fw.level == FW_LEVEL_PTE)
		walk->table = walk->fw.ptep - pte_index(addr);

	walk->start = max(addr & ~(size - 1), vma->vm_start);
	walk->end = min((addr & ~(size - 1)) + size - 1, vma->vm_end - 1) + 1;
}

static bool move_walk_present(const struct folio_walk *fw)
{
	switch (fw->level) {
	case FW_LEVEL_PUD:
		return pud_present(fw->pud);
	case FW_LEVEL_PMD:
		return pmd_present(fw->pmd);
	default:
		return pte_present(fw->pte);
	}
}

/* @folio must not be a zero folio. */
static int move_normal_node(const struct folio *folio)
{
	return folio_is_zone_device(folio) ? -ENOENT : folio_nid(folio);
}

static int move_folio_node(const struct folio *folio)
{
	if (!folio)
		return -ENOENT;
	if (is_zero_folio(folio) || is_huge_zero_folio(folio))
		return -EFAULT;
	return move_normal_node(folio);
}

/* Returns the folio of a zero page or of a migration entry, NULL for other entries. */
static noinline struct folio *move_walk_special(struct move_walk *walk, pte_t pte)
{
	softleaf_t entry;

	if (pte_present(pte)) {
		walk->moving = false;
		return is_zero_pfn(pte_pfn(pte)) ? page_folio(pte_page(pte)) : NULL;
	}
	entry = softleaf_from_pte(pte);
	walk->moving = softleaf_is_migration(entry);
	return walk->moving ? softleaf_to_folio(entry) : NULL;
}

/*
 * As move_walk_find(), but the held page table lock covers @addr. vm_normal_page()
 * never returns a zero page, so move_normal_node() will do for its result.
 */
static int move_walk_held(struct move_walk *walk, unsigned long addr)
{
	struct page *page;
	pte_t pte;

	if (walk->fw.level != FW_LEVEL_PTE)
		return move_folio_node(walk->folio);

	pte = ptep_get(walk->table + pte_index(addr));
	page = pte_present(pte) ? vm_normal_page(walk->vma, addr, pte) : NULL;
	if (unlikely(!page)) {
		walk->folio = move_walk_special(walk, pte);
		return move_folio_node(walk->folio);
	}
	walk->moving = false;
	walk->folio = page_folio(page);
	return move_normal_node(walk->folio);
}

/* Ask the VMA about an address without a folio. No page table lock is held. */
static int move_walk_ask(struct move_walk *walk, unsigned long addr)
{
	/* The page is to be moved, but the VMA cannot move it. */
	if (walk->migratable && !walk->own)
		return -ENOENT;
	return vma_memory_node(walk->vma, addr & PAGE_MASK, NULL);
}

/* As move_walk_node(), for any address, which may be tagged. */
static noinline int move_walk_find(struct move_walk *walk, unsigned long addr)
{
	addr = untagged_addr_remote(walk->mm, addr);
	if (!move_walk_vma(walk, addr))
		return -EFAULT;
	if (move_walk_holds(walk, addr))
		return move_walk_held(walk, addr);

	move_walk_release(walk);
	cond_resched();
	walk->folio = folio_walk_start(&walk->fw, walk->vma, addr,
				       FW_ZEROPAGE | FW_MIGRATION);
	if (!walk->folio)
		return move_walk_ask(walk, addr);
	walk->moving = !move_walk_present(&walk->fw);
	move_walk_range(walk, addr);
	return move_folio_node(walk->folio);
}

/*
 * Find the page at @addr and return its node. The page table lock is held on return,
 * which keeps the page mapped. A page that another task is migrating is reported on
 * its old node.
 *
 * Returns -EFAULT if @addr is in no suitable VMA or maps the zero page, and -ENOENT
 * for device memory. If there is no folio, this returns the result of the VMA, which
 * may be any error and is -ENOENT for most VMAs. No lock is held then.
 *
 * If the held lock covers @addr, then @addr is in the VMA of the previous address
 * and has no tag.
 */
static int move_walk_node(struct move_walk *walk, unsigned long addr)
{
	if (likely(move_walk_holds(walk, addr)))
		return move_walk_held(walk, addr);
	return move_walk_find(walk, addr);
}

/*
 * End a walk that has found a migration entry, and wait until the migration is over.
 * This must not take a reference to the folio, which would make the migration fail.
 *
 * softleaf_entry_wait_on_locked() uses only the pfn of the entry, so the entry may be
 * of any kind. It releases the page table lock. While that lock is held, neither the
 * migration entry nor its page table can be removed, so the other locks can be
 * dropped before.
 */
static void move_walk_wait(struct move_walk *walk)
{
	const softleaf_t entry =
		make_readable_migration_entry(folio_pfn(walk->folio));
	spinlock_t *ptl = walk->fw.ptl;

	if (walk->fw.level == FW_LEVEL_PTE)
		pte_unmap(walk->fw.ptep);
	vma_pgtable_walk_end(walk->vma);
	mmap_read_unlock(walk->mm);
	walk->end = 0;
	walk->folio = NULL;
	walk->vma = NULL;
	softleaf_entry_wait_on_locked(entry, ptl);
}

/**
 * struct move_search - search for other processes that map a folio
 * @mm: The address space that is known to map it.
 * @nr_vmas: Number of VMAs searched.
 * @found: Another one maps it, or there are too many VMAs to search.
 */
struct move_search {
	const struct mm_struct *mm;
	unsigned int nr_vmas;
	bool found;
};

static bool move_search_vma(struct folio *folio, struct vm_area_struct *vma,
			    unsigned long addr)
{
	DEFINE_FOLIO_VMA_WALK(pvmw, folio, vma, addr, 0);

	if (!page_vma_mapped_walk(&pvmw))
		return false;
	page_vma_mapped_walk_done(&pvmw);
	return true;
}

/* An &rmap_walk_control.rmap_one. Returns true to go on to the next VMA. */
static bool move_search_one(struct folio *folio, struct vm_area_struct *vma,
			    unsigned long addr, void *arg)
{
	struct move_search *search = arg;

	if (search->nr_vmas++ == MOVE_SEARCH_MAX)
		search->found = true;
	else if (vma->vm_mm != search->mm)
		search->found = move_search_vma(folio, vma, addr);
	return !search->found;
}

/*
 * Does another mm map @folio, which is locked and was found in the mm of the walk? For
 * hugetlb, i_mmap_rwsem comes before the folio lock in the lock order, so only a
 * trylock is possible. If that fails, or if there are too many VMAs, assume that
 * another mm maps the folio, as folio_maybe_mapped_shared() did.
 *
 * The mmap lock keeps the anon_vma of an anonymous folio, because a VMA of the mm is
 * linked to it. This holds even if the mm has unmapped the folio since. A folio
 * is given to another anon_vma only if its page becomes exclusive to one mm, and
 * the reference that move_ask() took while the mm still mapped it prevents that.
 * hugetlb does not check references there, so anonymous hugetlb folios must not get
 * here.
 */
static bool move_search_others(struct move_run *run, struct folio *folio)
{
	struct move_search search = { .mm = run->walk.mm };
	struct rmap_walk_control rwc = {
		.arg = &search,
		.try_lock = folio_test_hugetlb(folio),
		.rmap_one = move_search_one,
	};

	VM_WARN_ON_ONCE_FOLIO(folio_test_hugetlb(folio) && folio_test_anon(folio),
			      folio);
	rmap_walk(folio, &rwc);
	run->nr_searched += search.nr_vmas;
	return rwc.contended || search.found;
}

/*
 * Search for other processes that map the folio that was looked up last. The locks of
 * the rmap come before the page table lock in the lock order. So the page table lock
 * is released, a reference keeps the folio, and the caller must look up the page
 * again. Returns false if another task holds the folio lock, or after a fatal signal.
 */
static bool move_ask(struct move_run *run)
{
	struct folio *folio = run->walk.folio;

	folio_get(folio);
	move_walk_release(&run->walk);
	if (fatal_signal_pending(current) || !folio_trylock(folio)) {
		folio_put(folio);
		return false;
	}
	if (run->asked)
		folio_put(run->asked);
	run->asked = folio;
	run->asked_shared = move_search_others(run, folio);
	folio_unlock(folio);
	return true;
}

/* Drop the reference before the folio is moved: it would make the move fail. */
static void move_ask_end(struct move_run *run)
{
	if (run->asked)
		folio_put(run->asked);
	run->asked = NULL;
}

/*
 * folio_maybe_mapped_shared() is true for @folio. Returns true if that is certain, or
 * if a search of the rmap cannot disprove it:
 *
 * - The pages of a large folio may all be mapped by one mm, so search.
 * - An mm maps a small anonymous folio only once, so another mm maps it too. One mm may
 *   map a KSM folio several times. But ksmd maps it first, without its lock, and adds
 *   it to the rmap later. So the rmap may be incomplete, and there is no search.
 * - An mm maps the page of a file at most once in each VMA. With more mappings than the
 *   mm has VMAs, another mm maps it too. With more than MOVE_SEARCH_MAX, the search
 *   would be given up.
 * - A folio without a mapping, such as that of a driver, has no rmap.
 */
static bool move_surely_shared(const struct folio *folio,
			       const struct mm_struct *mm)
{
	if (!READ_ONCE(folio->mapping))
		return true;
	if (folio_test_large(folio) && !folio_test_hugetlb(folio))
		return false;
	return folio_test_anon(folio) ||
	       folio_mapcount(folio) > min(mm->map_count, MOVE_SEARCH_MAX);
}

/* -EACCES if others map @folio and it may not be moved then, 0, or MOVE_ASK. */
static int move_check_shared(const struct move_run *run, struct folio *folio)
{
	if (likely(run->shared || !folio_maybe_mapped_shared(folio)))
		return 0;
	if (!move_surely_shared(folio, run->walk.mm)) {
		if (folio != run->asked)
			return MOVE_ASK;
		if (!run->asked_shared)
			return 0;
	}
	return -EACCES;
}

/*
 * May a per-CPU LRU cache hold a reference to @folio? The caller knows of @known more
 * references than folio_expected_ref_count(). A reference of a cache looks like any
 * other. But the caches hold few references, while a pin counts as
 * GUP_PIN_COUNTING_BIAS of them.
 *
 * A folio without a mapping is not worth a drain. Either a driver maps it and it was
 * never on an LRU, or it was truncated after its isolation and no address maps it.
 *
 * Mappings may change meanwhile. The smaller of the numbers expected before and after
 * makes an unneeded drain possible, but not a missing one.
 */
static bool move_maybe_cached(struct folio *folio, int known)
{
	int expected, extra;

	if (!folio_may_be_lru_cached(folio) || !READ_ONCE(folio->mapping))
		return false;
	expected = folio_expected_ref_count(folio);
	extra = folio_ref_count(folio);
	expected = min(expected, folio_expected_ref_count(folio));
	extra -= expected + known;
	return extra > 0 && extra < GUP_PIN_COUNTING_BIAS;
}

/*
 * Drain the caches of this CPU, the next time those of all CPUs. Returns false if all
 * are drained. Draining other CPUs is expensive, so it is done only once: the caches
 * of all CPUs are disabled from then on until move_pages_to_nodes() enables them.
 */
static bool move_drain(struct move_run *run)
{
	switch (run->drained) {
	case MOVE_DRAINED_NONE:
		lru_add_drain();
		run->drained = MOVE_DRAINED_LOCAL;
		return true;
	case MOVE_DRAINED_LOCAL:
		lru_cache_disable();
		run->drained = MOVE_DRAINED_ALL;
		return true;
	case MOVE_DRAINED_ALL:
		break;
	}
	return false;
}

static bool move_isolate(struct move_run *run, struct folio *folio)
{
	if (folio_test_hugetlb(folio))
		return folio_isolate_hugetlb(folio,
					     &run->queue[MOVE_HUGETLBS].list);

	if (!folio_isolate_lru(folio))
		return false;

	list_add_tail(&folio->lru, &run->queue[MOVE_FOLIOS].list);
	migrate_isolated_mod(&run->isolated, folio, folio_nr_pages(folio));
	return true;
}

/* Record the error of a page and return it as its status. */
static int move_refuse(struct move_run *run, int err)
{
	if (err == -EBUSY)
		run->nr_failed++;
	else
		run->err = err;
	return err;
}

/* Try this page again later. With @may_drain, draining LRU caches may help. */
static int move_postpone(struct move_run *run, bool may_drain)
{
	run->nr_todo++;
	run->may_drain |= may_drain;
	return MOVE_TODO;
}

/* The same if another task is migrating the page, or holds the lock of its folio. */
static int move_postpone_wait(struct move_run *run, unsigned long addr)
{
	run->may_wait = true;
	run->wait_addr = addr;
	return move_postpone(run, false);
}

static bool move_is_among(const struct folio *folio, const struct list_head *list)
{
	const struct folio *other;

	list_for_each_entry(other, list, lru) {
		if (other == folio)
			return true;
	}
	return false;
}

/*
 * Try to isolate @folio, and return the status of its page. If that fails, this pass
 * may have isolated the folio itself and failed to move it. The second attempt is for
 * a folio that a cache has added to the LRU between the first attempt and
 * move_maybe_cached().
 */
static int move_try_isolate(struct move_run *run, struct folio *folio)
{
	if (move_isolate(run, folio))
		return MOVE_QUEUED;
	if (move_is_among(folio, &run->no_target))
		return move_refuse(run, -ENOMEM);
	if (move_is_among(folio, &run->failed))
		return move_postpone(run, false);
	if (move_maybe_cached(folio, folio == run->asked))
		return move_postpone(run, true);
	return move_isolate(run, folio) ? MOVE_QUEUED : move_postpone(run, false);
}

/*
 * Queue the folio of the page at @addr, which is on @nid, for the move to @node.
 * Returns the status of the page. MOVE_ASK means that the rmap must be searched first.
 */
static int move_queue(struct move_run *run, unsigned long addr, int nid, int node)
{
	struct folio *folio = run->walk.folio;
	int ret;

	if (run->walk.moving)
		return move_postpone_wait(run, addr);
	if (folio == run->last)
		return MOVE_QUEUED;
	ret = move_check_shared(run, folio);
	if (unlikely(ret))
		return ret;
	if (node_isset(node, run->full) && !folio_test_hugetlb(folio))
		return move_refuse(run, -ENOMEM);

	ret = move_try_isolate(run, folio);
	if (ret != MOVE_QUEUED)
		return ret;
	run->last = folio;
	if (node_isset(nid, run->served))
		node_set(nid, run->taken_from);
	return MOVE_QUEUED;
}

/* Must the VMA move the memory that was looked up last? */
static bool move_is_own(const struct move_walk *walk)
{
	return walk->vma && walk->own &&
	       (!walk->folio || !vma_migratable(walk->vma));
}

/*
 * The status of memory that its VMA must move; MOVE_OWN if the move is needed. A VMA
 * without get_node() may have memory to move although @nid is an error. A page that
 * was copied on write does not belong to the driver, and mm cannot migrate it in
 * this VMA.
 */
static int move_decide_own(const struct move_walk *walk, int nid, int node)
{
	if (walk->folio && folio_test_anon(walk->folio))
		return -EFAULT;
	if (nid == node || (nid < 0 && walk->vma->vm_ops->get_node))
		return nid;
	return MOVE_OWN;
}

/* Decide what to do about the page at @addr, if any, and return its status. */
static int move_decide(struct move_run *run, unsigned long addr, int node)
{
	const int nid = move_walk_node(&run->walk, addr);
	int status;

	if (unlikely(run->walk.own) && move_is_own(&run->walk)) {
		status = move_decide_own(&run->walk, nid, node);
		run->own |= status == MOVE_OWN;
		return status;
	}
	if (nid < 0 || nid == node)
		return nid;
	return move_queue(run, addr, nid, node);
}

/* As move_decide(), after a search of the rmap. */
static noinline int move_decide_asked(struct move_run *run, unsigned long addr,
				      int node)
{
	int status = MOVE_ASK;

	if (move_ask(run))
		status = move_decide(run, addr, node);
	/* The folio is locked, another folio is mapped now, or a signal is fatal. */
	return status == MOVE_ASK ? move_postpone_wait(run, addr) : status;
}

/* Drop the mmap lock and take it again after long searches. */
static int move_give_way(struct move_run *run)
{
	if (run->nr_searched < MOVE_SEARCH_MAX)
		return 0;
	run->nr_searched = 0;
	move_walk_end(&run->walk);
	return move_walk_begin(&run->walk);
}

/*
 * Look up all addresses from @first on that have the same target node and are
 * MOVE_TODO, and queue their folios. Returns 0, or -EINTR if nothing was looked up.
 */
static int move_gather(struct move_run *run, unsigned int first)
{
	struct move_chunk *chunk = &run->chunk;
	const int node = chunk->node[first];
	unsigned int i;
	int err, status;

	run->nr_todo = 0;
	run->may_drain = false;
	run->may_wait = false;
	run->nr_searched = 0;

	err = move_walk_begin(&run->walk);
	if (err)
		return err;

	for (i = first; i < chunk->nr; i++) {
		if (chunk->node[i] != node || chunk->status[i] != MOVE_TODO)
			continue;
		status = move_decide(run, chunk->addr[i], node);
		if (unlikely(status == MOVE_ASK)) {
			status = move_decide_asked(run, chunk->addr[i], node);
			err = move_give_way(run);
		}
		chunk->status[i] = status;
		if (unlikely(err)) {
			/* Killed. The mmap lock is not held. */
			move_postpone(run, false);
			break;
		}
	}
	if (!err)
		move_walk_end(&run->walk);
	move_ask_end(run);
	migrate_isolated_flush(&run->isolated);
	return 0;
}

/*
 * Each page needs a node for its status. So it may be written out, but must not be
 * dropped or swapped out.
 */
static int move_migrate(struct list_head *list, int node)
{
	struct migration_target_control mtc = {
		.nid = node,
		.gfp_mask = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE,
		.reason = MR_SYSCALL,
	};
	const struct migrate_control mc = {
		.get_new_folio = alloc_migration_target,
		.private = (unsigned long)&mtc,
		.mode = MIGRATE_SYNC,
		.reason = MR_SYSCALL,
		.resorts = MIGRATE_WRITE_OUT &
			   migrate_resorts(MIGRATE_SYNC, MR_SYSCALL),
	};

	if (list_empty(list))
		return 0;

	return migrate_folios(&mc, list, NULL);
}

/* Drain caches if they may hold references to folios on @list. */
static bool move_retry(struct move_run *run, struct list_head *list)
{
	struct folio *folio;

	/* After a fatal signal the status is not read. */
	if (fatal_signal_pending(current))
		return false;

	list_for_each_entry(folio, list, lru) {
		if (move_maybe_cached(folio, 1))
			return move_drain(run);
	}
	return false;
}

/* Returns 0, or the error with which folios on @list have failed. */
static int move_try(struct move_run *run, struct list_head *list, int node)
{
	int err;

	do {
		err = move_migrate(list, node);
	} while (err > 0 && move_retry(run, list));
	return err > 0 ? -EBUSY : err;
}

/* Move the large folios on @list to @run->no_target. Returns false if there are none. */
static bool move_give_up_large(struct move_run *run, struct list_head *list)
{
	struct folio *folio, *next;
	bool found = false;

	list_for_each_entry_safe(folio, next, list, lru) {
		if (!folio_test_large(folio))
			continue;
		list_move_tail(&folio->lru, &run->no_target);
		found = true;
	}
	return found;
}

/*
 * Migrate the folios of one queue. Those that fail are kept on @run->failed. The first
 * folio without a target ends an attempt. If there are large folios, there may still
 * be memory for the small ones.
 */
static void move_flush_queue(struct move_run *run, struct move_queue *queue,
			     int node)
{
	queue->err = move_try(run, &queue->list, node);
	queue->err_large = queue->err;
	if (queue->err == -ENOMEM && move_give_up_large(run, &queue->list))
		queue->err = move_try(run, &queue->list, node);
	if (queue->err == -ENOMEM)
		node_set(node, run->full);
	list_splice_tail_init(&queue->list, &run->failed);
}

/* The status of a page that was queued for @node, after the queue has been tried. */
static int move_outcome(struct move_run *run, unsigned long addr, int node)
{
	const int nid = move_walk_node(&run->walk, addr);
	const struct move_queue *queue;
	int err;

	/* Moved, unmapped since, or replaced by memory of the VMA's own. */
	if (nid == node || nid < 0 || !run->walk.folio)
		return nid;

	queue = &run->queue[folio_test_hugetlb(run->walk.folio)];
	err = folio_test_large(run->walk.folio) ? queue->err_large : queue->err;
	/* Without an error it was moved, and has been moved again since. */
	return err ? move_refuse(run, err) : nid;
}

/*
 * Change the status of all addresses from @first on that have the same target node
 * from @from to @to. Returns their number.
 */
static unsigned int move_set_status(struct move_chunk *chunk, unsigned int first,
				    int from, int to)
{
	const int node = chunk->node[first];
	unsigned int i, nr = 0;

	for (i = first; i < chunk->nr; i++) {
		if (chunk->status[i] == from && chunk->node[i] == node) {
			chunk->status[i] = to;
			nr++;
		}
	}
	return nr;
}

/* Some folios have failed. Look up each page to set its status. */
static void move_set_status_each(struct move_run *run, unsigned int first)
{
	struct move_chunk *chunk = &run->chunk;
	const int node = chunk->node[first];
	unsigned int i;

	/* Killed: the status is not read. */
	if (move_walk_begin(&run->walk)) {
		run->nr_failed += move_set_status(chunk, first, MOVE_QUEUED, -EBUSY);
		return;
	}

	for (i = first; i < chunk->nr; i++) {
		if (chunk->status[i] == MOVE_QUEUED)
			chunk->status[i] = move_outcome(run, chunk->addr[i], node);
	}
	move_walk_end(&run->walk);
}

/* Migrate the folios of both queues. Returns false if the queues are empty. */
static bool move_flush(struct move_run *run, unsigned int first)
{
	struct move_queue *folios = &run->queue[MOVE_FOLIOS];
	struct move_queue *hugetlbs = &run->queue[MOVE_HUGETLBS];
	const int node = run->chunk.node[first];

	if (!run->last)
		return false;
	run->last = NULL;

	move_flush_queue(run, hugetlbs, node);
	move_flush_queue(run, folios, node);
	if (folios->err || folios->err_large || hugetlbs->err_large)
		move_set_status_each(run, first);
	else
		move_set_status(&run->chunk, first, MOVE_QUEUED, node);
	return true;
}

/*
 * The status of a page after the method has returned 0. The method may also have left
 * the page where it is: it must do so without MPOL_MF_MOVE_ALL if other processes use
 * the page.
 */
static int move_own_outcome(struct move_run *run, unsigned long addr, int node)
{
	struct move_walk *walk = &run->walk;
	int nid = move_walk_node(walk, addr);

	/* Without get_node(), assume that the page was moved. */
	if (!walk->folio && !walk->vma->vm_ops->get_node)
		nid = node;
	move_walk_release(walk);
	if (nid < 0 || nid == node)
		return nid;
	return run->shared ? move_refuse(run, -EBUSY) : -EACCES;
}

/* Have the VMA move the page at @addr. @nid is its node, or an error if unknown. */
static noinline int move_own_page(struct move_run *run, unsigned long addr,
				  int nid, int node)
{
	const unsigned long flags = run->shared ? MPOL_MF_MOVE_ALL : MPOL_MF_MOVE;
	const nodemask_t to = nodemask_of_node(node);
	nodemask_t from;
	int err;

	addr = untagged_addr_remote(run->walk.mm, addr) & PAGE_MASK;
	nodes_andnot(from, node_possible_map, to);
	if (nid >= 0 && node_isset(nid, run->served))
		node_set(nid, run->taken_from);

	err = vma_migrate(run->walk.vma, addr, addr + PAGE_SIZE, &from, &to, flags);
	if (!err)
		return move_own_outcome(run, addr, node);
	run->nr_failed++;
	return err;
}

/* The mmap lock was dropped since the page became MOVE_OWN, so look it up again. */
static int move_own_again(struct move_run *run, unsigned long addr, int node)
{
	const int nid = move_walk_node(&run->walk, addr);
	int status = nid;

	if (move_is_own(&run->walk))
		status = move_decide_own(&run->walk, nid, node);
	else if (nid >= 0 && nid != node)
		status = move_refuse(run, -EBUSY);
	/* The method must be called without a page table lock. */
	move_walk_release(&run->walk);
	if (status == MOVE_OWN)
		status = move_own_page(run, addr, nid, node);
	return status;
}

/*
 * Have VMAs move the pages of all addresses from @first on that have the same target
 * node and are MOVE_OWN. An error of the method is the status of that page only.
 * Returns true if this ended early, because another task is waiting for the mmap
 * lock, and must be called again.
 */
static bool move_own(struct move_run *run, unsigned int first)
{
	struct move_chunk *chunk = &run->chunk;
	const int node = chunk->node[first];
	unsigned int i;

	if (move_walk_begin(&run->walk)) {
		run->nr_failed += move_set_status(chunk, first, MOVE_OWN, -EBUSY);
		return false;
	}

	for (i = first; i < chunk->nr; i++) {
		if (chunk->status[i] != MOVE_OWN || chunk->node[i] != node)
			continue;
		chunk->status[i] = move_own_again(run, chunk->addr[i], node);
		if (mmap_lock_is_contended(run->walk.mm))
			break;
	}
	move_walk_end(&run->walk);
	return i < chunk->nr;
}

/*
 * Another task is migrating the page at @run->wait_addr, or holds the folio lock,
 * which the search of the rmap needs. Wait for that. Returns false if the pass has
 * waited MIGRATE_TRIES times, or after a fatal signal.
 */
static bool move_wait(struct move_run *run)
{
	struct move_walk *walk = &run->walk;
	struct folio *folio;
	int err;

	if (run->nr_waits++ >= MIGRATE_TRIES || move_walk_begin(walk))
		return false;
	if (move_walk_node(walk, run->wait_addr) < 0 || !walk->folio) {
		move_walk_end(walk);
		return true;
	}
	if (walk->moving) {
		move_walk_wait(walk);
		return true;
	}

	folio = walk->folio;
	folio_get(folio);
	move_walk_end(walk);
	err = folio_wait_locked_killable(folio);
	folio_put(folio);
	return !err;
}

/* Nothing was queued. Wait or drain, if that may help. Returns false if not. */
static bool move_clear_way(struct move_run *run)
{
	if (run->may_wait && move_wait(run))
		return true;
	return run->may_drain && move_drain(run);
}

/*
 * Move the pages of all addresses from @first on that have the same target node. The
 * loop ends, because each round but the last has done one of these:
 *
 * - isolated folios, which stay isolated if they fail to move,
 * - drained caches, which is possible twice,
 * - waited, which is possible MIGRATE_TRIES times.
 */
static void move_pass(struct move_run *run, unsigned int first)
{
	bool progress;
	int err;

	/* The targets of the last pass may be in the LRU caches of this CPU. */
	if (run->drained == MOVE_DRAINED_LOCAL)
		run->drained = MOVE_DRAINED_NONE;
	run->nr_waits = 0;
	run->own = false;

	do {
		err = move_gather(run, first);
		if (err)
			break;
		progress = move_flush(run, first);
		if (run->nr_todo && !progress)
			progress = move_clear_way(run);
	} while (run->nr_todo && progress);

	if (err || run->nr_todo)
		run->nr_failed += move_set_status(&run->chunk, first, MOVE_TODO,
						  -EBUSY);
	putback_movable_pages(&run->failed);
	putback_movable_pages(&run->no_target);
	while (run->own)
		run->own = move_own(run, first);
	node_set(run->chunk.node[first], run->served);
}

/*
 * Find the first address whose page was on its target node and was moved away by a
 * later pass. Returns the end of the chunk if there is none.
 */
static unsigned int move_find_taken(struct move_run *run)
{
	const struct move_chunk *chunk = &run->chunk;
	unsigned int i;
	int node, nid;

	if (nodes_empty(run->taken_from) || move_walk_begin(&run->walk))
		return chunk->nr;

	for (i = 0; i < chunk->nr; i++) {
		node = chunk->node[i];
		if (chunk->status[i] != node || !node_isset(node, run->taken_from))
			continue;
		nid = move_walk_node(&run->walk, chunk->addr[i]);
		if (nid >= 0 && nid != node)
			break;
	}
	move_walk_end(&run->walk);
	return i;
}

/*
 * If several addresses of the chunk name the same page with different nodes, the page
 * must end up on the last of these nodes. Passes do not keep the order of addresses.
 * So repeat the moves in that order, from the first address on whose page may be on
 * a wrong node.
 */
static void move_in_order(struct move_run *run)
{
	struct move_chunk *chunk = &run->chunk;
	unsigned int i = move_find_taken(run), first;

	while (i < chunk->nr) {
		first = i;
		for (; i < chunk->nr && chunk->node[i] == chunk->node[first]; i++) {
			if (chunk->status[i] == chunk->node[i])
				chunk->status[i] = MOVE_TODO;
		}
		move_pass(run, first);
	}
}

static void move_chunk(struct move_run *run)
{
	struct move_chunk *chunk = &run->chunk;
	unsigned int i;

	nodes_clear(run->served);
	nodes_clear(run->taken_from);
	memset32(chunk->status, MOVE_TODO, chunk->nr);
	for (i = 0; i < chunk->nr; i++) {
		if (chunk->status[i] == MOVE_TODO)
			move_pass(run, i);
	}
	move_in_order(run);
}

/* If the allocation fails, the chunks are small ones. */
static void move_chunk_init(struct move_chunk *chunk, unsigned long nr)
{
	void *mem = NULL;

	if (nr > MOVE_CHUNK_SMALL)
		mem = kmalloc(MOVE_CHUNK * MOVE_SLOT, GFP_KERNEL | __GFP_NOWARN);

	chunk->max = mem ? MOVE_CHUNK : MOVE_CHUNK_SMALL;
	chunk->addr = mem ?: chunk->small;
	chunk->node = (int *)(chunk->addr + chunk->max);
	chunk->status = chunk->node + chunk->max;
}

static void move_chunk_free(struct move_chunk *chunk)
{
	if (chunk->addr != chunk->small)
		kfree(chunk->addr);
}

/*
 * Copy @nr elements from user space. Returns the number of elements read.
 * copy_from_user() may stop before the first byte that faults. So after a failure the
 * elements are read one by one, until one of them cannot be read.
 */
static unsigned int move_read(void *to, const void __user *from,
			      unsigned int nr, size_t size)
{
	unsigned long left = copy_from_user(to, from, nr * size);
	unsigned int done = nr - DIV_ROUND_UP(left, size);

	while (unlikely(done < nr) &&
	       !copy_from_user(to + done * size, from + done * size, size))
		done++;
	return done;
}

/* The chunk ends before the first address that cannot be read. */
static int move_read_pages(struct move_chunk *chunk, const struct move_args *args,
			   unsigned long pos)
{
	const unsigned int nr = min(args->nr - pos, chunk->max);
	const compat_uptr_t __user *pages32;
	unsigned int i;

	if (!in_compat_syscall()) {
		chunk->nr = move_read(chunk->addr, args->pages + pos, nr,
				      sizeof(*chunk->addr));
	} else {
		pages32 = (const compat_uptr_t __user *)args->pages;
		chunk->nr = move_read(chunk->addr32, pages32 + pos, nr,
				      sizeof(*chunk->addr32));
		for (i = 0; i < chunk->nr; i++)
			chunk->addr[i] = (unsigned long)compat_ptr(chunk->addr32[i]);
	}
	return chunk->nr < nr ? -EFAULT : 0;
}

static int move_check_node(const struct move_run *run, int node)
{
	if (node < 0 || node >= MAX_NUMNODES || !node_state(node, N_MEMORY))
		return -ENODEV;
	return node_isset(node, run->allowed) ? 0 : -EACCES;
}

/* The chunk ends before the first node that cannot be read or is not allowed. */
static int move_read_nodes(struct move_run *run, const struct move_args *args,
			   unsigned long pos)
{
	struct move_chunk *chunk = &run->chunk;
	const unsigned int nr = chunk->nr;
	int err, checked = 0;	/* valid from the second node on */
	unsigned int i;

	chunk->nr = move_read(chunk->node, args->nodes + pos, nr,
			      sizeof(*chunk->node));
	for (i = 0; i < chunk->nr; i++) {
		if (i && chunk->node[i] == checked)
			continue;
		checked = chunk->node[i];
		err = move_check_node(run, checked);
		if (err) {
			chunk->nr = i;
			return err;
		}
	}
	return chunk->nr < nr ? -EFAULT : 0;
}

/* Returns the error of the first element that is left out of the chunk, or 0. */
static int move_read_chunk(struct move_run *run, const struct move_args *args,
			   unsigned long pos)
{
	const int err = move_read_pages(&run->chunk, args, pos);

	return move_read_nodes(run, args, pos) ?: err;
}

static int move_write_status(const struct move_chunk *chunk,
			     const struct move_args *args, unsigned long pos)
{
	if (copy_to_user(args->status + pos, chunk->status,
			 chunk->nr * sizeof(*chunk->status)))
		return -EFAULT;
	return 0;
}

/*
 * An invalid element ends the call after the pages before it have been moved. An error
 * of a page does not end the call.
 */
static int move_all(struct move_run *run, const struct move_args *args)
{
	unsigned long pos;
	int err, err_write;

	for (pos = 0; pos < args->nr; pos += run->chunk.nr) {
		if (fatal_signal_pending(current))
			return -EINTR;

		err = move_read_chunk(run, args, pos);
		move_chunk(run);
		err_write = move_write_status(&run->chunk, args, pos);
		if (err || err_write)
			return err ?: err_write;
		cond_resched();
	}
	return run->err;
}

/*
 * A positive return value is the number of pages that were busy, or that the method of
 * their VMA failed to move. Other errors are only in the status of the page.
 */
static long move_pages_to_nodes(struct mm_struct *mm, const nodemask_t *allowed,
				const struct move_args *args, bool shared)
{
	struct move_run run = {
		.walk = { .mm = mm, .migratable = true },
		.allowed = *allowed,
		.shared = shared,
		.failed = LIST_HEAD_INIT(run.failed),
		.no_target = LIST_HEAD_INIT(run.no_target),
	};
	int err;

	INIT_LIST_HEAD(&run.queue[MOVE_FOLIOS].list);
	INIT_LIST_HEAD(&run.queue[MOVE_HUGETLBS].list);

	move_chunk_init(&run.chunk, args->nr);
	err = move_all(&run, args);
	if (run.drained == MOVE_DRAINED_ALL)
		lru_cache_enable();
	move_chunk_free(&run.chunk);

	return err ?: run.nr_failed;
}

static int move_query_chunk(struct move_walk *walk, struct move_chunk *chunk)
{
	unsigned int i;
	int err;

	err = move_walk_begin(walk);
	if (err)
		return err;

	for (i = 0; i < chunk->nr; i++)
		chunk->status[i] = move_walk_node(walk, chunk->addr[i]);
	move_walk_end(walk);
	return 0;
}

static int move_query_all(struct move_walk *walk, struct move_chunk *chunk,
			  const struct move_args *args)
{
	unsigned long pos;
	int err, err_read;

	for (pos = 0; pos < args->nr; pos += chunk->nr) {
		if (fatal_signal_pending(current))
			return -EINTR;

		err_read = move_read_pages(chunk, args, pos);
		err = move_query_chunk(walk, chunk);
		if (!err)
			err = move_write_status(chunk, args, pos);
		if (err || err_read)
			return err ?: err_read;
		cond_resched();
	}
	return 0;
}

static int move_pages_query(struct mm_struct *mm, const struct move_args *args)
{
	struct move_walk walk = { .mm = mm };
	struct move_chunk chunk;
	int err;

	move_chunk_init(&chunk, args->nr);
	err = move_query_all(&walk, &chunk, args);
	move_chunk_free(&chunk);
	return err;
}

/* Check the permission of the caller, and find the nodes that @task may use. */
static struct mm_struct *move_task_mm(struct task_struct *task,
				      nodemask_t *allowed)
{
	int err;

	if (!ptrace_may_access(task, PTRACE_MODE_READ_REALCREDS))
		return ERR_PTR(-EPERM);
	err = security_task_movememory(task);
	if (err)
		return ERR_PTR(err);

	*allowed = cpuset_mems_allowed(task);
	return get_task_mm(task) ?: ERR_PTR(-EINVAL);
}

/*
 * Find the mm of the task and take a reference to it. exec_update_lock keeps an exec
 * from changing the credentials between the permission check and get_task_mm().
 */
static struct mm_struct *move_find_mm(pid_t pid, nodemask_t *allowed)
{
	struct task_struct *task __free(put_task) = NULL;
	struct mm_struct *mm;

	if (!pid) {
		*allowed = cpuset_mems_allowed(current);
		mmget(current->mm);
		return current->mm;
	}

	task = find_get_task_by_vpid(pid);
	if (!task)
		return ERR_PTR(-ESRCH);

	if (down_read_killable(&task->signal->exec_update_lock))
		return ERR_PTR(-EINTR);
	mm = move_task_mm(task, allowed);
	up_read(&task->signal->exec_update_lock);
	return mm;
}

static long kernel_move_pages(pid_t pid, const struct move_args *args, int flags)
{
	struct mm_struct *mm;
	nodemask_t allowed;
	long ret;

	if (flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL))
		return -EINVAL;
	if ((flags & MPOL_MF_MOVE_ALL) && !capable(CAP_SYS_NICE))
		return -EPERM;

	mm = move_find_mm(pid, &allowed);
	if (IS_ERR(mm))
		return PTR_ERR(mm);

	if (args->nodes)
		ret = move_pages_to_nodes(mm, &allowed, args,
					  flags & MPOL_MF_MOVE_ALL);
	else
		ret = move_pages_query(mm, args);

	mmput(mm);
	return ret;
}

SYSCALL_DEFINE6(move_pages, pid_t, pid, unsigned long, nr_pages,
		const void __user * __user *, pages,
		const int __user *, nodes,
		int __user *, status, int, flags)
{
	const struct move_args args = {
		.nr = nr_pages,
		.pages = pages,
		.nodes = nodes,
		.status = status,
	};

	return kernel_move_pages(pid, &args, flags);
}
