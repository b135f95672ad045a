// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of page migration that make each fallible step fail.
 *
 * Each test maps memory in an mm of its own and records the state of every page.
 * It makes one step of migration fail, and compares the state: each page must be in
 * the same place, with the same entry, references, flags and contents. Unused
 * targets must be put back unchanged, and every folio must be counted once. Then the
 * test removes the obstacle, and the folios that did not move before must move.
 *
 * The last column says what migration undoes. "+" means: in addition to the step
 * above.
 *
 *  step                 fails if                              what is undone
 *  -------------------  ------------------------------------  ------------------
 *  isolate              not on the LRU, locked, refused       -
 *  split before moving  unexpected reference                  -, the folio is
 *                                                             moved as a whole
 *  test the lock        locked                                -
 *  get a target         the callback returns NULL             -, the folio is
 *                                                             split, or the call
 *                                                             ends
 *  lock the source      locked                                put the target
 *  writeback            in progress                           + unlock the source
 *  lock the target      locked                                the same
 *  free the buffers     a buffer has a reference              + unlock the target
 *  install the entries  a pin on exclusive memory             + restore entries of
 *                                                             the runs before
 *  count references     unexpected reference                  + restore all
 *                                                             entries and the
 *                                                             deferred split
 *  lock the buffers     a buffer is locked or referenced      + unlock the buffers
 *                                                             locked before
 *  release private      the file system keeps it              as count references
 *  call the mapping     any error                             as count references
 *  freeze               a reference after the count           + unlock the slot
 *  call the driver      any error                             put the target,
 *                                                             unlock both
 *  hugetlb: mapping     the i_mmap lock is contended          put the target,
 *                                                             unlock both
 *  hugetlb: unshare     the lock of the VMA is contended      + restore all
 *                                                             entries
 *
 * An obstacle exists before migration begins, or appears during it. Then the
 * callback that allocates targets, or a method of the file, creates it. Where
 * migration calls neither of them between two steps, a kprobe at the entry of the
 * next step creates it.
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/balloon.h>
#include <linux/buffer_head.h>
#include <linux/cpu.h>
#include <linux/cpuset.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/huge_mm.h>
#include <linux/hugetlb.h>
#include <linux/kprobes.h>
#include <linux/leafops.h>
#include <linux/migrate.h>
#include <linux/mm_inline.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/page_owner.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/rmap.h>
#include <linux/sched/clock.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/shmem_fs.h>
#include <linux/smp.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include <linux/writeback.h>

#include <asm/tlbflush.h>

#include <trace/events/kmem.h>
#include <trace/events/migrate.h>

#include "../../mm/internal.h"
#include "../../mm/migrate.h"

/* Addresses of the memory of a test and of its second mapping. */
#define AREA		max_t(unsigned long, PUD_SIZE, SZ_1G)
#define AREA2		(AREA + 4 * PMD_SIZE)

/* Number of small folios in most tests. */
#define NR_SMALL	8

/* Maximum number of pages that a test can record. */
#define MAX_PAGES	(2 * PTRS_PER_PTE + NR_SMALL)

/* Order of large folios that are too small for a PMD. */
#define MTHP_ORDER	4

/* Duration of a lock, or of writeback, that migration waits for. */
#define WAIT_TIME	(HZ / 20)

/* Longer than a thread takes to exit. */
#define EXIT_TIME	(10 * HZ)

/* State of a page table entry, without the page. */
enum entry_bit {
	ENTRY_WRITE	= BIT(0),
	ENTRY_DIRTY	= BIT(1),
	ENTRY_YOUNG	= BIT(2),
	ENTRY_SOFT	= BIT(3),
	ENTRY_UFFD	= BIT(4),
	ENTRY_EXCLUSIVE	= BIT(5),
	ENTRY_PMD	= BIT(6),
	ENTRY_MIGRATION	= BIT(7),
};

/**
 * struct entry - the page table entry of an address
 * @page: the page that is mapped, NULL if none is
 * @bits: bits of &enum entry_bit
 */
struct entry {
	struct page *page;
	unsigned int bits;
};

/**
 * struct page_record - recorded state of a page
 * @addr: the address that maps it
 * @page: the page
 * @bits: bits of &enum entry_bit
 * @refs: references to its folio
 * @mapcount: mappings of its folio
 * @flags: flags of its folio
 * @private: private data of its folio
 * @partial: its folio is marked as partially mapped
 */
struct page_record {
	unsigned long addr;
	struct page *page;
	unsigned int bits;
	int refs;
	int mapcount;
	unsigned long flags;
	void *private;
	bool partial;
};

/**
 * struct outcome - result and counters of a migration
 * @ret: return value of migrate_pages()
 * @left: number of folios that remain on the list
 * @used: number of targets that were allocated and not put back
 * @ok: number of base pages that were migrated. The last argument of
 *	migrate_pages(), the tracepoint and the VM event must agree.
 * @failed: number of base pages that were not migrated
 * @thp_ok: number of huge pages that were migrated
 * @thp_failed: number of huge pages that were not migrated
 * @thp_split: number of huge pages that were split
 * @split: number of large folios of any size that were split
 */
struct outcome {
	int ret;
	unsigned int left;
	unsigned int used;
	unsigned long ok;
	unsigned long failed;
	unsigned long thp_ok;
	unsigned long thp_failed;
	unsigned long thp_split;
	unsigned long split;
};

/**
 * struct migrate_test - state of a test
 * @test: the test
 * @task: the task that runs the test
 * @mtc: node and flags for the allocation of targets
 * @was: recorded state of the pages
 * @nr: number of recorded pages
 * @mask: bits of &enum entry_bit that are compared. Not all architectures can store
 *	the young and dirty bits in a migration entry.
 * @buf: buffer for the contents of a page
 * @isolated: recorded isolated counts of each node, anonymous and file
 * @mlocked: recorded number of mlocked pages
 * @list: isolated folios
 * @nr_src: number of folios that were isolated
 * @refuse_from: index of the first call of give_target() that returns NULL
 * @refuse_nr: number of calls, from @refuse_from on, that return NULL
 * @refuse_large: give_target() returns NULL for a large source
 * @lock_target: give_target() locks the targets
 * @before: called for a source before its target is allocated
 * @with: called for a source after its target has been allocated
 * @after: called for a target that is put back
 * @asked: number of calls of give_target()
 * @given: number of targets that give_target() returned
 * @returned: number of targets that were put back
 * @changed_targets: number of targets that had changed when they were put back
 * @unlocked: number of sources that were not locked when give_target() was called
 * @starved: number of targets that could not be allocated
 * @victim: the folio that the test acts on
 * @locked: the VMA that @with has locked
 * @delay: jiffies until @later unlocks @victim. 0 if the test unlocks it.
 * @later: work item that ends the obstacle at @victim
 * @seen: result of the last migration
 * @succeeded: value that migrate_pages() has stored in its last argument
 * @traced: number of mm_migrate_pages events of @task
 * @others: number of mm_migrate_pages events of other tasks
 * @events: VM events before the migration
 * @now: VM events since then
 * @calls: number of calls of the method of the file or driver. Number of
 *	mm_page_alloc events in tests that trace allocations.
 * @err: error that the method returns
 * @err_nr: number of calls for which the method returns @err, before it succeeds
 * @refused: called for a source that filemap_migrate_folio() failed to move
 * @modes: the modes that toy_migrate_folio() was called with
 * @keep_private: release_folio() of the file fails
 * @balloon: driver of pages with movable_operations
 * @spares: the last targets that were allocated in bulk. Not valid after
 *	migrate_pages() has returned.
 * @idle: number of unused @spares when @later ran
 * @poisoned: the target of @spares that the test has poisoned
 */
struct migrate_test {
	struct kunit *test;
	struct task_struct *task;
	struct migration_target_control mtc;
	struct page_record *was;
	int nr;
	unsigned int mask;
	unsigned long *buf;
	long (*isolated)[2];
	long mlocked;

	struct list_head list;
	unsigned int nr_src;

	unsigned int refuse_from;
	unsigned int refuse_nr;
	bool refuse_large;
	bool lock_target;
	void (*before)(struct migrate_test *m, struct folio *src);
	void (*with)(struct migrate_test *m, struct folio *src);
	void (*after)(struct migrate_test *m, struct folio *dst);
	unsigned int asked;
	unsigned int given;
	unsigned int returned;
	unsigned int changed_targets;
	unsigned int unlocked;
	unsigned int starved;
	struct folio *victim;
	struct vm_area_struct *locked;
	unsigned long delay;
	struct delayed_work later;

	struct outcome seen;
	unsigned int succeeded;
	unsigned int traced;
	unsigned int others;
	unsigned long events[NR_VM_EVENT_ITEMS];
	unsigned long now[NR_VM_EVENT_ITEMS];

	unsigned int calls;
	int err;
	unsigned int err_nr;
	void (*refused)(struct migrate_test *m, struct folio *src);
	enum migrate_mode modes[2 * MIGRATE_TRIES];
	bool keep_private;
	struct balloon_dev_info balloon;
	struct migrate_spares *spares;
	unsigned int idle;
	struct page *poisoned;
};

/* Folio flags that migration must not change. */
#define FLAGS_KEPT							\
	(BIT(PG_lru) | BIT(PG_uptodate) | BIT(PG_swapbacked) |		\
	 BIT(PG_unevictable) | BIT(PG_mlocked) | BIT(PG_private) |	\
	 BIT(PG_workingset) | BIT(PG_locked) | BIT(PG_writeback))

static const enum migrate_mode all_modes[] = {
	MIGRATE_ASYNC, MIGRATE_SYNC_LIGHT, MIGRATE_SYNC,
};

static void mode_desc(const enum migrate_mode *mode, char *desc)
{
	static const char * const name[] = { "async", "sync light", "sync" };

	strscpy(desc, name[*mode], KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(mode, all_modes, mode_desc);

/* Page tables. */

static pmd_t *pmd_at(unsigned long addr)
{
	pgd_t *pgd = pgd_offset(current->mm, addr);
	p4d_t *p4d;
	pud_t *pud;

	if (pgd_none(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(*p4d))
		return NULL;
	pud = pud_offset(p4d, addr);
	return pud_none(*pud) ? NULL : pmd_offset(pud, addr);
}

static bool exclusive(struct page *page)
{
	return PageAnon(page) && PageAnonExclusive(page);
}

static struct entry entry_of_pte(pte_t pte)
{
	struct entry e = {};

	if (!pte_present(pte)) {
		if (!pte_none(pte) && softleaf_is_migration(softleaf_from_pte(pte)))
			e.bits = ENTRY_MIGRATION;
		return e;
	}
	e.page = pte_page(pte);
	e.bits = (pte_write(pte) ? ENTRY_WRITE : 0) |
		 (pte_dirty(pte) ? ENTRY_DIRTY : 0) |
		 (pte_young(pte) ? ENTRY_YOUNG : 0) |
		 (pte_soft_dirty(pte) ? ENTRY_SOFT : 0) |
		 (pte_uffd(pte) ? ENTRY_UFFD : 0) |
		 (exclusive(e.page) ? ENTRY_EXCLUSIVE : 0);
	return e;
}

static struct entry entry_of_pmd(pmd_t pmd, unsigned long addr)
{
	struct entry e = { .bits = ENTRY_PMD };

	if (!pmd_present(pmd)) {
		e.bits |= ENTRY_MIGRATION;
		return e;
	}
	e.page = pmd_page(pmd);
	e.bits |= (pmd_write(pmd) ? ENTRY_WRITE : 0) |
		  (pmd_dirty(pmd) ? ENTRY_DIRTY : 0) |
		  (pmd_young(pmd) ? ENTRY_YOUNG : 0) |
		  (pmd_soft_dirty(pmd) ? ENTRY_SOFT : 0) |
		  (pmd_uffd(pmd) ? ENTRY_UFFD : 0) |
		  (exclusive(e.page) ? ENTRY_EXCLUSIVE : 0);
	e.page += (addr & ~PMD_MASK) >> PAGE_SHIFT;
	return e;
}

static struct entry entry_at(unsigned long addr)
{
	struct entry e = {};
	pmd_t *pmd = pmd_at(addr);
	pte_t *ptep;

	if (!pmd || pmd_none(pmdp_get(pmd)))
		return e;
	if (pmd_leaf(pmdp_get(pmd)) || !pmd_present(pmdp_get(pmd)))
		return entry_of_pmd(pmdp_get(pmd), addr);
	ptep = pte_offset_map(pmd, addr);
	if (!ptep)
		return e;
	e = entry_of_pte(ptep_get(ptep));
	pte_unmap(ptep);
	return e;
}

static struct vm_area_struct *vma_at(unsigned long addr)
{
	struct vm_area_struct *vma;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	mmap_read_unlock(current->mm);
	return vma;
}

/* A state for varied(), in addition to the eight that vary() sets. */
#define NUMA_HINT	8

/* Returns @pte in state @how. Migration must preserve each state. */
static pte_t varied(pte_t pte, unsigned int how)
{
	switch (how) {
	case 1:
		return pte_mkclean(pte);
	case 2:
		return pte_mkold(pte);
	case 3:
		return pte_clear_soft_dirty(pte);
	case 4:
		return pte_mkuffd(pte_wrprotect(pte));
	case 5:
	case 6:
		return pte_wrprotect(pte);
	case 7:
		return pte_mkold(pte_mkclean(pte_wrprotect(pte)));
	case NUMA_HINT:
		return pte_modify(pte, PAGE_NONE);
	default:
		return pte;
	}
}

static void vary_one(struct kunit *test, unsigned long addr, unsigned int how)
{
	struct mm_struct *mm = current->mm;
	spinlock_t *ptl; /* lock of the page table */
	pte_t *ptep, pte;

	ptep = pte_offset_map_lock(mm, pmd_at(addr), addr, &ptl);
	KUNIT_ASSERT_NOT_NULL(test, ptep);
	pte = ptep_get_and_clear(mm, addr, ptep);
	set_pte_at(mm, addr, ptep, varied(pte, how));
	/* The state after a fork() whose child has exited. */
	if (how == 6 && PageAnon(pte_page(pte)))
		ClearPageAnonExclusive(pte_page(pte));
	pte_unmap_unlock(ptep, ptl);
}

/* Set the @nr entries at @addr to the eight states in turn. */
static void vary(struct kunit *test, unsigned long addr, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		vary_one(test, addr + i * PAGE_SIZE, i % 8);
	flush_tlb_mm(current->mm);
}

/*
 * An entry of a shared file mapping is as writable as its VMA. So use only the
 * states that are not write-protected.
 */
static void vary_shared(struct kunit *test, unsigned long addr, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		vary_one(test, addr + i * PAGE_SIZE, i % 4);
	flush_tlb_mm(current->mm);
}

/* Contents: every word of the memory differs from every other. */

static unsigned long word_for(unsigned long addr)
{
	return addr * 2654435761UL + 1;
}

static void fill(struct migrate_test *m, unsigned long addr, int nr)
{
	unsigned long end = addr + nr * PAGE_SIZE;
	int i;

	for (; addr < end; addr += PAGE_SIZE) {
		for (i = 0; i < PAGE_SIZE / sizeof(long); i++)
			m->buf[i] = word_for(addr + i * sizeof(long));
		KUNIT_ASSERT_EQ(m->test, 0, copy_to_user((void __user *)addr,
							 m->buf, PAGE_SIZE));
	}
}

/* Count the words of page @addr that differ from what fill() writes at @first. */
static int wrong_words(struct migrate_test *m, unsigned long addr,
		       unsigned long first)
{
	int i, wrong = 0;

	if (copy_from_user(m->buf, (void __user *)addr, PAGE_SIZE))
		return -EFAULT;
	for (i = 0; i < PAGE_SIZE / sizeof(long); i++)
		wrong += m->buf[i] != word_for(first + i * sizeof(long));
	return wrong;
}

static void expect_contents(struct migrate_test *m, int from, int to)
{
	int i, wrong = 0;

	for (i = from; i < to; i++) {
		unsigned long addr = m->was[i].addr;
		unsigned long first = addr < AREA2 ? addr : addr - AREA2 + AREA;

		wrong += wrong_words(m, addr, first) != 0;
	}
	KUNIT_EXPECT_EQ(m->test, wrong, 0);
}

/*
 * Read a counter that has a part for each CPU. A CPU may add its part to the global
 * counter while they are summed up. Then the sum contains this part twice or not at
 * all. So add up again until two sums agree.
 */
#define STABLE_SUM(add_up) ({						\
	long sum_ = LONG_MIN, before_;					\
									\
	do {								\
		before_ = sum_;						\
		sum_ = (add_up);					\
	} while (sum_ != before_);					\
	sum_;								\
})

static long add_up_node(int nid, enum node_stat_item item)
{
	pg_data_t *pgdat = NODE_DATA(nid);
	long sum = atomic_long_read(&pgdat->vm_stat[item]);
#ifdef CONFIG_SMP
	int cpu;

	for_each_online_cpu(cpu)
		sum += per_cpu_ptr(pgdat->per_cpu_nodestats,
				   cpu)->vm_node_stat_diff[item];
#endif
	return sum;
}

static long node_count(int nid, enum node_stat_item item)
{
	return STABLE_SUM(add_up_node(nid, item));
}

static long count_isolated(void)
{
	long sum = 0;
	int nid;

	for_each_online_node(nid)
		sum += node_count(nid, NR_ISOLATED_ANON) +
		       node_count(nid, NR_ISOLATED_FILE);
	return sum;
}

static long add_up_mlocked(void)
{
	long sum = 0;
	struct zone *zone;

	for_each_populated_zone(zone)
		sum += zone_page_state_snapshot(zone, NR_MLOCK);
	return sum;
}

static long count_mlocked(void)
{
	return STABLE_SUM(add_up_mlocked());
}

static void note_counts(struct migrate_test *m)
{
	int nid;

	/* Per-CPU batches may still contain mlocked folios of an earlier test. */
	lru_add_drain_all();
	for_each_online_node(nid) {
		m->isolated[nid][0] = node_count(nid, NR_ISOLATED_ANON);
		m->isolated[nid][1] = node_count(nid, NR_ISOLATED_FILE);
	}
	m->mlocked = count_mlocked();
}

static void expect_counts(struct migrate_test *m)
{
	int nid;

	for_each_online_node(nid) {
		KUNIT_EXPECT_EQ_MSG(m->test, m->isolated[nid][0],
				    node_count(nid, NR_ISOLATED_ANON),
				    "isolated anonymous pages of node %d", nid);
		KUNIT_EXPECT_EQ_MSG(m->test, m->isolated[nid][1],
				    node_count(nid, NR_ISOLATED_FILE),
				    "isolated file pages of node %d", nid);
	}
	KUNIT_EXPECT_EQ(m->test, m->mlocked, count_mlocked());
}

/* Is the folio marked as partially mapped? Migration must not change that. */
static bool is_partial(struct folio *folio)
{
	return folio_order(folio) > 1 && !folio_test_hugetlb(folio) &&
	       folio_test_partially_mapped(folio);
}

static void remember_one(struct migrate_test *m, struct page_record *w,
			 unsigned long addr)
{
	struct entry e = entry_at(addr);
	struct folio *folio;

	KUNIT_ASSERT_NOT_NULL(m->test, e.page);
	folio = page_folio(e.page);
	w->addr = addr;
	w->page = e.page;
	w->bits = e.bits;
	w->refs = folio_ref_count(folio);
	w->mapcount = folio_mapcount(folio);
	w->flags = READ_ONCE(folio->flags.f);
	w->partial = is_partial(folio);
	w->private = folio_test_private(folio) ? folio->private : NULL;
}

/* Record the state of the @nr pages at @addr, behind the pages recorded before. */
static void remember(struct migrate_test *m, unsigned long addr, int nr)
{
	KUNIT_ASSERT_LE(m->test, m->nr + nr, MAX_PAGES);
	lru_add_drain_all();
	for (; nr; nr--, addr += PAGE_SIZE)
		remember_one(m, &m->was[m->nr++], addr);
	note_counts(m);
}

/* Record the state of the same pages again, after an intended change. */
static void remember_again(struct migrate_test *m)
{
	int i;

	lru_add_drain_all();
	for (i = 0; i < m->nr; i++)
		remember_one(m, &m->was[i], m->was[i].addr);
	note_counts(m);
}

static struct folio *folio_was(struct migrate_test *m, int i)
{
	return page_folio(m->was[i].page);
}

/* Returns how the entry differs from @w, or NULL. @moved: the page has moved. */
static const char *entry_differs(struct migrate_test *m, const struct page_record *w,
				 const struct entry *e, bool moved)
{
	if (e->bits & ENTRY_MIGRATION)
		return "still a migration entry";
	if (!e->page)
		return "not mapped any more";
	if (moved && e->page == w->page)
		return "has not moved";
	if (moved && page_to_nid(e->page) != m->mtc.nid)
		return "on the wrong node";
	if (!moved && e->page != w->page)
		return "another page is mapped";
	if ((e->bits ^ w->bits) & m->mask)
		return "entry bits differ";
	return NULL;
}

static const char *folio_differs(const struct page_record *w, struct folio *folio)
{
	unsigned long flags = READ_ONCE(folio->flags.f);
	unsigned long kept = FLAGS_KEPT;

	/* hugetlb uses only these two of the flags as other folios do. */
	if (folio_test_hugetlb(folio))
		kept = BIT(PG_uptodate) | BIT(PG_locked);
	else if (!lru_gen_enabled())
		kept |= BIT(PG_active);

	if (folio_ref_count(folio) != w->refs)
		return "references";
	if (folio_mapcount(folio) != w->mapcount)
		return "mappings";
	if ((flags ^ w->flags) & kept)
		return "flags";
	/* Unmapping a dirty entry may set PG_dirty. Nothing may clear it. */
	if (w->flags & ~flags & BIT(PG_dirty))
		return "dirty flag";
	if (is_partial(folio) != w->partial)
		return "mark of partial mapping";
	if (folio_test_private(folio) && folio->private != w->private)
		return "private data";
	return NULL;
}

static const char *page_differs(struct migrate_test *m, const struct page_record *w,
				bool moved)
{
	struct entry e = entry_at(w->addr);
	const char *what = entry_differs(m, w, &e, moved);

	return what ?: folio_differs(w, page_folio(e.page));
}

static void report_page(struct migrate_test *m, int i, const char *what)
{
	const struct page_record *w = &m->was[i];
	struct entry e = entry_at(w->addr);
	struct folio *folio = e.page ? page_folio(e.page) : NULL;

	KUNIT_FAIL(m->test, "page %d: %s", i, what);
	kunit_info(m->test, "was: entry %x refs %d mapped %d flags %lx", w->bits,
		   w->refs, w->mapcount, w->flags);
	if (folio)
		kunit_info(m->test, "is: entry %x refs %d mapped %d flags %lx",
			   e.bits, folio_ref_count(folio),
			   folio_mapcount(folio), READ_ONCE(folio->flags.f));
}

/* Report only the first page that is wrong. */
static void expect_pages(struct migrate_test *m, int from, int to, bool moved)
{
	const char *what = NULL;
	int i;

	for (i = from; i < to && !what; i++) {
		what = page_differs(m, &m->was[i], moved);
		if (what)
			report_page(m, i, what);
	}
}

/*
 * Was the folio not freed although nothing uses it? A free folio has no reference.
 * A page that has been allocated again has lost PG_uptodate.
 */
static bool leaked(struct page *page)
{
	return page_ref_count(page) == 1 && PageUptodate(page) &&
	       !PageLRU(page) && !folio_mapped(page_folio(page));
}

static void expect_no_leak(struct migrate_test *m, int from, int to)
{
	int i, nr = 0;

	for (i = from; i < to; i++)
		nr += !PageTail(m->was[i].page) && leaked(m->was[i].page);
	KUNIT_EXPECT_EQ(m->test, nr, 0);
}

/* Expect that @nr of the pages have moved, and that all are in the right state. */
static void expect_some_moved(struct migrate_test *m, int from, int to, int nr)
{
	int i, moved = 0;

	for (i = from; i < to; i++) {
		bool has = entry_at(m->was[i].addr).page != m->was[i].page;

		expect_pages(m, i, i + 1, has);
		moved += has;
	}
	KUNIT_EXPECT_EQ(m->test, moved, nr);
	expect_contents(m, from, to);
}

/* Expect that the pages @from up to @to have not moved or changed. */
static void expect_same(struct migrate_test *m, int from, int to)
{
	expect_pages(m, from, to, /* moved = */ false);
	expect_contents(m, from, to);
}

/* Expect that the pages have moved, and that nothing else has changed. */
static void expect_moved(struct migrate_test *m, int from, int to)
{
	expect_no_leak(m, from, to);
	expect_pages(m, from, to, /* moved = */ true);
	expect_contents(m, from, to);
}

/* Targets. */

static bool refuses(struct migrate_test *m, struct folio *src)
{
	unsigned int nth = m->asked++;

	if (m->refuse_large && folio_test_large(src))
		return true;
	return nth >= m->refuse_from && nth - m->refuse_from < m->refuse_nr;
}

static struct folio *give_target(struct folio *src, unsigned long private)
{
	struct migrate_test *m = (struct migrate_test *)private;
	struct folio *dst;

	m->unlocked += !folio_test_locked(src);
	if (m->before)
		m->before(m, src);
	if (refuses(m, src))
		return NULL;
	dst = alloc_migration_target(src, (unsigned long)&m->mtc);
	if (!dst) {
		m->starved++;
		return NULL;
	}
	m->given++;
	if (m->lock_target)
		folio_lock(dst);
	if (m->with)
		m->with(m, src);
	return dst;
}

static bool as_given(struct folio *dst)
{
	if (folio_ref_count(dst) != 1)
		return false;
	if (folio_test_hugetlb(dst))
		return true;
	return !dst->mapping && !dst->private &&
	       !folio_test_swapbacked(dst) && !folio_test_dirty(dst) &&
	       !folio_test_uptodate(dst) && !folio_test_lru(dst);
}

static void take_back(struct folio *dst, unsigned long private)
{
	struct migrate_test *m = (struct migrate_test *)private;

	m->returned++;
	m->changed_targets += !as_given(dst) ||
			      folio_test_locked(dst) != m->lock_target;
	if (m->lock_target)
		folio_unlock(dst);
	if (m->after)
		m->after(m, dst);
	folio_put(dst);
}

/* Migration. */

/* The running test, for tracepoints and kprobes. Only one test runs at a time. */
static struct migrate_test *watched;

static void note_result(void *data, unsigned long succeeded,
			unsigned long failed, unsigned long thp_succeeded,
			unsigned long thp_failed, unsigned long thp_split,
			unsigned long large_folio_split, enum migrate_mode mode,
			enum migrate_reason reason)
{
	struct migrate_test *m = READ_ONCE(watched);

	if (!m)
		return;
	if (current != m->task) {
		m->others++;
		return;
	}
	m->traced++;
	m->seen.ok = succeeded;
	m->seen.failed = failed;
	m->seen.thp_ok = thp_succeeded;
	m->seen.thp_failed = thp_failed;
	m->seen.thp_split = thp_split;
	m->seen.split = large_folio_split;
}

/* Isolate each recorded folio once, and keep their order on the list. */
static void isolate(struct migrate_test *m)
{
	int i;

	m->nr_src = 0;
	for (i = m->nr - 1; i >= 0; i--) {
		struct folio *folio = folio_was(m, i);

		folio_get(folio);
		m->nr_src += isolate_folio_to_list(folio, &m->list);
		folio_put(folio);
	}
}

static void begin_to_watch(struct migrate_test *m, enum migrate_reason reason)
{
	m->asked = 0;
	m->given = 0;
	m->returned = 0;
	m->changed_targets = 0;
	m->unlocked = 0;
	m->starved = 0;
	m->traced = 0;
	m->others = 0;
	m->calls = 0;
	m->seen = (struct outcome) {};
	m->succeeded = ~0U;
	m->mtc.reason = reason;
	all_vm_events(m->events);
}

/* Migrate with alloc_migration_target(), as callers without special needs do. */
static void migrate_default_targets(struct migrate_test *m, enum migrate_mode mode,
				    enum migrate_reason reason)
{
	begin_to_watch(m, reason);
	m->seen.ret = migrate_pages(&m->list, alloc_migration_target, NULL,
				    (unsigned long)&m->mtc, mode, reason,
				    &m->succeeded);
	m->seen.left = list_count_nodes(&m->list);
}

static void migrate(struct migrate_test *m, enum migrate_mode mode,
		    enum migrate_reason reason)
{
	begin_to_watch(m, reason);
	m->seen.ret = migrate_pages(&m->list, give_target, take_back,
				    (unsigned long)m, mode, reason,
				    &m->succeeded);
	m->seen.left = list_count_nodes(&m->list);
	m->seen.used = m->given - m->returned;
	if (m->starved)
		kunit_info(m->test, "%u targets could not be allocated", m->starved);
}

/* Put back the folios that remain on the list, and check the counters. */
static void put_back(struct migrate_test *m)
{
	putback_movable_pages(&m->list);
	KUNIT_EXPECT_TRUE(m->test, list_empty(&m->list));
	lru_add_drain_all();
	expect_counts(m);
}

/* Check the VM events, unless another task has migrated folios meanwhile. */
static void expect_events(struct migrate_test *m, const struct outcome *want)
{
	struct kunit *test = m->test;
	unsigned long *now = m->now;
	int i;

	all_vm_events(now);
	if (m->others) {
		kunit_info(test, "not compared: the VM events, as other tasks migrated folios");
		return;
	}
	for (i = 0; i < NR_VM_EVENT_ITEMS; i++)
		now[i] -= m->events[i];
	KUNIT_EXPECT_EQ(test, now[PGMIGRATE_SUCCESS], want->ok);
	KUNIT_EXPECT_EQ(test, now[PGMIGRATE_FAIL], want->failed);
	KUNIT_EXPECT_EQ(test, now[THP_MIGRATION_SUCCESS], want->thp_ok);
	KUNIT_EXPECT_EQ(test, now[THP_MIGRATION_FAIL], want->thp_failed);
	KUNIT_EXPECT_EQ(test, now[THP_MIGRATION_SPLIT], want->thp_split);
}

static void expect_result(struct migrate_test *m, const struct outcome *want)
{
	struct kunit *test = m->test;

	KUNIT_EXPECT_EQ(test, m->seen.ret, want->ret);
	KUNIT_EXPECT_EQ(test, m->seen.left, want->left);
	KUNIT_EXPECT_EQ(test, m->seen.used, want->used);
	KUNIT_EXPECT_EQ(test, m->succeeded, want->ok);
	KUNIT_EXPECT_EQ(test, m->changed_targets, 0);
	if (!IS_ENABLED(CONFIG_TRACEPOINTS))
		return;
	KUNIT_EXPECT_EQ(test, m->traced, 1);
	KUNIT_EXPECT_EQ(test, m->seen.ok, want->ok);
	KUNIT_EXPECT_EQ(test, m->seen.failed, want->failed);
	KUNIT_EXPECT_EQ(test, m->seen.thp_ok, want->thp_ok);
	KUNIT_EXPECT_EQ(test, m->seen.thp_failed, want->thp_failed);
	KUNIT_EXPECT_EQ(test, m->seen.thp_split, want->thp_split);
	KUNIT_EXPECT_EQ(test, m->seen.split, want->split);
	if (IS_ENABLED(CONFIG_VM_EVENT_COUNTERS))
		expect_events(m, want);
}

#define expect_outcome(m, ...) \
	expect_result(m, &(const struct outcome) { __VA_ARGS__ })

static bool is_thp(struct migrate_test *m, int i)
{
	return folio_test_pmd_mappable(folio_was(m, i)) &&
	       !folio_test_hugetlb(folio_was(m, i));
}

/* Count the pages of the sources. Pages mapped twice are recorded twice. */
static unsigned int source_pages(struct migrate_test *m)
{
	unsigned int i, nr = 0;

	for (i = 0; i < m->nr; i++)
		nr += m->was[i].addr < AREA2;
	return nr;
}

/* Expect that no folio moved, for a reason other than a lack of memory. */
static void expect_all_failed(struct migrate_test *m)
{
	const unsigned int thps = is_thp(m, 0) ? m->nr_src : 0;

	expect_outcome(m, .ret = m->nr_src, .left = m->nr_src,
		       .failed = source_pages(m), .thp_failed = thps);
	put_back(m);
	expect_same(m, 0, m->nr);
}

/* Remove the obstacles, migrate again, and expect that all folios move. */
static void expect_all_move(struct migrate_test *m, enum migrate_mode mode)
{
	const unsigned int nr = source_pages(m);
	unsigned int thps;

	m->before = NULL;
	m->with = NULL;
	m->after = NULL;
	m->victim = NULL;
	m->refuse_nr = 0;
	m->refuse_large = false;
	m->lock_target = false;
	isolate(m);
	thps = is_thp(m, 0) ? m->nr_src : 0;
	migrate(m, mode, MR_SYSCALL);
	expect_outcome(m, .ret = 0, .left = 0, .used = m->nr_src, .ok = nr,
		       .thp_ok = thps);
	KUNIT_EXPECT_EQ(m->test, m->unlocked, m->asked);
	put_back(m);
	expect_moved(m, 0, m->nr);
}

/* Kinds of memory. */

static void map(struct migrate_test *m, struct file *file, unsigned long addr,
		unsigned long len, unsigned long flags)
{
	unsigned long ret;

	ret = kunit_vm_mmap(m->test, file, addr, len, PROT_READ | PROT_WRITE,
			    MAP_FIXED | flags, 0);
	KUNIT_ASSERT_EQ(m->test, ret, addr);
}

static void advise(struct migrate_test *m, unsigned long addr, unsigned long len,
		   int behavior)
{
	KUNIT_ASSERT_EQ(m->test, 0,
			do_madvise(current->mm, addr, len, behavior));
}

static void map_small(struct migrate_test *m, int nr, unsigned long flags)
{
	map(m, NULL, AREA, nr * PAGE_SIZE, MAP_PRIVATE | MAP_ANONYMOUS | flags);
	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		advise(m, AREA, nr * PAGE_SIZE, MADV_NOHUGEPAGE);
	fill(m, AREA, nr);
}

static void map_anon(struct migrate_test *m)
{
	map_small(m, NR_SMALL, 0);
	vary(m->test, AREA, NR_SMALL);
}

static void map_mlocked(struct migrate_test *m)
{
	map_small(m, NR_SMALL, MAP_LOCKED);
	vary(m->test, AREA, NR_SMALL);
}

static void put_file(void *file)
{
	fput(file);
}

static void keep_file(struct migrate_test *m, struct file *file)
{
	KUNIT_ASSERT_NOT_ERR_OR_NULL(m->test, file);
	KUNIT_ASSERT_EQ(m->test, 0,
			kunit_add_action_or_reset(m->test, put_file, file));
	/* A test may set PG_writeback without I/O, which must not be accounted. */
	mapping_set_no_writeback_tags(file->f_mapping);
}

/* Map the pages twice. The entries of the second mapping are all alike. */
static void map_shmem(struct migrate_test *m)
{
	struct file *file;
	unsigned long off;

	file = shmem_file_setup("migrate", NR_SMALL * PAGE_SIZE,
				mk_vma_flags(VMA_NORESERVE_BIT));
	keep_file(m, file);
	map(m, file, AREA, NR_SMALL * PAGE_SIZE, MAP_SHARED);
	map(m, file, AREA2, NR_SMALL * PAGE_SIZE, MAP_SHARED);
	fill(m, AREA, NR_SMALL);
	for (off = 0; off < NR_SMALL * PAGE_SIZE; off += PAGE_SIZE)
		KUNIT_ASSERT_EQ(m->test, 0,
				wrong_words(m, AREA2 + off, AREA + off));
	vary_shared(m->test, AREA, NR_SMALL);
}

/* A file in memory. The test sets the results of its methods. */

static int toy_read_folio(struct file *file, struct folio *folio)
{
	folio_zero_range(folio, 0, folio_size(folio));
	folio_mark_uptodate(folio);
	folio_unlock(folio);
	return 0;
}

static int toy_migrate_folio(struct address_space *mapping, struct folio *dst,
			     struct folio *src, enum migrate_mode mode)
{
	struct migrate_test *m = mapping->host->i_private;
	int err;

	if (m->calls < ARRAY_SIZE(m->modes))
		m->modes[m->calls] = mode;
	if (m->calls++ < m->err_nr)
		return m->err;
	err = filemap_migrate_folio(mapping, dst, src, mode);
	if (err && m->refused)
		m->refused(m, src);
	return err;
}

static bool toy_release_folio(struct folio *folio, gfp_t gfp)
{
	struct migrate_test *m = folio->mapping->host->i_private;

	m->calls++;
	if (m->keep_private)
		return false;
	folio_detach_private(folio);
	return true;
}

static void toy_invalidate_folio(struct folio *folio, size_t from, size_t len)
{
	folio_detach_private(folio);
}

static const struct address_space_operations toy_aops = {
	.read_folio = toy_read_folio,
	.dirty_folio = filemap_dirty_folio,
	.invalidate_folio = toy_invalidate_folio,
	.migrate_folio = toy_migrate_folio,
};

/* Operations without migrate_folio. */
static const struct address_space_operations no_migrate_aops = {
	.read_folio = toy_read_folio,
	.dirty_folio = filemap_dirty_folio,
	.invalidate_folio = toy_invalidate_folio,
	.release_folio = toy_release_folio,
};

#ifdef CONFIG_BUFFER_HEAD
static const struct address_space_operations buffer_aops = {
	.read_folio = toy_read_folio,
	.dirty_folio = block_dirty_folio,
	.invalidate_folio = block_invalidate_folio,
	.migrate_folio = buffer_migrate_folio_norefs,
};
#else
static const struct address_space_operations buffer_aops;
#endif

static const struct vm_operations_struct toy_vm_ops = {
	.fault = filemap_fault,
};

static int toy_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &toy_vm_ops;
	return 0;
}

static const struct file_operations toy_fops = {
	.mmap = toy_mmap,
};

static struct file *toy_open(struct migrate_test *m,
			     const struct address_space_operations *aops)
{
	struct file *file = anon_inode_create_getfile("[migrate]", &toy_fops,
						      NULL, O_RDWR, NULL);
	struct inode *inode;

	keep_file(m, file);
	inode = file_inode(file);
	inode->i_private = m;
	inode->i_mapping->a_ops = aops;
	i_size_write(inode, MAX_PAGES * PAGE_SIZE);
	return file;
}

static struct file *map_toy(struct migrate_test *m,
			    const struct address_space_operations *aops, int nr)
{
	struct file *file = toy_open(m, aops);

	map(m, file, AREA, nr * PAGE_SIZE, MAP_SHARED);
	fill(m, AREA, nr);
	return file;
}

static struct folio *folio_at(unsigned long addr)
{
	return page_folio(entry_at(addr).page);
}

/* Half of the folios have private data, which does not refer to the folio. */
static void map_file(struct migrate_test *m)
{
	unsigned long addr;

	map_toy(m, &toy_aops, NR_SMALL);
	for (addr = AREA; addr < AREA + NR_SMALL * PAGE_SIZE; addr += 2 * PAGE_SIZE)
		folio_attach_private(folio_at(addr), m);
	vary_shared(m->test, AREA, NR_SMALL);
}

static void need_buffers(struct migrate_test *m)
{
	if (!IS_ENABLED(CONFIG_BUFFER_HEAD))
		kunit_skip(m->test, "no buffer heads in this kernel");
}

#ifdef CONFIG_BUFFER_HEAD
static void add_buffers(struct folio *folio)
{
	folio_lock(folio);
	create_empty_buffers(folio, PAGE_SIZE / 4, 0);
	folio_unlock(folio);
}
#else
static void add_buffers(struct folio *folio)
{
}
#endif

static void map_buffers(struct migrate_test *m)
{
	int i;

	need_buffers(m);
	map_toy(m, &buffer_aops, NR_SMALL);
	for (i = 0; i < NR_SMALL; i++)
		add_buffers(folio_at(AREA + i * PAGE_SIZE));
	vary_shared(m->test, AREA, NR_SMALL);
}

static void need_thp(struct migrate_test *m)
{
	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		kunit_skip(m->test, "no transparent huge pages in this kernel");
	if (!thp_migration_supported())
		kunit_skip(m->test, "huge pages do not migrate");
}

static bool is_huge(unsigned long addr)
{
	return entry_at(addr).bits & ENTRY_PMD;
}

/*
 * Make a huge page at @addr in an existing mapping. MADV_NOHUGEPAGE prevents that a
 * split page is collapsed again.
 */
static void make_thp(struct migrate_test *m, unsigned long addr)
{
	advise(m, addr, PMD_SIZE, MADV_HUGEPAGE);
	fill(m, addr, PTRS_PER_PTE);
	if (!is_huge(addr))
		do_madvise(current->mm, addr, PMD_SIZE, MADV_COLLAPSE);
	if (!is_huge(addr))
		kunit_skip(m->test, "no huge page could be allocated");
	advise(m, addr, PMD_SIZE, MADV_NOHUGEPAGE);
}

static void map_thp(struct migrate_test *m)
{
	need_thp(m);
	map(m, NULL, AREA, PMD_SIZE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
	make_thp(m, AREA);
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/* Split the PMD that maps the folio, but not the folio. */
static void split_pmd(struct migrate_test *m)
{
	struct vm_area_struct *vma = vma_at(AREA);

	mmap_write_lock(current->mm);
	split_huge_pmd_address(vma, AREA, false);
	mmap_write_unlock(current->mm);
	KUNIT_ASSERT_FALSE(m->test, is_huge(AREA));
	KUNIT_ASSERT_TRUE(m->test, folio_test_large(folio_at(AREA)));
}

/*
 * Change each bit that migration must preserve, compared with a PMD that was just
 * written to.
 */
static void vary_pmd(struct migrate_test *m)
{
	struct mm_struct *mm = current->mm;
	spinlock_t *ptl; /* lock of the page table */
	pmd_t *pmdp = pmd_at(AREA), pmd;

	ptl = pmd_lock(mm, pmdp);
	pmd = pmdp_huge_get_and_clear(mm, AREA, pmdp);
	pmd = pmd_mkuffd(pmd_wrprotect(pmd));
	pmd = pmd_clear_soft_dirty(pmd_mkold(pmd_mkclean(pmd)));
	set_pmd_at(mm, AREA, pmdp, pmd);
	spin_unlock(ptl);
	flush_tlb_mm(mm);
}

static void allow_no_more(void *orders)
{
	huge_anon_orders_madvise = (unsigned long)orders;
}

static void allow_mthp(struct migrate_test *m)
{
	unsigned long orders = huge_anon_orders_madvise;

	KUNIT_ASSERT_EQ(m->test, 0,
			kunit_add_action(m->test, allow_no_more, (void *)orders));
	huge_anon_orders_madvise = orders | BIT(MTHP_ORDER);
}
#else
static void split_pmd(struct migrate_test *m)
{
}

static void vary_pmd(struct migrate_test *m)
{
}

static void allow_mthp(struct migrate_test *m)
{
}
#endif

static void map_thp_varied(struct migrate_test *m)
{
	map_thp(m);
	vary_pmd(m);
}

static void map_thp_ptes(struct migrate_test *m)
{
	map_thp(m);
	split_pmd(m);
	vary(m->test, AREA, 64);
}

/*
 * Map four folios. The entries of the first two folios vary from the first page on,
 * those of the third from the seventh page on. The entries of the last are alike.
 */
static void map_mthp(struct migrate_test *m)
{
	const unsigned long len = 4 * PAGE_SIZE << MTHP_ORDER;
	const unsigned int late = (2 << MTHP_ORDER) + 5;

	need_thp(m);
	map(m, NULL, AREA, len, MAP_PRIVATE | MAP_ANONYMOUS);
	allow_mthp(m);
	advise(m, AREA, len, MADV_HUGEPAGE);
	fill(m, AREA, 4 << MTHP_ORDER);
	advise(m, AREA, len, MADV_NOHUGEPAGE);
	if (folio_order(folio_at(AREA)) != MTHP_ORDER)
		kunit_skip(m->test, "no large folio could be allocated");
	vary(m->test, AREA, 2 << MTHP_ORDER);
	vary(m->test, AREA + late * PAGE_SIZE, (3 << MTHP_ORDER) - late);
}

#ifdef CONFIG_HUGETLB_PAGE
static void restore_overcommit(void *nr)
{
	default_hstate.nr_overcommit_huge_pages = (unsigned long)nr;
}

static void allow_surplus(struct migrate_test *m)
{
	unsigned long nr = default_hstate.nr_overcommit_huge_pages;

	if (!hugepages_supported() ||
	    huge_page_size(&default_hstate) != PMD_SIZE)
		kunit_skip(m->test, "no hugetlb pages of size PMD_SIZE");
	KUNIT_ASSERT_EQ(m->test, 0,
			kunit_add_action(m->test, restore_overcommit, (void *)nr));
	default_hstate.nr_overcommit_huge_pages = nr + 64;
}
#else
static void allow_surplus(struct migrate_test *m)
{
	kunit_skip(m->test, "no hugetlb in this kernel");
}
#endif

static struct file *map_hugetlb(struct migrate_test *m, unsigned long addr, int nr,
				unsigned long flags)
{
	struct file *file;
	unsigned long ret;

	allow_surplus(m);
	file = hugetlb_file_setup(HUGETLB_ANON_FILE, nr * PMD_SIZE,
				  mk_vma_flags(VMA_NORESERVE_BIT),
				  HUGETLB_ANONHUGE_INODE, 0);
	if (IS_ERR(file))
		kunit_skip(m->test, "no hugetlb file: %ld", PTR_ERR(file));
	ret = kunit_vm_mmap(m->test, file, addr, nr * PMD_SIZE,
			    PROT_READ | PROT_WRITE, MAP_FIXED | flags, 0);
	fput(file);
	if (ret != addr)
		kunit_skip(m->test, "no hugetlb pages: %ld", (long)ret);
	fill(m, addr, nr * PTRS_PER_PTE);
	return file;
}

static void map_hugetlb_private(struct migrate_test *m)
{
	map_hugetlb(m, AREA, 1, MAP_PRIVATE);
}

static void map_hugetlb_shared(struct migrate_test *m)
{
	map_hugetlb(m, AREA, 1, MAP_SHARED);
}

/**
 * struct kind - a kind of memory
 * @name: its name
 * @map: maps it at AREA
 * @nr: number of pages
 * @twice: it is mapped at AREA2 as well
 * @folios: number of folios
 * @hugetlb: it is hugetlb memory
 * @special: NUMA balancing does not migrate it, or not always
 */
struct kind {
	const char *name;
	void (*map)(struct migrate_test *m);
	int nr;
	bool twice;
	int folios;
	bool hugetlb;
	bool special;
};

static const struct kind kinds[] = {
	{ "anon", map_anon, .nr = NR_SMALL, .folios = NR_SMALL },
	{ "mlocked", map_mlocked, .nr = NR_SMALL, .folios = NR_SMALL },
	{ "shmem", map_shmem, .nr = NR_SMALL, .folios = NR_SMALL, .twice = true },
	{ "file", map_file, .nr = NR_SMALL, .folios = NR_SMALL,
	  .special = true },
	{ "buffers", map_buffers, .nr = NR_SMALL, .folios = NR_SMALL,
	  .special = true },
	{ "mthp", map_mthp, .nr = 4 << MTHP_ORDER, .folios = 4 },
	{ "thp", map_thp, .nr = PTRS_PER_PTE, .folios = 1 },
	{ "thp varied", map_thp_varied, .nr = PTRS_PER_PTE, .folios = 1 },
	{ "thp ptes", map_thp_ptes, .nr = PTRS_PER_PTE, .folios = 1 },
	{ "hugetlb private", map_hugetlb_private, .nr = PTRS_PER_PTE,
	  .folios = 1, .hugetlb = true, .special = true },
	{ "hugetlb shared", map_hugetlb_shared, .nr = PTRS_PER_PTE,
	  .folios = 1, .hugetlb = true, .special = true },
};

static void map_kind(struct migrate_test *m, const struct kind *kind)
{
	kind->map(m);
}

static void remember_kind(struct migrate_test *m, const struct kind *kind)
{
	m->nr = 0;
	remember(m, AREA, kind->nr);
	if (kind->twice)
		remember(m, AREA2, kind->nr);
}

/* Obstacles that exist during the whole migration, for all folios. */

static void each_source(struct migrate_test *m, void (*act)(struct folio *folio))
{
	int i;

	for (i = 0; i < m->nr; i++)
		if (m->was[i].addr < AREA2 && !PageTail(m->was[i].page))
			act(folio_was(m, i));
}

static void hold(struct folio *folio)
{
	folio_get(folio);
}

static void unhold(struct folio *folio)
{
	folio_put(folio);
}

static void lock(struct folio *folio)
{
	folio_lock(folio);
}

static void unlock(struct folio *folio)
{
	folio_unlock(folio);
}

static void start_writeback(struct folio *folio)
{
	folio_lock(folio);
	folio_start_writeback(folio);
	folio_unlock(folio);
}

static void pin(struct folio *folio)
{
	WARN_ON(try_grab_folio(folio, 1, FOLL_PIN));
}

static void unpin(struct folio *folio)
{
	unpin_folio(folio);
}

/**
 * struct obstacle - an obstacle to the migration of all folios
 * @name: its name
 * @begin: creates it for a folio
 * @end: removes it
 * @not_hugetlb: does not apply to hugetlb
 * @may_wait: MIGRATE_SYNC waits for it
 * @no_waiting: the test sets PF_MEMALLOC, so that no mode waits for it
 * @early: MIGRATE_ASYNC does not allocate a target
 */
struct obstacle {
	const char *name;
	void (*begin)(struct folio *folio);
	void (*end)(struct folio *folio);
	bool not_hugetlb;
	bool may_wait;
	bool no_waiting;
	bool early;
};

static const struct obstacle obstacles[] = {
	{ "reference", hold, unhold },
	{ "lock", lock, unlock, .no_waiting = true, .not_hugetlb = true,
	  .early = true },
	{ "writeback", start_writeback, folio_end_writeback,
	  .not_hugetlb = true, .may_wait = true },
	{ "pin", pin, unpin },
};

/**
 * struct try - an obstacle and a kind of memory
 * @obstacle: the obstacle
 * @kind: the kind of memory
 */
struct try {
	const struct obstacle *obstacle;
	const struct kind *kind;
};

static const void *try_gen_params(struct kunit *test, const void *prev,
				  char *desc)
{
	static struct try tries[ARRAY_SIZE(obstacles) * ARRAY_SIZE(kinds)];
	unsigned int i = prev ? (const struct try *)prev - tries + 1 : 0;

	for (; i < ARRAY_SIZE(tries); i++) {
		struct try *try = &tries[i];

		try->obstacle = &obstacles[i / ARRAY_SIZE(kinds)];
		try->kind = &kinds[i % ARRAY_SIZE(kinds)];
		if (try->kind->hugetlb && try->obstacle->not_hugetlb)
			continue;
		snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s, %s",
			 try->kind->name, try->obstacle->name);
		return try;
	}
	return NULL;
}

static void migrate_without_waiting(struct migrate_test *m, enum migrate_mode mode)
{
	unsigned int flags = memalloc_noreclaim_save();

	migrate(m, mode, MR_SYSCALL);
	memalloc_noreclaim_restore(flags);
}

static void try_once(struct migrate_test *m, const struct try *try,
		     enum migrate_mode mode)
{
	const struct obstacle *o = try->obstacle;

	isolate(m);
	KUNIT_EXPECT_EQ(m->test, m->nr_src, try->kind->folios);
	if (o->no_waiting)
		migrate_without_waiting(m, mode);
	else
		migrate(m, mode, MR_SYSCALL);
	if (o->early && mode == MIGRATE_ASYNC)
		KUNIT_EXPECT_EQ(m->test, m->asked, 0);
	else
		KUNIT_EXPECT_GE(m->test, m->asked, m->nr_src);
	expect_all_failed(m);
}

/* No folio moves or changes. When the obstacle is removed, all folios move. */
static void obstacle_for_all(struct kunit *test)
{
	const struct try *try = test->param_value;
	struct migrate_test *m = test->priv;
	int i;

	map_kind(m, try->kind);
	remember_kind(m, try->kind);
	each_source(m, try->obstacle->begin);
	remember_again(m);
	for (i = 0; i < ARRAY_SIZE(all_modes); i++) {
		if (try->obstacle->may_wait && all_modes[i] == MIGRATE_SYNC)
			continue;
		try_once(m, try, all_modes[i]);
		remember_again(m);
	}
	each_source(m, try->obstacle->end);
	remember_again(m);
	expect_all_move(m, MIGRATE_ASYNC);
}

static void kind_desc(const struct kind *kind, char *desc)
{
	strscpy(desc, kind->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(kind, kinds, kind_desc);

/* Without an obstacle, all folios move in each mode. */
static void moved(struct kunit *test)
{
	const struct kind *kind = test->param_value;
	struct migrate_test *m = test->priv;
	int i;

	map_kind(m, kind);
	for (i = 0; i < ARRAY_SIZE(all_modes); i++) {
		remember_kind(m, kind);
		expect_all_move(m, all_modes[i]);
	}
}

/*
 * No target can be allocated. migrate_pages() tries one folio and ends. It does not
 * split a large folio, because MR_NUMA_MISPLACED does not allow that.
 */
static void no_target(struct kunit *test)
{
	const struct kind *kind = test->param_value;
	const unsigned int pages = kind->nr / kind->folios;
	struct migrate_test *m = test->priv;
	int i;

	map_kind(m, kind);
	remember_kind(m, kind);
	for (i = 0; i < ARRAY_SIZE(all_modes); i++) {
		m->refuse_nr = UINT_MAX;
		isolate(m);
		migrate(m, all_modes[i], MR_NUMA_MISPLACED);
		KUNIT_EXPECT_EQ(test, m->asked, 1);
		expect_outcome(m, .ret = -ENOMEM, .left = kind->folios,
			       .failed = pages, .thp_failed = is_thp(m, 0));
		put_back(m);
		expect_same(m, 0, m->nr);
		remember_again(m);
	}
	expect_all_move(m, MIGRATE_SYNC);
}

/* All targets are locked. Each try puts its target back. */
static void target_locked(struct kunit *test)
{
	const struct kind *kind = test->param_value;
	struct migrate_test *m = test->priv;
	int i;

	map_kind(m, kind);
	remember_kind(m, kind);
	for (i = 0; i < ARRAY_SIZE(all_modes); i++) {
		m->lock_target = true;
		isolate(m);
		migrate(m, all_modes[i], MR_SYSCALL);
		KUNIT_EXPECT_EQ(test, m->given, MIGRATE_TRIES * kind->folios);
		expect_all_failed(m);
		remember_again(m);
	}
	expect_all_move(m, MIGRATE_ASYNC);
}

/*
 * Allocate one target, with a second reference. migrate_pages() calls folio_put()
 * for it, as target_put() passes no put_new_folio callback.
 */
static struct folio *keep_target(struct folio *src, unsigned long private)
{
	struct migrate_test *m = (struct migrate_test *)private;
	struct folio *dst;

	if (m->victim)
		return NULL;
	dst = alloc_migration_target(src, (unsigned long)&m->mtc);
	if (dst)
		folio_get(dst);
	m->victim = dst;
	return dst;
}

static void target_put(struct kunit *test)
{
	const struct kind *kind = test->param_value;
	struct migrate_test *m = test->priv;
	unsigned int succeeded;

	map_kind(m, kind);
	remember_kind(m, kind);
	each_source(m, hold);
	remember_again(m);
	isolate(m);
	/* The second call of keep_target() returns NULL, which ends migration. */
	migrate_pages(&m->list, keep_target, NULL, (unsigned long)m,
		      MIGRATE_ASYNC, MR_NUMA_MISPLACED, &succeeded);
	KUNIT_EXPECT_EQ(test, succeeded, 0);
	KUNIT_ASSERT_NOT_NULL(test, m->victim);
	KUNIT_EXPECT_EQ(test, folio_ref_count(m->victim), 1);
	KUNIT_EXPECT_FALSE(test, folio_test_locked(m->victim));
	folio_put(m->victim);
	put_back(m);
	expect_same(m, 0, m->nr);
	each_source(m, unhold);
	remember_again(m);
	expect_all_move(m, MIGRATE_ASYNC);
}

/* Small folios, one obstacle at a time. */

/* The nth folio gets no target. The folios before it move, the others do not. */
static void refused_nth(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	struct migrate_test *m = test->priv;
	unsigned int nth;

	map_anon(m);
	remember(m, AREA, NR_SMALL);
	for (nth = 0; nth < NR_SMALL; nth++) {
		m->refuse_from = nth;
		m->refuse_nr = 1;
		isolate(m);
		migrate(m, *mode, MR_SYSCALL);
		KUNIT_EXPECT_EQ(test, m->asked, nth + 1);
		expect_outcome(m, .ret = -ENOMEM, .left = NR_SMALL - nth,
			       .used = nth, .ok = nth, .failed = 1);
		put_back(m);
		expect_moved(m, 0, nth);
		expect_same(m, nth, NR_SMALL);
		remember_again(m);
	}
}

/* Get or put a reference to every second folio. */
static void hold_odd(struct migrate_test *m, bool get)
{
	int i;

	for (i = 1; i < m->nr; i += 2) {
		if (get)
			folio_get(folio_was(m, i));
		else
			folio_put(folio_was(m, i));
	}
}

static void every_other(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	struct migrate_test *m = test->priv;
	int i;

	map_anon(m);
	remember(m, AREA, NR_SMALL);
	hold_odd(m, true);
	remember_again(m);
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	expect_outcome(m, .ret = NR_SMALL / 2, .left = NR_SMALL / 2,
		       .used = NR_SMALL / 2, .ok = NR_SMALL / 2,
		       .failed = NR_SMALL / 2);
	put_back(m);
	for (i = 0; i < NR_SMALL; i += 2) {
		expect_moved(m, i, i + 1);
		expect_same(m, i + 1, i + 2);
	}
	hold_odd(m, false);
	remember_again(m);
	expect_all_move(m, *mode);
}

/* An empty list is not a failure. The last argument is set nevertheless. */
static void empty_list(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	struct migrate_test *m = test->priv;

	note_counts(m);
	migrate(m, *mode, MR_SYSCALL);
	expect_outcome(m, .ret = 0);
	KUNIT_EXPECT_EQ(test, m->asked, 0);
	KUNIT_EXPECT_EQ(test, 0,
			migrate_pages(&m->list, give_target, NULL,
				      (unsigned long)m, *mode, MR_SYSCALL, NULL));
	put_back(m);
}

/* Two folios are unmapped after their isolation. They count as migrated. */
static void unmapped_after_isolation(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	struct migrate_test *m = test->priv;

	map_anon(m);
	remember(m, AREA, NR_SMALL);
	isolate(m);
	vm_munmap(AREA + 3 * PAGE_SIZE, 2 * PAGE_SIZE);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->asked, NR_SMALL - 2);
	expect_outcome(m, .ret = 0, .used = NR_SMALL - 2, .ok = NR_SMALL);
	expect_no_leak(m, 0, NR_SMALL);
	put_back(m);
	expect_moved(m, 0, 3);
	expect_moved(m, 5, NR_SMALL);
}

/*
 * A folio is unmapped after its isolation, while the test holds a reference. Its
 * anon_vma has been freed, so migration must not use the anon_vma.
 */
static void freed_but_held(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	struct migrate_test *m = test->priv;
	struct folio *folio;

	map_anon(m);
	remember(m, AREA, 1);
	folio = folio_was(m, 0);
	isolate(m);
	folio_get(folio);
	vm_munmap(AREA, NR_SMALL * PAGE_SIZE);
	migrate(m, *mode, MR_SYSCALL);
	expect_outcome(m, .ret = 1, .left = 1, .failed = 1);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	KUNIT_EXPECT_FALSE(test, folio_test_locked(folio));
	folio_put(folio);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->asked, 0);
	expect_outcome(m, .ret = 0, .ok = 1);
	expect_no_leak(m, 0, 1);
	put_back(m);
}

/*
 * Isolate two folios of a file, then unmap and truncate them. Returns the second
 * folio, with a reference.
 */
static struct folio *truncate_held(struct migrate_test *m)
{
	struct folio *folio;

	map_file(m);
	remember(m, AREA, 2);
	folio = folio_was(m, 1);
	isolate(m);
	folio_get(folio);
	vm_munmap(AREA, NR_SMALL * PAGE_SIZE);
	truncate_inode_pages(folio_mapping(folio), 0);
	return folio;
}

/* Two truncated folios: the one that the test holds fails, the other is freed. */
static void truncated(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	struct migrate_test *m = test->priv;
	struct folio *folio;

	folio = truncate_held(m);
	migrate(m, *mode, MR_SYSCALL);
	expect_outcome(m, .ret = 1, .left = 1, .ok = 1, .failed = 1);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	folio_put(folio);
	put_back(m);
	expect_no_leak(m, 0, 2);
}

/* Map @folio as drivers and TCP do. The rmap does not find this mapping. */
static void insert_page(struct migrate_test *m, unsigned long addr,
			struct folio *folio)
{
	struct mm_struct *mm = current->mm;
	int err;

	map(m, NULL, addr, PAGE_SIZE, MAP_PRIVATE | MAP_ANONYMOUS);
	mmap_write_lock(mm);
	err = vm_insert_page(vma_lookup(mm, addr), addr, folio_page(folio, 0));
	mmap_write_unlock(mm);
	KUNIT_ASSERT_EQ(m->test, 0, err);
}

/*
 * A truncated folio is mapped again by vm_insert_page(). Migration cannot unmap it,
 * so it stays where it is, with its contents.
 */
static void truncated_and_mapped(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	struct migrate_test *m = test->priv;
	struct folio *folio;

	folio = truncate_held(m);
	insert_page(m, AREA2, folio);
	folio_put(folio);
	migrate(m, *mode, MR_SYSCALL);
	expect_outcome(m, .ret = 1, .left = 1, .ok = 1, .failed = 1);
	expect_no_leak(m, 0, 1);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	KUNIT_EXPECT_PTR_EQ(test, entry_at(AREA2).page, folio_page(folio, 0));
	KUNIT_EXPECT_EQ(test, wrong_words(m, AREA2, AREA + PAGE_SIZE), 0);
	vm_munmap(AREA2, PAGE_SIZE);
	put_back(m);
	expect_no_leak(m, 0, 2);
}

static void later_unlock(struct work_struct *work)
{
	struct migrate_test *m = container_of(work, struct migrate_test, later.work);

	folio_unlock(m->victim);
}

/* Lock the first source between the test of its lock and the try to lock it. */
static void lock_for_a_while(struct migrate_test *m, struct folio *src)
{
	if (m->victim)
		return;
	m->victim = src;
	folio_lock(src);
	INIT_DELAYED_WORK(&m->later, later_unlock);
	if (m->delay)
		schedule_delayed_work(&m->later, m->delay);
}

static void finish_lock(struct migrate_test *m)
{
	if (m->delay)
		flush_delayed_work(&m->later);
	else
		folio_unlock(m->victim);
}

/*
 * The first folio is locked for a short time. The modes that may wait do so.
 * MIGRATE_ASYNC fails before the folio is unlocked. The other folios move.
 */
static void lock_waited_for(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	const bool waits = *mode != MIGRATE_ASYNC;
	struct migrate_test *m = test->priv;

	map_anon(m);
	remember(m, AREA, NR_SMALL);
	m->before = lock_for_a_while;
	m->delay = waits ? WAIT_TIME : 0;
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	finish_lock(m);
	expect_outcome(m, .ret = !waits, .left = !waits,
		       .used = NR_SMALL - !waits, .ok = NR_SMALL - !waits,
		       .failed = !waits);
	KUNIT_EXPECT_EQ(test, m->returned, 1);
	put_back(m);
	if (!waits)
		expect_same(m, 0, 1);
	expect_moved(m, !waits, NR_SMALL);
}

/* MIGRATE_SYNC_LIGHT does not wait for a read. If it did, the test would hang. */
static void lock_of_a_read(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	struct folio *folio;

	map_file(m);
	remember(m, AREA, NR_SMALL);
	folio = folio_was(m, 2);
	folio_lock(folio);
	folio_clear_uptodate(folio);
	isolate(m);
	migrate(m, MIGRATE_SYNC_LIGHT, MR_SYSCALL);
	expect_outcome(m, .ret = 1, .left = 1, .used = NR_SMALL - 1,
		       .ok = NR_SMALL - 1, .failed = 1);
	KUNIT_EXPECT_TRUE(test, folio_test_locked(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_uptodate(folio));
	folio_mark_uptodate(folio);
	folio_unlock(folio);
	put_back(m);
	expect_moved(m, 0, 2);
	expect_same(m, 2, 3);
	expect_moved(m, 3, NR_SMALL);
}

static void later_end_writeback(struct work_struct *work)
{
	struct migrate_test *m = container_of(work, struct migrate_test, later.work);

	folio_end_writeback(m->victim);
}

/* MIGRATE_SYNC waits, without the lock of another folio, and the folio moves. */
static void writeback_waited_for(struct kunit *test)
{
	struct migrate_test *m = test->priv;

	map_file(m);
	remember(m, AREA, NR_SMALL);
	m->victim = folio_was(m, 3);
	start_writeback(m->victim);
	INIT_DELAYED_WORK(&m->later, later_end_writeback);
	schedule_delayed_work(&m->later, WAIT_TIME);
	isolate(m);
	migrate(m, MIGRATE_SYNC, MR_SYSCALL);
	expect_outcome(m, .ret = 0, .used = NR_SMALL, .ok = NR_SMALL);
	flush_delayed_work(&m->later);
	put_back(m);
	expect_moved(m, 0, NR_SMALL);
}

static void hold_first(struct migrate_test *m, struct folio *src)
{
	if (m->victim)
		return;
	m->victim = src;
	folio_get(src);
}

/* Drop the reference when the target is put back. The next batch then succeeds. */
static void unhold_first(struct migrate_test *m, struct folio *dst)
{
	if (m->victim)
		folio_put(m->victim);
	m->after = NULL;
}

static void reference_passes(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	const bool again = *mode != MIGRATE_ASYNC;
	struct migrate_test *m = test->priv;

	map_anon(m);
	remember(m, AREA, NR_SMALL);
	m->before = hold_first;
	m->after = unhold_first;
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->returned, 1);
	expect_outcome(m, .ret = !again, .left = !again,
		       .used = NR_SMALL - !again, .ok = NR_SMALL - !again,
		       .failed = !again);
	put_back(m);
	if (!again)
		expect_same(m, 0, 1);
	expect_moved(m, !again, NR_SMALL);
}

/* Expect @nr_async migrate_folio calls with MIGRATE_ASYNC, the rest with @mode. */
static void expect_modes(struct migrate_test *m, int nr_async,
			 enum migrate_mode mode)
{
	int i, wrong = 0;

	for (i = 0; i < min_t(int, m->calls, ARRAY_SIZE(m->modes)); i++)
		wrong += m->modes[i] != (i < nr_async ? MIGRATE_ASYNC : mode);
	KUNIT_EXPECT_EQ(m->test, wrong, 0);
}

/* Drop the pin before the second try to unmap, or before the second try to move. */
static void unpin_second(struct migrate_test *m, struct folio *src)
{
	if (m->asked == 1)
		unpin_folio(src);
}

static void unpin_refused(struct migrate_test *m, struct folio *src)
{
	unpin_folio(src);
	m->refused = NULL;
}

/* A pin makes unmapping anonymous memory fail, and moving file memory. */
static void map_one_anon(struct migrate_test *m)
{
	map_small(m, 1, 0);
}

static void map_one_file(struct migrate_test *m)
{
	map_toy(m, &toy_aops, 1);
	m->refused = unpin_refused;
}

static const struct kind pinned_kinds[] = {
	{ "anon", map_one_anon, .nr = 1 },
	{ "file", map_one_file, .nr = 1 },
	{ "thp", map_thp, .nr = PTRS_PER_PTE },
	{ "hugetlb private", map_hugetlb_private, .nr = PTRS_PER_PTE },
	{ "hugetlb shared", map_hugetlb_shared, .nr = PTRS_PER_PTE },
};

/**
 * struct pinned - a folio that is pinned for a short time
 * @kind: its kind of memory
 * @reason: the reason for its migration
 */
struct pinned {
	const struct kind *kind;
	enum migrate_reason reason;
};

static const void *pinned_gen_params(struct kunit *test, const void *prev,
				     char *desc)
{
	static struct pinned all[2 * ARRAY_SIZE(pinned_kinds)];
	unsigned int i = prev ? (const struct pinned *)prev - all + 1 : 0;

	if (i == ARRAY_SIZE(all))
		return NULL;
	all[i].kind = &pinned_kinds[i / 2];
	all[i].reason = i % 2 ? MR_LONGTERM_PIN : MR_CONTIG_RANGE;
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s, %s", all[i].kind->name,
		 migrate_reason_names[all[i].reason]);
	return &all[i];
}

/*
 * A pin lasts for one try only. For example, get_user_pages() drops its pin if the
 * folio must be migrated before a long-term pin. Migration does not wait for it, and
 * the second try succeeds.
 */
static void pin_passes(struct kunit *test)
{
	const struct pinned *pinned = test->param_value;
	const struct kind *kind = pinned->kind;
	struct migrate_test *m = test->priv;
	unsigned int thps;

	map_kind(m, kind);
	remember_kind(m, kind);
	thps = is_thp(m, 0);
	pin(folio_was(m, 0));
	m->before = m->refused ? NULL : unpin_second;
	isolate(m);
	migrate(m, MIGRATE_ASYNC, pinned->reason);
	/*
	 * Count the tries to unmap. The folio of a file is unmapped once, so count
	 * the tries to move it.
	 */
	KUNIT_EXPECT_EQ(test, m->before ? m->asked : m->calls, 2);
	expect_outcome(m, .ret = 0, .used = 1, .ok = kind->nr, .thp_ok = thps);
	put_back(m);
	expect_moved(m, 0, kind->nr);
}

/* A folio whose pin lasts is tried as often as with any other obstacle. */
static void pin_lasts(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	struct migrate_test *m = test->priv;

	map_file(m);
	remember(m, AREA, 1);
	pin(folio_was(m, 0));
	remember_again(m);
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->calls, MIGRATE_TRIES);
	expect_modes(m, *mode == MIGRATE_ASYNC ? MIGRATE_TRIES :
		     MIGRATE_TRIES_ASYNC, *mode);
	expect_all_failed(m);
	unpin(folio_was(m, 0));
}

/* A folio that fails in the first slice is not tried in the second slice. */
static void long_list(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	const int nr = PTRS_PER_PTE + NR_SMALL, bad = 5;
	struct migrate_test *m = test->priv;

	map_small(m, nr, 0);
	remember(m, AREA, nr);
	folio_get(folio_was(m, bad));
	remember_again(m);
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->asked, nr + (*mode != MIGRATE_ASYNC));
	expect_outcome(m, .ret = 1, .left = 1, .used = nr - 1, .ok = nr - 1,
		       .failed = 1);
	put_back(m);
	expect_moved(m, 0, bad);
	expect_same(m, bad, bad + 1);
	expect_moved(m, bad + 1, nr);
	folio_put(folio_was(m, bad));
}

/* A folio of the second slice gets no target. The folios before it have moved. */
static void refused_in_second_slice(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	const int nr = PTRS_PER_PTE + NR_SMALL, bad = PTRS_PER_PTE + 3;
	struct migrate_test *m = test->priv;

	map_small(m, nr, 0);
	remember(m, AREA, nr);
	m->refuse_from = bad;
	m->refuse_nr = 1;
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->asked, bad + 1);
	expect_outcome(m, .ret = -ENOMEM, .left = nr - bad, .used = bad,
		       .ok = bad, .failed = 1);
	put_back(m);
	expect_moved(m, 0, bad);
	expect_same(m, bad, nr);
}

/* With MR_MEMORY_FAILURE each source keeps a reference, which the caller puts. */
static void poisoned_kept(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	int i;

	map_anon(m);
	remember(m, AREA, NR_SMALL);
	isolate(m);
	migrate(m, MIGRATE_SYNC, MR_MEMORY_FAILURE);
	expect_outcome(m, .ret = 0, .used = NR_SMALL, .ok = NR_SMALL);
	for (i = 0; i < NR_SMALL; i++) {
		KUNIT_EXPECT_EQ(test, page_ref_count(m->was[i].page), 1);
		folio_put(folio_was(m, i));
	}
	put_back(m);
	expect_moved(m, 0, NR_SMALL);
}

/* Reclaim itself subtracts the demoted folios from the isolated counts. */
static void demotion_counts(struct kunit *test)
{
	const int moved = NR_SMALL / 2;
	struct migrate_test *m = test->priv;
	long before = count_isolated();
	int i;

	map_anon(m);
	remember(m, AREA, NR_SMALL);
	hold_odd(m, true);
	remember_again(m);
	isolate(m);
	migrate(m, MIGRATE_ASYNC, MR_DEMOTION);
	expect_outcome(m, .ret = moved, .left = moved, .used = moved,
		       .ok = moved, .failed = moved);
	KUNIT_EXPECT_EQ(test, count_isolated(), before + NR_SMALL);
	for (i = 0; i < NR_SMALL; i += 2)
		mod_node_page_state(page_pgdat(m->was[i].page),
				    NR_ISOLATED_ANON, -1);
	put_back(m);
	hold_odd(m, false);
}

/* Results of the migrate_folio method. */

/**
 * struct method_error - a result of a file's migrate_folio()
 * @name: its name
 * @err: the result
 * @again: migration tries again after it
 */
struct method_error {
	const char *name;
	int err;
	bool again;
};

static const struct method_error method_errors[] = {
	{ "again", -EAGAIN, .again = true },
	{ "nomem", -ENOMEM },
	{ "io", -EIO },
	{ "busy", -EBUSY },
	{ "poison", -EHWPOISON },
	{ "not supported", -EOPNOTSUPP },
};

KUNIT_ARRAY_PARAM_DESC(method_error, method_errors, name);

/* migrate_pages() does not return an error of the file, not even -ENOMEM. */
static void method_fails(struct kunit *test)
{
	const struct method_error *error = test->param_value;
	const int tries_async = error->again ? MIGRATE_TRIES_ASYNC : 1;
	const int tries_sync = error->again ? MIGRATE_TRIES_SYNC : 1;
	struct migrate_test *m = test->priv;
	int i;

	map_file(m);
	remember(m, AREA, 1);
	m->err = error->err;
	m->err_nr = UINT_MAX;
	for (i = 0; i < ARRAY_SIZE(all_modes); i++) {
		isolate(m);
		migrate(m, all_modes[i], MR_SYSCALL);
		if (all_modes[i] != MIGRATE_ASYNC)
			KUNIT_EXPECT_EQ(test, m->calls, tries_async + tries_sync);
		else
			KUNIT_EXPECT_EQ(test, m->calls,
					error->again ? MIGRATE_TRIES : 1);
		expect_modes(m, tries_async, all_modes[i]);
		expect_all_failed(m);
		remember_again(m);
	}
	m->err_nr = 0;
	expect_all_move(m, MIGRATE_ASYNC);
}

/* The last try to move succeeds. The folio is unmapped once and gets one target. */
static void method_succeeds_later(struct kunit *test)
{
	struct migrate_test *m = test->priv;

	map_file(m);
	remember(m, AREA, 1);
	m->err = -EAGAIN;
	m->err_nr = MIGRATE_TRIES - 1;
	isolate(m);
	migrate(m, MIGRATE_ASYNC, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->calls, MIGRATE_TRIES);
	KUNIT_EXPECT_EQ(test, m->given, 1);
	expect_outcome(m, .ret = 0, .used = 1, .ok = 1);
	put_back(m);
	expect_moved(m, 0, 1);
}

/* The move of some folios of a batch fails. The other folios move. */
static void method_fails_for_some(struct kunit *test)
{
	const int bad = 3;
	struct migrate_test *m = test->priv;

	map_file(m);
	remember(m, AREA, NR_SMALL);
	m->err = -EIO;
	m->err_nr = bad;
	isolate(m);
	migrate(m, MIGRATE_ASYNC, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->calls, NR_SMALL);
	expect_outcome(m, .ret = bad, .left = bad, .used = NR_SMALL - bad,
		       .ok = NR_SMALL - bad, .failed = bad);
	put_back(m);
	expect_same(m, 0, bad);
	expect_moved(m, bad, NR_SMALL);
}

/* A file without migrate_folio: only clean folios that it releases can move. */

static void clean(struct migrate_test *m)
{
	int i;

	for (i = 0; i < m->nr; i++) {
		vary_one(m->test, m->was[i].addr, 1);
		folio_lock(folio_was(m, i));
		folio_cancel_dirty(folio_was(m, i));
		folio_unlock(folio_was(m, i));
	}
	flush_tlb_mm(current->mm);
	remember_again(m);
}

static void map_no_migrate(struct migrate_test *m)
{
	map_toy(m, &no_migrate_aops, 2);
	folio_attach_private(folio_at(AREA), m);
	folio_attach_private(folio_at(AREA + PAGE_SIZE), m);
	remember(m, AREA, 2);
}

/* Migrate. Expect @calls calls of release_folio(), and that no folio moves. */
static void expect_release_calls(struct migrate_test *m, enum migrate_mode mode,
				 unsigned int calls)
{
	isolate(m);
	migrate(m, mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(m->test, m->calls, calls);
	expect_all_failed(m);
	remember_again(m);
}

static void no_method(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	int i;

	map_no_migrate(m);
	/* Dirty folios: release_folio() is not called. */
	for (i = 0; i < ARRAY_SIZE(all_modes); i++)
		expect_release_calls(m, all_modes[i], 0);

	/* Clean folios, not released. Only MIGRATE_SYNC retries in a batch. */
	clean(m);
	m->keep_private = true;
	expect_release_calls(m, MIGRATE_ASYNC, 2);
	expect_release_calls(m, MIGRATE_SYNC_LIGHT, 2 * 2);
	expect_release_calls(m, MIGRATE_SYNC, 2 * (1 + MIGRATE_TRIES_SYNC));
}

static void no_method_released(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	int i;

	map_no_migrate(m);
	clean(m);
	isolate(m);
	migrate(m, MIGRATE_SYNC, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->calls, 2);
	expect_outcome(m, .ret = 0, .used = 2, .ok = 2);
	put_back(m);
	/* The private data and its reference are gone. */
	for (i = 0; i < 2; i++) {
		m->was[i].flags &= ~BIT(PG_private);
		m->was[i].refs--;
	}
	expect_moved(m, 0, 2);
}

/* Guest memory that the kernel must not read is not migrated. */
static void inaccessible(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	struct address_space *mapping;
	struct migrate_test *m = test->priv;

	map_file(m);
	remember(m, AREA, NR_SMALL);
	mapping = folio_mapping(folio_was(m, 0));
	set_bit(AS_INACCESSIBLE, &mapping->flags);
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->calls, 0);
	clear_bit(AS_INACCESSIBLE, &mapping->flags);
	expect_all_failed(m);
	remember_again(m);
	expect_all_move(m, *mode);
}

/* Large folios. */

/* Expect that the folios were split, and that a PTE maps each piece. */
static void now_small(struct migrate_test *m)
{
	int i;

	for (i = 0; i < m->nr; i++) {
		m->was[i].refs = 1;
		m->was[i].mapcount = 1;
		m->was[i].partial = false;
	}
	m->mask &= ~(ENTRY_PMD | ENTRY_SOFT | ENTRY_UFFD);
}

static void split_for_targets(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	const int nr = PTRS_PER_PTE;
	struct migrate_test *m = test->priv;

	map_thp(m);
	remember(m, AREA, nr);
	m->refuse_large = true;
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->asked, 1 + nr);
	expect_outcome(m, .ret = 0, .used = nr, .ok = nr, .thp_failed = 1,
		       .thp_split = 1, .split = 1);
	put_back(m);
	now_small(m);
	expect_moved(m, 0, nr);
}

/* An mTHP counts as a split large folio, but not as a split huge page. */
static void split_mthp_for_targets(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	const int nr = 4 << MTHP_ORDER;
	struct migrate_test *m = test->priv;

	map_mthp(m);
	remember(m, AREA, nr);
	m->refuse_large = true;
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	expect_outcome(m, .ret = 0, .used = nr, .ok = nr, .split = 4);
	put_back(m);
	now_small(m);
	expect_moved(m, 0, nr);
}

/* Some pieces get no target. Only the split folio counts as a failed folio. */
static void split_then_refused(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	const int nr = PTRS_PER_PTE, good = 100;
	struct migrate_test *m = test->priv;

	map_thp(m);
	remember(m, AREA, nr);
	m->refuse_large = true;
	m->refuse_from = 1 + good;
	m->refuse_nr = UINT_MAX;
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->asked, 1 + good + 1);
	expect_outcome(m, .ret = 1, .left = nr - good, .used = good, .ok = good,
		       .failed = 1, .thp_failed = 1, .thp_split = 1,
		       .split = 1);
	put_back(m);
	now_small(m);
	expect_some_moved(m, 0, nr, good);
}

/*
 * There is no target for the huge page, and the split fails. migrate_pages() returns
 * -ENOMEM, except for MR_LONGTERM_PIN, for which it retries the split.
 */
static void split_fails(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	const int nr = PTRS_PER_PTE;
	struct migrate_test *m = test->priv;

	map_thp(m);
	remember(m, AREA, nr);
	each_source(m, hold);
	remember_again(m);
	m->refuse_large = true;
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->asked, 1);
	expect_outcome(m, .ret = -ENOMEM, .left = 1, .failed = nr,
		       .thp_failed = 1);
	put_back(m);
	expect_same(m, 0, nr);

	remember_again(m);
	isolate(m);
	migrate(m, *mode, MR_LONGTERM_PIN);
	KUNIT_EXPECT_EQ(test, m->asked, MIGRATE_TRIES);
	expect_all_failed(m);
	each_source(m, unhold);
	remember_again(m);
	expect_all_move(m, *mode);
}

static void unhold_third(struct migrate_test *m, struct folio *src)
{
	if (m->asked == 2)
		folio_put(src);
}

static void split_succeeds_later(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	const int nr = PTRS_PER_PTE;
	struct migrate_test *m = test->priv;

	map_thp(m);
	remember(m, AREA, nr);
	each_source(m, hold);
	m->refuse_large = true;
	m->before = unhold_third;
	isolate(m);
	migrate(m, *mode, MR_LONGTERM_PIN);
	KUNIT_EXPECT_EQ(test, m->asked, 3 + nr);
	expect_outcome(m, .ret = 0, .used = nr, .ok = nr, .thp_failed = 1,
		       .thp_split = 1, .split = 1);
	put_back(m);
	now_small(m);
	expect_moved(m, 0, nr);
}

/* Unmap the last page of a huge page. Migration splits the huge page first. */
static void map_partial(struct migrate_test *m)
{
	map_thp_ptes(m);
	vm_munmap(AREA + PMD_SIZE - PAGE_SIZE, PAGE_SIZE);
	remember(m, AREA, PTRS_PER_PTE - 1);
	KUNIT_ASSERT_TRUE(m->test, m->was[0].partial);
}

static void partial_split(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	const int nr = PTRS_PER_PTE - 1;
	struct migrate_test *m = test->priv;

	map_partial(m);
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->asked, nr);
	/* The page that is not mapped is freed, which counts as migrated. */
	expect_outcome(m, .ret = 0, .used = nr, .ok = nr + 1, .thp_failed = 1,
		       .thp_split = 1, .split = 1);
	put_back(m);
	now_small(m);
	expect_moved(m, 0, nr);
}

/* The folio can be neither split nor moved. It stays queued for a deferred split. */
static void partial_not_split(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	const int nr = PTRS_PER_PTE - 1;
	struct migrate_test *m = test->priv;

	map_partial(m);
	each_source(m, hold);
	remember_again(m);
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	expect_outcome(m, .ret = 1, .left = 1, .failed = nr + 1,
		       .thp_failed = 1);
	put_back(m);
	expect_same(m, 0, nr);
	KUNIT_EXPECT_FALSE(test, list_empty(&folio_was(m, 0)->_deferred_list));
	each_source(m, unhold);
}

/*
 * The first half of the entries is replaced. The second half is exclusive, so the
 * pin makes the unmap fail. Migration must restore the first half, and must not mark
 * the folio as partially mapped.
 */
static void pinned_second_half(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	struct migrate_test *m = test->priv;
	int i;

	map_thp(m);
	split_pmd(m);
	for (i = 0; i < PTRS_PER_PTE / 2; i++)
		vary_one(test, AREA + i * PAGE_SIZE, 6);
	flush_tlb_mm(current->mm);
	remember(m, AREA, PTRS_PER_PTE);
	each_source(m, pin);
	remember_again(m);
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	expect_all_failed(m);
	each_source(m, unpin);
	remember_again(m);
	expect_all_move(m, *mode);
}

/* Page tables, without migrate_pages(). */

static const enum ttu_flags all_ttu_flags[] = {
	0, TTU_SYNC, TTU_BATCH_FLUSH, TTU_BATCH_LOCAL,
	TTU_BATCH_FLUSH | TTU_BATCH_LOCAL, TTU_RMAP_LOCKED,
};

static void rmap_lock(struct folio *folio)
{
	if (folio_test_anon(folio))
		anon_vma_lock_write(folio_anon_vma(folio));
	else
		i_mmap_lock_write(folio_mapping(folio));
}

static void rmap_unlock(struct folio *folio)
{
	if (folio_test_anon(folio))
		anon_vma_unlock_write(folio_anon_vma(folio));
	else
		i_mmap_unlock_write(folio_mapping(folio));
}

/* Install migration entries. All mappings, and their references, must be gone. */
static struct anon_vma *replace_entries(struct migrate_test *m, struct folio *folio,
					enum ttu_flags flags)
{
	const int refs = folio_ref_count(folio) - folio_mapcount(folio);
	struct anon_vma *anon_vma = NULL;

	folio_get(folio);
	folio_lock(folio);
	if (folio_test_anon(folio))
		anon_vma = folio_get_anon_vma(folio);
	if (flags & TTU_RMAP_LOCKED)
		rmap_lock(folio);
	try_to_migrate(folio, flags & ~TTU_USE_SHARED_ZEROPAGE);
	try_to_unmap_flush();
	KUNIT_EXPECT_FALSE(m->test, folio_mapped(folio));
	KUNIT_EXPECT_EQ(m->test, folio_ref_count(folio), refs + 1);
	return anon_vma;
}

/* Replace the migration entries by mappings of the folio. */
static void restore_entries(struct folio *folio, struct anon_vma *anon_vma,
			    enum ttu_flags flags)
{
	remove_migration_ptes(folio, folio, flags & (TTU_RMAP_LOCKED |
						     TTU_USE_SHARED_ZEROPAGE));
	if (flags & TTU_RMAP_LOCKED)
		rmap_unlock(folio);
	if (anon_vma)
		put_anon_vma(anon_vma);
	folio_unlock(folio);
	folio_put(folio);
}

static void replace_and_restore(struct migrate_test *m, struct folio *folio,
				enum ttu_flags flags)
{
	restore_entries(folio, replace_entries(m, folio, flags), flags);
}

static void entries_restored(struct kunit *test)
{
	const struct kind *kind = test->param_value;
	struct migrate_test *m = test->priv;
	int i, j;

	map_kind(m, kind);
	remember_kind(m, kind);
	for (i = 0; i < ARRAY_SIZE(all_ttu_flags); i++) {
		/* Unmapping a folio of a hugetlb file needs the i_mmap lock. */
		if (kind->hugetlb && all_ttu_flags[i] != TTU_RMAP_LOCKED)
			continue;
		for (j = 0; j < m->nr; j++)
			if (m->was[j].addr < AREA2 && !PageTail(m->was[j].page))
				replace_and_restore(m, folio_was(m, j),
						    all_ttu_flags[i]);
		lru_add_drain_all();
		expect_same(m, 0, m->nr);
		expect_counts(m);
		remember_again(m);
	}
}

/* TTU_SPLIT_HUGE_PMD splits the PMD. PTEs map the folio afterwards. */
static void pmd_split_by_unmap(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	int i;

	map_thp(m);
	remember(m, AREA, PTRS_PER_PTE);
	replace_and_restore(m, folio_was(m, 0), TTU_SPLIT_HUGE_PMD);
	for (i = 0; i < m->nr; i++) {
		m->was[i].refs += PTRS_PER_PTE - 1;
		m->was[i].mapcount += PTRS_PER_PTE - 1;
	}
	m->mask &= ~(ENTRY_PMD | ENTRY_SOFT | ENTRY_UFFD);
	expect_same(m, 0, m->nr);
}

static bool hwpoison_entry_at(unsigned long addr)
{
	pte_t *ptep = pte_offset_map(pmd_at(addr), addr), pte;

	if (!ptep)
		return false;
	pte = ptep_get(ptep);
	pte_unmap(ptep);
	return !pte_none(pte) && !pte_present(pte) &&
	       softleaf_is_hwpoison(softleaf_from_pte(pte));
}

static void need_poison(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "no poisoned memory in this kernel");
}

/* Unmap and restore the folio at page @first while its page @bad is poisoned. */
static void poison_one(struct migrate_test *m, int first, int bad)
{
	struct folio *folio = folio_was(m, first);
	const int end = first + folio_nr_pages(folio);
	struct mm_struct *mm = current->mm;
	unsigned long mapped = get_mm_counter_sum(mm, MM_ANONPAGES);
	struct page *page = m->was[bad].page;
	int i;

	folio_get(folio);
	SetPageHWPoison(page);
	replace_and_restore(m, folio, 0);
	ClearPageHWPoison(page);
	folio_put(folio);

	for (i = first; i < end; i++) {
		m->was[i].refs--;
		m->was[i].mapcount--;
	}
	expect_same(m, first, bad);
	KUNIT_EXPECT_TRUE(m->test, hwpoison_entry_at(m->was[bad].addr));
	expect_same(m, bad + 1, end);
	KUNIT_EXPECT_EQ(m->test, get_mm_counter_sum(mm, MM_ANONPAGES), mapped - 1);
}

/* A poisoned page gets a hwpoison entry. The entries next to it are restored. */
static void poisoned_neighbour(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	int first;

	need_poison(test);
	map_mthp(m);
	remember(m, AREA, 4 << MTHP_ORDER);
	for (first = 0; first < m->nr; first += 1 << MTHP_ORDER)
		poison_one(m, first, first + 6);
}

/* The poisoned page is the only page of its folio, so no other entry is restored. */
static void poisoned_alone(struct kunit *test)
{
	struct migrate_test *m = test->priv;

	need_poison(test);
	map_anon(m);
	remember(m, AREA, NR_SMALL);
	poison_one(m, 0, 0);
	expect_same(m, 1, NR_SMALL);
}

/* try_to_migrate() warns of flags that are not allowed, and changes nothing. */
static void wrong_flags(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	struct folio *folio;

	map_anon(m);
	remember(m, AREA, NR_SMALL);
	folio = folio_was(m, 0);
	folio_lock(folio);
	kunit_warning_suppress(test) {
		try_to_migrate(folio, TTU_HWPOISON);
		KUNIT_EXPECT_EQ(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 1);
	}
	folio_unlock(folio);
	expect_same(m, 0, NR_SMALL);
}

/*
 * Where migration calls no callback, a test acts at the entry of a kernel function
 * that the migrating task calls.
 */
#if defined(CONFIG_KPROBES) && defined(CONFIG_HAVE_FUNCTION_ARG_ACCESS_API)
/**
 * struct probe - a kprobe at the entry of a function
 * @kp: the kprobe
 * @m: the test. Only calls by @m->task are counted.
 * @folio: only calls with this first argument are counted; NULL for all calls
 * @nr: number of counted calls
 * @at: called for a counted call, or NULL. Must not sleep. If it replaces the
 *	function by probe_lead_to(), it returns true.
 */
struct probe {
	struct kprobe kp;
	struct migrate_test *m;
	const struct folio *folio;
	unsigned int nr;
	bool (*at)(struct probe *probe, struct pt_regs *regs);
};

static int probe_hit(struct kprobe *kp, struct pt_regs *regs)
{
	struct probe *probe = container_of(kp, struct probe, kp);

	if (current != probe->m->task)
		return 0;
	if (probe->folio &&
	    regs_get_kernel_argument(regs, 0) != (unsigned long)probe->folio)
		return 0;
	probe->nr++;
	return probe->at && probe->at(probe, regs);
}

/*
 * A post handler prevents that the kprobe is optimised to a jump. probe_lead_to()
 * has no effect in an optimised kprobe.
 */
static void probe_passed(struct kprobe *kp, struct pt_regs *regs,
			 unsigned long flags)
{
}

static void probe_end(void *kp)
{
	unregister_kprobe(kp);
}

static struct probe *probe_at(struct migrate_test *m, const char *function,
			      const struct folio *folio,
			      bool (*at)(struct probe *probe, struct pt_regs *regs))
{
	struct probe *probe = kunit_kzalloc(m->test, sizeof(*probe), GFP_KERNEL);
	int err;

	KUNIT_ASSERT_NOT_NULL(m->test, probe);
	probe->kp.symbol_name = function;
	probe->kp.pre_handler = probe_hit;
	probe->kp.post_handler = probe_passed;
	probe->m = m;
	probe->folio = folio;
	probe->at = at;
	err = register_kprobe(&probe->kp);
	if (err == -ENOENT)
		kunit_skip(m->test, "%s() does not exist here", function);
	KUNIT_ASSERT_EQ(m->test, err, 0);
	KUNIT_ASSERT_EQ(m->test, 0, kunit_add_action_or_reset(m->test, probe_end,
							      &probe->kp));
	return probe;
}

static unsigned long probe_arg(struct pt_regs *regs, unsigned int nr)
{
	return regs_get_kernel_argument(regs, nr);
}

static void probe_lead_to(struct pt_regs *regs, void *function)
{
	instruction_pointer_set(regs, (unsigned long)function);
}
#else
struct probe {
	struct migrate_test *m;
	unsigned int nr;
};

static struct probe *probe_at(struct migrate_test *m, const char *function,
			      const struct folio *folio,
			      bool (*at)(struct probe *probe, struct pt_regs *regs))
{
	kunit_skip(m->test, "no probes in this kernel");
	return NULL;
}

static unsigned long probe_arg(struct pt_regs *regs, unsigned int nr)
{
	return 0;
}

static void probe_lead_to(struct pt_regs *regs, void *function)
{
}
#endif

/* Replaces the first folio_get_anon_vma(), and unmaps the folio before the call. */
static struct anon_vma *unmap_and_get_anon_vma(const struct folio *folio)
{
	struct migrate_test *m = watched;
	int i;

	for (i = 0; i < m->nr; i++)
		if (folio_was(m, i) == folio)
			vm_munmap(m->was[i].addr, PAGE_SIZE);
	return folio_get_anon_vma(folio);
}

static bool unmap_first(struct probe *probe, struct pt_regs *regs)
{
	if (probe->nr > 1)
		return false;
	probe_lead_to(regs, unmap_and_get_anon_vma);
	return true;
}

static struct anon_vma *get_anon_vma_of(struct folio *folio)
{
	struct anon_vma *anon_vma;

	folio_lock(folio);
	anon_vma = folio_get_anon_vma(folio);
	folio_unlock(folio);
	return anon_vma;
}

/**
 * struct place - one of two folios with different anon_vma structures
 * @name: its name
 * @nr: its index. The batch holds the anon_vma of folio 0.
 */
struct place {
	const char *name;
	int nr;
};

static const struct place places[] = {
	{ "first", 0 },
	{ "second", 1 },
};

KUNIT_ARRAY_PARAM_DESC(place, places, name);

/*
 * A folio is unmapped, and its anon_vma released, just before migration gets a
 * reference to the anon_vma. folio_get_anon_vma() fails then. Migration must not
 * treat the folio as mapped, because it would walk the anon_vma later. The test
 * holds a reference to the anon_vma, so that such a walk does not access freed
 * memory.
 */
static void unmapped_before_get_anon_vma(struct kunit *test)
{
	const struct place *place = test->param_value;
	const int gone = place->nr, stays = !place->nr;
	struct probe *hold, *restore;
	struct migrate_test *m = test->priv;
	struct anon_vma *anon_vma;
	int i;

	for (i = 0; i < 2; i++) {
		map(m, NULL, AREA + i * PMD_SIZE, PAGE_SIZE,
		    MAP_PRIVATE | MAP_ANONYMOUS);
		fill(m, AREA + i * PMD_SIZE, 1);
		remember(m, AREA + i * PMD_SIZE, 1);
	}
	KUNIT_ASSERT_PTR_NE(test, folio_anon_vma(folio_was(m, 0)),
			    folio_anon_vma(folio_was(m, 1)));
	anon_vma = get_anon_vma_of(folio_was(m, gone));
	KUNIT_ASSERT_NOT_NULL(test, anon_vma);

	hold = probe_at(m, "folio_get_anon_vma", folio_was(m, gone), unmap_first);
	restore = probe_at(m, "remove_migration_ptes", folio_was(m, gone), NULL);
	isolate(m);
	migrate(m, MIGRATE_ASYNC, MR_SYSCALL);
	put_anon_vma(anon_vma);
	/* Called by migration and by unmap_and_get_anon_vma(). */
	KUNIT_EXPECT_EQ(test, hold->nr, 2);
	KUNIT_EXPECT_EQ(test, restore->nr, 0);
	expect_outcome(m, .ret = 0, .used = 2, .ok = 2);
	expect_no_leak(m, gone, gone + 1);
	put_back(m);
	expect_moved(m, stays, stays + 1);
}

/* Targets that are allocated in bulk. */

#ifdef CONFIG_PAGE_OWNER
static bool has_page_owner(void)
{
	return static_branch_unlikely(&page_owner_inited);
}
#else
static bool has_page_owner(void)
{
	return false;
}
#endif

static void need_bulk(struct migrate_test *m)
{
	if (has_page_owner())
		kunit_skip(m->test, "page_owner disables bulk allocation");
}

static bool note_spares(struct probe *probe, struct pt_regs *regs)
{
	void *array = (void *)probe_arg(regs, 4);

	probe->m->spares = container_of(array, struct migrate_spares, page);
	return false;
}

/* Wait until migration waits for the lock, at most 10 seconds. Count the spares. */
static void later_count_spares(struct work_struct *work)
{
	struct migrate_test *m = container_of(work, struct migrate_test, later.work);
	unsigned long end = jiffies + 10 * HZ;

	while (!folio_test_waiters(m->victim) && time_before(jiffies, end))
		schedule_timeout_uninterruptible(1);
	if (m->spares && folio_test_waiters(m->victim))
		m->idle = m->spares->nr - m->spares->next;
	folio_unlock(m->victim);
}

/*
 * One source is locked, so one target of the bulk allocation is not used. Migration
 * must free this target before it waits for the lock.
 */
static void no_spares_while_waiting(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	struct probe *bulk;

	need_bulk(m);
	map_anon(m);
	remember(m, AREA, NR_SMALL);
	bulk = probe_at(m, "alloc_pages_bulk_noprof", NULL, note_spares);
	m->victim = folio_was(m, 2);
	m->idle = UINT_MAX;
	folio_lock(m->victim);
	INIT_DELAYED_WORK(&m->later, later_count_spares);
	schedule_delayed_work(&m->later, 0);
	isolate(m);
	migrate_default_targets(m, MIGRATE_SYNC, MR_SYSCALL);
	flush_delayed_work(&m->later);
	KUNIT_EXPECT_GT(test, bulk->nr, 0);
	KUNIT_EXPECT_EQ(test, m->idle, 0);
	expect_outcome(m, .ret = 0, .ok = NR_SMALL);
	put_back(m);
	expect_moved(m, 0, NR_SMALL);
}

static bool poison_spare(struct probe *probe, struct pt_regs *regs)
{
	struct migrate_test *m = probe->m;

	if (m->poisoned || !m->spares || m->spares->next == m->spares->nr)
		return false;
	m->poisoned = m->spares->page[m->spares->next];
	SetPageHWPoison(m->poisoned);
	return false;
}

/* A target that is poisoned after its allocation must not be used. */
static void poisoned_spare(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	int i, used = 0;

	need_poison(test);
	need_bulk(m);
	map_anon(m);
	remember(m, AREA, NR_SMALL);
	probe_at(m, "alloc_pages_bulk_noprof", NULL, note_spares);
	probe_at(m, "try_to_migrate", folio_was(m, 0), poison_spare);
	isolate(m);
	migrate_default_targets(m, MIGRATE_ASYNC, MR_SYSCALL);
	KUNIT_ASSERT_NOT_NULL(test, m->poisoned);
	expect_outcome(m, .ret = 0, .ok = NR_SMALL);
	put_back(m);
	for (i = 0; i < NR_SMALL; i++)
		used += entry_at(m->was[i].addr).page == m->poisoned;
	KUNIT_EXPECT_EQ(test, used, 0);
	KUNIT_EXPECT_EQ(test, page_ref_count(m->poisoned), 0);
	ClearPageHWPoison(m->poisoned);
	if (!used && !page_ref_count(m->poisoned)) {
		init_page_count(m->poisoned);
		__free_page(m->poisoned);
	}
	expect_moved(m, 0, NR_SMALL);
}

/* Count the mm_page_alloc events, which must report each target. */
static void note_alloc(void *data, struct page *page, unsigned int order,
		       gfp_t gfp, int migratetype)
{
	struct migrate_test *m = READ_ONCE(watched);

	if (m && current == m->task && page && page_to_nid(page) == m->mtc.nid)
		m->calls++;
}

static void no_trace(void *unused)
{
	unregister_trace_mm_page_alloc(note_alloc, NULL);
	tracepoint_synchronize_unregister();
}

static void trace_alloc(struct migrate_test *m)
{
	if (!IS_ENABLED(CONFIG_TRACEPOINTS))
		kunit_skip(m->test, "no trace events in this kernel");
	KUNIT_ASSERT_EQ(m->test, 0,
			register_trace_mm_page_alloc(note_alloc, NULL));
	KUNIT_ASSERT_EQ(m->test, 0,
			kunit_add_action_or_reset(m->test, no_trace, NULL));
}

static void ask_for_unmovable(struct migrate_test *m)
{
	m->mtc.gfp_mask = GFP_USER | __GFP_THISNODE;
}

static void no_defrag_mode(void *old)
{
	defrag_mode = (long)old;
}

static void set_defrag_mode(struct migrate_test *m)
{
	KUNIT_ASSERT_EQ(m->test, 0,
			kunit_add_action(m->test, no_defrag_mode,
					 (void *)(long)defrag_mode));
	defrag_mode = 1;
}

#ifdef CONFIG_CPUSETS
static nodemask_t mems_before;

static void leave_cpuset(void *unused)
{
	set_mems_allowed(mems_before);
	cpus_read_lock();
	cpuset_dec();
	cpus_read_unlock();
}

/* Enable cpusets, and allow this task only the node that the memory is on. */
static void enter_cpuset(struct migrate_test *m)
{
	nodemask_t home = nodemask_of_node(folio_nid(folio_at(AREA)));

	if (node_isset(m->mtc.nid, home))
		kunit_skip(m->test, "needs two nodes");
	mems_before = cpuset_current_mems_allowed;
	cpus_read_lock();
	cpuset_inc();
	cpus_read_unlock();
	KUNIT_ASSERT_EQ(m->test, 0,
			kunit_add_action(m->test, leave_cpuset, NULL));
	set_mems_allowed(home);
}
#else
static void enter_cpuset(struct migrate_test *m)
{
	kunit_skip(m->test, "no cpusets in this kernel");
}
#endif

/* Use the flags of memory offlining and of allocations of contiguous ranges. */
static void set_up_cpuset(struct migrate_test *m)
{
	m->mtc.gfp_mask = GFP_KERNEL | __GFP_MOVABLE | __GFP_RETRY_MAYFAIL;
	enter_cpuset(m);
}

/**
 * struct request - a way to allocate targets
 * @name: its name
 * @begin: called before the migration, or NULL
 * @nr: number of targets
 * @bulk: they are allocated in bulk
 */
struct request {
	const char *name;
	void (*begin)(struct migrate_test *m);
	int nr;
	bool bulk;
};

static const struct request requests[] = {
	{ "several", .nr = NR_SMALL, .bulk = true },
	{ "single", .nr = 1 },
	{ "unmovable", ask_for_unmovable, .nr = NR_SMALL },
	{ "defrag mode", set_defrag_mode, .nr = NR_SMALL },
	{ "traced", trace_alloc, .nr = NR_SMALL },
	{ "node outside the cpuset", set_up_cpuset, .nr = NR_SMALL },
};

KUNIT_ARRAY_PARAM_DESC(request, requests, name);

/* Allow targets on the target node only. */
static void migrate_for(struct migrate_test *m, const struct request *request)
{
	nodemask_t nmask;

	nodes_clear(nmask);
	node_set(m->mtc.nid, nmask);
	m->mtc.nmask = &nmask;
	isolate(m);
	migrate_default_targets(m, MIGRATE_ASYNC, MR_MEMORY_HOTPLUG);
	if (request->begin == trace_alloc)
		KUNIT_EXPECT_GE(m->test, m->calls, request->nr);
	expect_outcome(m, .ret = 0, .ok = request->nr);
	put_back(m);
	expect_moved(m, 0, request->nr);
}

/*
 * All targets can be allocated. The cpuset of set_up_cpuset() is not a hardwall:
 * its tasks may get memory of other nodes if its own nodes have none.
 */
static void targets_allocated(struct kunit *test)
{
	const struct request *request = test->param_value;
	struct migrate_test *m = test->priv;

	map_small(m, request->nr, 0);
	remember(m, AREA, request->nr);
	if (request->begin)
		request->begin(m);
	migrate_for(m, request);
}

/* The targets are allocated in bulk only if that makes no other difference. */
static void bulk_if_allowed(struct kunit *test)
{
	const struct request *request = test->param_value;
	struct migrate_test *m = test->priv;
	struct probe *bulk;

	map_small(m, request->nr, 0);
	remember(m, AREA, request->nr);
	bulk = probe_at(m, "alloc_pages_bulk_noprof", NULL, NULL);
	if (request->begin)
		request->begin(m);
	migrate_for(m, request);
	KUNIT_EXPECT_EQ(test, bulk->nr > 0, request->bulk);
}

static void no_boost(void *data)
{
	struct zone *zone = data;
	unsigned long flags;

	spin_lock_irqsave(&zone->lock, flags);
	zone->watermark_boost = 0;
	spin_unlock_irqrestore(&zone->lock, flags);
}

/*
 * The watermarks are boosted, as if pages had been taken from blocks of another
 * type. The bulk allocation must wake kswapd.
 */
static void boost_wakes_kswapd(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	struct probe *bulk, *wake;
	struct zone *zone;

	map_anon(m);
	remember(m, AREA, NR_SMALL);
	for_each_populated_zone(zone) {
		if (zone_to_nid(zone) != m->mtc.nid)
			continue;
		KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, no_boost, zone));
		zone->watermark_boost = 1;
	}
	bulk = probe_at(m, "alloc_pages_bulk_noprof", NULL, NULL);
	wake = probe_at(m, "wakeup_kswapd", NULL, NULL);
	isolate(m);
	migrate_default_targets(m, MIGRATE_ASYNC, MR_SYSCALL);
	KUNIT_EXPECT_GT(test, bulk->nr, 0);
	KUNIT_EXPECT_GT(test, wake->nr, 0);
	expect_outcome(m, .ret = 0, .ok = NR_SMALL);
	put_back(m);
	expect_moved(m, 0, NR_SMALL);
}

/*
 * The tries for a locked folio are short, because they allocate no target. So
 * migration must pause between two tries, to give the owner time to unlock.
 */
static void pause_for_lock(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	struct probe *pause;

	map_small(m, 1, 0);
	remember(m, AREA, 1);
	folio_lock(folio_was(m, 0));
	remember_again(m);
	pause = probe_at(m, "__const_udelay", NULL, NULL);
	isolate(m);
	migrate(m, MIGRATE_ASYNC, MR_NUMA_MISPLACED);
	KUNIT_EXPECT_EQ(test, pause->nr, MIGRATE_TRIES - 1);
	KUNIT_EXPECT_EQ(test, m->asked, 0);
	expect_all_failed(m);
	folio_unlock(folio_was(m, 0));
}

/* Read all pages, so that the TLB of this CPU caches their translations. */
static void read_all(struct migrate_test *m)
{
	unsigned long word;
	int i, failed = 0;

	for (i = 0; i < m->nr; i++)
		failed += copy_from_user(&word, (void __user *)m->was[i].addr,
					 sizeof(word)) != 0;
	KUNIT_EXPECT_EQ(m->test, failed, 0);
}

/* Count the pages of @folio that can be read without a fault. */
static int count_readable(struct migrate_test *m, struct folio *folio)
{
	unsigned long word;
	int i, nr = 0;

	for (i = 0; i < m->nr; i++)
		nr += folio_was(m, i) == folio &&
		      !copy_from_user_nofault(&word, (void __user *)m->was[i].addr,
					      sizeof(word));
	return nr;
}

/*
 * This CPU has just read the folio. After the entries are replaced and the TLB is
 * flushed, every access must fault. If one does not, the TLB has an old translation.
 */
static void no_access(struct migrate_test *m, struct folio *folio,
		      enum ttu_flags flags)
{
	struct anon_vma *anon_vma;

	migrate_disable();
	read_all(m);
	KUNIT_EXPECT_NE(m->test, count_readable(m, folio), 0);
	anon_vma = replace_entries(m, folio, flags);
	KUNIT_EXPECT_EQ_MSG(m->test, count_readable(m, folio), 0, "flags %x", flags);
	restore_entries(folio, anon_vma, flags);
	migrate_enable();
}

/* Act as another thread that has completed its TLB flush of the mm. */
static void end_other_flush(void *data, unsigned long addr, unsigned long value,
			    int order)
{
	struct mm_struct *mm = data;

	if (current->mm == mm && mm_tlb_flush_pending(mm))
		dec_tlb_flush_pending(mm);
}

/*
 * A NUMA hint counts as cached by the TLB only while a flush of the mm is pending.
 * If that flush completes, the entries next to the hint must still be flushed.
 */
static void numa_hint_in_run(struct kunit *test)
{
	const enum ttu_flags flags = TTU_BATCH_FLUSH | TTU_BATCH_LOCAL;
	const int nr = 1 << MTHP_ORDER, first = 3 * nr;
	struct mm_struct *mm = current->mm;
	struct migrate_test *m = test->priv;
	struct anon_vma *anon_vma;
	struct folio *folio;

	if (!IS_ENABLED(CONFIG_ARCH_HAS_PTE_PROTNONE) || !IS_ENABLED(CONFIG_TRACEPOINTS))
		kunit_skip(test, "no hints or no tracepoints in this kernel");
	map_mthp(m);
	remember(m, AREA, 4 * nr);
	folio = folio_was(m, first);
	KUNIT_ASSERT_EQ(test, 0, register_trace_set_migration_pte(end_other_flush, mm));
	migrate_disable();
	read_all(m);
	vary_one(test, m->was[first].addr, NUMA_HINT);
	flush_tlb_page(vma_at(m->was[first].addr), m->was[first].addr);
	KUNIT_EXPECT_EQ(test, count_readable(m, folio), nr - 1);
	inc_tlb_flush_pending(mm);
	anon_vma = replace_entries(m, folio, flags);
	KUNIT_EXPECT_FALSE(test, mm_tlb_flush_pending(mm));
	KUNIT_EXPECT_EQ(test, count_readable(m, folio), 0);
	restore_entries(folio, anon_vma, flags);
	migrate_enable();
	unregister_trace_set_migration_pte(end_other_flush, mm);
	tracepoint_synchronize_unregister();
	expect_contents(m, 0, m->nr);
}

static void tlb_flushed(struct kunit *test)
{
	const struct kind *kind = test->param_value;
	struct migrate_test *m = test->priv;
	int i, j;

	map_kind(m, kind);
	remember_kind(m, kind);
	for (i = 0; i < ARRAY_SIZE(all_ttu_flags); i++) {
		if (kind->hugetlb && all_ttu_flags[i] != TTU_RMAP_LOCKED)
			continue;
		for (j = 0; j < m->nr; j++)
			if (m->was[j].addr < AREA2 && !PageTail(m->was[j].page))
				no_access(m, folio_was(m, j), all_ttu_flags[i]);
	}
	expect_contents(m, 0, m->nr);
}

#ifdef CONFIG_MMU_NOTIFIER
/**
 * struct listener - the owner of a secondary TLB
 * @notifier: its MMU notifier
 * @calls: number of invalidations
 * @beyond: number of invalidations of more than the memory of the test
 */
struct listener {
	struct mmu_notifier notifier;
	int calls;
	int beyond;
};

static void listen(struct mmu_notifier *notifier, struct mm_struct *mm,
		   unsigned long start, unsigned long end)
{
	struct listener *l = container_of(notifier, struct listener, notifier);

	l->calls++;
	l->beyond += start < AREA || end > AREA + (4 * PAGE_SIZE << MTHP_ORDER);
}

static const struct mmu_notifier_ops listener_ops = {
	.arch_invalidate_secondary_tlbs = listen,
};

/*
 * If only this CPU needs a flush, a secondary TLB must flush no more than the
 * memory of the test.
 */
static void secondary_tlb_range(struct kunit *test)
{
	struct listener l = { .notifier.ops = &listener_ops };
	struct migrate_test *m = test->priv;
	int i;

	map_mthp(m);
	remember(m, AREA, 4 << MTHP_ORDER);
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(&l.notifier, current->mm));
	migrate_disable();
	for (i = 0; i < m->nr; i += 1 << MTHP_ORDER)
		replace_and_restore(m, folio_was(m, i), TTU_BATCH_LOCAL);
	migrate_enable();
	mmu_notifier_unregister(&l.notifier, current->mm);
	/* Not every architecture has secondary TLBs. */
	if (IS_ENABLED(CONFIG_X86) || IS_ENABLED(CONFIG_ARM64))
		KUNIT_EXPECT_NE(test, l.calls, 0);
	KUNIT_EXPECT_EQ(test, l.beyond, 0);
}
#else
static void secondary_tlb_range(struct kunit *test)
{
	kunit_skip(test, "no MMU notifiers in this kernel");
}
#endif

/* Count the entries that the architecture has folded with the next one. */
static int count_folded(struct migrate_test *m)
{
	pte_t *ptep;
	int i, nr = 0;

	for (i = 0; i < m->nr; i++) {
		ptep = pte_offset_map(pmd_at(m->was[i].addr), m->was[i].addr);
		KUNIT_ASSERT_NOT_NULL(m->test, ptep);
		nr += pte_batch_hint(ptep, ptep_get(ptep)) > 1;
		pte_unmap(ptep);
	}
	return nr;
}

/* Map a huge page by PTEs in folded blocks. Returns the number of folded entries. */
static int map_folded(struct migrate_test *m)
{
	int nr;

	map_thp(m);
	split_pmd(m);
	remember(m, AREA, PTRS_PER_PTE);
	nr = count_folded(m);
	if (!nr && !IS_ENABLED(CONFIG_ARM64_CONTPTE))
		kunit_skip(m->test, "this architecture does not fold entries");
	KUNIT_ASSERT_NE(m->test, nr, 0);
	return nr;
}

/* Mapping the folio again folds all blocks, also those that lie in two VMAs. */
static void folded_again(struct kunit *test)
{
	static const int cuts[] = { 0, 8, 21, 128, 300 };
	struct migrate_test *m = test->priv;
	int i, nr = map_folded(m);

	for (i = 0; i < ARRAY_SIZE(cuts); i++) {
		if (cuts[i])
			advise(m, AREA, cuts[i] * PAGE_SIZE, MADV_DONTFORK);
		replace_and_restore(m, folio_was(m, 0), 0);
		KUNIT_EXPECT_EQ_MSG(test, count_folded(m), nr, "cut at %d", cuts[i]);
		advise(m, AREA, PMD_SIZE, MADV_DOFORK);
	}
	expect_contents(m, 0, m->nr);
}

/* Blocks are folded again even if their entries differ in the young or dirty bit. */
static void folded_though_varied(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	int i, nr = map_folded(m);

	for (i = 0; i < PTRS_PER_PTE; i += 11)
		vary_one(test, AREA + i * PAGE_SIZE, 1 + i % 2);
	flush_tlb_mm(current->mm);
	KUNIT_EXPECT_LT(test, count_folded(m), nr);
	replace_and_restore(m, folio_was(m, 0), 0);
	KUNIT_EXPECT_EQ(test, count_folded(m), nr);
	expect_contents(m, 0, m->nr);
}

/* The peak of the RSS is recorded before the zero page replaces pages. */
static void peak_of_rss_kept(struct kunit *test)
{
	struct mm_struct *mm = current->mm;
	struct migrate_test *m = test->priv;
	unsigned long before;
	int i;

	map_small(m, PTRS_PER_PTE, 0);
	KUNIT_ASSERT_EQ(test, 0, clear_user((void __user *)AREA, PMD_SIZE));
	remember(m, AREA, PTRS_PER_PTE);
	before = get_mm_rss(mm);
	for (i = 0; i < m->nr; i++)
		replace_and_restore(m, folio_was(m, i), TTU_USE_SHARED_ZEROPAGE);
	KUNIT_EXPECT_EQ(test, get_mm_counter_sum(mm, MM_ANONPAGES), 0);
	KUNIT_EXPECT_LT(test, get_mm_rss(mm), before);
	KUNIT_EXPECT_GE(test, get_mm_hiwater_rss(mm), before);
}

/* A large folio is mlocked again when its last page is mapped, also by PTEs. */
static void mlocked_again(struct kunit *test)
{
	struct migrate_test *m = test->priv;

	need_thp(m);
	map(m, NULL, AREA, PMD_SIZE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_LOCKED);
	make_thp(m, AREA);
	split_pmd(m);
	remember(m, AREA, PTRS_PER_PTE);
	KUNIT_ASSERT_TRUE(test, folio_test_mlocked(folio_was(m, 0)));
	expect_all_move(m, MIGRATE_SYNC);
	KUNIT_EXPECT_TRUE(test, folio_test_mlocked(folio_at(AREA)));
}

/**
 * struct events - events of the tracepoints for migration entries
 * @task: the task whose events are counted
 * @set: number of set_migration_pte events
 * @removed: number of remove_migration_pte events
 * @wrong: number of events with a wrong value
 */
struct events {
	struct task_struct *task;
	int set;
	int removed;
	int wrong;
};

/* The event reports the order of the page, which only the first page has. */
static int order_of(struct page *page)
{
	return PageHead(page) ? folio_order(page_folio(page)) : 0;
}

static void note_set(void *data, unsigned long addr, unsigned long value, int order)
{
	const pte_t pte = __pte(value);
	struct events *events = data;
	softleaf_t entry;

	if (current != events->task)
		return;
	events->set++;
	entry = softleaf_from_pte(pte);
	events->wrong += pte_present(pte) || !softleaf_is_migration(entry) ||
			 order != folio_order(softleaf_to_folio(entry)) ||
			 (softleaf_to_pfn(entry) - addr / PAGE_SIZE) % (1 << order);
}

static void note_removed(void *data, unsigned long addr, unsigned long value, int order)
{
	const pte_t pte = __pte(value);
	struct events *events = data;

	if (current != events->task)
		return;
	events->removed++;
	events->wrong += !pte_present(pte) || pte_batch_hint(NULL, pte) > 1 ||
			 pte_page(pte) != entry_at(addr).page ||
			 order != order_of(pte_page(pte));
}

/* Every entry is reported once, with the value that was written. */
static void entries_reported(struct kunit *test)
{
	struct events events = { .task = current };
	struct migrate_test *m = test->priv;
	int i;

	if (!IS_ENABLED(CONFIG_TRACEPOINTS))
		kunit_skip(test, "no tracepoints in this kernel");
	map_mthp(m);
	remember(m, AREA, 4 << MTHP_ORDER);
	KUNIT_ASSERT_EQ(test, 0, register_trace_set_migration_pte(note_set, &events));
	KUNIT_EXPECT_EQ(test, 0, register_trace_remove_migration_pte(note_removed,
								     &events));
	for (i = 0; i < m->nr; i += 1 << MTHP_ORDER)
		replace_and_restore(m, folio_was(m, i), 0);
	unregister_trace_remove_migration_pte(note_removed, &events);
	unregister_trace_set_migration_pte(note_set, &events);
	tracepoint_synchronize_unregister();
	KUNIT_EXPECT_EQ(test, events.set, m->nr);
	KUNIT_EXPECT_EQ(test, events.removed, m->nr);
	KUNIT_EXPECT_EQ(test, events.wrong, 0);
}

/* The methods of mappings, without page tables. */

/**
 * struct folio_pair - a folio of a file and its target
 * @mapping: the mapping of the file
 * @src: the folio, which is in the page cache, dirty and locked
 * @dst: the target, which is locked
 */
struct folio_pair {
	struct address_space *mapping;
	struct folio *src;
	struct folio *dst;
};

/**
 * struct method - a function that replaces a folio in its mapping
 * @name: its name
 * @call: calls it
 * @aops: operations of the file
 * @buffers: the folio has buffers
 * @private: the folio has other private data
 * @no_copy: the caller must copy the contents
 * @no_flags: the caller must move the flags
 */
struct method {
	const char *name;
	int (*call)(struct address_space *mapping, struct folio *dst,
		    struct folio *src, enum migrate_mode mode);
	const struct address_space_operations *aops;
	bool buffers;
	bool private;
	bool no_copy;
	bool no_flags;
};

static int call_migrate_mapping(struct address_space *mapping,
				struct folio *dst, struct folio *src,
				enum migrate_mode mode)
{
	return folio_migrate_mapping(mapping, dst, src, 0);
}

static int call_move_mapping(struct address_space *mapping, struct folio *dst,
			     struct folio *src, enum migrate_mode mode)
{
	return migrate_huge_page_move_mapping(mapping, dst, src);
}

static const struct method methods[] = {
	{ "folio_migrate_mapping", call_migrate_mapping, &toy_aops,
	  .no_copy = true, .no_flags = true },
	{ "migrate_huge_page_move_mapping", call_move_mapping, &toy_aops,
	  .no_flags = true },
	{ "migrate_folio", migrate_folio, &toy_aops },
	{ "filemap_migrate_folio", filemap_migrate_folio, &toy_aops,
	  .private = true },
#ifdef CONFIG_BUFFER_HEAD
	{ "buffer_migrate_folio", buffer_migrate_folio, &buffer_aops,
	  .buffers = true },
	{ "buffer_migrate_folio_norefs", buffer_migrate_folio_norefs,
	  &buffer_aops, .buffers = true },
	{ "no buffers", buffer_migrate_folio, &buffer_aops },
	{ "no buffers, norefs", buffer_migrate_folio_norefs, &buffer_aops },
#endif
};

KUNIT_ARRAY_PARAM_DESC(method, methods, name);

static const void *next_method(const struct method *method, char *desc,
			       bool (*fits)(const struct method *method))
{
	method = method ? method + 1 : methods;
	while (method < methods + ARRAY_SIZE(methods) && !fits(method))
		method++;
	if (method == methods + ARRAY_SIZE(methods))
		return NULL;
	strscpy(desc, method->name, KUNIT_PARAM_DESC_SIZE);
	return method;
}

static bool copies(const struct method *method)
{
	return !method->no_copy;
}

static const void *copy_gen_params(struct kunit *test, const void *prev,
				   char *desc)
{
	return next_method(prev, desc, copies);
}

static bool has_buffers(const struct method *method)
{
	return method->buffers;
}

static const void *buffer_gen_params(struct kunit *test, const void *prev,
				     char *desc)
{
	return next_method(prev, desc, has_buffers);
}

static void *private_of(struct folio *folio)
{
	return folio_test_private(folio) ? folio->private : NULL;
}

static void make_pair(struct migrate_test *m, const struct method *method,
		      struct folio_pair *pair)
{
	unsigned long *word;
	int i;

	pair->mapping = toy_open(m, method->aops)->f_mapping;
	pair->src = folio_alloc(GFP_KERNEL, 0);
	pair->dst = folio_alloc(GFP_KERNEL | __GFP_ZERO, 0);
	KUNIT_ASSERT_NOT_NULL(m->test, pair->src);
	KUNIT_ASSERT_NOT_NULL(m->test, pair->dst);
	KUNIT_ASSERT_EQ(m->test, 0, filemap_add_folio(pair->mapping, pair->src, 7,
						      GFP_KERNEL));
	word = folio_address(pair->src);
	for (i = 0; i < PAGE_SIZE / sizeof(long); i++)
		word[i] = word_for(AREA + i * sizeof(long));
	folio_mark_uptodate(pair->src);
	folio_mark_dirty(pair->src);
	if (method->private)
		folio_attach_private(pair->src, m);
	folio_lock(pair->dst);
	folio_unlock(pair->src);
	if (method->buffers)
		add_buffers(pair->src);
	lru_add_drain_all();
	/* The isolation holds a reference, so drop that of the allocation. */
	KUNIT_ASSERT_TRUE(m->test, folio_isolate_lru(pair->src));
	folio_put(pair->src);
	folio_lock(pair->src);
}

static bool slot_holds(struct folio_pair *pair, struct folio *folio)
{
	return xa_load(&pair->mapping->i_pages, 7) == folio &&
	       pair->mapping->nrpages == 1;
}

/* @extra: number of references that the test holds. */
static void expect_not_replaced(struct migrate_test *m, struct folio_pair *pair,
				void *private, int extra)
{
	const int refs = 2 + !!private + extra;
	struct kunit *test = m->test;

	KUNIT_EXPECT_FALSE(test, irqs_disabled());
	KUNIT_EXPECT_TRUE(test, slot_holds(pair, pair->src));
	KUNIT_EXPECT_PTR_EQ(test, pair->src->mapping, pair->mapping);
	KUNIT_EXPECT_EQ(test, pair->src->index, 7);
	KUNIT_EXPECT_EQ(test, folio_ref_count(pair->src), refs);
	KUNIT_EXPECT_PTR_EQ(test, private_of(pair->src), private);
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(pair->src));
	KUNIT_EXPECT_TRUE(test, folio_test_uptodate(pair->src));
	KUNIT_EXPECT_TRUE(test, folio_test_locked(pair->src));
	KUNIT_EXPECT_EQ(test, folio_ref_count(pair->dst), 1);
	KUNIT_EXPECT_NULL(test, pair->dst->mapping);
	KUNIT_EXPECT_NULL(test, pair->dst->private);
	KUNIT_EXPECT_FALSE(test, folio_test_dirty(pair->dst));
	KUNIT_EXPECT_FALSE(test, folio_test_uptodate(pair->dst));
	KUNIT_EXPECT_TRUE(test, folio_test_locked(pair->dst));
}

static bool contents_follow(struct folio_pair *pair)
{
	return !memcmp(folio_address(pair->src), folio_address(pair->dst),
		       PAGE_SIZE);
}

static void expect_replaced(struct migrate_test *m, const struct method *method,
			    struct folio_pair *pair, void *private)
{
	struct kunit *test = m->test;

	if (method->no_flags)
		folio_migrate_flags(pair->dst, pair->src);
	KUNIT_EXPECT_FALSE(test, irqs_disabled());
	KUNIT_EXPECT_TRUE(test, slot_holds(pair, pair->dst));
	KUNIT_EXPECT_PTR_EQ(test, pair->dst->mapping, pair->mapping);
	KUNIT_EXPECT_EQ(test, pair->dst->index, 7);
	KUNIT_EXPECT_EQ(test, folio_ref_count(pair->dst), 2 + !!private);
	KUNIT_EXPECT_EQ(test, folio_ref_count(pair->src), 1);
	KUNIT_EXPECT_PTR_EQ(test, private_of(pair->dst), private);
	KUNIT_EXPECT_NULL(test, private_of(pair->src));
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(pair->dst));
	KUNIT_EXPECT_TRUE(test, folio_test_uptodate(pair->dst));
	KUNIT_EXPECT_TRUE(test, contents_follow(pair) != method->no_copy);
	/* migrate_folio_switch() does this after a successful move. */
	pair->src->mapping = NULL;
}

static void end_pair(struct folio_pair *pair)
{
	folio_unlock(pair->src);
	folio_unlock(pair->dst);
	folio_put(pair->src);
	folio_put(pair->dst);
}

static int call(const struct method *method, struct folio_pair *pair,
		enum migrate_mode mode)
{
	return method->call(pair->mapping, pair->dst, pair->src, mode);
}

/* The method fails while the test holds a reference, and succeeds afterwards. */
static void method_counts_references(struct kunit *test)
{
	const struct method *method = test->param_value;
	struct migrate_test *m = test->priv;
	struct folio_pair pair;
	void *private;
	int i;

	make_pair(m, method, &pair);
	private = private_of(pair.src);
	folio_get(pair.src);
	for (i = 0; i < ARRAY_SIZE(all_modes); i++) {
		KUNIT_EXPECT_EQ(test, -EAGAIN, call(method, &pair, all_modes[i]));
		expect_not_replaced(m, &pair, private, 1);
	}
	folio_put(pair.src);
	KUNIT_EXPECT_EQ(test, 0, call(method, &pair, MIGRATE_ASYNC));
	expect_replaced(m, method, &pair, private);
	end_pair(&pair);
}

static void extra_references(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	struct folio_pair pair;

	make_pair(m, &methods[0], &pair);
	KUNIT_EXPECT_EQ(test, -EAGAIN, folio_migrate_mapping(pair.mapping, pair.dst,
							     pair.src, 1));
	expect_not_replaced(m, &pair, NULL, 0);
	folio_get(pair.src);
	KUNIT_EXPECT_EQ(test, 0, folio_migrate_mapping(pair.mapping, pair.dst,
						       pair.src, 1));
	folio_put(pair.src);
	memcpy(folio_address(pair.dst), folio_address(pair.src), PAGE_SIZE);
	expect_replaced(m, &(struct method) { .no_flags = true }, &pair, NULL);
	end_pair(&pair);
}

/*
 * Test one flag at a time. The target gets this flag and no other. The source keeps
 * no flag of an LRU list.
 */
static void flags_follow(struct kunit *test)
{
	static const enum pageflags each[] = {
		PG_referenced, PG_workingset, PG_checked, PG_mappedtodisk,
		PG_active, PG_unevictable,
	};
	struct migrate_test *m = test->priv;
	unsigned long all = 0;
	struct folio_pair pair;
	int i;

	for (i = 0; i < ARRAY_SIZE(each); i++)
		all |= BIT(each[i]);
	for (i = 0; i < ARRAY_SIZE(each); i++) {
		make_pair(m, &methods[2], &pair);
		set_mask_bits(&pair.src->flags.f, all, BIT(each[i]));
		KUNIT_EXPECT_EQ(test, 0, call(&methods[2], &pair, MIGRATE_ASYNC));
		KUNIT_EXPECT_EQ(test, pair.dst->flags.f & all, BIT(each[i]));
		KUNIT_EXPECT_FALSE(test, folio_test_active(pair.src));
		KUNIT_EXPECT_FALSE(test, folio_test_unevictable(pair.src));
		expect_replaced(m, &methods[2], &pair, NULL);
		set_mask_bits(&pair.dst->flags.f, all, 0);
		end_pair(&pair);
	}
}

/* Counters of a node that only some files change. */
static const enum node_stat_item file_items[] = {
	NR_FILE_THPS, NR_KERNEL_FILE_PAGES,
};

static void note_file_counts(int nid, long *counts)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(file_items); i++)
		counts[i] = node_count(nid, file_items[i]);
}

static void expect_file_counts(struct kunit *test, int nid, const long *was,
			       long more)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(file_items); i++)
		KUNIT_EXPECT_EQ_MSG(test, node_count(nid, file_items[i]),
				    was[i] + more, "item %d of node %d",
				    file_items[i], nid);
}

/* Add a huge folio to the page cache of a file that only the kernel uses. */
static struct folio *add_huge_folio(struct migrate_test *m,
				    struct address_space *mapping, int nid)
{
	struct folio *folio = __folio_alloc_node(GFP_HIGHUSER_MOVABLE | __GFP_ZERO,
						 PMD_ORDER, nid);

	if (!folio)
		kunit_skip(m->test, "no memory for a huge folio");
	set_bit(AS_KERNEL_FILE, &mapping->flags);
	KUNIT_ASSERT_EQ(m->test, 0,
			filemap_add_folio(mapping, folio, 0, GFP_KERNEL));
	folio_mark_uptodate(folio);
	folio_unlock(folio);
	lru_add_drain_all();
	return folio;
}

/* Migration to another node moves these counters with the folio. */
static void file_counts_follow(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	const int from = numa_mem_id(), to = m->mtc.nid;
	long was_from[ARRAY_SIZE(file_items)], was_to[ARRAY_SIZE(file_items)];
	struct address_space *mapping;
	struct folio *folio;

	need_thp(m);
	if (from == to)
		kunit_skip(test, "needs two nodes");
	mapping = toy_open(m, &toy_aops)->f_mapping;
	note_counts(m);
	note_file_counts(from, was_from);
	note_file_counts(to, was_to);
	folio = add_huge_folio(m, mapping, from);
	KUNIT_EXPECT_EQ(test, folio_nid(folio), from);
	expect_file_counts(test, from, was_from, PTRS_PER_PTE);
	expect_file_counts(test, to, was_to, 0);

	KUNIT_EXPECT_TRUE(test, isolate_folio_to_list(folio, &m->list));
	folio_put(folio);
	migrate(m, MIGRATE_SYNC, MR_SYSCALL);
	expect_outcome(m, .ret = 0, .used = 1, .ok = PTRS_PER_PTE, .thp_ok = 1);
	put_back(m);
	expect_file_counts(test, from, was_from, 0);
	expect_file_counts(test, to, was_to, PTRS_PER_PTE);

	truncate_inode_pages(mapping, 0);
	expect_file_counts(test, from, was_from, 0);
	expect_file_counts(test, to, was_to, 0);
}

/* A folio under writeback must not be moved, because the device still reads it. */
static void method_sees_writeback(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	struct folio_pair pair;

	make_pair(m, &methods[2], &pair);
	folio_start_writeback(pair.src);
	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, -EBUSY, call(&methods[2], &pair,
						   MIGRATE_SYNC));
		KUNIT_EXPECT_EQ(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 1);
	}
	folio_end_writeback(pair.src);
	expect_not_replaced(m, &pair, NULL, 0);
	end_pair(&pair);
}

/*
 * Another CPU holds the lock of the slot until the target has the contents. The
 * references have been counted by then. The other CPU takes one more reference and
 * unlocks the slot. Only freezing the references can fail then.
 */

/**
 * struct late_reference - state of the other CPU
 * @pair: the folios
 * @work: the work item that takes the reference
 * @held: completed when the slot is locked
 * @taken: the reference was taken in time
 */
struct late_reference {
	struct folio_pair *pair;
	struct work_struct work;
	struct completion held;
	bool taken;
};

static bool contents_arrived(struct folio_pair *pair)
{
	const unsigned long *src = folio_address(pair->src);
	const unsigned long *dst = folio_address(pair->dst);
	const unsigned int last = PAGE_SIZE / sizeof(long) - 1;

	return READ_ONCE(dst[last]) == src[last];
}

static void reference_too_late(struct work_struct *work)
{
	struct late_reference *late =
		container_of(work, struct late_reference, work);
	u64 end = local_clock() + NSEC_PER_SEC;

	xa_lock_irq(&late->pair->mapping->i_pages);
	complete(&late->held);
	while (!contents_arrived(late->pair) && local_clock() < end)
		cpu_relax();
	if (contents_arrived(late->pair)) {
		folio_get(late->pair->src);
		late->taken = true;
	}
	xa_unlock_irq(&late->pair->mapping->i_pages);
}

static int call_with_late_reference(const struct method *method,
				    struct late_reference *late)
{
	unsigned int cpu;
	int err;

	init_completion(&late->held);
	INIT_WORK_ONSTACK(&late->work, reference_too_late);
	/* The work item spins until the contents are copied, so use another CPU. */
	migrate_disable();
	cpu = cpumask_any_but(cpu_online_mask, smp_processor_id());
	schedule_work_on(cpu, &late->work);
	wait_for_completion(&late->held);
	err = call(method, late->pair, MIGRATE_ASYNC);
	flush_work(&late->work);
	migrate_enable();
	destroy_work_on_stack(&late->work);
	return err;
}

/* Returns false if the other CPU was too slow, so that the method has not failed. */
static bool late_reference_counts(struct kunit *test)
{
	const struct method *method = test->param_value;
	struct migrate_test *m = test->priv;
	struct folio_pair pair;
	struct late_reference late = { .pair = &pair };
	void *private;
	int err;

	make_pair(m, method, &pair);
	private = private_of(pair.src);
	err = call_with_late_reference(method, &late);
	if (late.taken) {
		KUNIT_EXPECT_EQ(test, err, -EAGAIN);
		expect_not_replaced(m, &pair, private, 1);
		folio_put(pair.src);
		err = call(method, &pair, MIGRATE_ASYNC);
	}
	KUNIT_EXPECT_EQ(test, err, 0);
	expect_replaced(m, method, &pair, private);
	end_pair(&pair);
	return late.taken;
}

#define LATE_TRIES	5

static void freeze_fails(struct kunit *test)
{
	int i;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	for (i = 0; i < LATE_TRIES; i++) {
		if (late_reference_counts(test))
			return;
	}
	kunit_mark_skipped(test, "the other CPU was too slow");
}

/* Buffers. */

#ifdef CONFIG_BUFFER_HEAD
/* Count the buffers that are locked, in use, or not part of @folio. */
static int wrong_buffers(struct buffer_head *head, struct folio *folio)
{
	struct buffer_head *bh = head;
	int wrong = 0;

	do {
		wrong += bh->b_folio != folio || buffer_locked(bh) ||
			 test_bit(BH_Migrate, &bh->b_state) ||
			 atomic_read(&bh->b_count);
		bh = bh->b_this_page;
	} while (bh != head);
	return wrong;
}

/* Unlock the buffers that are still locked, so that nothing waits for them later. */
static void unlock_all_buffers(struct buffer_head *head)
{
	struct buffer_head *bh = head;

	do {
		if (buffer_locked(bh))
			unlock_buffer(bh);
		bh = bh->b_this_page;
	} while (bh != head);
}

static struct buffer_head *nth_buffer(struct folio *folio, int nth)
{
	struct buffer_head *bh = folio_buffers(folio);

	while (nth--)
		bh = bh->b_this_page;
	return bh;
}

/* A buffer is locked. The method must unlock the buffers that it locked before. */
static void try_locked_buffer(struct migrate_test *m, const struct method *method,
			      struct folio_pair *pair, enum migrate_mode mode,
			      int nth)
{
	struct buffer_head *head = folio_buffers(pair->src);
	struct buffer_head *bh = nth_buffer(pair->src, nth);

	lock_buffer(bh);
	KUNIT_EXPECT_EQ(m->test, -EAGAIN, call(method, pair, mode));
	KUNIT_EXPECT_TRUE(m->test, buffer_locked(bh));
	unlock_buffer(bh);
	KUNIT_EXPECT_EQ(m->test, wrong_buffers(head, pair->src), 0);
	unlock_all_buffers(head);
	expect_not_replaced(m, pair, head, 0);
}

static void buffer_locked_by_io(struct kunit *test)
{
	const struct method *method = test->param_value;
	struct migrate_test *m = test->priv;
	struct buffer_head *bh;
	struct folio_pair pair;
	int nth;

	make_pair(m, method, &pair);
	for (nth = 0; nth < 4; nth++) {
		bh = nth_buffer(pair.src, nth);
		try_locked_buffer(m, method, &pair, MIGRATE_ASYNC, nth);
		/* Pretend a read. Only MIGRATE_SYNC waits for it. */
		clear_buffer_uptodate(bh);
		try_locked_buffer(m, method, &pair, MIGRATE_SYNC_LIGHT, nth);
		set_buffer_uptodate(bh);
	}
	bh = folio_buffers(pair.src);
	KUNIT_EXPECT_EQ(test, 0, call(method, &pair, MIGRATE_SYNC_LIGHT));
	KUNIT_EXPECT_EQ(test, wrong_buffers(bh, pair.dst), 0);
	expect_replaced(m, method, &pair, bh);
	end_pair(&pair);
}

static void later_unlock_buffer(struct work_struct *work)
{
	struct migrate_test *m = container_of(work, struct migrate_test, later.work);

	unlock_buffer(nth_buffer(m->victim, 2));
}

/* MIGRATE_SYNC_LIGHT waits for a buffer write, MIGRATE_SYNC also for a read. */
static void buffer_waited_for(struct kunit *test)
{
	const struct method *method = test->param_value;
	struct migrate_test *m = test->priv;
	enum migrate_mode mode;
	struct buffer_head *bh;
	struct folio_pair pair;

	for (mode = MIGRATE_SYNC_LIGHT; mode <= MIGRATE_SYNC; mode++) {
		make_pair(m, method, &pair);
		bh = folio_buffers(pair.src);
		m->victim = pair.src;
		lock_buffer(nth_buffer(pair.src, 2));
		if (mode == MIGRATE_SYNC)
			clear_buffer_uptodate(nth_buffer(pair.src, 2));
		INIT_DELAYED_WORK(&m->later, later_unlock_buffer);
		schedule_delayed_work(&m->later, WAIT_TIME);
		KUNIT_EXPECT_EQ(test, 0, call(method, &pair, mode));
		flush_delayed_work(&m->later);
		KUNIT_EXPECT_EQ(test, wrong_buffers(bh, pair.dst), 0);
		expect_replaced(m, method, &pair, bh);
		end_pair(&pair);
	}
}

/*
 * A buffer has a reference. Only buffer_migrate_folio_norefs() fails, as it is for
 * mappings whose buffers are looked up without the folio lock.
 */
static void buffer_referenced(struct kunit *test)
{
	const struct method *method = test->param_value;
	const bool norefs = method->call == buffer_migrate_folio_norefs;
	struct migrate_test *m = test->priv;
	struct buffer_head *head, *bh;
	struct folio_pair pair;

	make_pair(m, method, &pair);
	head = folio_buffers(pair.src);
	bh = nth_buffer(pair.src, 3);
	get_bh(bh);
	if (norefs) {
		KUNIT_EXPECT_EQ(test, -EAGAIN, call(method, &pair, MIGRATE_SYNC));
		/* The buffer with the reference. */
		KUNIT_EXPECT_EQ(test, wrong_buffers(head, pair.src), 1);
		expect_not_replaced(m, &pair, head, 0);
		put_bh(bh);
	}
	KUNIT_EXPECT_EQ(test, 0, call(method, &pair, MIGRATE_SYNC));
	if (!norefs)
		put_bh(bh);
	KUNIT_EXPECT_EQ(test, wrong_buffers(head, pair.dst), 0);
	expect_replaced(m, method, &pair, head);
	end_pair(&pair);
}

/*
 * A truncated folio cannot be moved while a buffer has a reference. Afterwards its
 * buffers are freed, and the folio is freed.
 */
static void buffers_keep_folio(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	struct migrate_test *m = test->priv;
	struct buffer_head *bh;
	struct folio *folio;

	map_buffers(m);
	remember(m, AREA, 1);
	folio = folio_was(m, 0);
	bh = folio_buffers(folio);
	get_bh(bh);
	isolate(m);
	vm_munmap(AREA, NR_SMALL * PAGE_SIZE);
	truncate_inode_pages(folio_mapping(folio), 0);
	KUNIT_ASSERT_PTR_EQ(test, private_of(folio), bh);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->given, MIGRATE_TRIES);
	expect_outcome(m, .ret = 1, .left = 1, .failed = 1);
	KUNIT_EXPECT_PTR_EQ(test, private_of(folio), bh);
	KUNIT_EXPECT_EQ(test, wrong_buffers(bh, folio), 1);

	put_bh(bh);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->given, 1);
	expect_outcome(m, .ret = 0, .ok = 1);
	expect_no_leak(m, 0, 1);
	put_back(m);
}
#else
static void buffer_locked_by_io(struct kunit *test)
{
	need_buffers(test->priv);
}

static void buffer_waited_for(struct kunit *test)
{
	need_buffers(test->priv);
}

static void buffer_referenced(struct kunit *test)
{
	need_buffers(test->priv);
}

static void buffers_keep_folio(struct kunit *test)
{
	need_buffers(test->priv);
}
#endif

/* hugetlb. */

#ifdef CONFIG_HUGETLB_PAGE
static void lock_mapping(struct migrate_test *m, struct folio *src)
{
	m->victim = src;
	i_mmap_lock_write(folio_mapping(src));
}

static void unlock_mapping(struct migrate_test *m, struct folio *dst)
{
	i_mmap_unlock_write(folio_mapping(m->victim));
}

static void lock_vma(struct migrate_test *m, struct folio *src)
{
	m->locked = vma_at(AREA);
	hugetlb_vma_lock_read(m->locked);
}

static void unlock_vma(struct migrate_test *m, struct folio *dst)
{
	hugetlb_vma_unlock_read(m->locked);
}

/* Locks that come before the folio lock are only tried, and are retried. */
static void hugetlb_lock_taken(struct kunit *test,
			       void (*take)(struct migrate_test *m,
					    struct folio *src),
			       void (*drop)(struct migrate_test *m,
					    struct folio *dst))
{
	struct migrate_test *m = test->priv;
	int i;

	map_hugetlb_shared(m);
	remember(m, AREA, PTRS_PER_PTE);
	for (i = 0; i < ARRAY_SIZE(all_modes); i++) {
		m->with = take;
		m->after = drop;
		isolate(m);
		migrate(m, all_modes[i], MR_SYSCALL);
		KUNIT_EXPECT_EQ(test, m->given, MIGRATE_TRIES);
		expect_all_failed(m);
		remember_again(m);
	}
	expect_all_move(m, MIGRATE_SYNC);
}

static void hugetlb_mapping_locked(struct kunit *test)
{
	hugetlb_lock_taken(test, lock_mapping, unlock_mapping);
}

static void hugetlb_vma_locked(struct kunit *test)
{
	hugetlb_lock_taken(test, lock_vma, unlock_vma);
}

/* Only MIGRATE_SYNC waits for the folio lock. */
static void hugetlb_folio_locked(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	int i;

	map_hugetlb_private(m);
	remember(m, AREA, PTRS_PER_PTE);
	each_source(m, lock);
	remember_again(m);
	for (i = 0; i < ARRAY_SIZE(all_modes); i++) {
		if (all_modes[i] == MIGRATE_SYNC)
			continue;
		isolate(m);
		migrate(m, all_modes[i], MR_SYSCALL);
		KUNIT_EXPECT_EQ(test, m->given, MIGRATE_TRIES);
		expect_all_failed(m);
	}
	each_source(m, unlock);
	remember_again(m);
	isolate(m);
	m->before = lock_for_a_while;
	m->delay = WAIT_TIME;
	migrate(m, MIGRATE_SYNC, MR_SYSCALL);
	finish_lock(m);
	expect_outcome(m, .ret = 0, .used = 1, .ok = PTRS_PER_PTE);
	put_back(m);
	expect_moved(m, 0, m->nr);
}

/* A folio with a subpool but no mapping is taken for one being freed: one try. */
static void hugetlb_subpool(struct kunit *test)
{
	struct migrate_test *m = test->priv;

	map_hugetlb_private(m);
	remember(m, AREA, PTRS_PER_PTE);
	if (hugetlb_folio_subpool(folio_was(m, 0)))
		kunit_skip(test, "folio already has a subpool");
	isolate(m);
	hugetlb_set_folio_subpool(folio_was(m, 0), (void *)m);
	migrate(m, MIGRATE_SYNC, MR_SYSCALL);
	hugetlb_set_folio_subpool(folio_was(m, 0), NULL);
	KUNIT_EXPECT_EQ(test, m->given, 1);
	expect_all_failed(m);
	remember_again(m);
	expect_all_move(m, MIGRATE_SYNC);
}

/* The second hugetlb folio gets no target. Folios of other kinds are not tried. */
static void hugetlb_refused(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	const int nr = PTRS_PER_PTE;
	struct migrate_test *m = test->priv;

	map_hugetlb(m, AREA, 2, MAP_SHARED);
	map(m, NULL, AREA + 2 * PMD_SIZE, NR_SMALL * PAGE_SIZE,
	    MAP_PRIVATE | MAP_ANONYMOUS);
	fill(m, AREA + 2 * PMD_SIZE, NR_SMALL);
	remember(m, AREA, 2 * nr);
	remember(m, AREA + 2 * PMD_SIZE, NR_SMALL);
	m->refuse_from = 1;
	m->refuse_nr = 1;
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->asked, 2);
	expect_outcome(m, .ret = -ENOMEM, .left = 1 + NR_SMALL, .used = 1,
		       .ok = nr, .failed = nr);
	put_back(m);
	expect_some_moved(m, 0, 2 * nr, nr);
	expect_same(m, 2 * nr, m->nr);
}

/* The folio is unmapped after its isolation. It counts as migrated. */
static void hugetlb_freed(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	struct migrate_test *m = test->priv;

	map_hugetlb_private(m);
	remember(m, AREA, PTRS_PER_PTE);
	isolate(m);
	vm_munmap(AREA, PMD_SIZE);
	migrate(m, *mode, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, m->asked, 0);
	expect_outcome(m, .ret = 0, .ok = PTRS_PER_PTE);
	expect_no_leak(m, 0, m->nr);
	put_back(m);
}
#else
static void hugetlb_mapping_locked(struct kunit *test)
{
	allow_surplus(test->priv);
}

static void hugetlb_vma_locked(struct kunit *test)
{
	allow_surplus(test->priv);
}

static void hugetlb_folio_locked(struct kunit *test)
{
	allow_surplus(test->priv);
}

static void hugetlb_subpool(struct kunit *test)
{
	allow_surplus(test->priv);
}

static void hugetlb_refused(struct kunit *test)
{
	allow_surplus(test->priv);
}

static void hugetlb_freed(struct kunit *test)
{
	allow_surplus(test->priv);
}
#endif

/*
 * Migrate folios of several kinds at once. The test holds a hugetlb folio, a huge
 * page and one small folio. The other small folios move.
 */
static void mixed(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	const int nr = PTRS_PER_PTE, bad = 2 * nr + 2;
	struct migrate_test *m = test->priv;

	need_thp(m);
	map_hugetlb(m, AREA, 1, MAP_PRIVATE);
	map(m, NULL, AREA + PMD_SIZE, PMD_SIZE, MAP_PRIVATE | MAP_ANONYMOUS);
	make_thp(m, AREA + PMD_SIZE);
	map(m, NULL, AREA + 3 * PMD_SIZE, NR_SMALL * PAGE_SIZE,
	    MAP_PRIVATE | MAP_ANONYMOUS);
	fill(m, AREA + 3 * PMD_SIZE, NR_SMALL);
	remember(m, AREA, 2 * nr);
	remember(m, AREA + 3 * PMD_SIZE, NR_SMALL);
	folio_get(folio_was(m, 0));
	folio_get(folio_was(m, nr));
	folio_get(folio_was(m, bad));
	remember_again(m);
	isolate(m);
	migrate(m, *mode, MR_SYSCALL);
	expect_outcome(m, .ret = 3, .left = 3, .used = NR_SMALL - 1,
		       .ok = NR_SMALL - 1, .failed = 2 * nr + 1,
		       .thp_failed = 1);
	put_back(m);
	expect_same(m, 0, 2 * nr);
	expect_moved(m, 2 * nr, bad);
	expect_same(m, bad, bad + 1);
	expect_moved(m, bad + 1, m->nr);
	folio_put(folio_was(m, 0));
	folio_put(folio_was(m, nr));
	folio_put(folio_was(m, bad));
}

/* Isolation. */

/* A second isolation fails, and changes no reference, counter or list. */
static void isolate_once(struct kunit *test)
{
	const struct kind *kind = test->param_value;
	struct migrate_test *m = test->priv;
	LIST_HEAD(list);
	long isolated;
	int i, refs;

	map_kind(m, kind);
	remember_kind(m, kind);
	isolate(m);
	KUNIT_EXPECT_EQ(test, m->nr_src, kind->folios);
	isolated = count_isolated();
	for (i = 0; i < m->nr; i++) {
		refs = folio_ref_count(folio_was(m, i));
		KUNIT_EXPECT_EQ(test, refs, m->was[i].refs + 1);
		KUNIT_EXPECT_FALSE(test, isolate_folio_to_list(folio_was(m, i),
							       &list));
		KUNIT_EXPECT_EQ(test, folio_ref_count(folio_was(m, i)), refs);
	}
	KUNIT_EXPECT_TRUE(test, list_empty(&list));
	KUNIT_EXPECT_EQ(test, count_isolated(), isolated);
	put_back(m);
	expect_same(m, 0, m->nr);
}

/* Pages with movable_operations. */

static int balloon_migratepage(struct balloon_dev_info *balloon, struct page *dst,
			       struct page *src, enum migrate_mode mode)
{
	struct migrate_test *m = container_of(balloon, struct migrate_test, balloon);

	return m->calls++ < m->err_nr ? m->err : 0;
}

static struct page *inflate(struct migrate_test *m)
{
	struct page *page;

	if (!IS_ENABLED(CONFIG_BALLOON_MIGRATION))
		kunit_skip(m->test, "no balloon in this kernel");
	balloon_devinfo_init(&m->balloon);
	m->balloon.migratepage = balloon_migratepage;
	page = balloon_page_alloc();
	KUNIT_ASSERT_NOT_NULL(m->test, page);
	balloon_page_enqueue(&m->balloon, page);
	note_counts(m);
	return page;
}

static void deflate(struct migrate_test *m)
{
	struct page *page = balloon_page_dequeue(&m->balloon);

	KUNIT_EXPECT_NOT_NULL(m->test, page);
	if (!page)
		return;
	KUNIT_EXPECT_EQ(m->test, page_ref_count(page), 1);
	KUNIT_EXPECT_FALSE(m->test, PageMovableOpsIsolated(page));
	KUNIT_EXPECT_FALSE(m->test, PageLocked(page));
	put_page(page);
}

static void expect_inflated(struct migrate_test *m, struct page *page, bool isolated)
{
	struct kunit *test = m->test;

	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1 + isolated);
	KUNIT_EXPECT_EQ(test, PageMovableOpsIsolated(page), isolated);
	KUNIT_EXPECT_FALSE(test, PageLocked(page));
	KUNIT_EXPECT_EQ(test, m->balloon.isolated_pages, isolated);
	KUNIT_EXPECT_EQ(test, list_empty(&m->balloon.pages), isolated);
}

static void movable_isolate(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	struct page *page = inflate(m);
	struct folio *folio = page_folio(page);

	/* The page is locked. */
	folio_lock(folio);
	KUNIT_EXPECT_FALSE(test, isolate_folio_to_list(folio, &m->list));
	folio_unlock(folio);
	expect_inflated(m, page, false);

	KUNIT_EXPECT_TRUE(test, isolate_folio_to_list(folio, &m->list));
	expect_inflated(m, page, true);
	/* The page is isolated already. */
	KUNIT_EXPECT_FALSE(test, isolate_movable_ops_page(page, 0));
	expect_inflated(m, page, true);
	put_back(m);
	expect_inflated(m, page, false);

	/* The driver refuses, because it is about to free the page. */
	KUNIT_EXPECT_PTR_EQ(test, balloon_page_dequeue(&m->balloon), page);
	KUNIT_EXPECT_FALSE(test, isolate_movable_ops_page(page, 0));
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	KUNIT_EXPECT_FALSE(test, PageLocked(page));
	put_page(page);
	expect_counts(m);
}

/* A page without movable_operations, and a page without references. */
static void movable_isolate_other(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_FALSE(test, isolate_movable_ops_page(page, 0));
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	KUNIT_EXPECT_FALSE(test, PageLocked(page));
	__free_page(page);
	KUNIT_EXPECT_FALSE(test, isolate_movable_ops_page(page, 0));
}

static void movable_fails(struct kunit *test)
{
	const struct method_error *error = test->param_value;
	struct migrate_test *m = test->priv;
	struct page *page = inflate(m);
	int i;

	m->err = error->err;
	for (i = 0; i < ARRAY_SIZE(all_modes); i++) {
		m->err_nr = UINT_MAX;
		KUNIT_EXPECT_TRUE(test, isolate_folio_to_list(page_folio(page),
							      &m->list));
		migrate(m, all_modes[i], MR_COMPACTION);
		if (error->again)
			KUNIT_EXPECT_EQ(test, m->calls, MIGRATE_TRIES);
		else
			KUNIT_EXPECT_EQ(test, m->calls,
					1 + (all_modes[i] != MIGRATE_ASYNC));
		expect_outcome(m, .ret = 1, .left = 1, .failed = 1);
		expect_inflated(m, page, true);
		put_back(m);
		expect_inflated(m, page, false);
	}
	m->err_nr = 0;
	KUNIT_EXPECT_TRUE(test, isolate_folio_to_list(page_folio(page), &m->list));
	migrate(m, MIGRATE_ASYNC, MR_COMPACTION);
	expect_outcome(m, .ret = 0, .used = 1, .ok = 1);
	put_back(m);
	KUNIT_EXPECT_EQ(test, m->balloon.isolated_pages, 0);
	deflate(m);
}

/* The driver is not called without a target, or if a page is locked. */
static void movable_not_asked(struct kunit *test)
{
	const enum migrate_mode *mode = test->param_value;
	struct migrate_test *m = test->priv;
	struct page *page = inflate(m);
	struct folio *folio = page_folio(page);

	KUNIT_EXPECT_TRUE(test, isolate_folio_to_list(folio, &m->list));
	m->refuse_nr = UINT_MAX;
	migrate(m, *mode, MR_COMPACTION);
	expect_outcome(m, .ret = -ENOMEM, .left = 1, .failed = 1);
	m->refuse_nr = 0;
	expect_inflated(m, page, true);

	m->lock_target = true;
	migrate(m, *mode, MR_COMPACTION);
	expect_outcome(m, .ret = 1, .left = 1, .failed = 1);
	m->lock_target = false;
	expect_inflated(m, page, true);

	folio_lock(folio);
	migrate_without_waiting(m, *mode);
	folio_unlock(folio);
	expect_outcome(m, .ret = 1, .left = 1, .failed = 1);
	KUNIT_EXPECT_EQ(test, m->calls, 0);
	expect_inflated(m, page, true);
	put_back(m);
	expect_inflated(m, page, false);
	deflate(m);
}

/* A page of a balloon is counted for its node, also after it has moved there. */
static void movable_counted(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	struct page *page = inflate(m);
	const int from = page_to_nid(page), to = m->mtc.nid;
	const long was_from = node_count(from, NR_BALLOON_PAGES);
	const long was_to = node_count(to, NR_BALLOON_PAGES);

	if (from == to) {
		deflate(m);
		kunit_skip(test, "needs two nodes");
	}
	KUNIT_EXPECT_TRUE(test, isolate_folio_to_list(page_folio(page), &m->list));
	migrate(m, MIGRATE_ASYNC, MR_COMPACTION);
	expect_outcome(m, .ret = 0, .used = 1, .ok = 1);
	put_back(m);
	KUNIT_EXPECT_EQ(test, node_count(from, NR_BALLOON_PAGES), was_from - 1);
	KUNIT_EXPECT_EQ(test, node_count(to, NR_BALLOON_PAGES), was_to + 1);
	deflate(m);
	KUNIT_EXPECT_EQ(test, node_count(from, NR_BALLOON_PAGES), was_from - 1);
	KUNIT_EXPECT_EQ(test, node_count(to, NR_BALLOON_PAGES), was_to);
}

/* The driver has freed the page: a success, although it does not use the target. */
static void movable_deflated(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	struct page *page = inflate(m);
	const int nid = page_to_nid(page);
	const long counted = node_count(nid, NR_BALLOON_PAGES);

	m->err = -ENOENT;
	m->err_nr = 1;
	KUNIT_EXPECT_TRUE(test, isolate_folio_to_list(page_folio(page), &m->list));
	migrate(m, MIGRATE_ASYNC, MR_COMPACTION);
	expect_outcome(m, .ret = 0, .used = 1, .ok = 1);
	put_back(m);
	KUNIT_EXPECT_EQ(test, m->balloon.isolated_pages, 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&m->balloon.pages));
	KUNIT_EXPECT_EQ(test, node_count(nid, NR_BALLOON_PAGES), counted - 1);
}

static void movable_register(struct kunit *test)
{
	static const struct movable_operations ops;

	KUNIT_EXPECT_EQ(test, set_movable_ops(&ops, PGTY_table), -EINVAL);
	KUNIT_EXPECT_EQ(test, set_movable_ops(NULL, PGTY_table), -EINVAL);
	if (IS_ENABLED(CONFIG_BALLOON_MIGRATION))
		KUNIT_EXPECT_EQ(test, set_movable_ops(&ops, PGTY_offline),
				-EBUSY);
	/* The operations that were registered before still work. */
	if (IS_ENABLED(CONFIG_BALLOON_MIGRATION))
		movable_isolate(test);
}

/* NUMA balancing. */

static void need_two_nodes(struct migrate_test *m)
{
	if (!IS_ENABLED(CONFIG_NUMA_BALANCING))
		kunit_skip(m->test, "no NUMA balancing in this kernel");
	if (num_node_state(N_MEMORY) < 2)
		kunit_skip(m->test, "needs two nodes");
}

static int prepare(struct migrate_test *m, int i)
{
	unsigned long addr = m->was[i].addr;

	return migrate_misplaced_folio_prepare(folio_was(m, i), vma_at(addr),
					       m->mtc.nid);
}

static int migrate_one(struct migrate_test *m, int i)
{
	int err = migrate_misplaced_folio(folio_was(m, i), m->mtc.nid);

	lru_add_drain_all();
	expect_counts(m);
	return err;
}

/* The kinds of memory that a hinting fault always migrates. */
static const void *anon_gen_params(struct kunit *test, const void *prev,
				   char *desc)
{
	const struct kind *kind = prev ? (const struct kind *)prev + 1 : kinds;

	while (kind < kinds + ARRAY_SIZE(kinds) && kind->special)
		kind++;
	if (kind == kinds + ARRAY_SIZE(kinds))
		return NULL;
	kind_desc(kind, desc);
	return kind;
}

/* The first call isolates and counts the folio. The second always undoes that. */
static void misplaced(struct kunit *test)
{
	const struct kind *kind = test->param_value;
	struct migrate_test *m = test->priv;
	long isolated;

	need_two_nodes(m);
	map_kind(m, kind);
	remember_kind(m, kind);
	each_source(m, hold);
	remember_again(m);
	isolated = count_isolated() + kind->nr / kind->folios;
	KUNIT_EXPECT_EQ(test, prepare(m, 0), 0);
	KUNIT_EXPECT_EQ(test, count_isolated(), isolated);
	/* The folio is not on the LRU. */
	KUNIT_EXPECT_EQ(test, prepare(m, 0), -EAGAIN);
	KUNIT_EXPECT_EQ(test, count_isolated(), isolated);
	KUNIT_EXPECT_EQ(test, migrate_one(m, 0), -EAGAIN);
	expect_same(m, 0, m->nr);

	each_source(m, unhold);
	remember_again(m);
	KUNIT_EXPECT_EQ(test, prepare(m, 0), 0);
	KUNIT_EXPECT_EQ(test, migrate_one(m, 0), 0);
	expect_moved(m, 0, kind->nr / kind->folios);
}

static void make_executable(unsigned long addr)
{
	struct vm_area_struct *vma = vma_at(addr);

	mmap_write_lock(current->mm);
	vma_start_write(vma);
	vm_flags_set(vma, VM_EXEC);
	mmap_write_unlock(current->mm);
}

/* Dirty file memory, and executable memory with several mappings, does not move. */
static void misplaced_file(struct kunit *test)
{
	struct migrate_test *m = test->priv;
	struct file *file;

	need_two_nodes(m);
	file = map_toy(m, &toy_aops, NR_SMALL);
	map(m, file, AREA2, PAGE_SIZE, MAP_SHARED);
	KUNIT_ASSERT_EQ(test, 0, wrong_words(m, AREA2, AREA));
	remember(m, AREA, NR_SMALL);
	KUNIT_EXPECT_EQ(test, prepare(m, 0), -EAGAIN);
	KUNIT_EXPECT_EQ(test, prepare(m, 1), -EAGAIN);

	clean(m);
	make_executable(AREA);
	KUNIT_EXPECT_EQ(test, prepare(m, 0), -EACCES);
	KUNIT_EXPECT_EQ(test, prepare(m, 1), 0);
	KUNIT_EXPECT_EQ(test, migrate_one(m, 1), 0);
	expect_same(m, 0, 1);
	expect_moved(m, 1, 2);
	expect_same(m, 2, NR_SMALL);
}

/* Set-up of each test. */

static int away(void)
{
	int nid;

	for_each_node_state(nid, N_MEMORY)
		if (nid != numa_mem_id())
			return nid;
	return numa_mem_id();
}

static int migrate_test_init(struct kunit *test)
{
	struct migrate_test *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	int err = kunit_attach_mm();

	if (!m || err)
		return err ?: -ENOMEM;
	test->priv = m;
	m->test = test;
	m->task = get_task_struct(current);
	INIT_LIST_HEAD(&m->list);
	m->mtc.nid = away();
	m->mtc.gfp_mask = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE;
	m->mask = migration_entry_supports_ad() ?
		  ~0U : ~(ENTRY_YOUNG | ENTRY_DIRTY);
	m->was = kunit_kcalloc(test, MAX_PAGES, sizeof(*m->was), GFP_KERNEL);
	m->buf = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	m->isolated = kunit_kcalloc(test, nr_node_ids, sizeof(*m->isolated),
				    GFP_KERNEL);
	if (!m->was || !m->buf || !m->isolated)
		return -ENOMEM;
	watched = m;
	return 0;
}

/*
 * KUnit calls this from another thread when the thread of the test exits. Its memory
 * is freed after that. The next test must not begin before, as it counts pages.
 */
static void migrate_test_exit(struct kunit *test)
{
	unsigned long end = jiffies + EXIT_TIME;
	struct migrate_test *m = test->priv;

	watched = NULL;
	if (!m)
		return;
	while (!READ_ONCE(m->task->exit_state) && time_before(jiffies, end))
		usleep_range(50, 200);
	put_task_struct(m->task);
}

static int migrate_test_suite_init(struct kunit_suite *suite)
{
	return IS_ENABLED(CONFIG_TRACEPOINTS) ?
	       register_trace_mm_migrate_pages(note_result, NULL) : 0;
}

static void migrate_test_suite_exit(struct kunit_suite *suite)
{
	if (IS_ENABLED(CONFIG_TRACEPOINTS))
		unregister_trace_mm_migrate_pages(note_result, NULL);
	tracepoint_synchronize_unregister();
}

static struct kunit_case migrate_test_cases[] = {
	KUNIT_CASE_PARAM(moved, kind_gen_params),
	KUNIT_CASE_PARAM(obstacle_for_all, try_gen_params),
	KUNIT_CASE_PARAM(no_target, kind_gen_params),
	KUNIT_CASE_PARAM(target_locked, kind_gen_params),
	KUNIT_CASE_PARAM(target_put, kind_gen_params),
	KUNIT_CASE_PARAM(isolate_once, kind_gen_params),
	KUNIT_CASE_PARAM(entries_restored, kind_gen_params),
	KUNIT_CASE(pmd_split_by_unmap),
	KUNIT_CASE(poisoned_neighbour),
	KUNIT_CASE(poisoned_alone),
	KUNIT_CASE(wrong_flags),
	KUNIT_CASE_PARAM(unmapped_before_get_anon_vma, place_gen_params),
	KUNIT_CASE(no_spares_while_waiting),
	KUNIT_CASE(poisoned_spare),
	KUNIT_CASE_PARAM(targets_allocated, request_gen_params),
	KUNIT_CASE_PARAM(bulk_if_allowed, request_gen_params),
	KUNIT_CASE(boost_wakes_kswapd),
	KUNIT_CASE(pause_for_lock),
	KUNIT_CASE_PARAM(tlb_flushed, kind_gen_params),
	KUNIT_CASE(numa_hint_in_run),
	KUNIT_CASE(secondary_tlb_range),
	KUNIT_CASE(folded_again),
	KUNIT_CASE(folded_though_varied),
	KUNIT_CASE(peak_of_rss_kept),
	KUNIT_CASE(mlocked_again),
	KUNIT_CASE(entries_reported),
	KUNIT_CASE_PARAM(empty_list, mode_gen_params),
	KUNIT_CASE_PARAM(refused_nth, mode_gen_params),
	KUNIT_CASE_PARAM(refused_in_second_slice, mode_gen_params),
	KUNIT_CASE_PARAM(every_other, mode_gen_params),
	KUNIT_CASE_PARAM(long_list, mode_gen_params),
	KUNIT_CASE_PARAM(mixed, mode_gen_params),
	KUNIT_CASE_PARAM(unmapped_after_isolation, mode_gen_params),
	KUNIT_CASE_PARAM(freed_but_held, mode_gen_params),
	KUNIT_CASE_PARAM(truncated, mode_gen_params),
	KUNIT_CASE_PARAM(truncated_and_mapped, mode_gen_params),
	KUNIT_CASE_PARAM(lock_waited_for, mode_gen_params),
	KUNIT_CASE(lock_of_a_read),
	KUNIT_CASE(writeback_waited_for),
	KUNIT_CASE_PARAM(reference_passes, mode_gen_params),
	KUNIT_CASE_PARAM(pin_passes, pinned_gen_params),
	KUNIT_CASE_PARAM(pin_lasts, mode_gen_params),
	KUNIT_CASE(poisoned_kept),
	KUNIT_CASE(demotion_counts),
	KUNIT_CASE_PARAM(method_fails, method_error_gen_params),
	KUNIT_CASE(method_succeeds_later),
	KUNIT_CASE(method_fails_for_some),
	KUNIT_CASE(no_method),
	KUNIT_CASE(no_method_released),
	KUNIT_CASE_PARAM(inaccessible, mode_gen_params),
	KUNIT_CASE_PARAM(split_for_targets, mode_gen_params),
	KUNIT_CASE_PARAM(split_mthp_for_targets, mode_gen_params),
	KUNIT_CASE_PARAM(split_then_refused, mode_gen_params),
	KUNIT_CASE_PARAM(split_fails, mode_gen_params),
	KUNIT_CASE_PARAM(split_succeeds_later, mode_gen_params),
	KUNIT_CASE_PARAM(partial_split, mode_gen_params),
	KUNIT_CASE_PARAM(partial_not_split, mode_gen_params),
	KUNIT_CASE_PARAM(pinned_second_half, mode_gen_params),
	KUNIT_CASE_PARAM(method_counts_references, method_gen_params),
	KUNIT_CASE(extra_references),
	KUNIT_CASE(flags_follow),
	KUNIT_CASE(file_counts_follow),
	KUNIT_CASE(method_sees_writeback),
	KUNIT_CASE_PARAM(freeze_fails, copy_gen_params),
	KUNIT_CASE_PARAM(buffer_locked_by_io, buffer_gen_params),
	KUNIT_CASE_PARAM(buffer_waited_for, buffer_gen_params),
	KUNIT_CASE_PARAM(buffer_referenced, buffer_gen_params),
	KUNIT_CASE_PARAM(buffers_keep_folio, mode_gen_params),
	KUNIT_CASE(hugetlb_mapping_locked),
	KUNIT_CASE(hugetlb_vma_locked),
	KUNIT_CASE(hugetlb_folio_locked),
	KUNIT_CASE(hugetlb_subpool),
	KUNIT_CASE_PARAM(hugetlb_refused, mode_gen_params),
	KUNIT_CASE_PARAM(hugetlb_freed, mode_gen_params),
	KUNIT_CASE(movable_isolate),
	KUNIT_CASE(movable_isolate_other),
	KUNIT_CASE(movable_counted),
	KUNIT_CASE_PARAM(movable_fails, method_error_gen_params),
	KUNIT_CASE_PARAM(movable_not_asked, mode_gen_params),
	KUNIT_CASE(movable_deflated),
	KUNIT_CASE(movable_register),
	KUNIT_CASE_PARAM(misplaced, anon_gen_params),
	KUNIT_CASE(misplaced_file),
	{}
};

static struct kunit_suite migrate_test_suite = {
	.name = "migrate",
	.suite_init = migrate_test_suite_init,
	.suite_exit = migrate_test_suite_exit,
	.init = migrate_test_init,
	.exit = migrate_test_exit,
	.test_cases = migrate_test_cases,
};

kunit_test_suite(migrate_test_suite);

MODULE_DESCRIPTION("KUnit tests of page migration");
MODULE_LICENSE("GPL");
