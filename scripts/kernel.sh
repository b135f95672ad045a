#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# kernel.sh SRC OUT FRAGMENT... : build the kernel in SRC with O=OUT. Configure it by
# allnoconfig and the named fragments of kconfig/, of which the last one that names a
# symbol applies. The build fails if a symbol in the configuration is not as the
# fragments ask for it. With a fragment arm64, riscv64, s390x or uml, the kernel is
# for that architecture. TARGETS= names make targets to build instead of the kernel
# and its modules. FROM= names a similar build. A first build starts with a copy of
# that one.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# Do not pass variables of our make's command line to the kernel's make.
unset MAKEFLAGS MAKEOVERRIDES MFLAGS

top=$(cd "$(dirname "$0")/.." && pwd)
src=$1 out=$2
shift 2
log=$out.log

kbuild()
{
	make -C "$src" O="$out" ARCH="$karch" CROSS_COMPILE="$cross" \
		KBUILD_BUILD_USER=$NAME KBUILD_BUILD_HOST=$NAME \
		KBUILD_BUILD_VERSION=1 CC="$compiler" "$@"
}

# verify: fail if a symbol is not as the fragments ask for it, and name all of these.
verify()
{
	local bad

	bad=$(differing "$out.fragment" "$out/.config")
	[ -z "$bad" ] || {
		rm -f "$out.configured"
		die "the configuration differs from kconfig/ in: ${bad//$'\n'/ }"
	}
}

# configure FRAGMENT...: configure if a fragment, a Kconfig file of mm/ or lib/ or
# the kernel's Makefile has changed.
configure()
{
	local f stamp

	for f; do
		cat "$top/kconfig/$f.config"
	done | merge_fragments >"$out.fragment"
	stamp=$(cat "$out.fragment" "$src"/mm/Kconfig* "$src"/lib/Kconfig* \
		"$src/Makefile" | sha256sum)
	if [ -f "$out/.config" ] && [ "$stamp" = "$(cat "$out.configured" 2>/dev/null)" ]; then
		return
	fi
	say "configuring $(basename "$out"): $*"
	KCONFIG_ALLCONFIG=$out.fragment kbuild -s allnoconfig >"$out.config.log" 2>&1 || {
		tail -n 20 "$out.config.log" >&2
		die "configuring failed; the log is $out.config.log"
	}
	verify
	no_warnings "$out.config.log" || {
		rm -f "$out.configured"
		die "Kconfig warns of files of ours; the log is $out.config.log"
	}
	echo "$stamp" >"$out.configured"
}

# progress TOTAL: copy make's output to $log. Count the objects in it, and print the
# count now and then, or more often on a terminal.
progress()
{
	local tty=

	if [ -t 2 ]; then
		tty=1
	fi
	awk -v total="$1" -v name="$(basename "$out")" -v quiet="${QUIET:-}" \
		-v tty="$tty" '
	function now() { "date +%s" | getline t; close("date +%s"); return t }
	function show(end) {
		if (quiet)
			return
		printf "%s%s: %d of about %d objects, %d s%s", tty ? "\r" : "",
			name, n, total < n ? n : total, now() - start,
			tty && !end ? "" : "\n" > "/dev/stderr"
		fflush("/dev/stderr")
	}
	BEGIN { start = now(); last = start }
	{ print; fflush() }
	/^  (CC|AS|HOSTCC|LD|AR)  / {
		n++
		if (n % 25 == 0 && now() - last >= (tty ? 1 : 20)) { last = now(); show(0) }
	}
	END { if (n) show(1) }' >"$log"
}

# warnings STATE LOG: print the warnings in LOG about files that STATE names in lines
# "- PATH", and write the names of these files to $out.warned. The compiler names a
# file and a line, objtool an object, and modpost an object or a module.
warnings()
{
	: >"$out.warned"
	[ -f "$1" ] || return 0
	awk -v list="$out.warned" 'FNR == NR { if ($1 == "-") ours[$2] = 1; next }
		function which(path,   file) {
			sub(/:.*/, "", path)
			sub(/[.]o$/, ".c", path)
			for (file in ours)
				if (("/" path) ~ "/" file "$" || ("/" path ".c") ~ "/" file "$")
					return file
			return ""
		}
		function is_ours(   i, file) {
			for (i = 1; i <= NF; i++) {
				file = which($i)
				if (file != "") {
					print file >list
					return 1
				}
			}
			return 0
		}
		/warning:|WARNING: modpost:/ { left = is_ours() && n < 8 ? 4 : 0; n += left > 0 }
		/WARNING: unmet direct dep/ { left = 4 }
		left-- > 0 { print }' "$1" "$2"
}

# no_warnings LOG: fail if there are warnings about files that the series adds or
# changes, and print them. Touch these files, so that the next build repeats them.
no_warnings()
{
	local file warned

	warned=$(warnings "$src.state" "$1")
	[ -n "$warned" ] || return 0
	printf '%s\n' "$warned" >&2
	while IFS= read -r file; do
		touch -c "$src/$file"
	done <"$out.warned"
	return 1
}

[ -f "$src/Makefile" ] || die "$src is not a kernel tree"
toolchain x86_64
for fragment in arm64 riscv64 s390x uml; do
	if [[ " $* " == *" $fragment "* ]]; then
		toolchain "$fragment"
	fi
done
use_ccache "$out"
compiler=$ccache${cross}gcc
# ccache gets the dependencies from the compiler, and need not preprocess each file.
export CCACHE_DEPEND=1
mkdir -p "$out"
# series.py must not change the patched tree during the build.
if [ "$src" = "${BUILD:-}/src" ]; then
	share "$src.lock"
fi
lock "$out.lock"
if [ -n "${FROM:-}" ] && [ ! -e "$out/.config" ]; then
	cp -a --reflink=auto "$FROM/." "$out"
fi
configure "$@"
total=$(cat "$out.objects" 2>/dev/null || echo 1450)
rc=0
# shellcheck disable=SC2086 # a list of words is meant
kbuild -j"$(nproc)" ${TARGETS:-"${image##*/}" modules} 2>&1 8>&- 9>&- | progress "$total" || rc=$?
if [ "$rc" != 0 ]; then
	grep -E -A3 -m 8 'error:|Error [0-9]|undefined|No rule' "$log" >&2 ||
		tail -n 20 "$log" >&2
	die "the build failed; the log is $log"
fi
# A warning about a file that the series adds or changes is an error. Warnings about
# other files depend on the compiler, so only print their number.
no_warnings "$log" || die "there are warnings of files of ours; the log is $log"
others=$(grep -v '^objcopy: ' "$log" | grep -cE 'warning:|WARNING: modpost:' || true)
if [ "$others" != 0 ]; then
	say "$(basename "$out"): there are $others warnings of files of the base; see $log"
fi
if [ -z "${TARGETS:-}" ]; then
	find "$out" -name '*.o' | wc -l >"$out.objects"
	say "$(basename "$out"): $out/$image"
fi
