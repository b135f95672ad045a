// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver that maps memory for which mm knows no struct folio, and that moves this
 * memory between nodes itself: &vm_operations_struct.migrate.
 *
 * Documentation/mm/migrate_vma.rst shows the parts of this file between the marks
 * "example:" and "end of example". The selftest migrate_vma_ops uses the driver. In
 * debugfs, in test_vma_migrate/, each step of the driver has a directory with
 *
 *	error		errno with which the step fails, 0 for none
 *	sleep_ms	time to sleep before the step
 *	skip		number of times to ignore error and sleep_ms; counts down
 *	hits		number of times the step was reached
 *
 * The files allocated, freed and moved have the numbers of pages that were allocated,
 * freed and moved for all openers of the device together.
 *
 * migrate() may return these errors, apart from those of the steps:
 *
 *	-EBUSY		the device uses the page (TVM_PIN)
 *	-ENODEV		the target node has no memory
 *	-ENOMEM		the target node has no free memory
 *	-EINTR		the caller has been killed
 *
 * Pages that were moved before an error are not moved back.
 */
#include <linux/array_size.h>
#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/list.h>
#include <linux/mempolicy.h>
#include <linux/migrate.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>

#include "test_vma_migrate_uapi.h"

/* How many pages are unmapped at a time. */
#define TVM_BATCH	32

/* &tvm_buffer.lock is held in each step but TVM_BEGIN. */
enum tvm_step {
	TVM_FAULT,	/* before a fault maps a page */
	TVM_QUERY,	/* before get_node() looks at a page */
	TVM_BEGIN,	/* when migrate() is called */
	TVM_ALLOC,	/* before targets are allocated */
	TVM_UNMAP,	/* before the pages are unmapped */
	TVM_COPY,	/* after the pages are unmapped */
	TVM_REPLACE,	/* after the pages are copied */
	TVM_NR_STEPS
};

static const char * const tvm_names[TVM_NR_STEPS] = {
	"fault", "query", "begin", "alloc", "unmap", "copy", "replace",
};

/**
 * struct tvm_knobs - the debugfs files of a step
 * @error: Errno with which the step fails, 0 for none.
 * @sleep_ms: Time to sleep.
 * @skip: Number of times to ignore @error and @sleep_ms.
 * @hits: Number of times the step was reached.
 */
struct tvm_knobs {
	u32 error;
	u32 sleep_ms;
	atomic_t skip;
	atomic_t hits;
};

static struct tvm_knobs tvm_knobs[TVM_NR_STEPS];
static atomic_t tvm_allocated, tvm_freed, tvm_moved;
static struct dentry *tvm_debugfs;

/* Sleep or fail as the test has set it for @step. */
static int tvm_step(enum tvm_step step)
{
	struct tvm_knobs *knobs = &tvm_knobs[step];
	unsigned int sleep_ms, error;

	atomic_inc(&knobs->hits);
	if (atomic_dec_if_positive(&knobs->skip) >= 0)
		return 0;

	sleep_ms = READ_ONCE(knobs->sleep_ms);
	error = min(READ_ONCE(knobs->error), MAX_ERRNO);
	if (sleep_ms)
		schedule_timeout_killable(msecs_to_jiffies(sleep_ms));
	return sleep_ms && fatal_signal_pending(current) ? -EINTR : -(int)error;
}

/* example: the memory */
/**
 * struct tvm_user - a process that maps the memory
 * @list: Member of &tvm_buffer.users.
 * @mm: Its address space. The pointer is compared, but never followed.
 * @nr_vmas: Number of its VMAs that map the memory.
 */
struct tvm_user {
	struct list_head list;
	struct mm_struct *mm;
	unsigned int nr_vmas;
};

/**
 * struct tvm_buffer - memory of the device
 * @mapping: The mapping of all VMAs that map this memory, and of no other VMAs.
 * @lock: Protects @pages, @target and @pinned. A fault maps a page only under this
 *	lock, so no page becomes mapped during a move.
 * @pages: The pages of the memory; NULL where nobody has accessed it yet.
 * @target: The targets of the pages that are being moved, NULL for other pages.
 * @pinned: Pages that the device uses.
 * @methods: For the test: which of TVM_MIGRATE and TVM_GET_NODE new VMAs have.
 * @users_lock: Protects @users.
 * @users: The processes that map the memory, as &struct tvm_user.
 */
struct tvm_buffer {
	struct address_space mapping;
	struct mutex lock; /* @pages, @target and @pinned */
	struct page *pages[TVM_PAGES];
	struct page *target[TVM_BATCH];
	DECLARE_BITMAP(pinned, TVM_PAGES);
	unsigned int methods;
	spinlock_t users_lock; /* @users */
	struct list_head users;
};

static void tvm_free(struct page *page)
{
	if (!page)
		return;
	__free_page(page);
	atomic_inc(&tvm_freed);
}

/* Return the page at @index. If there is none, allocate one by the VMA's policy. */
static struct page *tvm_get_page(struct tvm_buffer *buf, pgoff_t index,
				 struct vm_fault *vmf)
{
	struct folio *folio;

	if (!buf->pages[index]) {
		folio = vma_alloc_folio(GFP_HIGHUSER | __GFP_ZERO, 0, vmf->vma,
					vmf->address);
		if (!folio)
			return NULL;
		buf->pages[index] = folio_page(folio, 0);
		atomic_inc(&tvm_allocated);
	}
	return buf->pages[index];
}

static vm_fault_t tvm_fault(struct vm_fault *vmf)
{
	struct tvm_buffer *buf = vmf->vma->vm_private_data;
	vm_fault_t ret = VM_FAULT_OOM;
	struct page *page;
	int err;

	/*
	 * A fault waits here until a move is over, or until a fatal signal. After a
	 * signal VM_FAULT_SIGBUS keeps a fault of the kernel from being retried.
	 */
	if (mutex_lock_killable(&buf->lock))
		return VM_FAULT_SIGBUS;

	err = tvm_step(TVM_FAULT);
	page = err ? NULL : tvm_get_page(buf, vmf->pgoff, vmf);
	if (page)
		ret = vmf_insert_pfn(vmf->vma, vmf->address, page_to_pfn(page));
	else if (err)
		ret = vmf_error(err);
	mutex_unlock(&buf->lock);
	return ret;
}

/* end of example */

static struct tvm_user *tvm_find_user(struct tvm_buffer *buf, struct mm_struct *mm)
{
	struct tvm_user *user;

	list_for_each_entry(user, &buf->users, list) {
		if (user->mm == mm)
			return user;
	}
	return NULL;
}

/* Called for each new VMA, whether by mmap(), by a split, by mremap() or by fork(). */
static void tvm_open(struct vm_area_struct *vma)
{
	struct tvm_buffer *buf = vma->vm_private_data;
	struct tvm_user *user, *new;

	new = kzalloc_obj(*new, GFP_KERNEL | __GFP_NOFAIL);
	spin_lock(&buf->users_lock);
	user = tvm_find_user(buf, vma->vm_mm);
	if (!user) {
		user = new;
		new = NULL;
		user->mm = vma->vm_mm;
		list_add(&user->list, &buf->users);
	}
	user->nr_vmas++;
	spin_unlock(&buf->users_lock);
	kfree(new);
}

static void tvm_close(struct vm_area_struct *vma)
{
	struct tvm_buffer *buf = vma->vm_private_data;
	struct tvm_user *user;

	spin_lock(&buf->users_lock);
	user = tvm_find_user(buf, vma->vm_mm);
	if (!WARN_ON_ONCE(!user) && !--user->nr_vmas)
		list_del(&user->list);
	else
		user = NULL;
	spin_unlock(&buf->users_lock);
	kfree(user);
}

static bool tvm_is_shared(struct tvm_buffer *buf)
{
	bool shared;

	spin_lock(&buf->users_lock);
	shared = !list_is_singular(&buf->users);
	spin_unlock(&buf->users_lock);
	return shared;
}

/* example: the move */
/* Allocate a target on @nid, and on no other node. */
static struct page *tvm_alloc_target(int nid)
{
	struct page *page;

	if (!node_state(nid, N_MEMORY))
		return ERR_PTR(-ENODEV);
	page = alloc_pages_node(nid, GFP_HIGHUSER | __GFP_THISNODE | __GFP_NOWARN, 0);
	if (!page)
		return ERR_PTR(-ENOMEM);
	atomic_inc(&tvm_allocated);
	return page;
}

/* Allocate a target for each page that must move. Returns their number. */
static int tvm_alloc_targets(struct tvm_buffer *buf, pgoff_t first, unsigned int nr,
			     const nodemask_t *from, const nodemask_t *to)
{
	struct page *page;
	unsigned int i;
	int nid, sum = 0;

	for (i = 0; i < nr; i++) {
		page = buf->pages[first + i];
		if (!page)
			continue;
		nid = vma_migrate_target(page_to_nid(page), from, to);
		if (nid == NUMA_NO_NODE)
			continue;
		if (test_bit(first + i, buf->pinned))
			return -EBUSY;
		page = tvm_alloc_target(nid);
		if (IS_ERR(page))
			return PTR_ERR(page);
		buf->target[i] = page;
		sum++;
	}
	return sum;
}

/*
 * Unmap the pages from all processes, and copy those that move. unmap_mapping_pages()
 * also flushes the TLBs, so no CPU can write to the pages while they are copied. An
 * access faults and waits in tvm_fault().
 */
static int tvm_copy(struct tvm_buffer *buf, pgoff_t first, unsigned int nr)
{
	unsigned int i;
	int err;

	err = tvm_step(TVM_UNMAP);
	if (err)
		return err;
	unmap_mapping_pages(&buf->mapping, first, nr, /* even_cows = */ true);
	err = tvm_step(TVM_COPY);
	if (err)
		return err;

	for (i = 0; i < nr; i++) {
		if (buf->target[i])
			copy_highpage(buf->target[i], buf->pages[first + i]);
	}
	return tvm_step(TVM_REPLACE);
}

/* Replace the pages by their targets and free them, or free the targets after @err. */
static void tvm_finish(struct tvm_buffer *buf, pgoff_t first, unsigned int nr, int err)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (buf->target[i] && !err) {
			swap(buf->pages[first + i], buf->target[i]);
			atomic_inc(&tvm_moved);
		}
		tvm_free(buf->target[i]);
		buf->target[i] = NULL;
	}
}

/* @nr is at most TVM_BATCH. After an error no page of the batch has been moved. */
static int tvm_move_batch(struct tvm_buffer *buf, pgoff_t first, unsigned int nr,
			  const nodemask_t *from, const nodemask_t *to)
{
	int err;

	if (mutex_lock_killable(&buf->lock))
		return -EINTR;
	err = tvm_step(TVM_ALLOC);
	if (!err)
		err = tvm_alloc_targets(buf, first, nr, from, to);
	if (err > 0)
		err = tvm_copy(buf, first, nr);
	tvm_finish(buf, first, nr, err);
	mutex_unlock(&buf->lock);
	return err;
}

static int tvm_migrate(struct vm_area_struct *vma, unsigned long start,
		       unsigned long end, const nodemask_t *from,
		       const nodemask_t *to, unsigned long flags)
{
	struct tvm_buffer *buf = vma->vm_private_data;
	pgoff_t first = linear_page_index(vma, start);
	const pgoff_t last = first + ((end - start) >> PAGE_SHIFT);
	int err = tvm_step(TVM_BEGIN);

	if (!(flags & MPOL_MF_MOVE_ALL) && tvm_is_shared(buf))
		return err;

	for (; !err && first < last; first += TVM_BATCH) {
		if (fatal_signal_pending(current))
			return -EINTR;
		err = tvm_move_batch(buf, first, min(last - first, TVM_BATCH), from, to);
		cond_resched();
	}
	return err;
}

/* end of example */

/* example: the question */
static int tvm_node_at(const struct tvm_buffer *buf, pgoff_t index)
{
	const struct page *page = buf->pages[index];

	return page ? page_to_nid(page) : -ENOENT;
}

static int tvm_get_node(struct vm_area_struct *vma, unsigned long addr,
			unsigned long *next)
{
	struct tvm_buffer *buf = vma->vm_private_data;
	pgoff_t index = linear_page_index(vma, addr);
	int nid;

	if (mutex_lock_killable(&buf->lock))
		return -EINTR;
	nid = tvm_step(TVM_QUERY);
	if (!nid) {
		nid = tvm_node_at(buf, index);
		while (*next < vma->vm_end && tvm_node_at(buf, ++index) == nid)
			*next += PAGE_SIZE;
	}
	mutex_unlock(&buf->lock);
	return nid;
}

static const struct vm_operations_struct tvm_vm_ops = {
	.open = tvm_open,
	.close = tvm_close,
	.fault = tvm_fault,
	.migrate = tvm_migrate,
	.get_node = tvm_get_node,
};

/* end of example */

/* For the test: drivers without one or both of the methods. */
static const struct vm_operations_struct tvm_plain_ops = {
	.open = tvm_open,
	.close = tvm_close,
	.fault = tvm_fault,
};

static const struct vm_operations_struct tvm_mute_ops = {
	.open = tvm_open,
	.close = tvm_close,
	.fault = tvm_fault,
	.migrate = tvm_migrate,
};

static const struct vm_operations_struct tvm_still_ops = {
	.open = tvm_open,
	.close = tvm_close,
	.fault = tvm_fault,
	.get_node = tvm_get_node,
};

static const struct vm_operations_struct *const tvm_ops[] = {
	[0] = &tvm_plain_ops,
	[TVM_MIGRATE] = &tvm_mute_ops,
	[TVM_GET_NODE] = &tvm_still_ops,
	[TVM_MIGRATE | TVM_GET_NODE] = &tvm_vm_ops,
};

static int tvm_file_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct tvm_buffer *buf = file->private_data;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff >= TVM_PAGES || vma_pages(vma) > TVM_PAGES - vma->vm_pgoff)
		return -EINVAL;

	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = buf;
	vma->vm_ops = tvm_ops[READ_ONCE(buf->methods)];
	tvm_open(vma);
	return 0;
}

/* Each open file has its own mapping, so that unmap_mapping_pages() finds its VMAs. */
static int tvm_file_open(struct inode *inode, struct file *file)
{
	struct tvm_buffer *buf = kvzalloc(sizeof(*buf), GFP_KERNEL);

	if (!buf)
		return -ENOMEM;
	address_space_init_once(&buf->mapping);
	buf->mapping.host = inode;
	buf->mapping.a_ops = &empty_aops;
	mutex_init(&buf->lock);
	spin_lock_init(&buf->users_lock);
	INIT_LIST_HEAD(&buf->users);
	buf->methods = TVM_MIGRATE | TVM_GET_NODE;
	file->private_data = buf;
	file->f_mapping = &buf->mapping;
	return 0;
}

static int tvm_file_release(struct inode *inode, struct file *file)
{
	struct tvm_buffer *buf = file->private_data;
	unsigned int i;

	WARN_ON_ONCE(!list_empty(&buf->users));
	for (i = 0; i < TVM_PAGES; i++)
		tvm_free(buf->pages[i]);
	file->f_mapping = inode->i_mapping;
	kvfree(buf);
	return 0;
}

static long tvm_file_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct tvm_buffer *buf = file->private_data;
	struct tvm_range range;

	if (cmd == TVM_METHODS) {
		if (arg >= ARRAY_SIZE(tvm_ops))
			return -EINVAL;
		WRITE_ONCE(buf->methods, arg);
		return 0;
	}
	if (cmd != TVM_PIN && cmd != TVM_UNPIN)
		return -ENOTTY;
	if (copy_from_user(&range, (void __user *)arg, sizeof(range)))
		return -EFAULT;
	if (range.first >= TVM_PAGES || range.nr > TVM_PAGES - range.first)
		return -EINVAL;

	if (mutex_lock_killable(&buf->lock))
		return -EINTR;
	if (cmd == TVM_PIN)
		bitmap_set(buf->pinned, range.first, range.nr);
	else
		bitmap_clear(buf->pinned, range.first, range.nr);
	mutex_unlock(&buf->lock);
	return 0;
}

static const struct file_operations tvm_fops = {
	.owner = THIS_MODULE,
	.open = tvm_file_open,
	.release = tvm_file_release,
	.mmap = tvm_file_mmap,
	.unlocked_ioctl = tvm_file_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice tvm_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "test_vma_migrate",
	.fops = &tvm_fops,
};

static void __init tvm_make_knobs(void)
{
	struct dentry *dir;
	int i;

	tvm_debugfs = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_atomic_t("allocated", 0444, tvm_debugfs, &tvm_allocated);
	debugfs_create_atomic_t("freed", 0444, tvm_debugfs, &tvm_freed);
	debugfs_create_atomic_t("moved", 0444, tvm_debugfs, &tvm_moved);

	for (i = 0; i < TVM_NR_STEPS; i++) {
		dir = debugfs_create_dir(tvm_names[i], tvm_debugfs);
		debugfs_create_u32("error", 0644, dir, &tvm_knobs[i].error);
		debugfs_create_u32("sleep_ms", 0644, dir, &tvm_knobs[i].sleep_ms);
		debugfs_create_atomic_t("skip", 0644, dir, &tvm_knobs[i].skip);
		debugfs_create_atomic_t("hits", 0644, dir, &tvm_knobs[i].hits);
	}
}

static int __init tvm_init(void)
{
	int err;

	tvm_make_knobs();
	err = misc_register(&tvm_device);
	if (err)
		debugfs_remove_recursive(tvm_debugfs);
	return err;
}

static void __exit tvm_exit(void)
{
	misc_deregister(&tvm_device);
	debugfs_remove_recursive(tvm_debugfs);
}

module_init(tvm_init);
module_exit(tvm_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A VMA that moves its own memory");
