# SPDX-License-Identifier: GPL-2.0-only
"""Scans the kernel's log for what must not be there."""

import re

from .klogpatterns import ANNOUNCED, PATTERNS

STAMP = re.compile(r"^(?:<\d+>)?\[\s*\d+\.\d+\](?:\[\s*[TC]\d+\])?\s?")
MARK = re.compile(r"guest: begin (\S+)$")

def any_of(rows):
    """Fits what one of these patterns fits."""
    return re.compile("|".join(f"(?:{pattern})" for _, pattern, _ in rows))


# What starts a report, after the time stamp.
TROUBLE = any_of(PATTERNS)
MAY_BE = {need: any_of(rows) for need, rows in ANNOUNCED.items()}
END = re.compile(r"---\[ end (?:trace|Kernel panic)")
# Lines that belong to a report although a new one might start with them.
INSIDE = re.compile(r"\s*(?:Call Trace|RIP: |CPU: |Tainted|Hardware name|\?? ?\w+\+0x)")
KEEP = 60
# What is left out where a report is shown: the log file has it.
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
        """What the report says first."""
        return next((line for line in self.lines if "[ cut here ]" not in line), self.lines[0])


class Scanner:
    """Reads the console; keeps its last lines, and each report with the test it belongs to."""

    def __init__(self, start="boot"):
        self.test = start
        self.announced = {}     # for each test what is no trouble while it runs, as MAY_BE has it
        self.findings = []
        self.last = []
        self.closed = False
        self._open = None

    def feed(self, line):
        """Take in one line of the console."""
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
        """Whether a report starts with this line."""
        if TROUBLE.match(text):
            return True
        announced = self.announced.get(self.test, ())
        return any(pattern.match(text) and need not in announced
                   for need, pattern in MAY_BE.items())

    def _start(self, text):
        """A report begins; one within the first lines of another belongs to it."""
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
        """What came while this test ran and was not asked for yet, as fold() has it."""
        new = [f for f in self.findings if f.test == test and not f.told]
        for finding in new:
            finding.told = True
        return fold(new)

    def left(self):
        """The tests during or after which something came that nobody asked for."""
        return sorted({f.test for f in self.findings if not f.told})


def fold(findings):
    """Reports of the same title together: (title, times, lines of the first)."""
    by_title = {}
    for finding in findings:
        by_title.setdefault(finding.title, []).append(finding)
    return [(title, len(same), [line for line in same[0].lines if not NOISE.match(line)])
            for title, same in by_title.items()]
