// SPDX-License-Identifier: GPL-2.0-only
/* Migration to device memory and back, by the mirror device of test_hmm. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench.h"
#include "test_hmm_uapi.h"

#define SIZE		MIB(32)
#define DEVICE		"/dev/hmm_dmirror0"

/* Migrate the area in one direction. Returns the cost. */
static __u64 migrate_area(int fd, unsigned long way, const struct area *a,
			  char *mirror, unsigned long *pages)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)a->start,
		.ptr = (uintptr_t)mirror,
		.npages = a->size / PAGE,
	};
	__u64 cost = clock_now();

	while (ioctl(fd, way, &cmd))
		if (errno != EINTR)
			fail("ioctl of the mirror");
	cost = clock_now() - cost;
	*pages = cmd.cpages;
	return cost;
}

static void migrate_twice(const struct workload *w, int fd, struct area *a,
			  struct area *mirror)
{
	__u64 to, from;
	unsigned long pages, back;
	bool good;

	settle();
	to = migrate_area(fd, HMM_DMIRROR_MIGRATE_TO_DEV, a, mirror->start, &pages);
	good = area_intact(mirror);
	settle();
	from = migrate_area(fd, HMM_DMIRROR_MIGRATE_TO_SYS, a, mirror->start, &back);
	good &= area_intact(a);
	if (!w)
		return;
	if (pages != a->size / PAGE)
		note("%lu of %lu pages", pages, a->size / PAGE);
	report(w, "to", a->size / PAGE, to, good);
	report(w, "from", a->size / PAGE, from, good);
}

/*
 * The argument is the size of a folio. The first migration to the device and back
 * makes the device allocate its memory, and is not reported. After each migration to
 * the device, the mirror reads the copy of the device back. The cost includes this.
 * The module copies pages in another way than the migration core, so the unit is
 * "dev-page", not "page".
 */
static void run_device(const struct workload *w, unsigned int rounds)
{
	enum kind kind = w->arg == PAGE ? BASE_PAGES : HUGE_PAGES;
	int fd = open(DEVICE, O_RDWR);
	struct area a, mirror;

	if (fd < 0)
		skip_workload("no %s: is the module test_hmm loaded?", DEVICE);
	folio_size(HUGE);
	area_make(&mirror, SIZE, BASE_PAGES, 1);
	area_make(&a, SIZE, kind, 1);
	mirror.seed = a.seed;
	migrate_twice(NULL, fd, &a, &mirror);
	area_free(&a);
	while (rounds--) {
		area_make(&a, SIZE, kind, 1);
		mirror.seed = a.seed;
		migrate_twice(w, fd, &a, &mirror);
		area_free(&a);
	}
	close(fd);
}

const struct workload device_workloads[] = {
	{ "device-base", "32 MiB of base pages to a device and back", "dev-page",
	  "folios", ON_BOTH, 3, run_device, PAGE },
	{ "device-2M", "32 MiB of THPs to a device and back", "dev-page",
	  "folios", ON_BOTH, 3, run_device, HUGE },
	{ }
};
