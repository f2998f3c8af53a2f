"""make_pictures.py DIR: seven classes of 227x227 JPEGs, as many as the paintings, where there are none."""
import pathlib
import sys

import cv2
import numpy as np

rng = np.random.default_rng(1)
for name in ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person"):
    folder = pathlib.Path(sys.argv[1]) / name
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(240):
        coarse = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (227, 227), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        picture = np.clip(picture + rng.integers(-12, 13, picture.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{i:03}.jpg"), picture)
