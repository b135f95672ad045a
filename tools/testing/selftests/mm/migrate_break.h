/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For programs whose cases are not those of migrate_lib.h: to show that a case looks
 * at something, have it see what is not there. The environment variable
 * MIGRATE_BREAK says what is spoiled, and a line of output each time that it was.
 */
#ifndef __MIGRATE_BREAK_H
#define __MIGRATE_BREAK_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Is what the caller has found of this sort to be reported as something else? */
static inline bool migrate_spoils(const char *what)
{
	const char *word = getenv("MIGRATE_BREAK");

	if (!word || strcmp(word, what))
		return false;
	dprintf(STDOUT_FILENO, "# spoiled: %s\n", what);
	return true;
}

#endif /* __MIGRATE_BREAK_H */
