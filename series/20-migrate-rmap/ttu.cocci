// SPDX-License-Identifier: GPL-2.0-only
// files: include/linux/rmap.h
// include/linux/rmap.h: TTU_BATCH_LOCAL defers the flush even if only the current
// CPU needs one.

@@
@@
 enum ttu_flags {
+	TTU_BATCH_LOCAL		= 0x1,	/* defer even if only this CPU needs it */
 	TTU_USE_SHARED_ZEROPAGE = 0x2,
 	...
 };
