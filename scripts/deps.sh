#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# deps.sh [SET...]: install the Debian packages that are missing, and
# those of each SET below.  Without root, print the command that would.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# To fetch and patch the base, to build it, to boot it, to build its tests.
packages="
	debian-archive-keyring dpkg xz-utils git coccinelle patch perl python3
	gcc libc6-dev make flex bison bc libelf-dev libssl-dev ccache cpio gzip
	qemu-system-x86 busybox-static numactl libnuma-dev libcap-dev liburing-dev
	e2fsprogs xfsprogs util-linux
"
for extra; do
	case $extra in
	lint) packages="$packages shellcheck pyflakes3" ;;
	arm64) packages="$packages qemu-system-arm gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;;
	riscv64) packages="$packages qemu-system-misc gcc-riscv64-linux-gnu libc6-dev-riscv64-cross" ;;
	s390x) packages="$packages qemu-system-misc gcc-s390x-linux-gnu libc6-dev-s390x-cross" ;;
	# There is no loongarch64 among those of Debian 12; matrix.sh says what it lacks.
	matrix) packages="$packages gcc-aarch64-linux-gnu gcc-riscv64-linux-gnu
		gcc-s390x-linux-gnu gcc-alpha-linux-gnu gcc-mips64el-linux-gnuabi64
		gcc-hppa-linux-gnu gcc-hppa64-linux-gnu gcc-powerpc-linux-gnu
		gcc-powerpc64-linux-gnu gcc-powerpc64le-linux-gnu gcc-sparc64-linux-gnu" ;;
	bench) packages="$packages gnuplot-nox" ;;
	*) die "no such set of packages: $extra (known: lint, arm64, riscv64, s390x, matrix, bench)" ;;
	esac
done

command -v dpkg-query >/dev/null ||
	die "this is not a Debian system; install what matches these packages:$packages"

missing=
for p in $packages; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
	[ "$state" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	die "packages are missing; type: sudo apt-get install --no-install-recommends$missing"
fi

say "installing missing packages:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
install()
{
	# shellcheck disable=SC2086 # a list of words is meant
	apt-get -qy install --no-install-recommends $missing >"$log" 2>&1
}
# Package lists may be absent or old on a machine that is new.
if ! install; then
	apt-get -q update >"$log" 2>&1 || { cat "$log" >&2; die "apt-get update failed"; }
	install || { tail -n 20 "$log" >&2; die "apt-get could not install:$missing"; }
fi
