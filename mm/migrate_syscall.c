// SPDX-License-Identifier: GPL-2.0-only
/*
 * move_pages(2): which node is each of these pages on, and move them there.
 *
 * The user's arrays are worked off in chunks. User memory is touched between
 * chunks only, with no lock held. The addresses of a chunk are looked up under
 * one hold of the mmap lock, and for as long as they come from one page table
 * also under one hold of its lock. One pass serves one target node and takes
 * along all addresses of the chunk that go there, in whichever order they are.
 * Where that has taken a page from the node it was asked to be on in the end,
 * the chunk is gone through once more, in the order of the addresses.
 *
 * While a chunk is worked on, the status of an address says how far it has come:
 *
 *	MOVE_TODO ---> MOVE_QUEUED ---> node, or -errno
 *	    |                             ^   ^
 *	    +-----------------------------+   |
 *	    +--------> MOVE_OWN --------------+
 *
 * An address whose folio cannot be isolated stays MOVE_TODO until the queue has
 * moved: the folio may have been on it, by another address. Only if that was
 * not it, the caches that keep folios off the LRU are drained, those of this
 * CPU first. A page that somebody else is moving is waited for, with nothing
 * held.
 *
 * Memory that has no folio, in a VMA that moves its own, is MOVE_OWN until the
 * pass has no folio isolated any more. Then the VMA moves it, page by page.
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
 * How many addresses are worked on at a time: base pages for about what the
 * engine unmaps at a time, and few enough to be on the stack if there are no
 * more than that.
 */
#define MOVE_CHUNK		512
#define MOVE_CHUNK_SMALL	16

/*
 * How many VMAs are looked through for other users of a page. One of another
 * process costs about as much as a fault that finds its page: a microsecond or
 * less. So those who wait for the lock of the folio or of the file meanwhile do so
 * for a millisecond at most. move_gather() lets go of the mmap lock for a moment
 * after as many VMAs, whether one page was searched for or several.
 */
#define MOVE_SEARCH_MAX		1024

/* Memory that an address needs: itself, its node and its status. */
#define MOVE_SLOT		(sizeof(unsigned long) + 2 * sizeof(int))

/* A status that is neither a node nor an error. */
enum {
	MOVE_TODO = MAX_NUMNODES,	/* not looked at, or cannot be isolated */
	MOVE_QUEUED,			/* its folio is on one of the queues */
	MOVE_OWN,			/* no folio: its VMA has to move it */
	MOVE_ASK,			/* not kept: look for other users of it first */
};

/**
 * struct move_chunk - the part of the user's arrays that is being worked on
 * @max: How many addresses there is room for.
 * @nr: Number of addresses.
 * @addr: What the user calls the pages.
 * @node: Where they are to go.
 * @status: What became of them.
 * @addr32: Where the addresses of a 32-bit caller land before they become
 *	@addr. No status exists before that.
 * @small: Room for a few.
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
 * struct move_walk - look-up of one address after the other
 * @mm: The address space, with the mmap lock held for reading.
 * @migratable: Take the memory of VMAs that cannot be migrated for a mistake.
 * @vma: The VMA of the last address, NULL if there was none.
 * @own: It moves its own memory.
 * @fw: The page table walk that led to @folio.
 * @table: Page table that @fw holds, if its level is that of PTEs.
 * @start: First address for which the lock that @fw holds is the right one.
 * @end: End of these addresses, which may be none; 0 if nothing is held.
 * @folio: The folio of the last address, NULL if there was none. Cannot go away
 *	before the next address is looked up.
 * @moving: Somebody is migrating @folio: no page table maps it for now, and all
 *	that may be asked is which node it is still on.
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
 * enum move_drained - which caches may still keep folios off the LRU
 * @MOVE_DRAINED_NONE: Those of all CPUs.
 * @MOVE_DRAINED_LOCAL: Those of the other CPUs, as long as the pass lasts.
 * @MOVE_DRAINED_ALL: None, as long as the call lasts.
 */
enum move_drained {
	MOVE_DRAINED_NONE,
	MOVE_DRAINED_LOCAL,
	MOVE_DRAINED_ALL,
};

/**
 * struct move_queue - isolated folios that are to be moved next
 * @list: The folios.
 * @err: What has kept some of them from being moved, 0 if nothing.
 * @err_large: The same for the large ones.
 */
struct move_queue {
	struct list_head list;
	int err;
	int err_large;
};

/*
 * hugetlb has its own reserves of memory. That they are used up says nothing
 * about other folios, which therefore have a queue of their own.
 */
enum {
	MOVE_FOLIOS,
	MOVE_HUGETLBS,
	MOVE_NR_QUEUES,
};

/**
 * struct move_run - one call that moves pages
 * @walk: Finds the pages.
 * @chunk: The addresses at hand.
 * @allowed: Nodes that the owner of the memory may use.
 * @full: Nodes that had no memory for a small folio.
 * @served: Nodes that pages of the chunk are on because that was asked for.
 * @taken_from: Those of them that a later pass has taken pages from.
 * @shared: Move also what other processes map.
 * @asked: The folio whose users were looked for last, with a reference.
 * @asked_shared: Whether another process maps it.
 * @nr_searched: VMAs that were looked through since the mmap lock was taken.
 * @drained: How far the search for folios off the LRU has gone.
 * @queue: What this pass is going to move.
 * @isolated: Isolated pages that their node has not been told about.
 * @failed: Isolated folios that have been tried. They stay isolated until the
 *	pass is over, so that no second address of theirs queues them again.
 * @no_room: The same, of large folios that there was no memory for.
 * @last: The folio that was queued last, NULL once the queues are empty.
 * @nr_todo: Addresses that the pass could not decide.
 * @own: There are addresses for which the VMA has to be asked.
 * @may_drain: Draining could help at least one of them.
 * @may_wait: Waiting could help at least one of them, namely ...
 * @wait_addr: ... this one, the last of that kind.
 * @nr_waits: How often the pass has waited.
 * @nr_failed: Number of -EBUSY among the statuses.
 * @err: Error that does not keep the remaining pages from being tried.
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
	struct list_head no_room;
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
 * @pages: Addresses, each the size of a pointer of the caller's.
 * @nodes: Target nodes, NULL to ask where the pages are.
 * @status: Where to put the answers.
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
 * Is the lock that is held the one for @addr, and may it be held any longer? Not
 * if another CPU waits for it, or another task for this CPU.
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

/* Find the VMA of @addr. Most often it is the one of the address before. */
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

/* Does the VMA know of memory that page tables lead to no folio of? */
static bool move_vma_knows(const struct vm_area_struct *vma)
{
	return vma->vm_ops && (vma->vm_ops->migrate || vma->vm_ops->get_node);
}

/*
 * A walk that found something holds a lock, and that lock is good for more than
 * one address: a huge entry for all that it maps, that of a page table for all
 * its entries. Not so with hugetlb, which has a notion of its own of what an
 * entry is and of what locks it. Nor with a VMA that has to be asked about the
 * next address if there is no folio, as no such lock may be held then.
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

/* What move_walk_node() says of a folio that is no zeropage. */
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

/* The folio that an entry leads to which maps no ordinary page, or NULL. */
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
 * What folio_walk_start() would find, with the right lock held already. A page
 * that vm_normal_page() returns is no zeropage.
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

/* There is no folio, and no page table lock is held: what does the VMA say? */
static int move_walk_ask(struct move_walk *walk, unsigned long addr)
{
	/* It could not be moved anyway. */
	if (walk->migratable && !walk->own)
		return -ENOENT;
	return vma_memory_node(walk->vma, addr & PAGE_MASK, NULL);
}

/* move_walk_node() for an address that may be tagged, with any lock held. */
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
 * The node that the page at @addr is on, with the page locked in its place by
 * the page table lock. -EFAULT if there can be none or it is the zeropage,
 * -ENOENT if there is none, or none that is the kernel's to move. A page that
 * somebody is moving has not left its node yet. If there is no folio, this is
 * what the VMA says, which may also be another error, and no lock is held.
 *
 * An address for which the right lock is held is in the same VMA as the one
 * before, and has no tag.
 */
static int move_walk_node(struct move_walk *walk, unsigned long addr)
{
	if (likely(move_walk_holds(walk, addr)))
		return move_walk_held(walk, addr);
	return move_walk_find(walk, addr);
}

/*
 * End a walk that has come to a folio on the move, and wait until it is not. Like
 * a fault without a reference, which would make the other one fail. The entry is
 * only what its folio is known by. Holding the page table lock to the last is
 * enough: nobody can remove the entry before, nor the table that it is in.
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
 * struct move_search - search for a process that maps a folio
 * @mm: The one that is known to.
 * @nr_vmas: How many VMAs have been looked at.
 * @found: There is another one, or there are too many VMAs to tell.
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

/* An &rmap_walk_control.rmap_one: go on to the next VMA? */
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
 * Does anybody else map @folio, which is locked and mapped in @mm? hugetlb takes
 * i_mmap_rwsem before the lock of a folio, so here it can only be tried. Where
 * that fails, or the search would take too long, the estimate stands that led to
 * the question: somebody does.
 *
 * Of an anonymous folio the mmap lock of @mm keeps the anon_vma, which a VMA of
 * @mm is linked to. Even if @mm does not map the folio any more, it still belongs
 * to that anon_vma: only a page that is exclusive to one mm is given to another
 * anon_vma, and the reference from when @mm did map it keeps the others from
 * making it exclusive to them. hugetlb does so whatever references there are, so
 * an anonymous folio of hugetlb must not get here.
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
 * Find out who else maps the folio that was looked up last. The locks of the
 * rmap come before that of the page table, which therefore is released: the
 * reference keeps the folio, and the caller has to look again. Returns false if
 * somebody else has locked the folio, or nobody waits for the answer.
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

/* In the end no reference may be left that keeps the folio from being moved. */
static void move_ask_end(struct move_run *run)
{
	if (run->asked)
		folio_put(run->asked);
	run->asked = NULL;
}

/*
 * Does the estimate that others map @folio stand as it is? Pages of large folios
 * are mapped one by one. Of the rest an mm maps an anonymous folio once, and one
 * of a file once in each VMA at most, and no search gets beyond MOVE_SEARCH_MAX of
 * those. One of KSM, which is small and anonymous, may be mapped several times by
 * one mm, but its rmap cannot tell: ksmd maps it in the place of another page
 * first, without its lock, and makes that known to the rmap later. What has no
 * mapping, such as pages of a driver, has no rmap to be asked.
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
 * Whether a cache of a CPU may hold a reference to @folio, apart from @known
 * ones. Other references are as good as one of a cache; but a cache holds few,
 * and a pin counts as many. What has no mapping is not drained for: it is mapped
 * by a driver and has never been on an LRU, or it has been truncated since it was
 * isolated, and no address leads to it any more.
 *
 * Mappings may come and go meanwhile. With the expected number from before and
 * after it is the drain that is made for nothing, and not the one left undone.
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
 * Drain more caches than before. With none left to drain, return false. Those of
 * the other CPUs cost much, so this is done for good: nothing goes into a cache
 * any more, on any CPU, while the call lasts.
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

/* Book what keeps a page from being moved, and return it as the status. */
static int move_refuse(struct move_run *run, int err)
{
	if (err == -EBUSY)
		run->nr_failed++;
	else
		run->err = err;
	return err;
}

/* See later about this page. With @may_drain, drained caches could help it. */
static int move_postpone(struct move_run *run, bool may_drain)
{
	run->nr_todo++;
	run->may_drain |= may_drain;
	return MOVE_TODO;
}

/* The same if it will do to wait for somebody who is at work with it. */
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
 * Isolate @folio, or say what is to be done about its page instead. This pass may
 * be what keeps it off the LRU, as it has tried to move it. A cache may let go of
 * it after an attempt to isolate it and before the look for that cache, which
 * makes the second attempt a different one.
 */
static int move_try_isolate(struct move_run *run, struct folio *folio)
{
	if (move_isolate(run, folio))
		return MOVE_QUEUED;
	if (move_is_among(folio, &run->no_room))
		return move_refuse(run, -ENOMEM);
	if (move_is_among(folio, &run->failed))
		return move_postpone(run, false);
	if (move_maybe_cached(folio, folio == run->asked))
		return move_postpone(run, true);
	return move_isolate(run, folio) ? MOVE_QUEUED : move_postpone(run, false);
}

/*
 * Decide what to do about the page at @addr on the way from @nid to @node, and
 * return its status; MOVE_ASK if the rmap has to say who uses it.
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

/* Is what was looked up last for its VMA to move, and not for us? */
static bool move_is_own(const struct move_walk *walk)
{
	return walk->vma && walk->own &&
	       (!walk->folio || !vma_migratable(walk->vma));
}

/*
 * The status of memory on @nid that is for its VMA to move; MOVE_OWN if that is to
 * be done. A VMA that cannot be asked where its memory is may still move it. What
 * was copied on write is neither the VMA's nor, in this one, for us to move.
 */
static int move_decide_own(const struct move_walk *walk, int nid, int node)
{
	if (walk->folio && folio_test_anon(walk->folio))
		return -EFAULT;
	if (nid == node || (nid < 0 && walk->vma->vm_ops->get_node))
		return nid;
	return MOVE_OWN;
}

/* The same for any page at @addr, which may be on @node already, or none. */
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

/* The same with the rmap asked. */
static noinline int move_decide_asked(struct move_run *run, unsigned long addr,
				      int node)
{
	int status = MOVE_ASK;

	if (move_ask(run))
		status = move_decide(run, addr, node);
	/* It is locked, or not the same page any more, or we are killed. */
	return status == MOVE_ASK ? move_postpone_wait(run, addr) : status;
}

/* Let others have the mmap lock if searches have kept it for long. */
static int move_give_way(struct move_run *run)
{
	if (run->nr_searched < MOVE_SEARCH_MAX)
		return 0;
	run->nr_searched = 0;
	move_walk_end(&run->walk);
	return move_walk_begin(&run->walk);
}

/* Look at what is left of the chunk from @first on and goes to the same node. */
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
			/* Killed: there is no lock, and no need to see the rest. */
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
 * A page is to have a status, so it may be written out to be moved, but neither
 * be dropped nor be swapped out.
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

/* Some folios on the list could not be moved. Would they if caches let go? */
static bool move_retry(struct move_run *run, struct list_head *list)
{
	struct folio *folio;

	/* Killed as it waited for a disk: nobody is left to read the status. */
	if (fatal_signal_pending(current))
		return false;

	list_for_each_entry(folio, list, lru) {
		if (move_maybe_cached(folio, 1))
			return move_drain(run);
	}
	return false;
}

/* Returns what has kept some of the folios on the list from being moved, or 0. */
static int move_try(struct move_run *run, struct list_head *list, int node)
{
	int err;

	do {
		err = move_migrate(list, node);
	} while (err > 0 && move_retry(run, list));
	return err > 0 ? -EBUSY : err;
}

/* Give up on the large folios on @list. Returns false if there were none. */
static bool move_give_up_large(struct move_run *run, struct list_head *list)
{
	struct folio *folio, *next;
	bool found = false;

	list_for_each_entry_safe(folio, next, list, lru) {
		if (!folio_test_large(folio))
			continue;
		list_move_tail(&folio->lru, &run->no_room);
		found = true;
	}
	return found;
}

/*
 * Move the folios of one queue and keep those that do not want to. The first one
 * without a target ends an attempt. If that may have been a large one, there may
 * still be memory for the small ones.
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

/* The status of a page that was queued for @node, now that it has been tried. */
static int move_outcome(struct move_run *run, unsigned long addr, int node)
{
	const int nid = move_walk_node(&run->walk, addr);
	const struct move_queue *queue;
	int err;

	/* It has arrived, or is gone meanwhile, or was replaced by a VMA's own. */
	if (nid == node || nid < 0 || !run->walk.folio)
		return nid;

	queue = &run->queue[folio_test_hugetlb(run->walk.folio)];
	err = folio_test_large(run->walk.folio) ? queue->err_large : queue->err;
	/* Without an error it did arrive, but somebody has moved it on. */
	return err ? move_refuse(run, err) : nid;
}

/*
 * Give status @to to all from @first on that go to the same node and are in
 * state @from; how many?
 */
static unsigned int move_settle(struct move_chunk *chunk, unsigned int first,
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

/* Some have not been moved. Look where each of them is. */
static void move_settle_each(struct move_run *run, unsigned int first)
{
	struct move_chunk *chunk = &run->chunk;
	const int node = chunk->node[first];
	unsigned int i;

	/* Killed: nobody waits for the answer. */
	if (move_walk_begin(&run->walk)) {
		run->nr_failed += move_settle(chunk, first, MOVE_QUEUED, -EBUSY);
		return;
	}

	for (i = first; i < chunk->nr; i++) {
		if (chunk->status[i] == MOVE_QUEUED)
			chunk->status[i] = move_outcome(run, chunk->addr[i], node);
	}
	move_walk_end(&run->walk);
}

/* Move what is queued. Returns false if there was nothing to move. */
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
		move_settle_each(run, first);
	else
		move_settle(&run->chunk, first, MOVE_QUEUED, node);
	return true;
}

/*
 * What has become of memory that a VMA has moved, or left where it is without an
 * error: as it does without MPOL_MF_MOVE_ALL if others use it.
 */
static int move_own_outcome(struct move_run *run, unsigned long addr, int node)
{
	struct move_walk *walk = &run->walk;
	int nid = move_walk_node(walk, addr);

	/* There is nobody to ask. */
	if (!walk->folio && !walk->vma->vm_ops->get_node)
		nid = node;
	move_walk_release(walk);
	if (nid < 0 || nid == node)
		return nid;
	return run->shared ? move_refuse(run, -EBUSY) : -EACCES;
}

/* Have the VMA move the page at @addr, which was on @nid as far as that is known. */
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

/* The VMAs may have changed since the page was said to be one's own. */
static int move_own_again(struct move_run *run, unsigned long addr, int node)
{
	const int nid = move_walk_node(&run->walk, addr);
	int status = nid;

	if (move_is_own(&run->walk))
		status = move_decide_own(&run->walk, nid, node);
	else if (nid >= 0 && nid != node)
		status = move_refuse(run, -EBUSY);
	/* No page table lock over the method. */
	move_walk_release(&run->walk);
	if (status == MOVE_OWN)
		status = move_own_page(run, addr, nid, node);
	return status;
}

/*
 * Have VMAs move what is theirs of all addresses from @first on that go to the
 * same node. Their errors are those of single pages. It may take long, so the mmap
 * lock is given to whoever waits for it: true if there is more to be done then.
 */
static bool move_own(struct move_run *run, unsigned int first)
{
	struct move_chunk *chunk = &run->chunk;
	const int node = chunk->node[first];
	unsigned int i;

	if (move_walk_begin(&run->walk)) {
		run->nr_failed += move_settle(chunk, first, MOVE_OWN, -EBUSY);
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
 * Somebody else is at work with the page that was to be waited for. If they are
 * migrating it, wait for that. Otherwise they hold its lock, without which the
 * rmap cannot be asked. Returns false if there is no time for that any more.
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

/* Nothing could be moved. Do what may change that; false if there is nothing. */
static bool move_clear_way(struct move_run *run)
{
	if (run->may_wait && move_wait(run))
		return true;
	return run->may_drain && move_drain(run);
}

/*
 * Serve all addresses from @first on that go to the same node. Every round but
 * the last has either taken folios off the LRU, which stay off it while they are
 * on their old node, or drained caches, of which there are two kinds, or waited,
 * as often as the engine tries a folio: it ends.
 */
static void move_pass(struct move_run *run, unsigned int first)
{
	bool progress;
	int err;

	/* What the last pass moved is now in a cache of this CPU. */
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
		run->nr_failed += move_settle(&run->chunk, first, MOVE_TODO,
					      -EBUSY);
	putback_movable_pages(&run->failed);
	putback_movable_pages(&run->no_room);
	while (run->own)
		run->own = move_own(run, first);
	node_set(run->chunk.node[first], run->served);
}

/*
 * The first address whose page has arrived, or was there already, and has been
 * taken away by a pass for another node; the end of the chunk if there is none.
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
 * A page that several addresses of the chunk send to different nodes has to end
 * on the last one. Passes know no order, so from the first one that is in doubt
 * on, do what is asked for in the order in which it is.
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

/* Without memory for more, the few that there is always room for will do. */
static void move_chunk_init(struct move_chunk *chunk, unsigned long nr)
{
	void *room = NULL;

	if (nr > MOVE_CHUNK_SMALL)
		room = kmalloc(MOVE_CHUNK * MOVE_SLOT, GFP_KERNEL | __GFP_NOWARN);

	chunk->max = room ? MOVE_CHUNK : MOVE_CHUNK_SMALL;
	chunk->addr = room ?: chunk->small;
	chunk->node = (int *)(chunk->addr + chunk->max);
	chunk->status = chunk->node + chunk->max;
}

static void move_chunk_free(struct move_chunk *chunk)
{
	if (chunk->addr != chunk->small)
		kfree(chunk->addr);
}

/*
 * Copy @nr elements from user space, and return how many could be read. Where a
 * copy fails it may have stopped before it had to: whole elements up to the end
 * of what is mapped are the caller's due.
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

/* Read the addresses from @pos on, as many as fit and can be read. */
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

/* Read the nodes and check them; the chunk ends before the first bad one. */
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

/* An error is that of the first element which is not in the chunk any more. */
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
 * An error in the arguments ends the call, but what comes before it in the
 * arrays is moved. Other errors do not keep anything from being tried.
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
 * A positive return value is the number of pages that were busy. What else may
 * be wrong with a page, only its status tells.
 */
static long move_pages_to_nodes(struct mm_struct *mm, const nodemask_t *allowed,
				const struct move_args *args, bool shared)
{
	struct move_run run = {
		.walk = { .mm = mm, .migratable = true },
		.allowed = *allowed,
		.shared = shared,
		.failed = LIST_HEAD_INIT(run.failed),
		.no_room = LIST_HEAD_INIT(run.no_room),
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

/* May the caller move the memory of @task, and where to? */
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
 * Find the memory to be moved and take a reference to it. An exec that changes
 * the credentials cannot come between the check and that.
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
