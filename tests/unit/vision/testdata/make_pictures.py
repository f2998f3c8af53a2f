#!/usr/bin/env python3
"""Writes the small pictures of this folder, beside each the pixels it must become (NAME.rgb, uint8
HWC, upright, over white), and expected.csv: file, width, height. Needs numpy and pillow.
"""
import binascii
import csv
import os
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
WIDTH, HEIGHT = 20, 12
ROWS = []


def picture():
    rows, cols = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([40 + 10 * cols, 60 + 14 * rows, 200 - 5 * cols - 4 * rows], -1).astype(np.uint8)


def save(name, image, expected, **options):
    image.save(os.path.join(HERE, name), **options)
    expect(name, expected)


def expect(name, expected):
    expected = np.asarray(expected, dtype=np.uint8)
    expected.tofile(os.path.join(HERE, name + ".rgb"))
    ROWS.append([name, expected.shape[1], expected.shape[0]])


def over_white(rgba):
    rgba = np.asarray(rgba).astype(np.int64)
    alpha = rgba[..., 3:]
    return (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255


def as_decoded(name):
    return np.asarray(ImageOps.exif_transpose(Image.open(os.path.join(HERE, name))).convert("RGB"))


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", binascii.crc32(body))


def png(name, expected, depth, color, lines, interlace=0, extra=b""):
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, color, 0, 0, interlace)
    data = b"".join(b"\0" + line for line in lines)
    with open(os.path.join(HERE, name), "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra +
                  chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))
    expect(name, expected)


def adam7(rgb):
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1)]
    for top, left, down, right in passes:
        part = rgb[top::down, left::right]
        if part.size:
            yield from (row.tobytes() for row in part)


def jpegs(rgb):
    image = Image.fromarray(rgb)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        name = f"orientation{orientation}.jpg"
        image.save(os.path.join(HERE, name), quality=95, subsampling=0, exif=exif)
        expect(name, as_decoded(name))
    for name, source, options in [
            ("plain.jpg", image, {"quality": 90}),
            ("progressive.jpg", image, {"quality": 90, "progressive": True}),
            ("grey.jpg", image.convert("L"), {"quality": 95}),
            ("cmyk.jpg", image.convert("CMYK"), {"quality": 95})]:
        source.save(os.path.join(HERE, name), **options)
        expect(name, as_decoded(name))
    # Larger than the 700 bytes that RELIABILITY.md cuts a JPEG to.
    noise = np.random.RandomState(1).randint(0, 256, (HEIGHT * 4, WIDTH * 4, 3), dtype=np.uint8)
    Image.fromarray(noise).save(os.path.join(HERE, "noise.jpg"), quality=60)
    expect("noise.jpg", as_decoded("noise.jpg"))
    with open(os.path.join(HERE, "plain.jpg"), "rb") as whole:
        data = whole.read()
    with open(os.path.join(HERE, "trailing_bytes.jpg"), "wb") as out:
        out.write(data + b"\0\0more")
    expect("trailing_bytes.jpg", as_decoded("plain.jpg"))


def pngs(rgb, rgba):
    grey = rgb[..., 1]
    three = np.stack([grey] * 3, -1)
    save("rgb.png", Image.fromarray(rgb), rgb)
    save("rgba.png", Image.fromarray(rgba), over_white(rgba))
    grey_alpha = np.concatenate([three, rgba[..., 3:]], -1)
    save("grey_alpha.png", Image.fromarray(grey_alpha).convert("LA"), over_white(grey_alpha))
    save("grey.png", Image.fromarray(grey), three)
    palette = Image.fromarray(rgb).quantize(16)
    save("palette.png", palette, np.asarray(palette.convert("RGB")))
    clear = palette.copy()
    clear.info["transparency"] = 3
    pixels = np.asarray(palette.convert("RGB")).copy()
    pixels[np.asarray(palette) == 3] = 255
    save("palette_transparent.png", clear, pixels, transparency=3)
    bits = Image.fromarray(grey > 130)
    save("one_bit.png", bits, np.asarray(bits.convert("RGB")))
    low = (np.arange(WIDTH)[None, :, None] * 11 + np.zeros_like(rgb)).astype(np.uint16)
    wide = (rgb.astype(np.uint16) << 8 | low).astype(">u2")
    png("rgb16.png", rgb, 16, 2, [row.tobytes() for row in wide])
    png("grey16.png", three, 16, 0, [row.tobytes() for row in wide[..., 1]])
    keyed = rgb.copy()
    keyed[3, 4] = 255
    key = struct.pack(">HHH", *(int(v) for v in rgb[3, 4]))
    png("colour_key.png", keyed, 8, 2, [row.tobytes() for row in rgb], extra=chunk(b"tRNS", key))
    png("interlaced.png", rgb, 8, 2, adam7(rgb), interlace=1)
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    png("orientation6.png", np.rot90(rgb, -1), 8, 2, [row.tobytes() for row in rgb],
        extra=chunk(b"eXIf", exif))
    frames = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    save("animated.png", frames[0], rgb, save_all=True, append_images=frames[1:])


def webps(rgb, rgba):
    image = Image.fromarray(rgb)
    save("lossless.webp", image, rgb, lossless=True)
    image.save(os.path.join(HERE, "lossy.webp"), quality=90)
    expect("lossy.webp", as_decoded("lossy.webp"))
    save("alpha.webp", Image.fromarray(rgba), over_white(rgba), lossless=True, exact=True)
    frames = [image, Image.fromarray(255 - rgb)]
    save("animated.webp", image, rgb, save_all=True, append_images=frames[1:], lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 8
    save("orientation8.webp", image, np.rot90(rgb, 1), lossless=True, exif=exif)


def bmps(rgb, rgba):
    image = Image.fromarray(rgb)
    save("rgb.bmp", image, rgb)
    save("rgba.bmp", Image.fromarray(rgba), rgb)
    save("grey.bmp", image.convert("L"), np.asarray(image.convert("L").convert("RGB")))
    palette = image.quantize(16)
    save("palette.bmp", palette, np.asarray(palette.convert("RGB")))
    with open(os.path.join(HERE, "rgb.bmp"), "rb") as whole:
        data = bytearray(whole.read())
    struct.pack_into("<i", data, 22, -HEIGHT)
    with open(os.path.join(HERE, "top_down.bmp"), "wb") as out:
        out.write(data)
    expect("top_down.bmp", rgb[::-1])


def nearest():
    """Lines: from, to, hash of Pillow's source indices (h = h * 31 + index, 32 bits)."""
    rng = np.random.RandomState(3)
    pairs = [(227, 200), (7, 16), (199, 200), (600, 200), (1000, 224), (50, 200), (3, 16)]
    pairs += [(int(rng.randint(1, 2000)), int(rng.randint(16, 1025))) for _ in range(193)]
    with open(os.path.join(HERE, "pillow_nearest.txt"), "w") as out:
        for source, target in pairs:
            line = Image.fromarray(np.arange(source, dtype=np.int32)[None, :])
            indices = np.asarray(line.resize((target, 1), Image.NEAREST))[0]
            value = 0
            for index in indices:
                value = (value * 31 + int(index)) & 0xffffffff
            print(source, target, value, file=out)


def main():
    rgb = picture()
    alpha = np.broadcast_to(np.arange(WIDTH) * 13, (HEIGHT, WIDTH)).astype(np.uint8)
    rgba = np.concatenate([rgb, alpha[..., None]], -1)
    jpegs(rgb)
    pngs(rgb, rgba)
    webps(rgb, rgba)
    bmps(rgb, rgba)
    nearest()
    with open(os.path.join(HERE, "expected.csv"), "w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(ROWS)


if __name__ == "__main__":
    main()
