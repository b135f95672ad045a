// SPDX-License-Identifier: GPL-2.0-only
// files: mm/migrate.c
// mm/migrate.c: replacing a folio in its mapping moves to mm/migrate_mapping.c, the
// code for folios with buffer heads to mm/migrate_buffer.c.

@@
declarer name EXPORT_SYMBOL;
@@
(
-EXPORT_SYMBOL(folio_migrate_mapping);
|
-EXPORT_SYMBOL(folio_migrate_flags);
|
-EXPORT_SYMBOL(migrate_folio);
|
-EXPORT_SYMBOL(buffer_migrate_folio);
)

@@
declarer name EXPORT_SYMBOL_GPL;
@@
(
-EXPORT_SYMBOL_GPL(buffer_migrate_folio_norefs);
|
-EXPORT_SYMBOL_GPL(filemap_migrate_folio);
)

@@
identifier fn = {
	__folio_migrate_mapping, folio_migrate_mapping,
	migrate_huge_page_move_mapping, __migrate_folio, migrate_folio,
	__buffer_migrate_folio, buffer_migrate_folio,
	buffer_migrate_folio_norefs, filemap_migrate_folio,
	fallback_migrate_folio, move_to_new_folio
};
@@
-int fn(...)
-{ ... }

@@
@@
-void folio_migrate_flags(...)
-{ ... }

@@
typedef bool;
@@
-static bool buffer_migrate_lock_buffers(...)
-{ ... }

@@
expression src, dst, mode;
@@
-move_to_new_folio(dst, src, mode)
+migrate_folio_switch(src, dst, mode)

// mm/migrate.h also declares functions of later patches. Three static functions here
// have the same names. Two of them are no longer static. The third is renamed to a name
// of the same length, so that lines stay aligned.
@@
@@
 #include "internal.h"
+#include "migrate.h"

@@
identifier page;
@@
-static
 void putback_movable_ops_page(struct page *page)
 { ... }

@@
identifier dst, src, mode;
@@
-static int migrate_movable_ops_page(struct page *dst, struct page *src, enum migrate_mode mode)
+int migrate_movable_ops_page(struct page *dst, struct page *src,
+			     enum migrate_mode mode)
 { ... }

@@
@@
 static int
-migrate_hugetlbs
+hugetlbs_migrate
 (...)
 { ... }

@@
@@
-migrate_hugetlbs
+hugetlbs_migrate
 (...)
