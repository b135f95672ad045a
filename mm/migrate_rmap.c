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
 * Replace the page table entries that map a folio by migration entries, and
 * migration entries by entries that map a folio.
 *
 * Runs
 * ----
 * A large folio is usually mapped by consecutive entries of one page table. If
 * they were unmapped one by one, each would need an atomic operation on the
 * mapcount, another one on the reference count, a pending TLB flush, and a step
 * of the page table walk. Also, rmap would see an anonymous folio as partially
 * mapped after the first entry, and queue it for a deferred split. So this file
 * works on runs.
 *
 * A run consists of consecutive entries in one page table and one VMA that map
 * consecutive pages of the folio. The entries may differ otherwise: each one is
 * read, compared and written, and its young, dirty, write, exclusive,
 * soft-dirty and userfaultfd state is preserved. The TLB flush, the references,
 * the rmap and the counters of the mm are updated once for a run. While all
 * entries are alike, only the first one is converted, and the others are
 * derived from it.
 *
 * page_vma_mapped_walk() finds the first entry of a run and takes the locks.
 * After a run, the walk continues after its last entry.
 *
 * A run is unmapped under the page table lock:
 *
 *  1. For each entry, flush the cache, clear the entry, and save the old value.
 *     If the architecture has its own ptep_clear_flush() and the flush is not left
 *     to the caller, the entry is cleared by ptep_clear_flush().
 *  2. Call arch_unmap_one() where the architecture has it. Check whether the folio
 *     may be pinned; if it is not, clear PG_anon_exclusive. Only this step can
 *     fail. If it does, the old values of all entries are restored. What
 *     arch_unmap_one() has saved for a part of the run is not undone, because
 *     there is no function for that.
 *  3. Write the migration entries.
 *  4. Flush the TLB if step 1 has not done so, or leave the flush to the caller.
 *     As the migration entries have been written by then, a fault waits for them
 *     and cannot find an empty entry.
 *
 * The contents must not be copied before the flush. With %TTU_BATCH_FLUSH or
 * %TTU_BATCH_LOCAL the caller has to ensure that.
 *
 * Pending removals
 * ----------------
 * A folio that is fully mapped may be mapped by several runs in one mm: because
 * it crosses a page table, because mprotect() has split its VMA, or because it
 * has more than MIGRATE_RUN_MAX pages. If each run were removed from rmap
 * alone, rmap would see a partially mapped folio in between. So the removal of
 * a run stays pending (&struct migrate_pending) until the adjacent runs of the
 * same mm have been unmapped, and all of them can be removed at once. Only
 * MIGRATE_PIECES_MAX pieces of the folio can be pending. If there are more, all
 * pieces are removed early, and rmap may mark the folio as partially mapped.
 *
 * After fork(), one mm may map the whole folio while another one maps a part of
 * it. If the mapping of the whole were removed first, rmap would see a
 * partially mapped folio, too. So the first removal of the whole folio stays
 * pending to the end, and the parts are removed before it.
 *
 * While a removal is pending, the mapcount and the reference count of the folio
 * are higher than they should be, so it can be neither freed nor moved. The VMA
 * of a pending removal and its mm cannot be freed, because that needs the rmap
 * lock for writing, and it is held for reading until nothing is pending.
 *
 * folio_remove_rmap_ptes() is specified to be called under the lock of the page
 * table that mapped the pages. A pending removal may be done under the lock of
 * another page table, or under none. That is safe, for these reasons:
 *
 *  - A task that compares entries with the mapcount must cope with a difference
 *    in any case: fork() increments the mapcount before it writes an entry, and
 *    unmapping decrements it after it has cleared the entry.
 *  - The counters are atomic, or protected by the mm_id lock of the folio.
 *  - mlock_fixup() may change the flags of the VMA while rmap reads them. It
 *    corrects the folio when it finds the entry. If that is a migration entry, the
 *    flags are read again when it is restored.
 *  - Only the removal of a large folio can be pending. Large folios are not kept
 *    in a per-CPU mlock batch, so mlock_drain_local() may run on any CPU.
 *
 * Locks
 * -----
 * folio lock of the source; when restoring, of the target as well
 *   anon_vma or i_mmap lock, for reading; for writing with hugetlb files
 *     page table lock
 *
 * The folio lock of the source protects its migration entries from being
 * replaced by present entries. fork() may still copy them, mremap() may move
 * them, and munmap() may remove them.
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
 * Number of entries in a run that is unmapped. The old values are saved on the
 * stack, and a u64 has one bit for each entry. Runs that are restored have no
 * such limit. On arm64 with 16K pages, a contpte block is four times as long:
 * the first run unfolds it.
 */
#define MIGRATE_RUN_MAX		32

/*
 * Number of pieces that can be pending at the same time. The pieces of an mm
 * are unmapped in ascending order, so it needs one for each gap between them,
 * and one more. migrate_add_piece() removes all of them if there are more.
 */
#define MIGRATE_PIECES_MAX	4

/*
 * An architecture with its own ptep_clear_flush() does more there than clearing
 * the entry and calling flush_tlb_page(): on s390 only this function flushes a
 * single entry, parisc flushes the cache again after the entry has been
 * cleared, and alpha needs a stronger flush for memory that is moved.
 */
#ifdef __HAVE_ARCH_PTEP_CLEAR_FLUSH
#define MIGRATE_CLEAR_FLUSHES	true
#else
#define MIGRATE_CLEAR_FLUSHES	false
#endif

/*
 * Returns whether a flush that only this CPU needs may be deferred. That is
 * slower than to flush at once, unless the architecture says otherwise.
 */
#ifndef arch_tlbbatch_may_defer_local
static inline bool arch_tlbbatch_may_defer_local(struct mm_struct *mm)
{
	return false;
}
#endif

/**
 * struct migrate_pending - mappings whose removal from the rmap is pending
 * @vma: A VMA of the mm that mapped the pages; a mlocked one, if there is one.
 * @first: Index of the first page within the folio.
 * @nr: The number of pages.
 *
 * The page table entries have been replaced, but the references and the
 * mapcounts that belong to them have not been dropped.
 */
struct migrate_pending {
	struct vm_area_struct *vma;
	unsigned long first;
	unsigned long nr;
};

/**
 * struct migrate_unmap - one call of try_to_migrate()
 * @folio: The folio.
 * @flags: The flags that the caller passed.
 * @whole: Pending removal of a mapping of the whole folio; its number of pages
 *	is 0 if there is none.
 * @nr_pieces: The number of elements in use of @piece.
 * @piece: Pending removals of mappings of parts of the folio.
 *
 * The rmap lock protects the VMAs of the pending removals.
 */
struct migrate_unmap {
	struct folio *folio;
	enum ttu_flags flags;
	struct migrate_pending whole;
	unsigned int nr_pieces;
	struct migrate_pending piece[MIGRATE_PIECES_MAX];
};

/**
 * struct migrate_series - entries that differ only in the page they refer to
 * @first: The value for the first page.
 * @step: The difference between the values for two consecutive pages.
 */
struct migrate_series {
	u64 first;
	u64 step;
};

/**
 * struct migrate_ptes - a run of entries that is being unmapped
 * @folio: The folio.
 * @vma: The VMA that maps it.
 * @addr: The address of the first entry.
 * @ptep: The first entry.
 * @page: The page that it maps.
 * @nr: The number of entries, and of pages.
 * @defer: The flush is left to the caller.
 * @flush: One old value that a TLB may cache, with the dirty bit set if any old
 *	value is dirty. It is a NUMA hint only if there is no other, see
 *	migrate_ptes_note(). Valid if @may_be_cached.
 * @may_be_cached: A TLB may cache at least one old value.
 * @dirty: At least one old value is dirty.
 * @alike: The old values differ only in the page, so @series describes them
 *	all.
 * @series: The old values, if all of them are like the first one.
 * @exclusive: Bit mask of the pages that had PG_anon_exclusive.
 * @poisoned: Bit mask of the pages that are poisoned.
 * @unused: Bit mask of the pages whose contents are not needed.
 * @old: The old values, if they are not @alike.
 *
 * A page is in at most one of @exclusive, @poisoned and @unused. The page table
 * lock is held as long as the struct exists.
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
 * Maximum number of entries of a run that starts at @addr with page @first: a
 * run ends with the folio, with its part in the VMA (@end), or with the page
 * table.
 */
static unsigned int migrate_ptes_limit(struct folio *folio, unsigned long first,
				       unsigned long addr, unsigned long end)
{
	return min3((end - addr) >> PAGE_SHIFT, PTRS_PER_PTE - pte_index(addr),
		    folio_nr_pages(folio) - first);
}

/*
 * Returns the migration entry for @page, which was mapped by @old. That may be
 * a present, a device-private or a device-exclusive entry.
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

/* Returns @entry as a PTE, with the soft-dirty and userfaultfd bits of @old. */
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

/* Returns the series of present entries that begins with @pte. */
static __always_inline struct migrate_series migrate_series_present(pte_t pte)
{
	const u64 first = pte_val(pte);

	return (struct migrate_series){
		.first = first,
		.step = pte_val(pte_advance_pfn(pte, 1)) - first,
	};
}

/* Returns the value of a PTE that contains the swap offset @offset. */
static __always_inline u64 migrate_offset_bits(pgoff_t offset)
{
	return pte_val(softleaf_to_pte(swp_entry(0, offset)));
}

/*
 * Compute the series of @nr migration entries that begins with @entry, which is
 * @first as a PTE. Only the offset changes, so the step is a compile-time
 * constant. An architecture may store the offset in two parts of the PTE. If
 * there is a carry between them, the steps are not equal: the value computed
 * for the last entry is wrong then, and this returns false.
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
 * Remove mappings from the rmap, and drop their references. The caller of
 * try_to_migrate() holds a reference, so the folio is not freed here.
 */
static __always_inline void migrate_drop_mappings(struct folio *folio,
						  const struct migrate_pending *pending)
{
	folio_remove_rmap_ptes(folio, folio_page(folio, pending->first), pending->nr,
			       pending->vma);
	if (pending->vma->vm_flags & VM_LOCKED)
		mlock_drain_local();
	folio_put_refs(folio, pending->nr);
}

static void migrate_flush_pieces(struct migrate_unmap *mu)
{
	while (mu->nr_pieces)
		migrate_drop_mappings(mu->folio, &mu->piece[--mu->nr_pieces]);
}

/* The pieces must be first: rmap ignores them while the whole folio is mapped. */
static void migrate_flush_pending(struct migrate_unmap *mu)
{
	migrate_flush_pieces(mu);
	if (!mu->whole.nr)
		return;

	migrate_drop_mappings(mu->folio, &mu->whole);
	mu->whole.nr = 0;
}

/* Append @new to the piece of the same mm that it continues, or to a new piece. */
static struct migrate_pending *
migrate_add_piece(struct migrate_unmap *mu, const struct migrate_pending *new)
{
	struct migrate_pending *piece;

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
		migrate_flush_pieces(mu);
	piece = &mu->piece[mu->nr_pieces++];
	*piece = *new;
	return piece;
}

/* Keep the removal of one mapping of the whole folio pending. */
static void migrate_add_whole(struct migrate_unmap *mu,
			      const struct migrate_pending *whole)
{
	if (mu->whole.nr)
		migrate_drop_mappings(mu->folio, whole);
	else
		mu->whole = *whole;
}

/* Are the removals of all mappings of the folio pending? */
static bool migrate_all_pending(const struct migrate_unmap *mu)
{
	unsigned long nr = mu->whole.nr;
	unsigned int i;

	for (i = 0; i < mu->nr_pieces; i++)
		nr += mu->piece[i].nr;
	return nr == folio_mapcount(mu->folio);
}

/* Remove the mappings @new from the rmap, now or later. */
static void migrate_remove_or_defer(struct migrate_unmap *mu,
				    const struct migrate_pending *new)
{
	struct migrate_pending *piece;
	unsigned long nr_pages;

	/* Nothing else maps the folio, so nothing can be pending. */
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

	if (migrate_all_pending(mu))
		migrate_flush_pending(mu);
}

/*
 * Record from one old value what the TLB flush and the folio need.
 *
 * For a NUMA hint, pte_accessible() is true only while a flush of the mm is
 * pending. That flush may complete before set_tlb_ubc_flush_pending() calls
 * pte_accessible() again, which would then skip the flush for the other entries
 * of the run as well. So record another entry than a hint if there is one.
 */
static __always_inline void migrate_ptes_note(struct migrate_ptes *run, pte_t pte)
{
	if ((!run->may_be_cached || pte_protnone(run->flush)) &&
	    pte_accessible(run->vma->vm_mm, pte)) {
		run->may_be_cached = true;
		run->flush = pte;
	}
	run->dirty |= pte_dirty(pte);
}

/* Returns the value of entry @i of @run before it was cleared. */
static __always_inline pte_t migrate_ptes_old(const struct migrate_ptes *run, unsigned int i)
{
	return likely(run->alike) ? migrate_series_pte(&run->series, i) : run->old[i];
}

/* Is the flush for @run left to the caller? */
static __always_inline bool migrate_ptes_is_deferred(const struct migrate_ptes *run)
{
	return IS_ENABLED(CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH) && run->defer;
}

/* Has clearing the entries of @run flushed the TLB as well? */
static __always_inline bool migrate_ptes_is_flushed(const struct migrate_ptes *run)
{
	return MIGRATE_CLEAR_FLUSHES && !migrate_ptes_is_deferred(run);
}

/*
 * Clear the entry at @ptep, whose value is @pte. A virtually indexed cache must
 * be flushed while the translation exists, and immediately before the entry is
 * cleared: the copy would miss what is written to the cache in between.
 */
static __always_inline pte_t migrate_ptes_clear_one(const struct migrate_ptes *run,
						    unsigned long addr, pte_t *ptep,
						    pte_t pte)
{
	flush_cache_page(run->vma, addr, pte_pfn(pte));
	if (migrate_ptes_is_flushed(run))
		return ptep_clear_flush(run->vma, addr, ptep);
	return ptep_get_and_clear(run->vma->vm_mm, addr, ptep);
}

/*
 * Clear entry @nr, whose value is @pte, and those that pte_batch_hint() says
 * belong to the same block. The young and dirty bits of a block are merged, and
 * hold for each of its entries. Returns the number of entries, and the merged
 * value in @pte.
 */
static __always_inline unsigned int migrate_ptes_take(struct migrate_ptes *run, unsigned int nr,
						      unsigned int max, pte_t *pte)
{
	const unsigned long addr = run->addr + nr * PAGE_SIZE;
	unsigned int step = pte_batch_hint(run->ptep + nr, *pte);

	if (step == 1 || migrate_ptes_is_flushed(run)) {
		*pte = migrate_ptes_clear_one(run, addr, run->ptep + nr, *pte);
		return 1;
	}

	step = min(step, max - nr);
	flush_cache_range(run->vma, addr, addr + step * PAGE_SIZE);
	*pte = get_and_clear_ptes(run->vma->vm_mm, addr, run->ptep + nr, step);
	return step;
}

/*
 * Clear entries from @nr on while they have the value that follows from the
 * first one of @run, and do not belong to a larger block. Returns the index of
 * the first other entry. If that entry changed between reading and clearing it,
 * because the CPU set a bit, it has been cleared: @odd is set and its value is
 * in @run->old.
 */
static __always_inline unsigned int migrate_ptes_clear_alike(struct migrate_ptes *run,
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
		pte = migrate_ptes_clear_one(run, addr, ptep, pte);
		if (unlikely(pte_val(pte) != expected)) {
			run->old[ptep - run->ptep] = pte;
			*odd = true;
			break;
		}
		expected += run->series.step;
	}
	return ptep - run->ptep;
}

/* Save the old values of @nr entries of @run from @first on. @pte is the first one. */
static __always_inline void migrate_ptes_keep(struct migrate_ptes *run, unsigned int first,
					      unsigned int nr, pte_t pte)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		run->old[first + i] = pte_advance_pfn(pte, i);
	if (!pte_same(pte, migrate_series_pte(&run->series, first))) {
		migrate_ptes_note(run, pte);
		run->alike = false;
	}
}

/*
 * Clear the entries from @nr up to @max that map the next pages of the folio,
 * and save their values. Returns the index of the first entry that was not
 * cleared.
 */
static __always_inline unsigned int migrate_ptes_clear_rest(struct migrate_ptes *run,
							    unsigned int nr, unsigned int max)
{
	const unsigned long pfn = page_to_pfn(run->page);
	unsigned int step;
	pte_t pte;

	for (; nr < max; nr += step) {
		pte = ptep_get(run->ptep + nr);
		if (!pte_present(pte) || pte_pfn(pte) != pfn + nr)
			break;
		step = migrate_ptes_take(run, nr, max, &pte);
		migrate_ptes_keep(run, nr, step, pte);
	}
	return nr;
}

/*
 * Clear at most @max entries that map consecutive pages, beginning with the
 * first one of @run. The values are not saved if all @max entries follow from
 * the first one. The value that clearing returns is used, and not the one that
 * was read before, because the CPU may set a bit in between.
 */
static __always_inline void migrate_ptes_clear(struct migrate_ptes *run, pte_t pte,
					       unsigned int max)
{
	bool odd = false;
	unsigned int nr;

	nr = migrate_ptes_take(run, 0, max, &pte);
	migrate_ptes_note(run, pte);
	run->series = migrate_series_present(pte);

	nr = migrate_ptes_clear_alike(run, nr, max, &odd);
	if (nr < max) {
		migrate_ptes_keep(run, 0, nr, pte);
		if (odd) {
			migrate_ptes_keep(run, nr, 1, run->old[nr]);
			nr++;
		}
		nr = migrate_ptes_clear_rest(run, nr, max);
	}

	run->nr = nr;
	if (run->dirty && !pte_dirty(run->flush))
		run->flush = pte_mkdirty(run->flush);
}

/* A device-private or device-exclusive entry is a run of its own. */
static __always_inline void migrate_ptes_clear_softleaf(struct migrate_ptes *run, pte_t pte)
{
	pte_clear(run->vma->vm_mm, run->addr, run->ptep);
	run->series = (struct migrate_series){ .first = pte_val(pte) };
	run->nr = 1;
}

/* Call arch_unmap_one() for the entries that will be migration entries. */
static __always_inline bool migrate_ptes_unmap_arch(struct migrate_ptes *run)
{
#ifdef __HAVE_ARCH_UNMAP_ONE
	unsigned int i;

	for (i = 0; i < run->nr; i++) {
		const pte_t old = migrate_ptes_old(run, i);

		if (pte_present(old) && !PageHWPoison(run->page + i) &&
		    arch_unmap_one(run->vma->vm_mm, run->vma,
				   run->addr + i * PAGE_SIZE, old) < 0)
			return false;
	}
#endif
	return true;
}

/* Find the pages of @run whose contents are not needed. */
static __always_inline void migrate_ptes_find_unused(struct migrate_ptes *run)
{
	unsigned int i;
	pte_t old;

	for (i = 0; i < run->nr; i++) {
		old = migrate_ptes_old(run, i);
		if (pte_present(old) && pte_unused(old) && !userfaultfd_armed(run->vma))
			run->unused |= BIT_ULL(i);
	}
}

static __always_inline bool migrate_flags_are(const struct page *page, unsigned long mask,
					      unsigned long flags)
{
	return (READ_ONCE(page->flags.f) & mask) == flags;
}

/* Returns how many of @nr pages from @page on have no flag of @mask. */
static __always_inline unsigned int migrate_count_plain(struct page *page, unsigned int nr,
							unsigned long mask)
{
	struct page *const first = page, *const end = page + nr;

	while (page < end && migrate_flags_are(page, mask, 0))
		page++;
	return page - first;
}

/*
 * Clear PG_anon_exclusive of at most @nr pages from @page on, up to the first
 * one that does not have it or is poisoned. Returns the number of cleared
 * flags.
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
 * Find out which pages of @run are poisoned, unused or exclusive, and clear
 * PG_anon_exclusive. Returns false if the folio may be pinned.
 *
 * Pins belong to the folio, and all entries of the run have been cleared. So
 * folio_try_share_anon_rmap_pte(), with its barriers against GUP-fast, is
 * called for the first exclusive page only. For the others, one more barrier
 * orders clearing the flag before writing the migration entries.
 *
 * Adjacent pages are usually alike, so they are handled together.
 */
static __always_inline bool migrate_ptes_sort(struct migrate_ptes *run)
{
	const unsigned long mask = __PG_HWPOISON |
			(folio_test_anon(run->folio) ? BIT(PG_anon_exclusive) : 0);
	unsigned int i, nr, max;
	unsigned long flags;
	struct page *page;

	VM_WARN_ON_ONCE_FOLIO(folio_test_hugetlb(run->folio), run->folio);
	migrate_ptes_find_unused(run);

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

/* Restore the old values of @run. */
static void migrate_ptes_undo(struct migrate_ptes *run)
{
	unsigned int i;

	for (i = 0; i < run->nr; i++)
		set_pte_at(run->vma->vm_mm, run->addr + i * PAGE_SIZE,
			   run->ptep + i, migrate_ptes_old(run, i));
}

/* Compute the migration entries of @run if they differ only in the page. */
static __always_inline bool migrate_ptes_series(const struct migrate_ptes *run,
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

/* Write the migration entries of a run whose entries are not alike. */
static __always_inline void migrate_ptes_install_mixed(struct migrate_ptes *run)
{
	const u64 skip = run->poisoned | run->unused;
	unsigned long addr = run->addr;
	swp_entry_t entry;
	unsigned int i;
	pte_t old, pte;

	for (i = 0; i < run->nr; i++, addr += PAGE_SIZE) {
		if (skip & BIT_ULL(i))
			continue;
		old = migrate_ptes_old(run, i);
		entry = migrate_encode(run->page + i, old, run->exclusive & BIT_ULL(i));
		pte = migrate_entry_pte(entry, old);
		set_pte_at(run->vma->vm_mm, addr, run->ptep + i, pte);
		trace_set_migration_pte(addr, pte_val(pte), folio_order(run->folio));
	}
}

/* Write the migration entries of @run. */
static __always_inline void migrate_ptes_install(struct migrate_ptes *run)
{
	struct migrate_series series;
	unsigned int i;

	if (unlikely(!migrate_ptes_series(run, &series))) {
		migrate_ptes_install_mixed(run);
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
 * Account for the pages of @run that do not get a migration entry. A poisoned
 * page gets a hwpoison entry. A page that a guest does not use (s390) gets an
 * empty entry, and is zero if it is accessed again. migrate_ptes_find_unused()
 * excludes VMAs with userfaultfd, where this would raise an unexpected fault.
 */
static __always_inline void migrate_ptes_discard(struct migrate_ptes *run)
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
 * Flush the TLBs, so that no CPU can access the old pages while they are
 * copied, or after other entries have been written. flush_tlb_page() does
 * nothing on s390, so it is not used where MIGRATE_CLEAR_FLUSHES is true.
 */
static __always_inline void migrate_ptes_flush_now(struct migrate_ptes *run)
{
	if (!run->may_be_cached || migrate_ptes_is_flushed(run))
		return;
	if (!MIGRATE_CLEAR_FLUSHES && run->nr == 1)
		flush_tlb_page(run->vma, run->addr);
	else
		flush_tlb_range(run->vma, run->addr, run->addr + run->nr * PAGE_SIZE);
}

/*
 * Flush the TLBs, or leave that to the caller. Until the flush, a CPU cannot
 * make a clean page dirty by a cached translation: it has to read the page
 * table for that, and finds the migration entry.
 */
static __always_inline void migrate_ptes_flush(struct migrate_ptes *run)
{
	if (!migrate_ptes_is_deferred(run))
		migrate_ptes_flush_now(run);
	else if (run->may_be_cached)
		set_tlb_ubc_flush_pending(run->vma->vm_mm, run->flush, run->addr,
					  run->addr + run->nr * PAGE_SIZE);
}

/* An anonymous folio outside the swap cache has no mapping for folio_mark_dirty(). */
static __always_inline void migrate_mark_dirty(struct folio *folio)
{
	if (folio_test_anon(folio) && !folio_test_swapcache(folio))
		folio_set_dirty(folio);
	else
		folio_mark_dirty(folio);
}

/* Replace all entries of @run, or none. */
static __always_inline bool migrate_ptes_replace(struct migrate_ptes *run)
{
	if (unlikely(!migrate_ptes_unmap_arch(run) || !migrate_ptes_sort(run))) {
		/* arm64: the TLB must not cache a block that is written in parts. */
		migrate_ptes_flush_now(run);
		migrate_ptes_undo(run);
		return false;
	}

	if (run->dirty)
		migrate_mark_dirty(run->folio);
	migrate_ptes_install(run);
	migrate_ptes_discard(run);
	migrate_ptes_flush(run);
	return true;
}

/*
 * Unmap the run of at most @max entries that begins with @page, where @pvmw is.
 * Returns the number of entries, or 0 if they cannot be replaced.
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
		migrate_ptes_clear(&run, first, max);
	else
		migrate_ptes_clear_softleaf(&run, first);
	return migrate_ptes_replace(&run) ? run.nr : 0;
}

/*
 * Unmap a small folio. As the number of entries is a constant, the compiler
 * removes most of the code for runs from this common case.
 */
static bool migrate_unmap_small(struct migrate_unmap *mu, struct page_vma_mapped_walk *pvmw)
{
	const struct migrate_pending piece = { .vma = pvmw->vma, .nr = 1 };

	if (!migrate_unmap_run(mu, pvmw, &mu->folio->page, 1))
		return false;
	migrate_drop_mappings(mu->folio, &piece);
	return true;
}

/*
 * Unmap the run of a large folio that begins at the position of @pvmw, and move
 * @pvmw to its last entry. @end is the end of the folio in this VMA.
 */
static bool migrate_unmap_large(struct migrate_unmap *mu, struct page_vma_mapped_walk *pvmw,
				unsigned long end)
{
	const pte_t first = ptep_get(pvmw->pte);
	struct migrate_pending piece = { .vma = pvmw->vma };
	unsigned long pfn;
	struct page *page;
	unsigned int max;

	if (likely(pte_present(first)))
		pfn = pte_pfn(first);
	else
		pfn = softleaf_to_pfn(softleaf_from_pte(first));

	piece.first = pfn - folio_pfn(mu->folio);
	page = folio_page(mu->folio, piece.first);
	max = migrate_ptes_limit(mu->folio, piece.first, pvmw->address, end);
	piece.nr = migrate_unmap_run(mu, pvmw, page, min(max, MIGRATE_RUN_MAX));
	if (!piece.nr)
		return false;

	migrate_remove_or_defer(mu, &piece);
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
 * Map @dst at the PMD migration entry that @pvmw has found for the source. If
 * the folio has been split, its PMD entries should have been split, too. If one
 * was not, it must not map more than @dst, and must not remain, as a fault
 * would wait for it forever. So split it now, and let the walk find the PTE for
 * @dst.
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

	/*
	 * Without the PMD mapping, rmap would take the pending pieces for parts
	 * that remain mapped.
	 */
	migrate_flush_pending(mu);
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
			/* Present PTEs remain if the folio is pinned: walk again. */
			migrate_flush_pending(mu);
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
 * An &rmap_walk_control.rmap_one: replace the entries that map @folio in @vma.
 * The walk continues if that has succeeded and @folio is still mapped.
 *
 * exec() moves its temporary stack. It changes the VMA under the anon_vma lock,
 * but moves the page tables without it, so the rmap might not find migration
 * entries there.
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

	/* Only anonymous folios are queued for a split when partially mapped. */
	if (!folio_test_anon(folio))
		migrate_flush_pending(mu);
	return ok && folio_mapped(folio);
}

/**
 * enum migrate_unshare - result of unsharing a page table of a hugetlb file
 * @MIGRATE_UNSHARE_NONE: It was not shared, and still maps the folio.
 * @MIGRATE_UNSHARE_GONE: It was shared, and this mm does not use it any more.
 * @MIGRATE_UNSHARE_BUSY: The lock of the VMA is contended.
 */
enum migrate_unshare {
	MIGRATE_UNSHARE_NONE,
	MIGRATE_UNSHARE_GONE,
	MIGRATE_UNSHARE_BUSY,
};

/*
 * A page table of a hugetlb file may be shared by several mms. Unsharing it
 * needs the i_mmap lock for writing, which the caller holds, and the hugetlb
 * lock of the VMA. The latter is taken before the i_mmap lock elsewhere, so it
 * is only tried.
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

/* Replace the entry that maps a hugetlb folio. */
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

/* An &rmap_walk_control.rmap_one for hugetlb: a VMA has one entry for the folio. */
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
		/* Unsharing a page table unmaps all that it maps. */
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

/* The anon_vma lock protects the VMAs of the pending removals, so hold it for both. */
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
	migrate_flush_pending(mu);
	if (anon_vma)
		anon_vma_unlock_read(anon_vma);
}

/**
 * try_to_migrate() - replace the mappings of a folio by migration entries
 * @folio: The folio.
 * @flags: %TTU_RMAP_LOCKED, the caller holds the rmap lock;
 *	%TTU_SPLIT_HUGE_PMD, split a PMD that maps the folio;
 *	%TTU_SYNC, wait for a concurrent unmap of the folio, so that folio_mapped()
 *	is reliable afterwards;
 *	%TTU_BATCH_FLUSH, the caller will call try_to_unmap_flush();
 *	%TTU_BATCH_LOCAL, likewise, even if only this CPU needs a flush, where the
 *	architecture allows it.
 *	No other flag is allowed.
 *
 * The folio may remain mapped, completely or in part: because it is pinned,
 * because a lock is contended, or because the VMA does not allow it. The caller
 * must check folio_mapped(), and may call remove_migration_ptes() to undo.
 *
 * A large folio that was mapped as a whole is usually not marked as partially
 * mapped. It may be if other mms map it in more than MIGRATE_PIECES_MAX pieces.
 *
 * Context: Takes the rmap lock unless %TTU_RMAP_LOCKED is given, may sleep. The
 * folio is locked, and the caller holds a reference to it.
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

	/* Other ZONE_DEVICE memory, such as that of DAX, cannot be migrated. */
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
 * @src: The folio that the migration entries refer to.
 * @zeropage: Map the zero page in place of pages that contain only zeroes.
 */
struct migrate_restore {
	struct folio *src;
	bool zeropage;
};

/*
 * If userfaultfd protects the VMA against reading as well, the entry must be
 * PROT_NONE, because the userfaultfd bit alone does not cause a fault.
 */
static pte_t migrate_restore_uffd(struct vm_area_struct *vma, pte_t pte)
{
	pte = pte_mkuffd(pte);
	if (userfaultfd_rwp(vma))
		pte = pte_modify(pte, PAGE_NONE);
	return pte;
}

/* Returns the entry for @page in place of the migration entry @old, or @entry. */
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

/* Likewise for device-private memory. */
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
 * Returns the number of entries from @ptep on, at most @max, that differ only
 * in the page. The first one is @first as a PTE and @entry as a softleaf entry.
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
 * Write @nr present entries so that the architecture folds every aligned block
 * that is complete. set_ptes() folds the blocks that it writes completely. If
 * an earlier call has written the beginning of a block, set_pte_at() of its
 * last entry folds it. The size of a block is not known here, so the entry
 * before each address where a block could begin is written by set_pte_at().
 * @begins: @pte maps the first page of the folio, so no block has been begun
 * before.
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

/* compound_order() is 0 for all pages of a large folio but the first. */
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
 * Map @nr pages of @dst from @page on in place of @nr migration entries that
 * differ only in the page. The first of them is @old as a PTE and @entry as a
 * softleaf entry. The references and the rmap have been updated before.
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

	/* No flush: TLBs do not cache migration entries. */
	update_mmu_cache_range(NULL, vma, pvmw->address, pvmw->pte, nr);
}

/* Add references and rmap for @nr pages of @dst that will be mapped. */
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
 * Map a small folio at the position of @pvmw. In a locked VMA, this adds the
 * folio to the mlock batch of this CPU. The page table lock is held until that
 * batch is drained, so the task cannot move to another CPU before.
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
 * Map the pages of a large folio at the run of migration entries that begins at
 * the position of @pvmw, and move @pvmw to the last entry of the run.
 */
static void migrate_restore_large(struct folio *dst, struct page_vma_mapped_walk *pvmw,
				  unsigned long end)
{
	pte_t old = ptep_get(pvmw->pte);
	softleaf_t entry = softleaf_from_pte(old);
	const unsigned long pfn = softleaf_to_pfn(entry);
	struct page *page = folio_page(dst, pfn - pvmw->pfn);
	unsigned int max = 1, alike, nr;

	/* set_ptes() can write several entries only if they are present. */
	if (!folio_is_device_private(dst))
		max = migrate_ptes_limit(dst, pfn - pvmw->pfn, pvmw->address, end);

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
 * A page of a split folio that contains only zeroes is not needed: map the zero
 * page at the position of @pvmw. The reference and the rmap of the page were
 * dropped when it was unmapped.
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
	/* The folio has been unmapped and flushed, so its contents do not change. */
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

/* An &rmap_walk_control.rmap_one: map @dst at the migration entries of the source. */
static bool migrate_restore_vma(struct folio *dst, struct vm_area_struct *vma,
				unsigned long addr, void *arg)
{
	const struct migrate_restore *mr = arg;
	DEFINE_FOLIO_VMA_WALK(pvmw, dst, vma, addr, PVMW_SYNC | PVMW_MIGRATION);
	const unsigned long end = vma_address_end(&pvmw);

	/* The rmap is that of the target, the entries refer to the source. */
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
 * remove_migration_ptes() - replace migration entries by mappings of a folio
 * @src: The folio that the migration entries refer to.
 * @dst: The folio to be mapped. It has the size of @src, and has replaced @src
 *	in its mapping; or it is @src, to undo try_to_migrate().
 * @flags: %TTU_RMAP_LOCKED, the caller holds the rmap lock;
 *	%TTU_USE_SHARED_ZEROPAGE, map the zero page in place of a page that contains
 *	only zeroes. This is allowed only if @dst is @src.
 *
 * Tasks that wait for the migration entries are woken when @src is unlocked.
 *
 * Context: Takes the rmap lock unless %TTU_RMAP_LOCKED is given, may sleep.
 * Both folios are locked, and the caller holds references to both.
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
 * Wait for the folio of a migration entry. Return at once if @entry is not a
 * migration entry. Releases @ptl.
 *
 * The task is added to the wait queue of the folio lock before @ptl is
 * released, and the entry cannot be removed without @ptl. So the folio is not
 * freed until the task is on the queue, and the wakeup is not missed.
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
 * @mm: The mm that the page table belongs to.
 * @pmd: The entry that refers to the page table.
 * @address: The address that faulted.
 *
 * Returns at once if the page table has no migration entry for @address. The
 * caller must read the entry again in any case.
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

	/* A task must not sleep with a mapped page table; the lock is kept. */
	entry = softleaf_from_pte(ptep_get(ptep));
	pte_unmap(ptep);
	migrate_wait_entry(entry, ptl);
}

#ifdef CONFIG_HUGETLB_PAGE
/**
 * migration_entry_wait_huge() - wait until the migration of a hugetlb page has ended
 * @vma: The VMA.
 * @addr: The address that faulted.
 * @ptep: The entry for @addr.
 *
 * Context: The caller holds the hugetlb lock of @vma for reading. This function
 * releases it and sleeps. The page table cannot be freed while the hugetlb lock
 * or the page table lock is held, and is not accessed after that.
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
 * @mm: The mm that the page table belongs to.
 * @pmd: The entry.
 *
 * Returns at once if the entry is not a migration entry.
 *
 * Context: Takes and releases the lock of the PMD, sleeps.
 */
void pmd_migration_entry_wait(struct mm_struct *mm, pmd_t *pmd)
{
	spinlock_t *ptl = pmd_lock(mm, pmd);

	migrate_wait_entry(softleaf_from_pmd(pmdp_get(pmd)), ptl);
}
#endif
