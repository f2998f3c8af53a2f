"""Lays out the demo's pictures: OUT/train/<class>/*.png, OUT/test/*.png and HELD_OUT/<class>/*.png.

Usage: demo_pictures.py PNG_ROOT OUT HELD_OUT [--per-class 100] [--seed 1]

PNG_ROOT is openclipart's folder png/. A seeded sample of at most --per-class pictures of each
category; 10 % of it is set aside before training: test/ holds those without their class, HELD_OUT
the same files by class, to score the predictions. Two pictures of 168 megapixels are always in
the training sample (the data-service must quarantine them), and so are byte-identical copies (it
must drop them), which therefore are never held out.
"""
import argparse
import hashlib
import pathlib
import random
import shutil
import struct

CATEGORIES = {
    "mammals": "animals/mammals",
    "birds": "animals/birds",
    "bugs": "animals/bugs",
    "fruit": "food/fruit",
    "flowers": "plants/flowers",
    "music": "recreation/music",
    "vehicles": "transportation/vehicles",
}
HELD_OUT_PART = 0.10
HUGE_PIXELS = 100_000_000


def pixels(path):
    with open(path, "rb") as file:
        header = file.read(24)
    width, height = struct.unpack(">II", header[16:24])
    return width * height


def link(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def flat_name(root, path):
    """A file name that says where the picture came from and is unique."""
    return "_".join(path.relative_to(root).parts)


def sample(root, category, per_class, random_source, copies):
    """(train, held out) paths of one category."""
    paths = sorted((root / category).rglob("*.png"))
    huge = [path for path in paths if pixels(path) > HUGE_PIXELS]
    rest = [path for path in paths if path not in huge]
    random_source.shuffle(rest)
    rest = rest[: per_class - len(huge)]
    wanted = max(1, round(HELD_OUT_PART * len(rest)))
    held_out = [path for path in rest if path not in copies][:wanted]
    return huge + [path for path in rest if path not in held_out], held_out


def byte_identical(root):
    by_digest = {}
    for category in CATEGORIES.values():
        for path in sorted((root / category).rglob("*.png")):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            by_digest.setdefault(digest, []).append(path)
    return {path for paths in by_digest.values() if len(paths) > 1 for path in paths}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("png_root", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("held_out", type=pathlib.Path)
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    for folder in (arguments.out, arguments.held_out):
        if folder.exists():
            shutil.rmtree(folder)
    random_source = random.Random(arguments.seed)
    copies = byte_identical(arguments.png_root)
    totals = [0, 0]
    for name, category in CATEGORIES.items():
        train, held_out = sample(arguments.png_root, category, arguments.per_class, random_source,
                                 copies)
        for path in train:
            link(path, arguments.out / "train" / name / flat_name(arguments.png_root, path))
        for path in held_out:
            link(path, arguments.out / "test" / flat_name(arguments.png_root, path))
            link(path, arguments.held_out / name / flat_name(arguments.png_root, path))
        totals[0] += len(train)
        totals[1] += len(held_out)
        print(f"demo: {name:9s} {len(train):3d} to train on, {len(held_out):2d} set aside")
    print(f"demo: {totals[0]} pictures to train on, {totals[1]} set aside as test/")


if __name__ == "__main__":
    main()
