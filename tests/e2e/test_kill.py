"""SIGKILL to trainer, data-service and coordinator in seeded turn; SIGSTOP beyond the lease. Promises P1, P6-P8.

ROUNDS (default 20) and SEED (default 1) come from the environment. Each round trains tiny_cnn and is hurt once, at a
seeded moment after the task's first acknowledged checkpoint; the weights must be those of the undisturbed run.
"""
import concurrent.futures
import contextlib
import math
import os
import pathlib
import queue
import random
import shutil
import signal
import sqlite3
import tempfile
import threading
import unittest

import cluster
import pictures

ROUNDS = int(os.environ.get("ATELIER_KILL_ROUNDS", "20"))
SEED = int(os.environ.get("ATELIER_KILL_SEED", "1"))
PER_CLASS = 64
BATCH = 8
EPOCHS = 16
TRAINING_IMAGES = 3 * PER_CLASS - math.ceil(0.1 * 3 * PER_CLASS)  # fast keeps 10 % for validation, rounded up
TRAIN = ["--recipe", "fast", "--members", "tiny_cnn", "--epochs", EPOCHS, "--deterministic", "--threads", 1,
         "--checkpoint-seconds", 1, "--set", "image.size=96", "--set", f"batch_size={BATCH}", "--data", "."]
LANES = 3  # rounds at a time: each waits most of its time
VICTIMS = ["trainer", "data", "coordinator", "pause"]


def steps_per_epoch(training_images):
    return -(-training_images // BATCH)


class Lane:
    """A fleet of its own, for one run after the other."""

    def __init__(self, folder, data):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.fleet = cluster.Cluster(self.folder, data, lease_ms=2000, data_services=2)
        for i in range(2):
            self.fleet.add_trainer(f"trainer-{i}")

    def rows(self, query, *values):
        """Of the coordinator's database; none while it cannot be read. Costs nothing, unlike the CLI."""
        path = self.folder / "state" / "coordinator.db"
        try:
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
                return db.execute(query, values).fetchall()
        except sqlite3.OperationalError:
            return []

    def run_ids(self):
        return {row[0] for row in self.rows("SELECT run_id FROM runs")}

    def task(self, run):
        try:
            return self.fleet.show(run)["tasks"][0]
        except (AssertionError, ValueError):
            return None  # the coordinator is away

    def train(self, name, disturb=None):
        """One run; returns what `runs show --json` says at its end."""
        known = self.run_ids()
        process = self.fleet.start_train("--out", self.folder / name, *TRAIN)
        try:
            run = cluster.wait_for("the run is submitted", lambda: next(iter(self.run_ids() - known), None), 60)
            if disturb:
                disturb(run, process)
            if process.wait(400) != 0:
                raise AssertionError(self.describe(run))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return self.fleet.show(run)

    def describe(self, run):
        tails = "\n".join(f"== {name}\n{service.log_tail(15)}" for name, service in self.fleet.services.items())
        return f"seed {SEED}, folder {self.folder}, run {run}\n{tails}"

    def disturb(self, victim, chance):
        def act(run, process):
            # With its steps: they are committed with each checkpoint.
            cluster.wait_for("a checkpoint is acknowledged",
                             lambda: self.rows("SELECT 1 FROM applied WHERE run_id = ? LIMIT 1", run), 60)
            task = cluster.wait_for("the coordinator tells of it", lambda: self.task(run), 60)
            # A seeded moment, not a wait for something: the run may even have ended by then.
            threading.Event().wait(chance.uniform(0.0, 0.8))
            busy = self.fleet.services[task["attempts"][-1]["trainer"]]
            if victim == "trainer":
                busy.kill()
                busy.start().wait_healthy()
            elif victim == "data":
                service = self.fleet.services[f"data-{chance.randrange(2)}"]
                service.kill()
                service.start().wait_healthy()
            elif victim == "coordinator":
                self.fleet.coordinator.kill()
                self.fleet.coordinator.start().wait_healthy()
            else:
                busy.signal(signal.SIGSTOP)
                # It sleeps until its lease went to the other one (or the run was over before).
                cluster.wait_for("the lease moved on", lambda: process.poll() is not None or (
                    lambda seen: seen and (len(seen["attempts"]) > len(task["attempts"]) or seen["state"] == "done"))(
                        self.task(run)), 60, poll=0.3)
                busy.signal(signal.SIGCONT)
        return act


class Kill(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="atelier_kill_"))
        self.passed = 0
        self.addCleanup(lambda: self.passed == ROUNDS and shutil.rmtree(self.folder))  # what failed is kept
        data = pictures.make_dataset(self.folder / "pictures", per_class=PER_CLASS)
        self.free = queue.SimpleQueue()
        for lane in cluster.side_by_side(Lane, [(self.folder / f"lane-{i}", data) for i in range(LANES)]):
            self.addCleanup(lane.fleet.stop)
            self.free.put(lane)

    def round(self, number):
        """The lane and what its run was; number -1 is left undisturbed."""
        lane = self.free.get()
        try:
            if number < 0:
                return lane, lane.train("undisturbed")
            chance = random.Random(f"{SEED} {number}")
            return lane, lane.train(f"round-{number}", lane.disturb(VICTIMS[number % len(VICTIMS)], chance))
        finally:
            self.free.put(lane)

    def check_ledger(self, lane, run, images):
        """P1: every step of every epoch exactly once, every sample exactly once per epoch."""
        rows = lane.rows("SELECT epoch, step, sample_ids FROM applied WHERE run_id = ? ORDER BY epoch, step", run)
        steps = steps_per_epoch(images)
        self.assertEqual([row[:2] for row in rows], [(e, s) for e in range(EPOCHS) for s in range(steps)])
        for epoch in range(EPOCHS):
            ids = [int(i) for row in rows if row[0] == epoch for i in row[2].split(",")]
            self.assertEqual(len(ids), images)
            self.assertEqual(len(set(ids)), images)

    def check_attempts(self, task):
        """Every attempt after the first begins at an acknowledged checkpoint and replays nothing older."""
        attempts = task["attempts"]
        self.assertEqual((attempts[0]["start_epoch"], attempts[0]["start_step"]), (0, 0))
        for attempt in attempts[1:]:
            self.assertGreater((attempt["start_epoch"], attempt["start_step"]), (0, 0))
        self.assertEqual(attempts[-1]["end"], "done")

    def test_whatever_is_killed_the_weights_are_those_of_the_undisturbed_run(self):
        moved = 0
        with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
            undisturbed, *rounds = [pool.submit(self.round, number) for number in range(-1, ROUNDS)]
            lane, shown = undisturbed.result()
            expected = shown["tasks"][0]
            self.check_ledger(lane, shown["run_id"], TRAINING_IMAGES)
            for number, future in enumerate(rounds):
                victim = VICTIMS[number % len(VICTIMS)]
                with self.subTest(round=number, victim=victim):
                    lane, shown = future.result()
                    task = shown["tasks"][0]
                    self.assertEqual(task["state"], "done", lane.describe(shown["run_id"]))
                    self.assertEqual(task["final_weights_digest"], expected["final_weights_digest"],
                                     lane.describe(shown["run_id"]))
                    self.assertEqual(task["weights_digest"], expected["weights_digest"])
                    self.check_attempts(task)
                    self.check_ledger(lane, shown["run_id"], TRAINING_IMAGES)
                    moved += len(task["attempts"]) > 1
                    self.passed += 1
                    print(f"round {number}: {victim}, {len(task['attempts'])} attempts", flush=True)
        # The driver really hurt: most kills of a trainer hit a running task.
        self.assertGreaterEqual(moved, ROUNDS // 4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
