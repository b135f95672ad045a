/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's records about the allocation of a page: page_owner, and the tags of
 * CONFIG_MEM_ALLOC_PROFILING. See migrate_origin.c.
 */
#ifndef __MIGRATE_ORIGIN_H
#define __MIGRATE_ORIGIN_H

/**
 * struct mig_owner - the record of page_owner about a page or a folio
 * @text: who allocated it, and when; without what depends on its place
 * @reason: why it was migrated last, empty if it was not
 */
struct mig_owner {
	char text[4096];
	char reason[64];
};

/**
 * struct mig_tags - how much memory each line of the kernel has allocated
 * @text: the text of /proc/allocinfo
 */
struct mig_tags {
	char *text;
};

void mig_owner_read(const void *addr, struct mig_owner *owner);
void mig_owner_check(const struct mig_owner *was, const struct mig_owner *is,
		     const char *reason);
void mig_tags_new(struct mig_tags *tags);
void mig_tags_read(struct mig_tags *tags);
long mig_tags_most(const struct mig_tags *was, const struct mig_tags *is,
		   const char **tag);
void mig_tags_check(const struct mig_tags *was, const struct mig_tags *is, long limit);

#endif /* __MIGRATE_ORIGIN_H */
