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
 * @error: writing ends with this errno, if it is not 0
 * @keep_dirty: and the folio is dirty again
 * @stall: what is being written does not come to an end
 * @private: folios get private data as they are read or written to
 * @keep_private: they do not part from it
 * @method: new files have a migrate_folio() that refuses private data
 * @busy: which says that it may be moved later
 * @writes: folios that were given to the disk
 *
 * All but @writes are set by tests, in debugfs by the names that they have here.
 */
struct migrate_fs_state {
	u32 error;
	bool keep_dirty;
	bool stall;
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
