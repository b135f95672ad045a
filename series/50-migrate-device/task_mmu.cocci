// SPDX-License-Identifier: GPL-2.0-only
// files: fs/proc/task_mmu.c
// fs/proc/task_mmu.c: what mremap() has marked can be cleared again.
//
// A huge entry for the memory of a device keeps its soft-dirty mark where that of
// a migration entry is. Small entries are cleared whatever they stand for.
@@
identifier clear = clear_soft_dirty_pmd;
identifier pmd;
@@
 clear(...)
 {
 <...
-	pmd_is_migration_entry(pmd)
+	pmd_is_valid_softleaf(pmd)
 ...>
 }
