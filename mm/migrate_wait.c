// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waits of page migration for locks of folios and for writeback.
 *
 * A fatal signal ends them. Calls for cpusets are made by a work item, which gets no
 * signal. They have a time limit instead, &migrate_control.patience.
 */
#include <linux/jiffies.h>
#include <linux/pagemap.h>
#include <linux/sched.h>

#include "migrate.h"

/*
 * The limit of a call that moves the memory of a cpuset. A work item does this, which
 * no signal can end, and all later moves of cpusets wait for it. A disk that works
 * completes a command within 30 s, the timeout of SCSI disks (SD_TIMEOUT).
 */
#define MIGRATE_PATIENCE	(30UL * HZ)

/**
 * migrate_patience - limit for the waits of a call that fail
 * @mode: Mode of the call.
 * @reason: Reason of the call.
 *
 * Context: Any.
 * Return: Jiffies, 0 if only a fatal signal ends the waits.
 */
unsigned long migrate_patience(enum migrate_mode mode, enum migrate_reason reason)
{
	if (mode == MIGRATE_SYNC && reason == MR_SYSCALL &&
	    (current->flags & PF_WQ_WORKER))
		return MIGRATE_PATIENCE;
	return 0;
}

/**
 * migrate_charge - make the patience of a call shorter by a wait
 * @run: The call.
 * @start: The value of jiffies when the wait began.
 *
 * Context: Any.
 */
void migrate_charge(struct migrate_run *run, unsigned long start)
{
	run->patience -= min(run->patience, jiffies - start);
}

/**
 * migrate_pause - sleep in a call that has a time limit
 * @run: The call. Its patience becomes shorter by the time that was slept.
 * @ticks: Jiffies to sleep.
 *
 * Context: May sleep.
 * Return: false, at once, if no patience is left.
 */
bool migrate_pause(struct migrate_run *run, long ticks)
{
	const unsigned long start = jiffies;

	if (!run->patience)
		return false;
	set_current_state(TASK_UNINTERRUPTIBLE);
	io_schedule_timeout(ticks);
	migrate_charge(run, start);
	return true;
}

/*
 * Sleep until a folio is free. A wait that is successful is not charged: the disk
 * works. One that is not may take half of the patience that is left, because the next
 * folio may be on another disk.
 */
static bool migrate_wait_limited(struct migrate_run *run, struct folio *folio,
				 bool (*is_free)(struct folio *folio))
{
	const unsigned long patience = run->patience;

	while (!is_free(folio)) {
		if (run->patience <= patience / 2 || !migrate_pause(run, 1))
			return false;
	}
	run->patience = patience;
	return true;
}

/**
 * migrate_wait_locked - wait for the lock of a folio
 * @run: The call.
 * @folio: The folio; the caller has a reference.
 *
 * Context: May sleep. No folio is locked by the caller.
 * Return: true if @folio is locked, false if the task was killed or the time limit of
 * the call is over.
 */
bool migrate_wait_locked(struct migrate_run *run, struct folio *folio)
{
	if (run->mc->patience)
		return migrate_wait_limited(run, folio, folio_trylock);
	return !folio_lock_killable(folio);
}

static bool migrate_no_writeback(struct folio *folio)
{
	return !folio_test_writeback(folio);
}

/**
 * migrate_wait_writeback - wait until a folio is not under writeback
 * @run: The call.
 * @folio: The folio; the caller has a reference.
 *
 * Context: May sleep.
 * Return: false if the task was killed or the time limit of the call is over.
 */
bool migrate_wait_writeback(struct migrate_run *run, struct folio *folio)
{
	if (run->mc->patience)
		return migrate_wait_limited(run, folio, migrate_no_writeback);
	return !folio_wait_writeback_killable(folio);
}
