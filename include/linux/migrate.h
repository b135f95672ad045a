/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the rest of the kernel may ask of page migration.
 *
 * How it works is in mm/migrate.h, why in Documentation/mm/page_migration.rst.
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
 * Called at most once for every attempt to migrate @folio. There is no call if
 * the attempt fails before a target is needed: because somebody is seen to hold
 * the lock of @folio, and is not waited for. And alloc_migration_target() is not
 * called for a small folio whose target is taken from several that have been
 * allocated together. The target must have the size of @folio, one reference,
 * and be on no list.
 *
 * Context: May sleep as far as the caller of migrate_pages() allows.
 * Return: The target, or NULL if there is no memory for it.
 */
typedef struct folio *new_folio_t(struct folio *folio, unsigned long private);

/**
 * typedef free_folio_t - take back a target that was not used
 * @folio: What the new_folio_t callback returned; not locked.
 * @private: The caller's argument of migrate_pages().
 *
 * Called for every target that new_folio_t has returned and that does not replace
 * its source, so the two callbacks can keep exact count of what is left.
 *
 * Context: May sleep.
 */
typedef void free_folio_t(struct folio *folio, unsigned long private);

/**
 * struct movable_operations - how the pages of one driver are migrated
 * @isolate_page: Prepare a page for the move. The page is locked, and stays so.
 *	True if it can be moved now, false if it cannot. From then on &page.lru
 *	belongs to the VM, so what the driver keeps there must be saved before.
 * @migrate_page: Move an isolated page: copy the contents of @src to @dst and
 *	let @dst take its place. Both are locked. &page.lru of @dst may be
 *	written, that of @src must be left alone. 0 means it is done, -EAGAIN
 *	that it is not possible right now but worth another try; the VM does
 *	not try again after any other error.
 * @putback_page: The isolated page is not going to be moved. The driver takes
 *	it back to where it was. The page is locked.
 *
 * Registered for a page type by set_movable_ops(). Pages take part once they
 * are marked by __SetPageMovableOps() or SetPageMovableOps().
 */
struct movable_operations {
	bool (*isolate_page)(struct page *page, isolate_mode_t mode);
	int (*migrate_page)(struct page *dst, struct page *src,
			    enum migrate_mode mode);
	void (*putback_page)(struct page *page);
};

/* A string for each enum migrate_reason; mm/debug.c */
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

#else /* !CONFIG_MIGRATION: nothing moves, and there is nothing to wait for */

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
	/* Without migration there are no entries to wait for. */
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
/* It is never a good moment. */
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
/* No VMA moves its memory, or knows where it is. */
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
 * The functions below exchange arrays of unsigned long with a driver. An entry
 * names a page by its pfn, shifted by MIGRATE_PFN_SHIFT, and says in the bits
 * underneath what is to become of it. Zero means: nothing here, do nothing.
 *
 * With PAE a pfn needs more bits than an address has; the shift leaves just
 * enough of an unsigned long for it.
 *
 * ``MIGRATE_PFN_VALID``
 *	The entry names a page.
 * ``MIGRATE_PFN_MIGRATE``
 *	Source: the page, or the hole if there is no page, can be migrated. It
 *	is clear after migrate_vma_pages() for those that were not.
 * ``MIGRATE_PFN_WRITE``
 *	Source: the page was mapped writable where migrate_vma_setup() found it.
 *	It is clear for pages that were named by their pfn.
 *	Target: ignored. The new page is mapped as the old one was, and in a hole
 *	as the VMA allows.
 * ``MIGRATE_PFN_COMPOUND``
 *	The entry stands for all the pages of a large folio, or for a hole of the
 *	size of a PMD, and the slots behind it up to this size are zero. From
 *	migrate_vma_setup() the folio has the size of a PMD, too; a folio that was
 *	named by its pfn may have any size.
 */
#define MIGRATE_PFN_VALID	BIT(0)
#define MIGRATE_PFN_MIGRATE	BIT(1)
#define MIGRATE_PFN_WRITE	BIT(3)
#define MIGRATE_PFN_COMPOUND	BIT(4)
#define MIGRATE_PFN_SHIFT	6

/**
 * migrate_pfn - make the entry that names a page
 * @pfn: The page's frame number.
 *
 * Return: An entry with MIGRATE_PFN_VALID and no other flag.
 */
static inline unsigned long migrate_pfn(unsigned long pfn)
{
	return MIGRATE_PFN_VALID | (pfn << MIGRATE_PFN_SHIFT);
}

/**
 * migrate_pfn_to_page - find the page that an entry names
 * @mpfn: An entry of one of the arrays.
 *
 * Return: The page, or NULL if the entry names none.
 */
static inline struct page *migrate_pfn_to_page(unsigned long mpfn)
{
	if (mpfn & MIGRATE_PFN_VALID)
		return pfn_to_page(mpfn >> MIGRATE_PFN_SHIFT);
	return NULL;
}

/**
 * enum migrate_vma_direction - which pages of a range are to be collected
 * @MIGRATE_VMA_SELECT_SYSTEM: Ordinary memory, and zero pages. Holes of anonymous
 *	memory are collected in any case.
 * @MIGRATE_VMA_SELECT_DEVICE_PRIVATE: Memory of the device that the CPU cannot
 *	address.
 * @MIGRATE_VMA_SELECT_DEVICE_COHERENT: Memory of the device that the CPU can
 *	address.
 * @MIGRATE_VMA_SELECT_COMPOUND: Collect PMD-sized folios whole, as one entry
 *	with MIGRATE_PFN_COMPOUND. Otherwise they are split.
 */
enum migrate_vma_direction {
	MIGRATE_VMA_SELECT_SYSTEM		= BIT(0),
	MIGRATE_VMA_SELECT_DEVICE_PRIVATE	= BIT(1),
	MIGRATE_VMA_SELECT_DEVICE_COHERENT	= BIT(2),
	MIGRATE_VMA_SELECT_COMPOUND		= BIT(3),
};

/**
 * struct migrate_vma - one migration between system memory and a device
 * @vma: The VMA that the range lies in.
 * @dst: Array for the targets, filled by the driver between
 *	migrate_vma_setup() and migrate_vma_pages(), and left alone afterwards.
 * @src: Array of the sources, filled by migrate_vma_setup(). The driver may
 *	read it, and take MIGRATE_PFN_MIGRATE away from entries that are to
 *	stay after all, but write nothing else.
 * @cpages: Out: how many entries of @src can be migrated.
 * @npages: Out: how many entries there are.
 * @start: First address of the range.
 * @end: Address behind the range.
 * @pgmap_owner: Whose device memory is meant: &dev_pagemap.owner. Necessary to
 *	collect device pages, and to let the driver's own MMU notifier ignore
 *	the invalidation that it causes itself.
 * @flags: Bits of &enum migrate_vma_direction.
 * @fault_page: If called from &dev_pagemap_ops.migrate_to_ram, the page of the
 *	fault, which the fault handler has locked. NULL otherwise.
 *
 * Both arrays need one entry for each page between @start and @end. The driver
 * sets everything but @cpages and @npages.
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
