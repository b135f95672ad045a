/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page table walks.
 *
 * walk_page_range() and similar functions visit every entry of a range and call
 * the operations of a &struct mm_walk_ops for it.
 *
 * folio_walk_start() looks up the entry that maps one address and returns with
 * the lock of that entry held.
 */
#ifndef _LINUX_PAGEWALK_H
#define _LINUX_PAGEWALK_H

#include <linux/mm.h>

struct mm_walk;

/**
 * enum page_walk_lock - which locks a walk of user memory requires
 * @PGWALK_RDLOCK: the caller holds the mmap lock, shared at least
 * @PGWALK_WRLOCK: the caller holds the mmap lock exclusively, and the walk
 *	write-locks each VMA before anything in it is visited
 * @PGWALK_WRLOCK_VERIFY: the caller holds the mmap lock exclusively and has
 *	write-locked the VMAs already
 * @PGWALK_VMA_RDLOCK_VERIFY: the caller holds the lock of the VMA, shared at
 *	least; the mmap lock is not needed
 *
 * These locks keep the VMAs from being changed or freed.  The walk takes the
 * VMA locks for @PGWALK_WRLOCK, and otherwise only asserts that the locks are
 * held.  It takes page table locks, and the hugetlb VMA lock, on its own.
 * @PGWALK_RDLOCK is the default.
 */
enum page_walk_lock {
	PGWALK_RDLOCK = 0,
	PGWALK_WRLOCK = 1,
	PGWALK_WRLOCK_VERIFY = 2,
	PGWALK_VMA_RDLOCK_VERIFY = 3,
};

/**
 * struct mm_walk_ops - operations of a page table walk
 * @pgd_entry: called for each PGD entry that is not empty
 * @p4d_entry: called for each P4D entry that is not empty
 * @pud_entry: called for each PUD entry that is not empty.  It may map a huge
 *	page, and may be changed to a huge page or to a table at any time
 * @pmd_entry: called for each PMD entry that is not empty.  It may map a
 *	transparent huge page, or be a non-present entry (migration,
 *	device-private).  The operation may handle, split or ignore these
 * @pte_entry: called for each PTE, including empty ones.  With @install_pte, it
 *	is not called for PTEs that were empty
 * @pte_hole: called for a range that has no page table, or no VMA.  The depth
 *	is that of the empty entry, 0 for a PGD to 3 for a PMD.  An entry of a
 *	folded level has the depth of the level above.  The depth is -1 if there
 *	is no such entry: between VMAs, in hugetlb VMAs, and for a PFN mapping
 *	that is not walked.  With @install_pte, empty entries in VMAs are filled
 *	instead
 * @hugetlb_entry: called for each entry of a hugetlb VMA, present or not.
 *	Without this operation, hugetlb VMAs are skipped.  The hugetlb VMA lock
 *	is held for reading; it protects the entry and its lock from being
 *	freed.  An operation that drops the hugetlb VMA lock must take it again
 *	before it returns, and must not use the entry or its lock before it has
 *	looked them up again
 * @test_walk: decides whether a VMA is walked.  0 means yes, a positive value
 *	skips the VMA, a negative one ends the walk.  Without this operation all
 *	VMAs are walked but PFN mappings, for which @pte_hole is called.  It is
 *	not called if the caller passes the VMA
 * @pre_vma: called before the first entry of a VMA.  A non-zero value ends the
 *	walk, and @post_vma is not called
 * @post_vma: called after the last entry of a VMA for which @pre_vma returned
 *	0, also if another operation has ended the walk
 * @install_pte: returns the value for an empty PTE in the place that is passed.
 *	Page tables are allocated where they are missing; if that fails, the
 *	walk ends.  A huge entry is not empty: it is split only if @pmd_entry or
 *	@pte_entry must see the entries below.  If it becomes empty while it is
 *	visited, it is filled.  Only for the mm core (the walkers with a name
 *	that ends in _unsafe), for user memory, and not for hugetlb VMAs
 * @walk_lock: the locks that the walk requires
 *
 * Every operation is optional.  Levels that the architecture folds are visited
 * like all others.  If an operation returns 0 the walk continues, otherwise it
 * ends and the walker returns that value.  A positive value of @test_walk is an
 * exception.
 *
 * @pte_entry and @install_pte are called under the PTE lock, except in walks
 * without VMAs.  The other operations are called without a page table lock, so
 * an entry may change until the operation locks it.
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
 * enum page_walk_action - what a walk does after an operation for an entry
 * @ACTION_SUBTREE: walk the table below the entry, if there is an operation for
 *	a lower level; a huge entry is split for that, except in walks without
 *	VMAs
 * @ACTION_CONTINUE: continue with the next entry of the same table
 * @ACTION_AGAIN: visit the same entry again, because it has changed
 *
 * The operation for an entry above the PTEs may set this in &struct mm_walk.
 * The default is @ACTION_SUBTREE.
 */
enum page_walk_action {
	ACTION_SUBTREE = 0,
	ACTION_CONTINUE = 1,
	ACTION_AGAIN = 2
};

/**
 * struct mm_walk - state of a walk that is passed to its operations
 * @ops: the operations
 * @mm: the mm that the page tables belong to
 * @pgd: the top table if it is not that of @mm, only used with @no_vma
 * @vma: the VMA that is walked, %NULL outside of VMAs
 * @action: may be set by operations, see &enum page_walk_action
 * @no_vma: the page tables are walked without regard to VMAs
 * @private: the argument of the caller
 *
 * Operations may write to @action and @private only.  walk_page_mapping() resets
 * @private to the argument of the caller for each VMA.  An operation that ends
 * the walk by its return value may change @vma as well.
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
 * Find folios of migration entries as well.  Such a folio is locked and is
 * being migrated or split.  It may be split, or replaced by another folio, at
 * any time: the page table lock does not prevent that.  Its location may be
 * used, but not its contents.  To use it after the walk, take a reference by
 * folio_try_get() and check which folio the page belongs to.
 */
#define FW_MIGRATION			((__force folio_walk_flags_t)BIT(0))

/* Find the shared zeropages, small and huge, as well. */
#define FW_ZEROPAGE			((__force folio_walk_flags_t)BIT(1))

/**
 * enum folio_walk_level - level of the entry that a folio walk has found
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
 * struct folio_walk - result of a successful folio_walk_start()
 * @page: the page at the address, %NULL for a shared zeropage
 * @level: the level of the entry, which selects a member of the unions
 * @ptep: pointer to the entry, at PTE level
 * @pudp: pointer to the entry, at PUD level
 * @pmdp: pointer to the entry, at PMD level
 * @pte: the entry as it was read under @ptl, at PTE level
 * @pud: the entry as it was read under @ptl, at PUD level
 * @pmd: the entry as it was read under @ptl, at PMD level
 * @ptl: the lock of the entry; it is held and keeps the entry from changing
 *
 * Valid from folio_walk_start() to folio_walk_end(), if a folio was found.
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
	spinlock_t *ptl;	/* keeps the entry from changing */
	/* private: the arguments and the result of the walk */
	folio_walk_flags_t flags;
	struct folio *folio;
};

struct folio *folio_walk_start(struct folio_walk *fw,
			       struct vm_area_struct *vma, unsigned long addr,
			       folio_walk_flags_t flags);

#ifdef CONFIG_MMU
/**
 * folio_walk_end - end a successful folio walk
 * @fw: the walk, which has found a folio
 * @vma: the VMA that was passed to folio_walk_start()
 *
 * The caller must not use the folio afterwards, unless it has taken a
 * reference.
 *
 * Context: Releases the page table lock and, in a hugetlb VMA, the hugetlb VMA
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
