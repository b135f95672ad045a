/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM migrate

#if !defined(_MM_MIGRATE_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _MM_MIGRATE_TRACE_H

#include <linux/tracepoint.h>

#include "migrate.h"

#ifndef MIGRATE_REASON
#include <trace/events/migrate.h>
#endif

#define MIGRATE_CAUSES							\
	EM(MIGRATE_CAUSE_NONE,		"none")				\
	EM(MIGRATE_CAUSE_LOCKED,	"locked")			\
	EM(MIGRATE_CAUSE_WRITEBACK,	"writeback")			\
	EM(MIGRATE_CAUSE_BUFFERS,	"buffers")			\
	EM(MIGRATE_CAUSE_MAPPED,	"mapped")			\
	EM(MIGRATE_CAUSE_REFS,		"references")			\
	EM(MIGRATE_CAUSE_PINNED,	"pinned")			\
	EM(MIGRATE_CAUSE_REFUSED,	"refused")			\
	EMe(MIGRATE_CAUSE_NOMEM,	"no_memory")

#undef EM
#undef EMe
#define EM(_cause, _word)	TRACE_DEFINE_ENUM(_cause);
#define EMe(_cause, _word)	TRACE_DEFINE_ENUM(_cause);

/*
 * trace/events/migrate.h defines the modes and reasons too, but only in mm/rmap.c,
 * which defines CREATE_TRACE_POINTS for it.
 */
MIGRATE_CAUSES
MIGRATE_MODE
MIGRATE_REASON

#undef EM
#undef EMe
#define EM(_cause, _word)	{ _cause, _word },
#define EMe(_cause, _word)	{ _cause, _word }

/*
 * One event for each failed attempt. If "again" is set, the failure is temporary
 * and the folio is retried while tries are left. There is no further event when
 * none are left.
 */
TRACE_EVENT_CONDITION(mm_migrate_folio_failed,
	TP_PROTO(const struct migrate_pair *pair, bool again,
		 enum migrate_mode mode, enum migrate_reason reason),

	TP_ARGS(pair, again, mode, reason),

	TP_CONDITION(pair->cause != MIGRATE_CAUSE_NONE),

	TP_STRUCT__entry(
		__field(unsigned long,	pfn)
		__field(unsigned int,	nr_pages)
		__field(int,		cause)
		__field(bool,		again)
		__field(int,		mode)
		__field(int,		reason)
	),

	TP_fast_assign(
		__entry->pfn = folio_pfn(pair->src);
		__entry->nr_pages = pair->nr_pages;
		__entry->cause = pair->cause;
		__entry->again = again;
		__entry->mode = mode;
		__entry->reason = reason;
	),

	TP_printk("pfn=0x%lx nr_pages=%u cause=%s again=%d mode=%s reason=%s",
		  __entry->pfn, __entry->nr_pages,
		  __print_symbolic(__entry->cause, MIGRATE_CAUSES),
		  __entry->again,
		  __print_symbolic(__entry->mode, MIGRATE_MODE),
		  __print_symbolic(__entry->reason, MIGRATE_REASON))
);

#endif /* _MM_MIGRATE_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH ../../mm
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE migrate_trace
#include <trace/define_trace.h>
