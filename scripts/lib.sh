# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What every script here shares: how it speaks, where things are, who waits
# for whom.  Sourced, never run.  The caller has set -eu.

NAME=linux-page-migration
# shellcheck disable=SC2034 # for those who source this
CACHE=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/$NAME

# say WORDS...: one line of progress, to stderr so that stdout stays for results.
say()
{
	if [ -z "${QUIET:-}" ]; then
		printf '%s\n' "$*" >&2
	fi
}

# warn WORDS...: what has to be read, also where only results are wanted.
warn()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# die WORDS...: the one sentence that the user needs, then failure.
die()
{
	warn "$@"
	exit 1
}

# lock FILE: hold FILE until this shell ends; say so when another one has it.
lock()
{
	mkdir -p "$(dirname "$1")"
	exec 9>"$1"
	if ! flock -n 9; then
		say "waiting for another run that holds $1"
		flock 9
	fi
}

# share FILE: nobody else has FILE locked until this shell ends; others may share it.
share()
{
	exec 8>"$1"
	if ! flock -n -s 8; then
		say "waiting for another run that holds $1"
		flock -s 8
	fi
}

# our_files PATTERN...: our files that fit, a path a line; also without a repository.
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

# kernel_version TREE: "7.3.4" of an unpacked kernel tree, nothing if it is none.
kernel_version()
{
	[ -f "$1/Makefile" ] && [ -f "$1/mm/Kconfig" ] || return 0
	sed -n -e 's/^VERSION *= *//p' -e 's/^PATCHLEVEL *= *//p' \
		-e 's/^SUBLEVEL *= *//p' "$1/Makefile" | head -n 3 | paste -sd. -
}

# use_ccache OUT: what goes before the name of a compiler that builds in OUT, in
# $ccache: nothing where there is no ccache.
# shellcheck disable=SC2034 # for those who source this
use_ccache()
{
	ccache=''
	command -v ccache >/dev/null || return 0
	ccache='ccache '
	CCACHE_BASEDIR=$(dirname "$1")
	export CCACHE_BASEDIR CCACHE_NOHASHDIR=1
}

# native: what we call the architecture of this machine.
native()
{
	uname -m | sed 's/^aarch64$/arm64/'
}

# toolchain ARCH: what the kernel's make calls an architecture, in $karch; the
# prefix of Debian's compiler in $cross, empty for this machine's own; where the
# build leaves a kernel that boots in $image.  A kernel that is a program is of the
# architecture uml.
# shellcheck disable=SC2034 # for those who source this
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

# merge_fragments: of the lines on stdin about a symbol the last; a number that
# is switched off is not mentioned, as there is nothing else to say about it.
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

# not_so FRAGMENT CONFIG: what of FRAGMENT is not so in CONFIG, a line each.
not_so()
{
	local line

	while IFS= read -r line; do
		case $line in
		CONFIG_*=n) ! grep -q "^${line%n}" "$2" || echo "$line" ;;
		CONFIG_*) grep -qxF -- "$line" "$2" || echo "$line" ;;
		esac
	done <"$1"
}
