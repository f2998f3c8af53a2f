"""pipeline_tf.py DIR SIZE BATCH WORKERS: images/s of a tf.data epoch (tf.image and ImageProjectiveTransformV3)."""
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import math

import tensorflow as tf

from pictures import list_pictures
from rounds import answer_rounds, rate

folder, size, batch, workers = sys.argv[1], *map(int, sys.argv[2:5])
files, labels, classes = list_pictures(folder)


def affine(picture):
    angle = tf.random.uniform([], -15, 15) * math.pi / 180
    shear = tf.random.uniform([], -0.1, 0.1) * math.pi / 180
    zoom = tf.random.uniform([2], 0.8, 1.2)
    shift = tf.random.uniform([2], -0.1, 0.1) * size
    centre = size / 2 - 0.5
    a, b = tf.cos(angle) * zoom[0], -tf.sin(angle + shear) * zoom[1]
    c, d = tf.sin(angle) * zoom[0], tf.cos(angle + shear) * zoom[1]
    matrix = tf.stack([a, b, centre - a * centre - b * centre + shift[0],
                       c, d, centre - c * centre - d * centre + shift[1], 0.0, 0.0])
    return tf.raw_ops.ImageProjectiveTransformV3(images=picture[None], transforms=matrix[None], output_shape=[size, size],
                                                 fill_value=0.0, interpolation="BILINEAR", fill_mode="NEAREST")[0]


def sample(file, label):
    picture = tf.image.resize(tf.io.decode_jpeg(tf.io.read_file(file), 3), [size, size])
    picture = affine(picture)
    picture = tf.image.random_flip_up_down(tf.image.random_flip_left_right(picture))
    picture = tf.clip_by_value(picture * tf.random.uniform([], 0.6, 1.4), 0, 255)
    return tf.cast(picture, tf.uint8), tf.one_hot(label, classes)


def mix(picture, label, partner, partner_label):
    u = tf.clip_by_value(tf.random.uniform([]), 0.2, 0.8)
    side = tf.cast((size - 1) * u, tf.int32)
    top = tf.random.uniform([], 0, size - side, tf.int32)
    left = tf.random.uniform([], 0, size - side, tf.int32)
    rows, columns = tf.range(size)[:, None, None], tf.range(size)[None, :, None]
    box = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return tf.where(box, partner, picture), label * (1 - u * u) + partner_label * u * u


def cutmix(pictures, labels):
    return tf.map_fn(lambda x: mix(*x), (pictures, labels, tf.roll(pictures, 1, 0), tf.roll(labels, 1, 0)),
                     fn_output_signature=(tf.uint8, tf.float32))


options = tf.data.Options()
options.threading.private_threadpool_size = workers
data = (tf.data.Dataset.from_tensor_slices((files, labels)).shuffle(len(files))
        .map(sample, num_parallel_calls=workers).batch(batch).map(cutmix, num_parallel_calls=workers)
        .prefetch(2).with_options(options))


def epoch():
    return sum(int(pixels.shape[0]) for pixels, _ in data)


epoch()
answer_rounds(lambda: rate(epoch, 0))
