// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file system for tests of page migration: `mount -t migrate_fs none /mnt`.
 *
 * It has files but no directories below the root. The disk is an xarray of pages for
 * each file. Writeback works as in other file systems. But files have no
 * migrate_folio(), or one that refuses folios with private data. Files in the debugfs
 * directory migrate_fs make the disk fail or stall, and make folios have private data
 * and keep it. See struct migrate_fs_state.
 *
 * Each folio and each block of the disk is one page. The index of a folio is also that
 * of its block.
 */
#include <linux/backing-dev.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/migrate.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <linux/writeback.h>
#include <linux/xarray.h>

#include "migrate_fs.h"

#define MIGRATE_FS_MAGIC	0x4d494752

/* The time after which a write checks again whether the disk still stalls. */
#define STALL_DELAY		(HZ / 50)

struct migrate_fs_state migrate_fs_state;

/**
 * struct migrate_fs_write - a write that has not ended
 * @work: ends the write, unless the disk stalls
 * @folio: the folio under writeback
 * @err: 0, or the error with which the write ends
 */
struct migrate_fs_write {
	struct delayed_work work;
	struct folio *folio;
	int err;
};

static struct xarray *blocks_of(struct inode *inode)
{
	return inode->i_private;
}

/**
 * migrate_fs_block - find a block of a file on the disk
 * @inode: the file
 * @index: index of the block
 *
 * Context: Any.
 * Return: The block, or NULL if it has never been written.
 */
struct page *migrate_fs_block(struct inode *inode, pgoff_t index)
{
	return xa_load(blocks_of(inode), index);
}

static void give_private(struct folio *folio)
{
	if (migrate_fs_state.private && !folio_test_private(folio))
		folio_attach_private(folio, &migrate_fs_state);
}

/* The folio is locked. */
static void fill_folio(struct folio *folio)
{
	struct page *block = migrate_fs_block(folio->mapping->host, folio->index);

	if (block)
		copy_highpage(folio_page(folio, 0), block);
	else
		clear_highpage(folio_page(folio, 0));
	folio_mark_uptodate(folio);
}

static int migrate_fs_read_folio(struct file *file, struct folio *folio)
{
	fill_folio(folio);
	give_private(folio);
	folio_unlock(folio);
	return 0;
}

static int migrate_fs_write_begin(const struct kiocb *iocb,
				  struct address_space *mapping, loff_t pos,
				  unsigned int len, struct folio **foliop,
				  void **fsdata)
{
	struct folio *folio = __filemap_get_folio(mapping, pos / PAGE_SIZE,
						  FGP_WRITEBEGIN,
						  mapping_gfp_mask(mapping));

	if (IS_ERR(folio))
		return PTR_ERR(folio);
	if (!folio_test_uptodate(folio))
		fill_folio(folio);
	give_private(folio);
	*foliop = folio;
	return 0;
}

static int migrate_fs_write_end(const struct kiocb *iocb,
				struct address_space *mapping, loff_t pos,
				unsigned int len, unsigned int copied,
				struct folio *folio, void *fsdata)
{
	struct inode *inode = mapping->host;

	if (pos + copied > i_size_read(inode)) {
		i_size_write(inode, pos + copied);
		mark_inode_dirty(inode);
	}
	folio_mark_dirty(folio);
	folio_unlock(folio);
	folio_put(folio);
	return copied;
}

/* After an error the folio is not made dirty again, as in most file systems. */
static void end_write(struct folio *folio, int err)
{
	mapping_set_error(folio->mapping, err);
	folio_end_writeback(folio);
}

static void look_at_write(struct work_struct *work)
{
	struct migrate_fs_write *write =
		container_of(work, struct migrate_fs_write, work.work);

	if (READ_ONCE(migrate_fs_state.stall)) {
		schedule_delayed_work(&write->work, STALL_DELAY);
		return;
	}
	end_write(write->folio, write->err);
	kfree(write);
}

/* Keep the folio under writeback for at least one tick. */
static int end_later(struct folio *folio, int err)
{
	struct migrate_fs_write *write = kmalloc(sizeof(*write), GFP_NOFS);

	if (!write)
		return -ENOMEM;
	write->folio = folio;
	write->err = err;
	INIT_DELAYED_WORK(&write->work, look_at_write);
	schedule_delayed_work(&write->work, 1);
	return 0;
}

/* Copy the contents of a locked folio to the disk. */
static int put_on_disk(struct folio *folio)
{
	struct inode *inode = folio->mapping->host;
	struct page *block = migrate_fs_block(inode, folio->index);
	int err;

	if (!block) {
		block = alloc_page(GFP_NOFS | __GFP_HIGHMEM);
		if (!block)
			return -ENOMEM;
		err = xa_err(xa_store(blocks_of(inode), folio->index, block,
				      GFP_NOFS));
		if (err) {
			__free_page(block);
			return err;
		}
	}
	copy_highpage(block, folio_page(folio, 0));
	return 0;
}

/* The folio is locked and clean; it is unlocked on return. */
static int write_folio(struct folio *folio, struct writeback_control *wbc)
{
	const int late_err = -(int)READ_ONCE(migrate_fs_state.late_error);
	struct address_space *mapping = folio->mapping;
	int err = -(int)READ_ONCE(migrate_fs_state.error);

	while (READ_ONCE(migrate_fs_state.hold))
		schedule_timeout_uninterruptible(STALL_DELAY);
	atomic_inc(&migrate_fs_state.writes);
	if (!err && !late_err)
		err = put_on_disk(folio);
	if (err) {
		mapping_set_error(mapping, err);
		if (READ_ONCE(migrate_fs_state.keep_dirty))
			folio_redirty_for_writepage(wbc, folio);
		folio_unlock(folio);
		return err;
	}
	folio_start_writeback(folio);
	folio_unlock(folio);
	if (end_later(folio, late_err))
		end_write(folio, late_err);
	return 0;
}

static int migrate_fs_writepages(struct address_space *mapping,
				 struct writeback_control *wbc)
{
	struct folio *folio = NULL;
	int err = 0;

	while ((folio = writeback_iter(mapping, wbc, folio, &err)))
		err = write_folio(folio, wbc);
	return err;
}

static bool migrate_fs_release_folio(struct folio *folio, gfp_t gfp)
{
	if (READ_ONCE(migrate_fs_state.keep_private))
		return false;
	folio_detach_private(folio);
	return true;
}

static void migrate_fs_invalidate_folio(struct folio *folio, size_t from,
					size_t len)
{
	folio_detach_private(folio);
}

static int migrate_fs_migrate_folio(struct address_space *mapping,
				    struct folio *dst, struct folio *src,
				    enum migrate_mode mode)
{
	if (folio_test_private(src))
		return READ_ONCE(migrate_fs_state.busy) ? -EAGAIN : -EBUSY;
	return migrate_folio(mapping, dst, src, mode);
}

/* Whether new files have migrate_folio(): migrate_fs_state.method. */
enum {
	WITHOUT_METHOD,
	WITH_METHOD,
	NR_KINDS,
};

static const struct address_space_operations migrate_fs_aops[NR_KINDS] = {
	[WITHOUT_METHOD ... WITH_METHOD] = {
		.read_folio = migrate_fs_read_folio,
		.write_begin = migrate_fs_write_begin,
		.write_end = migrate_fs_write_end,
		.writepages = migrate_fs_writepages,
		.dirty_folio = filemap_dirty_folio,
		.release_folio = migrate_fs_release_folio,
		.invalidate_folio = migrate_fs_invalidate_folio,
	},
	[WITH_METHOD].migrate_folio = migrate_fs_migrate_folio,
};

static int migrate_fs_fsync(struct file *file, loff_t start, loff_t end,
			    int datasync)
{
	return file_write_and_wait_range(file, start, end);
}

static const struct file_operations migrate_fs_file_operations = {
	.read_iter = generic_file_read_iter,
	.write_iter = generic_file_write_iter,
	.mmap_prepare = generic_file_mmap_prepare,
	.fsync = migrate_fs_fsync,
	.llseek = generic_file_llseek,
};

static const struct inode_operations migrate_fs_file_inode_operations = {
	.setattr = simple_setattr,
	.getattr = simple_getattr,
};

static struct inode *new_file(struct inode *dir, umode_t mode)
{
	struct xarray *blocks = kmalloc(sizeof(*blocks), GFP_KERNEL);
	struct inode *inode = new_inode(dir->i_sb);

	if (!blocks || !inode) {
		kfree(blocks);
		iput(inode);
		return NULL;
	}
	xa_init(blocks);
	inode_init_owner(&nop_mnt_idmap, inode, dir, mode | S_IFREG);
	inode->i_ino = get_next_ino();
	inode->i_private = blocks;
	inode->i_op = &migrate_fs_file_inode_operations;
	inode->i_fop = &migrate_fs_file_operations;
	inode->i_mapping->a_ops = &migrate_fs_aops[migrate_fs_state.method];
	simple_inode_init_ts(inode);
	/* An inode that is not hashed is not put on the dirty list for writeback. */
	insert_inode_hash(inode);
	return inode;
}

static int migrate_fs_create(struct mnt_idmap *idmap, struct inode *dir,
			     struct dentry *dentry, umode_t mode)
{
	struct inode *inode = new_file(dir, mode);

	if (!inode)
		return -ENOMEM;
	d_make_persistent(dentry, inode);
	return 0;
}

static const struct inode_operations migrate_fs_dir_inode_operations = {
	.create = migrate_fs_create,
	.lookup = simple_lookup,
	.unlink = simple_unlink,
};

static void migrate_fs_evict_inode(struct inode *inode)
{
	struct xarray *blocks = blocks_of(inode);
	struct page *block;
	unsigned long index;

	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	if (!blocks)
		return;
	xa_for_each(blocks, index, block)
		__free_page(block);
	xa_destroy(blocks);
	kfree(blocks);
}

static const struct super_operations migrate_fs_super_operations = {
	.statfs = simple_statfs,
	.drop_inode = inode_just_drop,
	.evict_inode = migrate_fs_evict_inode,
};

static int migrate_fs_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct inode *root;
	int err;

	sb->s_maxbytes = MAX_LFS_FILESIZE;
	sb->s_blocksize = PAGE_SIZE;
	sb->s_blocksize_bits = PAGE_SHIFT;
	sb->s_magic = MIGRATE_FS_MAGIC;
	sb->s_op = &migrate_fs_super_operations;
	sb->s_time_gran = 1;
	err = super_setup_bdi(sb);
	if (err)
		return err;

	root = new_inode(sb);
	if (!root)
		return -ENOMEM;
	inode_init_owner(&nop_mnt_idmap, root, NULL, S_IFDIR | 0755);
	root->i_ino = get_next_ino();
	root->i_op = &migrate_fs_dir_inode_operations;
	root->i_fop = &simple_dir_operations;
	simple_inode_init_ts(root);
	inc_nlink(root);
	sb->s_root = d_make_root(root);
	return sb->s_root ? 0 : -ENOMEM;
}

static int migrate_fs_get_tree(struct fs_context *fc)
{
	return get_tree_nodev(fc, migrate_fs_fill_super);
}

static const struct fs_context_operations migrate_fs_context_operations = {
	.get_tree = migrate_fs_get_tree,
};

static int migrate_fs_init_context(struct fs_context *fc)
{
	fc->ops = &migrate_fs_context_operations;
	return 0;
}

struct file_system_type migrate_fs_type = {
	.name = "migrate_fs",
	.init_fs_context = migrate_fs_init_context,
	.kill_sb = kill_anon_super,
};

static int __init migrate_fs_init(void)
{
	struct migrate_fs_state *state = &migrate_fs_state;
	struct dentry *dir = debugfs_create_dir("migrate_fs", NULL);

	debugfs_create_u32("error", 0600, dir, &state->error);
	debugfs_create_u32("late_error", 0600, dir, &state->late_error);
	debugfs_create_bool("keep_dirty", 0600, dir, &state->keep_dirty);
	debugfs_create_bool("stall", 0600, dir, &state->stall);
	debugfs_create_bool("hold", 0600, dir, &state->hold);
	debugfs_create_bool("private", 0600, dir, &state->private);
	debugfs_create_bool("keep_private", 0600, dir, &state->keep_private);
	debugfs_create_bool("method", 0600, dir, &state->method);
	debugfs_create_bool("busy", 0600, dir, &state->busy);
	debugfs_create_atomic_t("writes", 0600, dir, &state->writes);
	return register_filesystem(&migrate_fs_type);
}
fs_initcall(migrate_fs_init);
