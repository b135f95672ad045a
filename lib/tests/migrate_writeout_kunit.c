// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of mm/migrate_writeout.c, which writes out or drops folios that cannot be
 * migrated.
 *
 * Each test writes a file on the file system of migrate_fs.c, makes the file system
 * or its disk fail in some way, and migrates the folios of the file. Then it checks
 * the folios, their contents in memory and on the disk, the counters, and the number
 * of writes, which must not be more than one for each folio.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/migrate.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include <linux/writeback.h>

#include "../../mm/internal.h"
#include "../../mm/migrate.h"
#include "migrate_fs.h"

/* Folios of the file. */
#define NR		8

/* Longer than any migration that does not hang. */
#define A_LONG_TIME	(10 * HZ)

/* The time after which a task that waits for the disk gets SIGKILL. */
#define KILL_DELAY	(HZ / 5)

enum {
	WRITTEN,
	DROPPED,
	SWAPPED,
	NR_COUNTED,
};

/**
 * struct writer - a test with its file
 * @test: the test
 * @task: the task that runs the test
 * @mnt: the file system
 * @file: the file
 * @mapping: its mapping
 * @folio: its folios, each with a reference until it is isolated
 * @mtc: the target node
 * @list: the isolated folios
 * @counted: the counters before the migration
 * @moved: number of base pages that were migrated
 * @kill: kills @task
 * @resorts: vm.migrate_resort before the test
 * @is_locked: folio[0] is locked by the test
 * @rescue: ends the waits of the test
 */
struct writer {
	struct kunit *test;
	struct task_struct *task;
	struct vfsmount *mnt;
	struct file *file;
	struct address_space *mapping;
	struct folio *folio[NR];
	struct migration_target_control mtc;
	struct list_head list;
	unsigned long counted[NR_COUNTED];
	unsigned int moved;
	struct delayed_work kill;
	unsigned int resorts;
	bool is_locked;
	struct delayed_work rescue;
};

/* The file. */

static u8 byte_of(int i)
{
	return 0x51 + i;
}

static void open_file(struct writer *w)
{
	w->file = file_open_root_mnt(w->mnt, "file", O_RDWR | O_CREAT, 0600);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(w->test, w->file);
	w->mapping = w->file->f_mapping;
}

/* Fill each folio with its own byte. All folios are dirty afterwards. */
static void fill_file(struct writer *w)
{
	void *buf = kunit_kmalloc(w->test, PAGE_SIZE, GFP_KERNEL);
	loff_t pos = 0;
	int i;

	KUNIT_ASSERT_NOT_NULL(w->test, buf);
	for (i = 0; i < NR; i++) {
		memset(buf, byte_of(i), PAGE_SIZE);
		KUNIT_ASSERT_EQ(w->test, PAGE_SIZE,
				kernel_write(w->file, buf, PAGE_SIZE, &pos));
	}
	lru_add_drain_all();
}

static void sync_file(struct writer *w)
{
	KUNIT_ASSERT_EQ(w->test, 0, vfs_fsync(w->file, 0));
	atomic_set(&migrate_fs_state.writes, 0);
}

static void make_file(struct writer *w)
{
	open_file(w);
	fill_file(w);
}

static bool has_byte(struct page *page, u8 byte)
{
	u8 *bytes = kmap_local_page(page);
	bool is_all = !memchr_inv(bytes, byte, PAGE_SIZE);

	kunmap_local(bytes);
	return is_all;
}

/* A read returns what was written, whether the folio is in memory or not. */
static void expect_file(struct writer *w)
{
	void *buf = kunit_kmalloc(w->test, PAGE_SIZE, GFP_KERNEL);
	loff_t pos = 0;
	int i;

	KUNIT_ASSERT_NOT_NULL(w->test, buf);
	for (i = 0; i < NR; i++) {
		KUNIT_ASSERT_EQ(w->test, PAGE_SIZE,
				kernel_read(w->file, buf, PAGE_SIZE, &pos));
		KUNIT_EXPECT_NULL(w->test,
				  memchr_inv(buf, byte_of(i), PAGE_SIZE));
	}
}

static void expect_disk(struct writer *w, bool written)
{
	struct page *block;
	int i;

	for (i = 0; i < NR; i++) {
		block = migrate_fs_block(w->mapping->host, i);
		KUNIT_EXPECT_EQ(w->test, written, block && has_byte(block, byte_of(i)));
	}
}

/* @nr is the number of folios that the disk was given to write. */
static void expect_writes(struct writer *w, int nr)
{
	KUNIT_EXPECT_EQ(w->test, nr, atomic_read(&migrate_fs_state.writes));
}

/* Folios. */

static void get_folios(struct writer *w)
{
	int i;

	for (i = 0; i < NR; i++) {
		w->folio[i] = filemap_get_folio(w->mapping, i);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(w->test, w->folio[i]);
	}
}

/* A read may have left folios in a per-CPU batch, so drain these first. */
static void isolate(struct writer *w)
{
	int i;

	lru_add_drain_all();
	get_folios(w);
	for (i = 0; i < NR; i++) {
		KUNIT_EXPECT_TRUE(w->test,
				  isolate_folio_to_list(w->folio[i], &w->list));
		folio_put(w->folio[i]);
	}
}

/* Expect @same folios to be the old ones, and @other to be new ones on the target. */
static void expect_folios(struct writer *w, int same, int other)
{
	struct folio *folio;
	int i;

	for (i = 0; i < NR; i++) {
		folio = filemap_get_folio(w->mapping, i);
		if (IS_ERR(folio))
			continue;
		same -= folio == w->folio[i];
		other -= folio != w->folio[i] && folio_nid(folio) == w->mtc.nid;
		folio_put(folio);
	}
	KUNIT_EXPECT_EQ(w->test, 0, same);
	KUNIT_EXPECT_EQ(w->test, 0, other);
}

static unsigned int nr_dirty(struct writer *w)
{
	struct folio *folio;
	unsigned int nr = 0;
	int i;

	for (i = 0; i < NR; i++) {
		folio = filemap_get_folio(w->mapping, i);
		if (IS_ERR(folio))
			continue;
		nr += folio_test_dirty(folio);
		folio_put(folio);
	}
	return nr;
}

static void dirty_again(struct writer *w)
{
	int i;

	get_folios(w);
	for (i = 0; i < NR; i++) {
		folio_lock(w->folio[i]);
		folio_mark_dirty(w->folio[i]);
		folio_unlock(w->folio[i]);
		folio_put(w->folio[i]);
	}
}

/* Migration. */

static void read_counters(unsigned long *counted)
{
	unsigned long *events = kcalloc(NR_VM_EVENT_ITEMS, sizeof(*events),
					GFP_KERNEL);

	memset(counted, 0, NR_COUNTED * sizeof(*counted));
	if (!events || !IS_ENABLED(CONFIG_VM_EVENT_COUNTERS))
		goto free;
	all_vm_events(events);
	counted[WRITTEN] = events[PGMIGRATE_WRITEOUT];
	counted[DROPPED] = events[PGMIGRATE_DROP];
	counted[SWAPPED] = events[PGMIGRATE_SWAPOUT];
free:
	kfree(events);
}

/* Compare with the counters from before the last migration. */
static void expect_counted(struct writer *w, unsigned long written,
			   unsigned long dropped)
{
	unsigned long now[NR_COUNTED];

	if (!IS_ENABLED(CONFIG_VM_EVENT_COUNTERS))
		return;
	read_counters(now);
	KUNIT_EXPECT_EQ(w->test, written, now[WRITTEN] - w->counted[WRITTEN]);
	KUNIT_EXPECT_EQ(w->test, dropped, now[DROPPED] - w->counted[DROPPED]);
	KUNIT_EXPECT_EQ(w->test, 0, now[SWAPPED] - w->counted[SWAPPED]);
}

static int migrate_isolated(struct writer *w, enum migrate_mode mode,
			    enum migrate_reason reason)
{
	int ret;

	read_counters(w->counted);
	w->moved = ~0U;
	ret = migrate_pages(&w->list, alloc_migration_target, NULL,
			    (unsigned long)&w->mtc, mode, reason, &w->moved);
	KUNIT_EXPECT_EQ(w->test, ret, list_count_nodes(&w->list));
	KUNIT_EXPECT_EQ(w->test, NR, w->moved + ret);
	putback_movable_pages(&w->list);
	lru_add_drain_all();
	return ret;
}

/* Take a reference to each isolated folio. The isolation has another one. */
static void hold_folios(struct writer *w)
{
	int i;

	for (i = 0; i < NR; i++)
		folio_get(w->folio[i]);
}

static void unhold_folios(struct writer *w)
{
	int i;

	for (i = 0; i < NR; i++)
		folio_put(w->folio[i]);
}

/* Migrate the file. Returns the number of folios that were not migrated. */
static int migrate_file(struct writer *w, enum migrate_mode mode,
			enum migrate_reason reason)
{
	isolate(w);
	return migrate_isolated(w, mode, reason);
}

static void expect_nothing(struct writer *w)
{
	expect_counted(w, 0, 0);
	expect_writes(w, 0);
	expect_folios(w, NR, 0);
	expect_file(w);
}

/* Expect that all folios are migrated, because the obstacle is gone. */
static void expect_all_move(struct writer *w)
{
	KUNIT_EXPECT_EQ(w->test, 0,
			migrate_file(w, MIGRATE_SYNC, MR_MEMPOLICY_MBIND));
	expect_folios(w, 0, NR);
	expect_file(w);
}

/* Writing out. */

/**
 * struct caller - a caller of migrate_pages()
 * @name: its name
 * @mode: its mode
 * @reason: its reason
 * @flag: flag of its task
 * @forbidden: bits that vm.migrate_resort does not have
 * @is_served: dirty folios are written out for it
 */
struct caller {
	const char *name;
	enum migrate_mode mode;
	enum migrate_reason reason;
	unsigned int flag;
	unsigned int forbidden;
	bool is_served;
};

static const struct caller callers[] = {
	{ "mbind", MIGRATE_SYNC, MR_MEMPOLICY_MBIND, .is_served = true },
	{ "system call", MIGRATE_SYNC, MR_SYSCALL, .is_served = true },
	{ "hot-remove", MIGRATE_SYNC, MR_MEMORY_HOTPLUG, .is_served = true },
	{ "async", MIGRATE_ASYNC, MR_SYSCALL },
	{ "sync light", MIGRATE_SYNC_LIGHT, MR_SYSCALL },
	{ "compaction", MIGRATE_SYNC, MR_COMPACTION },
	{ "contiguous range", MIGRATE_SYNC, MR_CONTIG_RANGE },
	{ "long-term pin", MIGRATE_SYNC, MR_LONGTERM_PIN },
	{ "DAMON", MIGRATE_SYNC, MR_DAMON },
	{ "reclaim", MIGRATE_SYNC, MR_SYSCALL, PF_MEMALLOC },
	{ "no file system", MIGRATE_SYNC, MR_SYSCALL, PF_MEMALLOC_NOFS },
	{ "no I/O", MIGRATE_SYNC, MR_MEMORY_HOTPLUG, PF_MEMALLOC_NOIO },
	{ "switched off", MIGRATE_SYNC, MR_SYSCALL,
	  .forbidden = MIGRATE_WRITE_OUT },
};

KUNIT_ARRAY_PARAM_DESC(caller, callers, name);

/* Dirty folios are written out and migrated, but only for some callers. */
static void dirty(struct kunit *test)
{
	const struct caller *caller = test->param_value;
	struct writer *w = test->priv;
	unsigned int flags;
	int left;

	sysctl_migrate_resort &= ~caller->forbidden;
	make_file(w);
	isolate(w);
	flags = memalloc_flags_save(caller->flag);
	left = migrate_isolated(w, caller->mode, caller->reason);
	memalloc_flags_restore(flags);
	sysctl_migrate_resort |= caller->forbidden;
	if (!caller->is_served) {
		KUNIT_EXPECT_EQ(test, NR, left);
		KUNIT_EXPECT_EQ(test, NR, nr_dirty(w));
		expect_nothing(w);
		expect_all_move(w);
		return;
	}
	KUNIT_EXPECT_EQ(test, 0, left);
	KUNIT_EXPECT_EQ(test, 0, nr_dirty(w));
	expect_folios(w, 0, NR);
	expect_counted(w, NR, 0);
	expect_writes(w, NR);
	expect_disk(w, true);
	expect_file(w);
}

/* Clean folios are not written. */
static void some_dirty(struct kunit *test)
{
	struct writer *w = test->priv;
	loff_t pos = 3 * PAGE_SIZE;
	u8 byte = byte_of(3);

	make_file(w);
	sync_file(w);
	KUNIT_ASSERT_EQ(test, 1, kernel_write(w->file, &byte, 1, &pos));
	expect_all_move(w);
	expect_counted(w, 1, 0);
	expect_writes(w, 1);
	expect_disk(w, true);
}

/* If the disk fails, each folio is written once, and memory keeps its contents. */
static void disk_fails(struct kunit *test)
{
	const bool *keep_dirty = test->param_value;
	struct writer *w = test->priv;

	make_file(w);
	migrate_fs_state.error = EIO;
	migrate_fs_state.keep_dirty = *keep_dirty;
	KUNIT_EXPECT_EQ(test, NR, migrate_file(w, MIGRATE_SYNC, MR_SYSCALL));
	KUNIT_EXPECT_EQ(test, *keep_dirty ? NR : 0, nr_dirty(w));
	expect_counted(w, 0, 0);
	expect_writes(w, NR);
	expect_folios(w, NR, 0);
	expect_disk(w, false);
	expect_file(w);

	/* fsync() returns the error. */
	migrate_fs_state.error = 0;
	KUNIT_EXPECT_EQ(test, -EIO, vfs_fsync(w->file, 0));
	expect_all_move(w);
}

static const bool both[] = { false, true };

static void both_desc(const bool *keep_dirty, char *desc)
{
	strscpy(desc, *keep_dirty ? "dirty again" : "clean",
		KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(both, both, both_desc);

static void kill_task(struct work_struct *work)
{
	struct writer *w = container_of(work, struct writer, kill.work);

	send_sig(SIGKILL, w->task, 1);
}

/* If the disk stalls, a fatal signal ends the wait. */
static void disk_stalls(struct kunit *test)
{
	struct writer *w = test->priv;
	unsigned long start = jiffies;

	make_file(w);
	migrate_fs_state.stall = true;
	allow_signal(SIGKILL);
	schedule_delayed_work(&w->kill, KILL_DELAY);
	KUNIT_EXPECT_EQ(test, NR, migrate_file(w, MIGRATE_SYNC, MR_SYSCALL));
	KUNIT_EXPECT_TRUE(test, fatal_signal_pending(current));
	KUNIT_EXPECT_TRUE(test, time_before(jiffies, start + A_LONG_TIME));
	cancel_delayed_work_sync(&w->kill);

	/* With a fatal signal pending no write is started. */
	dirty_again(w);
	atomic_set(&migrate_fs_state.writes, 0);
	migrate_fs_state.stall = false;
	msleep(100);
	KUNIT_EXPECT_EQ(test, NR, migrate_file(w, MIGRATE_SYNC, MR_SYSCALL));
	flush_signals(current);
	disallow_signal(SIGKILL);
	expect_nothing(w);
	expect_all_move(w);
}

/* Ends the waits of a test that would otherwise never end. The test then fails. */
static void rescue_task(struct work_struct *work)
{
	struct writer *w = container_of(work, struct writer, rescue.work);

	WRITE_ONCE(migrate_fs_state.hold, false);
	WRITE_ONCE(migrate_fs_state.stall, false);
	if (w->is_locked)
		folio_unlock(w->folio[0]);
}

/* A fatal signal ends the wait for a folio lock. */
static void locked(struct kunit *test)
{
	struct writer *w = test->priv;

	make_file(w);
	isolate(w);
	folio_lock(w->folio[0]);
	w->is_locked = true;
	schedule_delayed_work(&w->rescue, A_LONG_TIME);
	allow_signal(SIGKILL);
	schedule_delayed_work(&w->kill, KILL_DELAY);
	KUNIT_EXPECT_GE(test, migrate_isolated(w, MIGRATE_SYNC, MR_SYSCALL), 1);
	KUNIT_EXPECT_TRUE(test, fatal_signal_pending(current));
	cancel_delayed_work_sync(&w->kill);
	flush_signals(current);
	disallow_signal(SIGKILL);
	if (cancel_delayed_work_sync(&w->rescue))
		folio_unlock(w->folio[0]);
	else
		KUNIT_FAIL(test, "the signal did not end the wait");
	expect_all_move(w);
}

/* Migration with a time limit, as for cpusets. */

/* Returns the number of folios that were not migrated. */
static int migrate_limited(struct writer *w, unsigned long patience)
{
	const struct migrate_control mc = {
		.get_new_folio = alloc_migration_target,
		.private = (unsigned long)&w->mtc,
		.mode = MIGRATE_SYNC,
		.reason = MR_SYSCALL,
		.resorts = migrate_resorts(MIGRATE_SYNC, MR_SYSCALL),
		.patience = patience,
	};
	int left;

	isolate(w);
	read_counters(w->counted);
	left = migrate_folios(&mc, &w->list, &w->moved);
	KUNIT_EXPECT_EQ(w->test, NR, w->moved + left);
	putback_movable_pages(&w->list);
	lru_add_drain_all();
	return left;
}

/* The flusher threads write each folio once. */
static void limited(struct kunit *test)
{
	struct writer *w = test->priv;

	make_file(w);
	KUNIT_EXPECT_EQ(test, 0, migrate_limited(w, 6 * A_LONG_TIME));
	expect_counted(w, NR, 0);
	expect_writes(w, NR);
	expect_folios(w, 0, NR);
	expect_disk(w, true);
	expect_file(w);
}

/**
 * struct submitter - who submits the writes
 * @name: its name
 * @limited: the call has a time limit, so that the flusher threads submit
 */
struct submitter {
	const char *name;
	bool limited;
};

static const struct submitter submitters[] = {
	{ "caller" },
	{ "flusher threads", .limited = true },
};

KUNIT_ARRAY_PARAM_DESC(submitter, submitters, name);

/*
 * The disk accepts all folios, and fails later. They are clean then, so they are
 * migrated. fsync() returns the error once.
 */
static void disk_fails_late(struct kunit *test)
{
	const struct submitter *submitter = test->param_value;
	struct writer *w = test->priv;
	int left;

	make_file(w);
	migrate_fs_state.late_error = EIO;
	if (submitter->limited)
		left = migrate_limited(w, 6 * A_LONG_TIME);
	else
		left = migrate_file(w, MIGRATE_SYNC, MR_SYSCALL);
	KUNIT_EXPECT_EQ(test, 0, left);
	KUNIT_EXPECT_EQ(test, 0, nr_dirty(w));
	expect_counted(w, NR, 0);
	expect_writes(w, NR);
	expect_folios(w, 0, NR);
	expect_disk(w, false);
	expect_file(w);

	migrate_fs_state.late_error = 0;
	KUNIT_EXPECT_EQ(test, -EIO, vfs_fsync(w->file, 0));
	KUNIT_EXPECT_EQ(test, 0, vfs_fsync(w->file, 0));
	expect_writes(w, NR);
	/* Nothing holds the new folios, so they can move again. */
	expect_all_move(w);
}

/* Expect that no folio moves, and that the call waits, but only until its limit. */
static void expect_limit(struct writer *w)
{
	unsigned long start = jiffies;

	schedule_delayed_work(&w->rescue, A_LONG_TIME);
	KUNIT_EXPECT_EQ(w->test, NR, migrate_limited(w, KILL_DELAY));
	KUNIT_EXPECT_TRUE(w->test, time_after(jiffies, start + KILL_DELAY / 4));
	KUNIT_EXPECT_TRUE(w->test, cancel_delayed_work_sync(&w->rescue));
	expect_folios(w, NR, 0);
}

/**
 * struct stall - how the disk stalls
 * @name: its name
 * @hold: &migrate_fs_state.hold instead of &migrate_fs_state.stall
 * @begun: the writes have been submitted before the migration
 */
struct stall {
	const char *name;
	bool hold;
	bool begun;
};

static const struct stall stalls[] = {
	{ "writes do not end" },
	{ "writes do not end, begun before", .begun = true },
	{ "writes do not begin", .hold = true },
};

KUNIT_ARRAY_PARAM_DESC(stall, stalls, name);

/* Wait until the flusher threads have put their references. */
static void wait_unused(struct writer *w)
{
	unsigned long end = jiffies + A_LONG_TIME;
	int i;

	get_folios(w);
	for (i = 0; i < NR; i++) {
		while (folio_ref_count(w->folio[i]) >
		       folio_expected_ref_count(w->folio[i]) + 1 &&
		       time_before(jiffies, end))
			msleep(20);
		folio_put(w->folio[i]);
	}
}

/*
 * A folio is clean while a flusher thread writes it. Wait until all are dirty at once.
 * Returns the number of dirty folios.
 */
static unsigned int wait_dirty(struct writer *w)
{
	unsigned long end = jiffies + A_LONG_TIME;
	unsigned int nr;

	while ((nr = nr_dirty(w)) < NR && time_before(jiffies, end))
		msleep(20);
	return nr;
}

static void limited_stall(struct kunit *test)
{
	const struct stall *stall = test->param_value;
	struct writer *w = test->priv;

	make_file(w);
	migrate_fs_state.hold = stall->hold;
	migrate_fs_state.stall = !stall->hold;
	if (stall->begun)
		KUNIT_ASSERT_EQ(test, 0, filemap_flush(w->mapping));
	expect_limit(w);
	expect_limit(w);

	migrate_fs_state.hold = false;
	migrate_fs_state.stall = false;
	KUNIT_EXPECT_EQ(test, 0, vfs_fsync(w->file, 0));
	wait_unused(w);
	expect_all_move(w);
	expect_writes(w, NR);
}

static void limited_lock(struct kunit *test)
{
	struct writer *w = test->priv;
	int i;

	make_file(w);
	get_folios(w);
	for (i = 0; i < NR; i++) {
		folio_lock(w->folio[i]);
		folio_put(w->folio[i]);
	}
	expect_limit(w);
	for (i = 0; i < NR; i++)
		folio_unlock(w->folio[i]);
	expect_all_move(w);
}

/* Expect that no folio moves, long before the limit. */
static void expect_early_end(struct writer *w)
{
	unsigned long start = jiffies;

	KUNIT_EXPECT_EQ(w->test, NR, migrate_limited(w, A_LONG_TIME));
	KUNIT_EXPECT_TRUE(w->test, time_before(jiffies, start + A_LONG_TIME / 2));
	expect_folios(w, NR, 0);
}

/* Folios that are dirty after each write look as if they had not been written. */
static void limited_error(struct kunit *test)
{
	struct writer *w = test->priv;

	make_file(w);
	migrate_fs_state.error = EIO;
	migrate_fs_state.keep_dirty = true;
	expect_early_end(w);
	KUNIT_EXPECT_EQ(test, NR, wait_dirty(w));

	migrate_fs_state.error = 0;
	KUNIT_EXPECT_EQ(test, -EIO, vfs_fsync(w->file, 0));
	wait_unused(w);
	expect_all_move(w);
}

/* Freeze the file system. The folios of the file are dirty on return. */
static void make_frozen(struct writer *w)
{
	make_file(w);
	KUNIT_ASSERT_EQ(w->test, 0, freeze_super(w->mnt->mnt_sb, FREEZE_HOLDER_KERNEL,
						 NULL));
	dirty_again(w);
	atomic_set(&migrate_fs_state.writes, 0);
}

static void expect_all_move_thawed(struct writer *w)
{
	KUNIT_EXPECT_EQ(w->test, 0, thaw_super(w->mnt->mnt_sb, FREEZE_HOLDER_KERNEL,
					       NULL));
	expect_all_move(w);
}

/* The flusher threads are not woken, as they would wait for the thaw. */
static void limited_frozen(struct kunit *test)
{
	struct writer *w = test->priv;

	make_frozen(w);
	expect_early_end(w);
	expect_nothing(w);
	expect_all_move_thawed(w);
}

/* A frozen file system is not written to. The call does not wait for its thaw. */
static void frozen(struct kunit *test)
{
	struct writer *w = test->priv;

	make_frozen(w);
	KUNIT_EXPECT_EQ(test, NR, migrate_file(w, MIGRATE_SYNC, MR_SYSCALL));
	expect_writes(w, 0);
	expect_folios(w, NR, 0);
	expect_all_move_thawed(w);
}

/* Nothing is written to a file system that is being unmounted. */
static void unmounted(struct kunit *test)
{
	struct writer *w = test->priv;
	struct super_block *sb = w->mnt->mnt_sb;

	make_file(w);
	down_write(&sb->s_umount);
	KUNIT_EXPECT_EQ(test, NR, migrate_file(w, MIGRATE_SYNC, MR_SYSCALL));
	up_write(&sb->s_umount);
	expect_nothing(w);
	expect_all_move(w);
}

/* Nothing is written to a file system whose writeback may deadlock. */
static void server_may_wait(struct kunit *test)
{
	struct writer *w = test->priv;

	make_file(w);
	mapping_set_writeback_may_deadlock_on_reclaim(w->mapping);
	KUNIT_EXPECT_EQ(test, NR,
			migrate_file(w, MIGRATE_SYNC, MR_MEMORY_HOTPLUG));
	expect_nothing(w);
}

/* Folios with other references are not written, as they could not be migrated. */
static void in_use(struct kunit *test)
{
	struct writer *w = test->priv;

	make_file(w);
	isolate(w);
	hold_folios(w);
	KUNIT_EXPECT_EQ(test, NR, migrate_isolated(w, MIGRATE_SYNC, MR_SYSCALL));
	unhold_folios(w);
	expect_nothing(w);
	expect_all_move(w);
}

/* Folios that were truncated after the first attempt are tried again. */
static void truncated(struct kunit *test)
{
	const struct migrate_control mc = {
		.mode = MIGRATE_SYNC,
		.reason = MR_SYSCALL,
		.resorts = migrate_resorts(MIGRATE_SYNC, MR_SYSCALL),
	};
	struct migrate_run run = { .mc = &mc };
	struct writer *w = test->priv;
	LIST_HEAD(again);

	make_file(w);
	isolate(w);
	truncate_inode_pages(w->mapping, 0);
	migrate_help(&run, &w->list, &again);
	KUNIT_EXPECT_TRUE(test, list_empty(&w->list));
	KUNIT_EXPECT_EQ(test, NR, list_count_nodes(&again));
	putback_movable_pages(&again);
	expect_writes(w, 0);
}

/* Once the folio is clean, its private data is released and it is migrated. */
static void dirty_private(struct kunit *test)
{
	struct writer *w = test->priv;

	migrate_fs_state.private = true;
	make_file(w);
	expect_all_move(w);
	expect_counted(w, NR, 0);
	expect_disk(w, true);
}

/* If the private data is not released, the folio is written but not migrated. */
static void dirty_private_kept(struct kunit *test)
{
	struct writer *w = test->priv;

	migrate_fs_state.private = true;
	migrate_fs_state.keep_private = true;
	make_file(w);
	KUNIT_EXPECT_EQ(test, NR, migrate_file(w, MIGRATE_SYNC, MR_SYSCALL));
	expect_counted(w, NR, 0);
	expect_writes(w, NR);
	expect_folios(w, NR, 0);
	expect_disk(w, true);
	expect_file(w);
}

/*
 * Private data that is not released also keeps a clean folio from being migrated.
 * There is nothing to write, so no write is counted.
 */
static void clean_private_kept(struct kunit *test)
{
	struct writer *w = test->priv;

	migrate_fs_state.private = true;
	migrate_fs_state.keep_private = true;
	make_file(w);
	sync_file(w);
	KUNIT_EXPECT_EQ(test, NR, migrate_file(w, MIGRATE_SYNC, MR_SYSCALL));
	expect_nothing(w);
}

/* Dropping. */

/**
 * struct refusal - how migrate_folio() refuses private data
 * @name: its name
 * @busy: &migrate_fs_state.busy
 */
struct refusal {
	const char *name;
	bool busy;
};

static const struct refusal refusals[] = {
	{ "refused" },
	{ "busy", .busy = true },
};

KUNIT_ARRAY_PARAM_DESC(refusal, refusals, name);

/* The callers for which folios are dropped. After -EAGAIN it is only the last one. */
static const enum migrate_reason droppers[] = {
	MR_SYSCALL,
	MR_MEMPOLICY_MBIND,
	MR_MEMORY_HOTPLUG,
};

/* Make a clean file with private data that migrate_folio() does not migrate. */
static void make_private(struct writer *w, const struct refusal *refusal)
{
	migrate_fs_state.method = true;
	migrate_fs_state.private = true;
	migrate_fs_state.busy = refusal->busy;
	make_file(w);
	sync_file(w);
}

/* All folios have left the page cache, and the disk has their contents. */
static void expect_dropped(struct writer *w)
{
	expect_counted(w, 0, NR);
	expect_writes(w, 0);
	KUNIT_EXPECT_EQ(w->test, 0, w->mapping->nrpages);
	expect_file(w);
}

/* The file is read again after each call, into new folios with private data. */
static void private_dropped(struct kunit *test)
{
	struct writer *w = test->priv;
	bool stay;
	int i;

	make_private(w, test->param_value);
	for (i = 0; i < ARRAY_SIZE(droppers); i++) {
		stay = migrate_fs_state.busy && droppers[i] != MR_MEMORY_HOTPLUG;
		KUNIT_EXPECT_EQ(test, stay ? NR : 0,
				migrate_file(w, MIGRATE_SYNC, droppers[i]));
		if (stay)
			expect_nothing(w);
		else
			expect_dropped(w);
	}
}

/* If migrate_folio() refuses a dirty folio, only hot-remove writes it out. */
static void private_dirty(struct kunit *test)
{
	struct writer *w = test->priv;

	make_private(w, test->param_value);
	dirty_again(w);
	KUNIT_EXPECT_EQ(test, NR, migrate_file(w, MIGRATE_SYNC, MR_SYSCALL));
	expect_nothing(w);
	KUNIT_EXPECT_EQ(test, NR,
			migrate_file(w, MIGRATE_SYNC, MR_MEMPOLICY_MBIND));
	expect_nothing(w);
	KUNIT_EXPECT_EQ(test, NR, nr_dirty(w));

	/* Hot-remove writes out the folio. The next call drops it. */
	KUNIT_EXPECT_EQ(test, NR,
			migrate_file(w, MIGRATE_SYNC, MR_MEMORY_HOTPLUG));
	expect_counted(w, NR, 0);
	expect_writes(w, NR);
	expect_folios(w, NR, 0);
	atomic_set(&migrate_fs_state.writes, 0);
	KUNIT_EXPECT_EQ(test, 0,
			migrate_file(w, MIGRATE_SYNC, MR_MEMORY_HOTPLUG));
	expect_dropped(w);
}

/* Folios with other references keep their private data, and are not dropped. */
static void private_in_use(struct kunit *test)
{
	struct writer *w = test->priv;
	int i, k;

	make_private(w, test->param_value);
	for (i = 0; i < ARRAY_SIZE(droppers); i++) {
		isolate(w);
		hold_folios(w);
		KUNIT_EXPECT_EQ(test, NR,
				migrate_isolated(w, MIGRATE_SYNC, droppers[i]));
		for (k = 0; k < NR; k++)
			KUNIT_EXPECT_TRUE(test, folio_test_private(w->folio[k]));
		unhold_folios(w);
		expect_nothing(w);
	}
	KUNIT_EXPECT_EQ(test, 0,
			migrate_file(w, MIGRATE_SYNC, MR_MEMORY_HOTPLUG));
	expect_dropped(w);
}

static void private_kept(struct kunit *test)
{
	struct writer *w = test->priv;

	make_private(w, test->param_value);
	migrate_fs_state.keep_private = true;
	KUNIT_EXPECT_EQ(test, NR, migrate_file(w, MIGRATE_SYNC, MR_SYSCALL));
	expect_nothing(w);
}

static void not_to_be_dropped(struct kunit *test)
{
	struct writer *w = test->priv;

	make_private(w, test->param_value);
	sysctl_migrate_resort &= ~MIGRATE_DROP;
	KUNIT_EXPECT_EQ(test, NR, migrate_file(w, MIGRATE_SYNC, MR_SYSCALL));
	sysctl_migrate_resort |= MIGRATE_DROP;
	expect_nothing(w);

	KUNIT_EXPECT_EQ(test, NR, migrate_file(w, MIGRATE_SYNC, MR_COMPACTION));
	expect_nothing(w);

	mapping_set_unevictable(w->mapping);
	KUNIT_EXPECT_EQ(test, NR, migrate_file(w, MIGRATE_SYNC, MR_SYSCALL));
	mapping_clear_unevictable(w->mapping);
	expect_nothing(w);
}

/* Setup and cleanup of each test. */

static int other_node(void)
{
	int nid;

	for_each_node_state(nid, N_MEMORY)
		if (nid != numa_mem_id())
			return nid;
	return numa_mem_id();
}

static int writeout_test_init(struct kunit *test)
{
	struct writer *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);

	if (!w)
		return -ENOMEM;
	test->priv = w;
	w->test = test;
	w->task = current;
	w->resorts = sysctl_migrate_resort;
	w->mtc.nid = other_node();
	w->mtc.gfp_mask = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE;
	INIT_LIST_HEAD(&w->list);
	INIT_DELAYED_WORK(&w->kill, kill_task);
	INIT_DELAYED_WORK(&w->rescue, rescue_task);
	sysctl_migrate_resort = MIGRATE_WRITE_OUT | MIGRATE_DROP;
	memset(&migrate_fs_state, 0, sizeof(migrate_fs_state));
	w->mnt = kern_mount(&migrate_fs_type);
	return PTR_ERR_OR_ZERO(w->mnt);
}

static void writeout_test_exit(struct kunit *test)
{
	struct writer *w = test->priv;

	if (!w)
		return;
	cancel_delayed_work_sync(&w->kill);
	cancel_delayed_work_sync(&w->rescue);
	flush_signals(current);
	memset(&migrate_fs_state, 0, sizeof(migrate_fs_state));
	sysctl_migrate_resort = w->resorts;
	putback_movable_pages(&w->list);
	if (!IS_ERR_OR_NULL(w->file))
		__fput_sync(w->file);
	if (!IS_ERR_OR_NULL(w->mnt))
		kern_unmount(w->mnt);
}

static struct kunit_case writeout_test_cases[] = {
	KUNIT_CASE_PARAM(dirty, caller_gen_params),
	KUNIT_CASE(some_dirty),
	KUNIT_CASE_PARAM(disk_fails, both_gen_params),
	KUNIT_CASE(disk_stalls),
	KUNIT_CASE(locked),
	KUNIT_CASE(limited),
	KUNIT_CASE_PARAM(disk_fails_late, submitter_gen_params),
	KUNIT_CASE_PARAM(limited_stall, stall_gen_params),
	KUNIT_CASE(limited_lock),
	KUNIT_CASE(limited_error),
	KUNIT_CASE(limited_frozen),
	KUNIT_CASE(frozen),
	KUNIT_CASE(unmounted),
	KUNIT_CASE(server_may_wait),
	KUNIT_CASE(in_use),
	KUNIT_CASE(truncated),
	KUNIT_CASE(dirty_private),
	KUNIT_CASE(dirty_private_kept),
	KUNIT_CASE(clean_private_kept),
	KUNIT_CASE_PARAM(private_dropped, refusal_gen_params),
	KUNIT_CASE_PARAM(private_dirty, refusal_gen_params),
	KUNIT_CASE_PARAM(private_in_use, refusal_gen_params),
	KUNIT_CASE_PARAM(private_kept, refusal_gen_params),
	KUNIT_CASE_PARAM(not_to_be_dropped, refusal_gen_params),
	{}
};

/*
 * The flusher thread writes pages that have been dirty for 30 s. It holds references to
 * them, and they cannot be migrated for as long as its CPU does not run.
 */
static unsigned int writeback_interval;

static int writeout_suite_init(struct kunit_suite *suite)
{
	writeback_interval = dirty_writeback_interval;
	dirty_writeback_interval = 0;
	return 0;
}

static void writeout_suite_exit(struct kunit_suite *suite)
{
	dirty_writeback_interval = writeback_interval;
}

static struct kunit_suite writeout_test_suite = {
	.name = "migrate_writeout",
	.suite_init = writeout_suite_init,
	.suite_exit = writeout_suite_exit,
	.init = writeout_test_init,
	.exit = writeout_test_exit,
	.test_cases = writeout_test_cases,
};

kunit_test_suite(writeout_test_suite);

MODULE_DESCRIPTION("KUnit tests of folios that cannot be moved");
MODULE_LICENSE("GPL");
