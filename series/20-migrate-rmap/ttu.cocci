// SPDX-License-Identifier: GPL-2.0-only
// files: include/linux/rmap.h
// include/linux/rmap.h: TTU_BATCH_LOCAL defers the flush of the CPU at hand as well
// if it is the only one that needs one.

@@
@@
 enum ttu_flags {
+	TTU_BATCH_LOCAL		= 0x1,	/* defer even if only this CPU is concerned */
 	TTU_USE_SHARED_ZEROPAGE = 0x2,
 	...
 };
