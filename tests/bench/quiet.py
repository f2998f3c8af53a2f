"""Whether a measurement had the machine for itself.

A round that others disturbed says something about them: it is measured again. Ours are this process and its descendants,
with those that ended and were waited for.
"""
import os
import pathlib
import time

DISTURBED = 0.05  # of the machine
PAUSE_SECONDS = 2
# Waiting and measuring again, in all: after that disturbed rounds are taken as they are, and the tables say so.
patience_seconds = 300.0


def _machine():
    """Busy (with what the hypervisor took) and all ticks since boot."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def _ours():
    ticks, parents = {}, {}
    for process in pathlib.Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        parents[int(process.name)] = int(fields[1])
        ticks[int(process.name)] = sum(int(field) for field in fields[11:15])  # user, system, and of waited-for children
    def descends(process):
        while process not in (0, os.getpid()):
            process = parents.get(process, 0)
        return process != 0
    return sum(count for process, count in ticks.items() if descends(process))


class Watch:
    """Counts from its making on."""

    def __init__(self):
        self.busy, self.all = _machine()
        self.ours = _ours()

    def others(self):
        """The part of the machine that others had."""
        busy, everything = _machine()
        return max(0.0, (busy - self.busy) - (_ours() - self.ours)) / max(1, everything - self.all)


def _spend(since):
    global patience_seconds
    patience_seconds -= time.monotonic() - since


def wait_until_quiet():
    """Returns what others had at last."""
    while True:
        since, watch = time.monotonic(), Watch()
        time.sleep(1)
        others = watch.others()
        if others < DISTURBED or patience_seconds <= 0:
            return others
        time.sleep(PAUSE_SECONDS)
        _spend(since)


def undisturbed(measure):
    """`measure()` and what others had meanwhile; again while that was too much, the least disturbed is kept."""
    best = None
    while True:
        since, watch = time.monotonic(), Watch()
        value = measure()
        others = watch.others()
        if best is None or others < best[1]:
            best = (value, others)
        if others < DISTURBED or value is None or patience_seconds <= 0:
            return best
        _spend(since)
        wait_until_quiet()
