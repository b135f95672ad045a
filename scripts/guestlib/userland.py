# SPDX-License-Identifier: GPL-2.0-only
"""The guest's user space: test programs, the demo, and its root file system."""

import os
import pathlib
import re
import shutil
import stat
import subprocess

from . import ending, suites
from .common import (ARCHES, GUEST_FILES, SCRIPTS, Refused, build_folder, call, compiler_of,
                     find_tool, host_arch, log_folder, say)

SELFTESTS = "tools/testing/selftests/mm"
# Debian programs that the guest uses besides busybox. A missing one is an error.
PROGRAMS = ("numactl", "migratepages")
FOLDERS = ("bin", "usr", "usr/bin", "lib", "lib64", "dev", "proc", "sys", "tmp", "run", "etc",
           "mnt", "t", "t/modules", "root")


class Cpio:
    """Writes an archive that the kernel unpacks as its root file system ("newc").

    cpio cannot add a device node without being root, and gen_init_cpio has to be built.
    """

    def __init__(self, path):
        self._out = open(path, "wb")
        self._inode = 0
        self._names = set()

    def _entry(self, name, mode, data=b"", device=(0, 0)):
        if name in self._names:
            return
        self._names.add(name)
        self._inode += 1
        raw = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(raw), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        self._out.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    def folder(self, name):
        """Add a folder and its parents."""
        parts = name.strip("/").split("/")
        for count in range(1, len(parts) + 1):
            self._entry("/".join(parts[:count]), stat.S_IFDIR | 0o755)

    def file(self, name, source, mode=0o755):
        """Add a file with the contents of a file of the host."""
        self.data(name, pathlib.Path(source).read_bytes(), mode)

    def data(self, name, data, mode=0o644):
        """Add a file with these contents."""
        name = name.strip("/")
        if "/" in name:
            self.folder(name.rsplit("/", 1)[0])
        self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        """Add a symbolic link."""
        self._entry(name.strip("/"), stat.S_IFLNK | 0o777, target.encode())

    def console(self):
        """Add the device that init needs before it has mounted anything."""
        self._entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))

    def close(self):
        """End the archive."""
        self._entry("TRAILER!!!", 0)
        self._out.write(b"\0" * (-self._out.tell() % 512))
        self._out.close()


def libraries(program):
    """Return the shared libraries that a program is linked with."""
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    return re.findall(r"(/\S+) \(0x", done.stdout) if done.returncode == 0 else []


def unwinder():
    """Return the library that glibc loads when a thread is cancelled, if found."""
    tool = find_tool("ldconfig")
    if not tool:
        return ""
    cache = subprocess.run([tool, "-p"], capture_output=True, text=True, check=False)
    kind = {"x86_64": "libc6,x86-64", "arm64": "libc6,AArch64"}.get(host_arch(), "libc6")
    found = re.search(rf"libgcc_s\.so\.1 \({kind}[^)]*\) => (\S+)", cache.stdout)
    return found.group(1) if found else ""


def need(name):
    """Return the path of a program of the distribution."""
    path = shutil.which(name)
    if not path:
        raise Refused(f"{name} is not installed: `make deps` installs it")
    return path


def jobs():
    """Return make's option for the number of jobs."""
    return f"-j{os.cpu_count() or 1}"


def own_programs(source):
    """Return the names of the project's own selftest programs."""
    return sorted(path.stem for path in (source / SELFTESTS).glob("migrate*.c")
                  if "int main(" in path.read_text(errors="replace")
                  or "TEST_HARNESS_MAIN" in path.read_text(errors="replace"))


def build_headers(source, out, arch):
    """Install the kernel's headers for user space; return their folder."""
    out.mkdir(parents=True, exist_ok=True)
    call(["make", "-s", "-C", str(source), f"O={out}", f"ARCH={ARCHES[arch].kernel_name}",
          "headers"],
         log_folder() / "headers.log", "installing the headers")
    return out / "usr/include"


def build_selftests(source, names, out, arch):
    """Build the kernel's mm selftests of these names, with their Makefile.

    For another architecture they are linked statically, with only the C library.
    """
    out.mkdir(parents=True, exist_ok=True)
    headers = build_headers(source, out.parent / "headers", arch)
    libs, how = "-lrt -lpthread -lm", []
    if arch != host_arch():
        how = [f"ARCH={ARCHES[arch].kernel_name}", f"CROSS_COMPILE={compiler_of(arch)}",
               "LDFLAGS=-static"]
    else:
        libs += " -lnuma"
        if pathlib.Path("/usr/include/liburing.h").exists():
            libs += " -luring"
    return call(
        ["make", jobs(), "-k", "-C", str(source / SELFTESTS), f"OUTPUT={out}", *how,
         "TEST_GEN_MODS_DIR=", "TEST_GEN_FILES=" + " ".join(f"{out}/{n}" for n in names),
         f"KHDR_INCLUDES=-isystem {headers}", f"LDLIBS={libs}", "all"],
        log_folder() / "selftests.log", "building the selftests")


def build_demo(out):
    """Build the demonstration program."""
    source, program = GUEST_FILES / "demo.c", out / "demo"
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    call(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source), "-lnuma"],
         log_folder() / "demo.log", "building the demo")
    return program


def build(source, quiet=False, demo_only=False, arch=None):
    """Build all programs; return the path of each by its name in the guest."""
    with ending.hold_lock("user"):
        return build_locked(source, quiet, demo_only, arch or host_arch())


def build_locked(source, quiet, demo_only, arch):
    """Build all programs, with the lock held."""
    out = build_folder() / ("user" if arch == host_arch() else f"user-{arch}")
    out.mkdir(parents=True, exist_ok=True)
    programs = {"demo": build_demo(out)} if arch == host_arch() else {}
    if demo_only:
        return programs
    if not (source / SELFTESTS).is_dir():
        raise Refused(f"no kernel source at {source}: `make kernel` lays it out")
    names = set(own_programs(source))
    if arch == host_arch():
        names |= set(suites.programs(source / SELFTESTS))
    names = sorted(names)
    seconds = build_selftests(source, names, out / "mm", arch)
    if not quiet:
        say(f"built {len(names)} test programs in {seconds:.0f} s")
    programs.update({name: out / "mm" / name for name in names})
    return programs


def foreign_busybox(arch):
    """Return Debian's static busybox for another architecture."""
    found = build_folder() / f"user-{arch}/busybox/bin/busybox"
    # If /bin is a link into /usr, packages have their programs there.
    merged = found.parents[1] / "usr/bin/busybox"
    if not found.exists() and not merged.exists():
        call([SCRIPTS / "package.sh", "busybox-static", found.parents[1], arch, *ARCHES[arch].suites],
             log_folder() / "busybox.log", f"fetching busybox for {arch}")
    return found if found.exists() else merged


def base_archive(path, programs, arch=None):
    """Write the root file system, without the files of a single run."""
    arch = arch or host_arch()
    archive = Cpio(path)
    for name in FOLDERS:
        archive.folder(name)
    archive.console()
    archive.file("bin/busybox", need("busybox") if arch == host_arch() else foreign_busybox(arch))
    archive.file("init", GUEST_FILES / "init")
    archive.file("t/runner", GUEST_FILES / "runner")
    archive.data("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    archive.data("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    everything = {f"t/{name}": path for name, path in programs.items()}
    found = set()
    if arch == host_arch():
        everything.update({f"usr/bin/{name}": need(name) for name in PROGRAMS})
        # The busybox of some machines is not linked statically.
        linked = [*everything.values(), need("busybox")]
        found = {lib for p in linked for lib in libraries(p)} | {unwinder()}
    for name, program in everything.items():
        archive.file(name, program)
    for library in sorted(found - {""}):
        archive.file(library, os.path.realpath(library))
    archive.close()


def initramfs(path, kernel, programs, plan=""):
    """Write the root file system for a boot of a kernel."""
    base_archive(path, programs, kernel.arch)
    extra = Cpio(f"{path}.run")
    for module in kernel.modules():
        extra.file(f"t/modules/{module.name}", module, 0o644)
    extra.data("t/plan", plan.encode())
    extra.close()
    with open(path, "ab") as out, open(f"{path}.run", "rb") as more:
        shutil.copyfileobj(more, out)
    os.unlink(f"{path}.run")
    return path
