#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# lint.sh SRC OUT: read our files with every reader that the kernel has: zero
# findings or a failure.  SRC is the patched tree, OUT an O= tree of its own.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

cd "$(dirname "$0")/.."
src=$1 out=$2
log=$out.log
bad=0

# found NAME FILE: what a reader said; silence is the only good answer.
found()
{
	if [ -s "$2" ]; then
		cat "$2"
		bad=$((bad + 1))
		say "$1: $(wc -l <"$2") lines of findings"
	else
		say "$1: nothing"
	fi
}

mapfile -t ours < <(git ls-files -co --exclude-standard -- mm include lib tools)
mapfile -t sources < <(printf '%s\n' "${ours[@]}" | grep '\.[ch]$' || true)
mapfile -t mm < <(printf '%s\n' "${ours[@]}" | grep '^mm/.*\.c$' || true)
mapfile -t shell < <(git ls-files -co --exclude-standard -- scripts .ci |
	while read -r f; do
		if head -c 20 "$f" | grep -q '^#!.*sh' || [[ $f == *.sh ]]; then
			echo "$f"
		fi
	done)
mapfile -t python < <(git ls-files -co --exclude-standard -- '*.py')
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT

shellcheck -x "${shell[@]}" >"$tmp" 2>&1 || true
found shellcheck "$tmp"
pyflakes3 "${python[@]}" >"$tmp" 2>&1 || true
found pyflakes "$tmp"

: >"$tmp"
if [ ${#sources[@]} != 0 ]; then
	perl "$src/scripts/checkpatch.pl" --root="$src" --strict --terse \
		--no-summary --quiet -f "${sources[@]}" >"$tmp" 2>&1 || true
fi
found "checkpatch --strict" "$tmp"

: >"$tmp"
for f in "${sources[@]}"; do
	case $f in
	tools/*) ;;
	*) "$src/scripts/kernel-doc" -none -Wall "$src/$f" 2>&1 | grep . || true ;;
	esac
done >"$tmp"
found kernel-doc "$tmp"

# The whole kernel is not needed: the headers it generates, and our objects.
objects=("${mm[@]/%.c/.o}")
: >"$tmp"
if [ ${#mm[@]} != 0 ]; then
	TARGETS="prepare" scripts/kernel.sh "$src" "$out" guest series
	(cd "$src" && touch "${mm[@]}")
	make -C "$src" O="$out" ARCH=x86_64 W=1 C=2 -k "${objects[@]}" >"$log" 2>&1 || {
		cat "$log"
		die "our files do not build; the log is $log"
	}
	paths=$(IFS='|' && echo "${sources[*]}")
	grep -E "(^|/)($paths):[0-9]" "$log" >"$tmp" || true
fi
found "W=1 and sparse" "$tmp"

[ "$bad" = 0 ] || die "$bad readers have findings"
