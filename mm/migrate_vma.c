// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that a VMA moves itself: &vm_operations_struct.migrate.
 *
 * A driver may give memory to processes that mm knows no struct folio of, such
 * as a PFN mapping. mm can neither move it nor say which node it is on, but the
 * driver can. Everybody who moves all the memory of a process, or a range of it,
 * calls the methods from here: migrate_pages(2), cpusets, mbind(2) and
 * move_pages(2). Documentation/mm/migrate_vma.rst shows how to write them.
 *
 * The mmap lock is held for reading all along a walk, so the VMAs stay as they
 * are. No other lock is held while a method is at work.
 */

#include <linux/cpuset.h>
#include <linux/export.h>
#include <linux/mempolicy.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/nodemask.h>
#include <linux/sched/signal.h>
#include <linux/topology.h>

/**
 * vma_migrate_target - where does memory go in this move?
 * @nid: The node that the memory is on.
 * @from: Nodes that memory is to leave.
 * @to: Nodes that it is to go to.
 *
 * The pairs are those of migrate_pages(2). The n-th node of @from has the n-th
 * node of @to for its target, and where @to has fewer nodes its first one comes
 * after its last one again. So what was on different nodes before is on different
 * nodes afterwards, as far as there are enough. If @from and @to have different
 * numbers of nodes, memory on a node that is in both stays there.
 *
 * No memory moves twice: for what is on its target already the answer is that it
 * stays. migrate_vmas() calls a method more than once where one node is the target
 * of a pair and has memory to leave in another.
 *
 * Context: Any context.
 * Return: The target, or NUMA_NO_NODE if the memory is to stay where it is.
 */
int vma_migrate_target(int nid, const nodemask_t *from, const nodemask_t *to)
{
	int target;

	if (nid < 0 || !node_isset(nid, *from) || nodes_empty(*to))
		return NUMA_NO_NODE;
	if (node_isset(nid, *to) && nodes_weight(*from) != nodes_weight(*to))
		return NUMA_NO_NODE;
	target = node_remap(nid, *from, *to);
	return target == nid ? NUMA_NO_NODE : target;
}
EXPORT_SYMBOL_GPL(vma_migrate_target);

/**
 * vma_can_migrate - does a VMA move its own memory?
 * @vma: The VMA.
 *
 * Context: The VMA is locked, or the mmap lock is held.
 * Return: True if it has the method.
 */
bool vma_can_migrate(const struct vm_area_struct *vma)
{
	return vma->vm_ops && vma->vm_ops->migrate;
}

/**
 * vma_migrate - have a VMA move a range of its memory
 * @vma: A VMA for which vma_can_migrate() is true.
 * @start: First address, aligned to pages and within the VMA.
 * @end: Address behind the range.
 * @from: Nodes that memory is to leave.
 * @to: Nodes that it is to go to; see vma_migrate_target().
 * @flags: With MPOL_MF_MOVE_ALL, also memory that other processes use.
 *
 * Context: The mmap lock is held for reading. May sleep.
 * Return: 0 if the method has dealt with the memory, its error otherwise; -EINTR
 * if the caller is being killed.
 */
int vma_migrate(struct vm_area_struct *vma, unsigned long start,
		unsigned long end, const nodemask_t *from, const nodemask_t *to,
		unsigned long flags)
{
	const bool all = flags & MPOL_MF_MOVE_ALL;
	int err;

	mmap_assert_locked(vma->vm_mm);
	might_sleep();

	if (fatal_signal_pending(current))
		return -EINTR;
	err = vma->vm_ops->migrate(vma, start, end, from, to,
				   all ? MPOL_MF_MOVE_ALL : MPOL_MF_MOVE);
	/* Callers would take it for a number of pages. */
	if (WARN_ON_ONCE(err > 0))
		err = -EIO;
	return err;
}

/**
 * migrate_vmas_range - have each VMA of a range move its own memory
 * @mm: The address space.
 * @start: First address, aligned to pages. It need not be in a VMA.
 * @end: Address behind the range.
 * @from: Nodes that memory is to leave.
 * @to: Nodes that it is to go to; see vma_migrate_target().
 * @flags: With MPOL_MF_MOVE_ALL, also memory that other processes use.
 *
 * The VMAs are asked in the order of their addresses, once each, for the part of
 * them that lies in the range. Those that do not have the method are left alone.
 * An error ends the walk; what has moved by then is not moved back.
 *
 * Context: The mmap lock is held for reading. May sleep.
 * Return: 0, or the first error.
 */
int migrate_vmas_range(struct mm_struct *mm, unsigned long start,
		       unsigned long end, const nodemask_t *from,
		       const nodemask_t *to, unsigned long flags)
{
	struct vm_area_struct *vma;
	struct vma_iterator vmi;
	int err;

	mmap_assert_locked(mm);

	vma_iter_init(&vmi, mm, start);
	for_each_vma_range(vmi, vma, end) {
		cond_resched();
		if (!vma_can_migrate(vma))
			continue;
		err = vma_migrate(vma, max(start, vma->vm_start),
				  min(end, vma->vm_end), from, to, flags);
		if (err)
			return err;
	}
	return 0;
}

/**
 * struct vma_steps - a move to as many nodes as there are to leave, in steps
 * @from: Nodes that memory is to leave.
 * @to: Nodes that it is to go to.
 * @left: Nodes of @from that have had no step.
 * @src: Nodes that memory leaves in this step.
 * @dst: Their targets, which are as many, and none of them in @left before.
 *
 * The pairs keep the order of the nodes, so they form no circle, and the pairs of
 * @src and @dst are among those of @from and @to.
 */
struct vma_steps {
	const nodemask_t *from;
	const nodemask_t *to;
	nodemask_t left;
	nodemask_t src;
	nodemask_t dst;
};

/* Returns false if there is nothing more to be moved. */
static bool vma_steps_next(struct vma_steps *steps)
{
	int nid, target;

	nodes_clear(steps->src);
	nodes_clear(steps->dst);
	for_each_node_mask(nid, steps->left) {
		target = vma_migrate_target(nid, steps->from, steps->to);
		if (target == NUMA_NO_NODE || node_isset(target, steps->left))
			continue;
		node_set(nid, steps->src);
		node_set(target, steps->dst);
	}
	nodes_andnot(steps->left, steps->left, steps->src);
	return !nodes_empty(steps->src);
}

/**
 * migrate_vmas - have each VMA of an mm move its own memory
 * @mm: The address space.
 * @from: Nodes that memory is to leave.
 * @to: Nodes that it is to go to; see vma_migrate_target().
 * @flags: MPOL_MF_MOVE, or MPOL_MF_MOVE_ALL for memory that other processes use
 *	as well.
 *
 * A process may map the same memory twice, so the second call for it meets what
 * the first one has moved. For that memory to stay then, a target must not be a
 * node to leave. With different numbers of nodes none is. With the same number,
 * a node is left by its own memory in one step, and gets other memory in a later
 * one.
 *
 * Context: The mmap lock is held for reading. May sleep.
 * Return: 0, or the first error; see migrate_vmas_range().
 */
int migrate_vmas(struct mm_struct *mm, const nodemask_t *from,
		 const nodemask_t *to, unsigned long flags)
{
	struct vma_steps steps = { .from = from, .to = to, .left = *from };
	int err = 0;

	if (nodes_weight(*from) != nodes_weight(*to))
		return migrate_vmas_range(mm, 0, ULONG_MAX, from, to, flags);

	while (!err && vma_steps_next(&steps))
		err = migrate_vmas_range(mm, 0, ULONG_MAX, &steps.src, &steps.dst,
					 flags);
	return err;
}

/*
 * The nodes that @pol wants memory to be on. The policy of a task may be bound to
 * other nodes meanwhile.
 */
static void migrate_policy_nodes(const struct mempolicy *pol, nodemask_t *nodes)
{
	unsigned int cookie;

	nodes_clear(*nodes);
	if (pol->mode != MPOL_LOCAL) {
		do {
			cookie = read_mems_allowed_begin();
			nodes_and(*nodes, pol->nodes, node_states[N_MEMORY]);
		} while (read_mems_allowed_retry(cookie));
	}
	if (nodes_empty(*nodes))
		node_set(numa_mem_id(), *nodes);
}

/*
 * Is there memory in the range that its VMA has failed to move? Without
 * MPOL_MF_MOVE_ALL what is left may be shared, and that has not failed, as it has
 * not with folios. A VMA without the method fails with all that it has.
 */
static bool migrate_vmas_failed(struct mm_struct *mm, unsigned long start,
				unsigned long end, const nodemask_t *nodes,
				unsigned long flags)
{
	struct vm_area_struct *vma;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, mm, start);
	for_each_vma_range(vmi, vma, end) {
		if (vma_can_migrate(vma) && !(flags & MPOL_MF_MOVE_ALL))
			continue;
		if (vma_misplaced(vma, max(start, vma->vm_start),
				  min(end, vma->vm_end), nodes))
			return true;
	}
	return false;
}

/**
 * migrate_vmas_mbind - have VMAs obey a new policy with the memory they have
 * @mm: The address space of the caller.
 * @start: First address of the range that has the policy.
 * @end: Address behind the range.
 * @pol: The policy, NULL for that of the task.
 * @flags: Those of mbind(2), with MPOL_MF_MOVE or MPOL_MF_MOVE_ALL.
 * @nr_failed: What mbind(2) with MPOL_MF_STRICT takes for failed. It grows if a VMA
 *	says that memory is still where the policy does not want it, and is 0 after
 *	an error, which is to reach the caller.
 *
 * What is on a node that the policy does not name is asked to go to those that it
 * does name. A policy that names none means the node of this CPU.
 *
 * Context: The mmap lock is held for reading. May sleep.
 * Return: 0, or the first error; see migrate_vmas_range().
 */
int migrate_vmas_mbind(struct mm_struct *mm, unsigned long start,
		       unsigned long end, struct mempolicy *pol,
		       unsigned long flags, long *nr_failed)
{
	nodemask_t from, to;
	int err;

	migrate_policy_nodes(pol ?: get_task_policy(current), &to);
	if (!nodes_andnot(from, node_states[N_MEMORY], to))
		return 0;

	err = migrate_vmas_range(mm, start, end, &from, &to, flags);
	if (err)
		*nr_failed = 0;
	else if ((flags & MPOL_MF_STRICT) &&
		 migrate_vmas_failed(mm, start, end, &to, flags))
		++*nr_failed;
	return err;
}

/**
 * vma_memory_node - ask a VMA which node its own memory is on
 * @vma: The VMA.
 * @addr: The address, aligned to pages and within the VMA.
 * @next: Out: the answer is the same up to there. May be NULL.
 *
 * Memory that has a struct folio is better asked for by its folio, and first.
 *
 * Context: The mmap lock is held for reading, or the VMA is locked. May sleep.
 * Return: The node, -ENOENT if there is no memory at @addr, or none that the VMA
 * knows of, or another error of the method.
 */
int vma_memory_node(struct vm_area_struct *vma, unsigned long addr,
		    unsigned long *next)
{
	unsigned long end = addr + PAGE_SIZE;
	int nid = -ENOENT;

	vma_assert_stabilised(vma);
	might_sleep();

	if (vma->vm_ops && vma->vm_ops->get_node)
		nid = vma->vm_ops->get_node(vma, addr, &end);
	else
		end = vma->vm_end;
	if (WARN_ON_ONCE(nid >= MAX_NUMNODES))
		nid = -ENOENT;
	if (next)
		*next = clamp(end, addr + PAGE_SIZE, vma->vm_end);
	return nid;
}

/* What the VMA of @addr says, or @err if it cannot be asked. */
static int vma_ask_node(struct mm_struct *mm, unsigned long addr, int err)
{
	struct vm_area_struct *vma = vma_lookup(mm, addr);

	if (!vma || !vma->vm_ops || !vma->vm_ops->get_node)
		return err;
	return vma_memory_node(vma, addr, NULL);
}

/**
 * vma_lookup_node - which node is memory on that has no struct page for us?
 * @mm: The address space of the caller.
 * @addr: The address.
 * @err: What get_user_pages() said of it.
 *
 * What is not there yet is faulted in, as get_user_pages() would have done.
 *
 * Context: The mmap lock is not held. May sleep.
 * Return: The node, an error of the method, or @err if no VMA knows better.
 */
int vma_lookup_node(struct mm_struct *mm, unsigned long addr, int err)
{
	bool unlocked;
	int nid;

	addr = PAGE_ALIGN_DOWN(addr);
	if (mmap_read_lock_killable(mm))
		return err;
	nid = vma_ask_node(mm, addr, err);
	if (nid == -ENOENT && !fixup_user_fault(mm, addr, 0, &unlocked))
		nid = vma_ask_node(mm, addr, err);
	mmap_read_unlock(mm);
	return nid == -ENOENT ? err : nid;
}

/**
 * vma_count_memory - count what a VMA has of its own memory, node by node
 * @vma: The VMA.
 * @nr: For each node, the number to which that of pages is added.
 *
 * Context: The mmap lock is held for reading, or the VMA is locked. May sleep.
 * Return: How many pages there are.
 */
unsigned long vma_count_memory(struct vm_area_struct *vma, unsigned long *nr)
{
	unsigned long addr, next, pages, sum = 0;
	int nid;

	for (addr = vma->vm_start; addr < vma->vm_end; addr = next) {
		nid = vma_memory_node(vma, addr, &next);
		if (nid >= 0) {
			pages = (next - addr) >> PAGE_SHIFT;
			nr[nid] += pages;
			sum += pages;
		}
		if (fatal_signal_pending(current))
			break;
		cond_resched();
	}
	return sum;
}

/**
 * vma_misplaced - does a VMA have memory of its own on other nodes than these?
 * @vma: The VMA.
 * @start: First address of the range, aligned to pages and within the VMA.
 * @end: Address behind the range.
 * @nodes: Where memory may be.
 *
 * Context: The mmap lock is held, or the VMA is locked. May sleep.
 * Return: True if there is such memory, and the VMA can tell.
 */
bool vma_misplaced(struct vm_area_struct *vma, unsigned long start,
		   unsigned long end, const nodemask_t *nodes)
{
	unsigned long addr, next;
	int nid;

	for (addr = start; addr < end; addr = next) {
		nid = vma_memory_node(vma, addr, &next);
		if (nid >= 0 && !node_isset(nid, *nodes))
			return true;
		if (fatal_signal_pending(current))
			return false;
		cond_resched();
	}
	return false;
}
