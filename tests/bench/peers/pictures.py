"""Files and labels of DIR/<class>/*.jpg, and CutMix as RECIPE has it, on whole batches."""
import pathlib

import numpy as np


def list_pictures(folder):
    files = sorted(str(file) for file in pathlib.Path(folder).glob("*/*.jpg"))
    classes = sorted({pathlib.Path(file).parent.name for file in files})
    return files, [classes.index(pathlib.Path(file).parent.name) for file in files], len(classes)


def cutmix(pixels, labels, rng):
    """uint8 [N,S,S,3], float [N,K], in place; the partner is the next picture of the batch, as in torchvision."""
    partners, partner_labels, size = np.roll(pixels, 1, 0).copy(), np.roll(labels, 1, 0), pixels.shape[1]
    for i in range(len(pixels)):
        r = np.clip(rng.beta(1, 1), 0.2, 0.8)
        side = int((size - 1) * r)
        top, left = rng.integers(0, size - side, 2)
        pixels[i, top:top + side, left:left + side] = partners[i, top:top + side, left:left + side]
        labels[i] = labels[i] * (1 - r * r) + partner_labels[i] * r * r
    return pixels, labels
