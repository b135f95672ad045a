# SPDX-License-Identifier: GPL-2.0-only
"""Results that are no pass, and are known: failures of the base, skips of a kernel."""

import fnmatch

from .common import Refused
from .ktap import FAIL, SKIP, Result
from .suites import meant_for, table


class Row:
    """A line of `expected` or `skips`: which result of which test on which kernels is no pass."""

    def __init__(self, place, status, fields):
        self.place = place
        self.status = status
        self.kernels, self.test, self.result, self.reason, self.why = fields
        self.used = set()           # the kernels on which it happened

    def speaks_of(self, kernel, test):
        """Whether it is about this test on this kernel, and whether it has to happen there."""
        if not fnmatch.fnmatchcase(test, self.test):
            return False, False
        for word in self.kernels.split():
            if fnmatch.fnmatchcase(kernel, word.removesuffix("?")):
                return True, not word.endswith("?")
        return False, False

    def fits(self, kernel, test, result):
        """Whether it foresees this result."""
        return (self.speaks_of(kernel, test)[0] and result.status == self.status
                and fnmatch.fnmatchcase(result.name, self.result)
                and fnmatch.fnmatchcase(result.why, self.reason))


def rows(name, status):
    """The lines of a table; in that of failures there is no column for their reason."""
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
    """All that is foreseen, and what of it happened."""

    def __init__(self, tests, lines=None):
        self.tests = tests          # all there are, whether they run now or not
        self.rows = rows("expected", FAIL) + rows("skips", SKIP) if lines is None else lines
        self.ended = {}             # the names of the tests that came to their end on a kernel
        for row in self.rows:
            if not any(fnmatch.fnmatchcase(test.name, row.test) for test in tests):
                raise Refused(f"{row.place}: there is no test {row.test}")

    def end(self, kernel, test):
        """This test came to its end."""
        self.ended.setdefault(kernel, set()).add(test)

    def judge(self, kernel, test, result):
        """A failure that is foreseen becomes a skip; a skip that is not, a failure.

        A kernel that is not built by this project may lack anything, and is free to skip.
        """
        fitting = [r for r in self.rows if r.fits(kernel.kind, test, result)]
        for row in fitting:
            row.used.add(kernel.kind)
        if fitting and result.status == FAIL:
            result.status, result.why = SKIP, f"as on the untouched base: {fitting[0].why}"
        elif not fitting and result.status == SKIP and kernel.ours:
            result.status = FAIL
            result.why = f"skipped, and not in scripts/guest/skips: {result.why}"

    def unused(self):
        """(kernel, test, result) for each row that did not happen where it should have."""
        return [(kernel.kind, due[-1], self._gone(row)) for row in self.rows
                for kernel in self.ended if (due := self._due(row, kernel))
                and kernel.kind not in row.used]

    def _due(self, row, kernel):
        """The tests that a row speaks of, if it has to happen on this kernel and all of them ended."""
        names = [test.name for test in self.tests
                 if meant_for(test, kernel) and row.speaks_of(kernel.kind, test.name)[1]]
        return names if self.ended[kernel].issuperset(names) else []

    @staticmethod
    def _gone(row):
        what = f"no result '{row.result}' " + ("failed" if row.status == FAIL else
                                               f"was skipped for '{row.reason}'")
        return Result("expected", FAIL, f"{what}: take the line out of {row.place}")
