// SPDX-License-Identifier: GPL-2.0-only

/*
 * First version by Jérôme Glisse.
 */

/*
 * Memory that a device holds: moving ordinary memory to a device and back.
 *
 * A driver moves memory in three calls, and between them it allocates and
 * copies. One array entry stands for one page table entry or, with
 * MIGRATE_PFN_COMPOUND, for a huge one; the slots of its tail pages are stepped
 * over and never looked at. Five stages work on these arrays, each of which can
 * be read alone:
 *
 *   stage      called by              what it does to an entry of src
 *   ---------  ---------------------  ----------------------------------------
 *   collect    migrate_vma_setup()    looks at the page table: takes the page,
 *              migrate_device_*()     notes a hole, or leaves the slot empty
 *   unmap      the same calls         lets every other page table go, takes the
 *                                     folio off the LRU, gives back what is
 *                                     pinned
 *   insert     migrate_vma_pages()    puts the driver's page into a hole
 *   move       migrate_vma_pages()    lets the driver's folio take the place of
 *              migrate_device_pages() the source, divides a huge entry if the
 *                                     driver brought small pages
 *   finalize   migrate_vma_finalize() maps whichever folio is the right one now
 *              migrate_device_*()     and drops all locks and references
 *
 * Who holds what:
 *
 *   after      source folio                     driver's folio
 *   ---------  -------------------------------  ------------------------------
 *   collect    locked, one reference, migration -
 *              entry where it was found
 *   unmap      locked, one reference, nowhere   -
 *              mapped, off the LRU
 *   move       as before                        locked, the driver's reference
 *   finalize   nothing                          nothing
 *
 * The folio of a page fault that the driver is just serving is the exception:
 * the fault holds its lock, and a reference of its own, from before collection
 * until after finalizing, see migrate_is_faulting().
 *
 * Many folio locks are held at once. Nothing may therefore wait for a folio
 * lock, and nothing may wait for other CPUs while a folio is locked that some
 * page table still refers to: a fault would spin on it.
 */
#include <linux/export.h>
#include <linux/leafops.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/mmu_notifier.h>
#include <linux/oom.h>
#include <linux/pagewalk.h>
#include <linux/pgalloc.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/userfaultfd_k.h>
#include <asm/tlbflush.h>
#include "internal.h"

/*
 * In an entry of src, known to this file only: a reference on the anon_vma of
 * the folio is held. Without a VMA that the caller keeps alive nothing else
 * would, once the last page table has let go of the folio.
 */
#define MIGRATE_PFN_ANON_VMA	BIT(5)

/**
 * struct migrate_entries - the arrays of one call, and where they came from
 * @src: entries that have been collected; written by every stage
 * @dst: entries that the driver filled in; only read. NULL while there are none
 * @nr: slots in each of the two
 * @fault_page: page of the fault being served, or NULL
 * @args: what the driver asked for, NULL if it named pages instead of addresses
 * @range: notification of the secondary MMUs about filled holes
 * @notified: @range has been started
 * @drained: the LRU caches of all CPUs have been drained for this call
 */
struct migrate_entries {
	unsigned long *src;
	unsigned long *dst;
	unsigned long nr;
	struct page *fault_page;
	struct migrate_vma *args;
	struct mmu_notifier_range range;
	bool notified;
	bool drained;
};

/*
 * Entries
 */

/* The folio of an entry, NULL for a hole or an empty slot. */
static struct folio *migrate_entry_folio(unsigned long mpfn)
{
	struct page *page = migrate_pfn_to_page(mpfn);

	return page ? page_folio(page) : NULL;
}

/* How many pages does a hole cover that is to be filled with one folio? */
static unsigned long migrate_hole_nr(void)
{
	if (thp_migration_supported())
		return HPAGE_PMD_NR;
	return 1;
}

/*
 * How many slots does this entry of src span? Its folio must still be held: the
 * order of a device's folio may change as soon as it is free.
 */
static unsigned long migrate_entry_nr(unsigned long mpfn)
{
	const struct folio *folio;

	if (!(mpfn & MIGRATE_PFN_COMPOUND))
		return 1;
	folio = migrate_entry_folio(mpfn);
	return folio ? folio_nr_pages(folio) : migrate_hole_nr();
}

/* Is this the folio whose lock belongs to the fault that is being served? */
static bool migrate_is_faulting(const struct page *fault_page,
				const struct folio *folio)
{
	return fault_page && page_folio(fault_page) == folio;
}

/*
 * Undo migrate_folio_grab(). The fault's lock is the fault's to drop.
 */
static void migrate_folio_release(const struct page *fault_page,
				  struct folio *folio)
{
	if (!migrate_is_faulting(fault_page, folio))
		folio_unlock(folio);
	folio_put(folio);
}

/*
 * Map @to wherever @from had been mapped and let go of @from, which is src[@i].
 * Both may be the same folio. Pages that were named, and that nobody had mapped
 * any more, have left no migration entry, and may have no anon_vma. Neither has
 * a KSM page, whose mappings are found all the same.
 */
static void migrate_entry_restore(const struct migrate_entries *e,
				  unsigned long i, struct folio *from,
				  struct folio *to)
{
	struct anon_vma *anon_vma = NULL;

	if (e->src[i] & MIGRATE_PFN_ANON_VMA)
		anon_vma = folio_anon_vma(to);
	if (e->args || anon_vma || folio_test_ksm(to))
		remove_migration_ptes(from, to, 0);
	if (anon_vma)
		put_anon_vma(anon_vma);
	migrate_folio_release(e->fault_page, from);
}

/*
 * Collect
 */

/* What a page table entry says. */
enum migrate_leaf_kind {
	MIGRATE_LEAF_OTHER,	/* swapped out, a marker, special: not ours */
	MIGRATE_LEAF_NONE,
	MIGRATE_LEAF_ZERO,
	MIGRATE_LEAF_PAGE,
};

/**
 * struct migrate_leaf - a PTE or a huge PMD, read once
 * @kind: what it is
 * @writable: the process may write through it
 * @page: the page that it refers to, if @kind is MIGRATE_LEAF_PAGE
 */
struct migrate_leaf {
	enum migrate_leaf_kind kind;
	bool writable;
	struct page *page;
};

/* What is to become of a page table entry; from MIGRATE_TAKE on with its folio. */
enum migrate_choice {
	MIGRATE_SKIP,	/* leave it alone */
	MIGRATE_HOLE,	/* nothing there: the driver may fill it */
	MIGRATE_TAKE,	/* replace it by a migration entry */
	MIGRATE_SPLIT,	/* the folio is too large: split it and look again */
};

static struct migrate_leaf migrate_leaf_from_softleaf(softleaf_t entry)
{
	struct migrate_leaf leaf = { .kind = MIGRATE_LEAF_OTHER };

	if (softleaf_is_device_private(entry)) {
		leaf.kind = MIGRATE_LEAF_PAGE;
		leaf.page = softleaf_to_page(entry);
		leaf.writable = softleaf_is_device_private_write(entry);
	}
	return leaf;
}

static struct migrate_leaf migrate_leaf_from_pte(struct vm_area_struct *vma,
						 unsigned long addr, pte_t pte)
{
	struct migrate_leaf leaf = { .kind = MIGRATE_LEAF_NONE };

	if (pte_none(pte))
		return leaf;
	if (!pte_present(pte))
		return migrate_leaf_from_softleaf(softleaf_from_pte(pte));

	/* A watched zero page would lose its watch when a page replaces it. */
	if (is_zero_pfn(pte_pfn(pte))) {
		leaf.kind = pte_uffd(pte) ? MIGRATE_LEAF_OTHER : MIGRATE_LEAF_ZERO;
		return leaf;
	}

	leaf.page = vm_normal_page(vma, addr, pte);
	leaf.kind = leaf.page ? MIGRATE_LEAF_PAGE : MIGRATE_LEAF_OTHER;
	leaf.writable = pte_write(pte);
	return leaf;
}

static struct migrate_leaf migrate_leaf_from_pmd(struct vm_area_struct *vma,
						 unsigned long addr, pmd_t pmd)
{
	struct migrate_leaf leaf = { .kind = MIGRATE_LEAF_NONE };

	if (pmd_none(pmd))
		return leaf;
	if (!pmd_present(pmd))
		return migrate_leaf_from_softleaf(softleaf_from_pmd(pmd));

	if (is_huge_zero_pmd(pmd)) {
		leaf.kind = pmd_uffd(pmd) ? MIGRATE_LEAF_OTHER : MIGRATE_LEAF_ZERO;
		return leaf;
	}

	leaf.page = vm_normal_page_pmd(vma, addr, pmd);
	leaf.kind = leaf.page ? MIGRATE_LEAF_PAGE : MIGRATE_LEAF_OTHER;
	leaf.writable = pmd_write(pmd);
	return leaf;
}

/* Did the driver ask for memory of this sort? */
static bool migrate_vma_selects(const struct migrate_vma *migrate,
				const struct folio *folio)
{
	unsigned long sort;

	if (!folio_is_zone_device(folio))
		return migrate->flags & MIGRATE_VMA_SELECT_SYSTEM;

	if (folio_is_device_private(folio))
		sort = MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
	else if (folio_is_device_coherent(folio))
		sort = MIGRATE_VMA_SELECT_DEVICE_COHERENT;
	else
		return false;
	return (migrate->flags & sort) &&
	       folio->pgmap->owner == migrate->pgmap_owner;
}

/*
 * Can this memory live anywhere else? Pages of a file cannot: the owner of the
 * mapping is not asked here, and what it keeps out of the direct map nobody may
 * copy. Memory of the system that is known to be bad must not be read. Of bad
 * memory on a device only its driver knows.
 */
static bool migrate_folio_movable(struct folio *folio)
{
	if (!folio_test_anon(folio))
		return false;
	return folio_is_zone_device(folio) || !folio_contain_hwpoisoned_page(folio);
}

/*
 * Decide what becomes of one page table entry. This is the only place that
 * does, for PTEs, PMDs and missing page tables alike.
 * @nr: as many pages can become one entry here
 */
static enum migrate_choice migrate_vma_choose(const struct migrate_vma *migrate,
					      const struct migrate_leaf *leaf,
					      unsigned long nr)
{
	struct folio *folio;

	switch (leaf->kind) {
	case MIGRATE_LEAF_OTHER:
		return MIGRATE_SKIP;
	case MIGRATE_LEAF_ZERO:
		if (!(migrate->flags & MIGRATE_VMA_SELECT_SYSTEM))
			return MIGRATE_SKIP;
		fallthrough;
	case MIGRATE_LEAF_NONE:
		/* Only anonymous memory can be filled by a driver. */
		return vma_is_anonymous(migrate->vma) ? MIGRATE_HOLE : MIGRATE_SKIP;
	case MIGRATE_LEAF_PAGE:
		break;
	}

	folio = page_folio(leaf->page);
	if (!migrate_vma_selects(migrate, folio) || !migrate_folio_movable(folio))
		return MIGRATE_SKIP;
	return folio_nr_pages(folio) > nr ? MIGRATE_SPLIT : MIGRATE_TAKE;
}

/*
 * Record what has become of the next @nr pages. This is the only place that
 * writes an entry while collecting; the arrays are empty before.
 */
static void migrate_vma_record(struct migrate_vma *migrate,
			       enum migrate_choice choice,
			       const struct migrate_leaf *leaf, unsigned long nr)
{
	unsigned long mpfn = 0;

	if (choice == MIGRATE_TAKE) {
		mpfn = migrate_pfn(page_to_pfn(leaf->page));
		if (leaf->writable)
			mpfn |= MIGRATE_PFN_WRITE;
	}
	if (choice != MIGRATE_SKIP) {
		mpfn |= MIGRATE_PFN_MIGRATE;
		if (nr > 1)
			mpfn |= MIGRATE_PFN_COMPOUND;
		migrate->cpages++;
	}

	migrate->src[migrate->npages] = mpfn;
	migrate->npages += nr;
}

/* How many pages can become one entry at @start? */
static unsigned long migrate_vma_unit(const struct migrate_vma *migrate,
				      unsigned long start, unsigned long end)
{
	if (thp_migration_supported() &&
	    (migrate->flags & MIGRATE_VMA_SELECT_COMPOUND) &&
	    IS_ALIGNED(start, HPAGE_PMD_SIZE) && end - start >= HPAGE_PMD_SIZE)
		return HPAGE_PMD_NR;
	return 1;
}

/*
 * Nothing is there between @start and @end, or a zero page if @leaf says so.
 * This may span many huge pages if a whole page table is missing.
 */
static void migrate_vma_collect_empty(struct migrate_vma *migrate,
				      const struct migrate_leaf *leaf,
				      unsigned long start, unsigned long end)
{
	while (start < end) {
		unsigned long nr = migrate_vma_unit(migrate, start, end);

		migrate_vma_record(migrate, migrate_vma_choose(migrate, leaf, nr),
				   leaf, nr);
		start += nr << PAGE_SHIFT;
	}
}

static int migrate_vma_collect_hole(unsigned long start, unsigned long end,
				    __always_unused int depth,
				    struct mm_walk *walk)
{
	const struct migrate_leaf leaf = { .kind = MIGRATE_LEAF_NONE };

	migrate_vma_collect_empty(walk->private, &leaf, start, end);
	return 0;
}

/*
 * Lock a folio that a page table under the page table lock refers to. Waiting
 * is not an option: other locks are held, and whoever holds this one may want
 * one of them.
 *
 * KSM reads its pages whenever it looks for another one like them, so these
 * cannot go where the CPU does not reach. It makes a page its own under the
 * folio lock: before that there is no answer to whether it has.
 */
static bool migrate_folio_grab(const struct migrate_vma *migrate,
			       struct folio *folio)
{
	if (!migrate_is_faulting(migrate->fault_page, folio) &&
	    !folio_trylock(folio))
		return false;
	folio_get(folio);
	if (!folio_test_ksm(folio))
		return true;
	migrate_folio_release(migrate->fault_page, folio);
	return false;
}

/*
 * Split the folio of @page, which migrate_folio_grab() has locked, and let go
 * of it. The page table must be looked at again after that.
 *
 * The split passes the caller's lock and reference on to the page that it is
 * given. For the folio of the fault these are the fault's, so ours goes first.
 */
static bool migrate_vma_split(const struct migrate_vma *migrate,
			      struct page *page)
{
	struct folio *folio = page_folio(page);
	int err;

	if (migrate_is_faulting(migrate->fault_page, folio)) {
		folio_put(folio);
		return !split_huge_page(migrate->fault_page);
	}

	err = split_huge_page(page);
	migrate_folio_release(NULL, page_folio(page));
	return !err;
}

/* Replace a huge page table entry by a migration entry. */
static bool migrate_vma_take_pmd(const struct migrate_vma *migrate,
				 unsigned long addr, pmd_t *pmdp,
				 const struct migrate_leaf *leaf)
{
	struct page_vma_mapped_walk pvmw = {
		.vma = migrate->vma,
		.address = addr,
		.pmd = pmdp,
	};

	if (!thp_migration_supported() ||
	    set_pmd_migration_entry(&pvmw, leaf->page)) {
		migrate_folio_release(migrate->fault_page, page_folio(leaf->page));
		return false;
	}
	if (migrate->vma->vm_flags & VM_LOCKED)
		mlock_drain_local();
	return true;
}

/*
 * Collect from a PMD that is huge, or none. Returns the address to go on from:
 * @addr itself if the PMD has to be looked at again.
 */
static unsigned long migrate_vma_collect_huge(struct migrate_vma *migrate,
					      pmd_t *pmdp, unsigned long addr,
					      unsigned long end)
{
	unsigned long nr = migrate_vma_unit(migrate, addr, end);
	struct vm_area_struct *vma = migrate->vma;
	enum migrate_choice choice;
	struct migrate_leaf leaf;
	spinlock_t *ptl;
	pmd_t pmd;

	ptl = pmd_lock(vma->vm_mm, pmdp);
	pmd = pmdp_get(pmdp);
	if (!pmd_none(pmd) && !pmd_is_huge(pmd)) {
		spin_unlock(ptl);
		return addr;
	}

	leaf = migrate_leaf_from_pmd(vma, addr, pmd);
	choice = migrate_vma_choose(migrate, &leaf, nr);
	if (choice >= MIGRATE_TAKE &&
	    !migrate_folio_grab(migrate, page_folio(leaf.page)))
		choice = MIGRATE_SKIP;
	if (choice == MIGRATE_TAKE &&
	    !migrate_vma_take_pmd(migrate, addr, pmdp, &leaf))
		choice = MIGRATE_SKIP;
	spin_unlock(ptl);

	if (choice == MIGRATE_SPLIT) {
		if (migrate_vma_split(migrate, leaf.page))
			return addr;
		choice = MIGRATE_SKIP;
	}
	if (choice == MIGRATE_HOLE)
		migrate_vma_collect_empty(migrate, &leaf, addr, end);
	else
		migrate_vma_record(migrate, choice, &leaf,
				   (end - addr) >> PAGE_SHIFT);
	return end;
}

/*
 * Clear a PTE whose TLB entries are flushed later, but before the page table
 * lock is dropped. A writable one can wait only where a CPU that still has a
 * clean TLB entry is known to fault when it wants to set the dirty bit.
 */
static pte_t migrate_vma_clear_pte(struct vm_area_struct *vma,
				   unsigned long addr, pte_t *ptep)
{
	pte_t pte = ptep_get(ptep);

	if (!pte_present(pte))
		return ptep_get_and_clear(vma->vm_mm, addr, ptep);

	flush_cache_page(vma, addr, pte_pfn(pte));
	if (pte_write(pte) &&
	    !IS_ENABLED(CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH))
		return ptep_clear_flush(vma, addr, ptep);
	return ptep_get_and_clear(vma->vm_mm, addr, ptep);
}

/* The migration entry that takes the place of @old, with all that @old knew. */
static pte_t migrate_vma_migration_pte(const struct migrate_leaf *leaf,
				       pte_t old, bool exclusive)
{
	unsigned long pfn = page_to_pfn(leaf->page);
	bool soft_dirty, uffd;
	swp_entry_t entry;
	pte_t pte;

	if (leaf->writable)
		entry = make_writable_migration_entry(pfn);
	else
		entry = exclusive ? make_readable_exclusive_migration_entry(pfn) :
				    make_readable_migration_entry(pfn);

	if (pte_present(old)) {
		soft_dirty = pte_soft_dirty(old);
		uffd = pte_uffd(old);
		entry = pte_young(old) ? make_migration_entry_young(entry) : entry;
		entry = pte_dirty(old) ? make_migration_entry_dirty(entry) : entry;
	} else {
		soft_dirty = pte_swp_soft_dirty(old);
		uffd = pte_swp_uffd(old);
	}

	pte = softleaf_to_pte(entry);
	pte = soft_dirty ? pte_swp_mksoft_dirty(pte) : pte;
	return uffd ? pte_swp_mkuffd(pte) : pte;
}

/*
 * Replace a PTE by a migration entry. The folio is grabbed, and given up again
 * if its page turns out to be pinned.
 */
static bool migrate_vma_take_pte(const struct migrate_vma *migrate,
				 unsigned long addr, pte_t *ptep,
				 const struct migrate_leaf *leaf)
{
	struct vm_area_struct *vma = migrate->vma;
	struct folio *folio = page_folio(leaf->page);
	bool exclusive = folio_test_anon(folio) && PageAnonExclusive(leaf->page);
	pte_t old = migrate_vma_clear_pte(vma, addr, ptep);

	/* The last step that can fail. The PTE must be clear for it. */
	if (exclusive && folio_try_share_anon_rmap_pte(folio, leaf->page)) {
		set_pte_at(vma->vm_mm, addr, ptep, old);
		migrate_folio_release(migrate->fault_page, folio);
		return false;
	}

	if (pte_present(old) && pte_dirty(old))
		folio_mark_dirty(folio);
	set_pte_at(vma->vm_mm, addr, ptep,
		   migrate_vma_migration_pte(leaf, old, exclusive));

	/* What the mapping held goes; migrate_folio_grab() took our own. */
	folio_remove_rmap_pte(folio, leaf->page, vma);
	if (vma->vm_flags & VM_LOCKED)
		mlock_drain_local();
	folio_put(folio);
	return true;
}

/*
 * Collect from one PTE, and say in @leaf what it was. After MIGRATE_TAKE there is
 * a migration entry; from MIGRATE_TAKE on the folio is locked and referenced.
 * Pages of @whole, which could not be split, are left alone.
 */
static enum migrate_choice migrate_vma_collect_pte(const struct migrate_vma *migrate,
						   unsigned long addr, pte_t *ptep,
						   const struct folio *whole,
						   struct migrate_leaf *leaf)
{
	enum migrate_choice choice;

	*leaf = migrate_leaf_from_pte(migrate->vma, addr, ptep_get(ptep));
	choice = migrate_vma_choose(migrate, leaf, 1);
	if (choice < MIGRATE_TAKE)
		return choice;
	if (choice == MIGRATE_SPLIT && page_folio(leaf->page) == whole)
		return MIGRATE_SKIP;

	if (!migrate_folio_grab(migrate, page_folio(leaf->page)))
		return MIGRATE_SKIP;
	if (choice == MIGRATE_TAKE &&
	    !migrate_vma_take_pte(migrate, addr, ptep, leaf))
		return MIGRATE_SKIP;
	return choice;
}

/*
 * Split a folio that is mapped by PTEs. If that fails, say so in @whole. The
 * folio may be freed after that: @whole is to be compared, nothing else.
 */
static void migrate_vma_split_ptes(const struct migrate_vma *migrate,
				   const struct migrate_leaf *leaf,
				   const struct folio **whole)
{
	const struct folio *folio = page_folio(leaf->page);

	if (!migrate_vma_split(migrate, leaf->page))
		*whole = folio;
}

/*
 * Collect from a page table. Returns the address to go on from, which is less
 * than @end if the PMD has to be looked at again. A folio that cannot be split is
 * kept in @whole, so that this is tried once for all its pages up to another one
 * of that kind. Not all that lies between them need be its own: pages may have
 * been discarded, copied, or moved elsewhere.
 */
static unsigned long migrate_vma_collect_ptes(struct migrate_vma *migrate,
					      pmd_t *pmdp, unsigned long addr,
					      unsigned long end,
					      const struct folio **whole)
{
	struct vm_area_struct *vma = migrate->vma;
	enum migrate_choice choice = MIGRATE_SKIP;
	unsigned long from = end, to = addr;
	struct migrate_leaf leaf;
	pte_t *first, *ptep;
	spinlock_t *ptl;

	first = pte_offset_map_lock(vma->vm_mm, pmdp, addr, &ptl);
	if (!first)
		return addr;
	ptep = first;

	lazy_mmu_mode_enable();
	for (; addr < end; addr += PAGE_SIZE, ptep++) {
		choice = migrate_vma_collect_pte(migrate, addr, ptep, *whole,
						 &leaf);
		if (choice == MIGRATE_SPLIT)
			break;
		migrate_vma_record(migrate, choice, &leaf, 1);
		if (choice == MIGRATE_TAKE && !is_device_private_page(leaf.page)) {
			from = min(from, addr);
			to = addr + PAGE_SIZE;
		}
	}
	lazy_mmu_mode_disable();

	/*
	 * From the first to the last of those that CPUs could use: none may use
	 * an old translation once someone else sees the table.
	 */
	if (from < to)
		flush_tlb_range(vma, from, to);
	pte_unmap_unlock(first, ptl);

	if (choice == MIGRATE_SPLIT)
		migrate_vma_split_ptes(migrate, &leaf, whole);
	return addr;
}

static int migrate_vma_collect_pmd(pmd_t *pmdp, unsigned long start,
				   unsigned long end, struct mm_walk *walk)
{
	struct migrate_vma *migrate = walk->private;
	const struct folio *whole = NULL;

	while (start < end) {
		pmd_t pmd = pmdp_get_lockless(pmdp);

		if (pmd_none(pmd) || pmd_is_huge(pmd))
			start = migrate_vma_collect_huge(migrate, pmdp, start, end);
		else
			start = migrate_vma_collect_ptes(migrate, pmdp, start, end,
							 &whole);
		cond_resched();
	}
	return 0;
}

static const struct mm_walk_ops migrate_vma_walk_ops = {
	.pmd_entry	= migrate_vma_collect_pmd,
	.pte_hole	= migrate_vma_collect_hole,
	.walk_lock	= PGWALK_RDLOCK,
};

/*
 * Announce that page tables from @start on are about to change. The notification
 * names the owner so that a driver need not tear down the mappings of its own
 * memory, of which it knows where it goes.
 */
static void migrate_vma_notify_start(const struct migrate_vma *migrate,
				     struct mmu_notifier_range *range,
				     unsigned long start)
{
	mmu_notifier_range_init_owner(range, MMU_NOTIFY_MIGRATE, 0,
				      migrate->vma->vm_mm, start, migrate->end,
				      migrate->pgmap_owner);
	mmu_notifier_invalidate_range_start(range);
}

/* Fill @migrate->src from the page tables. */
static void migrate_vma_collect(struct migrate_vma *migrate)
{
	struct mmu_notifier_range range;

	/*
	 * Pages that this CPU has faulted in just now are likely in its LRU
	 * caches. No folio is locked yet, and no other CPU is waited for.
	 */
	if (migrate->flags & MIGRATE_VMA_SELECT_SYSTEM)
		lru_add_drain();

	migrate_vma_notify_start(migrate, &range, migrate->start);
	walk_page_range_vma(migrate->vma, migrate->start, migrate->end,
			    &migrate_vma_walk_ops, migrate);
	mmu_notifier_invalidate_range_end(&range);
	migrate->end = migrate->start + (migrate->npages << PAGE_SHIFT);
}

/*
 * Unmap
 */

/* Put src[@i] back to where it was found; the slot is empty after that. */
static void migrate_entry_give_back(struct migrate_entries *e, unsigned long i,
				    struct folio *folio)
{
	migrate_entry_restore(e, i, folio, folio);
	e->src[i] = 0;
}

/*
 * See to it that the mappings of a page that was named can be found again once
 * they are gone. A KSM page has no anon_vma of its own, and does not need one:
 * KSM knows who has it mapped.
 *
 * A page that was named but is mapped nowhere is on its way out: its owners have
 * gone, or it has been moved by somebody else just now and is about to be freed.
 * It has lost its memory cgroup then, and must not be moved once more.
 */
static bool migrate_entry_hold(struct migrate_entries *e, unsigned long i,
			       struct folio *folio)
{
	if (folio_test_ksm(folio))
		return folio_mapped(folio);
	if (!folio_get_anon_vma(folio))
		return false;
	e->src[i] |= MIGRATE_PFN_ANON_VMA;
	return true;
}

/*
 * Replace the mappings of src[@i] that collection has not met: those of other
 * processes, or all of them if pages were named. An entry for which that fails
 * loses MIGRATE_PFN_MIGRATE. It is not given back yet: what has been unmapped of
 * it may still be in a TLB.
 */
static void migrate_entry_unmap(struct migrate_entries *e, unsigned long i,
				struct folio *folio)
{
	if (e->args || migrate_entry_hold(e, i, folio)) {
		if (folio_mapped(folio))
			try_to_migrate(folio, TTU_BATCH_FLUSH);
		if (!folio_mapped(folio))
			return;
	}
	e->src[i] &= ~MIGRATE_PFN_MIGRATE;
}

/*
 * Does anybody else hold a reference? This is an early answer that saves the
 * driver a copy; the switch of the mapping asks again, with the count frozen.
 */
static bool migrate_entry_pinned(const struct migrate_entries *e,
				 const struct folio *folio)
{
	int ours = 1 + migrate_is_faulting(e->fault_page, folio);

	return folio_ref_count(folio) > folio_expected_ref_count(folio) + ours;
}

/*
 * May the LRU caches of the other CPUs be drained, which waits for these CPUs?
 * Once for each call, when others see nothing but migration entries, and sleep
 * on them instead of spinning on a folio lock and keeping a CPU from draining.
 * The folio of the fault that is being served may have kept its mappings.
 */
static bool migrate_may_drain(const struct migrate_entries *e)
{
	if (e->fault_page && folio_mapped(page_folio(e->fault_page)))
		return false;
	return !e->drained;
}

/*
 * Take a folio that is mapped nowhere off the LRU. A device's folio is on none.
 */
static bool migrate_entry_isolate(struct migrate_entries *e,
				  struct folio *folio)
{
	if (!folio_test_lru(folio) && migrate_may_drain(e)) {
		lru_add_drain_all();
		e->drained = true;
	}
	if (!folio_isolate_lru(folio))
		return false;

	/* Isolation took a reference: collection's is not needed any more. */
	folio_put(folio);
	return true;
}

/* Make src[@i] ready to be copied, or give it back. */
static bool migrate_entry_claim(struct migrate_entries *e, unsigned long i,
				struct folio *folio)
{
	bool on_lru = !folio_is_zone_device(folio);

	if (on_lru && !migrate_entry_isolate(e, folio)) {
		migrate_entry_give_back(e, i, folio);
		return false;
	}
	if (migrate_entry_pinned(e, folio)) {
		if (on_lru)
			folio_add_lru(folio);
		migrate_entry_give_back(e, i, folio);
		return false;
	}
	return true;
}

/* Unmap what src has got from collection, and give back what stays mapped. */
static void migrate_entries_unmap(struct migrate_entries *e)
{
	struct folio *folio;
	unsigned long i;

	for (i = 0; i < e->nr; i += migrate_entry_nr(e->src[i])) {
		folio = migrate_entry_folio(e->src[i]);
		if (folio)
			migrate_entry_unmap(e, i, folio);
		cond_resched();
	}
	try_to_unmap_flush();

	for (i = 0; i < e->nr; i += migrate_entry_nr(e->src[i])) {
		folio = migrate_entry_folio(e->src[i]);
		if (folio && !(e->src[i] & MIGRATE_PFN_MIGRATE))
			migrate_entry_give_back(e, i, folio);
		cond_resched();
	}
}

/*
 * Leave only those entries in src that can be copied, mapped nowhere and held
 * by nobody but us. Returns how many there are, holes included.
 */
static unsigned long migrate_device_unmap(struct migrate_entries *e)
{
	unsigned long i, nr = 0;
	struct folio *folio;

	migrate_entries_unmap(e);
	for (i = 0; i < e->nr; i += migrate_entry_nr(e->src[i])) {
		folio = migrate_entry_folio(e->src[i]);
		if (folio)
			nr += migrate_entry_claim(e, i, folio);
		else if (e->src[i] & MIGRATE_PFN_MIGRATE)
			nr++;
		cond_resched();
	}
	return nr;
}

static bool migrate_vma_valid(const struct migrate_vma *args)
{
	struct vm_area_struct *vma = args->vma;

	if (!vma || is_vm_hugetlb_page(vma) || vma_is_dax(vma) ||
	    (vma->vm_flags & VM_SPECIAL))
		return false;
	if (args->start >= args->end || args->start < vma->vm_start ||
	    args->end > vma->vm_end)
		return false;
	if (!args->src || !args->dst)
		return false;
	return !args->fault_page || (is_device_private_page(args->fault_page) &&
				     PageLocked(args->fault_page));
}

/**
 * migrate_vma_setup() - collect and unmap what is mapped in a range
 * @args: the range, what to select there, and the two arrays to fill
 *
 * For each page of the range an entry of @args->src says what can be moved:
 *
 * * MIGRATE_PFN_VALID and MIGRATE_PFN_MIGRATE: a page. It is locked, mapped
 *   nowhere, and cannot change until migrate_vma_finalize(). Copy it.
 * * MIGRATE_PFN_MIGRATE alone: nothing is there, or a zero page. The driver may
 *   provide a cleared page.
 * * Neither: leave it alone.
 *
 * MIGRATE_PFN_WRITE tells that the process could write to the page. With
 * MIGRATE_PFN_COMPOUND an entry stands for a huge page, or a hole of that size,
 * and the slots after it up to its size are empty; this happens only if
 * MIGRATE_VMA_SELECT_COMPOUND was asked for.
 *
 * The driver then puts its pages, locked, into @args->dst, as many as it likes:
 * an entry that stays empty is an entry that stays where it is. It may answer
 * a huge entry with one folio of the same size in the first slot, or with small
 * pages in as many of its slots as it has pages for. It may take
 * MIGRATE_PFN_MIGRATE away from an entry that is to stay after all, but must not
 * change anything else in @args->src. Whatever it does, migrate_vma_finalize()
 * must follow if @args->cpages is not zero.
 *
 * Only anonymous memory is collected, and neither pages that KSM has merged nor
 * such that are known to be broken.
 *
 * While a fault on a device-private page is served, @args->fault_page is that
 * page. The fault holds its lock and a reference, and keeps them.
 *
 * Context: The mmap lock of the VMA's mm is held, at least for reading, from
 *	    before this call until after migrate_vma_finalize(). May sleep.
 * Return: 0, with the number of collected entries in @args->cpages, which may
 *	   be zero; -EINVAL if the range or the VMA is not one to migrate from.
 */
int migrate_vma_setup(struct migrate_vma *args)
{
	unsigned long nr = (args->end - args->start) >> PAGE_SHIFT;
	struct migrate_entries e = {
		.src = args->src,
		.fault_page = args->fault_page,
		.args = args,
	};

	args->start &= PAGE_MASK;
	args->end &= PAGE_MASK;
	if (!nr || !migrate_vma_valid(args))
		return -EINVAL;

	nr = (args->end - args->start) >> PAGE_SHIFT;
	memset(args->src, 0, nr * sizeof(*args->src));
	memset(args->dst, 0, nr * sizeof(*args->dst));
	args->cpages = 0;
	args->npages = 0;

	migrate_vma_collect(args);
	if (args->cpages) {
		e.nr = args->npages;
		args->cpages = migrate_device_unmap(&e);
	}
	return 0;
}
EXPORT_SYMBOL(migrate_vma_setup);

/*
 * Insert
 */

static pmd_t *migrate_vma_alloc_pmd(struct mm_struct *mm, unsigned long addr)
{
	p4d_t *p4d = p4d_alloc(mm, pgd_offset(mm, addr), addr);
	pud_t *pud = p4d ? pud_alloc(mm, p4d, addr) : NULL;

	return pud ? pmd_alloc(mm, pud, addr) : NULL;
}

/* Is this still a hole to be filled? Not if userspace wants to do it itself. */
static bool migrate_vma_vacant(struct vm_area_struct *vma,
			       const struct migrate_leaf *leaf)
{
	if (leaf->kind != MIGRATE_LEAF_NONE && leaf->kind != MIGRATE_LEAF_ZERO)
		return false;
	return !check_stable_address_space(vma->vm_mm) &&
	       !userfaultfd_missing(vma);
}

/* The entry for the first page that memory of a device has at some address. */
static swp_entry_t migrate_device_entry(struct vm_area_struct *vma,
					struct folio *folio)
{
	if (vma->vm_flags & VM_WRITE)
		return make_writable_device_private_entry(folio_pfn(folio));
	return make_readable_device_private_entry(folio_pfn(folio));
}

static pte_t migrate_vma_new_pte(struct vm_area_struct *vma,
				 struct folio *folio)
{
	pte_t pte;

	/* What was not there before counts as written to. */
	if (folio_is_device_private(folio)) {
		pte = softleaf_to_pte(migrate_device_entry(vma, folio));
		return pte_swp_mksoft_dirty(pte);
	}

	pte = folio_mk_pte(folio, vma->vm_page_prot);
	if (vma->vm_flags & VM_WRITE)
		pte = pte_mkwrite(pte_mkdirty(pte), vma);
	return pte;
}

/* Account for a new mapping, under the page table lock. */
static void migrate_vma_account(struct vm_area_struct *vma, struct folio *folio,
				unsigned long addr)
{
	add_mm_counter(vma->vm_mm, MM_ANONPAGES, folio_nr_pages(folio));
	folio_add_new_anon_rmap(folio, vma, addr, RMAP_EXCLUSIVE);
	if (!folio_is_zone_device(folio))
		folio_add_lru_vma(folio, vma);
	folio_get(folio);
}

/* Fill a hole of one page. */
static bool migrate_vma_insert_pte(struct vm_area_struct *vma,
				   unsigned long addr, pmd_t *pmdp,
				   struct folio *folio)
{
	struct mm_struct *mm = vma->vm_mm;
	struct migrate_leaf leaf;
	spinlock_t *ptl;
	bool vacant;
	pte_t *ptep;

	if (is_huge_zero_pmd(pmdp_get_lockless(pmdp)))
		split_huge_pmd(vma, pmdp, addr);
	if (pte_alloc(mm, pmdp))
		return false;

	ptep = pte_offset_map_lock(mm, pmdp, addr, &ptl);
	if (!ptep)
		return false;

	leaf = migrate_leaf_from_pte(vma, addr, ptep_get(ptep));
	vacant = migrate_vma_vacant(vma, &leaf);
	if (vacant) {
		migrate_vma_account(vma, folio, addr);
		if (leaf.kind == MIGRATE_LEAF_ZERO) {
			flush_cache_page(vma, addr, pte_pfn(ptep_get(ptep)));
			ptep_clear_flush(vma, addr, ptep);
		}
		set_pte_at(mm, addr, ptep, migrate_vma_new_pte(vma, folio));
		update_mmu_cache(vma, addr, ptep);
	}
	pte_unmap_unlock(ptep, ptl);
	return vacant;
}

#ifdef CONFIG_ARCH_HAS_PMD_SOFTLEAVES
static pmd_t migrate_vma_new_pmd(struct vm_area_struct *vma,
				 struct folio *folio)
{
	pmd_t pmd;

	if (folio_is_device_private(folio)) {
		pmd = softleaf_to_pmd(migrate_device_entry(vma, folio));
		return pmd_swp_mksoft_dirty(pmd);
	}

	pmd = folio_mk_pmd(folio, vma->vm_page_prot);
	if (vma->vm_flags & VM_WRITE)
		pmd = pmd_mkwrite(pmd_mkdirty(pmd), vma);
	return pmd;
}

/*
 * Make way for a huge entry. Where a zero page is, a page table has been
 * deposited already; else @pgtable is, and NULL is returned.
 */
static pgtable_t migrate_vma_vacate_pmd(struct vm_area_struct *vma,
					unsigned long addr, pmd_t *pmdp,
					pgtable_t pgtable)
{
	if (!pmd_none(pmdp_get(pmdp))) {
		flush_cache_range(vma, addr, addr + HPAGE_PMD_SIZE);
		pmdp_invalidate(vma, addr, pmdp);
		return pgtable;
	}

	pgtable_trans_huge_deposit(vma->vm_mm, pmdp, pgtable);
	mm_inc_nr_ptes(vma->vm_mm);
	return NULL;
}

/* Fill a hole of the size of a huge page. */
static bool migrate_vma_insert_pmd(struct vm_area_struct *vma,
				   unsigned long addr, pmd_t *pmdp,
				   struct folio *folio)
{
	struct mm_struct *mm = vma->vm_mm;
	struct migrate_leaf leaf = {};
	pgtable_t pgtable;
	spinlock_t *ptl;
	bool vacant;
	pmd_t pmd;

	pgtable = pte_alloc_one(mm);
	if (!pgtable)
		return false;

	/* A page table may have come here meanwhile, which is no leaf. */
	ptl = pmd_lock(mm, pmdp);
	pmd = pmdp_get(pmdp);
	if (pmd_none(pmd) || is_huge_zero_pmd(pmd))
		leaf = migrate_leaf_from_pmd(vma, addr, pmd);
	vacant = migrate_vma_vacant(vma, &leaf);
	if (vacant) {
		migrate_vma_account(vma, folio, addr);
		pgtable = migrate_vma_vacate_pmd(vma, addr, pmdp, pgtable);
		set_pmd_at(mm, addr, pmdp, migrate_vma_new_pmd(vma, folio));
		update_mmu_cache_pmd(vma, addr, pmdp);
	}
	spin_unlock(ptl);

	if (pgtable)
		pte_free(mm, pgtable);
	if (vacant) {
		count_vm_event(THP_FAULT_ALLOC);
		count_mthp_stat(HPAGE_PMD_ORDER, MTHP_STAT_ANON_FAULT_ALLOC);
		count_memcg_event_mm(mm, THP_FAULT_ALLOC);
	}
	return vacant;
}

static gfp_t migrate_vma_charge_gfp(struct vm_area_struct *vma,
				    const struct folio *folio)
{
	return folio_test_large(folio) ? vma_thp_gfp_mask(vma) : GFP_KERNEL;
}

static void migrate_count_uncharged(const struct folio *folio)
{
	if (!folio_test_large(folio))
		return;
	count_vm_event(THP_FAULT_FALLBACK);
	count_mthp_stat(folio_order(folio),
			MTHP_STAT_ANON_FAULT_FALLBACK_CHARGE);
}
#else
static bool migrate_vma_insert_pmd(struct vm_area_struct *vma,
				   unsigned long addr, pmd_t *pmdp,
				   struct folio *folio)
{
	return false;
}

static gfp_t migrate_vma_charge_gfp(struct vm_area_struct *vma,
				    const struct folio *folio)
{
	return GFP_KERNEL;
}

static void migrate_count_uncharged(const struct folio *folio)
{
}
#endif

static bool migrate_vma_charge(struct vm_area_struct *vma, struct folio *folio)
{
	if (!mem_cgroup_charge(folio, vma->vm_mm,
			       migrate_vma_charge_gfp(vma, folio)))
		return true;
	migrate_count_uncharged(folio);
	return false;
}

/* Fill the hole that is src[@i] with the folio that is dst[@i]. */
static bool migrate_entry_insert(struct migrate_entries *e, unsigned long i)
{
	struct folio *folio = migrate_entry_folio(e->dst[i]);
	struct vm_area_struct *vma;
	unsigned long addr;
	pmd_t *pmdp;

	/* Who names pages does not get holes. */
	if (WARN_ON_ONCE(!e->args))
		return false;
	vma = e->args->vma;
	addr = e->args->start + (i << PAGE_SHIFT);
	if (!e->notified)
		migrate_vma_notify_start(e->args, &e->range, addr);
	e->notified = true;

	pmdp = migrate_vma_alloc_pmd(vma->vm_mm, addr);
	if (!pmdp || anon_vma_prepare(vma) || !migrate_vma_charge(vma, folio))
		return false;

	/* Its barrier orders what the driver wrote before the new entry. */
	__folio_mark_uptodate(folio);

	if (folio_test_large(folio))
		return migrate_vma_insert_pmd(vma, addr, pmdp, folio);
	return migrate_vma_insert_pte(vma, addr, pmdp, folio);
}

/*
 * Move
 */

#ifdef CONFIG_ARCH_HAS_PMD_SOFTLEAVES
/*
 * Divide one huge migration entry into small ones. None may be missed: it would
 * outlive the folio that it is for. mremap() may just be moving one, with the
 * locks of both page tables held, so it is not enough to see an empty PMD here;
 * after that lock has been waited for, the entry is found where it went.
 */
static bool migrate_rmap_divide_one(struct folio *folio,
				    struct vm_area_struct *vma,
				    unsigned long addr, void *arg)
{
	DEFINE_FOLIO_VMA_WALK(pvmw, folio, vma, addr,
			      PVMW_SYNC | PVMW_MIGRATION);

	while (page_vma_mapped_walk(&pvmw)) {
		if (pvmw.pte)
			continue;
		split_huge_pmd_locked(vma, pvmw.address, pvmw.pmd,
				      /* freeze = */ false);
		page_vma_mapped_walk_done(&pvmw);
		break;
	}
	return true;
}

/*
 * Split a folio that is mapped nowhere. All processes that had it mapped wait
 * on huge migration entries, and all of these have to become small ones first:
 * they are going to be resolved page by page. No secondary MMU has to know, it
 * has seen the folio go when it was unmapped.
 *
 * The split wants no other reference than one. If a fault holds the folio, its
 * reference is the one to stay, and ours is taken anew for the first page.
 */
static bool migrate_folio_divide(const struct migrate_entries *e,
				 struct folio *folio)
{
	bool faulting = migrate_is_faulting(e->fault_page, folio);
	struct rmap_walk_control rwc = {
		.rmap_one = migrate_rmap_divide_one,
	};
	int err;

	if (!folio_test_anon(folio))
		return false;
	if (faulting && e->fault_page != &folio->page)
		return false;

	rmap_walk(folio, &rwc);

	if (faulting)
		folio_put(folio);
	err = folio_split_unmapped(folio, 0);
	if (faulting)
		folio_get(folio);
	return !err;
}
#else
static bool migrate_folio_divide(const struct migrate_entries *e,
				 struct folio *folio)
{
	return false;
}
#endif

/*
 * Make @nr small entries of the huge one that is src[@i]. Each of them needs
 * all that the huge one had, a reference on the anon_vma included.
 */
static bool migrate_entry_divide(struct migrate_entries *e, unsigned long i,
				 unsigned long nr)
{
	struct folio *folio = migrate_entry_folio(e->src[i]);
	unsigned long flags, j;

	if (folio && !migrate_folio_divide(e, folio))
		return false;

	e->src[i] &= ~MIGRATE_PFN_COMPOUND;
	flags = e->src[i] & (MIGRATE_PFN_MIGRATE | MIGRATE_PFN_WRITE |
			     MIGRATE_PFN_ANON_VMA);
	for (j = 1; j < nr; j++) {
		e->src[i + j] = flags;
		if (folio)
			e->src[i + j] |= migrate_pfn(folio_pfn(folio) + j);
		if (flags & MIGRATE_PFN_ANON_VMA)
			get_anon_vma(folio_anon_vma(folio));
	}
	return true;
}

/* Did the driver bring a page for any of the slots? */
static bool migrate_entry_answered(const struct migrate_entries *e,
				   unsigned long i, unsigned long nr)
{
	while (nr--) {
		if (e->dst[i++] & MIGRATE_PFN_VALID)
			return true;
	}
	return false;
}

/* Is this a folio that page tables can refer to in the place of another? */
static bool migrate_folio_mappable(const struct folio *folio)
{
	return !folio_is_zone_device(folio) || folio_is_device_private(folio) ||
	       folio_is_device_coherent(folio);
}

/* What is to be done about an entry once the driver has answered. */
enum migrate_plan {
	MIGRATE_KEEP,
	MIGRATE_DIVIDE,
	MIGRATE_INSERT,
	MIGRATE_MOVE,
};

/*
 * Decide what is to be done about src[@i]. This is the only place that does.
 * The sizes of the folios count, not the flags in dst: a folio can take the
 * place only of one that is as large.
 */
static enum migrate_plan migrate_entry_plan(const struct migrate_entries *e,
					    unsigned long i)
{
	const struct folio *to = migrate_entry_folio(e->dst[i]);
	unsigned long nr = migrate_entry_nr(e->src[i]);

	if (!(e->src[i] & MIGRATE_PFN_MIGRATE))
		return MIGRATE_KEEP;

	if (!to || folio_nr_pages(to) != nr) {
		/* Reached for huge entries only: one slot for each page. */
		if (nr > 1 && nr <= e->nr - i && migrate_entry_answered(e, i, nr))
			return MIGRATE_DIVIDE;
		return MIGRATE_KEEP;
	}
	if (!migrate_folio_mappable(to))
		return MIGRATE_KEEP;
	return e->src[i] & MIGRATE_PFN_VALID ? MIGRATE_MOVE : MIGRATE_INSERT;
}

/*
 * May this folio live on that one? The memory of a device is in no swap cache,
 * and KSM must be able to read its pages. Writeback would end on the wrong folio.
 */
static bool migrate_folio_fits(struct folio *from, const struct folio *to)
{
	if (folio_is_zone_device(to)) {
		if (folio_test_ksm(from))
			return false;
		if (folio_test_swapcache(from) && !folio_free_swap(from))
			return false;
	}
	return !folio_test_writeback(from);
}

/*
 * Must memory that goes to a device be kept from now on? MADV_FREE has left
 * memory that may be dropped until it is written to. What a device writes leaves
 * no dirty mark, so it must not be dropped any more. MAP_DROPPABLE memory may be
 * dropped whatever is written to it. Pages that were named are on a device
 * already, and have been asked about when they came there.
 */
static bool migrate_must_last(const struct migrate_entries *e)
{
	return e->args && !(e->args->vma->vm_flags & VM_DROPPABLE);
}

/* Let the folio that is dst[@i] take the place of the one that is src[@i]. */
static bool migrate_entry_move(const struct migrate_entries *e, unsigned long i)
{
	struct folio *from = migrate_entry_folio(e->src[i]);
	struct folio *to = migrate_entry_folio(e->dst[i]);
	int extra = migrate_is_faulting(e->fault_page, from);

	/* The swap cache may go here: look at the mapping afterwards. */
	if (!migrate_folio_fits(from, to))
		return false;
	if (folio_migrate_mapping(folio_mapping(from), to, from, extra))
		return false;
	folio_migrate_flags(to, from);

	if (folio_is_zone_device(to) && migrate_must_last(e))
		folio_set_swapbacked(to);
	return true;
}

/* Carry out what has been decided. This is the only place that notes failure. */
static void migrate_entries_move(struct migrate_entries *e)
{
	unsigned long i;

	for (i = 0; i < e->nr; i += migrate_entry_nr(e->src[i])) {
		enum migrate_plan plan = migrate_entry_plan(e, i);
		bool done = false;

		if (plan == MIGRATE_DIVIDE &&
		    migrate_entry_divide(e, i, migrate_entry_nr(e->src[i])))
			plan = migrate_entry_plan(e, i);
		if (plan == MIGRATE_INSERT)
			done = migrate_entry_insert(e, i);
		else if (plan == MIGRATE_MOVE)
			done = migrate_entry_move(e, i);
		if (!done)
			e->src[i] &= ~MIGRATE_PFN_MIGRATE;
		cond_resched();
	}

	if (e->notified)
		mmu_notifier_invalidate_range_end(&e->range);
}

/**
 * migrate_device_pages() - let the driver's pages take the place of others
 * @src_pfns: entries from migrate_device_range() or migrate_device_pfns()
 * @dst_pfns: the driver's answer, see migrate_vma_setup()
 * @npages: slots in each of the two
 *
 * The same as migrate_vma_pages() for pages that were named by their frame
 * numbers. MIGRATE_PFN_MIGRATE is cleared in those entries of @src_pfns whose
 * page stays where it is.
 *
 * Context: Process context, may sleep. The entries' folios are locked.
 */
void migrate_device_pages(unsigned long *src_pfns, unsigned long *dst_pfns,
			  unsigned long npages)
{
	struct migrate_entries e = {
		.src = src_pfns,
		.dst = dst_pfns,
		.nr = npages,
	};

	migrate_entries_move(&e);
}
EXPORT_SYMBOL(migrate_device_pages);

/**
 * migrate_vma_pages() - let the driver's pages take the place of others
 * @migrate: as migrate_vma_setup() left it, with the driver's answer in dst
 *
 * Afterwards the entries of @migrate->src that still have MIGRATE_PFN_MIGRATE
 * are those whose memory is the driver's page now: it may update its own page
 * tables for these. A huge entry that was answered with small pages has been
 * divided; each of its slots speaks for itself then.
 *
 * Contents must have been copied before. From here on the swap cache may have the
 * driver's page, which counts as up to date.
 *
 * Context: As for migrate_vma_setup(), under the same hold of the mmap lock.
 */
void migrate_vma_pages(struct migrate_vma *migrate)
{
	struct migrate_entries e = {
		.src = migrate->src,
		.dst = migrate->dst,
		.nr = migrate->npages,
		.fault_page = migrate->fault_page,
		.args = migrate,
	};

	migrate_entries_move(&e);
}
EXPORT_SYMBOL(migrate_vma_pages);

/*
 * Finalize
 */

/* Drop the driver's lock and reference on its page, used or not. */
static void migrate_folio_drop(const struct migrate_entries *e,
			       struct folio *folio)
{
	WARN_ON_ONCE(migrate_is_faulting(e->fault_page, folio));
	folio_unlock(folio);
	folio_put(folio);
}

/*
 * Has @to taken the place of src[@i]? Only then has it got a mapping. A driver
 * that has failed may come here without having called migrate_vma_pages().
 */
static bool migrate_entry_moved(const struct migrate_entries *e,
				unsigned long i, const struct folio *to)
{
	return to && (e->src[i] & MIGRATE_PFN_MIGRATE) && to->mapping;
}

/*
 * Finish src[@i] and dst[@i]. Returns the number of slots that this was about: of
 * a huge entry all of them if the driver brought one folio for it. If it brought
 * small pages, or nothing, this is about the first slot only. The others, which
 * are empty in src then, come next: their answers have to be freed.
 */
static unsigned long migrate_entry_finalize(const struct migrate_entries *e,
					    unsigned long i)
{
	struct folio *from = migrate_entry_folio(e->src[i]);
	struct folio *to = migrate_entry_folio(e->dst[i]);
	unsigned long nr = migrate_entry_nr(e->src[i]);
	struct folio *stays;

	/* Before anything is put: sizes are not known any more after that. */
	if (!to || folio_nr_pages(to) != nr)
		nr = 1;

	if (from) {
		stays = migrate_entry_moved(e, i, to) ? to : from;
		if (!folio_is_zone_device(stays))
			folio_add_lru(stays);
		migrate_entry_restore(e, i, from, stays);
	}
	if (to)
		migrate_folio_drop(e, to);
	return nr;
}

static void migrate_entries_finalize(const struct migrate_entries *e)
{
	unsigned long i;

	for (i = 0; i < e->nr; ) {
		i += migrate_entry_finalize(e, i);
		cond_resched();
	}
}

/**
 * migrate_device_finalize() - map the pages again and let go of them
 * @src_pfns: entries that migrate_device_pages() has been through
 * @dst_pfns: the driver's answer
 * @npages: slots in each of the two
 *
 * The same as migrate_vma_finalize() for pages that were named by their frame
 * numbers. All copying must be complete and visible to the CPUs.
 *
 * Context: Process context, may sleep.
 */
void migrate_device_finalize(unsigned long *src_pfns, unsigned long *dst_pfns,
			     unsigned long npages)
{
	const struct migrate_entries e = {
		.src = src_pfns,
		.dst = dst_pfns,
		.nr = npages,
	};

	migrate_entries_finalize(&e);
}
EXPORT_SYMBOL(migrate_device_finalize);

/**
 * migrate_vma_finalize() - map the pages again and let go of them
 * @migrate: as migrate_vma_setup() and migrate_vma_pages() left it
 *
 * Where an entry has been moved, the driver's page is mapped, else the original
 * one. After that both are unlocked and the references that this migration and
 * the driver had on them are dropped: pages that were brought in vain are freed
 * here, and so are those whose place has been taken. The folio of a fault stays
 * locked for the fault.
 *
 * Context: As for migrate_vma_setup(), under the same hold of the mmap lock.
 */
void migrate_vma_finalize(struct migrate_vma *migrate)
{
	const struct migrate_entries e = {
		.src = migrate->src,
		.dst = migrate->dst,
		.nr = migrate->npages,
		.fault_page = migrate->fault_page,
		.args = migrate,
	};

	migrate_entries_finalize(&e);
}
EXPORT_SYMBOL(migrate_vma_finalize);

/*
 * Pages by their frame numbers
 */

/*
 * Lock the folio that starts at @pfn and make it the entry @src[0], unless it
 * is free, a tail, or locked. Its order is known, and stays, only while it is
 * referenced: a split must freeze the references. Returns the number of slots
 * that are done, one if the folio is free; all @room if the folio is larger than
 * that, which ends the scan.
 */
static unsigned long migrate_device_lock(unsigned long *src, unsigned long room,
					 unsigned long pfn)
{
	struct folio *folio = folio_get_nontail_page(pfn_to_page(pfn));
	unsigned long nr;

	*src = 0;
	if (!folio)
		return 1;

	nr = folio_nr_pages(folio);
	if (!folio_trylock(folio)) {
		folio_put(folio);
		nr = min(nr, room);
	} else if (nr > room) {
		migrate_folio_release(NULL, folio);
		nr = room;
	} else {
		*src = migrate_pfn(pfn) | MIGRATE_PFN_MIGRATE;
		if (nr > 1)
			*src |= MIGRATE_PFN_COMPOUND;
	}
	memset(src + 1, 0, (nr - 1) * sizeof(*src));
	return nr;
}

/**
 * migrate_device_range() - unmap a range of a device's pages wherever they are
 * @src_pfns: filled with an entry for each page, as by migrate_vma_setup()
 * @start: frame number of the first page
 * @npages: number of pages, and of slots in @src_pfns
 *
 * For a driver that has to empty its memory without knowing who has it mapped,
 * to evict or to unload. Entries of pages that are free, busy or pinned are
 * empty. migrate_device_pages() and migrate_device_finalize() must follow.
 *
 * Context: Process context, may sleep. No lock is needed.
 * Return: 0.
 */
int migrate_device_range(unsigned long *src_pfns, unsigned long start,
			 unsigned long npages)
{
	struct migrate_entries e = {
		.src = src_pfns,
		.nr = npages,
	};
	unsigned long i;

	for (i = 0; i < npages; ) {
		i += migrate_device_lock(src_pfns + i, npages - i, start + i);
		cond_resched();
	}
	migrate_device_unmap(&e);
	return 0;
}
EXPORT_SYMBOL(migrate_device_range);

/**
 * migrate_device_pfns() - unmap some of a device's pages wherever they are
 * @src_pfns: frame numbers on entry, entries as from migrate_vma_setup() after
 * @npages: slots in @src_pfns
 *
 * The same as migrate_device_range() for pages that need not be neighbours. A
 * large folio uses as many slots as it has pages, which are cleared behind its
 * entry whatever they held. How large a free one was nobody knows, so the slots
 * behind it are read: all slots must hold a frame number of the device, as those
 * of the tail pages are.
 *
 * Context: Process context, may sleep. No lock is needed.
 * Return: 0.
 */
int migrate_device_pfns(unsigned long *src_pfns, unsigned long npages)
{
	struct migrate_entries e = {
		.src = src_pfns,
		.nr = npages,
	};
	unsigned long i;

	for (i = 0; i < npages; ) {
		i += migrate_device_lock(src_pfns + i, npages - i, src_pfns[i]);
		cond_resched();
	}
	migrate_device_unmap(&e);
	return 0;
}
EXPORT_SYMBOL(migrate_device_pfns);

/* A system page, locked, with the contents of @folio; 0 if that fails. */
static unsigned long migrate_device_copy(struct folio *folio)
{
	struct folio *to = folio_alloc(GFP_USER | __GFP_NOWARN,
				       folio_order(folio));

	if (!to)
		return 0;
	if (folio_mc_copy(to, folio)) {
		folio_put(to);
		return 0;
	}
	folio_lock(to);
	return migrate_pfn(folio_pfn(to));
}

/**
 * migrate_device_coherent_folio() - move a folio of coherent device memory
 * @folio: the folio to move to system memory
 *
 * For those who are about to pin memory for long, which must not be a device's.
 * The caller's reference on @folio is used up, whatever the outcome.
 *
 * Context: Process context, may sleep. @folio is not locked.
 * Return: 0 if the memory is system memory now, -EBUSY if not.
 */
int migrate_device_coherent_folio(struct folio *folio)
{
	unsigned long src, dst;
	struct migrate_entries e = {
		.src = &src,
		.dst = &dst,
		.nr = 1,
	};

	folio_lock(folio);
	if (!folio_mapped(folio)) {
		/* Whoever wants to pin this address will find another page. */
		migrate_folio_release(NULL, folio);
		return 0;
	}

	src = migrate_pfn(folio_pfn(folio)) | MIGRATE_PFN_MIGRATE;
	if (folio_test_large(folio))
		src |= MIGRATE_PFN_COMPOUND;
	if (!migrate_device_unmap(&e))
		return -EBUSY;

	dst = migrate_device_copy(folio);
	migrate_entries_move(&e);
	migrate_entries_finalize(&e);
	return src & MIGRATE_PFN_MIGRATE ? 0 : -EBUSY;
}
