/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Interface of lib/test_vma_migrate.c for its selftest.
 *
 * Each open file of /dev/test_vma_migrate has memory of TVM_PAGES pages, which is
 * zero at first. All mappings of the file share it, those of child processes too.
 */
#ifndef _LIB_TEST_VMA_MIGRATE_UAPI_H
#define _LIB_TEST_VMA_MIGRATE_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define TVM_PAGES	1024

/**
 * struct tvm_range - pages that an ioctl works on
 * @first: Number of the first page in the memory of the file.
 * @nr: Number of pages.
 */
struct tvm_range {
	__u64 first;
	__u64 nr;
};

/* The device uses these pages: moving them returns -EBUSY. Pins are not counted. */
#define TVM_PIN		_IOW('V', 0x80, struct tvm_range)
/* The device no longer uses these pages. */
#define TVM_UNPIN	_IOW('V', 0x81, struct tvm_range)
/*
 * New mappings have the methods whose bits are set in the argument: TVM_MIGRATE to
 * move pages, TVM_GET_NODE to report their node.
 */
#define TVM_METHODS	_IO('V', 0x82)
#define TVM_MIGRATE	1
#define TVM_GET_NODE	2

#endif /* _LIB_TEST_VMA_MIGRATE_UAPI_H */
