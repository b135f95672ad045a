# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What every script here shares: how it speaks, where things are, who waits
# for whom.  Sourced, never run.  The caller has set -eu.

NAME=linux-page-migration
# shellcheck disable=SC2034 # for those who source this
CACHE=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/$NAME

# say WORDS...: one line of progress, to stderr so that stdout stays for results.
say()
{
	if [ -z "${QUIET:-}" ]; then
		printf '%s\n' "$*" >&2
	fi
}

# die WORDS...: the one sentence that the user needs, then failure.
die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# lock FILE: hold FILE until this shell ends; say so when another one has it.
lock()
{
	mkdir -p "$(dirname "$1")"
	exec 9>"$1"
	if ! flock -n 9; then
		say "waiting for another run that holds $1"
		flock 9
	fi
}

# kernel_version TREE: "7.3.4" of an unpacked kernel tree, nothing if it is none.
kernel_version()
{
	[ -f "$1/Makefile" ] && [ -f "$1/mm/Kconfig" ] || return 0
	sed -n -e 's/^VERSION *= *//p' -e 's/^PATCHLEVEL *= *//p' \
		-e 's/^SUBLEVEL *= *//p' "$1/Makefile" | head -n 3 | paste -sd. -
}

# use_ccache OUT: what goes before the name of a compiler that builds in OUT, in
# $ccache: nothing where there is no ccache.
# shellcheck disable=SC2034 # for those who source this
use_ccache()
{
	ccache=''
	command -v ccache >/dev/null || return 0
	ccache='ccache '
	CCACHE_BASEDIR=$(dirname "$1")
	export CCACHE_BASEDIR CCACHE_NOHASHDIR=1
}
