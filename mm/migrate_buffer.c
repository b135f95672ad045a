// SPDX-License-Identifier: GPL-2.0-only

/*
 * Copyright (C) 2006 Silicon Graphics, Inc., Christoph Lameter
 *
 * This file replaces a part of mm/migrate.c, whose authors were IWAMOTO Toshihiro,
 * Hirokazu Takahashi, Dave Hansen and Christoph Lameter.
 */

/*
 * How folios with buffer heads move.
 *
 * The buffers stay what they are and are pointed at the new folio. All of them
 * are locked meanwhile, so that no I/O starts or completes on a page that goes
 * away. Whoever reaches buffers without the folio lock, as the block device
 * cache does, needs buffer_migrate_folio_norefs().
 */

#include <linux/buffer_head.h>
#include <linux/export.h>
#include <linux/migrate.h>
#include <linux/pagemap.h>

#include "migrate.h"

/* Unlock the buffers from @head up to, not including, @end. */
static void migrate_unlock_buffers(struct buffer_head *head,
				   struct buffer_head *end)
{
	struct buffer_head *bh = head;

	do {
		unlock_buffer(bh);
		bh = bh->b_this_page;
	} while (bh != end);
}

/*
 * A locked buffer is under I/O. Waiting for a write to finish is bearable, for
 * a read only if the caller may wait for as long as it takes.
 */
static bool migrate_may_wait_buffer(struct buffer_head *bh, enum migrate_mode mode)
{
	if (mode == MIGRATE_SYNC)
		return true;
	return mode == MIGRATE_SYNC_LIGHT && buffer_uptodate(bh);
}

static bool migrate_lock_buffer(struct buffer_head *bh, enum migrate_mode mode)
{
	if (trylock_buffer(bh))
		return true;
	if (!migrate_may_wait_buffer(bh, mode))
		return false;

	lock_buffer(bh);
	return true;
}

/*
 * All of them or none, and none if a reference to the folio makes waiting for
 * buffers vain.
 */
static bool migrate_lock_buffers(struct folio *src, enum migrate_mode mode)
{
	struct buffer_head *head = folio_buffers(src), *bh = head;

	if (folio_ref_count(src) != folio_expected_ref_count(src) + 1)
		return false;

	do {
		if (!migrate_lock_buffer(bh, mode)) {
			if (bh != head)
				migrate_unlock_buffers(head, bh);
			return false;
		}
		bh = bh->b_this_page;
	} while (bh != head);

	return true;
}

/*
 * The lock is the one under which lookups that cannot sleep take references. It
 * also makes those that come later see BH_Migrate.
 */
static bool migrate_buffers_referenced(struct address_space *mapping,
				       struct buffer_head *head)
{
	struct buffer_head *bh = head;
	bool found;

	spin_lock(&mapping->i_private_lock);
	do {
		found = atomic_read(&bh->b_count);
		bh = bh->b_this_page;
	} while (!found && bh != head);
	spin_unlock(&mapping->i_private_lock);

	return found;
}

/*
 * Each CPU keeps references to buffers that it looked up lately. Calling them
 * in interrupts every CPU, so it happens only if it can help, and once.
 */
static bool migrate_buffers_busy(struct address_space *mapping,
				 struct buffer_head *head)
{
	if (!migrate_buffers_referenced(mapping, head))
		return false;

	invalidate_bh_lrus();
	return migrate_buffers_referenced(mapping, head);
}

static int migrate_locked_buffers(struct address_space *mapping,
				  struct folio *dst, struct folio *src,
				  enum migrate_mode mode)
{
	struct buffer_head *head = folio_buffers(src), *bh = head;
	int err;

	err = filemap_migrate_folio(mapping, dst, src, mode);
	if (err)
		return err;

	do {
		folio_set_bh(bh, dst, bh_offset(bh));
		bh = bh->b_this_page;
	} while (bh != head);

	return 0;
}

/*
 * BH_Migrate on the first buffer tells __find_get_block_slow() to find nothing
 * from the moment the references are counted until the buffers have moved.
 */
static int migrate_unreferenced_buffers(struct address_space *mapping,
					struct folio *dst, struct folio *src,
					enum migrate_mode mode)
{
	struct buffer_head *head = folio_buffers(src);
	int err = -EAGAIN;
	bool migrating;

	/* The folio lock keeps a second migration away. */
	migrating = test_and_set_bit_lock(BH_Migrate, &head->b_state);
	VM_WARN_ON_ONCE(migrating);

	if (!migrate_buffers_busy(mapping, head))
		err = migrate_locked_buffers(mapping, dst, src, mode);
	clear_bit_unlock(BH_Migrate, &head->b_state);

	return err;
}

static int migrate_with_buffers(struct address_space *mapping, struct folio *dst,
				struct folio *src, enum migrate_mode mode,
				bool unreferenced)
{
	struct buffer_head *head = folio_buffers(src);
	int err;

	if (!head)
		return migrate_folio(mapping, dst, src, mode);
	if (!migrate_lock_buffers(src, mode))
		return -EAGAIN;

	if (unreferenced)
		err = migrate_unreferenced_buffers(mapping, dst, src, mode);
	else
		err = migrate_locked_buffers(mapping, dst, src, mode);
	migrate_unlock_buffers(head, head);
	return err;
}

/**
 * buffer_migrate_folio() - Migrate a folio with its buffer heads.
 * @mapping: The address space that holds @src.
 * @dst: The folio to move to.
 * @src: The folio to move.
 * @mode: With MIGRATE_ASYNC no buffer is waited for, with MIGRATE_SYNC_LIGHT
 *	only one that is being written.
 *
 * For file systems that reach the buffers of a folio under the folio lock only.
 * References to buffers are not looked at.
 *
 * Context: Both folios locked, @src mapped by no page table and not under
 * writeback. May sleep.
 *
 * Return: 0, -EAGAIN if a buffer is locked or somebody else holds a reference
 * to @src, or -EHWPOISON if @src could not be read.
 */
int buffer_migrate_folio(struct address_space *mapping, struct folio *dst,
			 struct folio *src, enum migrate_mode mode)
{
	return migrate_with_buffers(mapping, dst, src, mode, false);
}
EXPORT_SYMBOL(buffer_migrate_folio);

/**
 * buffer_migrate_folio_norefs() - Migrate a folio none of whose buffers is used.
 * @mapping: The address space that holds @src.
 * @dst: The folio to move to.
 * @src: The folio to move.
 * @mode: As for buffer_migrate_folio().
 *
 * For mappings whose buffers are looked up and held without the folio lock, as
 * those of block devices. A buffer that is held keeps the folio in its place.
 *
 * Context: Both folios locked, @src mapped by no page table and not under
 * writeback. May sleep.
 *
 * Return: As buffer_migrate_folio(), -EAGAIN also if a buffer is referenced.
 */
int buffer_migrate_folio_norefs(struct address_space *mapping, struct folio *dst,
				struct folio *src, enum migrate_mode mode)
{
	return migrate_with_buffers(mapping, dst, src, mode, true);
}
EXPORT_SYMBOL_GPL(buffer_migrate_folio_norefs);
