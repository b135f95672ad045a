// SPDX-License-Identifier: GPL-2.0-only
// files: mm/migrate.c
#spatch --macro-file-builtins /dev/null
// mm/migrate.c: move_pages(2) moves to mm/migrate_syscall.c.

@@
@@
-static struct mm_struct *find_mm_struct(...)
-{ ... }

@@
@@
-static void do_pages_stat_array(...)
-{ ... }

@@
identifier fn = {
	store_status, do_move_pages_to_node, __add_folio_for_migration,
	add_folio_for_migration, move_pages_and_store_status, do_pages_move,
	get_compat_pages_array, do_pages_stat, kernel_move_pages
};
@@
-static int fn(...)
-{ ... }

@@
identifier fn = SYSCALL_DEFINE6;
@@
-fn(...)
-{ ... }
