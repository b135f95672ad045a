// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of mm/pagewalk.c on the page tables of a real mm.
 *
 * Each test runs in a kthread with an empty mm of its own, so that whatever is
 * in its page tables has been put there by the test.  It maps something at
 * AREA, walks over it with operations that write down each call, and compares
 * the record with the calls that should have come.
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/kthread.h>
#include <linux/leafops.h>
#include <linux/mman.h>
#include <linux/mmu_context.h>
#include <linux/pagewalk.h>
#include <linux/pgtable.h>
#include <linux/rmap.h>
#include <linux/shmem_fs.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include <asm/tlbflush.h>

#include "../../mm/internal.h"

/* The start of a PUD entry, and with P4Ds of 512 GiB that of no P4D entry. */
#define AREA		max_t(unsigned long, PUD_SIZE, SZ_1G)
#define MAX_CALLS	2048

/* Which operation was called. */
enum op {
	OP_NONE,
	PGD,
	P4D,
	PUD,
	PMD,
	PTE,
	HOLE,
	HUGETLB,
	TEST,
	PRE,
	POST,
	INSTALL,
	NR_OPS,
};

static const char * const op_name[NR_OPS] = {
	"none", "pgd_entry", "p4d_entry", "pud_entry", "pmd_entry", "pte_entry",
	"pte_hole", "hugetlb_entry", "test_walk", "pre_vma", "post_vma",
	"install_pte",
};

/* What the entry was that the operation was called for; holes have a depth. */
enum kind {
	NONE,
	TABLE,
	LEAF,
	OTHER,
};

/**
 * struct call - a call of an operation
 * @op: the operation
 * @addr: its first argument that is an address
 * @next: its second
 * @detail: &enum kind for entries, the depth for holes, 0 for all else
 */
struct call {
	enum op op;
	unsigned long addr;
	unsigned long next;
	int detail;
};

/**
 * struct record - what a walk did, and what it is to be told
 * @test: the test
 * @nr: how many calls there were
 * @seen: how many there were of each operation
 * @strange: how many were not given the struct mm_walk that they should
 * @no_vma: what they should be given
 * @cue: at the call number @cue_nth (from 0) of this operation ...
 * @cue_nth: see @cue
 * @cue_err: ... return this value,
 * @cue_action: and choose this action
 * @pmd: a PMD that a test has taken out of its table
 * @pud: a PUD that a test has taken out of its table
 * @place: where @pmd or @pud has to be put back
 * @call: the calls
 */
struct record {
	struct kunit *test;
	int nr;
	int seen[NR_OPS];
	int strange;
	bool no_vma;
	enum op cue;
	int cue_nth;
	int cue_err;
	enum page_walk_action cue_action;
	pmd_t pmd;
	pud_t pud;
	void *place;
	struct call call[MAX_CALLS];
};

static int note(struct mm_walk *walk, struct call call)
{
	struct record *rec = walk->private;

	if (rec->nr < MAX_CALLS)
		rec->call[rec->nr] = call;
	rec->nr++;

	if (walk->no_vma != rec->no_vma || (walk->no_vma && walk->vma))
		rec->strange++;
	if (!walk->no_vma && walk->mm != current->mm)
		rec->strange++;
	if (!walk->no_vma && !walk->vma && call.op != HOLE)
		rec->strange++;
	if (walk->vma && (call.addr < walk->vma->vm_start ||
			  call.next > walk->vma->vm_end))
		rec->strange++;

	if (rec->seen[call.op]++ != rec->cue_nth || call.op != rec->cue)
		return 0;
	walk->action = rec->cue_action;
	return rec->cue_err;
}

static int note_pgd(pgd_t *pgd, unsigned long addr, unsigned long next,
		    struct mm_walk *walk)
{
	return note(walk, (struct call) { PGD, addr, next });
}

static int note_p4d(p4d_t *p4d, unsigned long addr, unsigned long next,
		    struct mm_walk *walk)
{
	return note(walk, (struct call) { P4D, addr, next });
}

static enum kind kind_of_pud(pud_t pud)
{
	if (pud_none(pud))
		return NONE;
	if (!pud_present(pud))
		return OTHER;
	return pud_leaf(pud) ? LEAF : TABLE;
}

static int note_pud(pud_t *pud, unsigned long addr, unsigned long next,
		    struct mm_walk *walk)
{
	return note(walk, (struct call) { PUD, addr, next,
					  kind_of_pud(pudp_get(pud)) });
}

static enum kind kind_of_pmd(pmd_t pmd)
{
	if (pmd_none(pmd))
		return NONE;
	if (!pmd_present(pmd))
		return OTHER;
	return pmd_leaf(pmd) ? LEAF : TABLE;
}

static int note_pmd(pmd_t *pmd, unsigned long addr, unsigned long next,
		    struct mm_walk *walk)
{
	return note(walk, (struct call) { PMD, addr, next,
					  kind_of_pmd(pmdp_get(pmd)) });
}

static enum kind kind_of_pte(pte_t pte)
{
	if (pte_none(pte))
		return NONE;
	return pte_present(pte) ? LEAF : OTHER;
}

static int note_pte(pte_t *pte, unsigned long addr, unsigned long next,
		    struct mm_walk *walk)
{
	return note(walk, (struct call) { PTE, addr, next,
					  kind_of_pte(ptep_get(pte)) });
}

static int note_hole(unsigned long addr, unsigned long next, int depth,
		     struct mm_walk *walk)
{
	return note(walk, (struct call) { HOLE, addr, next, depth });
}

static int note_hugetlb(pte_t *pte, unsigned long hmask, unsigned long addr,
			unsigned long next, struct mm_walk *walk)
{
	struct record *rec = walk->private;
	pte_t entry = huge_ptep_get(walk->mm, addr & hmask, pte);

	if (hmask != huge_page_mask(hstate_vma(walk->vma)))
		rec->strange++;
	if (hugetlb_vma_trylock_write(walk->vma)) {
		hugetlb_vma_unlock_write(walk->vma);
		rec->strange++;
	}
	return note(walk, (struct call) { HUGETLB, addr, next,
					  kind_of_pte(entry) });
}

static int note_test(unsigned long addr, unsigned long next,
		     struct mm_walk *walk)
{
	return note(walk, (struct call) { TEST, addr, next });
}

static int note_pre(unsigned long addr, unsigned long next,
		    struct mm_walk *walk)
{
	return note(walk, (struct call) { PRE, addr, next });
}

static void note_post(struct mm_walk *walk)
{
	struct vm_area_struct *vma = walk->vma;

	note(walk, (struct call) { POST, vma->vm_start, vma->vm_end });
}

/* Installs zeropages: nobody counts them, so nobody has to undo it. */
static int note_install(unsigned long addr, unsigned long next, pte_t *ptep,
			struct mm_walk *walk)
{
	*ptep = pte_mkspecial(pfn_pte(zero_pfn(addr),
				      walk->vma->vm_page_prot));
	return note(walk, (struct call) { INSTALL, addr, next });
}

/* Everything but ->install_pte(), which the common walkers refuse. */
static const struct mm_walk_ops all_ops = {
	.pgd_entry = note_pgd,
	.p4d_entry = note_p4d,
	.pud_entry = note_pud,
	.pmd_entry = note_pmd,
	.pte_entry = note_pte,
	.pte_hole = note_hole,
	.hugetlb_entry = note_hugetlb,
	.test_walk = note_test,
	.pre_vma = note_pre,
	.post_vma = note_post,
};

/* VMAs and holes. Which tables an empty mm has depends on the machine. */
static const struct mm_walk_ops vma_ops = {
	.pte_hole = note_hole,
	.test_walk = note_test,
	.pre_vma = note_pre,
	.post_vma = note_post,
};

/* The entries, and nothing about VMAs. */
static const struct mm_walk_ops entry_ops = {
	.pgd_entry = note_pgd,
	.p4d_entry = note_p4d,
	.pud_entry = note_pud,
	.pmd_entry = note_pmd,
	.pte_entry = note_pte,
	.pte_hole = note_hole,
	.hugetlb_entry = note_hugetlb,
};

static const struct mm_walk_ops pmd_ops = {
	.pmd_entry = note_pmd,
	.pte_hole = note_hole,
};

static const struct mm_walk_ops pte_ops = {
	.pmd_entry = note_pmd,
	.pte_entry = note_pte,
	.pte_hole = note_hole,
};

static const struct mm_walk_ops install_only_ops = {
	.install_pte = note_install,
};

static const struct mm_walk_ops install_ops = {
	.pmd_entry = note_pmd,
	.pte_entry = note_pte,
	.pte_hole = note_hole,
	.install_pte = note_install,
};

static struct record *new_record(struct kunit *test)
{
	struct record *rec = test->priv;

	memset(rec, 0, offsetof(struct record, call));
	rec->test = test;
	return rec;
}

/* What the next walk is told at the call number @nth of @op. */
static struct record *cue(struct kunit *test, enum op op, int nth, int err,
			  enum page_walk_action action)
{
	struct record *rec = new_record(test);

	rec->cue = op;
	rec->cue_nth = nth;
	rec->cue_err = err;
	rec->cue_action = action;
	return rec;
}

static void expect_calls_array(struct kunit *test, struct record *rec,
			       const struct call *want, int nr)
{
	int i;

	KUNIT_EXPECT_EQ(test, rec->nr, nr);
	KUNIT_EXPECT_EQ(test, rec->strange, 0);
	for (i = 0; i < min3(nr, rec->nr, MAX_CALLS); i++) {
		const struct call *got = &rec->call[i];

		KUNIT_EXPECT_TRUE_MSG(test, got->op == want[i].op &&
				      got->addr == want[i].addr &&
				      got->next == want[i].next &&
				      got->detail == want[i].detail,
				      "%d: %s %lx-%lx %d, not %s %lx-%lx %d",
				      i, op_name[got->op], got->addr, got->next,
				      got->detail, op_name[want[i].op],
				      want[i].addr, want[i].next,
				      want[i].detail);
	}
}

#define expect_calls(test, rec, ...)					\
	expect_calls_array(test, rec, (const struct call []) { __VA_ARGS__ }, \
			   ARRAY_SIZE(((const struct call []) { __VA_ARGS__ })))

/* @nr PTEs of one kind, from call @first on. */
static void expect_ptes(struct kunit *test, struct record *rec, int first,
			unsigned long addr, int nr, enum kind kind)
{
	int i, wrong = 0;

	KUNIT_ASSERT_LE(test, first + nr, min(rec->nr, MAX_CALLS));
	for (i = 0; i < nr; i++, addr += PAGE_SIZE) {
		const struct call *got = &rec->call[first + i];

		wrong += got->op != PTE || got->addr != addr ||
			 got->next != addr + PAGE_SIZE || got->detail != kind;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

/* Walk under the locks that @ops asks for. */
static int walk(struct kunit *test, unsigned long start, unsigned long end,
		const struct mm_walk_ops *ops)
{
	struct mm_struct *mm = current->mm;
	bool write = ops->walk_lock == PGWALK_WRLOCK;
	int err;

	if (write)
		mmap_write_lock(mm);
	else
		mmap_read_lock(mm);
	err = walk_page_range_mm_unsafe(mm, start, end, ops, test->priv);
	if (write)
		mmap_write_unlock(mm);
	else
		mmap_read_unlock(mm);
	return err;
}

static struct vm_area_struct *vma_at(unsigned long addr)
{
	struct vm_area_struct *vma;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	mmap_read_unlock(current->mm);
	return vma;
}

static pud_t *pud_at(unsigned long addr)
{
	pgd_t *pgd = pgd_offset(current->mm, addr);
	p4d_t *p4d;

	if (pgd_none(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	return p4d_none(*p4d) ? NULL : pud_offset(p4d, addr);
}

static pmd_t *pmd_at(unsigned long addr)
{
	pud_t *pud = pud_at(addr);

	return pud && kind_of_pud(*pud) == TABLE ? pmd_offset(pud, addr) : NULL;
}

static enum kind pmd_kind_at(unsigned long addr)
{
	pmd_t *pmd = pmd_at(addr);

	return pmd ? kind_of_pmd(pmdp_get(pmd)) : NONE;
}

/* The entry for @addr in its table of PTEs, an empty one if there is none. */
static pte_t pte_at(unsigned long addr)
{
	pmd_t *pmd = pmd_at(addr);
	pte_t *ptep, pte = __pte(0);

	ptep = pmd ? pte_offset_map(pmd, addr) : NULL;
	if (!ptep)
		return pte;
	pte = ptep_get(ptep);
	pte_unmap(ptep);
	return pte;
}

static void map_file(struct kunit *test, struct file *file, unsigned long addr,
		     unsigned long len, unsigned long flags, pgoff_t pgoff)
{
	unsigned long ret;

	ret = kunit_vm_mmap(test, file, addr, len, PROT_READ | PROT_WRITE,
			    MAP_FIXED | flags, pgoff << PAGE_SHIFT);
	KUNIT_ASSERT_EQ(test, ret, addr);
}

static void map_anon(struct kunit *test, unsigned long addr, unsigned long len)
{
	map_file(test, NULL, addr, len,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0);
}

static void touch(struct kunit *test, unsigned long addr)
{
	KUNIT_ASSERT_EQ(test, put_user(1, (char __user *)addr), 0);
}

/* What a shared zeropage needs: somebody who only reads. */
static void peek(struct kunit *test, unsigned long addr)
{
	char __maybe_unused c;

	KUNIT_ASSERT_EQ(test, get_user(c, (char __user *)addr), 0);
}

static void advise(struct kunit *test, unsigned long addr, unsigned long len,
		   int behavior)
{
	KUNIT_ASSERT_EQ(test, do_madvise(current->mm, addr, len, behavior), 0);
}

/* Huge pages, if need be with some help, or the test is skipped. */
static void map_thp(struct kunit *test, unsigned long addr, int nr)
{
	int i;

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		kunit_skip(test, "no transparent huge pages in this kernel");
	map_anon(test, addr, nr * PMD_SIZE);
	advise(test, addr, nr * PMD_SIZE, MADV_HUGEPAGE);
	for (i = 0; i < nr; i++, addr += PMD_SIZE) {
		touch(test, addr);
		if (pmd_kind_at(addr) != LEAF)
			do_madvise(current->mm, addr, PMD_SIZE, MADV_COLLAPSE);
		if (pmd_kind_at(addr) != LEAF)
			kunit_skip(test, "no huge page to be had");
	}
}

#ifdef CONFIG_HUGETLB_PAGE
static void restore_overcommit(void *nr)
{
	default_hstate.nr_overcommit_huge_pages = (unsigned long)nr;
}

static void allow_surplus(struct kunit *test)
{
	unsigned long nr = default_hstate.nr_overcommit_huge_pages;

	if (!hugepages_supported() ||
	    huge_page_size(&default_hstate) != PMD_SIZE)
		kunit_skip(test, "hugetlb pages are not those of a PMD");
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, restore_overcommit,
						  (void *)nr));
	default_hstate.nr_overcommit_huge_pages = nr + 4;
}
#else
static void allow_surplus(struct kunit *test)
{
	kunit_skip(test, "no hugetlb in this kernel");
}
#endif

/* @nr hugetlb pages, none of them present, or the test is skipped. */
static void map_hugetlb(struct kunit *test, unsigned long addr, int nr,
			unsigned long flags)
{
	struct file *file;
	unsigned long ret;

	allow_surplus(test);
	file = hugetlb_file_setup(HUGETLB_ANON_FILE, nr * PMD_SIZE,
				  mk_vma_flags(VMA_NORESERVE_BIT),
				  HUGETLB_ANONHUGE_INODE, 0);
	if (IS_ERR(file))
		kunit_skip(test, "no hugetlb file: %ld", PTR_ERR(file));
	ret = kunit_vm_mmap(test, file, addr, nr * PMD_SIZE,
			    PROT_READ | PROT_WRITE, MAP_FIXED | flags, 0);
	fput(file);
	if (ret != addr)
		kunit_skip(test, "no hugetlb pages: %ld", (long)ret);
}

static int mmap_pfn(struct file *file, struct vm_area_struct *vma)
{
	return remap_pfn_range(vma, vma->vm_start,
			       page_to_pfn((struct page *)file->private_data),
			       vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

static const struct file_operations pfn_fops = {
	.mmap = mmap_pfn,
};

static void free_pfn_pages(void *page)
{
	__free_pages(page, 2);
}

/* Four pages as a driver maps them. */
static void map_pfn(struct kunit *test, unsigned long addr)
{
	struct page *page = alloc_pages(GFP_KERNEL, 2);
	struct file *file;

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action(test, free_pfn_pages, page));
	file = anon_inode_getfile("[pagewalk]", &pfn_fops, page, O_RDWR);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	map_file(test, file, addr, 4 * PAGE_SIZE, MAP_SHARED, 0);
	fput(file);
}

/* The depth of a hole, if levels with a single entry do not count. */
static int depth_of(int depth)
{
	unsigned long entries[] = {
		PTRS_PER_PGD, PTRS_PER_P4D, PTRS_PER_PUD, PTRS_PER_PMD,
	};

	while (depth && entries[depth] == 1)
		depth--;
	return depth;
}

/*
 * The depth of the hole that an mm without page tables is. A level that is
 * folded when the machine starts looks as if there were a table.
 */
static int depth_of_nothing(void)
{
	pgd_t *pgd = pgd_offset(current->mm, AREA);
	p4d_t *p4d;

	if (pgd_none(pgdp_get(pgd)))
		return 0;
	p4d = p4d_offset(pgd, AREA);
	return depth_of(p4d_none(p4dp_get(p4d)) ? 1 : 2);
}

/* Who is called for what. */

static void walk_untouched(struct kunit *test)
{
	unsigned long end = AREA + 4 * PAGE_SIZE;
	struct record *rec = new_record(test);

	map_anon(test, AREA, 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &vma_ops), 0);
	expect_calls(test, rec,
		     { TEST, AREA, end },
		     { PRE, AREA, end },
		     { HOLE, AREA, end, depth_of_nothing() },
		     { POST, AREA, end });
}

static void walk_base_pages(struct kunit *test)
{
	unsigned long end = AREA + 4 * PAGE_SIZE;
	struct record *rec = new_record(test);

	map_anon(test, AREA, 4 * PAGE_SIZE);
	touch(test, AREA);
	touch(test, AREA + 2 * PAGE_SIZE);
	advise(test, AREA + 3 * PAGE_SIZE, PAGE_SIZE, MADV_GUARD_INSTALL);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &all_ops), 0);
	expect_calls(test, rec,
		     { TEST, AREA, end },
		     { PRE, AREA, end },
		     { PGD, AREA, end },
		     { P4D, AREA, end },
		     { PUD, AREA, end, TABLE },
		     { PMD, AREA, end, TABLE },
		     { PTE, AREA, AREA + PAGE_SIZE, LEAF },
		     { PTE, AREA + PAGE_SIZE, AREA + 2 * PAGE_SIZE, NONE },
		     { PTE, AREA + 2 * PAGE_SIZE, AREA + 3 * PAGE_SIZE, LEAF },
		     { PTE, AREA + 3 * PAGE_SIZE, end, OTHER },
		     { POST, AREA, end });
}

static void walk_part_of_vma(struct kunit *test)
{
	unsigned long start = AREA + PAGE_SIZE, end = AREA + 3 * PAGE_SIZE;
	struct record *rec = new_record(test);

	map_anon(test, AREA, 4 * PAGE_SIZE);
	touch(test, AREA);
	KUNIT_EXPECT_EQ(test, walk(test, start, end, &pte_ops), 0);
	expect_calls(test, rec,
		     { PMD, start, end, TABLE },
		     { PTE, start, start + PAGE_SIZE, NONE },
		     { PTE, start + PAGE_SIZE, end, NONE });

	/* An end that is not that of a page counts as one more page. */
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, start, start + PAGE_SIZE + 1,
				   &pte_ops), 0);
	expect_calls(test, rec,
		     { PMD, start, start + PAGE_SIZE + 1, TABLE },
		     { PTE, start, start + PAGE_SIZE, NONE },
		     { PTE, start + PAGE_SIZE, end, NONE });
}

static void walk_gaps(struct kunit *test)
{
	unsigned long one = AREA + PAGE_SIZE, two = AREA + 3 * PAGE_SIZE;
	struct record *rec = new_record(test);

	map_anon(test, one, PAGE_SIZE);
	map_anon(test, two, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + 5 * PAGE_SIZE,
				   &vma_ops), 0);
	expect_calls(test, rec,
		     { HOLE, AREA, one, -1 },
		     { TEST, one, one + PAGE_SIZE },
		     { PRE, one, one + PAGE_SIZE },
		     { HOLE, one, one + PAGE_SIZE,
		       depth_of_nothing() },
		     { POST, one, one + PAGE_SIZE },
		     { HOLE, one + PAGE_SIZE, two, -1 },
		     { TEST, two, two + PAGE_SIZE },
		     { PRE, two, two + PAGE_SIZE },
		     { HOLE, two, two + PAGE_SIZE,
		       depth_of_nothing() },
		     { POST, two, two + PAGE_SIZE },
		     { HOLE, two + PAGE_SIZE, AREA + 5 * PAGE_SIZE, -1 });

	/* Beyond the last VMA, up to the last address there is. */
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, AREA + PUD_SIZE, -1UL, &vma_ops), 0);
	expect_calls(test, rec, { HOLE, AREA + PUD_SIZE, -1UL, -1 });
}

/* An empty PMD, a PMD with a page in it, and an empty PUD. */
static void walk_hole_depths(struct kunit *test)
{
	unsigned long pud = AREA + PUD_SIZE, end = pud + PMD_SIZE;
	unsigned long start = pud - 2 * PMD_SIZE;
	struct record *rec = new_record(test);
	struct mm_walk_ops ops = entry_ops;

	if (PTRS_PER_PUD == 1)
		kunit_skip(test, "PUDs are folded");
	map_anon(test, start, end - start);
	touch(test, pud - PMD_SIZE);
	ops.pte_entry = NULL;
	KUNIT_EXPECT_EQ(test, walk(test, start, end, &ops), 0);
	expect_calls(test, rec,
		     { PGD, start, end },
		     { P4D, start, end },
		     { PUD, start, pud, TABLE },
		     { HOLE, start, pud - PMD_SIZE, depth_of(3) },
		     { PMD, pud - PMD_SIZE, pud, TABLE },
		     { HOLE, pud, end, depth_of(2) });
}

/* The same for a P4D: the last page of one, and the first PMD of the next. */
static void walk_p4d_hole(struct kunit *test)
{
	unsigned long p4d = ALIGN(AREA, P4D_SIZE);
	unsigned long start = p4d - PAGE_SIZE, end = p4d + PMD_SIZE;
	struct record *rec = new_record(test);

	if (PTRS_PER_P4D == 1)
		kunit_skip(test, "P4Ds are folded");
	map_anon(test, start, end - start);
	touch(test, start);
	KUNIT_EXPECT_EQ(test, walk(test, start, end, &entry_ops), 0);
	expect_calls(test, rec,
		     { PGD, start, end },
		     { P4D, start, p4d },
		     { PUD, start, p4d, TABLE },
		     { PMD, start, p4d, TABLE },
		     { PTE, start, p4d, LEAF },
		     { HOLE, p4d, end, 1 });
}

static void walk_mixed(struct kunit *test)
{
	struct record *rec = new_record(test);

	/* Apart from the huge page, so that khugepaged has no business here. */
	map_anon(test, AREA, 2 * PMD_SIZE);
	touch(test, AREA + PMD_SIZE);
	map_anon(test, AREA + 3 * PMD_SIZE, PMD_SIZE);
	map_thp(test, AREA + 2 * PMD_SIZE, 1);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + 4 * PMD_SIZE,
				   &pmd_ops), 0);
	expect_calls(test, rec,
		     { HOLE, AREA, AREA + PMD_SIZE, depth_of(3) },
		     { PMD, AREA + PMD_SIZE, AREA + 2 * PMD_SIZE, TABLE },
		     { PMD, AREA + 2 * PMD_SIZE, AREA + 3 * PMD_SIZE, LEAF },
		     { HOLE, AREA + 3 * PMD_SIZE, AREA + 4 * PMD_SIZE,
		       depth_of(3) });
}

static void walk_thp_whole(struct kunit *test)
{
	const struct mm_walk_ops pgd_ops = { .pgd_entry = note_pgd };
	struct record *rec = new_record(test);

	map_thp(test, AREA, 1);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE, &pmd_ops), 0);
	expect_calls(test, rec, { PMD, AREA, AREA + PMD_SIZE, LEAF });
	KUNIT_EXPECT_EQ(test, pmd_kind_at(AREA), LEAF);

	/* With nobody interested in it, it is not visited, let alone split. */
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE, &pgd_ops), 0);
	expect_calls(test, rec, { PGD, AREA, AREA + PMD_SIZE });
	KUNIT_EXPECT_EQ(test, pmd_kind_at(AREA), LEAF);
}

/* post_vma() of walk_thp_split(), to look before khugepaged can. */
static void expect_table(struct mm_walk *walk)
{
	struct record *rec = walk->private;

	KUNIT_EXPECT_EQ(rec->test, pmd_kind_at(AREA), TABLE);
}

static void walk_thp_split(struct kunit *test)
{
	struct record *rec = new_record(test);
	struct mm_walk_ops ops = pte_ops;

	map_thp(test, AREA, 1);
	ops.post_vma = expect_table;
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE, &ops), 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 1 + PTRS_PER_PTE);
	KUNIT_EXPECT_EQ(test, rec->call[0].op, PMD);
	KUNIT_EXPECT_EQ(test, rec->call[0].detail, LEAF);
	expect_ptes(test, rec, 1, AREA, PTRS_PER_PTE, LEAF);
}

static void walk_thp_spared(struct kunit *test)
{
	struct record *rec = cue(test, PMD, 0, 0, ACTION_CONTINUE);

	map_thp(test, AREA, 1);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE, &pte_ops), 0);
	expect_calls(test, rec, { PMD, AREA, AREA + PMD_SIZE, LEAF });
	KUNIT_EXPECT_EQ(test, pmd_kind_at(AREA), LEAF);
}

/* Two huge pages with a PUD boundary between them, one of them present. */
static void walk_hugetlb(struct kunit *test)
{
	unsigned long pud = AREA + PUD_SIZE;
	unsigned long start = pud - PMD_SIZE, end = pud + PMD_SIZE;
	struct record *rec = new_record(test);

	map_hugetlb(test, start, 2, MAP_SHARED);
	touch(test, start);
	KUNIT_EXPECT_EQ(test, walk(test, start, end, &all_ops), 0);
	expect_calls(test, rec,
		     { TEST, start, end },
		     { PRE, start, end },
		     { HUGETLB, start, pud, LEAF },
		     { HOLE, pud, end, -1 },
		     { POST, start, end });

	/* A range that neither begins nor ends with a huge page. */
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, start + PAGE_SIZE, end - PAGE_SIZE,
				   &entry_ops), 0);
	expect_calls(test, rec,
		     { HUGETLB, start + PAGE_SIZE, pud, LEAF },
		     { HOLE, pud, end - PAGE_SIZE, -1 });

	/* Not a hole either, if nobody asks for hugetlb. */
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, start, end, &pte_ops), 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 0);
}

static void walk_pfn_map(struct kunit *test)
{
	unsigned long end = AREA + 4 * PAGE_SIZE;
	struct record *rec = new_record(test);
	struct mm_walk_ops ops = { .pte_entry = note_pte };

	map_pfn(test, AREA);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &pte_ops), 0);
	expect_calls(test, rec, { HOLE, AREA, end, -1 });

	/* Nobody to tell. */
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &ops), 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 0);

	/* Somebody who knows what it is. */
	rec = new_record(test);
	ops.test_walk = note_test;
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &ops), 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 1 + 4);
	expect_ptes(test, rec, 1, AREA, 4, LEAF);

	/* The hole can end the walk, both ways. */
	cue(test, HOLE, 0, 7, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &pte_ops), 0);
	cue(test, HOLE, 0, -EIO, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &pte_ops), -EIO);
}

static void walk_vma_walkers(struct kunit *test)
{
	struct record *rec = new_record(test);
	struct vm_area_struct *vma;

	map_pfn(test, AREA);
	vma = vma_at(AREA);
	KUNIT_ASSERT_NOT_NULL(test, vma);

	/* Named by the caller: no test_walk(), and PFN maps are walked. */
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, walk_page_vma(vma, &all_ops, rec), 0);
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, rec->seen[TEST], 0);
	KUNIT_EXPECT_EQ(test, rec->seen[PRE], 1);
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], 4);
	KUNIT_EXPECT_EQ(test, rec->seen[POST], 1);

	rec = new_record(test);
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, walk_page_range_vma(vma, AREA + PAGE_SIZE,
						  AREA + 3 * PAGE_SIZE,
						  &pte_ops, rec), 0);
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, rec->nr, 1 + 2);
	expect_ptes(test, rec, 1, AREA + PAGE_SIZE, 2, LEAF);
}

static void walk_bad_arguments(struct kunit *test)
{
	struct record *rec = new_record(test);
	unsigned long end = AREA + 2 * PAGE_SIZE;
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;

	map_anon(test, AREA, 2 * PAGE_SIZE);
	vma = vma_at(AREA);
	mmap_read_lock(mm);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			walk_page_range(mm, AREA, AREA, &all_ops, rec));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			walk_page_range(mm, end, AREA, &all_ops, rec));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			walk_page_range(NULL, AREA, end, &all_ops, rec));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			walk_page_range_vma(vma, AREA, AREA, &all_ops, rec));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			walk_page_range_vma(vma, AREA - PAGE_SIZE, end,
					    &all_ops, rec));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			walk_page_range_vma(vma, AREA, end + PAGE_SIZE,
					    &all_ops, rec));
	mmap_read_unlock(mm);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			walk_kernel_page_table_range_lockless(AREA, AREA,
							      &all_ops, NULL,
							      rec));
	KUNIT_EXPECT_EQ(test, rec->nr, 0);
}

/* What an operation returns. */

static const enum op fallible_ops[] = {
	PGD, P4D, PUD, PMD, PTE, HOLE, HUGETLB, PRE,
};

static void op_desc(const enum op *op, char *desc)
{
	strscpy(desc, op_name[*op], KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(fallible, fallible_ops, op_desc);

/* The end of a walk: nothing is called any more, but for post_vma(). */
static void expect_end(struct kunit *test, struct record *rec, enum op op)
{
	int last = rec->nr - 1;

	KUNIT_ASSERT_GE(test, last, 0);
	KUNIT_EXPECT_EQ(test, rec->seen[op], 1);
	KUNIT_EXPECT_EQ(test, rec->seen[POST], op != PRE);
	if (op != PRE)
		last--;
	KUNIT_EXPECT_EQ(test, rec->call[last].op, op);
}

static void walk_op_returns(struct kunit *test)
{
	const enum op *op = test->param_value;
	unsigned long end = AREA + 2 * PMD_SIZE;

	if (*op == HUGETLB) {
		map_hugetlb(test, AREA, 2, MAP_SHARED);
	} else {
		map_anon(test, AREA, 2 * PMD_SIZE);
		touch(test, *op == HOLE ? AREA + PMD_SIZE : AREA);
	}
	touch(test, AREA + PMD_SIZE);

	cue(test, *op, 0, 7, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &all_ops), 7);
	expect_end(test, test->priv, *op);

	cue(test, *op, 0, -EIO, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &all_ops), -EIO);
	expect_end(test, test->priv, *op);

	/* A value that is not zero wins over any action. */
	cue(test, *op, 0, -EIO, ACTION_AGAIN);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &all_ops), -EIO);
	expect_end(test, test->priv, *op);

	cue(test, *op, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &all_ops), 0);
	KUNIT_EXPECT_GE(test, ((struct record *)test->priv)->seen[*op], 1);
}

static void walk_test_returns(struct kunit *test)
{
	unsigned long one = AREA, two = AREA + 2 * PAGE_SIZE;
	unsigned long end = two + PAGE_SIZE;
	struct record *rec;

	map_anon(test, one, PAGE_SIZE);
	map_anon(test, two, PAGE_SIZE);

	/* Positive: skip this VMA, go on with the next. */
	rec = cue(test, TEST, 0, 1, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &vma_ops), 0);
	expect_calls(test, rec,
		     { TEST, one, one + PAGE_SIZE },
		     { HOLE, one + PAGE_SIZE, two, -1 },
		     { TEST, two, end },
		     { PRE, two, end },
		     { HOLE, two, end, depth_of_nothing() },
		     { POST, two, end });

	/* The last VMA skipped does not leak out as a result, either. */
	cue(test, TEST, 1, 1, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &vma_ops), 0);

	rec = cue(test, TEST, 0, -EIO, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &vma_ops), -EIO);
	expect_calls(test, rec, { TEST, one, one + PAGE_SIZE });
}

static void walk_gap_returns(struct kunit *test)
{
	unsigned long end = AREA + 3 * PAGE_SIZE;
	struct record *rec;

	map_anon(test, AREA + PAGE_SIZE, PAGE_SIZE);
	rec = cue(test, HOLE, 0, 7, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &all_ops), 7);
	KUNIT_EXPECT_EQ(test, rec->nr, 1);
	rec = cue(test, HOLE, 2, -EIO, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &all_ops), -EIO);
	KUNIT_EXPECT_EQ(test, rec->seen[HOLE], 3);
}

/* Actions. */

static const enum op levels[] = { PGD, P4D, PUD, PMD };
KUNIT_ARRAY_PARAM(level, levels, op_desc);

static void walk_action_continue(struct kunit *test)
{
	const enum op *level = test->param_value;
	struct record *rec = cue(test, *level, 0, 0, ACTION_CONTINUE);
	enum op op;

	map_anon(test, AREA, PAGE_SIZE);
	touch(test, AREA);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PAGE_SIZE,
				   &entry_ops), 0);
	for (op = PGD; op <= PTE; op++)
		KUNIT_EXPECT_EQ_MSG(test, rec->seen[op], op <= *level,
				    "%s", op_name[op]);
}

static void walk_action_again(struct kunit *test)
{
	const enum op *level = test->param_value;
	struct record *rec = cue(test, *level, 0, 0, ACTION_AGAIN);
	enum op op;

	map_anon(test, AREA, PAGE_SIZE);
	touch(test, AREA);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PAGE_SIZE,
				   &entry_ops), 0);
	for (op = PGD; op <= PTE; op++)
		KUNIT_EXPECT_EQ_MSG(test, rec->seen[op], 1 + (op == *level),
				    "%s", op_name[op]);
	KUNIT_EXPECT_EQ(test, rec->call[rec->nr - 1].op, PTE);
}

static void walk_action_subtree(struct kunit *test)
{
	const enum op *level = test->param_value;
	struct record *rec = cue(test, *level, 0, 0, ACTION_SUBTREE);
	enum op op;

	map_anon(test, AREA, PAGE_SIZE);
	touch(test, AREA);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PAGE_SIZE,
				   &entry_ops), 0);
	for (op = PGD; op <= PTE; op++)
		KUNIT_EXPECT_EQ_MSG(test, rec->seen[op], 1, "%s", op_name[op]);
}

/* CONTINUE for one entry says nothing about the one after it. */
static void walk_action_once(struct kunit *test)
{
	struct record *rec = cue(test, PMD, 0, 0, ACTION_CONTINUE);
	unsigned long two = AREA + PMD_SIZE;

	map_anon(test, AREA, PMD_SIZE + PAGE_SIZE);
	touch(test, AREA);
	touch(test, two);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, two + PAGE_SIZE, &pte_ops), 0);
	expect_calls(test, rec,
		     { PMD, AREA, two, TABLE },
		     { PMD, two, two + PAGE_SIZE, TABLE },
		     { PTE, two, two + PAGE_SIZE, LEAF });
}

/*
 * An entry that is emptied after its operation was called, as a concurrent
 * zap might do: the walk has to come back and find a hole.
 */
static int remove_pmd(pmd_t *pmd, unsigned long addr, unsigned long next,
		      struct mm_walk *walk)
{
	struct record *rec = walk->private;

	rec->pmd = pmdp_get(pmd);
	rec->place = pmd;
	pmd_clear(pmd);
	return note(walk, (struct call) { PMD, addr, next, TABLE });
}

static int restore_pmd(unsigned long addr, unsigned long next, int depth,
		       struct mm_walk *walk)
{
	struct record *rec = walk->private;

	if (rec->place)
		set_pmd(rec->place, rec->pmd);
	return note_hole(addr, next, depth, walk);
}

static void walk_pmd_vanishes(struct kunit *test)
{
	const struct mm_walk_ops ops = {
		.pmd_entry = remove_pmd,
		.pte_entry = note_pte,
		.pte_hole = restore_pmd,
		.walk_lock = PGWALK_WRLOCK,
	};
	struct record *rec = new_record(test);

	map_anon(test, AREA, PAGE_SIZE);
	touch(test, AREA);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PAGE_SIZE, &ops), 0);
	expect_calls(test, rec,
		     { PMD, AREA, AREA + PAGE_SIZE, TABLE },
		     { HOLE, AREA, AREA + PAGE_SIZE, depth_of(3) });
	KUNIT_EXPECT_TRUE(test, pte_present(pte_at(AREA)));
}

static int remove_pud(pud_t *pud, unsigned long addr, unsigned long next,
		      struct mm_walk *walk)
{
	struct record *rec = walk->private;

	rec->pud = pudp_get(pud);
	rec->place = pud;
	pud_clear(pud);
	return note(walk, (struct call) { PUD, addr, next, TABLE });
}

static int restore_pud(unsigned long addr, unsigned long next, int depth,
		       struct mm_walk *walk)
{
	struct record *rec = walk->private;

	if (rec->place)
		set_pud(rec->place, rec->pud);
	return note_hole(addr, next, depth, walk);
}

static void walk_pud_vanishes(struct kunit *test)
{
	const struct mm_walk_ops ops = {
		.pud_entry = remove_pud,
		.pmd_entry = note_pmd,
		.pte_hole = restore_pud,
		.walk_lock = PGWALK_WRLOCK,
	};
	struct record *rec = new_record(test);

	if (PTRS_PER_PUD == 1)
		kunit_skip(test, "PUDs are folded");
	map_anon(test, AREA, PAGE_SIZE);
	touch(test, AREA);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PAGE_SIZE, &ops), 0);
	expect_calls(test, rec,
		     { PUD, AREA, AREA + PAGE_SIZE, TABLE },
		     { HOLE, AREA, AREA + PAGE_SIZE, depth_of(2) });
	KUNIT_EXPECT_TRUE(test, pte_present(pte_at(AREA)));
}

/* Locks. */

/* How many warnings a walk of one VMA gives with the locks that are held. */
static int warnings_of_walk(struct kunit *test, struct vm_area_struct *vma,
			    enum page_walk_lock lock)
{
	struct mm_walk_ops ops = pte_ops;
	int nr = -1;

	ops.walk_lock = lock;
	new_record(test);
	kunit_warning_suppress(test) {
		walk_page_vma(vma, &ops, test->priv);
		nr = KUNIT_SUPPRESSED_WARNING_COUNT();
	}
	return nr;
}

static struct vm_area_struct *map_and_touch(struct kunit *test)
{
	map_anon(test, AREA, PAGE_SIZE);
	touch(test, AREA);
	return vma_at(AREA);
}

static void lock_mmap_read(struct kunit *test)
{
	struct vm_area_struct *vma = map_and_touch(test);

	KUNIT_EXPECT_GT(test, warnings_of_walk(test, vma, PGWALK_RDLOCK), 0);
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, warnings_of_walk(test, vma, PGWALK_RDLOCK), 0);
	KUNIT_EXPECT_GT(test, warnings_of_walk(test, vma,
					       PGWALK_WRLOCK_VERIFY), 0);
	mmap_read_unlock(current->mm);
}

#ifdef CONFIG_PER_VMA_LOCK
static void lock_vma_write(struct kunit *test)
{
	struct vm_area_struct *vma = map_and_touch(test);
	struct mm_walk_ops ops = pte_ops;

	mmap_write_lock(current->mm);
	KUNIT_EXPECT_EQ(test, warnings_of_walk(test, vma, PGWALK_RDLOCK), 0);
	KUNIT_EXPECT_FALSE(test, __is_vma_write_locked(vma));
	KUNIT_EXPECT_EQ(test, warnings_of_walk(test, vma, PGWALK_WRLOCK), 0);
	KUNIT_EXPECT_TRUE(test, __is_vma_write_locked(vma));
	KUNIT_EXPECT_EQ(test, warnings_of_walk(test, vma,
					       PGWALK_WRLOCK_VERIFY), 0);
	mmap_write_unlock(current->mm);

	/* The same by a walk of the mm. */
	ops.walk_lock = PGWALK_WRLOCK;
	mmap_write_lock(current->mm);
	KUNIT_EXPECT_FALSE(test, __is_vma_write_locked(vma));
	KUNIT_EXPECT_EQ(test, walk_page_range(current->mm, AREA,
					      AREA + PAGE_SIZE, &ops,
					      new_record(test)), 0);
	KUNIT_EXPECT_TRUE(test, __is_vma_write_locked(vma));
	mmap_write_unlock(current->mm);
}

static void lock_vma_read(struct kunit *test)
{
	struct vm_area_struct *vma = map_and_touch(test);
	const enum page_walk_lock lock = PGWALK_VMA_RDLOCK_VERIFY;

	/* Only kernels that check VMA locks can tell. */
	if (IS_ENABLED(CONFIG_DEBUG_VM))
		KUNIT_EXPECT_GT(test, warnings_of_walk(test, vma, lock), 0);

	vma = lock_vma_under_rcu(current->mm, AREA);
	KUNIT_ASSERT_NOT_NULL(test, vma);
	KUNIT_EXPECT_EQ(test, warnings_of_walk(test, vma, lock), 0);
	vma_end_read(vma);
	KUNIT_EXPECT_EQ(test, ((struct record *)test->priv)->seen[PTE], 1);
}
#else
static void lock_vma_write(struct kunit *test)
{
	kunit_skip(test, "no VMA locks in this kernel");
}

static void lock_vma_read(struct kunit *test)
{
	kunit_skip(test, "no VMA locks in this kernel");
}
#endif

/* Without SMP there is nothing to be seen of a spinlock. */
static bool is_held(spinlock_t *ptl)
{
	if (!IS_ENABLED(CONFIG_SMP))
		return true;
	if (!spin_trylock(ptl))
		return true;
	spin_unlock(ptl);
	return false;
}

/* The PTEs are locked in a walk of VMAs. */
static int try_ptl(pte_t *pte, unsigned long addr, unsigned long next,
		   struct mm_walk *walk)
{
	struct record *rec = walk->private;
	spinlock_t *ptl = pte_lockptr(walk->mm, pmd_at(addr));

	if (!is_held(ptl))
		rec->strange++;
	return 0;
}

static void lock_ptes(struct kunit *test)
{
	const struct mm_walk_ops ops = { .pte_entry = try_ptl };
	struct record *rec = new_record(test);

	if (!IS_ENABLED(CONFIG_SMP))
		kunit_skip(test, "spinlocks cannot be seen to be locked");
	map_and_touch(test);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PAGE_SIZE, &ops), 0);
	KUNIT_EXPECT_EQ(test, rec->strange, 0);
	KUNIT_EXPECT_FALSE(test, is_held(pte_lockptr(current->mm,
						     pmd_at(AREA))));
}

/* Kernel memory. */

static void walk_kernel(struct kunit *test)
{
	char *buf = vmalloc(2 * PAGE_SIZE);
	unsigned long start = (unsigned long)buf, end = start + 2 * PAGE_SIZE;
	const struct mm_walk_ops ops = { .pte_entry = note_pte };
	struct record *rec = new_record(test);
	int err;

	KUNIT_ASSERT_NOT_NULL(test, buf);
	rec->no_vma = true;
	mmap_read_lock(&init_mm);
	err = walk_kernel_page_table_range(start, end, &ops, NULL, rec);
	mmap_read_unlock(&init_mm);
	KUNIT_EXPECT_EQ(test, err, 0);
	expect_calls(test, rec,
		     { PTE, start, start + PAGE_SIZE, LEAF },
		     { PTE, start + PAGE_SIZE, end, LEAF });

	rec = cue(test, PTE, 0, 7, 0);
	rec->no_vma = true;
	err = walk_kernel_page_table_range_lockless(start, end, &ops,
						    init_mm.pgd, rec);
	KUNIT_EXPECT_EQ(test, err, 7);
	expect_calls(test, rec, { PTE, start, start + PAGE_SIZE, LEAF });
	vfree(buf);
}

/* To the very last address, whatever is there. */
static void walk_kernel_end(struct kunit *test)
{
	struct record *rec = new_record(test);

	rec->no_vma = true;
	mmap_read_lock(&init_mm);
	KUNIT_EXPECT_EQ(test, walk_kernel_page_table_range(-4 * PAGE_SIZE, -1UL,
							   &pte_ops, NULL, rec),
			0);
	mmap_read_unlock(&init_mm);
	KUNIT_EXPECT_GT(test, rec->nr, 0);
	KUNIT_EXPECT_LE(test, rec->nr, 5);
	KUNIT_EXPECT_EQ(test, rec->strange, 0);
}

static int huge_kernel_pte(pte_t *pte, unsigned long addr, unsigned long next,
			   struct mm_walk *walk)
{
	struct record *rec = walk->private;

	if (rec->call[rec->nr - 1].detail == LEAF)
		rec->strange++;
	return 0;
}

/* The direct map, mostly huge: never split, and not looked into. */
static void walk_kernel_huge(struct kunit *test)
{
	unsigned long start = (unsigned long)pfn_to_kaddr(zero_pfn(0));
	const struct mm_walk_ops ops = {
		.pud_entry = note_pud,
		.pmd_entry = note_pmd,
		.pte_entry = huge_kernel_pte,
	};
	struct record *rec = new_record(test);
	int err, i, leaves = 0;

	start &= PUD_MASK;
	rec->no_vma = true;
	mmap_read_lock(&init_mm);
	err = walk_kernel_page_table_range(start, start + PUD_SIZE, &ops, NULL,
					   rec);
	mmap_read_unlock(&init_mm);
	KUNIT_EXPECT_EQ(test, err, 0);
	for (i = 0; i < min(rec->nr, MAX_CALLS); i++)
		leaves += rec->call[i].detail == LEAF;
	if (!leaves)
		kunit_skip(test, "the direct map has no huge pages");
	KUNIT_EXPECT_EQ(test, rec->strange, 0);
}

static void walk_kernel_locks(struct kunit *test)
{
	char *buf = vmalloc(PAGE_SIZE);
	unsigned long start = (unsigned long)buf, end = start + PAGE_SIZE;
	struct record *rec = new_record(test);

	KUNIT_ASSERT_NOT_NULL(test, buf);
	rec->no_vma = true;
	kunit_warning_suppress(test) {
		walk_kernel_page_table_range_lockless(start, end, &pte_ops,
						      NULL, rec);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
		walk_kernel_page_table_range(start, end, &pte_ops, NULL, rec);
		KUNIT_EXPECT_GT(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 0);
	}
	KUNIT_EXPECT_EQ(test, rec->strange, 0);
	vfree(buf);
}

/* User memory as ptdump looks at it: no VMA, so nothing is split. */
static void walk_debug(struct kunit *test)
{
	struct mm_struct *mm = current->mm;
	unsigned long end = AREA + 3 * PMD_SIZE;
	struct record *rec = new_record(test);
	int err;

	map_anon(test, AREA, PMD_SIZE);
	map_thp(test, AREA + 2 * PMD_SIZE, 1);
	touch(test, AREA + PMD_SIZE - PAGE_SIZE);
	rec->no_vma = true;

	mmap_write_lock(mm);
	mmap_write_lock_nested(&init_mm, SINGLE_DEPTH_NESTING);
	err = walk_page_range_debug(mm, AREA + PMD_SIZE - PAGE_SIZE, end,
				    &pte_ops, NULL, rec);
	mmap_write_unlock(&init_mm);
	mmap_write_unlock(mm);
	KUNIT_EXPECT_EQ(test, err, 0);
	expect_calls(test, rec,
		     { PMD, AREA + PMD_SIZE - PAGE_SIZE, AREA + PMD_SIZE,
		       TABLE },
		     { PTE, AREA + PMD_SIZE - PAGE_SIZE, AREA + PMD_SIZE,
		       LEAF },
		     { HOLE, AREA + PMD_SIZE, AREA + 2 * PMD_SIZE,
		       depth_of(3) },
		     { PMD, AREA + 2 * PMD_SIZE, end, LEAF });
}

/* Each of the two locks is asked for. */
static void walk_debug_locks(struct kunit *test)
{
	struct mm_struct *mm = current->mm;
	struct record *rec = new_record(test);

	map_and_touch(test);
	rec->no_vma = true;
	kunit_warning_suppress(test) {
		mmap_write_lock(mm);
		walk_page_range_debug(mm, AREA, AREA + PAGE_SIZE, &pte_ops,
				      NULL, rec);
		mmap_write_unlock(mm);
		KUNIT_EXPECT_GT(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 0);
	}
	kunit_warning_suppress(test) {
		mmap_write_lock(&init_mm);
		walk_page_range_debug(mm, AREA, AREA + PAGE_SIZE, &pte_ops,
				      NULL, rec);
		mmap_write_unlock(&init_mm);
		KUNIT_EXPECT_GT(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 0);
	}
}

/* Installing PTEs. */

static void install_fills_holes(struct kunit *test)
{
	unsigned long mid = AREA + PMD_SIZE;
	unsigned long start = mid - 2 * PAGE_SIZE, end = mid + 2 * PAGE_SIZE;
	struct record *rec = new_record(test);
	unsigned long addr;
	int i = 0;

	map_anon(test, AREA, 2 * PMD_SIZE);
	KUNIT_EXPECT_EQ(test, walk(test, start, end, &install_only_ops), 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 4);
	KUNIT_EXPECT_EQ(test, rec->strange, 0);
	for (addr = start; addr < end; addr += PAGE_SIZE, i++) {
		KUNIT_EXPECT_EQ(test, rec->call[i].addr, addr);
		KUNIT_EXPECT_EQ(test, rec->call[i].next, addr + PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, pte_pfn(pte_at(addr)), zero_pfn(addr));
	}
	KUNIT_EXPECT_TRUE(test, pte_none(pte_at(start - PAGE_SIZE)));
	KUNIT_EXPECT_TRUE(test, pte_none(pte_at(end)));
}

static void install_spares_existing(struct kunit *test)
{
	unsigned long end = AREA + 3 * PAGE_SIZE;
	struct record *rec = new_record(test);
	struct vm_area_struct *vma;
	pte_t pte;
	int err;

	map_anon(test, AREA, 3 * PAGE_SIZE);
	touch(test, AREA + PAGE_SIZE);
	pte = pte_at(AREA + PAGE_SIZE);

	/* Nobody wants to know what is there already. */
	vma = vma_at(AREA);
	mmap_read_lock(current->mm);
	err = walk_page_range_vma_unsafe(vma, AREA, AREA + 2 * PAGE_SIZE,
					 &install_only_ops, rec);
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, err, 0);
	expect_calls(test, rec, { INSTALL, AREA, AREA + PAGE_SIZE });
	KUNIT_EXPECT_TRUE(test, pte_same(pte, pte_at(AREA + PAGE_SIZE)));

	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &install_ops), 0);
	expect_calls(test, rec,
		     { PMD, AREA, end, TABLE },
		     { PTE, AREA, AREA + PAGE_SIZE, LEAF },
		     { PTE, AREA + PAGE_SIZE, AREA + 2 * PAGE_SIZE, LEAF },
		     { INSTALL, AREA + 2 * PAGE_SIZE, end });
	KUNIT_EXPECT_TRUE(test, pte_same(pte, pte_at(AREA + PAGE_SIZE)));
}

/* Holes outside of VMAs stay holes. */
static void install_between_vmas(struct kunit *test)
{
	struct record *rec = new_record(test);

	map_anon(test, AREA + PAGE_SIZE, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + 3 * PAGE_SIZE,
				   &install_ops), 0);
	expect_calls(test, rec,
		     { HOLE, AREA, AREA + PAGE_SIZE, -1 },
		     { PMD, AREA + PAGE_SIZE, AREA + 2 * PAGE_SIZE, TABLE },
		     { INSTALL, AREA + PAGE_SIZE, AREA + 2 * PAGE_SIZE },
		     { HOLE, AREA + 2 * PAGE_SIZE, AREA + 3 * PAGE_SIZE, -1 });
}

static void install_fails_half_way(struct kunit *test)
{
	struct record *rec = cue(test, INSTALL, 2, -ENOMEM, 0);
	unsigned long end = AREA + 4 * PAGE_SIZE;

	map_anon(test, AREA, 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &install_only_ops),
			-ENOMEM);
	KUNIT_EXPECT_EQ(test, rec->nr, 3);
	KUNIT_EXPECT_TRUE(test, pte_present(pte_at(AREA)));
	KUNIT_EXPECT_TRUE(test, pte_present(pte_at(AREA + PAGE_SIZE)));
	KUNIT_EXPECT_TRUE(test, pte_none(pte_at(AREA + 2 * PAGE_SIZE)));
	KUNIT_EXPECT_TRUE(test, pte_none(pte_at(AREA + 3 * PAGE_SIZE)));

	/* So does an operation that looks at what is there. */
	rec = cue(test, PTE, 1, 7, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &install_ops), 7);
	KUNIT_EXPECT_EQ(test, rec->seen[INSTALL], 0);

	/* The next attempt does the rest, and only that. */
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &install_only_ops), 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 2);
}

static void install_spares_thp(struct kunit *test)
{
	struct record *rec = new_record(test);

	map_thp(test, AREA, 1);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE,
				   &install_only_ops), 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 0);
	KUNIT_EXPECT_EQ(test, pmd_kind_at(AREA), LEAF);

	/* Split for pte_entry(); but then there is nothing missing either. */
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE,
				   &install_ops), 0);
	KUNIT_EXPECT_EQ(test, rec->seen[INSTALL], 0);
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], PTRS_PER_PTE);
}

static void install_not_hugetlb(struct kunit *test)
{
	struct record *rec = new_record(test);

	map_hugetlb(test, AREA, 1, MAP_SHARED);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE,
				   &install_ops), -EINVAL);
	KUNIT_EXPECT_EQ(test, rec->nr, 0);
}

static void install_not_for_everyone(struct kunit *test)
{
	const struct mm_walk_ops *ops = &install_only_ops;
	unsigned long end = AREA + PAGE_SIZE;
	struct vm_area_struct *vma = map_and_touch(test);
	struct record *rec = new_record(test);
	struct mm_struct *mm = current->mm;
	struct file *file;

	mmap_read_lock(mm);
	KUNIT_EXPECT_EQ(test, walk_page_range(mm, AREA, end, ops, rec),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, walk_page_range_vma(vma, AREA, end, ops, rec),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, walk_page_vma(vma, ops, rec), -EINVAL);
	mmap_read_unlock(mm);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			walk_kernel_page_table_range_lockless(AREA, end, ops,
							      NULL, rec));
	mmap_write_lock(mm);
	mmap_write_lock_nested(&init_mm, SINGLE_DEPTH_NESTING);
	KUNIT_EXPECT_EQ(test, walk_page_range_debug(mm, AREA, end, ops, NULL,
						    rec), -EINVAL);
	mmap_write_unlock(&init_mm);
	mmap_write_unlock(mm);

	file = shmem_kernel_file_setup("pagewalk", PAGE_SIZE,
				       mk_vma_flags(VMA_NORESERVE_BIT));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	i_mmap_lock_read(file->f_mapping);
	KUNIT_EXPECT_EQ(test, walk_page_mapping(file->f_mapping, 0, 1, ops,
						rec), -EINVAL);
	i_mmap_unlock_read(file->f_mapping);
	fput(file);
	KUNIT_EXPECT_EQ(test, rec->nr, 0);
}

/* Walking a file. */

#define SECOND	(AREA + 16 * PAGE_SIZE)

/* Pages 0 to 7 of a file at AREA, 4 to 11 at SECOND; the caller drops it. */
static struct file *map_twice(struct kunit *test)
{
	struct file *file;

	file = shmem_file_setup("pagewalk", 16 * PAGE_SIZE,
				mk_vma_flags(VMA_NORESERVE_BIT));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	map_file(test, file, AREA, 8 * PAGE_SIZE, MAP_SHARED, 0);
	map_file(test, file, SECOND, 8 * PAGE_SIZE, MAP_SHARED, 4);
	return file;
}

static int walk_file(struct kunit *test, struct file *file, pgoff_t first,
		     pgoff_t nr, const struct mm_walk_ops *ops)
{
	int err;

	i_mmap_lock_read(file->f_mapping);
	err = walk_page_mapping(file->f_mapping, first, nr, ops, test->priv);
	i_mmap_unlock_read(file->f_mapping);
	return err;
}

static void walk_mapping_sections(struct kunit *test)
{
	struct file *file = map_twice(test);
	unsigned long one = AREA + 2 * PAGE_SIZE;
	struct mm_walk_ops ops = {
		.test_walk = note_test,
		.pre_vma = note_pre,
	};
	struct record *rec = new_record(test);

	/* Pages 2 to 5. */
	KUNIT_EXPECT_EQ(test, walk_file(test, file, 2, 4, &ops), 0);
	expect_calls(test, rec,
		     { TEST, one, one + 4 * PAGE_SIZE },
		     { PRE, one, one + 4 * PAGE_SIZE },
		     { TEST, SECOND, SECOND + 2 * PAGE_SIZE },
		     { PRE, SECOND, SECOND + 2 * PAGE_SIZE });

	/* To the end of the file and beyond. */
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk_file(test, file, 6, -6UL, &ops), 0);
	expect_calls(test, rec,
		     { TEST, AREA + 6 * PAGE_SIZE, AREA + 8 * PAGE_SIZE },
		     { PRE, AREA + 6 * PAGE_SIZE, AREA + 8 * PAGE_SIZE },
		     { TEST, SECOND + 2 * PAGE_SIZE, SECOND + 8 * PAGE_SIZE },
		     { PRE, SECOND + 2 * PAGE_SIZE, SECOND + 8 * PAGE_SIZE });

	/* Nothing, nowhere. */
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk_file(test, file, 2, 0, &ops), 0);
	KUNIT_EXPECT_EQ(test, walk_file(test, file, 12, 4, &ops), 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 0);
	fput(file);
}

static void walk_mapping_returns(struct kunit *test)
{
	struct file *file = map_twice(test);
	struct record *rec;

	touch(test, AREA + 4 * PAGE_SIZE);
	touch(test, SECOND);

	/* A VMA that is skipped is not the end. */
	rec = cue(test, TEST, 0, 1, 0);
	KUNIT_EXPECT_EQ(test, walk_file(test, file, 4, 1, &all_ops), 0);
	KUNIT_EXPECT_EQ(test, rec->seen[TEST], 2);
	KUNIT_EXPECT_EQ(test, rec->seen[PRE], 1);
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], 1);
	KUNIT_EXPECT_EQ(test, rec->strange, 0);

	rec = cue(test, TEST, 0, -EIO, 0);
	KUNIT_EXPECT_EQ(test, walk_file(test, file, 4, 1, &all_ops), -EIO);
	KUNIT_EXPECT_EQ(test, rec->nr, 1);

	rec = cue(test, PTE, 0, 7, 0);
	KUNIT_EXPECT_EQ(test, walk_file(test, file, 4, 1, &all_ops), 7);
	KUNIT_EXPECT_EQ(test, rec->seen[TEST], 1);
	KUNIT_EXPECT_EQ(test, rec->seen[POST], 1);
	fput(file);
}

/* Folio walks. */

/**
 * struct found - what a folio walk found, looked at while it could be
 * @folio: the folio, %NULL if none; the test holds what keeps it alive
 * @page: the page
 * @level: the level
 * @kind: what the entry is
 * @locked: whether the page table lock was seen to be held
 * @stale: whether the entry was not the one in the page table
 * @ptl: that lock, which may be gone in the meantime
 */
struct found {
	struct folio *folio;
	struct page *page;
	enum folio_walk_level level;
	enum kind kind;
	bool locked;
	bool stale;
	spinlock_t *ptl;	/* of the entry */
};

static void look_at_entry(struct folio_walk *fw, struct found *found)
{
	switch (fw->level) {
	case FW_LEVEL_PTE:
		found->kind = kind_of_pte(fw->pte);
		found->stale = !pte_same(fw->pte, ptep_get(fw->ptep));
		break;
	case FW_LEVEL_PMD:
		found->kind = kind_of_pmd(fw->pmd);
		found->stale = pmd_val(fw->pmd) != pmd_val(pmdp_get(fw->pmdp));
		break;
	case FW_LEVEL_PUD:
		found->kind = kind_of_pud(fw->pud);
		found->stale = pud_val(fw->pud) != pud_val(pudp_get(fw->pudp));
		break;
	}
}

static struct found look_up_locked(unsigned long addr, folio_walk_flags_t flags)
{
	struct vm_area_struct *vma = vma_lookup(current->mm, addr);
	struct found found = {};
	struct folio_walk fw;

	found.folio = folio_walk_start(&fw, vma, addr, flags);
	if (!found.folio)
		return found;
	found.page = fw.page;
	found.level = fw.level;
	found.locked = is_held(fw.ptl);
	look_at_entry(&fw, &found);
	folio_walk_end(&fw, vma);
	found.ptl = fw.ptl;
	return found;
}

static struct found look_up(unsigned long addr, folio_walk_flags_t flags)
{
	struct found found;

	mmap_read_lock(current->mm);
	found = look_up_locked(addr, flags);
	mmap_read_unlock(current->mm);
	return found;
}

static void expect_found(struct kunit *test, struct found found,
			 enum folio_walk_level level, enum kind kind)
{
	KUNIT_ASSERT_NOT_NULL(test, found.folio);
	KUNIT_EXPECT_EQ(test, found.level, level);
	KUNIT_EXPECT_EQ(test, found.kind, kind);
	KUNIT_EXPECT_TRUE(test, found.locked);
	KUNIT_EXPECT_FALSE(test, found.stale);
	if (IS_ENABLED(CONFIG_SMP))
		KUNIT_EXPECT_FALSE(test, is_held(found.ptl));
}

static void folio_base_page(struct kunit *test)
{
	struct found found;

	map_anon(test, AREA, 3 * PAGE_SIZE);
	touch(test, AREA + PAGE_SIZE);
	found = look_up(AREA + PAGE_SIZE + 5, 0);
	expect_found(test, found, FW_LEVEL_PTE, LEAF);
	KUNIT_EXPECT_EQ(test, page_to_pfn(found.page),
			pte_pfn(pte_at(AREA + PAGE_SIZE)));
	KUNIT_EXPECT_PTR_EQ(test, found.folio, page_folio(found.page));
	KUNIT_EXPECT_EQ(test, folio_mapcount(found.folio), 1);
}

static void folio_nothing(struct kunit *test)
{
	const folio_walk_flags_t all = FW_ZEROPAGE | FW_MIGRATION;

	/* No tables at all, no table of PTEs, no PTE, not a page. */
	map_anon(test, AREA, 2 * PMD_SIZE);
	KUNIT_EXPECT_NULL(test, look_up(AREA, all).folio);
	touch(test, AREA);
	KUNIT_EXPECT_NULL(test, look_up(AREA + PMD_SIZE, all).folio);
	KUNIT_EXPECT_NULL(test, look_up(AREA + PAGE_SIZE, all).folio);
	advise(test, AREA, PAGE_SIZE, MADV_GUARD_INSTALL);
	KUNIT_EXPECT_NULL(test, look_up(AREA, all).folio);
}

static void folio_pfn_map(struct kunit *test)
{
	map_pfn(test, AREA);
	KUNIT_EXPECT_NULL(test,
			  look_up(AREA, FW_ZEROPAGE | FW_MIGRATION).folio);
}

static void folio_zeropage(struct kunit *test)
{
	struct found found;

	map_anon(test, AREA, PAGE_SIZE);
	peek(test, AREA);
	KUNIT_EXPECT_NULL(test, look_up(AREA, 0).folio);
	KUNIT_EXPECT_NULL(test, look_up(AREA, FW_MIGRATION).folio);
	found = look_up(AREA, FW_ZEROPAGE);
	expect_found(test, found, FW_LEVEL_PTE, LEAF);
	KUNIT_EXPECT_NULL(test, found.page);
	KUNIT_EXPECT_TRUE(test, is_zero_folio(found.folio));
}

static void folio_huge_zeropage(struct kunit *test)
{
	struct found found;

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		kunit_skip(test, "no transparent huge pages in this kernel");
	map_anon(test, AREA, PMD_SIZE);
	advise(test, AREA, PMD_SIZE, MADV_HUGEPAGE);
	peek(test, AREA);
	if (pmd_kind_at(AREA) != LEAF)
		kunit_skip(test, "no huge zeropage to be had");
	KUNIT_EXPECT_NULL(test, look_up(AREA + PAGE_SIZE, 0).folio);
	found = look_up(AREA + PAGE_SIZE, FW_ZEROPAGE);
	expect_found(test, found, FW_LEVEL_PMD, LEAF);
	KUNIT_EXPECT_NULL(test, found.page);
	KUNIT_EXPECT_TRUE(test, is_huge_zero_folio(found.folio));
}

static void folio_thp(struct kunit *test)
{
	unsigned long last = AREA + PMD_SIZE - PAGE_SIZE;
	struct found found;

	map_thp(test, AREA, 1);
	found = look_up(last, 0);
	expect_found(test, found, FW_LEVEL_PMD, LEAF);
	KUNIT_EXPECT_EQ(test, folio_page_idx(found.folio, found.page),
			PTRS_PER_PTE - 1);
	KUNIT_EXPECT_TRUE(test, folio_test_large(found.folio));

	/* The page alone is gone, and the others are mapped one by one. */
	advise(test, AREA, PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_NULL(test, look_up(AREA, 0).folio);
	found = look_up(last, 0);
	expect_found(test, found, FW_LEVEL_PTE, LEAF);
	KUNIT_EXPECT_EQ(test, page_to_pfn(found.page), pte_pfn(pte_at(last)));
}

static void folio_hugetlb(struct kunit *test)
{
	unsigned long addr = AREA + 3 * PAGE_SIZE;
	struct found found;

	map_hugetlb(test, AREA, 2, MAP_SHARED);
	KUNIT_EXPECT_NULL(test, look_up(addr, 0).folio);
	touch(test, AREA);
	found = look_up(addr, 0);
	expect_found(test, found, FW_LEVEL_PMD, LEAF);
	KUNIT_EXPECT_TRUE(test, folio_test_hugetlb(found.folio));
	KUNIT_EXPECT_EQ(test, folio_page_idx(found.folio, found.page), 3);
}

/* The VMA lock of hugetlb is held from the start to the end, and only then. */
static void folio_hugetlb_lock(struct kunit *test)
{
	struct vm_area_struct *vma;
	struct folio_walk fw;
	bool got = true;

	map_hugetlb(test, AREA, 2, MAP_SHARED);
	touch(test, AREA);
	vma = vma_at(AREA);
	mmap_read_lock(current->mm);
	if (folio_walk_start(&fw, vma, AREA, 0)) {
		got = hugetlb_vma_trylock_write(vma);
		folio_walk_end(&fw, vma);
	}
	KUNIT_EXPECT_FALSE(test, got);
	KUNIT_EXPECT_NULL(test, look_up_locked(AREA + PMD_SIZE, 0).folio);
	got = hugetlb_vma_trylock_write(vma);
	KUNIT_EXPECT_TRUE(test, got);
	if (got)
		hugetlb_vma_unlock_write(vma);
	mmap_read_unlock(current->mm);
}

/* Huge pages of PUD size are rare, so one is painted into the page tables. */
static void folio_pud(struct kunit *test)
{
#if defined(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD) && \
	defined(CONFIG_TRANSPARENT_HUGEPAGE)
	unsigned long pfn = zero_pfn(0) & (PUD_MASK >> PAGE_SHIFT);
	struct vm_area_struct *vma;
	struct found found;
	pud_t *pudp, pud;

	if (!pfn_valid(pfn) || !pfn_valid(pfn + 3))
		kunit_skip(test, "no memory at PFN %lx", pfn);
	map_anon(test, AREA, PUD_SIZE);
	touch(test, AREA);
	vma = vma_at(AREA);
	pudp = pud_at(AREA);

	mmap_write_lock(current->mm);
	pud = pudp_get(pudp);
	set_pud(pudp, pud_mkhuge(pfn_pud(pfn, vma->vm_page_prot)));
	found = look_up_locked(AREA + 3 * PAGE_SIZE, 0);
	set_pud(pudp, pud);
	flush_tlb_mm(current->mm);
	mmap_write_unlock(current->mm);

	expect_found(test, found, FW_LEVEL_PUD, LEAF);
	KUNIT_EXPECT_EQ(test, page_to_pfn(found.page), pfn + 3);
	expect_found(test, look_up(AREA, 0), FW_LEVEL_PTE, LEAF);
#else
	kunit_skip(test, "no huge PUDs in this kernel");
#endif
}

/* Put migration entries in the place of a folio, which is returned locked. */
static struct folio *start_migration(struct kunit *test, unsigned long addr,
				     enum ttu_flags flags)
{
	struct folio *folio = look_up(addr, 0).folio;

	KUNIT_ASSERT_NOT_NULL(test, folio);
	folio_get(folio);
	folio_lock(folio);
	try_to_migrate(folio, flags);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	return folio;
}

static void end_migration(struct folio *folio)
{
	remove_migration_ptes(folio, folio, 0);
	folio_unlock(folio);
	folio_put(folio);
}

/* @addr is in page @index of @folio, which is on the move. */
static void expect_moving(struct kunit *test, struct folio *folio,
			  unsigned long addr, long index,
			  enum folio_walk_level level)
{
	struct found found;

	KUNIT_EXPECT_NULL(test, look_up(addr, 0).folio);
	KUNIT_EXPECT_NULL(test, look_up(addr, FW_ZEROPAGE).folio);
	found = look_up(addr, FW_MIGRATION);
	KUNIT_EXPECT_PTR_EQ(test, found.folio, folio);
	if (!found.folio)
		return;
	expect_found(test, found, level, OTHER);
	KUNIT_EXPECT_PTR_EQ(test, found.page, folio_page(folio, index));
}

static void folio_migrating_pte(struct kunit *test)
{
	struct folio *folio;

	if (!IS_ENABLED(CONFIG_MIGRATION))
		kunit_skip(test, "no migration in this kernel");
	map_anon(test, AREA, PAGE_SIZE);
	touch(test, AREA);
	folio = start_migration(test, AREA, 0);
	expect_moving(test, folio, AREA, 0, FW_LEVEL_PTE);
	end_migration(folio);
	expect_found(test, look_up(AREA, FW_MIGRATION), FW_LEVEL_PTE, LEAF);
}

static void folio_migrating_thp(struct kunit *test)
{
	struct folio *folio;

	if (!thp_migration_supported())
		kunit_skip(test, "huge pages do not migrate");
	map_thp(test, AREA, 1);
	folio = start_migration(test, AREA, 0);
	expect_moving(test, folio, AREA + 5 * PAGE_SIZE, 5, FW_LEVEL_PMD);
	end_migration(folio);
	expect_found(test, look_up(AREA, FW_MIGRATION), FW_LEVEL_PMD, LEAF);
}

static void folio_migrating_split_thp(struct kunit *test)
{
	struct folio *folio;

	if (!IS_ENABLED(CONFIG_MIGRATION))
		kunit_skip(test, "no migration in this kernel");
	map_thp(test, AREA, 1);
	folio = start_migration(test, AREA, TTU_SPLIT_HUGE_PMD);
	expect_moving(test, folio, AREA + 5 * PAGE_SIZE, 5, FW_LEVEL_PTE);
	end_migration(folio);
	expect_found(test, look_up(AREA, FW_MIGRATION), FW_LEVEL_PTE, LEAF);
}

static void folio_migrating_hugetlb(struct kunit *test)
{
	struct folio *folio;

	if (!IS_ENABLED(CONFIG_MIGRATION))
		kunit_skip(test, "no migration in this kernel");
	map_hugetlb(test, AREA, 1, MAP_PRIVATE);
	touch(test, AREA);
	folio = start_migration(test, AREA, 0);
	expect_moving(test, folio, AREA + 5 * PAGE_SIZE, 5, FW_LEVEL_PMD);
	end_migration(folio);
	expect_found(test, look_up(AREA, FW_MIGRATION), FW_LEVEL_PMD, LEAF);
}

/* Walks meet migration entries, too, and those of huge pages can be split. */
static void walk_migrating_thp(struct kunit *test)
{
	struct record *rec = new_record(test);
	struct folio *folio;

	if (!thp_migration_supported())
		kunit_skip(test, "huge pages do not migrate");
	map_thp(test, AREA, 1);
	folio = start_migration(test, AREA, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE,
				   &install_only_ops), 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 0);
	KUNIT_EXPECT_EQ(test, pmd_kind_at(AREA), OTHER);

	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE, &pte_ops), 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 1 + PTRS_PER_PTE);
	KUNIT_EXPECT_EQ(test, rec->call[0].detail, OTHER);
	expect_ptes(test, rec, 1, AREA, PTRS_PER_PTE, OTHER);
	end_migration(folio);
}

static void folio_warnings(struct kunit *test)
{
	struct vm_area_struct *vma = map_and_touch(test);
	struct folio_walk fw;
	struct folio *folio;

	kunit_warning_suppress(test) {
		if (folio_walk_start(&fw, vma, AREA, 0))
			folio_walk_end(&fw, vma);
		KUNIT_EXPECT_GT(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 0);
	}
	mmap_read_lock(current->mm);
	kunit_warning_suppress(test) {
		folio = folio_walk_start(&fw, vma, AREA + PAGE_SIZE, 0);
		KUNIT_EXPECT_NULL(test, folio);
		KUNIT_EXPECT_EQ(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 1);
	}
	kunit_warning_suppress(test) {
		folio = folio_walk_start(&fw, vma, AREA - 1, 0);
		KUNIT_EXPECT_NULL(test, folio);
		KUNIT_EXPECT_EQ(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 1);
	}
	mmap_read_unlock(current->mm);
}

/* With somebody else at work in the same page tables. */

/**
 * struct troublemaker - a thread that changes AREA all the time
 * @mm: whose
 * @rounds: how often it did
 */
struct troublemaker {
	struct mm_struct *mm;
	unsigned long rounds;
};

/*
 * Fault a huge page in, replace it by a table, and zap that.  A huge zeropage
 * is quickly had, so that is what it is most of the time.
 */
static int make_some_trouble(struct troublemaker *tm)
{
	char __user *addr = (char __user *)AREA;
	char __maybe_unused c;

	if (tm->rounds % 16 ? get_user(c, addr) : put_user(1, addr))
		return -EFAULT;
	usleep_range(10, 100);
	do_madvise(tm->mm, AREA + PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
	usleep_range(10, 100);
	if (put_user(1, addr + PAGE_SIZE))
		return -EFAULT;
	do_madvise(tm->mm, AREA, PMD_SIZE, MADV_DONTNEED);
	WRITE_ONCE(tm->rounds, tm->rounds + 1);
	return 0;
}

static int make_trouble(void *data)
{
	struct troublemaker *tm = data;

	kthread_use_mm(tm->mm);
	while (!kthread_should_stop() && !make_some_trouble(tm))
		cond_resched();
	kthread_unuse_mm(tm->mm);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

static struct task_struct *start_trouble(struct kunit *test,
					 struct troublemaker *tm)
{
	struct task_struct *task;

	map_anon(test, AREA, PMD_SIZE);
	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		advise(test, AREA, PMD_SIZE, MADV_HUGEPAGE);
	tm->mm = current->mm;
	task = kthread_run(make_trouble, tm, "pagewalk-kunit");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	return task;
}

/* A second, or on a slow machine until enough has happened. */
static bool more_trouble(struct troublemaker *tm, unsigned long start)
{
	if (READ_ONCE(tm->rounds) >= 8)
		return time_before(jiffies, start + HZ);
	return time_before(jiffies, start + 60 * HZ);
}

static void folio_concurrent(struct kunit *test)
{
	unsigned long start = jiffies, addr = AREA;
	struct troublemaker tm = {};
	struct task_struct *task = start_trouble(test, &tm);
	int wrong = 0, found[3] = {};

	/* While a walk is on, its entry and its folio have to fit together. */
	while (more_trouble(&tm, start)) {
		struct found f = look_up(addr, FW_ZEROPAGE);

		addr = AREA + (addr + PAGE_SIZE) % (4 * PAGE_SIZE);
		cond_resched();
		if (!f.folio)
			continue;
		found[f.level]++;
		wrong += f.stale || !f.locked || f.kind != LEAF;
	}
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_GE(test, tm.rounds, 8);
	KUNIT_EXPECT_GT(test, found[FW_LEVEL_PTE] + found[FW_LEVEL_PMD], 0);
	kunit_info(test, "%lu rounds, %d PTEs and %d PMDs found", tm.rounds,
		   found[FW_LEVEL_PTE], found[FW_LEVEL_PMD]);
}

/* However often a walk has to begin again, it covers every address once. */
static void walk_concurrent(struct kunit *test)
{
	unsigned long start = jiffies;
	struct troublemaker tm = {};
	struct task_struct *task = start_trouble(test, &tm);
	const struct mm_walk_ops ops = {
		.pte_entry = note_pte,
		.pte_hole = note_hole,
	};
	int wrong = 0, walks = 0;

	while (more_trouble(&tm, start)) {
		struct record *rec = new_record(test);
		bool hole;

		wrong += walk(test, AREA, AREA + PMD_SIZE, &ops) != 0;
		hole = rec->nr == 1 && rec->seen[HOLE] == 1;
		wrong += !hole && (rec->nr != PTRS_PER_PTE || rec->seen[HOLE]);
		walks++;
		cond_resched();
	}
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_GE(test, tm.rounds, 8);
	kunit_info(test, "%lu rounds, %d walks", tm.rounds, walks);
}

static int pagewalk_test_init(struct kunit *test)
{
	int err = kunit_attach_mm();

	if (err)
		return err;
	test->priv = kunit_kzalloc(test, sizeof(struct record), GFP_KERNEL);
	return test->priv ? 0 : -ENOMEM;
}

static struct kunit_case pagewalk_test_cases[] = {
	KUNIT_CASE(walk_untouched),
	KUNIT_CASE(walk_base_pages),
	KUNIT_CASE(walk_part_of_vma),
	KUNIT_CASE(walk_gaps),
	KUNIT_CASE(walk_hole_depths),
	KUNIT_CASE(walk_p4d_hole),
	KUNIT_CASE(walk_mixed),
	KUNIT_CASE(walk_thp_whole),
	KUNIT_CASE(walk_thp_split),
	KUNIT_CASE(walk_thp_spared),
	KUNIT_CASE(walk_hugetlb),
	KUNIT_CASE(walk_pfn_map),
	KUNIT_CASE(walk_vma_walkers),
	KUNIT_CASE(walk_bad_arguments),
	KUNIT_CASE_PARAM(walk_op_returns, fallible_gen_params),
	KUNIT_CASE(walk_test_returns),
	KUNIT_CASE(walk_gap_returns),
	KUNIT_CASE_PARAM(walk_action_continue, level_gen_params),
	KUNIT_CASE_PARAM(walk_action_again, level_gen_params),
	KUNIT_CASE_PARAM(walk_action_subtree, level_gen_params),
	KUNIT_CASE(walk_action_once),
	KUNIT_CASE(walk_pmd_vanishes),
	KUNIT_CASE(walk_pud_vanishes),
	KUNIT_CASE(lock_mmap_read),
	KUNIT_CASE(lock_vma_write),
	KUNIT_CASE(lock_vma_read),
	KUNIT_CASE(lock_ptes),
	KUNIT_CASE(walk_kernel),
	KUNIT_CASE(walk_kernel_end),
	KUNIT_CASE(walk_kernel_huge),
	KUNIT_CASE(walk_kernel_locks),
	KUNIT_CASE(walk_debug),
	KUNIT_CASE(walk_debug_locks),
	KUNIT_CASE(install_fills_holes),
	KUNIT_CASE(install_spares_existing),
	KUNIT_CASE(install_between_vmas),
	KUNIT_CASE(install_fails_half_way),
	KUNIT_CASE(install_spares_thp),
	KUNIT_CASE(install_not_hugetlb),
	KUNIT_CASE(install_not_for_everyone),
	KUNIT_CASE(walk_mapping_sections),
	KUNIT_CASE(walk_mapping_returns),
	KUNIT_CASE(folio_base_page),
	KUNIT_CASE(folio_nothing),
	KUNIT_CASE(folio_pfn_map),
	KUNIT_CASE(folio_zeropage),
	KUNIT_CASE(folio_huge_zeropage),
	KUNIT_CASE(folio_thp),
	KUNIT_CASE(folio_hugetlb),
	KUNIT_CASE(folio_hugetlb_lock),
	KUNIT_CASE(folio_pud),
	KUNIT_CASE(folio_migrating_pte),
	KUNIT_CASE(folio_migrating_thp),
	KUNIT_CASE(folio_migrating_split_thp),
	KUNIT_CASE(folio_migrating_hugetlb),
	KUNIT_CASE(walk_migrating_thp),
	KUNIT_CASE(folio_warnings),
	KUNIT_CASE_SLOW(folio_concurrent),
	KUNIT_CASE_SLOW(walk_concurrent),
	{}
};

static struct kunit_suite pagewalk_test_suite = {
	.name = "pagewalk",
	.init = pagewalk_test_init,
	.test_cases = pagewalk_test_cases,
};

kunit_test_suite(pagewalk_test_suite);

MODULE_DESCRIPTION("KUnit tests of page table walks");
MODULE_LICENSE("GPL");
