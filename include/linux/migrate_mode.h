/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MIGRATE_MODE_H_INCLUDED
#define MIGRATE_MODE_H_INCLUDED

/**
 * enum migrate_mode - what the migration of a folio may wait for
 * @MIGRATE_ASYNC: Do not wait for locks or for I/O.
 * @MIGRATE_SYNC_LIGHT: Wait for locks that are held for a short time, such as
 *	the lock of a folio that is being mapped. Do not wait for writeback of a
 *	folio, or for a folio that is being read. buffer_migrate_folio() waits
 *	for a buffer that is being written.
 * @MIGRATE_SYNC: Wait for locks and for I/O.
 *
 * The mode is the last argument of &address_space_operations.migrate_folio.
 */
enum migrate_mode {
	MIGRATE_ASYNC		= 0,
	MIGRATE_SYNC_LIGHT	= 1,
	MIGRATE_SYNC		= 2,
};

/**
 * enum migrate_reason - why memory is migrated
 * @MR_COMPACTION: Compaction.
 * @MR_MEMORY_FAILURE: The source is poisoned, or will be. migrate_pages() does
 *	not drop the reference of the isolation: the caller owns it.
 * @MR_MEMORY_HOTPLUG: The memory is going to be offlined.
 * @MR_SYSCALL: move_pages(2), migrate_pages(2), or a change of the memory nodes
 *	of a cpuset.
 * @MR_MEMPOLICY_MBIND: mbind(2) with MPOL_MF_MOVE or MPOL_MF_MOVE_ALL.
 * @MR_NUMA_MISPLACED: A NUMA hinting fault. A large folio is not split if no
 *	target of its size can be allocated.
 * @MR_CONTIG_RANGE: An allocation of this physical range, by CMA for example.
 * @MR_LONGTERM_PIN: The memory must not be pinned where it is. If no target can
 *	be allocated for a large folio, and splitting it fails with -EAGAIN, it
 *	is retried.
 * @MR_DEMOTION: Reclaim moves cold memory to a slower tier. The caller
 *	maintains the counters of isolated pages.
 * @MR_DAMON: A DAMOS scheme.
 * @MR_NEVER: Used by page owner for a page that has not been migrated.
 * @MR_TYPES: Number of reasons.
 *
 * &migrate_reason_names and the trace events have a string for each reason.
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
