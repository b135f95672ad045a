#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run checkpatch.pl --strict, and print findings that style.allow does not allow.

usage: style.py TREE -f FILE...    files of this checkout
       style.py TREE PATCH...      patches that TREE has taken

A line FILE TYPE TEXT of scripts/style.allow allows a finding TYPE in a line that
contains TEXT, in files that match the glob pattern FILE.  The comment above it has
the reason.  .checkpatch.conf can ignore a type of finding, but not a single one.
"""

import fnmatch
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ALLOW = os.path.join(TOP, "scripts", "style.allow")
# series.py checks that MAINTAINERS covers new files.
IGNORE = "FILE_PATH_CHANGES"
FINDING = re.compile(r"(?P<file>[^:]*):(?P<line>\d+): (?:ERROR|WARNING|CHECK):(?P<type>\w+): ")


class Allowed:
    """One line of style.allow."""

    def __init__(self, text):
        self.text = text
        self.file, self.type, self.part = text.split(None, 2)
        self.used = False

    def allows(self, file, kind, line):
        fits = (fnmatch.fnmatch(file, self.file) and kind == self.type and self.part in line)
        self.used = self.used or fits
        return fits


def exceptions():
    """Return the lines of style.allow. Each must have a reason above it."""
    found, reason = [], False
    with open(ALLOW, encoding="utf-8") as f:
        for text in f:
            if text.startswith("#"):
                reason = True
            elif not text.strip():
                reason = False
            elif reason:
                found.append(Allowed(text.strip()))
            else:
                sys.exit(f"style.py: no reason above this line of style.allow: {text}")
    return found


def line_of(root, file, number):
    """Return the line that a finding is about."""
    try:
        with open(os.path.join(root, file), encoding="utf-8") as f:
            return f.read().split("\n")[number - 1]
    except (OSError, IndexError):
        return ""


def main(args):
    if len(args) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    tree, whole = os.path.abspath(args[0]), args[1] == "-f"
    root = TOP if whole else tree
    # Hide the repository, so that checkpatch does not query it.
    env = dict(os.environ, GIT_DIR="/nonexistent")
    with tempfile.TemporaryDirectory(prefix="style-") as scratch:
        # checkpatch leaves a file behind in its working directory.
        for name in {f.split("/")[0] for f in args[2:] if whole}:
            os.symlink(os.path.join(root, name), os.path.join(scratch, name))
        done = subprocess.run(["perl", os.path.join(tree, "scripts/checkpatch.pl"),
                               f"--root={tree}", "--strict", "--terse", "--show-types",
                               "--no-summary", "--quiet", "--showfile", "--ignore", IGNORE,
                               *(args[1:] if whole else map(os.path.abspath, args[1:]))],
                              cwd=scratch, env=env, capture_output=True, text=True, check=False)
    known, findings = exceptions(), 0
    for text in done.stdout.splitlines() + done.stderr.splitlines():
        match = FINDING.match(text)
        if match:
            line = line_of(root, match["file"], int(match["line"]))
            if any(e.allows(match["file"], match["type"], line) for e in known):
                continue
        print(text)
        findings += 1
    if done.returncode and not done.stdout:
        print(f"checkpatch.pl failed with status {done.returncode}")
        findings += 1
    for e in known:
        if whole and not e.used and any(fnmatch.fnmatch(f, e.file) for f in args[2:]):
            print(f"scripts/style.allow: unused line: {e.text}")
            findings += 1
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
