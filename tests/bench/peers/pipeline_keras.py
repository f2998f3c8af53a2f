"""pipeline_keras.py DIR SIZE BATCH WORKERS: images/s of ImageDataGenerator (TF 2.4's: Keras-Preprocessing), no CutMix.

Each of the worker processes makes its share of the epoch's batches, as Keras' `workers` did.
"""
import multiprocessing
import sys

import numpy as np

from rounds import answer_rounds, rate

folder, size, batch, workers = sys.argv[1], *map(int, sys.argv[2:5])


def produce(asked, made):
    sys.stdout = sys.stderr  # it says how many pictures it found
    import scipy.ndimage
    if not hasattr(scipy.ndimage, "interpolation"):
        scipy.ndimage.interpolation = scipy.ndimage  # the name of 2020
    from keras_preprocessing.image import DirectoryIterator, ImageDataGenerator
    generator = ImageDataGenerator(rescale=1 / 255, horizontal_flip=True, vertical_flip=True, brightness_range=(0.6, 1.4),
                                   rotation_range=15, shear_range=0.1, zoom_range=0.2, width_shift_range=0.1,
                                   height_shift_range=0.1)
    batches = generator.flow_from_directory(folder, (size, size), batch_size=batch)
    made.put(len(batches))
    for step in iter(asked.get, None):
        made.put(batches[step])


if __name__ == "__main__":
    asked, made = multiprocessing.Queue(), multiprocessing.Queue(8)
    pool = [multiprocessing.Process(target=produce, args=(asked, made), daemon=True) for _ in range(workers)]
    for process in pool:
        process.start()
    steps = [made.get() for _ in pool][0]

    def part():
        """A fifth of an epoch: the slowest of all."""
        some = max(1, steps // 5)
        for step in range(some):
            asked.put(step)
        return sum(len(made.get()[0]) for _ in range(some))

    answer_rounds(lambda: rate(part, 0))
