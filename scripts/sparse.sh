#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# sparse.sh SRC OURS: print the path of a command that runs sparse on the files named
# in OURS, and does nothing for other files. OURS has one path per line, relative to
# SRC. Findings in the base's files are not ours to fix, and to check these files as
# well would take twice as long.
#
# The kernel refuses a sparse that does not know its dialect of C, such as the one of
# older Debian releases. In this case, unpack a newer one in the cache, since apt
# cannot install it there. It runs with the C library of its own release.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# The Debian suites to take a newer sparse from, in this order.
SUITES="forky sid"
src=$1 ours=$2
tools=$CACHE/tools

# accepted COMMAND: succeed if the kernel accepts COMMAND, and it finds an error.
accepted()
{
	[ "$(sh "$src/scripts/checker-valid.sh" "$1" 2>/dev/null)" = 1 ] || return 1
	echo 'int wrong(int __attribute__((noderef)) *p) { return *p; }' |
		"$1" - 2>&1 | grep -q noderef
}

# unpack_newer: unpack a newer sparse in $tools. $tools/newer-sparse runs it.
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

# The last argument is the file. A file outside the tree is that of checker-valid.sh.
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
