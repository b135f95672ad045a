// SPDX-License-Identifier: GPL-2.0-only
/* Base pages that several processes map. */
#include <linux/mempolicy.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define MAX_SHARERS	64

/* Processes that map what this one maps, and do nothing. */
static void start_sharers(pid_t *pid, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		pid[i] = fork();
		if (pid[i] < 0)
			fail("fork");
		if (pid[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
}

static void end_sharers(const pid_t *pid, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
}

/* The argument is the number of processes, this one among them. */
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
	start_sharers(pid, w->arg - 1);
	for (i = 0; i < rounds; i++) {
		request_aim(&rq, 2 - i % 2);
		settle();
		cost = request_run(&rq);
		request_expect(&rq);
		report(w, NULL, rq.nr, cost, area_intact(&a));
	}
	end_sharers(pid, w->arg - 1);
}

const struct workload share_workloads[] = {
	{ "shared-4", "64 MiB of base pages of 4 processes", "page", "moves",
	  ON_BOTH, 3, run_shared, 4 },
	{ "shared-16", "16 MiB of base pages of 16 processes", "page",
	  "moves", ON_BOTH, 3, run_shared, 16 },
	{ "shared-64", "4 MiB of base pages of 64 processes", "page",
	  "moves", ON_BOTH, 3, run_shared, 64 },
	{ }
};
