// SPDX-License-Identifier: GPL-2.0-only
// files: mm/huge_memory.c
// mm/huge_memory.c: five places that handle huge device-private entries, or huge
// migration entries of device folios, wrongly.

// A huge migration entry may also refer to a device folio. It holds no mapcount and
// no reference that could be dropped. Only a device-private entry does. So test the
// entry, not the folio.
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

// A fault that finds the folio locked must sleep until it is unlocked, as for small
// entries. If it returned and faulted again, it could keep the CPU from the task that
// holds the lock.
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

// A device-private entry is not present. Its soft-dirty bit can be the write bit of a
// present entry.
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

// A huge device-private entry has a soft-dirty bit. mprotect() must keep it when it
// makes the entry read-only.
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

// mremap() must set that bit.
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
