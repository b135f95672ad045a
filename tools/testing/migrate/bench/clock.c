// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two clocks. In a guest under qemu -icount shift=0, the time stamp counter is the
 * number of executed instructions. Otherwise the wall clock is used.
 */
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define SEC_NS		1000000000ULL
#define LOOPS		1000000ULL
#define SETTLE_US	50000

bool counting_insns;

#ifdef __x86_64__
/**
 * clock_ticks() - read the time stamp counter
 *
 * Return: instructions if those are counted, otherwise ticks of unknown length
 */
__u64 clock_ticks(void)
{
	__u32 low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (__u64)high << 32 | low;
}

/* Execute two instructions in each loop. */
static void spin(__u64 loops)
{
	asm volatile("1: dec %0\n\tjnz 1b" : "+r"(loops) : : "cc");
}
#else
__u64 clock_ticks(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * SEC_NS + now.tv_nsec;
}

static void spin(__u64 loops)
{
	while (loops--)
		asm volatile("" : : : "memory");
}
#endif

static __u64 wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * SEC_NS + now.tv_nsec;
}

/**
 * clock_now() - read the clock that was chosen on the command line
 *
 * Return: instructions, or nanoseconds
 */
__u64 clock_now(void)
{
	return counting_insns ? clock_ticks() : wall_ns();
}

/**
 * clock_tick_ns() - measure a tick of clock_ticks()
 *
 * Return: nanoseconds, or 1 if instructions are counted
 */
double clock_tick_ns(void)
{
	__u64 ticks, ns;

	if (counting_insns)
		return 1;
	ns = wall_ns();
	ticks = clock_ticks();
	usleep(SETTLE_US);
	ns = wall_ns() - ns;
	return (double)ns / (clock_ticks() - ticks);
}

/**
 * clock_check() - make sure that a tick is an instruction
 *
 * A loop of known length must take that many ticks, and few more for interrupts.
 * Otherwise the workload is skipped.
 */
void clock_check(void)
{
	__u64 best = ~0ULL, start;
	int i;

	for (i = 0; i < 5; i++) {
		start = clock_ticks();
		spin(LOOPS);
		start = clock_ticks() - start;
		if (start < best)
			best = start;
	}
	if (best < 2 * LOOPS || best > 2 * LOOPS + LOOPS / 10)
		skip_workload("the time stamp counter counts %llu ticks for %llu instructions",
			      best, 2 * LOOPS);
}

/**
 * settle() - let deferred work of the kernel finish
 */
void settle(void)
{
	usleep(SETTLE_US);
}
