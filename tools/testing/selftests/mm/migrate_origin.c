// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel records about the allocation of a page must go along when the page
 * moves. Afterwards page_owner must show the task that allocated the source and its
 * call stack, not the migration of the page. The allocation tag of the target must be
 * that of the source, or else /proc/allocinfo shows all moved memory as allocated by
 * the migration.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "migrate_lib.h"
#include "migrate_origin.h"

#define OWNERS		"/sys/kernel/debug/page_owner"
#define TAGS		"/proc/allocinfo"
#define MIGRATED	"Page has been migrated, last migrate reason: "

/* Copy a line of page_owner to @owner, unless it depends on the place of the page. */
static void take_line(struct mig_owner *owner, const char *line)
{
	size_t len = strlen(owner->text);

	if (!strncmp(line, MIGRATED, strlen(MIGRATED)))
		snprintf(owner->reason, sizeof(owner->reason), "%s",
			 line + strlen(MIGRATED));
	else if (strncmp(line, "PFN ", 4))
		snprintf(owner->text + len, sizeof(owner->text) - len, "%s\n", line);
}

/**
 * mig_owner_read() - read what page_owner tells about a present page
 * @addr: where it is mapped; of a large folio, the address of its first page
 * @owner: is set
 *
 * Skips the case if page_owner is off. A read of the file at an offset gives the
 * first allocated page at or behind the PFN of that value.
 */
void mig_owner_read(const void *addr, struct mig_owner *owner)
{
	unsigned long pfn = mig_pagemap(addr) & MIG_PM_PFN;
	int fd = open(OWNERS, O_RDONLY | O_CLOEXEC);
	char text[sizeof(owner->text)], pfn_line[32], *rest = text, *line;
	ssize_t len;

	if (fd < 0)
		mig_skip("page_owner is off");
	len = pread(fd, text, sizeof(text) - 1, pfn);
	mig_check(len > 0, "%s: %m", OWNERS);
	close(fd);
	text[len] = '\0';
	snprintf(pfn_line, sizeof(pfn_line), "\nPFN 0x%lx ", pfn);
	mig_check(strstr(text, pfn_line), "page_owner does not know page %#lx", pfn);
	*owner = (struct mig_owner){};
	while ((line = strsep(&rest, "\n")))
		take_line(owner, line);
}

/* Check that the owner is the same, and that it was migrated last for @reason. */
void mig_owner_check(const struct mig_owner *was, const struct mig_owner *is,
		     const char *reason)
{
	const char *last = mig_breaks(MIG_BREAK_STATUS) ? "none" : is->reason;

	mig_check(!strcmp(was->text, is->text), "the owner was:\n%s\nand is now:\n%s",
		  was->text, is->text);
	mig_check(!strcmp(last, reason), "the last reason is '%s', not '%s'", last, reason);
}

/* Read all allocation tags. Skip the case if the kernel does not count by tags. */
void mig_tags_read(struct mig_tags *tags)
{
	FILE *file = fopen(TAGS, "re");
	char *line = NULL;
	size_t size = 0;
	int at;

	if (!file)
		mig_skip("allocation profiling is off");
	*tags = (struct mig_tags){};
	while (getline(&line, &size, file) > 0) {
		struct mig_tag tag;

		if (sscanf(line, "%ld %*u %n", &tag.bytes, &at) != 1)
			continue;
		line[strcspn(line, "\n")] = '\0';
		tag.place = strdup(line + at);
		tags->tags = reallocarray(tags->tags, tags->nr + 1, sizeof(tag));
		tags->tags[tags->nr++] = tag;
	}
	free(line);
	fclose(file);
	mig_check(tags->nr, "no tag in %s", TAGS);
}

/* Check that no line of the kernel has @most or more bytes more or less than before. */
void mig_tags_check(const struct mig_tags *was, const struct mig_tags *is, long most)
{
	long more;
	size_t i;

	mig_check(was->nr == is->nr, "%zu tags, and %zu before", is->nr, was->nr);
	for (i = 0; i < is->nr; i++) {
		mig_check(!strcmp(was->tags[i].place, is->tags[i].place),
			  "tag %zu changed its place", i);
		more = is->tags[i].bytes - was->tags[i].bytes;
		if (!i && mig_breaks(MIG_BREAK_COUNT))
			more += most;
		mig_check(labs(more) < most, "%s has %+ld bytes", is->tags[i].place, more);
	}
}
