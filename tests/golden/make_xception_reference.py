"""Makes data/xception_reference.json, data/xception_bn.json and data/pattern_base.f32.

Xception in numpy, float64, written down from the paper and Keras' layer names. It is first held
against Keras' own answers in ../shared/goldens (fails when they differ), then answers for the
pictures the self-contained test uses.   Usage: make_xception_reference.py [GOLDENS]
"""
import json
import pathlib
import sys

import numpy as np

import reference_common as ref

goldens = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else
                       pathlib.Path(__file__).parents[3] / "shared/goldens")
bn_table = json.loads((goldens / "xception.bn.json").read_text())
counter = 0


def next_variable(kind, shape, m=0.0, s=1.0):
    global counter
    counter += 1
    return ref.variable(kind, counter - 1, shape, m, s).astype(np.float64)


def pad_same(x, k, stride, value=0.0):
    pads = []
    for n in x.shape[1:3]:
        total = max((-(-n // stride) - 1) * stride + k - n, 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=value)


def windows(x, k, stride):
    h, w = ((n - k) // stride + 1 for n in x.shape[1:3])
    for i in range(k):
        for j in range(k):
            yield i, j, x[:, i:i + (h - 1) * stride + 1:stride, j:j + (w - 1) * stride + 1:stride]


def conv(x, filters, k=1, stride=1, same=True):
    kernel = next_variable("kernel", (k, k, x.shape[-1], filters))
    x = pad_same(x, k, stride) if same else x
    return sum(v @ kernel[i, j] for i, j, v in windows(x, k, stride))


def sepconv(x, filters):
    kernel = next_variable("depthwise_kernel", (3, 3, x.shape[-1], 1))
    y = sum(v * kernel[i, j, :, 0] for i, j, v in windows(pad_same(x, 3, 1), 3, 1))
    return conv(y, filters)


def bn(x, name):
    m, s = bn_table[name]
    gamma, beta, mean, variance = (next_variable(k, (x.shape[-1],), m, s)
                                   for k in ("gamma", "beta", "moving_mean", "moving_variance"))
    return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta


def relu(x):
    return np.maximum(x, 0)


def pool(x):
    return np.maximum.reduce([v for _, _, v in windows(pad_same(x, 3, 2, -np.inf), 3, 2)])


def entry(x, block, f1, f2, first_relu, shortcut_bn):
    y = bn(sepconv(relu(x) if first_relu else x, f1), f"{block}_sepconv1_bn")
    y = bn(sepconv(relu(y), f2), f"{block}_sepconv2_bn")
    # Keras lists the shortcut's variables after the main path's.
    shortcut = conv(x, f2, stride=2)
    return pool(y) + bn(shortcut, shortcut_bn)


def xception(x):
    global counter
    counter = 0
    x = relu(bn(conv(x, 32, 3, 2, same=False), "block1_conv1_bn"))
    x = relu(bn(conv(x, 64, 3, 1, same=False), "block1_conv2_bn"))
    x = entry(x, "block2", 128, 128, False, "batch_normalization")
    x = entry(x, "block3", 256, 256, True, "batch_normalization_1")
    x = entry(x, "block4", 728, 728, True, "batch_normalization_2")
    for block in range(5, 13):
        y = x
        for i in (1, 2, 3):
            y = bn(sepconv(relu(y), 728), f"block{block}_sepconv{i}_bn")
        x = y + x
    x = entry(x, "block13", 728, 1024, True, "batch_normalization_3")
    x = relu(bn(sepconv(x, 1536), "block14_sepconv1_bn"))
    x = relu(bn(sepconv(x, 2048), "block14_sepconv2_bn"))
    return x.mean((1, 2))


def main():
    expected = np.load(goldens / "xception.expected.npz")
    gap = xception(np.load(goldens / "input.npy") / 127.5 - 1)
    worst = np.abs(gap - expected["gap_auto"]).max() / np.abs(expected["gap_auto"]).max()
    print(f"numpy against Keras: {worst:.2e} of the largest feature")
    assert worst < 1e-4 and counter == 234
    ref.DATA.mkdir(exist_ok=True)
    (ref.DATA / "pattern_base.f32").write_bytes(ref.base().astype("<f4").tobytes())
    ref.write("xception_bn.json", bn_table)
    out = {}
    for size in (75, 96):
        for name, scaled in (("auto", ref.picture(size) / 127.5 - 1), ("notebook", ref.picture(size) / 255)):
            out[f"{name}_{size}"] = ref.keep(xception(scaled))
    ref.write("xception_reference.json", out)


main()
