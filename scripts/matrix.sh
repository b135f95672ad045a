#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# matrix.sh SRC OUT [PATTERN]: build mm/ and what else includes our headers, of
# the patched tree SRC, with W=1 and with sparse for our files, for each
# architecture and with each option off in turn.  A variant is ARCH-no-OPTION
# or ARCH-all; PATTERN picks some of them.
#
# The variants of an architecture share an O= tree: the next one compiles what
# its options are seen by, our files always.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

cd "$(dirname "$0")/.."
src=$1 out=$2 pattern=${3:-}
# What make was called with, M=pattern above all, is not for the kernel's make.
unset MAKEFLAGS MAKEOVERRIDES
OPTIONS="all NUMA THP HUGETLBFS SWAP MEMCG BLOCK BUFFER_HEAD KSM COMPACTION
	ZONE_DEVICE MIGRATION"

# off_with OPTION: the symbols that are off when OPTION is.  Everything else
# that kconfig/ asks for stays on, or the variant fails.
off_with()
{
	case $1 in
	all) ;;
	NUMA) echo NUMA NUMA_MIGRATION NUMA_BALANCING NODES_SHIFT ACPI_NUMA \
		ACPI_HMAT X86_64_ACPI_NUMA OF_NUMA ;;
	THP) echo TRANSPARENT_HUGEPAGE TRANSPARENT_HUGEPAGE_MADVISE \
		ARM64_CONTPTE TEST_HMM MIGRATE_DEVICE_KUNIT_TEST ;;
	HUGETLBFS) echo HUGETLBFS CGROUP_HUGETLB ;;
	SWAP) echo SWAP ZSWAP ;;
	MEMCG) echo MEMCG MEMCG_V1 ;;
	BLOCK) echo BLOCK BLK_DEV BLK_DEV_LOOP BUFFER_HEAD EXT4_FS XFS_FS \
		VIRTIO_BLK SWAP ZRAM ZRAM_BACKEND_LZO ZSWAP ZSMALLOC ;;
	BUFFER_HEAD) echo BUFFER_HEAD EXT4_FS ;;
	KSM) echo KSM ;;
	COMPACTION) off_with THP && echo COMPACTION ;;
	ZONE_DEVICE) echo ZONE_DEVICE DEVICE_PRIVATE TEST_HMM \
		MIGRATE_DEVICE_KUNIT_TEST ;;
	MIGRATION) off_with COMPACTION && off_with ZONE_DEVICE &&
		echo MIGRATION MIGRATE_KUNIT_TEST NUMA_MIGRATION \
		NUMA_BALANCING CONTIG_ALLOC CMA CMA_DEBUGFS CMA_SIZE_MBYTES \
		DMA_CMA MEMORY_HOTREMOVE MEMORY_FAILURE HWPOISON_INJECT BALLOON_MIGRATION ;;
	*) die "no such option: $1" ;;
	esac
}

# off_on ARCH: what is off on an architecture, as it has no such thing.
off_on()
{
	case $1 in
	i386) echo 64BIT ZONE_DMA32 SPARSEMEM_VMEMMAP PER_VMA_LOCK \
		MEMORY_HOTPLUG MEMORY_HOTREMOVE ACPI_HOTPLUG_MEMORY \
		MEM_SOFT_DIRTY PTE_MARKER_UFFD_WP IA32_EMULATION \
		PAGEWALK_KUNIT_TEST MIGRATE_KUNIT_TEST &&
		off_with NUMA && off_with ZONE_DEVICE ;;
	esac
}

# on_with ARCH OPTION: what is on besides what kconfig/ asks for.
on_with()
{
	echo BUFFER_HEAD
	case $1 in
	i386) echo X86_PAE HIGHMEM4G ;;
	arm64) echo COMPAT ;;
	esac
	case $2 in
	# Only experts can do without the block layer, and must ask for the rest.
	BLOCK) echo EXPERT SHMEM ;;
	esac
}

# users: what includes our headers outside of mm/, and is configured.
users()
{
	local symbol target

	while read -r symbol target; do
		! grep -q "^CONFIG_$symbol=[ym]" "$dir/.config" || echo "$target"
	done <<-END
	KUNIT			lib/tests/
	PROC_PAGE_MONITOR	fs/proc/
	HUGETLBFS		fs/hugetlbfs/
	FS_IOMAP		fs/iomap/
	AIO			fs/aio.o
	COMPAT			kernel/compat.o
	ZRAM			drivers/block/zram/
	VIRTIO_BALLOON		drivers/virtio/virtio_balloon.o
	TEST_HMM		lib/test_hmm.o
	ARM64			arch/arm64/mm/
	END
}

kbuild()
{
	make -C "$src" O="$dir" ARCH="$arch" CROSS_COMPILE="$cross" \
		CC="$compiler" "$@"
}

# fragment OPTION: what is asked for; the last line about a symbol decides.
fragment()
{
	local symbol

	{
		cat kconfig/guest.config kconfig/series.config
		if [ "$arch" = arm64 ]; then
			cat kconfig/arm64.config
		fi
		for symbol in $(on_with "$arch" "$1"); do
			echo "CONFIG_$symbol=y"
		done
		for symbol in $(off_on "$arch") $(off_with "$1"); do
			echo "CONFIG_$symbol=n"
		done
	} | awk -F= '/^CONFIG_/ {
			# A number is not off, it is not there.
			if (/=n$/ && $1 in text && text[$1] !~ /=[ymn]$/)
				delete text[$1]
			else
				text[$1] = $0
		}
		END { for (symbol in text) print text[symbol] }' | LC_ALL=C sort
}

# not_so: the symbols that are not as the fragment asks.
not_so()
{
	local line

	while read -r line; do
		case $line in
		*=n) ! grep -q "^${line%n}" "$dir/.config" || echo "$line" ;;
		*) grep -qxF "$line" "$dir/.config" || echo "$line" ;;
		esac
	done <"$dir.fragment"
}

# build OPTION: configure, and make what there is to make.
build()
{
	fragment "$1" >"$dir.fragment"
	KCONFIG_ALLCONFIG=$dir.fragment kbuild -s allnoconfig || return 1
	wrong=$(not_so)
	[ -z "$wrong" ] || return 1
	(cd "$dir" && rm -f "${ours[@]/%.c/.o}")
	kbuild -j"$(nproc)" prepare || return 1
	# shellcheck disable=SC2046 # a list of words is meant
	kbuild -j"$(nproc)" -k W=1 C=1 CHECK="$sparse" mm/ $(users)
}

# variant ARCH OPTION: build it and read the log.
variant()
{
	local arch=$1 name=$1-no-$2 dir=$out/$1 log wrong='' cross='' compiler start=$SECONDS

	if [ "$2" = all ]; then
		name=$arch-all
	fi
	[[ $name == *$pattern* ]] || return 0
	if [[ " $(off_on "$arch" | xargs) " == *" $2 "* ]]; then
		say "$name: $arch has none"
		return 0
	fi
	if [ "$arch" = arm64 ]; then
		cross=aarch64-linux-gnu-
	fi
	compiler=${ccache}${cross}gcc
	log=$out/$name.log
	mkdir -p "$dir"
	build "$2" >"$log" 2>&1 || {
		[ -z "$wrong" ] || die "$name: not so in the configuration: ${wrong//$'\n'/ }"
		grep -E -A3 'error|Error' "$log" | head -n 20 >&2 || true
		die "$name does not build; the log is $log"
	}
	if grep -E -A5 '(warning|error):|C=1 specified' "$log" >&2; then
		die "$name: findings; the log is $log"
	fi
	say "$name: $(grep -c '^  CC ' "$log") compiled," \
		"$(sed -n 's/^  CHECK *//p' "$log" | grep -cxFf "$out/ours") of ours read by" \
		"sparse, no findings, $((SECONDS - start)) s"
	built=$((built + 1))
}

mkdir -p "$out"
lock "$out.lock"
mapfile -t ours < <(git ls-files -co --exclude-standard -- 'mm/*.c' 'lib/*.c')
printf '%s\n' "${ours[@]}" >"$out/ours"
sparse=$(scripts/sparse.sh "$src" "$out/ours")
ccache=''
if command -v ccache >/dev/null; then
	ccache='ccache '
	CCACHE_BASEDIR=$(dirname "$out")
	export CCACHE_BASEDIR CCACHE_NOHASHDIR=1
fi
built=0
for arch in x86_64 i386 arm64; do
	for option in $OPTIONS; do
		variant "$arch" "$option"
	done
done
[ "$built" != 0 ] || die "no variant matches '$pattern'"
say "$built variants built"
