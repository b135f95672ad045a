/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page table walks: what is mapped where?
 *
 * Two tools for two jobs:
 *
 *   walk_page_range() and its siblings visit every entry of a range and hand
 *   each to the operations of a &struct mm_walk_ops;
 *
 *   folio_walk_start() looks up the one entry that covers an address and
 *   returns with that entry locked.
 */
#ifndef _LINUX_PAGEWALK_H
#define _LINUX_PAGEWALK_H

#include <linux/mm.h>

struct mm_walk;

/**
 * enum page_walk_lock - which locks a walk of user memory stands on
 * @PGWALK_RDLOCK: the caller holds the mmap lock, shared at least
 * @PGWALK_WRLOCK: the caller holds the mmap lock exclusively, and the walk
 *	write-locks each VMA before anything in it is visited
 * @PGWALK_WRLOCK_VERIFY: the caller holds the mmap lock exclusively and has
 *	write-locked the VMAs already
 * @PGWALK_VMA_RDLOCK_VERIFY: the caller holds the lock of the VMA, shared at
 *	least; the mmap lock is not needed
 *
 * Of the mmap lock and the VMA locks a walk takes nothing but those of
 * @PGWALK_WRLOCK; everything else is asserted.  The locks of page tables, and the
 * VMA lock of hugetlb, are its own to take.  Operations that leave the choice out
 * get @PGWALK_RDLOCK.
 */
enum page_walk_lock {
	PGWALK_RDLOCK = 0,
	PGWALK_WRLOCK = 1,
	PGWALK_WRLOCK_VERIFY = 2,
	PGWALK_VMA_RDLOCK_VERIFY = 3,
};

/**
 * struct mm_walk_ops - what a walk does with what it meets
 * @pgd_entry: a PGD entry that is not empty
 * @p4d_entry: a P4D entry that is not empty
 * @pud_entry: a PUD entry that is not empty; it may map a huge page, or be on
 *	its way to or from doing so
 * @pmd_entry: a PMD entry that is not empty.  Transparent huge pages and
 *	non-present entries (migration, device-private) show up here: handle
 *	them, split them, or leave them alone, but expect them
 * @pte_entry: every PTE, empty ones included; with @install_pte set, only those
 *	that were not empty
 * @pte_hole: a range in which no table exists, or no VMA.  The depth is that of
 *	the empty entry, 0 for a PGD to 3 for a PMD, where levels the
 *	architecture folds take the depth of the level above them; it is -1
 *	where there is no such entry to point to: between VMAs, in hugetlb
 *	VMAs, and for a PFN mapping that nobody asked to look into.  With
 *	@install_pte set, empty entries inside VMAs are filled instead
 * @hugetlb_entry: an entry of a hugetlb VMA, present or not; without it such
 *	VMAs are passed over.  The hugetlb VMA lock is held for reading, so
 *	the entry and its lock cannot go away.  An operation that has to drop
 *	that lock takes it again before it returns, and looks at neither
 *	before it has found out that they are still the same
 * @test_walk: is this VMA to be walked?  0 says yes, a positive value says
 *	skip it, a negative one ends the walk.  Without it all VMAs are walked
 *	except PFN mappings, which become a hole.  Not asked when the caller
 *	has named the VMA
 * @pre_vma: before the first entry of a VMA; a non-zero value ends the walk and
 *	@post_vma is not called
 * @post_vma: after the last entry of a VMA whose @pre_vma agreed, no matter how
 *	the walk of it went: what @pre_vma opened can be closed here
 * @install_pte: the value for an empty PTE, to be stored in the place given.
 *	Tables are allocated down to the last level wherever they are missing,
 *	and a failure to do so ends the walk.  Huge entries have nothing
 *	missing: they are split only if some other operation needs to see what
 *	is below them.  One that is emptied while it is visited is missing, and
 *	filled.  For the mm core alone (the walkers that end in
 *	_unsafe), user memory alone, and not for hugetlb
 * @walk_lock: the locks that the walk stands on
 *
 * Every operation is optional.  Levels that the architecture folds are visited
 * like all others.  Returning 0 goes on with the walk, anything else ends it;
 * but for the positive values of @test_walk, the walker returns that value to
 * its caller.
 *
 * @pte_entry and @install_pte are called under the PTE lock, except in walks
 * that go without VMAs.  The other operations are called without a page table
 * lock: an entry may change until the operation locks it.
 */
struct mm_walk_ops {
	int (*pgd_entry)(pgd_t *pgd, unsigned long addr,
			 unsigned long next, struct mm_walk *walk);
	int (*p4d_entry)(p4d_t *p4d, unsigned long addr,
			 unsigned long next, struct mm_walk *walk);
	int (*pud_entry)(pud_t *pud, unsigned long addr,
			 unsigned long next, struct mm_walk *walk);
	int (*pmd_entry)(pmd_t *pmd, unsigned long addr,
			 unsigned long next, struct mm_walk *walk);
	int (*pte_entry)(pte_t *pte, unsigned long addr,
			 unsigned long next, struct mm_walk *walk);
	int (*pte_hole)(unsigned long addr, unsigned long next,
			int depth, struct mm_walk *walk);
	int (*hugetlb_entry)(pte_t *pte, unsigned long hmask,
			     unsigned long addr, unsigned long next,
			     struct mm_walk *walk);
	int (*test_walk)(unsigned long addr, unsigned long next,
			 struct mm_walk *walk);
	int (*pre_vma)(unsigned long start, unsigned long end,
		       struct mm_walk *walk);
	void (*post_vma)(struct mm_walk *walk);
	int (*install_pte)(unsigned long addr, unsigned long next,
			   pte_t *ptep, struct mm_walk *walk);
	enum page_walk_lock walk_lock;
};

/**
 * enum page_walk_action - where a walk goes from the entry just visited
 * @ACTION_SUBTREE: into the table below it, if any operation is interested;
 *	a huge entry is split for that where there is a VMA to split it in
 * @ACTION_CONTINUE: to the next entry of the same table
 * @ACTION_AGAIN: to this very entry once more, as it has changed
 *
 * The operation for an entry above the PTEs may set this in &struct mm_walk;
 * the walk has set it to @ACTION_SUBTREE before.
 */
enum page_walk_action {
	ACTION_SUBTREE = 0,
	ACTION_CONTINUE = 1,
	ACTION_AGAIN = 2
};

/**
 * struct mm_walk - one walk, as its operations see it
 * @ops: the operations
 * @mm: whose page tables these are
 * @pgd: the top table if it is not that of @mm, only ever with @no_vma
 * @vma: the VMA being walked, %NULL outside of VMAs
 * @action: for operations to set, see &enum page_walk_action
 * @no_vma: page tables are walked as they are, without regard to VMAs
 * @private: the caller's, handed through
 *
 * Owned by the walker.  Operations read it, and write nothing but @action and
 * @private, which every VMA of walk_page_mapping() begins with as the caller gave
 * it; one that ends the walk by what it returns may have used @vma for its own
 * ends.
 */
struct mm_walk {
	const struct mm_walk_ops *ops;
	struct mm_struct *mm;
	pgd_t *pgd;
	struct vm_area_struct *vma;
	enum page_walk_action action;
	bool no_vma;
	void *private;
	/* private: the lowest level that @ops has to do with */
	enum pgtable_level lowest;
};

int walk_page_range(struct mm_struct *mm, unsigned long start,
		    unsigned long end, const struct mm_walk_ops *ops,
		    void *private);
int walk_kernel_page_table_range(unsigned long start, unsigned long end,
				 const struct mm_walk_ops *ops, pgd_t *pgd,
				 void *private);
int walk_kernel_page_table_range_lockless(unsigned long start,
					  unsigned long end,
					  const struct mm_walk_ops *ops,
					  pgd_t *pgd, void *private);
int walk_page_range_vma(struct vm_area_struct *vma, unsigned long start,
			unsigned long end, const struct mm_walk_ops *ops,
			void *private);
int walk_page_vma(struct vm_area_struct *vma, const struct mm_walk_ops *ops,
		  void *private);
int walk_page_mapping(struct address_space *mapping, pgoff_t first_index,
		      pgoff_t nr, const struct mm_walk_ops *ops, void *private);

typedef int __bitwise folio_walk_flags_t;

/*
 * A folio behind a migration entry counts as found, too.  It is the folio that
 * is being moved or split, locked by whoever does that, and it can be split or lose
 * its contents to another folio at any time: the page table lock does not stop
 * that.  Ask it where it is, not what it holds; to use it after the walk, take
 * a reference that may fail and look again at what folio the page is part of.
 */
#define FW_MIGRATION			((__force folio_walk_flags_t)BIT(0))

/* The shared zeropages, small and huge, count as found. */
#define FW_ZEROPAGE			((__force folio_walk_flags_t)BIT(1))

/**
 * enum folio_walk_level - in which kind of table a folio walk ended
 * @FW_LEVEL_PTE: a PTE; &folio_walk.ptep and &folio_walk.pte are valid
 * @FW_LEVEL_PMD: a PMD; &folio_walk.pmdp and &folio_walk.pmd are valid
 * @FW_LEVEL_PUD: a PUD; &folio_walk.pudp and &folio_walk.pud are valid
 */
enum folio_walk_level {
	FW_LEVEL_PTE,
	FW_LEVEL_PMD,
	FW_LEVEL_PUD,
};

/**
 * struct folio_walk - what a successful folio_walk_start() has found
 * @page: the very page that the address refers to, %NULL for a shared zeropage
 * @level: the level of the entry, which selects a member of the unions
 * @ptep: where the entry is, at PTE level
 * @pudp: where the entry is, at PUD level
 * @pmdp: where the entry is, at PMD level
 * @pte: the entry as it was read under @ptl, at PTE level
 * @pud: the entry as it was read under @ptl, at PUD level
 * @pmd: the entry as it was read under @ptl, at PMD level
 * @ptl: the lock of the entry, which is held
 *
 * Written by folio_walk_start(), valid until folio_walk_end(), and meaningless
 * if nothing was found.
 */
struct folio_walk {
	struct page *page;
	enum folio_walk_level level;
	union {
		pte_t *ptep;
		pud_t *pudp;
		pmd_t *pmdp;
	};
	union {
		pte_t pte;
		pud_t pud;
		pmd_t pmd;
	};
	spinlock_t *ptl;	/* that of the entry */
	/* private: what was asked for, and what was found */
	folio_walk_flags_t flags;
	struct folio *folio;
};

struct folio *folio_walk_start(struct folio_walk *fw,
			       struct vm_area_struct *vma, unsigned long addr,
			       folio_walk_flags_t flags);

#ifdef CONFIG_MMU
/**
 * folio_walk_end - let go of what folio_walk_start() found
 * @fw: the walk, which has found something
 * @vma: the VMA that was walked
 *
 * Without a reference of its own the caller must not touch the folio any more.
 *
 * Context: Drops the page table lock, and in a hugetlb VMA the hugetlb VMA
 * lock.
 */
static inline void folio_walk_end(struct folio_walk *fw,
				  struct vm_area_struct *vma)
	__context_unsafe(/* folio_walk_start() took the lock */)
{
	spin_unlock(fw->ptl);
	if (likely(fw->level == FW_LEVEL_PTE))
		pte_unmap(fw->ptep);
	vma_pgtable_walk_end(vma);
}
#endif

#endif /* _LINUX_PAGEWALK_H */
