// SPDX-License-Identifier: GPL-2.0-only
/*
 * Migration of pages that are not folios on the LRU: their driver says how,
 * by its struct movable_operations.
 *
 * Which operations serve a page is decided by the type of the page. The type
 * and PageMovableOps() stay with a page until it is freed, so both may be
 * looked at under nothing but a reference.
 */
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "migrate.h"

/**
 * struct migrate_page_owner - who serves the pages of one type
 * @type: The type.
 * @ops: Its operations; NULL while no driver is registered.
 *
 * Drivers register when they are loaded and unregister when the last of their
 * pages is gone. That is all the protection there is.
 */
struct migrate_page_owner {
	enum pagetype type;
	const struct movable_operations *ops;
};

static struct migrate_page_owner migrate_page_owners[] = {
	/* PG_movable_ops makes it a page of the balloon. */
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
 * Return: 0, -EBUSY if there are operations for @type already, or -EINVAL if
 * there cannot be any.
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

/* The operations for @page, or NULL if its driver is gone: a bug elsewhere. */
static const struct movable_operations *migrate_ops_of(const struct page *page)
{
	enum pagetype type = PageZsmalloc(page) ? PGTY_zsmalloc : PGTY_offline;
	const struct movable_operations *ops = migrate_find_owner(type)->ops;

	VM_WARN_ON_ONCE_PAGE(!page_has_movable_ops(page), page);
	WARN_ON_ONCE(!ops);
	return ops;
}

/* Isolate a page that the caller has locked. */
static bool migrate_isolate_locked(struct page *page, isolate_mode_t mode)
{
	const struct movable_operations *ops;

	/* Another isolation was faster. */
	if (PageMovableOpsIsolated(page))
		return false;

	ops = migrate_ops_of(page);
	if (!ops || !ops->isolate_page(page, mode))
		return false;

	/* The flag is ours, no driver may touch it. */
	VM_WARN_ON_ONCE_PAGE(PageMovableOpsIsolated(page), page);
	SetPageMovableOpsIsolated(page);
	return true;
}

/**
 * isolate_movable_ops_page - isolate a page with movable_operations
 * @page: Any page; it need not be such a page, and nobody need refer to it.
 * @mode: Passed to the driver.
 *
 * An isolated page has a reference of ours, so it cannot be freed until it is
 * migrated or put back. The caller may use &page.lru meanwhile.
 *
 * Context: Does not wait for the page lock. What else it takes is up to the
 * driver.
 * Return: true if @page is isolated now. false if it is no such page, is
 * isolated already, is locked, is being freed, or the driver refuses.
 */
bool isolate_movable_ops_page(struct page *page, isolate_mode_t mode)
{
	/* Pages in the hands of the allocator have no reference to add to. */
	struct folio *folio = folio_get_nontail_page(page);
	bool isolated = false;

	if (!folio)
		return false;

	/*
	 * The lock must not be tried before the type is known: the owner of
	 * some other kind of page may still be setting it up with non-atomic
	 * flag operations.
	 */
	if (page_has_movable_ops(page) && folio_trylock(folio)) {
		isolated = migrate_isolate_locked(page, mode);
		folio_unlock(folio);
	}

	/* If the owner gave it up meanwhile, this frees the page. */
	if (!isolated)
		folio_put(folio);
	return isolated;
}

/**
 * putback_movable_ops_page - undo isolate_movable_ops_page()
 * @page: Isolated page, on no list.
 *
 * The page may be free on return.
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
 * @dst: Fresh page.
 * @mode: What the driver may wait for.
 *
 * On success @src is no longer isolated. Either its owner uses @dst now, or it
 * had released @src before and uses neither; in both cases the references that
 * the caller holds are the caller's to drop. After a failure nothing has
 * changed: the move may be tried again, or @src be put back.
 *
 * Context: Both pages are locked.
 * Return: 0, -EAGAIN if another try makes sense, or another negative errno.
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
