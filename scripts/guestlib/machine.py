# SPDX-License-Identifier: GPL-2.0-only
"""The guest's machine: qemu with four NUMA nodes, disks and two output channels."""

import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from . import ending, klog
from .common import Refused, build_folder, call, find_tool, log_folder

NODES = 4
NODE_MIB = 1024
SLOTS, MAX_MIB = 4, 8192
BOOT_LIMIT = 300                # seconds until the guest must have printed something
PROBE_LIMIT, SILENT_LIMIT = 8, 3
# With these flags the kernel uses string moves, which are emulated byte by byte.
CPU = "max,-erms,-fsrm"
OFTEN = "panic=-1 oops=panic printk.devkmsg=on"
# Without tsc=reliable the kernel assumes that the emulated TSC is unsynchronized,
# and reads the time from the HPET, a device. That took a third of the time of a
# guest with KASAN.
CONSOLE = f"console=ttyS0 no_timer_check tsc=reliable {OFTEN} unknown_nmi_panic"
# identify_cpu() clears the CPU flag of five-level page tables for an instant. KASAN
# then reports a wild access in an interrupt.
DEBUG_WORDS = "no5lvl page_owner=on"
WORDS = "kunit.enable=1 sysctl.kernel.hung_task_timeout_secs=60 rcupdate.rcu_cpu_stall_timeout=60"

# The disks of a run: name, MiB, the command that formats the file.
DISKS = (
    ("swap", 512, ["mkswap", "--quiet", "--label", "guest"]),
    ("ext4", 512, ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,nodiscard"]),
    ("xfs", 320, ["mkfs.xfs", "-q", "-f"]),
)


def make_disks(folder):
    """Make and format sparse files; return (name, path) of each."""
    made = []
    for name, size, command in DISKS:
        tool = find_tool(command[0])
        if not tool:
            raise Refused(f"{command[0]} is not installed: `make deps` installs it")
        path = folder / f"{name}.img"
        with open(path, "wb") as image:
            image.truncate(size << 20)
        call([tool, *command[1:], str(path)], log_folder() / f"disk-{name}.log",
             f"formatting the {name} disk")
        made.append((name, path))
    return made


def accelerator(kernel):
    """Return the qemu accelerator that boots this kernel."""
    if not kernel.native:
        return "tcg"
    return "kvm" if probe_kvm(kernel)[0] else "tcg"


class Model:
    """The qemu machine for an architecture."""

    def __init__(self, program, machine, cpu, console, **other):
        self.program = program
        self.machine = machine
        self.cpu = cpu
        self.console = console
        self.bus = other.get("bus", "pci")
        self.nodes = other.get("nodes", NODES)
        self.hotplug = other.get("hotplug", True)

    @property
    def mib(self):
        """The size of the memory, without a node of slower memory."""
        return self.nodes * NODE_MIB if self.nodes > 1 else 2 * NODE_MIB


# An s390x machine has no nodes, and its devices are on channels. In qemu 7.2, the
# older interrupt controller of riscv64 supports only one socket.
MODELS = {
    "x86_64": Model("qemu-system-x86_64", "q35", CPU, CONSOLE),
    "arm64": Model("qemu-system-aarch64", "virt,gic-version=3", "neoverse-n1",
                   f"console=ttyAMA0 {OFTEN}"),
    "riscv64": Model("qemu-system-riscv64", "virt,aia=aplic-imsic", "rv64",
                     f"console=ttyS0 {OFTEN}", hotplug=False),
    "s390x": Model("qemu-system-s390x", "s390-ccw-virtio", "max", f"console=ttysclp0 {OFTEN}",
                   bus="ccw", nodes=1, hotplug=False),
}


def emulator(kernel, slow_node=False):
    """Return the start of the qemu command line: program, accelerator, hardware."""
    model = MODELS[kernel.arch]
    kvm = accelerator(kernel) == "kvm"
    return [model.program, "-accel", "kvm" if kvm else "tcg,thread=multi",
            *hardware(model, slow_node, kvm=kvm)]


def probe_kvm(kernel):
    """Return (whether KVM boots this kernel, why not).

    KVM is tried once for each image. If the guest prints nothing at all, KVM is not
    tried again until the host reboots.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False, "/dev/kvm cannot be opened"
    notes = build_folder() / "user"
    notes.mkdir(parents=True, exist_ok=True)
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    silent = notes / f"kvm-silent-{boot}"
    digest = hashlib.sha256(kernel.image.read_bytes()).hexdigest()[:16]
    note = notes / f"kvm-{kernel.kind}-{digest}"
    for known in (silent, note):
        if known.exists():
            answer = known.read_text().strip()
            return answer == "yes", answer
    said = _probe_boot(kernel)
    if not said:
        answer = "nothing comes from a guest under KVM on this host"
    elif "Unable to mount root fs" in said and f"Brought up {NODES} nodes" in said:
        answer = "yes"
    else:
        answer = "KVM does not bring this kernel up"
    for old in notes.glob(f"kvm-{kernel.kind}-" + "?" * len(digest)):
        old.unlink(missing_ok=True)
    (note if said else silent).write_text(answer + "\n")
    return answer == "yes", answer


def _probe_boot(kernel):
    """Boot with KVM until the kernel looks for its root; return the output."""
    model = MODELS[kernel.arch]
    command = [model.program, "-accel", "kvm", *hardware(model, kvm=True), "-kernel",
               str(kernel.image), "-append", f"{model.console} panic=-1", "-no-reboot",
               "-display", "none", "-serial", "stdio", "-monitor", "none"]
    said = b""
    with tempfile.TemporaryFile() as console:
        if not shutil.which(command[0]):
            return ""
        process = ending.spawn(command, stdin=subprocess.DEVNULL, stdout=console,
                               stderr=subprocess.DEVNULL)
        start = time.monotonic()
        while process.poll() is None and time.monotonic() - start < PROBE_LIMIT:
            time.sleep(0.1)
            said = os.pread(console.fileno(), 1 << 20, 0)
            if not said and time.monotonic() - start > SILENT_LIMIT:
                break
        process.kill()
        process.wait()
        ending.forget(process)
    return said.decode(errors="replace")


def hardware(model=MODELS["x86_64"], slow_node=False, ram="", kvm=False):
    """Return qemu's options for four CPUs, memory and a balloon.

    If the machine has nodes, each has a CPU and memory. More memory can be plugged
    if the machine supports that. With slow_node, there is a fifth node of slower
    memory, without a CPU. The options in ram apply to the memory of each node.
    """
    sockets = f",sockets={NODES},cores=1,threads=1" if model.nodes == NODES else ""
    size = f"size={model.mib + slow_node * NODE_MIB}M"
    room = f",slots={SLOTS},maxmem={MAX_MIB}M" if model.hotplug else ""
    # With KVM, the interrupt controller is that of the host.
    machine = re.sub("gic-version=[^,]*", "gic-version=host", model.machine) if kvm else model.machine
    args = ["-machine", machine + (",hmat=on" if slow_node else ""), "-nodefaults",
            "-cpu", "host" if kvm else model.cpu, "-smp", f"{NODES}{sockets}", "-m", size + room]
    for node in range(model.nodes + slow_node if model.nodes > 1 else 0):
        owner = f"cpus={node}" if node < NODES else "initiator=0"
        args += ["-object", f"memory-backend-ram,id=ram{node},size={NODE_MIB}M{ram}",
                 "-numa", f"node,nodeid={node},{owner},memdev=ram{node}"]
    return args + (speeds(NODES + 1) if slow_node else []) + \
        ["-device", f"virtio-balloon-{model.bus},id=balloon"]


def speeds(nodes):
    """Return qemu's options for the latency and bandwidth that firmware reports."""
    args = []
    for initiator in range(NODES):
        for target in range(nodes):
            near = target == initiator
            latency, width = (300, 4) if target == NODES else (10 if near else 20, 16)
            for kind in (f"access-latency,latency={latency}",
                         f"access-bandwidth,bandwidth={width}G"):
                args += ["-numa", f"hmat-lb,initiator={initiator},target={target},"
                                  f"hierarchy=memory,data-type={kind}"]
    return args


def devices(disks, bus):
    """Return qemu's options for the disks."""
    args = []
    for name, path in disks:
        args += ["-drive", f"file={path},if=none,id={name},format=raw,cache=unsafe,discard=unmap",
                 "-device", f"virtio-blk-{bus},drive={name},serial={name}"]
    return args


class Scratch:
    """A folder that is removed with its guest.

    It is locked while it is in use. A run that was killed leaves its folders behind
    without a lock, and the next run removes them.
    """

    def __init__(self, where):
        where.mkdir(parents=True, exist_ok=True)
        with ending.hold_lock("tmp"):
            for left in where.glob("guest-*"):
                self._remove_left(left)
            self.path = pathlib.Path(tempfile.mkdtemp(prefix="guest-", dir=where))
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    @staticmethod
    def _remove_left(folder):
        try:
            lock = os.open(folder, os.O_RDONLY)
        except OSError:
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)

    def close(self):
        """Remove the folder."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


class Guest:
    """A boot of a kernel. The caller must write `initramfs` first."""

    def __init__(self, kernel, folder, append="", slow_node=False):
        self.kernel = kernel
        self.model = MODELS[kernel.arch]
        self.folder = folder
        self.append = append
        self.slow_node = slow_node
        self.scanner = klog.Scanner()
        self.process = None
        self._readers = []
        self._scratch_holder = Scratch(build_folder() / "tmp")
        self._scratch = self._scratch_holder.path
        self.initramfs = self._scratch / "root.cpio"

    def command(self, mode, channels):
        """Return the qemu command line."""
        words = f"{WORDS} PATIENCE={self.kernel.patience}"
        if self.kernel.slow:
            words += f" {DEBUG_WORDS}"
        return [*emulator(self.kernel, self.slow_node),
                *devices(make_disks(self._scratch), self.model.bus), *channels,
                "-display", "none", "-no-reboot",
                "-kernel", str(self.kernel.image), "-initrd", str(self.initramfs),
                "-append", f"{self.model.console} {words} guest={mode} {self.append}"
                + (" quiet" if mode == "shell" else "")]

    def start(self, mode):
        """Boot. The console and the results go to separate files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        console, results = self.folder / "console.log", self.folder / "results.log"
        # Make new files: the guest of a killed run may still write to the old ones.
        for path in (console, results):
            path.unlink(missing_ok=True)
            path.write_bytes(b"")
        channels = ["-chardev", f"file,id=console,path={console}", "-serial", "chardev:console",
                    "-chardev", f"file,id=results,path={results}",
                    "-device", f"virtio-serial-{self.model.bus}",
                    "-device", "virtserialport,chardev=results,name=results",
                    "-chardev", "stdio,id=monitor,signal=off", "-monitor", "chardev:monitor"]
        errors = open(self.folder / "qemu.log", "wb")
        with errors:
            self.process = ending.spawn(self.command(mode, channels), stdin=subprocess.PIPE,
                                        stdout=errors, stderr=errors)
        self._readers = [Lines(console), Lines(results)]

    def shell(self):
        """Boot with the console on the terminal; return when the guest is off."""
        self.process = ending.spawn(self.command("shell", ["-serial", "mon:stdio"]))
        return self.process.wait()

    def poll(self):
        """Scan the console, and return the new lines of the results.

        Return None if the guest is off and everything has been read.
        """
        off = self.process.poll() is not None
        self.poll_console(off)
        lines = self._readers[1].read(off)
        if off and not lines:
            return None
        return lines

    def poll_console(self, last=False):
        """Scan the lines of the console since the last call."""
        for line in self._readers[0].read(last):
            self.scanner.feed(line)

    def inflate(self, mib):
        """Set the size of the guest's balloon."""
        self._tell(f"balloon {self.model.mib - mib}")

    def kill(self, grace=5):
        """End a guest that hangs. An NMI makes it print a trace to the console first."""
        self.poll_console()
        self.scanner.closed = True
        self._tell("nmi")
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.1)
        self.process.kill()
        self.process.wait()
        while self.poll() is not None:
            pass

    def _tell(self, command):
        try:
            self.process.stdin.write(f"{command}\n".encode())
            self.process.stdin.flush()
        except OSError:
            pass

    def close(self):
        """End the guest if it still runs, and remove its disks."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        ending.forget(self.process)
        self._scratch_holder.close()


class Lines:
    """Read the lines of a file that grows."""

    def __init__(self, path):
        self._file = open(path, "rb")
        self._rest = b""

    def read(self, last=False):
        """Return the new complete lines; if `last`, also an incomplete one."""
        data = self._rest + self._file.read()
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if last and self._rest:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode(errors="replace").rstrip("\r") for line in lines]
