#!/usr/bin/env python3
"""Holds what `atelier weights export` writes against other readers' answers: Keras 3 (from PyPI, any
backend), onnx' checker and shape inference, onnxruntime and OpenVINO.

Usage: KERAS_BACKEND=jax check_exports.py [--atelier build/bin/atelier] [--size 96] [BACKBONE…]
Needs numpy, keras with a backend, onnx, onnxruntime, openvino. For each backbone (default: all), with weights by
the goldens' formula and a head: .weights.h5 as the printed Python loads it, .keras, and ONNX plain, folded,
NHWC with preprocessing and dynamic batch; EfficientNets once more with ImageNet's statistics inside.
Fails when a probability differs by more than 1e-4, or a pooled feature by more than 2e-4 of the largest.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import keras_models as models  # first: it chooses the backend

import keras
import numpy as np
import onnx
import onnxruntime
import openvino

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
from safetensors import read_safetensors, write_safetensors  # noqa: E402

PROBS, GAP = 1e-4, 2e-4
HEAD = (12, 5)
IMAGENET_STATISTICS = np.array([0.229, 0.224, 0.225])


def run(atelier, *words):
    done = subprocess.run([atelier, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{words}: {done.stderr}")
    return done.stdout


def weights_of(atelier, folder, name, pixels, imagenet_statistics):
    """A file of Atelier's: the goldens' formula, its batch norms measured on `pixels` so that activations stay
    small (with plainly random ones they grow until one rounding decides the answer), and a head."""
    model = models.build(name, pixels.shape[1])
    # With ImageNet's statistics pixels are divided once more.
    models.fill_and_measure(model, models.scaled(pixels, name, "auto"),
                            IMAGENET_STATISTICS ** 2 if imagenet_statistics else None)
    if imagenet_statistics:
        for layer in model.layers:
            if isinstance(layer, keras.layers.Normalization):
                layer.adapt_variance.assign(IMAGENET_STATISTICS)
    model.save_weights(folder / "k.weights.h5")
    converted = folder / "c.safetensors"
    run(atelier, "weights", "convert", folder / "k.weights.h5", "--backbone", name, "--output", converted)
    tensors, metadata = read_safetensors(converted)
    rng = np.random.default_rng(len(name))
    width = model.output_shape[-1]
    for layer, units in zip(("dense", "predictions"), HEAD):
        for leaf, shape, bound in (("kernel", (units, width), width ** -0.5), ("bias", (units,), 0.1)):
            tensors[f"head/{layer}/{leaf}"] = shape, rng.uniform(-bound, bound, shape).astype("<f4").tobytes()
        width = units
    write_safetensors(folder / "w.safetensors", tensors, metadata)
    return folder / "w.safetensors"


class Subject:
    def __init__(self, options, folder, name, imagenet_statistics=False):
        self.atelier, self.folder, self.name, self.size = options.atelier, folder, name, options.size
        self.pixels = np.random.default_rng(3).integers(0, 256, (3, self.size, self.size, 3), np.uint8)
        self.weights = weights_of(self.atelier, folder, name, self.pixels, imagenet_statistics)
        np.save(folder / "x.npy", self.pixels)
        self.expected = {layer: self.forward(layer) for layer in ("gap", "probs")}
        self.worst = {}

    def forward(self, layer):
        run(self.atelier, "model", "forward", "--weights", self.weights, "--head", "--input", self.folder / "x.npy",
            "--layer", layer, "--output", self.folder / "y.npy")
        return np.load(self.folder / "y.npy")

    def export(self, file, *words):
        told = json.loads(run(self.atelier, "weights", "export", self.weights, "--output", self.folder / file,
                              "--size", self.size, "--json", *words))
        return self.folder / file, told

    def preprocessed(self, told):
        mean, divisor = (np.array(json.loads(part), np.float32) for part in
                         told["input"].replace("(x - ", "").split(") / "))
        return (self.pixels.astype(np.float32) - mean) / divisor

    def compare(self, what, layer, ours):
        expected = self.expected[layer]
        assert ours.shape == expected.shape, (what, ours.shape, expected.shape)
        difference = float(np.abs(ours - expected).max())
        if layer == "gap":
            difference /= float(np.abs(expected).max())
        self.worst[what] = difference
        assert difference <= (GAP if layer == "gap" else PROBS), (self.name, what, difference)

    def keras(self):
        path, told = self.export("m.keras")
        self.compare(".keras", "probs", keras.models.load_model(path).predict(self.preprocessed(told), verbose=0))
        path, told = self.export("m.weights.h5")
        if "has no" in told["python"]:
            return
        scope = {}
        exec(told["python"], scope)  # the lines a user is given
        self.compare(".weights.h5", "probs", scope["model"].predict(self.preprocessed(told), verbose=0))
        path, told = self.export("b.weights.h5", "--no-head")
        exec(told["python"], scope)
        features = scope["model"].predict(self.preprocessed(told), verbose=0)
        self.compare(".weights.h5 backbone", "gap", features.mean((1, 2)))

    def onnx(self, what, layer, *words):
        path, told = self.export("m.onnx", *words)
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        known = {value.name for value in inferred.graph.value_info} | {value.name for value in model.graph.output}
        made = {name for node in model.graph.node for name in node.output}
        assert made <= known, f"no shape for {sorted(made - known)[:3]}"
        x = self.pixels if "--with-preprocessing" in words else self.preprocessed(told)
        if "nhwc" not in words:
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        quiet = onnxruntime.SessionOptions()
        quiet.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, quiet, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        assert session.get_outputs()[0].name == {"gap": "gap", "probs": "probabilities"}[layer]
        self.compare(f"onnxruntime {what}", layer, session.run(None, {name: x})[0])
        # float32: OpenVINO may otherwise choose bf16 where the processor has it.
        compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        self.compare(f"openvino {what}", layer, compiled(x)[0])

    def check(self):
        self.keras()
        self.onnx("plain", "probs", "--batch", 3)
        self.onnx("folded", "probs", "--fold")
        self.onnx("pixels nhwc", "probs", "--layout", "nhwc", "--with-preprocessing")
        self.onnx("backbone", "gap", "--no-head", "--layout", "nhwc")
        worst = max(self.worst, key=self.worst.get)
        print(f"{self.name:<20} {len(self.worst):>2} readings agree, worst {self.worst[worst]:.1e} ({worst})", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--atelier", default=str(pathlib.Path(__file__).parents[2] / "build/bin/atelier"))
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--statistics", choices=("own", "imagenet", "both"), default="both",
                        help="of the Normalization inside EfficientNets")
    parser.add_argument("backbones", nargs="*")
    options = parser.parse_args()
    names = options.backbones or [row["name"] for row in json.loads(run(options.atelier, "model", "list", "--json"))]
    for name in names:
        for imagenet_statistics in (False, True):
            if imagenet_statistics and not name.startswith("efficientnet_b"):
                continue
            if options.statistics == ("own" if imagenet_statistics else "imagenet"):
                continue
            with tempfile.TemporaryDirectory() as folder:
                Subject(options, pathlib.Path(folder), name, imagenet_statistics).check()


if __name__ == "__main__":
    main()
