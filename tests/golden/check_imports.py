#!/usr/bin/env python3
"""Has Keras 3 write its kinds of weights and holds what `atelier weights convert` makes of them
against Keras' own arrays, bit by bit.

Usage: KERAS_BACKEND=jax check_imports.py [--atelier build/bin/atelier] [BACKBONE…]
For each backbone (default: xception, efficientnet_b0): .weights.h5 and legacy .h5 of the backbone, a
.keras and a legacy .h5 of a bigger model that the backbone is nested in (augmentation before it, a
deeper head after it), and a .keras of a model that continues the backbone's own graph. Needs numpy,
h5py and keras with any backend. Prints the peak memory of each conversion; fails when it reaches 2.5
times the file.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("KERAS_BACKEND", "jax")
import keras  # noqa: E402
import numpy as np  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
from safetensors import read_safetensors  # noqa: E402

SIZE = 96
# keras.applications' classes by Atelier's ids.
CLASSES = {"xception": "Xception", "inception_v3": "InceptionV3", "inception_resnet_v2": "InceptionResNetV2",
           "densenet201": "DenseNet201"} | {f"efficientnet_b{i}": f"EfficientNetB{i}" for i in range(6)}
LARGEST = 2.5  # peak memory by the file's size
BASE = 24 << 20  # of a process that has read nothing yet: matters for small files only


# A child's peak counts what its parent held when it was started: a small parent in between.
MEASURE = """import resource, subprocess, sys
done = subprocess.run(sys.argv[2:], capture_output=True)
open(sys.argv[1], "wb").write(done.stdout)
sys.stderr.buffer.write(done.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(done.returncode)"""


def convert(atelier, source, output):
    """The report and the peak resident memory in bytes, of atelier-convert alone."""
    told = output.with_suffix(".json")
    words = [pathlib.Path(atelier).with_name("atelier-convert"), source, "--output", output, "--json"]
    done = subprocess.run([sys.executable, "-S", "-c", MEASURE, told, *words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{source.name}: {done.stderr}")
    return json.loads(told.read_text()), int(done.stdout)


def expected_bytes(model):
    """Keras' variables of the backbone in its order, in LibTorch's layout."""
    out = []
    for layer in model.layers:
        for variable in layer.variables:
            if "seed" in variable.path:
                continue
            value = np.asarray(variable).astype("<f4")
            if value.ndim == 4:
                depthwise = "depthwise" in variable.path or isinstance(layer, keras.layers.DepthwiseConv2D)
                value = value.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
            out.append(np.ascontiguousarray(value).tobytes())
    return out


def save_all(name, folder):
    """(file, backbone whose tensors it must hold) for each kind."""
    layers = keras.layers
    backbone = getattr(keras.applications, CLASSES[name])(include_top=False, weights=None,
                                                          input_shape=(SIZE, SIZE, 3))
    for variable in backbone.variables:  # no zeros, no ones: a mix-up would show
        rng = np.random.default_rng(abs(hash(variable.path)) % 2**32)
        if "seed" not in variable.path and "count" not in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape).astype("float32"))
    backbone.save_weights(folder / "b.weights.h5")
    backbone.save(folder / "b.keras")
    backbone.save(folder / "b_model.h5")
    nested = keras.Sequential([layers.Input((SIZE, SIZE, 3)), layers.RandomFlip(), layers.RandomRotation(0.1), backbone,
                               layers.GlobalAveragePooling2D(), layers.BatchNormalization(), layers.Dense(16, "relu"),
                               layers.Dense(8, "relu"), layers.Dense(3, "softmax")])
    nested.save(folder / "nested.keras")
    nested.save(folder / "nested_model.h5")
    nested.save_weights(folder / "nested.weights.h5")
    y = layers.Dense(5, "softmax")(layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(backbone.output)))
    keras.Model(backbone.input, y).save(folder / "continued.keras")
    return backbone


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--atelier", default=str(pathlib.Path(__file__).parents[2] / "build/bin/atelier"))
    parser.add_argument("backbones", nargs="*", default=["xception", "efficientnet_b0"])
    options = parser.parse_args()
    for name in options.backbones:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            backbone = save_all(name, folder)
            expected = sorted(expected_bytes(backbone))
            for source in sorted(folder.iterdir()):
                report, peak = convert(options.atelier, source, folder / "w.safetensors")
                tensors, _ = read_safetensors(folder / "w.safetensors")
                got = sorted(data for key, (_, data) in tensors.items() if key.startswith("backbone/"))
                assert report["backbone"] == name and report["guessed"], report["backbone"]
                assert got == expected, f"{source.name}: other tensors"
                ratio = (peak - BASE) / source.stat().st_size
                print(f"{name:<16} {source.name:<18} {report['tensors']:>4} tensors, left out "
                      f"{len(report['left_out']):>2}, peak {peak / 2**20:.0f} MiB for {source.stat().st_size / 2**20:.0f}"
                      f" MiB", flush=True)
                assert ratio < LARGEST, ratio
                source.unlink()


if __name__ == "__main__":
    main()
