// SPDX-License-Identifier: GPL-2.0-only

/*
 * Copyright 2001 Rik van Riel
 * Copyright (C) 2006 Silicon Graphics, Inc., Christoph Lameter
 *
 * This file replaces parts of mm/rmap.c and mm/migrate.c. Authors of mm/rmap.c: Rik
 * van Riel, 2001 (design); Dave McCracken, 2003 and 2004 (file mappings); Andrea
 * Arcangeli, 2004 (anonymous memory); Hugh Dickins, 2003 and 2004 (contributions).
 * Authors of mm/migrate.c: IWAMOTO Toshihiro, Hirokazu Takahashi, Dave Hansen and
 * Christoph Lameter.
 */

/*
 * How page tables let go of a folio and take the new one.
 *
 * Runs
 * ----
 * A large folio is usually mapped by neighbouring entries of one page table.
 * Taking them one by one means an atomic operation on the mapcount, one on the
 * references, a note for the TLB flush and a step of the page table walk for
 * each of them, and it has a lasting effect: between the first page and the
 * last one the rmap sees an anonymous folio that is mapped in part, and queues
 * it to be split. So this file works on runs.
 *
 * A run is a number of neighbouring entries in one page table and one VMA that
 * map neighbouring pages of the folio. Nothing else about them has to agree:
 * every entry is read, compared and written by itself, and its young, dirty,
 * write, exclusive, soft-dirty and userfaultfd state comes back as it was. What
 * is paid once a run is everything around the entries: the flush, the
 * references, the rmap, the counters of the mm. As long as all of them agree,
 * the first one says what the others are, and is translated for all.
 *
 * page_vma_mapped_walk() finds the first entry of a run and takes the locks.
 * The run is followed from there, and the walk goes on behind it.
 *
 * Unmapping a run, under the page table lock:
 *
 *  1. For every entry, flush the cache, clear the entry, and keep the old value;
 *     or the first one for all. Where the architecture has a ptep_clear_flush()
 *     of its own, it is what clears the entry, unless the flush is left to the
 *     caller.
 *  2. Let the architecture save what it keeps beside the entries. Ask whether the
 *     folio may be pinned, and if it is not, take the exclusive marks off. These
 *     are the steps that can fail. They fail for the run as a whole, which then
 *     gets its old values back. What the architecture has saved by then for a
 *     part of the run stays saved, as nothing in mm/ takes it back.
 *  3. Write the migration entries.
 *  4. Flush the TLB if step 1 has not done so, or note that a flush is due. The
 *     entries are in place by then: somebody who faults finds an entry to wait
 *     for, and not a hole through which to take a reference to the folio.
 *
 * The contents are copied only after the flush. With %TTU_BATCH_FLUSH or
 * %TTU_BATCH_LOCAL it is the caller who has to see to that.
 *
 * Mappings owed to the rmap
 * -------------------------
 * One folio can be mapped by several runs even though all of it is mapped: it
 * lies across two page tables, mprotect() has cut the VMA through the middle of
 * it, or it is larger than what is handled at once. The rmap would see a
 * partially mapped folio between one piece and the next. So a piece is not
 * reported yet, but owed (&struct migrate_debt), until the neighbouring pieces
 * of the same mm have arrived and the whole can be reported at once. There is
 * room for a few pieces only. If more of them turn up, all are paid early, and
 * the rmap may mark the folio as partially mapped.
 *
 * After fork() one mm may map the whole folio and another one some pages of it
 * only. A part that remains when the whole is gone looks the same, so one
 * mapping of the whole is owed to the end, and the pieces are paid before it.
 *
 * While a mapping is owed, mapcount and references of the folio are too high,
 * which is the safe direction. The VMA and the mm of the debt stay, because
 * exit_mmap() and everything else that frees or moves a VMA needs the rmap lock
 * for writing, and that is held for reading until all debts are paid.
 *
 * A debt is paid under the lock of the last page table, of another one, or of
 * none, while the rmap asks for that of the entries. It does so for the sake of
 * those who look at the entries and the mapcount together, and they are used to
 * both being off for a while: fork() raises the mapcount before it writes an
 * entry, and zapping lowers it afterwards. The counters themselves are atomic, or
 * protected by the mm_id lock of the folio. mlock reads the flags of the VMA while
 * mlock_fixup() may change them, and corrects the folio when it gets to its
 * entry; where the entry is one for migration, restoring reads the flags again.
 * What is paid late is a large folio, which no CPU keeps in its mlock batch, so it
 * does not matter on which one mlock_drain_local() is called.
 *
 * Locks
 * -----
 * folio lock of the source, in restoring of the target too
 *   anon_vma or i_mmap lock, for reading; for writing with hugetlb files
 *     page table lock
 *
 * Migration entries belong to the holder of the folio lock of the source. They
 * may be copied by fork(), moved by mremap() and dropped by munmap() in the
 * meantime, but nobody else puts something usable in their place.
 */

#include <linux/mm.h>
#include <linux/huge_mm.h>
#include <linux/hugetlb.h>
#include <linux/leafops.h>
#include <linux/migrate.h>
#include <linux/mm_inline.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swapops.h>
#include <linux/userfaultfd_k.h>

#include <asm/tlb.h>

#include <trace/events/migrate.h>

#include "internal.h"

/*
 * Entries unmapped at once. The old values are kept on the stack, and the bits
 * of one u64 tell which of them are special. Restoring keeps nothing, and has no
 * such limit. A block that arm64 folds with pages of 16K is four times as long:
 * there the first run unfolds it.
 */
#define MIGRATE_RUN_MAX		32

/*
 * Pieces that can be owed at the same time. They arrive in the order of their
 * addresses, so each mm needs one for every gap between them, and one more. If
 * there are more, those that are owed are paid early, see migrate_add_piece().
 */
#define MIGRATE_PIECES_MAX	4

/*
 * An architecture that has a ptep_clear_flush() of its own does more in it than
 * clear an entry and flush_tlb_page(): on s390 nothing but this flushes a single
 * entry, parisc flushes the cache again after the entry is gone, and alpha needs
 * a stronger flush for memory that moves.
 */
#ifdef __HAVE_ARCH_PTEP_CLEAR_FLUSH
#define MIGRATE_CLEAR_FLUSHES	true
#else
#define MIGRATE_CLEAR_FLUSHES	false
#endif

/*
 * May the flush wait for the batch if no CPU but this one needs it? There is more
 * to be lost than to be gained where the architecture does not say so.
 */
#ifndef arch_tlbbatch_may_defer_local
static inline bool arch_tlbbatch_may_defer_local(struct mm_struct *mm)
{
	return false;
}
#endif

/**
 * struct migrate_debt - mappings that the rmap has not been told about
 * @vma: A VMA of the mm that had the mappings; a mlocked one, if there is one.
 * @first: The first page within the folio that is concerned.
 * @nr: The number of pages.
 *
 * The entries in the page tables are gone already. The references and the
 * mapcounts that belong to them are not.
 */
struct migrate_debt {
	struct vm_area_struct *vma;
	unsigned long first;
	unsigned long nr;
};

/**
 * struct migrate_unmap - one call of try_to_migrate()
 * @folio: The folio.
 * @flags: What the caller asked for.
 * @whole: A mapping of the whole folio that is owed; with no pages if there is
 *	none.
 * @nr_pieces: The number of elements in use of @piece.
 * @piece: Mappings of parts of the folio that are owed.
 *
 * The rmap lock protects all of it.
 */
struct migrate_unmap {
	struct folio *folio;
	enum ttu_flags flags;
	struct migrate_debt whole;
	unsigned int nr_pieces;
	struct migrate_debt piece[MIGRATE_PIECES_MAX];
};

/**
 * struct migrate_series - entries for consecutive pages that are alike otherwise
 * @first: The value for the first page.
 * @step: What is added to it from each page to the next.
 */
struct migrate_series {
	u64 first;
	u64 step;
};

/**
 * struct migrate_ptes - a run of entries that is being unmapped
 * @folio: The folio.
 * @vma: Where it is mapped.
 * @addr: The address of the first entry.
 * @ptep: The first entry.
 * @page: The page that it maps.
 * @nr: The number of entries, and of pages.
 * @defer: The flush is left to the caller.
 * @flush: A value out of the run that the TLB may know, with the dirty bit set
 *	if any of them is dirty. A hint for NUMA balancing only if there is nothing
 *	else, see migrate_run_note(). Valid if @may_be_cached.
 * @may_be_cached: Some value of the run may be in the TLB.
 * @dirty: Some value of the run is dirty.
 * @alike: The values differ in nothing but the page, so @series says them all.
 * @series: The values there would be if all were like the first one.
 * @exclusive: The pages that are exclusive to this mm.
 * @poisoned: The pages that are poisoned.
 * @unused: The pages whose contents nobody needs.
 * @old: The values of the entries before they were cleared, unless they are @alike.
 *
 * A page is in one of @exclusive, @poisoned and @unused at most. Protected by the
 * page table lock.
 */
struct migrate_ptes {
	struct folio *folio;
	struct vm_area_struct *vma;
	unsigned long addr;
	pte_t *ptep;
	struct page *page;
	unsigned int nr;
	bool defer;
	pte_t flush;
	bool may_be_cached;
	bool dirty;
	bool alike;
	struct migrate_series series;
	u64 exclusive;
	u64 poisoned;
	u64 unused;
	pte_t old[MIGRATE_RUN_MAX];
};

/*
 * The number of entries that there can be from @addr on, where page @first is, up
 * to the end of the folio, of its part in the VMA (@end), or of the page table.
 */
static unsigned int migrate_run_limit(struct folio *folio, unsigned long first,
				      unsigned long addr, unsigned long end)
{
	return min3((end - addr) >> PAGE_SHIFT, PTRS_PER_PTE - pte_index(addr),
		    folio_nr_pages(folio) - first);
}

/*
 * The migration entry for @page, which was mapped by @old. What mapped it may
 * have been a device-private or a device-exclusive entry.
 */
static __always_inline swp_entry_t migrate_encode(struct page *page, pte_t old,
						  bool exclusive)
{
	const unsigned long pfn = page_to_pfn(page);
	const bool present = pte_present(old);
	swp_entry_t entry;
	bool write;

	if (likely(present))
		write = pte_write(old);
	else
		write = softleaf_is_device_private_write(softleaf_from_pte(old));
	VM_WARN_ON_ONCE_PAGE(write && !exclusive && PageAnon(page), page);

	if (write)
		entry = make_writable_migration_entry(pfn);
	else if (exclusive)
		entry = make_readable_exclusive_migration_entry(pfn);
	else
		entry = make_readable_migration_entry(pfn);
	if (present && pte_young(old))
		entry = make_migration_entry_young(entry);
	if (present && pte_dirty(old))
		entry = make_migration_entry_dirty(entry);
	return entry;
}

/* @entry as a PTE, with the marks of @old that have bits of their own. */
static __always_inline pte_t migrate_entry_pte(swp_entry_t entry, pte_t old)
{
	const bool present = pte_present(old);
	pte_t pte = softleaf_to_pte(entry);

	if (present ? pte_soft_dirty(old) : pte_swp_soft_dirty(old))
		pte = pte_swp_mksoft_dirty(pte);
	if (present ? pte_uffd(old) : pte_swp_uffd(old))
		pte = pte_swp_mkuffd(pte);
	return pte;
}

static __always_inline pte_t migrate_series_pte(const struct migrate_series *series,
						unsigned int i)
{
	return __pte(series->first + i * series->step);
}

/* The series of present entries that begins with @pte. */
static __always_inline struct migrate_series migrate_series_present(pte_t pte)
{
	const u64 first = pte_val(pte);

	return (struct migrate_series){
		.first = first,
		.step = pte_val(pte_advance_pfn(pte, 1)) - first,
	};
}

/* What swap offset @offset makes of a PTE. */
static __always_inline u64 migrate_offset_bits(pgoff_t offset)
{
	return pte_val(softleaf_to_pte(swp_entry(0, offset)));
}

/*
 * The series of @nr migration entries that begins with @entry, which is @first as
 * a PTE. Nothing but the offset changes, so the step is a constant to the
 * compiler. How an offset is laid out is up to the architecture: where it is in
 * two pieces, a carry between them would make the steps uneven. Then the last
 * entry is not where it should be, and there is no such series.
 */
static __always_inline bool migrate_series_init(struct migrate_series *series,
						swp_entry_t entry, pte_t first,
						unsigned int nr)
{
	const pgoff_t offset = swp_offset(entry);

	series->first = pte_val(first);
	series->step = migrate_offset_bits(1) - migrate_offset_bits(0);
	return migrate_offset_bits(offset + nr - 1) - migrate_offset_bits(offset) ==
	       (nr - 1) * series->step;
}

/*
 * Tell the rmap about mappings that are gone, and give up their references.
 * Somebody else holds one more reference, so the folio stays.
 */
static __always_inline void migrate_drop_mappings(struct folio *folio,
						  const struct migrate_debt *debt)
{
	folio_remove_rmap_ptes(folio, folio_page(folio, debt->first), debt->nr,
			       debt->vma);
	if (debt->vma->vm_flags & VM_LOCKED)
		mlock_drain_local();
	folio_put_refs(folio, debt->nr);
}

static void migrate_pay_pieces(struct migrate_unmap *mu)
{
	while (mu->nr_pieces)
		migrate_drop_mappings(mu->folio, &mu->piece[--mu->nr_pieces]);
}

/* The pieces come first: they do not matter while the whole is mapped. */
static void migrate_pay_debts(struct migrate_unmap *mu)
{
	migrate_pay_pieces(mu);
	if (!mu->whole.nr)
		return;

	migrate_drop_mappings(mu->folio, &mu->whole);
	mu->whole.nr = 0;
}

/* Add the pages of @new to the piece that they continue, or to an empty one. */
static struct migrate_debt *migrate_add_piece(struct migrate_unmap *mu,
					      const struct migrate_debt *new)
{
	struct migrate_debt *piece;

	for (piece = mu->piece; piece < mu->piece + mu->nr_pieces; piece++) {
		if (piece->vma->vm_mm == new->vma->vm_mm &&
		    piece->first + piece->nr == new->first) {
			piece->nr += new->nr;
			if (new->vma->vm_flags & VM_LOCKED)
				piece->vma = new->vma;
			return piece;
		}
	}

	if (mu->nr_pieces == MIGRATE_PIECES_MAX)
		migrate_pay_pieces(mu);
	piece = &mu->piece[mu->nr_pieces++];
	*piece = *new;
	return piece;
}

/* One mapping of the whole folio is enough to be kept to the end. */
static void migrate_add_whole(struct migrate_unmap *mu, const struct migrate_debt *whole)
{
	if (mu->whole.nr)
		migrate_drop_mappings(mu->folio, whole);
	else
		mu->whole = *whole;
}

/* Is nothing left that maps the folio? */
static bool migrate_owes_all(const struct migrate_unmap *mu)
{
	unsigned long nr = mu->whole.nr;
	unsigned int i;

	for (i = 0; i < mu->nr_pieces; i++)
		nr += mu->piece[i].nr;
	return nr == folio_mapcount(mu->folio);
}

/* The page tables do not map the pages of @new any more. */
static void migrate_owe(struct migrate_unmap *mu, const struct migrate_debt *new)
{
	struct migrate_debt *piece;
	unsigned long nr_pages;

	/* Nothing else maps the folio, so nothing is owed either. */
	if (likely(new->nr == folio_mapcount(mu->folio))) {
		migrate_drop_mappings(mu->folio, new);
		return;
	}

	nr_pages = folio_nr_pages(mu->folio);
	if (new->nr == nr_pages) {
		migrate_add_whole(mu, new);
	} else {
		piece = migrate_add_piece(mu, new);
		if (piece->nr == nr_pages) {
			migrate_add_whole(mu, piece);
			*piece = mu->piece[--mu->nr_pieces];
		}
	}

	if (migrate_owes_all(mu))
		migrate_pay_debts(mu);
}

/*
 * Keep in mind what the flush and the folio have to know about one old value.
 *
 * A hint for NUMA balancing is accessible as long as any flush of its mm is
 * pending, and that one may end before set_tlb_ubc_flush_pending() asks again. By
 * then the hint has been flushed, but not the entries next to it: one of these is
 * kept instead.
 */
static __always_inline void migrate_run_note(struct migrate_ptes *run, pte_t pte)
{
	if ((!run->may_be_cached || pte_protnone(run->flush)) &&
	    pte_accessible(run->vma->vm_mm, pte)) {
		run->may_be_cached = true;
		run->flush = pte;
	}
	run->dirty |= pte_dirty(pte);
}

/* What entry @i of @run was before it was cleared. */
static __always_inline pte_t migrate_run_old(const struct migrate_ptes *run, unsigned int i)
{
	return likely(run->alike) ? migrate_series_pte(&run->series, i) : run->old[i];
}

/* Is the flush for @run left to the caller? Not where there is no such thing. */
static __always_inline bool migrate_run_is_deferred(const struct migrate_ptes *run)
{
	return IS_ENABLED(CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH) && run->defer;
}

/* Has clearing the entries of @run flushed the TLB as well? */
static __always_inline bool migrate_run_is_flushed(const struct migrate_ptes *run)
{
	return MIGRATE_CLEAR_FLUSHES && !migrate_run_is_deferred(run);
}

/*
 * Clear the entry at @ptep, whose value is @pte. A cache that is looked up by
 * virtual addresses has to be flushed while there is a translation, and close to
 * clearing the entry: what others write in between is lost to the copy.
 */
static __always_inline pte_t migrate_run_clear_one(const struct migrate_ptes *run,
						   unsigned long addr, pte_t *ptep,
						   pte_t pte)
{
	flush_cache_page(run->vma, addr, pte_pfn(pte));
	if (migrate_run_is_flushed(run))
		return ptep_clear_flush(run->vma, addr, ptep);
	return ptep_get_and_clear(run->vma->vm_mm, addr, ptep);
}

/*
 * Clear the entries from @nr on that the hint of the architecture takes together
 * with the one there, whose value is @pte: they share their bits, so that the
 * merged value stands for each of them. Returns how many, and that value.
 */
static __always_inline unsigned int migrate_run_take(struct migrate_ptes *run, unsigned int nr,
						     unsigned int max, pte_t *pte)
{
	const unsigned long addr = run->addr + nr * PAGE_SIZE;
	unsigned int step = pte_batch_hint(run->ptep + nr, *pte);

	if (step == 1 || migrate_run_is_flushed(run)) {
		*pte = migrate_run_clear_one(run, addr, run->ptep + nr, *pte);
		return 1;
	}

	step = min(step, max - nr);
	flush_cache_range(run->vma, addr, addr + step * PAGE_SIZE);
	*pte = get_and_clear_ptes(run->vma->vm_mm, addr, run->ptep + nr, step);
	return step;
}

/*
 * Clear single entries from @nr on up to the first one that is not as expected,
 * of which nothing more is to be known than this. Returns where that is. With
 * @odd it is cleared too, as the CPU set a bit at the last moment, and its value
 * is kept.
 */
static __always_inline unsigned int migrate_run_clear_alike(struct migrate_ptes *run,
							    unsigned int nr, unsigned int max,
							    bool *odd)
{
	u64 expected = pte_val(migrate_series_pte(&run->series, nr));
	pte_t *const end = run->ptep + max;
	unsigned long addr = run->addr + nr * PAGE_SIZE;
	pte_t *ptep, pte;

	for (ptep = run->ptep + nr; ptep < end; ptep++, addr += PAGE_SIZE) {
		pte = ptep_get(ptep);
		if (pte_val(pte) != expected || pte_batch_hint(ptep, pte) != 1)
			break;
		pte = migrate_run_clear_one(run, addr, ptep, pte);
		if (unlikely(pte_val(pte) != expected)) {
			run->old[ptep - run->ptep] = pte;
			*odd = true;
			break;
		}
		expected += run->series.step;
	}
	return ptep - run->ptep;
}

/* Keep the value of the @nr entries of @run from @first on, the first being @pte. */
static __always_inline void migrate_run_keep(struct migrate_ptes *run, unsigned int first,
					     unsigned int nr, pte_t pte)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		run->old[first + i] = pte_advance_pfn(pte, i);
	if (!pte_same(pte, migrate_series_pte(&run->series, first))) {
		migrate_run_note(run, pte);
		run->alike = false;
	}
}

/*
 * Clear the entries from @nr on one after another, of which there are @max at
 * most, up to the first one that does not map the next page. Returns where that is.
 */
static __always_inline unsigned int migrate_run_clear_rest(struct migrate_ptes *run,
							   unsigned int nr, unsigned int max)
{
	const unsigned long pfn = page_to_pfn(run->page);
	unsigned int step;
	pte_t pte;

	for (; nr < max; nr += step) {
		pte = ptep_get(run->ptep + nr);
		if (!pte_present(pte) || pte_pfn(pte) != pfn + nr)
			break;
		step = migrate_run_take(run, nr, max, &pte);
		migrate_run_keep(run, nr, step, pte);
	}
	return nr;
}

/*
 * Clear the entries from the first one of @run on, up to the first one that does
 * not map the next page, and @max at most. One that is as expected tells nothing
 * that the first one has not told. The CPU may set a bit just before an entry is
 * cleared, so it is the old value that counts.
 */
static __always_inline void migrate_run_clear(struct migrate_ptes *run, pte_t pte,
					      unsigned int max)
{
	bool odd = false;
	unsigned int nr;

	nr = migrate_run_take(run, 0, max, &pte);
	migrate_run_note(run, pte);
	run->series = migrate_series_present(pte);

	nr = migrate_run_clear_alike(run, nr, max, &odd);
	if (nr < max) {
		migrate_run_keep(run, 0, nr, pte);
		if (odd) {
			migrate_run_keep(run, nr, 1, run->old[nr]);
			nr++;
		}
		nr = migrate_run_clear_rest(run, nr, max);
	}

	run->nr = nr;
	if (run->dirty && !pte_dirty(run->flush))
		run->flush = pte_mkdirty(run->flush);
}

/* A device-private or device-exclusive entry is a run of its own. */
static __always_inline void migrate_run_clear_softleaf(struct migrate_ptes *run, pte_t pte)
{
	pte_clear(run->vma->vm_mm, run->addr, run->ptep);
	run->series = (struct migrate_series){ .first = pte_val(pte) };
	run->nr = 1;
}

/* Let the architecture save what it keeps beside the entries that come back. */
static __always_inline bool migrate_run_unmap_arch(struct migrate_ptes *run)
{
#ifdef __HAVE_ARCH_UNMAP_ONE
	unsigned int i;

	for (i = 0; i < run->nr; i++) {
		const pte_t old = migrate_run_old(run, i);

		if (pte_present(old) && !PageHWPoison(run->page + i) &&
		    arch_unmap_one(run->vma->vm_mm, run->vma,
				   run->addr + i * PAGE_SIZE, old) < 0)
			return false;
	}
#endif
	return true;
}

/* Find the pages of @run whose contents nobody needs, where there can be any. */
static __always_inline void migrate_run_find_unused(struct migrate_ptes *run)
{
	unsigned int i;
	pte_t old;

	for (i = 0; i < run->nr; i++) {
		old = migrate_run_old(run, i);
		if (pte_present(old) && pte_unused(old) && !userfaultfd_armed(run->vma))
			run->unused |= BIT_ULL(i);
	}
}

static __always_inline bool migrate_flags_are(const struct page *page, unsigned long mask,
					      unsigned long flags)
{
	return (READ_ONCE(page->flags.f) & mask) == flags;
}

/* How many of @nr pages from @page on have no flag of @mask? */
static __always_inline unsigned int migrate_count_plain(struct page *page, unsigned int nr,
							unsigned long mask)
{
	struct page *const first = page, *const end = page + nr;

	while (page < end && migrate_flags_are(page, mask, 0))
		page++;
	return page - first;
}

/*
 * Take the exclusive marks off @nr pages from @page on, up to the first one that
 * has none or is poisoned. Returns how many had one.
 */
static __always_inline unsigned int migrate_take_marks(struct page *page, unsigned int nr)
{
	const unsigned long mark = BIT(PG_anon_exclusive);
	struct page *const first = page, *const end = page + nr;

	while (page < end && migrate_flags_are(page, mark | __PG_HWPOISON, mark))
		ClearPageAnonExclusive(page++);
	return page - first;
}

/*
 * Sort the pages of @run by what happens to their entries, and take the exclusive
 * marks off them, unless the folio may be pinned. Whether it is does not depend
 * on the page, and all entries are clear by now: so the first page with a mark
 * asks, with the barriers that this takes against GUP-fast, and the answer holds
 * for the others. They need one more barrier between their marks and the entries
 * that follow.
 *
 * Neighbours are of one sort most often, and are dealt with together.
 */
static __always_inline bool migrate_run_sort(struct migrate_ptes *run)
{
	const unsigned long mask = __PG_HWPOISON |
			(folio_test_anon(run->folio) ? BIT(PG_anon_exclusive) : 0);
	unsigned int i, nr, max;
	unsigned long flags;
	struct page *page;

	VM_WARN_ON_ONCE_FOLIO(folio_test_hugetlb(run->folio), run->folio);
	migrate_run_find_unused(run);

	for (i = 0; i < run->nr; i += nr) {
		page = run->page + i;
		flags = READ_ONCE(page->flags.f) & mask;
		max = run->unused ? 1 : run->nr - i;
		nr = 1;
		if (unlikely(flags & __PG_HWPOISON)) {
			run->poisoned |= BIT_ULL(i);
			run->unused &= ~BIT_ULL(i);
		} else if (unlikely(run->unused & BIT_ULL(i))) {
			continue;
		} else if (!flags) {
			nr += migrate_count_plain(page + 1, max - 1, mask);
		} else {
			if (run->exclusive)
				ClearPageAnonExclusive(page);
			else if (folio_try_share_anon_rmap_pte(run->folio, page))
				return false;
			nr += migrate_take_marks(page + 1, max - 1);
			run->exclusive |= GENMASK_ULL(i + nr - 1, i);
		}
	}

	if (IS_ENABLED(CONFIG_HAVE_GUP_FAST) && run->exclusive & (run->exclusive - 1)) {
		/* Pairs with smp_rmb() in gup_must_unshare(). */
		smp_mb__after_atomic();
	}
	return true;
}

/* Put the old values of @run back. */
static void migrate_run_undo(struct migrate_ptes *run)
{
	unsigned int i;

	for (i = 0; i < run->nr; i++)
		set_pte_at(run->vma->vm_mm, run->addr + i * PAGE_SIZE,
			   run->ptep + i, migrate_run_old(run, i));
}

/* The migration entries of @run, if they differ in nothing but the page. */
static __always_inline bool migrate_run_series(const struct migrate_ptes *run,
					       struct migrate_series *series)
{
	swp_entry_t first;
	pte_t old;

	if (!run->alike || run->poisoned || run->unused ||
	    (run->exclusive && run->exclusive != GENMASK_ULL(run->nr - 1, 0)))
		return false;

	old = migrate_series_pte(&run->series, 0);
	first = migrate_encode(run->page, old, run->exclusive);
	return migrate_series_init(series, first, migrate_entry_pte(first, old), run->nr);
}

/* Write the migration entries of a run in which each page needs its own look. */
static __always_inline void migrate_run_install_mixed(struct migrate_ptes *run)
{
	const u64 skip = run->poisoned | run->unused;
	unsigned long addr = run->addr;
	swp_entry_t entry;
	unsigned int i;
	pte_t old, pte;

	for (i = 0; i < run->nr; i++, addr += PAGE_SIZE) {
		if (skip & BIT_ULL(i))
			continue;
		old = migrate_run_old(run, i);
		entry = migrate_encode(run->page + i, old, run->exclusive & BIT_ULL(i));
		pte = migrate_entry_pte(entry, old);
		set_pte_at(run->vma->vm_mm, addr, run->ptep + i, pte);
		trace_set_migration_pte(addr, pte_val(pte), folio_order(run->folio));
	}
}

/* Write the migration entries of @run. Most often counting up is enough. */
static __always_inline void migrate_run_install(struct migrate_ptes *run)
{
	struct migrate_series series;
	unsigned int i;

	if (unlikely(!migrate_run_series(run, &series))) {
		migrate_run_install_mixed(run);
		return;
	}

	for (i = 0; i < run->nr; i++)
		set_pte_at(run->vma->vm_mm, run->addr + i * PAGE_SIZE,
			   run->ptep + i, migrate_series_pte(&series, i));
	if (!trace_set_migration_pte_enabled())
		return;
	for (i = 0; i < run->nr; i++)
		trace_set_migration_pte(run->addr + i * PAGE_SIZE,
					pte_val(migrate_series_pte(&series, i)),
					folio_order(run->folio));
}

/*
 * The mappings of @run that do not come back: pages that are poisoned leave an
 * entry that says so. Pages that a guest does not need leave nothing, and fault
 * in as zero pages if they are needed after all. With userfaultfd that would be
 * a fault its user does not expect, so there they are kept.
 */
static __always_inline void migrate_run_discard(struct migrate_ptes *run)
{
	struct mm_struct *mm = run->vma->vm_mm;
	const u64 gone = run->poisoned | run->unused;
	u64 poisoned;

	if (likely(!gone))
		return;

	update_hiwater_rss(mm);
	add_mm_counter(mm, mm_counter(run->folio), -(long)hweight64(gone));

	for (poisoned = run->poisoned; poisoned; poisoned &= poisoned - 1) {
		const unsigned int i = __ffs64(poisoned);
		struct page *page = run->page + i;

		VM_WARN_ON_ONCE_FOLIO(folio_is_device_private(run->folio),
				      run->folio);
		set_pte_at(mm, run->addr + i * PAGE_SIZE, run->ptep + i,
			   swp_entry_to_pte(make_hwpoison_entry(page)));
	}
}

/* May the flush for @mm be left to the caller? */
static __always_inline bool migrate_may_defer(struct mm_struct *mm, enum ttu_flags flags)
{
	if (!IS_ENABLED(CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH))
		return false;
	if (flags & TTU_BATCH_LOCAL && arch_tlbbatch_may_defer_local(mm))
		return true;
	return should_defer_flush(mm, flags);
}

/*
 * Nobody may reach the old pages through the TLB when the contents are copied, or
 * when others take the place of the entries. flush_tlb_page() will not do where
 * MIGRATE_CLEAR_FLUSHES, and a deferred flush is to be made up for here: s390 has
 * none.
 */
static __always_inline void migrate_run_flush_now(struct migrate_ptes *run)
{
	if (!run->may_be_cached || migrate_run_is_flushed(run))
		return;
	if (!MIGRATE_CLEAR_FLUSHES && run->nr == 1)
		flush_tlb_page(run->vma, run->addr);
	else
		flush_tlb_range(run->vma, run->addr, run->addr + run->nr * PAGE_SIZE);
}

/*
 * Flush, or leave it to the caller. A clean entry cannot become dirty until then:
 * the architecture has to look at the page table for that, and finds the migration
 * entry.
 */
static __always_inline void migrate_run_flush(struct migrate_ptes *run)
{
	if (!migrate_run_is_deferred(run))
		migrate_run_flush_now(run);
	else if (run->may_be_cached)
		set_tlb_ubc_flush_pending(run->vma->vm_mm, run->flush, run->addr,
					  run->addr + run->nr * PAGE_SIZE);
}

/* An anonymous folio out of the swap cache has no mapping that wants to know. */
static __always_inline void migrate_mark_dirty(struct folio *folio)
{
	if (folio_test_anon(folio) && !folio_test_swapcache(folio))
		folio_set_dirty(folio);
	else
		folio_mark_dirty(folio);
}

/* Replace the entries of @run, or none of them. */
static __always_inline bool migrate_run_replace(struct migrate_ptes *run)
{
	if (unlikely(!migrate_run_unmap_arch(run) || !migrate_run_sort(run))) {
		/* arm64: single entries must not meet the block in a TLB. */
		migrate_run_flush_now(run);
		migrate_run_undo(run);
		return false;
	}

	if (run->dirty)
		migrate_mark_dirty(run->folio);
	migrate_run_install(run);
	migrate_run_discard(run);
	migrate_run_flush(run);
	return true;
}

/*
 * Unmap the run that begins with @page where @pvmw stands, of @max entries at
 * most. Returns how many it has, 0 if they cannot be replaced.
 */
static __always_inline unsigned int migrate_unmap_run(struct migrate_unmap *mu,
						      struct page_vma_mapped_walk *pvmw,
						      struct page *page, unsigned int max)
{
	const pte_t first = ptep_get(pvmw->pte);
	struct migrate_ptes run __uninitialized;

	run.folio = mu->folio;
	run.vma = pvmw->vma;
	run.addr = pvmw->address;
	run.ptep = pvmw->pte;
	run.page = page;
	run.defer = migrate_may_defer(run.vma->vm_mm, mu->flags);
	run.flush = first;
	run.may_be_cached = false;
	run.dirty = false;
	run.alike = true;
	run.exclusive = 0;
	run.poisoned = 0;
	run.unused = 0;

	if (likely(pte_present(first)))
		migrate_run_clear(&run, first, max);
	else
		migrate_run_clear_softleaf(&run, first);
	return migrate_run_replace(&run) ? run.nr : 0;
}

/*
 * A small folio: the same with one entry, which the compiler makes much shorter.
 * Most folios are small, and most of them are mapped once.
 */
static bool migrate_unmap_small(struct migrate_unmap *mu, struct page_vma_mapped_walk *pvmw)
{
	const struct migrate_debt piece = { .vma = pvmw->vma, .nr = 1 };

	if (!migrate_unmap_run(mu, pvmw, &mu->folio->page, 1))
		return false;
	migrate_drop_mappings(mu->folio, &piece);
	return true;
}

/*
 * A large folio: unmap the run that begins where @pvmw stands, and move @pvmw to
 * its last entry. @end is where the folio ends in this VMA.
 */
static bool migrate_unmap_large(struct migrate_unmap *mu, struct page_vma_mapped_walk *pvmw,
				unsigned long end)
{
	const pte_t first = ptep_get(pvmw->pte);
	struct migrate_debt piece = { .vma = pvmw->vma };
	unsigned long pfn;
	struct page *page;
	unsigned int max;

	if (likely(pte_present(first)))
		pfn = pte_pfn(first);
	else
		pfn = softleaf_to_pfn(softleaf_from_pte(first));

	piece.first = pfn - folio_pfn(mu->folio);
	page = folio_page(mu->folio, piece.first);
	max = migrate_run_limit(mu->folio, piece.first, pvmw->address, end);
	piece.nr = migrate_unmap_run(mu, pvmw, page, min(max, MIGRATE_RUN_MAX));
	if (!piece.nr)
		return false;

	migrate_owe(mu, &piece);
	pvmw->address += (piece.nr - 1) * PAGE_SIZE;
	pvmw->pte += piece.nr - 1;
	return true;
}

#ifdef CONFIG_ARCH_HAS_PMD_SOFTLEAVES
static bool migrate_unmap_pmd(struct folio *folio, struct page_vma_mapped_walk *pvmw)
{
	const pmd_t pmd = pmdp_get(pvmw->pmd);
	unsigned long pfn;

	if (likely(pmd_present(pmd)))
		pfn = pmd_pfn(pmd);
	else
		pfn = softleaf_to_pfn(softleaf_from_pmd(pmd));

	return !set_pmd_migration_entry(pvmw, folio_page(folio, pfn - folio_pfn(folio)));
}

/*
 * Map @dst where @pvmw has found a huge entry for the source. Whoever splits a
 * folio that is mapped nowhere has to divide all its entries. One that has been
 * missed must not map more than there is of @dst, and nobody may be left to wait
 * for it for ever: divide it now, and let the walk find the piece for @dst.
 */
static void migrate_restore_pmd(struct folio *dst, struct page_vma_mapped_walk *pvmw)
{
	if (likely(folio_test_pmd_mappable(dst))) {
		remove_migration_pmd(pvmw, dst);
		return;
	}

	WARN_ON_ONCE(1);
	split_huge_pmd_locked(pvmw->vma, pvmw->address & HPAGE_PMD_MASK, pvmw->pmd,
			      /* freeze = */ false);
	page_vma_mapped_walk_restart(pvmw);
}
#else
static bool migrate_unmap_pmd(struct folio *folio, struct page_vma_mapped_walk *pvmw)
{
	VM_WARN_ON_ONCE_FOLIO(1, folio);
	return false;
}

static void migrate_restore_pmd(struct folio *dst, struct page_vma_mapped_walk *pvmw)
{
	VM_WARN_ON_ONCE_FOLIO(1, dst);
}
#endif

/* Unmap what @pvmw has found. */
static bool migrate_unmap_found(struct migrate_unmap *mu, struct page_vma_mapped_walk *pvmw,
				unsigned long end)
{
	if (likely(pvmw->pte)) {
		if (folio_test_large(mu->folio))
			return migrate_unmap_large(mu, pvmw, end);
		return migrate_unmap_small(mu, pvmw);
	}

	/* Beside a PMD that goes, what is owed looks like a part that stays. */
	migrate_pay_debts(mu);
	return migrate_unmap_pmd(mu->folio, pvmw);
}

/* Unmap everything that @pvmw finds, up to @end. */
static bool migrate_unmap_walk(struct migrate_unmap *mu, struct page_vma_mapped_walk *pvmw,
			       unsigned long end)
{
	bool split = mu->flags & TTU_SPLIT_HUGE_PMD;
	bool ok = true;

	while (page_vma_mapped_walk(pvmw)) {
		if (!pvmw->pte && split) {
			/* It may be mapped by PTEs then, being pinned: look again. */
			migrate_pay_debts(mu);
			split_huge_pmd_locked(pvmw->vma, pvmw->address, pvmw->pmd,
					      /* freeze = */ true);
			page_vma_mapped_walk_restart(pvmw);
			split = false;
			continue;
		}

		ok = migrate_unmap_found(mu, pvmw, end);
		if (!ok || (pvmw->pte && pvmw->address + PAGE_SIZE >= end)) {
			page_vma_mapped_walk_done(pvmw);
			break;
		}
	}
	return ok;
}

/*
 * An &rmap_walk_control.rmap_one: replace what maps @folio in @vma. The walk goes
 * on for as long as that works out and something else maps @folio.
 *
 * exec() moves its temporary stack: the VMA under the anon_vma lock, the page
 * tables without it. Migration entries there might not be found again.
 */
static bool migrate_unmap_vma(struct folio *folio, struct vm_area_struct *vma,
			      unsigned long addr, void *arg)
{
	struct migrate_unmap *mu = arg;
	DEFINE_FOLIO_VMA_WALK(pvmw, folio, vma, addr,
			      mu->flags & TTU_SYNC ? PVMW_SYNC : 0);
	struct mmu_notifier_range range;
	bool ok;

	if (vma_is_temporary_stack(vma))
		return true;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm, addr,
				vma_address_end(&pvmw));
	mmu_notifier_invalidate_range_start(&range);
	ok = migrate_unmap_walk(mu, &pvmw, range.end);
	mmu_notifier_invalidate_range_end(&range);

	/* Only anonymous folios get split for being mapped in part. */
	if (!folio_test_anon(folio))
		migrate_pay_debts(mu);
	return ok && folio_mapped(folio);
}

/**
 * enum migrate_unshare - what became of a page table that several mms share
 * @MIGRATE_UNSHARE_NONE: It was not shared, and maps the folio.
 * @MIGRATE_UNSHARE_GONE: This mm does not use it any more.
 * @MIGRATE_UNSHARE_BUSY: The lock could not be had.
 */
enum migrate_unshare {
	MIGRATE_UNSHARE_NONE,
	MIGRATE_UNSHARE_GONE,
	MIGRATE_UNSHARE_BUSY,
};

/*
 * A page table of a hugetlb file may be shared. Whoever lets go of it holds the
 * i_mmap lock for writing, as the caller does, and the lock of the VMA. That one
 * comes before the i_mmap lock, so it can only be tried.
 */
static enum migrate_unshare migrate_hugetlb_unshare(struct folio *folio,
						    struct page_vma_mapped_walk *pvmw)
{
	struct vm_area_struct *vma = pvmw->vma;
	struct mmu_gather tlb;
	bool gone;

	if (folio_test_anon(folio))
		return MIGRATE_UNSHARE_NONE;
	if (!hugetlb_vma_trylock_write(vma))
		return MIGRATE_UNSHARE_BUSY;

	tlb_gather_mmu_vma(&tlb, vma);
	gone = huge_pmd_unshare(&tlb, vma, pvmw->address, pvmw->pte);
	hugetlb_vma_unlock_write(vma);
	if (gone)
		huge_pmd_unshare_flush(&tlb, vma);
	tlb_finish_mmu(&tlb);
	return gone ? MIGRATE_UNSHARE_GONE : MIGRATE_UNSHARE_NONE;
}

/* Replace the one entry that maps a hugetlb folio. */
static bool migrate_hugetlb_replace(struct folio *folio, struct page_vma_mapped_walk *pvmw)
{
	struct vm_area_struct *vma = pvmw->vma;
	const unsigned long size = huge_page_size(hstate_vma(vma));
	const unsigned long addr = pvmw->address;
	struct mm_struct *mm = vma->vm_mm;
	struct page *page = &folio->page;
	bool exclusive, poisoned;
	pte_t old, pte;

	exclusive = folio_test_anon(folio) && PageAnonExclusive(page);
	old = huge_ptep_clear_flush(vma, addr, pvmw->pte);
	if (pte_dirty(old))
		folio_mark_dirty(folio);

	poisoned = folio_test_hwpoison(folio);
	if (!poisoned && (arch_unmap_one(mm, vma, addr, old) < 0 ||
			  (exclusive && hugetlb_try_share_anon_rmap(folio)))) {
		set_huge_pte_at(mm, addr, pvmw->pte, old, size);
		return false;
	}

	if (unlikely(poisoned)) {
		hugetlb_count_sub(folio_nr_pages(folio), mm);
		pte = swp_entry_to_pte(make_hwpoison_entry(page));
	} else {
		pte = migrate_entry_pte(migrate_encode(page, old, exclusive), old);
		trace_set_migration_pte(addr, pte_val(pte), folio_order(folio));
	}
	set_huge_pte_at(mm, addr, pvmw->pte, pte, size);
	hugetlb_remove_rmap(folio);
	folio_put(folio);
	return true;
}

/* An &rmap_walk_control.rmap_one for hugetlb, which has one entry a VMA. */
static bool migrate_unmap_hugetlb(struct folio *folio, struct vm_area_struct *vma,
				  unsigned long addr, void *arg)
{
	const struct migrate_unmap *mu = arg;
	DEFINE_FOLIO_VMA_WALK(pvmw, folio, vma, addr,
			      mu->flags & TTU_SYNC ? PVMW_SYNC : 0);
	enum migrate_unshare unshare;
	struct mmu_notifier_range range;
	bool ok = true;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_anon(folio) &&
			      !(mu->flags & TTU_RMAP_LOCKED), folio);

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm, addr,
				vma_address_end(&pvmw));
	adjust_range_if_pmd_sharing_possible(vma, &range.start, &range.end);
	mmu_notifier_invalidate_range_start(&range);

	if (page_vma_mapped_walk(&pvmw)) {
		/* Losing a shared table unmaps all that it covers. */
		flush_cache_range(vma, range.start, range.end);
		unshare = migrate_hugetlb_unshare(folio, &pvmw);
		if (unshare == MIGRATE_UNSHARE_NONE)
			ok = migrate_hugetlb_replace(folio, &pvmw);
		else
			ok = unshare == MIGRATE_UNSHARE_GONE;
		page_vma_mapped_walk_done(&pvmw);
	}

	mmu_notifier_invalidate_range_end(&range);
	return ok && folio_mapped(folio);
}

/* Walk, and pay what is owed while the lock that protects the debts is held. */
static void migrate_unmap_anon_large(struct folio *folio, struct rmap_walk_control *rwc)
{
	struct migrate_unmap *mu = rwc->arg;
	struct anon_vma *anon_vma = NULL;

	if (!(mu->flags & TTU_RMAP_LOCKED)) {
		anon_vma = folio_lock_anon_vma_read(folio, rwc);
		if (!anon_vma)
			return;
	}

	rmap_walk_locked(folio, rwc);
	migrate_pay_debts(mu);
	if (anon_vma)
		anon_vma_unlock_read(anon_vma);
}

/**
 * try_to_migrate() - replace what maps a folio by migration entries
 * @folio: The folio.
 * @flags: %TTU_RMAP_LOCKED, the caller holds the rmap lock;
 *	%TTU_SPLIT_HUGE_PMD, split a PMD that maps the folio;
 *	%TTU_SYNC, wait for those who are zapping the folio right now, so that
 *	folio_mapped() can be relied on afterwards;
 *	%TTU_BATCH_FLUSH, the caller is going to flush by try_to_unmap_flush();
 *	%TTU_BATCH_LOCAL, likewise, even if only this CPU needs a flush and the
 *	architecture has a cheap way for that.
 *	No other flag is allowed.
 *
 * The folio may remain mapped, wholly or in part: because it is pinned, because
 * a lock could not be had, or because the VMA does not allow it. The caller
 * looks at folio_mapped(), and calls remove_migration_ptes() to go back.
 *
 * A large folio that was mapped as a whole is not marked as partially mapped on
 * the way, unless other mms map it in more pieces than can be kept in mind.
 *
 * Context: Takes the rmap lock unless %TTU_RMAP_LOCKED is given, may sleep. The
 * folio is locked, and the caller has a reference to it.
 */
void try_to_migrate(struct folio *folio, enum ttu_flags flags)
{
	struct migrate_unmap mu __uninitialized;
	struct rmap_walk_control rwc = {
		.arg = &mu,
		.rmap_one = migrate_unmap_vma,
		.anon_lock = folio_lock_anon_vma_read,
	};

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (WARN_ON_ONCE(flags & ~(TTU_RMAP_LOCKED | TTU_SPLIT_HUGE_PMD |
				   TTU_SYNC | TTU_BATCH_FLUSH |
				   TTU_BATCH_LOCAL)))
		return;

	/* Of the memory of devices, only two kinds have struct folio in full. */
	if (folio_is_zone_device(folio) && !folio_is_device_private(folio) &&
	    !folio_is_device_coherent(folio))
		return;

	mu.folio = folio;
	mu.flags = flags;
	mu.whole.nr = 0;
	mu.nr_pieces = 0;
	if (folio_test_hugetlb(folio))
		rwc.rmap_one = migrate_unmap_hugetlb;

	if (folio_test_large(folio) && folio_test_anon(folio))
		migrate_unmap_anon_large(folio, &rwc);
	else if (flags & TTU_RMAP_LOCKED)
		rmap_walk_locked(folio, &rwc);
	else
		rmap_walk(folio, &rwc);
}

/**
 * struct migrate_restore - one call of remove_migration_ptes()
 * @src: The folio that the entries are about.
 * @zeropage: Map the zero page instead of pages that hold nothing but zeroes.
 */
struct migrate_restore {
	struct folio *src;
	bool zeropage;
};

/*
 * An access to a VMA that userfaultfd protects from reading as well traps, and
 * the mark alone does not make it trap.
 */
static pte_t migrate_restore_uffd(struct vm_area_struct *vma, pte_t pte)
{
	pte = pte_mkuffd(pte);
	if (userfaultfd_rwp(vma))
		pte = pte_modify(pte, PAGE_NONE);
	return pte;
}

/* The entry that maps @page where @old, which says @entry, stood for it. */
static __always_inline pte_t migrate_decode(struct vm_area_struct *vma, struct folio *dst,
					    struct page *page, softleaf_t entry, pte_t old)
{
	pte_t pte = mk_pte(page, READ_ONCE(vma->vm_page_prot));

	if (!softleaf_is_migration_young(entry))
		pte = pte_mkold(pte);
	if (softleaf_is_migration_dirty(entry) && folio_test_dirty(dst))
		pte = pte_mkdirty(pte);
	pte = pte_swp_soft_dirty(old) ? pte_mksoft_dirty(pte) :
					pte_clear_soft_dirty(pte);
	if (pte_swp_uffd(old))
		return migrate_restore_uffd(vma, pte);
	if (softleaf_is_migration_write(entry))
		pte = pte_mkwrite(pte, vma);
	return pte;
}

/* Likewise for memory of a device that the CPU cannot reach. */
static pte_t migrate_decode_device(struct page *page, softleaf_t entry, pte_t old)
{
	const unsigned long pfn = page_to_pfn(page);
	pte_t pte;

	if (softleaf_is_migration_write(entry))
		entry = make_writable_device_private_entry(pfn);
	else
		entry = make_readable_device_private_entry(pfn);

	pte = softleaf_to_pte(entry);
	if (pte_swp_soft_dirty(old))
		pte = pte_swp_mksoft_dirty(pte);
	if (pte_swp_uffd(old))
		pte = pte_swp_mkuffd(pte);
	return pte;
}

/*
 * The number of entries from @ptep on, @max at most, that differ in nothing but
 * the page. The value there is @first, which says @entry.
 */
static __always_inline unsigned int migrate_count_alike(pte_t *ptep, softleaf_t entry,
							pte_t first, unsigned int max)
{
	pte_t *const end = ptep + max, *next = ptep;
	struct migrate_series series;
	u64 expected;

	if (!migrate_series_init(&series, entry, first, max))
		return 1;
	expected = series.first;
	do {
		expected += series.step;
		next++;
	} while (next < end && pte_val(ptep_get(next)) == expected);
	return next - ptep;
}

/* Is @pte the migration entry for @pfn? */
static bool migrate_entry_is_for(pte_t pte, unsigned long pfn)
{
	const softleaf_t entry = softleaf_from_pte(pte);

	return softleaf_is_migration(entry) && softleaf_to_pfn(entry) == pfn;
}

#ifdef pte_batch_hint
/*
 * Write @nr present entries in a way that lets the architecture fold every aligned
 * block that is complete now. set_ptes() folds the blocks that it writes from
 * begin to end. Of a block that an earlier call has begun, set_pte_at() of the
 * last entry does it. How large blocks are is not known here, so every place
 * where one may end that was begun before is taken for such an end. @begins: There
 * is no such block, as nothing of the folio comes before.
 */
static void migrate_set_ptes(struct mm_struct *mm, unsigned long addr, pte_t *ptep,
			     pte_t pte, unsigned int nr, bool begins)
{
	unsigned int i, step, block;

	for (i = 0; i < nr; i += step) {
		const unsigned long index = pte_index(addr + i * PAGE_SIZE);
		const pte_t first = pte_advance_pfn(pte, i);

		block = begins || !index ? UINT_MAX : 1U << __ffs(index);
		step = min(block, nr - i);
		if (step < block || step == 1) {
			set_ptes(mm, addr + i * PAGE_SIZE, ptep + i, first, step);
			continue;
		}
		set_ptes(mm, addr + i * PAGE_SIZE, ptep + i, first, step - 1);
		set_pte_at(mm, addr + (i + step - 1) * PAGE_SIZE, ptep + i + step - 1,
			   pte_advance_pfn(first, step - 1));
	}
}
#else
static __always_inline void migrate_set_ptes(struct mm_struct *mm, unsigned long addr,
					     pte_t *ptep, pte_t pte, unsigned int nr,
					     bool begins)
{
	set_ptes(mm, addr, ptep, pte, nr);
}
#endif

/* Of the pages of a large folio, only the first one has its order. */
static void migrate_trace_restored(unsigned long addr, struct page *page, pte_t pte,
				   unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		trace_remove_migration_pte(addr + i * PAGE_SIZE,
					   pte_val(pte_advance_pfn(pte, i)),
					   compound_order(page + i));
}

/*
 * Map @nr pages of @dst from @page on in place of as many entries that are alike,
 * the first of which is @old and says @entry. References and rmap know about it
 * already.
 */
static __always_inline void migrate_restore_alike(struct folio *dst,
						  struct page_vma_mapped_walk *pvmw,
						  struct page *page, unsigned int nr,
						  softleaf_t entry, pte_t old)
{
	struct vm_area_struct *vma = pvmw->vma;
	unsigned int i;
	pte_t pte;

	if (folio_test_anon(dst) && !softleaf_is_migration_read(entry)) {
		for (i = 0; i < nr; i++)
			SetPageAnonExclusive(page + i);
	}

	if (unlikely(folio_is_device_private(dst)))
		pte = migrate_decode_device(page, entry, old);
	else
		pte = migrate_decode(vma, dst, page, entry, old);
	migrate_set_ptes(vma->vm_mm, pvmw->address, pvmw->pte, pte, nr,
			 page == &dst->page);
	if (trace_remove_migration_pte_enabled())
		migrate_trace_restored(pvmw->address, page, pte, nr);

	/* Nothing was there before that a TLB could know. */
	update_mmu_cache_range(NULL, vma, pvmw->address, pvmw->pte, nr);
}

/* References and rmap for @nr pages of @dst that are about to be mapped. */
static __always_inline void migrate_add_mappings(struct folio *dst,
						 struct page_vma_mapped_walk *pvmw,
						 struct page *page, unsigned int nr)
{
	folio_ref_add(dst, nr);
	if (folio_test_anon(dst))
		folio_add_anon_rmap_ptes(dst, page, nr, pvmw->vma, pvmw->address,
					 RMAP_NONE);
	else
		folio_add_file_rmap_ptes(dst, page, nr, pvmw->vma);
}

/*
 * Map a small folio where @pvmw stands. A mlocked one is in the batch of this CPU
 * now, which is the one at hand for as long as the page table is locked.
 */
static void migrate_restore_small(struct folio *dst, struct page_vma_mapped_walk *pvmw)
{
	const pte_t old = ptep_get(pvmw->pte);

	migrate_add_mappings(dst, pvmw, &dst->page, 1);
	migrate_restore_alike(dst, pvmw, &dst->page, 1, softleaf_from_pte(old), old);
	if (READ_ONCE(pvmw->vma->vm_flags) & VM_LOCKED)
		mlock_drain_local();
}

/*
 * Map the run of pages of a large folio whose entries begin where @pvmw stands,
 * and move @pvmw to the last one of them.
 */
static void migrate_restore_large(struct folio *dst, struct page_vma_mapped_walk *pvmw,
				  unsigned long end)
{
	pte_t old = ptep_get(pvmw->pte);
	softleaf_t entry = softleaf_from_pte(old);
	const unsigned long pfn = softleaf_to_pfn(entry);
	struct page *page = folio_page(dst, pfn - pvmw->pfn);
	unsigned int max = 1, alike, nr;

	/* set_ptes() writes several entries only if they are present ones. */
	if (!folio_is_device_private(dst))
		max = migrate_run_limit(dst, pfn - pvmw->pfn, pvmw->address, end);

	alike = migrate_count_alike(pvmw->pte, entry, old, max);
	for (nr = alike; nr < max; nr++) {
		if (!migrate_entry_is_for(ptep_get(pvmw->pte + nr), pfn + nr))
			break;
	}

	migrate_add_mappings(dst, pvmw, page, nr);
	for (;;) {
		migrate_restore_alike(dst, pvmw, page, alike, entry, old);
		nr -= alike;
		page += alike;
		pvmw->address += (alike - !nr) * PAGE_SIZE;
		pvmw->pte += alike - !nr;
		if (!nr)
			break;
		old = ptep_get(pvmw->pte);
		entry = softleaf_from_pte(old);
		alike = migrate_count_alike(pvmw->pte, entry, old, nr);
	}
}

/*
 * A piece of a split folio that nobody wrote to need not stay: map the zero page
 * where @pvmw stands. The reference and the rmap of the piece are gone already.
 */
static bool migrate_restore_zeropage(struct folio *folio, struct page_vma_mapped_walk *pvmw)
{
	struct vm_area_struct *vma = pvmw->vma;
	struct mm_struct *mm = vma->vm_mm;
	pte_t old, pte;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_anon(folio), folio);
	VM_WARN_ON_ONCE_FOLIO(folio_is_device_private(folio), folio);

	if (folio_test_hwpoison(folio) || folio_test_mlocked(folio) ||
	    vma->vm_flags & VM_LOCKED || mm_forbids_zeropage(mm))
		return false;
	/* Unmapped and flushed: the contents do not change any more. */
	if (!pages_identical(&folio->page, ZERO_PAGE(0)))
		return false;

	old = ptep_get(pvmw->pte);
	pte = pte_mkspecial(pfn_pte(zero_pfn(pvmw->address), vma->vm_page_prot));
	if (pte_swp_soft_dirty(old))
		pte = pte_mksoft_dirty(pte);
	if (pte_swp_uffd(old))
		pte = migrate_restore_uffd(vma, pte);
	set_pte_at(mm, pvmw->address, pvmw->pte, pte);
	update_hiwater_rss(mm);
	dec_mm_counter(mm, mm_counter(folio));
	return true;
}

/* Map @dst where @pvmw has found entries for the source. */
static void migrate_restore_found(struct folio *dst, struct page_vma_mapped_walk *pvmw,
				  const struct migrate_restore *mr, unsigned long end)
{
	if (unlikely(!pvmw->pte))
		migrate_restore_pmd(dst, pvmw);
	else if (folio_test_large(dst))
		migrate_restore_large(dst, pvmw, end);
	else if (!mr->zeropage || !migrate_restore_zeropage(dst, pvmw))
		migrate_restore_small(dst, pvmw);
}

/* An &rmap_walk_control.rmap_one: map @dst where entries for the source are. */
static bool migrate_restore_vma(struct folio *dst, struct vm_area_struct *vma,
				unsigned long addr, void *arg)
{
	const struct migrate_restore *mr = arg;
	DEFINE_FOLIO_VMA_WALK(pvmw, dst, vma, addr, PVMW_SYNC | PVMW_MIGRATION);
	const unsigned long end = vma_address_end(&pvmw);

	/* The place is that of the target, the entries are those of the source. */
	pvmw.pfn = folio_pfn(mr->src);
	while (page_vma_mapped_walk(&pvmw)) {
		migrate_restore_found(dst, &pvmw, mr, end);
		if (pvmw.pte && pvmw.address + PAGE_SIZE >= end) {
			page_vma_mapped_walk_done(&pvmw);
			break;
		}
	}
	return true;
}

#ifdef CONFIG_HUGETLB_PAGE
/* An &rmap_walk_control.rmap_one for hugetlb. */
static bool migrate_restore_hugetlb(struct folio *dst, struct vm_area_struct *vma,
				    unsigned long addr, void *arg)
{
	const struct migrate_restore *mr = arg;
	DEFINE_FOLIO_VMA_WALK(pvmw, dst, vma, addr, PVMW_SYNC | PVMW_MIGRATION);
	struct hstate *h = hstate_vma(vma);
	pte_t old, pte;
	rmap_t flags;

	pvmw.pfn = folio_pfn(mr->src);
	if (!page_vma_mapped_walk(&pvmw))
		return true;

	old = huge_ptep_get(vma->vm_mm, pvmw.address, pvmw.pte);
	flags = softleaf_is_migration_read(softleaf_from_pte(old)) ? RMAP_NONE :
								     RMAP_EXCLUSIVE;
	folio_get(dst);
	if (folio_test_anon(dst))
		hugetlb_add_anon_rmap(dst, vma, pvmw.address, flags);
	else
		hugetlb_add_file_rmap(dst);

	pte = migrate_decode(vma, dst, &dst->page, softleaf_from_pte(old), old);
	pte = arch_make_huge_pte(pte, huge_page_shift(h), vma->vm_flags);
	set_huge_pte_at(vma->vm_mm, pvmw.address, pvmw.pte, pte, huge_page_size(h));
	trace_remove_migration_pte(pvmw.address, pte_val(pte), folio_order(dst));
	update_mmu_cache(vma, pvmw.address, pvmw.pte);
	page_vma_mapped_walk_done(&pvmw);
	return true;
}
#else
static bool migrate_restore_hugetlb(struct folio *dst, struct vm_area_struct *vma,
				    unsigned long addr, void *arg)
{
	VM_WARN_ON_ONCE_FOLIO(1, dst);
	return false;
}
#endif

/**
 * remove_migration_ptes() - map a folio where migration entries are
 * @src: The folio that the migration entries are about.
 * @dst: The folio to be mapped, of the same size, and in the place of @src as
 *	far as its mapping is concerned. @src itself in order to go back.
 * @flags: %TTU_RMAP_LOCKED, the caller holds the rmap lock;
 *	%TTU_USE_SHARED_ZEROPAGE, map the zero page where a page holds only
 *	zeroes, which @dst being @src is the condition for.
 *
 * Those who wait for the entries wake up when @src gets unlocked, and find what
 * has been mapped here.
 *
 * Context: Takes the rmap lock unless %TTU_RMAP_LOCKED is given, may sleep. Both
 * folios are locked, and the caller has references to both.
 */
void remove_migration_ptes(struct folio *src, struct folio *dst, enum ttu_flags flags)
{
	struct migrate_restore mr = {
		.src = src,
		.zeropage = flags & TTU_USE_SHARED_ZEROPAGE,
	};
	struct rmap_walk_control rwc = {
		.arg = &mr,
		.rmap_one = migrate_restore_vma,
	};

	VM_WARN_ON_ONCE_FOLIO(mr.zeropage && src != dst, src);
	if (folio_test_hugetlb(dst))
		rwc.rmap_one = migrate_restore_hugetlb;
	if (flags & TTU_RMAP_LOCKED)
		rmap_walk_locked(dst, &rwc);
	else
		rmap_walk(dst, &rwc);
}

/*
 * Wait for the folio of a migration entry, or go if @entry is none. Releases @ptl.
 *
 * The waiter is in the queue of the folio lock before @ptl is released, and the
 * entry cannot be removed before that: so neither can the folio be unlocked
 * unnoticed nor its memory be gone.
 */
static void migrate_wait_entry(softleaf_t entry, spinlock_t *ptl)
	__releases(ptl)
{
	if (softleaf_is_migration(entry))
		softleaf_entry_wait_on_locked(entry, ptl);
	else
		spin_unlock(ptl);
}

/**
 * migration_entry_wait() - wait until the migration of a page has ended
 * @mm: Whose page table it is.
 * @pmd: The entry that refers to the page table.
 * @address: The address that faulted.
 *
 * Returns at once if the page table holds no migration entry for @address. The
 * caller has to look again in any case.
 *
 * Context: Takes and releases the page table lock, sleeps.
 */
void migration_entry_wait(struct mm_struct *mm, pmd_t *pmd, unsigned long address)
{
	softleaf_t entry;
	spinlock_t *ptl;
	pte_t *ptep;

	ptep = pte_offset_map_lock(mm, pmd, address, &ptl);
	if (!ptep)
		return;

	/* Without the map, as the wait may take long; the lock is kept. */
	entry = softleaf_from_pte(ptep_get(ptep));
	pte_unmap(ptep);
	migrate_wait_entry(entry, ptl);
}

#ifdef CONFIG_HUGETLB_PAGE
/**
 * migration_entry_wait_huge() - wait until the migration of a hugetlb page has ended
 * @vma: The VMA.
 * @addr: The address that faulted.
 * @ptep: Its entry.
 *
 * Context: The caller holds the hugetlb lock of @vma for reading, which keeps
 * the page table in existence. It is released here, before sleeping: from then
 * on the page table lock does, and after that nobody looks at the table again.
 */
void migration_entry_wait_huge(struct vm_area_struct *vma, unsigned long addr, pte_t *ptep)
{
	spinlock_t *ptl;
	pte_t pte;

	hugetlb_vma_assert_locked(vma);
	ptl = huge_pte_lock(hstate_vma(vma), vma->vm_mm, ptep);
	pte = huge_ptep_get(vma->vm_mm, addr, ptep);
	if (huge_pte_none(pte) || !softleaf_is_migration(softleaf_from_pte(pte))) {
		spin_unlock(ptl);
		hugetlb_vma_unlock_read(vma);
		return;
	}

	hugetlb_vma_unlock_read(vma);
	softleaf_entry_wait_on_locked(softleaf_from_pte(pte), ptl);
}
#endif

#ifdef CONFIG_ARCH_HAS_PMD_SOFTLEAVES
/**
 * pmd_migration_entry_wait() - wait until the migration of a PMD mapped folio has ended
 * @mm: Whose page table it is.
 * @pmd: The entry.
 *
 * Context: Takes and releases the lock of the PMD, sleeps.
 */
void pmd_migration_entry_wait(struct mm_struct *mm, pmd_t *pmd)
{
	spinlock_t *ptl = pmd_lock(mm, pmd);

	migrate_wait_entry(softleaf_from_pmd(pmdp_get(pmd)), ptl);
}
#endif
