"""Whether a measurement had the machine for itself.

A round that others disturbed says something about them: it is measured again. Ours are this process and its descendants,
with those that ended and were waited for.
"""
import os
import pathlib
import time

DISTURBED = 0.05  # of the machine
TRIES = 12
PAUSE_SECONDS = 5


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


def wait_until_quiet():
    """At most a minute; returns what others had at last."""
    for _ in range(TRIES):
        watch = Watch()
        time.sleep(1)
        others = watch.others()
        if others < DISTURBED:
            return others
        time.sleep(PAUSE_SECONDS)
    return others


def undisturbed(measure):
    """`measure()` and what others had meanwhile; tried again while it was too much, the least disturbed is kept."""
    best = None
    for _ in range(TRIES):
        watch = Watch()
        value = measure()
        others = watch.others()
        if best is None or others < best[1]:
            best = (value, others)
        if others < DISTURBED or value is None:
            break
        wait_until_quiet()
    return best
