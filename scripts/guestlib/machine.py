# SPDX-License-Identifier: GPL-2.0-only
"""The machine: qemu with four NUMA nodes, its disks, its two channels, its end."""

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
BOOT_LIMIT = 300                # seconds until the guest must have said something
PROBE_LIMIT, SILENT_LIMIT = 8, 3
# A string move is emulated byte by byte.
CPU = "max,-erms,-fsrm"
OFTEN = "panic=-1 oops=panic printk.devkmsg=on"
# Without tsc=reliable the kernel takes the emulated TSC for unsynchronized and reads the
# time from the HPET, a device: a third of what a guest with KASAN did.
CONSOLE = f"console=ttyS0 no_timer_check tsc=reliable {OFTEN} unknown_nmi_panic"
# identify_cpu() forgets for an instant that page tables have five levels, and an
# interrupt that comes then looks like a wild access to KASAN.
DEBUG_WORDS = "no5lvl page_owner=on"
WORDS = "kunit.enable=1 sysctl.kernel.hung_task_timeout_secs=60 rcupdate.rcu_cpu_stall_timeout=60"

# The disks of a run: name, MiB, the command that formats the file.
DISKS = (
    ("swap", 512, ["mkswap", "--quiet", "--label", "guest"]),
    ("ext4", 512, ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,nodiscard"]),
    ("xfs", 320, ["mkfs.xfs", "-q", "-f"]),
)


def make_disks(folder):
    """Sparse files, formatted; returns (name, path) of each."""
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
    """The qemu accelerator that has been seen to boot this kernel."""
    if not kernel.native:
        return "tcg"
    return "kvm" if probe_kvm(kernel)[0] else "tcg"


class Model:
    """What qemu models a machine of an architecture by."""

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
        """How much memory there is, without a node of slower memory."""
        return self.nodes * NODE_MIB if self.nodes > 1 else 2 * NODE_MIB


# A machine of s390x has no nodes, and its devices are on channels. The older
# interrupt controller of riscv64 is good for one socket, in qemu 7.2.
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
    """The start of the qemu command line: the program, how it runs, on what hardware."""
    model = MODELS[kernel.arch]
    kvm = accelerator(kernel) == "kvm"
    return [model.program, "-accel", "kvm" if kvm else "tcg,thread=multi",
            *hardware(model, slow_node, kvm=kvm)]


def probe_kvm(kernel):
    """(whether KVM boots this kernel, why not).

    Asked once for each image; a host where nothing at all came from the guest
    is not asked again until it is rebooted.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False, "/dev/kvm cannot be opened"
    notes = build_folder() / "user"
    notes.mkdir(parents=True, exist_ok=True)
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    silent = notes / f"kvm-silent-{boot}"
    note = notes / f"kvm-{hashlib.sha256(kernel.image.read_bytes()).hexdigest()[:16]}"
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
    (note if said else silent).write_text(answer + "\n")
    return answer == "yes", answer


def _probe_boot(kernel):
    """Boot under KVM as far as the search for a root file system; what the console says."""
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
        ending.ends(process)
    return said.decode(errors="replace")


def hardware(model=MODELS["x86_64"], slow_node=False, ram="", kvm=False):
    """Four CPUs and, where the machine has nodes, one of them and memory in each; a balloon.

    There is room for more memory where the machine takes it. A fifth node, of
    memory alone that is slower, is there on demand, and so are more properties
    of the nodes' memory.
    """
    sockets = f",sockets={NODES},cores=1,threads=1" if model.nodes == NODES else ""
    size = f"size={model.mib + slow_node * NODE_MIB}M"
    room = f",slots={SLOTS},maxmem={MAX_MIB}M" if model.hotplug else ""
    # The interrupt controller is that of the host where it is no model.
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
    """What firmware says about how fast each CPU gets at the memory of each node."""
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
    """The disks."""
    args = []
    for name, path in disks:
        args += ["-drive", f"file={path},if=none,id={name},format=raw,cache=unsafe,discard=unmap",
                 "-device", f"virtio-blk-{bus},drive={name},serial={name}"]
    return args


class Scratch:
    """A folder that goes away with the guest that it belongs to.

    It is locked while it is in use; what a run has left behind that was killed is
    not, and the next one removes it.
    """

    def __init__(self, where):
        where.mkdir(parents=True, exist_ok=True)
        with ending.alone("tmp"):
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
        """Remove it."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


class Guest:
    """One boot of a kernel; the caller writes its `initramfs` before."""

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
        """The qemu command line."""
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
        """Boot, with the console and the results going to files of their own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        console, results = self.folder / "console.log", self.folder / "results.log"
        # Anew: a guest of an earlier run that was killed may still write to the old ones.
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
        """Boot with the console on the terminal; returns when the guest is off."""
        self.process = ending.spawn(self.command("shell", ["-serial", "mon:stdio"]))
        return self.process.wait()

    def poll(self):
        """The new lines of the results; the console is scanned on the way.

        Returns None when the guest is off and everything has been read.
        """
        off = self.process.poll() is not None
        self.poll_console(off)
        lines = self._readers[1].read(off)
        if off and not lines:
            return None
        return lines

    def poll_console(self, last=False):
        """Scan what the console has said since the last call."""
        for line in self._readers[0].read(last):
            self.scanner.feed(line)

    def inflate(self, mib):
        """Take memory from the guest by its balloon."""
        self._tell(f"balloon {self.model.mib - mib}")

    def kill(self, grace=5):
        """End a guest that hangs; its console's log gets a trace of where it is."""
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
        """End the guest if it still runs; its disks go away."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        ending.ends(self.process)
        self._scratch_holder.close()


class Lines:
    """Follows a file that grows, line by line."""

    def __init__(self, path):
        self._file = open(path, "rb")
        self._rest = b""

    def read(self, last=False):
        """The complete lines since the last call; with `last`, what is left as well."""
        data = self._rest + self._file.read()
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if last and self._rest:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode(errors="replace").rstrip("\r") for line in lines]
