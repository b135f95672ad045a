# SPDX-License-Identifier: GPL-2.0-only
"""Reads the results that test programs print: KTAP, TAP, or nothing but an exit status.

A program may nest its results (KUnit does). Only the innermost results are
counted, so that a suite does not count beside its own cases.
"""

import re

RESULT = re.compile(r"^(not ok|ok)\b\s*(\d+)?\s*(-\s+)?(.*)$")
DIRECTIVE = re.compile(r"(?:^|\s)#\s*(SKIP|XFAIL|XPASS|TODO)\b:?\s*(.*)$", re.I)
PLAN = re.compile(r"^1\.\.(\d+)(?:\s*#\s*(?:SKIP)?\s*(.*))?$", re.I)
SUBTEST = re.compile(r"^# Subtest: (.*)$")
BAIL = re.compile(r"^Bail out!\s*(.*)$")
# Of the whole program, which has ended; and of something in it, which begins.
TRY = re.compile(r"^# try (\d+) of \d+: exit status (\d+)$")
AGAIN = re.compile(r"^# (try \d+ of \d+: .+)$")
EXIT_SKIP = 4
LOST, BAILED = 124, 125         # as guest/runner has it; above are deaths

PASS, FAIL, SKIP = "passed", "failed", "skipped"


class Result:
    """One counted result: what was tested, how it went, why."""

    def __init__(self, name, status, why="", detail=()):
        self.name = name
        self.status = status
        self.why = why
        self.detail = list(detail)


class Level:
    """What has been read at one depth of nesting."""

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
        self.announced = False  # results are to come
        self.levels = [Level(0)]
        self.comments = []      # what was said since the last result
        self.whole_skip = None
        self.bailed = None
        self.tries = []         # how each try ended, where a test has several
        self.again = []         # what a program has tried once more, and why
        self.last_line = ""

    def feed(self, line):
        """Take in one line of output."""
        text = line.strip()
        depth = len(line) - len(line.lstrip(" "))
        if not text:
            return
        subtest = SUBTEST.match(text)
        plan = PLAN.match(text)
        result = RESULT.match(text)
        bail, attempt, again = BAIL.match(text), TRY.match(text), AGAIN.match(text)
        if attempt:
            self.tries.append(how_ended(int(attempt.group(2))))
        elif again:
            self.again.append(again.group(1))
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
        """The level at this depth; deeper ones are over."""
        while self.levels[-1].depth > depth:
            self._close(self.levels.pop())
        if self.levels[-1].depth < depth:
            self.levels.append(Level(depth))
        return self.levels[-1]

    def _begin(self, level):
        """Results begin, behind those of somebody else, perhaps."""
        self.announced = True
        self._count_planned(level)
        level.plan, level.seen = None, 0

    def _close(self, level):
        """A level ends."""
        self._count_planned(level)
        if level.seen:
            self.levels[-1].inner += level.seen

    def _count_planned(self, level):
        """It is a failure when results are not as many as promised."""
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
        """`ok 1 # SKIP name (reason)`, as programs have it that only know one text."""
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
        self.results.append(Result(name, status, why, detail))

    def finish(self, code):
        """The program has ended with this exit status: return all of its results."""
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
        """The exit status says what the results do not."""
        if code >= LOST:        # a test that is expected to fail does not explain that
            return code != BAILED or self.bailed is None
        if code == EXIT_SKIP:
            return not any(r.status in (FAIL, SKIP) for r in self.results)
        return code != 0 and not any(r.status == FAIL for r in self.results)

    def _by_status(self, code):
        """A program that prints no results says it with its exit status."""
        if code == EXIT_SKIP:
            return Result("", SKIP, self.last_line.lstrip("# ") or "no reason given")
        if code:
            return Result("", FAIL, how_ended(code), self.comments)
        if self.announced:
            return Result("", FAIL, "results were announced, and none came", self.comments)
        return Result("", PASS)


def is_counted(word, number, dash, _name):
    """Whether a line that is not nested is a result, and no text that begins like one."""
    return bool(number or dash) or word == "not ok"


def how_ended(code):
    """An exit status in words."""
    if code == LOST:
        return "did not end in good order"
    if code == BAILED:
        return "bailed out"
    if code in (126, 127):
        return f"exit status {code}: no such program"
    if code > 128:
        return f"killed by signal {code - 128}"
    return f"exit status {code}"
