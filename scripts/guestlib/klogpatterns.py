# SPDX-License-Identifier: GPL-2.0-only
"""Error messages of the kernel: a name, a pattern, a line that matches.

A pattern begins after the time stamp. `make selfcheck` writes each line to the
kernel log of a guest.
"""

PATTERNS = (
    # A report of many lines
    ("cut-here", r"-+\[ cut here \]", "------------[ cut here ]------------"),
    ("bug", r"\[?\s*BUG[: ]", "BUG: Bad page state in process nobody  pfn:1"),
    ("warning", r"WARNING: ", "WARNING: mm/nothing.c:1 at nothing+0x1/0x2"),
    ("oops", r"Oops\b", "Oops: 0000 [#1] SMP"),
    ("protection", r"general protection fault", "general protection fault, maybe for address 0x1"),
    ("kernel-bug", r"[Kk]ernel BUG\b", "kernel BUG at mm/nothing.c:1!"),
    ("panic", r"Kernel panic", "Kernel panic - not syncing: of its own accord"),
    ("unable", r"Unable to handle kernel", "Unable to handle kernel paging request at 1"),
    ("internal", r"Internal error: ", "Internal error: Oops: 0000000096000004 [#1] SMP"),
    ("program-check", r".* ilc:\d \[#\d+\]", "specification exception: 0006 ilc:2 [#1] SMP"),
    ("stack-segment", r"stack segment", "stack segment: 0000 [#1] SMP"),
    ("opcode", r"invalid opcode", "invalid opcode: 0000 [#1] SMP"),
    ("double-fault", r"double fault", "double fault: 0000 [#1] SMP"),
    ("divide", r"divide error", "divide error: 0000 [#1] SMP"),
    # Hangs
    ("watchdog", r"(?:NMI )?watchdog: (?:BUG|Watchdog detected)", "watchdog: BUG: soft lockup - CPU#0 stuck for 22s!"),
    ("blocked", r"INFO: task .* blocked", "INFO: task nobody:1 blocked for more than 60 seconds."),
    ("rcu-stall", r"INFO: rcu\w* .*(?:detected|stall)", "INFO: rcu_sched self-detected stall on CPU"),
    ("rcu-info", r"rcu: INFO: ", "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:"),
    ("rcu-starved", r"rcu: .*starved", "rcu: rcu_sched kthread starved for 5000 jiffies!"),
    # Locks, references, lists
    ("possible", r"INFO: possible ", "INFO: possible recursive locking detected"),
    ("suspicious", r"INFO: suspicious ", "INFO: suspicious RCU usage"),
    ("non-static-key", r"INFO: trying to register", "INFO: trying to register non-static key."),
    ("lockdep", r"INFO: lockdep", "INFO: lockdep is turned off."),
    ("lock-warning", r"DEBUG_LOCKS_WARN_ON", "DEBUG_LOCKS_WARN_ON(1)"),
    ("refcount", r"refcount_t: ", "refcount_t: underflow; use-after-free."),
    ("list", r"list_(?:add|del) corruption", "list_del corruption, 1->next is LIST_POISON1"),
    ("preempt-count", r"huh, entered ", "huh, entered 1 with preempt_count 0, exited with 1?"),
    # Page tables and their entries
    ("bad-entry", r"\S+:\d+: bad p(?:te|md|ud|4d|gd)\b", "mm/pgtable-generic.c:1: bad pmd 1(0000000000000001)"),
    ("swap-entry", r"(?:\w+: )?Bad swap (?:file|offset) entry", "_swap_info_get: Bad swap file entry 1"),
    ("swap-kind", r"unrecognized swap entry", "unrecognized swap entry 0x1"),
    ("rss", r"Bad rss-counter", "Bad rss-counter state mm:1 type:MM_ANONPAGES val:1"),
    ("table-check", r"page_table_check", "page_table_check: an entry that is not in order"),
    # Pages. Messages of memory hot-remove about pages it cannot move are no errors.
    ("dumped", r"page dumped because: (?!migration failure|isolation failed|unmovable page)", "page dumped because: nonzero mapcount"),
    ("vmg-dumped", r"vmg \S+ dumped because: ", "vmg 1 dumped because: of nothing"),
    ("outside", r"page 0x\S+ outside node", "page 0x1 outside node 0 zone DMA [ 0x2 - 0x3 ]"),
    ("pagealloc", r"pagealloc: (?:memory corruption|single bit error)", "pagealloc: memory corruption"),
    ("page-owner", r"page_owner: .*refcount went to 0", "page_owner: dec_stack_record_count: refcount went to 0 for 1 handle"),
    ("invalidation", r"Page cache invalidation failure", "Page cache invalidation failure on direct I/O."),
    ("tree", r"(?:vmalloc: )?tree is corrupted", "vmalloc: tree is corrupted: 1, 2"),
    ("slab", r"slab \S+ .*(?:corrupt|Redzone|Poison)", "slab nothing is corrupt"),
    ("slab-count", r"SLUB:? .*counted but counter", "SLUB nothing: 1 partial slabs counted but counter=2"),
    # A counter is negative when a test has it summed over all CPUs.
    ("vmstat", r"vmstat_refresh: \S+ -", "vmstat_refresh: nr_mlock -1"),
    ("memcg-stat", r".*Warning, stat buffer overflow", "memcg_stat_format: Warning, stat buffer overflow, please report"),
    ("reserved", r"hugetlb: Huge Page Reserved count may go negative", "hugetlb: Huge Page Reserved count may go negative."),
    ("vma-lock", r"HugeTLB: vma_lock already exists", "HugeTLB: vma_lock already exists in hugetlb_vm_op_open."),
    ("shmem", r"shmem_evict_inode: ino=\d+ i_blocks=", "shmem_evict_inode: ino=1 i_blocks=8 alloced=1 swapped=0 nrpages=0"),
    ("zsmalloc", r"zsmalloc: Class-\d+ fullness group \d+ is not empty", "zsmalloc: Class-1 fullness group 1 is not empty"),
    ("zswap", r"zswap: Decompression error", "zswap: Decompression error from zswap (0:1 lzo 1->2)"),
    ("zone-device", r"Unsupported ZONE_DEVICE page type", "Unsupported ZONE_DEVICE page type."),
    # Checkers
    ("ubsan", r"UBSAN: ", "UBSAN: array-index-out-of-bounds in mm/nothing.c:1:1"),
    ("kasan", r"KASAN: ", "KASAN: null-ptr-deref in range [0x1-0x2]"),
    ("kfence", r"KFENCE: ", "KFENCE: memory corruption in nothing+0x1/0x2"),
    ("kcsan", r"KCSAN: ", "KCSAN: data-race in nothing / nothing"),
    ("kmemleak", r"kmemleak: (?:\d+ new suspected|unreferenced object)", "kmemleak: 1 new suspected memory leaks"),
    ("kmemleak-off", r"kmemleak: (?:Kernel memory leak detector disabled|Memory pool empty|Cannot allocate)", "kmemleak: Kernel memory leak detector disabled"),
    ("unreferenced", r"unreferenced object 0x", "unreferenced object 0x1 (size 1):"),
    # Files and disks
    ("ext4", r"EXT4-fs(?: \([^)]*\))?:? (?:error|warning)", "EXT4-fs error (device vdb): nothing:1: comm nobody: nothing"),
    ("ext4-lost", r"EXT4-fs.*(?:[Dd]elayed block allocation failed|Data will be lost)", "EXT4-fs (vdb): This should not happen!! Data will be lost"),
    ("read-only", r".*[Rr]emounting filesystem read-only", "EXT4-fs (vdb): Remounting filesystem read-only"),
    ("journal", r"(?:Aborting journal|JBD2: .*(?:rror|abort|corrupt))", "Aborting journal on device vdb-8."),
    ("xfs", r"XFS \([^)]*\): .*(?:[Cc]orrupt|Internal error|I/O [Ee]rror|[Ss]hut(?:ting)? down)", "XFS (vdc): Internal error nothing at line 1 of file fs/xfs/nothing.c."),
    ("buffers", r".*__find_get_block_slow\(\) failed", "__find_get_block_slow() failed. block=1, b_blocknr=2"),
    ("buffer-io", r"Buffer I/O error", "Buffer I/O error on dev vdb, logical block 1, lost async page write"),
    ("disk-io", r"I/O error, dev ", "I/O error, dev vdb, sector 1 op 0x1:(WRITE) flags 0x0"),
    ("swap-read", r"Read-error on swap-device", "Read-error on swap-device (254:0:1)"),
    ("loop", r"loop: Write error", "loop: Write error at byte offset 1, length 1."),
    ("zram", r"zram: (?:Decompression failed|.* [Ee]rror)", "zram: Decompression failed! err=-22, page=1"),
    ("busy-inodes", r"VFS: Busy inodes", "VFS: Busy inodes after unmount of vdb (ext4)"),
)

# Messages when a process is killed for lack of memory.
OUT_OF_MEMORY = (
    ("oom-invoked", r".* invoked oom-killer: ", "nobody invoked oom-killer: gfp_mask=0x1, order=0"),
    ("oom-killed", r".*[Oo]ut of memory.*: Killed process ", "Memory cgroup out of memory: Killed process 1 (nobody)"),
    ("oom-nobody", r"Out of memory and no killable", "Out of memory and no killable processes..."),
    ("oom-leaked", r"Huh VM_FAULT_OOM leaked", "Huh VM_FAULT_OOM leaked out to the #PF handler."),
    ("oom-hugetlb", r"PID \d+ killed due to inadequate hugepage", "PID 1 killed due to inadequate hugepage pool"),
)

# Messages about a failed allocation that the caller can do without.
NO_MEMORY = (
    ("no-memory", r".*: page allocation failure: order:", "nobody: page allocation failure: order:0, mode:0x1(none)"),
    ("stalled", r".*: page allocation stall", "nobody: page allocation stall for 10 secs: order:0, mode:0x1(none)"),
)

# Messages about a disk that accepts no more data. The data stays in memory.
BAD_SWAP = (
    ("swap-write", r"Write-error on swap-device", "Write-error on swap-device (254:0:1)"),
)

# Messages that are no errors during a test with a need of this name.
ANNOUNCED = {"oom": OUT_OF_MEMORY, "short": NO_MEMORY, "bad-swap": BAD_SWAP}
ALL = PATTERNS + OUT_OF_MEMORY + NO_MEMORY + BAD_SWAP
