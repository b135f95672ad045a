// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who copies the bytes of a folio that moves.
 *
 * Every way into migration that copies a whole folio comes through here, so a
 * faster copier has one place to be put in. Copying is not the switch: nobody
 * but the caller may see the new folio, and a copy that is thrown away because
 * the switch failed has harmed nothing.
 */

#include <linux/mm.h>

#include "migrate.h"

/**
 * migrate_copy_folio() - Copy the contents of a folio.
 * @src: The folio to copy from.
 * @dst: The folio to copy to, of the same size.
 *
 * The CPU at hand copies, page by page, and gives way between pages. Reading
 * survives an uncorrectable memory error where the architecture can.
 *
 * Context: @src locked and not mapped writable, @dst not visible to anybody.
 * May sleep.
 *
 * Return: 0, or -EHWPOISON if a page of @src could not be read.
 */
int migrate_copy_folio(struct folio *src, struct folio *dst)
{
	VM_WARN_ON_ONCE_FOLIO(folio_order(src) != folio_order(dst), dst);

	return folio_mc_copy(dst, src);
}
