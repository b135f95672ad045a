// SPDX-License-Identifier: GPL-2.0-only
// files: fs/proc/task_mmu.c
// fs/proc/task_mmu.c: clear the soft-dirty bit that mremap() sets.
//
// A huge device-private entry has its soft-dirty bit where a migration entry has it.
// For small entries the bit is cleared whatever kind of entry it is.
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
