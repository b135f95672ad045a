# SPDX-License-Identifier: GPL-2.0-only
"""Paths, kernels, commands and errors."""

import os
import pathlib
import shutil
import subprocess
import sys
import time
import typing

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent
GUEST_FILES = SCRIPTS / "guest"
SLOWER = 3      # factor of the time limits of a kernel with KASAN

# Kernels by name: the make target that builds each of them.
TARGETS = {"guest": "kernel", "debug": "debug-kernel", "base": "base-kernel",
           "arm64": "arm64-kernel", "riscv64": "riscv64-kernel",
           "riscv64-nohuge": "riscv64-nohuge-kernel", "s390x": "s390x-kernel"}


class Arch(typing.NamedTuple):
    """An architecture: where a build leaves the image, and how to build programs for it."""
    image: str
    kernel_name: str            # what the kernel's make calls it
    cross: str = ""             # the prefix of its compiler
    suites: tuple = ()          # of Debian, if this machine's release lacks packages


ARCHES = {"x86_64": Arch("arch/x86/boot/bzImage", "x86_64", "x86_64-linux-gnu-"),
          "arm64": Arch("arch/arm64/boot/Image", "arm64", "aarch64-linux-gnu-"),
          "riscv64": Arch("arch/riscv/boot/Image", "riscv", "riscv64-linux-gnu-",
                          ("trixie", "forky", "sid")),
          "s390x": Arch("arch/s390/boot/bzImage", "s390", "s390x-linux-gnu-")}


def host_arch():
    """Return our name of this machine's architecture."""
    name = os.uname().machine
    return {"aarch64": "arm64"}.get(name, name)


def host_kernel():
    """Return the name of the kernel for this machine's architecture."""
    return host_arch() if host_arch() in TARGETS else "guest"


def compiler_of(arch):
    """Return the prefix of its compiler, empty for this machine's architecture."""
    return "" if arch == host_arch() else ARCHES[arch].cross


class Refused(Exception):
    """A command cannot be done. The message says why and what to do."""

    def __init__(self, message, code=1):
        super().__init__(message)
        self.code = code


def build_folder():
    """Return the build folder, which the environment variable BUILD names."""
    value = os.environ.get("BUILD")
    if not value:
        raise Refused("BUILD does not name the build folder; call this by `make run`, "
                      "`make test` or `make shell`", 2)
    return pathlib.Path(value).resolve()


def log_folder():
    """Return the folder of the log files, and create it if it does not exist."""
    folder = build_folder() / "log"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Kernel:
    """A built kernel: its image and its modules."""

    def __init__(self, name):
        self.name = name
        is_path = "/" in name or name not in TARGETS and os.path.isdir(name)
        if not is_path and name not in TARGETS:
            raise Refused(f"no kernel is called {name}: there are {', '.join(TARGETS)}, "
                          "or name the folder of a kernel build", 2)
        self.folder = pathlib.Path(name).resolve() if is_path else build_folder() / name
        self.kind = self.folder.name if is_path else name
        self.ours = not is_path
        self.arch = next((name for name, arch in ARCHES.items()
                          if (self.folder / arch.image).exists()), "x86_64")
        self.image = self.folder / ARCHES[self.arch].image
        if not self.image.exists():
            hint = "build it there first" if is_path else f"`make {TARGETS[name]}` builds it"
            raise Refused(f"no kernel image at {self.image}: {hint}", 2)
        self._built = self._stamp()

    def _stamp(self):
        """Return values that change when the image is built again."""
        try:
            there = self.image.stat()
        except OSError:
            return None
        return there.st_mtime_ns, there.st_size, there.st_ino

    @property
    def built_anew(self):
        """True if the image has been built again since this run began."""
        return self._stamp() != self._built

    @property
    def native(self):
        """True if it is for this machine's architecture."""
        return self.arch == host_arch()

    @property
    def slow(self):
        """True if the kernel has KASAN, and so takes several times as long."""
        try:
            return "CONFIG_KASAN=y\n" in (self.folder / ".config").read_text()
        except OSError:
            return False

    @property
    def patience(self):
        """The factor of the time limits on this kernel."""
        return SLOWER if self.slow else 1

    def modules(self):
        """Return the test modules of this build. Older builds may have left others."""
        order = self.folder / "modules.order"
        built = order.read_text().split() if order.exists() else []
        names = ("lib/test_hmm", "lib/test_vma_migrate")
        return [self.folder / f"{name}.ko" for name in names if f"{name}.o" in built]


def say(text):
    """Print a line and flush it, for output to a pipe."""
    print(text, flush=True)


def find_tool(name):
    """Return the path of a program, which may be in a folder that PATH lacks."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def call(command, log, what, cwd=None):
    """Run a command with its output in a log file, which an error message names."""
    start = time.monotonic()
    with open(log, "w", encoding="utf-8") as out:
        out.write("+ " + " ".join(map(str, command)) + "\n")
        out.flush()
        try:
            code = subprocess.call(command, stdout=out, stderr=subprocess.STDOUT, cwd=cwd)
        except FileNotFoundError:
            raise Refused(f"{command[0]} is not installed: `make deps` installs it") from None
    if code:
        tail = log.read_text(errors="replace").splitlines()[-15:]
        sys.stderr.write("".join(f"    {line}\n" for line in tail))
        raise Refused(f"{what} failed (exit status {code}), all of it in {log}")
    return time.monotonic() - start
