"""Makes data/NAME_training.json and .f64: ten steps of Keras' own training, in float64, from the
formula's weights on fixed batches by formula, dropout and stochastic depth off.

Two variants: "plain" (one-hot labels), and "weighted" (soft labels, class weights, L2 on the hidden
kernel). Of every tensor the files keep a count sketch, four sums that together see every number, of
its gradient at step one (Adam's m / (1 - beta1)) and of its change over all steps. Keras does the
same in float32; how far that ends from its own float64 is kept too.

Needs Keras 3 (KERAS_BACKEND=tensorflow by default; jax works as well, with JAX_ENABLE_X64=1).
Usage: make_training_reference.py [--compare] [NAME…]
--compare writes nothing, but prints how far this backend is from the committed files.
"""
import json
import pathlib
import sys

import keras_models as models  # first: it chooses the backend

import keras
import numpy as np

import reference_common as ref

GOLDENS = pathlib.Path(__file__).parents[3] / "shared/goldens"
NOTEBOOKS_SIX = ("xception", "inception_v3", "inception_resnet_v2", "densenet201", "efficientnet_b4",
                 "efficientnet_b5")
CLASSES, BATCH, STEPS, RATE = 7, 4, 10, 1e-4
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7
L2 = 2.0 ** -10  # the same in float32
CLASS_WEIGHTS = (0.5, 1, 1.5, 2, 0.75, 1.25, 1)
SIZES = {name: 107 if name.startswith("inception") else 75 for name in models.FEATURES}
BUCKETS = 4


def sketch(values):
    """The C++ twin is SketchOf of training_run.cc; values in Keras' layout."""
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    h = np.arange(flat.size, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(2**32)
    signed = np.where(h >> np.uint64(29) & np.uint64(1), flat, -flat)
    return np.bincount((h >> np.uint64(30)).astype(np.int64), signed, BUCKETS)


def labels(first, soft):
    y = np.zeros((BATCH, CLASSES))
    for i in range(BATCH):
        likely = (first + i) * 3 % CLASSES
        y[i, likely] = 0.75 if soft else 1
        y[i, (likely + 2) % CLASSES] += 0.25 if soft else 0
    return y


def values_of(variables):
    return [keras.ops.convert_to_numpy(v).astype(np.float64) for v in variables]


def train(name, table, precision, weighted, turn=0):
    """Losses, and a sketch a tensor: gradients, changes, changes of statistics. Each batch begins
    with its picture number `turn`: the same training, rounded in another way."""
    keras.config.set_floatx(precision)
    backbone = models.build(name, SIZES[name])
    models.fill(backbone, table)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    model = models.with_head(backbone, classes=CLASSES, l2=L2 if weighted else 0.0)
    model = keras.Model(model.input, model.output[1])
    # In float64 as NumPy's numbers: TensorFlow would take Python's to float32 on their way, 7e-6 off.
    number = np.float64 if precision == "float64" else float
    adam = keras.optimizers.Adam(RATE, beta_1=number(BETA1), beta_2=number(BETA2), epsilon=number(EPSILON))
    # Ten steps are sooner done than a graph is made of them.
    jax = keras.backend.backend() == "jax"
    model.compile(adam, keras.losses.CategoricalCrossentropy(), jit_compile=jax, run_eagerly=not jax)
    pixels = models.scaled(ref.picture(SIZES[name], BATCH * STEPS), name, "auto")
    trained = model.trainable_variables
    statistics = [v for layer in model.layers for v in layer.non_trainable_variables
                  if v.path.rsplit("/", 1)[-1].startswith("moving_")]
    before = values_of(trained), values_of(statistics)
    losses = []
    for step in range(STEPS):
        x = np.roll(pixels[step * BATCH:(step + 1) * BATCH], -turn, 0)
        y = np.roll(labels(step * BATCH, weighted), -turn, 0)
        model.reset_metrics()
        loss = model.train_on_batch(
            x.astype(precision), y.astype(precision),
            class_weight=dict(enumerate(CLASS_WEIGHTS)) if weighted else None)
        losses.append(float(loss[0] if isinstance(loss, (list, tuple)) else loss))
        if step == 0:
            gradients = [sketch(m / (1 - BETA1)) for m in values_of(model.optimizer._momentums)]
    changes = [sketch(a - b) for a, b in zip(values_of(trained), before[0], strict=True)]
    moved = [sketch(a - b) for a, b in zip(values_of(statistics), before[1], strict=True)]
    return losses, np.array(gradients), np.array(changes), np.array(moved)


def distance(ours, theirs):
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def distances(ours, theirs):
    worst_loss = max(abs(a - b) / b for a, b in zip(ours[0], theirs[0], strict=True))
    return {"loss": worst_loss} | {what: distance(ours[i], theirs[i])
                                   for i, what in ((1, "gradients"), (2, "changes"), (3, "statistics"))}


def distances_of_float32(name, table, weighted, wide):
    """Of Keras' float32 from its float64, the largest of three: one alone is much of a chance."""
    turns = [distances(train(name, table, "float32", weighted, turn), wide) for turn in range(3)]
    return {what: max(turn[what] for turn in turns) for what in turns[0]}


def kept(name):
    """The committed reference, as train returns it."""
    document = json.loads((ref.DATA / f"{name}_training.json").read_text())
    numbers = np.fromfile(ref.DATA / f"{name}_training.f64", dtype="<f8").reshape(-1, BUCKETS)
    trained, moved, start = document["trained"], document["statistics"], 0
    out = {}
    for variant in ("plain", "weighted"):
        cuts = np.split(numbers[start:start + 2 * trained + moved], (trained, 2 * trained))
        out[variant] = (document[variant]["losses"], *cuts)
        start += 2 * trained + moved
    return out


def main():
    arguments = sys.argv[1:]
    compare = "--compare" in arguments
    for name in [a for a in arguments if a != "--compare"] or NOTEBOOKS_SIX:
        document, numbers = {"size": SIZES[name], "batch": BATCH, "learning_rate": RATE, "l2": L2,
                             "class_weights": CLASS_WEIGHTS}, []
        table = models.table_of(name, GOLDENS)
        for variant in ("plain", "weighted"):
            wide = train(name, table, "float64", variant == "weighted")
            if compare:
                print(name, variant, distances(wide, kept(name)[variant]), flush=True)
                continue
            narrow = distances_of_float32(name, table, variant == "weighted", wide)
            document |= {"batch_norms": table, "trained": len(wide[1]), "statistics": len(wide[3]),
                         variant: {"losses": wide[0], "keras_float32": narrow}}
            numbers += wide[1:]
            print(name, variant, "Keras' float32 from its float64:", narrow, flush=True)
        if not compare:
            ref.write(f"{name}_training.json", document)
            (ref.DATA / f"{name}_training.f64").write_bytes(np.concatenate(numbers).astype("<f8").tobytes())


if __name__ == "__main__":
    main()
