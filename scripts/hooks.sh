#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# hooks.sh BASE SRC OUT [PATTERN]: check that our code in the patched tree SRC calls
# all functions of an architecture that the replaced code of BASE calls.
#
# An architecture updates page table entries, TLBs and caches in functions with
# common names, which are inline most often. On s390, ptep_clear_flush() is
# ptep_xchg_direct(). So compare object files. A hook is a name that the base's
# objects refer to and that a header of the architecture has. If our objects do not
# refer to it, it is missing, unless it has a line in hooks.allow with a reason.
#
# The architectures are listed below with their names in SRC/arch. PATTERN selects
# some of them. Architectures without a compiler on this machine are only named.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

cd "$(dirname "$0")/.."
base=$1 src=$2 out=$3 pattern=${4:-}
unset MAKEFLAGS MAKEOVERRIDES

# A line is ARCH PREFIX SYMBOLS: the prefix of the compiler, and the symbols to turn
# on in addition to COMMON. An architecture may lack some symbols of COMMON.
ARCHES="x86 x86_64-linux-gnu- 64BIT
arm64 aarch64-linux-gnu- ARM64_CONTPTE
arm arm-linux-gnueabihf- ARCH_MULTI_V6 ARCH_MULTI_V7 ARCH_VIRT
riscv riscv64-linux-gnu- 64BIT
s390 s390x-linux-gnu- MARCH_Z13
powerpc powerpc64le-linux-gnu- PPC64 PPC_BOOK3S_64 CPU_LITTLE_ENDIAN PPC_POWERNV
sparc sparc64-linux-gnu- 64BIT
mips mips64el-linux-gnuabi64- MIPS_MALTA CPU_MIPS64_R2 64BIT CPU_LITTLE_ENDIAN
parisc hppa-linux-gnu- PA7200
alpha alpha-linux-gnu- ALPHA_GENERIC
sh sh4-linux-gnu- CPU_SUBTYPE_SH7785
m68k m68k-linux-gnu- MMU M68040 ATARI
loongarch loongarch64-linux-gnu- 64BIT"
COMMON="SMP NUMA SPARSEMEM_MANUAL SPARSEMEM_VMEMMAP COMPACTION MIGRATION SHMEM
	TRANSPARENT_HUGEPAGE TRANSPARENT_HUGEPAGE_MADVISE HUGETLBFS MEMORY_HOTPLUG
	MEMORY_HOTREMOVE ZONE_DEVICE DEVICE_PRIVATE EXPERT BLOCK"

# The series replaces these functions of mm/rmap.c, and all functions of BASE_FILES.
REPLACED='try_to_migrate|try_to_migrate_one|invalid_migration_vma'
BASE_FILES="mm/migrate.o mm/migrate_device.o mm/pagewalk.o"

kbuild()
{
	local tree=$1 dir=$2

	shift 2
	make -C "$tree" O="$dir" ARCH="$arch" CROSS_COMPILE="$prefix" \
		CC="$ccache${prefix}gcc" KCFLAGS=-ffunction-sections "$@"
}

# configure TREE DIR: turn on all wanted symbols that can be on, and no others.
configure()
{
	mkdir -p "$2"
	# shellcheck disable=SC2086 # a list of words
	printf 'CONFIG_%s=y\n' $COMMON $symbols >"$2.fragment"
	KCONFIG_ALLCONFIG=$2.fragment kbuild "$1" "$2" -s allnoconfig
	grep -qx CONFIG_MIGRATION=y "$2/.config" ||
		die "$arch: no page migration in this configuration"
	kbuild "$1" "$2" -s prepare
}

# relocations OBJECT [FUNCTIONS]: print the names that the code of OBJECT refers to.
# With a pattern FUNCTIONS, only read the functions that match, the parts that GCC
# has split from them, and the functions of the same object that they call.
relocations()
{
	"${prefix}objdump" -r "$1" | awk -v only="${2:-.*}" '
		function function_of(section)
		{
			sub(/^[.]text[.]?/, "", section)
			sub(/^(unlikely|hot)[.]/, "", section)
			return section
		}
		function follow(name,  i)
		{
			if (name in followed)
				return
			followed[name] = 1
			for (i = 1; i <= nr[name]; i++)
				follow(target[name, i])
		}
		/^RELOCATION RECORDS FOR/ {
			section = $4
			sub(/^\[/, "", section)
			sub(/\]:$/, "", section)
			code = section ~ /^[.]text/
			from = function_of(section)
			if (code)
				here[from] = 1
		}
		code && NF == 3 && $1 ~ /^[0-9a-f]+$/ {
			sub(/[-+]0x[0-9a-f]+$/, "", $3)
			if ($3 ~ /^[.]text/)
				$3 = function_of($3)
			target[from, ++nr[from]] = $3
		}
		END {
			for (name in here)
				if (name ~ "^(" only ")([.].*)?$")
					follow(name)
			for (name in followed)
				if (!(name in here) && name !~ /^[.*]/)
					print name
		}' | sort -u
}

# of_base: print the names that the replaced code of the base refers to.
of_base()
{
	local object

	relocations "$out/$arch-base/mm/rmap.o" "$REPLACED"
	for object in $BASE_FILES; do
		[ ! -e "$out/$arch-base/$object" ] ||
			relocations "$out/$arch-base/$object"
	done
}

# of_ours: print the names that our files refer to.
of_ours()
{
	local object

	for object in "${objects[@]}"; do
		relocations "$out/$arch/$object"
	done
}

# of_arch: read names, print those that a header of the architecture has.
of_arch()
{
	local name

	while read -r name; do
		! grep -rqsw -- "$name" "$src/arch/$arch/include/asm" || echo "$name"
	done
}

# allowed NAME: succeed if hooks.allow has a line for NAME.
allowed()
{
	awk -v arch="$arch" -v name="$1" '!/^#/ && NF > 1 &&
		($1 == arch || $1 == "*") && $2 == name { found = 1 }
		END { exit !found }' scripts/hooks.allow
}

# configured TREE DIR OBJECT...: print the OBJECTs that this configuration builds.
configured()
{
	local tree=$1 dir=$2 linked object

	shift 2
	# shellcheck disable=SC2016 # make expands it
	linked=$(printf '%s\n' "include $dir/include/config/auto.conf" \
		"include $tree/mm/Makefile" 'all: ; @echo $(obj-y)' |
		make -s -f - all) || return 1
	for object in "$@"; do
		[[ " $linked " != *" ${object#mm/} "* ]] || echo "$object"
	done
}

# build: build the objects of the base and of the patched tree.
build()
{
	configure "$base" "$out/$arch-base"
	configure "$src" "$out/$arch"
	# shellcheck disable=SC2086 # a list of words
	mapfile -t theirs < <(configured "$base" "$out/$arch-base" mm/rmap.o $BASE_FILES)
	mapfile -t objects < <(configured "$src" "$out/$arch" "${ours[@]/%.c/.o}")
	kbuild "$base" "$out/$arch-base" -s -j"$(nproc)" "${theirs[@]}"
	kbuild "$src" "$out/$arch" -s -j"$(nproc)" "${objects[@]}"
}

# check_arch ARCH PREFIX SYMBOLS: build and compare the objects, and print missing
# hooks.
check_arch()
{
	local arch=$1 prefix=$2 symbols=$3 theirs=() objects=() missing='' name nr

	[[ $arch == *$pattern* ]] || return 0
	if ! command -v "${prefix}gcc" >/dev/null; then
		unchecked="$unchecked $arch"
		say "$arch: NOT CHECKED, ${prefix}gcc is not installed"
		return 0
	fi
	build >"$out/$arch.log" 2>&1 || {
		tail -n 20 "$out/$arch.log" >&2
		die "$arch does not build; the log is $out/$arch.log"
	}
	of_base | sort -u | of_arch >"$out/$arch.hooks"
	nr=$(wc -l <"$out/$arch.hooks")
	[ "$nr" != 0 ] || die "$arch: the base's code calls nothing of the architecture"
	while read -r name; do
		allowed "$name" || missing+=" $name"
	done < <(comm -23 "$out/$arch.hooks" <(of_ours | sort -u))
	checked=$((checked + 1))
	if [ -n "$missing" ]; then
		say "$arch: $nr hooks, not called by us:$missing"
		bad=$((bad + 1))
	else
		say "$arch: $nr hooks, all of them called"
	fi
}

mkdir -p "$out"
lock "$out.lock"
mapfile -t ours < <(our_files 'mm/*.c')
use_ccache "$out"
checked=0 bad=0 unchecked=''
while read -r arch prefix symbols; do
	check_arch "$arch" "$prefix" "$symbols"
done <<<"$ARCHES"
[ -z "$unchecked" ] || warn "not checked, no compiler is installed:$unchecked"
[ "$checked" != 0 ] || die "no architecture that matches '$pattern' was checked"
[ "$bad" = 0 ] || die "$bad of $checked architectures have missing hooks"
say "$checked architectures, no hooks are missing"
