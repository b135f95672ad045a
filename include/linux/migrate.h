/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interface of page migration for the rest of the kernel.
 *
 * Documentation/mm/page_migration.rst is an overview, mm/migrate.h describes
 * the implementation.
 */
#ifndef _LINUX_MIGRATE_H
#define _LINUX_MIGRATE_H

#include <linux/bits.h>
#include <linux/hugetlb.h>
#include <linux/mempolicy.h>
#include <linux/migrate_mode.h>
#include <linux/mm.h>

struct migration_target_control;

/**
 * typedef new_folio_t - allocate the target for one folio
 * @folio: The folio to be migrated; isolated, not locked by migrate_pages().
 * @private: The caller's argument of migrate_pages().
 *
 * Called at most once for every attempt to migrate @folio. It is not called if
 * the attempt fails before a target is needed, for example because the lock of
 * @folio is contended and the mode does not allow waiting.
 * alloc_migration_target() is not called if the target of a small folio comes
 * from a bulk allocation. The target must have the size of @folio, one
 * reference, and be on no list.
 *
 * Context: May sleep as far as the caller of migrate_pages() allows.
 * Return: The target, or NULL if it could not be allocated.
 */
typedef struct folio *new_folio_t(struct folio *folio, unsigned long private);

/**
 * typedef free_folio_t - free a target that was not used
 * @folio: The target that the new_folio_t callback returned; not locked.
 * @private: The caller's argument of migrate_pages().
 *
 * Called for every target that the new_folio_t callback has returned and that
 * does not replace its source. The two callbacks can count on that to keep
 * track of free targets.
 *
 * Context: May sleep.
 */
typedef void free_folio_t(struct folio *folio, unsigned long private);

/**
 * struct movable_operations - how the pages of one driver are migrated
 * @isolate_page: Isolate a page. The page is locked and must stay locked.
 *	Returns true if the page is isolated now, false if it cannot be moved.
 *	While a page is isolated, the driver must not use &page.lru; it must
 *	save anything it needs from there.
 * @migrate_page: Copy the contents of @src to @dst and replace @src by @dst.
 *	Both pages are locked. The driver may write to &page.lru of @dst, but
 *	must not touch that of @src. Returns 0 on success. After -EAGAIN the
 *	page may be tried again, after any other error it is not.
 * @putback_page: Undo the isolation of a page that is not going to be moved.
 *	The page is locked.
 *
 * set_movable_ops() registers the operations for a page type. They are used for
 * pages of that type that __SetPageMovableOps() or SetPageMovableOps() has
 * marked.
 */
struct movable_operations {
	bool (*isolate_page)(struct page *page, isolate_mode_t mode);
	int (*migrate_page)(struct page *dst, struct page *src,
			    enum migrate_mode mode);
	void (*putback_page)(struct page *page);
};

/* The names of enum migrate_reason, defined in mm/debug.c */
extern const char *migrate_reason_names[MR_TYPES];

#ifdef CONFIG_MIGRATION

/* mm/migrate.c */
bool isolate_folio_to_list(struct folio *folio, struct list_head *list);
void putback_movable_pages(struct list_head *l);
struct folio *alloc_migration_target(struct folio *src, unsigned long private);
int migrate_pages(struct list_head *from, new_folio_t get_new_folio,
		  free_folio_t put_new_folio, unsigned long private,
		  enum migrate_mode mode, enum migrate_reason reason,
		  unsigned int *ret_succeeded);

/* mm/migrate_movable.c */
int set_movable_ops(const struct movable_operations *ops, enum pagetype type);
bool isolate_movable_ops_page(struct page *page, isolate_mode_t mode);

/* mm/migrate_mapping.c */
int folio_migrate_mapping(struct address_space *mapping, struct folio *dst,
			  struct folio *src, int extra_count);
void folio_migrate_flags(struct folio *dst, struct folio *src);
int migrate_folio(struct address_space *mapping, struct folio *dst,
		  struct folio *src, enum migrate_mode mode);
int migrate_huge_page_move_mapping(struct address_space *mapping,
				   struct folio *dst, struct folio *src);

/* mm/filemap.c */
void softleaf_entry_wait_on_locked(softleaf_t entry, spinlock_t *ptl)
		__releases(ptl);

#else /* !CONFIG_MIGRATION */

static inline bool isolate_folio_to_list(struct folio *folio,
					 struct list_head *list)
{
	return false;
}

static inline bool isolate_movable_ops_page(struct page *page,
					    isolate_mode_t mode)
{
	return false;
}

static inline void putback_movable_pages(struct list_head *l)
{
}

static inline struct folio *alloc_migration_target(struct folio *src,
						   unsigned long private)
{
	return NULL;
}

static inline int set_movable_ops(const struct movable_operations *ops,
				  enum pagetype type)
{
	return -ENOSYS;
}

static inline int migrate_pages(struct list_head *from,
				new_folio_t get_new_folio,
				free_folio_t put_new_folio,
				unsigned long private, enum migrate_mode mode,
				enum migrate_reason reason,
				unsigned int *ret_succeeded)
{
	return -ENOSYS;
}

static inline int migrate_huge_page_move_mapping(struct address_space *mapping,
						 struct folio *dst,
						 struct folio *src)
{
	return -ENOSYS;
}

static inline void softleaf_entry_wait_on_locked(softleaf_t entry,
						 spinlock_t *ptl)
	__releases(ptl)
{
	/* Without CONFIG_MIGRATION there are no migration entries. */
	WARN_ON_ONCE(1);
	spin_unlock(ptl);
}

#endif /* CONFIG_MIGRATION */

/* mm/migrate_numa.c */
#ifdef CONFIG_NUMA_BALANCING
int migrate_misplaced_folio(struct folio *folio, int node);
int migrate_misplaced_folio_prepare(struct folio *folio,
				    struct vm_area_struct *vma, int node);
#else
static inline int migrate_misplaced_folio(struct folio *folio, int node)
{
	return -EAGAIN;
}

static inline int migrate_misplaced_folio_prepare(struct folio *folio,
						  struct vm_area_struct *vma,
						  int node)
{
	return -EAGAIN;
}
#endif /* CONFIG_NUMA_BALANCING */

/* mm/migrate_vma.c */
#ifdef CONFIG_NUMA_MIGRATION
int vma_migrate_target(int nid, const nodemask_t *from, const nodemask_t *to);
bool vma_can_migrate(const struct vm_area_struct *vma);
int vma_migrate(struct vm_area_struct *vma, unsigned long start,
		unsigned long end, const nodemask_t *from, const nodemask_t *to,
		unsigned long flags);
int migrate_vmas_range(struct mm_struct *mm, unsigned long start,
		       unsigned long end, const nodemask_t *from,
		       const nodemask_t *to, unsigned long flags);
int migrate_vmas(struct mm_struct *mm, const nodemask_t *from,
		 const nodemask_t *to, unsigned long flags);
int migrate_vmas_mbind(struct mm_struct *mm, unsigned long start,
		       unsigned long end, struct mempolicy *pol,
		       unsigned long flags, long *nr_failed);
int vma_memory_node(struct vm_area_struct *vma, unsigned long addr,
		    unsigned long *next);
int vma_lookup_node(struct mm_struct *mm, unsigned long addr, int err);
unsigned long vma_count_memory(struct vm_area_struct *vma, unsigned long *nr);
bool vma_misplaced(struct vm_area_struct *vma, unsigned long start,
		   unsigned long end, const nodemask_t *nodes);
#else
/* Without CONFIG_NUMA_MIGRATION no VMA can migrate its memory. */
static inline int migrate_vmas(struct mm_struct *mm, const nodemask_t *from,
			       const nodemask_t *to, unsigned long flags)
{
	return -ENOSYS;
}

static inline int migrate_vmas_mbind(struct mm_struct *mm, unsigned long start,
				     unsigned long end, struct mempolicy *pol,
				     unsigned long flags, long *nr_failed)
{
	return 0;
}

static inline int vma_lookup_node(struct mm_struct *mm, unsigned long addr,
				  int err)
{
	return err;
}

static inline unsigned long vma_count_memory(struct vm_area_struct *vma,
					     unsigned long *nr)
{
	return 0;
}

static inline bool vma_misplaced(struct vm_area_struct *vma,
				 unsigned long start, unsigned long end,
				 const nodemask_t *nodes)
{
	return false;
}
#endif /* CONFIG_NUMA_MIGRATION */

#ifdef CONFIG_MIGRATION

/**
 * DOC: Migration entries of a device
 *
 * The functions below and a driver exchange arrays of unsigned long. An entry
 * contains the pfn of a page, shifted by MIGRATE_PFN_SHIFT, and flags in the
 * bits below. An entry that is zero is skipped.
 *
 * ``MIGRATE_PFN_VALID``
 *	The entry contains a pfn.
 * ``MIGRATE_PFN_MIGRATE``
 *	Source: the page can be migrated or, without MIGRATE_PFN_VALID, the hole
 *	can be filled. migrate_vma_pages() clears the flag for an entry that was
 *	not migrated.
 * ``MIGRATE_PFN_WRITE``
 *	Source: the page was mapped writable when migrate_vma_setup() collected it.
 *	migrate_device_range() and migrate_device_pfns() do not set the flag.
 *	Target: ignored. The new page is mapped with the protection of the old one;
 *	a page in a hole is mapped as the VMA allows.
 * ``MIGRATE_PFN_COMPOUND``
 *	The entry stands for all pages of a large folio, or for a hole of the size
 *	of a PMD. The entries for the other pages are zero. If migrate_vma_setup()
 *	sets the flag, the folio has the size of a PMD. If migrate_device_range()
 *	or migrate_device_pfns() sets it, the folio may have any size.
 */
#define MIGRATE_PFN_VALID	BIT(0)
#define MIGRATE_PFN_MIGRATE	BIT(1)
#define MIGRATE_PFN_WRITE	BIT(3)
#define MIGRATE_PFN_COMPOUND	BIT(4)
#define MIGRATE_PFN_SHIFT	6

/**
 * migrate_pfn - make the entry for a page
 * @pfn: The page's frame number.
 *
 * Return: An entry with MIGRATE_PFN_VALID and no other flag.
 */
static inline unsigned long migrate_pfn(unsigned long pfn)
{
	return MIGRATE_PFN_VALID | (pfn << MIGRATE_PFN_SHIFT);
}

/**
 * migrate_pfn_to_page - get the page of an entry
 * @mpfn: An entry of one of the arrays.
 *
 * Return: The page, or NULL if MIGRATE_PFN_VALID is not set.
 */
static inline struct page *migrate_pfn_to_page(unsigned long mpfn)
{
	if (mpfn & MIGRATE_PFN_VALID)
		return pfn_to_page(mpfn >> MIGRATE_PFN_SHIFT);
	return NULL;
}

/**
 * enum migrate_vma_direction - which pages of a range are to be collected
 * @MIGRATE_VMA_SELECT_SYSTEM: System memory, and zero pages. Holes in anonymous
 *	VMAs are collected in any case.
 * @MIGRATE_VMA_SELECT_DEVICE_PRIVATE: Memory of the device that the CPU cannot
 *	address.
 * @MIGRATE_VMA_SELECT_DEVICE_COHERENT: Memory of the device that the CPU can
 *	address.
 * @MIGRATE_VMA_SELECT_COMPOUND: Collect a folio that a PMD maps as one entry
 *	with MIGRATE_PFN_COMPOUND. Without this flag such folios are split.
 */
enum migrate_vma_direction {
	MIGRATE_VMA_SELECT_SYSTEM		= BIT(0),
	MIGRATE_VMA_SELECT_DEVICE_PRIVATE	= BIT(1),
	MIGRATE_VMA_SELECT_DEVICE_COHERENT	= BIT(2),
	MIGRATE_VMA_SELECT_COMPOUND		= BIT(3),
};

/**
 * struct migrate_vma - one migration between system memory and a device
 * @vma: The VMA that contains the range.
 * @dst: Array of the targets. The driver fills it between migrate_vma_setup()
 *	and migrate_vma_pages(), and must not change it afterwards.
 * @src: Array of the sources. migrate_vma_setup() fills it. The driver may
 *	clear MIGRATE_PFN_MIGRATE in entries that shall not be migrated, and
 *	must not change it otherwise.
 * @cpages: Out: number of entries of @src that can be migrated.
 * @npages: Out: number of entries of @src.
 * @start: First address of the range.
 * @end: First address after the range.
 * @pgmap_owner: The &dev_pagemap.owner of the device memory. It selects the
 *	device pages to be collected. MMU notifiers get it as the owner of the
 *	invalidation, so that the driver can ignore the ones it causes.
 * @flags: Bits of &enum migrate_vma_direction.
 * @fault_page: The page that was faulted on if the caller is
 *	&dev_pagemap_ops.migrate_to_ram; the fault handler has locked it. NULL
 *	otherwise.
 *
 * Both arrays need one entry for each page between @start and @end. The driver
 * sets all members but @cpages and @npages.
 */
struct migrate_vma {
	struct vm_area_struct	*vma;
	unsigned long		*dst;
	unsigned long		*src;
	unsigned long		cpages;
	unsigned long		npages;
	unsigned long		start;
	unsigned long		end;
	void			*pgmap_owner;
	unsigned long		flags;
	struct page		*fault_page;
};

/* mm/migrate_device.c: by virtual address */
int migrate_vma_setup(struct migrate_vma *args);
void migrate_vma_pages(struct migrate_vma *migrate);
void migrate_vma_finalize(struct migrate_vma *migrate);

/* mm/migrate_device.c: by page frame */
int migrate_device_pfns(unsigned long *src_pfns, unsigned long npages);
int migrate_device_range(unsigned long *src_pfns, unsigned long start,
			 unsigned long npages);
void migrate_device_pages(unsigned long *src_pfns, unsigned long *dst_pfns,
			  unsigned long npages);
void migrate_device_finalize(unsigned long *src_pfns, unsigned long *dst_pfns,
			     unsigned long npages);

#endif /* CONFIG_MIGRATION */

#endif /* _LINUX_MIGRATE_H */
