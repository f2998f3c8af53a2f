"""train_keras.py BACKBONE SIZE BATCH float32|bfloat16 SECONDS: images/s of Keras' compiled training step on TensorFlow."""
import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from keras_models import member
from rounds import answer_rounds, rate

backbone, size, batch, precision, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5])
jit = {"auto": "auto", "1": True, "0": False}[os.environ.get("BENCH_KERAS_JIT", "0")]
if precision == "bfloat16":
    keras.config.set_dtype_policy("mixed_bfloat16")
model = member(backbone, size)
model.compile(keras.optimizers.Adam(1e-4), "categorical_crossentropy", metrics=["accuracy"], jit_compile=jit)
pixels = tf.constant(np.random.default_rng(1).integers(0, 256, (batch, size, size, 3), dtype=np.uint8))
labels = tf.constant(np.eye(7, dtype=np.float32)[np.arange(batch) % 7])


def step():
    model.train_on_batch(pixels, labels)
    return batch


for _ in range(3):
    step()
answer_rounds(lambda: rate(step, seconds))
