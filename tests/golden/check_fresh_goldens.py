#!/usr/bin/env python3
"""Holds every backbone against Keras once more, with weights that nobody has seen: the goldens' formula
with another seed, saved by Keras, read by `atelier weights convert`, answered by `atelier model forward`.

Usage: check_fresh_goldens.py [--atelier build/bin/atelier] [--seed 2] [--size 200] [NAME…]
Needs numpy, keras with any backend. Default: the seven backbones of ../shared/goldens. Prints the worst
differences; fails above 2e-4 of the largest feature, or 1e-4 of a probability.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import keras_models as models  # first: it chooses the backend

import keras
import numpy as np

import reference_common as ref

GAP, PROBS = 2e-4, 1e-4
NAMES = ("xception", "inception_v3", "inception_resnet_v2", "densenet201", "efficientnet_b0", "efficientnet_b4",
         "efficientnet_b5")


def run(atelier, *words):
    done = subprocess.run([atelier, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{words}: {done.stderr}")


def check(atelier, name, size, folder):
    pixels = ref.picture(size)
    np.save(folder / "x.npy", pixels)
    backbone = models.build(name, size)
    models.fill_and_measure(backbone, models.scaled(pixels, name, "auto"))
    whole = models.with_head(backbone)
    backbone.save_weights(folder / "backbone.weights.h5")
    whole.save_weights(folder / "whole.weights.h5")
    for kind in ("backbone", "whole"):
        run(atelier, "weights", "convert", folder / f"{kind}.weights.h5", "--output", folder / f"{kind}.safetensors")
    worst = {}
    for scaling in ("auto", "notebook"):
        expected = whole.predict(models.scaled(pixels, name, scaling), verbose=0)
        for layer, wanted in zip(("gap", "probs"), expected):
            kind, head = ("whole", ["--head"]) if layer == "probs" else ("backbone", [])
            run(atelier, "model", "forward", "--backbone", name, "--weights", folder / f"{kind}.safetensors", *head,
                "--preprocess", scaling, "--input", folder / "x.npy", "--layer", layer, "--output", folder / "y.npy")
            difference = np.abs(np.load(folder / "y.npy") - wanted).max()
            worst[layer, scaling] = difference / np.abs(wanted).max() if layer == "gap" else difference
    print(f"{name:<20}", *(f"{layer} {scaling} {value:.1e}" for (layer, scaling), value in worst.items()), flush=True)
    for (layer, scaling), value in worst.items():
        assert value <= (GAP if layer == "gap" else PROBS), (name, layer, scaling, value)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atelier", default=str(pathlib.Path(__file__).parents[2] / "build/bin/atelier"))
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("names", nargs="*", default=NAMES)
    options = parser.parse_args()
    base = np.random.default_rng([options.seed, 7]).uniform(-1, 1, 4093).astype(np.float32)
    ref.base = lambda: base
    for name in options.names:
        with tempfile.TemporaryDirectory() as folder:
            check(options.atelier, name, options.size, pathlib.Path(folder))


main()
