// SPDX-License-Identifier: GPL-2.0-only

/*
 * Copyright (C) 2006 Silicon Graphics, Inc., Christoph Lameter
 *
 * This file replaces a part of mm/migrate.c, whose authors were IWAMOTO Toshihiro,
 * Hirokazu Takahashi, Dave Hansen and Christoph Lameter.
 */

/*
 * Who copies the bytes of a folio that moves.
 *
 * Every way into migration that copies a whole folio comes through here, so a
 * faster copier has one place to be put in. Copying is not the switch: nobody
 * but the caller may see the new folio, and a copy that is thrown away because
 * the switch failed has harmed nothing.
 */

#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#include "migrate.h"

/*
 * Several pages are copied like one if nothing but their bytes is to be copied
 * and all of them have an address: one long run of a string instruction beats
 * sixteen short ones. As long as nobody has to wait for it.
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
 * The CPU at hand copies, and gives way now and then. Reading survives an
 * uncorrectable memory error where the architecture can.
 *
 * Context: @src locked and not mapped writable, @dst not visible to anybody.
 * May sleep.
 *
 * Return: 0, or -EHWPOISON if a page of @src could not be read.
 */
int migrate_copy_folio(struct folio *src, struct folio *dst)
{
	VM_WARN_ON_ONCE_FOLIO(folio_order(src) != folio_order(dst), dst);

	return migrate_copy_bytes(src, dst);
}
