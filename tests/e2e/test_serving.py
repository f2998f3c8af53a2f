"""Serving with members on trainers of their own, in processes that are killed: k of n, degraded answers, promotion. P4.

Three members: two of tiny_cnn, one of efficientnet_lite0; trainers with disjoint --backbones; the aggregator has no
members of its own (--local-fallback off).
"""
import functools
import json
import os
import pathlib
import shutil
import signal
import tempfile
import threading
import time
import unittest

import cluster
import pictures
from npy import read_npy

RECIPE = """
members:
  - {name: first, backbone: tiny_cnn}
  - {name: second, backbone: tiny_cnn}
  - {name: lite, backbone: efficientnet_lite0}
image: {size: 32}
batch_size: 16
validation_fraction: 0.1
seed: %d
stages:
  - {name: train, epochs: 2, optimizer: {learning_rate: 0.001}}
"""
DEADLINE_SECONDS = 30  # what the client gives a request


class Serving(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="atelier_serving_"))
        self.pictures = pictures.make_dataset(self.folder / "pictures", per_class=24, test=6)
        self.fleet = cluster.Cluster(self.folder, self.pictures)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.addCleanup(self.fleet.stop)
        self.trainers = {backbone: [self.fleet.add_trainer(f"{backbone}-{i}", "--backbones", backbone)
                                    for i in range(2)]
                         for backbone in ("tiny_cnn", "efficientnet_lite0")}
        self.aggregator = None

    def train(self, name, seed):
        recipe = self.folder / f"{name}.yaml"
        recipe.write_text(RECIPE % seed)
        out = self.folder / name
        self.said = self.fleet.atelier("train", "--data", ".", "--recipe", recipe, "--no-pretrained", "--name", "colours",
                                       "--out", out).stderr
        return out

    def serve(self):
        self.aggregator = self.fleet.add_aggregator("aggregator", "--name", "colours", "--local-fallback", "off")

    def ask(self, check=True):
        """One request to the aggregator: (JSON document, probabilities), or (finished process, None) when refused."""
        handle, path = tempfile.mkstemp(dir=self.folder, suffix=".npy")
        os.close(handle)
        result = cluster.run_atelier("predict", self.pictures / "test", "--aggregator", self.aggregator.address,
                                     "--json", "--probabilities", path, check=check)
        if result.returncode != 0:
            return result, None
        return json.loads(result.stdout), read_npy(path)

    def offline(self, run, members):
        """The mean over exactly these members, each predicting from the run directory without any server."""
        folder = self.folder / f"{run.name}-members"
        cluster.run_atelier("predict", self.pictures / "test", "--ensemble", run, "--member-probabilities", folder)
        parts = [read_npy(folder / f"{member}.npy") for member in members]
        return [[sum(values) / len(members) for values in zip(*rows)] for rows in zip(*parts)]

    def wait_whole(self):
        """The first answer of every member."""
        return cluster.wait_for("every member answers", lambda: (
            lambda asked: asked if asked[1] and not asked[0]["degraded"] else None)(self.ask(check=False)), 60)

    def assert_close(self, rows, expected, tolerance=1e-5):
        self.assertEqual(len(rows), len(expected))
        worst = max(abs(a - b) for row, other in zip(rows, expected) for a, b in zip(row, other))
        self.assertLessEqual(worst, tolerance)

    def test_lost_members_degrade_and_no_members_is_unavailable_in_time(self):
        run = self.train("run", 1)
        self.serve()
        whole = self.wait_whole()
        self.assert_close(whole[1], self.offline(run, ["first", "second", "lite"]))

        for trainer in self.trainers["efficientnet_lite0"]:
            trainer.kill()
        answer, probabilities = self.ask()  # the very next one
        self.assertTrue(answer["degraded"])
        self.assertEqual(answer["members_failed"], ["lite"])
        self.assert_close(probabilities, self.offline(run, ["first", "second"]))

        for trainer in self.trainers["tiny_cnn"]:
            trainer.kill()
        started = time.monotonic()
        result, _ = self.ask(check=False)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn("at least 2 of 3 members must answer", result.stderr)
        self.assertLess(time.monotonic() - started, DEADLINE_SECONDS + 5)

        for trainers in self.trainers.values():  # and it heals by itself
            trainers[0].start().wait_healthy()
        self.assert_close(self.wait_whole()[1], whole[1])

    def test_stopped_trainers_hold_no_answer_up_and_heal(self):
        run = self.train("run", 1)
        self.serve()
        whole = self.wait_whole()
        offline = functools.cache(lambda used: self.offline(run, used))

        def in_time():
            """One answer, within the deadline, from exactly the members that it names."""
            started = time.monotonic()
            answer, probabilities = self.ask()
            self.assertLess(time.monotonic() - started, DEADLINE_SECONDS + 5)  # the CLI has to start, too
            used = tuple(name for name in ("first", "second", "lite") if name not in answer["members_failed"])
            self.assertEqual(answer["degraded"], len(used) < 3)
            self.assert_close(probabilities, offline(used))
            return answer["members_failed"]

        one, other = self.trainers["efficientnet_lite0"]
        for stopped, going_on in ((one, other), (other, one)):  # whichever it asks first
            stopped.signal(signal.SIGSTOP)
            self.assertIn(in_time(), ([], ["lite"]))
            cluster.wait_for(f"{going_on.name} answers instead", lambda: in_time() == [], 60)
            stopped.signal(signal.SIGCONT)
        one.signal(signal.SIGSTOP)
        other.signal(signal.SIGSTOP)
        for _ in range(3):
            self.assertEqual(in_time(), ["lite"])
        one.signal(signal.SIGCONT)
        other.signal(signal.SIGCONT)
        self.assert_close(self.wait_whole()[1], whole[1])

    def test_promotion_under_load_fails_no_request_and_mixes_no_versions(self):
        runs = {"colours@1": self.train("one", 1), "colours@2": self.train("two", 2)}
        self.assertIn(f"promote it: atelier ensembles promote colours@2 --coordinator {self.fleet.coordinator.address}",
                      self.said)
        self.fleet.atelier("ensembles", "promote", "colours@1")
        self.serve()
        cluster.wait_for("every member answers", lambda: not self.ask()[0]["degraded"], 60)
        expected = {version: self.offline(run, ["first", "second", "lite"]) for version, run in runs.items()}
        worst = max(abs(a - b) for one, two in zip(*expected.values()) for a, b in zip(one, two))
        self.assertGreater(worst, 1e-3, "the versions must differ for this test to see anything")

        answers, errors, stop = [], [], threading.Event()

        def load():
            while not stop.is_set():
                try:
                    answers.append(self.ask())
                except AssertionError as error:
                    errors.append(error)

        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        seen = lambda version: sum(answer["ensemble_version"] == version for answer, _ in list(answers))
        try:
            for version in ("colours@2", "colours@1", "colours@2"):
                self.fleet.atelier("ensembles", "promote", version)
                before = seen(version)
                cluster.wait_for(f"{version} answers", lambda: errors or seen(version) >= before + 4, 60)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(errors, [])
        for answer, probabilities in answers:
            self.assertFalse(answer["degraded"])
            self.assert_close(probabilities, expected[answer["ensemble_version"]])


if __name__ == "__main__":
    unittest.main(verbosity=2)
