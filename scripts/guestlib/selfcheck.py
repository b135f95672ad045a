# SPDX-License-Identifier: GPL-2.0-only
"""Check that the runner notices failures in a guest."""

import re
import types

from . import report, suites, testrun, userland
from .common import log_folder, say
from .klogpatterns import ALL
from .expected import Expected, Row
from .ktap import FAIL, PASS, SKIP, Result

# Results that each test must have: status, and a pattern for name and reason.
MUST = (
    ("trouble/guest-setup", FAIL, "exit status 1"),
    ("trouble/word", FAIL, "exit status 1"),
    ("trouble/result", PASS, "good"),
    ("trouble/result", FAIL, "bad"),
    ("trouble/no-number", PASS, "^good $"),
    ("trouble/no-number", FAIL, "^bad $"),
    ("trouble/no-number", FAIL, "^worse $"),
    ("trouble/no-result", FAIL, "results were announced, and none came"),
    ("trouble/no-skip", FAIL, "exit status 4"),
    ("trouble/status", FAIL, "exit status 3"),
    ("trouble/signal", FAIL, "killed by signal 11"),
    ("trouble/plan", FAIL, "3 results planned, 1 came"),
    ("trouble/unplanned", FAIL, "1 results planned, 2 came"),
    ("trouble/skip", FAIL, "skipped, and not in scripts/guest/skips: no such device"),
    ("trouble/skip-one", FAIL, "second skipped, and not in scripts/guest/skips: no reason given"),
    ("trouble/known-to-fail", FAIL, "it skipped, and not in scripts/guest/skips: nobody cares"),
    ("trouble/skip-known", SKIP, "no such device"),
    ("trouble/fail-known", SKIP, "bad as on the untouched base: it was never good"),
    ("trouble/good", FAIL, "expected no result 'never' failed"),
    ("trouble/good", FAIL, "expected no result '\\*' was skipped for 'no way'"),
    ("trouble/bail-out", FAIL, "bail out no more"),
    ("trouble/missing", FAIL, "exit status 127"),
    ("trouble/dies", FAIL, "killed by signal 11"),
    ("trouble/bails-out", FAIL, "bail out not today"),
    ("trouble/bails-out-once", FAIL, "bail out not today"),
    ("trouble/all-but-status", FAIL, "exit status 1"),
    ("trouble/second-try", PASS, "well now"),
    ("trouble/tried-within", PASS, "it"),
    ("trouble/not-compared", PASS, "it"),
    ("trouble/notices", PASS, "it"),
    ("trouble/not-noticed", FAIL, "it"),
    ("trouble/not-spoiled", FAIL, "not in scripts/guest/skips: no observation can be spoiled"),
    ("trouble/spoiled-skip", FAIL, "it"),
    ("trouble/fails-anyway", FAIL, "it"),
    ("trouble/not-there", FAIL, "exit status 1"),
    ("trouble/dies-spoiled", FAIL, "exit status 1"),
    ("trouble/ends-spoiled", FAIL, "exit status 1"),
    ("trouble/more-spoiled", FAIL, "exit status 1"),
    ("trouble/fails-late", FAIL, "exit status 1"),
    ("trouble/module", FAIL, "exit status did not end properly"),
    ("trouble/dies-failing", SKIP, "bad as on the untouched base: it was never good"),
    ("trouble/dies-failing", FAIL, "exit status killed by signal 11"),
    ("trouble/status-lost", FAIL, "exit status did not end properly"),
    ("trouble/status-found", PASS, "it"),
    ("trouble/slow", FAIL, "time limit still running after \\d+ s"),
    ("trouble/late", FAIL, "kernel log: INFO: task nobody:1 blocked"),
    ("trouble/killed", PASS, "^ $"),
    ("trouble/short", PASS, "^ $"),
    ("trouble/bad-swap", PASS, "^ $"),
    ("trouble/explained", PASS, "^ $"),
    ("trouble/good", PASS, "good"),
    ("stuck/one", PASS, "it"),
    ("stuck/one", FAIL, "stuck a process of this test cannot be killed"),
    ("stuck/next", FAIL, "not run: a process of stuck/one cannot be killed"),
    ("dead/panic", PASS, "still well"),
    ("dead/panic", FAIL, "kernel log: Kernel panic"),
    ("dead/panic", FAIL, "the guest died during dead/panic; its last lines"),
    ("dead/next", FAIL, "not run: the guest died during dead/panic"),
    ("hung/runner", FAIL, "the guest hung during hung/runner; its last lines"),
    ("hung/next", FAIL, "not run: the guest hung during hung/runner"),
)


# Expected results: four rows that occur, two that do not, one that need not.
FORESEEN = (
    Row("selfcheck", SKIP, ("*", "trouble/skip-known", "*", "no such*", "it has none")),
    Row("selfcheck", SKIP, ("*", "trouble/skip-one", "first", "*", "it is known")),
    Row("selfcheck", FAIL, ("*", "trouble/fail-known", "bad", "*", "it was never good")),
    Row("selfcheck", FAIL, ("*", "trouble/dies-failing", "bad", "*", "it was never good")),
    Row("selfcheck", FAIL, ("*", "trouble/good", "never", "*", "it was bad once")),
    Row("selfcheck", SKIP, ("*", "trouble/good", "*", "no way", "it was skipped once")),
    Row("selfcheck", SKIP, ("*?", "trouble/good", "*", "no time", "it may be skipped")),
)
# How each try of these tests must end.
TRIES = {
    "trouble/missing": ["exit status 127: no such program"],
    "trouble/dies": ["killed by signal 11"],
    "trouble/bails-out": ["bailed out"],
    "trouble/bails-out-once": ["bailed out"],
    "trouble/all-but-status": ["exit status 1"] * 2,
    "trouble/second-try": ["exit status 1", "exit status 0"],
    "trouble/tried-within": ["try 2 of 5: nothing moved"],
    "trouble/not-compared": ["the counters, as others moved pages"],
}
# How a case of a mistake of the base is judged: kernel, result, and what becomes of it.
JUDGED = (("base", FAIL, SKIP), ("base", PASS, FAIL), ("base", SKIP, FAIL),
          ("guest", FAIL, FAIL), ("guest", PASS, PASS))


def log_tests():
    """Return a test for each error message of the kernel, and its required result."""
    tests = [suites.Test(f"log/{name}", "both", 20, "-", f"echo '{line}' >/dev/kmsg")
             for name, _, line in ALL]
    return tests, tuple((f"log/{name}", FAIL, re.escape(f"kernel log: {line} once"))
                        for name, _, line in ALL)


def overlapping():
    """Return the patterns whose line is also matched by another one."""
    return [name for name, _, line in ALL
            if [other for other, pattern, _ in ALL if re.match(pattern, line)] != [name]]


def misjudged():
    """Return, in words, which results of a case with a known mistake are misjudged."""
    wrong = []
    for kind, status, becomes in JUDGED:
        kernel = types.SimpleNamespace(kind=kind, ours=True)
        result = Result("case", status, known="a mistake")
        Expected((), ()).judge(kernel, "test", result)
        if result.status != becomes:
            wrong.append(f"a known mistake, {status} on {kind}: {result.status}, not {becomes}")
    return wrong


def never_spoiled(source):
    """Return our programs that no line of the table `spoiled` runs."""
    words = {word for t in suites.load(name="spoiled")
             for word in re.findall(r"[\w-]+", t.command)}
    return [name for name in userland.own_programs(source) if name not in words]


def missing_results(outcomes, must):
    """Return, in words, which of the required results are missing."""
    missing = []
    for test, status, pattern in must:
        found = [f"{r.name} {r.why}" for o in outcomes if o.test == test for r in o.of(status)]
        if not any(re.search(pattern, text) for text in found):
            missing.append(f"missing of {test}: {status}, {pattern}; results: {found}")
    for test, tries in TRIES.items():
        found = [o.tries + o.again + o.not_compared for o in outcomes if o.test == test]
        if found != [tries]:
            missing.append(f"missing of {test}: {tries}; tries: {found}")
    tail = [r for o in outcomes if o.test == "dead/panic" for r in o.of(FAIL) if r.name == ""]
    if not tail or not 30 <= len(tail[0].detail) <= 40:
        missing.append("dead/panic: the last lines of the guest are not shown")
    return missing


def run(kernel, source, until=None):
    """Run the tests of trouble and, if there is time, the spoiled programs."""
    log, must = log_tests()
    must += MUST
    wrong = [f"klogpatterns.py: another pattern also matches the line of {name}"
             for name in overlapping()]
    wrong += [f"scripts/guest/spoiled: {name} is in no line" for name in never_spoiled(source)]
    wrong += misjudged()
    say("Tests that must not pass; each FAIL below is wanted.")
    trouble = suites.load(name="trouble") + log
    outcomes = testrun.collect([kernel], trouble, source, Expected(trouble, FORESEEN))
    wrong += missing_results(outcomes, must)
    say("\nPrograms with spoiled observations, which they must notice; no test may fail.")
    spoiled = testrun.collect([kernel], suites.load(name="spoiled"), source,
                              Expected(testrun.everything(source)), until)
    report.left_out(spoiled)
    report.failures(spoiled, wrong)
    say(f"\nLogs: {log_folder() / 'test'}\n")
    count = report.total(spoiled)
    count[PASS] += len(must) + len(TRIES) + len(JUDGED) + 2 - len(wrong)
    count[FAIL] += len(wrong)
    say(report.in_words(count))
    return 1 if count[FAIL] else 0
