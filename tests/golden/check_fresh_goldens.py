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


def check(atelier, name, scaling, size, folder):
    """(gap, probs): the worst differences. The batch norms expect what this preprocessing gives."""
    pixels = ref.picture(size)
    np.save(folder / "x.npy", pixels)
    x = models.scaled(pixels, name, scaling)
    backbone = models.build(name, size)
    models.fill_and_measure(backbone, x)
    whole = models.with_head(backbone)
    backbone.save_weights(folder / "gap.weights.h5")
    whole.save_weights(folder / "probs.weights.h5")
    worst = []
    for layer, wanted in zip(("gap", "probs"), whole.predict(x, verbose=0)):
        run(atelier, "weights", "convert", folder / f"{layer}.weights.h5", "--output", folder / "w.safetensors")
        run(atelier, "model", "forward", "--backbone", name, "--weights", folder / "w.safetensors",
            *(["--head"] if layer == "probs" else []), "--preprocess", scaling, "--input", folder / "x.npy",
            "--layer", layer, "--output", folder / "y.npy")
        difference = np.abs(np.load(folder / "y.npy") - wanted).max()
        worst.append(difference / np.abs(wanted).max() if layer == "gap" else difference)
    return worst


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
        for scaling in ("auto", "notebook"):
            with tempfile.TemporaryDirectory() as folder:
                gap, probs = check(options.atelier, name, scaling, options.size, pathlib.Path(folder))
            print(f"{name:<20} {scaling:<8} gap {gap:.1e} probs {probs:.1e}", flush=True)
            assert gap <= GAP and probs <= PROBS


main()
