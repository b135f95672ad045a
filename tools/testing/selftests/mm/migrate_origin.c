// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's records about the allocation of a page must go along when the page
 * moves. Afterwards page_owner must show the task that allocated the source and its
 * call stack, not the migration of the page. The allocation tag of the target must be
 * that of the source, or else /proc/allocinfo shows all moved memory as allocated by
 * the migration.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "migrate_lib.h"
#include "migrate_origin.h"

#define OWNERS		"/sys/kernel/debug/page_owner"
#define TAGS		"/proc/allocinfo"
#define MAX_TAGS	(4UL << 20)
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
	mig_check(len > 0, "%s has nothing at page %#lx", OWNERS, pfn);
	close(fd);
	text[len] = '\0';
	snprintf(pfn_line, sizeof(pfn_line), "\nPFN 0x%lx ", pfn);
	mig_check(strstr(text, pfn_line), "page_owner does not know page %#lx", pfn);
	*owner = (struct mig_owner){};
	while ((line = strsep(&rest, "\n")))
		take_line(owner, line);
}

/* Fail with the first lines that differ. */
static void __noreturn fail_at_line(const char *was, const char *is)
{
	size_t len;

	while ((len = strcspn(was, "\n")) == strcspn(is, "\n") &&
	       !strncmp(was, is, len + 1)) {
		was += len + 1;
		is += len + 1;
	}
	mig_fail("the owner had the line '%.*s', and has '%.*s' now", (int)len, was,
		 (int)strcspn(is, "\n"), is);
}

/* Check that the owner is the same, and that it was migrated last for @reason. */
void mig_owner_check(const struct mig_owner *was, const struct mig_owner *is,
		     const char *reason)
{
	const char *last = mig_breaks(MIG_BREAK_STATUS) ? "none" : is->reason;

	if (strcmp(was->text, is->text))
		fail_at_line(was->text, is->text);
	mig_check(!strcmp(last, reason), "the last reason is '%s', not '%s'", last, reason);
}

/* Allocate memory for the tags, so that reading them allocates none. */
void mig_tags_new(struct mig_tags *tags)
{
	tags->text = mig_map(MAX_TAGS, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1);
}

/* Read all allocation tags. Skip the case if the kernel has none. */
void mig_tags_read(struct mig_tags *tags)
{
	int fd = open(TAGS, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t got;

	if (fd < 0)
		mig_skip("allocation profiling is off");
	do {
		got = read(fd, tags->text + len, MAX_TAGS - 1 - len);
		mig_check(got >= 0, "%s: %m", TAGS);
		len += got;
	} while (got);
	close(fd);
	mig_check(len < MAX_TAGS - 1, "%s has more than %zu bytes", TAGS, len);
	tags->text[len] = '\0';
}

/* Go to the next line that begins with numbers. Return what is behind them. */
static const char *next_tag(const char **text, long *bytes)
{
	const char *line;
	char *end;

	while (**text) {
		line = *text;
		*text += strcspn(*text, "\n");
		*text += **text == '\n';
		*bytes = strtol(line, &end, 10);
		if (end == line)
			continue;
		strtoul(end, &end, 10);
		return end + 1;
	}
	return NULL;
}

/**
 * mig_tags_most() - find the tag that changed most
 * @was: all tags before
 * @is: all tags now
 * @tag: is set to the line and the function of the tag, unless it is NULL
 *
 * Return: by how many bytes it changed.
 */
long mig_tags_most(const struct mig_tags *was, const struct mig_tags *is,
		   const char **tag)
{
	const char *old = was->text, *new = is->text, *place;
	long before, now, most = 0;

	while ((place = next_tag(&new, &now))) {
		if (!next_tag(&old, &before))
			mig_fail("%s has more tags than before", TAGS);
		if (labs(now - before) <= labs(most))
			continue;
		most = now - before;
		if (tag)
			*tag = place;
	}
	return labs(most);
}

/* Check that no line of the kernel has @limit or more bytes more or less than before. */
void mig_tags_check(const struct mig_tags *was, const struct mig_tags *is, long limit)
{
	const char *tag = "";
	long most = mig_tags_most(was, is, &tag);

	if (mig_breaks(MIG_BREAK_COUNT))
		most += limit;
	mig_check(most < limit, "%ld bytes went to or from %.*s", most,
		  (int)strcspn(tag, "\n"), tag);
}
