#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# clean.sh FOLDER: remove a build folder, unless another run holds one of its locks:
# what that one writes, and who waits for it, would have nothing to do with each other.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# Until this shell ends, which is when there is nothing left to be locked.
for lock in "$1"/*.lock "$1"/*.alone; do
	[ -e "$lock" ] || continue
	exec {fd}<"$lock"
	flock -n "$fd" || die "another run holds $lock"
done
rm -rf "$1"
say "removed $1"
