#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# lint.sh SRC OUT: run checkpatch, kernel-doc, sparse and other checkers on our
# files. Any finding is a failure. SRC is the patched tree, OUT a separate O= tree.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

cd "$(dirname "$0")/.."
src=$1 out=$2
bad=''
mkdir -p "$(dirname "$out")"
# kernel.sh takes $out.lock, so use another file.
lock "$out.alone"
tmp=$out.findings

# found NAME: report the findings of a checker, which are in $tmp.
found()
{
	if [ -s "$tmp" ]; then
		cat "$tmp"
		bad="$bad${bad:+, }$1"
		say "$1: $(wc -l <"$tmp") lines of findings"
	else
		say "$1: nothing"
	fi
}

# ours PATTERN...: print our files that match and exist, one path per line.
ours()
{
	our_files "$@" | while read -r file; do
		[ ! -f "$file" ] || echo "$file"
	done
}

# pages: print the pages of Documentation/ that the series adds or changes, the indexes
# above them, and the pages that define the labels to which they refer.
pages()
{
	local changed labels page

	mapfile -t changed < <(sed -n 's|^- Documentation/\(.*\.rst\)$|\1|p' "$src.state")
	(
		cd "$src/Documentation"
		# shellcheck disable=SC2016 # these are no commands
		labels=$(grep -ohE ':ref:`[^`]+`' "${changed[@]}" |
			sed -E 's/^:ref:`(.*<)?([^<>]*)>?`$/\2/' | sort -u | paste -sd'|')
		printf '%s\n' "${changed[@]}"
		for page in "${changed[@]}"; do
			while [[ $page == */* ]]; do
				page=${page%/*}
				echo "$page/index.rst"
			done
		done
		# The second one has mm/index.rst in its table of contents.
		printf '%s\n' index.rst subsystem-apis.rst
		grep -rlE --include='*.rst' --exclude-dir=translations "^\.\. _($labels):" .
	) | sed 's|^\./||' | sort -u
}

# sphinx_is_new: succeed if Sphinx knows include_patterns.
sphinx_is_new()
{
	printf '%s\n' 5.1 "$(sphinx-build --version | grep -oE '[0-9.]+' | head -n 1)" |
		sort -CV
}

# html: build the pages with the kernel's Sphinx configuration. This is make htmldocs
# for these pages only: with SPHINXDIRS= it builds whole folders one by one, and
# warns of each reference from one folder to another.
html()
{
	(
		cd "$src/Documentation"
		rm -rf "$out.html"
		unset DOCS_THEME DOCS_CSS
		srctree=$src KBUILD_VERBOSE=0 sphinx-build -q -j"$(nproc)" -c . -b html \
			-d "$out.html/.doctrees" -D "include_patterns=$(IFS=, && echo "${pages[*]}")" \
			. "$out.html"
	)
}

# real_findings: leave out that a table of contents lists a page that exists, but is
# none of pages().
real_findings()
{
	local line

	while IFS= read -r line; do
		if [[ $line =~ toctree\ contains.*document\ \'(.*)\' ]] &&
			[ -f "$src/Documentation/${BASH_REMATCH[1]}.rst" ]; then
			continue
		fi
		printf '%s\n' "$line"
	done
}

mapfile -t sources < <(ours '*.[ch]')
mapfile -t documented < <(ours 'mm/*.[ch]' 'include/*.h' 'lib/*.[ch]')
mapfile -t built < <(ours 'mm/*.c' 'lib/*.c')
mapfile -t python < <(ours '*.py')
mapfile -t prose < <(ours '*.[ch]' '*.rst' '*.md' 'series/*message' \
	series/cover 'series/*.patch' 'series/*.cocci' |
	grep -v '^scripts/')
mapfile -t text < <(ours '*')
mapfile -t shell < <(ours scripts .ci | while read -r file; do
	if head -n 3 "$file" | grep -qE '^#!.*sh( |$)|^# shellcheck shell='; then
		echo "$file"
	fi
done)

shellcheck -x "${shell[@]}" >"$tmp" 2>&1 || true
found "shellcheck (${#shell[@]} files)"
"$(command -v pyflakes3 || echo pyflakes)" "${python[@]}" >"$tmp" 2>&1 || true
found "pyflakes (${#python[@]} files)"
scripts/style.py "$src" -f "${sources[@]}" >"$tmp" 2>&1 || true
found "checkpatch --strict (${#sources[@]} files)"
"$src/scripts/kernel-doc" -none -Wall "${documented[@]}" >"$tmp" 2>&1 || true
found "kernel-doc (${#documented[@]} files)"
scripts/series.py owners "$src" >"$tmp" 2>&1 || true
found MAINTAINERS
scripts/prose.py "$src" "${prose[@]}" >"$tmp" 2>&1 || true
found "names and sentences (${#prose[@]} files)"
# With the kernel's list of misspellings besides its own, and words that are none.
sed -n 's/||/->/p' "$src/scripts/spelling.txt" >"$tmp.words"
codespell -H -L damon,fro,iput,te,uptodate -D - -D "$tmp.words" "${text[@]}" >"$tmp" 2>&1 || true
found "codespell (${#text[@]} files)"
for file in "${text[@]}"; do
	[ -z "$(tail -c 1 "$file")" ] || echo "$file: no newline at the end"
done >"$tmp"
found newlines

mapfile -t pages < <(pages)
if sphinx_is_new; then
	if html >"$tmp.html" 2>&1; then
		grep -F -f <(sed -n 's|^- |/|p' "$src.state") "$tmp.html" | real_findings >"$tmp" || true
	else
		tail -n 20 "$tmp.html" >"$tmp"
		echo "sphinx-build failed" >>"$tmp"
	fi
	found "Sphinx (${#pages[@]} pages)"
else
	warn "Sphinx: not run, it must be 5.1 or newer"
fi

# Do not build the whole kernel, only generated headers and, again, our objects.
TARGETS=prepare scripts/kernel.sh "$src" "$out" guest series
printf '%s\n' "${sources[@]}" >"$out.ours"
sparse=$(scripts/sparse.sh "$src" "$out.ours")
objects=("${built[@]/%.c/.o}")
(cd "$out" && rm -f "${objects[@]}")
make -C "$src" O="$out" ARCH=x86_64 W=1 C=1 CHECK="$sparse" -k -j"$(nproc)" \
	"${objects[@]}" >"$out.log" 2>&1 || true
for object in "${objects[@]}"; do
	[ -f "$out/$object" ] || echo "$object: not built"
done >"$tmp"
grep -E '(warning|error|note):|C=1 specified' "$out.log" >>"$tmp" || true
found "W=1 and sparse (${#objects[@]} objects)"

rm -f "$tmp" "$tmp".*
[ -z "$bad" ] || die "there are findings: $bad"
