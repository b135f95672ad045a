/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MIGRATE_MODE_H_INCLUDED
#define MIGRATE_MODE_H_INCLUDED

/**
 * enum migrate_mode - how long a migration may take over one folio
 * @MIGRATE_ASYNC: Never wait: not for a lock, not for I/O, not for a reference.
 * @MIGRATE_SYNC_LIGHT: Wait for what is a matter of moments, such as the lock
 *	of a folio that is being mapped. Never wait for I/O: no writeback, no
 *	folio that is still being read.
 * @MIGRATE_SYNC: Wait for everything, I/O included.
 *
 * Every &address_space_operations.migrate_folio gets it as its last argument.
 */
enum migrate_mode {
	MIGRATE_ASYNC		= 0,
	MIGRATE_SYNC_LIGHT	= 1,
	MIGRATE_SYNC		= 2,
};

/**
 * enum migrate_reason - on whose behalf memory is migrated
 * @MR_COMPACTION: To make room for a larger allocation.
 * @MR_MEMORY_FAILURE: The source is (going to be) poisoned. It is not freed:
 *	the last reference to it remains with the caller.
 * @MR_MEMORY_HOTPLUG: The memory is going away.
 * @MR_SYSCALL: move_pages(2), migrate_pages(2), or a cpuset that changes nodes.
 * @MR_MEMPOLICY_MBIND: mbind(2) with a flag to move what is there already.
 * @MR_NUMA_MISPLACED: A NUMA hinting fault. A large folio is not split because
 *	there is no room for it.
 * @MR_CONTIG_RANGE: Someone, such as CMA, allocates this very range.
 * @MR_LONGTERM_PIN: The memory must not be pinned where it is. Splitting a
 *	large folio is tried again if its lock is contended.
 * @MR_DEMOTION: Reclaim moves cold memory to a slower tier. The caller keeps
 *	count of what is isolated.
 * @MR_DAMON: A DAMOS scheme.
 * @MR_NEVER: For the page owner's records: not migrated so far.
 * @MR_TYPES: Number of the above.
 *
 * &migrate_reason_names and the trace events have a string for each.
 */
enum migrate_reason {
	MR_COMPACTION		= 0,
	MR_MEMORY_FAILURE	= 1,
	MR_MEMORY_HOTPLUG	= 2,
	MR_SYSCALL		= 3,
	MR_MEMPOLICY_MBIND	= 4,
	MR_NUMA_MISPLACED	= 5,
	MR_CONTIG_RANGE		= 6,
	MR_LONGTERM_PIN		= 7,
	MR_DEMOTION		= 8,
	MR_DAMON		= 9,
	MR_NEVER		= 10,
	MR_TYPES		= 11,
};

#endif /* MIGRATE_MODE_H_INCLUDED */
