#!/usr/bin/env python3
"""Makes a folder of goldens of your own Keras weights, for `atelier model check NAME --goldens DIR`.

Usage: make_goldens.py NAME --weights FILE --output DIR [--size 200]
FILE: what Keras loads into keras.applications' NAME without top (.weights.h5, or an official or own
legacy .h5). Needs numpy, h5py, keras with any backend. Written are input.npy (noise and waves),
NAME.notop.h5 (FILE as it is), NAME.full.weights.h5 (with a random head), NAME.expected.npz and
NAME.layers.json: Keras' answers for both preprocessings.
"""
import argparse
import json
import pathlib
import shutil

import keras_models as models  # first: it chooses the backend

import keras
import numpy as np

IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def input_pixels(size):
    n, h, w, c = np.meshgrid(*(np.arange(k) for k in (2, size, size, 3)), indexing="ij")
    waves = 128 + 60 * np.sin(h / (7 + 3 * n) + c) + 40 * np.cos(w / (5 + n + c))
    return np.clip(waves + np.random.default_rng(5).normal(0, 12, waves.shape), 0, 255).astype(np.uint8)


def divide_once_more(model):
    """What keras.applications does for weights="imagenet" only; says whether it was due."""
    layer = next((x for x in model.layers if isinstance(x, keras.layers.Normalization)), None)
    if layer is None or not np.allclose(layer.adapt_variance, IMAGENET_DEVIATION, rtol=1e-3):
        return False
    layer.adapt_variance.assign(layer.adapt_variance * IMAGENET_DEVIATION)
    layer.finalize_state()
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--weights", required=True, type=pathlib.Path)
    parser.add_argument("--output", required=True, type=pathlib.Path)
    parser.add_argument("--size", type=int, default=200)
    options = parser.parse_args()
    name, out = options.name, options.output
    out.mkdir(parents=True, exist_ok=True)

    backbone = models.build(name, options.size)
    backbone.load_weights(options.weights)
    keras.utils.set_random_seed(11)
    full = keras.Sequential([backbone, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(512, "relu"),
                             keras.layers.Dropout(0.5), keras.layers.Dense(7, "softmax")])
    full.build((None, options.size, options.size, 3))
    full.save_weights(out / f"{name}.full.weights.h5")
    shutil.copyfile(options.weights, out / f"{name}.notop.h5")
    pixels = input_pixels(options.size)
    np.save(out / "input.npy", pixels)

    answers = {}
    for how in ("notebook", "auto"):  # auto last: it may change the model
        if how == "auto" and divide_once_more(backbone):
            print("the statistics are ImageNet's: divided once more, as Keras does for its own weights")
        x = models.scaled(pixels, name, how)
        answers[f"gap_{how}"] = backbone.predict(x, verbose=0).mean((1, 2))
        answers[f"probs_{how}"] = full.predict(x, verbose=0)
    np.savez(out / f"{name}.expected.npz", **answers)

    layers = keras.Model(backbone.inputs, [layer.output for layer in backbone.layers])
    outputs = layers.predict(models.scaled(pixels, name, "auto"), verbose=0)
    statistics = {layer.name: [float(np.mean(y, dtype=np.float64)), float(np.std(y, dtype=np.float64))]
                  for layer, y in zip(backbone.layers, outputs)}
    (out / f"{name}.layers.json").write_text(json.dumps({"params": backbone.count_params(), "layers": statistics}))
    print(f"wrote {out}; now run: atelier model check {name} --goldens {out}")


main()
