#!/usr/bin/env python3
"""Writes tests/unit/vision/testdata/sklearn_split.txt. Needs numpy, scikit-learn, imbalanced-learn.

A line: seed fraction k, then k counts of the classes, k of training, k of validation, and k after
imblearn's RandomUnderSampler.
"""
import os

import numpy as np
from imblearn.under_sampling import RandomUnderSampler
from sklearn.model_selection import train_test_split

OUT = os.path.join(os.path.dirname(__file__), "..", "unit", "vision", "testdata")


def main():
    rng = np.random.RandomState(1)
    cases = [(42, 0.1, [101] * 7), (42, 0.1, [184] * 7), (42, 0.1, [379, 255, 285, 184, 201, 295, 449])]
    while len(cases) < 60:
        k = int(rng.randint(2, 9))
        low, high = (10, 14) if len(cases) % 2 else (5, 200)
        counts = [int(c) for c in rng.randint(low, high, size=k)]
        fraction = float(rng.choice([0.1, 0.2, 0.25, 0.33, 0.5]))
        if np.ceil(sum(counts) * fraction) >= k:
            cases.append((int(rng.randint(0, 2**31)), fraction, counts))
    with open(os.path.join(OUT, "sklearn_split.txt"), "w") as out:
        for seed, fraction, counts in cases:
            k = len(counts)
            labels = np.repeat(np.arange(k), counts)
            items = np.arange(len(labels))
            train, val = train_test_split(
                items, test_size=fraction, stratify=labels, random_state=seed)
            kept, _ = RandomUnderSampler(random_state=seed).fit_resample(
                items.reshape(-1, 1), labels)
            parts = [np.bincount(labels[part], minlength=k)
                     for part in (train, val, np.asarray(kept).ravel())]
            print(seed, fraction, k, *counts, *(n for part in parts for n in part), file=out)


if __name__ == "__main__":
    main()
