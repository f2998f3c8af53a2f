"""The goldens' formula (../shared/goldens/README.md) and the pictures the references are made of."""
import json
import pathlib

import numpy as np

DATA = pathlib.Path(__file__).parent / "data"
KEPT_FEATURES = 64  # of each picture's pooled features, evenly spread


def base():
    return np.random.default_rng([1, 7]).uniform(-1, 1, 4093).astype(np.float32)


def p(i, shape):
    return np.resize(np.roll(base(), -(i * 977)), shape).astype(np.float64)


def picture(size, pictures=2):
    """uint8 [pictures, size, size, 3] by formula; the C++ twin is PatternPictures."""
    n, h, w, c = np.meshgrid(*(np.arange(k, dtype=np.int64) for k in (pictures, size, size, 3)), indexing="ij")
    return ((7 * h + 13 * w + 29 * c + 101 * n + (h * w) % 17 * 5) % 256).astype(np.uint8)


def variable(kind, i, shape, m=0.0, s=1.0):
    """`shape` is Keras' layout; float32 as the golden files."""
    values = p(i, shape)
    if kind == "gamma":
        values = 1 + 0.3 * values
    elif kind == "normalization_count":
        return np.zeros(shape)
    elif kind == "normalization_variance":
        values = 1 + 0.4 * values
    elif kind in ("beta", "bias", "normalization_mean"):
        values = 0.1 * values
    elif kind == "moving_mean":
        values = m + 0.1 * np.sqrt(s) * values
    elif kind == "moving_variance":
        values = s * (1 + 0.4 * values)
    elif kind == "depthwise_kernel":
        values = values * np.sqrt(6 / (shape[0] * shape[1]))
    else:
        values = values * np.sqrt(6 / np.prod(shape[:-1]))
    return values.astype(np.float32)


def rounded(rows):
    return [[float(f"{x:.9g}") for x in row] for row in rows]


def keep(gap, kept=KEPT_FEATURES):
    gap = np.asarray(gap, dtype=np.float64)
    step = gap.shape[1] // kept
    return {"step": step, "largest": float(np.abs(gap).max()), "values": rounded(gap[:, ::step])}


def write(name, document):
    if isinstance(document, dict):  # one line an entry
        text = "{" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in document.items()) + "}"
    else:
        text = json.dumps(document)
    (DATA / name).write_text(text + "\n")
    print("wrote", DATA / name)
