# SPDX-License-Identifier: GPL-2.0-only
"""Run tests in guests and report the results."""

import time

from . import machine, report, suites, userland
from .common import Refused, log_folder, say
from .expected import Expected
from .ktap import FAIL, SKIP, Reader, Result

GRACE = 60      # seconds beyond a test's limit until the guest counts as hanging
INDENT = 4
TOO_LATE = "left out, as the time was over"


class Boot:
    """A guest and the tests that it runs."""

    def __init__(self, kernel, name, tests, expected, until=None):
        self.kernel = kernel
        self.until = until              # the time after which no test begins
        self.name = name
        self.suite = name.split("/", 1)[0]
        self.waiting = list(tests)
        self.expected = expected
        self.running = None
        self.ended = ""                 # the name of the last test that ended
        self.stuck = False              # a process of that test cannot be killed
        self.reader = None
        self.deadline = 0.0
        self.done = False
        self.outcomes = []

    def run(self, programs):
        """Boot and run the tests; return the outcomes."""
        folder = log_folder() / "test" / self.kernel.kind / self.name.replace("/", "-")
        plan = "".join(f"{t.name}\t{t.limit(self.kernel)}\t{t.command}\n" for t in self.waiting)
        guest = machine.Guest(self.kernel, folder, " ".join(t.cmdline for t in self.waiting),
                              any(t.slow_node for t in self.waiting))
        guest.scanner.announced = {t.name: t.needs for t in self.waiting}
        try:
            userland.initramfs(guest.initramfs, self.kernel, programs, plan)
            if self.kernel.built_anew:
                self._not_run("the kernel has been built anew since the run began")
                return self.outcomes
            if self.until:
                guest.append += f" UNTIL={max(1, int(self.until - time.time()))}"
            guest.start("test")
            self.deadline = time.monotonic() + machine.BOOT_LIMIT * self.kernel.patience
            trouble = self._follow(guest)
        finally:
            guest.close()
        self._settle(guest, trouble)
        self._rest(guest)
        return self.outcomes

    def _follow(self, guest):
        """Read until the guest is off; return an error of the guest, or None."""
        while (lines := guest.poll()) is not None:
            for line in lines:
                self._line(line, guest)
            if time.monotonic() > self.deadline:
                guest.kill()
                return "the guest hung"
            if not lines:
                time.sleep(0.1)
        return None if self.done else "the guest died"

    def _line(self, line, guest):
        """Handle a line of the results, from the runner or from a program."""
        if line.startswith("# guest: "):
            self._marker(line.split()[2:], guest)
        elif self.reader and line.startswith(" " * INDENT):
            if line.startswith("# host: ", INDENT):
                self._asked(line.split()[2:], guest)
            self.reader.feed(line[INDENT:])

    def _asked(self, words, guest):
        """Handle a request of a test to the host."""
        if self.running.balloon and words in (["inflate"], ["deflate"]):
            guest.inflate(self.running.balloon if words == ["inflate"] else 0)

    def _marker(self, words, guest):
        now = time.monotonic()
        if words[0] == "begin" and self._is_next(words[1]):
            self.running = self.waiting.pop(0)
            self.reader = Reader()
            self.deadline = now + self.running.limit(self.kernel) + GRACE
            if self.running.balloon:
                guest.inflate(self.running.balloon)
        elif words[0] == "end" and self.running and words[1] == self.running.name:
            guest.poll_console()
            self._end(int(words[2]), float(words[3]), guest)
            self.deadline = now + GRACE
        elif words[0] == "left" and self._is_next(words[1]):
            self._leave()
        elif words[0] == "stuck":
            self.stuck = True
            self._conclude(self.ended,
                           [Result("stuck", FAIL, "a process of this test cannot be killed")], 0.0)
        elif words[0] == "done":
            self.done = not self.waiting
            self.deadline = now + GRACE

    def _is_next(self, name):
        """Return whether this test is next. Other names come from another guest."""
        return not self.running and bool(self.waiting) and self.waiting[0].name == name

    def _leave(self):
        """Leave the next test out, as it is too late."""
        self.outcomes.append(report.Outcome(self.kernel.kind, self.waiting.pop(0).name,
                                            [Result("", SKIP, TOO_LATE)], late=True))
        report.progress(self.outcomes[-1])

    def leave_all(self):
        """Leave out all waiting tests; return the outcomes."""
        while self.waiting:
            self._leave()
        return self.outcomes

    def _end(self, code, seconds, guest):
        """Record the end of the running test, by itself or by its time limit."""
        test, reader = self.running, self.reader
        self.running = self.reader = None
        self.ended = test.name
        results = reader.finish(code)
        if code == 137 and seconds >= test.limit(self.kernel) - 1:
            results = [r for r in results if r.name not in ("", "exit status", "plan")]
            results.append(Result("time limit", FAIL,
                                  f"still running after {test.limit(self.kernel)} s",
                                  reader.comments))
        else:
            self.expected.end(self.kernel, test.name)
        self._conclude(test.name, results + kernel_said(guest.scanner.of(test.name)), seconds,
                       reader)

    def _conclude(self, name, results, seconds, reader=None):
        """Compare results with the expected ones, and print the outcome."""
        for result in results:
            self.expected.judge(self.kernel, name, result)
        outcome = report.Outcome(self.kernel.kind, name, results, seconds, reader)
        self.outcomes.append(outcome)
        report.progress(outcome)

    def _settle(self, guest, trouble):
        """Record failures of the tests that have not ended when the guest is off."""
        if self.stuck:
            self._not_run(f"a process of {self.ended} cannot be killed")
            return
        if not trouble and not self.running and not self.waiting:
            return
        if self.running:
            name, results = self.running.name, [r for r in self.reader.finish(0) if r.name]
        else:
            name, results = f"{self.suite}/{'power-off' if self.done else 'boot'}", []
        why = f"{trouble or 'the guest stopped early'} during {name}"
        end = Result("", FAIL, f"{why}; its last lines:", guest.scanner.last)
        results += [*kernel_said(guest.scanner.of(name)), end]
        self._conclude(name, results, 0.0)
        self._not_run(why)

    def _not_run(self, why):
        """Record that the waiting tests do not run."""
        for test in self.waiting:
            self._conclude(test.name, [Result("", FAIL, f"not run: {why}")], 0.0)

    def _rest(self, guest):
        """Record reports from before the first test, or from after the end of one."""
        for test in guest.scanner.left():
            name = test if "/" in test else f"{self.suite}/{test}"
            self._conclude(name, kernel_said(guest.scanner.of(test)), 0.0)


def kernel_said(reports):
    """Return the kernel's reports as results."""
    return [Result(f"kernel log: {title}", FAIL, "once" if times == 1 else f"{times} times", lines)
            for title, times, lines in reports]


def left_out(kernel, tests, expected):
    """Return outcomes for the tests that the machine of this kernel cannot run."""
    outcomes = []
    for test, why in suites.left_out(tests, kernel):
        result = Result("", SKIP, why)
        expected.judge(kernel, test.name, result)
        expected.end(kernel, test.name)
        outcomes.append(report.Outcome(kernel.kind, test.name, [result]))
        report.progress(outcomes[-1])
    return outcomes


def everything(source):
    """Return the tests of all tables for which a failure or skip may be expected."""
    return suites.load(userland.own_programs(source)) + suites.load(name="spoiled")


def collect(kernels, tests, source, expected, until=None):
    """Run tests on each of these kernels until a time; return their outcomes."""
    programs = {arch: userland.build(source, arch=arch) for arch in {k.arch for k in kernels}}
    outcomes = []
    for kernel in kernels:
        groups = suites.boots(tests, kernel)
        if groups:
            say(f"{kernel.kind} kernel, {machine.accelerator(kernel)}, "
                f"{sum(len(group) for _, group in groups)} tests in {len(groups)} boots")
        outcomes += left_out(kernel, tests, expected)
        for name, group in groups:
            boot = Boot(kernel, name, group, expected, until)
            late = until and time.time() >= until
            outcomes += boot.leave_all() if late else boot.run(programs[kernel.arch])
    return outcomes + [report.Outcome(kernel, test, [result])
                       for kernel, test, result in expected.unused()]


def run(kernels, tests, source, until=None):
    """Run tests on these kernels and print a summary; return the exit status."""
    if not any(suites.boots(tests, kernel) for kernel in kernels):
        raise Refused("none of the tests that fit runs on this kernel: "
                      + ", ".join(f"{t.name} ({t.kernel})" for t in tests), 2)
    outcomes = collect(kernels, tests, source, Expected(everything(source)), until)
    return report.summary(outcomes, log_folder() / "test")
