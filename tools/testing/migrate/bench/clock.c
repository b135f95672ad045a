// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two clocks.  In a guest whose time is its number of executed instructions
 * (qemu -icount shift=0) the time stamp counter is that number; elsewhere the
 * wall clock is meant.
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
 * clock_ticks() - the time stamp counter
 *
 * Return: ticks of unknown length; instructions where those are counted
 */
__u64 clock_ticks(void)
{
	__u32 low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (__u64)high << 32 | low;
}

/* Two instructions a turn, nothing else. */
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
 * clock_now() - the clock that was chosen on the command line
 *
 * Return: instructions, or nanoseconds
 */
__u64 clock_now(void)
{
	return counting_insns ? clock_ticks() : wall_ns();
}

/**
 * clock_tick_ns() - how long a tick of clock_ticks() is
 *
 * Return: nanoseconds; instructions, where those are counted
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
 * A loop of known length must take its length, and little more for the
 * interrupts that fall into it.
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
		leave_out("time does not count instructions here: %llu for %llu",
			  best, 2 * LOOPS);
}

/**
 * settle() - let deferred work of the kernel finish
 */
void settle(void)
{
	usleep(SETTLE_US);
}
