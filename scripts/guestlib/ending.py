# SPDX-License-Identifier: GPL-2.0-only
"""How a run ends in good order, and how two runs keep out of each other's way."""

import contextlib
import fcntl
import signal
import subprocess

from .common import Refused, build_folder, say

_guests = set()         # the processes that have to go with this one
_starting = 0           # one of them may be there that is not in the set yet
_late = []              # the signals that came meanwhile
_ending = False


class Ended(KeyboardInterrupt):
    """A signal has ended this run."""

    def __init__(self, number):
        super().__init__()
        self.code = 128 + number


def _end(number, _frame):
    """Kill all guests; the run that waits for them learns it by an exception."""
    global _ending
    if _starting:
        _late.append(number)
        return
    _ending = True
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)
    for process in list(_guests):
        process.kill()
    raise Ended(number)


def take_signals():
    """From now on a signal ends guests and has their disks removed, as Ctrl-C does."""
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(one) != signal.SIG_IGN:
            signal.signal(one, _end)


def spawn(command, **how):
    """Start a guest, which goes with this run from its first moment on."""
    global _starting
    if _ending:
        raise Refused("the run is over")
    _starting += 1
    try:
        process = subprocess.Popen(command, **how)
        _guests.add(process)
    except FileNotFoundError:
        raise Refused(f"{command[0]} is not installed: `make deps` installs it") from None
    finally:
        _starting -= 1
        if _late:
            _end(_late.pop(), None)
    return process


def ends(process):
    """This guest is off."""
    _guests.discard(process)


@contextlib.contextmanager
def alone(name):
    """Wait until no other run is in the part of the build folder that NAME stands for."""
    folder = build_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.lock"
    with open(path, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
