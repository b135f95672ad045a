// SPDX-License-Identifier: GPL-2.0-only
/*
 * Compare the counters of nodes, zones and of a memory cgroup before and after a
 * move. The counters that include the memory must change by exactly its size, and
 * all others must not change.
 *
 * The test computes the share of the memory in the counters page by page, from
 * /proc/kpageflags, kpagecount and pagemap. So the share does not depend on the
 * counters. The table fields[] says which part of a share a counter shows, and which
 * counters may change for other reasons. A counter that is not in the table must
 * not change at all.
 *
 * Two things make the counters exact. The kernel adds up its per-CPU parts before
 * the test reads them. And the test reads until two readings agree, so that earlier
 * activity, also of other processes, has ended.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migrate_counters.h"
#include "migrate_lib.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

#define CGROUP			"/sys/fs/cgroup"
#define HUGETLB_OPTION		"memory_hugetlb_accounting"
#define LABEL			"counters"
#define GROUP			CGROUP "/migrate_" LABEL
#define NODE_DIR		"/sys/devices/system/node"

#define MAX_COUNTERS		8192
#define MAX_TEXT		(512 * 1024)
#define EVERYWHERE		-1
#define MAX_PAGES		32768
#define REST_SECONDS		20
/* MEMCG_CHARGE_BATCH of the kernel: how many updates a CPU may keep to itself. */
#define MEMCG_BATCH		64

/**
 * enum table - the files that define the name of a counter
 * @VMSTAT: vmstat of a node, and zoneinfo
 * @MEMINFO: meminfo of a node
 * @MEMCG: memory.stat and memory.numa_stat
 * @HUGETLB_CG: hugetlb.*.numa_stat
 */
enum table {
	VMSTAT,
	MEMINFO,
	MEMCG,
	HUGETLB_CG,
};

/**
 * enum unit - the unit of a counter
 * @PAGES: pages
 * @KBYTES: kB
 * @BYTES: bytes
 * @HUGE: folios of PMD size
 * @UNUSED_HUGETLB: hugetlb pages that are not in use
 * @UNUSED: pages that are not in use
 */
enum unit {
	PAGES,
	KBYTES,
	BYTES,
	HUGE,
	UNUSED_HUGETLB,
	UNUSED,
};

/**
 * struct field - a counter that may change
 * @table: the files that it is in
 * @name: its name there
 * @items: the items of a share that it shows
 * @unit: its unit
 * @slack: by how much it may differ from the share, in @unit
 * @why: the reason for @slack; or, if @slack is 0, why it is not compared; or NULL
 */
struct field {
	enum table table;
	const char *name;
	unsigned int items;
	enum unit unit;
	long slack;
	const char *why;
};

/**
 * struct place - the file of a counter, and its node or zone
 * @table: the files that define its name
 * @label: the file
 * @node: its node, or EVERYWHERE
 * @zone: its zone, or EVERYWHERE
 */
struct place {
	enum table table;
	const char *label;
	int node;
	int zone;
};

/**
 * struct counter - a value
 * @name: its name
 * @place: its file, node and zone
 * @field: its entry in the table fields, or NULL
 * @value: the value that was read
 */
struct counter {
	char name[40];
	struct place place;
	const struct field *field;
	long value;
};

/**
 * struct mig_counters - all counters at one moment
 * @nr: number of counters
 * @counter: the counters, always in the same order
 */
struct mig_counters {
	int nr;
	struct counter counter[MAX_COUNTERS];
};

/**
 * struct zone - the node and the pfns of a zone
 * @node: its node
 * @start: its first pfn
 * @end: the pfn after the last one
 */
struct zone {
	int node;
	unsigned long start;
	unsigned long end;
};

static struct zone zones[MIG_MAX_ZONES];
static int nr_zones;
static bool multi_gen;
static char *text;
static char *stir_mem;
static size_t stir_pages;
static struct mig_counters *again;
static char hugetlb_stat[128];
static uint64_t *heads;

/*
 * The table
 */

#define I(_item)		(1U << MIG_##_item)
#define LRU_ANON		(I(INACTIVE_ANON) | I(ACTIVE_ANON))
#define LRU_FILE		(I(INACTIVE_FILE) | I(ACTIVE_FILE))

#define FREE_WHY							\
	"free memory is compared per node, together with per-CPU lists and slabs"
#define FREE_SLACK_WHY							\
	"the kernel allocates and frees memory for itself, partly late"
#define TUNED_WHY "follows how many pages are allocated and freed"
#define EVENT_WHY "counts allocations, also those of the kernel"
#define KERNEL_WHY							\
	"memory of the kernel: system calls take some, RCU frees it late"
#define OWN_WHY "the test causes page faults to flush the counters"

static const struct field fields[] = {
	/* Counters of a zone. */
	{ VMSTAT, "nr_zone_inactive_anon", I(INACTIVE_ANON) },
	{ VMSTAT, "nr_zone_active_anon", I(ACTIVE_ANON) },
	{ VMSTAT, "nr_zone_inactive_file", I(INACTIVE_FILE) },
	{ VMSTAT, "nr_zone_active_file", I(ACTIVE_FILE) },
	{ VMSTAT, "nr_zone_unevictable", I(UNEVICTABLE) },
	{ VMSTAT, "nr_zone_write_pending", I(DIRTY) },
	{ VMSTAT, "nr_mlock", I(MLOCKED) },
	/* Counters of a node. */
	{ VMSTAT, "nr_inactive_anon", I(INACTIVE_ANON) },
	{ VMSTAT, "nr_active_anon", I(ACTIVE_ANON) },
	{ VMSTAT, "nr_inactive_file", I(INACTIVE_FILE) },
	{ VMSTAT, "nr_active_file", I(ACTIVE_FILE) },
	{ VMSTAT, "nr_unevictable", I(UNEVICTABLE) },
	{ VMSTAT, "nr_anon_pages", I(ANON_MAPPED) },
	{ VMSTAT, "nr_mapped", I(FILE_MAPPED) },
	{ VMSTAT, "nr_file_pages", I(PAGE_CACHE) | I(SWAP_CACHE) },
	{ VMSTAT, "nr_dirty", I(DIRTY) },
	{ VMSTAT, "nr_shmem", I(SHMEM) },
	{ VMSTAT, "nr_shmem_hugepages", I(SHMEM_THP), HUGE },
	{ VMSTAT, "nr_shmem_pmdmapped", I(SHMEM_PMD), HUGE },
	{ VMSTAT, "nr_file_hugepages", I(FILE_THP), HUGE },
	{ VMSTAT, "nr_file_pmdmapped", I(FILE_PMD), HUGE },
	{ VMSTAT, "nr_anon_transparent_hugepages", I(ANON_THP), HUGE },
	{ VMSTAT, "nr_swapcached", I(SWAP_CACHE) },
	{ VMSTAT, "nr_hugetlb", I(HUGETLB) },
	/* The sum of counters that follow, see add_free(). */
	{ VMSTAT, "free", I(FROM_BUDDY), UNUSED, 512, FREE_SLACK_WHY },
	{ VMSTAT, "nr_free_pages", .why = FREE_WHY },
	{ VMSTAT, "nr_free_pages_blocks", .why = FREE_WHY },
	{ VMSTAT, "nr_free_cma", .why = FREE_WHY },
	{ VMSTAT, "pages free", .why = FREE_WHY },
	{ VMSTAT, "count:", .why = FREE_WHY },
	{ VMSTAT, "free_highatomic:", .why = FREE_WHY },
	{ VMSTAT, "high:", .why = TUNED_WHY },
	{ VMSTAT, "numa_hit", .why = EVENT_WHY },
	{ VMSTAT, "numa_miss", .why = EVENT_WHY },
	{ VMSTAT, "numa_foreign", .why = EVENT_WHY },
	{ VMSTAT, "numa_interleave", .why = EVENT_WHY },
	{ VMSTAT, "numa_local", .why = EVENT_WHY },
	{ VMSTAT, "numa_other", .why = EVENT_WHY },
	{ VMSTAT, "nr_slab_reclaimable", .why = KERNEL_WHY },
	{ VMSTAT, "nr_slab_unreclaimable", .why = KERNEL_WHY },
	{ VMSTAT, "nr_kernel_stack", .why = KERNEL_WHY },
	{ VMSTAT, "nr_page_table_pages", .why = KERNEL_WHY },
	{ VMSTAT, "nr_vmalloc", .why = KERNEL_WHY },

	{ MEMINFO, "Active", I(ACTIVE_ANON) | I(ACTIVE_FILE), KBYTES },
	{ MEMINFO, "Inactive", I(INACTIVE_ANON) | I(INACTIVE_FILE), KBYTES },
	{ MEMINFO, "Active(anon)", I(ACTIVE_ANON), KBYTES },
	{ MEMINFO, "Inactive(anon)", I(INACTIVE_ANON), KBYTES },
	{ MEMINFO, "Active(file)", I(ACTIVE_FILE), KBYTES },
	{ MEMINFO, "Inactive(file)", I(INACTIVE_FILE), KBYTES },
	{ MEMINFO, "Unevictable", I(UNEVICTABLE), KBYTES },
	{ MEMINFO, "Mlocked", I(MLOCKED), KBYTES },
	{ MEMINFO, "SwapCached", I(SWAP_CACHE), KBYTES },
	{ MEMINFO, "Dirty", I(DIRTY), KBYTES },
	{ MEMINFO, "FilePages", I(PAGE_CACHE) | I(SWAP_CACHE), KBYTES },
	{ MEMINFO, "Mapped", I(FILE_MAPPED), KBYTES },
	{ MEMINFO, "AnonPages", I(ANON_MAPPED), KBYTES },
	{ MEMINFO, "Shmem", I(SHMEM), KBYTES },
	{ MEMINFO, "AnonHugePages", I(ANON_THP), KBYTES },
	{ MEMINFO, "ShmemHugePages", I(SHMEM_THP), KBYTES },
	{ MEMINFO, "ShmemPmdMapped", I(SHMEM_PMD), KBYTES },
	{ MEMINFO, "FileHugePages", I(FILE_THP), KBYTES },
	{ MEMINFO, "FilePmdMapped", I(FILE_PMD), KBYTES },
	{ MEMINFO, "HugePages_Free", I(HUGETLB), UNUSED_HUGETLB },
	{ MEMINFO, "MemFree", .why = FREE_WHY },
	{ MEMINFO, "MemUsed", .why = FREE_WHY },
	{ MEMINFO, "KernelStack", .why = KERNEL_WHY },
	{ MEMINFO, "PageTables", .why = KERNEL_WHY },
	{ MEMINFO, "KReclaimable", .why = KERNEL_WHY },
	{ MEMINFO, "Slab", .why = KERNEL_WHY },
	{ MEMINFO, "SReclaimable", .why = KERNEL_WHY },
	{ MEMINFO, "SUnreclaim", .why = KERNEL_WHY },

	{ MEMCG, "anon", I(ANON_MAPPED), BYTES },
	{ MEMCG, "file", I(PAGE_CACHE), BYTES },
	{ MEMCG, "shmem", I(SHMEM), BYTES },
	{ MEMCG, "file_mapped", I(FILE_MAPPED), BYTES },
	{ MEMCG, "file_dirty", I(DIRTY), BYTES },
	{ MEMCG, "swapcached", I(SWAP_CACHE), BYTES },
	{ MEMCG, "anon_thp", I(ANON_THP), BYTES },
	{ MEMCG, "file_thp", I(FILE_THP), BYTES },
	{ MEMCG, "shmem_thp", I(SHMEM_THP), BYTES },
	{ MEMCG, "inactive_anon", I(INACTIVE_ANON), BYTES },
	{ MEMCG, "active_anon", I(ACTIVE_ANON), BYTES },
	{ MEMCG, "inactive_file", I(INACTIVE_FILE), BYTES },
	{ MEMCG, "active_file", I(ACTIVE_FILE), BYTES },
	{ MEMCG, "unevictable", I(UNEVICTABLE), BYTES },
	{ MEMCG, "hugetlb", I(HUGETLB), BYTES },
	{ MEMCG, "kernel", .why = KERNEL_WHY },
	{ MEMCG, "kernel_stack", .why = KERNEL_WHY },
	{ MEMCG, "pagetables", .why = KERNEL_WHY },
	{ MEMCG, "percpu", .why = KERNEL_WHY },
	{ MEMCG, "vmalloc", .why = KERNEL_WHY },
	{ MEMCG, "slab", .why = KERNEL_WHY },
	{ MEMCG, "slab_reclaimable", .why = KERNEL_WHY },
	{ MEMCG, "slab_unreclaimable", .why = KERNEL_WHY },
	{ MEMCG, "pgfault", .why = OWN_WHY },

	{ HUGETLB_CG, "total", I(HUGETLB), BYTES },
};

static const struct field *find_field(enum table table, const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		if (fields[i].table == table && !strcmp(fields[i].name, name))
			return &fields[i];
	}
	return NULL;
}

/* Return true if the counter must agree in two readings while nothing moves. */
static bool is_exact(const struct counter *c)
{
	return !c->field || !c->field->why;
}

/*
 * The active flag does not tell the generations of MGLRU apart. With MGLRU, treat
 * the active and the inactive list of a type as one list.
 */
static unsigned int shown_items(const struct field *field)
{
	unsigned int items = field->items;

	if (multi_gen && (items & LRU_ANON))
		items |= LRU_ANON;
	if (multi_gen && (items & LRU_FILE))
		items |= LRU_FILE;
	return items;
}

static bool is_one_list(const struct field *field)
{
	return multi_gen && field && (field->items & (LRU_ANON | LRU_FILE));
}

/*
 * Reading
 */

/* Read a whole file into the buffer text. Fail if it does not fit. */
static void must_read_text(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len, sum = 0;

	if (fd < 0)
		mig_fail("%s: %m", path);
	do {
		len = read(fd, text + sum, MAX_TEXT - 1 - sum);
		sum += len > 0 ? len : 0;
	} while (len > 0);
	close(fd);
	if (len < 0 || sum == MAX_TEXT - 1)
		mig_fail("cannot read all of %s", path);
	text[sum] = '\0';
}

/* vmstat of a node has the sums of its zones, and counters of the node itself. */
static bool is_sum_of_zones(const struct field *field)
{
	return !strncmp(field->name, "nr_zone_", 8);
}

/* Find the counter of the other list of a pair that the test treats as one list. */
static struct counter *other_list(struct mig_counters *c,
				  const struct place *place,
				  const struct field *field)
{
	struct counter *one;

	for (one = c->counter; one < c->counter + c->nr; one++) {
		if (is_one_list(one->field) && one->place.label == place->label &&
		    one->place.node == place->node &&
		    one->place.zone == place->zone &&
		    is_sum_of_zones(one->field) == is_sum_of_zones(field) &&
		    shown_items(one->field) == shown_items(field))
			return one;
	}
	return NULL;
}

static void add_counter(struct mig_counters *c, const struct place *place,
			const char *name, long value)
{
	const struct field *field = find_field(place->table, name);
	struct counter *new = &c->counter[c->nr];
	struct counter *other;

	other = is_one_list(field) ? other_list(c, place, field) : NULL;
	if (other) {
		other->value += value;
		return;
	}
	if (c->nr++ == MAX_COUNTERS)
		mig_fail("too many counters");
	snprintf(new->name, sizeof(new->name), "%s", name);
	new->place = *place;
	new->field = field;
	new->value = value;
}

/* Split a line into name and value. The value is the last word except for "kB". */
static bool split_line(char *line, char **name, long *value)
{
	char *end;

	while (*line == ' ')
		line++;
	end = strrchr(line, ' ');
	if (end && !strcmp(end, " kB")) {
		*end = '\0';
		end = strrchr(line, ' ');
	}
	if (!end)
		return false;
	*value = strtol(end + 1, NULL, 10);
	while (end > line && end[-1] == ' ')
		end--;
	*end = '\0';
	*name = line;
	return true;
}

static char *next_line(char **from)
{
	char *line;

	do {
		line = strsep(from, "\n");
	} while (line && !*line);
	return line;
}

static void read_vmstat(struct mig_counters *c, int node)
{
	const struct place place = { VMSTAT, "vmstat", node, EVERYWHERE };
	char path[96], *rest = text, *line, *name;
	long value;

	snprintf(path, sizeof(path), NODE_DIR "/node%d/vmstat", node);
	must_read_text(path);
	while ((line = next_line(&rest))) {
		if (split_line(line, &name, &value))
			add_counter(c, &place, name, value);
	}
}

/* Every line begins with "Node N ", every name ends with a colon. */
static void read_meminfo(struct mig_counters *c, int node)
{
	const struct place place = { MEMINFO, "meminfo", node, EVERYWHERE };
	char path[96], *rest = text, *line, *name, *colon;
	long value;

	snprintf(path, sizeof(path), NODE_DIR "/node%d/meminfo", node);
	must_read_text(path);
	while ((line = next_line(&rest))) {
		colon = strchr(line, ':');
		if (!colon || !split_line(line, &name, &value))
			continue;
		*colon = '\0';
		add_counter(c, &place, strrchr(name, ' ') + 1, value);
	}
}

static void note_zone(struct zone *zone, const char *name, long value)
{
	if (!strcmp(name, "spanned"))
		zone->end = value;
	if (!strcmp(name, "start_pfn:")) {
		zone->start = value;
		zone->end += value;
	}
}

/*
 * zoneinfo lists all zones, always in the same order. For the first zone of a node
 * that has memory, it also lists the counters of the node.
 */
static void read_zoneinfo(struct mig_counters *c)
{
	struct place place = { VMSTAT, "zoneinfo", EVERYWHERE, EVERYWHERE };
	char *rest = text, *line, *name;
	int zone = -1;
	long value;

	must_read_text("/proc/zoneinfo");
	while ((line = next_line(&rest))) {
		if (sscanf(line, "Node %d, zone", &place.node) == 1) {
			if (++zone == MIG_MAX_ZONES)
				mig_fail("too many zones");
			zones[zone].node = place.node;
			place.zone = zone;
			continue;
		}
		if (strstr(line, "per-node stats"))
			place.zone = EVERYWHERE;
		if (!split_line(line, &name, &value))
			continue;
		if (!strcmp(name, "pages free"))
			place.zone = zone;
		note_zone(&zones[zone], name, value);
		add_counter(c, &place, name, value);
	}
	nr_zones = zone + 1;
}

/* Return true for counters of free lists, of per-CPU lists and of slab pages. */
static bool is_free(const struct counter *c)
{
	if (c->place.zone != EVERYWHERE)
		return !strcmp(c->name, "pages free") || !strcmp(c->name, "count:");
	return !strcmp(c->place.label, "zoneinfo") &&
	       (!strcmp(c->name, "nr_slab_reclaimable") ||
		!strcmp(c->name, "nr_slab_unreclaimable"));
}

/*
 * The slab allocator allocates and frees pages at any time. With KASAN it frees a
 * page long after the objects in it were freed. No test moves slab pages, so they
 * may count as free.
 */
static void add_free(struct mig_counters *c, int node)
{
	const struct place place = { VMSTAT, "sum", node, EVERYWHERE };
	const struct counter *one;
	long sum = 0;

	for (one = c->counter; one < c->counter + c->nr; one++) {
		if (one->place.node == node && is_free(one))
			sum += one->value;
	}
	add_counter(c, &place, "free", sum);
}

/* Parse "file N0=4096 N1=0", or "total=4096 N0=4096 N1=0" of a hugetlb file. */
static void read_numa_stat(struct mig_counters *c, enum table table,
			   const char *label, const char *path)
{
	struct place place = { table, label, EVERYWHERE, EVERYWHERE };
	char *rest = text, *line, *word, *name;
	long value;

	must_read_text(path);
	while ((line = next_line(&rest))) {
		name = strsep(&line, " =");
		while ((word = strsep(&line, " "))) {
			if (sscanf(word, "N%d=%ld", &place.node, &value) == 2)
				add_counter(c, &place, name, value);
		}
	}
}

static void read_memory_stat(struct mig_counters *c)
{
	const struct place place = {
		MEMCG, "memory.stat", EVERYWHERE, EVERYWHERE
	};
	char *rest = text, *line, *name;
	long value;

	must_read_text(GROUP "/memory.stat");
	while ((line = next_line(&rest))) {
		if (split_line(line, &name, &value))
			add_counter(c, &place, name, value);
	}
}

static long value_of(const struct mig_counters *c, const char *name)
{
	int i;

	for (i = 0; i < c->nr; i++) {
		if (!strcmp(c->counter[i].name, name))
			return c->counter[i].value;
	}
	return -1;
}

/*
 * A read of memory.stat adds up the per-CPU counters, but only if there were many
 * updates since the last time. So the test causes many page faults. They are
 * counted too: if the sum includes them, it includes all earlier updates. The
 * kernel also adds up every two seconds, which may be in the middle of the faults.
 */
static void read_memcg(struct mig_counters *c)
{
	long before, faults = 0;
	int try;

	read_memory_stat(c);
	for (try = 0; try < 20 && faults < (long)stir_pages; try++) {
		before = value_of(c, "pgfault");
		memset(stir_mem, 1, stir_pages * mig_psize);
		madvise(stir_mem, stir_pages * mig_psize, MADV_DONTNEED);
		mig_drain();
		c->nr = 0;
		read_memory_stat(c);
		faults = value_of(c, "pgfault") - before;
	}
	if (faults < (long)stir_pages)
		mig_fail("memory.stat has only %ld of %zu page faults", faults,
			 stir_pages);
	read_numa_stat(c, MEMCG, "memory.numa_stat", GROUP "/memory.numa_stat");
	if (*hugetlb_stat)
		read_numa_stat(c, HUGETLB_CG, "hugetlb.numa_stat", hugetlb_stat);
}

static void read_once(struct mig_counters *c)
{
	int i;

	c->nr = 0;
	mig_drain();
	read_memcg(c);
	if (mig_write("/proc/sys/vm/stat_refresh", "1"))
		mig_fail("cannot write to /proc/sys/vm/stat_refresh");
	for (i = 0; i < mig_nr_nodes; i++) {
		read_vmstat(c, mig_nodes[i]);
		read_meminfo(c, mig_nodes[i]);
	}
	read_zoneinfo(c);
	for (i = 0; i < mig_nr_nodes; i++)
		add_free(c, mig_nodes[i]);
}

/* Return the index of the first counter that must agree and does not, or -1. */
static int first_change(const struct mig_counters *a, const struct mig_counters *b)
{
	int i;

	for (i = 0; i < a->nr && i < b->nr; i++) {
		if (strcmp(a->counter[i].name, b->counter[i].name))
			return i;
		if (is_exact(&a->counter[i]) &&
		    a->counter[i].value != b->counter[i].value)
			return i;
	}
	return a->nr == b->nr ? -1 : 0;
}

/* Read until two readings in a row are the same. */
void mig_counters_read(struct mig_counters *c)
{
	double end = mig_seconds() + REST_SECONDS * mig_patience();
	int i;

	read_once(c);
	for (;;) {
		usleep(20000);
		memcpy(again, c, sizeof(*c));
		read_once(c);
		i = first_change(again, c);
		if (i < 0)
			break;
		mig_check(mig_seconds() < end,
			  "%s of node %d keeps changing: %s %ld, then %ld",
			  c->counter[i].place.label, c->counter[i].place.node,
			  c->counter[i].name, again->counter[i].value,
			  c->counter[i].value);
	}
}

/*
 * The share of some memory
 */

static int zone_of(uint64_t pfn)
{
	int node = mig_node_of_pfn(pfn);
	int i;

	for (i = 0; i < nr_zones; i++) {
		if (zones[i].node == node && pfn >= zones[i].start &&
		    pfn < zones[i].end)
			return i;
	}
	mig_fail("no zone has pfn %#llx", (unsigned long long)pfn);
}

/* Return true if a PMD maps the page in this process. */
static bool is_pmd_mapped(char *addr)
{
	struct page_region region;
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.start = (uintptr_t)addr,
		.end = (uintptr_t)addr + mig_psize,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_HUGE,
		.return_mask = PAGE_IS_HUGE,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int nr = ioctl(fd, PAGEMAP_SCAN, &scan);

	if (nr < 0)
		mig_skip("PAGEMAP_SCAN: %m");
	close(fd);
	return nr > 0;
}

static uint64_t head_of(uint64_t pfn)
{
	while (mig_kpageflags(pfn) & MIG_KPF_TAIL)
		pfn--;
	return pfn;
}

static size_t size_of_folio(uint64_t head)
{
	size_t nr = 1;

	if (mig_kpageflags(head) & MIG_KPF_HEAD) {
		while (mig_kpageflags(head + nr) & MIG_KPF_TAIL)
			nr++;
	}
	return nr;
}

static unsigned int list_item(uint64_t kpf)
{
	if (!(kpf & MIG_KPF_LRU))
		return 0;
	if (kpf & MIG_KPF_UNEVICTABLE)
		return I(UNEVICTABLE);
	if (kpf & MIG_KPF_SWAPBACKED)
		return kpf & MIG_KPF_ACTIVE ? I(ACTIVE_ANON) : I(INACTIVE_ANON);
	return kpf & MIG_KPF_ACTIVE ? I(ACTIVE_FILE) : I(INACTIVE_FILE);
}

/* Return the items that each page of a folio counts as, except for mapped ones. */
static unsigned int folio_items(uint64_t kpf, bool huge, bool pmd, bool written_back)
{
	unsigned int items = I(FROM_BUDDY) | list_item(kpf);

	if (kpf & MIG_KPF_HUGE)
		return I(HUGETLB);
	if (kpf & MIG_KPF_MLOCKED)
		items |= I(MLOCKED);
	if (kpf & MIG_KPF_SWAPCACHE)
		items |= I(SWAP_CACHE);
	if (kpf & MIG_KPF_ANON)
		return items | (pmd ? I(ANON_THP) : 0);

	items |= I(PAGE_CACHE);
	if (kpf & MIG_KPF_SWAPBACKED)
		return items | I(SHMEM) | (huge ? I(SHMEM_THP) : 0) |
		       (pmd ? I(SHMEM_PMD) : 0);
	if (written_back && (kpf & MIG_KPF_DIRTY))
		items |= I(DIRTY);
	return items | (huge ? I(FILE_THP) : 0) | (pmd ? I(FILE_PMD) : 0);
}

static void share_of_folio(uint64_t head, size_t nr, char *addr,
			   bool written_back, struct mig_share *share)
{
	const uint64_t kpf = mig_kpageflags(head);
	const bool huge = mig_pmd_size() && nr * mig_psize >= mig_pmd_size();
	const unsigned int items = folio_items(kpf, huge, huge && is_pmd_mapped(addr),
					       written_back);
	const enum mig_item mapped = kpf & MIG_KPF_ANON ? MIG_ANON_MAPPED :
							  MIG_FILE_MAPPED;
	long *pages = share->pages[zone_of(head)];
	size_t i;
	int item;

	for (item = 0; item < MIG_NR_ITEMS; item++)
		pages[item] += items & 1U << item ? nr : 0;
	for (i = 0; i < nr && !(kpf & MIG_KPF_HUGE); i++)
		pages[mapped] += mig_kpagecount(head + i) > 0;
}

/*
 * Compute the share of some memory. A folio that is mapped there, even in part,
 * counts once and as a whole. With @written_back, the file has writeback, so that
 * the kernel counts dirty pages.
 */
void mig_counters_share(void *mem, size_t len, bool written_back,
			struct mig_share *share)
{
	const size_t nr = len / mig_psize;
	uint64_t entry, head = 0;
	size_t i, j, size = 0;

	mig_check(nr <= MAX_PAGES, "%zu pages are too many", nr);
	memset(share, 0, sizeof(*share));
	for (i = 0; i < nr; i++) {
		entry = mig_pagemap((char *)mem + i * mig_psize);
		heads[i] = 0;
		if (!(entry & MIG_PM_PRESENT) || !(entry & MIG_PM_PFN) ||
		    mig_kpageflags(entry & MIG_PM_PFN) & MIG_KPF_ZERO)
			continue;
		/* Most pages are in the same folio as the page before. */
		if ((entry & MIG_PM_PFN) - head >= size) {
			head = head_of(entry & MIG_PM_PFN);
			size = size_of_folio(head);
		}
		for (j = i; j && heads[j - 1] != head; j--)
			;
		heads[i] = head;
		if (!j)
			share_of_folio(head, size, (char *)mem + i * mig_psize,
				       written_back, share);
	}
}

/*
 * Comparing
 */

/* Return the part of a share that a counter shows, in pages. */
static long shown(const struct counter *c, const struct mig_share *share)
{
	const unsigned int items = c->field ? shown_items(c->field) : 0;
	long pages = 0;
	int zone, item;

	for (zone = 0; zone < nr_zones; zone++) {
		if (c->place.zone != EVERYWHERE && c->place.zone != zone)
			continue;
		if (c->place.node != EVERYWHERE && c->place.node != zones[zone].node)
			continue;
		for (item = 0; item < MIG_NR_ITEMS; item++)
			pages += items & 1U << item ? share->pages[zone][item] : 0;
	}
	return pages;
}

static long in_unit(const struct counter *c, long pages)
{
	switch (c->field ? c->field->unit : PAGES) {
	case PAGES:
		return pages;
	case KBYTES:
		return pages * (long)mig_psize / 1024;
	case BYTES:
		return pages * (long)mig_psize;
	case HUGE:
		return mig_pmd_size() ? pages * (long)mig_psize / (long)mig_pmd_size() : 0;
	case UNUSED_HUGETLB:
		return -pages * (long)mig_psize / 1024 / mig_meminfo("Hugepagesize");
	case UNUSED:
		return -pages;
	}
	return 0;
}

static bool must_compare(const struct counter *c)
{
	return is_exact(c) || c->field->slack;
}

static void add_wrong(char *all, size_t size, const struct counter *c,
		      long diff, long expected)
{
	size_t len = strlen(all);
	char where[32] = "";

	if (c->place.zone != EVERYWHERE)
		snprintf(where, sizeof(where), " (zone %d of node %d)",
			 c->place.zone, c->place.node);
	else if (c->place.node != EVERYWHERE)
		snprintf(where, sizeof(where), " (node %d)", c->place.node);
	snprintf(all + len, size - len, "%s%s%s: %s changed by %ld, expected %ld",
		 len ? "; " : "", c->place.label, where, c->name, diff, expected);
}

/*
 * Fail with a message that names the first wrong counters. The memory had the share
 * @had at the reading @was, and has the share @has at the reading @is. A comparison
 * of a reading with itself serves only to run this code once before the test relies
 * on it.
 */
void mig_counters_check(const struct mig_counters *was,
			const struct mig_share *had,
			const struct mig_counters *is,
			const struct mig_share *has)
{
	char wrong[600] = "";
	const struct counter *c;
	long diff, expected;
	int i;

	mig_check(was->nr == is->nr, "%d counters became %d", was->nr, is->nr);
	for (i = 0; i < is->nr; i++) {
		c = &is->counter[i];
		mig_check(!strcmp(was->counter[i].name, c->name),
			  "counter %s became %s", was->counter[i].name, c->name);
		if (!must_compare(c))
			continue;
		expected = in_unit(c, shown(c, has) - shown(c, had));
		diff = c->value - was->counter[i].value;
		diff += c->field && was != is && mig_breaks(MIG_BREAK_COUNT);
		if (labs(diff - expected) > (c->field ? c->field->slack : 0))
			add_wrong(wrong, sizeof(wrong), c, diff, expected);
	}
	mig_check(!*wrong, "%s", wrong);
}

/*
 * Preparations
 */

/* Map memory and write to it, so that a later write does not allocate pages. */
static void *new_memory(size_t len)
{
	void *mem = mig_map(len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);

	madvise(mem, len, MADV_NOHUGEPAGE);
	memset(mem, 1, len);
	return mem;
}

/*
 * Allocate all pages of the private writable mappings whose line in maps contains
 * @part. Afterwards the process shares none of them with its parent. Otherwise the
 * first write to each page would allocate a page later, and the counters would
 * change.
 */
void mig_counters_populate(const char *part)
{
	unsigned long from, to;
	char line[512], mode[8];
	FILE *maps = fopen("/proc/self/maps", "re");

	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 ||
		    strcmp(mode, "rw-p") || !strstr(line, part))
			continue;
		if (madvise((void *)from, to - from, MADV_POPULATE_WRITE))
			mig_skip("MADV_POPULATE_WRITE: %m");
	}
	if (maps)
		fclose(maps);
}

struct mig_counters *mig_counters_new(void)
{
	return new_memory(sizeof(struct mig_counters));
}

/* Get the options with which the cgroup file system is mounted now. */
static void cgroup_options(char *options, size_t size)
{
	static const char *const words[] = {
		"nsdelegate", "favordynmods", "memory_localevents",
		"memory_recursiveprot", HUGETLB_OPTION, "pids_localevents",
	};
	char line[512];
	FILE *mounts = fopen("/proc/mounts", "re");
	size_t i, len = 0;

	*options = '\0';
	while (mounts && fgets(line, sizeof(line), mounts)) {
		if (!strstr(line, " " CGROUP " cgroup2 "))
			continue;
		for (i = 0; i < ARRAY_SIZE(words); i++) {
			if (strstr(line, words[i]))
				len += snprintf(options + len, size - len, "%s%s",
						len ? "," : "", words[i]);
		}
	}
	if (mounts)
		fclose(mounts);
}

/*
 * Charge hugetlb memory to the memory cgroup until the case ends. If there is a
 * hugetlb controller, read its counters per node as well.
 */
void mig_counters_of_hugetlb(void)
{
	long kb = mig_meminfo("Hugepagesize");
	char options[128], all[192], unit[32];

	cgroup_options(options, sizeof(options));
	if (!strstr(options, HUGETLB_OPTION)) {
		snprintf(all, sizeof(all), "%s%s" HUGETLB_OPTION, options,
			 *options ? "," : "");
		mig_on_end_remount(CGROUP, options);
		if (mig_remount(CGROUP, all))
			mig_skip("cgroup2 with the options %s: %m", all);
	}
	if (kb >= 1024 * 1024)
		snprintf(unit, sizeof(unit), "%ldGB", kb / 1024 / 1024);
	else if (kb >= 1024)
		snprintf(unit, sizeof(unit), "%ldMB", kb / 1024);
	else
		snprintf(unit, sizeof(unit), "%ldKB", kb);
	snprintf(hugetlb_stat, sizeof(hugetlb_stat), GROUP "/hugetlb.%s.numa_stat",
		 unit);
	if (access(hugetlb_stat, R_OK))
		*hugetlb_stat = '\0';
}

/* Enter a cgroup for this process and its children only. */
static void enter_group(void)
{
	char dir[sizeof(GROUP)];

	mig_write(CGROUP "/cgroup.subtree_control", "+hugetlb");
	mig_enter_cgroup(dir, sizeof(dir), LABEL, "+memory");
	if (access(GROUP "/memory.numa_stat", R_OK))
		mig_skip("no memory cgroups with cgroup2");
}

/*
 * Call this before the test makes the memory whose counters it checks. It stops
 * NUMA balancing, proactive compaction, khugepaged and periodic writeback for the
 * case. The commit of a journal makes pages dirty in the page cache of the disk, so
 * sync() commits earlier changes now.
 */
void mig_counters_begin(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	long gen = mig_read_long("/sys/kernel/mm/lru_gen/enabled");

	multi_gen = gen > 0 && (gen & 1);
	mig_quiet();
	sync();
	enter_group();
	text = new_memory(MAX_TEXT);
	heads = new_memory(MAX_PAGES * sizeof(*heads));
	again = mig_counters_new();
	stir_pages = MEMCG_BATCH * (cpus + 1);
	stir_mem = new_memory(stir_pages * mig_psize);
	mig_counters_populate("");
}
