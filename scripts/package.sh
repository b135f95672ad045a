#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# package.sh PACKAGE FOLDER [ARCH [SUITE...]]: unpack a Debian package into FOLDER
# without installing it. FOLDER is created only if this succeeds. The package comes
# from a mirror in this machine's apt configuration, and from the first SUITE that
# has it, by default the release of this machine. The package lists are our own, and
# the apt configuration does not change. apt checks the signatures. `apt-get install`
# would change the machine, and cannot install a package for another release.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
package=$1 folder=$2
arch=${3:-$(dpkg --print-architecture)}
shift $(($# < 3 ? $# : 3))
[ $# != 0 ] || set -- "$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)"
lists=$CACHE/apt/$arch
log=$CACHE/apt/$package.log

# mirrors: print the mirrors that this machine takes Debian packages from.
mirrors()
{
	# shellcheck disable=SC2016 # apt expands these, not the shell
	apt-get indextargets --format '$(SITE) $(ORIGIN)' 'Created-By: Packages' |
		sed -n 's/ Debian$//p' | sort -u | grep -v -- -security
}

# apt_at MIRROR SUITE COMMAND...: run apt-get or apt-cache with our package lists.
apt_at()
{
	local mirror=$1 suite=$2 tool=$3

	shift 3
	mkdir -p "$lists/lists/partial" "$lists/cache/archives/partial"
	echo "deb [signed-by=$KEYRING] $mirror $suite main" >"$lists/sources.list"
	"$tool" -q -oDir::State::Lists="$lists/lists" -oDir::Cache="$lists/cache" \
		-oDir::Etc::sourcelist="$lists/sources.list" \
		-oDir::Etc::sourceparts=- -oAPT::Sandbox::User=root \
		-oAPT::Architecture="$arch" -oAPT::Architectures="$arch" \
		-oAcquire::Languages=none "$@"
}

# find_package SUITE...: print the first "MIRROR SUITE" that has $package.
find_package()
{
	local mirror suite

	for suite; do
		for mirror in $(mirrors); do
			apt_at "$mirror" "$suite" apt-get update \
				>>"$log" 2>&1 || continue
			if apt_at "$mirror" "$suite" apt-cache show "$package" \
					>/dev/null 2>&1; then
				echo "$mirror $suite"
				return
			fi
		done
	done
}

[ -d "$folder" ] && exit
command -v apt-get >/dev/null || die "no apt-get here, where $package would come from"
[ -f "$KEYRING" ] || die "$KEYRING is missing (package debian-archive-keyring)"
lock "$CACHE/apt/lock"
: >"$log"
place=$(find_package "$@")
[ -n "$place" ] || die "no mirror of this machine has $package (see $log)"
say "fetching $package from ${place#* }"
tmp=$folder.tmp
rm -rf "$tmp"
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$tmp"
# shellcheck disable=SC2086 # mirror and suite are two words
(cd "$tmp" && apt_at $place apt-get download "$package") >>"$log" 2>&1 ||
	die "the download failed (see $log)"
dpkg-deb --extract "$tmp"/*.deb "$tmp"
rm "$tmp"/*.deb
mv -T "$tmp" "$folder"
