// SPDX-License-Identifier: GPL-2.0-only
// files: mm/migrate.c
// mm/migrate.c: restoring page tables and waiting for migration entries move to
// mm/migrate_rmap.c.

@@
typedef bool;
@@
-static bool try_to_map_unused_to_zeropage(...)
-{ ... }

@@
@@
-struct rmap_walk_arg { ... };

@@
typedef bool;
@@
-static bool remove_migration_pte(...)
-{ ... }

@@
@@
-void remove_migration_ptes(...)
-{ ... }

@@
@@
-void migration_entry_wait(...)
-{ ... }

@@
@@
-void migration_entry_wait_huge(...)
-{ ... }

@@
@@
-void pmd_migration_entry_wait(...)
-{ ... }
