// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that a VMA moves itself: &vm_operations_struct.migrate.
 *
 * A driver may map memory for which mm knows no struct folio, such as a PFN
 * mapping. mm can neither move such memory nor tell its node, but the driver can.
 * migrate_pages(2), cpusets, mbind(2) and move_pages(2) call the methods of the
 * driver through this file. Documentation/mm/migrate_vma.rst shows how to write
 * the methods.
 *
 * The mmap lock is held for reading during a whole walk, which keeps the VMAs from
 * changing. No other lock is held while a method runs.
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
 * vma_migrate_target - find the target node for memory on a node
 * @nid: The node that the memory is on.
 * @from: Nodes to move memory from.
 * @to: Nodes to move memory to.
 *
 * Nodes are paired as by migrate_pages(2). The target of the n-th node of @from is
 * the n-th node of @to. If @to has fewer nodes, its nodes are used again from the
 * first one on. So memory on different nodes stays on different nodes if @to has
 * enough of them. If @from and @to have different numbers of nodes, memory on a
 * node that is in both is not moved.
 *
 * If a node is both the target of one pair and the source of another, migrate_vmas()
 * moves the memory in several steps. So no memory is moved twice.
 *
 * Context: Any context.
 * Return: The target, or NUMA_NO_NODE if the memory must stay on @nid.
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
 * Return: True if @vma has &vm_operations_struct.migrate.
 */
bool vma_can_migrate(const struct vm_area_struct *vma)
{
	return vma->vm_ops && vma->vm_ops->migrate;
}

/**
 * vma_migrate - have a VMA move a range of its memory
 * @vma: A VMA for which vma_can_migrate() is true.
 * @start: First address, aligned to pages and within the VMA.
 * @end: End of the range, exclusive.
 * @from: Nodes to move memory from.
 * @to: Nodes to move memory to; see vma_migrate_target().
 * @flags: With MPOL_MF_MOVE_ALL, also move memory that other processes use.
 *
 * Context: The mmap lock is held for reading. May sleep.
 * Return: 0 or the error of the method; -EINTR if the caller is being killed.
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
	/* Callers take a positive value for a number of pages. */
	if (WARN_ON_ONCE(err > 0))
		err = -EIO;
	return err;
}

/**
 * migrate_vmas_range - have each VMA of a range move its own memory
 * @mm: The address space.
 * @start: First address, aligned to pages. It need not be in a VMA.
 * @end: End of the range, exclusive.
 * @from: Nodes to move memory from.
 * @to: Nodes to move memory to; see vma_migrate_target().
 * @flags: With MPOL_MF_MOVE_ALL, also move memory that other processes use.
 *
 * Calls the method once for each VMA that has it, in the order of addresses, with
 * the part of the VMA that lies in the range. The first error ends the walk. Memory
 * that was moved before is not moved back.
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
 * struct vma_steps - a move between equal numbers of nodes, in steps
 * @from: Nodes to move memory from.
 * @to: Nodes to move memory to.
 * @left: Nodes of @from that no step has handled yet.
 * @src: Nodes to move memory from in this step.
 * @dst: The targets of @src, equal in number. No node of @left may be a target when
 *	the step is chosen.
 *
 * Both sets are paired in ascending order. So the pairs form no cycle, and @src and
 * @dst give the same pairs as @from and @to.
 */
struct vma_steps {
	const nodemask_t *from;
	const nodemask_t *to;
	nodemask_t left;
	nodemask_t src;
	nodemask_t dst;
};

/* Choose the next step. Returns false if none is left. */
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
 * @from: Nodes to move memory from.
 * @to: Nodes to move memory to; see vma_migrate_target().
 * @flags: MPOL_MF_MOVE, or MPOL_MF_MOVE_ALL to also move memory that other
 *	processes use.
 *
 * A process may map the same memory twice. The method is called for both VMAs, and
 * the second call must not move the memory again. So no call may have a target that
 * memory is also moved from. With different numbers of nodes vma_migrate_target()
 * guarantees that. With equal numbers the move is made in steps: the memory of a node
 * is moved in an earlier step than the memory whose target is this node.
 *
 * The method has a range, which that of Linux 2.6.18 did not have. Without it mbind(2)
 * could not move a part of a VMA.
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
 * The nodes with memory that @pol allows. A change of the cpuset may rebind the
 * policy of the task meanwhile, which read_mems_allowed_retry() detects.
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
 * MPOL_MF_MOVE_ALL, memory on a wrong node may be shared, which is not a failure
 * for folios either. If the VMA has no method, all its memory on a wrong node has
 * failed.
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
 * migrate_vmas_mbind - have VMAs move their memory to the nodes of a new policy
 * @mm: The address space of the caller.
 * @start: First address of the range that has the policy.
 * @end: End of the range, exclusive.
 * @pol: The policy, NULL for that of the task.
 * @flags: Those of mbind(2), with MPOL_MF_MOVE or MPOL_MF_MOVE_ALL.
 * @nr_failed: Number of failures. If it is not 0, mbind(2) with MPOL_MF_STRICT returns
 *	-EIO. Incremented if a VMA reports memory on a node that the policy does not
 *	allow. Set to 0 after an error, so that mbind(2) returns the error.
 *
 * Memory on other nodes than those of the policy is moved to those of the policy. If
 * the policy has no nodes with memory, the node of this CPU is used.
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
 * @next: Set to the end of the range for which the result is the same. May be NULL.
 *
 * Callers must look for a folio at @addr first and call this only if there is none.
 *
 * Context: The mmap lock is held for reading, or the VMA is locked. May sleep.
 * Return: The node, -ENOENT if @vma has no memory of its own at @addr or has no
 * get_node(), or another error of the method.
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

/* Returns @err if there is no VMA at @addr or it has no get_node(). */
static int vma_ask_node(struct mm_struct *mm, unsigned long addr, int err)
{
	struct vm_area_struct *vma = vma_lookup(mm, addr);

	if (!vma || !vma->vm_ops || !vma->vm_ops->get_node)
		return err;
	return vma_memory_node(vma, addr, NULL);
}

/**
 * vma_lookup_node - find the node of memory for which get_user_pages() failed
 * @mm: The address space of the caller.
 * @addr: The address.
 * @err: The error of get_user_pages().
 *
 * If the VMA reports no memory at @addr, the memory is faulted in and the VMA is
 * asked again.
 *
 * Context: The mmap lock is not held. May sleep.
 * Return: The node, an error of the method, or @err if the VMA has no get_node() or
 * no memory at @addr.
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
 * vma_count_memory - count the pages of a VMA's own memory on each node
 * @vma: The VMA.
 * @nr: Array indexed by node. The number of pages is added to each element.
 *
 * Stops early if the caller is being killed.
 *
 * Context: The mmap lock is held for reading, or the VMA is locked. May sleep.
 * Return: The number of pages on all nodes.
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
 * @end: End of the range, exclusive.
 * @nodes: The allowed nodes.
 *
 * Context: The mmap lock is held, or the VMA is locked. May sleep.
 * Return: True if get_node() reports such memory. False otherwise, and if the caller
 * is being killed.
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
