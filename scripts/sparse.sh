#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# sparse.sh SRC OURS: print the path of a command that is sparse for the files
# named in OURS, a path from the root of SRC a line, and nothing for others.
# What the base has to answer for is not our concern, and costs as much again.
#
# A kernel refuses a sparse that does not know the C it is written in, as that
# of older releases of Debian.  A newer one is unpacked in the cache then, and
# run by the C library that it came with.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# Where to look for a newer one, in this order.
SUITES="forky sid"
src=$1 ours=$2
tools=$CACHE/tools

# accepted COMMAND: does the kernel take it, and does it find what is wrong?
accepted()
{
	[ "$(sh "$src/scripts/checker-valid.sh" "$1" 2>/dev/null)" = 1 ] || return 1
	echo 'int wrong(int __attribute__((noderef)) *p) { return *p; }' |
		"$1" - 2>&1 | grep -q noderef
}

# unpack_newer: into $tools, with the command $tools/newer-sparse to run it.
unpack_newer()
{
	local arch package loader libc

	arch=$(dpkg --print-architecture)
	mkdir -p "$tools"
	for package in sparse libc6; do
		# shellcheck disable=SC2086 # a list of words is meant
		"$(dirname "$0")/package.sh" $package "$tools/$package" "$arch" $SUITES
	done
	loader=$(find "$tools/libc6" -name 'ld-linux*.so.*' -type f)
	libc=$(find "$tools/libc6" -name libc.so.6)
	cat >"$tools/newer-sparse" <<END
#!/bin/sh
exec "$loader" --library-path "${libc%/*}" "$tools/sparse/usr/bin/sparse" "\$@"
END
	chmod +x "$tools/newer-sparse"
}

sparse=$(command -v sparse || true)
if [ -z "$sparse" ] || ! accepted "$sparse"; then
	sparse=$tools/newer-sparse
	[ -x "$sparse" ] || unpack_newer
	accepted "$sparse" ||
		die "this kernel does not take the sparse in $tools; remove that folder to fetch another"
fi

# The file comes last.  What is not of the tree is the kernel's check of its checker.
cat >"$ours.sparse.new" <<END
#!/bin/bash
file=\${!#}
case \$file in
"$src"/*) grep -qxF "\${file#"$src"/}" "$ours" || exit 0 ;;
esac
exec "$sparse" "\$@"
END
chmod +x "$ours.sparse.new"
mv "$ours.sparse.new" "$ours.sparse"
echo "$ours.sparse"
