// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of mm/pagewalk.c on the page tables of a real mm.
 *
 * Each test runs in a kthread with an empty mm of its own, so its page tables
 * contain only what the test has mapped.  The test maps memory at AREA, walks it
 * with operations that record each call, and compares the record with the calls
 * that are expected.
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/completion.h>
#include <linux/debug_locks.h>
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

#include <asm/sections.h>
#include <asm/tlbflush.h>

#include "../../mm/internal.h"

/* AREA is aligned to a PUD, but not to a P4D where a P4D maps 512 GiB. */
#define AREA		max_t(unsigned long, PUD_SIZE, SZ_1G)
#define MAX_CALLS	2048

/* The operation that was called. */
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
	ANY_OP = NR_OPS,
};

static const char * const op_name[NR_OPS] = {
	"none", "pgd_entry", "p4d_entry", "pud_entry", "pmd_entry", "pte_entry",
	"pte_hole", "hugetlb_entry", "test_walk", "pre_vma", "post_vma",
	"install_pte",
};

/* Levels of page tables, by the operation for their entries. */
static const char * const level_name[] = {
	[PGD] = "PGD", [P4D] = "P4D", [PUD] = "PUD", [PMD] = "PMD",
};

/* Kind of the entry for which an operation was called. */
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
 * @next: its second argument that is an address
 * @detail: &enum kind for entries, the depth for holes, 0 for all else
 */
struct call {
	enum op op;
	unsigned long addr;
	unsigned long next;
	int detail;
};

struct area;

/**
 * struct record - the calls of a walk, and the value that one of them must return
 * @test: the test
 * @nr: number of calls
 * @seen: number of calls of each operation
 * @strange: number of calls with a wrong entry or a wrong struct mm_walk
 * @mm: expected &mm_walk.mm
 * @no_vma: expected &mm_walk.no_vma
 * @cue: operation that returns @cue_err and sets @cue_action; %OP_NONE if no
 *	operation does, %ANY_OP to count the calls of all operations
 * @cue_nth: index of the call of @cue that does so, counted from 0
 * @cue_err: value to return
 * @cue_action: action to choose
 * @area: entries that one of the operations must change
 * @kind: kind of an entry, for use by a test
 * @call: the calls
 */
struct record {
	struct kunit *test;
	int nr;
	int seen[NR_OPS];
	int strange;
	struct mm_struct *mm;
	bool no_vma;
	enum op cue;
	int cue_nth;
	int cue_err;
	enum page_walk_action cue_action;
	struct area *area;
	enum kind kind;
	struct call call[MAX_CALLS];
};

/* Must this call of @op return cue_err and set cue_action? */
static bool is_cue(struct record *rec, enum op op)
{
	int nth = rec->cue == ANY_OP ? rec->nr : rec->seen[op];

	return nth == rec->cue_nth && (rec->cue == ANY_OP || rec->cue == op);
}

static void add_call(struct record *rec, struct call call)
{
	if (rec->nr < MAX_CALLS)
		rec->call[rec->nr] = call;
	rec->nr++;
	rec->seen[call.op]++;
}

static int note(struct mm_walk *walk, struct call call)
{
	struct record *rec = walk->private;
	bool cue = is_cue(rec, call.op);

	add_call(rec, call);
	if (walk->mm != rec->mm || walk->no_vma != rec->no_vma ||
	    (walk->no_vma && walk->vma))
		rec->strange++;
	if (!walk->no_vma && !walk->vma && call.op != HOLE)
		rec->strange++;
	if (walk->vma && (call.addr < walk->vma->vm_start ||
			  call.next > walk->vma->vm_end))
		rec->strange++;

	if (!cue)
		return 0;
	walk->action = rec->cue_action;
	return rec->cue_err;
}

/* Return the address of the entry for @addr in the page table of level @op. */
static void *place_of(struct mm_walk *walk, enum op op, unsigned long addr)
{
	pgd_t *pgd = walk->pgd ? pgd_offset_pgd(walk->pgd, addr) :
				 pgd_offset(walk->mm, addr);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (op == PGD)
		return pgd;
	p4d = p4d_offset(pgd, addr);
	if (op == P4D)
		return p4d;
	pud = pud_offset(p4d, addr);
	if (op == PUD)
		return pud;
	pmd = pmd_offset(pud, addr);
	return op == PMD ? (void *)pmd : pte_offset_kernel(pmd, addr);
}

/* Record a call for an entry, which must be that of call.addr. */
static int note_entry(struct mm_walk *walk, void *entry, struct call call)
{
	struct record *rec = walk->private;

	if (entry != place_of(walk, call.op, call.addr))
		rec->strange++;
	if (call.op != PTE && walk->action != ACTION_SUBTREE)
		rec->strange++;
	return note(walk, call);
}

static int note_pgd(pgd_t *pgd, unsigned long addr, unsigned long next,
		    struct mm_walk *walk)
{
	return note_entry(walk, pgd, (struct call) { PGD, addr, next });
}

static int note_p4d(p4d_t *p4d, unsigned long addr, unsigned long next,
		    struct mm_walk *walk)
{
	return note_entry(walk, p4d, (struct call) { P4D, addr, next });
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
	return note_entry(walk, pud, (struct call) {
		PUD, addr, next, kind_of_pud(pudp_get(pud)) });
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
	return note_entry(walk, pmd, (struct call) {
		PMD, addr, next, kind_of_pmd(pmdp_get(pmd)) });
}

/* This pmd_entry() keeps the walk from splitting huge PMDs. */
static int spare_huge_pmd(pmd_t *pmd, unsigned long addr, unsigned long next,
			  struct mm_walk *walk)
{
	int err = note_pmd(pmd, addr, next, walk);

	if (kind_of_pmd(pmdp_get(pmd)) != TABLE)
		walk->action = ACTION_CONTINUE;
	return err;
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
	return note_entry(walk, pte, (struct call) {
		PTE, addr, next, kind_of_pte(ptep_get(pte)) });
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
	pte_t entry;

	if (!IS_ENABLED(CONFIG_HUGETLB_PAGE))
		return -EINVAL;
	entry = huge_ptep_get(walk->mm, addr & hmask, pte);
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

/* Install zeropages. They are not counted, so the test need not remove them. */
static int note_install(unsigned long addr, unsigned long next, pte_t *ptep,
			struct mm_walk *walk)
{
	*ptep = pte_mkspecial(pfn_pte(zero_pfn(addr),
				      walk->vma->vm_page_prot));
	return note(walk, (struct call) { INSTALL, addr, next });
}

/* All operations but ->install_pte(), which most walkers refuse. */
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

/*
 * Operations for VMAs and holes. Where a level is folded, a walk reaches the hole
 * below it only if there is an operation for entries. Here that is pte_entry().
 */
static const struct mm_walk_ops vma_ops = {
	.pte_entry = note_pte,
	.pte_hole = note_hole,
	.test_walk = note_test,
	.pre_vma = note_pre,
	.post_vma = note_post,
};

/* All operations for entries, and none for VMAs. */
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

static const struct mm_walk_ops pud_only_ops = {
	.pud_entry = note_pud,
	.pte_hole = note_hole,
};

static const struct mm_walk_ops pud_ops = {
	.pud_entry = note_pud,
	.pmd_entry = note_pmd,
	.pte_hole = note_hole,
};

static const struct mm_walk_ops pte_only_ops = {
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
	rec->mm = current->mm;
	return rec;
}

/* Reset the record for a walk that uses no VMAs. */
static struct record *new_record_no_vma(struct kunit *test,
					struct mm_struct *mm)
{
	struct record *rec = new_record(test);

	rec->mm = mm;
	rec->no_vma = true;
	return rec;
}

/* Allocate a record for the expected calls. */
static struct record *new_script(struct kunit *test)
{
	struct record *want = kunit_kzalloc(test, sizeof(*want), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, want);
	return want;
}

/* Have call @nth of @op in the next walk return @err and choose @action. */
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

static void expect_script(struct kunit *test, struct record *rec,
			  struct record *want)
{
	KUNIT_ASSERT_LE(test, want->nr, MAX_CALLS);
	expect_calls_array(test, rec, want->call, want->nr);
}

/* Expect @nr calls for PTEs of one kind, from call @first on. */
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

/* Walk with the mmap lock held as @ops->walk_lock requires. */
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

/* Return the PTE of @addr, or an empty one if there is no table of PTEs. */
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

/* A read fault maps the shared zeropage. */
static void peek(struct kunit *test, unsigned long addr)
{
	char __maybe_unused c;
	/* Within KUNIT_ASSERT_EQ(), get_user() of riscv is too long for sparse. */
	int err = get_user(c, (char __user *)addr);

	KUNIT_ASSERT_EQ(test, err, 0);
}

static void advise(struct kunit *test, unsigned long addr, unsigned long len,
		   int behavior)
{
	KUNIT_ASSERT_EQ(test, do_madvise(current->mm, addr, len, behavior), 0);
}

/* Map @nr huge pages, by MADV_COLLAPSE if necessary. Skip the test if that fails. */
static void map_thp(struct kunit *test, unsigned long addr, int nr)
{
	int i, tries;

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		kunit_skip(test, "no transparent huge pages in this kernel");
	map_anon(test, addr, nr * PMD_SIZE);
	advise(test, addr, nr * PMD_SIZE, MADV_HUGEPAGE);
	for (i = 0; i < nr; i++, addr += PMD_SIZE) {
		touch(test, addr);
		for (tries = 0; pmd_kind_at(addr) != LEAF; tries++) {
			if (tries == 10)
				kunit_skip(test, "no huge page could be allocated");
			if (tries)
				msleep(20);
			do_madvise(current->mm, addr, PMD_SIZE, MADV_COLLAPSE);
		}
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
		kunit_skip(test, "no hugetlb pages of size PMD_SIZE");
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, restore_overcommit,
						  (void *)nr));
	/* More than a case needs: pages of earlier cases may not be freed yet. */
	default_hstate.nr_overcommit_huge_pages = nr + 64;
}
#else
static void allow_surplus(struct kunit *test)
{
	kunit_skip(test, "no hugetlb in this kernel");
}
#endif

/* Map @nr hugetlb pages, none of them present yet, or skip the test. */
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

/* Map four pages by remap_pfn_range(), as a driver does. */
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

/* Return the depth that ->pte_hole() gets. Levels with one entry do not count. */
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
 * Return the depth of the hole in an mm without page tables. A level that is
 * folded at boot looks like a table.
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

/* The calls that are expected for a range within one VMA. */

static unsigned long entry_size(enum op op)
{
	switch (op) {
	case PGD:
		return PGDIR_SIZE;
	case P4D:
		return P4D_SIZE;
	case PUD:
		return PUD_SIZE;
	case PMD:
		return PMD_SIZE;
	default:
		return PAGE_SIZE;
	}
}

/* After a walk has split a huge PMD, the PTEs have the kind that the PMD had. */
static enum kind kind_at(enum op op, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(current->mm, addr);
	enum kind kind;

	switch (op) {
	case PGD:
		return pgd_none(pgdp_get(pgd)) ? NONE : TABLE;
	case P4D:
		return p4d_none(p4dp_get(p4d_offset(pgd, addr))) ? NONE : TABLE;
	case PUD:
		return kind_of_pud(pudp_get(pud_at(addr)));
	case PMD:
		return pmd_kind_at(addr);
	default:
		kind = pmd_kind_at(addr);
		return kind == TABLE ? kind_of_pte(pte_at(addr)) : kind;
	}
}

static void want_entries(struct record *want, enum op op, unsigned long addr,
			 unsigned long end);

static void want_entry(struct record *want, enum op op, unsigned long addr,
		       unsigned long next)
{
	enum kind kind = kind_at(op, addr);
	struct call call = { op, addr, next, op < PUD ? 0 : kind };
	enum page_walk_action action;

	if (op != PTE && kind == NONE) {
		call.op = HOLE;
		call.detail = depth_of(op - PGD);
		add_call(want, call);
		return;
	}
	do {
		action = is_cue(want, op) ? want->cue_action : ACTION_SUBTREE;
		add_call(want, call);
	} while (action == ACTION_AGAIN);
	if (op != PTE && action == ACTION_SUBTREE)
		want_entries(want, op + 1, addr, next);
}

static void want_entries(struct record *want, enum op op, unsigned long addr,
			 unsigned long end)
{
	unsigned long next;

	for (; addr != end; addr = next) {
		next = min(ALIGN(addr + 1, entry_size(op)), end);
		want_entry(want, op, addr, next);
	}
}

/* Walk with entry_ops and compare the calls with those that are expected. */
static void expect_walk(struct kunit *test, unsigned long start,
			unsigned long end, struct record *rec)
{
	struct record *want = new_script(test);

	*want = *rec;
	want_entries(want, PGD, start, end);
	KUNIT_EXPECT_EQ(test, walk(test, start, end, &entry_ops), 0);
	expect_script(test, rec, want);
}

/* Map two untouched pages on each side of a boundary between entries of @level. */
static unsigned long edge_of(struct kunit *test, enum op level)
{
	unsigned long edge = ALIGN(AREA + 1, entry_size(level));

	if (edge >= TASK_SIZE)
		kunit_skip(test, "user space ends before the next %s boundary",
			   level_name[level]);
	map_anon(test, edge - 2 * PAGE_SIZE, 4 * PAGE_SIZE);
	return edge;
}

/**
 * struct step - a call in a walk in which each call gets the whole range
 * @op: the operation, %OP_NONE after the last step
 * @detail: as in &struct call, but folded levels count for the depth of a hole
 */
struct step {
	enum op op;
	int detail;
};

static void expect_steps(struct kunit *test, struct record *rec,
			 const struct step *step, unsigned long start,
			 unsigned long end)
{
	struct record *want = new_script(test);

	for (; step->op; step++) {
		struct call call = { step->op, start, end, step->detail };

		if (step->op == HOLE)
			call.detail = depth_of(step->detail);
		add_call(want, call);
	}
	expect_script(test, rec, want);
}

/* The operations that a walk calls. */

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

	/* The end is rounded up to a page. */
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

	/* Walk from the end of the last VMA to the last address. */
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, AREA + PUD_SIZE, -1UL, &vma_ops), 0);
	expect_calls(test, rec, { HOLE, AREA + PUD_SIZE, -1UL, -1 });
}

/* Holes of each depth, before or after an entry that is not empty. */

static const struct hole {
	enum op level;
	bool first;
} holes[] = {
	{ PGD, true }, { PGD, false },
	{ P4D, true }, { P4D, false },
	{ PUD, true }, { PUD, false },
	{ PMD, true }, { PMD, false },
};

static void hole_desc(const struct hole *hole, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s %s", op_name[hole->level],
		 hole->first ? "before" : "after");
}

KUNIT_ARRAY_PARAM(hole, holes, hole_desc);

static void walk_hole(struct kunit *test)
{
	const struct hole *hole = test->param_value;
	unsigned long edge = edge_of(test, hole->level);
	struct record *rec = new_record(test);

	touch(test, hole->first ? edge : edge - PAGE_SIZE);
	expect_walk(test, edge - 2 * PAGE_SIZE, edge + 2 * PAGE_SIZE, rec);
	KUNIT_EXPECT_EQ(test, rec->seen[HOLE], 1);
}

/* There is a gap at AREA. A VMA of each kind follows. */
#define MIXED_BASE	(AREA + PAGE_SIZE)
#define MIXED_HUGETLB	(AREA + PMD_SIZE)
#define MIXED_THP	(AREA + 3 * PMD_SIZE)
#define MIXED_PFN	(AREA + 4 * PMD_SIZE)
#define MIXED_NONE	(AREA + 5 * PMD_SIZE)
#define MIXED_END	(MIXED_NONE + PAGE_SIZE)

static void map_mixed(struct kunit *test)
{
	map_anon(test, MIXED_BASE, 3 * PAGE_SIZE);
	touch(test, MIXED_BASE + PAGE_SIZE);
	map_hugetlb(test, MIXED_HUGETLB, 2, MAP_SHARED);
	touch(test, MIXED_HUGETLB);
	map_thp(test, MIXED_THP, 1);
	map_pfn(test, MIXED_PFN);
	map_anon(test, MIXED_NONE, PAGE_SIZE);
}

static void walk_mixed(struct kunit *test)
{
	unsigned long base = MIXED_BASE, base_end = base + 3 * PAGE_SIZE;
	unsigned long tlb = MIXED_HUGETLB, thp = MIXED_THP;
	unsigned long pfn = MIXED_PFN, pfn_end = pfn + 4 * PAGE_SIZE;
	struct record *rec = new_record(test);
	struct mm_walk_ops ops = all_ops;

	map_mixed(test);
	ops.pmd_entry = spare_huge_pmd;
	KUNIT_EXPECT_EQ(test, walk(test, AREA, MIXED_END, &ops), 0);
	expect_calls(test, rec,
		     { HOLE, AREA, base, -1 },
		     { TEST, base, base_end },
		     { PRE, base, base_end },
		     { PGD, base, base_end },
		     { P4D, base, base_end },
		     { PUD, base, base_end, TABLE },
		     { PMD, base, base_end, TABLE },
		     { PTE, base, base + PAGE_SIZE, NONE },
		     { PTE, base + PAGE_SIZE, base + 2 * PAGE_SIZE, LEAF },
		     { PTE, base + 2 * PAGE_SIZE, base_end, NONE },
		     { POST, base, base_end },
		     { HOLE, base_end, tlb, -1 },
		     { TEST, tlb, thp },
		     { PRE, tlb, thp },
		     { HUGETLB, tlb, tlb + PMD_SIZE, LEAF },
		     { HUGETLB, tlb + PMD_SIZE, thp, NONE },
		     { POST, tlb, thp },
		     { TEST, thp, pfn },
		     { PRE, thp, pfn },
		     { PGD, thp, pfn },
		     { P4D, thp, pfn },
		     { PUD, thp, pfn, TABLE },
		     { PMD, thp, pfn, LEAF },
		     { POST, thp, pfn },
		     { TEST, pfn, pfn_end },
		     { PRE, pfn, pfn_end },
		     { PGD, pfn, pfn_end },
		     { P4D, pfn, pfn_end },
		     { PUD, pfn, pfn_end, TABLE },
		     { PMD, pfn, pfn_end, TABLE },
		     { PTE, pfn, pfn + PAGE_SIZE, LEAF },
		     { PTE, pfn + PAGE_SIZE, pfn + 2 * PAGE_SIZE, LEAF },
		     { PTE, pfn + 2 * PAGE_SIZE, pfn + 3 * PAGE_SIZE, LEAF },
		     { PTE, pfn + 3 * PAGE_SIZE, pfn_end, LEAF },
		     { POST, pfn, pfn_end },
		     { HOLE, pfn_end, MIXED_NONE, -1 },
		     { TEST, MIXED_NONE, MIXED_END },
		     { PRE, MIXED_NONE, MIXED_END },
		     { PGD, MIXED_NONE, MIXED_END },
		     { P4D, MIXED_NONE, MIXED_END },
		     { PUD, MIXED_NONE, MIXED_END, TABLE },
		     { HOLE, MIXED_NONE, MIXED_END, depth_of(3) },
		     { POST, MIXED_NONE, MIXED_END });
	KUNIT_EXPECT_EQ(test, pmd_kind_at(thp), LEAF);
}

/*
 * Walks with a single operation.  The walk covers a VMA of four pages, of which the
 * last is present, and then a VMA of one huge page.
 */
static const struct alone {
	enum op op;
	int calls;
	bool splits;
	struct mm_walk_ops ops;
} alone[] = {
	{ PGD, 2, false, { .pgd_entry = note_pgd } },
	{ P4D, 2, false, { .p4d_entry = note_p4d } },
	{ PUD, 2, false, { .pud_entry = note_pud } },
	{ PMD, 2, false, { .pmd_entry = note_pmd } },
	{ PTE, 4 + PTRS_PER_PTE, true, { .pte_entry = note_pte } },
	{ HOLE, 0, false, { .pte_hole = note_hole } },
	{ HUGETLB, 0, false, { .hugetlb_entry = note_hugetlb } },
	{ TEST, 2, false, { .test_walk = note_test } },
	{ PRE, 2, false, { .pre_vma = note_pre } },
	{ POST, 2, false, { .post_vma = note_post } },
	{ INSTALL, 3, false, { .install_pte = note_install } },
};

static void alone_desc(const struct alone *alone, char *desc)
{
	strscpy(desc, op_name[alone->op], KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(alone, alone, alone_desc);

static void walk_alone(struct kunit *test)
{
	unsigned long thp = AREA + PMD_SIZE, start = thp - 4 * PAGE_SIZE;
	const struct alone *alone = test->param_value;
	unsigned long addr = start;
	struct record *rec;
	int i;

	map_anon(test, start, 4 * PAGE_SIZE);
	touch(test, thp - PAGE_SIZE);
	map_thp(test, thp, 1);
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, start, thp + PMD_SIZE, &alone->ops),
			0);
	KUNIT_EXPECT_EQ(test, rec->nr, alone->calls);
	KUNIT_EXPECT_EQ(test, rec->seen[alone->op], alone->calls);
	KUNIT_EXPECT_EQ(test, rec->strange, 0);

	/* Each call begins where the previous one ended. */
	for (i = 0; i < min(rec->nr, MAX_CALLS); i++) {
		KUNIT_EXPECT_EQ(test, rec->call[i].addr, addr);
		addr = rec->call[i].next;
	}
	if (rec->nr)
		KUNIT_EXPECT_EQ(test, addr, alone->op == INSTALL ?
				thp - PAGE_SIZE : thp + PMD_SIZE);
	if (!alone->splits)
		KUNIT_EXPECT_EQ(test, pmd_kind_at(thp), LEAF);
}

/* post_vma() of walk_huge_pmd(): read the PMD before khugepaged changes it. */
static void note_kind(struct mm_walk *walk)
{
	struct record *rec = walk->private;

	rec->kind = pmd_kind_at(AREA);
}

static const enum page_walk_action actions[] = {
	ACTION_SUBTREE, ACTION_CONTINUE, ACTION_AGAIN,
};

static const char * const action_name[] = {
	[ACTION_SUBTREE] = "SUBTREE",
	[ACTION_CONTINUE] = "CONTINUE",
	[ACTION_AGAIN] = "AGAIN",
};

static void action_desc(const enum page_walk_action *action, char *desc)
{
	strscpy(desc, action_name[*action], KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(action, actions, action_desc);

static void walk_huge_pmd(struct kunit *test)
{
	const enum page_walk_action *action = test->param_value;
	bool spared = *action == ACTION_CONTINUE;
	struct record *want = new_script(test), *rec;
	struct mm_walk_ops ops = entry_ops;

	map_thp(test, AREA, 1);
	rec = cue(test, PMD, 0, 0, *action);
	*want = *rec;
	want_entries(want, PGD, AREA, AREA + PMD_SIZE);
	ops.post_vma = note_kind;
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE, &ops), 0);
	expect_script(test, rec, want);
	KUNIT_EXPECT_EQ(test, rec->seen[PMD], 1 + (*action == ACTION_AGAIN));
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], spared ? 0 : PTRS_PER_PTE);
	KUNIT_EXPECT_EQ(test, rec->kind, spared ? LEAF : TABLE);
}

/*
 * A walk of a part of a huge page splits the huge page, but calls operations for
 * that part only.
 */
static void walk_huge_pmd_part(struct kunit *test)
{
	unsigned long start = AREA + 3 * PAGE_SIZE, end = start + PAGE_SIZE;
	struct record *rec;

	map_thp(test, AREA, 1);
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, start, end, &pte_ops), 0);
	expect_calls(test, rec,
		     { PMD, start, end, LEAF },
		     { PTE, start, end, LEAF });
}

/*
 * Few kernels can map a huge page of PUD size, so the tests write the entry for
 * one into the page tables.  It is never accessed.  Splitting it leaves an empty
 * PUD.
 */
#if defined(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD) && \
	defined(CONFIG_TRANSPARENT_HUGEPAGE)
static pud_t huge_pud(struct kunit *test)
{
	unsigned long pfn = zero_pfn(0) & (PUD_MASK >> PAGE_SHIFT);

	if (!pfn_valid(pfn) || !pfn_valid(pfn + 3))
		kunit_skip(test, "no memory at PFN %lx", pfn);
	return pud_mkhuge(pfn_pud(pfn, PAGE_KERNEL));
}

static pmd_t huge_special_pmd(unsigned long pfn)
{
	return pmd_mkspecial(pmd_mkhuge(pfn_pmd(pfn, PAGE_KERNEL)));
}
#else
static pud_t huge_pud(struct kunit *test)
{
	kunit_skip(test, "no huge PUDs in this kernel");
	return __pud(0);
}

static pmd_t huge_special_pmd(unsigned long pfn)
{
	return __pmd(0);
}
#endif

static const struct huge_pud_walk {
	const char *name;
	const struct mm_walk_ops *ops;
	enum page_walk_action action;
	enum kind kind;
	struct step step[4];
} huge_pud_walks[] = {
	{ "pud_entry alone", &pud_only_ops, ACTION_SUBTREE, LEAF,
	  { { PUD, LEAF } } },
	{ "SUBTREE", &pud_ops, ACTION_SUBTREE, NONE,
	  { { PUD, LEAF }, { HOLE, 2 } } },
	{ "CONTINUE", &pud_ops, ACTION_CONTINUE, LEAF,
	  { { PUD, LEAF } } },
	{ "AGAIN", &pud_ops, ACTION_AGAIN, NONE,
	  { { PUD, LEAF }, { PUD, LEAF }, { HOLE, 2 } } },
	{ "pmd_entry", &pmd_ops, ACTION_SUBTREE, NONE, { { HOLE, 2 } } },
	{ "pte_entry", &pte_only_ops, ACTION_SUBTREE, NONE, { { HOLE, 2 } } },
	{ "install_pte", &install_only_ops, ACTION_SUBTREE, LEAF, {} },
};

KUNIT_ARRAY_PARAM_DESC(huge_pud_walk, huge_pud_walks, name);

static void walk_huge_pud(struct kunit *test)
{
	const struct huge_pud_walk *w = test->param_value;
	unsigned long end = AREA + 2 * PMD_SIZE;
	pud_t *pudp, pud, leaf = huge_pud(test);
	struct record *rec;
	enum kind kind;
	int err;

	map_anon(test, AREA, PUD_SIZE);
	touch(test, AREA);
	rec = cue(test, PUD, 0, 0, w->action);
	pudp = pud_at(AREA);

	mmap_write_lock(current->mm);
	pud = pudp_get(pudp);
	set_pud(pudp, leaf);
	err = walk_page_range_mm_unsafe(current->mm, AREA, end, w->ops, rec);
	kind = kind_of_pud(pudp_get(pudp));
	set_pud(pudp, pud);
	flush_tlb_mm(current->mm);
	mmap_write_unlock(current->mm);

	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_EQ(test, kind, w->kind);
	expect_steps(test, rec, w->step, AREA, end);
}

/* Map two huge pages, one on each side of a PUD boundary. One of them is present. */
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

	/* The range begins and ends within huge pages. */
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, start + PAGE_SIZE, end - PAGE_SIZE,
				   &entry_ops), 0);
	expect_calls(test, rec,
		     { HUGETLB, start + PAGE_SIZE, pud, LEAF },
		     { HOLE, pud, end - PAGE_SIZE, -1 });

	/* Without hugetlb_entry() nothing is called, not even pte_hole(). */
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

	/* Without pte_hole() and test_walk() a PFN mapping is skipped. */
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &ops), 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 0);

	/* With test_walk() its entries are walked. */
	rec = new_record(test);
	ops.test_walk = note_test;
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &ops), 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 1 + 4);
	expect_ptes(test, rec, 1, AREA, 4, LEAF);

	/* A value of pte_hole() other than 0 ends the walk. */
	cue(test, HOLE, 0, 7, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &pte_ops), 0);
	cue(test, HOLE, 0, -EIO, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, end, &pte_ops), -EIO);
}

/* If the caller passes the VMA, it is walked even if it is a PFN mapping. */
static void walk_vma_pfn_map(struct kunit *test)
{
	struct mm_struct *mm = current->mm;
	struct record *rec;
	int err;

	map_pfn(test, AREA);
	rec = new_record(test);
	mmap_read_lock(mm);
	err = walk_page_vma(vma_lookup(mm, AREA), &all_ops, rec);
	mmap_read_unlock(mm);
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_EQ(test, rec->seen[TEST], 0);
	KUNIT_EXPECT_EQ(test, rec->seen[PRE], 1);
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], 4);
	KUNIT_EXPECT_EQ(test, rec->seen[POST], 1);

	rec = new_record(test);
	mmap_read_lock(mm);
	err = walk_page_range_vma(vma_lookup(mm, AREA), AREA + PAGE_SIZE,
				  AREA + 3 * PAGE_SIZE, &pte_ops, rec);
	mmap_read_unlock(mm);
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 1 + 2);
	expect_ptes(test, rec, 1, AREA + PAGE_SIZE, 2, LEAF);
}

static void walk_outside_of_vma(struct kunit *test)
{
	unsigned long end = AREA + 2 * PAGE_SIZE;
	struct record *rec = new_record(test);
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;

	map_anon(test, AREA, 2 * PAGE_SIZE);
	mmap_read_lock(mm);
	vma = vma_lookup(mm, AREA);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			walk_page_range(NULL, AREA, end, &all_ops, rec));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			walk_page_range_vma(vma, AREA - PAGE_SIZE, end,
					    &all_ops, rec));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			walk_page_range_vma(vma, AREA, end + PAGE_SIZE,
					    &all_ops, rec));
	mmap_read_unlock(mm);
	KUNIT_EXPECT_EQ(test, rec->nr, 0);
}

/* The p4d_entry() of MGLRU sets walk->vma, and may leave NULL there. */
static int lose_vma(p4d_t *p4d, unsigned long addr, unsigned long next,
		    struct mm_walk *walk)
{
	struct record *rec = walk->private;
	int err = note_p4d(p4d, addr, next, walk);

	walk->vma = NULL;
	return rec->nr > 2 ? -ELOOP : err;
}

static void walk_vma_lost(struct kunit *test)
{
	const struct mm_walk_ops ops = { .p4d_entry = lose_vma };
	unsigned long two = AREA + 2 * PAGE_SIZE;
	struct record *rec = new_record(test);

	map_anon(test, AREA, PAGE_SIZE);
	map_anon(test, two, PAGE_SIZE);
	touch(test, AREA);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, two + PAGE_SIZE, &ops), 0);
	expect_calls(test, rec,
		     { P4D, AREA, AREA + PAGE_SIZE },
		     { P4D, two, two + PAGE_SIZE });
}

/* Calls of each walker for the first four pages of a file, mapped at AREA. */

static int by_range(struct vm_area_struct *vma, unsigned long start,
		    unsigned long end, const struct mm_walk_ops *ops,
		    void *private)
{
	return walk_page_range(vma->vm_mm, start, end, ops, private);
}

static int by_range_unsafe(struct vm_area_struct *vma, unsigned long start,
			   unsigned long end, const struct mm_walk_ops *ops,
			   void *private)
{
	return walk_page_range_mm_unsafe(vma->vm_mm, start, end, ops, private);
}

static int by_vma(struct vm_area_struct *vma, unsigned long start,
		  unsigned long end, const struct mm_walk_ops *ops,
		  void *private)
{
	return walk_page_vma(vma, ops, private);
}

static int by_mapping(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, const struct mm_walk_ops *ops,
		      void *private)
{
	return walk_page_mapping(vma->vm_file->f_mapping,
				 linear_page_index(vma, start),
				 (end - start) >> PAGE_SHIFT, ops, private);
}

static int by_kernel(struct vm_area_struct *vma, unsigned long start,
		     unsigned long end, const struct mm_walk_ops *ops,
		     void *private)
{
	return walk_kernel_page_table_range(start, end, ops, vma->vm_mm->pgd,
					    private);
}

static int by_kernel_lockless(struct vm_area_struct *vma, unsigned long start,
			      unsigned long end, const struct mm_walk_ops *ops,
			      void *private)
{
	return walk_kernel_page_table_range_lockless(start, end, ops,
						     vma->vm_mm->pgd, private);
}

static int by_debug(struct vm_area_struct *vma, unsigned long start,
		    unsigned long end, const struct mm_walk_ops *ops,
		    void *private)
{
	return walk_page_range_debug(vma->vm_mm, start, end, ops, NULL,
				     private);
}

static int by_debug_pgd(struct vm_area_struct *vma, unsigned long start,
			unsigned long end, const struct mm_walk_ops *ops,
			void *private)
{
	return walk_page_range_debug(&init_mm, start, end, ops,
				     vma->vm_mm->pgd, private);
}

/**
 * struct walker - a function that walks page tables
 * @name: its name
 * @walk: calls the function
 * @tests: it calls ->test_walk()
 * @no_vma: it does not use VMAs
 * @init_mm: it sets &mm_walk.mm to &init_mm
 * @installs: it accepts ->install_pte()
 * @whole: it has no arguments for a range
 * @empty: its result for an empty range
 */
struct walker {
	const char *name;
	int (*walk)(struct vm_area_struct *vma, unsigned long start,
		    unsigned long end, const struct mm_walk_ops *ops,
		    void *private);
	bool tests;
	bool no_vma;
	bool init_mm;
	bool installs;
	bool whole;
	int empty;
};

static const struct walker walkers[] = {
	{ "walk_page_range", by_range, .tests = true, .empty = -EINVAL },
	{ "walk_page_range_mm_unsafe", by_range_unsafe, .tests = true,
	  .installs = true, .empty = -EINVAL },
	{ "walk_page_range_vma", walk_page_range_vma, .empty = -EINVAL },
	{ "walk_page_range_vma_unsafe", walk_page_range_vma_unsafe,
	  .installs = true, .empty = -EINVAL },
	{ "walk_page_vma", by_vma, .whole = true },
	{ "walk_page_mapping", by_mapping, .tests = true },
	{ "walk_kernel_page_table_range", by_kernel,
	  .no_vma = true, .init_mm = true, .empty = -EINVAL },
	{ "walk_kernel_page_table_range_lockless", by_kernel_lockless,
	  .no_vma = true, .init_mm = true, .empty = -EINVAL },
	{ "walk_page_range_debug", by_debug, .no_vma = true,
	  .empty = -EINVAL },
	{ "walk_page_range_debug of a PGD", by_debug_pgd, .no_vma = true,
	  .init_mm = true, .empty = -EINVAL },
};

KUNIT_ARRAY_PARAM_DESC(walker, walkers, name);

/*
 * On s390 an mm has only the levels of page tables that it needs.  Walkers that
 * get a PGD assume that all levels exist.
 */
static void need_all_levels(struct kunit *test, const struct walker *walker)
{
	struct mm_struct *mm = current->mm;

	if (walker->init_mm && pgd_offset(mm, AREA) != pgd_offset_pgd(mm->pgd, AREA))
		kunit_skip(test, "this mm has fewer levels of page tables");
}

/* Map four pages of a file. Two of them are in the page tables. */
static unsigned long map_file_pages(struct kunit *test)
{
	struct file *file;

	file = shmem_file_setup("pagewalk", 4 * PAGE_SIZE,
				mk_vma_flags(VMA_NORESERVE_BIT));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	map_file(test, file, AREA, 4 * PAGE_SIZE, MAP_SHARED, 0);
	fput(file);
	touch(test, AREA + PAGE_SIZE);
	touch(test, AREA + 2 * PAGE_SIZE);
	return AREA + 4 * PAGE_SIZE;
}

/* Call the walker of the test with all locks that any of the walkers requires. */
static int walk_by(struct kunit *test, unsigned long start, unsigned long end,
		   const struct mm_walk_ops *ops)
{
	const struct walker *walker = test->param_value;
	struct mm_struct *mm = current->mm;
	struct record *rec = test->priv;
	struct vm_area_struct *vma;
	int err;

	rec->no_vma = walker->no_vma;
	if (walker->init_mm)
		rec->mm = &init_mm;
	mmap_write_lock(mm);
	mmap_write_lock_nested(&init_mm, SINGLE_DEPTH_NESTING);
	vma = vma_lookup(mm, AREA);
	i_mmap_lock_read(vma->vm_file->f_mapping);
	err = walker->walk(vma, start, end, ops, rec);
	i_mmap_unlock_read(vma->vm_file->f_mapping);
	mmap_write_unlock(&init_mm);
	mmap_write_unlock(mm);
	return err;
}

static void walker_calls(struct kunit *test)
{
	const struct walker *walker = test->param_value;
	unsigned long end = map_file_pages(test);
	struct record *want = new_script(test);
	struct record *rec = new_record(test);

	need_all_levels(test, walker);
	if (walker->tests)
		add_call(want, (struct call) { TEST, AREA, end });
	if (!walker->no_vma)
		add_call(want, (struct call) { PRE, AREA, end });
	want_entries(want, PGD, AREA, end);
	if (!walker->no_vma)
		add_call(want, (struct call) { POST, AREA, end });
	KUNIT_EXPECT_EQ(test, walk_by(test, AREA, end, &all_ops), 0);
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], 4);
	expect_script(test, rec, want);
}

static void walker_part(struct kunit *test)
{
	const struct walker *walker = test->param_value;
	unsigned long end = map_file_pages(test) - PAGE_SIZE;
	unsigned long start = AREA + (walker->whole ? 0 : PAGE_SIZE);
	struct record *want = new_script(test);
	struct record *rec = new_record(test);

	need_all_levels(test, walker);
	if (walker->whole)
		end += PAGE_SIZE;
	want_entries(want, PGD, start, end);
	KUNIT_EXPECT_EQ(test, walk_by(test, start, end, &entry_ops), 0);
	expect_script(test, rec, want);
}

static void walker_returns(struct kunit *test)
{
	const struct walker *walker = test->param_value;
	unsigned long end = map_file_pages(test);
	struct record *rec = cue(test, PTE, 1, 7, 0);

	need_all_levels(test, walker);
	KUNIT_EXPECT_EQ(test, walk_by(test, AREA, end, &all_ops), 7);
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], 2);
	rec = cue(test, PTE, 1, -EIO, 0);
	KUNIT_EXPECT_EQ(test, walk_by(test, AREA, end, &all_ops), -EIO);
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], 2);

	/* A positive value of test_walk() skips the VMA and is not returned. */
	rec = cue(test, TEST, 0, 7, 0);
	KUNIT_EXPECT_EQ(test, walk_by(test, AREA, end, &all_ops), 0);
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], walker->tests ? 0 : 4);
	rec = cue(test, TEST, 0, -EIO, 0);
	KUNIT_EXPECT_EQ(test, walk_by(test, AREA, end, &all_ops),
			walker->tests ? -EIO : 0);
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], walker->tests ? 0 : 4);
}

static void walker_refuses(struct kunit *test)
{
	const struct walker *walker = test->param_value;
	unsigned long end = map_file_pages(test);
	struct record *rec = new_record(test);

	if (!walker->whole) {
		KUNIT_EXPECT_EQ(test, walk_by(test, AREA, AREA, &all_ops),
				walker->empty);
		KUNIT_EXPECT_EQ(test, rec->nr, 0);
	}
	if (walker->empty) {
		KUNIT_EXPECT_EQ(test, walk_by(test, end, AREA, &all_ops),
				-EINVAL);
		KUNIT_EXPECT_EQ(test, rec->nr, 0);
	}
	KUNIT_EXPECT_EQ(test, walk_by(test, AREA, end, &install_only_ops),
			walker->installs ? 0 : -EINVAL);
	KUNIT_EXPECT_EQ(test, rec->seen[INSTALL], walker->installs ? 2 : 0);
	KUNIT_EXPECT_EQ(test, rec->nr, rec->seen[INSTALL]);
	KUNIT_EXPECT_EQ(test, pte_none(pte_at(AREA)), !walker->installs);
}

/* Return values of operations. */

/**
 * struct returned - the result of one call in a walk of map_mixed()
 * @err: the value that the call returns
 * @action: the action that the call chooses
 */
struct returned {
	int err;
	enum page_walk_action action;
};

static const struct returned returned[] = {
	{ 0, ACTION_SUBTREE },
	{ 7, ACTION_SUBTREE }, { 7, ACTION_AGAIN }, { 7, ACTION_CONTINUE },
	{ -EIO, ACTION_SUBTREE }, { -EIO, ACTION_AGAIN },
	{ -EIO, ACTION_CONTINUE },
};

static const enum op fallible_ops[] = {
	PGD, P4D, PUD, PMD, PTE, HOLE, HUGETLB, TEST, PRE,
};

static void op_desc(const enum op *op, char *desc)
{
	strscpy(desc, op_name[*op], KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(fallible, fallible_ops, op_desc);

/*
 * Return the index of the post_vma() call for the VMA of call @nr, or 0 if there
 * was no pre_vma() call for this VMA before call @nr.
 */
static int post_of(const struct record *base, int nr)
{
	int i;

	for (i = nr - 1; i >= 0 && base->call[i].op != POST; i--)
		if (base->call[i].op == PRE)
			break;
	if (i < 0 || base->call[i].op == POST)
		return 0;
	while (base->call[nr].op != POST)
		nr++;
	return nr;
}

/*
 * Set @want to the calls that are expected if call @nr of the walk @base returns
 * @err.  The walk ends with that call, and with post_vma() if pre_vma() was
 * called.  A positive value of test_walk() only skips the VMA.  Returns the
 * expected result of the walk.
 */
static int want_returned(struct record *want, const struct record *base,
			 int nr, int err)
{
	enum op op = base->call[nr].op;
	int i, post = post_of(base, nr);

	for (i = 0; i <= nr; i++)
		add_call(want, base->call[i]);
	if (op == TEST && err > 0) {
		while (base->call[i++].op != POST)
			;
		err = 0;
	}
	if (!err)
		for (; i < base->nr; i++)
			add_call(want, base->call[i]);
	else if (post)
		add_call(want, base->call[post]);
	return err;
}

/* Have each call of one operation return each value, in a walk of its own. */
static void walk_returns(struct kunit *test)
{
	const enum op *op = test->param_value;
	struct record *base = new_script(test), *want = new_script(test);
	struct mm_walk_ops ops = all_ops;
	struct record *rec;
	int nr, i, err;

	map_mixed(test);
	ops.pmd_entry = spare_huge_pmd;
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, MIXED_END, &ops), 0);
	*base = *rec;
	KUNIT_EXPECT_GE(test, base->seen[*op], 1);

	for (nr = 0; nr < base->nr; nr++) {
		if (base->call[nr].op != *op)
			continue;
		for (i = 0; i < ARRAY_SIZE(returned); i++) {
			rec = cue(test, ANY_OP, nr, returned[i].err,
				  returned[i].action);
			memset(want, 0, offsetof(struct record, call));
			err = want_returned(want, base, nr, returned[i].err);
			KUNIT_EXPECT_EQ(test, walk(test, AREA, MIXED_END, &ops),
					err);
			expect_script(test, rec, want);
		}
	}
}

/* Actions. */

static const enum op levels[] = { PGD, P4D, PUD, PMD };
KUNIT_ARRAY_PARAM(level, levels, op_desc);

static const struct chosen {
	enum op level;
	enum page_walk_action action;
} chosen[] = {
	{ PGD, ACTION_SUBTREE }, { PGD, ACTION_CONTINUE },
	{ PGD, ACTION_AGAIN },
	{ P4D, ACTION_SUBTREE }, { P4D, ACTION_CONTINUE },
	{ P4D, ACTION_AGAIN },
	{ PUD, ACTION_SUBTREE }, { PUD, ACTION_CONTINUE },
	{ PUD, ACTION_AGAIN },
	{ PMD, ACTION_SUBTREE }, { PMD, ACTION_CONTINUE },
	{ PMD, ACTION_AGAIN },
};

static void chosen_desc(const struct chosen *chosen, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s %s", op_name[chosen->level],
		 action_name[chosen->action]);
}

KUNIT_ARRAY_PARAM(chosen, chosen, chosen_desc);

/* The action that is chosen for one of two entries does not affect the other. */
static void walk_action(struct kunit *test)
{
	const struct chosen *chosen = test->param_value;
	unsigned long edge = edge_of(test, chosen->level);
	unsigned long start = edge - 2 * PAGE_SIZE, end = edge + 2 * PAGE_SIZE;
	int which, ptes = 4, seen = 2;
	struct record *rec;

	touch(test, edge - PAGE_SIZE);
	touch(test, edge);
	if (chosen->action == ACTION_CONTINUE)
		ptes = 2;
	else if (chosen->action == ACTION_AGAIN)
		seen = 3;
	for (which = 0; which < 2; which++) {
		rec = cue(test, chosen->level, which, 0, chosen->action);
		expect_walk(test, start, end, rec);
		KUNIT_EXPECT_EQ(test, rec->seen[chosen->level], seen);
		KUNIT_EXPECT_EQ(test, rec->seen[PTE], ptes);
	}
}

/* Changes of an entry during a walk. */

enum change {
	ZAP_PTE,
	ZAP_PMD,
	HUGE_PMD,
	SPLIT_PMD,
	ZAP_PUD,
	SPLIT_PUD,
};

/**
 * struct area - the page table entries for AREA
 * @vma: the VMA
 * @level: level of the entry that maps AREA
 * @change: change of this entry, or of the entry for its table
 * @pud: old value of the PUD, which has a table
 * @pmd: old value of the PMD
 * @pte: old value of the PTE
 * @other: the PMD of a huge page that is mapped elsewhere
 * @pudp: address of the PUD
 * @pmdp: address of the PMD
 * @ptep: address of the PTE, if there is one
 * @ptl: page table lock of the entry that maps AREA
 */
struct area {
	struct vm_area_struct *vma;
	enum op level;
	enum change change;
	pud_t pud;
	pmd_t pmd;
	pte_t pte;
	pmd_t other;
	pud_t *pudp;
	pmd_t *pmdp;
	pte_t *ptep;
	spinlock_t *ptl;	/* of the entry */
};

static spinlock_t *lock_of(const struct area *area)
{
	struct mm_struct *mm = area->vma->vm_mm;

	switch (area->level) {
	case PUD:
		return pud_lockptr(mm, area->pudp);
	case PMD:
		return pmd_lockptr(mm, area->pmdp);
	default:
		return pte_lockptr(mm, area->pmdp);
	}
}

/*
 * Map AREA by an entry of @level.  For a huge PUD, a base page is mapped first.
 * Then the PUD is overwritten, and its table is kept in area.pud.
 */
static struct area map_area(struct kunit *test, enum op level,
			    enum change change)
{
	pud_t pud = level == PUD ? huge_pud(test) : __pud(0);
	struct area area = { .level = level, .change = change };
	unsigned long other = AREA + 2 * PMD_SIZE;

	if (change == HUGE_PMD) {
		map_thp(test, other, 1);
		area.other = pmdp_get(pmd_at(other));
	}
	if (level == PMD) {
		map_thp(test, AREA, 1);
	} else {
		map_anon(test, AREA, level == PUD ? PUD_SIZE : PAGE_SIZE);
		touch(test, AREA);
	}
	mmap_read_lock(current->mm);
	area.vma = vma_lookup(current->mm, AREA);
	mmap_read_unlock(current->mm);
	area.pudp = pud_at(AREA);
	area.pud = pudp_get(area.pudp);
	area.pmdp = pmd_at(AREA);
	area.pmd = pmdp_get(area.pmdp);
	if (level != PMD) {
		area.ptep = pte_offset_kernel(area.pmdp, AREA);
		area.pte = ptep_get(area.ptep);
	}
	area.ptl = lock_of(&area);
	if (level == PUD)
		set_pud(area.pudp, pud);
	return area;
}

/* Change the entry. The caller holds area->ptl. */
static void change(struct area *area)
{
	switch (area->change) {
	case ZAP_PTE:
		ptep_get_and_clear(area->vma->vm_mm, AREA, area->ptep);
		break;
	case ZAP_PMD:
		pmd_clear(area->pmdp);
		break;
	case HUGE_PMD:
		set_pmd(area->pmdp, area->other);
		break;
	case SPLIT_PMD:
		split_huge_pmd_locked(area->vma, AREA, area->pmdp, false);
		break;
	case ZAP_PUD:
		pud_clear(area->pudp);
		break;
	case SPLIT_PUD:
		set_pud(area->pudp, area->pud);
		break;
	}
}

/* Undo change(). Only SPLIT_PMD is not undone. */
static void change_back(struct area *area)
{
	spin_lock(area->ptl);
	switch (area->change) {
	case ZAP_PTE:
		set_pte_at(area->vma->vm_mm, AREA, area->ptep, area->pte);
		break;
	case ZAP_PMD:
	case HUGE_PMD:
		set_pmd(area->pmdp, area->pmd);
		break;
	case SPLIT_PMD:
		break;
	case ZAP_PUD:
	case SPLIT_PUD:
		set_pud(area->pudp, area->pud);
		break;
	}
	spin_unlock(area->ptl);
	flush_tlb_mm(area->vma->vm_mm);
}

/* An entry changes between the call of its operation and its use by the walk. */

static const struct changed {
	const char *name;
	enum op level;
	enum change change;
	struct step step[4];
} changed[] = {
	{ "PMD zapped", PTE, ZAP_PMD,
	  { { PUD, TABLE }, { PMD, TABLE }, { HOLE, 3 } } },
	{ "huge PMD zapped", PMD, ZAP_PMD,
	  { { PUD, TABLE }, { PMD, LEAF }, { HOLE, 3 } } },
	{ "huge PMD split", PMD, SPLIT_PMD,
	  { { PUD, TABLE }, { PMD, LEAF }, { PTE, LEAF } } },
	{ "PUD zapped", PTE, ZAP_PUD, { { PUD, TABLE }, { HOLE, 2 } } },
	{ "huge PUD zapped", PUD, ZAP_PUD, { { PUD, LEAF }, { HOLE, 2 } } },
	{ "huge PUD split", PUD, SPLIT_PUD,
	  { { PUD, LEAF }, { PMD, TABLE }, { PTE, LEAF } } },
};

KUNIT_ARRAY_PARAM_DESC(changed, changed, name);

static void change_once(struct mm_walk *walk, bool now)
{
	struct record *rec = walk->private;
	struct area *area = rec->area;

	if (!area || !now)
		return;
	spin_lock(area->ptl);
	change(area);
	spin_unlock(area->ptl);
	rec->area = NULL;
}

static int change_pud(pud_t *pud, unsigned long addr, unsigned long next,
		      struct mm_walk *walk)
{
	struct record *rec = walk->private;
	int err = note_pud(pud, addr, next, walk);

	change_once(walk, rec->area && rec->area->change >= ZAP_PUD);
	return err;
}

static int change_pmd(pmd_t *pmd, unsigned long addr, unsigned long next,
		      struct mm_walk *walk)
{
	int err = note_pmd(pmd, addr, next, walk);

	change_once(walk, true);
	return err;
}

static void walk_changed(struct kunit *test)
{
	const struct changed *changed = test->param_value;
	struct area area = map_area(test, changed->level, changed->change);
	const struct mm_walk_ops ops = {
		.pud_entry = change_pud,
		.pmd_entry = change_pmd,
		.pte_entry = note_pte,
		.pte_hole = note_hole,
		.walk_lock = PGWALK_WRLOCK,
	};
	struct record *rec = new_record(test);

	rec->area = &area;
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PAGE_SIZE, &ops), 0);
	change_back(&area);
	KUNIT_EXPECT_NULL(test, rec->area);
	expect_steps(test, rec, changed->step, AREA, AREA + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, kind_at(PTE, AREA), LEAF);
}

/* Locks. */

/* The lock that the caller of a walk holds. */
enum held {
	NO_LOCK,
	MMAP_READ,
	MMAP_WRITE,
	VMA_READ,
	VMA_WRITE,
};

static const char * const held_name[] = {
	[NO_LOCK] = "no lock",
	[MMAP_READ] = "mmap read",
	[MMAP_WRITE] = "mmap write",
	[VMA_READ] = "VMA read",
	[VMA_WRITE] = "VMA write",
};

static const char * const need_name[] = {
	[PGWALK_RDLOCK] = "RDLOCK",
	[PGWALK_WRLOCK] = "WRLOCK",
	[PGWALK_WRLOCK_VERIFY] = "WRLOCK_VERIFY",
	[PGWALK_VMA_RDLOCK_VERIFY] = "VMA_RDLOCK_VERIFY",
};

/* WARNS_DEBUG: warns only with CONFIG_DEBUG_VM, which is needed for VMA locks. */
enum warns {
	SILENT,
	WARNS,
	WARNS_DEBUG,
};

static const struct locking {
	enum page_walk_lock need;
	enum held held;
	enum warns warns;
} lockings[] = {
	{ PGWALK_RDLOCK, NO_LOCK, WARNS },
	{ PGWALK_RDLOCK, MMAP_READ, SILENT },
	{ PGWALK_RDLOCK, MMAP_WRITE, SILENT },
	{ PGWALK_RDLOCK, VMA_READ, WARNS },
	{ PGWALK_WRLOCK, NO_LOCK, WARNS },
	{ PGWALK_WRLOCK, MMAP_READ, WARNS },
	{ PGWALK_WRLOCK, MMAP_WRITE, SILENT },
	{ PGWALK_WRLOCK_VERIFY, NO_LOCK, WARNS },
	{ PGWALK_WRLOCK_VERIFY, MMAP_READ, WARNS },
	{ PGWALK_WRLOCK_VERIFY, MMAP_WRITE, WARNS_DEBUG },
	{ PGWALK_WRLOCK_VERIFY, VMA_WRITE, SILENT },
	{ PGWALK_VMA_RDLOCK_VERIFY, NO_LOCK, WARNS_DEBUG },
	{ PGWALK_VMA_RDLOCK_VERIFY, MMAP_WRITE, WARNS_DEBUG },
	{ PGWALK_VMA_RDLOCK_VERIFY, VMA_READ, SILENT },
	{ PGWALK_VMA_RDLOCK_VERIFY, VMA_WRITE, SILENT },
};

static void locking_desc(const struct locking *locking, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s under %s",
		 need_name[locking->need], held_name[locking->held]);
}

KUNIT_ARRAY_PARAM(locking, lockings, locking_desc);

#ifdef CONFIG_PER_VMA_LOCK
static bool has_vma_locks(void)
{
	return true;
}

static bool is_write_locked(struct vm_area_struct *vma)
{
	return __is_vma_write_locked(vma);
}

static void unlock_vma_read(struct vm_area_struct *vma)
{
	vma_end_read(vma);
}
#else
static bool has_vma_locks(void)
{
	return false;
}

static bool is_write_locked(struct vm_area_struct *vma)
{
	return true;
}

static void unlock_vma_read(struct vm_area_struct *vma)
{
}
#endif

/* Find the VMA at AREA and leave it locked as @held says. */
static struct vm_area_struct *take_locks(enum held held)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;

	switch (held) {
	case NO_LOCK:
		mmap_read_lock(mm);
		vma = vma_lookup(mm, AREA);
		mmap_read_unlock(mm);
		return vma;
	case MMAP_READ:
		mmap_read_lock(mm);
		return vma_lookup(mm, AREA);
	case VMA_READ:
		return lock_vma_under_rcu(mm, AREA);
	default:
		mmap_write_lock(mm);
		vma = vma_lookup(mm, AREA);
		if (held == VMA_WRITE)
			vma_start_write(vma);
		return vma;
	}
}

static void drop_locks(enum held held, struct vm_area_struct *vma)
{
	struct mm_struct *mm = current->mm;

	if (held == MMAP_READ)
		mmap_read_unlock(mm);
	else if (held == VMA_READ)
		unlock_vma_read(vma);
	else if (held != NO_LOCK)
		mmap_write_unlock(mm);

	/* Also end the VMA write locks that a walk took under the wrong lock. */
	mmap_write_lock(mm);
	mmap_write_unlock(mm);
}

/* Reset the state of WARN_ON_ONCE(), so that each walk can warn. */
static void forget_warnings(void)
{
	memset(__start_once, 0, __end_once - __start_once);
}

static int walk_locked(struct kunit *test, const struct locking *locking,
		       struct vm_area_struct *vma, bool by_vma)
{
	struct mm_walk_ops ops = pte_ops;
	int nr = -1;

	ops.walk_lock = locking->need;
	kunit_warning_suppress(test) {
		if (by_vma)
			walk_page_vma(vma, &ops, test->priv);
		else
			walk_page_range(vma->vm_mm, AREA, AREA + PAGE_SIZE,
					&ops, test->priv);
		nr = KUNIT_SUPPRESSED_WARNING_COUNT();
	}
	return nr;
}

static void expect_locked(struct kunit *test, const struct locking *locking,
			  bool by_vma)
{
	bool before = false, after = false;
	struct vm_area_struct *vma;
	struct record *rec;
	int nr = -1;

	rec = new_record(test);
	forget_warnings();
	vma = take_locks(locking->held);
	if (vma) {
		if (locking->held == MMAP_WRITE)
			before = is_write_locked(vma);
		nr = walk_locked(test, locking, vma, by_vma);
		if (locking->held == MMAP_WRITE)
			after = is_write_locked(vma);
		drop_locks(locking->held, vma);
	}
	KUNIT_EXPECT_NOT_NULL(test, vma);
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], 1);
	if (locking->warns == WARNS ||
	    (locking->warns == WARNS_DEBUG && IS_ENABLED(CONFIG_DEBUG_VM)))
		KUNIT_EXPECT_GT(test, nr, 0);
	else
		KUNIT_EXPECT_EQ(test, nr, 0);
	if (locking->held != MMAP_WRITE || !has_vma_locks())
		return;
	KUNIT_EXPECT_FALSE(test, before);
	KUNIT_EXPECT_EQ(test, after, locking->need == PGWALK_WRLOCK);
}

static void lock_walk(struct kunit *test)
{
	const struct locking *locking = test->param_value;

	if (!has_vma_locks() && locking->held >= VMA_READ)
		kunit_skip(test, "no VMA locks in this kernel");
	map_anon(test, AREA, PAGE_SIZE);
	touch(test, AREA);
	expect_locked(test, locking, true);

	/* walk_page_range() looks up VMAs, which always requires the mmap lock. */
	if (locking->held != NO_LOCK && locking->held != VMA_READ)
		expect_locked(test, locking, false);
}

/* Only with lockdep does the walk check that i_mmap_rwsem is held. */
static void lock_mapping(struct kunit *test)
{
	int want = IS_ENABLED(CONFIG_LOCKDEP) && debug_locks;
	struct record *rec = new_record(test);
	struct address_space *mapping;

	map_file_pages(test);
	mmap_read_lock(current->mm);
	mapping = vma_lookup(current->mm, AREA)->vm_file->f_mapping;
	mmap_read_unlock(current->mm);
	kunit_warning_suppress(test) {
		walk_page_mapping(mapping, 0, 4, &pte_ops, rec);
		KUNIT_EXPECT_EQ(test, !!KUNIT_SUPPRESSED_WARNING_COUNT(), want);
	}
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], 4);
	kunit_warning_suppress(test) {
		i_mmap_lock_read(mapping);
		walk_page_mapping(mapping, 0, 4, &pte_ops, rec);
		i_mmap_unlock_read(mapping);
		KUNIT_EXPECT_EQ(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 0);
	}
}

/* Without SMP a spinlock has no state. Return true then. */
static bool is_held(spinlock_t *ptl)
{
	if (!IS_ENABLED(CONFIG_SMP))
		return true;
	if (!spin_trylock(ptl))
		return true;
	spin_unlock(ptl);
	return false;
}

/* A walk of VMAs must hold the page table lock when it calls pte_entry(). */
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
		kunit_skip(test, "spinlocks have no state without SMP");
	map_anon(test, AREA, PAGE_SIZE);
	touch(test, AREA);
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
	struct record *rec = new_record_no_vma(test, &init_mm);
	int err;

	KUNIT_ASSERT_NOT_NULL(test, buf);
	mmap_read_lock(&init_mm);
	err = walk_kernel_page_table_range(start, end, &ops, NULL, rec);
	mmap_read_unlock(&init_mm);
	KUNIT_EXPECT_EQ(test, err, 0);
	expect_calls(test, rec,
		     { PTE, start, start + PAGE_SIZE, LEAF },
		     { PTE, start + PAGE_SIZE, end, LEAF });

	rec = cue(test, PTE, 0, 7, 0);
	rec->no_vma = true;
	rec->mm = &init_mm;
	err = walk_kernel_page_table_range_lockless(start, end, &ops,
						    init_mm.pgd, rec);
	KUNIT_EXPECT_EQ(test, err, 7);
	expect_calls(test, rec, { PTE, start, start + PAGE_SIZE, LEAF });
	vfree(buf);
}

/* A walk to the last address ends. */
static void walk_kernel_end(struct kunit *test)
{
	struct record *rec = new_record_no_vma(test, &init_mm);

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

/* Huge entries of the direct map are not split, and no PTEs are walked below. */
static void walk_kernel_huge(struct kunit *test)
{
	unsigned long start = (unsigned long)__va(PFN_PHYS(zero_pfn(0)));
	const struct mm_walk_ops ops = {
		.pud_entry = note_pud,
		.pmd_entry = note_pmd,
		.pte_entry = huge_kernel_pte,
	};
	struct record *rec = new_record_no_vma(test, &init_mm);
	int err, i, leaves = 0;

	start &= PUD_MASK;
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
	struct record *rec = new_record_no_vma(test, &init_mm);

	KUNIT_ASSERT_NOT_NULL(test, buf);
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

/* Walk user memory without VMAs, as ptdump does: huge pages are not split. */
static void walk_debug(struct kunit *test)
{
	struct mm_struct *mm = current->mm;
	unsigned long end = AREA + 3 * PMD_SIZE;
	struct record *rec = new_record_no_vma(test, mm);
	int err;

	map_anon(test, AREA, PMD_SIZE);
	map_thp(test, AREA + 2 * PMD_SIZE, 1);
	touch(test, AREA + PMD_SIZE - PAGE_SIZE);

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

/*
 * Walk a PMD that is neither empty nor present, such as that of kernel memory which
 * the kernel has unmapped.  The walk must not look for a table of PTEs there.  A
 * second call of pmd_entry() would mean that the walk has done so.
 */
static void walk_debug_absent(struct kunit *test)
{
	pmd_t pmd, absent = __pmd(pte_val(swp_entry_to_pte(swp_entry(0, 1))));
	unsigned long end = AREA + PAGE_SIZE;
	struct mm_struct *mm = current->mm;
	struct record *rec;
	pmd_t *pmdp;
	int err;

	if (kind_of_pmd(absent) != OTHER)
		kunit_skip(test, "this machine has no such PMD");
	map_anon(test, AREA, PAGE_SIZE);
	touch(test, AREA);
	pmdp = pmd_at(AREA);
	rec = cue(test, PMD, 1, -ELOOP, ACTION_SUBTREE);
	rec->no_vma = true;

	mmap_write_lock(mm);
	mmap_write_lock_nested(&init_mm, SINGLE_DEPTH_NESTING);
	pmd = pmdp_get(pmdp);
	set_pmd(pmdp, absent);
	err = walk_page_range_debug(mm, AREA, end, &pte_ops, NULL, rec);
	set_pmd(pmdp, pmd);
	flush_tlb_mm(mm);
	mmap_write_unlock(&init_mm);
	mmap_write_unlock(mm);
	KUNIT_EXPECT_EQ(test, err, 0);
	expect_calls(test, rec, { PMD, AREA, end, OTHER });
}

/* The walk warns if either of the two mmap locks is not held. */
static void walk_debug_locks(struct kunit *test)
{
	struct mm_struct *mm = current->mm;
	struct record *rec = new_record_no_vma(test, mm);

	map_anon(test, AREA, PAGE_SIZE);
	touch(test, AREA);
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

static const int install_errs[] = { -ENOMEM, 7 };

static void int_desc(const int *nr, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%d", *nr);
}

KUNIT_ARRAY_PARAM(install_err, install_errs, int_desc);

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

/* Missing tables of all levels are allocated, on both sides of the boundary. */
static void install_makes_tables(struct kunit *test)
{
	const enum op *level = test->param_value;
	unsigned long edge = edge_of(test, *level);
	unsigned long start = edge - 2 * PAGE_SIZE, end = edge + 2 * PAGE_SIZE;
	struct record *rec = new_record(test);
	unsigned long addr;

	KUNIT_EXPECT_EQ(test, walk(test, start, end, &install_only_ops), 0);
	expect_calls(test, rec,
		     { INSTALL, start, start + PAGE_SIZE },
		     { INSTALL, start + PAGE_SIZE, edge },
		     { INSTALL, edge, edge + PAGE_SIZE },
		     { INSTALL, edge + PAGE_SIZE, end });
	for (addr = start; addr < end; addr += PAGE_SIZE)
		KUNIT_EXPECT_EQ(test, pte_pfn(pte_at(addr)), zero_pfn(addr));

	/* A walk finds no holes any more. */
	rec = new_record(test);
	expect_walk(test, start, end, rec);
	KUNIT_EXPECT_EQ(test, rec->seen[HOLE], 0);
}

static void install_spares_existing(struct kunit *test)
{
	unsigned long end = AREA + 3 * PAGE_SIZE;
	struct record *rec;
	pte_t pte;

	map_anon(test, AREA, 3 * PAGE_SIZE);
	touch(test, AREA + PAGE_SIZE);
	pte = pte_at(AREA + PAGE_SIZE);

	/* Without pte_entry() there is no call for a PTE that exists. */
	rec = new_record(test);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + 2 * PAGE_SIZE,
				   &install_only_ops), 0);
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

/* install_pte() is not called for addresses outside of VMAs. */
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

/* Walk one page that is present and three that are not. */
static int install_three(struct kunit *test)
{
	return walk(test, AREA, AREA + 4 * PAGE_SIZE, &install_ops);
}

static bool is_installed(unsigned long addr)
{
	return pte_present(pte_at(addr)) &&
	       pte_pfn(pte_at(addr)) == zero_pfn(addr);
}

/* If install_pte() does not return 0 for a PTE, the walk ends there. */
static void install_fails_half_way(struct kunit *test)
{
	const int *err = test->param_value;
	struct record *rec;
	int nr, i;

	map_anon(test, AREA, 4 * PAGE_SIZE);
	for (nr = 0; nr < 3; nr++) {
		advise(test, AREA, 4 * PAGE_SIZE, MADV_DONTNEED);
		touch(test, AREA);
		rec = cue(test, INSTALL, nr, *err, 0);
		KUNIT_EXPECT_EQ(test, install_three(test), *err);
		KUNIT_EXPECT_EQ(test, rec->seen[INSTALL], nr + 1);
		KUNIT_EXPECT_EQ(test, rec->seen[PTE], 1);
		for (i = 1; i < 4; i++)
			KUNIT_EXPECT_EQ(test, i <= nr,
					is_installed(AREA + i * PAGE_SIZE));
		KUNIT_EXPECT_TRUE(test, pte_none(pte_at(AREA + 3 * PAGE_SIZE)));

		/* The next walk installs only the PTEs that are missing. */
		rec = new_record(test);
		KUNIT_EXPECT_EQ(test, install_three(test), 0);
		KUNIT_EXPECT_EQ(test, rec->seen[INSTALL], 3 - nr);
		KUNIT_EXPECT_EQ(test, rec->seen[PTE], nr + 1);
	}

	/* A value of pte_entry() other than 0 ends the walk, too. */
	advise(test, AREA, 4 * PAGE_SIZE, MADV_DONTNEED);
	touch(test, AREA + PAGE_SIZE);
	rec = cue(test, PTE, 0, *err, 0);
	KUNIT_EXPECT_EQ(test, install_three(test), *err);
	KUNIT_EXPECT_EQ(test, rec->seen[INSTALL], 1);
	KUNIT_EXPECT_TRUE(test, pte_none(pte_at(AREA + 2 * PAGE_SIZE)));
}

static void install_spares_thp(struct kunit *test)
{
	struct record *rec = new_record(test);

	map_thp(test, AREA, 1);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE,
				   &install_only_ops), 0);
	KUNIT_EXPECT_EQ(test, rec->nr, 0);
	KUNIT_EXPECT_EQ(test, pmd_kind_at(AREA), LEAF);

	/* pte_entry() makes the walk split the huge page, but no PTE is missing. */
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE,
				   &install_ops), 0);
	KUNIT_EXPECT_EQ(test, rec->seen[INSTALL], 0);
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], PTRS_PER_PTE);
}

/*
 * The operation that is called for a huge page zaps it. Then all its PTEs are
 * missing.
 */

static int empty_huge_pmd(pmd_t *pmd, unsigned long addr, unsigned long next,
			  struct mm_walk *walk)
{
	int err = note_pmd(pmd, addr, next, walk);

	if (kind_of_pmd(pmdp_get(pmd)) == LEAF)
		zap_vma_range(walk->vma, addr & PMD_MASK, PMD_SIZE);
	return err;
}

static int empty_huge_pud(pud_t *pud, unsigned long addr, unsigned long next,
			  struct mm_walk *walk)
{
	int err = note_pud(pud, addr, next, walk);

	if (kind_of_pud(pudp_get(pud)) == LEAF)
		pud_clear(pud);
	return err;
}

static void expect_filled(struct kunit *test, struct record *rec, enum op level)
{
	unsigned long mid = AREA + PAGE_SIZE, end = AREA + 2 * PAGE_SIZE;

	expect_calls(test, rec,
		     { level, AREA, end, LEAF },
		     { level, AREA, end, TABLE },
		     { INSTALL, AREA, mid },
		     { INSTALL, mid, end });
}

static void install_into_zapped_pmd(struct kunit *test)
{
	const struct mm_walk_ops ops = {
		.pmd_entry = empty_huge_pmd,
		.install_pte = note_install,
	};
	struct record *rec = new_record(test);

	map_thp(test, AREA, 1);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + 2 * PAGE_SIZE, &ops), 0);
	expect_filled(test, rec, PMD);
}

/* The test writes a huge page into an empty PUD. Another page keeps the table. */
static void install_into_cleared_pud(struct kunit *test)
{
	const struct mm_walk_ops ops = {
		.pud_entry = empty_huge_pud,
		.install_pte = note_install,
	};
	struct record *rec = new_record(test);
	pud_t *pudp, leaf = huge_pud(test);
	int err;

	map_anon(test, AREA, PUD_SIZE + PAGE_SIZE);
	touch(test, AREA + PUD_SIZE);
	pudp = pud_at(AREA);
	KUNIT_ASSERT_NOT_NULL(test, pudp);
	KUNIT_ASSERT_EQ(test, kind_of_pud(pudp_get(pudp)), NONE);

	mmap_write_lock(current->mm);
	set_pud(pudp, leaf);
	err = walk_page_range_mm_unsafe(current->mm, AREA, AREA + 2 * PAGE_SIZE,
					&ops, rec);
	mmap_write_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, err, 0);
	expect_filled(test, rec, PUD);
}

static void install_not_hugetlb(struct kunit *test)
{
	struct record *rec = new_record(test);

	map_hugetlb(test, AREA, 1, MAP_SHARED);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE,
				   &install_ops), -EINVAL);
	KUNIT_EXPECT_EQ(test, rec->nr, 0);
}

/* Walking a file. */

#define SECOND	(AREA + 16 * PAGE_SIZE)

/*
 * Map pages 0 to 7 of a file at AREA and pages 4 to 11 at SECOND.  The caller
 * must call fput().
 */
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
	static const pgoff_t beyond[] = { -6UL, -5UL, ULONG_MAX };
	struct file *file = map_twice(test);
	unsigned long one = AREA + 2 * PAGE_SIZE;
	unsigned long one_end = AREA + 8 * PAGE_SIZE;
	unsigned long two_end = SECOND + 8 * PAGE_SIZE;
	struct mm_walk_ops ops = {
		.test_walk = note_test,
		.pre_vma = note_pre,
	};
	struct record *rec = new_record(test);
	int i;

	/* Walk pages 2 to 5. */
	KUNIT_EXPECT_EQ(test, walk_file(test, file, 2, 4, &ops), 0);
	expect_calls(test, rec,
		     { TEST, one, one + 4 * PAGE_SIZE },
		     { PRE, one, one + 4 * PAGE_SIZE },
		     { TEST, SECOND, SECOND + 2 * PAGE_SIZE },
		     { PRE, SECOND, SECOND + 2 * PAGE_SIZE });

	/* The ranges end beyond the file, even if the index of the end overflows. */
	for (i = 0; i < ARRAY_SIZE(beyond); i++) {
		rec = new_record(test);
		KUNIT_EXPECT_EQ(test, walk_file(test, file, 6, beyond[i], &ops),
				0);
		expect_calls(test, rec,
			     { TEST, AREA + 6 * PAGE_SIZE, one_end },
			     { PRE, AREA + 6 * PAGE_SIZE, one_end },
			     { TEST, SECOND + 2 * PAGE_SIZE, two_end },
			     { PRE, SECOND + 2 * PAGE_SIZE, two_end });
	}

	/* Nothing is called for an empty range, or for pages that are not mapped. */
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

	/* The walk goes on after a VMA that was skipped. */
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
 * struct found - the result of a folio walk, read before the walk was ended
 * @folio: the folio, %NULL if none; not freed while the test has it mapped
 * @page: the page
 * @level: the level
 * @kind: kind of the entry
 * @locked: the page table lock was held
 * @stale: the entry was not the one in the page table
 * @ptl: the page table lock, which may have been freed since
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

static void folio_of_file(struct kunit *test)
{
	struct found found;

	map_file_pages(test);
	found = look_up(AREA + PAGE_SIZE, 0);
	expect_found(test, found, FW_LEVEL_PTE, LEAF);
	KUNIT_EXPECT_FALSE(test, folio_test_anon(found.folio));
	KUNIT_EXPECT_EQ(test, page_to_pfn(found.page),
			pte_pfn(pte_at(AREA + PAGE_SIZE)));
	/* Page 0 of the file is not in the page tables. */
	KUNIT_EXPECT_NULL(test, look_up(AREA, 0).folio);
}

#define FW_ALL	(FW_ZEROPAGE | FW_MIGRATION)

/* One of two entries of this level is empty. */
static void folio_hole(struct kunit *test)
{
	const struct hole *hole = test->param_value;
	unsigned long edge = edge_of(test, hole->level);
	unsigned long before = edge - PAGE_SIZE;

	KUNIT_EXPECT_NULL(test, look_up(before, FW_ALL).folio);
	touch(test, hole->first ? edge : before);
	KUNIT_EXPECT_EQ(test, !look_up(before, FW_ALL).folio, hole->first);
	KUNIT_EXPECT_EQ(test, !look_up(edge, FW_ALL).folio, !hole->first);
}

static void folio_pfn_map(struct kunit *test)
{
	map_pfn(test, AREA);
	KUNIT_EXPECT_TRUE(test, pte_present(pte_at(AREA)));
	KUNIT_EXPECT_NULL(test, look_up(AREA, FW_ALL).folio);
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
		kunit_skip(test, "no huge zero page could be allocated");
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

	/* One page is zapped, and the others are mapped by PTEs. */
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

/* The hugetlb VMA lock is held until folio_walk_end() if a folio was found. */
static void folio_hugetlb_lock(struct kunit *test)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	struct folio_walk fw;
	bool got = true;

	map_hugetlb(test, AREA, 2, MAP_SHARED);
	touch(test, AREA);
	mmap_read_lock(mm);
	vma = vma_lookup(mm, AREA);
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
	mmap_read_unlock(mm);
}

/* Look up @addr while its PUD is @pud. */
static struct found look_up_in_pud(unsigned long addr, pud_t pud,
				   folio_walk_flags_t flags)
{
	pud_t *pudp = pud_at(addr);
	struct found found;
	pud_t old;

	mmap_write_lock(current->mm);
	old = pudp_get(pudp);
	set_pud(pudp, pud);
	found = look_up_locked(addr, flags);
	set_pud(pudp, old);
	flush_tlb_mm(current->mm);
	mmap_write_unlock(current->mm);
	return found;
}

static struct found look_up_in_pmd(unsigned long addr, pmd_t pmd,
				   folio_walk_flags_t flags)
{
	pmd_t *pmdp = pmd_at(addr);
	struct found found;
	pmd_t old;

	mmap_write_lock(current->mm);
	old = pmdp_get(pmdp);
	set_pmd(pmdp, pmd);
	found = look_up_locked(addr, flags);
	set_pmd(pmdp, old);
	flush_tlb_mm(current->mm);
	mmap_write_unlock(current->mm);
	return found;
}

static void folio_pud(struct kunit *test)
{
	pud_t pud = huge_pud(test);
	struct found found;

	map_anon(test, AREA, PUD_SIZE);
	touch(test, AREA);
	found = look_up_in_pud(AREA + 3 * PAGE_SIZE, pud, 0);
	expect_found(test, found, FW_LEVEL_PUD, LEAF);
	KUNIT_EXPECT_EQ(test, page_to_pfn(found.page), pud_pfn(pud) + 3);
	expect_found(test, look_up(AREA, 0), FW_LEVEL_PTE, LEAF);
}

/* Huge entries of a PFN mapping have no folio. */
static void folio_pfn_map_huge(struct kunit *test)
{
	pud_t pud = pud_mkspecial(huge_pud(test));
	struct mm_struct *mm = current->mm;
	pmd_t pmd;

	map_anon(test, AREA, PUD_SIZE);
	touch(test, AREA);
	pmd = huge_special_pmd(pud_pfn(pud));
	mmap_write_lock(mm);
	vm_flags_set(vma_lookup(mm, AREA), VM_PFNMAP);
	mmap_write_unlock(mm);
	KUNIT_EXPECT_NULL(test, look_up_in_pud(AREA, pud, FW_ALL).folio);
	KUNIT_EXPECT_NULL(test, look_up_in_pmd(AREA, pmd, FW_ALL).folio);
	mmap_write_lock(mm);
	vm_flags_clear(vma_lookup(mm, AREA), VM_PFNMAP);
	mmap_write_unlock(mm);
}

/* Lock the folio at @addr, and replace its mappings with migration entries. */
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

/* Expect a migration entry at @addr for page @index of @folio. */
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

/* A walk calls operations for migration entries, and splits a huge one. */
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

	rec = new_record(test);
	expect_walk(test, AREA, AREA + PMD_SIZE, rec);
	KUNIT_EXPECT_EQ(test, rec->seen[PTE], PTRS_PER_PTE);
	expect_ptes(test, rec, rec->nr - PTRS_PER_PTE, AREA, PTRS_PER_PTE,
		    OTHER);
	end_migration(folio);
}

static void walk_migrating_hugetlb(struct kunit *test)
{
	struct record *rec = new_record(test);
	struct folio *folio;

	if (!IS_ENABLED(CONFIG_MIGRATION))
		kunit_skip(test, "no migration in this kernel");
	map_hugetlb(test, AREA, 1, MAP_PRIVATE);
	touch(test, AREA);
	folio = start_migration(test, AREA, 0);
	KUNIT_EXPECT_EQ(test, walk(test, AREA, AREA + PMD_SIZE, &entry_ops), 0);
	expect_calls(test, rec, { HUGETLB, AREA, AREA + PMD_SIZE, OTHER });
	end_migration(folio);
}

/* Entries that are not present. Only migration entries lead to a folio. */

static swp_entry_t swap_entry(pgoff_t pfn)
{
	return swp_entry(0, 1);
}

static swp_entry_t guard_entry(pgoff_t pfn)
{
	return make_guard_swp_entry();
}

static swp_entry_t poisoned_entry(pgoff_t pfn)
{
	return make_poisoned_swp_entry();
}

static swp_entry_t hwpoison_entry(pgoff_t pfn)
{
	return make_hwpoison_entry(pfn_to_page(pfn));
}

static const struct absent {
	const char *name;
	swp_entry_t (*make)(pgoff_t pfn);
	bool found;
	bool huge;
} absent[] = {
	{ "swap", swap_entry },
	{ "guard", guard_entry },
	{ "poisoned", poisoned_entry },
	{ "hwpoison", hwpoison_entry },
	{ "device-private", make_readable_device_private_entry, .huge = true },
	{ "device-exclusive", make_device_exclusive_entry },
	{ "migration, read", make_readable_migration_entry, true, true },
	{ "migration, exclusive", make_readable_exclusive_migration_entry,
	  true, true },
	{ "migration, write", make_writable_migration_entry, true, true },
};

KUNIT_ARRAY_PARAM_DESC(absent, absent, name);

/* Lock the folio at AREA: only a locked folio may have a migration entry. */
static struct folio *lock_area(struct kunit *test)
{
	struct folio *folio = look_up(AREA, 0).folio;

	KUNIT_ASSERT_NOT_NULL(test, folio);
	folio_get(folio);
	folio_lock(folio);
	return folio;
}

static void unlock_area(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

static void expect_absent(struct kunit *test, struct found found,
			  struct folio *folio, long index,
			  enum folio_walk_level level)
{
	const struct absent *absent = test->param_value;

	if (!absent->found) {
		KUNIT_EXPECT_NULL(test, found.folio);
		return;
	}
	KUNIT_EXPECT_PTR_EQ(test, found.folio, folio);
	if (!found.folio)
		return;
	expect_found(test, found, level, OTHER);
	KUNIT_EXPECT_PTR_EQ(test, found.page, folio_page(folio, index));
}

static void folio_absent_pte(struct kunit *test)
{
	const struct absent *absent = test->param_value;
	struct mm_struct *mm = current->mm;
	struct found found[3];
	struct record *rec;
	struct folio *folio;
	swp_entry_t entry;
	pte_t *ptep, pte;
	int err;

	map_anon(test, AREA, PAGE_SIZE);
	touch(test, AREA);
	folio = lock_area(test);
	entry = absent->make(folio_pfn(folio));
	if (!entry.val) {
		unlock_area(folio);
		kunit_skip(test, "this kernel has no such entry");
	}

	rec = new_record(test);
	mmap_write_lock(mm);
	ptep = pte_offset_kernel(pmd_at(AREA), AREA);
	pte = ptep_get_and_clear(mm, AREA, ptep);
	set_pte_at(mm, AREA, ptep, swp_entry_to_pte(entry));
	found[0] = look_up_locked(AREA, 0);
	found[1] = look_up_locked(AREA, FW_ZEROPAGE);
	found[2] = look_up_locked(AREA, FW_ALL);
	err = walk_page_range(mm, AREA, AREA + PAGE_SIZE, &pte_ops, rec);
	ptep_get_and_clear(mm, AREA, ptep);
	set_pte_at(mm, AREA, ptep, pte);
	flush_tlb_mm(mm);
	mmap_write_unlock(mm);
	unlock_area(folio);

	KUNIT_EXPECT_NULL(test, found[0].folio);
	KUNIT_EXPECT_NULL(test, found[1].folio);
	expect_absent(test, found[2], folio, 0, FW_LEVEL_PTE);
	KUNIT_EXPECT_EQ(test, err, 0);
	expect_calls(test, rec,
		     { PMD, AREA, AREA + PAGE_SIZE, TABLE },
		     { PTE, AREA, AREA + PAGE_SIZE, OTHER });
}

static void folio_absent_pmd(struct kunit *test)
{
	unsigned long addr = AREA + 7 * PAGE_SIZE;
	const struct absent *absent = test->param_value;
	struct found found[2];
	struct folio *folio;
	swp_entry_t entry;
	pmd_t pmd;

	if (!thp_migration_supported())
		kunit_skip(test, "huge pages do not migrate");
	map_thp(test, AREA, 1);
	folio = lock_area(test);
	entry = absent->make(folio_pfn(folio));
	pmd = swp_entry_to_pmd(entry);
	if (entry.val) {
		found[0] = look_up_in_pmd(addr, pmd, FW_ZEROPAGE);
		found[1] = look_up_in_pmd(addr, pmd, FW_ALL);
	}
	unlock_area(folio);
	if (!entry.val)
		kunit_skip(test, "this kernel has no such entry");
	KUNIT_EXPECT_NULL(test, found[0].folio);
	expect_absent(test, found[1], folio, 7, FW_LEVEL_PMD);
}

static const void *absent_pmd_gen_params(struct kunit *test, const void *prev,
					 char *desc)
{
	do {
		prev = absent_gen_params(test, prev, desc);
	} while (prev && !((const struct absent *)prev)->huge);
	return prev;
}

/* Of the PUDs that are not present, only those of hugetlb can lead to a folio. */
static void folio_migrating_pud(struct kunit *test)
{
	unsigned long addr = AREA + 3 * PAGE_SIZE;
	struct folio *folio;
	struct found found[3];
	swp_entry_t entry;
	pud_t pud;

	if (!IS_ENABLED(CONFIG_MIGRATION))
		kunit_skip(test, "no migration in this kernel");
	map_hugetlb(test, AREA, 1, MAP_SHARED);
	map_anon(test, AREA + PUD_SIZE, PAGE_SIZE);
	touch(test, AREA);
	touch(test, AREA + PUD_SIZE);
	folio = lock_area(test);
	/* If several entries map a huge page, each may have a different pfn. */
	entry = make_readable_migration_entry(folio_pfn(folio) + 2);
	pud = __pud(pte_val(swp_entry_to_pte(entry)));
	found[0] = look_up_in_pud(addr, pud, FW_ZEROPAGE);
	found[1] = look_up_in_pud(addr, pud, FW_MIGRATION);
	found[2] = look_up_in_pud(AREA + PUD_SIZE, pud, FW_ALL);
	unlock_area(folio);
	KUNIT_EXPECT_NULL(test, found[0].folio);
	KUNIT_EXPECT_PTR_EQ(test, found[1].folio, folio);
	expect_found(test, found[1], FW_LEVEL_PUD, OTHER);
	KUNIT_EXPECT_PTR_EQ(test, found[1].page, folio_page(folio, 3));
	KUNIT_EXPECT_NULL(test, found[2].folio);
}

static void folio_warnings(struct kunit *test)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	struct folio_walk fw;
	struct folio *folio;

	map_anon(test, AREA, PAGE_SIZE);
	touch(test, AREA);
	vma = take_locks(NO_LOCK);
	kunit_warning_suppress(test) {
		if (folio_walk_start(&fw, vma, AREA, 0))
			folio_walk_end(&fw, vma);
		KUNIT_EXPECT_GT(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 0);
	}
	mmap_read_lock(mm);
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
	mmap_read_unlock(mm);
}

/*
 * An entry changes between its lockless read and the lock: a folio walk has read
 * it and waits for the page table lock. The test holds this lock and changes the
 * entry.
 */

/* @found is the level of the folio after the change, or OP_NONE without a folio. */
static const struct race {
	const char *name;
	enum op level;
	enum change change;
	enum op found;
} races[] = {
	{ "PTE zapped", PTE, ZAP_PTE, OP_NONE },
	{ "PTEs freed", PTE, ZAP_PMD, OP_NONE },
	{ "PTEs replaced by huge PMD", PTE, HUGE_PMD, PMD },
	{ "huge PMD zapped", PMD, ZAP_PMD, OP_NONE },
	{ "huge PMD split", PMD, SPLIT_PMD, PTE },
	{ "huge PUD zapped", PUD, ZAP_PUD, OP_NONE },
	{ "huge PUD split", PUD, SPLIT_PUD, PTE },
};

KUNIT_ARRAY_PARAM_DESC(race, races, name);

/**
 * struct racer - the thread that does the folio walk
 * @mm: the mm to walk
 * @begun: the walk is about to start
 * @found: result of the walk
 */
struct racer {
	struct mm_struct *mm;
	bool begun;
	struct found found;
};

static int run_racer(void *data)
{
	struct racer *racer = data;

	kthread_use_mm(racer->mm);
	mmap_read_lock(racer->mm);
	WRITE_ONCE(racer->begun, true);
	racer->found = look_up_locked(AREA, 0);
	mmap_read_unlock(racer->mm);
	kthread_unuse_mm(racer->mm);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

/*
 * Wait until the racer waits for @ptl.  Not all spinlocks report that they are
 * contended, so stop after 20 ms.  If the racer reads the entry later, it finds the
 * new entry.  The test passes then, although there was no race.
 */
static bool await_racer(struct racer *racer, spinlock_t *ptl)
{
	unsigned long end = jiffies + 10 * HZ;

	while (!READ_ONCE(racer->begun) && time_before(jiffies, end))
		cpu_relax();
	end = jiffies + HZ / 50 + 1;
	while (!spin_is_contended(ptl) && time_before(jiffies, end))
		cpu_relax();
	return READ_ONCE(racer->begun);
}

static void folio_race(struct kunit *test)
{
	const struct race *race = test->param_value;
	struct racer racer = { .mm = current->mm };
	struct task_struct *task;
	struct area area;
	bool begun;
	int cpu;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	area = map_area(test, race->level, race->change);

	migrate_disable();
	cpu = cpumask_any_but(cpu_online_mask, smp_processor_id());
	task = kthread_create_on_cpu(run_racer, &racer, cpu, "pagewalk/%u");
	spin_lock(area.ptl);
	if (!IS_ERR(task)) {
		wake_up_process(task);
		begun = await_racer(&racer, area.ptl);
	}
	change(&area);
	spin_unlock(area.ptl);
	if (!IS_ERR(task))
		kthread_stop(task);
	migrate_enable();
	change_back(&area);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	KUNIT_EXPECT_TRUE(test, begun);
	if (!race->found) {
		KUNIT_EXPECT_NULL(test, racer.found.folio);
		return;
	}
	expect_found(test, racer.found, race->found == PMD ? FW_LEVEL_PMD :
		     FW_LEVEL_PTE, LEAF);
	KUNIT_EXPECT_EQ(test, page_to_pfn(racer.found.page),
			race->change == HUGE_PMD ? pmd_pfn(area.other) :
						   pte_pfn(pte_at(AREA)));
}

/* Walks while another thread changes the same page tables. */

/**
 * struct table_changer - a thread that keeps changing the page tables of AREA
 * @mm: the mm that it changes
 * @rounds: number of changes
 */
struct table_changer {
	struct mm_struct *mm;
	unsigned long rounds;
};

/*
 * Fault a huge page in, split it, and zap all of it.  Most rounds use the huge
 * zeropage, which need not be allocated.
 */
static int change_tables_once(struct table_changer *changer)
{
	char __user *addr = (char __user *)AREA;
	char __maybe_unused c;

	if (changer->rounds % 16 ? get_user(c, addr) : put_user(1, addr))
		return -EFAULT;
	usleep_range(10, 100);
	do_madvise(changer->mm, AREA + PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
	usleep_range(10, 100);
	if (put_user(1, addr + PAGE_SIZE))
		return -EFAULT;
	do_madvise(changer->mm, AREA, PMD_SIZE, MADV_DONTNEED);
	WRITE_ONCE(changer->rounds, changer->rounds + 1);
	return 0;
}

static int run_changer(void *data)
{
	struct table_changer *changer = data;

	kthread_use_mm(changer->mm);
	while (!kthread_should_stop() && !change_tables_once(changer))
		cond_resched();
	kthread_unuse_mm(changer->mm);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

static struct task_struct *start_changer(struct kunit *test,
					 struct table_changer *changer)
{
	struct task_struct *task;

	map_anon(test, AREA, PMD_SIZE);
	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		advise(test, AREA, PMD_SIZE, MADV_HUGEPAGE);
	changer->mm = current->mm;
	task = kthread_run(run_changer, changer, "pagewalk-kunit");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	return task;
}

/* Go on for at least a second and 8 rounds, but at most for a minute. */
static bool keep_changing(struct table_changer *changer, unsigned long start)
{
	if (READ_ONCE(changer->rounds) >= 8)
		return time_before(jiffies, start + HZ);
	return time_before(jiffies, start + 60 * HZ);
}

static void folio_concurrent(struct kunit *test)
{
	unsigned long start = jiffies, addr = AREA;
	struct table_changer changer = {};
	struct task_struct *task = start_changer(test, &changer);
	int wrong = 0, found[3] = {};

	/* The entry must stay unchanged and locked until folio_walk_end(). */
	while (keep_changing(&changer, start)) {
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
	KUNIT_EXPECT_GE(test, changer.rounds, 8);
	KUNIT_EXPECT_GT(test, found[FW_LEVEL_PTE] + found[FW_LEVEL_PMD], 0);
	kunit_info(test, "%lu rounds, %d PTEs and %d PMDs found", changer.rounds,
		   found[FW_LEVEL_PTE], found[FW_LEVEL_PMD]);
}

/* A walk calls operations once for each address, even if it had to retry. */
static void walk_concurrent(struct kunit *test)
{
	unsigned long start = jiffies;
	struct table_changer changer = {};
	struct task_struct *task = start_changer(test, &changer);
	int wrong = 0, walks = 0;

	while (keep_changing(&changer, start)) {
		struct record *rec = new_record(test);
		bool hole;

		wrong += walk(test, AREA, AREA + PMD_SIZE,
			      &pte_only_ops) != 0;
		hole = rec->nr == 1 && rec->seen[HOLE] == 1;
		wrong += !hole && (rec->nr != PTRS_PER_PTE || rec->seen[HOLE]);
		walks++;
		cond_resched();
	}
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_GE(test, changer.rounds, 8);
	kunit_info(test, "%lu rounds, %d walks", changer.rounds, walks);
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
	KUNIT_CASE_PARAM(walk_hole, hole_gen_params),
	KUNIT_CASE(walk_mixed),
	KUNIT_CASE_PARAM(walk_alone, alone_gen_params),
	KUNIT_CASE_PARAM(walk_huge_pmd, action_gen_params),
	KUNIT_CASE(walk_huge_pmd_part),
	KUNIT_CASE_PARAM(walk_huge_pud, huge_pud_walk_gen_params),
	KUNIT_CASE(walk_hugetlb),
	KUNIT_CASE(walk_pfn_map),
	KUNIT_CASE(walk_vma_pfn_map),
	KUNIT_CASE(walk_outside_of_vma),
	KUNIT_CASE(walk_vma_lost),
	KUNIT_CASE_PARAM(walker_calls, walker_gen_params),
	KUNIT_CASE_PARAM(walker_part, walker_gen_params),
	KUNIT_CASE_PARAM(walker_returns, walker_gen_params),
	KUNIT_CASE_PARAM(walker_refuses, walker_gen_params),
	KUNIT_CASE_PARAM(walk_returns, fallible_gen_params),
	KUNIT_CASE_PARAM(walk_action, chosen_gen_params),
	KUNIT_CASE_PARAM(walk_changed, changed_gen_params),
	KUNIT_CASE_PARAM(lock_walk, locking_gen_params),
	KUNIT_CASE(lock_mapping),
	KUNIT_CASE(lock_ptes),
	KUNIT_CASE(walk_kernel),
	KUNIT_CASE(walk_kernel_end),
	KUNIT_CASE(walk_kernel_huge),
	KUNIT_CASE(walk_kernel_locks),
	KUNIT_CASE(walk_debug),
	KUNIT_CASE(walk_debug_absent),
	KUNIT_CASE(walk_debug_locks),
	KUNIT_CASE(install_fills_holes),
	KUNIT_CASE_PARAM(install_makes_tables, level_gen_params),
	KUNIT_CASE(install_spares_existing),
	KUNIT_CASE(install_between_vmas),
	KUNIT_CASE_PARAM(install_fails_half_way, install_err_gen_params),
	KUNIT_CASE(install_spares_thp),
	KUNIT_CASE(install_into_zapped_pmd),
	KUNIT_CASE(install_into_cleared_pud),
	KUNIT_CASE(install_not_hugetlb),
	KUNIT_CASE(walk_mapping_sections),
	KUNIT_CASE(walk_mapping_returns),
	KUNIT_CASE(folio_base_page),
	KUNIT_CASE(folio_of_file),
	KUNIT_CASE_PARAM(folio_hole, hole_gen_params),
	KUNIT_CASE(folio_pfn_map),
	KUNIT_CASE(folio_pfn_map_huge),
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
	KUNIT_CASE(folio_migrating_pud),
	KUNIT_CASE(walk_migrating_thp),
	KUNIT_CASE(walk_migrating_hugetlb),
	KUNIT_CASE_PARAM(folio_absent_pte, absent_gen_params),
	KUNIT_CASE_PARAM(folio_absent_pmd, absent_pmd_gen_params),
	KUNIT_CASE(folio_warnings),
	KUNIT_CASE_PARAM(folio_race, race_gen_params),
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
