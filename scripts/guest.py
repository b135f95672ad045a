#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Boot a kernel in a machine with four NUMA nodes, for a demo, tests or a shell.

virtme-ng boots the host's root file system. This guest is the same on each host, and
has disks of its own, a fifth node, a balloon, and foreign architectures.
"""

import argparse
import contextlib
import os
import pathlib
import sys
import time

sys.dont_write_bytecode = True      # nothing is written into the checkout

from guestlib import ending, machine, selfcheck, suites, testrun, userland
from guestlib.common import Kernel, Refused, build_folder, host_kernel, log_folder, say

RUN_LIMIT = 300


def source_tree():
    """Return the path of the patched kernel tree."""
    return build_folder() / "src"


def run(args):
    """Run the demonstration."""
    kernel = Kernel(args.kernel or host_kernel())
    programs = userland.build(source_tree(), demo_only=True)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    guest = machine.Guest(kernel, log_folder() / "run", f"colour={int(colour)}")
    say(f"Booting {kernel.image} ({machine.accelerator(kernel)}, "
        f"{machine.NODES} nodes of {machine.NODE_MIB} MiB)")
    try:
        userland.initramfs(guest.initramfs, kernel, programs)
        guest.start("run")
        code = follow_demo(guest)
    finally:
        guest.close()
    for finding in guest.scanner.findings:
        code = code or 1
        say("The kernel complained:\n" + "\n".join(f"  | {line}" for line in finding.lines))
    return code


def follow_demo(guest):
    """Print the output of the demonstration; return its exit status."""
    code, deadline = None, time.monotonic() + RUN_LIMIT
    while (lines := guest.poll()) is not None:
        for line in lines:
            if line.startswith("# guest: done "):
                code = int(line.split()[3])
            else:
                say(line)
        if time.monotonic() > deadline:
            guest.kill()
            break
        time.sleep(0.05)
    if code is None:
        say("The guest stopped before the end. The last lines of its console:")
        say("\n".join(f"  | {line}" for line in guest.scanner.last))
        code = 1
    if code:
        say(f"Failed; the console's log is {guest.folder / 'console.log'}")
    return code


def test(args):
    """Run the tests."""
    tests = suites.select(suites.load(userland.own_programs(source_tree())), args.match)
    for one in tests:
        one.last(args.stress)
    if args.list:
        for one in tests:
            say(f"{one.name:44} {one.kernel:6} {one.seconds:4} s  {one.command}")
        return 0
    kernels = [Kernel(name) for name in args.kernel or ("guest", "debug")]
    return testrun.run(kernels, tests, source_tree(), args.until)


def check(args):
    """Check that the runner and the tests notice failures."""
    return selfcheck.run(Kernel(args.kernel or host_kernel()), source_tree(), args.until)


def shell(args):
    """Open a shell in the guest."""
    kernel = Kernel(args.kernel or host_kernel())
    source = source_tree()
    tests = source.is_dir()
    programs = userland.build(source, quiet=True, demo_only=not tests)
    guest = machine.Guest(kernel, log_folder() / "shell")
    try:
        userland.initramfs(guest.initramfs, kernel, programs)
        return guest.shell()
    finally:
        guest.close()


def probe(args):
    """Print whether KVM boots the kernel."""
    good, why = machine.probe_kvm(Kernel(args.kernel or host_kernel()))
    say("kvm: it boots this kernel" if good else f"tcg: {why}")
    return 0


def programs_only(_args):
    """Build the programs and the root file system."""
    programs = userland.build(source_tree())
    path = build_folder() / "user" / "root.cpio"
    userland.base_archive(path, programs)
    say(f"{path}: {path.stat().st_size >> 20} MiB, {len(programs)} programs")
    return 0


def parse():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function, lock, words in (
            ("run", run, "run", "show page migration at work"),
            ("test", test, "test", "run the tests"),
            ("selfcheck", check, "test", "does the runner notice failures?"),
            ("shell", shell, "", "a prompt in the guest"),
            ("probe-kvm", probe, "", "does KVM boot this kernel?"),
            ("userland", programs_only, "", "build the guest's programs")):
        command = commands.add_parser(name, help=words, description=words)
        command.set_defaults(function=function, lock=lock)
        if lock == "test":
            command.add_argument("--until", type=int, metavar="SECONDS",
                                 help="no test begins later (as `date +%%s` has it); each "
                                 "that is left out for that is named")
        if name == "test":
            command.add_argument("--match", default="", metavar="PATTERN",
                                 help="only the suites and tests that fit one of these, "
                                 "with commas between, and none that fits one with a ! in front")
            command.add_argument("--stress", type=int, metavar="SECONDS",
                                 help="how long tests with `lasts:` run")
            command.add_argument("--list", action="store_true", help="list the tests")
            command.add_argument("--kernel", action="append", metavar="guest|debug|base|FOLDER",
                                 help="on this kernel (may be repeated; else guest and debug)")
        elif name != "userland":
            command.add_argument("--kernel", metavar="guest|debug|base|FOLDER")
    return parser.parse_args()


def main():
    """Run the command."""
    args = parse()
    ending.take_signals()
    try:
        # Commands with different locks have different log files. A shell needs none.
        lock = "" if getattr(args, "list", False) else args.lock
        with ending.hold_lock(lock) if lock else contextlib.nullcontext():
            return args.function(args)
    except Refused as problem:
        print(f"{pathlib.Path(sys.argv[0]).name}: {problem}", file=sys.stderr)
        return problem.code
    except ending.Ended as end:
        return end.code


if __name__ == "__main__":
    sys.exit(main())
