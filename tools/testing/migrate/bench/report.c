// SPDX-License-Identifier: GPL-2.0-only
/*
 * The output: one line a sample, words first, notes last.
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
 * report_start() - name the workload that leave_out() and fail() speak of
 * @name: the workload
 */
void report_start(const char *name)
{
	running = name;
	pending[0] = '\0';
}

/**
 * note() - words that go with the next sample, behind those that do already
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

/* How many base pages are copied for one unit; 0 when it is not about that. */
static unsigned long pages_copied(const struct workload *w, const char *unit)
{
	if (!strcmp(unit, "folio"))
		return w->arg / PAGE;
	return !strcmp(unit, "page");
}

/**
 * report_as() - a sample in a unit of its own
 * @w: the workload
 * @part: which of its figures; NULL when it has one
 * @unit: what @cost is divided by
 * @units: how many of them
 * @cost: in all
 * @intact: the contents were as they must be
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
 * report() - a sample
 * @w: the workload
 * @part: which of its figures; NULL when it has one
 * @units: how many of the workload's units
 * @cost: in all
 * @intact: the contents were as they must be
 */
void report(const struct workload *w, const char *part, double units,
	    double cost, bool intact)
{
	report_as(w, part, w->unit, units, cost, intact);
}

/**
 * leave_out() - this workload does not work here
 * @format: why, as for printf()
 */
void leave_out(const char *format, ...)
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
 * fail() - something that always works did not
 * @what: the step; errno is added
 */
void fail(const char *what)
{
	printf("error %s %s: %s\n", running, what, strerror(errno));
	exit(1);
}
