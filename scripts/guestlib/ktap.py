# SPDX-License-Identifier: GPL-2.0-only
"""Read the results of test programs: KTAP, TAP, or only an exit status.

A program may nest its results, as KUnit does. Only the innermost results are
counted, so that a suite is not counted in addition to its cases.

kunit.py and run_kselftest.sh have no list of expected skips, and do not find the test
during which the kernel logged a message.
"""

import re

RESULT = re.compile(r"^(not ok|ok)\b\s*(\d+)?\s*(-\s+)?(.*)$")
DIRECTIVE = re.compile(r"(?:^|\s)#\s*(SKIP|XFAIL|XPASS|TODO)\b:?\s*(.*)$", re.I)
PLAN = re.compile(r"^1\.\.(\d+)(?:\s*#\s*(?:SKIP)?\s*(.*))?$", re.I)
SUBTEST = re.compile(r"^# Subtest: (.*)$")
BAIL = re.compile(r"^Bail out!\s*(.*)$")
# A try of the whole program has ended; a program begins to try a part of it again.
TRY = re.compile(r"^# try (\d+) of \d+: exit status (\d+)$")
AGAIN = re.compile(r"^# (try \d+ of \d+: .+)$")
# A case did not make a comparison; a case is known to fail on the base.
NOT_COMPARED = re.compile(r"^# (?:.+: )?not compared: (.+)$")
KNOWN = re.compile(r"^# .+: fails on the base: (.+)$")
EXIT_SKIP = 4
LOST, BAILED = 124, 125         # as in guest/runner; greater: not run, or killed

PASS, FAIL, SKIP = "passed", "failed", "skipped"


class Result:
    """One counted result: what was tested, how it went, why."""

    def __init__(self, name, status, why="", detail=(), known=""):
        self.name = name
        self.status = status
        self.why = why
        self.detail = list(detail)
        self.known = known          # the mistake of the base because of which it fails there


class Level:
    """The results at one depth of nesting."""

    def __init__(self, depth, name=""):
        self.depth = depth
        self.name = name
        self.plan = None
        self.seen = 0
        self.inner = 0          # results of deeper levels since the last one here


class Reader:
    """Reads the output of one test program line by line."""

    def __init__(self):
        self.results = []
        self.announced = False  # a TAP header has been read
        self.levels = [Level(0)]
        self.comments = []      # the other lines since the last result
        self.whole_skip = None
        self.bailed = None
        self.tries = []         # how each try ended, if there may be several
        self.again = []         # what the program tried again, and why
        self.not_compared = []  # what the program did not compare, and why
        self.known = ""         # why the next result fails on the base
        self.last_line = ""

    def feed(self, line):
        """Read a line of output."""
        text = line.strip()
        depth = len(line) - len(line.lstrip(" "))
        if not text:
            return
        subtest = SUBTEST.match(text)
        plan = PLAN.match(text)
        result = RESULT.match(text)
        bail, attempt, again = BAIL.match(text), TRY.match(text), AGAIN.match(text)
        not_compared, known = NOT_COMPARED.match(text), KNOWN.match(text)
        if attempt:
            self.tries.append(how_ended(int(attempt.group(2))))
        elif again:
            self.again.append(again.group(1))
        elif not_compared:
            self.not_compared.append(not_compared.group(1))
        elif known:
            self.known = known.group(1)
        elif bail:
            self.bailed = bail.group(1) or "no reason given"
        elif subtest:
            self._level(depth).name = subtest.group(1)
        elif text.startswith(("KTAP version", "TAP version")):
            self._begin(self._level(depth))
        elif plan:
            self._planned(self._level(depth), plan)
        elif result and (depth or is_counted(*result.groups())):
            self._result(self._level(depth), result)
        else:
            self.last_line = text
            self.comments = (self.comments + [text])[-12:]

    def _level(self, depth):
        """Return the level at this depth. Close deeper ones."""
        while self.levels[-1].depth > depth:
            self._close(self.levels.pop())
        if self.levels[-1].depth < depth:
            self.levels.append(Level(depth))
        return self.levels[-1]

    def _begin(self, level):
        """Begin results, which may follow those of another program."""
        self.announced = True
        self._count_planned(level)
        level.plan, level.seen = None, 0

    def _close(self, level):
        """Close a level."""
        self._count_planned(level)
        if level.seen:
            self.levels[-1].inner += level.seen

    def _count_planned(self, level):
        """Add a failure if the number of results is not as planned."""
        if level.plan is not None and level.seen != level.plan:
            where = f"{level.name}: " if level.name else ""
            self.results.append(Result(
                f"{where}plan", FAIL,
                f"{level.plan} results planned, {level.seen} came", self.comments))

    def _planned(self, level, plan):
        level.plan = int(plan.group(1))
        if level.plan == 0:
            self.whole_skip = plan.group(2) or self.last_line.lstrip("# ") or "nothing to run"

    def _result(self, level, match):
        """Count a result, unless the results inside it were counted already."""
        level.seen += 1
        nested, level.inner = level.inner, 0
        name, directive = self._split(match.group(4))
        failed = match.group(1) == "not ok"
        if not nested or failed and not self._inner_failed(nested):
            self._count(level, name, failed, directive)
        self.comments = []

    @staticmethod
    def _split(text):
        found = DIRECTIVE.search(text)
        if not found:
            return text.strip(), None
        return text[:found.start()].strip(), (found.group(1).upper(), found.group(2).strip())

    @staticmethod
    def _named_by_reason(text):
        """Split the text behind SKIP in `ok 1 # SKIP name (reason)`."""
        found = re.match(r"(.+?)\s*\(([^()]+)\)$", text)
        return found.groups() if found else (text, text)

    def _inner_failed(self, nested):
        return any(r.status == FAIL for r in self.results[-nested:])

    def _count(self, level, name, failed, directive):
        parents = [up.name for up in self.levels if up.depth <= level.depth and up.name]
        kind, why = directive or ("", "")
        if not name.strip() and why:
            name, why = self._named_by_reason(why)
        name = ": ".join(parents + [name or f"result {level.seen}"])
        if kind in ("SKIP", "TODO", "XFAIL"):
            status = SKIP
            why = why or (self.comments[-1].lstrip("# ") if self.comments else "no reason given")
        else:
            status = FAIL if failed or kind == "XPASS" else PASS
        detail = self.comments if status == FAIL else ()
        self.results.append(Result(name, status, why, detail, self.known))
        self.known = ""

    def finish(self, code):
        """Return all results of a program that has ended with this exit status."""
        while len(self.levels) > 1:
            self._close(self.levels.pop())
        if self.bailed is not None:
            self.results.append(Result("bail out", FAIL, self.bailed, self.comments))
        if self.whole_skip and not self.results and code in (0, EXIT_SKIP):
            return [Result("", SKIP, self.whole_skip)]
        self._close(self.levels[0])
        if not self.results:
            return [self._by_status(code)]
        if self._ended_badly(code):
            self.results.append(Result("exit status", FAIL, how_ended(code), self.comments))
        return self.results

    def _ended_badly(self, code):
        """Return whether the exit status is an error that no result explains."""
        if code >= LOST:        # a failed result does not explain that
            return code != BAILED or self.bailed is None
        if code == EXIT_SKIP:
            return not any(r.status in (FAIL, SKIP) for r in self.results)
        return code != 0 and not any(r.status == FAIL for r in self.results)

    def _by_status(self, code):
        """Return the result of a program that prints none, by its exit status."""
        if code == EXIT_SKIP:
            return Result("", SKIP, self.last_line.lstrip("# ") or "no reason given")
        if code:
            return Result("", FAIL, how_ended(code), self.comments)
        if self.announced:
            return Result("", FAIL, "results were announced, and none came", self.comments)
        return Result("", PASS)


def is_counted(word, number, dash, _name):
    """Return whether a line that is not nested is a result, not other text."""
    return bool(number or dash) or word == "not ok"


def how_ended(code):
    """Describe an exit status."""
    if code == LOST:
        return "did not end properly"
    if code == BAILED:
        return "bailed out"
    if code in (126, 127):
        return f"exit status {code}: no such program"
    if code > 128:
        return f"killed by signal {code - 128}"
    return f"exit status {code}"
