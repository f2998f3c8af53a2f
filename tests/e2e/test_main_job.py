"""The main job, embedded and as separate processes: same numbers, same files."""
import csv
import json
import os
import pathlib
import resource
import signal
import sqlite3
import subprocess
import tempfile
import unittest

import cluster
import pictures
from npy import read_npy

TRAIN = ["--recipe", "fast", "--members", "tiny_cnn", "--epochs", 6, "--deterministic", "--threads", 1,
         "--set", "image.size=32"]


def read_csv(path):
    with pathlib.Path(path).open(newline="") as file:
        return list(csv.reader(file))


def methods_called(folder):
    """The names of the gRPC methods that any process called (ATELIER_CALL_COUNTS)."""
    counts = [json.loads(path.read_text()) for path in pathlib.Path(folder).glob("*.json")]
    return {method for process in counts for method, calls in process.items() if calls > 0}


def ledger(state):
    """[(epoch, step, digest)] that the coordinator committed."""
    with sqlite3.connect(f"file:{state}/coordinator.db?mode=ro", uri=True) as db:
        return db.execute("SELECT epoch, step, batch_digest FROM applied ORDER BY epoch, step").fetchall()


class MainJob(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.temp.name)
        cls.data = pictures.make_dataset(cls.dir / "pictures", per_class=40, test=5)
        cls.run_dir = cls.dir / "run"
        cls.home = {"ATELIER_HOME": str(cls.dir / "home")}
        cls.embedded_calls = cls.dir / "embedded_calls"
        cls.embedded_calls.mkdir()
        counted = dict(cls.home, ATELIER_CALL_COUNTS=str(cls.embedded_calls))
        cluster.run_atelier("train", "--data", cls.data, "--out", cls.run_dir, *TRAIN, env=counted)
        cluster.run_atelier("predict", cls.data / "test", "--ensemble", cls.run_dir, env=counted)

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def atelier(self, *arguments, **kwargs):
        return cluster.run_atelier(*arguments, env=self.home, **kwargs)

    def test_the_run_directory_holds_everything(self):
        for name in ("ensemble.json", "metrics.json", "report.html", "submission.csv", "recipe.yaml", "run.json",
                     "quarantine.csv"):
            self.assertTrue((self.run_dir / name).is_file(), name)
        rows = read_csv(self.run_dir / "submission.csv")
        self.assertEqual(rows[0], ["", "answer value"])
        self.assertEqual([row[0] for row in rows[1:]], ["0", "1", "2", "3", "4"])

    def test_evaluate_agrees_with_the_probabilities_of_predict(self):
        labelled = self.data / "train"
        probabilities = self.dir / "p.npy"
        self.atelier("predict", labelled, "--ensemble", self.run_dir, "--out", self.dir / "s.csv",
                     "--probabilities", probabilities)
        scores = json.loads(self.atelier("evaluate", "--ensemble", self.run_dir, "--data", labelled, "--json").stdout)
        files = sorted((path.relative_to(labelled).as_posix() for path in labelled.rglob("*.png")),
                       key=lambda name: name.encode())
        rows = read_npy(probabilities)
        self.assertEqual(len(rows), len(files))
        correct = sum(scores["classes"][max(range(len(row)), key=row.__getitem__)] == name.split("/")[0]
                      for row, name in zip(rows, files))
        self.assertEqual(scores["images"], len(files))
        self.assertAlmostEqual(scores["ensemble"]["accuracy"], correct / len(files), places=9)
        self.assertEqual(sum(map(sum, scores["ensemble"]["confusion"])), len(files))

    def test_as_separate_processes_calls_batches_and_weights_are_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            calls = pathlib.Path(folder) / "calls"
            calls.mkdir()
            count = {"ATELIER_CALL_COUNTS": str(calls)}
            out = pathlib.Path(folder) / "run"
            with cluster.Cluster(folder, self.data, environment=count) as fleet:
                fleet.add_trainer("trainer-0")
                aggregator = fleet.add_aggregator("aggregator")
                environment = dict(self.home, **count)
                cluster.run_atelier("train", "--coordinator", fleet.coordinator.address, "--data", ".", "--out", out,
                                    *TRAIN, env=environment)
                cluster.wait_for("the new version is served", lambda: cluster.run_atelier(
                    "predict", self.data / "test", "--aggregator", aggregator.address, check=False,
                    env=environment).returncode == 0, 60)
            # Every process of the fleet has ended and written its counts. A coordinator's aggregator follows promotions
            # and asks trainers first, and the CLI asks it what it serves and the registry what is promoted; an embedded
            # one has its members and its version from the run directory, its promotions from the user's index.
            self.assertEqual(methods_called(calls) - methods_called(self.embedded_calls),
                             {"/atelier.v1.AggregatorService/GetServedEnsemble", "/atelier.v1.RegistryService/GetEnsemble",
                              "/atelier.v1.RegistryService/WatchPromoted", "/atelier.v1.TrainerService/PredictStream"})
            self.assertEqual(methods_called(self.embedded_calls) - methods_called(calls), set())
            self.assertIn("/atelier.v1.DataService/StreamBatches", methods_called(calls))
            embedded = json.loads(self.atelier("runs", "show", self.run_dir, "--json").stdout)
            separate = json.loads(self.atelier("runs", "show", out, "--json").stdout)
            self.assertEqual(ledger(f"{folder}/state"), ledger(self.run_dir / "state"))
            self.assertGreater(len(ledger(f"{folder}/state")), 30)
            for field in ("weights_digest", "final_weights_digest", "validation_accuracy", "validation_loss"):
                self.assertEqual(separate["tasks"][0][field], embedded["tasks"][0][field], field)
            self.assertEqual(separate["dataset_digest"], embedded["dataset_digest"])

    def test_a_submitted_run_is_named_when_its_directory_cannot_be_written(self):
        def no_room():  # every file of the CLI has to stay empty: EFBIG instead of SIGXFSZ
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        with tempfile.TemporaryDirectory() as folder, cluster.Cluster(folder, self.data) as fleet:
            trained = subprocess.run(
                [str(cluster.BIN / "atelier"), "train", "--coordinator", fleet.coordinator.address, "--data", ".",
                 "--out", f"{folder}/run", *map(str, TRAIN)],
                env={**os.environ, **self.home}, preexec_fn=no_room, capture_output=True, text=True, timeout=120)
            self.assertEqual(trained.returncode, 1, trained.stderr)
            submitted, = fleet.run_ids()
            self.assertIn(f"atelier runs watch {submitted} --coordinator {fleet.coordinator.address}", trained.stderr)
            self.assertEqual(fleet.show(submitted)["state"], "running")

    def test_serve_answers_and_drains_on_sigterm(self):
        process = subprocess.Popen([cluster.BIN / "atelier", "serve", "--ensemble", self.run_dir, "--port", "0"],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            line = process.stdout.readline()
            address = next(word.strip(".,") for word in line.split() if word.startswith("127.0.0.1:"))
            self.assertEqual(self.atelier("health", address).returncode, 0)
            served = self.dir / "served.npy"
            offline = self.dir / "offline.npy"
            self.atelier("predict", self.data / "test", "--aggregator", address, "--probabilities", served,
                         "--out", self.dir / "a.csv")
            self.atelier("predict", self.data / "test", "--ensemble", self.run_dir, "--probabilities", offline,
                         "--out", self.dir / "b.csv")
            self.assertEqual(served.read_bytes(), offline.read_bytes())
            self.assertEqual((self.dir / "a.csv").read_text(), (self.dir / "b.csv").read_text())
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(30), 0)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def test_an_undecodable_picture_is_named_unless_skipped(self):
        folder = self.dir / "bad"
        folder.mkdir(exist_ok=True)
        (folder / "broken.jpg").write_text("no picture")
        (folder / "fine.png").write_bytes(next((self.data / "test").glob("*.png")).read_bytes())
        refused = self.atelier("predict", folder, "--ensemble", self.run_dir, "--out", self.dir / "x.csv", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("broken.jpg", refused.stderr)
        self.atelier("predict", folder, "--ensemble", self.run_dir, "--out", self.dir / "x.csv", "--skip-bad")
        self.assertEqual(len(read_csv(self.dir / "x.csv")), 2)

    def test_wrong_usage_is_exit_2_and_says_why(self):
        self.assertEqual(self.atelier("train", "--nonsense", check=False).returncode, 2)
        missing = self.atelier("train", "--data", self.dir / "none", "--out", self.dir / "r2", check=False)
        self.assertEqual(missing.returncode, 2)
        self.assertIn("none", missing.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
