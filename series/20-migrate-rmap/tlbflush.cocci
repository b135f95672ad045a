// SPDX-License-Identifier: GPL-2.0-only
// files: arch/x86/include/asm/tlbflush.h
// arch/x86/include/asm/tlbflush.h: define when TTU_BATCH_LOCAL has an effect.

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
+ * Returns true if the flush for @mm may be deferred to the end of a batch although
+ * no other CPU needs it. With INVLPGB a batched flush reaches all CPUs. With MMU
+ * notifiers it invalidates secondary TLBs for the whole mm. In both cases an
+ * immediate flush costs less.
+ */
+static inline bool arch_tlbbatch_may_defer_local(struct mm_struct *mm)
+{
+	return !cpu_feature_enabled(X86_FEATURE_INVLPGB) && !mm_has_notifiers(mm);
+}
