"""Makes data/NAME_twin.json: what Keras answers, in float64, with the formula's weights on pictures
by formula. With ../shared/goldens at hand Keras is first held against those (fails when they
differ); EfficientNet-Lite0, which Keras has not, against efficientnet_lite0_reference.json.

Needs Keras 3.   Usage: make_keras_twins.py [NAME…]
"""
import json
import pathlib
import sys

import keras_models as models  # first: it chooses the backend

import keras
import numpy as np

import reference_common as ref

GOLDENS = pathlib.Path(__file__).parents[3] / "shared/goldens"
# (size, pictures, scaling, channels): odd and even, one and eight.
CASES = ((75, 1, "auto", 3), (98, 8, "auto", 3), (107, 8, "notebook", 3), (96, 1, "auto", 1),
         (224, 1, "auto", 3), (299, 1, "auto", 3))
KEPT_FEATURES = {1: 64, 8: 8}  # of each picture, by the number of pictures


def check(name, table):
    if name == "efficientnet_lite0":
        references = json.loads((ref.DATA / "efficientnet_lite0_reference.json").read_text())
        for size in (75, 96):
            reference = references[f"pattern_{size}"]
            gap = pooled(name, table, ref.picture(size), "auto")
            worst = np.abs(gap[:, ::reference["step"]] - reference["values"]).max()
            report(f"{name} {size} against torch-hub's", worst / reference["largest"])
    expected = GOLDENS / f"{name}.expected.npz"
    if expected.exists():
        for scaling in ("auto", "notebook"):
            wanted = np.load(expected)[f"gap_{scaling}"]
            gap = pooled(name, table, np.load(GOLDENS / "input.npy"), scaling)
            report(f"{name} {scaling} against the golden", np.abs(gap - wanted).max() / np.abs(wanted).max())


def report(what, worst):
    print(f"{what}: {worst:.1e} of the largest feature", flush=True)
    assert worst < 5e-5


def filled(name, table, size):
    model = models.build(name, size)
    models.fill(model, table)
    return model


def pooled(name, table, pixels, scaling):
    x = models.scaled(pixels, name, scaling).astype(np.float64)
    y = filled(name, table, x.shape[1])(x, training=False)
    return keras.ops.convert_to_numpy(y).mean((1, 2))


def grey(name, table, size):
    """As Atelier loads a colour file into a grey model (MemberModel::LoadTensors)."""
    values = [keras.ops.convert_to_numpy(v) for v in filled(name, table, size).weights]
    model = models.build(name, size, channels=1)
    for variable, value in zip(model.weights, values, strict=True):
        if tuple(variable.shape) != value.shape:
            value = value.mean(-1, keepdims=True) if value.ndim == 1 else value.sum(2, keepdims=True)
        variable.assign(value)
    for layer in model.layers:
        models.refresh(layer)
    return model


def measured_table(name, x):
    """In place of the goldens' table, which was made for another picture: with it activations grow
    so large here that float32 cannot tell a fault from rounding."""
    x = np.repeat(x, 3, axis=-1) if x.shape[-1] == 1 else x
    return models.fill_and_measure(models.build(name, x.shape[1]), x)


def twin(name):
    golden_table = models.table_of(name, GOLDENS)
    if golden_table is not None:
        check(name, golden_table)
    entries = {}
    for size, pictures, scaling, channels in CASES:
        x = models.scaled(ref.picture(size, pictures)[..., :channels], name, scaling).astype(np.float64)
        table = measured_table(name, x)
        model = grey(name, table, size) if channels == 1 else filled(name, table, size)
        gap, probs = (keras.ops.convert_to_numpy(y) for y in models.with_head(model)(x, training=False))
        entries[f"{scaling}_{size}_{channels}x{pictures}"] = (
            {"size": size, "pictures": pictures, "scaling": scaling, "channels": channels,
             "batch_norms": table}
            | ref.keep(gap, KEPT_FEATURES[pictures]) | {"probs": ref.rounded(probs)})
    ref.write(f"{name}_twin.json", entries)


keras.config.set_floatx("float64")
for chosen in sys.argv[1:] or models.FEATURES:
    twin(chosen)
