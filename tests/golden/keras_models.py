"""Backbones in Keras by Atelier's ids, filled by the goldens' formula, for the scripts beside this
file. Needs Keras 3 with any backend.

EfficientNet-Lite is no part of Keras: it is written down here from its paper's table and
tensorflow/tpu's efficientnet/lite.
"""
import json
import math
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import reference_common as ref

FEATURES = {"xception": 2048, "inception_v3": 2048, "inception_resnet_v2": 1536, "densenet201": 1920,
            "efficientnet_b0": 1280, "efficientnet_b1": 1280, "efficientnet_b2": 1408,
            "efficientnet_b3": 1536, "efficientnet_b4": 1792, "efficientnet_b5": 2048,
            "efficientnet_lite0": 1280, "efficientnet_lite1": 1280, "efficientnet_lite2": 1280}
CLASSES = {"xception": "Xception", "inception_v3": "InceptionV3",
           "inception_resnet_v2": "InceptionResNetV2", "densenet201": "DenseNet201"}
CLASSES |= {f"efficientnet_b{i}": f"EfficientNetB{i}" for i in range(6)}
LITE_SCALES = {"efficientnet_lite0": (1.0, 1.0), "efficientnet_lite1": (1.0, 1.1),
               "efficientnet_lite2": (1.1, 1.2)}
# Repeats, kernel, stride, expansion, filters.
LITE_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
               (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))


def lite(width, depth, shape):
    layers = keras.layers

    def round_filters(filters):
        scaled = filters * width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * scaled else rounded

    def norm(x, relu6=True):
        x = layers.BatchNormalization(epsilon=1e-3, momentum=0.99)(x)
        return layers.ReLU(6)(x) if relu6 else x

    def conv(x, filters, kernel=1, stride=1):
        return layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)

    image = layers.Input(shape)
    x = norm(conv(image, 32, 3, 2))
    for index, (repeats, kernel, stride, expansion, filters) in enumerate(LITE_STAGES):
        filters = round_filters(filters)
        count = repeats if index in (0, 6) else math.ceil(repeats * depth)
        for i in range(count):
            y = norm(conv(x, x.shape[-1] * expansion)) if expansion > 1 else x
            y = norm(layers.DepthwiseConv2D(kernel, stride if i == 0 else 1, padding="same",
                                            use_bias=False)(y))
            y = norm(conv(y, filters), relu6=False)
            x = layers.Add()([y, x]) if i > 0 else y
    return keras.Model(image, norm(conv(x, 1280)))


def build(name, size, channels=3):
    """For one input size: Keras' EfficientNets choose their padding by it, and of an unknown size
    they think that it is even. The layers' names count from the beginning."""
    keras.utils.clear_session()
    shape = (size, size, channels)
    if name in LITE_SCALES:
        return lite(*LITE_SCALES[name], shape)
    model = getattr(keras.applications, CLASSES[name])(weights=None, include_top=False, input_shape=shape)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Rescaling):
            # TensorFlow takes Python's numbers to float32 on their way to float64, NumPy's it keeps.
            layer.scale = np.float64(layer.scale)
    return model


def scaled(pixels, name, scaling):
    """float32, in the steps of common/nn/scaling.cc."""
    mean, divisor = [0.0] * 3, [1.0] * 3
    if scaling == "notebook":
        divisor = [255.0] * 3
    elif name in LITE_SCALES:
        mean, divisor = [127.0] * 3, [128.0] * 3
    elif name == "densenet201":
        mean = [255 * np.float32(m) for m in (0.485, 0.456, 0.406)]
        divisor = [255 * np.float32(s) for s in (0.229, 0.224, 0.225)]
    elif not name.startswith("efficientnet"):
        mean, divisor = [127.5] * 3, [127.5] * 3
    mean, divisor = np.float32(mean), np.float32(divisor)
    if pixels.shape[-1] == 1:
        mean, divisor = ((v[0] + v[1] + v[2]) / np.float32(3) for v in (mean, divisor))
    return (pixels.astype(np.float32) - mean) / divisor


def kind_of(layer, variable):
    name = variable.path.rsplit("/", 1)[-1]
    if isinstance(layer, keras.layers.Normalization):
        return "normalization_" + name
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return "depthwise_kernel"
    return name if name in ("gamma", "beta", "bias", "moving_mean", "moving_variance",
                            "depthwise_kernel") else "kernel"


def refresh(layer):
    """Normalization answers from constants that it makes of its variables when they are loaded."""
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()


class Filler:
    """Assigns the formula's values; variables are counted in Keras' order."""

    def __init__(self, model):
        self.index = {id(v): i for i, v in enumerate(model.weights)}

    def fill(self, layer, m=0.0, s=1.0):
        for variable in layer.weights:
            variable.assign(ref.variable(kind_of(layer, variable), self.index[id(variable)],
                                         tuple(variable.shape), m, s))
        refresh(layer)


def fill(model, table):
    """table: {layer: [m, s]}, or [[m, s], …] in the order of the batch norms."""
    filler = Filler(model)
    norms = 0
    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            filler.fill(layer)
            continue
        filler.fill(layer, *(table[layer.name] if isinstance(table, dict) else table[norms]))
        norms += 1


def fill_and_measure(model, x, variance=None):
    """Fills layer by layer while x runs through; each batch norm takes the m and s of what enters
    it. Returns [[m, s], …] in the order of the batch norms. `variance`: of the pixels, in place of
    the formula's."""
    filler = Filler(model)
    measured = {}

    def prepared(layer):
        def call(*args, **kwargs):
            m, s = 0.0, 1.0
            if isinstance(layer, keras.layers.BatchNormalization):
                y = keras.ops.convert_to_numpy(args[0])
                m, s = float(f"{y.mean():.4g}"), float(f"{y.var():.4g}")
                measured[layer.name] = [m, s]
            filler.fill(layer, m, s)
            if variance is not None and isinstance(layer, keras.layers.Normalization):
                layer.adapt_variance.assign(variance)
                refresh(layer)
            return layer(*args, **kwargs)
        return call

    model._run_through_graph(keras.ops.convert_to_tensor(x), operation_fn=prepared)
    return [measured[layer.name] for layer in model.layers if layer.name in measured]


def table_of(name, goldens):
    """The goldens' table of a backbone, or the one in data/, or None."""
    for path in (goldens / f"{name}.bn.json", ref.DATA / f"{name}_bn.json"):
        if path.exists():
            return json.loads(path.read_text())
    return None


def with_head(backbone, units=512, classes=7, l2=0.0):
    """Pooling, dense, dense; filled by the formula, which counts on after the backbone's."""
    features = keras.layers.GlobalAveragePooling2D()(backbone.output)
    regularizer = keras.regularizers.L2(l2) if l2 > 0 else None
    hidden = keras.layers.Dense(units, activation="relu", kernel_regularizer=regularizer)
    predictions = keras.layers.Dense(classes, activation="softmax")
    model = keras.Model(backbone.input, [features, predictions(hidden(features))])
    i = len(backbone.weights)
    for variable in (*hidden.weights, *predictions.weights):
        variable.assign(ref.variable(kind_of(None, variable), i, tuple(variable.shape)))
        i += 1
    return model
