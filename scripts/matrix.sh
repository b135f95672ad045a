#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# matrix.sh SRC OUT [PATTERN]: build our files and those that include our
# headers, of the patched tree SRC, with W=1 and with sparse for our files, for
# each architecture and with each option off in turn.  A variant is
# ARCH-no-OPTION or ARCH-all; PATTERN picks some of them.
#
# ARCH-drivers is one more: our files, and against our headers those files of
# the base that move memory to a device and back.
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
HEADERS='^#include (<linux/(migrate|migrate_mode|pagewalk|balloon)|"(migrate|zpdesc))\.h'

# off_with OPTION: the symbols that are off when OPTION is.  Everything else
# that kconfig/ asks for stays on, or the variant fails.
off_with()
{
	case $1 in
	all | drivers) ;;
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
	powerpc64) echo HYPERVISOR_GUEST PARAVIRT IA32_EMULATION ACPI ACPI_NUMA \
		X86_64_ACPI_NUMA ACPI_HOTPLUG_MEMORY ACPI_HMAT NODES_SHIFT \
		X86_MCE ZONE_DMA ZONE_DMA32 DMA_CMA CMA_SIZE_MBYTES SECRETMEM \
		MEMORY_FAILURE HWPOISON_INJECT PTE_MARKER_UFFD_WP \
		PAGEWALK_KUNIT_TEST MIGRATE_KUNIT_TEST ;;
	esac
}

# on_with ARCH OPTION: what is on besides what kconfig/ asks for.
on_with()
{
	echo BUFFER_HEAD
	case $1 in
	i386) echo X86_PAE HIGHMEM4G ;;
	arm64) echo COMPAT ;;
	powerpc64) echo PPC64 PPC_BOOK3S_64 CPU_LITTLE_ENDIAN PPC_POWERNV ;;
	esac
	case $1-$2 in
	# Only experts can do without the block layer, and must ask for the rest.
	*-BLOCK) echo EXPERT SHMEM ;;
	x86_64-drivers) echo STAGING DRM DRM_NOUVEAU DRM_NOUVEAU_SVM DRM_AMDGPU \
		HSA_AMD HSA_AMD_SVM DRM_XE DRM_XE_GPUSVM DRM_XE_PAGEMAP ;;
	powerpc64-drivers) echo VIRTUALIZATION KVM_BOOK3S_64 KVM_BOOK3S_64_HV \
		PPC_UV ;;
	esac
}

# configured: of the lines "SYMBOL TARGET" the targets whose symbol is on.
configured()
{
	local symbol target

	while read -r symbol target; do
		! grep -q "^CONFIG_$symbol=[ym]" "$dir/.config" || echo "$target"
	done
}

# mm_objects: what of mm/ is configured and includes our headers.
mm_objects()
{
	local object linked

	# shellcheck disable=SC2016 # make expands it
	linked=$(printf '%s\n' "include $dir/include/config/auto.conf" \
		"include $src/mm/Makefile" 'all: ; @echo $(obj-y)' |
		make -s -f - all) || return 1
	for object in $linked; do
		! grep -rqsE "$HEADERS" "$src/mm/${object/%.o/.c}" || echo "mm/$object"
	done
}

# users: what includes our headers outside of mm/, and is configured.
users()
{
	configured <<-END
	PAGEWALK_KUNIT_TEST		lib/tests/pagewalk_kunit.o
	MIGRATE_KUNIT_TEST		lib/tests/migrate_kunit.o
	MIGRATE_DEVICE_KUNIT_TEST	lib/tests/migrate_device_kunit.o
	PROC_PAGE_MONITOR		fs/proc/task_mmu.o
	HUGETLBFS			fs/hugetlbfs/inode.o
	FS_IOMAP			fs/iomap/buffered-io.o
	AIO				fs/aio.o
	COMPAT				kernel/compat.o
	VIRTIO_BALLOON			drivers/virtio/virtio_balloon.o
	TEST_HMM			lib/test_hmm.o
	ARM64				arch/arm64/mm/mmu.o
	ARM64				arch/arm64/mm/pageattr.o
	END
}

# drivers: what moves memory to a device, and is configured.
drivers()
{
	configured <<-END
	TEST_HMM		lib/test_hmm.o
	DRM_NOUVEAU_SVM		drivers/gpu/drm/nouveau/nouveau_dmem.o
	HSA_AMD_SVM		drivers/gpu/drm/amd/amdgpu/../amdkfd/kfd_migrate.o
	DRM_GPUSVM		drivers/gpu/drm/drm_pagemap.o
	DRM_GPUSVM		drivers/gpu/drm/drm_gpusvm.o
	DRM_XE_GPUSVM		drivers/gpu/drm/xe/xe_svm.o
	PPC_UV			arch/powerpc/kvm/book3s_hv_uvmem.o
	END
}

kbuild()
{
	make -C "$src" O="$dir" ARCH="${arch/powerpc64/powerpc}" CROSS_COMPILE="$cross" \
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
	if [ "$1" = drivers ]; then
		mapfile -t others < <(drivers)
		(cd "$dir" && rm -f "${others[@]}")
	fi
	{ mm_objects && users; } >"$dir.objects" || return 1
	# One that is a driver as well is built as such.
	mapfile -t objects < <(printf '%s\n' "${others[@]}" |
		grep -vxFf - "$dir.objects")
	kbuild -j"$(nproc)" -k W=1 C=1 CHECK="$sparse" "${objects[@]}" || return 1
	[ "${#others[@]}" = 0 ] || kbuild -j"$(nproc)" -k "${others[@]}"
}

# variant ARCH OPTION: build it and read the log.
variant()
{
	local arch=$1 name=$1-no-$2 dir=$out/$1 log wrong='' cross='' compiler start=$SECONDS
	local objects=() others=()

	if [ "$2" = all ] || [ "$2" = drivers ]; then
		name=$arch-$2
	fi
	[[ $name == *$pattern* ]] || return 0
	if [[ " $(off_on "$arch" | xargs) " == *" $2 "* ]]; then
		say "$name: $arch has none"
		return 0
	fi
	case $arch in
	arm64) cross=aarch64-linux-gnu- ;;
	powerpc64) cross=powerpc64le-linux-gnu- ;;
	esac
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
		"sparse,${others[*]:+ ${#others[@]} drivers,} no findings, $((SECONDS - start)) s"
	built=$((built + 1))
}

mkdir -p "$out"
lock "$out.lock"
mapfile -t ours < <(git ls-files -co --exclude-standard -- 'mm/*.c' 'lib/*.c')
printf '%s\n' "${ours[@]}" >"$out/ours"
sparse=$(scripts/sparse.sh "$src" "$out/ours")
use_ccache "$out"
built=0
for arch in x86_64 i386 arm64; do
	for option in $OPTIONS; do
		variant "$arch" "$option"
	done
done
for arch in x86_64 powerpc64; do
	variant "$arch" drivers
done
[ "$built" != 0 ] || die "no variant matches '$pattern'"
say "$built variants built"
