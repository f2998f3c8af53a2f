#!/usr/bin/env python3
"""Writes tests/unit/vision/testdata/keras/: one small picture and what Keras-Preprocessing 1.1.2
makes of it for given parameters. Needs numpy, scipy, pillow and keras_preprocessing==1.1.2.

cases.csv: name, operation, a number per parameter; NAME.rgb: uint8 HWC, 24 x 32 x 3.
"""
import csv
import os

import numpy as np
import scipy.ndimage

# SciPy dropped this old name of the same module.
if not hasattr(scipy.ndimage, "interpolation"):
    scipy.ndimage.interpolation = scipy.ndimage

from keras_preprocessing.image import affine_transformations as keras  # noqa: E402

HEIGHT, WIDTH = 24, 32
OUT = os.path.join(os.path.dirname(__file__), "..", "unit", "vision", "testdata", "keras")


def picture():
    """Waves, a disc and a bar with hard edges, some noise; levels 20..235."""
    rows, cols = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    planes = [
        128 + 70 * np.sin(rows / 5.0 + cols / 9.0),
        128 + 60 * np.cos(cols / 4.0 - rows / 7.0),
        90 + 3.0 * cols + 1.5 * rows,
    ]
    image = np.stack(planes, axis=-1)
    image[(rows - 9) ** 2 + (cols - 20) ** 2 < 25] = (220, 40, 60)
    image[15:19, 4:14] = (30, 200, 210)
    image += np.random.RandomState(7).uniform(-8, 8, image.shape)
    return np.clip(image, 20, 235).astype(np.uint8)


def centred(offset):
    """Keras 3 moved the centre from S/2 + 0.5 to S/2 - 0.5; the rest is unchanged."""

    def offset_center(matrix, x, y):
        o_x, o_y = float(x) / 2 + offset, float(y) / 2 + offset
        there = np.array([[1, 0, o_x], [0, 1, o_y], [0, 0, 1]])
        back = np.array([[1, 0, -o_x], [0, 1, -o_y], [0, 0, 1]])
        return np.dot(np.dot(there, matrix), back)

    return offset_center


def affine(image, offset, theta, tx, ty, shear, zx, zy):
    original = keras.transform_matrix_offset_center
    keras.transform_matrix_offset_center = centred(offset) if offset < 0 else original
    try:
        out = keras.apply_affine_transform(
            image.astype(np.float32), theta=theta, tx=tx, ty=ty, shear=shear, zx=zx, zy=zy,
            fill_mode="nearest", order=1)
    finally:
        keras.transform_matrix_offset_center = original
    return np.rint(out)


def brightness(image, factor, stretch):
    if stretch:
        return keras.apply_brightness_shift(image.astype(np.float32), factor)
    from PIL import Image, ImageEnhance  # Keras 3: no stretch

    return np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(factor))


AFFINE = {  # centre offset, theta, tx, ty, shear, zx, zy
    "rotation": (-0.5, 15, 0, 0, 0, 1, 1),
    "rotation_back": (-0.5, -7.3, 0, 0, 0, 1, 1),
    "shift_rows": (-0.5, 0, 2.4, 0, 0, 1, 1),
    "shift_cols": (-0.5, 0, 0, -3.1, 0, 1, 1),
    "shear_small": (-0.5, 0, 0, 0, 0.1, 1, 1),
    "shear_large": (-0.5, 0, 0, 0, 20, 1, 1),
    "zoom": (-0.5, 0, 0, 0, 0, 0.8, 1.2),
    "all": (-0.5, -11, 1.7, -2.2, 5, 1.15, 0.85),
    "all_tf24_centre": (0.5, 9, -1.2, 2.9, -4, 0.9, 1.1),
}
BRIGHTNESS = {  # factor, stretch
    "brightness_dark": (0.6, 0),
    "brightness_bright": (1.4, 0),
    "brightness_stretch_dark": (0.63, 1),
    "brightness_stretch_bright": (1.37, 1),
}


def main():
    os.makedirs(OUT, exist_ok=True)
    image = picture()
    rows = []

    def write(name, pixels, operation="", values=()):
        np.asarray(pixels).astype(np.uint8).tofile(os.path.join(OUT, name + ".rgb"))
        if operation:
            rows.append([name, operation, *values])

    write("input", image)
    for name, values in AFFINE.items():
        write(name, affine(image, *values), "affine", values)
    for name, values in BRIGHTNESS.items():
        write(name, brightness(image, *values), "brightness", values)
    write("flip_horizontal", keras.flip_axis(image, 1), "flip_horizontal")
    write("flip_vertical", keras.flip_axis(image, 0), "flip_vertical")
    with open(os.path.join(OUT, "cases.csv"), "w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
