/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel records about the allocation of a page: page_owner, and the tags of
 * CONFIG_MEM_ALLOC_PROFILING. See migrate_origin.c.
 */
#ifndef __MIGRATE_ORIGIN_H
#define __MIGRATE_ORIGIN_H

#include <stddef.h>

/**
 * struct mig_owner - what page_owner tells about a page or a folio
 * @text: who allocated it, and when; without what depends on its place
 * @reason: why it was migrated last, empty if it was not
 */
struct mig_owner {
	char text[4096];
	char reason[64];
};

/**
 * struct mig_tag - the memory that a line of the kernel has allocated
 * @bytes: how much of it is in use
 * @place: the line and the function
 */
struct mig_tag {
	long bytes;
	char *place;
};

/**
 * struct mig_tags - all lines of /proc/allocinfo
 * @nr: their number
 * @tags: the lines, in the order of the file
 */
struct mig_tags {
	size_t nr;
	struct mig_tag *tags;
};

void mig_owner_read(const void *addr, struct mig_owner *owner);
void mig_owner_check(const struct mig_owner *was, const struct mig_owner *is,
		     const char *reason);
void mig_tags_read(struct mig_tags *tags);
void mig_tags_check(const struct mig_tags *was, const struct mig_tags *is, long most);

#endif /* __MIGRATE_ORIGIN_H */
