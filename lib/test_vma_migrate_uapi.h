/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What lib/test_vma_migrate.c and its test have in common.
 *
 * The device /dev/test_vma_migrate gives each opener memory of TVM_PAGES pages,
 * all zeroes, which is shared by those who map it and inherit it by fork().
 */
#ifndef _LIB_TEST_VMA_MIGRATE_UAPI_H
#define _LIB_TEST_VMA_MIGRATE_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define TVM_PAGES	1024

/**
 * struct tvm_range - some of the pages, as the ioctls name them
 * @first: Number of the first page in the memory of the file.
 * @nr: How many pages.
 */
struct tvm_range {
	__u64 first;
	__u64 nr;
};

/* The device works with these pages, they cannot move: -EBUSY. Not counted. */
#define TVM_PIN		_IOW('V', 0x80, struct tvm_range)
/* It does so no more. */
#define TVM_UNPIN	_IOW('V', 0x81, struct tvm_range)
/*
 * What is mapped from now on has the methods in the argument, and no other: to move
 * it, and to ask where it is.
 */
#define TVM_METHODS	_IO('V', 0x82)
#define TVM_MIGRATE	1
#define TVM_GET_NODE	2

#endif /* _LIB_TEST_VMA_MIGRATE_UAPI_H */
