"""Three of the notebook's backbones through train, evaluate and predict, with weights of the goldens.

Skipped where ../shared is not. tests/e2e/test_embedded_cli.py is its small twin.
"""
import json
import math
import os
import pathlib
import sys
import tempfile
import unittest

import cluster
import pictures
from npy import read_npy

GOLDENS = pathlib.Path(__file__).resolve().parents[3] / "shared/goldens"
MEMBERS = ("xception", "efficientnet_b4", "densenet201")
RECIPE = """
image: {size: 96}
batch_size: 4
stages:
  - name: train
    epochs: 1
    optimizer: {learning_rate: 0.0001}
"""


class ManyBackbones(unittest.TestCase):
    def test_train_evaluate_predict(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            data = pictures.make_dataset(folder / "pictures", per_class=8, size=96, test=3)
            home = {"ATELIER_HOME": str(folder / "home")}
            for name in MEMBERS:
                cluster.run_atelier("weights", "fetch", name, "--file", GOLDENS / f"{name}.notop.h5", env=home)
            (folder / "recipe.yaml").write_text(RECIPE)
            run = folder / "run"
            trained = cluster.run_atelier("train", "--data", data, "--members", ",".join(MEMBERS), "--recipe",
                                          folder / "recipe.yaml", "--offline", "--out", run, "--json", env=home, timeout=900)
            tasks = json.loads(trained.stdout)["tasks"]
            self.assertEqual(sorted(task["member"] for task in tasks), sorted(MEMBERS))
            self.assertEqual({task["state"] for task in tasks}, {"done"})

            scores = json.loads(cluster.run_atelier("evaluate", "--ensemble", run, "--data", data / "train", "--json",
                                                    env=home, timeout=300).stdout)
            self.assertEqual(sorted(scores["members"]), sorted(MEMBERS))
            self.assertEqual(scores["images"], 24)
            cluster.run_atelier("predict", data / "test", "--ensemble", run, "--probabilities", folder / "p.npy",
                                "--member-probabilities", folder / "members", env=home, timeout=300)
            members = [read_npy(folder / "members" / f"{name}.npy") for name in MEMBERS]
            for i, row in enumerate(read_npy(folder / "p.npy")):
                self.assertAlmostEqual(math.fsum(row), 1, places=5)
                for c, probability in enumerate(row):
                    self.assertAlmostEqual(probability, math.fsum(m[i][c] for m in members) / len(members), places=6)


if __name__ == "__main__":
    if not GOLDENS.is_dir():
        print(f"SKIPPED: {os.path.relpath(GOLDENS)} is not here")
        sys.exit(77)
    unittest.main(verbosity=2)
