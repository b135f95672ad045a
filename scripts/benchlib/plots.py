# SPDX-License-Identifier: GPL-2.0-only
"""Draw four plots for each clock with gnuplot, as PNG and SVG."""

import re
import shutil
import subprocess

from guestlib.common import Refused

PAGE = 4096
SIZES = {"4K": 1, "16K": 4, "64K": 16, "256K": 64, "1M": 256, "2M": 512}
TERMINALS = {"png": "pngcairo size 900,560 font 'sans,11'",
             "svg": "svg size 900,560 font 'sans,13' background rgb 'white'"}
CLOCKS = {"insn": "at one instruction a nanosecond", "wall": "on real CPUs, emulated guest"}


class Plot:
    """A plot: x labels, and columns of values."""

    def __init__(self, name, title, x_label, y_label, log=False):
        self.name = name
        self.title = title
        self.x_label = x_label
        self.y_label = y_label
        self.log = log
        self.points = []        # (x label, {series: y})

    def add(self, label, values):
        """Add a point to each series that has a value at this label."""
        values = {series: y for series, y in values.items() if y is not None}
        if values:
            self.points.append((label, values))

    @property
    def series(self):
        """The names of the columns, in the order in which they appeared."""
        return list(dict.fromkeys(s for _, values in self.points for s in values))

    def data(self):
        """Return the columns as text. A missing value is a question mark."""
        lines = [f"# {self.x_label}\t" + "\t".join(self.series)]
        for label, values in self.points:
            lines.append("\t".join([label] + [f"{values[s]:.6g}" if s in values else "?"
                                              for s in self.series]))
        return "\n".join(lines) + "\n"

    def script(self):
        """Return the gnuplot commands, without terminal and output."""
        lines = ["set datafile separator '\\t'", "set datafile missing '?'",
                 f"set title '{self.title}'", f"set xlabel '{self.x_label}'",
                 f"set ylabel '{self.y_label}'", "set grid ytics", "set key outside bottom center "
                 "horizontal", "set offsets 0.2, 0.2, 0, 0"]
        lines.append("set logscale y" if self.log else "set yrange [0:*]")
        curves = [f"'{self.name}.dat' using {n}:xtic(1) with linespoints lw 2 "
                  f"lc rgb '{'#888888' if s.startswith('base') else '#0060ad'}' "
                  f"dt {1 if '2nd' not in s and 'longest' not in s else 2} "
                  f"pt {7 if s.startswith('base') else 5} title '{s}'"
                  for n, s in enumerate(self.series, 2)]
        return "\n".join(lines + ["plot " + ", \\\n     ".join(curves)]) + "\n"


def by_name(rows, clock):
    """Return the values of a clock: name -> {side: value}."""
    found = {}
    for row in rows:
        if row["instrument"] == clock:
            found[row["workload"]] = {side: float(row[side]) for side in ("base", "ours")
                                      if row[side]}
    return found


def numbered(figures, pattern):
    """Return the workloads that match a pattern, sorted by the number in it."""
    found = [(int(m.group(1)), m.group(0)) for m in map(re.compile(pattern).fullmatch, figures)
             if m]
    return sorted(found)


def throughput(figures, clock):
    """Plot the throughput by folio size, for the first and the second move."""
    plot = Plot(f"{clock}-folio-size", f"Throughput by folio size, {CLOCKS[clock]}",
                "folio size", "GB/s")
    for size, pages in SIZES.items():
        moves = {"": "one-node"} if pages == 1 else {"": f"folio-{size}.first",
                                                     " 2nd move": f"folio-{size}.second"}
        plot.add(size, {side + move: PAGE * pages / cost for move, name in moves.items()
                        for side, cost in figures.get(name, {}).items() if cost})
    return plot


def batches(figures, clock):
    """Plot the cost per page by the number of pages per call."""
    plot = Plot(f"{clock}-batch-size", f"Cost by batch size, {CLOCKS[clock]}",
                "pages a call", "ns a page", log=True)
    for size, name in numbered(figures, r"batch-(\d+)"):
        plot.add(str(size), figures[name])
    return plot


def stalls(figures, clock):
    """Plot how long a touching thread waits, by the number of pages per call."""
    plot = Plot(f"{clock}-stall", f"Wait of a touching thread, {CLOCKS[clock]}",
                "pages a call", "microseconds", log=True)
    for size, name in numbered(figures, r"stall-(\d+)\.p99"):
        both = {}
        for what in ("p99", "longest"):
            values = figures.get(name.replace("p99", what), {})
            both.update({f"{side} {what}": ns / 1000 for side, ns in values.items() if ns})
        plot.add(str(size), both)
    return plot


def scaling(figures, clock):
    """Plot the throughput of several threads together."""
    plot = Plot(f"{clock}-threads", f"Scaling by threads, {CLOCKS[clock]}",
                "threads that move", "GB/s together")
    for count, name in numbered(figures, r"movers-(\d+)"):
        plot.add(str(count), {side: PAGE / ns for side, ns in figures[name].items() if ns})
    return plot


def gnuplot(script, folder):
    """Run gnuplot on a script."""
    try:
        done = subprocess.run(["gnuplot"], input=script, cwd=folder, text=True,
                              capture_output=True, check=False)
    except FileNotFoundError:
        raise Refused("gnuplot is not installed: `scripts/deps.sh bench` installs it") from None
    if done.returncode:
        raise Refused(f"gnuplot failed: {done.stderr.strip()}")


def available():
    """Return whether gnuplot is installed."""
    return shutil.which("gnuplot") is not None


def draw(rows, folder):
    """Draw the plots that have two points or more; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for clock in CLOCKS:
        figures = by_name(rows, clock)
        for make in (throughput, batches, stalls, scaling):
            plot = make(figures, clock)
            if len(plot.points) < 2:
                continue
            (folder / f"{plot.name}.dat").write_text(plot.data())
            (folder / f"{plot.name}.gp").write_text(plot.script())
            for ending, terminal in TERMINALS.items():
                gnuplot(f"set terminal {terminal}\nset output '{plot.name}.{ending}'\n"
                        + plot.script(), folder)
            drawn.append(plot.name)
    return drawn
