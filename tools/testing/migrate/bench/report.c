// SPDX-License-Identifier: GPL-2.0-only
/*
 * The output has one line for each sample:
 *
 *	sample NAME[.PART] unit=U copied=N units=N cost=N check=ok|bad[ note=...]
 *	skip NAME reason
 *	error NAME reason
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static char pending[200];
static const char *running = "-";

/**
 * report_start() - set the workload that skip_workload() and fail() report
 * @name: the workload
 */
void report_start(const char *name)
{
	running = name;
	pending[0] = '\0';
}

/**
 * note() - add a note to the next sample, after the notes that it has already
 * @format: as for printf()
 */
void note(const char *format, ...)
{
	size_t len = strlen(pending);
	va_list args;

	if (len && len + 2 < sizeof(pending)) {
		strcat(pending, "; ");
		len += 2;
	}
	va_start(args, format);
	vsnprintf(pending + len, sizeof(pending) - len, format, args);
	va_end(args);
}

/* Number of base pages that are copied for one unit, or 0 if none is copied. */
static unsigned long pages_copied(const struct workload *w, const char *unit)
{
	if (!strcmp(unit, "folio"))
		return w->arg / PAGE;
	return !strcmp(unit, "page");
}

/**
 * report_as() - print a sample with a given unit
 * @w: the workload
 * @part: name of the part, NULL if the workload has only one
 * @unit: the unit that @cost is divided by
 * @units: number of units
 * @cost: total cost
 * @intact: the contents were right
 */
void report_as(const struct workload *w, const char *part, const char *unit,
	       double units, double cost, bool intact)
{
	printf("sample %s%s%s unit=%s copied=%lu units=%.10g cost=%.10g check=%s%s%s\n",
	       w->name, part ? "." : "", part ? part : "", unit,
	       pages_copied(w, unit), units, cost, intact ? "ok" : "bad",
	       pending[0] ? " note=" : "", pending);
	fflush(stdout);
	pending[0] = '\0';
}

/**
 * report() - print a sample with the unit of the workload
 * @w: the workload
 * @part: name of the part, NULL if the workload has only one
 * @units: number of units
 * @cost: total cost
 * @intact: the contents were right
 */
void report(const struct workload *w, const char *part, double units,
	    double cost, bool intact)
{
	report_as(w, part, w->unit, units, cost, intact);
}

/**
 * skip_workload() - skip the workload, which cannot run on this system
 * @format: the reason, as for printf()
 */
void skip_workload(const char *format, ...)
{
	va_list args;

	printf("skip %s ", running);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	exit(0);
}

/**
 * fail() - end the workload after an unexpected error
 * @what: the step that failed; errno is added
 */
void fail(const char *what)
{
	printf("error %s %s: %s\n", running, what, strerror(errno));
	exit(1);
}
