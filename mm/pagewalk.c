// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page table walks.
 *
 * The first part of this file walks ranges.  walk_page_range() and the other
 * walkers check their arguments and locks, and initialise a struct mm_walk.
 * Then they call walk_vma_range(), or walk_pgds() for walks without VMAs.
 *
 * visit_entry() handles one entry of a table of any level.  The level in its
 * struct walk_pos is a compile-time constant, so that the compiler reduces the
 * switch statements of the functions that it calls to one case.
 *
 * The second part looks up single entries: folio_walk_start().
 */
#include <linux/pagewalk.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/leafops.h>
#include <linux/sched.h>

#include <asm/tlbflush.h>

#include "internal.h"

/**
 * struct walk_pos - pointer to an entry above the PTEs
 * @level: the level of the entry
 * @pgd: the entry, at PGTABLE_LEVEL_PGD
 * @p4d: the entry, at PGTABLE_LEVEL_P4D
 * @pud: the entry, at PGTABLE_LEVEL_PUD
 * @pmd: the entry, at PGTABLE_LEVEL_PMD
 */
struct walk_pos {
	enum pgtable_level level;
	union {
		pgd_t *pgd;
		p4d_t *p4d;
		pud_t *pud;
		pmd_t *pmd;
	};
};

static int walk_p4ds(p4d_t *p4d, unsigned long addr, unsigned long end,
		     struct mm_walk *walk);
static int walk_puds(pud_t *pud, unsigned long addr, unsigned long end,
		     struct mm_walk *walk);
static int walk_pmds(pmd_t *pmd, unsigned long addr, unsigned long end,
		     struct mm_walk *walk);
static int walk_ptes(pmd_t *pmd, unsigned long addr, unsigned long end,
		     struct mm_walk *walk);

static inline bool pud_is_table(pud_t pud)
{
	return pud_present(pud) && !pud_leaf(pud);
}

static inline bool pmd_is_table(pmd_t pmd)
{
	return pmd_present(pmd) && !pmd_leaf(pmd);
}

/*
 * The same for page tables of user memory.  They have no huge entries without
 * CONFIG_PGTABLE_HAS_HUGE_LEAVES, while page tables of the kernel may have.
 */
static inline bool user_pud_is_table(pud_t pud)
{
	return !IS_ENABLED(CONFIG_PGTABLE_HAS_HUGE_LEAVES) || pud_is_table(pud);
}

static inline bool user_pmd_is_table(pmd_t pmd)
{
	return !IS_ENABLED(CONFIG_PGTABLE_HAS_HUGE_LEAVES) || pmd_is_table(pmd);
}

/* Number of entries in a table of this level; 1 if the level is folded. */
static __always_inline unsigned long entries_per_table(enum pgtable_level level)
{
	switch (level) {
	case PGTABLE_LEVEL_P4D:
		return PTRS_PER_P4D;
	case PGTABLE_LEVEL_PUD:
		return PTRS_PER_PUD;
	case PGTABLE_LEVEL_PMD:
		return PTRS_PER_PMD;
	default:
		return PTRS_PER_PGD;
	}
}

/*
 * The depth of an empty entry for ->pte_hole().  An entry of a folded level has
 * the depth of the level above.
 */
static __always_inline int hole_depth(enum pgtable_level level)
{
	while (level < PGTABLE_LEVEL_PGD && entries_per_table(level) == 1)
		level++;
	return PGTABLE_LEVEL_PGD - level;
}

/* The end of the range of this entry, or @end if that is lower. */
static __always_inline unsigned long
entry_end(enum pgtable_level level, unsigned long addr, unsigned long end)
{
	switch (level) {
	case PGTABLE_LEVEL_PGD:
		return pgd_addr_end(addr, end);
	case PGTABLE_LEVEL_P4D:
		return p4d_addr_end(addr, end);
	case PGTABLE_LEVEL_PUD:
		return pud_addr_end(addr, end);
	default:
		return pmd_addr_end(addr, end);
	}
}

static __always_inline struct walk_pos next_entry(struct walk_pos pos)
{
	switch (pos.level) {
	case PGTABLE_LEVEL_PGD:
		pos.pgd++;
		break;
	case PGTABLE_LEVEL_P4D:
		pos.p4d++;
		break;
	case PGTABLE_LEVEL_PUD:
		pos.pud++;
		break;
	default:
		pos.pmd++;
		break;
	}
	return pos;
}

/*
 * PUDs and PMDs may contain huge pages and non-present entries, and may change
 * at any time.  At the levels above, any entry that is not a table is corrupt.
 */
static __always_inline bool entry_is_empty(struct walk_pos pos)
{
	switch (pos.level) {
	case PGTABLE_LEVEL_PGD:
		return pgd_none_or_clear_bad(pos.pgd);
	case PGTABLE_LEVEL_P4D:
		return p4d_none_or_clear_bad(pos.p4d);
	case PGTABLE_LEVEL_PUD:
		return pud_none(pudp_get(pos.pud));
	default:
		return pmd_none(pmdp_get_lockless(pos.pmd));
	}
}

/* Allocate a table for an empty entry, unless another task has done so. */
static __always_inline int fill_entry(struct walk_pos pos, unsigned long addr,
				      struct mm_struct *mm)
{
	switch (pos.level) {
	case PGTABLE_LEVEL_PGD:
		return __p4d_alloc(mm, pos.pgd, addr);
	case PGTABLE_LEVEL_P4D:
		return __pud_alloc(mm, pos.p4d, addr);
	case PGTABLE_LEVEL_PUD:
		return __pmd_alloc(mm, pos.pud, addr);
	default:
		return __pte_alloc(mm, pos.pmd);
	}
}

static __always_inline int show_entry(struct walk_pos pos, unsigned long addr,
				      unsigned long next, struct mm_walk *walk)
{
	const struct mm_walk_ops *ops = walk->ops;

	switch (pos.level) {
	case PGTABLE_LEVEL_PGD:
		return ops->pgd_entry ?
			ops->pgd_entry(pos.pgd, addr, next, walk) : 0;
	case PGTABLE_LEVEL_P4D:
		return ops->p4d_entry ?
			ops->p4d_entry(pos.p4d, addr, next, walk) : 0;
	case PGTABLE_LEVEL_PUD:
		return ops->pud_entry ?
			ops->pud_entry(pos.pud, addr, next, walk) : 0;
	default:
		return ops->pmd_entry ?
			ops->pmd_entry(pos.pmd, addr, next, walk) : 0;
	}
}

/*
 * Make sure that the PUD points to a table of PMDs, and split a huge PUD if
 * necessary.  A table of PMDs is not removed during the walk.  A huge PUD that
 * has been split is empty, and may be huge again after another fault: visit it
 * again then.  Also visit an entry again that has become empty if
 * ->install_pte() has to fill it.
 */
static bool open_pud(pud_t *pud, unsigned long addr, struct mm_walk *walk)
{
	const struct mm_walk_ops *ops = walk->ops;
	pud_t entry = pudp_get(pud);

	if (likely(pud_is_table(entry)))
		return true;
	if (walk->no_vma)
		return false;
	/* There is only ->install_pte(), and a huge page has no empty entries. */
	if (!ops->pmd_entry && !ops->pte_entry) {
		if (pud_none(entry))
			walk->action = ACTION_AGAIN;
		return false;
	}

	split_huge_pud(walk->vma, pud, addr);
	if (pud_is_table(pudp_get(pud)))
		return true;
	walk->action = ACTION_AGAIN;
	return false;
}

/*
 * Split a huge PMD if necessary.  The table of PTEs may be removed at any time,
 * so walk_ptes() checks whether it exists.
 */
static bool open_pmd(pmd_t *pmd, unsigned long addr, struct mm_walk *walk)
{
	pmd_t entry = pmdp_get_lockless(pmd);

	if (likely(pmd_is_table(entry)))
		return true;
	if (walk->no_vma)
		return false;
	if (!walk->ops->pte_entry) {
		if (pmd_none(entry))
			walk->action = ACTION_AGAIN;
		return false;
	}

	split_huge_pmd(walk->vma, pmd, addr);
	return true;
}

/* Returns whether to walk the table below this entry. */
static __always_inline bool open_entry(struct walk_pos pos, unsigned long addr,
				       struct mm_walk *walk)
{
	if (walk->lowest >= pos.level)
		return false;

	switch (pos.level) {
	case PGTABLE_LEVEL_PUD:
		return open_pud(pos.pud, addr, walk);
	case PGTABLE_LEVEL_PMD:
		return open_pmd(pos.pmd, addr, walk);
	default:
		return true;
	}
}

static __always_inline int walk_below(struct walk_pos pos, unsigned long addr,
				      unsigned long end, struct mm_walk *walk)
{
	switch (pos.level) {
	case PGTABLE_LEVEL_PGD:
		return walk_p4ds(p4d_offset(pos.pgd, addr), addr, end, walk);
	case PGTABLE_LEVEL_P4D:
		return walk_puds(pud_offset(pos.p4d, addr), addr, end, walk);
	case PGTABLE_LEVEL_PUD:
		return walk_pmds(pmd_offset(pos.pud, addr), addr, end, walk);
	default:
		return walk_ptes(pos.pmd, addr, end, walk);
	}
}

/*
 * Visit one entry of any level, and all entries below it.  If this returns 0
 * and walk->action is ACTION_AGAIN, the entry must be visited again.
 */
static __always_inline int visit_entry(struct walk_pos pos, unsigned long addr,
				       unsigned long next, struct mm_walk *walk)
{
	const struct mm_walk_ops *ops = walk->ops;
	int err;

	walk->action = ACTION_SUBTREE;
	if (entry_is_empty(pos)) {
		if (!ops->install_pte)
			return ops->pte_hole ?
				ops->pte_hole(addr, next, hole_depth(pos.level),
					      walk) : 0;
		err = fill_entry(pos, addr, walk->mm);
		if (err)
			return err;
	}

	err = show_entry(pos, addr, next, walk);
	if (err || walk->action != ACTION_SUBTREE ||
	    !open_entry(pos, addr, walk))
		return err;
	return walk_below(pos, addr, next, walk);
}

/* Visit the entries of one table from @pos on, up to @end. */
static __always_inline int walk_table(struct walk_pos pos, unsigned long addr,
				      unsigned long end, struct mm_walk *walk)
{
	unsigned long next;
	int err;

	for (;;) {
		next = entry_end(pos.level, addr, end);
		err = visit_entry(pos, addr, next, walk);
		if (err)
			return err;
		if (unlikely(walk->action == ACTION_AGAIN))
			continue;
		if (next == end)
			return 0;
		pos = next_entry(pos);
		addr = next;
	}
}

static int walk_pgds(unsigned long addr, unsigned long end,
		     struct mm_walk *walk)
{
	struct walk_pos pos = { .level = PGTABLE_LEVEL_PGD };

	if (walk->pgd)
		pos.pgd = pgd_offset_pgd(walk->pgd, addr);
	else
		pos.pgd = pgd_offset(walk->mm, addr);
	return walk_table(pos, addr, end, walk);
}

static int walk_p4ds(p4d_t *p4d, unsigned long addr, unsigned long end,
		     struct mm_walk *walk)
{
	struct walk_pos pos = { .level = PGTABLE_LEVEL_P4D, .p4d = p4d };

	return walk_table(pos, addr, end, walk);
}

static int walk_puds(pud_t *pud, unsigned long addr, unsigned long end,
		     struct mm_walk *walk)
{
	struct walk_pos pos = { .level = PGTABLE_LEVEL_PUD, .pud = pud };

	return walk_table(pos, addr, end, walk);
}

static int walk_pmds(pmd_t *pmd, unsigned long addr, unsigned long end,
		     struct mm_walk *walk)
{
	struct walk_pos pos = { .level = PGTABLE_LEVEL_PMD, .pmd = pmd };

	return walk_table(pos, addr, end, walk);
}

static int install_pte(pte_t *ptep, unsigned long addr, struct mm_walk *walk)
{
	pte_t pte;
	int err;

	err = walk->ops->install_pte(addr, addr + PAGE_SIZE, &pte, walk);
	if (err)
		return err;

	set_pte_at(walk->mm, addr, ptep, pte);
	/* Some architectures need this call even if no entry was present before. */
	update_mmu_cache(walk->vma, addr, ptep);
	return 0;
}

static int install_or_show_ptes(pte_t *pte, pte_t *stop, unsigned long addr,
				struct mm_walk *walk)
{
	const struct mm_walk_ops *ops = walk->ops;
	int err;

	do {
		err = 0;
		if (pte_none(ptep_get(pte)))
			err = install_pte(pte, addr, walk);
		else if (ops->pte_entry)
			err = ops->pte_entry(pte, addr, addr + PAGE_SIZE, walk);
		addr += PAGE_SIZE;
	} while (!err && ++pte != stop);
	return err;
}

static int visit_ptes(pte_t *pte, unsigned long addr, unsigned long end,
		      struct mm_walk *walk)
{
	/* Count entries: @end may be the last byte of the address space. */
	pte_t *stop = pte + DIV_ROUND_UP(end - addr, PAGE_SIZE);
	int err;

	if (unlikely(walk->ops->install_pte))
		return install_or_show_ptes(pte, stop, addr, walk);

	do {
		err = walk->ops->pte_entry(pte, addr, addr + PAGE_SIZE, walk);
		addr += PAGE_SIZE;
	} while (!err && ++pte != stop);
	return err;
}

/*
 * Without VMAs, the page tables may be those of firmware, of another mm, or of
 * espfix on x86, which pte_offset_map() would consider corrupt and clear.  So
 * pte_offset_map() is used for user addresses only.  The PTEs are not locked,
 * because such a page table may not have a lock.
 */
static int walk_ptes_unlocked(pmd_t *pmd, unsigned long addr,
			      unsigned long end, struct mm_walk *walk)
{
	pte_t *pte;
	int err;

	if (walk->mm == &init_mm || addr >= TASK_SIZE)
		return visit_ptes(pte_offset_kernel(pmd, addr), addr, end,
				  walk);

	pte = pte_offset_map(pmd, addr);
	if (!pte) {
		walk->action = ACTION_AGAIN;
		return 0;
	}
	err = visit_ptes(pte, addr, end, walk);
	pte_unmap(pte);
	return err;
}

static int walk_ptes(pmd_t *pmd, unsigned long addr, unsigned long end,
		     struct mm_walk *walk)
{
	spinlock_t *ptl;	/* keeps the PTEs as they are shown */
	pte_t *pte;
	int err;

	if (walk->no_vma)
		return walk_ptes_unlocked(pmd, addr, end, walk);

	pte = pte_offset_map_lock(walk->mm, pmd, addr, &ptl);
	if (unlikely(!pte)) {
		walk->action = ACTION_AGAIN;
		return 0;
	}
	err = visit_ptes(pte, addr, end, walk);
	pte_unmap_unlock(pte, ptl);
	return err;
}

static int walk_hugetlb_range(unsigned long addr, unsigned long end,
			      struct mm_walk *walk)
{
	struct hstate *h = hstate_vma(walk->vma);
	unsigned long hmask = huge_page_mask(h);
	unsigned long size = huge_page_size(h);
	unsigned long next;
	int err = 0;
	pte_t *pte;

	hugetlb_vma_lock_read(walk->vma);
	for (; addr != end && !err; addr = next) {
		next = min((addr & hmask) + size, end);
		pte = hugetlb_walk(walk->vma, addr & hmask, size);
		if (pte)
			err = walk->ops->hugetlb_entry(pte, hmask, addr, next,
						       walk);
		else if (walk->ops->pte_hole)
			err = walk->ops->pte_hole(addr, next, -1, walk);
	}
	hugetlb_vma_unlock_read(walk->vma);
	return err;
}

/*
 * Decide whether this VMA is walked.  The return value is that of
 * ->test_walk(): 0 means yes, a positive value no, and a negative value ends
 * the walk.
 *
 * A PFN mapping may have no struct pages, which most operations need.  So it is
 * walked only if there is a ->test_walk() that returns 0.  Otherwise
 * ->pte_hole() is called for it.
 */
static int walk_vma_test(unsigned long start, unsigned long end,
			 struct mm_walk *walk)
{
	const struct mm_walk_ops *ops = walk->ops;
	int err = 0;

	if (ops->test_walk)
		return ops->test_walk(start, end, walk);
	if (likely(!(walk->vma->vm_flags & VM_PFNMAP)))
		return 0;
	if (ops->pte_hole)
		err = ops->pte_hole(start, end, -1, walk);
	return err ?: 1;
}

static int walk_vma_range(unsigned long start, unsigned long end,
			  struct mm_walk *walk)
{
	const struct mm_walk_ops *ops = walk->ops;
	bool hugetlb = is_vm_hugetlb_page(walk->vma);
	int err = 0;

	if (hugetlb && ops->install_pte)
		return -EINVAL;

	if (ops->pre_vma) {
		err = ops->pre_vma(start, end, walk);
		if (err)
			return err;
	}

	if (!hugetlb)
		err = walk_pgds(start, end, walk);
	else if (ops->hugetlb_entry)
		err = walk_hugetlb_range(start, end, walk);

	if (ops->post_vma)
		ops->post_vma(walk);
	return err;
}

static void assert_mm_lock(struct mm_struct *mm, enum page_walk_lock lock)
{
	switch (lock) {
	case PGWALK_RDLOCK:
		mmap_assert_locked(mm);
		break;
	case PGWALK_WRLOCK:
	case PGWALK_WRLOCK_VERIFY:
		mmap_assert_write_locked(mm);
		break;
	case PGWALK_VMA_RDLOCK_VERIFY:
		break;
	}
}

static void take_or_assert_vma_lock(struct vm_area_struct *vma,
				    enum page_walk_lock lock)
{
	switch (lock) {
	case PGWALK_RDLOCK:
		break;
	case PGWALK_WRLOCK:
		vma_start_write(vma);
		break;
	case PGWALK_WRLOCK_VERIFY:
		vma_assert_write_locked(vma);
		break;
	case PGWALK_VMA_RDLOCK_VERIFY:
		vma_assert_locked(vma);
		break;
	}
}

/* The lowest level that there is an operation for. */
static enum pgtable_level lowest_level(const struct mm_walk_ops *ops)
{
	if (ops->pte_entry || ops->install_pte)
		return PGTABLE_LEVEL_PTE;
	if (ops->pmd_entry)
		return PGTABLE_LEVEL_PMD;
	if (ops->pud_entry)
		return PGTABLE_LEVEL_PUD;
	return ops->p4d_entry ? PGTABLE_LEVEL_P4D : PGTABLE_LEVEL_PGD;
}

static struct mm_walk init_walk(struct mm_struct *mm,
				const struct mm_walk_ops *ops, void *private)
{
	return (struct mm_walk) {
		.ops = ops,
		.mm = mm,
		.private = private,
		.lowest = lowest_level(ops),
	};
}

/*
 * Only the mm core may install PTEs, by the walkers with a name that ends in
 * _unsafe.
 */
static bool ops_are_safe(const struct mm_walk_ops *ops)
{
	return !ops->install_pte;
}

/* Walk a range in walk->vma, or between VMAs if walk->vma is NULL. */
static int walk_mm_section(unsigned long start, unsigned long end,
			   struct mm_walk *walk)
{
	const struct mm_walk_ops *ops = walk->ops;
	int err;

	if (!walk->vma)
		return ops->pte_hole ? ops->pte_hole(start, end, -1, walk) : 0;

	take_or_assert_vma_lock(walk->vma, ops->walk_lock);
	err = walk_vma_test(start, end, walk);
	if (err)
		return min(err, 0);
	return walk_vma_range(start, end, walk);
}

/**
 * walk_page_range_mm_unsafe - walk_page_range() that can install PTEs
 * @mm: the mm that the page tables belong to
 * @start: first address
 * @end: first address after the range
 * @ops: the operations, including &mm_walk_ops.install_pte
 * @private: passed to the operations
 *
 * Only for the mm core.
 *
 * Context: Process context, with the locks held that @ops->walk_lock requires.
 * Return: 0, the non-zero value of the operation that ended the walk, or
 * -EINVAL for an empty range, no @mm, or &mm_walk_ops.install_pte in a hugetlb
 * VMA.
 */
int walk_page_range_mm_unsafe(struct mm_struct *mm, unsigned long start,
			      unsigned long end,
			      const struct mm_walk_ops *ops, void *private)
{
	struct mm_walk walk = init_walk(mm, ops, private);
	struct vm_area_struct *vma;
	unsigned long next;
	bool in_vma;
	int err;

	if (start >= end || !mm)
		return -EINVAL;
	assert_mm_lock(mm, ops->walk_lock);

	vma = find_vma(mm, start);
	for (;;) {
		in_vma = vma && vma->vm_start <= start;
		if (in_vma)
			next = min(vma->vm_end, end);
		else
			next = vma ? min(vma->vm_start, end) : end;

		walk.vma = in_vma ? vma : NULL;
		err = walk_mm_section(start, next, &walk);
		if (err || next == end)
			return err;
		/* An operation may have changed walk.vma, so do not use it. */
		if (in_vma)
			vma = find_vma(mm, next);
		start = next;
	}
}

/**
 * walk_page_range - walk the page tables of a range of an address space
 * @mm: the mm that the page tables belong to
 * @start: first address
 * @end: first address after the range
 * @ops: the operations, without &mm_walk_ops.install_pte
 * @private: passed to the operations as &mm_walk.private
 *
 * Visits the VMAs of the range in ascending order, and the page tables of each
 * VMA from the top level down.  An entry is visited before the table below it.
 * Levels below the lowest one that has an operation are not read.  A huge entry
 * is split if there is an operation for a lower level, unless the operation for
 * the entry sets %ACTION_CONTINUE.  See &struct mm_walk_ops for the operations
 * and their return values.
 *
 * Most operations are called without a page table lock, so the entry may change
 * at any time.  If a table of PTEs is removed, the PMD entry is visited again.
 *
 * Context: Process context.  The locks that @ops->walk_lock requires must be
 * held until the walk has ended.
 * Return: 0, the non-zero value of the operation that ended the walk, or
 * -EINVAL if an argument is not valid.
 */
int walk_page_range(struct mm_struct *mm, unsigned long start,
		    unsigned long end, const struct mm_walk_ops *ops,
		    void *private)
{
	if (!ops_are_safe(ops))
		return -EINVAL;
	return walk_page_range_mm_unsafe(mm, start, end, ops, private);
}

/* Walk page tables without VMAs. */
static int walk_without_vma(struct mm_walk walk, pgd_t *pgd,
			    unsigned long start, unsigned long end)
{
	if (start >= end || !ops_are_safe(walk.ops))
		return -EINVAL;

	walk.pgd = pgd;
	walk.no_vma = true;
	return walk_pgds(start, end, &walk);
}

/**
 * walk_kernel_page_table_range_lockless - walk page tables without a lock
 * @start: first address
 * @end: first address after the range
 * @ops: the operations, without &mm_walk_ops.install_pte
 * @pgd: top table to use instead of that of init_mm, or %NULL
 * @private: passed to the operations
 *
 * walk_kernel_page_table_range() for callers that have exclusive access to the
 * range, such as the owner of a vmalloc area that changes its protection.
 *
 * Context: Any that the operations allow.  The caller must prevent concurrent
 * changes of the page tables of the range.
 * Return: See walk_page_range().
 */
int walk_kernel_page_table_range_lockless(unsigned long start,
					  unsigned long end,
					  const struct mm_walk_ops *ops,
					  pgd_t *pgd, void *private)
{
	return walk_without_vma(init_walk(&init_mm, ops, private), pgd,
				start, end);
}

/**
 * walk_kernel_page_table_range - walk page tables of the kernel
 * @start: first address
 * @end: first address after the range
 * @ops: the operations, without &mm_walk_ops.install_pte
 * @pgd: top table to use instead of that of init_mm, or %NULL
 * @private: passed to the operations
 *
 * Does not use VMAs: huge entries are not split, so only the operation for
 * their level is called.  &mm_walk_ops.pte_entry is called without the PTE
 * lock.
 *
 * The mmap lock of init_mm keeps most page tables of the kernel from being
 * freed, but not those that memory hot-remove frees.  If the range may contain
 * such memory, the caller must exclude memory hot-remove.
 *
 * Context: Process context, with the mmap lock of init_mm held.
 * Return: See walk_page_range().
 */
int walk_kernel_page_table_range(unsigned long start, unsigned long end,
				 const struct mm_walk_ops *ops, pgd_t *pgd,
				 void *private)
{
	mmap_assert_locked(&init_mm);
	return walk_kernel_page_table_range_lockless(start, end, ops, pgd,
						     private);
}

/**
 * walk_page_range_debug - walk the page tables of any mm, for debugging
 * @mm: the mm that the page tables belong to; may be that of the kernel or of
 *	firmware
 * @start: first address
 * @end: first address after the range
 * @ops: the operations, without &mm_walk_ops.install_pte
 * @pgd: top table to use instead of that of @mm, or %NULL
 * @private: passed to the operations
 *
 * Like walk_kernel_page_table_range(), but for any mm.  Used by ptdump.
 *
 * munmap() frees user page tables while it holds the mmap lock shared, and
 * mapping a huge page in vmalloc space frees the table that it replaces.  The
 * former is excluded by the mmap lock of @mm, the latter by that of init_mm,
 * which is needed because every @mm maps the kernel as well.
 *
 * Context: Process context, with the mmap locks of @mm and of init_mm held
 * exclusively.
 * Return: See walk_page_range().
 */
int walk_page_range_debug(struct mm_struct *mm, unsigned long start,
			  unsigned long end, const struct mm_walk_ops *ops,
			  pgd_t *pgd, void *private)
{
	mmap_assert_write_locked(mm);
	mmap_assert_write_locked(&init_mm);
	return walk_without_vma(init_walk(mm, ops, private), pgd, start, end);
}

/**
 * walk_page_range_vma_unsafe - walk_page_range_vma() that can install PTEs
 * @vma: the VMA
 * @start: first address
 * @end: first address after the range
 * @ops: the operations, including &mm_walk_ops.install_pte
 * @private: passed to the operations
 *
 * Only for the mm core.
 *
 * Context: Process context, with the locks held that @ops->walk_lock requires.
 * Return: See walk_page_range_mm_unsafe(); -EINVAL also for a range that is not
 * within @vma.
 */
int walk_page_range_vma_unsafe(struct vm_area_struct *vma,
			       unsigned long start, unsigned long end,
			       const struct mm_walk_ops *ops, void *private)
{
	struct mm_walk walk = init_walk(vma->vm_mm, ops, private);

	if (start >= end || !walk.mm)
		return -EINVAL;
	if (start < vma->vm_start || end > vma->vm_end)
		return -EINVAL;

	assert_mm_lock(walk.mm, ops->walk_lock);
	take_or_assert_vma_lock(vma, ops->walk_lock);
	walk.vma = vma;
	return walk_vma_range(start, end, &walk);
}

/**
 * walk_page_range_vma - walk the page tables of a part of a VMA
 * @vma: the VMA
 * @start: first address
 * @end: first address after the range
 * @ops: the operations, without &mm_walk_ops.install_pte
 * @private: passed to the operations
 *
 * &mm_walk_ops.test_walk is not called, and a PFN mapping is walked like any
 * other, because the caller has chosen @vma.
 *
 * Context: Process context, with the locks held that @ops->walk_lock requires.
 * Return: See walk_page_range(); -EINVAL also for a range that is not within
 * @vma.
 */
int walk_page_range_vma(struct vm_area_struct *vma, unsigned long start,
			unsigned long end, const struct mm_walk_ops *ops,
			void *private)
{
	if (!ops_are_safe(ops))
		return -EINVAL;
	return walk_page_range_vma_unsafe(vma, start, end, ops, private);
}

/**
 * walk_page_vma - walk the page tables of a VMA
 * @vma: the VMA
 * @ops: the operations, without &mm_walk_ops.install_pte
 * @private: passed to the operations
 *
 * Like walk_page_range_vma() for the whole range of @vma.
 *
 * Context: Process context, with the locks held that @ops->walk_lock requires.
 * Return: See walk_page_range().
 */
int walk_page_vma(struct vm_area_struct *vma, const struct mm_walk_ops *ops,
		  void *private)
{
	return walk_page_range_vma(vma, vma->vm_start, vma->vm_end, ops,
				   private);
}

/* Walk the part of walk->vma that maps the pages @first to @last of a file. */
static int walk_mapped_section(pgoff_t first, pgoff_t last,
			       struct mm_walk *walk)
{
	struct vm_area_struct *vma = walk->vma;
	pgoff_t pgoff = vma_start_pgoff(vma);
	unsigned long start, end;
	int err;

	first = max(first, pgoff);
	last = min(last, vma_last_pgoff(vma));
	start = vma->vm_start + ((first - pgoff) << PAGE_SHIFT);
	end = vma->vm_start + ((last - pgoff + 1) << PAGE_SHIFT);

	err = walk_vma_test(start, end, walk);
	if (err)
		return min(err, 0);
	return walk_vma_range(start, end, walk);
}

/**
 * walk_page_mapping - walk the page tables of all mappings of a file range
 * @mapping: the mapping of the file
 * @first_index: index of the first page
 * @nr: number of pages
 * @ops: the operations, without &mm_walk_ops.install_pte
 * @private: passed to the operations
 *
 * Walks every VMA of any mm that maps some of the pages.  Only the part of the
 * VMA that maps them is walked, but a huge entry that is partly outside is
 * visited as well.  The range ends at the last possible index if it would
 * exceed it.
 *
 * i_mmap_rwsem keeps the VMAs from being freed.  The mmap locks are not held,
 * and operations must not take one, because it comes before i_mmap_rwsem in the
 * lock order.  So VMA flags that can be changed may change during the walk.
 * &mm_walk_ops.walk_lock has no effect.
 *
 * Context: Process context, with @mapping->i_mmap_rwsem held.
 * Return: See walk_page_range().
 */
int walk_page_mapping(struct address_space *mapping, pgoff_t first_index,
		      pgoff_t nr, const struct mm_walk_ops *ops, void *private)
{
	pgoff_t last_index = first_index + nr - 1;
	struct vm_area_struct *vma;
	int err;

	if (!ops_are_safe(ops))
		return -EINVAL;
	lockdep_assert_held(&mapping->i_mmap_rwsem);
	if (!nr)
		return 0;
	if (last_index < first_index)
		last_index = ULONG_MAX;

	mapping_rmap_tree_foreach(vma, mapping, first_index, last_index) {
		struct mm_walk walk = init_walk(vma->vm_mm, ops, private);

		walk.vma = vma;
		err = walk_mapped_section(first_index, last_index, &walk);
		if (err)
			return err;
	}
	return 0;
}

/*
 * The folio walk has one function for each level.  It reads the entry.  If that
 * is not a table, it takes the lock and reads the entry again, which cannot
 * change from then on.  If it has become a table in the meantime, the walk
 * continues at the level below.
 */
enum folio_walk_step {
	FW_STEP_NOTHING,	/* no folio, and no lock held */
	FW_STEP_FOUND,		/* fw->folio was found, with fw->ptl held */
	FW_STEP_TABLE,		/* continue at the level below, no lock held */
};

static enum folio_walk_step folio_walk_found(struct folio_walk *fw,
					     struct page *page)
{
	fw->folio = page_folio(page);
	fw->page = page;
	return FW_STEP_FOUND;
}

/* A shared zeropage: callers must not get a pointer to it in fw->page. */
static enum folio_walk_step folio_walk_found_zero(struct folio_walk *fw,
						  unsigned long pfn)
{
	fw->folio = pfn_folio(pfn);
	fw->page = NULL;
	return FW_STEP_FOUND;
}

/* The page at @offset bytes of a migration entry, NULL for any other entry. */
static struct page *migration_entry_page(softleaf_t entry, unsigned long offset)
{
	if (!softleaf_is_migration(entry))
		return NULL;
	return softleaf_to_page(entry) + (offset >> PAGE_SHIFT);
}

/*
 * The entries of hugetlb have the format of a PTE at all levels.  If one huge
 * page is mapped by several entries, the architecture decides which page of it
 * each migration entry refers to, so compute the page from the address.
 */
static struct page *hugetlb_migration_entry_page(struct vm_area_struct *vma,
						 void *entryp, unsigned long addr)
{
	pte_t pte = huge_ptep_get(vma->vm_mm, addr, entryp);
	struct page *page = migration_entry_page(softleaf_from_pte(pte), 0);

	if (!page)
		return NULL;
	return folio_page(page_folio(page),
			  (addr & ~huge_page_mask(hstate_vma(vma))) >> PAGE_SHIFT);
}

static struct page *folio_walk_pud_page(struct folio_walk *fw,
					struct vm_area_struct *vma,
					unsigned long addr)
{
	struct page *page;

	if (pud_present(fw->pud)) {
		page = pud_leaf(fw->pud) ?
			vm_normal_page_pud(vma, addr, fw->pud) : NULL;
		return page ? page + ((addr & ~PUD_MASK) >> PAGE_SHIFT) : NULL;
	}
	if (!(fw->flags & FW_MIGRATION) || !is_vm_hugetlb_page(vma))
		return NULL;
	return hugetlb_migration_entry_page(vma, fw->pudp, addr);
}

static enum folio_walk_step folio_walk_pud(struct folio_walk *fw,
					   struct vm_area_struct *vma,
					   pud_t *pudp, unsigned long addr)
{
	pud_t pud = pudp_get(pudp);
	struct page *page;

	if (pud_none(pud))
		return FW_STEP_NOTHING;
	if (likely(user_pud_is_table(pud)))
		return FW_STEP_TABLE;

	fw->ptl = pud_lock(vma->vm_mm, pudp);
	fw->level = FW_LEVEL_PUD;
	fw->pudp = pudp;
	fw->pud = pudp_get(pudp);

	page = folio_walk_pud_page(fw, vma, addr);
	if (page)
		return folio_walk_found(fw, page);
	spin_unlock(fw->ptl);
	return user_pud_is_table(fw->pud) ? FW_STEP_TABLE : FW_STEP_NOTHING;
}

static struct page *folio_walk_pmd_page(struct folio_walk *fw,
					struct vm_area_struct *vma,
					unsigned long addr)
{
	struct page *page;

	if (pmd_present(fw->pmd)) {
		page = pmd_leaf(fw->pmd) ?
			vm_normal_page_pmd(vma, addr, fw->pmd) : NULL;
		return page ? page + ((addr & ~PMD_MASK) >> PAGE_SHIFT) : NULL;
	}
	if (!(fw->flags & FW_MIGRATION))
		return NULL;
	if (is_vm_hugetlb_page(vma))
		return hugetlb_migration_entry_page(vma, fw->pmdp, addr);
	return migration_entry_page(softleaf_from_pmd(fw->pmd), addr & ~PMD_MASK);
}

static enum folio_walk_step folio_walk_pmd(struct folio_walk *fw,
					   struct vm_area_struct *vma,
					   pmd_t *pmdp, unsigned long addr)
{
	pmd_t pmd = pmdp_get_lockless(pmdp);
	struct page *page;

	if (pmd_none(pmd))
		return FW_STEP_NOTHING;
	if (likely(user_pmd_is_table(pmd)))
		return FW_STEP_TABLE;

	fw->ptl = pmd_lock(vma->vm_mm, pmdp);
	fw->level = FW_LEVEL_PMD;
	fw->pmdp = pmdp;
	fw->pmd = pmdp_get(pmdp);

	page = folio_walk_pmd_page(fw, vma, addr);
	if (page)
		return folio_walk_found(fw, page);
	if ((fw->flags & FW_ZEROPAGE) && is_huge_zero_pmd(fw->pmd))
		return folio_walk_found_zero(fw, pmd_pfn(fw->pmd));
	spin_unlock(fw->ptl);
	return user_pmd_is_table(fw->pmd) ? FW_STEP_TABLE : FW_STEP_NOTHING;
}

static struct page *folio_walk_pte_page(struct folio_walk *fw,
					struct vm_area_struct *vma,
					unsigned long addr)
{
	if (likely(pte_present(fw->pte)))
		return vm_normal_page(vma, addr, fw->pte);
	if (!(fw->flags & FW_MIGRATION))
		return NULL;
	if (is_vm_hugetlb_page(vma))
		return hugetlb_migration_entry_page(vma, fw->ptep, addr);
	return migration_entry_page(softleaf_from_pte(fw->pte), 0);
}

/* There is no level below: FW_STEP_TABLE means that the page table was removed. */
static enum folio_walk_step folio_walk_pte(struct folio_walk *fw,
					   struct vm_area_struct *vma,
					   pmd_t *pmdp, unsigned long addr)
{
	struct page *page;
	pte_t *ptep;

	ptep = pte_offset_map_lock(vma->vm_mm, pmdp, addr, &fw->ptl);
	if (unlikely(!ptep))
		return FW_STEP_TABLE;
	fw->level = FW_LEVEL_PTE;
	fw->ptep = ptep;
	fw->pte = ptep_get(ptep);

	page = folio_walk_pte_page(fw, vma, addr);
	if (page)
		return folio_walk_found(fw, page);
	if ((fw->flags & FW_ZEROPAGE) && pte_present(fw->pte) &&
	    is_zero_pfn(pte_pfn(fw->pte)))
		return folio_walk_found_zero(fw, pte_pfn(fw->pte));
	pte_unmap_unlock(ptep, fw->ptl);
	return FW_STEP_NOTHING;
}

static enum folio_walk_step folio_walk_tables(struct folio_walk *fw,
					      struct vm_area_struct *vma,
					      unsigned long addr)
{
	enum folio_walk_step step;
	pgd_t *pgd;
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (WARN_ON_ONCE(addr < vma->vm_start || addr >= vma->vm_end))
		return FW_STEP_NOTHING;
	pgd = pgd_offset(vma->vm_mm, addr);
	if (pgd_none_or_clear_bad(pgd))
		return FW_STEP_NOTHING;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none_or_clear_bad(p4d))
		return FW_STEP_NOTHING;
	pud = pud_offset(p4d, addr);
	step = folio_walk_pud(fw, vma, pud, addr);
	if (step != FW_STEP_TABLE)
		return step;

	/* A table of PMDs is not removed, but a table of PTEs may be. */
	pmd = pmd_offset(pud, addr);
	do {
		step = folio_walk_pmd(fw, vma, pmd, addr);
		if (step == FW_STEP_TABLE)
			step = folio_walk_pte(fw, vma, pmd, addr);
	} while (unlikely(step == FW_STEP_TABLE));
	return step;
}

/**
 * folio_walk_start - look up the folio that is mapped at an address
 * @fw: receives the result
 * @vma: the VMA
 * @addr: an address in @vma
 * @flags: %FW_ZEROPAGE, %FW_MIGRATION, both, or 0
 *
 * Finds the page table entry for @addr at any level, and returns with its lock
 * held, so that it does not change before folio_walk_end().  The folio may be
 * mapped by other entries as well.  The entry may map more than the page at
 * @addr, which is @fw->page.
 *
 * Only folios are found for which vm_normal_page() returns a page.
 * %FW_ZEROPAGE adds the shared zeropages, for which @fw->page is %NULL.
 * %FW_MIGRATION adds folios of migration entries.  These may be split or
 * replaced although the entry is locked, see %FW_MIGRATION.
 *
 * This does not replace get_user_pages(): access rights are not checked, and
 * the folio is not protected against copy-on-write.  A reference may be taken
 * for a short time only, and never for DMA or in order to write to the page.
 *
 * The entry should not be changed.  In a hugetlb VMA it must not be: the page
 * table may be shared with other mms, and a huge page may be mapped by several
 * entries that must be changed together, of which @fw refers to one only.
 *
 * Context: The mmap lock of the mm is held.  May sleep for the hugetlb VMA
 * lock, which is held until folio_walk_end() as well.  The caller must not
 * sleep between a success and folio_walk_end().
 * Return: The folio, or %NULL if there is none or if @flags do not include it.
 * folio_walk_end() must not be called after %NULL.
 */
struct folio *folio_walk_start(struct folio_walk *fw,
			       struct vm_area_struct *vma, unsigned long addr,
			       folio_walk_flags_t flags)
{
	mmap_assert_locked(vma->vm_mm);

	fw->flags = flags;
	vma_pgtable_walk_begin(vma);
	if (folio_walk_tables(fw, vma, addr) == FW_STEP_FOUND)
		return fw->folio;
	vma_pgtable_walk_end(vma);
	return NULL;
}
