#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# base.sh: find or fetch the base kernel's source; print the path of the
# unpacked tree, alone, on stdout.  In this order: KSRC (a tree or a tarball),
# what an earlier call has unpacked, the distribution's package.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

SERIES=7.3		# the version that the edits under series/ are made for
PACKAGE=linux-source-$SERIES
# The package may sit in another suite than the machine's own.
SUITES="trixie-backports forky sid"
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
store=$CACHE/base

# accept TREE FROM: TREE is a base that we can build on, or a sentence and out.
accept()
{
	local version

	version=$(kernel_version "$1")
	[ -n "$version" ] || die "$2 is not a Linux source tree"
	case $version in
	"$SERIES".*) ;;
	*) die "$2 is Linux $version; this series is for $SERIES.y" ;;
	esac
	# A build inside the source tree would keep O= builds from working.
	if [ -e "$1/.config" ] || [ -d "$1/include/config" ]; then
		die "$2 has been configured in place; run 'make mrproper' in it first"
	fi
}

# unpack TARBALL NAME: into $store/NAME, whole or not at all.
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

# use_ksrc: a tree is used where it stands, a tarball is unpacked once.
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

# cached: the newest tree that an earlier call took from the distribution.
cached()
{
	local tree

	tree=$(printf '%s\n' "$store/linux-$SERIES."* | sort -V | tail -n 1)
	if [ -d "$tree" ]; then
		echo "$tree"
	fi
}

# mirrors: where this machine takes its Debian packages from.
mirrors()
{
	# shellcheck disable=SC2016 # apt expands these, not the shell
	apt-get indextargets --format '$(SITE)' 'Created-By: Packages' |
		sort -u | grep -v -- -security
}

# apt_at MIRROR SUITE COMMAND...: apt-get or apt-cache with lists of its own.
apt_at()
{
	local mirror=$1 suite=$2 dir=$store/apt tool=$3

	shift 3
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	echo "deb [signed-by=$KEYRING] $mirror $suite main" >"$dir/sources.list"
	"$tool" -q -oDir::State::Lists="$dir/lists" -oDir::Cache="$dir/cache" \
		-oDir::Etc::sourcelist="$dir/sources.list" \
		-oDir::Etc::sourceparts=- -oAPT::Sandbox::User=root \
		-oAcquire::Languages=none "$@"
}

# find_package: print "MIRROR SUITE" of the first place that has the package.
find_package()
{
	local mirror suite

	for suite in $SUITES; do
		for mirror in $(mirrors); do
			apt_at "$mirror" "$suite" apt-get update \
				>>"$store/apt.log" 2>&1 || continue
			if apt_at "$mirror" "$suite" apt-cache show "$PACKAGE" \
					>/dev/null 2>&1; then
				echo "$mirror $suite"
				return
			fi
		done
	done
}

# fetch: download the package, apt checks its signature chain, unpack it.
fetch()
{
	local place deb tarball dir=$store/.tmp.deb.$$

	command -v apt-get >/dev/null ||
		die "no apt-get here: name a Linux $SERIES.y tree or tarball with KSRC="
	[ -f "$KEYRING" ] || die "$KEYRING is missing (package debian-archive-keyring)"
	: >"$store/apt.log"
	place=$(find_package)
	[ -n "$place" ] ||
		die "no mirror of this machine has $PACKAGE (see $store/apt.log); name a tree or tarball with KSRC="
	say "fetching $PACKAGE from ${place#* } (about 160 MB)"
	mkdir -p "$dir"
	# shellcheck disable=SC2086 # mirror and suite are two words
	(cd "$dir" && apt_at $place apt-get download "$PACKAGE") \
		>>"$store/apt.log" 2>&1 || die "the download failed (see $store/apt.log)"
	deb=$(echo "$dir"/*.deb)
	dpkg-deb --extract "$deb" "$dir"
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
# An interrupted run leaves only this behind.
rm -rf "$store"/.tmp.* "$store/new"
trap 'rm -rf "$store"/.tmp.* "$store/new"' EXIT
trap 'exit 130' INT TERM
if [ -n "${KSRC:-}" ]; then
	use_ksrc
	exit
fi
[ -n "$(cached)" ] || fetch
cached
