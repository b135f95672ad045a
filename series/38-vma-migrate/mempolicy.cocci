// SPDX-License-Identifier: GPL-2.0-only
// files: mm/mempolicy.c
// mm/mempolicy.c: call the methods of VMAs that move their own memory. Other VMAs are
// treated as before.

// migrate_pages(2) and cpusets: after an error no folio is moved.
@@
identifier fn = do_migrate_pages;
identifier mm, from, to, flags;
typedef nodemask_t;
@@
 int fn(struct mm_struct *mm, const nodemask_t *from, const nodemask_t *to, int flags)
 {
 ...
+	err = mmap_read_lock_killable(mm);
+	if (err)
+		return err;
+	err = migrate_vmas(mm, from, to, flags);
+	mmap_read_unlock(mm);
+	if (err)
+		return err;
 lru_cache_disable();
 ...
 }

// mbind(2) with MPOL_MF_STRICT alone: fail if memory is on a wrong node.
@@
identifier fn = queue_pages_test_walk;
identifier start, end, walk, vma, next, qp, flags;
@@
 static int fn(unsigned long start, unsigned long end, struct mm_walk *walk)
 {
 ...
 struct queue_pages *qp = walk->private;
 unsigned long flags = qp->flags;
 ...
 next = find_vma(vma->vm_mm, vma->vm_end);
 if (...) return -EFAULT;
+	if (strictly_unmovable(flags) && vma_misplaced(vma, start, end, qp->nmask))
+		return -EIO;
 ...
 }

// mbind(2) that moves: the policy is in place and the VMAs must not change, but tasks
// that wait to read the mmap lock may continue. An error of a VMA is returned as it is.
// Memory that a VMA has not moved makes the call fail with -EIO.
@@
identifier fn = do_mbind;
@@
 static long fn(...)
 {
 <...
-	mmap_write_unlock(mm);
+	mmap_write_downgrade(mm);
+	if (!err && flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL))
+		err = migrate_vmas_mbind(mm, start, end, new, flags, &nr_failed);
+	mmap_read_unlock(mm);

 if (!err && !list_empty(&pagelist)) {
 	nr_failed |= migrate_pages(...);
 }
 ...>
 }

// get_mempolicy(2) with MPOL_F_NODE and MPOL_F_ADDR: ask the VMA for the node.
@@
identifier fn = do_get_mempolicy;
expression err, mm, addr;
@@
 static long fn(...)
 {
 <...
 err = lookup_node(mm, addr);
+if (err < 0) err = vma_lookup_node(mm, addr, err);
 ...>
 }
