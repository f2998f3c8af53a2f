#!/usr/bin/env python3
"""Holds every backbone against Keras once more, with weights that nobody has seen: the goldens' formula
with another seed, saved by Keras, read by `atelier weights convert`, answered by `atelier model forward`.

Usage: check_fresh_goldens.py [--atelier build/bin/atelier] [--seed 2] [--size 200] [NAME…]
Needs numpy, keras with any backend. Default: the seven backbones of ../shared/goldens. Prints the worst
differences of Atelier and of Keras' own float32 from Keras' float64; fails when Atelier's is above 2e-4 of
the largest feature, or 1e-4 of a probability, and also above twice Keras' own.
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


def exact(name, table, x, size):
    """Keras' (gap, probs) in float64, with the same weights."""
    keras.config.set_floatx("float64")
    try:
        backbone = models.build(name, size)
        models.fill(backbone, table)
        return models.with_head(backbone).predict(x.astype(np.float64), verbose=0)
    finally:
        keras.config.set_floatx("float32")


def check(atelier, name, scaling, size, folder):
    """(worst difference of Atelier, of Keras' float32) for gap and probs. The batch norms expect what this
    preprocessing gives."""
    pixels = ref.picture(size)
    np.save(folder / "x.npy", pixels)
    x = models.scaled(pixels, name, scaling)
    backbone = models.build(name, size)
    table = models.fill_and_measure(backbone, x)
    whole = models.with_head(backbone)
    backbone.save_weights(folder / "gap.weights.h5")
    whole.save_weights(folder / "probs.weights.h5")
    rows = []
    for layer, rounded, wanted in zip(("gap", "probs"), whole.predict(x, verbose=0), exact(name, table, x, size)):
        run(atelier, "weights", "convert", folder / f"{layer}.weights.h5", "--output", folder / "w.safetensors")
        run(atelier, "model", "forward", "--backbone", name, "--weights", folder / "w.safetensors",
            *(["--head"] if layer == "probs" else []), "--preprocess", scaling, "--input", folder / "x.npy",
            "--layer", layer, "--output", folder / "y.npy")
        unit = np.abs(wanted).max() if layer == "gap" else 1
        rows.append([np.abs(answer - wanted).max() / unit for answer in (np.load(folder / "y.npy"), rounded)])
    return rows


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
                rows = check(options.atelier, name, scaling, options.size, pathlib.Path(folder))
            print(f"{name:<20} {scaling:<8}", *(f"{layer} {ours:.1e} (Keras' float32 {keras32:.1e})" for layer, (
                ours, keras32) in zip(("gap", "probs"), rows)), flush=True)
            for (ours, keras32), bound in zip(rows, (GAP, PROBS)):
                assert ours <= max(bound, 2 * keras32), (ours, bound)


main()
