// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of mm/migrate_device.c with a driver that each test can control.
 *
 * The first half is the driver. It is a minimal driver for device-private memory.
 * The memory of its device is system memory that only the driver uses.
 * Documentation/mm/migrate_device.rst shows the code between the marks "example:"
 * and "end of example". The tests therefore run the examples of that page.
 *
 * The second half is the tests. They move memory to the device and back, in an mm
 * of their own. The driver leaves slots of dst empty, provides small pages for
 * huge entries, gives up half-way, and runs out of memory. Other tasks meanwhile
 * unmap, protect, discard, fork, hold or access the memory.
 *
 * The table lists six bugs that this code has had, whether Linux 7.3.4 still has
 * them, and the tests that fail if the bug is present:
 *
 *   bug                               7.3.4    test
 *   --------------------------------  -------  ---------------------------------
 *   inserting a huge page fails for   yes,     insertion_fails of the selftest
 *   lack of memory, and returns 0     no harm  migrate_device (passes on 7.3.4:
 *                                              the callee has cleared the flags)
 *   an address is passed instead of   fixed    none: flush_cache_page() is empty
 *   a frame number                             wherever devices have memory
 *   the loops visit the 511 slots     yes      tail_slots_not_visited
 *   behind a huge entry
 *   a reference is lost when a huge   yes      act_during_move_back, "split huge
 *   page cannot be split                       pages, discarded [in part] after
 *                                              their collection";
 *                                              ref_after_collect_*
 *   LRU caches are drained while a    yes      drained_when_unmapped,
 *   device folio is locked, and a              not_drained_during_fault, and
 *   fault may spin on the lock                 faults_sleep_huge for the fault
 *   the order of a device folio is    yes      freed_page_reused,
 *   read when it may have changed              evicted_range_cuts_huge
 */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/huge_mm.h>
#include <linux/ioport.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/pagewalk.h>
#include <linux/pgalloc.h>
#include <linux/preempt.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include <trace/events/pagemap.h>
#include <asm/tlb.h>

/* Largest number of huge pages that a test uses. A device has twice as many. */
#define TOY_HUGE	4

/**
 * struct toy_device - a device with memory that CPUs cannot access
 * @pagemap: the device memory, as memremap_pages() knows it
 * @first: frame number of the first page
 * @nr: number of pages
 * @backing: system page behind each page; allocated while that page is in use
 * @lock: protects @used
 * @used: bitmap of the pages in use
 * @refuse_huge: let allocations of huge pages fail, on the device and in the system
 * @refuse_every: let every @refuse_every-th allocation of one page fail, if not 0
 * @asked: number of allocations of one page, for @refuse_every
 * @faults: number of faults that the driver has handled
 * @reused: the folio that toy_folio_reuse() has allocated
 * @test: the test that uses the device
 */
struct toy_device {
	struct dev_pagemap pagemap;
	unsigned long first;
	unsigned long nr;
	struct page **backing;
	spinlock_t lock; /* @used */
	unsigned long *used;
	bool refuse_huge;
	unsigned int refuse_every;
	unsigned int asked;
	atomic_t faults;
	struct folio *reused;
	struct toy_test *test;
};

/* Fault injection: does this allocation fail? */
static bool toy_refuses(struct toy_device *toy, unsigned long nr)
{
	if (nr > 1)
		return toy->refuse_huge;
	return toy->refuse_every && ++toy->asked % toy->refuse_every == 0;
}

/* Return the system page that contains the data of a page of the device. */
static struct page *toy_backing(const struct page *page)
{
	struct toy_device *toy = page_pgmap(page)->owner;

	return toy->backing[page_to_pfn(page) - toy->first];
}

static void toy_free_backing(struct toy_device *toy, unsigned long i,
			     unsigned long nr)
{
	while (nr--)
		__free_page(toy->backing[i + nr]);
}

static bool toy_alloc_backing(struct toy_device *toy, unsigned long i,
			      unsigned long nr)
{
	unsigned long j;

	for (j = 0; j < nr; j++) {
		toy->backing[i + j] = alloc_page(GFP_HIGHUSER | __GFP_NOWARN);
		if (!toy->backing[i + j]) {
			toy_free_backing(toy, i, j);
			return false;
		}
	}
	return true;
}

/* example: pages of the device */
static struct folio *toy_alloc(struct toy_device *toy, unsigned long nr)
{
	struct folio *folio;
	unsigned long i;

	if (toy_refuses(toy, nr))
		return NULL;

	spin_lock(&toy->lock);
	i = bitmap_find_next_zero_area(toy->used, toy->nr, 0, nr, nr - 1);
	if (i + nr <= toy->nr)
		bitmap_set(toy->used, i, nr);
	spin_unlock(&toy->lock);
	if (i + nr > toy->nr)
		return NULL;

	if (!toy_alloc_backing(toy, i, nr)) {
		spin_lock(&toy->lock);
		bitmap_clear(toy->used, i, nr);
		spin_unlock(&toy->lock);
		return NULL;
	}

	/*
	 * page_folio() must not be used here: the page may still be marked as a
	 * tail of the folio that it was part of before. zone_device_folio_init()
	 * makes a new folio, which is locked and has one reference.
	 */
	folio = (struct folio *)pfn_to_page(toy->first + i);
	zone_device_folio_init(folio, &toy->pagemap, ilog2(nr));
	return folio;
}

static void toy_folio_free(struct folio *folio)
{
	struct toy_device *toy = folio->pgmap->owner;
	unsigned long i = folio_pfn(folio) - toy->first;
	unsigned long nr = folio_nr_pages(folio);

	/* Mark the pages free last: another CPU may allocate them at once. */
	toy_free_backing(toy, i, nr);
	spin_lock(&toy->lock);
	bitmap_clear(toy->used, i, nr);
	spin_unlock(&toy->lock);
}

/* end of example */

/* example: to the device */
/* Provide @nr pages of the device for one entry, or for part of one. */
static bool toy_provide_device(struct toy_device *toy, struct page *src,
			       unsigned long *dst, unsigned long nr)
{
	struct folio *folio = toy_alloc(toy, nr);
	unsigned long i;

	if (!folio)
		return false;

	for (i = 0; i < nr; i++) {
		struct page *to = toy_backing(folio_page(folio, i));

		if (src)
			copy_highpage(to, src + i);
		else
			clear_highpage(to);
	}
	*dst = migrate_pfn(folio_pfn(folio));
	if (nr > 1)
		*dst |= MIGRATE_PFN_COMPOUND;
	return true;
}

static void toy_fill_dst_device(struct toy_device *toy, struct migrate_vma *args)
{
	unsigned long i, j, nr;

	for (i = 0; i < args->npages; i += nr) {
		struct page *src = migrate_pfn_to_page(args->src[i]);

		nr = args->src[i] & MIGRATE_PFN_COMPOUND ? HPAGE_PMD_NR : 1;
		if (!(args->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		if (toy_provide_device(toy, src, args->dst + i, nr))
			continue;

		/* No huge page is free: provide as many small pages as possible. */
		for (j = 0; nr > 1 && j < nr; j++)
			toy_provide_device(toy, src ? src + j : NULL,
					   args->dst + i + j, 1);
	}
}

static int toy_pull(struct toy_device *toy, struct mm_struct *mm,
		    unsigned long start, unsigned long nr)
{
	struct migrate_vma args = {
		.start = start,
		.end = start + (nr << PAGE_SHIFT),
		.pgmap_owner = toy,
		.flags = MIGRATE_VMA_SELECT_SYSTEM | MIGRATE_VMA_SELECT_COMPOUND,
	};
	int ret = -ENOMEM;

	args.src = kvcalloc(nr, sizeof(*args.src), GFP_KERNEL);
	args.dst = kvcalloc(nr, sizeof(*args.dst), GFP_KERNEL);
	if (!args.src || !args.dst)
		goto out_free;

	mmap_read_lock(mm);
	args.vma = vma_lookup(mm, start);
	ret = migrate_vma_setup(&args);
	if (!ret && args.cpages) {
		toy_fill_dst_device(toy, &args);
		migrate_vma_pages(&args);
		/* Here a real driver maps the moved pages on its device. */
		migrate_vma_finalize(&args);
	}
	mmap_read_unlock(mm);
out_free:
	kvfree(args.dst);
	kvfree(args.src);
	return ret;
}

/* end of example */

/* example: to the system */
/* Provide @nr pages of the system for one entry, or for part of one. */
static bool toy_provide_system(struct page *src, unsigned long *dst,
			       unsigned long nr)
{
	struct toy_device *toy = page_pgmap(src)->owner;
	struct folio *folio = NULL;
	unsigned long i;

	if (!toy_refuses(toy, nr))
		folio = folio_alloc(GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, ilog2(nr));
	if (!folio)
		return false;

	for (i = 0; i < nr; i++)
		copy_highpage(folio_page(folio, i), toy_backing(src + i));
	folio_lock(folio);
	*dst = migrate_pfn(folio_pfn(folio));
	if (nr > 1)
		*dst |= MIGRATE_PFN_COMPOUND;
	return true;
}

static void toy_fill_dst_system(const unsigned long *src, unsigned long *dst,
				unsigned long npages)
{
	unsigned long i, j, nr;

	for (i = 0; i < npages; i += nr) {
		struct page *page = migrate_pfn_to_page(src[i]);

		nr = 1;
		if (!page || !(src[i] & MIGRATE_PFN_MIGRATE))
			continue;

		nr = folio_nr_pages(page_folio(page));
		if (toy_provide_system(page, dst + i, nr))
			continue;
		for (j = 0; nr > 1 && j < nr; j++)
			toy_provide_system(page + j, dst + i + j, 1);
	}
}

/* end of example */

/* example: the fault handler */
/*
 * Return false if the @i-th page was collected, alone or in a huge entry, and dst
 * has no page for it. A hole needs no page: another thread has discarded the page
 * of the device, and the CPU finds the hole when it repeats the access.
 */
static bool toy_dst_filled(const struct migrate_vma *args, unsigned long i)
{
	const unsigned long page = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE;
	unsigned long entry = args->src[0] & MIGRATE_PFN_COMPOUND ? 0 : i;

	if ((args->src[entry] & page) != page)
		return true;
	return args->dst[0] & MIGRATE_PFN_COMPOUND || args->dst[i];
}

static vm_fault_t toy_migrate_to_ram(struct vm_fault *vmf)
{
	struct toy_device *toy = page_pgmap(vmf->page)->owner;
	unsigned long nr = 1;
	vm_fault_t ret = 0;
	struct migrate_vma args = {
		.vma = vmf->vma,
		.pgmap_owner = toy,
		.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE |
			 MIGRATE_VMA_SELECT_COMPOUND,
		.fault_page = vmf->page,
	};

	/* For a fault on a PTE, only that page is known to be mapped here. */
	if (!vmf->pte)
		nr = folio_nr_pages(page_folio(vmf->page));
	args.start = ALIGN_DOWN(vmf->address, nr << PAGE_SHIFT);
	args.end = args.start + (nr << PAGE_SHIFT);

	atomic_inc(&toy->faults);
	args.src = kcalloc(nr, sizeof(*args.src), GFP_KERNEL);
	args.dst = kcalloc(nr, sizeof(*args.dst), GFP_KERNEL);
	if (!args.src || !args.dst)
		ret = VM_FAULT_OOM;
	else if (migrate_vma_setup(&args))
		ret = VM_FAULT_SIGBUS;

	if (!ret && args.cpages) {
		toy_fill_dst_system(args.src, args.dst, nr);
		if (!toy_dst_filled(&args,
				    (vmf->address - args.start) >> PAGE_SHIFT))
			ret = VM_FAULT_OOM;
		migrate_vma_pages(&args);
		migrate_vma_finalize(&args);
	}
	kfree(args.dst);
	kfree(args.src);
	return ret;
}

/* end of example */

/* example: eviction */
static int toy_evict(struct toy_device *toy, unsigned long first,
		     unsigned long npages)
{
	unsigned long *src, *dst;
	int ret = -ENOMEM;

	src = kvcalloc(npages, sizeof(*src), GFP_KERNEL);
	dst = kvcalloc(npages, sizeof(*dst), GFP_KERNEL);
	if (src && dst) {
		migrate_device_range(src, first, npages);
		toy_fill_dst_system(src, dst, npages);
		migrate_device_pages(src, dst, npages);
		migrate_device_finalize(src, dst, npages);
		ret = 0;
	}
	kvfree(dst);
	kvfree(src);
	return ret;
}

/* end of example */

static const struct dev_pagemap_ops toy_ops = {
	.folio_free = toy_folio_free,
	.migrate_to_ram = toy_migrate_to_ram,
};

/* Flags that a free page may still have from its last use. */
#define TOY_OLD_FLAGS	(BIT(PG_referenced) | BIT(PG_uptodate) | BIT(PG_dirty) |    \
			 BIT(PG_active) | BIT(PG_workingset) | BIT(PG_reclaim) |    \
			 BIT(PG_swapbacked) | BIT(PG_unevictable))

/*
 * Set TOY_OLD_FLAGS in all pages, so that no test gets pages that were never in
 * use.
 */
static void toy_set_old_flags(struct toy_device *toy)
{
	unsigned long i;

	for (i = 0; i < toy->nr; i++)
		pfn_to_page(toy->first + i)->flags.f |= TOY_OLD_FLAGS;
}

static void toy_destroy(struct toy_device *toy)
{
	kvfree(toy->backing);
	bitmap_free(toy->used);
	kfree(toy);
}

static struct toy_device *toy_create(void)
{
	struct toy_device *toy = kzalloc_obj(*toy);
	struct resource *res;

	if (!toy)
		return NULL;
	spin_lock_init(&toy->lock);
	toy->nr = 2 * TOY_HUGE * (PMD_SIZE >> PAGE_SHIFT);
	toy->used = bitmap_zalloc(toy->nr, GFP_KERNEL);
	toy->backing = kvcalloc(toy->nr, sizeof(*toy->backing), GFP_KERNEL);
	if (!toy->used || !toy->backing)
		goto out_destroy;

	res = request_free_mem_region(&iomem_resource,
				      toy->nr << PAGE_SHIFT, "toy");
	if (IS_ERR(res))
		goto out_destroy;
	toy->first = PHYS_PFN(res->start);
	toy->pagemap.type = MEMORY_DEVICE_PRIVATE;
	toy->pagemap.range.start = res->start;
	toy->pagemap.range.end = res->end;
	toy->pagemap.nr_range = 1;
	toy->pagemap.ops = &toy_ops;
	toy->pagemap.owner = toy;
	if (!IS_ERR(memremap_pages(&toy->pagemap, numa_mem_id()))) {
		toy_set_old_flags(toy);
		return toy;
	}

	release_mem_region(res->start, resource_size(res));
out_destroy:
	toy_destroy(toy);
	return NULL;
}

/* Remove the device. This waits until all pages of the device are free. */
static void toy_remove(struct toy_device *toy)
{
	memunmap_pages(&toy->pagemap);
	release_mem_region(toy->pagemap.range.start,
			   range_len(&toy->pagemap.range));
	toy_destroy(toy);
}

/*
 * Tests
 */

/**
 * struct toy_child - a process that a test has forked
 * @pid: its process ID, or 0 if the test has not forked
 * @mm: its mm, which is valid until @done
 * @nr: number of pages that the child checks and overwrites
 * @began: the child runs and has set @mm
 * @go: the child may access its memory
 * @done: the child has unmapped its memory and is about to exit
 * @bad: number of pages that the child could not access or found changed
 */
struct toy_child {
	pid_t pid;
	struct mm_struct *mm;
	unsigned long nr;
	struct completion began;
	struct completion go;
	struct completion done;
	unsigned long bad;
};

/**
 * struct toy_test - state of a test
 * @test: the KUnit test
 * @toy: the device
 * @addr: start of memory for TOY_HUGE huge pages, aligned to a huge page
 * @mapped: start of the mapping that contains @addr
 * @anon: MM_ANONPAGES of the mm at the start of the test
 * @child: the child of the test
 */
struct toy_test {
	struct kunit *test;
	struct toy_device *toy;
	unsigned long addr;
	unsigned long mapped;
	s64 anon;
	struct toy_child child;
};

#define TOY_LEN		(TOY_HUGE * PMD_SIZE)
#define TOY_MAPPED	(TOY_LEN + PMD_SIZE)
#define TOY_NR		(PMD_SIZE >> PAGE_SHIFT)

/* Unlike get_mm_counter(), this returns a negative count unchanged. */
static s64 toy_count_anon(void)
{
	return percpu_counter_sum(&current->mm->rss_stat[MM_ANONPAGES]);
}

/* Allow or forbid huge pages for the memory of the test. */
static void toy_advise(const struct toy_test *t, bool huge)
{
	do_madvise(current->mm, t->mapped, TOY_MAPPED,
		   huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

/*
 * Set up @t. If this returns false, the test must return. If it returns true, the
 * test must use no KUNIT_ASSERT_*() before toy_end().
 */
static bool toy_begin(struct kunit *test, struct toy_test *t, bool huge)
{
	t->test = test;
	t->child.pid = 0;
	if (huge && !thp_migration_supported()) {
		kunit_mark_skipped(test, "no huge migration entries");
		return false;
	}

	t->mapped = kunit_vm_mmap(test, NULL, 0, TOY_MAPPED,
				  PROT_READ | PROT_WRITE,
				  MAP_ANONYMOUS | MAP_PRIVATE, 0);
	if (!t->mapped || IS_ERR_VALUE(t->mapped)) {
		kunit_mark_skipped(test, "no address space");
		return false;
	}
	t->addr = ALIGN(t->mapped, PMD_SIZE);
	t->anon = toy_count_anon();
	toy_advise(t, huge);

	t->toy = toy_create();
	if (!t->toy) {
		kunit_mark_skipped(test, "no device memory");
		return false;
	}
	t->toy->test = t;
	return true;
}

/*
 * Check that all pages of the device are free, and that the count of anonymous
 * pages is as before. If a page is still in use, the device is not removed: its
 * removal would wait for ever.
 */
static void toy_end(struct toy_test *t)
{
	bool empty;

	if (t->child.pid) {
		complete(&t->child.go);
		wait_for_completion(&t->child.done);
		KUNIT_EXPECT_EQ(t->test, t->child.bad, 0);
	}
	vm_munmap(t->mapped, TOY_MAPPED);
	KUNIT_EXPECT_EQ(t->test, t->anon, toy_count_anon());
	empty = bitmap_empty(t->toy->used, t->toy->nr);
	KUNIT_EXPECT_TRUE(t->test, empty);
	if (empty)
		toy_remove(t->toy);
}

static unsigned long toy_page_addr(const struct toy_test *t, unsigned long i)
{
	return t->addr + (i << PAGE_SHIFT);
}

/* Write a different number to each page. */
static void toy_fill(struct toy_test *t, unsigned long nr)
{
	unsigned long i, bad = 0;

	for (i = 0; i < nr; i++)
		bad += put_user(i + 1, (unsigned long __user *)toy_page_addr(t, i));
	KUNIT_EXPECT_EQ(t->test, bad, 0);
}

/* Check that the pages have the values @first, @first + @step, ... */
static void toy_check(struct toy_test *t, unsigned long nr, unsigned long first,
		      unsigned long step)
{
	unsigned long i, value, bad = 0;

	for (i = 0; i < nr; i++) {
		if (get_user(value, (unsigned long __user *)toy_page_addr(t, i)) ||
		    value != first + i * step)
			bad++;
	}
	KUNIT_EXPECT_EQ(t->test, bad, 0);
}

static void toy_check_filled(struct toy_test *t, unsigned long nr)
{
	toy_check(t, nr, 1, 1);
}

static void toy_check_zero(struct toy_test *t, unsigned long nr)
{
	toy_check(t, nr, 0, 0);
}

static int toy_faults(const struct toy_test *t)
{
	return atomic_read(&t->toy->faults);
}

static unsigned long toy_device_held(const struct toy_device *toy)
{
	return bitmap_weight(toy->used, toy->nr);
}

static unsigned long toy_held(const struct toy_test *t)
{
	return toy_device_held(t->toy);
}

static struct folio *toy_first_folio(const struct toy_test *t)
{
	return page_folio(pfn_to_page(t->toy->first));
}

/* Get the folio of the @i-th page. Return NULL if no CPU can access the page. */
static struct folio *toy_get_folio(const struct toy_test *t, unsigned long i)
{
	struct vm_area_struct *vma;
	struct folio_walk fw;
	struct folio *folio;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, t->addr);
	folio = folio_walk_start(&fw, vma, toy_page_addr(t, i), 0);
	if (folio) {
		folio_get(folio);
		folio_walk_end(&fw, vma);
	}
	mmap_read_unlock(current->mm);
	return folio;
}

static void toy_pull_all(struct toy_test *t, unsigned long nr)
{
	KUNIT_EXPECT_EQ(t->test, toy_pull(t->toy, current->mm, t->addr, nr), 0);
}

/* Prepare @args for a migration of the first @nr pages to the device. */
static bool toy_one_begin(struct toy_test *t, struct migrate_vma *args,
			  unsigned long nr)
{
	args->start = t->addr;
	args->end = toy_page_addr(t, nr);
	args->pgmap_owner = t->toy;
	args->flags = MIGRATE_VMA_SELECT_SYSTEM | MIGRATE_VMA_SELECT_COMPOUND;
	args->src = kunit_kcalloc(t->test, nr, sizeof(long), GFP_KERNEL);
	args->dst = kunit_kcalloc(t->test, nr, sizeof(long), GFP_KERNEL);
	return args->src && args->dst;
}

/* Move memory to the device. One fault a page, or a huge page, moves it back. */
static void toy_to_device_and_back(struct kunit *test, bool huge)
{
	struct toy_test t;

	if (!toy_begin(test, &t, huge))
		return;
	toy_fill(&t, TOY_HUGE * TOY_NR);
	toy_pull_all(&t, TOY_HUGE * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_HUGE * TOY_NR);
	toy_check_filled(&t, TOY_HUGE * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	KUNIT_EXPECT_EQ(test, toy_faults(&t),
			huge ? TOY_HUGE : TOY_HUGE * TOY_NR);
	toy_end(&t);
}

static void to_device_and_back_small(struct kunit *test)
{
	toy_to_device_and_back(test, false);
}

static void to_device_and_back_huge(struct kunit *test)
{
	toy_to_device_and_back(test, true);
}

/* The driver provides no page for every third entry. These entries stay. */
static void some_dst_empty(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ false))
		return;
	toy_fill(&t, 99);
	t.toy->refuse_every = 3;
	toy_pull_all(&t, 99);
	t.toy->refuse_every = 0;
	KUNIT_EXPECT_EQ(test, toy_held(&t), 66);
	toy_check_filled(&t, 99);
	toy_end(&t);
}

/* Clear MIGRATE_PFN_MIGRATE in every third entry, although dst has a page for it. */
static void toy_skip_some(unsigned long *src, unsigned long nr, unsigned long step)
{
	unsigned long i;

	for (i = 0; i < nr; i += 3 * step)
		src[i] &= ~MIGRATE_PFN_MIGRATE;
}

/*
 * If the driver clears MIGRATE_PFN_MIGRATE in an entry, the page stays where it is,
 * and the page in dst is freed. This is checked in both directions.
 */
static void toy_skipped(struct kunit *test, bool huge)
{
	unsigned long step = huge ? TOY_NR : 1, nr = 4 * step;
	struct migrate_vma args = {};
	struct toy_test t;

	if (!toy_begin(test, &t, huge))
		return;
	toy_fill(&t, nr);
	if (!toy_one_begin(&t, &args, nr))
		goto out_end;
	mmap_read_lock(current->mm);
	args.vma = vma_lookup(current->mm, t.addr);
	KUNIT_EXPECT_EQ(test, migrate_vma_setup(&args), 0);
	KUNIT_EXPECT_EQ(test, args.cpages, 4);
	toy_fill_dst_device(t.toy, &args);
	KUNIT_EXPECT_EQ(test, toy_held(&t), nr);
	toy_skip_some(args.src, nr, step);
	migrate_vma_pages(&args);
	migrate_vma_finalize(&args);
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, toy_held(&t), nr / 2);

	/* Of four folios of the device, the second and the third are in use. */
	migrate_device_range(args.src, t.toy->first, nr);
	memset(args.dst, 0, nr * sizeof(*args.dst));
	toy_fill_dst_system(args.src, args.dst, nr);
	toy_skip_some(args.src + step, nr - step, step);
	migrate_device_pages(args.src, args.dst, nr);
	migrate_device_finalize(args.src, args.dst, nr);
	KUNIT_EXPECT_EQ(test, toy_held(&t), nr / 4);
out_end:
	toy_check_filled(&t, nr);
	toy_end(&t);
}

static void skipped_small(struct kunit *test)
{
	toy_skipped(test, /* huge = */ false);
}

static void skipped_huge(struct kunit *test)
{
	toy_skipped(test, /* huge = */ true);
}

/* The driver provides small pages for two thirds of a huge entry. */
static void huge_dst_partly_filled(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, TOY_NR);
	t.toy->refuse_huge = true;
	t.toy->refuse_every = 3;
	toy_pull_all(&t, TOY_NR);
	t.toy->refuse_every = 0;
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_NR - TOY_NR / 3);
	toy_check_filled(&t, TOY_NR);
	toy_end(&t);
}

/* The same for every second slot of a huge entry. The first slot stays empty. */
static void huge_first_dst_empty(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, TOY_NR);
	t.toy->refuse_huge = true;
	t.toy->refuse_every = 2;
	t.toy->asked = 1;
	toy_pull_all(&t, TOY_NR);
	t.toy->refuse_every = 0;
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_NR / 2);
	toy_check_filled(&t, TOY_NR);
	toy_end(&t);
}

/* The driver provides no page at all for a huge entry. */
static void huge_dst_empty(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, TOY_NR);
	t.toy->refuse_huge = true;
	t.toy->refuse_every = 1;
	toy_pull_all(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	toy_check_filled(&t, TOY_NR);
	toy_end(&t);
}

/* The driver fills several huge holes in a row with cleared pages. */
static void holes_filled(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_pull_all(&t, TOY_HUGE * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_HUGE * TOY_NR);
	toy_check_zero(&t, TOY_HUGE * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), TOY_HUGE);
	toy_end(&t);
}

/* The driver provides small pages for two thirds of a huge hole. */
static void huge_hole_filled_in_part(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	t.toy->refuse_huge = true;
	t.toy->refuse_every = 3;
	toy_pull_all(&t, TOY_NR);
	t.toy->refuse_every = 0;
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_NR - TOY_NR / 3);
	toy_check_zero(&t, TOY_NR);
	toy_end(&t);
}

/* A huge page, or small pages, of the device replace the huge zero page. */
static void huge_zero_page_replaced(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_check_zero(&t, 2 * TOY_NR);
	toy_pull_all(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_NR);
	t.toy->refuse_huge = true;
	KUNIT_EXPECT_EQ(test, toy_pull(t.toy, current->mm,
				       t.addr + PMD_SIZE, TOY_NR), 0);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 2 * TOY_NR);
	toy_check_zero(&t, 2 * TOY_NR);
	toy_end(&t);
}

/**
 * struct toy_reader - a thread that reads one page
 * @mm: mm of the test
 * @addr: address that the thread reads
 * @value: value that the thread has read
 * @ret: return value of get_user()
 * @task: the thread
 * @done: the thread has read
 */
struct toy_reader {
	struct mm_struct *mm;
	unsigned long addr;
	unsigned long value;
	int ret;
	struct task_struct *task;
	struct completion done;
};

static int toy_reader_thread(void *data)
{
	struct toy_reader *reader = data;

	kthread_use_mm(reader->mm);
	reader->ret = get_user(reader->value, (unsigned long __user *)reader->addr);
	kthread_unuse_mm(reader->mm);
	complete(&reader->done);
	return 0;
}

static void toy_reader_start(struct toy_test *t, struct toy_reader *reader,
			     unsigned long i)
{
	reader->mm = current->mm;
	reader->addr = toy_page_addr(t, i);
	reader->ret = -EINTR;
	init_completion(&reader->done);
	reader->task = kthread_create(toy_reader_thread, reader, "toy_reader");
	KUNIT_EXPECT_FALSE(t->test, IS_ERR(reader->task));
	if (IS_ERR(reader->task)) {
		reader->task = NULL;
		return;
	}
	get_task_struct(reader->task);
	wake_up_process(reader->task);
}

static void toy_reader_end(struct toy_test *t, struct toy_reader *reader,
			   unsigned long expected)
{
	if (!reader->task)
		return;
	wait_for_completion(&reader->done);
	KUNIT_EXPECT_EQ(t->test, reader->ret, 0);
	KUNIT_EXPECT_EQ(t->test, reader->value, expected);
	put_task_struct(reader->task);
}

/* Collect a hole, fill dst, call @meanwhile, and check that nothing moves. */
static void toy_fill_hole(struct toy_test *t, unsigned long nr,
			  void (*meanwhile)(struct toy_test *t))
{
	struct migrate_vma args = {};

	if (!toy_one_begin(t, &args, nr))
		return;
	mmap_read_lock(current->mm);
	args.vma = vma_lookup(current->mm, t->addr);
	KUNIT_EXPECT_EQ(t->test, migrate_vma_setup(&args), 0);
	KUNIT_EXPECT_EQ(t->test, args.cpages, 1);
	toy_fill_dst_device(t->toy, &args);
	KUNIT_EXPECT_EQ(t->test, toy_held(t), nr);
	meanwhile(t);
	migrate_vma_pages(&args);
	KUNIT_EXPECT_FALSE(t->test, args.src[0] & MIGRATE_PFN_MIGRATE);
	migrate_vma_finalize(&args);
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_EQ(t->test, toy_held(t), 0);
}

/* Let another thread fault in the second page. */
static void toy_touch_second(struct toy_test *t)
{
	struct toy_reader reader;

	toy_reader_start(t, &reader, 1);
	toy_reader_end(t, &reader, 0);
}

/* Another thread faults in a small page before a huge hole is filled. */
static void huge_hole_touched(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	/* The fault must allocate a small page. */
	toy_advise(&t, /* huge = */ false);
	toy_fill_hole(&t, TOY_NR, toy_touch_second);
	toy_check_zero(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
	toy_end(&t);
}

static void toy_reap(struct toy_test *t)
{
	mm_flags_set(MMF_UNSTABLE, current->mm);
}

/* The OOM reaper has begun to free the memory of the mm: no hole may be filled. */
static void toy_hole_reaped(struct kunit *test, bool huge)
{
	struct toy_test t;

	if (!toy_begin(test, &t, huge))
		return;
	toy_fill_hole(&t, huge ? TOY_NR : 1, toy_reap);
	mm_flags_clear(MMF_UNSTABLE, current->mm);
	toy_check_zero(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
	toy_end(&t);
}

static void small_hole_reaped(struct kunit *test)
{
	toy_hole_reaped(test, /* huge = */ false);
}

static void huge_hole_reaped(struct kunit *test)
{
	toy_hole_reaped(test, /* huge = */ true);
}

/* The system has no huge page for a fault. The driver provides small pages. */
static void fault_gets_small_pages(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, TOY_NR);
	toy_pull_all(&t, TOY_NR);
	t.toy->refuse_huge = true;
	toy_check_filled(&t, 1);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 1);
	toy_check_filled(&t, TOY_NR);
	toy_end(&t);
}

/* A fault moves two thirds of a huge page back. Later faults move the rest. */
static void fault_gets_some_pages(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, TOY_NR);
	toy_pull_all(&t, TOY_NR);
	t.toy->refuse_huge = true;
	t.toy->refuse_every = 3;
	toy_check_filled(&t, 1);
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_NR / 3);
	t.toy->refuse_every = 0;
	toy_check_filled(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	toy_end(&t);
}

static void toy_evict_all(struct toy_test *t)
{
	KUNIT_EXPECT_EQ(t->test, toy_evict(t->toy, t->toy->first, t->toy->nr), 0);
}

static void toy_pull_and_evict(struct kunit *test, bool huge, bool split)
{
	struct toy_test t;

	if (!toy_begin(test, &t, huge))
		return;
	toy_fill(&t, TOY_HUGE * TOY_NR);
	toy_pull_all(&t, TOY_HUGE * TOY_NR);
	t.toy->refuse_huge = split;
	toy_evict_all(&t);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
	toy_check_filled(&t, TOY_HUGE * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
	toy_end(&t);
}

static void evicted_small(struct kunit *test)
{
	toy_pull_and_evict(test, /* huge = */ false, /* split = */ false);
}

static void evicted_huge(struct kunit *test)
{
	toy_pull_and_evict(test, /* huge = */ true, /* split = */ false);
}

static void evicted_split(struct kunit *test)
{
	toy_pull_and_evict(test, /* huge = */ true, /* split = */ true);
}

/* The range to evict ends, or begins, in the middle of a huge page. */
static void evicted_range_cuts_huge(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, 2 * TOY_NR);
	toy_pull_all(&t, 2 * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_evict(t.toy, t.toy->first, TOY_NR / 2), 0);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 2 * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_evict(t.toy, t.toy->first + TOY_NR / 2,
					2 * TOY_NR), 0);
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_NR);
	toy_check_filled(&t, 2 * TOY_NR);
	toy_end(&t);
}

/* Let the device write to those of its first @nr pages that are in use. */
static void toy_write(struct toy_test *t, unsigned long nr)
{
	unsigned long i, *words;

	for_each_set_bit(i, t->toy->used, nr) {
		words = page_address(t->toy->backing[i]);
		*words = i + 1;
	}
}

/*
 * After MADV_FREE, reclaim may drop a page until the page is written to. A write by
 * the device counts, too: reclaim must not drop the page after that.
 */
static void toy_lazily_freed(struct kunit *test, bool huge)
{
	const unsigned long nr = TOY_NR;
	struct toy_test t;

	if (!toy_begin(test, &t, huge))
		return;
	toy_fill(&t, nr);
	KUNIT_EXPECT_EQ(test, do_madvise(current->mm, t.addr, PMD_SIZE, MADV_FREE), 0);
	toy_pull_all(&t, nr);
	KUNIT_EXPECT_EQ(test, toy_held(&t), nr);
	toy_write(&t, nr);
	toy_evict_all(&t);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	KUNIT_EXPECT_EQ(test, do_madvise(current->mm, t.addr, PMD_SIZE, MADV_PAGEOUT), 0);
	toy_check_filled(&t, nr);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
	toy_end(&t);
}

static void lazily_freed_small(struct kunit *test)
{
	toy_lazily_freed(test, /* huge = */ false);
}

static void lazily_freed_huge(struct kunit *test)
{
	toy_lazily_freed(test, /* huge = */ true);
}

/* Map memory that reclaim may drop even after it was written to. */
static bool toy_map_droppable(struct toy_test *t, bool huge)
{
	unsigned long mapped = vm_mmap(NULL, t->mapped, TOY_MAPPED,
				       PROT_READ | PROT_WRITE,
				       MAP_ANONYMOUS | MAP_DROPPABLE | MAP_FIXED, 0);

	KUNIT_EXPECT_EQ(t->test, mapped, t->mapped);
	if (mapped != t->mapped)
		return false;
	toy_advise(t, huge);
	return true;
}

/*
 * Count the pages among the first @nr that reclaim would swap out, and not drop.
 * All of them must be in system memory.
 */
static unsigned long toy_swapbacked(struct toy_test *t, unsigned long nr)
{
	unsigned long i, swapbacked = 0;
	struct folio *folio;

	for (i = 0; i < nr; i++) {
		folio = toy_get_folio(t, i);
		if (!folio) {
			KUNIT_FAIL(t->test, "page %lu is not mapped in system memory", i);
			break;
		}
		swapbacked += folio_test_swapbacked(folio);
		folio_put(folio);
	}
	return swapbacked;
}

/* MAP_DROPPABLE memory can still be dropped after it was on a device. */
static void toy_droppable(struct kunit *test, bool huge)
{
	const unsigned long nr = TOY_NR;
	struct toy_test t;

	if (!toy_begin(test, &t, huge))
		return;
	if (!toy_map_droppable(&t, huge))
		goto out_end;
	toy_fill(&t, nr);
	KUNIT_EXPECT_EQ(test, toy_swapbacked(&t, nr), 0);
	toy_pull_all(&t, nr);
	KUNIT_EXPECT_EQ(test, toy_held(&t), nr);
	KUNIT_EXPECT_EQ(test, folio_nr_pages(toy_first_folio(&t)), huge ? nr : 1);
	toy_evict_all(&t);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	KUNIT_EXPECT_EQ(test, toy_swapbacked(&t, nr), 0);

	/* MADV_PAGEOUT skips pages that are in the LRU cache of another CPU. */
	lru_add_drain_all();
	KUNIT_EXPECT_EQ(test, do_madvise(current->mm, t.addr, PMD_SIZE, MADV_PAGEOUT), 0);
	toy_check_zero(&t, nr);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
out_end:
	toy_end(&t);
}

static void droppable_small(struct kunit *test)
{
	toy_droppable(test, /* huge = */ false);
}

static void droppable_huge(struct kunit *test)
{
	toy_droppable(test, /* huge = */ true);
}

/* The driver collects, fills dst, and gives up without migrate_vma_pages(). */
static void toy_give_up(struct toy_test *t, unsigned long nr)
{
	struct migrate_vma args = {
		.start = t->addr,
		.end = toy_page_addr(t, nr),
		.pgmap_owner = t->toy,
		.flags = MIGRATE_VMA_SELECT_SYSTEM | MIGRATE_VMA_SELECT_COMPOUND,
		.src = kunit_kcalloc(t->test, nr, sizeof(long), GFP_KERNEL),
		.dst = kunit_kcalloc(t->test, nr, sizeof(long), GFP_KERNEL),
	};

	mmap_read_lock(current->mm);
	args.vma = vma_lookup(current->mm, t->addr);
	KUNIT_EXPECT_EQ(t->test, migrate_vma_setup(&args), 0);
	toy_fill_dst_device(t->toy, &args);
	migrate_vma_finalize(&args);
	mmap_read_unlock(current->mm);
}

static void given_up(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, 2 * TOY_NR);
	toy_give_up(&t, 2 * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	t.toy->refuse_huge = true;
	toy_give_up(&t, 2 * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	toy_check_filled(&t, 2 * TOY_NR);
	toy_end(&t);
}

/* Collect with @flags and @owner. Return the number of collected entries. */
static unsigned long toy_collected(struct toy_test *t, unsigned long flags,
				   void *owner)
{
	unsigned long src[8], dst[8];
	struct migrate_vma args = {
		.start = t->addr,
		.end = toy_page_addr(t, ARRAY_SIZE(src)),
		.pgmap_owner = owner,
		.flags = flags,
		.src = src,
		.dst = dst,
	};

	mmap_read_lock(current->mm);
	args.vma = vma_lookup(current->mm, t->addr);
	KUNIT_EXPECT_EQ(t->test, migrate_vma_setup(&args), 0);
	migrate_vma_pages(&args);
	migrate_vma_finalize(&args);
	mmap_read_unlock(current->mm);
	return args.cpages;
}

/* Only memory that the driver has selected, and that it owns, is collected. */
static void selection(struct kunit *test)
{
	const unsigned long system = MIGRATE_VMA_SELECT_SYSTEM;
	const unsigned long private = MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
	const unsigned long coherent = MIGRATE_VMA_SELECT_DEVICE_COHERENT;
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ false))
		return;
	toy_fill(&t, 8);
	KUNIT_EXPECT_EQ(test, toy_collected(&t, system, t.toy), 8);
	KUNIT_EXPECT_EQ(test, toy_collected(&t, private | coherent, t.toy), 0);
	toy_pull_all(&t, 4);
	KUNIT_EXPECT_EQ(test, toy_collected(&t, system, t.toy), 4);
	KUNIT_EXPECT_EQ(test, toy_collected(&t, private, t.toy), 4);
	KUNIT_EXPECT_EQ(test, toy_collected(&t, private, test), 0);
	KUNIT_EXPECT_EQ(test, toy_collected(&t, coherent, t.toy), 0);
	KUNIT_EXPECT_EQ(test, toy_collected(&t, system | private, t.toy), 8);
	toy_check_filled(&t, 8);
	toy_end(&t);
}

/* migrate_vma_setup() rejects an invalid range and does not write to the arrays. */
static void invalid_arguments(struct kunit *test)
{
	unsigned long src = 1, dst = 1;
	struct migrate_vma args = {
		.flags = MIGRATE_VMA_SELECT_SYSTEM,
		.src = &src,
		.dst = &dst,
	};
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ false))
		return;
	mmap_read_lock(current->mm);
	args.start = t.addr;
	args.end = toy_page_addr(&t, 1);
	KUNIT_EXPECT_EQ(test, migrate_vma_setup(&args), -EINVAL);
	args.vma = vma_lookup(current->mm, t.addr);
	args.end = t.addr;
	KUNIT_EXPECT_EQ(test, migrate_vma_setup(&args), -EINVAL);
	args.start = args.vma->vm_end;
	args.end = args.start + PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, migrate_vma_setup(&args), -EINVAL);
	args.start = t.addr;
	args.end = toy_page_addr(&t, 1);
	args.dst = NULL;
	KUNIT_EXPECT_EQ(test, migrate_vma_setup(&args), -EINVAL);
	args.dst = &dst;
	args.fault_page = ZERO_PAGE(t.addr);
	KUNIT_EXPECT_EQ(test, migrate_vma_setup(&args), -EINVAL);
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, src, 1);
	KUNIT_EXPECT_EQ(test, dst, 1);
	toy_end(&t);
}

/*
 * Other tasks act during a migration
 */

/*
 * The child must read what its parent has written. The parent must not see what
 * the child writes.
 */
static int toy_child_main(void *data)
{
	struct toy_test *t = data;
	unsigned long __user *p;
	unsigned long i, value;

	t->child.mm = current->mm;
	complete(&t->child.began);
	wait_for_completion(&t->child.go);
	for (i = 0; i < t->child.nr; i++) {
		p = (unsigned long __user *)toy_page_addr(t, i);
		if (get_user(value, p) || value != i + 1 || put_user(0, p))
			t->child.bad++;
	}
	vm_munmap(t->mapped, TOY_MAPPED);
	complete(&t->child.done);
	do_exit(0);
}

/*
 * Fork a child. It accesses its memory only after its completion go, which toy_end()
 * completes if the test has not done so.
 */
static int toy_fork(struct toy_test *t, unsigned long nr)
{
	struct kernel_clone_args args = {
		.flags = CLONE_FS | CLONE_FILES | CLONE_UNTRACED,
		.exit_signal = SIGCHLD,
		.fn = toy_child_main,
		.fn_arg = t,
	};
	pid_t pid;

	t->child = (struct toy_child){ .nr = nr };
	init_completion(&t->child.began);
	init_completion(&t->child.go);
	init_completion(&t->child.done);
	pid = kernel_clone(&args);
	if (pid < 0)
		return pid;
	t->child.pid = pid;
	wait_for_completion(&t->child.began);
	return 0;
}

/**
 * struct toy_act - an operation on the first two huge pages during a migration
 * @name: part of the name of the test
 * @run: performs the operation
 * @waits: the operation takes the mmap lock for writing
 * @first: first quarter of a huge page that @run acts on
 * @nr: number of quarters that @run acts on
 */
struct toy_act {
	const char *name;
	int (*run)(struct toy_test *t, unsigned long start, unsigned long len);
	bool waits;
	unsigned long first;
	unsigned long nr;
};

static int toy_unmap(struct toy_test *t, unsigned long start, unsigned long len)
{
	return vm_munmap(start, len);
}

static int toy_discard(struct toy_test *t, unsigned long start, unsigned long len)
{
	return do_madvise(current->mm, start, len, MADV_DONTNEED);
}

static int toy_protect(struct toy_test *t, unsigned long start, unsigned long len)
{
	struct vm_area_struct *vma, *prev;
	struct mmu_gather tlb;
	int ret = -ENOMEM;

	mmap_write_lock(current->mm);
	vma = find_vma_prev(current->mm, start, &prev);
	if (vma) {
		VMA_ITERATOR(vmi, current->mm, start);

		vma_next(&vmi);
		if (start > vma->vm_start)
			prev = vma;
		tlb_gather_mmu(&tlb, current->mm);
		ret = mprotect_fixup(&vmi, &tlb, vma, &prev, start, start + len,
				     vma->vm_flags & ~VM_WRITE);
		tlb_finish_mmu(&tlb);
	}
	mmap_write_unlock(current->mm);
	return ret;
}

static int toy_fork_and_run(struct toy_test *t, unsigned long start,
			    unsigned long len)
{
	int ret = toy_fork(t, len >> PAGE_SHIFT);

	if (!ret)
		complete(&t->child.go);
	return ret;
}

static const struct toy_act toy_acts[] = {
	{ "unmapped", toy_unmap, true, 0, 8 },
	{ "unmapped in part", toy_unmap, true, 1, 4 },
	{ "discarded", toy_discard, false, 0, 8 },
	{ "discarded in part", toy_discard, false, 1, 4 },
	{ "protected", toy_protect, true, 0, 8 },
	{ "protected in part", toy_protect, true, 1, 4 },
	{ "forked", toy_fork_and_run, true, 0, 8 },
};

static int toy_act_run(struct toy_test *t, const struct toy_act *act)
{
	return act->run(t, t->addr + act->first * (PMD_SIZE / 4),
			act->nr * (PMD_SIZE / 4));
}

enum toy_size {
	TOY_SMALL,	/* small pages */
	TOY_WHOLE,	/* huge pages; the driver provides huge pages */
	TOY_SPLIT,	/* huge pages; the driver provides small pages */
	TOY_SIZES,
};

static const char *const toy_sizes[] = {
	"small pages", "huge pages", "split huge pages",
};

/**
 * struct toy_phase - a test parameter: an operation and the time when it runs
 * @nr: number of this parameter
 * @act: the operation
 * @moved: it runs after the pages have moved, not after they have been collected
 * @size: size of the pages
 */
struct toy_phase {
	unsigned int nr;
	const struct toy_act *act;
	bool moved;
	enum toy_size size;
};

static const void *toy_phase_next(struct kunit *test, const void *prev,
				  char *desc)
{
	static struct toy_phase phase;

	phase.nr = prev ? phase.nr + 1 : 0;
	if (phase.nr >= ARRAY_SIZE(toy_acts) * 2 * TOY_SIZES)
		return NULL;
	phase.size = phase.nr % TOY_SIZES;
	phase.moved = phase.nr / TOY_SIZES % 2;
	phase.act = &toy_acts[phase.nr / TOY_SIZES / 2];
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s, %s after their %s",
		 toy_sizes[phase.size], phase.act->name,
		 phase.moved ? "move" : "collection");
	return &phase;
}

/* Check page @i, which @act may or may not have acted on. */
static bool toy_page_acted(const struct toy_test *t, const struct toy_act *act,
			   unsigned long i)
{
	unsigned long __user *p = (unsigned long __user *)toy_page_addr(t, i);
	bool acted = i / (TOY_NR / 4) - act->first < act->nr;
	unsigned long value;

	if (acted && act->run == toy_unmap)
		return get_user(value, p) == -EFAULT;
	if (get_user(value, p))
		return false;
	if (acted && act->run == toy_discard)
		return !value && !put_user(i + 1, p);
	if (acted && act->run == toy_protect)
		return value == i + 1 && put_user(i + 1, p) == -EFAULT;
	return value == i + 1 && !put_user(i + 1, p);
}

static void toy_check_acted(struct toy_test *t, const struct toy_act *act)
{
	unsigned long i, bad = 0;

	for (i = 0; i < 2 * TOY_NR; i++)
		bad += !toy_page_acted(t, act, i);
	KUNIT_EXPECT_EQ(t->test, bad, 0);
}

/**
 * struct toy_other - a thread that acts on the memory of the test
 * @t: the test
 * @act: the operation of the thread
 * @task: the thread, or NULL if toy_other_end() need not wait for it
 * @mm: mm of the test
 * @done: the operation has returned
 * @ret: return value of the operation
 */
struct toy_other {
	struct toy_test *t;
	const struct toy_act *act;
	struct task_struct *task;
	struct mm_struct *mm;
	struct completion done;
	int ret;
};

static int toy_other_thread(void *data)
{
	struct toy_other *other = data;

	kthread_use_mm(other->mm);
	other->ret = toy_act_run(other->t, other->act);
	kthread_unuse_mm(other->mm);
	complete(&other->done);
	return 0;
}

static void toy_other_start(struct toy_other *other, struct toy_test *t,
			    const struct toy_act *act)
{
	struct task_struct *task;

	other->t = t;
	other->act = act;
	other->mm = current->mm;
	other->task = NULL;
	init_completion(&other->done);
	task = kthread_run(toy_other_thread, other, "toy_other");
	KUNIT_EXPECT_FALSE(t->test, IS_ERR(task));
	if (!IS_ERR(task))
		other->task = task;
}

/*
 * Start the operation of @phase if @moved is the right time for it. The caller
 * holds the mmap lock for reading. An operation that takes the mmap lock for
 * writing must wait. All others must complete at once.
 */
static void toy_act_locked(struct toy_other *other, struct toy_test *t,
			   const struct toy_phase *phase, bool moved)
{
	unsigned long patience = phase->act->waits ? HZ / 100 + 1 : 10 * HZ;
	bool done;

	if (phase->moved != moved)
		return;
	toy_other_start(other, t, phase->act);
	if (!other->task)
		return;
	done = wait_for_completion_timeout(&other->done, patience);
	KUNIT_EXPECT_EQ(t->test, done, !phase->act->waits);
	if (done)
		other->task = NULL;
}

static void toy_other_end(struct toy_other *other, struct toy_test *t)
{
	if (other->task)
		wait_for_completion(&other->done);
	KUNIT_EXPECT_EQ(t->test, other->ret, 0);
}

/* An eviction holds no mmap lock between its calls: no operation may fail. */
static void toy_act_unlocked(struct toy_test *t, const struct toy_phase *phase,
			     bool moved)
{
	if (phase->moved == moved)
		KUNIT_EXPECT_EQ(t->test, toy_act_run(t, phase->act), 0);
}

/* A task acts on memory of the device while that is evicted. */
static void act_during_eviction(struct kunit *test)
{
	const struct toy_phase *phase = test->param_value;
	const unsigned long nr = 2 * TOY_NR;
	unsigned long *src, *dst;
	struct toy_test t;

	if (!toy_begin(test, &t, phase->size != TOY_SMALL))
		return;
	src = kunit_kcalloc(test, nr, sizeof(*src), GFP_KERNEL);
	dst = kunit_kcalloc(test, nr, sizeof(*dst), GFP_KERNEL);
	toy_fill(&t, nr);
	toy_pull_all(&t, nr);
	KUNIT_EXPECT_EQ(test, toy_held(&t), nr);
	t.toy->refuse_huge = phase->size == TOY_SPLIT;
	if (src && dst) {
		migrate_device_range(src, t.toy->first, nr);
		toy_fill_dst_system(src, dst, nr);
		toy_act_unlocked(&t, phase, /* moved = */ false);
		migrate_device_pages(src, dst, nr);
		toy_act_unlocked(&t, phase, /* moved = */ true);
		migrate_device_finalize(src, dst, nr);
	}
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	toy_check_acted(&t, phase->act);
	toy_end(&t);
}

/* Migrate pages of the process, and run the operation of the parameter meanwhile. */
static void toy_migrate_with_act(struct toy_test *t, unsigned long flags)
{
	const struct toy_phase *phase = t->test->param_value;
	const unsigned long nr = 2 * TOY_NR;
	struct toy_other other = {};
	struct migrate_vma args = {
		.start = t->addr,
		.end = toy_page_addr(t, nr),
		.pgmap_owner = t->toy,
		.flags = flags | MIGRATE_VMA_SELECT_COMPOUND,
		.src = kunit_kcalloc(t->test, nr, sizeof(long), GFP_KERNEL),
		.dst = kunit_kcalloc(t->test, nr, sizeof(long), GFP_KERNEL),
	};

	mmap_read_lock(current->mm);
	args.vma = vma_lookup(current->mm, t->addr);
	KUNIT_EXPECT_EQ(t->test, migrate_vma_setup(&args), 0);
	KUNIT_EXPECT_EQ(t->test, args.cpages,
			phase->size == TOY_SMALL ? nr : 2);
	if (flags & MIGRATE_VMA_SELECT_SYSTEM)
		toy_fill_dst_device(t->toy, &args);
	else
		toy_fill_dst_system(args.src, args.dst, nr);
	toy_act_locked(&other, t, phase, /* moved = */ false);
	migrate_vma_pages(&args);
	toy_act_locked(&other, t, phase, /* moved = */ true);
	migrate_vma_finalize(&args);
	mmap_read_unlock(current->mm);
	toy_other_end(&other, t);
}

/* A thread acts on memory while that moves to the device. */
static void act_during_pull(struct kunit *test)
{
	const struct toy_phase *phase = test->param_value;
	struct toy_test t;

	if (!toy_begin(test, &t, phase->size != TOY_SMALL))
		return;
	toy_fill(&t, 2 * TOY_NR);
	t.toy->refuse_huge = phase->size == TOY_SPLIT;
	toy_migrate_with_act(&t, MIGRATE_VMA_SELECT_SYSTEM);
	t.toy->refuse_huge = false;
	/* Evict small pages together: each of them would need a fault otherwise. */
	if (phase->size != TOY_WHOLE)
		toy_evict_all(&t);
	toy_check_acted(&t, phase->act);
	toy_end(&t);
}

/* A thread acts on memory while that moves back to the system. */
static void act_during_move_back(struct kunit *test)
{
	const struct toy_phase *phase = test->param_value;
	struct toy_test t;

	if (!toy_begin(test, &t, phase->size != TOY_SMALL))
		return;
	toy_fill(&t, 2 * TOY_NR);
	toy_pull_all(&t, 2 * TOY_NR);
	t.toy->refuse_huge = phase->size == TOY_SPLIT;
	toy_migrate_with_act(&t, MIGRATE_VMA_SELECT_DEVICE_PRIVATE);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	toy_check_acted(&t, phase->act);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
	toy_end(&t);
}

static int toy_discard_one(struct toy_test *t, unsigned long start,
			   unsigned long len)
{
	return toy_discard(t, start, PAGE_SIZE);
}

/* Another thread discards the faulting page before the driver collects it. */
static vm_fault_t toy_migrate_discarded(struct vm_fault *vmf)
{
	const struct toy_act act = { .run = toy_discard_one, .first = !vmf->pte };
	struct toy_device *toy = page_pgmap(vmf->page)->owner;
	struct toy_other other = {};

	toy_other_start(&other, toy->test, &act);
	toy_other_end(&other, toy->test);
	return toy_migrate_to_ram(vmf);
}

static const struct dev_pagemap_ops toy_discarding_ops = {
	.folio_free = toy_folio_free,
	.migrate_to_ram = toy_migrate_discarded,
};

/* If the faulting page was discarded, the fault succeeds and the CPU reads zero. */
static void toy_discarded_first(struct kunit *test, bool huge)
{
	unsigned long i = huge ? TOY_NR / 4 : 0, value = 1;
	struct toy_test t;
	int err;

	if (!toy_begin(test, &t, huge))
		return;
	toy_fill(&t, TOY_NR);
	toy_pull_all(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_NR);
	t.toy->pagemap.ops = &toy_discarding_ops;
	err = get_user(value, (unsigned long __user *)toy_page_addr(&t, i));
	KUNIT_EXPECT_EQ(test, err, 0);
	t.toy->pagemap.ops = &toy_ops;
	KUNIT_EXPECT_EQ(test, value, 0);
	KUNIT_EXPECT_EQ(test, put_user(i + 1, (unsigned long __user *)
				       toy_page_addr(&t, i)), 0);
	toy_check_filled(&t, TOY_NR);
	toy_end(&t);
}

static void discarded_first_small(struct kunit *test)
{
	toy_discarded_first(test, /* huge = */ false);
}

static void discarded_first_huge(struct kunit *test)
{
	toy_discarded_first(test, /* huge = */ true);
}

/*
 * A huge entry is moved or missing while its folio is split
 */

/**
 * struct toy_move - the move of a huge entry, as by mremap()
 * @from: old place of the entry
 * @to: new place of the entry
 * @lock: page table lock of @from
 * @pmd: the entry; during the move it is in neither place
 */
struct toy_move {
	pmd_t *from;
	pmd_t *to;
	spinlock_t *lock; /* @from */
	pmd_t pmd;
};

static pmd_t *toy_alloc_pmd(struct mm_struct *mm, unsigned long addr)
{
	p4d_t *p4d = p4d_alloc(mm, pgd_offset(mm, addr), addr);
	pud_t *pud = p4d ? pud_alloc(mm, p4d, addr) : NULL;

	return pud ? pmd_alloc(mm, pud, addr) : NULL;
}

/*
 * mremap() moves an entry from one VMA to another one of the same process. Here
 * the entry moves to another process. This is the same for an rmap walk if it
 * visits the new place later than the old one.
 */
static void toy_move_begin(struct toy_test *t, struct toy_move *move)
{
	struct mm_struct *mm = current->mm;

	move->lock = pmd_lock(mm, move->from);
	move->pmd = pmdp_huge_get_and_clear(mm, t->addr, move->from);
}

static void toy_move_end(struct toy_test *t, struct toy_move *move)
{
	struct mm_struct *from = current->mm, *to = t->child.mm;
	spinlock_t *lock = pmd_lockptr(to, move->to);
	pgtable_t table;

	spin_lock_nested(lock, SINGLE_DEPTH_NESTING);
	table = pgtable_trans_huge_withdraw(from, move->from);
	pgtable_trans_huge_deposit(to, move->to, table);
	set_pmd_at(to, t->addr, move->to, move->pmd);
	mm_dec_nr_ptes(from);
	mm_inc_nr_ptes(to);
	spin_unlock(lock);
	spin_unlock(move->lock);
	add_mm_counter(from, MM_ANONPAGES, -(long)TOY_NR);
	add_mm_counter(to, MM_ANONPAGES, TOY_NR);
}

/**
 * struct toy_eviction - an eviction that replaces a huge page with small pages
 * @src: array src of the eviction
 * @dst: array dst of the eviction
 * @ready: a thread on another CPU waits for @go
 * @go: the thread may call migrate_device_pages()
 * @done: migrate_device_pages() has returned
 */
struct toy_eviction {
	unsigned long *src;
	unsigned long *dst;
	struct completion ready;
	bool go;
	struct completion done;
};

static void toy_eviction_end(struct toy_test *t, struct toy_eviction *eviction)
{
	migrate_device_finalize(eviction->src, eviction->dst, TOY_NR);
	KUNIT_EXPECT_EQ(t->test, toy_held(t), 0);
}

/* Begin an eviction. If there is no huge entry, end it and return false. */
static bool toy_eviction_begin(struct toy_test *t, struct toy_eviction *eviction)
{
	const unsigned long huge = MIGRATE_PFN_MIGRATE | MIGRATE_PFN_COMPOUND;

	eviction->go = false;
	init_completion(&eviction->ready);
	init_completion(&eviction->done);
	eviction->src = kunit_kcalloc(t->test, TOY_NR, sizeof(long), GFP_KERNEL);
	eviction->dst = kunit_kcalloc(t->test, TOY_NR, sizeof(long), GFP_KERNEL);
	if (!eviction->src || !eviction->dst)
		return false;

	t->toy->refuse_huge = true;
	migrate_device_range(eviction->src, t->toy->first, TOY_NR);
	KUNIT_EXPECT_EQ(t->test, eviction->src[0] & huge, huge);
	if ((eviction->src[0] & huge) != huge) {
		toy_eviction_end(t, eviction);
		return false;
	}
	toy_fill_dst_system(eviction->src, eviction->dst, TOY_NR);
	return true;
}

static int toy_eviction_thread(void *data)
{
	struct toy_eviction *eviction = data;

	/* Poll: after a sleep, the thread would have to wait for the scheduler. */
	complete(&eviction->ready);
	while (!READ_ONCE(eviction->go))
		cond_resched();
	migrate_device_pages(eviction->src, eviction->dst, TOY_NR);
	complete(&eviction->done);
	return 0;
}

/*
 * Let the eviction continue on another CPU while the entry is in neither place.
 * Return true if migrate_device_pages() returns before the move has ended.
 */
static bool toy_eviction_overtakes(struct toy_test *t, struct toy_eviction *eviction,
				   struct toy_move *move)
{
	struct task_struct *task;
	ktime_t patience;
	bool done = false;
	unsigned int cpu;

	migrate_disable();
	cpu = cpumask_any_but(cpu_online_mask, smp_processor_id());
	task = kthread_run_on_cpu(toy_eviction_thread, eviction, cpu, "toy_evict/%u");
	KUNIT_EXPECT_FALSE(t->test, IS_ERR(task));
	if (IS_ERR(task))
		goto out_enable;

	wait_for_completion(&eviction->ready);
	toy_move_begin(t, move);
	WRITE_ONCE(eviction->go, true);
	patience = ktime_add_ms(ktime_get(), 300);
	do {
		cpu_relax();
		done = completion_done(&eviction->done);
	} while (!done && ktime_before(ktime_get(), patience));
	toy_move_end(t, move);
	wait_for_completion(&eviction->done);
out_enable:
	migrate_enable();
	return done;
}

/*
 * Fork a child that has no page at the first huge page. The rmap walk visits the
 * child after its parent.
 */
static bool toy_empty_child(struct toy_test *t, struct toy_move *move)
{
	unsigned long __user *second = (void __user *)(t->addr + PMD_SIZE);

	KUNIT_EXPECT_EQ(t->test, put_user(1, second), 0);
	KUNIT_EXPECT_EQ(t->test, toy_fork(t, TOY_NR), 0);
	if (!t->child.pid)
		return false;
	toy_fill(t, TOY_NR);
	move->from = toy_alloc_pmd(current->mm, t->addr);
	move->to = toy_alloc_pmd(t->child.mm, t->addr);
	return move->from && move->to;
}

static void toy_split_moving(struct toy_test *t)
{
	struct toy_eviction eviction;
	struct toy_move move;

	if (!toy_empty_child(t, &move))
		return;
	toy_pull_all(t, TOY_NR);
	KUNIT_EXPECT_EQ(t->test, toy_held(t), TOY_NR);
	if (!toy_eviction_begin(t, &eviction))
		return;
	KUNIT_EXPECT_FALSE(t->test, toy_eviction_overtakes(t, &eviction, &move));
	toy_eviction_end(t, &eviction);
	toy_check_zero(t, TOY_NR);
}

/* A split waits for a huge entry that is being moved to another page table. */
static void split_waits_for_move(struct kunit *test)
{
	struct toy_test t;

	if (num_online_cpus() < 2) {
		kunit_skip(test, "needs two CPUs");
		return;
	}
	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_split_moving(&t);
	toy_end(&t);
}

/*
 * A split has missed a huge entry. The small pages must still be mapped, each at
 * its own address, and the kernel must warn.
 */
static void entry_missed_by_split(struct kunit *test)
{
	struct toy_eviction eviction;
	struct toy_move move = {};
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, TOY_NR);
	toy_pull_all(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_NR);
	move.from = toy_alloc_pmd(current->mm, t.addr);
	if (!toy_eviction_begin(&t, &eviction))
		goto out_end;

	toy_move_begin(&t, &move);
	spin_unlock(move.lock);
	migrate_device_pages(eviction.src, eviction.dst, TOY_NR);
	spin_lock(move.lock);
	set_pmd_at(current->mm, t.addr, move.from, move.pmd);
	spin_unlock(move.lock);
	kunit_warning_suppress(test) {
		toy_eviction_end(&t, &eviction);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	toy_check_filled(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
out_end:
	toy_end(&t);
}

/* A process maps a huge page with a huge entry, another one with small entries. */
static void toy_evicted_unlike(struct kunit *test, bool split)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, TOY_NR);
	toy_pull_all(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_fork(&t, TOY_NR), 0);
	KUNIT_EXPECT_EQ(test, toy_protect(&t, toy_page_addr(&t, TOY_NR - 1),
					  PAGE_SIZE), 0);
	t.toy->refuse_huge = split;
	toy_evict_all(&t);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	toy_check_filled(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
	toy_end(&t);
}

static void evicted_unlike_huge(struct kunit *test)
{
	toy_evicted_unlike(test, /* split = */ false);
}

static void evicted_unlike_split(struct kunit *test)
{
	toy_evicted_unlike(test, /* split = */ true);
}

/*
 * References and locks of other tasks
 */

/* A page moves only after another task has dropped its reference or lock. */
static void toy_held_back(struct kunit *test, bool huge, bool lock)
{
	unsigned long stays = huge ? TOY_NR : 1;
	struct folio *folio;
	struct toy_test t;

	if (!toy_begin(test, &t, huge))
		return;
	toy_fill(&t, 2 * TOY_NR);
	toy_pull_all(&t, 2 * TOY_NR);
	folio = toy_first_folio(&t);
	folio_get(folio);
	if (lock)
		folio_lock(folio);
	toy_evict_all(&t);
	KUNIT_EXPECT_EQ(test, toy_held(&t), stays);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), folio_mapcount(folio) + 1);
	if (lock)
		folio_unlock(folio);
	folio_put(folio);
	toy_evict_all(&t);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	toy_check_filled(&t, 2 * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
	toy_end(&t);
}

static void held_small_stays(struct kunit *test)
{
	toy_held_back(test, /* huge = */ false, /* lock = */ false);
}

static void held_huge_stays(struct kunit *test)
{
	toy_held_back(test, /* huge = */ true, /* lock = */ false);
}

static void locked_small_stays(struct kunit *test)
{
	toy_held_back(test, /* huge = */ false, /* lock = */ true);
}

static void locked_huge_stays(struct kunit *test)
{
	toy_held_back(test, /* huge = */ true, /* lock = */ true);
}

/*
 * migrate_device_pfns() clears the slots behind a huge page. It does so even if
 * another task has locked the huge page, so that it cannot be collected.
 */
static void locked_huge_steps_over(struct kunit *test)
{
	const unsigned long nr = TOY_NR + 1;
	unsigned long *src, *dst, i;
	struct folio *folio;
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	src = kunit_kcalloc(test, nr, sizeof(*src), GFP_KERNEL);
	dst = kunit_kcalloc(test, nr, sizeof(*dst), GFP_KERNEL);
	toy_fill(&t, 2 * TOY_NR);
	toy_pull_all(&t, TOY_NR);
	t.toy->refuse_huge = true;
	toy_pull_all(&t, 2 * TOY_NR);
	t.toy->refuse_huge = false;
	KUNIT_EXPECT_EQ(test, toy_held(&t), 2 * TOY_NR);

	folio = toy_first_folio(&t);
	if (src && dst) {
		/* Name small pages in the slot of a tail and in the last slot. */
		for (i = 0; i < nr; i++)
			src[i] = t.toy->first + i;
		src[1] = t.toy->first + TOY_NR + 1;
		folio_lock(folio);
		migrate_device_pfns(src, nr);
		KUNIT_EXPECT_NULL(test, memchr_inv(src, 0, TOY_NR * sizeof(*src)));
		toy_fill_dst_system(src, dst, nr);
		migrate_device_pages(src, dst, nr);
		migrate_device_finalize(src, dst, nr);
		folio_unlock(folio);
	}
	KUNIT_EXPECT_EQ(test, toy_held(&t), 2 * TOY_NR - 1);
	toy_check_filled(&t, 2 * TOY_NR);
	toy_end(&t);
}

/* Return the number of huge pages that could not be split since boot. */
static unsigned long toy_splits_failed(unsigned long *events)
{
	all_vm_events(events);
	return events[THP_SPLIT_PAGE_FAILED];
}

/* Collect, and give up. src[@i] must be the only entry and have the flags @entry. */
static void toy_expect_only(struct toy_test *t, struct migrate_vma *args,
			    unsigned long i, unsigned long entry)
{
	mmap_read_lock(current->mm);
	args->vma = vma_lookup(current->mm, t->addr);
	KUNIT_EXPECT_EQ(t->test, migrate_vma_setup(args), 0);
	KUNIT_EXPECT_EQ(t->test, args->cpages, 1);
	KUNIT_EXPECT_EQ(t->test, args->npages, TOY_NR);
	KUNIT_EXPECT_EQ(t->test, args->src[i] & (MIGRATE_PFN_VALID |
						 MIGRATE_PFN_MIGRATE |
						 MIGRATE_PFN_COMPOUND), entry);
	migrate_vma_finalize(args);
	mmap_read_unlock(current->mm);
}

/*
 * A huge page that cannot be split stays. Another page, or a hole, between its
 * pages is collected. The kernel tries only once to split the huge page.
 */
static void held_huge_with_gap(struct kunit *test)
{
	const unsigned long gap = 5, failures = IS_ENABLED(CONFIG_VM_EVENT_COUNTERS);
	unsigned long *events, before;
	struct migrate_vma args = {};
	struct folio *folio;
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	events = kunit_kcalloc(test, NR_VM_EVENT_ITEMS, sizeof(*events), GFP_KERNEL);
	toy_fill(&t, TOY_NR);
	folio = toy_get_folio(&t, 0);
	if (!folio || !events || !toy_one_begin(&t, &args, TOY_NR)) {
		KUNIT_FAIL(test, "no memory");
		goto out_put;
	}
	KUNIT_EXPECT_EQ(test, folio_nr_pages(folio), TOY_NR);

	KUNIT_EXPECT_EQ(test, toy_discard(&t, toy_page_addr(&t, gap), PAGE_SIZE), 0);
	toy_fill(&t, TOY_NR);
	before = toy_splits_failed(events);
	toy_expect_only(&t, &args, gap, MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE);
	KUNIT_EXPECT_EQ(test, toy_splits_failed(events) - before, failures);
	toy_check_filled(&t, TOY_NR);

	KUNIT_EXPECT_EQ(test, toy_discard(&t, toy_page_addr(&t, gap), PAGE_SIZE), 0);
	before = toy_splits_failed(events);
	toy_expect_only(&t, &args, gap, MIGRATE_PFN_MIGRATE);
	KUNIT_EXPECT_EQ(test, toy_splits_failed(events) - before, failures);
out_put:
	if (folio)
		folio_put(folio);
	toy_end(&t);
}

/* The system lacks memory. The rest of the pages moves when it has memory. */
static void evicted_in_part(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, 2 * TOY_NR);
	toy_pull_all(&t, 2 * TOY_NR);
	t.toy->refuse_huge = true;
	t.toy->refuse_every = 4;
	toy_evict_all(&t);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 2 * TOY_NR / 4);
	t.toy->refuse_every = 0;
	toy_evict_all(&t);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	toy_check_filled(&t, 2 * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
	toy_end(&t);
}

/* A device neither collects nor evicts the memory of another device. */
static void two_devices(struct kunit *test)
{
	const unsigned long private = MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
	struct toy_device *other;
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	other = toy_create();
	KUNIT_EXPECT_NOT_NULL(test, other);
	if (!other)
		goto out_end;

	toy_fill(&t, 3 * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_pull(other, current->mm, t.addr, TOY_NR), 0);
	toy_pull_all(&t, 3 * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_pull(other, current->mm, t.addr, 3 * TOY_NR), 0);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 2 * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_device_held(other), TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_collected(&t, private, t.toy), 0);
	KUNIT_EXPECT_EQ(test, toy_collected(&t, private, other), 8);

	toy_evict_all(&t);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	KUNIT_EXPECT_EQ(test, toy_device_held(other), TOY_NR);
	toy_check_filled(&t, 3 * TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
	KUNIT_EXPECT_EQ(test, toy_device_held(other), 0);
	if (!toy_device_held(other))
		toy_remove(other);
out_end:
	toy_end(&t);
}

/* A fault on a huge page of the device that the process maps with small entries. */
static void fault_on_part_of_huge(struct kunit *test)
{
	const unsigned long last = TOY_NR - 1;
	unsigned long value = 0;
	struct toy_test t;
	int err;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, TOY_NR);
	toy_pull_all(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_protect(&t, toy_page_addr(&t, last), PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_NR);

	err = get_user(value, (unsigned long __user *)toy_page_addr(&t, TOY_NR / 2));
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_EQ(test, value, TOY_NR / 2 + 1);
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_NR - 1);
	toy_check_filled(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), TOY_NR);
	toy_end(&t);
}

/* A driver that does not ask for huge pages gets small ones. */
static void huge_not_asked_for(struct kunit *test)
{
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_collected(&t, MIGRATE_VMA_SELECT_SYSTEM, t.toy),
			8);
	toy_check_filled(&t, TOY_NR);
	toy_pull_all(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_collected(&t, MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
					    t.toy), 8);
	toy_check_filled(&t, TOY_NR);
	toy_end(&t);
}

/* Number of threads that access the same memory */
#define TOY_READERS	4

/*
 * Threads that fault on a locked page of a device sleep until it is unlocked. A
 * thread that faults again and again instead may keep the lock holder off the CPU.
 */
static void toy_faults_sleep(struct kunit *test, bool huge)
{
	struct toy_reader reader[TOY_READERS] = {};
	unsigned long i, faults;
	struct folio *folio;
	struct toy_test t;

	if (!toy_begin(test, &t, huge))
		return;
	toy_fill(&t, TOY_NR);
	toy_pull_all(&t, TOY_NR);
	folio = toy_first_folio(&t);
	folio_lock(folio);
	for (i = 0; i < TOY_READERS; i++)
		toy_reader_start(&t, &reader[i], huge ? i : 0);
	msleep(50);
	for (i = 0; i < TOY_READERS; i++) {
		faults = reader[i].task ? READ_ONCE(reader[i].task->min_flt) : 0;
		KUNIT_EXPECT_LE(test, faults, 1);
		KUNIT_EXPECT_FALSE(test, completion_done(&reader[i].done));
	}
	folio_unlock(folio);
	for (i = 0; i < TOY_READERS; i++)
		toy_reader_end(&t, &reader[i], huge ? i + 1 : 1);

	KUNIT_EXPECT_EQ(test, toy_faults(&t), 1);
	KUNIT_EXPECT_EQ(test, toy_held(&t), huge ? 0 : TOY_NR - 1);
	toy_check_filled(&t, TOY_NR);
	toy_end(&t);
}

static void faults_sleep_small(struct kunit *test)
{
	toy_faults_sleep(test, /* huge = */ false);
}

static void faults_sleep_huge(struct kunit *test)
{
	toy_faults_sleep(test, /* huge = */ true);
}

/*
 * Slots behind a huge entry, and pages that are used again
 */

/*
 * Allocate a page for a slot that no call may visit. The page is locked and has
 * an additional reference: a call that visits the slot drops both.
 */
static struct page *toy_unvisited_page(void)
{
	struct page *page = alloc_page(GFP_KERNEL | __GFP_NOFAIL);

	get_page(page);
	lock_page(page);
	return page;
}

static void toy_unvisited_page_end(struct toy_test *t, struct page *page)
{
	KUNIT_EXPECT_TRUE(t->test, PageLocked(page));
	KUNIT_EXPECT_EQ(t->test, page_ref_count(page), 2);
	if (PageLocked(page)) {
		unlock_page(page);
		put_page(page);
	}
	put_page(page);
}

/*
 * A huge entry for which the driver provides a huge page is one entry. The calls
 * do not visit the slots behind it: a page there is neither unlocked nor put.
 */
static void tail_slots_not_visited(struct kunit *test)
{
	struct migrate_vma args = {};
	struct page *page;
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, TOY_NR);
	page = toy_unvisited_page();
	if (toy_one_begin(&t, &args, TOY_NR)) {
		mmap_read_lock(current->mm);
		args.vma = vma_lookup(current->mm, t.addr);
		KUNIT_EXPECT_EQ(test, migrate_vma_setup(&args), 0);
		KUNIT_EXPECT_EQ(test, args.cpages, 1);
		toy_fill_dst_device(t.toy, &args);
		args.dst[TOY_NR - 1] = migrate_pfn(page_to_pfn(page));
		migrate_vma_pages(&args);
		migrate_vma_finalize(&args);
		mmap_read_unlock(current->mm);
	}
	KUNIT_EXPECT_EQ(test, toy_held(&t), TOY_NR);
	toy_unvisited_page_end(&t, page);
	toy_check_filled(&t, TOY_NR);
	toy_end(&t);
}

/* Free a folio. The driver makes a folio of another size of its memory at once. */
static void toy_folio_reuse(struct folio *folio)
{
	struct toy_device *toy = folio->pgmap->owner;

	toy_folio_free(folio);
	toy->reused = toy_alloc(toy, 1);
}

static const struct dev_pagemap_ops toy_reusing_ops = {
	.folio_free = toy_folio_reuse,
	.migrate_to_ram = toy_migrate_to_ram,
};

/* The type and the size of a folio must not be read after it was freed. */
static void freed_page_reused(struct kunit *test)
{
	struct folio *reused;
	struct page *page;
	unsigned long *src, *dst;
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	src = kunit_kcalloc(test, TOY_NR, sizeof(*src), GFP_KERNEL);
	dst = kunit_kcalloc(test, TOY_NR, sizeof(*dst), GFP_KERNEL);
	toy_fill(&t, TOY_NR);
	toy_pull_all(&t, TOY_NR);
	page = toy_unvisited_page();
	if (src && dst) {
		migrate_device_range(src, t.toy->first, TOY_NR);
		toy_fill_dst_system(src, dst, TOY_NR);
		dst[TOY_NR - 1] = migrate_pfn(page_to_pfn(page));
		t.toy->pagemap.ops = &toy_reusing_ops;
		migrate_device_pages(src, dst, TOY_NR);
		migrate_device_finalize(src, dst, TOY_NR);
		t.toy->pagemap.ops = &toy_ops;
	}
	toy_unvisited_page_end(&t, page);

	reused = t.toy->reused;
	KUNIT_EXPECT_PTR_EQ(test, reused, toy_first_folio(&t));
	if (reused) {
		KUNIT_EXPECT_EQ(test, folio_nr_pages(reused), 1);
		KUNIT_EXPECT_EQ(test, folio_ref_count(reused), 1);
		KUNIT_EXPECT_TRUE(test, folio_test_locked(reused));
		folio_unlock(reused);
		folio_put(reused);
	}
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	toy_check_filled(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
	toy_end(&t);
}

/* Move small pages to the device that have the active flag. */
static void toy_pull_active(struct toy_test *t, unsigned long nr)
{
	struct migrate_vma args = {};
	unsigned long i;

	if (!toy_one_begin(t, &args, nr))
		return;
	mmap_read_lock(current->mm);
	args.vma = vma_lookup(current->mm, t->addr);
	KUNIT_EXPECT_EQ(t->test, migrate_vma_setup(&args), 0);
	KUNIT_EXPECT_EQ(t->test, args.cpages, nr);
	/* The folios are isolated, so no size of an LRU list changes. */
	for (i = 0; i < nr; i++) {
		if (args.src[i] & MIGRATE_PFN_MIGRATE)
			folio_set_active(page_folio(migrate_pfn_to_page(args.src[i])));
	}
	toy_fill_dst_device(t->toy, &args);
	migrate_vma_pages(&args);
	migrate_vma_finalize(&args);
	mmap_read_unlock(current->mm);
}

/* Discard the memory on the device, and move the same amount to the device again. */
static void toy_pull_again(struct toy_test *t, bool huge)
{
	KUNIT_EXPECT_EQ(t->test, toy_held(t), TOY_NR);
	KUNIT_EXPECT_EQ(t->test, do_madvise(current->mm, t->addr, PMD_SIZE,
					    MADV_DONTNEED), 0);
	KUNIT_EXPECT_EQ(t->test, toy_held(t), 0);
	KUNIT_EXPECT_EQ(t->test, do_madvise(current->mm, t->mapped, TOY_MAPPED,
					    huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE), 0);
	toy_fill(t, TOY_NR);
	toy_pull_all(t, TOY_NR);
	KUNIT_EXPECT_EQ(t->test, toy_held(t), TOY_NR);
	KUNIT_EXPECT_EQ(t->test, folio_nr_pages(toy_first_folio(t)),
			huge ? TOY_NR : 1);
}

/*
 * A huge folio is made of pages of the device that were small folios. Their old
 * flags must not keep it from being collected: a fault on it would never end.
 */
static void huge_of_used_pages(struct kunit *test)
{
	struct migrate_vma args = {};
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_advise(&t, /* huge = */ false);
	toy_fill(&t, TOY_NR);
	toy_pull_active(&t, TOY_NR);
	KUNIT_EXPECT_TRUE(test, folio_test_active(toy_first_folio(&t)));
	toy_pull_again(&t, /* huge = */ true);
	KUNIT_EXPECT_FALSE(test, folio_contain_hwpoisoned_page(toy_first_folio(&t)));

	if (!toy_one_begin(&t, &args, TOY_NR))
		goto out_end;
	args.flags |= MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
	mmap_read_lock(current->mm);
	args.vma = vma_lookup(current->mm, t.addr);
	KUNIT_EXPECT_EQ(test, migrate_vma_setup(&args), 0);
	KUNIT_EXPECT_EQ(test, args.cpages, 1);
	migrate_vma_finalize(&args);
	mmap_read_unlock(current->mm);
out_end:
	if (args.cpages)
		toy_check_filled(&t, TOY_NR);
	toy_end(&t);
}

/* Small folios are made of the tail pages of a huge one, without the old flags. */
static void small_of_used_pages(struct kunit *test)
{
	unsigned long i, bad = 0;
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, TOY_NR);
	toy_pull_all(&t, TOY_NR);
	toy_pull_again(&t, /* huge = */ false);
	for (i = 0; i < TOY_NR; i++) {
		struct folio *folio = page_folio(pfn_to_page(t.toy->first + i));

		bad += folio_test_workingset(folio) || folio_test_reclaim(folio) ||
		       folio_test_unevictable(folio);
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
	toy_check_filled(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), TOY_NR);
	toy_end(&t);
}

/*
 * LRU caches. A page that was just faulted in is in the LRU cache of that CPU. It
 * can be isolated only after all CPUs have drained their caches. The drain waits
 * for a work item on each CPU. No task may meanwhile spin on a lock that the
 * migration holds. A locked folio must therefore not be mapped any more.
 */

/**
 * struct toy_drain - calls of lru_add_drain_all()
 * @task: only calls by this task are counted
 * @toy: device whose pages are checked
 * @drains: number of calls
 * @reachable: number of pages that were locked and mapped during a call
 */
struct toy_drain {
	struct task_struct *task;
	struct toy_device *toy;
	unsigned int drains;
	unsigned int reachable;
};

static void toy_drained(void *data, bool force_all_cpus)
{
	struct toy_drain *drain = data;
	unsigned long i;

	if (current != drain->task)
		return;
	drain->drains++;
	for_each_set_bit(i, drain->toy->used, drain->toy->nr) {
		struct page *page = pfn_to_page(drain->toy->first + i);
		struct folio *folio = page_folio(page);

		drain->reachable += folio_test_locked(folio) && folio_mapped(folio);
	}
}

static void toy_drain_begin(struct toy_test *t, struct toy_drain *drain)
{
	*drain = (struct toy_drain){ .task = current, .toy = t->toy };
	KUNIT_EXPECT_EQ(t->test, 0,
			register_trace_mm_lru_add_drain_all_tp(toy_drained, drain));
}

static void toy_drain_end(struct toy_drain *drain)
{
	unregister_trace_mm_lru_add_drain_all_tp(toy_drained, drain);
	tracepoint_synchronize_unregister();
}

/**
 * struct toy_touch - a write to a page on another CPU
 * @mm: mm of the test
 * @addr: address of the page
 */
struct toy_touch {
	struct mm_struct *mm;
	unsigned long addr;
};

static long toy_touch_here(void *data)
{
	struct toy_touch *touch = data;
	long ret;

	kthread_use_mm(touch->mm);
	ret = put_user(1, (unsigned long __user *)touch->addr);
	kthread_unuse_mm(touch->mm);
	return ret;
}

static bool toy_first_on_lru(const struct toy_test *t)
{
	struct folio *folio = toy_get_folio(t, 0);
	bool on_lru = true;

	if (folio) {
		on_lru = folio_test_lru(folio);
		folio_put(folio);
	}
	return on_lru;
}

/*
 * Leave the first page in the LRU cache of another CPU. If the page fills the
 * cache, that CPU drains the cache, and the function retries. The caller must
 * disable migration between CPUs. Otherwise the test might run on the other CPU
 * and drain that cache.
 */
static bool toy_first_to_lru_cache(const struct toy_test *t)
{
	struct toy_touch touch = { current->mm, t->addr };
	unsigned int cpu, round;

	cpu = cpumask_any_but(cpu_online_mask, smp_processor_id());
	if (cpu >= nr_cpu_ids)
		return false;
	for (round = 0; round < 32; round++) {
		if (do_madvise(current->mm, t->addr, PAGE_SIZE, MADV_DONTNEED) ||
		    work_on_cpu(cpu, toy_touch_here, &touch))
			return false;
		if (!toy_first_on_lru(t))
			return true;
	}
	return false;
}

/* Provide pages of the device for pages of the system, and the other way round. */
static void toy_fill_dst_exchange(struct toy_device *toy,
				  const struct migrate_vma *args)
{
	unsigned long i, nr;

	for (i = 0; i < args->npages; i += nr) {
		struct page *page = migrate_pfn_to_page(args->src[i]);
		struct migrate_vma part = *args;

		nr = args->src[i] & MIGRATE_PFN_COMPOUND ? TOY_NR : 1;
		part.src += i;
		part.dst += i;
		part.npages = nr;
		if (page && is_device_private_page(page))
			toy_fill_dst_system(part.src, part.dst, nr);
		else
			toy_fill_dst_device(toy, &part);
	}
}

/* Migrate a range whose first page is in an LRU cache, and observe the drain. */
static void toy_migrate_in_lru_cache(struct toy_test *t, struct migrate_vma *args,
				     struct toy_drain *drain, unsigned long nr)
{
	args->start = t->addr;
	args->end = toy_page_addr(t, nr);
	args->pgmap_owner = t->toy;
	args->src = kunit_kcalloc(t->test, nr, sizeof(long), GFP_KERNEL);
	args->dst = kunit_kcalloc(t->test, nr, sizeof(long), GFP_KERNEL);

	migrate_disable();
	KUNIT_EXPECT_TRUE(t->test, toy_first_to_lru_cache(t));
	toy_drain_begin(t, drain);
	mmap_read_lock(current->mm);
	args->vma = vma_lookup(current->mm, t->addr);
	KUNIT_EXPECT_EQ(t->test, migrate_vma_setup(args), 0);
	toy_drain_end(drain);
	toy_fill_dst_exchange(t->toy, args);
	migrate_vma_pages(args);
	migrate_vma_finalize(args);
	mmap_read_unlock(current->mm);
	migrate_enable();
	KUNIT_EXPECT_EQ(t->test, drain->reachable, 0);
}

/*
 * Half of the range is on the device, and a child maps it, too. All pages must be
 * unmapped before the LRU caches are drained.
 */
static void drained_when_unmapped(struct kunit *test)
{
	const unsigned long nr = 16;
	struct migrate_vma args = {
		.flags = MIGRATE_VMA_SELECT_SYSTEM |
			 MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
	};
	struct toy_drain drain;
	struct toy_test t;

	if (num_online_cpus() < 2) {
		kunit_skip(test, "needs two CPUs");
		return;
	}
	if (!toy_begin(test, &t, /* huge = */ false))
		return;
	toy_fill(&t, nr);
	KUNIT_EXPECT_EQ(test, toy_pull(t.toy, current->mm,
				       toy_page_addr(&t, nr / 2), nr / 2), 0);
	KUNIT_EXPECT_EQ(test, toy_held(&t), nr / 2);
	KUNIT_EXPECT_EQ(test, toy_fork(&t, nr), 0);
	toy_migrate_in_lru_cache(&t, &args, &drain, nr);
	KUNIT_EXPECT_EQ(test, drain.drains, 1);
	KUNIT_EXPECT_EQ(test, args.cpages, nr);

	/* The two halves have changed places. */
	KUNIT_EXPECT_EQ(test, toy_held(&t), nr / 2);
	KUNIT_EXPECT_EQ(test, toy_pull(t.toy, current->mm, t.addr, nr / 2), 0);
	KUNIT_EXPECT_EQ(test, toy_held(&t), nr / 2);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), 0);
	toy_check_filled(&t, nr);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), nr / 2);
	toy_end(&t);
}

/* The locked fault page is outside the range and mapped: nothing is drained. */
static void not_drained_during_fault(struct kunit *test)
{
	const unsigned long nr = 16;
	struct migrate_vma args = { .flags = MIGRATE_VMA_SELECT_SYSTEM };
	struct toy_drain drain;
	struct folio *folio;
	struct toy_test t;

	if (num_online_cpus() < 2) {
		kunit_skip(test, "needs two CPUs");
		return;
	}
	if (!toy_begin(test, &t, /* huge = */ false))
		return;
	toy_fill(&t, nr);
	KUNIT_EXPECT_EQ(test, toy_pull(t.toy, current->mm,
				       toy_page_addr(&t, nr / 2), nr / 2), 0);
	folio = toy_first_folio(&t);
	folio_get(folio);
	folio_lock(folio);
	args.fault_page = &folio->page;
	toy_migrate_in_lru_cache(&t, &args, &drain, nr / 2);
	KUNIT_EXPECT_EQ(test, drain.drains, 0);
	folio_unlock(folio);
	folio_put(folio);

	/* The first page is the only one that has stayed. */
	KUNIT_EXPECT_EQ(test, args.cpages, nr / 2 - 1);
	KUNIT_EXPECT_EQ(test, toy_held(&t), nr - 1);
	toy_check_filled(&t, nr);
	KUNIT_EXPECT_EQ(test, toy_faults(&t), nr - 1);
	toy_end(&t);
}

/*
 * A reference that is taken after the pages have been collected
 */

/*
 * The driver provides small pages for a huge page that cannot be split any more.
 * The huge page stays. No reference to it is lost, and none is left over.
 */
static void toy_ref_after_collect(struct kunit *test, bool device)
{
	struct migrate_vma args = {};
	struct folio *folio;
	struct toy_test t;

	if (!toy_begin(test, &t, /* huge = */ true))
		return;
	toy_fill(&t, TOY_NR);
	if (device)
		toy_pull_all(&t, TOY_NR);
	if (!toy_one_begin(&t, &args, TOY_NR))
		goto out_end;
	args.flags |= MIGRATE_VMA_SELECT_DEVICE_PRIVATE;

	t.toy->refuse_huge = true;
	mmap_read_lock(current->mm);
	args.vma = vma_lookup(current->mm, t.addr);
	KUNIT_EXPECT_EQ(test, migrate_vma_setup(&args), 0);
	KUNIT_EXPECT_EQ(test, args.cpages, 1);
	toy_fill_dst_exchange(t.toy, &args);
	folio = page_folio(migrate_pfn_to_page(args.src[0]));
	folio_get(folio);
	migrate_vma_pages(&args);
	KUNIT_EXPECT_FALSE(test, args.src[0] & MIGRATE_PFN_MIGRATE);
	migrate_vma_finalize(&args);
	mmap_read_unlock(current->mm);

	KUNIT_EXPECT_EQ(test, folio_nr_pages(folio), TOY_NR);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), folio_mapcount(folio) + 1);
	KUNIT_EXPECT_EQ(test, toy_held(&t), device ? TOY_NR : 0);
	folio_put(folio);

	/* The page moves after the reference was dropped. */
	if (device)
		toy_evict_all(&t);
	else
		toy_pull_all(&t, TOY_NR);
	KUNIT_EXPECT_EQ(test, toy_held(&t), device ? 0 : TOY_NR);
out_end:
	toy_check_filled(&t, TOY_NR);
	toy_end(&t);
}

static void ref_after_collect_to_device(struct kunit *test)
{
	toy_ref_after_collect(test, /* device = */ false);
}

static void ref_after_collect_to_system(struct kunit *test)
{
	toy_ref_after_collect(test, /* device = */ true);
}

/*
 * State of a page besides its contents
 */

/**
 * struct toy_state - state of a page table entry and its page
 * @huge: the entry is a PMD
 * @writable: the process can write without a fault
 * @young: the page was accessed
 * @dirty: the page was written to
 * @exclusive: no other process maps the page
 */
struct toy_state {
	bool huge;
	bool writable;
	bool young;
	bool dirty;
	bool exclusive;
};

/* Read the entry of the first page. If @forget, first make it old and clean. */
static struct toy_state toy_state_of(const struct toy_test *t, bool forget)
{
	struct mm_struct *mm = current->mm;
	struct toy_state state = {};
	struct vm_area_struct *vma;
	struct folio_walk fw;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, t->addr);
	if (!folio_walk_start(&fw, vma, t->addr, 0)) {
		KUNIT_FAIL(t->test, "the first page is not mapped in system memory");
		goto out_unlock;
	}

	state.huge = fw.level == FW_LEVEL_PMD;
	state.exclusive = PageAnonExclusive(fw.page);
	if (state.huge) {
		if (forget) {
			fw.pmd = pmdp_huge_clear_flush(vma, t->addr, fw.pmdp);
			fw.pmd = pmd_mkold(pmd_mkclean(fw.pmd));
			set_pmd_at(mm, t->addr, fw.pmdp, fw.pmd);
		}
		state.writable = pmd_write(fw.pmd);
		state.young = pmd_young(fw.pmd);
		state.dirty = pmd_dirty(fw.pmd);
	} else {
		if (forget) {
			fw.pte = ptep_clear_flush(vma, t->addr, fw.ptep);
			fw.pte = pte_mkold(pte_mkclean(fw.pte));
			set_pte_at(mm, t->addr, fw.ptep, fw.pte);
		}
		state.writable = pte_write(fw.pte);
		state.young = pte_young(fw.pte);
		state.dirty = pte_dirty(fw.pte);
	}
	folio_walk_end(&fw, vma);
out_unlock:
	mmap_read_unlock(mm);
	return state;
}

static void toy_expect_state(struct toy_test *t, struct toy_state is,
			     struct toy_state was)
{
	KUNIT_EXPECT_EQ(t->test, is.huge, was.huge);
	KUNIT_EXPECT_EQ(t->test, is.writable, was.writable);
	KUNIT_EXPECT_EQ(t->test, is.young, was.young);
	KUNIT_EXPECT_EQ(t->test, is.dirty, was.dirty);
	KUNIT_EXPECT_EQ(t->test, is.exclusive, was.exclusive);
}

/**
 * struct toy_mapping - how the first page is mapped
 * @name: name of the test parameter
 * @huge: the page is a huge page
 * @used: the entry is young and dirty
 * @readonly: the process may not write to the page
 * @shared: a child maps the page, too
 */
struct toy_mapping {
	const char *name;
	bool huge;
	bool used;
	bool readonly;
	bool shared;
};

static const struct toy_mapping toy_mappings[] = {
	{ "small, used", .used = true },
	{ "small, unused" },
	{ "small, used, read-only", .used = true, .readonly = true },
	{ "small, unused, read-only", .readonly = true },
	{ "small, used, shared", .used = true, .shared = true },
	{ "small, unused, shared", .shared = true },
	{ "huge, used", .huge = true, .used = true },
	{ "huge, unused", .huge = true },
	{ "huge, used, read-only", .huge = true, .used = true, .readonly = true },
	{ "huge, unused, read-only", .huge = true, .readonly = true },
	{ "huge, used, shared", .huge = true, .used = true, .shared = true },
	{ "huge, unused, shared", .huge = true, .shared = true },
};

static void toy_mapping_desc(const struct toy_mapping *mapping, char *desc)
{
	strscpy(desc, mapping->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(toy_mapping, toy_mappings, toy_mapping_desc);

/*
 * A page that stays is mapped as before. A page that comes back is mapped as before,
 * too, but may be young and dirty, because the driver has written to it.
 */
static void state_kept(struct kunit *test)
{
	const struct toy_mapping *mapping = test->param_value;
	unsigned long nr = mapping->huge ? TOY_NR : 1;
	struct toy_state was, is;
	struct folio *folio;
	struct toy_test t;

	if (!toy_begin(test, &t, mapping->huge))
		return;
	toy_fill(&t, nr);
	if (mapping->readonly)
		KUNIT_EXPECT_EQ(test, toy_protect(&t, t.addr, PMD_SIZE), 0);
	if (mapping->shared)
		KUNIT_EXPECT_EQ(test, toy_fork(&t, nr), 0);
	was = toy_state_of(&t, !mapping->used);
	KUNIT_EXPECT_EQ(test, was.huge, mapping->huge);
	KUNIT_EXPECT_EQ(test, was.writable, !mapping->readonly && !mapping->shared);
	KUNIT_EXPECT_EQ(test, was.young, mapping->used);
	KUNIT_EXPECT_EQ(test, was.dirty, mapping->used);
	KUNIT_EXPECT_EQ(test, was.exclusive, !mapping->shared);

	t.toy->refuse_huge = true;
	t.toy->refuse_every = 1;
	toy_pull_all(&t, nr);
	t.toy->refuse_huge = false;
	t.toy->refuse_every = 0;
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	toy_expect_state(&t, toy_state_of(&t, /* forget = */ false), was);

	toy_pull_all(&t, nr);
	KUNIT_EXPECT_EQ(test, toy_held(&t), nr);
	folio = toy_first_folio(&t);
	KUNIT_EXPECT_EQ(test, folio_nr_pages(folio), nr);
	KUNIT_EXPECT_EQ(test, PageAnonExclusive(&folio->page), was.exclusive);
	toy_evict_all(&t);
	KUNIT_EXPECT_EQ(test, toy_held(&t), 0);
	is = toy_state_of(&t, /* forget = */ false);
	is.young = was.young;
	is.dirty = was.dirty;
	toy_expect_state(&t, is, was);
	toy_check_filled(&t, nr);
	toy_end(&t);
}

static struct kunit_case migrate_device_cases[] = {
	KUNIT_CASE(to_device_and_back_small),
	KUNIT_CASE(to_device_and_back_huge),
	KUNIT_CASE(some_dst_empty),
	KUNIT_CASE(skipped_small),
	KUNIT_CASE(skipped_huge),
	KUNIT_CASE(huge_dst_partly_filled),
	KUNIT_CASE(huge_first_dst_empty),
	KUNIT_CASE(huge_dst_empty),
	KUNIT_CASE(holes_filled),
	KUNIT_CASE(huge_hole_filled_in_part),
	KUNIT_CASE(huge_zero_page_replaced),
	KUNIT_CASE(huge_hole_touched),
	KUNIT_CASE(small_hole_reaped),
	KUNIT_CASE(huge_hole_reaped),
	KUNIT_CASE(fault_gets_small_pages),
	KUNIT_CASE(fault_gets_some_pages),
	KUNIT_CASE(evicted_small),
	KUNIT_CASE(evicted_huge),
	KUNIT_CASE(evicted_split),
	KUNIT_CASE(evicted_range_cuts_huge),
	KUNIT_CASE(lazily_freed_small),
	KUNIT_CASE(lazily_freed_huge),
	KUNIT_CASE(droppable_small),
	KUNIT_CASE(droppable_huge),
	KUNIT_CASE(given_up),
	KUNIT_CASE(selection),
	KUNIT_CASE(invalid_arguments),
	KUNIT_CASE_PARAM(act_during_eviction, toy_phase_next),
	KUNIT_CASE_PARAM(act_during_pull, toy_phase_next),
	KUNIT_CASE_PARAM(act_during_move_back, toy_phase_next),
	KUNIT_CASE(discarded_first_small),
	KUNIT_CASE(discarded_first_huge),
	KUNIT_CASE(split_waits_for_move),
	KUNIT_CASE(entry_missed_by_split),
	KUNIT_CASE(evicted_unlike_huge),
	KUNIT_CASE(evicted_unlike_split),
	KUNIT_CASE(held_small_stays),
	KUNIT_CASE(held_huge_stays),
	KUNIT_CASE(locked_small_stays),
	KUNIT_CASE(locked_huge_stays),
	KUNIT_CASE(locked_huge_steps_over),
	KUNIT_CASE(held_huge_with_gap),
	KUNIT_CASE(evicted_in_part),
	KUNIT_CASE(two_devices),
	KUNIT_CASE(fault_on_part_of_huge),
	KUNIT_CASE(huge_not_asked_for),
	KUNIT_CASE(faults_sleep_small),
	KUNIT_CASE(faults_sleep_huge),
	KUNIT_CASE(drained_when_unmapped),
	KUNIT_CASE(not_drained_during_fault),
	KUNIT_CASE(ref_after_collect_to_device),
	KUNIT_CASE(ref_after_collect_to_system),
	KUNIT_CASE_PARAM(state_kept, toy_mapping_gen_params),
	KUNIT_CASE(freed_page_reused),
	KUNIT_CASE(huge_of_used_pages),
	KUNIT_CASE(small_of_used_pages),
	KUNIT_CASE(tail_slots_not_visited),
	{}
};

static struct kunit_suite migrate_device_suite = {
	.name = "migrate_device",
	.test_cases = migrate_device_cases,
};

kunit_test_suite(migrate_device_suite);

MODULE_DESCRIPTION("KUnit tests of device migration");
MODULE_LICENSE("GPL");
