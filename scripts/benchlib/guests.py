# SPDX-License-Identifier: GPL-2.0-only
"""Guests that count instructions, that run on real CPUs, or that are UML kernels."""

import os
import subprocess
import tempfile
import time

from guestlib import ending, klog, machine, userland
from guestlib.common import GUEST_FILES, Refused, build_folder, call, log_folder

# A tick of the guest's clock is an instruction. The same boot gives equal numbers.
INSN = ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-seed", "1",
        "-rtc", "base=2026-01-01,clock=vm"]
WALL = ["-accel", "tcg,thread=multi"]
WALL_RAM = ",prealloc=on"       # no workload waits for memory of the host
# No unit tests, no randomness.
WORDS = "kunit.enable=0 norandmaps quiet"
LOW_MIB, HIGH_MIB, SPLIT_MIB = 2048, 4096, 2816     # layout of the q35 machine
BOOT_LIMIT, ANSWER_LIMIT = 300, 600
NATIVE_MEMORY = "1600M"
NATIVE_TMP = "/dev/shm"         # UML has its memory in a file, which should be in RAM
NATIVE_WORDS = "quiet con=null con0=fd:0,fd:1 ssl=null"
SOURCE = GUEST_FILES.parent.parent / "tools/testing/migrate/bench"
DONE = "# bench: done"


def build_program():
    """Build migrate_bench; return its path."""
    out = build_folder() / "user" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    base = os.environ.get("BASE_SRC")
    if not base:
        raise Refused("BASE_SRC does not name the base's tree; call this by `make bench`", 2)
    call(["make", "-s", "-C", str(SOURCE), f"O={out}", f"CPPFLAGS=-I{base}/lib"],
         log_folder() / "bench-program.log", "building migrate_bench")
    return out / "migrate_bench"


def contiguous_range():
    """Return the kernel parameter to use three quarters of the last node for CMA.

    That is more than half of the node's free memory, so the kernel puts movable
    memory into it first.
    """
    total, start = machine.NODES * machine.NODE_MIB, (machine.NODES - 1) * machine.NODE_MIB
    if total >= SPLIT_MIB and start >= LOW_MIB:
        start += HIGH_MIB - LOW_MIB
    start += machine.NODE_MIB // 16
    size = machine.NODE_MIB // 4 * 3
    return f"cma={size}M@{start}M"


def begin_root(path, init, program):
    """Begin a root file system with what all guests need; the caller closes it."""
    archive = userland.Cpio(path)
    for name in userland.FOLDERS:
        archive.folder(name)
    archive.console()
    archive.file("bin/busybox", userland.need("busybox"))
    archive.file("init", GUEST_FILES / init)
    archive.file("t/migrate_bench", program)
    return archive


def write_root(path, kernel, program, plan):
    """Write the root file system of a guest in qemu."""
    archive = begin_root(path, "init", program)
    archive.file("t/bench", GUEST_FILES / "bench")
    for module in kernel.modules():
        archive.file(f"t/modules/{module.name}", module, 0o644)
    archive.data("t/bench.plan", plan.encode())
    archive.close()


class BenchGuest(machine.Guest):
    """A guest whose results come through a serial port.

    A write to the port ends with the guest's instruction. So the host's timing has
    no effect on a guest that counts instructions.
    """

    def __init__(self, kernel, folder, accel, append=""):
        super().__init__(kernel, folder, f"{WORDS} {append}")
        self.accel = accel
        self.version = ""

    def command(self, mode, channels):
        """Return the qemu command line."""
        ram = "" if self.accel is INSN else WALL_RAM
        return ["qemu-system-x86_64", *self.accel, *machine.hardware(ram=ram),
                *self._ports(channels), "-display", "none", "-no-reboot",
                "-kernel", str(self.kernel.image), "-initrd", str(self.initramfs),
                "-append", f"{machine.CONSOLE} guest={mode} {self.append}"]

    def _ports(self, channels):
        """Return the channels, with a serial port in place of the virtio port."""
        ports = []
        for flag, value in zip(channels[::2], channels[1::2]):
            if value.startswith("virtserialport"):
                ports += ["-serial", "chardev:results"]
            elif not value.startswith("virtio-serial"):
                ports += [flag, self._channel(value)]
        return ports

    def _channel(self, value):
        return value

    def take(self, lines):
        """Record the kernel's version; return the lines of workloads."""
        for line in lines:
            if line.startswith("# bench: ") and line != DONE:
                self.version = line[len("# bench: "):]
        return [line for line in lines if line and not line.startswith("#")]

    def complaints(self):
        """Return the kernel's reports as text."""
        return ["\n".join(f.lines) for f in self.scanner.findings]

    def follow(self, limit):
        """Return the lines of an answer. Fail if the guest ends or is too slow."""
        deadline, found = time.monotonic() + limit, []
        while (lines := self.poll()) is not None:
            found += self.take(lines)
            if DONE in lines:
                return found
            if time.monotonic() > deadline:
                self.kill()
                raise Refused(f"the guest gave no answer for {limit} s; its console is in "
                              f"{self.folder / 'console.log'}")
            if not lines:
                time.sleep(0.01)
        raise Refused(f"the guest stopped; its console is in {self.folder / 'console.log'}")


class WallGuest(BenchGuest):
    """A guest that reads names of workloads, and is halted while it waits."""

    def __init__(self, kernel, program, folder):
        super().__init__(kernel, folder, WALL)
        write_root(self.initramfs, kernel, program, "")
        self._pipe = None

    def start(self, mode):
        """Boot, and halt the guest when it waits for a name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        names, answers = self.folder / "port.in", self.folder / "port.out"
        for path in (names, answers):
            path.unlink(missing_ok=True)
        os.mkfifo(names)
        answers.symlink_to("results.log")
        self._pipe = open(os.open(names, os.O_RDWR), "w", encoding="utf-8")
        super().start(mode)
        deadline = time.monotonic() + BOOT_LIMIT
        while not self.version:
            self.take(self.poll() or [])
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Refused(f"the guest does not boot; {self.folder / 'console.log'}")
            time.sleep(0.05)
        self._tell("stop")

    def _channel(self, value):
        if value.startswith("file,id=results"):
            return f"pipe,id=results,path={self.folder / 'port'}"
        return value

    def ask(self, name):
        """Run a workload once; return the lines of the answer."""
        self._tell("cont")
        self._pipe.write(name + "\n")
        self._pipe.flush()
        try:
            return self.follow(ANSWER_LIMIT)
        finally:
            self._tell("stop")

    def close(self):
        """End the guest."""
        super().close()
        if self._pipe:
            self._pipe.close()


class NativeGuest:
    """A User Mode Linux kernel, which boots once for each visit."""

    def __init__(self, image, program):
        self.image = image
        self.program = program
        self.version = ""
        self.scanner = klog.Scanner()

    def visit(self, names):
        """Boot, run each workload once, and halt; return the lines they print."""
        with tempfile.TemporaryDirectory(prefix="native-", dir=build_folder()) as folder:
            root = f"{folder}/root.cpio"
            begin_root(root, "native", self.program).close()
            words = [f"mem={NATIVE_MEMORY}", f"initrd={root}", *NATIVE_WORDS.split()]
            plan = f'plan="-r 1 {" ".join(names)}"'
            said = self._run([self.image, *words, plan], folder)
        return self._take(said.splitlines())

    def _run(self, command, folder):
        """Run the kernel to its end; return its output."""
        with ending.spawn(command, cwd=folder, env={**os.environ, "TMPDIR": NATIVE_TMP},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as process:
            try:
                return process.communicate(timeout=ANSWER_LIMIT)[0]
            except subprocess.TimeoutExpired:
                raise Refused(f"{self.image} gave no answer for {ANSWER_LIMIT} s") from None
            finally:
                process.kill()
                ending.forget(process)

    def _take(self, lines):
        """Return the lines of the workloads. Pass all lines to the scanner."""
        if DONE not in lines:
            raise Refused(f"{self.image} stopped: " + " | ".join(lines[-5:]))
        for line in lines:
            self.scanner.feed(line)
            if line.startswith("# bench: ") and line != DONE:
                self.version = line[len("# bench: "):]
        return [line for line in lines if line.startswith(("sample ", "skip ", "error "))]

    def complaints(self):
        """Return the kernel's reports as text."""
        return ["\n".join(f.lines) for f in self.scanner.findings]


def count_instructions(side, kernel, program, boot, names):
    """Boot a guest that counts instructions; return its lines and the guest."""
    guest = BenchGuest(kernel, log_folder() / "bench" / f"{side}-{boot}", INSN,
                       contiguous_range() if boot == "cma" else "")
    try:
        write_root(guest.initramfs, kernel, program, "-i " + " ".join(names))
        guest.start("bench")
        lines = guest.follow(BOOT_LIMIT + ANSWER_LIMIT * len(names))
        guest.poll_console()
    finally:
        guest.close()
    return lines, guest
