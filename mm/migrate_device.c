// SPDX-License-Identifier: GPL-2.0-only

/*
 * First version by Jérôme Glisse.
 */

/*
 * Move memory between the system and a device.
 *
 * A driver moves memory in three calls. Between them it allocates and copies.
 * The calls share the arrays src and dst with the driver. One entry of src
 * stands for one page or, with MIGRATE_PFN_COMPOUND, for a large folio or a
 * hole of the size of a PMD. The slots of its tail pages are empty and are
 * skipped.
 * The code has five stages:
 *
 *   stage      called by              what it does to an entry of src
 *   ---------  ---------------------  ----------------------------------------
 *   collect    migrate_vma_setup()    reads the page table; records a page, a
 *              migrate_device_*()     hole, or nothing
 *   unmap      the same calls         unmaps the folio everywhere else,
 *                                     isolates it from the LRU, puts back what
 *                                     is pinned
 *   insert     migrate_vma_pages()    maps the driver's page in a hole
 *   move       migrate_vma_pages()    replaces the source with the driver's
 *              migrate_device_pages() folio; splits a huge source if the driver
 *                                     has provided small pages
 *   finalize   migrate_vma_finalize() maps the target, or the source if it did
 *              migrate_device_*()     not move; drops all locks and references
 *
 * Locks and references after each stage:
 *
 *   after      source folio                     driver's folio
 *   ---------  -------------------------------  ------------------------------
 *   collect    locked, one reference, migration -
 *              entry where it was found
 *   unmap      locked, one reference, not       -
 *              mapped, not on the LRU
 *   move       the same                         locked, the driver's reference
 *   finalize   none                             none
 *
 * If the driver is handling a page fault, the folio of the fault is an
 * exception: the fault holds its lock and a reference from before the first
 * stage until after the last one, see migrate_is_faulting().
 *
 * Many folios are locked at once. This code must therefore never wait for a
 * folio lock. While a locked folio is still mapped, it must not wait for other
 * CPUs either, as a fault there may spin on the lock.
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
 * In an entry of src, used in this file only: the entry holds a reference to the
 * anon_vma of its folio. Only entries that were named by pfn do: their caller
 * keeps no VMA alive, and the anon_vma could be freed once the folio is unmapped
 * everywhere.
 */
#define MIGRATE_PFN_ANON_VMA	BIT(MIGRATE_PFN_SHIFT - 1)

static_assert(!(MIGRATE_PFN_ANON_VMA & (MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE |
					MIGRATE_PFN_WRITE | MIGRATE_PFN_COMPOUND)));

/**
 * struct migrate_entries - the arrays and the state of one call
 * @src: collected entries; written by every stage but the last
 * @dst: entries filled by the driver; only read. NULL before the driver has it
 * @nr: number of slots in each array
 * @fault_page: page of the fault that the driver is handling, or NULL
 * @args: the driver's request; NULL if it named pages, see migrate_is_by_pfn()
 * @range: MMU notifier range of the holes that are filled
 * @notified: mmu_notifier_invalidate_range_start() was called for @range
 * @drained: lru_add_drain_all() was called during this call
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
 * Has the driver named pages by their frame numbers? Otherwise it has named a part
 * of a VMA, which the mmap lock keeps alive. By frame numbers there are no holes,
 * and the processes that map the pages are unknown and may exit.
 */
static bool migrate_is_by_pfn(const struct migrate_entries *e)
{
	return !e->args;
}

/*
 * Entries
 */

/* Return the folio of an entry, or NULL for a hole or an empty slot. */
static struct folio *migrate_entry_folio(unsigned long mpfn)
{
	struct page *page = migrate_pfn_to_page(mpfn);

	return page ? page_folio(page) : NULL;
}

/* Return the number of pages of a hole that has MIGRATE_PFN_COMPOUND. */
static unsigned long migrate_hole_nr(void)
{
	if (thp_migration_supported())
		return HPAGE_PMD_NR;
	return 1;
}

/*
 * Return the number of slots that an entry of src covers. The caller must hold
 * a reference to its folio: the order of a device folio may change as soon as
 * the folio is free.
 */
static unsigned long migrate_entry_nr(unsigned long mpfn)
{
	const struct folio *folio;

	if (!(mpfn & MIGRATE_PFN_COMPOUND))
		return 1;
	folio = migrate_entry_folio(mpfn);
	return folio ? folio_nr_pages(folio) : migrate_hole_nr();
}

/* The contents of the first slot of dst of an entry, as the driver has filled it. */
enum migrate_target {
	MIGRATE_NO_PAGE,
	MIGRATE_SAME_SIZE,	/* a folio that can replace the whole entry */
	MIGRATE_OTHER_SIZE,
};

/*
 * Compare a target with an entry that has @nr slots. What decides is the size of
 * the folio: MIGRATE_PFN_COMPOUND in dst is ignored. @to may be NULL.
 */
static enum migrate_target migrate_target_of(const struct folio *to,
					     unsigned long nr)
{
	if (!to)
		return MIGRATE_NO_PAGE;
	return folio_nr_pages(to) == nr ? MIGRATE_SAME_SIZE : MIGRATE_OTHER_SIZE;
}

/* Does the lock of @folio belong to the fault that the driver is handling? */
static bool migrate_is_faulting(const struct page *fault_page,
				const struct folio *folio)
{
	return fault_page && page_folio(fault_page) == folio;
}

/**
 * struct migrate_grab - lock and reference of a source folio
 * @folio: the folio
 * @lock_is_fault: the lock belongs to the fault that the driver is handling.
 *	The fault has a reference besides the one of this grab
 */
struct migrate_grab {
	struct folio *folio;
	bool lock_is_fault;
};

/* Describe the grab of a folio that is locked, or is about to be. */
static struct migrate_grab migrate_grab_of(const struct page *fault_page,
					   struct folio *folio)
{
	return (struct migrate_grab) {
		.folio = folio,
		.lock_is_fault = migrate_is_faulting(fault_page, folio),
	};
}

/* Drop the reference, and the lock unless it is the one of the fault. */
static void migrate_grab_release(const struct migrate_grab *grab)
{
	if (!grab->lock_is_fault)
		folio_unlock(grab->folio);
	folio_put(grab->folio);
}

/* Unlock and put a source folio. The folio of a fault stays locked. */
static void migrate_folio_release(const struct page *fault_page,
				  struct folio *folio)
{
	const struct migrate_grab grab = migrate_grab_of(fault_page, folio);

	migrate_grab_release(&grab);
}

/* Does src[@i] hold a reference to the anon_vma of its folio? */
static bool migrate_entry_has_anon_vma(const struct migrate_entries *e,
				       unsigned long i)
{
	return e->src[i] & MIGRATE_PFN_ANON_VMA;
}

/*
 * Map @to wherever @from was mapped. Unlock and put @from, which is src[@i].
 * Both may be the same folio. A folio that was named by pfn and was mapped nowhere
 * has no migration entries, and its anon_vma may be gone: without a reference to
 * the anon_vma there is nothing to restore. A KSM page has no anon_vma. Its
 * migration entries are found through KSM.
 */
static void migrate_entry_restore(const struct migrate_entries *e,
				  unsigned long i, struct folio *from,
				  struct folio *to)
{
	struct anon_vma *anon_vma = NULL;

	if (migrate_entry_has_anon_vma(e, i))
		anon_vma = folio_anon_vma(to);
	if (!migrate_is_by_pfn(e) || anon_vma || folio_test_ksm(to))
		remove_migration_ptes(from, to, 0);
	if (anon_vma)
		put_anon_vma(anon_vma);
	migrate_folio_release(e->fault_page, from);
}

/*
 * Collect
 */

/* The kinds of page table entries. */
enum migrate_leaf_kind {
	MIGRATE_LEAF_OTHER,	/* swapped out, a marker, special */
	MIGRATE_LEAF_NONE,
	MIGRATE_LEAF_ZERO,
	MIGRATE_LEAF_PAGE,
};

/**
 * struct migrate_leaf - a PTE or a huge PMD, read once
 * @kind: what the entry refers to
 * @writable: the process may write through it
 * @page: the page, if @kind is MIGRATE_LEAF_PAGE
 */
struct migrate_leaf {
	enum migrate_leaf_kind kind;
	bool writable;
	struct page *page;
};

/* The decision about a page table entry. From MIGRATE_TAKE on it has a folio. */
enum migrate_choice {
	MIGRATE_SKIP,	/* leave it alone */
	MIGRATE_HOLE,	/* none or a zero page: the driver may fill it */
	MIGRATE_TAKE,	/* replace it with a migration entry */
	MIGRATE_MUST_SPLIT,	/* the folio is too large: split it and retry */
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

	/* A new page would lose the protection by userfaultfd. */
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

/* Has the driver selected this kind of memory? */
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
 * Can the folio be moved? Pages of a file cannot: the migrate_folio method of
 * the mapping is not called here, and pages that are not in the direct map, as
 * those of memfd_secret(), cannot be copied by CPU. Poisoned system memory must
 * not be read. Poisoned memory of a device is handled by its driver.
 */
static bool migrate_folio_movable(struct folio *folio)
{
	if (!folio_test_anon(folio))
		return false;
	return folio_is_zone_device(folio) || !folio_contain_hwpoisoned_page(folio);
}

/*
 * Decide what to do about a PTE, a PMD, or a missing page table.
 * @nr: the largest number of pages that one entry of src can have here
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
		/* A driver can fill holes of anonymous VMAs only. */
		return vma_is_anonymous(migrate->vma) ? MIGRATE_HOLE : MIGRATE_SKIP;
	case MIGRATE_LEAF_PAGE:
		break;
	}

	folio = page_folio(leaf->page);
	if (!migrate_vma_selects(migrate, folio) || !migrate_folio_movable(folio))
		return MIGRATE_SKIP;
	return folio_nr_pages(folio) > nr ? MIGRATE_MUST_SPLIT : MIGRATE_TAKE;
}

/* Write the entry for the next @nr pages. All slots of src are empty before. */
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

/* Return the number of pages that one entry of src can have at @start. */
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
 * Record the holes between @start and @end, or the zero page if @leaf is one.
 * The range may be larger than a huge page if a whole page table is missing.
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
 * Lock and reference a folio that is mapped here. This must not wait for the
 * folio lock: the caller holds the page table lock and the locks of other
 * folios, and the holder of this one may wait for one of them. If this returns
 * true, @grab says whose the lock is.
 *
 * KSM reads its pages to compare them with others, so they must not move to
 * memory that the CPU cannot access. KSM merges a page under the folio lock:
 * folio_test_ksm() is reliable only while the folio is locked.
 */
static bool migrate_folio_grab(const struct migrate_vma *migrate,
			       struct folio *folio, struct migrate_grab *grab)
{
	*grab = migrate_grab_of(migrate->fault_page, folio);
	if (!grab->lock_is_fault && !folio_trylock(folio))
		return false;
	folio_get(folio);
	if (!folio_test_ksm(folio))
		return true;
	migrate_grab_release(grab);
	return false;
}

/*
 * Leave a folio to the fault that has locked it, if there is one. A split allows
 * one reference besides the mappings. It must be the reference of the fault, so
 * the one of the grab is dropped.
 */
static void migrate_ref_to_fault(const struct migrate_grab *grab)
{
	if (grab->lock_is_fault)
		folio_put(grab->folio);
}

/*
 * Split the folio of @page, which is that of @grab. Release @grab whether this
 * fails or not. The caller must read the page table again.
 *
 * split_huge_page() leaves the lock and the one reference that it allows with the
 * page that is passed to it. For a fault this must be the page of the fault.
 */
static bool migrate_vma_split(const struct migrate_vma *migrate,
			      struct page *page, struct migrate_grab *grab)
{
	int err;

	migrate_ref_to_fault(grab);
	if (grab->lock_is_fault)
		return !split_huge_page(migrate->fault_page);

	err = split_huge_page(page);
	/* @page may now be in another folio, which has the lock. */
	grab->folio = page_folio(page);
	migrate_grab_release(grab);
	return !err;
}

/* Replace a huge PMD with a migration entry. Release @grab if that fails. */
static bool migrate_vma_take_pmd(const struct migrate_vma *migrate,
				 unsigned long addr, pmd_t *pmdp,
				 const struct migrate_leaf *leaf,
				 const struct migrate_grab *grab)
{
	struct page_vma_mapped_walk pvmw = {
		.vma = migrate->vma,
		.address = addr,
		.pmd = pmdp,
	};

	if (!thp_migration_supported() ||
	    set_pmd_migration_entry(&pvmw, leaf->page)) {
		migrate_grab_release(grab);
		return false;
	}
	if (migrate->vma->vm_flags & VM_LOCKED)
		mlock_drain_local();
	return true;
}

/*
 * Collect from a PMD that is huge or none. Return the address to continue at,
 * which is @addr if the PMD must be read again.
 */
static unsigned long migrate_vma_collect_huge(struct migrate_vma *migrate,
					      pmd_t *pmdp, unsigned long addr,
					      unsigned long end)
{
	unsigned long nr = migrate_vma_unit(migrate, addr, end);
	struct vm_area_struct *vma = migrate->vma;
	enum migrate_choice choice;
	struct migrate_grab grab;
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
	    !migrate_folio_grab(migrate, page_folio(leaf.page), &grab))
		choice = MIGRATE_SKIP;
	if (choice == MIGRATE_TAKE &&
	    !migrate_vma_take_pmd(migrate, addr, pmdp, &leaf, &grab))
		choice = MIGRATE_SKIP;
	spin_unlock(ptl);

	if (choice == MIGRATE_MUST_SPLIT) {
		if (migrate_vma_split(migrate, leaf.page, &grab))
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
 * Clear a PTE. The caller flushes the TLB before it drops the page table lock.
 * A writable PTE is flushed here, unless the architecture guarantees that a CPU
 * with a clean TLB entry faults when it finds the PTE cleared on a write. It
 * does if it selects CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH.
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

/* Make the migration entry that replaces @old, with all bits of @old. */
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

/* Replace a PTE with a migration entry. Release @grab if the page may be pinned. */
static bool migrate_vma_take_pte(const struct migrate_vma *migrate,
				 unsigned long addr, pte_t *ptep,
				 const struct migrate_leaf *leaf,
				 const struct migrate_grab *grab)
{
	struct vm_area_struct *vma = migrate->vma;
	struct folio *folio = grab->folio;
	bool exclusive = folio_test_anon(folio) && PageAnonExclusive(leaf->page);
	pte_t old = migrate_vma_clear_pte(vma, addr, ptep);

	/* Fails for a pinned page. GUP-fast requires that the PTE is clear. */
	if (exclusive && folio_try_share_anon_rmap_pte(folio, leaf->page)) {
		set_pte_at(vma->vm_mm, addr, ptep, old);
		migrate_grab_release(grab);
		return false;
	}

	if (pte_present(old) && pte_dirty(old))
		folio_mark_dirty(folio);
	set_pte_at(vma->vm_mm, addr, ptep,
		   migrate_vma_migration_pte(leaf, old, exclusive));

	/* The reference of the mapping is dropped, the one of @grab stays. */
	folio_remove_rmap_pte(folio, leaf->page, vma);
	if (vma->vm_flags & VM_LOCKED)
		mlock_drain_local();
	folio_put(folio);
	return true;
}

/**
 * struct migrate_pte_run - one pass over the PTEs of a page table
 * @addr: address of the next PTE
 * @end: end of the range in this page table
 * @flush_start: first address that must be flushed
 * @flush_end: end of what must be flushed; above @flush_start if there is any
 * @whole: folio that could not be split before; it may be freed, and is only
 *	compared
 * @split: page whose folio must be split before @addr can be collected; NULL if
 *	the run has reached @end
 * @grab: lock and reference of the folio of @split
 */
struct migrate_pte_run {
	unsigned long addr;
	unsigned long end;
	unsigned long flush_start;
	unsigned long flush_end;
	const struct folio *whole;
	struct page *split;
	struct migrate_grab grab;
};

/*
 * Collect from the PTE at @run->addr, and store in @leaf what it was. If this
 * returns MIGRATE_TAKE, a migration entry has replaced the PTE. If it returns
 * MIGRATE_TAKE or MIGRATE_MUST_SPLIT, @run->grab has the folio. Pages of @run->whole
 * that would need a split are skipped.
 */
static enum migrate_choice migrate_vma_collect_pte(const struct migrate_vma *migrate,
						   struct migrate_pte_run *run,
						   pte_t *ptep,
						   struct migrate_leaf *leaf)
{
	enum migrate_choice choice;
	struct folio *folio;

	*leaf = migrate_leaf_from_pte(migrate->vma, run->addr, ptep_get(ptep));
	choice = migrate_vma_choose(migrate, leaf, 1);
	if (choice < MIGRATE_TAKE)
		return choice;

	folio = page_folio(leaf->page);
	if (choice == MIGRATE_MUST_SPLIT && folio == run->whole)
		return MIGRATE_SKIP;
	if (!migrate_folio_grab(migrate, folio, &run->grab))
		return MIGRATE_SKIP;
	if (choice == MIGRATE_TAKE &&
	    !migrate_vma_take_pte(migrate, run->addr, ptep, leaf, &run->grab))
		return MIGRATE_SKIP;
	return choice;
}

/*
 * Collect from the PTEs at @ptep until the end of the run, or until a folio must
 * be split. The page table is locked.
 */
static void migrate_vma_collect_run(struct migrate_vma *migrate,
				    struct migrate_pte_run *run, pte_t *ptep)
{
	struct migrate_leaf leaf;

	for (; run->addr < run->end; run->addr += PAGE_SIZE, ptep++) {
		enum migrate_choice choice;

		choice = migrate_vma_collect_pte(migrate, run, ptep, &leaf);
		if (choice == MIGRATE_MUST_SPLIT) {
			run->split = leaf.page;
			return;
		}
		migrate_vma_record(migrate, choice, &leaf, 1);

		/* Device-private entries are in no TLB. */
		if (choice == MIGRATE_TAKE && !is_device_private_page(leaf.page)) {
			run->flush_start = min(run->flush_start, run->addr);
			run->flush_end = run->addr + PAGE_SIZE;
		}
	}
}

/*
 * Collect from a page table. Return the address to continue at, which is less
 * than @end if the PMD must be read again. A folio that could not be split is
 * stored in @whole, so that the split is not retried for each of its pages. Its
 * pages need not be contiguous here: some may have been discarded, copied, or
 * moved elsewhere. @whole is replaced when another folio cannot be split.
 */
static unsigned long migrate_vma_collect_ptes(struct migrate_vma *migrate,
					      pmd_t *pmdp, unsigned long addr,
					      unsigned long end,
					      const struct folio **whole)
{
	struct vm_area_struct *vma = migrate->vma;
	struct migrate_pte_run run = {
		.addr = addr,
		.end = end,
		.flush_start = end,
		.flush_end = addr,
		.whole = *whole,
	};
	const struct folio *folio;
	spinlock_t *ptl;
	pte_t *ptep;

	ptep = pte_offset_map_lock(vma->vm_mm, pmdp, addr, &ptl);
	if (!ptep)
		return addr;

	lazy_mmu_mode_enable();
	migrate_vma_collect_run(migrate, &run, ptep);
	lazy_mmu_mode_disable();

	/*
	 * Flush before the lock is dropped: after that, others may act on the
	 * migration entries.
	 */
	if (run.flush_start < run.flush_end)
		flush_tlb_range(vma, run.flush_start, run.flush_end);
	pte_unmap_unlock(ptep, ptl);

	if (run.split) {
		folio = run.grab.folio;
		if (!migrate_vma_split(migrate, run.split, &run.grab))
			*whole = folio;
	}
	return run.addr;
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
 * Notify secondary MMUs that the page tables from @start on change. The
 * notification has an owner, so that the driver can recognize its own migration
 * and need not unmap all of the range from its device.
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

static void migrate_vma_collect(struct migrate_vma *migrate)
{
	struct mmu_notifier_range range;

	/*
	 * Pages that this CPU has just faulted in are likely to be in its LRU
	 * caches, and could not be isolated. This does not wait for other CPUs.
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

/* Restore the mappings of src[@i] and release its folio. Clear the slot. */
static void migrate_entry_give_back(struct migrate_entries *e, unsigned long i,
				    struct folio *folio)
{
	migrate_entry_restore(e, i, folio, folio);
	e->src[i] = 0;
}

/*
 * Take a reference to the anon_vma of a folio that was named by pfn: the rmap
 * needs it to find the migration entries later. A KSM page has no anon_vma, and
 * does not need one, because the rmap uses KSM's own records.
 *
 * Return false for a page that is mapped nowhere. Its processes have unmapped
 * it, or another thread has just moved it and is about to free it. In the
 * latter case it no longer has a memory cgroup, and must not be moved again.
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
 * Replace the mappings of src[@i] that collection has not replaced: those in
 * other page tables, or all of them if the page was named by pfn. If that fails,
 * clear MIGRATE_PFN_MIGRATE. The entry is not put back yet, because the TLB flush
 * for what was unmapped is still pending.
 */
static void migrate_entry_unmap(struct migrate_entries *e, unsigned long i,
				struct folio *folio)
{
	if (!migrate_is_by_pfn(e) || migrate_entry_hold(e, i, folio)) {
		if (folio_mapped(folio))
			try_to_migrate(folio, TTU_BATCH_FLUSH);
		if (!folio_mapped(folio))
			return;
	}
	e->src[i] &= ~MIGRATE_PFN_MIGRATE;
}

/*
 * Does anybody else hold a reference? This check only avoids a useless copy.
 * folio_migrate_mapping() checks again, with the count frozen.
 */
static bool migrate_entry_pinned(const struct migrate_entries *e,
				 const struct folio *folio)
{
	int ours = 1 + migrate_is_faulting(e->fault_page, folio);

	return folio_ref_count(folio) > folio_expected_ref_count(folio) + ours;
}

/*
 * May lru_add_drain_all() be called? It waits for all CPUs. If a locked folio
 * is mapped, a fault may spin on its lock and keep a CPU from draining. If none
 * is mapped, other threads sleep on migration entries. The folio of the fault
 * that the driver is handling may still be mapped. One call is enough.
 */
static bool migrate_may_drain(const struct migrate_entries *e)
{
	if (e->fault_page && folio_mapped(page_folio(e->fault_page)))
		return false;
	return !e->drained;
}

/* Isolate an unmapped folio of system memory from the LRU. */
static bool migrate_entry_isolate(struct migrate_entries *e,
				  struct folio *folio)
{
	if (!folio_test_lru(folio) && migrate_may_drain(e)) {
		lru_add_drain_all();
		e->drained = true;
	}
	if (!folio_isolate_lru(folio))
		return false;

	/* folio_isolate_lru() took a reference. Drop the one of collection. */
	folio_put(folio);
	return true;
}

/* Prepare src[@i] for the copy, or put it back. */
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

/*
 * Unmap all folios of src, and put back those that cannot be unmapped. The size
 * of an entry is read before its folio is put.
 */
static void migrate_entries_unmap(struct migrate_entries *e)
{
	struct folio *folio;
	unsigned long i, nr;

	for (i = 0; i < e->nr; i += nr) {
		nr = migrate_entry_nr(e->src[i]);
		folio = migrate_entry_folio(e->src[i]);
		if (folio)
			migrate_entry_unmap(e, i, folio);
		cond_resched();
	}
	try_to_unmap_flush();

	for (i = 0; i < e->nr; i += nr) {
		nr = migrate_entry_nr(e->src[i]);
		folio = migrate_entry_folio(e->src[i]);
		if (folio && !(e->src[i] & MIGRATE_PFN_MIGRATE))
			migrate_entry_give_back(e, i, folio);
		cond_resched();
	}
}

/*
 * Unmap all entries of src. The entries that remain are not mapped and have no
 * reference but ours. Return their number, with holes.
 */
static unsigned long migrate_device_unmap(struct migrate_entries *e)
{
	unsigned long i, nr, remaining = 0;
	struct folio *folio;

	migrate_entries_unmap(e);
	for (i = 0; i < e->nr; i += nr) {
		nr = migrate_entry_nr(e->src[i]);
		folio = migrate_entry_folio(e->src[i]);
		if (folio)
			remaining += migrate_entry_claim(e, i, folio);
		else if (e->src[i] & MIGRATE_PFN_MIGRATE)
			remaining++;
		cond_resched();
	}
	return remaining;
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
 * migrate_vma_setup() - collect and unmap the pages of a range
 * @args: the range, what to select in it, and the two arrays
 *
 * Each entry of @args->src says whether its page can be moved:
 *
 * * MIGRATE_PFN_VALID and MIGRATE_PFN_MIGRATE: a page. It is locked and not
 *   mapped, and CPUs cannot change it until migrate_vma_finalize().
 * * MIGRATE_PFN_MIGRATE alone: a hole or a zero page. The driver may provide a
 *   cleared page.
 * * Neither: the driver must leave it alone.
 *
 * MIGRATE_PFN_WRITE means that the page was mapped writable. An entry with
 * MIGRATE_PFN_COMPOUND stands for a huge page, or for a hole of that size. The
 * following slots up to this size are empty. There are such entries only with
 * MIGRATE_VMA_SELECT_COMPOUND.
 *
 * The driver then puts locked pages into @args->dst. A page whose slot of
 * @args->dst is empty stays where it is. For a huge entry the driver may
 * provide one folio of the same size in the first slot, or small pages in any
 * of its slots. It may clear MIGRATE_PFN_MIGRATE in an entry of @args->src,
 * which then does not move. It must not change anything else in @args->src. If
 * @args->cpages is not zero, it must call migrate_vma_finalize() in any case.
 *
 * Only anonymous pages are collected. Pages that KSM has merged and poisoned
 * pages of system memory are not.
 *
 * A driver that handles a fault on a device-private page must set
 * @args->fault_page to this page. The fault holds its lock and a reference, and
 * keeps both.
 *
 * Context: The caller must hold the mmap lock of the VMA's mm, at least for
 *	    reading, from before this call until after migrate_vma_finalize().
 *	    May sleep.
 * Return: 0, with the number of collected entries in @args->cpages, which may
 *	   be zero; -EINVAL if @args or the VMA does not allow a migration.
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

/*
 * Is this still a hole that may be filled? Not if userfaultfd handles missing
 * pages, or if the OOM reaper has begun to free the memory of the mm.
 */
static bool migrate_vma_vacant(struct vm_area_struct *vma,
			       const struct migrate_leaf *leaf)
{
	if (leaf->kind != MIGRATE_LEAF_NONE && leaf->kind != MIGRATE_LEAF_ZERO)
		return false;
	return !check_stable_address_space(vma->vm_mm) &&
	       !userfaultfd_missing(vma);
}

/* Make the entry that maps a device-private folio in a hole. */
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

	/* A new page counts as soft-dirty. */
	if (folio_is_device_private(folio)) {
		pte = softleaf_to_pte(migrate_device_entry(vma, folio));
		return pte_swp_mksoft_dirty(pte);
	}

	pte = folio_mk_pte(folio, vma->vm_page_prot);
	if (vma->vm_flags & VM_WRITE)
		pte = pte_mkwrite(pte_mkdirty(pte), vma);
	return pte;
}

/* Account for a new mapping. The page table lock is held. */
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
 * Prepare a PMD for a huge entry. If it has the huge zero page, a page table is
 * already deposited, and @pgtable is returned unused. Otherwise @pgtable is
 * deposited, and NULL is returned.
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
	struct migrate_leaf leaf = { .kind = MIGRATE_LEAF_OTHER };
	pgtable_t pgtable;
	spinlock_t *ptl;
	bool vacant;
	pmd_t pmd;

	pgtable = pte_alloc_one(mm);
	if (!pgtable)
		return false;

	/* A fault may have installed a page table, which is not vacant. */
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

	if (WARN_ON_ONCE(migrate_is_by_pfn(e)))
		return false;
	vma = e->args->vma;
	addr = e->args->start + (i << PAGE_SHIFT);
	if (!e->notified)
		migrate_vma_notify_start(e->args, &e->range, addr);
	e->notified = true;

	pmdp = migrate_vma_alloc_pmd(vma->vm_mm, addr);
	if (!pmdp || anon_vma_prepare(vma) || !migrate_vma_charge(vma, folio))
		return false;

	/* Its barrier orders the driver's writes before the new entry. */
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
 * Undo migrate_ref_to_fault(). After a split, the reference is to the folio of
 * the first page. The page of the fault must be this page.
 */
static void migrate_ref_from_fault(const struct migrate_grab *grab)
{
	if (grab->lock_is_fault)
		folio_get(grab->folio);
}

/*
 * Split one huge migration entry into PTEs. None may be missed: a huge entry
 * cannot be restored for small folios, and migrate_restore_pmd() warns about
 * it. mremap() may be moving an entry, with both page tables locked. PVMW_SYNC
 * waits for that lock even if the old PMD is empty. The entry is then found at
 * its new address, later in this walk.
 */
static bool migrate_rmap_split_one(struct folio *folio,
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
 * Split a folio that is not mapped. All processes that had it mapped have huge
 * migration entries, which must be split first, as the pages move one by one.
 * This needs no MMU notification: there was one when the folio was unmapped.
 *
 * The steps that can refuse come first. folio_split_unmapped() can still fail if
 * somebody has taken a reference; huge entries that were split then stay split.
 */
static bool migrate_folio_split(const struct migrate_entries *e,
				struct folio *folio)
{
	struct migrate_grab grab = migrate_grab_of(e->fault_page, folio);
	struct rmap_walk_control rwc = {
		.rmap_one = migrate_rmap_split_one,
	};
	int err;

	if (!folio_test_anon(folio))
		return false;
	/* See migrate_ref_from_fault(). */
	if (grab.lock_is_fault && e->fault_page != &folio->page)
		return false;

	rmap_walk(folio, &rwc);

	migrate_ref_to_fault(&grab);
	err = folio_split_unmapped(folio, 0);
	migrate_ref_from_fault(&grab);
	return !err;
}
#else
static bool migrate_folio_split(const struct migrate_entries *e,
				struct folio *folio)
{
	return false;
}
#endif

/*
 * Turn the huge entry src[@i] into one small entry for each of its slots. Each
 * gets the flags of the huge entry, and a reference to the anon_vma if that had
 * one. If the folio cannot be split, nothing changes in src.
 */
static bool migrate_entry_split(struct migrate_entries *e, unsigned long i)
{
	struct folio *folio = migrate_entry_folio(e->src[i]);
	unsigned long nr = migrate_entry_nr(e->src[i]);
	unsigned long flags, j;

	if (folio && !migrate_folio_split(e, folio))
		return false;

	e->src[i] &= ~MIGRATE_PFN_COMPOUND;
	flags = e->src[i] & (MIGRATE_PFN_MIGRATE | MIGRATE_PFN_WRITE |
			     MIGRATE_PFN_ANON_VMA);
	for (j = 1; j < nr; j++) {
		e->src[i + j] = flags;
		if (folio)
			e->src[i + j] |= migrate_pfn(folio_pfn(folio) + j);
		if (migrate_entry_has_anon_vma(e, i))
			get_anon_vma(folio_anon_vma(folio));
	}
	return true;
}

/* Has the driver provided a page for any of the slots? */
static bool migrate_entry_has_targets(const struct migrate_entries *e,
				      unsigned long i, unsigned long nr)
{
	while (nr--) {
		if (e->dst[i++] & MIGRATE_PFN_VALID)
			return true;
	}
	return false;
}

/* Can page tables of processes map this folio? */
static bool migrate_folio_mappable(const struct folio *folio)
{
	return !folio_is_zone_device(folio) || folio_is_device_private(folio) ||
	       folio_is_device_coherent(folio);
}

/* Can src[@i], which has @nr slots, be split for the pages in dst? */
static bool migrate_entry_can_split(const struct migrate_entries *e,
				    unsigned long i, unsigned long nr)
{
	/* migrate_entry_split() needs a slot of src for each page. */
	return nr > 1 && nr <= e->nr - i && migrate_entry_has_targets(e, i, nr);
}

/* The decision about an entry, after the driver has filled dst. */
enum migrate_plan {
	MIGRATE_PLAN_KEEP,	/* leave the source where it is */
	MIGRATE_PLAN_SPLIT,	/* split it, and plan again for its first page */
	MIGRATE_PLAN_INSERT,	/* fill the hole with the target */
	MIGRATE_PLAN_MOVE,	/* replace the folio with the target */
};

/* Decide what to do about src[@i]. A folio can replace only one of its size. */
static enum migrate_plan migrate_entry_plan(const struct migrate_entries *e,
					    unsigned long i)
{
	const struct folio *to = migrate_entry_folio(e->dst[i]);
	unsigned long nr = migrate_entry_nr(e->src[i]);

	if (!(e->src[i] & MIGRATE_PFN_MIGRATE))
		return MIGRATE_PLAN_KEEP;

	switch (migrate_target_of(to, nr)) {
	case MIGRATE_NO_PAGE:
	case MIGRATE_OTHER_SIZE:
		/* There may be small pages, also if the first slot is empty. */
		if (migrate_entry_can_split(e, i, nr))
			return MIGRATE_PLAN_SPLIT;
		return MIGRATE_PLAN_KEEP;
	case MIGRATE_SAME_SIZE:
		break;
	}

	if (!migrate_folio_mappable(to))
		return MIGRATE_PLAN_KEEP;
	return e->src[i] & MIGRATE_PFN_VALID ? MIGRATE_PLAN_MOVE : MIGRATE_PLAN_INSERT;
}

/*
 * Can @to replace @from? A device folio must not be in the swap cache, and KSM
 * must be able to read its pages. Writeback must end on the folio that it began
 * on.
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
 * Must memory that moves to a device become swap-backed? Reclaim may drop
 * MADV_FREE memory until it is written to. Writes of a device set no dirty bit,
 * so the memory must not be dropped any more. MAP_DROPPABLE memory may always
 * be dropped. Pages named by pfn are already on a device, and became
 * swap-backed when they moved there.
 */
static bool migrate_must_last(const struct migrate_entries *e)
{
	return !migrate_is_by_pfn(e) &&
	       !(e->args->vma->vm_flags & VM_DROPPABLE);
}

/* Replace the folio of src[@i] with the one of dst[@i]. */
static bool migrate_entry_move(const struct migrate_entries *e, unsigned long i)
{
	struct folio *from = migrate_entry_folio(e->src[i]);
	struct folio *to = migrate_entry_folio(e->dst[i]);
	int extra = migrate_is_faulting(e->fault_page, from);

	/* This may drop the swap cache: read folio_mapping() after it. */
	if (!migrate_folio_fits(from, to))
		return false;
	if (folio_migrate_mapping(folio_mapping(from), to, from, extra))
		return false;
	folio_migrate_flags(to, from);

	if (folio_is_zone_device(to) && migrate_must_last(e))
		folio_set_swapbacked(to);
	return true;
}

/* Carry out the plan for src[@i]. Return true if dst[@i] has taken its place. */
static bool migrate_entry_carry_out(struct migrate_entries *e, unsigned long i,
				    enum migrate_plan plan)
{
	switch (plan) {
	case MIGRATE_PLAN_INSERT:
		return migrate_entry_insert(e, i);
	case MIGRATE_PLAN_MOVE:
		return migrate_entry_move(e, i);
	case MIGRATE_PLAN_KEEP:
	case MIGRATE_PLAN_SPLIT:
		break;
	}
	return false;
}

/* Insert and move all entries. One that fails loses MIGRATE_PFN_MIGRATE. */
static void migrate_entries_move(struct migrate_entries *e)
{
	unsigned long i, nr;

	for (i = 0; i < e->nr; i += nr) {
		enum migrate_plan plan = migrate_entry_plan(e, i);

		if (plan == MIGRATE_PLAN_SPLIT)
			plan = migrate_entry_split(e, i) ?
			       migrate_entry_plan(e, i) : MIGRATE_PLAN_KEEP;

		/* After a split this is 1: each slot has an entry of its own. */
		nr = migrate_entry_nr(e->src[i]);
		if (!migrate_entry_carry_out(e, i, plan))
			e->src[i] &= ~MIGRATE_PFN_MIGRATE;
		cond_resched();
	}

	if (e->notified)
		mmu_notifier_invalidate_range_end(&e->range);
}

/**
 * migrate_device_pages() - replace pages by those of the driver
 * @src_pfns: entries from migrate_device_range() or migrate_device_pfns()
 * @dst_pfns: the driver's pages, see migrate_vma_setup()
 * @npages: number of slots in each array
 *
 * The same as migrate_vma_pages(), for pages that were named by their frame
 * numbers. It clears MIGRATE_PFN_MIGRATE in the entries of @src_pfns whose
 * pages have not moved.
 *
 * Context: Process context, may sleep. The folios of all entries are locked.
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
 * migrate_vma_pages() - replace pages by those of the driver
 * @migrate: what migrate_vma_setup() has filled, with the driver's pages in dst
 *
 * Entries of @migrate->src that still have MIGRATE_PFN_MIGRATE afterwards have
 * moved. The driver may update the page tables of its device for these only. A
 * huge entry for which the driver has provided small pages may have been split:
 * each of its slots then has an entry of its own.
 *
 * The copies should be complete before this call. They must be if a hole is
 * filled with memory that CPUs can access, which is mapped here, or if both
 * pages are system memory: the new one may be in the swap cache afterwards, and
 * counts as up to date. See Documentation/mm/migrate_device.rst.
 *
 * Context: As for migrate_vma_setup(), without dropping the mmap lock since.
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

/* Drop the driver's lock and reference, whether the folio was used or not. */
static void migrate_folio_drop(const struct migrate_entries *e,
			       struct folio *folio)
{
	WARN_ON_ONCE(migrate_is_faulting(e->fault_page, folio));
	folio_unlock(folio);
	folio_put(folio);
}

/*
 * Has @to replaced src[@i]? MIGRATE_PFN_MIGRATE alone does not say so: a driver
 * that has failed may call migrate_vma_finalize() without migrate_vma_pages().
 * Only a folio that has replaced another one has a mapping.
 */
static bool migrate_entry_moved(const struct migrate_entries *e,
				unsigned long i, const struct folio *to)
{
	return to && (e->src[i] & MIGRATE_PFN_MIGRATE) && to->mapping;
}

/*
 * Finish src[@i] and dst[@i]. Return the number of slots that are done:
 *
 *   src[i]  dst[i] and the slots after it   returns
 *   ------  -----------------------------   -------------------------------
 *   huge    one folio of the same size      all slots of the huge entry
 *   huge    small pages, or nothing         1, and the pages in the other
 *                                           slots are freed by later calls
 *   small   anything                        1
 */
static unsigned long migrate_entry_finalize(const struct migrate_entries *e,
					    unsigned long i)
{
	struct folio *from = migrate_entry_folio(e->src[i]);
	struct folio *to = migrate_entry_folio(e->dst[i]);
	unsigned long nr = migrate_entry_nr(e->src[i]);
	bool whole = migrate_target_of(to, nr) == MIGRATE_SAME_SIZE;
	unsigned long done = whole ? nr : 1;

	/* No size is read from here on: a folio that has been put may be free. */
	if (from) {
		struct folio *stays = migrate_entry_moved(e, i, to) ? to : from;

		if (!folio_is_zone_device(stays))
			folio_add_lru(stays);
		migrate_entry_restore(e, i, from, stays);
	}
	if (to)
		migrate_folio_drop(e, to);
	return done;
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
 * migrate_device_finalize() - map and unlock the pages
 * @src_pfns: entries from migrate_device_pages()
 * @dst_pfns: the driver's pages
 * @npages: number of slots in each array
 *
 * The same as migrate_vma_finalize(), for pages that were named by their frame
 * numbers. It must be called even if no entry was collected or has moved.
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
 * migrate_vma_finalize() - map and unlock the pages
 * @migrate: what migrate_vma_setup() or migrate_vma_pages() has filled
 *
 * Maps the driver's page if the entry has moved, and the original page if not.
 * Unlocks both, and drops the references of the migration and of the driver.
 * This frees original pages that were replaced, and the driver's pages that
 * were not used. The folio of a fault stays locked for the fault.
 *
 * All copies must be complete, and visible to CPUs if the new page is system
 * memory. This includes copies for entries that have not moved.
 *
 * Context: As for migrate_vma_setup(), without dropping the mmap lock since.
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
 * Lock the folio that starts at @pfn and write its entry to @src[0]. Leave the
 * entry empty if the page is free or a tail, or the folio is locked or has more
 * than @max pages. The order is read under a reference: a split freezes the
 * references, so the order cannot change. Return the number of slots that are
 * done: 1 for a free page or a tail, and at most @max.
 */
static unsigned long migrate_device_lock(unsigned long *src, unsigned long max,
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
		nr = min(nr, max);
	} else if (nr > max) {
		migrate_folio_release(NULL, folio);
		nr = max;
	} else {
		*src = migrate_pfn(pfn) | MIGRATE_PFN_MIGRATE;
		if (nr > 1)
			*src |= MIGRATE_PFN_COMPOUND;
	}
	memset(src + 1, 0, (nr - 1) * sizeof(*src));
	return nr;
}

/**
 * migrate_device_range() - unmap a range of device pages in all processes
 * @src_pfns: filled with an entry for each page, as by migrate_vma_setup()
 * @start: frame number of the first page
 * @npages: number of pages, and of slots in @src_pfns
 *
 * For a driver that must free the memory of its device, for example before it
 * is unloaded. The entries of pages that are free, locked, pinned or not mapped
 * are empty. The driver must call migrate_device_finalize() afterwards, and
 * before that migrate_device_pages() if pages are to move.
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
 * migrate_device_pfns() - unmap device pages in all processes
 * @src_pfns: frame numbers; replaced with entries as by migrate_vma_setup()
 * @npages: number of slots in @src_pfns
 *
 * The same as migrate_device_range(), for pages that need not be contiguous. A
 * large folio has one slot for each of its pages. The slots after the first one
 * are cleared without being read. The size of a folio that is free is unknown,
 * so the slots after its first one are read. Each slot must therefore hold a
 * frame number of the device on entry, also those of tail pages.
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

/* Copy @folio to system memory. Return an entry for dst, or 0 on failure. */
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
 * migrate_device_coherent_folio() - move coherent device memory to the system
 * @folio: the folio to move
 *
 * For FOLL_LONGTERM, since memory of a device must not be pinned for long.
 * Drops the caller's reference to @folio in any case.
 *
 * Context: Process context, may sleep. @folio is not locked.
 * Return: 0 if @folio has moved or is not mapped any more, -EBUSY otherwise.
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
		/* The caller looks the address up again. */
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
