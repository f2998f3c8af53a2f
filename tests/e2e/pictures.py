"""Small, learnable pictures without any library: PNGs whose class is a colour and a pattern."""
import pathlib
import random
import struct
import zlib


def write_png(path, width, height, rows):
    """rows: iterable of bytes, 3 * width each (RGB)."""
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    raw = b"".join(b"\0" + row for row in rows)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                     chunk(b"IDAT", zlib.compress(raw, 1)) + chunk(b"IEND", b""))


def picture_rows(size, label, random_source):
    """Class 0 is reddish with horizontal stripes, 1 greenish with vertical ones, 2 bluish and plain."""
    base = [60, 60, 60]
    base[label % 3] = 190
    noise = random_source.randbytes(3 * size * size)
    for y in range(size):
        row = bytearray()
        for x in range(size):
            stripe = 40 if (label == 0 and y % 8 < 4) or (label == 1 and x % 8 < 4) else 0
            for c in range(3):
                row.append(min(255, base[c] + stripe + noise[3 * (y * size + x) + c] % 32))
        yield bytes(row)


def make_dataset(folder, per_class=64, classes=("red", "green", "blue"), size=40, test=0, seed=7):
    """DIR/train/<class>/*.png (and DIR/test/*.png when `test` > 0)."""
    folder = pathlib.Path(folder)
    random_source = random.Random(seed)
    for label, name in enumerate(classes):
        (folder / "train" / name).mkdir(parents=True, exist_ok=True)
        for i in range(per_class):
            write_png(folder / "train" / name / f"{name}-{i:03d}.png", size, size,
                      picture_rows(size, label, random_source))
    if test:
        (folder / "test").mkdir(parents=True, exist_ok=True)
        for i in range(test):
            write_png(folder / "test" / f"picture-{i:03d}.png", size, size,
                      picture_rows(size, i % len(classes), random_source))
    return folder
