// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of mm/migrate_vma.c: for which VMAs migrate() is called, in which order,
 * with which ranges and nodes, how its errors are returned, and when a fatal signal
 * ends the calls.
 *
 * Each test maps files of a dummy driver into an mm of its own. The methods of the
 * driver move nothing. They record their arguments and return what the test has set.
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/nodemask.h>
#include <linux/sched/signal.h>
#include <linux/string.h>

/* AT() is the address of a page of the area in which the tests map files. */
#define AREA		(64UL << 20)
#define MAX_CALLS	8
#define PAGES		8
#define AT(page)	(AREA + (page) * PAGE_SIZE)

/**
 * struct toy_call - the arguments of one call of migrate()
 * @start: The first address.
 * @end: The end of the range, exclusive.
 * @from: Nodes to move memory from.
 * @to: Nodes to move memory to.
 * @flags: The flags.
 */
struct toy_call {
	unsigned long start;
	unsigned long end;
	nodemask_t from;
	nodemask_t to;
	unsigned long flags;
};

/**
 * struct toy - what the methods record and return
 * @calls: The calls of migrate().
 * @nr_calls: Number of calls of migrate().
 * @fail_at: The call of migrate() that fails, counted from 0; -1 for none.
 * @err: The error that it returns.
 * @kill_at: The call of migrate() that gets a fatal signal, as @fail_at.
 * @node: The results of get_node() for the pages from AREA on.
 * @stretch: get_node() reports a range of pages on the same node, not one page.
 * @nr_asked: Number of calls of get_node().
 * @kill_asked: The call of get_node() that gets a fatal signal, as @fail_at.
 * @still: VMAs have no migrate().
 */
struct toy {
	struct toy_call calls[MAX_CALLS];
	int nr_calls;
	int fail_at;
	int err;
	int kill_at;
	int node[PAGES];
	bool stretch;
	int nr_asked;
	int kill_asked;
	bool still;
};

static int toy_migrate(struct vm_area_struct *vma, unsigned long start,
		       unsigned long end, const nodemask_t *from,
		       const nodemask_t *to, unsigned long flags)
{
	struct toy *toy = vma->vm_private_data;
	const int nr = toy->nr_calls++;

	mmap_assert_locked(vma->vm_mm);
	if (nr < MAX_CALLS) {
		toy->calls[nr] = (struct toy_call) {
			.start = start,
			.end = end,
			.from = *from,
			.to = *to,
			.flags = flags,
		};
	}
	if (nr == toy->kill_at)
		send_sig(SIGKILL, current, 1);
	return nr == toy->fail_at ? toy->err : 0;
}

static int toy_get_node(struct vm_area_struct *vma, unsigned long addr,
			unsigned long *next)
{
	struct toy *toy = vma->vm_private_data;
	unsigned long i = (addr - AREA) >> PAGE_SHIFT;
	const int nid = toy->node[i];

	if (toy->nr_asked++ == toy->kill_asked)
		send_sig(SIGKILL, current, 1);
	while (toy->stretch && ++i < PAGES && toy->node[i] == nid)
		*next += PAGE_SIZE;
	return nid;
}

static const struct vm_operations_struct toy_ops = {
	.migrate = toy_migrate,
	.get_node = toy_get_node,
};

/* For a VMA that reports the nodes of its memory, but cannot move it. */
static const struct vm_operations_struct still_ops = {
	.get_node = toy_get_node,
};

/* For a VMA with operations, but with neither of the two methods. */
static const struct vm_operations_struct plain_ops = {};

static const struct vm_operations_struct *toy_ops_of(const struct toy *toy)
{
	if (!toy)
		return &plain_ops;
	return toy->still ? &still_ops : &toy_ops;
}

static int toy_mmap(struct file *file, struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND);
	vma->vm_private_data = file->private_data;
	vma->vm_ops = toy_ops_of(file->private_data);
	return 0;
}

static const struct file_operations toy_fops = {
	.mmap = toy_mmap,
};

/* Map @nr pages at AT(@page). If @toy is NULL, the VMA has plain_ops. */
static void map_toy(struct kunit *test, struct toy *toy, unsigned long page,
		    unsigned long nr)
{
	struct file *file = anon_inode_getfile("[toy]", &toy_fops, toy, O_RDWR);
	unsigned long ret;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	ret = kunit_vm_mmap(test, file, AT(page), nr * PAGE_SIZE,
			    PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, 0);
	fput(file);
	KUNIT_ASSERT_EQ(test, ret, AT(page));
}

static void map_anon(struct kunit *test, unsigned long page, unsigned long nr)
{
	const unsigned long ret = kunit_vm_mmap(test, NULL, AT(page), nr * PAGE_SIZE,
						PROT_READ | PROT_WRITE,
						MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS,
						0);

	KUNIT_ASSERT_EQ(test, ret, AT(page));
}

/*
 *	page	0 1   2 3   4      5     6 7  8     9
 *	VMA	toy   anon  plain  hole  toy  hole  toy
 */
static void map_all(struct kunit *test)
{
	map_toy(test, test->priv, 9, 1);
	map_toy(test, test->priv, 6, 2);
	map_toy(test, NULL, 4, 1);
	map_anon(test, 2, 2);
	map_toy(test, test->priv, 0, 2);
}

static void expect_call(struct kunit *test, int i, unsigned long first,
			unsigned long end)
{
	const struct toy *toy = test->priv;

	KUNIT_ASSERT_GT(test, toy->nr_calls, i);
	KUNIT_EXPECT_EQ(test, toy->calls[i].start, AT(first));
	KUNIT_EXPECT_EQ(test, toy->calls[i].end, AT(end));
}

static int move_range(unsigned long first, unsigned long end, unsigned long flags)
{
	const nodemask_t from = nodemask_of_node(0), to = nodemask_of_node(1);
	int err;

	mmap_read_lock(current->mm);
	err = migrate_vmas_range(current->mm, AT(first), AT(end), &from, &to, flags);
	mmap_read_unlock(current->mm);
	return err;
}

static int move_mm(unsigned long flags)
{
	const nodemask_t from = nodemask_of_node(0), to = nodemask_of_node(1);
	int err;

	mmap_read_lock(current->mm);
	err = migrate_vmas(current->mm, &from, &to, flags);
	mmap_read_unlock(current->mm);
	return err;
}

/* migrate() is called once for each VMA that has it, in the order of addresses. */
static void vmas_in_order(struct kunit *test)
{
	struct toy *toy = test->priv;
	int i;

	map_all(test);
	KUNIT_EXPECT_EQ(test, move_mm(MPOL_MF_MOVE), 0);
	KUNIT_ASSERT_EQ(test, toy->nr_calls, 3);
	expect_call(test, 0, 0, 2);
	expect_call(test, 1, 6, 8);
	expect_call(test, 2, 9, 10);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_TRUE(test, node_isset(0, toy->calls[i].from));
		KUNIT_EXPECT_EQ(test, nodes_weight(toy->calls[i].from), 1);
		KUNIT_EXPECT_TRUE(test, node_isset(1, toy->calls[i].to));
		KUNIT_EXPECT_EQ(test, nodes_weight(toy->calls[i].to), 1);
	}
}

static void no_method(struct kunit *test)
{
	struct toy *toy = test->priv;
	struct vm_area_struct *vma;

	map_toy(test, NULL, 4, 1);
	map_anon(test, 2, 2);
	KUNIT_EXPECT_EQ(test, move_mm(MPOL_MF_MOVE_ALL), 0);
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 0);

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, AT(4));
	KUNIT_EXPECT_EQ(test, vma_memory_node(vma, AT(4), NULL), -ENOENT);
	KUNIT_EXPECT_FALSE(test, vma_can_migrate(vma));
	vma = vma_lookup(current->mm, AT(2));
	KUNIT_EXPECT_EQ(test, vma_memory_node(vma, AT(2), NULL), -ENOENT);
	KUNIT_EXPECT_FALSE(test, vma_can_migrate(vma));
	mmap_read_unlock(current->mm);
}

static void empty_mm(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, move_mm(MPOL_MF_MOVE), 0);
}

/* migrate() gets only the part of a VMA that is in the range. */
static void range_cuts(struct kunit *test)
{
	struct toy *toy = test->priv;

	map_all(test);
	KUNIT_EXPECT_EQ(test, move_range(1, 7, MPOL_MF_MOVE), 0);
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 2);
	expect_call(test, 0, 1, 2);
	expect_call(test, 1, 6, 7);
}

static void range_in_hole(struct kunit *test)
{
	struct toy *toy = test->priv;

	map_all(test);
	KUNIT_EXPECT_EQ(test, move_range(8, 9, MPOL_MF_MOVE), 0);
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 0);
	KUNIT_EXPECT_EQ(test, move_range(8, 12, MPOL_MF_MOVE), 0);
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 1);
	expect_call(test, 0, 9, 10);
	KUNIT_EXPECT_EQ(test, move_range(2, 6, MPOL_MF_MOVE), 0);
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 1);
}

/* An error of one VMA ends the walk. */
static void error_ends_walk(struct kunit *test)
{
	struct toy *toy = test->priv;

	map_all(test);
	toy->fail_at = 1;
	toy->err = -EXDEV;
	KUNIT_EXPECT_EQ(test, move_mm(MPOL_MF_MOVE), -EXDEV);
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 2);
	/* The next walk is not affected. */
	KUNIT_EXPECT_EQ(test, move_mm(MPOL_MF_MOVE), 0);
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 5);
}

/*
 * A positive value is a mistake of the driver. Callers would take it for a number of
 * pages, so it becomes -EIO, and ends the walk.
 */
static void positive_value(struct kunit *test)
{
	const nodemask_t from = nodemask_of_node(0), to = nodemask_of_node(1);
	struct toy *toy = test->priv;

	map_all(test);
	toy->fail_at = 1;
	toy->err = 1;
	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, move_mm(MPOL_MF_MOVE), -EIO);
		KUNIT_EXPECT_EQ(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 1);
	}
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 2);

	toy->fail_at = 2;
	toy->err = INT_MAX;
	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, do_migrate_pages(current->mm, &from, &to,
						       MPOL_MF_MOVE), -EIO);
		KUNIT_EXPECT_EQ(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 1);
	}
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 3);
}

/*
 * After a fatal signal no further VMA moves its memory. If the method itself notices
 * the signal, its -EINTR is returned.
 */
static void killed_in_walk(struct kunit *test)
{
	struct toy *toy = test->priv;

	map_all(test);
	allow_signal(SIGKILL);
	toy->kill_at = 1;
	KUNIT_EXPECT_EQ(test, move_mm(MPOL_MF_MOVE), -EINTR);
	KUNIT_EXPECT_TRUE(test, fatal_signal_pending(current));
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 2);
	/* The signal is still pending. */
	KUNIT_EXPECT_EQ(test, move_mm(MPOL_MF_MOVE), -EINTR);
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 2);
	flush_signals(current);
	disallow_signal(SIGKILL);

	toy->fail_at = 3;
	toy->err = -EINTR;
	KUNIT_EXPECT_EQ(test, move_mm(MPOL_MF_MOVE), -EINTR);
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 4);
	KUNIT_EXPECT_EQ(test, move_mm(MPOL_MF_MOVE), 0);
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 7);
}

/* migrate() gets either MPOL_MF_MOVE or MPOL_MF_MOVE_ALL, and no other flag. */
static void flags_passed(struct kunit *test)
{
	struct toy *toy = test->priv;

	map_toy(test, toy, 0, 2);
	KUNIT_EXPECT_EQ(test, move_mm(MPOL_MF_MOVE | MPOL_MF_STRICT), 0);
	KUNIT_EXPECT_EQ(test, move_mm(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL), 0);
	KUNIT_ASSERT_EQ(test, toy->nr_calls, 2);
	KUNIT_EXPECT_EQ(test, toy->calls[0].flags, MPOL_MF_MOVE);
	KUNIT_EXPECT_EQ(test, toy->calls[1].flags, MPOL_MF_MOVE_ALL);
}

/*
 * With the nodes 0 and 1 to 1 and 2, do_migrate_pages() has all VMAs move the memory
 * of node 1 first, and then that of node 0. It returns their error.
 */
static void whole_process(struct kunit *test)
{
	struct toy *toy = test->priv;
	nodemask_t from = nodemask_of_node(0), to = nodemask_of_node(1);
	int i;

	if (MAX_NUMNODES < 3)
		kunit_skip(test, "this kernel knows %d nodes only", MAX_NUMNODES);
	node_set(1, from);
	node_set(2, to);
	map_all(test);
	KUNIT_EXPECT_EQ(test, do_migrate_pages(current->mm, &from, &to,
					       MPOL_MF_MOVE), 0);
	KUNIT_ASSERT_EQ(test, toy->nr_calls, 6);
	for (i = 0; i < 6; i++) {
		from = nodemask_of_node(i < 3 ? 1 : 0);
		to = nodemask_of_node(i < 3 ? 2 : 1);
		KUNIT_EXPECT_TRUE(test, nodes_equal(toy->calls[i].from, from));
		KUNIT_EXPECT_TRUE(test, nodes_equal(toy->calls[i].to, to));
	}

	toy->nr_calls = 0;
	toy->fail_at = 0;
	toy->err = -ENXIO;
	KUNIT_EXPECT_EQ(test, do_migrate_pages(current->mm, &from, &to,
					       MPOL_MF_MOVE), -ENXIO);
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 1);
}

/* Returns what mbind(2) would return after @failed folios could not be moved. */
static int move_mbind_after(long failed, unsigned short mode,
			    const nodemask_t *nodes, unsigned long flags)
{
	struct mempolicy pol = { .mode = mode, .nodes = *nodes };
	int err;

	mmap_read_lock(current->mm);
	err = migrate_vmas_mbind(current->mm, AT(1), AT(7), &pol, flags, &failed);
	mmap_read_unlock(current->mm);
	return failed && (flags & MPOL_MF_STRICT) ? -EIO : err;
}

static int move_mbind(unsigned short mode, const nodemask_t *nodes)
{
	return move_mbind_after(0, mode, nodes, MPOL_MF_MOVE);
}

/* Memory is moved from the nodes that the policy does not have to those it has. */
static void policy_nodes(struct kunit *test)
{
	const int nid = first_memory_node;
	const nodemask_t one = nodemask_of_node(nid), none = NODE_MASK_NONE;
	struct toy *toy = test->priv;
	nodemask_t rest;

	if (!nodes_andnot(rest, node_states[N_MEMORY], one))
		kunit_skip(test, "needs two nodes with memory");
	map_all(test);
	KUNIT_EXPECT_EQ(test, move_mbind(MPOL_BIND, &one), 0);
	KUNIT_ASSERT_EQ(test, toy->nr_calls, 2);
	expect_call(test, 0, 1, 2);
	expect_call(test, 1, 6, 7);
	KUNIT_EXPECT_TRUE(test, nodes_equal(toy->calls[0].from, rest));
	KUNIT_EXPECT_TRUE(test, nodes_equal(toy->calls[0].to, one));

	/* MPOL_LOCAL has no nodes: the target is the node of this CPU. */
	KUNIT_EXPECT_EQ(test, move_mbind(MPOL_LOCAL, &none), 0);
	KUNIT_ASSERT_EQ(test, toy->nr_calls, 4);
	KUNIT_EXPECT_EQ(test, nodes_weight(toy->calls[2].to), 1);
	KUNIT_EXPECT_FALSE(test, nodes_intersects(toy->calls[2].from,
						  toy->calls[2].to));

	/* No memory is on a wrong node. */
	KUNIT_EXPECT_EQ(test, move_mbind(MPOL_INTERLEAVE, &node_states[N_MEMORY]), 0);
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 4);
}

/* As move_mbind_after(), with MPOL_MF_STRICT and to the first node with memory. */
static int move_strictly(long failed, unsigned long flags)
{
	const nodemask_t one = nodemask_of_node(first_memory_node);

	return move_mbind_after(failed, MPOL_BIND, &one, flags | MPOL_MF_STRICT);
}

/*
 * migrate() moves nothing and returns 0. With MPOL_MF_STRICT, memory on a wrong node
 * then counts as failed, except without MPOL_MF_MOVE_ALL, as it may be shared.
 */
static void strict_left(struct kunit *test)
{
	const int nid = first_memory_node, other = next_memory_node(nid);
	struct toy *toy = test->priv;
	int i;

	if (other >= MAX_NUMNODES)
		kunit_skip(test, "needs two nodes with memory");
	map_all(test);
	for (i = 0; i < PAGES; i++)
		toy->node[i] = nid;
	/* These two are outside of the range. */
	toy->node[0] = other;
	toy->node[7] = other;
	KUNIT_EXPECT_EQ(test, move_strictly(0, MPOL_MF_MOVE_ALL), 0);

	toy->node[6] = other;
	KUNIT_EXPECT_EQ(test, move_strictly(0, MPOL_MF_MOVE_ALL), -EIO);
	KUNIT_EXPECT_EQ(test, move_strictly(0, MPOL_MF_MOVE), 0);
	/* Folios that failed before give -EIO, but an error of migrate() comes first. */
	KUNIT_EXPECT_EQ(test, move_strictly(1, MPOL_MF_MOVE), -EIO);
	toy->fail_at = toy->nr_calls;
	toy->err = -EXDEV;
	KUNIT_EXPECT_EQ(test, move_strictly(1, MPOL_MF_MOVE_ALL), -EXDEV);
}

/* With MPOL_MF_STRICT, memory on a wrong node is an error if there is no migrate(). */
static void strict_unmovable(struct kunit *test)
{
	const int nid = first_memory_node, other = next_memory_node(nid);
	struct toy *toy = test->priv;

	if (other >= MAX_NUMNODES)
		kunit_skip(test, "needs two nodes with memory");
	toy->still = true;
	toy->node[1] = nid;
	toy->node[2] = -ENOENT;
	map_toy(test, toy, 1, 2);
	KUNIT_EXPECT_EQ(test, move_strictly(0, MPOL_MF_MOVE), 0);
	toy->node[2] = other;
	KUNIT_EXPECT_EQ(test, move_strictly(0, MPOL_MF_MOVE), -EIO);
	KUNIT_EXPECT_EQ(test, move_strictly(0, MPOL_MF_MOVE_ALL), -EIO);
	KUNIT_EXPECT_EQ(test, toy->nr_calls, 0);
}

/* Expect three pages on node 0 and two on node 1. Returns the calls of get_node(). */
static int count_asked(struct kunit *test, struct vm_area_struct *vma)
{
	const struct toy *toy = test->priv;
	const int before = toy->nr_asked;
	unsigned long nr[2] = {};

	KUNIT_EXPECT_EQ(test, vma_count_memory(vma, nr), 5);
	KUNIT_EXPECT_EQ(test, nr[0], 3);
	KUNIT_EXPECT_EQ(test, nr[1], 2);
	return toy->nr_asked - before;
}

/* A result of get_node() counts for the range it reports, up to the end of the VMA. */
static void memory_counted(struct kunit *test)
{
	static const int nodes[PAGES] = { 0, 0, 1, -ENOENT, -ENOENT, 1, 0, 0 };
	struct toy *toy = test->priv;
	struct vm_area_struct *vma;
	unsigned long next;
	nodemask_t allowed = nodemask_of_node(0);

	memcpy(toy->node, nodes, sizeof(nodes));
	map_toy(test, toy, 0, 7);

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, AREA);
	KUNIT_EXPECT_EQ(test, vma_memory_node(vma, AT(0), &next), 0);
	KUNIT_EXPECT_EQ(test, next, AT(1));
	KUNIT_EXPECT_EQ(test, count_asked(test, vma), 7);

	toy->stretch = true;
	KUNIT_EXPECT_EQ(test, vma_memory_node(vma, AT(6), &next), 0);
	KUNIT_EXPECT_EQ(test, next, AT(7));
	KUNIT_EXPECT_EQ(test, count_asked(test, vma), 5);

	KUNIT_EXPECT_TRUE(test, vma_misplaced(vma, AT(0), AT(7), &allowed));
	KUNIT_EXPECT_FALSE(test, vma_misplaced(vma, AT(0), AT(2), &allowed));
	KUNIT_EXPECT_FALSE(test, vma_misplaced(vma, AT(3), AT(5), &allowed));
	node_set(1, allowed);
	KUNIT_EXPECT_FALSE(test, vma_misplaced(vma, AT(0), AT(7), &allowed));
	mmap_read_unlock(current->mm);
}

/* A node that cannot exist is a mistake of the driver. The page is not counted. */
static void impossible_node(struct kunit *test)
{
	struct toy *toy = test->priv;
	struct vm_area_struct *vma;
	unsigned long nr[1] = {};

	toy->node[1] = MAX_NUMNODES;
	map_toy(test, toy, 0, 3);
	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, AREA);
	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, vma_memory_node(vma, AT(1), NULL), -ENOENT);
		KUNIT_EXPECT_EQ(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 1);
	}
	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, vma_count_memory(vma, nr), 2);
		KUNIT_EXPECT_EQ(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 1);
	}
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, nr[0], 2);
}

/*
 * After a fatal signal no more pages are counted, and none is reported to be on a
 * wrong node, as the result has no user.
 */
static void killed_in_query(struct kunit *test)
{
	const nodemask_t allowed = nodemask_of_node(0);
	struct toy *toy = test->priv;
	struct vm_area_struct *vma;
	unsigned long nr[2] = {};

	toy->node[2] = 1;
	toy->kill_asked = 1;
	map_toy(test, toy, 0, 4);
	allow_signal(SIGKILL);
	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, AREA);
	KUNIT_EXPECT_EQ(test, vma_count_memory(vma, nr), 2);
	KUNIT_EXPECT_TRUE(test, fatal_signal_pending(current));
	KUNIT_EXPECT_EQ(test, toy->nr_asked, 2);
	KUNIT_EXPECT_EQ(test, nr[0], 2);
	KUNIT_EXPECT_FALSE(test, vma_misplaced(vma, AT(0), AT(4), &allowed));
	KUNIT_EXPECT_EQ(test, toy->nr_asked, 3);
	flush_signals(current);
	disallow_signal(SIGKILL);
	KUNIT_EXPECT_TRUE(test, vma_misplaced(vma, AT(0), AT(4), &allowed));
	KUNIT_EXPECT_EQ(test, toy->nr_asked, 6);
	mmap_read_unlock(current->mm);
}

/**
 * struct pairing - two sets of nodes and the targets that are expected
 * @what: Name of the case.
 * @from: Nodes to move memory from, one bit each.
 * @to: Nodes to move memory to.
 * @target: For each node, the target of its memory; -1 if it must not move.
 */
struct pairing {
	const char *what;
	unsigned long from;
	unsigned long to;
	int target[6];
};

static const struct pairing pairings[] = {
	{ "one to one", 0x01, 0x02, { 1, -1, -1, -1, -1, -1 } },
	{ "apart", 0x03, 0x0c, { 2, 3, -1, -1, -1, -1 } },
	{ "next node", 0x1c, 0x38, { -1, -1, 3, 4, 5, -1 } },
	{ "the same nodes", 0x05, 0x05, { -1, -1, -1, -1, -1, -1 } },
	{ "fewer, apart", 0x07, 0x30, { 4, 5, 4, -1, -1, -1 } },
	{ "fewer, some stay", 0x3f, 0x18, { 3, 4, 3, -1, -1, 4 } },
	{ "more, one stays", 0x03, 0x0e, { 1, -1, -1, -1, -1, -1 } },
	{ "to nowhere", 0x03, 0x00, { -1, -1, -1, -1, -1, -1 } },
	{ "from nowhere", 0x00, 0x03, { -1, -1, -1, -1, -1, -1 } },
};

KUNIT_ARRAY_PARAM_DESC(pairing, pairings, what);

static nodemask_t mask_of(unsigned long bits)
{
	nodemask_t mask = NODE_MASK_NONE;
	int nid;

	for (nid = 0; nid < 6; nid++) {
		if (bits & BIT(nid))
			node_set(nid, mask);
	}
	return mask;
}

static void targets(struct kunit *test)
{
	const struct pairing *p = test->param_value;
	const nodemask_t from = mask_of(p->from), to = mask_of(p->to);
	int nid;

	if (MAX_NUMNODES < 6)
		kunit_skip(test, "this kernel knows %d nodes only", MAX_NUMNODES);
	for (nid = 0; nid < 6; nid++) {
		KUNIT_EXPECT_EQ_MSG(test, vma_migrate_target(nid, &from, &to),
				    p->target[nid], "from node %d", nid);
	}
	KUNIT_EXPECT_EQ(test, vma_migrate_target(NUMA_NO_NODE, &from, &to), NUMA_NO_NODE);
}

/* The node of memory from @nid after all calls, each of them made twice for it. */
static int node_after(const struct toy *toy, int nid)
{
	int i, target;

	for (i = 0; i < 2 * toy->nr_calls; i++) {
		target = vma_migrate_target(nid, &toy->calls[i / 2].from,
					    &toy->calls[i / 2].to);
		if (target != NUMA_NO_NODE)
			nid = target;
	}
	return nid;
}

static void expect_one_move(struct kunit *test, unsigned long from_bits,
			    unsigned long to_bits)
{
	const nodemask_t from = mask_of(from_bits), to = mask_of(to_bits);
	struct toy *toy = test->priv;
	int nid, target;

	toy->nr_calls = 0;
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, migrate_vmas(current->mm, &from, &to, MPOL_MF_MOVE), 0);
	mmap_read_unlock(current->mm);
	KUNIT_ASSERT_LE(test, toy->nr_calls, MAX_CALLS);
	for (nid = 0; nid < 6; nid++) {
		target = vma_migrate_target(nid, &from, &to);
		if (target == NUMA_NO_NODE)
			target = nid;
		KUNIT_EXPECT_EQ_MSG(test, node_after(toy, nid), target,
				    "from node %d, %#lx to %#lx", nid, from_bits,
				    to_bits);
	}
}

/* Memory that is mapped twice is moved only once, for all sets of six nodes. */
static void moved_once(struct kunit *test)
{
	unsigned long from, to;

	if (MAX_NUMNODES < 6)
		kunit_skip(test, "this kernel knows %d nodes only", MAX_NUMNODES);
	map_toy(test, test->priv, 0, 1);
	for (from = 0; from < BIT(6); from++) {
		for (to = 0; to < BIT(6); to++)
			expect_one_move(test, from, to);
	}
}

static int migrate_vma_test_init(struct kunit *test)
{
	struct toy *toy = kunit_kzalloc(test, sizeof(*toy), GFP_KERNEL);
	const int err = kunit_attach_mm();

	if (!toy || err)
		return err ?: -ENOMEM;
	toy->fail_at = -1;
	toy->kill_at = -1;
	toy->kill_asked = -1;
	test->priv = toy;
	return 0;
}

static struct kunit_case migrate_vma_test_cases[] = {
	KUNIT_CASE(vmas_in_order),
	KUNIT_CASE(no_method),
	KUNIT_CASE(empty_mm),
	KUNIT_CASE(range_cuts),
	KUNIT_CASE(range_in_hole),
	KUNIT_CASE(error_ends_walk),
	KUNIT_CASE(positive_value),
	KUNIT_CASE(killed_in_walk),
	KUNIT_CASE(flags_passed),
	KUNIT_CASE(whole_process),
	KUNIT_CASE(policy_nodes),
	KUNIT_CASE(strict_left),
	KUNIT_CASE(strict_unmovable),
	KUNIT_CASE(memory_counted),
	KUNIT_CASE(impossible_node),
	KUNIT_CASE(killed_in_query),
	KUNIT_CASE_PARAM(targets, pairing_gen_params),
	KUNIT_CASE(moved_once),
	{}
};

static struct kunit_suite migrate_vma_test_suite = {
	.name = "migrate_vma",
	.init = migrate_vma_test_init,
	.test_cases = migrate_vma_test_cases,
};

kunit_test_suite(migrate_vma_test_suite);

MODULE_DESCRIPTION("Tests of VMAs that move their own memory");
MODULE_LICENSE("GPL");
