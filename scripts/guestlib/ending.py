# SPDX-License-Identifier: GPL-2.0-only
"""End all guests with a run, and make a run wait for another one."""

import contextlib
import fcntl
import signal
import subprocess

from .common import Refused, build_folder, say

_guests = set()         # the processes to kill when this one ends
_starting = 0           # guests that start and may not be in the set yet
_late = []              # the signals that arrived meanwhile
_ending = False


class Ended(KeyboardInterrupt):
    """A signal has ended this run."""

    def __init__(self, number):
        super().__init__()
        self.code = 128 + number


def _end(number, _frame):
    """Kill all guests, and raise Ended in the code that waits for them."""
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
    """Have signals end the guests and remove their disks, as Ctrl-C does."""
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(one) != signal.SIG_IGN:
            signal.signal(one, _end)


def spawn(command, **how):
    """Start a guest. A signal that ends this run kills it, also while it starts."""
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


def forget(process):
    """Record that a guest is off."""
    _guests.discard(process)


@contextlib.contextmanager
def hold_lock(name):
    """Hold the lock NAME of the build folder; wait for another run that holds it."""
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
