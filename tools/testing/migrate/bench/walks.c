// SPDX-License-Identifier: GPL-2.0-only
/* Walks that only read page tables: pagemap, smaps and mincore(2). */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define SIZE		MIB(1024)
#define CHUNK		KIB(64)

/* Read up to @size bytes of a file from @offset on. Returns the number of bytes. */
static size_t read_all(const char *path, off_t offset, size_t size)
{
	static char buffer[CHUNK];
	int fd = open(path, O_RDONLY);
	size_t done = 0;
	ssize_t part;

	if (fd < 0 || (offset && lseek(fd, offset, SEEK_SET) < 0))
		fail(path);
	while (done < size) {
		part = read(fd, buffer, size - done < CHUNK ? size - done :
			    CHUNK);
		if (part <= 0)
			break;
		done += part;
	}
	close(fd);
	return done;
}

static unsigned char *resident;

static bool read_pagemap(const struct area *a)
{
	size_t size = a->size / PAGE * sizeof(__u64);

	return read_all("/proc/self/pagemap", (uintptr_t)a->start / PAGE *
			sizeof(__u64), size) == size;
}

static bool read_smaps(const struct area *a)
{
	(void)a;
	return read_all("/proc/self/smaps", 0, SIZE) > 0;
}

static bool ask_mincore(const struct area *a)
{
	return !mincore(a->start, a->size, resident);
}

static bool all_resident(const struct area *a)
{
	size_t i;

	for (i = 0; i < a->size / PAGE; i++)
		if (!(resident[i] & 1))
			return false;
	return true;
}

static void take(const struct workload *w, const struct area *a,
		 const char *part, bool (*look)(const struct area *a))
{
	__u64 cost;
	bool good;

	settle();
	cost = clock_now();
	good = look(a);
	cost = clock_now() - cost;
	if (look == ask_mincore)
		good &= all_resident(a);
	report(w, part, a->size / PAGE, cost, good);
}

/* The argument is the size of a folio. */
static void run_walks(const struct workload *w, unsigned int rounds)
{
	struct area a;

	if (w->arg == HUGE)
		folio_size(HUGE);
	area_map(&a, SIZE, w->arg == HUGE ? HUGE_PAGES : BASE_PAGES);
	place_spread();
	if (madvise(a.start, a.size, MADV_POPULATE_WRITE))
		skip_workload("no memory of %zu MiB", SIZE >> 20);
	place_freely();
	resident = calloc(1, a.size / PAGE);
	if (!resident)
		fail("calloc");
	while (rounds--) {
		take(w, &a, "pagemap", read_pagemap);
		take(w, &a, "smaps", read_smaps);
		take(w, &a, "mincore", ask_mincore);
	}
}

const struct workload walk_workloads[] = {
	{ "walk-base", "1 GiB of base pages, looked at", "entry", "walk",
	  ON_INSN | ON_NATIVE, 5, run_walks, PAGE },
	{ "walk-2M", "1 GiB of THPs, looked at", "entry", "walk", ON_BOTH, 5,
	  run_walks, HUGE },
	{ }
};
