// SPDX-License-Identifier: GPL-2.0-only
/* Memory that several processes map. */
#include <errno.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define MAX_SHARERS	64

/* Access each page: a child maps pages of a file only when it accesses them. */
static void share(const struct area *a, int ready)
{
	size_t at;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (at = 0; at < a->size; at += PAGE)
		touch_page(a->start + at);
	if (write(ready, "", 1) != 1)
		fail("write");
	for (;;)
		pause();
}

/* Start processes that map the pages of the area and then only sleep. */
static void start_sharers(const struct area *a, pid_t *pid, unsigned long nr)
{
	unsigned long i;
	int ready[2];
	char byte;

	if (pipe(ready))
		fail("pipe");
	for (i = 0; i < nr; i++) {
		pid[i] = fork();
		if (pid[i] < 0)
			fail("fork");
		if (!pid[i])
			share(a, ready[1]);
		if (read(ready[0], &byte, 1) != 1)
			fail("read");
	}
	close(ready[0]);
	close(ready[1]);
}

static void end_sharers(const pid_t *pid, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
}

/* The argument is the number of processes, including this one. */
static void run_shared(const struct workload *w, unsigned int rounds)
{
	pid_t pid[MAX_SHARERS];
	struct request rq;
	struct area a;
	unsigned int i;
	__u64 cost;

	area_make(&a, w->arg > 4 ? MIB(256) / w->arg : MIB(64), BASE_PAGES, 1);
	request_make(&rq, &a, PAGE);
	rq.flags = MPOL_MF_MOVE_ALL;
	start_sharers(&a, pid, w->arg - 1);
	for (i = 0; i < rounds; i++) {
		request_aim(&rq, 2 - i % 2);
		settle();
		cost = request_run(&rq);
		request_expect(&rq);
		report(w, NULL, rq.nr, cost, area_intact(&a));
	}
	end_sharers(pid, w->arg - 1);
}

/* The shared memory: base pages, base pages of a file, or folios of 64 KiB. */
enum shared_kind { PAGES, FILE_PAGES, FOLIOS };

/* Map a file in place of an area. It has the same contents, in base pages. */
static void area_into_file(const struct area *a)
{
	int fd = memfd_create("migrate_bench", MFD_CLOEXEC);
	size_t at;

	if (fd < 0)
		fail("memfd_create");
	place_on(1);
	for (at = 0; at < a->size; at += PAGE)
		if (write(fd, a->start + at, PAGE) != (ssize_t)PAGE)
			fail("write");
	place_freely();
	if (mmap(a->start, a->size, PROT_READ,
		 MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0) != a->start)
		fail("mmap of the file");
	close(fd);
}

static void shared_make(struct area *a, enum shared_kind kind)
{
	if (kind == FOLIOS) {
		folio_size(KIB(64));
		area_make(a, MIB(4), HUGE_PAGES, 1);
		if (area_folios(a, KIB(64)) != a->size / KIB(64))
			skip_workload("no folios of 64 KiB");
		return;
	}
	area_make(a, MIB(4), BASE_PAGES, 1);
	if (kind == FILE_PAGES)
		area_into_file(a);
}

/* No page may move, because 64 processes map it. Measure the cost of the refusal. */
static void run_refused(const struct workload *w, unsigned int rounds)
{
	unsigned long n, stayed;
	pid_t pid[MAX_SHARERS];
	struct request rq;
	struct area a;
	unsigned int i;
	__u64 cost;

	shared_make(&a, w->arg);
	request_make(&rq, &a, PAGE);
	request_aim(&rq, 2);
	start_sharers(&a, pid, MAX_SHARERS - 1);
	for (i = 0; i < rounds; i++) {
		settle();
		cost = request_run(&rq);
		for (n = 0, stayed = 0; n < rq.nr; n++)
			stayed += rq.status[n] == -EACCES;
		if (stayed != rq.nr)
			note("%lu of %lu not refused", rq.nr - stayed, rq.nr);
		report(w, NULL, rq.nr, cost, area_intact(&a));
	}
	end_sharers(pid, MAX_SHARERS - 1);
}

const struct workload share_workloads[] = {
	{ "shared-4", "64 MiB of base pages of 4 processes", "page", "moves",
	  ON_BOTH, 3, run_shared, 4 },
	{ "shared-16", "16 MiB of base pages of 16 processes", "page",
	  "moves", ON_BOTH, 3, run_shared, 16 },
	{ "shared-64", "4 MiB of base pages of 64 processes", "page",
	  "moves", ON_BOTH, 3, run_shared, 64 },
	{ "refused-64", "base pages that 64 processes map, with MPOL_MF_MOVE",
	  "page", "moves", ON_BOTH, 3, run_refused, PAGES },
	{ "refused-file-64",
	  "base pages of a file that 64 processes map, with MPOL_MF_MOVE",
	  "page", "moves", ON_BOTH, 3, run_refused, FILE_PAGES },
	{ "refused-64K-64",
	  "folios of 64 KiB that 64 processes map, with MPOL_MF_MOVE",
	  "page", "folios", ON_BOTH, 3, run_refused, FOLIOS },
	{ }
};
