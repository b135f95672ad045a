#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Measure this series against the base kernel, in one run with equal workloads.

perf bench and mmtests measure one kernel. Here the samples of two kernels alternate,
and are numbers of instructions where the emulator can count them.
"""

import argparse
import concurrent.futures
import fnmatch
import hashlib
import os
import subprocess
import sys
import time

from benchlib import guests, plots, results
from guestlib import ending
from guestlib.common import Kernel, Refused, build_folder, log_folder, say

PAIRS = 7               # visits of each workload in each guest on real CPUs
CLOCKS = ("insn", "wall", "native")
NATIVE = {"base": "uml-base", "ours": "uml"}    # folders of the User Mode Linux kernels
LEAST_PAIRS = 3
GUEST_MIB = 5 * 1024     # memory of the host that a guest may use
# A clock that measures pairs begins no round that would end later than this, in
# seconds from the start of the run. The whole run takes a quarter of an hour.
ENDS = {"wall": 640, "native": 860}


def rounds_of(clock, begin, pairs):
    """Yield the rounds of a clock that measures pairs, as long as there is time."""
    last = time.monotonic()
    for turn in range(pairs):
        yield turn
        now = time.monotonic()
        say(f"{clock}: round {turn + 1} of {pairs}, {now - last:.0f} s")
        if turn + 1 >= LEAST_PAIRS and 2 * now - last - begin > ENDS[clock]:
            break
        last = now


class Workload:
    """A line of `migrate_bench -l`."""

    def __init__(self, line):
        self.name, self.unit, self.boot, clocks, self.what = line.split("\t")
        self.clocks = clocks.split()


def workloads(program, match):
    """Return the workloads that match, or all without a pattern."""
    listing = subprocess.run([program, "-l"], capture_output=True, text=True, check=True).stdout
    known = [Workload(line) for line in listing.splitlines()]
    if not match:
        return known
    patterns = match.replace(",", " ").split()
    found = [w for w in known if any(fits(w.name, p) for p in patterns)]
    if not found:
        raise Refused(f"no workload fits {match}; `scripts/bench.py --list` shows them", 2)
    return yardstick(known, found) + found


def yardstick(known, found):
    """Return the copy loop, if it is not among the workloads already.

    It runs with each of their clocks, and in a boot that is needed anyway.
    """
    copy = next(w for w in known if w.name == "copy")
    if copy in found:
        return []
    copy.boot = next((w.boot for w in found if "insn" in w.clocks), copy.boot)
    copy.clocks = [clock for clock in copy.clocks if any(clock in w.clocks for w in found)]
    return [copy]


def fits(name, pattern):
    """Return whether a name matches. A pattern without wildcards is a prefix."""
    return fnmatch.fnmatchcase(name, pattern) or \
        not set(pattern) & set("*?[") and name.startswith(pattern)


class Side:
    """One of the two kernels."""

    def __init__(self, name, kernel):
        self.name = name
        self.kernel = kernel
        self.version = ""
        self.image = hashlib.sha256(kernel.image.read_bytes()).hexdigest()[:12]
        text = (kernel.folder / ".config").read_text()
        self.config = {line for line in text.splitlines() if line.startswith("CONFIG_")}

    @property
    def config_hash(self):
        """A hash of the configuration."""
        return hashlib.sha256("\n".join(sorted(self.config)).encode()).hexdigest()[:12]

    def describe(self):
        """Describe the kernel in a line."""
        return (f"{self.name}: Linux {self.version}, image {self.image}, "
                f"configuration {self.config_hash}")


def note_guest(side, guest, found):
    """Record the version of a guest's kernel and its reports."""
    side.version = guest.version or side.version
    found.errors += [f"{side.name}: the kernel complained\n{text}"
                     for text in guest.complaints()]


def at_once():
    """Return how many guests run at a time: one per CPU, if there is the memory."""
    with open("/proc/meminfo", encoding="utf-8") as file:
        free = next(int(line.split()[1]) >> 10 for line in file if line.startswith("MemAvailable"))
    return max(1, min(os.cpu_count() or 1, free // GUEST_MIB))


def count(sides, program, wanted, found):
    """Count instructions. Each boot is a guest of its own; several run at a time."""
    boots = {}
    for one in wanted:
        if "insn" in one.clocks:
            boots.setdefault(one.boot, []).append(one.name)
    start, done = time.monotonic(), 0
    jobs = [(side, boot, names) for boot, names in boots.items() for side in sides]
    with concurrent.futures.ThreadPoolExecutor(at_once()) as pool:
        running = [pool.submit(guests.count_instructions, side.name, side.kernel, program, boot,
                               names) for side, boot, names in jobs]
        for (side, boot, _), job in zip(jobs, running):
            done += 1
            try:
                lines, guest = job.result()
            except Refused as refusal:
                found.errors.append(f"{side.name}, boot {boot}: {refusal}")
                continue
            found.add("insn", side.name, lines)
            note_guest(side, guest, found)
            say(f"instructions: boot {done} of {len(jobs)} ({side.name}, {boot}), "
                f"{time.monotonic() - start:.0f} s")


def measure_wall(sides, program, wanted, found, rounds):
    """Measure on real CPUs. One of both guests is halted while the other one works."""
    names = [one.name for one in wanted if "wall" in one.clocks]
    if not names:
        return
    up = {}
    try:
        for side in sides:
            folder = log_folder() / "bench" / f"{side.name}-wall"
            up[side] = guests.WallGuest(side.kernel, program, folder)
            up[side].start("bench")
        # The first round makes qemu translate all code. Its results do not count.
        visit_all(up, names, results.Results(), 0)
        for turn in rounds:
            visit_all(up, names, found, turn)
    finally:
        for side, guest in up.items():
            guest.poll_console()
            guest.close()
            note_guest(side, guest, found)


def visit_all(up, names, found, turn):
    """Run each workload once in each guest. The guests take turns in being first."""
    order = list(up.items())
    for number, name in enumerate(names):
        for side, guest in order if (number + turn) % 2 else reversed(order):
            found.add("wall", side.name, guest.ask(name))


def measure_native(sides, program, wanted, found, rounds):
    """Measure at native speed. The kernels take turns in booting first."""
    names = [one.name for one in wanted if "native" in one.clocks]
    if not names:
        return
    up = []
    for side in sides:
        image = build_folder() / NATIVE[side.name] / "linux"
        if not image.exists():
            raise Refused(f"no kernel at {image}: `make uml-kernels` builds it", 2)
        up.append((side, guests.NativeGuest(image, program)))
    for turn in rounds:
        for side, guest in up if turn % 2 else reversed(up):
            found.add("native", side.name, guest.visit(names))
    for side, guest in up:
        note_guest(side, guest, found)


def heading(sides):
    """Describe the kernels that were measured."""
    lines = [side.describe() for side in sides]
    base, ours = (side.config for side in sides)
    if base != ours:
        names = sorted({line.split("=")[0] for line in base ^ ours})
        lines.append(f"configurations differ in: {' '.join(names)}")
    return lines


def show(sides, found):
    """Print the tables and the skipped workloads."""
    for line in heading(sides):
        say(line)
    for instrument in results.HEADS:
        for line in results.table(found, instrument):
            say(line)
    for (instrument, name), why in found.skipped.items():
        say(f"skipped ({instrument}): {name}: "
            + "; ".join(f"{side}: {text}" for side, text in why.items()))


def verdict(found):
    """Print the errors and a summary; return 0 if the values may be compared."""
    for text in found.errors:
        say(f"error: {text}")
    if found.bad:
        say("REFUSED: the contents of moved memory were wrong in " + ", ".join(found.bad))
        return 1
    rows = {mark: [f"{row.name} ({row.instrument})" for row in found.rows.values()
                   if found.mark(row) == mark] for mark in "!?"}
    say(f"{len(found.rows)} rows, {len(rows['!'])} above {results.LIMIT}"
        + (": " + ", ".join(rows["!"]) if rows["!"] else "")
        + (f"; {len(rows['?'])} too noisy to say it" if rows["?"] else ""))
    return 1 if found.errors else 0


def save(sides, found, partial):
    """Write samples and rows; return the path of the rows."""
    folder = build_folder() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    stem = "part" if partial else "bench"
    (folder / f"{stem}-samples.txt").write_text("\n".join(found.lines) + "\n")
    path = folder / f"{stem}.csv"
    results.write_csv(path, found, heading(sides))
    results.write_rst(path.with_suffix(".rst"), found, heading(sides))
    return path


def measure(args):
    """Run the benchmark."""
    program = guests.build_program()
    wanted = workloads(program, args.match)
    if args.list:
        for one in wanted:
            say(f"{one.name:16} {one.unit:8} {'+'.join(one.clocks):10} {one.what}")
        return 0
    start = time.monotonic()
    load = os.getloadavg()[0]
    if load > (os.cpu_count() or 1) and set(args.clock) != {"insn"}:
        say(f"the host is busy (load {load:.0f}): its wall clock will say little")
    sides = [Side("base", Kernel(args.base)), Side("ours", Kernel(args.ours))]
    found = results.Results()
    if "insn" in args.clock:
        count(sides, program, wanted, found)
    if "wall" in args.clock:
        measure_wall(sides, program, wanted, found, rounds_of("wall", start, args.pairs))
    if "native" in args.clock:
        measure_native(sides, program, wanted, found, rounds_of("native", start, args.pairs))
    if not found.bad:
        show(sides, found)
    path = save(sides, found, bool(args.match) or len(args.clock) < len(CLOCKS))
    code = verdict(found)
    say(f"{time.monotonic() - start:.0f} s; {path}")
    if not found.bad:
        draw(path, args.plots)
    return code


def draw(path, wanted):
    """Draw the plots. Without gnuplot, draw none, or fail if they are wanted."""
    if not wanted and not plots.available():
        say("no plots: `scripts/deps.sh bench` installs gnuplot")
        return
    drawn = plots.draw(results.read_csv(path), path.parent)
    if drawn:
        say(f"plots: {path.parent}/{{{','.join(drawn)}}}.{{png,svg}}")


def parse(arguments):
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--match", default="", help="workloads: names, their beginnings, "
                        "or patterns with stars, separated by commas")
    parser.add_argument("--list", action="store_true", help="list the workloads")
    parser.add_argument("--clock", default=",".join(CLOCKS), type=lambda text: text.split(","),
                        help=f"some of {', '.join(CLOCKS)}")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="visits on real CPUs")
    parser.add_argument("--base", default="base", help="the kernel to compare with")
    parser.add_argument("--ours", default="guest", help="the kernel that is measured")
    parser.add_argument("--plots", action="store_true", help="fail when plots cannot be drawn")
    parser.add_argument("--redraw", metavar="CSV", help="only draw the plots of an earlier run")
    args = parser.parse_args(arguments)
    if set(args.clock) - set(CLOCKS):
        parser.error(f"--clock knows {', '.join(CLOCKS)}")
    return args


def main(arguments):
    """Run the command."""
    args = parse(arguments)
    ending.take_signals()
    try:
        if args.redraw:
            draw(type(build_folder())(args.redraw).resolve(), True)
            return 0
        with ending.hold_lock("bench"):
            return measure(args)
    except Refused as refusal:
        sys.stderr.write(f"bench.py: {refusal}\n")
        return refusal.code
    except ending.Ended as end:
        return end.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
