# SPDX-License-Identifier: GPL-2.0-only
"""Count and print results."""

import collections
import textwrap

from .common import say
from .ktap import FAIL, PASS, SKIP


def in_words(count):
    """Format the numbers of results."""
    return ", ".join(f"{count[status]} {status}" for status in (PASS, FAIL, SKIP))


class Tally:
    """The results of a test, a suite or a whole run."""

    def __init__(self):
        self.count = {PASS: 0, FAIL: 0, SKIP: 0}
        self.seconds = 0.0

    def add(self, other):
        """Add the results of another tally."""
        for status, number in other.count.items():
            self.count[status] += number
        self.seconds += other.seconds

    def text(self):
        """Format the numbers of results."""
        return in_words(self.count)


class Outcome:
    """The results of a test that has ended or did not begin."""

    def __init__(self, kernel, test, results, seconds=0.0, reader=None, late=False):
        self.kernel = kernel
        self.test = test
        self.results = results
        # How each try of the program ended, and what the program itself tried again.
        self.tries = list(reader.tries) if reader else []
        self.again = list(reader.again) if reader else []
        self.not_compared = list(reader.not_compared) if reader else []
        self.late = late                # it never began, as the time was over
        self.tally = Tally()
        self.tally.seconds = seconds
        for result in results:
            self.tally.count[result.status] += 1

    @property
    def label(self):
        """The names of the kernel and the test."""
        return f"{self.kernel}: {self.test}"

    def of(self, status):
        """Return the results with this status."""
        return [r for r in self.results if r.status == status]


def progress(outcome):
    """Print the outcome of a test, and its failures."""
    word = "FAIL" if outcome.of(FAIL) else "ok" if outcome.of(PASS) else "skip"
    tries = f"  try {len(outcome.tries)}" if outcome.tries else ""
    say(f"  {word:4} {outcome.test:44} {outcome.tally.text():38} "
        f"{outcome.tally.seconds:5.0f} s{tries}")
    for result in outcome.of(FAIL):
        say(f"       {result.name or 'it'}: {result.why or 'failed'}")
        for line in result.detail:
            say(f"         | {line}")


def named(name):
    """Format a result's name to follow that of its test."""
    return f": {name}" if name else ""


def _skips(outcomes):
    """Print each reason for a skip once per test, with the number of results."""
    say("\nSkipped, and why:")
    for outcome in outcomes:
        reasons = {}
        for result in outcome.of(SKIP):
            reasons.setdefault(result.why, []).append(result.name)
        for why, names in reasons.items():
            what = f": {len(names)} results" if len(names) > 1 else named(names[0])
            say(f"  {outcome.label}{what}: {why}")
            if len(names) > 1:
                say(textwrap.fill(", ".join(names), 96, initial_indent="    ",
                                  subsequent_indent="    "))


def total(outcomes):
    """Return the number of results of each status."""
    tally = Tally()
    for outcome in outcomes:
        tally.add(outcome.tally)
    return tally.count


def failures(outcomes, others=()):
    """Print all failures again, and others given in words, if there are any."""
    failed = [f"{outcome.label}{named(result.name)}: {result.why or 'failed'}"
              for outcome in outcomes for result in outcome.of(FAIL)]
    failed += others
    if failed:
        say("\nFailed:")
    for text in failed:
        say(f"  {text}")


def _tries(outcomes):
    """Print the number of tries of tests that may be tried again."""
    say("\nTests that may be tried again:")
    for outcome in outcomes:
        if len(outcome.tries) == 1:
            say(f"  {outcome.label}: 1 try")
        elif outcome.tries:
            say(f"  {outcome.label}: {len(outcome.tries)} tries: {', '.join(outcome.tries)}")
        if outcome.again:
            say(f"  {outcome.label}: retries by the program itself: {len(outcome.again)}, "
                f"the last: {outcome.again[-1]}")


def _not_compared(outcomes):
    """Print the comparisons that were not made."""
    say("\nNot compared:")
    for outcome in outcomes:
        for what, times in collections.Counter(outcome.not_compared).items():
            say(f"  {outcome.label}: {what}" + (f" ({times} times)" if times > 1 else ""))


def left_out(outcomes):
    """Print the tests that did not begin in time, in a line."""
    late = [outcome.label for outcome in outcomes if outcome.late]
    if late:
        say(f"\nLeft out, as the time was over: {', '.join(late)}")


def summary(outcomes, logs):
    """Print the summary of a run; return its exit status."""
    suites = {}
    for outcome in outcomes:
        key = (outcome.kernel, outcome.test.split("/", 1)[0])
        suites.setdefault(key, Tally()).add(outcome.tally)
    if any(outcome.tries or outcome.again for outcome in outcomes):
        _tries(outcomes)
    if any(outcome.not_compared for outcome in outcomes):
        _not_compared(outcomes)
    count = total(outcomes)
    skipped = [outcome for outcome in outcomes if outcome.of(SKIP) and not outcome.late]
    if skipped:
        _skips(skipped)
    left_out(outcomes)
    failures(outcomes)
    say("\nSummary by suite:")
    for (kernel, suite), tally in suites.items():
        say(f"  {kernel:6} {suite:14} {tally.text():38} {tally.seconds:5.0f} s")
    say(f"Logs: {logs}\n")
    say(in_words(count))
    return 1 if count[FAIL] or not outcomes else 0
