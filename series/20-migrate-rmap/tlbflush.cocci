// SPDX-License-Identifier: GPL-2.0-only
// files: arch/x86/include/asm/tlbflush.h
// arch/x86/include/asm/tlbflush.h: say when TTU_BATCH_LOCAL saves anything.

@@
typedef bool, u64;
identifier mm;
@@
 static inline bool arch_tlbbatch_should_defer(struct mm_struct *mm)
 { ... }
+
+#define arch_tlbbatch_may_defer_local arch_tlbbatch_may_defer_local
+
+/*
+ * May the flush for @mm wait for the end of a batch although no other CPU needs
+ * it? INVLPGB makes the flush of a batch one of all CPUs, and for secondary TLBs a
+ * batch has no range: then flushing at once costs less.
+ */
+static inline bool arch_tlbbatch_may_defer_local(struct mm_struct *mm)
+{
+	return !cpu_feature_enabled(X86_FEATURE_INVLPGB) && !mm_has_notifiers(mm);
+}
