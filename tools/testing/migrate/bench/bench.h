/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Declarations that the workloads of migrate_bench share.
 *
 * A workload prepares memory and measures one operation between two calls of
 * clock_now(). Then it checks the contents and the node of the memory, and passes
 * the cost to report(). Each workload runs in its own process.
 */
#ifndef MIGRATE_BENCH_H
#define MIGRATE_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <linux/types.h>
#include <sys/types.h>

#define PAGE		4096UL
#define KIB(n)		((n) * 1024UL)
#define MIB(n)		((n) * 1024UL * 1024UL)
#define HUGE		MIB(2)
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define BIT_ULL(n)	(1ULL << (n))
#define GOLDEN		0x9e3779b97f4a7c15ULL

/* The clocks that make sense for a workload. */
#define ON_INSN		0x1
#define ON_WALL		0x2
#define ON_NATIVE	0x4	/* in User Mode Linux, without nodes */
#define ON_BOTH		(ON_INSN | ON_WALL)

/**
 * struct workload - one line of the tables
 * @name: name on the command line; report() may append a part
 * @what: description in one line
 * @unit: the unit that the cost is divided by
 * @boot: workloads with the same word share a boot of the guest
 * @clocks: bits of ON_INSN, ON_WALL and ON_NATIVE
 * @rounds: number of samples with an exact clock, without the option -r
 * @run: runs the workload
 * @arg: argument for @run
 */
struct workload {
	const char *name;
	const char *what;
	const char *unit;
	const char *boot;
	unsigned int clocks;
	unsigned int rounds;
	void (*run)(const struct workload *w, unsigned int rounds);
	unsigned long arg;
};

extern const struct workload move_workloads[];
extern const struct workload folio_workloads[];
extern const struct workload share_workloads[];
extern const struct workload file_workloads[];
extern const struct workload thread_workloads[];
extern const struct workload caller_workloads[];
extern const struct workload device_workloads[];
extern const struct workload walk_workloads[];

/* clock.c: the clocks */
extern bool counting_insns;

void clock_check(void);
__u64 clock_now(void);
__u64 clock_ticks(void);
double clock_tick_ns(void);
void settle(void);

/* report.c: the output */
void report_start(const char *name);
void report(const struct workload *w, const char *part, double units,
	    double cost, bool intact);
void report_as(const struct workload *w, const char *part, const char *unit,
	       double units, double cost, bool intact);
void note(const char *format, ...);
noreturn void skip_workload(const char *format, ...);
noreturn void fail(const char *what);

/* area.c: memory with known contents */

/**
 * struct area - a mapping with known contents
 * @start: its address
 * @size: its size in bytes
 * @seed: makes the contents of two areas differ
 */
struct area {
	char *start;
	size_t size;
	__u64 seed;
};

/* The folios of an area. */
enum kind {
	BASE_PAGES,
	HUGE_PAGES,	/* MADV_HUGEPAGE; folio_size() sets the size */
	HUGETLB_PAGES,
};

void place_on(int node);
void place_spread(void);
void place_freely(void);
void area_make(struct area *a, size_t size, enum kind kind, int node);
void area_map(struct area *a, size_t size, enum kind kind);
void area_fill(struct area *a);
bool area_intact(const struct area *a);
bool page_intact(const struct area *a, size_t page);
void area_free(struct area *a);
unsigned long area_folios(const struct area *a, size_t size);
void folio_size(size_t size);
void pin_to(int cpu);
void touch_page(const void *page);

/* request.c: move_pages(2) */
unsigned int random_below(unsigned int limit);

/**
 * struct request - the arguments of move_pages(2)
 * @addr: addresses of the pages
 * @node: their target nodes
 * @status: their status, set by the kernel
 * @nr: number of pages
 * @batch: number of pages in one call
 * @flags: MPOL_MF_MOVE or MPOL_MF_MOVE_ALL
 */
struct request {
	void **addr;
	int *node;
	int *status;
	unsigned long nr;
	unsigned long batch;
	int flags;
};

void request_make(struct request *rq, const struct area *a, size_t step);
void request_shuffle(struct request *rq, unsigned long run);
void request_free(struct request *rq);
void request_aim(struct request *rq, int node);
__u64 request_run(struct request *rq);
unsigned long request_arrived(struct request *rq);
void request_expect(struct request *rq);
void request_ask(struct request *rq);

/* system.c: files in /proc and /sys */
__u64 vm_event(const char *name);
__u64 tlb_interrupts(void);
bool write_file(const char *path, const char *text);
void need_write(const char *path, const char *text);

/* syscalls that the C library does not wrap */
long sys_move_pages(unsigned long nr, void **addr, const int *node,
		    int *status, int flags);
long sys_migrate_pages(unsigned long from, unsigned long to);
long sys_mbind(void *start, size_t size, int mode, unsigned long mask,
	       unsigned int flags);
long sys_set_mempolicy(int mode, unsigned long mask);

#endif
