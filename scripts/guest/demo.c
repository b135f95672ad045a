// SPDX-License-Identifier: GPL-2.0-only
/*
 * Demonstrate page migration. A worker process has four kinds of memory. Its parent
 * moves this memory from node to node, by each interface that Linux has for this.
 * After each move the parent draws a map of the nodes, and the worker verifies the
 * contents.
 *
 * demo          draws maps for a reader
 * demo --tap    prints the same as test results
 *
 * The exit status is 0 only if all checks passed. They check that each call
 * succeeds, that each page is on its target node, that THPs are not split, and the
 * contents.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <numaif.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NODES		4
#define PAGE		4096UL
#define HUGE		(2UL << 20)
#define REGION		(8UL << 20)
#define REGION_PAGES	(REGION / PAGE)
#define CELLS		32
#define CELL_PAGES	(REGION_PAGES / CELLS)
#define CGROUP		"/sys/fs/cgroup"
#define HUGETLB_FILE \
	"/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/nr_hugepages"

enum kind { BASE, THP, HUGETLB, FILE_CACHE, KINDS };

/* The name of a region in the map, and the function that maps it in the worker. */
struct region {
	const char *name;
	char *(*map)(void);
};

/* The first byte of a request from the parent to the worker. */
enum order { ORDER_SUM, ORDER_MBIND };

/* A move: its title, its function, and the nodes of both halves after it. */
struct step {
	const char *title;
	bool (*move)(const struct step *step);
	int first, second;
};

/* The worker: its pid, its pipes, its memory, and the checksum of the contents. */
static struct {
	pid_t pid;
	int order, answer;
	char *addr[KINDS];
	unsigned long long sum;
} worker;

/* The state of the worker's memory after a step. */
struct sight {
	int node[KINDS][REGION_PAGES];
	bool placed, intact, whole;
	double ms;
};

static bool tap, colour;
static int checks, failures;

static noreturn void die(const char *what)
{
	printf("%s%s: %s\n", tap ? "Bail out! " : "demo: ", what, strerror(errno));
	exit(1);
}

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return good;
}

/* Code of the worker. */

static char *map_or_die(size_t size, int flags, int fd)
{
	char *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (addr == MAP_FAILED)
		die("mmap");
	return addr;
}

static char *map_base(void)
{
	char *addr = map_or_die(REGION, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	madvise(addr, REGION, MADV_NOHUGEPAGE);
	return addr;
}

static char *map_thp(void)
{
	char *addr = map_or_die(REGION + HUGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	addr = (char *)(((uintptr_t)addr + HUGE - 1) & ~(HUGE - 1));
	if (madvise(addr, REGION, MADV_HUGEPAGE))
		die("madvise(MADV_HUGEPAGE)");
	return addr;
}

static char *map_hugetlb(void)
{
	return map_or_die(REGION, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
}

static char *map_file(void)
{
	int fd = open("demo-file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	char *addr;

	if (fd < 0 || ftruncate(fd, REGION))
		die("demo-file");
	addr = map_or_die(REGION, MAP_SHARED, fd);
	close(fd);
	unlink("demo-file");
	return addr;
}

static const struct region regions[KINDS] = {
	[BASE]		= { "base pages",	map_base },
	[THP]		= { "THP",		map_thp },
	[HUGETLB]	= { "hugetlb",		map_hugetlb },
	[FILE_CACHE]	= { "page cache",	map_file },
};

/* Every word differs from its neighbours and from the same word of other pages. */
static void fill(char *addr, unsigned long long seed)
{
	unsigned long long *word = (unsigned long long *)addr;

	for (size_t i = 0; i < REGION / sizeof(*word); i++)
		word[i] = (seed << 32 | i) * 0x9e3779b97f4a7c15ULL;
}

static unsigned long long sum_all(void)
{
	unsigned long long sum = 0;

	for (int kind = 0; kind < KINDS; kind++) {
		const unsigned long long *word = (const unsigned long long *)worker.addr[kind];

		for (size_t i = 0; i < REGION / sizeof(*word); i++)
			sum = (sum ^ word[i]) * 0x100000001b3ULL;
	}
	return sum;
}

/* Bind all regions to a node, which moves their pages. Then reset the policy. */
static unsigned long long mbind_all(int node)
{
	unsigned long mask = 1UL << node;
	int errors = 0;

	for (int kind = 0; kind < KINDS; kind++) {
		char *addr = worker.addr[kind];

		errors += !!mbind(addr, REGION, MPOL_BIND, &mask, NODES + 1, MPOL_MF_MOVE);
		errors += !!mbind(addr, REGION, MPOL_DEFAULT, NULL, 0, 0);
	}
	return errors;
}

static void work(int order, int answer)
{
	unsigned long mask = 1;
	unsigned char request[2];
	unsigned long long reply;

	if (set_mempolicy(MPOL_BIND, &mask, NODES + 1))
		die("set_mempolicy");
	for (int kind = 0; kind < KINDS; kind++) {
		worker.addr[kind] = regions[kind].map();
		fill(worker.addr[kind], kind + 1);
	}
	set_mempolicy(MPOL_DEFAULT, NULL, 0);
	if (write(answer, worker.addr, sizeof(worker.addr)) < 0)
		exit(1);
	while (read(order, request, 2) == 2) {
		reply = request[0] == ORDER_SUM ? sum_all() : mbind_all(request[1]);
		if (write(answer, &reply, sizeof(reply)) < 0)
			exit(1);
	}
	exit(0);
}

/* Code of the parent. */

static unsigned long long ask(enum order what, int node)
{
	unsigned char request[2] = { what, node };
	unsigned long long reply;

	if (write(worker.order, request, 2) != 2 ||
	    read(worker.answer, &reply, sizeof(reply)) != sizeof(reply))
		die("the worker does not answer");
	return reply;
}

static void start_worker(void)
{
	int order[2], answer[2];

	if (pipe(order) || pipe(answer))
		die("pipe");
	fflush(stdout);
	worker.pid = fork();
	if (worker.pid < 0)
		die("fork");
	if (!worker.pid) {
		close(order[1]);
		close(answer[0]);
		work(order[0], answer[1]);
	}
	close(order[0]);
	close(answer[1]);
	worker.order = order[1];
	worker.answer = answer[0];
	if (read(worker.answer, worker.addr, sizeof(worker.addr)) != sizeof(worker.addr))
		die("the worker did not get its memory");
	worker.sum = ask(ORDER_SUM, 0);
}

/* Move the pages of a region. If @nodes is NULL, only get their nodes. */
static void move_region(int kind, const int *nodes, int *status)
{
	static void *pages[REGION_PAGES];

	for (size_t i = 0; i < REGION_PAGES; i++)
		pages[i] = worker.addr[kind] + i * PAGE;
	if (move_pages(worker.pid, REGION_PAGES, pages, nodes, status, MPOL_MF_MOVE) < 0)
		die("move_pages");
}

static int target(const struct step *step, size_t page)
{
	return page < REGION_PAGES / 2 ? step->first : step->second;
}

static bool by_nothing(const struct step *step)
{
	(void)step;
	return true;
}

static bool by_move_pages(const struct step *step)
{
	static int nodes[REGION_PAGES], status[REGION_PAGES];

	for (size_t i = 0; i < REGION_PAGES; i++)
		nodes[i] = target(step, i);
	for (int kind = 0; kind < KINDS; kind++)
		move_region(kind, nodes, status);
	return true;
}

static bool by_mbind(const struct step *step)
{
	return !ask(ORDER_MBIND, step->first);
}

/* Run migratepages(8), which is in Debian's package numactl. */
static bool run_migratepages(const char *from, const char *to)
{
	char pid[16];
	int status;
	pid_t child;

	snprintf(pid, sizeof(pid), "%d", worker.pid);
	child = fork();
	if (!child) {
		execlp("migratepages", "migratepages", pid, from, to, NULL);
		_exit(127);
	}
	return child > 0 && waitpid(child, &status, 0) == child && !status;
}

static bool by_migratepages(const struct step *step)
{
	(void)step;
	return run_migratepages("2", "3");
}

static bool by_migratepages_group(const struct step *step)
{
	(void)step;
	return run_migratepages("0,1", "2,3");
}

static bool move_cpuset(const char *pid)
{
	return put(CGROUP "/demo/cpuset.mems", "3") &&
	       put(CGROUP "/demo/cgroup.procs", pid) &&
	       put(CGROUP "/demo/cpuset.mems", "0");
}

/* The nodes of a cpuset change from 3 to 0 while the worker is in it. */
static bool by_cpuset(const struct step *step)
{
	char pid[16];
	bool good;

	(void)step;
	snprintf(pid, sizeof(pid), "%d", worker.pid);
	put(CGROUP "/cgroup.subtree_control", "+cpuset");
	mkdir(CGROUP "/demo", 0755);
	good = move_cpuset(pid);
	put(CGROUP "/cgroup.procs", pid);
	rmdir(CGROUP "/demo");
	return good;
}

static long anon_huge_kib(char *addr)
{
	char path[32], line[256], start[24];
	bool here = false;
	long kib = 0;
	FILE *smaps;

	snprintf(path, sizeof(path), "/proc/%d/smaps", worker.pid);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)addr);
	smaps = fopen(path, "r");
	while (smaps && fgets(line, sizeof(line), smaps)) {
		if (strchr(line, '-') && strchr(line, '-') < strchr(line, ' '))
			here = !strncmp(line, start, strlen(start));
		if (here && sscanf(line, "AnonHugePages: %ld", &kib) == 1)
			break;
	}
	if (smaps)
		fclose(smaps);
	return kib;
}

static void look(const struct step *step, struct sight *sight)
{
	sight->placed = true;
	for (int kind = 0; kind < KINDS; kind++) {
		move_region(kind, NULL, sight->node[kind]);
		for (size_t i = 0; i < REGION_PAGES; i++)
			sight->placed &= sight->node[kind][i] == target(step, i);
	}
	sight->intact = ask(ORDER_SUM, 0) == worker.sum;
	sight->whole = anon_huge_kib(worker.addr[THP]) == REGION / 1024;
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

/* A cell shows the node of its pages, `*` for several nodes, `?` for none. */
static char cell(const int *node)
{
	for (size_t i = 1; i < CELL_PAGES; i++)
		if (node[i] != node[0])
			return '*';
	return node[0] >= 0 && node[0] < 10 ? '0' + node[0] : '?';
}

static void draw_region(const char *name, const int *node)
{
	static const int hue[] = { 44, 42, 43, 45 };

	printf("      %-12s", name);
	for (int i = 0; i < CELLS; i++) {
		char c = cell(node + i * CELL_PAGES);

		if (colour && c >= '0' && c < '0' + NODES)
			printf("\033[30;%dm%c\033[0m", hue[c - '0'], c);
		else
			putchar(c);
	}
}

/* The remark behind a line of the map. */
static const char *remark(int kind, const struct sight *sight)
{
	switch (kind) {
	case BASE:
		return sight->placed ? "placed as asked" : "NOT WHERE IT SHOULD BE";
	case THP:
		return sight->whole ? "huge pages whole" : "HUGE PAGES SPLIT";
	case HUGETLB:
		return sight->intact ? "contents verified" : "CONTENTS DIFFER";
	default:
		return "";
	}
}

static void draw(const struct step *step, const struct sight *sight)
{
	char took[32] = "";

	if (step->move != by_nothing)
		snprintf(took, sizeof(took), "%.0f ms", sight->ms);
	printf("\n  %-62s %8s\n", step->title, took);
	for (int kind = 0; kind < KINDS; kind++) {
		draw_region(regions[kind].name, sight->node[kind]);
		printf("   %s\n", remark(kind, sight));
	}
}

static void check(bool good, const char *title, const char *what)
{
	checks++;
	failures += !good;
	if (tap)
		printf("%sok %d %s: %s\n", good ? "" : "not ", checks, title, what);
	fflush(stdout);
}

static void take(const struct step *step)
{
	static struct sight sight;
	double start = now_ms();
	bool done = step->move(step);

	sight.ms = now_ms() - start;
	look(step, &sight);
	if (!tap)
		draw(step, &sight);
	if (!tap && !done)
		printf("      the call failed\n");
	check(done, step->title, "done");
	check(sight.placed, step->title, "placement");
	check(sight.whole, step->title, "huge pages whole");
	check(sight.intact, step->title, "contents");
}

static const struct step steps[] = {
	{ "at the start, on node 0",			by_nothing,		0, 0 },
	{ "move_pages(2): each page to node 1",		by_move_pages,		1, 1 },
	{ "mbind(2) with MPOL_MF_MOVE: to node 2",	by_mbind,		2, 2 },
	{ "migratepages PID 2 3",			by_migratepages,	3, 3 },
	{ "cpuset.mems of its group from 3 to 0",	by_cpuset,		0, 0 },
	{ "move_pages(2): first halves to 0, second halves to 1",
							by_move_pages,		0, 1 },
	{ "migratepages PID 0,1 2,3: the halves stay apart",
							by_migratepages_group,	2, 3 },
};

/* The counters of /proc/vmstat for page migration. */

struct counter {
	char name[48];
	long long value;
};

static int read_counters(struct counter *counters, int max)
{
	static const char * const about[] = { "pgmigrate", "thp_migration", "numa_pages_migrated" };
	FILE *vmstat = fopen("/proc/vmstat", "r");
	int count = 0;

	while (vmstat && count < max &&
	       fscanf(vmstat, "%47s %lld", counters[count].name, &counters[count].value) == 2) {
		bool keep = false;

		for (size_t i = 0; i < sizeof(about) / sizeof(*about); i++)
			keep |= !strncmp(counters[count].name, about[i], strlen(about[i]));
		count += keep;
	}
	if (vmstat)
		fclose(vmstat);
	return count;
}

static void show_counters(const struct counter *before, int count)
{
	static struct counter after[64];
	int now = read_counters(after, 64);

	printf("\n  Counters of /proc/vmstat that changed:\n");
	for (int i = 0; i < count && i < now; i++) {
		long long moved = after[i].value - before[i].value;

		if (moved)
			printf("      %-28s %+lld\n", after[i].name, moved);
	}
}

static void reserve_hugetlb(void)
{
	char path[128];

	for (int node = 0; node < NODES; node++) {
		snprintf(path, sizeof(path), HUGETLB_FILE, node);
		if (!put(path, "4"))
			die(path);
	}
}

static void introduce(void)
{
	struct utsname name;

	uname(&name);
	printf("\nLinux %s, %d nodes. Process %d has 32 MiB of memory: 8 MiB each of base pages,\n",
	       name.release, NODES, worker.pid);
	printf("transparent huge pages (THP), hugetlb pages, and page cache of a file on ext4.\n");
	printf("Each digit of a map is 256 KiB and names the node where they are.\n");
}

static void conclude(const struct counter *before, int count)
{
	if (tap)
		return;
	show_counters(before, count);
	if (failures)
		printf("\n%d of %d checks FAILED.\n", failures, checks);
	else
		printf("\nAll %d checks passed: pages are on their nodes, contents are intact.\n",
		       checks);
}

int main(int argc, char **argv)
{
	static struct counter before[64];
	const int nr_steps = sizeof(steps) / sizeof(*steps);
	int count;

	tap = argc > 1 && !strcmp(argv[1], "--tap");
	colour = getenv("colour") && !strcmp(getenv("colour"), "1");
	if (tap)
		printf("TAP version 13\n1..%d\n", nr_steps * 4);
	reserve_hugetlb();
	start_worker();
	if (!tap)
		introduce();
	count = read_counters(before, 64);
	for (int i = 0; i < nr_steps; i++)
		take(&steps[i]);
	conclude(before, count);
	return failures != 0;
}
