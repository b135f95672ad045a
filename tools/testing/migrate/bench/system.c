// SPDX-License-Identifier: GPL-2.0-only
/* The kernel's files and the system calls without a wrapper. */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#define NODE_BITS	(8 * sizeof(unsigned long))

/**
 * vm_event() - read a counter of /proc/vmstat
 * @name: the counter
 *
 * Return: its value, or 0 if it does not exist
 */
__u64 vm_event(const char *name)
{
	FILE *file = fopen("/proc/vmstat", "r");
	unsigned long long value;
	char key[64];

	if (!file)
		fail("/proc/vmstat");
	while (fscanf(file, "%63s %llu", key, &value) == 2) {
		if (!strcmp(key, name)) {
			fclose(file);
			return value;
		}
	}
	fclose(file);
	return 0;
}

/* Add up the numbers that follow a label. */
static __u64 sum_numbers(const char *text)
{
	__u64 sum = 0;
	char *end;

	for (;;) {
		while (isspace((unsigned char)*text))
			text++;
		if (!isdigit((unsigned char)*text))
			return sum;
		sum += strtoull(text, &end, 10);
		text = end;
	}
}

/**
 * tlb_interrupts() - count the TLB shootdown interrupts of all CPUs since boot
 *
 * Return: their number, or 0 if the architecture has none
 */
__u64 tlb_interrupts(void)
{
	FILE *file = fopen("/proc/interrupts", "r");
	__u64 sum = 0;
	char line[1024];

	if (!file)
		fail("/proc/interrupts");
	while (fgets(line, sizeof(line), file)) {
		char *label = strstr(line, "TLB:");

		if (label)
			sum = sum_numbers(label + strlen("TLB:"));
	}
	fclose(file);
	return sum;
}

/**
 * write_file() - write a value to a file of the kernel
 * @path: the file
 * @text: the value
 *
 * Return: true if the write succeeded
 */
bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	ssize_t done;

	if (fd < 0)
		return false;
	done = write(fd, text, strlen(text));
	close(fd);
	return done == (ssize_t)strlen(text);
}

/**
 * need_write() - write a value to a file of the kernel, or skip the workload
 * @path: the file
 * @text: the value
 */
void need_write(const char *path, const char *text)
{
	if (!write_file(path, text))
		skip_workload("cannot write %s to %s", text, path);
}

long sys_move_pages(unsigned long nr, void **addr, const int *node,
		    int *status, int flags)
{
	return syscall(SYS_move_pages, 0, nr, addr, node, status, flags);
}

long sys_migrate_pages(unsigned long from, unsigned long to)
{
	return syscall(SYS_migrate_pages, 0, NODE_BITS, &from, &to);
}

long sys_mbind(void *start, size_t size, int mode, unsigned long mask,
	       unsigned int flags)
{
	return syscall(SYS_mbind, start, size, mode, &mask, NODE_BITS, flags);
}

long sys_set_mempolicy(int mode, unsigned long mask)
{
	return syscall(SYS_set_mempolicy, mode, mask ? &mask : NULL,
		       mask ? NODE_BITS : 0);
}
