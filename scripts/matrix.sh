#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# matrix.sh SRC OUT [PATTERN]: build our objects of the patched tree SRC with
# W=1 and sparse, for each architecture and with each option off in turn.  A
# variant is ARCH-no-OPTION or ARCH-all; PATTERN picks some of them.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

top=$(cd "$(dirname "$0")/.." && pwd)
src=$1 out=$2 pattern=${3:-}
cd "$top"
mapfile -t mm < <(git ls-files -co --exclude-standard -- 'mm/*.c')
paths=$(IFS='|' && echo "${mm[*]}")

# Several symbols go together: who asks for one selects or needs another.
options() # NAME: what goes with it
{
	case $1 in
	all) ;;
	NUMA) echo NUMA ACPI_NUMA X86_64_ACPI_NUMA NUMA_MIGRATION NUMA_BALANCING ;;
	THP) echo TRANSPARENT_HUGEPAGE TEST_HMM ;;
	HUGETLBFS) echo HUGETLBFS CGROUP_HUGETLB ;;
	SWAP) echo SWAP ZSWAP ;;
	MEMCG) echo MEMCG MEMCG_V1 ;;
	BLOCK) echo BLOCK BLK_DEV SWAP ZRAM ZSWAP EXT4_FS XFS_FS VIRTIO_BLK ;;
	KSM) echo KSM ;;
	COMPACTION) echo COMPACTION ;;
	ZONE_DEVICE) echo ZONE_DEVICE DEVICE_PRIVATE TEST_HMM ;;
	MIGRATION) echo COMPACTION MEMORY_HOTREMOVE CMA DMA_CMA NUMA_MIGRATION \
		NUMA_BALANCING TRANSPARENT_HUGEPAGE BALLOON_MIGRATION \
		VIRTIO_BALLOON CONTIG_ALLOC ;;
	*) die "no such option: $1" ;;
	esac
}

arch_make() # ARCH ARGS...
{
	local arch=$1 dir=$2

	shift 2
	case $arch in
	x86_64) set -- ARCH=x86_64 "$@" ;;
	i386) set -- ARCH=i386 "$@" ;;
	arm64) set -- ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- "$@" ;;
	esac
	make -C "$src" O="$dir" "$@"
}

# configure ARCH DIR OPTION: the guest's fragments less what goes with OPTION.
configure()
{
	local arch=$1 dir=$2 symbol

	mkdir -p "$dir"
	cat kconfig/guest.config kconfig/series.config >"$dir.fragment"
	case $arch in
	i386) printf 'CONFIG_%s\n' 64BIT=n HIGHMEM64G=y X86_PAE=y HIGHMEM=y \
		>>"$dir.fragment" ;;
	arm64) printf 'CONFIG_%s\n' PCI_HOST_GENERIC=y >>"$dir.fragment" ;;
	esac
	for symbol in $(options "$3"); do
		sed -i "/^CONFIG_$symbol=/d" "$dir.fragment"
		echo "CONFIG_$symbol=n" >>"$dir.fragment"
	done
	KCONFIG_ALLCONFIG=$dir.fragment arch_make "$arch" "$dir" -s allnoconfig
	for symbol in $(options "$3"); do
		! grep -q "^CONFIG_$symbol=" "$dir/.config" ||
			die "$arch: $symbol cannot be turned off by itself"
	done
}


# variant ARCH OPTION: configure, build mm/ with W=1 and sparse, read the log.
variant()
{
	local arch=$1 name=$1-no-$2 dir

	if [ "$2" = all ]; then
		name=$arch-all
	fi
	[[ $name == *$pattern* ]] || return 0
	dir=$out/$name
	mkdir -p "$out"
	if ! { configure "$arch" "$dir" "$2" &&
	       arch_make "$arch" "$dir" -j"$(nproc)" prepare &&
	       arch_make "$arch" "$dir" -j"$(nproc)" -k W=1 C=1 mm/; } >"$dir.log" 2>&1; then
		grep -E -A3 'error|cannot be' "$dir.log" | head -n 20 >&2 || true
		die "$name does not build; the log is $dir.log"
	fi
	if grep -E "(^|/)($paths):[0-9].*(warning|error)" "$dir.log" >&2; then
		die "$name: findings; the log is $dir.log"
	fi
	say "$name: $(find "$dir/mm" -name '*.o' | wc -l) objects of mm/, no findings"
	rm -rf "$dir"
	built=$((built + 1))
}

built=0
for arch in x86_64 i386 arm64; do
	for option in all NUMA THP HUGETLBFS SWAP MEMCG BLOCK KSM COMPACTION \
			ZONE_DEVICE MIGRATION; do
		variant "$arch" "$option"
	done
done
[ "$built" != 0 ] || die "no variant matches '$pattern'"
say "$built variants built"
