// SPDX-License-Identifier: GPL-2.0-only
/*
 * migrate_bench - measure the cost of page migration
 *
 * The program runs one workload after the other and prints samples of their cost.
 * Scripts compare the samples of two kernels. See
 * Documentation/mm/migrate_bench.rst.
 */
#include <fnmatch.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static const struct workload * const tables[] = {
	move_workloads, folio_workloads, share_workloads, file_workloads,
	thread_workloads, caller_workloads, device_workloads, walk_workloads,
};

/*
 * After some idle seconds the kernel has removed free pages of other nodes from the
 * per-CPU lists. So each workload starts with the same lists.
 */
#define CALM_SECONDS	6

static unsigned int rounds;

static void print_usage(FILE *out)
{
	fprintf(out,
		"usage: migrate_bench [-i] [-r ROUNDS] [PATTERN...]\n"
		"       migrate_bench -l\n"
		"  -i  the clock counts instructions (qemu -icount shift=0)\n"
		"  -r  samples of each workload\n"
		"  -l  list the workloads\n");
}

static void list(const struct workload *w)
{
	printf("%s\t%s\t%s\t%s%s%s\t%s\n", w->name, w->unit, w->boot,
	       w->clocks & ON_INSN ? "insn " : "",
	       w->clocks & ON_WALL ? "wall " : "",
	       w->clocks & ON_NATIVE ? "native" : "", w->what);
}

static bool is_wanted(const struct workload *w, char **patterns)
{
	if (!(w->clocks & (counting_insns ? ON_INSN : ON_WALL | ON_NATIVE)))
		return false;
	if (!*patterns)
		return true;
	for (; *patterns; patterns++)
		if (!fnmatch(*patterns, w->name, 0))
			return true;
	return false;
}

/* Run a workload in a process with its own page tables and policies. */
static bool run_alone(const struct workload *w)
{
	int status;
	pid_t pid;

	fflush(stdout);
	report_start(w->name);
	if (counting_insns)
		sleep(CALM_SECONDS);
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (!pid) {
		pin_to(0);
		if (counting_insns)
			clock_check();
		w->run(w, rounds ? rounds : w->rounds);
		exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		printf("error %s killed by signal %d\n", w->name,
		       WTERMSIG(status));
	return status == 0;
}

/* Run each wanted workload. Returns false if one has failed. */
static bool run_all(char **patterns)
{
	const struct workload *w;
	bool good = true;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tables); i++)
		for (w = tables[i]; w->name; w++)
			if (is_wanted(w, patterns))
				good &= run_alone(w);
	return good;
}

static void list_all(void)
{
	const struct workload *w;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tables); i++)
		for (w = tables[i]; w->name; w++)
			list(w);
}

int main(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "hilr:")) != -1) {
		switch (option) {
		case 'i':
			counting_insns = true;
			break;
		case 'l':
			list_all();
			return 0;
		case 'r':
			rounds = strtoul(optarg, NULL, 10);
			break;
		default:
			print_usage(option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	return run_all(argv + optind) ? 0 : 1;
}
