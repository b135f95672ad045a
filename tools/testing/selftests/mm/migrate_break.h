/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Spoiled observations for programs that do not use the cases of migrate_lib.h. A
 * case must fail if an observation that it checks is spoiled. The environment
 * variable MIGRATE_BREAK names the observation to spoil. migrate_spoils() prints a
 * line each time that the caller must spoil it.
 */
#ifndef __MIGRATE_BREAK_H
#define __MIGRATE_BREAK_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Return true if the caller must spoil its observation @what. */
static inline bool migrate_spoils(const char *what)
{
	const char *word = getenv("MIGRATE_BREAK");

	if (!word || strcmp(word, what))
		return false;
	dprintf(STDOUT_FILENO, "# spoiled: %s\n", what);
	return true;
}

#endif /* __MIGRATE_BREAK_H */
