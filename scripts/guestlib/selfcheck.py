# SPDX-License-Identifier: GPL-2.0-only
"""Checks that the runner notices what goes wrong in a guest."""

import re

from . import suites, testrun
from .common import log_folder, say
from .ktap import FAIL, PASS, SKIP

# What has to be among the results of each test: status, and a pattern for name and reason.
MUST = (
    ("trouble/result", PASS, "good"),
    ("trouble/result", FAIL, "bad"),
    ("trouble/status", FAIL, "exit status 3"),
    ("trouble/signal", FAIL, "killed by signal 11"),
    ("trouble/plan", FAIL, "3 results planned, 1 came"),
    ("trouble/skip", SKIP, "no such device"),
    ("trouble/slow", FAIL, "time limit still running after \\d+ s"),
    ("trouble/warning", FAIL, "kernel log: WARNING: mm/nothing.c:1"),
    ("trouble/page-state", FAIL, "kernel log: BUG: Bad page state"),
    ("trouble/lockdep", FAIL, "kernel log: WARNING: possible circular locking"),
    ("trouble/late", FAIL, "kernel log: INFO: task nobody:1 blocked"),
    ("trouble/good", PASS, "good"),
    ("dead/panic", PASS, "still well"),
    ("dead/panic", FAIL, "kernel log: Kernel panic"),
    ("dead/panic", FAIL, "the guest died during dead/panic; its last lines"),
    ("dead/next", FAIL, "not run: the guest died during dead/panic"),
    ("hung/runner", FAIL, "the guest hung during hung/runner; its last lines"),
    ("hung/next", FAIL, "not run: the guest hung during hung/runner"),
)


def run(kernel, source):
    """Run the tests that must not pass; returns the exit status."""
    say("Tests that must not pass; each FAIL below is wanted.")
    outcomes = testrun.collect([kernel], suites.load(table="trouble"), source)
    missing = 0
    for test, status, pattern in MUST:
        said = [f"{r.name} {r.why}" for o in outcomes if o.test == test for r in o.of(status)]
        if not any(re.search(pattern, text) for text in said):
            missing += 1
            say(f"NOT SAID of {test}: {status}, {pattern}; said was: {said}")
    tail = [r for o in outcomes if o.test == "dead/panic" for r in o.of(FAIL) if r.name == ""]
    if not tail or not 30 <= len(tail[0].detail) <= 40:
        missing += 1
        say("NOT SHOWN: the last lines of the guest that died")
    say(f"Logs: {log_folder() / 'test'}\n")
    say(f"{len(MUST) + 1 - missing} passed, {missing} failed, 0 skipped")
    return 1 if missing else 0
