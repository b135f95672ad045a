/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared code of the migrate_* tests: the runner, the system calls, and functions
 * that read the state of a page from /proc and /sys.
 *
 * The runner forks a child for each case. The case passes if its function returns.
 * mig_fail() and mig_skip() end the case at any call depth. The parent then
 * restores what the case changed through mig_set() and mig_on_end_*(), also after a
 * crash or a timeout. Last, the parent checks that the case left nothing behind.
 * kselftest_harness.h does neither.
 */
#ifndef __MIGRATE_LIB_H
#define __MIGRATE_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kselftest.h"

#define MIG_BIT(nr)		(1ULL << (nr))

#define MIG_MAX_NODES		64
#define MIG_MAX_SIZES		32

/* Values of <numaif.h>, so that the build does not need that header. */
#define MIG_MF_STRICT		MIG_BIT(0)
#define MIG_MF_MOVE		MIG_BIT(1)
#define MIG_MF_MOVE_ALL		MIG_BIT(2)

#define MIG_MPOL_DEFAULT	0
#define MIG_MPOL_BIND		2
#define MIG_MPOL_INTERLEAVE	3
#define MIG_MPOL_F_NODE		MIG_BIT(0)
#define MIG_MPOL_F_ADDR		MIG_BIT(1)

/* Bits of an entry of /proc/PID/pagemap. */
#define MIG_PM_PFN		((1ULL << 55) - 1)
#define MIG_PM_SOFT_DIRTY	MIG_BIT(55)
#define MIG_PM_EXCLUSIVE	MIG_BIT(56)
#define MIG_PM_UFFD_WP		MIG_BIT(57)
#define MIG_PM_GUARD		MIG_BIT(58)
#define MIG_PM_FILE		MIG_BIT(61)
#define MIG_PM_SWAP		MIG_BIT(62)
#define MIG_PM_PRESENT		MIG_BIT(63)

/* Bits of an entry of /proc/kpageflags. */
#define MIG_KPF_UPTODATE	MIG_BIT(3)
#define MIG_KPF_DIRTY		MIG_BIT(4)
#define MIG_KPF_LRU		MIG_BIT(5)
#define MIG_KPF_ACTIVE		MIG_BIT(6)
#define MIG_KPF_SLAB		MIG_BIT(7)
#define MIG_KPF_WRITEBACK	MIG_BIT(8)
#define MIG_KPF_BUDDY		MIG_BIT(10)
#define MIG_KPF_MMAP		MIG_BIT(11)
#define MIG_KPF_ANON		MIG_BIT(12)
#define MIG_KPF_SWAPCACHE	MIG_BIT(13)
#define MIG_KPF_SWAPBACKED	MIG_BIT(14)
#define MIG_KPF_HEAD		MIG_BIT(15)
#define MIG_KPF_TAIL		MIG_BIT(16)
#define MIG_KPF_HUGE		MIG_BIT(17)
#define MIG_KPF_UNEVICTABLE	MIG_BIT(18)
#define MIG_KPF_HWPOISON	MIG_BIT(19)
#define MIG_KPF_NOPAGE		MIG_BIT(20)
#define MIG_KPF_KSM		MIG_BIT(21)
#define MIG_KPF_THP		MIG_BIT(22)
#define MIG_KPF_OFFLINE		MIG_BIT(23)
#define MIG_KPF_ZERO		MIG_BIT(24)
#define MIG_KPF_PGTABLE		MIG_BIT(26)
#define MIG_KPF_RESERVED	MIG_BIT(32)
#define MIG_KPF_MLOCKED		MIG_BIT(33)
#define MIG_KPF_PRIVATE		MIG_BIT(35)

/* Mistakes of the base in move_pages(2) that cases of several programs see. */
#define MIG_TWICE_BUG	"an address inside of a queued folio is reported busy"
#define MIG_FAILED_BUG	"a failure leaves the statuses of its neighbours unwritten"

/**
 * struct mig_case - a test case
 * @name: name in the output, by which -c and -x select cases
 * @run: the test function
 * @arg: argument of @run, so that several cases can share a function
 * @known_bug: the mistake of the base because of which the case fails there, or NULL
 */
struct mig_case {
	const char *name;
	void (*run)(const void *arg);
	const void *arg;
	const char *known_bug;
};

/**
 * struct mig_page - the state of a mapped page as user space sees it
 * @pm: pagemap entry
 * @kpf: kpageflags entry, 0 if no page is mapped
 * @maps: kpagecount entry
 * @sum: checksum of the contents
 * @node: the node of the page, or the negative errno that the kernel reports instead
 */
struct mig_page {
	uint64_t pm;
	uint64_t kpf;
	uint64_t maps;
	uint64_t sum;
	int node;
};

/**
 * enum mig_break - the observation that -b spoils, to show that a case checks it
 * @MIG_BREAK_NOTHING: none, as in a normal run
 * @MIG_BREAK_BYTE: a byte of the memory changes after the move
 * @MIG_BREAK_NODE: a page moves to another node after the move
 * @MIG_BREAK_FLAG: the case sees a flag of a page inverted
 * @MIG_BREAK_STATUS: the case sees another status or result
 * @MIG_BREAK_COUNT: the case sees another counter value
 * @MIG_BREAK_LOSS: mig_check_loss() sees lost memory
 * @MIG_BREAK_LEAK: the runner sees that the case left something behind
 */
enum mig_break {
	MIG_BREAK_NOTHING,
	MIG_BREAK_BYTE,
	MIG_BREAK_NODE,
	MIG_BREAK_FLAG,
	MIG_BREAK_STATUS,
	MIG_BREAK_COUNT,
	MIG_BREAK_LOSS,
	MIG_BREAK_LEAK,
};

extern int mig_nodes[MIG_MAX_NODES];
extern int mig_nr_nodes;
extern size_t mig_psize;
extern unsigned int mig_duration;

/* The first two nodes with memory. Without two, mig_main() skips the program. */
#define MIG_A		(mig_nodes[0])
#define MIG_B		(mig_nodes[1])

/* The runner. */
int mig_main(int argc, char **argv, const struct mig_case *cases, size_t nr);
void mig_fail(const char *fmt, ...) __printf(1, 2) __noreturn;
void mig_skip(const char *fmt, ...) __printf(1, 2) __noreturn;
void mig_note(const char *fmt, ...) __printf(1, 2);
void mig_not_compared(const char *fmt, ...) __printf(1, 2);
void mig_try_again(int nr, int most, const char *fmt, ...) __printf(3, 4);
#define mig_check(cond, ...) do { if (!(cond)) mig_fail(__VA_ARGS__); } while (0)

/* Files, settings, and what the runner undoes at the end of the case. */
int mig_read(const char *path, char *buf, size_t size);
int mig_write(const char *path, const char *text);
void mig_write_number(const char *path, long number);
long mig_read_long(const char *path);
int mig_set(const char *path, const char *text);
void mig_must_set(const char *path, const char *text);
void mig_on_end_write(const char *path, const char *text);
void mig_on_end_unlink(const char *path);
void mig_on_end_rmdir(const char *path);
void mig_on_end_umount(const char *path);
void mig_on_end_remount(const char *path, const char *options);
void mig_on_end_swapon(const char *path);
void mig_on_end_swapoff(const char *path);
int mig_remount(const char *path, const char *options);
long mig_vmstat(const char *name);
long mig_meminfo(const char *name);
long mig_known_kb(void);

/* System calls. */
long mig_move_pages(pid_t pid, unsigned long nr, void *const *pages,
		    const int *nodes, int *status, int flags);
long mig_migrate_pages(pid_t pid, unsigned long from, unsigned long to);
long mig_mbind(void *addr, size_t len, int mode, unsigned long mask, int flags);
void mig_alloc_on(int node);
void mig_alloc_anywhere(void);

/* Memory. */
void *mig_map(size_t len, int prot, int flags, int fd);
void *mig_map_aligned(size_t len, size_t align);
void *mig_anon_on(size_t len, int node);
void mig_fill(void *mem, size_t len, uint64_t seed);
size_t mig_verify(const void *mem, size_t len, uint64_t seed);
uint64_t mig_sum(const void *mem, size_t len);
void mig_drain(void);

/* Pages. */
uint64_t mig_pagemap(const void *addr);
uint64_t *mig_pagemap_range(const void *mem, size_t len);
uint64_t mig_pagemap_of(pid_t pid, const void *addr);
uint64_t mig_kpageflags(uint64_t pfn);
uint64_t mig_kpagecount(uint64_t pfn);
int mig_node_of_pfn(uint64_t pfn);
int mig_node_of(const void *addr);
int mig_node_of_in(pid_t pid, const void *addr);
int mig_node_by_policy(const void *addr);
void mig_look(void *mem, size_t nr, struct mig_page *pages);
size_t mig_nr_folios(void *mem, size_t len, size_t pages_each);
size_t mig_count_on(void *mem, size_t len, int node);

/* Moves. */
long mig_move_to(void *mem, size_t len, int node, int flags, int *status);
void mig_must_move_to(void *mem, size_t len, int node);
void mig_expect_on(void *mem, size_t len, int node);
void mig_expect_errno(long ret, int want);
long mig_nr_unmovable(pid_t pid, unsigned long from, unsigned long to);
void mig_check_loss(void (*move)(void *arg, int node), void *arg);

/* Spoil an observation for -b. The caller makes the observation right afterwards. */
bool mig_breaks(enum mig_break what);
void mig_spoil_byte(void *mem, size_t len);
void mig_spoil_node(void *mem, size_t len, int node);
void mig_spoil(void *mem, size_t len, int node);

/* Large folios. */
size_t mig_pmd_size(void);
int mig_thp_sizes(size_t *kb, int max);
void mig_thp_enable(size_t kb);
long mig_thp_stat(size_t kb, const char *name);
void *mig_thp_on(size_t len, size_t kb, int node);

/* Other helpers of several programs. */
pid_t mig_holder(void (*prepare)(void *arg), void *arg);
void mig_end_holder(pid_t pid);
void mig_cgroup_dir(char *dir, size_t size, const char *label);
void mig_enter_cgroup(char *dir, size_t size, const char *label,
		      const char *controller);
void mig_set_mems(const char *dir, const char *nodes);
void mig_set_mem(const char *dir, int node);
bool mig_ext4_dir(char *dir, size_t size);
bool mig_xfs_dir(char *dir, size_t size);
int mig_new_file(const char *dir, char *path, size_t size);
void mig_write_pattern(int fd, size_t size);
int mig_ext4_file(char *path, size_t size);
void mig_fs_set(const char *name, const char *text);
int mig_fs_file(void);
void mig_read_all(int fd, size_t len);
void mig_quiet(void);
int mig_fail_pages(unsigned int min_order);
void mig_set_failing(int fd, bool failing);
char *mig_fs_dirty(int fd, size_t len, int node);
size_t mig_node_free(int node);
int mig_hold(void *mem, size_t len);
int mig_try_pin(void *mem, size_t len);
int mig_try_pin_to_read(void *mem, size_t len);
void mig_read_pinned(int pin, void *copy);
int mig_pin(void *mem, size_t len);
void mig_unpin(int fd);
void mig_hugetlb_reserve(int node, int nr);
void mig_ksm_merge(void *mem, size_t len, long saved);
double mig_seconds(void);
unsigned int mig_patience(void);

#endif /* __MIGRATE_LIB_H */
