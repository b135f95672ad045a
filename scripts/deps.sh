#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# deps.sh [SET...]: check that the commands and headers for all targets, and those of
# each SET below, are installed. On Debian, install the packages of the missing ones,
# or without root, print the command that does so. On other systems, name the missing
# ones. With DEPS=0, do not check.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# A line is WANTED PACKAGE. WANTED is a command, or several with | between them of
# which one is enough, or an absolute path, or PREFIX:HEADER.h for a header that
# PREFIXgcc must find. PACKAGE is the Debian package.

# These are needed to patch, build and boot the base, and to build its tests.
ALL="
xz xz-utils
git git
spatch coccinelle
patch patch
perl perl
python3 python3
gcc gcc
:stdio.h libc6-dev
make make
flex flex
bison bison
bc bc
:libelf.h libelf-dev
:openssl/opensslv.h libssl-dev
cpio cpio
gzip gzip
busybox busybox-static
numactl numactl
migratepages numactl
:numa.h libnuma-dev
:sys/capability.h libcap-dev
:liburing.h liburing-dev
mkfs.ext4 e2fsprogs
mkfs.xfs xfsprogs
mkswap util-linux
flock util-linux
"
# These are needed to fetch the base, and packages for another architecture.
ON_DEBIAN="
dpkg-deb dpkg
/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
"
# These speed up builds. Only root can install them, so only check for them as root.
OPTIONAL="
ccache ccache
"

# emulator ARCH: print the line WANTED PACKAGE of an emulator for ARCH.
emulator()
{
	case $1 in
	x86_64) echo "qemu-system-x86_64 qemu-system-x86" ;;
	arm64) echo "qemu-system-aarch64 qemu-system-arm" ;;
	riscv64) echo "qemu-system-riscv64 qemu-system-misc" ;;
	s390x) echo "qemu-system-s390x qemu-system-misc|qemu-system-s390x" ;;
	esac
}

# machine ARCH DEBIAN: print the lines for building and booting a kernel for ARCH.
# DEBIAN is the name of ARCH in Debian's packages.
machine()
{
	emulator "$1"
	toolchain "$1"
	if [ -n "$cross" ]; then
		echo "${cross}gcc gcc-${cross%-}"
		echo "$cross:stdio.h libc6-dev-$2-cross"
	fi
}

# wanted SET: print the lines of a SET.
wanted()
{
	case $1 in
	lint)
		echo "shellcheck shellcheck"
		echo "codespell codespell"
		echo "sphinx-build python3-sphinx"
		# An extension of the kernel's Sphinx configuration imports it.
		if command -v apt-get >/dev/null; then
			echo "/usr/lib/python3/dist-packages/yaml python3-yaml"
		fi
		echo "pyflakes3|pyflakes pyflakes3" ;;
	arm64) machine arm64 arm64 ;;
	riscv64) machine riscv64 riscv64 ;;
	s390x) machine s390x s390x ;;
	# Debian 12 has no gcc for loongarch64. matrix.sh names what it cannot build.
	matrix)
		for cross in aarch64-linux-gnu riscv64-linux-gnu s390x-linux-gnu \
				alpha-linux-gnu mips64el-linux-gnuabi64 hppa-linux-gnu \
				hppa64-linux-gnu powerpc-linux-gnu powerpc64-linux-gnu \
				powerpc64le-linux-gnu sparc64-linux-gnu; do
			echo "$cross-gcc gcc-$cross"
		done ;;
	bench) echo "gnuplot gnuplot-nox" ;;
	*) die "no such set: $1 (known: lint, arm64, riscv64, s390x, matrix, bench)" ;;
	esac
}

# is_here WANTED: succeed if WANTED is installed.
is_here()
{
	local name

	case $1 in
	/*)
		[ -e "$1" ] ;;
	*:*)
		echo "#include <${1#*:}>" | "${1%%:*}gcc" -E -o /dev/null - 2>/dev/null ;;
	*)
		for name in ${1//|/ }; do
			PATH=$PATH:/usr/sbin:/sbin command -v "$name" >/dev/null && return
		done
		return 1 ;;
	esac
}

# lacking: read lines WANTED PACKAGE, print those whose WANTED is not installed.
lacking()
{
	local what package

	while read -r what package; do
		[ -z "$what" ] || is_here "$what" || echo "$what $package"
	done
}

[ "${DEPS:-1}" != 0 ] || exit 0
missing=$(
	lacking <<<"$ALL"
	emulator "$(native)" | lacking
	if command -v apt-get >/dev/null; then
		lacking <<<"$ON_DEBIAN"
		[ "$(id -u)" != 0 ] || lacking <<<"$OPTIONAL"
	fi
	for extra; do
		wanted "$extra" >/dev/null
		wanted "$extra" | lacking
	done
)
[ -n "$missing" ] || exit 0

names=$(cut -d' ' -f1 <<<"$missing" | sed 's/^\(.*\):/<\1>/; s/^<>//' | sort -u | xargs)
command -v apt-get >/dev/null ||
	die "these are missing: $names (install them, or leave this check out with DEPS=0)"
packages=$(cut -d' ' -f2 <<<"$missing" | while IFS='|' read -r first other; do
	if [ -n "$other" ] && apt-cache show "$other" >/dev/null 2>&1; then
		first=$other
	fi
	echo "$first"
done | sort -u | xargs)
if [ "$(id -u)" != 0 ]; then
	die "these are missing: $names; type: sudo apt-get install --no-install-recommends $packages"
fi

# Ask first if there is a terminal.
if [ -t 0 ] && [ -t 2 ]; then
	read -rp "These are missing: $names. Install $packages? [Y/n] " answer
	case $answer in
	[Nn]*) die "then install them, or leave this check out with DEPS=0" ;;
	esac
fi
say "installing missing packages: $packages"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
install()
{
	# shellcheck disable=SC2086 # a list of words is meant
	apt-get -qy install --no-install-recommends $packages >"$log" 2>&1
}
# The package lists of a new machine may be missing or outdated.
if ! install; then
	apt-get -q update >"$log" 2>&1 || { cat "$log" >&2; die "apt-get update failed"; }
	install || { tail -n 20 "$log" >&2; die "apt-get could not install: $packages"; }
fi
