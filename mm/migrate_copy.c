// SPDX-License-Identifier: GPL-2.0-only

/*
 * Copyright (C) 2006 Silicon Graphics, Inc., Christoph Lameter
 *
 * This file replaces a part of mm/migrate.c, whose authors were IWAMOTO Toshihiro,
 * Hirokazu Takahashi, Dave Hansen and Christoph Lameter.
 */

/*
 * Copy the contents of a folio that is migrated.
 *
 * migrate_folio() and all functions that are based on it copy by
 * migrate_copy_folio(). The copy is made before the new folio replaces the old
 * one, so it can be discarded if that fails.
 */

#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#include "migrate.h"

/*
 * Copy up to MIGRATE_COPY_MAX bytes at once, because one long string
 * instruction is faster than one for each page. That requires that all pages of
 * the folio are mapped by the kernel, and that copying a page means copying its
 * bytes only. The limit bounds the time between two calls of cond_resched().
 */
#if defined(copy_mc_to_kernel) && !defined(__HAVE_ARCH_COPY_HIGHPAGE) && \
	!defined(CONFIG_HIGHMEM) && !defined(CONFIG_KMSAN)
#define MIGRATE_COPY_MAX	SZ_64K

static int migrate_copy_bytes(struct folio *src, struct folio *dst)
{
	const size_t size = folio_size(src);
	char *from = folio_address(src), *to = folio_address(dst);
	size_t done = 0, len, left;

	for (;;) {
		len = min_t(size_t, size - done, MIGRATE_COPY_MAX);
		left = copy_mc_to_kernel(to + done, from + done, len);
		done += len - left;
		if (unlikely(left)) {
			memory_failure_queue(folio_pfn(src) + (done >> PAGE_SHIFT), 0);
			return -EHWPOISON;
		}
		if (done == size)
			return 0;
		cond_resched();
	}
}
#else
static int migrate_copy_bytes(struct folio *src, struct folio *dst)
{
	return folio_mc_copy(dst, src);
}
#endif

/**
 * migrate_copy_folio() - Copy the contents of a folio.
 * @src: The folio to copy from.
 * @dst: The folio to copy to, of the same size.
 *
 * An uncorrectable memory error in @src is returned as an error if the
 * architecture supports copy_mc_to_kernel().
 *
 * Context: @src is locked and no page table maps it writable. No lookup can
 * find @dst. May sleep.
 *
 * Return: 0, or -EHWPOISON if a page of @src could not be read.
 */
int migrate_copy_folio(struct folio *src, struct folio *dst)
{
	VM_WARN_ON_ONCE_FOLIO(folio_order(src) != folio_order(dst), dst);

	return migrate_copy_bytes(src, dst);
}
