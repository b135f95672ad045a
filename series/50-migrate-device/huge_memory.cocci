// SPDX-License-Identifier: GPL-2.0-only
// files: mm/huge_memory.c
// mm/huge_memory.c: five places where a huge entry of device memory is taken for
// what it is not, or forgotten.

// A huge migration entry may refer to the memory of a device, too: it holds no
// mapping and no reference that could be dropped. Only a device-private entry
// does. Ask the entry, not the folio.
@@
identifier zap = zap_huge_pmd_folio;
identifier pmdval, folio, private;
type T;
@@
 zap(..., pmd_t pmdval, struct folio *folio, ...)
 {
 ...
-	T private = folio_is_device_private(folio);
+	T private = pmd_is_device_private_entry(pmdval);
 ...
 }

// A fault that finds the folio locked sleeps until it is unlocked, as for small
// entries. To return and fault again would spin, and may keep the CPU from
// whoever has to unlock it.
@@
identifier fault = do_huge_pmd_device_private;
identifier entry, ptl;
@@
 fault(...)
 {
 ...
 entry = softleaf_from_pmd(...);
 ...
 if (...) { ... }
 else {
-	spin_unlock(ptl);
+	softleaf_entry_wait_on_locked(entry, ptl);
 }
 ...
 }

// The entry for the memory of a device is not present, and has a soft-dirty mark
// where a present one has the right to write.
@@
identifier restore = remove_migration_pmd;
identifier pmde, folio;
@@
 restore(...)
 {
 <...
-	pmd_write(pmde) && folio_test_anon(folio)
+	pmd_present(pmde) && pmd_write(pmde) && folio_test_anon(folio)
 ...>
 }

// A huge entry for the memory of a device has a soft-dirty mark of its own, which
// mprotect() has to keep when it takes the right to write from the entry,
@@
identifier change = change_non_present_huge_pmd;
identifier pmd, entry, newpmd;
@@
 change(..., pmd_t *pmd, ...)
 {
 <...
 entry = make_readable_device_private_entry(swp_offset(entry));
 newpmd = softleaf_to_pmd(entry);
+	if (pmd_swp_soft_dirty(*pmd))
+		newpmd = pmd_swp_mksoft_dirty(newpmd);
 ...>
 }

// and which mremap() has to set.
@@
identifier move = move_soft_dirty_pmd;
identifier pmd;
@@
 move(...)
 {
 <...
-	pmd_is_migration_entry(pmd)
+	pmd_is_valid_softleaf(pmd)
 ...>
 }
