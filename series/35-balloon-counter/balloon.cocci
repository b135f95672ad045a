// SPDX-License-Identifier: GPL-2.0-only
// files: mm/balloon.c
// mm/balloon.c: count a migrated page in NR_BALLOON_PAGES of its new node, and do not
// count a page that was deflated while it was isolated.

// The new page has joined the balloon.
@@
identifier fn = balloon_page_migrate;
identifier newpage;
@@
 fn(struct page *newpage, ...)
 {
 <...
 __count_vm_event(BALLOON_MIGRATE);
+inc_node_page_state(newpage, NR_BALLOON_PAGES);
 ...>
 }

// The old page has left the balloon, whether it was migrated or deflated.
@@
identifier fn = balloon_page_migrate;
identifier newpage, page;
@@
 fn(struct page *newpage, struct page *page, ...)
 {
 <...
 balloon_page_finalize(page);
+dec_node_page_state(page, NR_BALLOON_PAGES);
 ...>
 }
