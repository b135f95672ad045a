#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# base.sh: find or fetch the source of the base kernel. Print the path of the
# unpacked tree, and nothing else, to stdout. Take, in this order, KSRC (a tree or a
# tarball), a tree that an earlier call has unpacked, or the distribution's package.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

SERIES=7.3		# the version that the edits under series/ are made for
PACKAGE=linux-source-$SERIES
# The package may be in another suite than this machine's release.
SUITES="trixie-backports forky sid"
store=$CACHE/base

# accept TREE FROM: exit with a message about FROM if we cannot build on TREE.
accept()
{
	local version

	version=$(kernel_version "$1")
	[ -n "$version" ] || die "$2 is not a Linux source tree"
	case $version in
	"$SERIES".*) ;;
	*) die "$2 is Linux $version; this series is for $SERIES.y" ;;
	esac
	# O= builds fail if the source tree has been configured in place.
	if [ -e "$1/.config" ] || [ -d "$1/include/config" ]; then
		die "$2 has been configured in place; run 'make mrproper' in it first"
	fi
}

# unpack TARBALL NAME: unpack a tarball into $store/NAME, completely or not at all.
unpack()
{
	local tmp=$store/.tmp.$$

	say "unpacking $(basename "$1") (about a minute)"
	mkdir -p "$tmp"
	tar -C "$tmp" --no-same-owner --strip-components=1 -xf "$1" ||
		die "$1 could not be unpacked"
	accept "$tmp" "$1"
	rm -rf "${store:?}/$2"
	mv "$tmp" "$store/$2"
}

# use_ksrc: print the path of the tree KSRC, or unpack the tarball KSRC once.
use_ksrc()
{
	local id

	if [ -d "$KSRC" ]; then
		accept "$KSRC" "KSRC=$KSRC"
		(cd "$KSRC" && pwd -P)
		return
	fi
	[ -f "$KSRC" ] || die "KSRC=$KSRC: no such tree or tarball"
	id=tarball-$(sha256sum "$KSRC" | cut -c 1-16)
	[ -d "$store/$id" ] || unpack "$KSRC" "$id"
	echo "$store/$id"
}

# cached: print the newest tree that an earlier call took from the distribution.
cached()
{
	local tree

	tree=$(printf '%s\n' "$store/linux-$SERIES."* | sort -V | tail -n 1)
	if [ -d "$tree" ]; then
		echo "$tree"
	fi
}

# fetch: download the package, whose signatures apt checks, and unpack it.
fetch()
{
	local tarball dir=$store/.tmp.deb

	command -v apt-get >/dev/null ||
		die "no apt-get here: name a Linux $SERIES.y tree or tarball with KSRC="
	say "the base is about 160 MB to fetch"
	# shellcheck disable=SC2086 # a list of words is meant
	"$(dirname "$0")/package.sh" "$PACKAGE" "$dir" "$(dpkg --print-architecture)" $SUITES ||
		die "no package $PACKAGE is available; name a tree or tarball with KSRC="
	tarball=$(echo "$dir/usr/src/$PACKAGE".tar.*)
	unpack "$tarball" "new"
	mv -T "$store/new" "$store/linux-$(kernel_version "$store/new")"
	rm -rf "$dir"
}

if [ -n "${KSRC:-}" ] && [ -d "$KSRC" ]; then
	use_ksrc
	exit
fi
lock "$store/lock"
# Remove the files of an interrupted run.
rm -rf "$store"/.tmp.* "$store/new"
trap 'rm -rf "$store"/.tmp.* "$store/new"' EXIT
trap 'exit 130' INT TERM
if [ -n "${KSRC:-}" ]; then
	use_ksrc
	exit
fi
[ -n "$(cached)" ] || fetch
cached
