# SPDX-License-Identifier: GPL-2.0-only
"""Known results that are no pass: failures of the base, skips of a kernel."""

import fnmatch

from .common import Refused
from .ktap import FAIL, PASS, SKIP, Result
from .suites import meant_for, table


class Row:
    """A line of `expected` or `skips`: which result of which test on which kernels is no pass."""

    def __init__(self, place, status, fields):
        self.place = place
        self.status = status
        self.kernels, self.test, self.result, self.reason, self.why = fields
        self.used = set()           # the kernels on which it occurred

    def speaks_of(self, kernel, test):
        """Return whether it names this test and kernel, and whether it must occur."""
        if not fnmatch.fnmatchcase(test, self.test):
            return False, False
        for word in self.kernels.split():
            if fnmatch.fnmatchcase(kernel, word.removesuffix("?")):
                return True, not word.endswith("?")
        return False, False

    def fits(self, kernel, test, result):
        """Return whether it expects this result."""
        return (self.speaks_of(kernel, test)[0] and result.status == self.status
                and fnmatch.fnmatchcase(result.name, self.result)
                and fnmatch.fnmatchcase(result.why, self.reason))


def rows(name, status):
    """Return the lines of a table. That of failures has no column for the reason."""
    found = []
    for line in table(name):
        fields = [field.strip() for field in line.split("|")]
        if status == FAIL:
            fields.insert(3, "*")
        if len(fields) != 5 or not all(fields):
            raise Refused(f"scripts/guest/{name}: this line has too few or too many columns: {line}")
        found.append(Row(f"scripts/guest/{name}", status, fields))
    return found


class Expected:
    """All expected results, and which of them occurred."""

    def __init__(self, tests, lines=None):
        self.tests = tests          # all tests, also those that this run leaves out
        self.rows = rows("expected", FAIL) + rows("skips", SKIP) if lines is None else lines
        self.ended = {}             # the names of the tests that ended on a kernel
        for row in self.rows:
            if not any(fnmatch.fnmatchcase(test.name, row.test) for test in tests):
                raise Refused(f"{row.place}: there is no test {row.test}")

    def end(self, kernel, test):
        """Record that a test has ended."""
        self.ended.setdefault(kernel, set()).add(test)

    def judge(self, kernel, test, result):
        """Turn an expected failure into a skip, an unexpected skip into a failure.

        A kernel that this project has not built may lack anything, so it may skip. On
        the base, the cases of the base's mistakes must fail.
        """
        if kernel.kind == "base" and result.known and result.status != SKIP:
            result.status, result.why = {
                FAIL: (SKIP, f"as on the untouched base: {result.known}"),
                PASS: (FAIL, f"passed on the base, which has a mistake: {result.known}"),
            }[result.status]
            return
        fitting = [r for r in self.rows if r.fits(kernel.kind, test, result)]
        for row in fitting:
            row.used.add(kernel.kind)
        if fitting and result.status == FAIL:
            result.status, result.why = SKIP, f"as on the untouched base: {fitting[0].why}"
        elif not fitting and result.status == SKIP and kernel.ours:
            result.status = FAIL
            result.why = f"skipped, and not in scripts/guest/skips: {result.why}"

    def unused(self):
        """Return (kernel, test, result) of each row that must occur and did not."""
        return [(kernel.kind, due[-1], self._gone(row)) for row in self.rows
                for kernel in self.ended if (due := self._due(row, kernel))
                and kernel.kind not in row.used]

    def _due(self, row, kernel):
        """Return a row's tests if it must occur on this kernel and all tests have ended."""
        names = [test.name for test in self.tests
                 if meant_for(test, kernel) and row.speaks_of(kernel.kind, test.name)[1]]
        return names if self.ended[kernel].issuperset(names) else []

    @staticmethod
    def _gone(row):
        what = f"no result '{row.result}' " + ("failed" if row.status == FAIL else
                                               f"was skipped for '{row.reason}'")
        return Result("expected", FAIL, f"{what}: take the line out of {row.place}")
