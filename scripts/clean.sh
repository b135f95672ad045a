#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# clean.sh FOLDER: remove a build folder, unless another run holds one of its locks.
# Without the old lock files, a later run would not wait for that run.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# Hold all locks until this shell ends. The folder is removed by then.
for lock in "$1"/*.lock "$1"/*.alone; do
	[ -e "$lock" ] || continue
	exec {fd}<"$lock"
	flock -n "$fd" || die "another run holds $lock"
done
rm -rf "$1"
say "removed $1"
