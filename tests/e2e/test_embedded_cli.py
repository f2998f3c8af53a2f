"""The CLI end to end in embedded mode: train, evaluate, predict, stop, resume, and its exit codes."""
import json
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

import cluster
import pictures
from npy import read_npy

ATELIER = str(cluster.BIN / "atelier")
CLASSES = ("blue", "green", "red")


class EmbeddedCli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.temp.name)
        cls.data = pictures.make_dataset(cls.root / "pictures", per_class=24, classes=CLASSES, size=32, test=5)
        cls.environment = {**os.environ, "ATELIER_HOME": str(cls.root / "home")}
        cls.done = cls.run_cli(*cls.train_arguments("done", 4), "--json")

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    @classmethod
    def train_arguments(cls, out, epochs):
        return ("train", "--data", str(cls.data), "--members", "tiny_cnn", "--epochs", str(epochs),
                "--set", "image.size=32", "--set", "stages.train.optimizer.learning_rate=0.003",
                "--deterministic", "--threads", "1", "--checkpoint-seconds", "1", "--name", "colours",
                "--out", str(cls.root / out))

    @classmethod
    def run_cli(cls, *arguments):
        return subprocess.run([ATELIER, *arguments], env=cls.environment, capture_output=True,
                              text=True, timeout=120)

    def weights_of(self, run):
        shown = self.run_cli("runs", "show", str(self.root / run), "--json")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        return json.loads(shown.stdout)["tasks"][0]

    def test_train_leaves_a_whole_run_directory_and_one_document(self):
        self.assertEqual(self.done.returncode, 0, self.done.stderr)
        document = json.loads(self.done.stdout)
        self.assertEqual(document["state"], "done")
        run = self.root / "done"
        for name in ("run.json", "ensemble.json", "metrics.json", "recipe.yaml", "quarantine.csv",
                     "report.html", "history/tiny_cnn.csv", "submission.csv"):
            self.assertTrue((run / name).is_file(), name)
        digest = document["tasks"][0]["weights_digest"]
        self.assertTrue((run / "weights" / f"{digest}.safetensors").is_file())
        submission = (run / "submission.csv").read_text().splitlines()
        self.assertEqual(submission[0], ",answer value")
        self.assertEqual([line.split(",")[0] for line in submission[1:]], list("01234"))

    def test_evaluate_equals_the_arithmetic_over_predict(self):
        train = self.data / "train"
        evaluated = self.run_cli("evaluate", "--ensemble", str(self.root / "done"), "--data",
                                 str(train), "--json")
        self.assertEqual(evaluated.returncode, 0, evaluated.stderr)
        scores = json.loads(evaluated.stdout)
        out = self.root / "p.npy"
        predicted = self.run_cli("predict", str(train), "--ensemble", str(self.root / "done"),
                                 "--probabilities", str(out))
        self.assertEqual(predicted.returncode, 0, predicted.stderr)
        rows = read_npy(out)
        labels = [i for i in range(len(CLASSES)) for _ in range(24)]  # bytewise by path
        self.assertEqual(scores["classes"], list(CLASSES))
        self.assertEqual(scores["images"], len(labels))
        hits = sum(max(range(3), key=row.__getitem__) == y for row, y in zip(rows, labels))
        loss = -sum(math.log(max(row[y], 1e-7)) for row, y in zip(rows, labels)) / len(labels)
        self.assertAlmostEqual(scores["ensemble"]["accuracy"], hits / len(labels), places=12)
        self.assertAlmostEqual(scores["ensemble"]["log_loss"], loss, places=5)
        self.assertEqual(sum(map(sum, scores["ensemble"]["confusion"])), len(labels))
        self.assertEqual(list(scores["members"]), ["tiny_cnn"])

    def test_a_moved_run_still_predicts(self):
        source, target = self.root / "done", self.root / "moved"
        subprocess.run(["cp", "-r", str(source), str(target)], check=True)
        shown = self.run_cli("predict", str(self.data / "test"), "--ensemble", str(target), "--json")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertEqual(len(json.loads(shown.stdout)["predictions"]), 5)

    def test_a_version_whose_directory_is_another_runs_by_now_is_gone(self):
        arguments = ["reused" if a == "colours" else a for a in self.train_arguments("reused", 1)]
        for _ in range(2):
            shutil.rmtree(self.root / "reused", ignore_errors=True)
            trained = self.run_cli(*arguments)
            self.assertEqual(trained.returncode, 0, trained.stderr)
        predict = lambda name: self.run_cli("predict", str(self.data / "test"), "--ensemble", name, "--json")
        for name in ("reused@1", "reused"):  # which is promoted
            refused = predict(name)
            self.assertEqual(refused.returncode, 1)
            self.assertIn("reused@1 was in", refused.stderr)
        there = predict("reused@2")
        self.assertEqual(there.returncode, 0, there.stderr)
        listed = json.loads(self.run_cli("ensembles", "list", "--json").stdout)
        self.assertEqual([(e["version"], bool(e["members"]), e["directory"]) for e in listed if e["name"] == "reused"],
                         [(2, True, str(self.root / "reused")), (1, False, "")])

    def test_predict_names_a_bad_picture_unless_told_to_skip_it(self):
        folder = self.root / "mixed"
        folder.mkdir()
        shutil.copy(self.data / "test/picture-000.png", folder / "good.png")
        (folder / "bad.jpg").write_text("not a picture")
        arguments = ("predict", str(folder), "--ensemble", str(self.root / "done"), "--json")
        refused = self.run_cli(*arguments)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("bad.jpg", refused.stderr)
        self.assertEqual(refused.stdout, "")
        (folder / "gone.jpg").symlink_to("moved-away.jpg")
        skipped = self.run_cli(*arguments, "--skip-bad")
        self.assertEqual(skipped.returncode, 0, skipped.stderr)
        document = json.loads(skipped.stdout)
        self.assertEqual([p["file"] for p in document["predictions"]], ["good.png"])
        self.assertEqual([p["file"] for p in document["skipped"]], ["bad.jpg", "gone.jpg"])

    def test_a_loop_of_links_is_refused_instead_of_walked(self):
        folder = self.root / "loop"
        folder.mkdir()
        shutil.copy(self.data / "test/picture-000.png", folder / "good.png")
        arguments = ("predict", str(folder), "--ensemble", str(self.root / "done"), "--json")
        (folder / "elsewhere").symlink_to(self.data / "test")
        linked = self.run_cli(*arguments)
        self.assertEqual(len(json.loads(linked.stdout)["predictions"]), 6, linked.stderr)
        for name in "ab":  # followed blindly these are two to the power of forty folders
            (folder / name).symlink_to(".")
        refused = self.run_cli(*arguments)
        self.assertEqual(refused.returncode, 1)
        self.assertRegex(refused.stderr, "loop/[ab] is a folder read already")

    def test_many_bad_pictures_stop_neither_evaluate_nor_preview(self):
        folder = self.root / "bad-ones"
        pictures.make_dataset(folder, per_class=10, classes=CLASSES, size=32, seed=8)
        for label in CLASSES:
            (folder / "train" / label / "bad.jpg").write_text("not a picture")
        evaluated = self.run_cli("evaluate", "--ensemble", str(self.root / "done"), "--data", str(folder), "--json")
        self.assertEqual(evaluated.returncode, 0, evaluated.stderr)
        self.assertEqual(json.loads(evaluated.stdout)["images"], 10 * len(CLASSES))
        self.assertIn("left out train/blue/bad.jpg", evaluated.stderr)
        previewed = self.run_cli("data", "preview", str(folder), "--count", "2", "--json", "--out",
                                 str(self.root / "preview"))
        self.assertEqual(previewed.returncode, 0, previewed.stderr)
        self.assertEqual(len(json.loads(previewed.stdout)), 2)

    def test_limits_of_pictures_are_flags_of_every_verb(self):
        run, train = str(self.root / "done"), str(self.data / "train")
        for verb in (("predict", train, "--ensemble", run), ("evaluate", "--ensemble", run, "--data", train),
                     ("data", "inspect", train), ("train", "--data", str(self.data), "--members", "tiny_cnn", "--out",
                                                  str(self.root / "limited"), "--no-pretrained")):
            for side in (31, 32):  # the pictures have 32
                done = self.run_cli(*verb, "--max-picture-side", str(side), *(("--epochs", "1") if verb[0] == "train" else ()))
                said = done.stdout + done.stderr
                self.assertEqual("32x32" in said or "side" in said, side == 31, said)

    def test_raised_and_lowered_limits_hold_for_single_pictures(self):
        folder = self.root / "sizes"
        folder.mkdir()
        shutil.copy(self.data / "test/picture-000.png", folder / "good.png")
        pictures.write_png(folder / "heavy.png", 2300, 2000, (os.urandom(6900) for _ in range(2000)))
        self.assertGreater((folder / "heavy.png").stat().st_size, 13 << 20)
        arguments = ("predict", str(folder), "--ensemble", str(self.root / "done"), "--json")
        refused = self.run_cli(*arguments)
        self.assertEqual(refused.returncode, 1)
        self.assertRegex(refused.stderr, "heavy.png: size of the file")
        raised = self.run_cli(*arguments, "--max-picture-bytes", "15000000")
        self.assertEqual(raised.returncode, 0, raised.stderr)
        self.assertEqual([p["file"] for p in json.loads(raised.stdout)["predictions"]], ["good.png", "heavy.png"])
        lowered = self.run_cli(*arguments, "--max-picture-bytes", "15000000", "--max-picture-side", "32", "--skip-bad")
        self.assertEqual(lowered.returncode, 0, lowered.stderr)
        document = json.loads(lowered.stdout)
        self.assertEqual([p["file"] for p in document["predictions"]], ["good.png"])
        self.assertRegex(document["skipped"][0]["reason"], "side of the picture")

    def check_stopped(self, run):
        """What is told of a run whose process ended before it did: how far it came."""
        shown = self.run_cli("runs", "show", str(self.root / run), "--json")
        document = json.loads(shown.stdout)
        self.assertEqual(document["state"], "stopped")
        attempt = document["tasks"][0]["attempts"][-1]
        self.assertNotEqual(attempt["end"], "running")
        self.assertGreaterEqual(attempt["end_epoch"], 3)
        self.assertIn("atelier runs resume", self.run_cli("runs", "show", str(self.root / run)).stdout)
        listed = json.loads(self.run_cli("runs", "list", "--json").stdout)
        self.assertEqual([r["state"] for r in listed if r["directory"] == str(self.root / run)], ["stopped"])

    def test_a_killed_run_is_told_as_stopped(self):
        said = self.root / "killed.log"
        with said.open("wb") as log:
            process = subprocess.Popen([ATELIER, *self.train_arguments("killed", 4000)], env=self.environment, stderr=log)
        self.addCleanup(lambda: (process.kill(), process.wait()))
        cluster.wait_for("it trains", lambda: "epoch 3 done" in said.read_text(), 60)
        shown = lambda: json.loads(self.run_cli("runs", "show", str(self.root / "killed"), "--json").stdout)
        self.assertEqual(shown()["state"], "running")
        cluster.wait_for("the run's directory follows it", lambda: shown()["tasks"][0]["attempts"][0]["end_epoch"] >= 3, 30)
        process.kill()
        process.wait()
        self.check_stopped("killed")

    def test_a_recipe_of_a_run_is_one_for_other_pictures(self):
        other = pictures.make_dataset(self.root / "other", per_class=10, classes=("black", "white"), size=32)
        trained = self.run_cli("train", "--data", str(other), "--recipe", str(self.root / "done/recipe.yaml"),
                               "--epochs", "2", "--set", "stages.train.epochs=1", "--out", str(self.root / "reused"), "--json")
        self.assertEqual(trained.returncode, 0, trained.stderr)
        document = json.loads(trained.stdout)
        self.assertEqual(document["ensemble"]["name"], "other")
        self.assertEqual(document["ensemble"]["classes"], ["black", "white"])
        self.assertEqual(len(document["tasks"][0]["history"]), 1)  # --set is more particular than --epochs

    def test_stopped_and_continued_gives_the_undisturbed_weights(self):
        epochs = 400
        whole = self.run_cli(*self.train_arguments("whole", epochs))
        self.assertEqual(whole.returncode, 0, whole.stderr)
        process = subprocess.Popen([ATELIER, *self.train_arguments("stopped", epochs)],
                                   env=self.environment, stderr=subprocess.PIPE, text=True)
        lines = []
        for line in process.stderr:  # until it trains: its third epoch is done
            lines.append(line)
            if "epoch 3 done" in line:
                process.send_signal(signal.SIGINT)
                break
        lines += process.stderr.readlines()
        process.stderr.close()
        self.assertEqual(process.wait(60), 130, "".join(lines))
        command = re.search(r"continue with: atelier (runs resume .*)", "".join(lines)).group(1)
        self.check_stopped("stopped")
        resumed = self.run_cli(*command.split())
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        task, undisturbed = self.weights_of("stopped"), self.weights_of("whole")
        self.assertEqual(task["weights_digest"], undisturbed["weights_digest"])
        self.assertEqual(task["final_weights_digest"], undisturbed["final_weights_digest"])
        self.assertGreaterEqual(len(task["attempts"]), 2)
        start = task["attempts"][-1]
        self.assertGreater((start["start_epoch"], start["start_step"]), (0, 0))

    def test_wrong_usage_is_2_and_a_failure_is_1(self):
        recipe = self.root / "bad.yaml"
        recipe.write_text("stages:\n  - {name: train, epoch: 3}\n")
        out = self.root / "never"
        wrong = self.run_cli("train", "--data", str(self.data), "--recipe", str(recipe), "--out", str(out))
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("bad.yaml:2:19: unknown field \"epoch\"", wrong.stderr)
        self.assertFalse(out.exists())
        self.assertEqual(self.run_cli("train").returncode, 2)
        for unknown in (("nonsense",), ("runs", "nonsense")):
            wrong = self.run_cli(*unknown)
            self.assertEqual(wrong.returncode, 2)
            self.assertIn("Not understood: nonsense", wrong.stderr)
        portless = self.run_cli("health", "localhost")
        self.assertEqual(portless.returncode, 1)
        self.assertIn("HOST:PORT is expected", portless.stderr)
        self.assertEqual(self.run_cli("evaluate", "--ensemble", "nobody", "--data", str(self.data)).returncode, 1)
        done, pictures_here = str(self.root / "done"), str(self.data)
        for arguments in (("evaluate", "--ensemble", done, "--data", "nowhere"),
                          ("evaluate", "--ensemble", done, "--data", __file__),
                          ("evaluate", "--ensemble", "a@b", "--data", pictures_here),
                          ("predict", "nowhere", "--ensemble", done),
                          ("data", "inspect", "nowhere"),
                          ("data", "preview", pictures_here, "--recipe", "nope"),
                          ("data", "preview", pictures_here, "--stage", "nope"),
                          ("ensembles", "promote", "colours"),
                          ("ensembles", "promote", "colours@none")):
            wrong = self.run_cli(*arguments)
            self.assertEqual(wrong.returncode, 2, f"{arguments}: {wrong.stderr}")
            self.assertRegex(wrong.stderr, "^atelier: error: ")
        self.assertEqual(self.run_cli("ensembles", "promote", "colours@99").returncode, 1)
        self.assertEqual(self.run_cli("health", "127.0.0.1:9").returncode, 1)
        for arguments, code in (("127.0.0.1:9",), 1), ((), 2), (("--wrong",), 2), (("--help",), 0):
            probe = subprocess.run([pathlib.Path(ATELIER).with_name("atelier-health"), *arguments], capture_output=True, text=True)
            self.assertEqual(probe.returncode, code, probe.stderr)
        again = self.run_cli(*self.train_arguments("done", 4))
        self.assertEqual(again.returncode, 1)
        self.assertIn("holds a finished run", again.stderr)
        self.assertEqual(self.run_cli("--help").returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
