"""atelier model list, show, forward and check on weights made here (tiny_cnn).

Standard library only. What a layer should be is computed from other layers' answers.
"""
import json
import math
import os
import pathlib
import random
import struct
import subprocess
import tempfile
import unittest
import zipfile

import cluster
from npy import read_array, write_uint8
from safetensors import write_safetensors

ATELIER = str(cluster.BIN / "atelier")


def run(*words, code=0):
    done = subprocess.run([ATELIER, *map(str, words)], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (words, done.returncode, done.stderr)
    return done


def model_weights(seed=1, head=()):
    """Random tiny_cnn by the variables that `model show` lists; head = (hidden units, classes)."""
    noise = random.Random(seed)
    shown = json.loads(run("model", "show", "tiny_cnn", "--json").stdout)
    tensors = {}

    def put(name, shape):
        n = math.prod(shape)
        positive = name.endswith(("variance", "gamma"))
        tensors[name] = (shape, [noise.uniform(0.5, 1.5) if positive else noise.uniform(-0.4, 0.4)
                                 for _ in range(n)])

    for layer in shown["layers"]:
        for variable in layer["variables"]:
            put("backbone/" + variable["name"], variable["shape"])
    width = shown["features"]
    for layer, units in zip(("dense", "predictions"), head):
        put(f"head/{layer}/kernel", [units, width])
        put(f"head/{layer}/bias", [units])
        width = units
    return tensors


class ModelVerbs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.temp.name)
        os.environ["ATELIER_HOME"] = str(cls.root / "home")  # an empty cache of weights
        cls.tensors = model_weights(head=(8, 3))
        cls.weights = cls.root / "w.safetensors"
        write_safetensors(cls.weights, cls.tensors, {"backbone": "tiny_cnn"})
        noise = random.Random(7)
        cls.input = cls.root / "x.npy"
        # 17 x 33 pixels: nothing is resized.
        write_uint8(cls.input, (2, 17, 33, 3), bytes(noise.randrange(256) for _ in range(2 * 17 * 33 * 3)))

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def forward(self, layer, *words):
        out = self.root / "y.npy"
        run("model", "forward", "--weights", self.weights, "--input", self.input, "--layer", layer,
            "--output", out, *words)
        return read_array(out)

    def test_list_and_show_agree(self):
        rows = json.loads(run("model", "list", "--json").stdout)
        for row in rows:
            if row["name"] not in ("xception", "efficientnet_b0", "tiny_cnn"):
                continue
            shown = json.loads(run("model", "show", row["name"], "--json").stdout)
            for key in ("parameters", "trainable_parameters", "flop", "features"):
                self.assertEqual(row[key], shown[key], row["name"])
            self.assertEqual(row["parameters"], sum(layer["parameters"] for layer in shown["layers"]))
        self.assertIn("xception", run("model", "list").stdout)
        self.assertIn("conv1 (Conv2D)", run("model", "show", "tiny_cnn").stdout)
        self.assertEqual(run("model", "show", "resnet", code=2).stdout, "")

    def test_gap_is_the_mean_of_the_last_layer(self):
        shape, last = self.forward("sepconv2_act")
        self.assertEqual(shape, (2, 5, 9, 64))
        _, gap = self.forward("gap")
        for n in range(2):
            for c in range(64):
                mean = sum(last[((n * 5 + h) * 9 + w) * 64 + c] for h in range(5) for w in range(9)) / 45
                self.assertAlmostEqual(mean, gap[n * 64 + c], places=5)

    def test_probs_are_the_head_on_gap(self):
        shape, probs = self.forward("probs", "--head")
        self.assertEqual(shape, (2, 3))
        _, gap = self.forward("gap", "--head")

        def dense(layer, x):
            kernel, bias = self.tensors[f"head/{layer}/kernel"], self.tensors[f"head/{layer}/bias"]
            units, width = kernel[0]
            return [bias[1][u] + sum(kernel[1][u * width + i] * x[i] for i in range(width)) for u in range(units)]

        for n in range(2):
            hidden = [max(0.0, y) for y in dense("dense", gap[n * 64:n * 64 + 64])]
            powers = [math.exp(y) for y in dense("predictions", hidden)]
            for c in range(3):
                self.assertAlmostEqual(powers[c] / sum(powers), probs[n * 3 + c], places=5)

    def test_preprocessings_differ_as_told(self):
        # conv1 is linear: conv(x/127.5 - 1) against conv(x/255), where no padding is.
        kernel = self.tensors["backbone/conv1/kernel"][1]
        _, auto = self.forward("conv1", "--preprocess", "auto")
        shape, notebook = self.forward("conv1", "--preprocess", "notebook")
        self.assertEqual(shape, (2, 9, 17, 16))
        for c in range(16):
            at = (4 * 17 + 8) * 16 + c
            self.assertAlmostEqual(auto[at], 2 * notebook[at] - sum(kernel[c * 27:c * 27 + 27]), places=4)

    def test_without_output_it_says_statistics(self):
        facts = json.loads(run("model", "forward", "--weights", self.weights, "--input", self.input,
                               "--json").stdout)
        self.assertEqual(facts["shape"], [2, 64])
        _, gap = self.forward("gap")
        self.assertAlmostEqual(facts["mean"], sum(gap) / len(gap), places=5)

    def test_a_picture_is_taken_at_its_own_size(self):
        picture = self.root / "p.bmp"
        rows = bytes(range(200)) * 30
        picture.write_bytes(struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54 + 20 * 60, 0, 0, 54, 40, 20, 20, 1, 24,
                                        0, 20 * 60, 2835, 2835, 0, 0) + rows[:20 * 60])
        facts = json.loads(run("model", "forward", "--weights", self.weights, "--input", picture,
                               "--layer", "conv1", "--json").stdout)
        self.assertEqual(facts["shape"], [1, 10, 10, 16])

    def test_refusals_say_what_to_do(self):
        bare = self.root / "bare.safetensors"
        write_safetensors(bare, model_weights(), {})
        for words, text in (
                (("--weights", bare, "--input", self.input), "--backbone"),
                (("--weights", bare, "--backbone", "tiny_cnn", "--input", self.input, "--layer", "probs"), "no head"),
                (("--weights", bare, "--backbone", "xception", "--input", self.input), "do not fit"),
                (("--weights", self.input, "--backbone", "tiny_cnn", "--input", self.input), "weights convert"),
                (("--weights", self.weights, "--input", self.weights), "picture"),
                (("--weights", self.weights, "--input", self.input, "--layer", "conv9"), "model show tiny_cnn"),
                (("--backbone", "efficientnet_b5", "--input", self.input), "weights fetch")):
            error = run("model", "forward", *words, code=1).stderr
            self.assertIn(text, error, words)
        small = self.root / "small.npy"
        write_uint8(small, (1, 8, 8, 3), bytes(192))
        self.assertIn("say which --backbone", run("model", "forward", "--input", small, "--output", "x", code=2).stderr)
        self.assertIn("at least 16x16", run("model", "forward", "--weights", self.weights, "--input", small,
                                            code=1).stderr)

    def test_check_compares_and_names_the_first_layer_that_differs(self):
        folder = self.root / "goldens"
        folder.mkdir()
        (folder / "input.npy").write_bytes(self.input.read_bytes())
        self.assertIn("make_goldens.py", run("model", "check", "tiny_cnn", "--goldens", folder, code=1).stderr)

        def expected(off=0.0):
            arrays = {}
            for layer in ("gap", "probs"):
                for how in ("auto", "notebook"):
                    self.forward(layer, "--preprocess", how, "--head")
                    data = bytearray((self.root / "y.npy").read_bytes())
                    if off:
                        value = struct.unpack("<f", data[-4:])[0]
                        data[-4:] = struct.pack("<f", value + off)
                    arrays[f"{layer}_{how}.npy"] = bytes(data)
            with zipfile.ZipFile(folder / "tiny_cnn.expected.npz", "w") as archive:
                for name, data in arrays.items():
                    archive.writestr(name, data)

        check = ("model", "check", "tiny_cnn", "--goldens", folder, "--weights", self.weights)
        expected()
        self.assertEqual(run(*check).stdout.count("agrees"), 4)
        expected(off=0.01)
        conv1 = json.loads(run("model", "forward", "--weights", self.weights, "--input", self.input, "--layer",
                               "conv1", "--json").stdout)
        layers = {"conv1": [conv1["mean"], conv1["deviation"]], "conv1_bn": [99, 1]}
        (folder / "tiny_cnn.layers.json").write_text(json.dumps({"layers": layers}))
        told = json.loads(run(*check, "--json", code=1).stdout)
        self.assertEqual([row["agrees"] for row in told["rows"]], [False] * 4)
        self.assertEqual(told["first_different_layer"], "conv1_bn")


if __name__ == "__main__":
    unittest.main()
