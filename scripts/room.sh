#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# room.sh GOAL...: print a sentence if this machine lacks the free memory or the disk
# space for these goals of the Makefile. Space that earlier builds occupy counts as
# available. With ROOM=0, do not check.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# needs GOAL: print the memory and the disk space that a goal needs, in GiB.
# README.md has the same table.
needs()
{
	case $1 in
	run | shell) echo 3 4 ;;
	test | selfcheck | test-base) echo 6 5 ;;
	test-debug | test-arm64 | test-riscv64 | test-s390x) echo 6 6 ;;
	bench) echo 10 6 ;;
	kernel | *-kernel | uml-kernels) echo 2 4 ;;
	lint | series-check | build-matrix | arch-hooks) echo 2 5 ;;
	base | tree | series) echo 1 3 ;;
	branch) echo 2 4 ;;
	*) echo 0 0 ;;
	esac
}

# of_group FILE: print FILE of this control group. In a container, where there may be
# no such file, print that of the group at /sys/fs/cgroup.
of_group()
{
	cat "$group/$1" 2>/dev/null || cat "/sys/fs/cgroup/$1" 2>/dev/null || true
}

# free_memory: print the free memory of the machine and, if it has a limit, of this
# control group, in MiB. A group's page cache is charged to it, but can be reclaimed,
# so it counts as free.
free_memory()
{
	local group limit used cache

	awk '/^(MemAvailable|SwapFree):/ { kb += $2 } END { print int(kb / 1024) }' /proc/meminfo
	group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
	limit=$(of_group memory.max)
	used=$(of_group memory.current)
	cache=$(of_group memory.stat | awk '
		/^(inactive_file|active_file|slab_reclaimable) / { sum += $2 }
		END { printf "%.0f", sum }')
	case $limit in
	'' | max) ;;
	*) echo $(((limit - ${used:-0} + cache) >> 20)) ;;
	esac
}

# free_disk FOLDER: print the free space of the file system of FOLDER, which need not
# exist yet, in MiB. Print nothing if df fails.
free_disk()
{
	local folder=$1

	while [ ! -d "$folder" ]; do
		folder=$(dirname "$folder")
	done
	df -Pm "$folder" 2>/dev/null | awk 'NR == 2 { print $4 }'
}

# built_size: print the approximate size of earlier builds on disk, in MiB.
built_size()
{
	local mib=0 kernel

	[ -z "$(compgen -G "$CACHE/base/linux-*/Makefile")" ] || mib=$((mib + 2048))
	for kernel in guest debug base arm64 riscv64 riscv64-nohuge s390x uml uml-base; do
		[ ! -e "$BUILD/$kernel/vmlinux" ] || mib=$((mib + 256))
	done
	echo "$mib"
}

[ "${ROOM:-1}" != 0 ] || exit 0
memory=0 disk=0
for goal; do
	read -r m d <<<"$(needs "$goal")"
	if [ "$m" -gt "$memory" ]; then
		memory=$m
	fi
	if [ "$d" -gt "$disk" ]; then
		disk=$d
	fi
done
[ "$memory$disk" != 00 ] || exit 0
has=$(free_memory | sort -n | head -n 1)
if [ "$has" -lt $((memory * 1024)) ]; then
	echo "$* needs $memory GiB of free memory, but only $has MiB are free (ROOM=0 skips this check)"
	exit
fi
has=$(free_disk "$BUILD")
needed=$((disk * 1024 - $(built_size)))
if [ -z "$has" ]; then
	echo "df cannot report the free disk space at $BUILD (ROOM=0 skips this check)"
elif [ "$has" -lt "$needed" ]; then
	echo "$* needs $needed MiB of disk at $BUILD, but only $has MiB are free (ROOM=0 skips this check)"
fi
