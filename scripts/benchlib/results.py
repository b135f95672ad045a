# SPDX-License-Identifier: GPL-2.0-only
"""Samples, rows, the table and the CSV file."""

import csv
import re
import statistics

STAYED = re.compile(r"\d+ of \d+ stayed")       # to move less takes less time
SAMPLE = re.compile(r"sample (\S+) unit=(\S+) copied=(\d+) units=(\S+) cost=(\S+) "
                    r"check=(ok|bad)(?: note=(.*))?$")
SIDES = ("base", "ours")
LIMIT = 1.05            # a row above this must be explained


class Row:
    """A measured value of both kernels."""

    def __init__(self, instrument, name, unit, copied):
        self.instrument = instrument
        self.name = name
        self.unit = unit
        self.copied = copied
        self.visits = {side: [] for side in SIDES}      # a list of samples for each visit
        self.notes = {side: "" for side in SIDES}

    def samples(self, side):
        """Return all samples of a kernel."""
        return [value for visit in self.visits[side] for value in visit]

    def value(self, side):
        """Return the median of a kernel's samples, None if it has none."""
        samples = self.samples(side)
        return statistics.median(samples) if samples else None

    def ratios(self):
        """Return our value divided by the base's, for each pair of visits."""
        pairs = zip(self.visits["base"], self.visits["ours"])
        medians = [(statistics.median(a), statistics.median(b)) for a, b in pairs if a and b]
        return [b / a for a, b in medians if a]

    @property
    def ratio(self):
        """Our value divided by the base's."""
        if self.instrument != "insn":
            ratios = self.ratios()
            return statistics.median(ratios) if ratios else None
        base, ours = self.value("base"), self.value("ours")
        return ours / base if base and ours is not None else None

    @property
    def spread(self):
        """The median deviation from the median, of the samples or of the pairs' ratios.

        It is a fraction of the median; None if there are too few values.
        """
        if self.instrument != "insn":
            return deviation(self.ratios())
        spreads = [deviation(self.samples(side)) for side in SIDES]
        return None if None in spreads else max(spreads)

    def copy_share(self, copy):
        """Return the copy loop's cost in a unit, None if unknown or for the loop."""
        return copy * self.copied if copy and self.copied and self.name != "copy" else None

    def rest_ratio(self, copy):
        """Return the ratio of the costs without the copy loop."""
        base, ours, share = self.value("base"), self.value("ours"), self.copy_share(copy)
        if None in (share, base, ours):
            return None
        return (ours - share) / (base - share) if base > share else None


def deviation(values):
    """Return the median deviation from the median, as a fraction of it."""
    middle = statistics.median(values) if len(values) > 2 else 0
    return statistics.median(abs(v - middle) for v in values) / abs(middle) if middle else None


class Results:
    """All rows of a run, and its errors."""

    def __init__(self):
        self.rows = {}
        self.bad = []
        self.skipped = {}
        self.errors = []
        self.lines = []

    def add(self, instrument, side, lines):
        """Add the lines of a visit."""
        visit = {}
        for line in lines:
            self.lines.append(f"{instrument} {side} {line}")
            match = SAMPLE.match(line)
            if match:
                self._sample(instrument, side, match, visit)
            elif line.startswith("skip "):
                name, why = (line[5:].split(" ", 1) + [""])[:2]
                self.skipped.setdefault((instrument, name), {})[side] = why
            else:
                self.errors.append(f"{side}, {instrument}: {line}")
        for row, values in visit.items():
            row.visits[side].append(values)

    def _sample(self, instrument, side, match, visit):
        name, unit, copied, units, cost, check, note = match.groups()
        if not float(units):
            self.errors.append(f"{side}, {instrument}: {name} did no work: {note or 'no reason'}")
            return
        if side == "ours" and note and STAYED.search(note):
            self.errors.append(f"{side}, {instrument}: {name} moved less than it was to: {note}")
        key = (instrument, name)
        row = self.rows.setdefault(key, Row(instrument, name, unit, int(copied)))
        visit.setdefault(row, []).append(float(cost) / float(units))
        row.notes[side] = note or row.notes[side]
        if check != "ok":
            self.bad.append(f"{side}, {instrument}: {name}")

    def of(self, instrument):
        """Return the rows of an instrument."""
        return [row for row in self.rows.values() if row.instrument == instrument]

    def copy_deviation(self, instrument):
        """Return how far the copy loop's ratios are off one: median and maximum.

        The copy loop is the same code in both kernels. Return None without pairs.
        """
        row = self.rows.get((instrument, "copy"))
        off = [abs(value - 1) for value in row.ratios()] if row else []
        return (statistics.median(off), max(off)) if off else None

    def mark(self, row):
        """Return "!" for a row above the limit, "?" for an uncertain one, or " ".

        Instructions are exact. With another clock, a row is above the limit if its
        lowest ratio is, by more than the maximum of copy_deviation(). It is not above
        the limit if its median is not, even with its spread or the median of
        copy_deviation() added, whichever is greater.
        """
        if row.instrument == "insn":
            return "!" if row.ratio and row.ratio > LIMIT else " "
        off = self.copy_deviation(row.instrument)
        if None in (off, row.spread):
            return "?"
        if min(row.ratios()) > LIMIT + off[1]:
            return "!"
        return " " if row.ratio * (1 + max(row.spread, off[0])) <= LIMIT else "?"

    def copy_cost(self, instrument):
        """Return the instructions to copy a page, None if they were not counted."""
        row = self.rows.get((instrument, "copy")) if instrument == "insn" else None
        return row.value("base") if row else None


def figure(value):
    """Format a number in at most eight characters."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.2f}"


def part(value, sign=""):
    """Format a fraction in percent."""
    return "-" if value is None else f"{sign}{value * 100:.1f}%"


def ratio(value, mark=" "):
    """Format a ratio and its mark."""
    return "-" if value is None else f"{value:.2f}{mark}"


HEADS = {"insn": "Instructions, exact (one guest instruction is one nanosecond)",
         "wall": "Nanoseconds on real CPUs, in pairs (the ratio counts, not the figures)",
         "native": "Nanoseconds in a kernel that is a program, at native speed, in pairs"}


def table(results, instrument):
    """Return the lines of an instrument's table."""
    rows = results.of(instrument)
    if not rows:
        return []
    copy = results.copy_cost(instrument)
    lines = ["", HEADS[instrument],
             f"{'workload':26} {'unit':10} {'base':>10} {'ours':>10} {'ratio':>6} "
             f"{'spread':>7} {'copy':>8} {'rest':>6}"]
    for row in rows:
        lines.append(f"{row.name:26} {row.unit:10} {figure(row.value('base')):>10} "
                     f"{figure(row.value('ours')):>10} {ratio(row.ratio, results.mark(row)):>6} "
                     f"{part(row.spread):>7} {figure(row.copy_share(copy)):>8} "
                     f"{ratio(row.rest_ratio(copy)):>6}{remark(row)}")
    return lines


def remark(row):
    """Return the notes of the program about a row."""
    base, ours = row.notes["base"], row.notes["ours"]
    if base == ours:
        return f"  {base}" if base else ""
    return f"  base: {base or '-'}; ours: {ours or '-'}"


COLUMNS = ("instrument", "workload", "unit", "base", "ours", "ratio", "spread", "copy",
           "rest_ratio", "samples_base", "samples_ours", "note_base", "note_ours")


def write_csv(path, results, heading):
    """Write all rows. Comments above them describe the kernels."""
    with open(path, "w", encoding="utf-8", newline="") as out:
        out.writelines(f"# {line}\n" for line in heading)
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in results.rows.values():
            copy = results.copy_cost(row.instrument)
            writer.writerow([row.instrument, row.name, row.unit, *map(number, (
                row.value("base"), row.value("ours"), row.ratio, row.spread,
                row.copy_share(copy), row.rest_ratio(copy))),
                len(row.samples("base")), len(row.samples("ours")),
                row.notes["base"], row.notes["ours"]])


def counted_rows(results):
    """Return the table of instructions, heads first."""
    copy = results.copy_cost("insn")
    lines = [("workload", "unit", "base", "ours", "ratio", "copy", "rest")]
    for row in results.of("insn"):
        lines.append((row.name, row.unit, figure(row.value("base")), figure(row.value("ours")),
                      ratio(row.ratio, ""), figure(row.copy_share(copy)),
                      ratio(row.rest_ratio(copy), "")))
    return lines


def timed_rows(results, instrument):
    """Return the rows of another clock without a mark "?", heads first."""
    return [("workload", "unit", "ratio", "spread", "pairs")] + [
        (row.name, row.unit, ratio(row.ratio, ""), part(row.spread), str(len(row.ratios())))
        for row in results.of(instrument) if results.mark(row) != "?"]


def write_rst(path, results, heading):
    """Write the tables of BENCH.md."""
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(f".. {line}\n" for line in heading)
        for instrument in HEADS:
            rows = counted_rows(results) if instrument == "insn" else \
                timed_rows(results, instrument)
            if len(rows) > 1:
                out.write("\n" + rst_table(rows))


def rst_table(lines):
    """Return the text of a table: two columns of words, the rest numbers."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    rule = "  ".join("=" * width for width in widths)
    text = [rule]
    for line in lines:
        cells = [cell.ljust(width) if column < 2 else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(line, widths))]
        text.append("  ".join(cells).rstrip())
    text.insert(2, rule)
    return "\n".join(text + [rule, ""])


def number(value):
    """Format a number for the CSV file."""
    return "" if value is None else f"{value:.6g}"


def read_csv(path):
    """Return the rows of a CSV file as dictionaries."""
    with open(path, encoding="utf-8") as source:
        return list(csv.DictReader(line for line in source if not line.startswith("#")))
