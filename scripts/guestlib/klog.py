# SPDX-License-Identifier: GPL-2.0-only
"""Scan the kernel log for error messages."""

import re

from .klogpatterns import ANNOUNCED, PATTERNS

STAMP = re.compile(r"^(?:<\d+>)?\[\s*\d+\.\d+\](?:\[\s*[TC]\d+\])?\s?")
MARK = re.compile(r"guest: begin (\S+)$")

def any_of(rows):
    """Return a pattern that matches what any of these patterns matches."""
    return re.compile("|".join(f"(?:{pattern})" for _, pattern, _ in rows))


# The start of a report, after the time stamp.
TROUBLE = any_of(PATTERNS)
MAY_BE = {need: any_of(rows) for need, rows in ANNOUNCED.items()}
END = re.compile(r"---\[ end (?:trace|Kernel panic)")
# Lines that belong to a report although they may match the start of a new one.
INSIDE = re.compile(r"\s*(?:Call Trace|RIP: |CPU: |Tainted|Hardware name|\?? ?\w+\+0x)")
KEEP = 60
# Lines that are left out when a report is printed. The log file has them.
NOISE = re.compile(r"(?:R[A-Z0-9]{2}|[A-Z]S|CR\d|Code|RSP|EFLAGS|RIP: 0033|Hardware name|"
                   r"Modules linked in)\s*:|RIP: 0033")


class Finding:
    """One report of the kernel."""

    def __init__(self, test, line):
        self.test = test
        self.lines = [line]
        self.told = False

    @property
    def title(self):
        """The first line of the report that is not a cut mark."""
        return next((line for line in self.lines if "[ cut here ]" not in line), self.lines[0])


class Scanner:
    """Reads the console; keeps its last lines, and each report with the test it belongs to."""

    def __init__(self, start="boot"):
        self.test = start
        self.announced = {}     # for each test, what is no error: keys of MAY_BE
        self.findings = []
        self.last = []
        self.closed = False
        self._open = None

    def feed(self, line):
        """Read a line of the console."""
        if self.closed:
            return
        line = line.rstrip("\r\n")
        self.last = (self.last + [line])[-40:]
        stamp = STAMP.match(line)
        text = line[stamp.end():] if stamp else line
        mark = MARK.search(text)
        if mark:
            self.test, self._open = mark.group(1), None
        elif self._open and (INSIDE.match(text) or not self._trouble(text)):
            self._continue(text)
        elif stamp and self._trouble(text):
            self._start(text)

    def _trouble(self, text):
        """Return whether a report starts with this line."""
        if TROUBLE.match(text):
            return True
        announced = self.announced.get(self.test, ())
        return any(pattern.match(text) and need not in announced
                   for need, pattern in MAY_BE.items())

    def _start(self, text):
        """Begin a report, or add it to one that has only a few lines so far."""
        if self._open and len(self._open.lines) < 4:
            self._continue(text)
            return
        self._open = Finding(self.test, text)
        self.findings.append(self._open)

    def _continue(self, text):
        self._open.lines.append(text)
        if END.search(text) or len(self._open.lines) >= KEEP:
            self._open = None

    def of(self, test):
        """Return the new reports while this test ran, as fold() combines them."""
        new = [f for f in self.findings if f.test == test and not f.told]
        for finding in new:
            finding.told = True
        return fold(new)

    def left(self):
        """Return the tests that have reports that of() has not returned."""
        return sorted({f.test for f in self.findings if not f.told})


def fold(findings):
    """Combine reports of the same title: (title, times, lines of the first)."""
    by_title = {}
    for finding in findings:
        by_title.setdefault(finding.title, []).append(finding)
    return [(title, len(same), [line for line in same[0].lines if not NOISE.match(line)])
            for title, same in by_title.items()]
