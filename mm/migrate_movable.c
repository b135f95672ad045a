// SPDX-License-Identifier: GPL-2.0-only

/*
 * Copyright (C) 2006 Silicon Graphics, Inc., Christoph Lameter
 *
 * This file replaces a part of mm/migrate.c, whose authors were IWAMOTO Toshihiro,
 * Hirokazu Takahashi, Dave Hansen and Christoph Lameter.
 */

/*
 * Migration of pages that are not LRU folios, by the struct movable_operations
 * of their driver.
 *
 * The type of a page selects the operations. A page keeps its type and
 * PageMovableOps() until it is freed, so a reference is enough to test them.
 */
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "migrate.h"

/**
 * struct migrate_page_owner - the operations for the pages of one type
 * @type: The type.
 * @ops: Its operations; NULL while no driver is registered.
 *
 * No lock protects @ops. A driver must register before it creates its first
 * movable page and may unregister only after its last one was freed.
 */
struct migrate_page_owner {
	enum pagetype type;
	const struct movable_operations *ops;
};

static struct migrate_page_owner migrate_page_owners[] = {
	/* Of these, only the pages of balloon drivers have PG_movable_ops. */
	{ .type = PGTY_offline },
	{ .type = PGTY_zsmalloc },
};

static struct migrate_page_owner *migrate_find_owner(enum pagetype type)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(migrate_page_owners); i++)
		if (migrate_page_owners[i].type == type)
			return &migrate_page_owners[i];
	return NULL;
}

/**
 * set_movable_ops - register or unregister the operations for a page type
 * @ops: The operations, or NULL to unregister.
 * @type: PGTY_offline or PGTY_zsmalloc.
 *
 * Context: Any. Concurrent calls for one @type must be prevented by the
 * callers, and no page of @type may have PageMovableOps() when unregistering.
 * Return: 0, -EBUSY if there are operations for @type already, or -EINVAL for
 * any other @type.
 */
int set_movable_ops(const struct movable_operations *ops, enum pagetype type)
{
	struct migrate_page_owner *owner = migrate_find_owner(type);

	if (!owner)
		return -EINVAL;
	if (ops && owner->ops)
		return -EBUSY;
	owner->ops = ops;
	return 0;
}
EXPORT_SYMBOL_GPL(set_movable_ops);

/* Returns NULL if the driver has unregistered too early, which is a bug. */
static const struct movable_operations *migrate_ops_of(const struct page *page)
{
	enum pagetype type = PageZsmalloc(page) ? PGTY_zsmalloc : PGTY_offline;
	const struct movable_operations *ops = migrate_find_owner(type)->ops;

	VM_WARN_ON_ONCE_PAGE(!page_has_movable_ops(page), page);
	WARN_ON_ONCE(!ops);
	return ops;
}

/*
 * The page lock serializes the test of PageMovableOpsIsolated(), the call of the
 * driver and the change of the flag.
 */
static bool migrate_isolate_locked(struct page *page, isolate_mode_t mode)
{
	const struct movable_operations *ops;

	/* Another task has isolated it. */
	if (PageMovableOpsIsolated(page))
		return false;

	ops = migrate_ops_of(page);
	if (!ops || !ops->isolate_page(page, mode))
		return false;

	/* Drivers must not change the flag. */
	VM_WARN_ON_ONCE_PAGE(PageMovableOpsIsolated(page), page);
	SetPageMovableOpsIsolated(page);
	return true;
}

/**
 * isolate_movable_ops_page - isolate a page with movable_operations
 * @page: Any page. It may have no movable_operations and no references.
 * @mode: Passed to the driver.
 *
 * The isolation holds a reference, so @page cannot be freed until it is migrated
 * or put back. The caller may use &page.lru meanwhile.
 *
 * Context: Does not wait for the page lock. The driver's isolate_page() may take
 * other locks.
 * Return: true if @page was isolated. false if it has no movable_operations, is
 * isolated already, is locked, is being freed, or if the driver refuses.
 */
bool isolate_movable_ops_page(struct page *page, isolate_mode_t mode)
{
	/* Fails if the page is free: its reference count is zero. */
	struct folio *folio = folio_get_nontail_page(page);
	bool isolated = false;

	if (!folio)
		return false;

	/*
	 * Test the type before the trylock. The owner of another kind of page may
	 * still initialize its flags with non-atomic operations.
	 */
	if (page_has_movable_ops(page) && folio_trylock(folio)) {
		isolated = migrate_isolate_locked(page, mode);
		folio_unlock(folio);
	}

	/* Frees the page if its owner has dropped the other reference. */
	if (!isolated)
		folio_put(folio);
	return isolated;
}

/**
 * putback_movable_ops_page - undo isolate_movable_ops_page()
 * @page: Isolated page, on no list.
 *
 * Drops the reference of the isolation, which may free @page.
 *
 * Context: Waits for the page lock.
 */
void putback_movable_ops_page(struct page *page)
{
	struct folio *folio = page_folio(page);
	const struct movable_operations *ops;

	folio_lock(folio);
	VM_WARN_ON_ONCE_PAGE(!PageMovableOpsIsolated(page), page);
	ops = migrate_ops_of(page);
	if (ops)
		ops->putback_page(page);
	ClearPageMovableOpsIsolated(page);
	folio_unlock(folio);
	folio_put(folio);
}

/**
 * migrate_movable_ops_page - have the driver move a page
 * @src: Isolated page.
 * @dst: Newly allocated page.
 * @mode: What the driver may wait for.
 *
 * On success @src is no longer isolated. The driver uses @dst from then on. If it
 * had released @src before, it uses neither page. In both cases the caller must
 * drop its references to them. After a failure @src is still isolated and may be
 * tried again or put back.
 *
 * Context: Both pages are locked.
 * Return: 0, -EAGAIN if the caller may retry, or another negative errno.
 */
int migrate_movable_ops_page(struct page *src, struct page *dst,
			     enum migrate_mode mode)
{
	const struct movable_operations *ops = migrate_ops_of(src);
	int err;

	VM_WARN_ON_ONCE_PAGE(!PageMovableOpsIsolated(src), src);
	if (!ops)
		return -ENODEV;

	err = ops->migrate_page(dst, src, mode);
	if (!err)
		ClearPageMovableOpsIsolated(src);
	return err;
}
