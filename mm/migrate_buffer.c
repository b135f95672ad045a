// SPDX-License-Identifier: GPL-2.0-only

/*
 * Copyright (C) 2006 Silicon Graphics, Inc., Christoph Lameter
 *
 * This file replaces a part of mm/migrate.c, whose authors were IWAMOTO Toshihiro,
 * Hirokazu Takahashi, Dave Hansen and Christoph Lameter.
 */

/*
 * Migrate folios with buffer heads.
 *
 * The buffer heads are kept and point to the new folio afterwards. All of them
 * are locked during the move, so that no I/O is in progress on the old folio.
 * If buffers are accessed without the folio lock, as those of a block device
 * are, buffer_migrate_folio_norefs() must be used.
 */

#include <linux/buffer_head.h>
#include <linux/export.h>
#include <linux/migrate.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/wait_bit.h>

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
 * A locked buffer is usually under I/O. If it is uptodate it is being written:
 * MIGRATE_SYNC_LIGHT waits for that, but not for a read.
 */
static bool migrate_may_wait_buffer(struct buffer_head *bh, enum migrate_mode mode)
{
	if (mode == MIGRATE_SYNC)
		return true;
	return mode == MIGRATE_SYNC_LIGHT && buffer_uptodate(bh);
}

/* The &wait_bit_action_f of a work item, which cannot be killed. */
static int migrate_wait_5s(struct wait_bit_key *key, int state)
{
	return io_schedule_timeout(5 * HZ) ? 0 : -EAGAIN;
}

static bool migrate_lock_buffer(struct buffer_head *bh, enum migrate_mode mode)
{
	wait_bit_action_f *wait = bit_wait_io;

	if (trylock_buffer(bh))
		return true;
	if (!migrate_may_wait_buffer(bh, mode))
		return false;

	if (current->flags & PF_WQ_WORKER)
		wait = migrate_wait_5s;
	return !wait_on_bit_lock_action(&bh->b_state, BH_Lock, wait, TASK_KILLABLE);
}

/*
 * Lock all buffers or none. Fails without waiting for a buffer if the folio has
 * unexpected references and could not be moved anyway.
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
 * Atomic lookups in __find_get_block_slow() test BH_Migrate and take their
 * reference under i_private_lock. So a lookup has taken its reference before
 * this function tests the buffers, or it sees BH_Migrate.
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
 * Each CPU caches references to buffers that it has looked up. Dropping them
 * interrupts the other CPUs, so that is done only if a buffer is referenced.
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
 * While BH_Migrate is set for the first buffer, __find_get_block_slow() does
 * not return a buffer of the folio. It is set before the references are tested,
 * and cleared after the move.
 */
static int migrate_unreferenced_buffers(struct address_space *mapping,
					struct folio *dst, struct folio *src,
					enum migrate_mode mode)
{
	struct buffer_head *head = folio_buffers(src);
	int err = -EAGAIN;
	bool migrating;

	/* The folio lock excludes a second migration. */
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
 * @mapping: The address space that contains @src.
 * @dst: The folio to move to.
 * @src: The folio to move.
 * @mode: MIGRATE_ASYNC does not wait for a locked buffer, MIGRATE_SYNC_LIGHT
 *	waits only if the buffer is being written.
 *
 * For file systems that access the buffers of a folio under the folio lock
 * only. References to the buffers are not checked.
 *
 * Context: Both folios are locked. No page table maps @src, and it is not under
 * writeback. May sleep.
 *
 * Return: 0, -EAGAIN if a buffer is locked or @src has unexpected references, or
 * -EHWPOISON if @src could not be read.
 */
int buffer_migrate_folio(struct address_space *mapping, struct folio *dst,
			 struct folio *src, enum migrate_mode mode)
{
	return migrate_with_buffers(mapping, dst, src, mode, false);
}
EXPORT_SYMBOL(buffer_migrate_folio);

/**
 * buffer_migrate_folio_norefs() - Migrate a folio without referenced buffers.
 * @mapping: The address space that contains @src.
 * @dst: The folio to move to.
 * @src: The folio to move.
 * @mode: As for buffer_migrate_folio().
 *
 * For mappings whose buffers are looked up and used without the folio lock,
 * such as those of block devices. A folio with a referenced buffer is not
 * moved.
 *
 * Context: Both folios are locked. No page table maps @src, and it is not under
 * writeback. May sleep.
 *
 * Return: As buffer_migrate_folio(), and -EAGAIN if a buffer is referenced.
 */
int buffer_migrate_folio_norefs(struct address_space *mapping, struct folio *dst,
				struct folio *src, enum migrate_mode mode)
{
	return migrate_with_buffers(mapping, dst, src, mode, true);
}
EXPORT_SYMBOL_GPL(buffer_migrate_folio_norefs);
