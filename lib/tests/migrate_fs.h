/* SPDX-License-Identifier: GPL-2.0-only */
/* See migrate_fs.c. */
#ifndef _MIGRATE_FS_H
#define _MIGRATE_FS_H

#include <linux/atomic.h>
#include <linux/types.h>

struct file_system_type;
struct inode;
struct page;

/**
 * struct migrate_fs_state - what the file system does, and has done
 * @error: if not 0, writing a folio fails with this errno
 * @late_error: if not 0, the disk accepts a folio, does not write it, and reports this
 *	errno when the writeback ends
 * @keep_dirty: a folio whose write has failed becomes dirty again
 * @stall: no write ends while this is set
 * @hold: no write begins while this is set, as if the disk had no free request
 * @private: folios get private data when they are read or written to
 * @keep_private: the file system refuses to release private data
 * @method: new files have a migrate_folio() that fails for private data
 * @busy: migrate_folio() fails with -EAGAIN, not with -EBUSY
 * @writes: number of folios that were submitted to the disk
 *
 * Tests set all members but @writes, through debugfs files of the same names.
 */
struct migrate_fs_state {
	u32 error;
	u32 late_error;
	bool keep_dirty;
	bool stall;
	bool hold;
	bool private;
	bool keep_private;
	bool method;
	bool busy;
	atomic_t writes;
};

extern struct migrate_fs_state migrate_fs_state;
extern struct file_system_type migrate_fs_type;

struct page *migrate_fs_block(struct inode *inode, pgoff_t index);

#endif /* _MIGRATE_FS_H */
