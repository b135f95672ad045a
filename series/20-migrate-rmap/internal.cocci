// SPDX-License-Identifier: GPL-2.0-only
// files: mm/internal.h
// mm/internal.h: the bookkeeping of batched TLB flushes, see rmap.cocci. Without
// CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH both functions exist and do nothing.

@@
typedef bool, pte_t;
@@
 struct migration_target_control { ... };
+
+bool should_defer_flush(struct mm_struct *mm, enum ttu_flags flags);
+void set_tlb_ubc_flush_pending(struct mm_struct *mm, pte_t pteval,
+		unsigned long start, unsigned long end);
