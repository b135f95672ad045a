// SPDX-License-Identifier: GPL-2.0-only
// files: mm/rmap.c
// mm/rmap.c: unmapping for migration moves to mm/migrate_rmap.c. It shares the
// bookkeeping of batched TLB flushes with reclaim, so that is no longer static.

@@
@@
-static
 void set_tlb_ubc_flush_pending(...)
 { ... }

@@
typedef bool;
@@
-static
 bool should_defer_flush(...)
 { ... }

@@
typedef bool;
@@
-static bool invalid_migration_vma(...)
-{ ... }

@@
typedef bool;
@@
-static bool try_to_migrate_one(...)
-{ ... }

@@
@@
-void try_to_migrate(...)
-{ ... }
