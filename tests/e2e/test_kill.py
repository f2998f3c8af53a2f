"""SIGKILL to trainer, data-service and coordinator in seeded turn; SIGSTOP beyond the lease. Promises P1, P6-P8.

ROUNDS (default 20) and SEED (default 1) come from the environment. Each round trains tiny_cnn and is hurt once, at a
seeded moment after the task's first acknowledged checkpoint; the weights must be those of the undisturbed run.
"""
import math
import os
import pathlib
import random
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
VICTIMS = ["trainer", "data", "coordinator", "pause"]


def task_of(fleet, run):
    try:
        return fleet.show(run)["tasks"][0]
    except (AssertionError, ValueError):
        return None  # the coordinator is away


def committed(task):
    return task and (task["checkpoint_epoch"], task["checkpoint_step"]) > (0, 0)


def steps_per_epoch(training_images):
    return -(-training_images // BATCH)


class Kill(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="atelier_kill_")
        self.random = random.Random(SEED)
        data = pictures.make_dataset(pathlib.Path(self.folder) / "pictures", per_class=PER_CLASS)
        self.fleet = cluster.Cluster(self.folder, data, lease_ms=2000, data_services=2)
        self.addCleanup(self.fleet.stop)
        for i in range(2):
            self.fleet.add_trainer(f"trainer-{i}")

    def train(self, name, disturb=None):
        """One run; returns what `runs show --json` says at its end."""
        out = pathlib.Path(self.folder) / name
        known = self.run_ids()
        process = self.fleet.start_train("--out", out, *TRAIN)
        try:
            run = cluster.wait_for("the run is submitted", lambda: next(iter(self.run_ids() - known), None), 60)
            if disturb:
                disturb(run, process)
            self.assertEqual(process.wait(400), 0, self.describe(run))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return self.fleet.show(run)

    def run_ids(self):
        try:
            return set(self.fleet.run_ids())
        except (AssertionError, ValueError):
            return set()  # the coordinator is away

    def describe(self, run):
        tails = "\n".join(f"== {name}\n{service.log_tail(15)}" for name, service in self.fleet.services.items())
        return f"seed {SEED}, folder {self.folder}, run {run}\n{tails}"

    def disturb(self, victim):
        def act(run, process):
            task = cluster.wait_for("a checkpoint is acknowledged", lambda: (
                lambda seen: seen if committed(seen) else None)(task_of(self.fleet, run)), 60)
            # A seeded moment, not a wait for something: the run may even have ended by then.
            threading.Event().wait(self.random.uniform(0.0, 0.8))
            busy = self.fleet.services[task["attempts"][-1]["trainer"]]
            if victim == "trainer":
                busy.kill()
                busy.start().wait_healthy()
            elif victim == "data":
                service = self.fleet.services[f"data-{self.random.randrange(2)}"]
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
                        task_of(self.fleet, run)), 60)
                busy.signal(signal.SIGCONT)
        return act

    def check_ledger(self, run, images):
        """P1: every step of every epoch exactly once, every sample exactly once per epoch."""
        path = pathlib.Path(self.folder) / "state" / "coordinator.db"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            rows = db.execute("SELECT epoch, step, sample_ids FROM applied WHERE run_id = ? ORDER BY epoch, step",
                              (run,)).fetchall()
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
        undisturbed = self.train("undisturbed")
        expected = undisturbed["tasks"][0]
        self.check_ledger(undisturbed["run_id"], TRAINING_IMAGES)
        moved = 0
        for number in range(ROUNDS):
            victim = VICTIMS[number % len(VICTIMS)]
            with self.subTest(round=number, victim=victim):
                shown = self.train(f"round-{number}", self.disturb(victim))
                task = shown["tasks"][0]
                self.assertEqual(task["state"], "done", self.describe(shown["run_id"]))
                self.assertEqual(task["final_weights_digest"], expected["final_weights_digest"],
                                 self.describe(shown["run_id"]))
                self.assertEqual(task["weights_digest"], expected["weights_digest"])
                self.check_attempts(task)
                self.check_ledger(shown["run_id"], TRAINING_IMAGES)
                moved += len(task["attempts"]) > 1
                print(f"round {number}: {victim}, {len(task['attempts'])} attempts", flush=True)
        # The driver really hurt: most kills of a trainer hit a running task.
        self.assertGreaterEqual(moved, ROUNDS // 4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
