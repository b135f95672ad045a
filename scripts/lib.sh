# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Functions that the scripts here share: messages, paths, locks. A script with
# set -eu sources this file.

NAME=linux-page-migration
# shellcheck disable=SC2034 # for the scripts that source this
CACHE=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/$NAME

# say WORDS...: print a line of progress to stderr, unless QUIET is set. stdout is
# for results.
say()
{
	if [ -z "${QUIET:-}" ]; then
		printf '%s\n' "$*" >&2
	fi
}

# warn WORDS...: print a message to stderr, even if QUIET is set.
warn()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# die WORDS...: print a message to stderr and exit with status 1.
die()
{
	warn "$@"
	exit 1
}

# lock FILE: lock FILE until this shell ends. Say so if another run holds it.
lock()
{
	mkdir -p "$(dirname "$1")"
	exec 9>"$1"
	if ! flock -n 9; then
		say "waiting for another run that holds $1"
		flock 9
	fi
}

# share FILE: take a shared lock on FILE until this shell ends.
share()
{
	exec 8>"$1"
	if ! flock -n -s 8; then
		say "waiting for another run that holds $1"
		flock -s 8
	fi
}

# our_files PATTERN...: print our files that match, one path per line. This also
# works without a git repository.
our_files()
{
	local pattern

	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files -co --exclude-standard -- "$@"
		return
	fi
	for pattern; do
		find . -type f \( -path "./$pattern" -o -path "./$pattern/*" \)
	done | sed 's|^[.]/||' | sort -u
}

# kernel_version TREE: print the version of a kernel tree, such as "7.3.4". Print
# nothing if TREE is no kernel tree.
kernel_version()
{
	[ -f "$1/Makefile" ] && [ -f "$1/mm/Kconfig" ] || return 0
	sed -n -e 's/^VERSION *= *//p' -e 's/^PATCHLEVEL *= *//p' \
		-e 's/^SUBLEVEL *= *//p' "$1/Makefile" | head -n 3 | paste -sd. -
}

# use_ccache OUT: set $ccache to the prefix of a compiler command for builds in OUT.
# The prefix is empty if ccache is not installed. Results are shared by all checkouts:
# paths below OUT's parent are relative for ccache. The kernel's Makefile removes the
# path of the tree from __FILE__ by an option that contains this path. ccache ignores
# the option, since __FILE__ is the same with each such path.
# shellcheck disable=SC2034 # for the scripts that source this
use_ccache()
{
	ccache=''
	command -v ccache >/dev/null || return 0
	ccache='ccache '
	CCACHE_BASEDIR=$(dirname "$1")
	export CCACHE_BASEDIR CCACHE_NOHASHDIR=1 CCACHE_IGNOREOPTIONS='-fmacro-prefix-map=*'
}

# native: print our name of this machine's architecture.
native()
{
	uname -m | sed 's/^aarch64$/arm64/'
}

# toolchain ARCH: set $karch to the kernel's name of the architecture, and $cross to
# the prefix of Debian's compiler, which is empty for this machine's architecture.
# Set $image to the path of the kernel in the build folder if we boot it. ARCH uml is
# User Mode Linux.
# shellcheck disable=SC2034 # for the scripts that source this
toolchain()
{
	cross='' image=''
	case $1 in
	x86_64) karch=x86_64 image=arch/x86/boot/bzImage ;;
	i386) karch=i386 ;;
	alpha) karch=alpha cross=alpha-linux-gnu- ;;
	loongarch64) karch=loongarch cross=loongarch64-linux-gnu- ;;
	mips64) karch=mips cross=mips64el-linux-gnuabi64- ;;
	parisc) karch=parisc cross=hppa-linux-gnu- ;;
	parisc64) karch=parisc64 cross=hppa64-linux-gnu- ;;
	powerpc) karch=powerpc cross=powerpc-linux-gnu- ;;
	powerpc64) karch=powerpc cross=powerpc64-linux-gnu- ;;
	powerpc64le) karch=powerpc cross=powerpc64le-linux-gnu- ;;
	sparc64) karch=sparc64 cross=sparc64-linux-gnu- ;;
	uml) karch=um image=linux ;;
	arm64) karch=arm64 cross=aarch64-linux-gnu- image=arch/arm64/boot/Image ;;
	riscv64) karch=riscv cross=riscv64-linux-gnu- image=arch/riscv/boot/Image ;;
	s390x) karch=s390 cross=s390x-linux-gnu- image=arch/s390/boot/bzImage ;;
	*) die "no such architecture: $1" ;;
	esac
	if [ "$1" = "$(native)" ]; then
		cross=''
	elif [ "$1" = x86_64 ]; then
		cross=x86_64-linux-gnu-
	fi
}

# merge_fragments: read fragments, print the last line about each symbol. Print none
# if a symbol with a number is turned off later, since its value cannot be n.
merge_fragments()
{
	awk -F= '/^CONFIG_/ {
			text[$1] = $0
			if (!/=[ymn]$/)
				number[$1] = 1
			else if ($1 in number)
				delete text[$1]
		}
		END { for (symbol in text) print text[symbol] }' | LC_ALL=C sort
}

# differing FRAGMENT CONFIG: print the lines of FRAGMENT that differ from CONFIG.
differing()
{
	local line

	while IFS= read -r line; do
		case $line in
		CONFIG_*=n) ! grep -q "^${line%n}" "$2" || echo "$line" ;;
		CONFIG_*) grep -qxF -- "$line" "$2" || echo "$line" ;;
		esac
	done <"$1"
}
