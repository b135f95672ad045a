// SPDX-License-Identifier: GPL-2.0-only
// files: mm/balloon.c
// mm/balloon.c: NR_BALLOON_PAGES follows a page that moves, and goes down with
// one that was deflated on the way.

// The new page is in the balloon.
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

// Whichever of the two has happened, the old one is not.
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
