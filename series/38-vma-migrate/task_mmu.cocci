// SPDX-License-Identifier: GPL-2.0-only
// files: fs/proc/task_mmu.c
// fs/proc/task_mmu.c: numa_maps counts memory that has no struct folio.

@@
@@
 #include <linux/mempolicy.h>
+#include <linux/migrate.h>

@@
identifier fn = show_numa_map;
identifier vma, md, priv;
@@
 static int fn(...)
 {
 <...
 walk_page_vma(vma, get_show_numa_ops(priv), md);
+md->pages += vma_count_memory(vma, md->node);
 ...>
 }
