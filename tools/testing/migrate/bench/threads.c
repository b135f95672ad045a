// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads that run while memory of their process moves, a thread that accesses the
 * memory and waits, and several threads that move memory at the same time.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "bench.h"

#define SIZE			MIB(64)
#define STALL_CALLS_PER_MOVE	64UL	/* calls that move the area once */
#define STALL_AREA		4096UL	/* maximum size of the area in pages */
#define STALL_PAGES		16384UL	/* pages to move in total */
#define STALL_CALLS		2048UL	/* maximum of calls on real CPUs */
#define MOVER_SIZE		MIB(16)
#define MAX_THREADS		4
#define MAX_STALLS		65536
#define STALL_NS		2000
#define TOUCHES			16
#define MAX_NAP_NS		40000

static atomic_bool stop;

static void start_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
	if (pthread_create(thread, NULL, run, arg))
		fail("pthread_create");
}

/* A thread that runs on a CPU of its own and touches nothing that moves. */
static void *bystander(void *cpu)
{
	pin_to((intptr_t)cpu);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		;
	return NULL;
}

/*
 * Each flush of the TLB interrupts the CPUs on which the process runs. If
 * instructions are counted, the sum includes those of the bystanders, so no cost is
 * reported.
 */
static void run_bystanders(const struct workload *w, unsigned int rounds)
{
	pthread_t thread[MAX_THREADS];
	__u64 cost, interrupts;
	struct request rq;
	struct area a;
	unsigned long i;
	unsigned int r;
	bool good;

	area_make(&a, SIZE, BASE_PAGES, 1);
	request_make(&rq, &a, PAGE);
	for (i = 1; i < w->arg; i++)
		start_thread(&thread[i], bystander, (void *)i);
	for (r = 0; r < rounds; r++) {
		request_aim(&rq, 2 - r % 2);
		settle();
		interrupts = tlb_interrupts();
		cost = request_run(&rq);
		interrupts = tlb_interrupts() - interrupts;
		good = area_intact(&a);
		if (!counting_insns)
			report(w, NULL, rq.nr, cost, good);
		note("%.1f pages an interrupt", interrupts ?
		     (double)rq.nr / interrupts : 0.0);
		report_as(w, "interrupts", "1000-pages", rq.nr / 1000.0,
			  interrupts, good);
	}
	stop = true;
	for (i = 1; i < w->arg; i++)
		pthread_join(thread[i], NULL);
}

/**
 * struct toucher - a thread that reads pages in random order
 * @area: the memory
 * @stall: the length of each wait, in ticks
 * @nr: number of waits
 * @limit: shorter accesses are not waits
 */
struct toucher {
	struct area area;
	__u64 *stall;
	unsigned long nr;
	__u64 limit;
};

/* The number of times that this thread has slept. */
static long sleeps(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

/*
 * A thread sleeps while it waits for a page under migration. If an access takes long
 * without a sleep, there was an interrupt or the host was busy.
 */
static void touch_one(struct toucher *t, size_t page)
{
	long slept = sleeps();
	__u64 time = clock_ticks();

	touch_page(t->area.start + page * PAGE);
	time = clock_ticks() - time;
	if (time >= t->limit && sleeps() != slept && t->nr < MAX_STALLS)
		t->stall[t->nr++] = time;
}

/*
 * If instructions are counted, one CPU runs at a time, without a time limit. Then
 * this thread runs on the CPU of the mover, with a higher priority. It sleeps after
 * some accesses, so that the mover can run. The length of the sleep is random,
 * because sleeps of one length would run in step with the mover.
 */
static void *touch(void *arg)
{
	struct sched_param first = { .sched_priority = 1 };
	struct timespec nap = { };
	struct toucher *t = arg;
	size_t pages = t->area.size / PAGE;
	int i;

	pin_to(counting_insns ? 0 : 1);
	if (counting_insns && sched_setscheduler(0, SCHED_FIFO, &first))
		fail("sched_setscheduler");
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		for (i = 0; i < TOUCHES; i++)
			touch_one(t, random_below(pages));
		if (!counting_insns)
			continue;
		nap.tv_nsec = random_below(MAX_NAP_NS);
		nanosleep(&nap, NULL);
	}
	return NULL;
}

static int by_length(const void *a, const void *b)
{
	__u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return x < y ? -1 : x > y;
}

static void report_stalls(const struct workload *w, struct toucher *t,
			  double tick, bool good)
{
	unsigned long nr = t->nr;

	if (!nr) {
		note("no access had to wait");
		report(w, "longest", 1, 0, good);
		return;
	}
	qsort(t->stall, nr, sizeof(*t->stall), by_length);
	note("%lu waits", nr);
	report(w, "longest", 1, t->stall[nr - 1] * tick, good);
	note("%lu waits", nr);
	report(w, "p99", 1, t->stall[(nr - 1) * 99 / 100] * tick, good);
}

static unsigned long smaller(unsigned long a, unsigned long b)
{
	return a < b ? a : b;
}

/*
 * In a smaller area the other thread more often accesses a page that moves. But all
 * pages of a call move together, so the area must have more pages than one call.
 */
static unsigned long stall_area(unsigned long batch)
{
	return smaller(batch * STALL_CALLS_PER_MOVE, STALL_AREA);
}

/*
 * The base kernel waits for all CPUs in each call. With one page in each call this
 * takes milliseconds of real time, but hardly any instructions. So the number of
 * calls is limited on real CPUs.
 */
static unsigned long stall_moves(unsigned long batch)
{
	unsigned long pages = STALL_PAGES;

	if (!counting_insns)
		pages = smaller(batch * STALL_CALLS, pages);
	return pages / stall_area(batch);
}

/* The argument is the number of pages in a call. */
static void run_stall(const struct workload *w, unsigned int rounds)
{
	const unsigned long nr_moves = stall_moves(w->arg);
	double tick = clock_tick_ns();
	struct toucher t = { .limit = STALL_NS / tick };
	pthread_t thread;
	struct request rq;
	unsigned long i;

	area_make(&t.area, stall_area(w->arg) * PAGE, BASE_PAGES, 1);
	request_make(&rq, &t.area, PAGE);
	rq.batch = w->arg;
	t.stall = calloc(MAX_STALLS, sizeof(*t.stall));
	if (!t.stall)
		fail("calloc");
	while (rounds--) {
		t.nr = 0;
		stop = false;
		start_thread(&thread, touch, &t);
		settle();
		for (i = 0; i < nr_moves; i++) {
			request_aim(&rq, 2 - i % 2);
			request_run(&rq);
		}
		stop = true;
		pthread_join(thread, NULL);
		report_stalls(w, &t, tick, area_intact(&t.area));
	}
}

/**
 * struct mover - a thread that moves memory of its own
 * @cpu: the CPU that it runs on
 * @area: the memory that it moves
 * @rq: the move
 * @ready: makes all movers start together
 */
struct mover {
	int cpu;
	struct area area;
	struct request rq;
	pthread_barrier_t *ready;
};

static void *move(void *arg)
{
	struct mover *m = arg;

	pin_to(m->cpu);
	pthread_barrier_wait(m->ready);
	request_run(&m->rq);
	pthread_barrier_wait(m->ready);
	return NULL;
}

static void movers_make(struct mover *m, unsigned long nr,
			pthread_barrier_t *ready)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		m[i].cpu = i;
		m[i].ready = ready;
		area_make(&m[i].area, MOVER_SIZE, BASE_PAGES, 1);
		request_make(&m[i].rq, &m[i].area, PAGE);
	}
}

/* The argument is the number of threads, all of one process. */
static void run_movers(const struct workload *w, unsigned int rounds)
{
	pthread_t thread[MAX_THREADS];
	struct mover m[MAX_THREADS];
	pthread_barrier_t ready;
	unsigned int r;
	unsigned long i;
	__u64 cost;
	bool good;

	pthread_barrier_init(&ready, NULL, w->arg + 1);
	movers_make(m, w->arg, &ready);
	for (r = 0; r < rounds; r++) {
		for (i = 0; i < w->arg; i++) {
			request_aim(&m[i].rq, 2 - r % 2);
			start_thread(&thread[i], move, &m[i]);
		}
		settle();
		cost = clock_now();
		pthread_barrier_wait(&ready);
		pthread_barrier_wait(&ready);
		cost = clock_now() - cost;
		for (good = true, i = 0; i < w->arg; i++) {
			pthread_join(thread[i], NULL);
			good &= area_intact(&m[i].area);
		}
		report(w, NULL, w->arg * m[0].rq.nr, cost, good);
	}
}

const struct workload thread_workloads[] = {
	{ "threads-4", "64 MiB of base pages while 4 threads run", "page",
	  "threads", ON_BOTH, 9, run_bystanders, 4 },
	{ "stall-1", "a thread that touches what moves, 1 page a call", "wait",
	  "threads", ON_BOTH, 9, run_stall, 1 },
	{ "stall-16", "the same, 16 pages a call", "wait", "threads", ON_BOTH,
	  3, run_stall, 16 },
	{ "stall-128", "the same, 128 pages a call", "wait", "threads", ON_BOTH,
	  9, run_stall, 128 },
	{ "stall-512", "the same, 512 pages a call", "wait", "threads", ON_BOTH,
	  3, run_stall, 512 },
	{ "stall-4096", "the same, 4096 pages a call", "wait", "threads",
	  ON_BOTH, 3, run_stall, 4096 },
	{ "movers-1", "1 thread moves 16 MiB", "page", "threads", ON_WALL, 2,
	  run_movers, 1 },
	{ "movers-2", "2 threads move 16 MiB each", "page", "threads", ON_WALL,
	  2, run_movers, 2 },
	{ "movers-4", "4 threads move 16 MiB each", "page", "threads", ON_WALL,
	  2, run_movers, 4 },
	{ }
};
