# SPDX-License-Identifier: GPL-2.0-only
"""The tables of tests and of expected results."""

import fnmatch
import re

from .common import GUEST_FILES, Refused
from .klogpatterns import ANNOUNCED

LEAK_SECONDS = 60
PORTABLE = ("kunit", "migrate")         # the suites that need no library of the distribution


class Test:
    """A line of the table of tests."""

    def __init__(self, name, kernel, seconds, needs, command):
        self.name = name
        self.suite, self.short = name.split("/", 1)
        self.kernel = kernel
        self.seconds = int(seconds)
        self.needs = [] if needs == "-" else needs.split(",")
        self.lasts = 0              # seconds of `lasts:`, the same on any kernel
        self.command = command
        for need in self.needs:
            if need not in ANNOUNCED and not re.fullmatch(
                    "own|slow-node|balloon:[0-9]+|lasts:[0-9]+|cmdline:.+", need):
                raise Refused(f"{name}: unknown need: {need}")

    @property
    def own_boot(self):
        """True if it has a boot of its own."""
        return any(need not in ANNOUNCED and not need.startswith("lasts:")
                   for need in self.needs)

    @property
    def boot(self):
        """The name of the boot in which it runs."""
        return self.name if self.own_boot else self.suite

    def last(self, seconds=None):
        """Set how long it runs, by default as the table says."""
        for need in self.needs:
            if need.startswith("lasts:"):
                self.lasts = seconds or int(need.split(":", 1)[1])
                self.command = self.command.replace("{half}", str(max(1, self.lasts // 2)))

    @property
    def slow_node(self):
        """True if its machine has a node of slower memory."""
        return "slow-node" in self.needs

    @property
    def balloon(self):
        """The MiB that the host takes from the guest before the test."""
        return sum(int(n.split(":", 1)[1]) for n in self.needs if n.startswith("balloon:"))

    @property
    def cmdline(self):
        """The words that it adds to the kernel command line."""
        return " ".join(n.split(":", 1)[1] for n in self.needs if n.startswith("cmdline:"))

    def limit(self, kernel):
        """Return its time limit on this kernel."""
        return self.seconds * kernel.patience + self.lasts

    def expand(self, programs, taken):
        """Return the tests that a pattern stands for."""
        if "*" not in self.short:
            return [self]
        fitting = [p for p in programs if fnmatch.fnmatch(p, self.short) and p not in taken]
        if programs and not fitting:
            raise Refused(f"no program is left for {self.name}")
        return [Test(f"{self.suite}/{p}", self.kernel, self.seconds, ",".join(self.needs) or "-",
                     self.command.replace("{}", p)) for p in fitting]


def table(name):
    """Return the lines of a table, without comments."""
    lines = (GUEST_FILES / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def load(own=(), name="suites"):
    """Return all tests of a table; patterns stand for the programs in `own`."""
    tests = []
    for line in table(name):
        fields = line.split(None, 4)
        if len(fields) != 5 or "/" not in fields[0] or not fields[2].isdigit():
            raise Refused(f"scripts/guest/{name}: five columns are needed: {line}")
        tests.append(Test(*fields))
    taken = {word for t in tests for word in re.findall(r"[\w-]+", t.command)}
    return [one for t in tests for one in t.expand(own, taken)]


def programs(folder):
    """Return the programs of the kernel's mm selftests that the table names."""
    words = {word for t in load() for word in re.findall(r"[\w-]+", t.command)}
    return sorted(word for word in words if (folder / f"{word}.c").exists())


def fits_one(test, pattern):
    """Return whether a pattern matches a test.

    It may be the name of a suite, of a test or a part of it, `boot:` and the name of
    a boot, or a shell pattern.
    """
    names = (test.name, test.suite, test.short, f"boot:{test.boot}")
    return pattern in test.name or any(fnmatch.fnmatch(n, pattern) for n in names)


def fits(test, patterns):
    """Return whether one of the patterns fits, and none of those after a !."""
    words = patterns.split(",")
    wanted = [word for word in words if not word.startswith("!")]
    unwanted = [word[1:] for word in words if word.startswith("!")]
    return (not wanted or any(fits_one(test, word) for word in wanted)) and \
        not any(fits_one(test, word) for word in unwanted)


def select(tests, pattern):
    """Return the tests that fit. If a pattern fits none, an error lists all tests."""
    if not pattern:
        return tests
    chosen = [t for t in tests if fits(t, pattern)]
    vain = [word for word in pattern.split(",")
            if not any(word.strip("!") and fits_one(t, word.removeprefix("!")) for t in tests)]
    if vain or not chosen:
        there = {}
        for test in tests:
            there.setdefault(test.suite, []).append(test.short)
        listing = "".join(f"\n  {suite}: {' '.join(names)}" for suite, names in there.items())
        what = f"'{vain[0]}' of " if vain and vain != [pattern] else ""
        raise Refused(f"no test fits {what}'{pattern}'; the suites and their tests are:{listing}", 2)
    return chosen


def meant_for(test, kernel):
    """Return whether this kernel is to run the test."""
    ours = kernel.native or test.suite in PORTABLE
    return ours and test.kernel in ("both", "debug" if kernel.slow else "guest")


def lacking(test, kernel):
    """Return what this kernel's machine lacks for the test, most often nothing."""
    if test.slow_node and kernel.arch != "x86_64":
        return f"the firmware of {kernel.arch} guests does not report slower memory"
    if "memmap=" in test.cmdline and kernel.arch != "x86_64":
        return f"memory for a coherent device cannot be reserved on {kernel.arch}"
    return ""


def boots(tests, kernel):
    """Return the tests that this kernel can run, in groups that share a boot.

    If the kernel has kmemleak, each boot ends with a search for leaks.
    """
    groups = {}
    for test in tests:
        if meant_for(test, kernel) and not lacking(test, kernel):
            groups.setdefault(test.boot, []).append(test)
    if kernel.slow:
        for boot, group in groups.items():
            name = f"{boot}-leaks" if "/" in boot else f"{boot}/leaks"
            group.append(Test(name, "debug", LEAK_SECONDS, "-", "leak_scan"))
    return list(groups.items())


def left_out(tests, kernel):
    """Return the tests that this kernel is to run and cannot, with the reason."""
    return [(test, lacking(test, kernel)) for test in tests
            if meant_for(test, kernel) and lacking(test, kernel)]
