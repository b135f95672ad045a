#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# matrix.sh SRC OUT [PATTERN]: build a part of the patched tree SRC in many
# configurations: our files and the files that include our headers. Build them with
# W=1, and run sparse on our files. A kernel of the configuration must define each
# symbol that our files refer to, see missing_symbols().
#
# A variant is ARCH-all, ARCH-no-OPTION or ARCH-FEATURE. A FEATURE adds
# instrumentation or changes locking. PATTERN selects variants by name.
#
# riscv64-no-MMU is a minimal kernel without any of our files. It builds the files
# that include our headers through mm/internal.h. uml-KUNIT has the tests that
# kunit.py runs by default.
#
# ARCH-drivers builds our files, and the base's files that move memory to a device
# and back. ARCH-no-OPTION-linked is a whole kernel without some drivers.
#
# tuxmake and allmodconfig build whole kernels, which takes an hour a variant here.
#
# The variants of an architecture share an O= tree. Each variant compiles our files
# again, and other files only if an option that they depend on has changed.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

cd "$(dirname "$0")/.."
src=$1 out=$2 pattern=${3:-}
# Do not pass variables of our make, such as M=pattern, to the kernel's make.
unset MAKEFLAGS MAKEOVERRIDES
# These architectures have a variant for each of OPTIONS. A variant turns one option
# off, so without NUMA, for example, COMPACTION stays on.
WHOLE="x86_64 i386 arm64"
OPTIONS="NUMA THP HUGETLBFS SWAP MEMCG BLOCK BUFFER_HEAD KSM COMPACTION
	ZONE_DEVICE MIGRATION"
# Only on x86_64: options to turn off and features to turn on, one at a time. HUGE is
# THP and HUGETLBFS.
MORE="HUGE MMU_NOTIFIER SMP"
FEATURES="RT KCSAN UBSAN DEBUG_VM PREEMPT MEM_ALLOC_PROFILING DEBUG_PAGEALLOC
	NO_PAGE_MAPCOUNT"
# Built with all options that they have, riscv64 and s390x also without HUGE.
OTHERS="riscv64 s390x alpha loongarch64 mips64 parisc parisc64 powerpc powerpc64
	powerpc64le sparc64"
INTERNAL='^#include "(../mm/)?internal\.h"'
HEADERS='^#include (<linux/(migrate|migrate_mode|pagewalk|balloon)|"(migrate|zpdesc))\.h'

# off_with OPTION: print the symbols to turn off together with OPTION. The variant
# fails if any other symbol that kconfig/ asks for is off.
off_with()
{
	case $1 in
	NUMA) echo NUMA NUMA_MIGRATION NUMA_BALANCING NODES_SHIFT ACPI_NUMA \
		ACPI_HMAT X86_64_ACPI_NUMA OF_NUMA TEST_VMA_MIGRATE \
		MIGRATE_VMA_KUNIT_TEST ;;
	THP) echo TRANSPARENT_HUGEPAGE TRANSPARENT_HUGEPAGE_MADVISE \
		ARM64_CONTPTE TEST_HMM MIGRATE_DEVICE_KUNIT_TEST ;;
	HUGETLBFS) echo HUGETLBFS CGROUP_HUGETLB ;;
	HUGE) off_with THP && off_with HUGETLBFS ;;
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
		DMA_CMA MEMORY_HOTREMOVE MEMORY_FAILURE HWPOISON_INJECT BALLOON_MIGRATION \
		TEST_VMA_MIGRATE MIGRATE_VMA_KUNIT_TEST ;;
	MMU_NOTIFIER) echo MMU_NOTIFIER TEST_HMM ;;
	SMP) off_with NUMA && echo SMP NR_CPUS CPUSETS CPUSETS_V1 PER_VMA_LOCK ;;
	# PREEMPT_RT excludes THP and NUMA_BALANCING.
	RT) off_with THP && echo NUMA_BALANCING ;;
	# Without these, a kernel has half as many files to compile.
	linked) echo ACPI ACPI_NUMA X86_64_ACPI_NUMA ACPI_HOTPLUG_MEMORY \
		ACPI_HMAT PCI PCI_MSI VIRTIO_PCI ;;
	all | drivers | KCSAN | UBSAN | DEBUG_VM | PREEMPT | MEM_ALLOC_PROFILING | \
		DEBUG_PAGEALLOC | NO_PAGE_MAPCOUNT) ;;
	*-linked) off_with "${1%-linked}" && off_with linked ;;
	*) die "no such option: $1" ;;
	esac
}

# off_on ARCH: print the symbols that ARCH does not have.
off_on()
{
	case $1 in
	i386) echo 64BIT ZONE_DMA32 SPARSEMEM_VMEMMAP PER_VMA_LOCK \
		MEMORY_HOTPLUG MEMORY_HOTREMOVE ACPI_HOTPLUG_MEMORY \
		MEM_SOFT_DIRTY PTE_MARKER_UFFD_WP IA32_EMULATION \
		PAGEWALK_KUNIT_TEST MIGRATE_KUNIT_TEST &&
		off_with NUMA && off_with ZONE_DEVICE ;;
	loongarch64) echo MEMORY_FAILURE HWPOISON_INJECT MEM_SOFT_DIRTY \
		PTE_MARKER_UFFD_WP NODES_SHIFT ZONE_DMA ;;
	alpha) off_on small && off_with NUMA && off_with HUGE &&
		echo CMA_SIZE_MBYTES DMA_CMA KPROBES MEMORY_FAILURE HWPOISON_INJECT \
		SPARSEMEM_VMEMMAP ZONE_DMA32 ;;
	mips64) off_on small && echo MEMORY_FAILURE HWPOISON_INJECT NODES_SHIFT \
		NUMA_BALANCING SPARSEMEM_VMEMMAP ZONE_DMA ;;
	parisc) off_on parisc64 && off_with HUGETLBFS &&
		echo 64BIT PAGEWALK_KUNIT_TEST MIGRATE_KUNIT_TEST ;;
	parisc64) off_on small && off_with NUMA && off_with THP &&
		echo CMA_SIZE_MBYTES DMA_CMA SPARSEMEM_VMEMMAP ZONE_DMA ZONE_DMA32 ;;
	powerpc) off_on small && off_on powerpc64 && off_with NUMA && off_with HUGE &&
		echo 64BIT PCI PCI_MSI VIRTIO_PCI SPARSEMEM_VMEMMAP ;;
	powerpc64 | powerpc64le) echo CMA_SIZE_MBYTES DMA_CMA NODES_SHIFT \
		MEMORY_FAILURE HWPOISON_INJECT PTE_MARKER_UFFD_WP SECRETMEM \
		ZONE_DMA ZONE_DMA32 PAGEWALK_KUNIT_TEST MIGRATE_KUNIT_TEST ;;
	sparc64) off_on small && echo CMA_SIZE_MBYTES DMA_CMA MEMORY_FAILURE \
		HWPOISON_INJECT NUMA_BALANCING PAGEWALK_KUNIT_TEST ZONE_DMA ZONE_DMA32 ;;
	# Architectures without memory hotplug and without device memory.
	small) off_with ZONE_DEVICE && echo MEMORY_HOTPLUG MEMORY_HOTREMOVE \
		MEM_SOFT_DIRTY PTE_MARKER_UFFD_WP PER_VMA_LOCK SECRETMEM ;;
	esac
}

# on_with ARCH OPTION: print the symbols to turn on in addition to those of kconfig/.
on_with()
{
	echo BUFFER_HEAD
	case $1 in
	i386) echo X86_PAE HIGHMEM4G ;;
	arm64) echo COMPAT ;;
	loongarch64) echo 64BIT ACPI ACPI_NUMA ;;
	mips64) echo MACH_LOONGSON64 CPU_LITTLE_ENDIAN PAGE_SIZE_16KB ;;
	parisc64) echo PA8X00 ;;
	powerpc64) echo PPC64 PPC_BOOK3S_64 PPC_POWERNV ;;
	powerpc64le) echo PPC64 PPC_BOOK3S_64 CPU_LITTLE_ENDIAN PPC_POWERNV ;;
	esac
	case $2 in
	# Both need EXPERT. With EXPERT, SHMEM is off unless it is asked for.
	BLOCK | RT) echo EXPERT SHMEM ;;
	esac
	case $1-$2 in
	*-RT) echo PREEMPT_RT ;;
	*-KCSAN) echo KCSAN ;;
	*-PREEMPT | *-MEM_ALLOC_PROFILING | *-DEBUG_PAGEALLOC | *-NO_PAGE_MAPCOUNT) echo "$2" ;;
	# All checks of GCC, except UBSAN_UNREACHABLE, which conflicts with objtool.
	*-UBSAN) echo UBSAN UBSAN_BOUNDS UBSAN_SHIFT UBSAN_DIV_ZERO UBSAN_BOOL \
		UBSAN_ENUM UBSAN_ALIGNMENT ;;
	# The debugging guest has these, too, but KASAN limits inlining there.
	*-DEBUG_VM) echo CC_OPTIMIZE_FOR_PERFORMANCE DEBUG_VM DEBUG_VM_PGFLAGS \
		DEBUG_VM_PGTABLE DEBUG_VM_RB ;;
	x86_64-drivers) echo STAGING DRM DRM_NOUVEAU DRM_NOUVEAU_SVM DRM_AMDGPU \
		HSA_AMD HSA_AMD_SVM DRM_XE DRM_XE_GPUSVM DRM_XE_PAGEMAP ;;
	powerpc64le-drivers) echo VIRTUALIZATION KVM_BOOK3S_64 KVM_BOOK3S_64_HV \
		PPC_UV ;;
	esac
}

# configured: read lines "SYMBOL TARGET", print each TARGET whose SYMBOL is on.
configured()
{
	local symbol target

	while read -r symbol target; do
		! grep -q "^CONFIG_$symbol=[ym]" "$dir/.config" || echo "$target"
	done
}

# linked FOLDER/: print the linked objects of FOLDER and its subfolders.
linked()
{
	local file=$src/$1Makefile entry entries

	[ ! -f "$src/$1Kbuild" ] || file=$src/$1Kbuild
	# shellcheck disable=SC2016 # make expands it
	entries=$(printf '%s\n' "include $dir/include/config/auto.conf" "include $file" \
		'parts = $(strip $($(1:.o=-y)) $($(1:.o=-objs)))' \
		'all: ; @echo $(foreach o,$(obj-y) $(lib-y),$(or $(call parts,$o),$o))' |
		make -s -f - all srctree="$src" src="$src/${1%/}" obj="${1%/}" \
			SRCARCH="$srcarch" ARCH="$karch" BITS="$bits" 2>/dev/null) || return 1
	for entry in $entries; do
		case $entry in
		*/) linked "$1$entry" || return 1 ;;
		*.o) echo "$1$entry" ;;
		esac
	done
}

# all_linked: print the linked objects of all folders with files that include our
# headers or define symbols that our files refer to. uml has some in arch/x86/um/.
all_linked()
{
	local folder

	for folder in mm/ kernel/ lib/ fs/ drivers/base/ drivers/char/ \
		"arch/$srcarch/" "arch/$srcarch/lib/" "arch/x86/$srcarch/"; do
		[ ! -d "$src/$folder" ] || linked "$folder" || return 1
	done | sort -u
}

# with_line REGEX: print the linked objects whose source has a line that matches.
with_line()
{
	sed -n 's/\.o$//p' "$dir.linked" | while read -r object; do
		printf '%s\n' "$object.c" "$object.S"
	done | (cd "$src" && xargs grep -lsE "$1") | sed 's/\.[cS]$/.o/'
}

# users: print the other configured objects that include our headers.
users()
{
	configured <<-END
	VIRTIO_BALLOON		drivers/virtio/virtio_balloon.o
	TEST_HMM		lib/test_hmm.o
	TEST_VMA_MIGRATE	lib/test_vma_migrate.o
	END
}

# drivers: print the configured objects that move memory to a device.
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
	make -C "$src" O="$dir" ARCH="$karch" CROSS_COMPILE="$cross" CC="$compiler" "$@"
}

# fragment OPTION: print the configuration to ask for. The last line about a symbol
# applies.
fragment()
{
	local symbol

	case $1 in
	MMU) printf 'CONFIG_%s\n' MMU=n NONPORTABLE=y && return ;;
	KUNIT) cat kconfig/uml.config && printf 'CONFIG_%s=y\n' KUNIT KUNIT_ALL_TESTS && return ;;
	esac
	{
		cat kconfig/guest.config kconfig/series.config
		case $arch in
		x86_64 | i386) ;;
		*) cat kconfig/foreign.config ;;
		esac
		if [ -f "kconfig/$arch.config" ]; then
			cat "kconfig/$arch.config"
		fi
		case $1 in
		*-linked) cat kconfig/own.config ;;
		esac
		for symbol in $(off_on "$arch") $(off_with "$1"); do
			echo "CONFIG_$symbol=n"
		done
		for symbol in $(on_with "$arch" "$1"); do
			case " $(off_with "$1" | xargs) " in
			*" $symbol "*) ;;
			*) echo "CONFIG_$symbol=y" ;;
			esac
		done
	} | merge_fragments
}

# lines_in [-v] NAMES FILE...: print the lines of the FILEs that the file NAMES has,
# too. With -v, print the lines that NAMES does not have.
lines_in()
{
	local how=-xFf

	[ "$1" != -v ] || { how=-vxFf && shift; }
	cat "${@:2}" | grep "$how" "$1" || true
}

# symbols HOW OBJECT...: print the names that nm HOW lists for objects in $dir.
symbols()
{
	local how=$1

	shift
	[ $# = 0 ] || (cd "$dir" && "${cross}nm" "$how" -g "$@") |
		awk 'NF > 1 && $(NF - 1) ~ /^[A-Zu]$/ { print $NF }' | LC_ALL=C sort -u
}

# definers: read symbols, print the linked objects that may define one of them. The
# source of such an object does one of these:
# - It has a line without indentation that names the symbol, as a definition does.
# - It includes a .c file with such a line, or a .h file with a DEFINE_ macro of it.
# - It has CREATE_TRACE_POINTS and includes a trace header that names the symbol.
definers()
{
	local names parts

	names=$(sed 's/[.$]/\\&/g' | paste -sd'|')
	with_line "^[A-Za-z_].*\b($names)\b"
	parts=$(cd "$src" && {
		grep -rlE --include='*.c' "^[A-Za-z_].*\b($names)\b" kernel mm lib
		grep -rlE --include='*.h' "^DEFINE_[A-Z_]+\(($names)\b" kernel mm lib
	} | sed 's|.*/||' | sort -u | paste -sd'|')
	[ -z "$parts" ] || with_line "^#include \"($parts)\""
	parts=$(tr '|' '\n' <<<"$names" | sed -n 's/_tp$//; s/^__tracepoint_//p' |
		paste -sd'|')
	[ -n "$parts" ] || return 0
	parts=$(cd "$src/include/trace/events" && grep -lwE "$parts" -- *.h | paste -sd'|')
	comm -12 <(with_line "^#include <trace/events/($parts)>" | sort -u) \
		<(with_line '^#define CREATE_TRACE_POINTS' | sort -u)
}

# in_script: read symbols, print those that the linker script defines, such as the
# start and the end of a section.
in_script()
{
	grep -xF -f <(grep -ohE '\w+' "$src/include/asm-generic/vmlinux.lds.h" \
		"$src/arch/$srcarch/kernel/vmlinux.lds.S" | sort -u) || true
}

# missing_symbols: print the symbols that no object of the configured kernel defines,
# and that our objects, or objects of files that we edit, refer to. Look for
# definitions in the objects that are compiled already. A symbol that an untouched
# object of the base refers to exists, since the base links. For the other symbols,
# compile the files that definers() finds, and look there.
missing_symbols()
{
	local wanted=$dir.wanted known=$dir.known more=()

	mapfile -t more < <(lines_in "$out/mine" "$dir.objects")
	symbols -u "${more[@]}" >"$wanted"
	mapfile -t more < <(lines_in -v "$out/mine" "$dir.objects")
	symbols -u "${more[@]}" >"$known"
	mapfile -t more <"$dir.objects"
	symbols --defined-only "${more[@]}" >>"$known"
	lines_in -v "$known" "$wanted" >"$dir.left"
	[ -s "$dir.left" ] || return 0
	definers <"$dir.left" | sort -u >"$dir.definers"
	# kbuild descends into arch/*/lib twice. Two jobs could compile one object.
	mapfile -t more < <(grep "^arch/$srcarch/lib/" "$dir.definers")
	[ "${#more[@]}" = 0 ] || kbuild -j1 "${more[@]}" >&2 || return 1
	mapfile -t more < <(grep -v "^arch/$srcarch/lib/" "$dir.definers")
	[ "${#more[@]}" = 0 ] || kbuild -j"$(nproc)" "${more[@]}" >&2 || return 1
	mapfile -t more <"$dir.definers"
	symbols --defined-only "${more[@]}" >>"$known"
	in_script <"$dir.left" >>"$known"
	lines_in -v "$known" "$dir.left"
}

# build OPTION: configure a variant and build its objects.
build()
{
	fragment "$1" >"$dir.fragment"
	KCONFIG_ALLCONFIG=$dir.fragment kbuild -s allnoconfig || return 1
	wrong=$(differing "$dir.fragment" "$dir/.config" | xargs)
	[ -z "$wrong" ] || return 1
	(cd "$dir" && rm -f "${ours[@]/%.c/.o}")
	case $1 in
	*-linked) kbuild -j"$(nproc)" vmlinux && return ;;
	esac
	kbuild -j"$(nproc)" prepare || return 1
	if [ "$1" = drivers ]; then
		mapfile -t others < <(drivers)
		(cd "$dir" && rm -f "${others[@]}")
	fi
	all_linked >"$dir.linked" || return 1
	{
		with_line "$HEADERS" && users
		[ "$1" != MMU ] || with_line "$INTERNAL"
	} | sort -u >"$dir.objects"
	# Run sparse on our files only. It takes as long for a file as GCC does.
	mapfile -t objects < <(printf '%s\n' "${ours[@]/%.c/.o}" | grep -xFf "$dir.objects")
	[ "${#objects[@]}" = 0 ] ||
		kbuild -j"$(nproc)" -k W=1 C=1 CHECK="$sparse" "${objects[@]}" || return 1
	# An object that is also a driver is built with the drivers.
	mapfile -t objects < <(printf '%s\n' "${others[@]}" "${ours[@]/%.c/.o}" |
		grep -vxFf - "$dir.objects")
	[ "${#objects[@]}" = 0 ] ||
		kbuild -j"$(nproc)" -k W=1 "${objects[@]}" || return 1
	[ "${#others[@]}" = 0 ] || kbuild -j"$(nproc)" -k "${others[@]}" || return 1
	undefined=$(missing_symbols) || return 1
}

# report OPTION: print the result of a variant that was built.
report()
{
	local read

	case $1 in
	*-linked)
		say "$name: $(grep -c '^  CC ' "$log") compiled, linked, $((SECONDS - start)) s"
		return ;;
	esac
	read=$(sed -n 's/^  CHECK *//p' "$log" | grep -cxFf "$out/ours" || true)
	say "$name: $(grep -c '^  CC ' "$log") compiled, $read of ours read by sparse," \
		"${others[*]:+${#others[@]} drivers, }no findings," \
		"$(wc -l <"$dir.wanted") symbols found, $((SECONDS - start)) s"
}

# variant ARCH OPTION: build a variant and look for findings in its log.
variant()
{
	local arch=$1 name=$1-no-$2 dir=$out/$1 log start=$SECONDS
	# shellcheck disable=SC2034 # toolchain sets it
	local image
	local wrong='' undefined='' karch cross srcarch bits compiler
	local objects=() others=()

	case " all drivers KUNIT $(xargs <<<"$FEATURES") " in
	*" $2 "*) name=$arch-$2 ;;
	esac
	case $2 in
	*-linked) dir=$dir-linked ;;
	esac
	[[ $name == *$pattern* ]] || return 0
	case " $(off_on "$arch" | xargs) " in
	*" $2 "*) say "$name: $arch has none" && return ;;
	esac
	toolchain "$arch"
	command -v "${cross}gcc" >/dev/null || {
		unbuilt="$unbuilt $name"
		say "$name: NOT BUILT, ${cross}gcc is not installed"
		return
	}
	compiler=$ccache${cross}gcc
	log=$out/$name.log
	mkdir -p "$dir"
	case $karch in
	x86_64 | i386) srcarch=x86 ;;
	*) srcarch=${karch%64} ;;
	esac
	[ "$karch" != arm64 ] || srcarch=arm64
	bits=64
	case $arch in
	i386 | parisc | powerpc) bits=32 ;;
	esac
	build "$2" >"$log" 2>&1 || {
		[ -z "$wrong" ] || bad "the configuration differs from kconfig/ in: $wrong" || return 0
		grep -E -A3 'error:|Error [0-9]|undefined' "$log" | head -n 20 >&2 || true
		bad "does not build; the log is $log" || return 0
	}
	if grep -E -A5 '(warning|error):|C=1 specified' "$log" >&2; then
		bad "findings; the log is $log" || return 0
	fi
	[ -z "$undefined" ] || bad "does not link, nothing defines: $(xargs <<<"$undefined")" ||
		return 0
	report "$2"
	built=$((built + 1))
}

# bad WORDS...: report an error of the variant. The other variants are still built.
bad()
{
	printf '%s: %s\n' "$name" "$*" >&2
	failed="$failed $name"
	return 1
}

mkdir -p "$out"
lock "$out.lock"
mapfile -t ours < <(our_files 'mm/*.c' 'lib/*.c')
printf '%s\n' "${ours[@]}" >"$out/ours"
{
	printf '%s\n' "${ours[@]}"
	sed -n -e 's|^// files: ||p' -e 's|^+++ b/||p' series/*/*.cocci series/*/*.patch |
		xargs -n 1
} | sed -n 's/\.c$/.o/p' | sort -u >"$out/mine"
sparse=$(scripts/sparse.sh "$src" "$out/ours")
use_ccache "$out"
built=0 unbuilt='' failed=''
for arch in $WHOLE; do
	for option in all $OPTIONS; do
		variant "$arch" "$option"
	done
done
for option in $MORE $FEATURES; do
	variant x86_64 "$option"
done
for arch in $OTHERS; do
	variant "$arch" all
done
for arch in riscv64 s390x; do
	variant "$arch" HUGE
done
variant riscv64 MMU
variant uml KUNIT
for option in THP HUGE; do
	variant x86_64 "$option-linked"
done
for arch in x86_64 powerpc64le; do
	variant "$arch" drivers
done
[ -z "$failed" ] || die "failed:$failed"
[ -z "$unbuilt" ] || warn "not built, no compiler is installed:$unbuilt"
[ "$built" != 0 ] || die "no variant was built that matches '$pattern'"
say "$built variants built"
