"""Xception (as keras.applications) and EfficientNet-Lite0 (as timm's tf_efficientnet_lite0) in torch, with RECIPE's head."""
import torch
import torch.nn.functional as F
from torch import nn


class SameConv(nn.Conv2d):
    """TensorFlow's padding "same": what is odd goes to the bottom and right."""

    def forward(self, x):
        pads = []
        for size, kernel, stride in zip(reversed(x.shape[2:]), reversed(self.kernel_size), reversed(self.stride)):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        if pads[0] == pads[1] and pads[2] == pads[3]:
            return F.conv2d(x, self.weight, self.bias, self.stride, (pads[2], pads[0]), 1, self.groups)
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, 1, self.groups)


class SamePool(nn.Module):
    def forward(self, x):
        pads = []
        for size in reversed(x.shape[2:]):
            total = max((-(-size // 2) - 1) * 2 + 3 - size, 0)
            pads += [total // 2, total - total // 2]
        return F.max_pool2d(F.pad(x, pads, value=float("-inf")), 3, 2)


def batch_norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def conv(inputs, outputs, kernel=1, stride=1, groups=1):
    return SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)


def separable(inputs, outputs):
    return [conv(inputs, inputs, 3, groups=inputs), conv(inputs, outputs), batch_norm(outputs)]


class Residual(nn.Module):
    def __init__(self, body, shortcut=None):
        super().__init__()
        self.body = nn.Sequential(*body)
        self.shortcut = shortcut

    def forward(self, x):
        return self.body(x) + (x if self.shortcut is None else self.shortcut(x))


def entry_block(inputs, middle, outputs, first_relu):
    body = [nn.ReLU()] if first_relu else []
    body += separable(inputs, middle) + [nn.ReLU()] + separable(middle, outputs) + [SamePool()]
    return Residual(body, nn.Sequential(conv(inputs, outputs, 1, 2), batch_norm(outputs)))


def xception():
    layers = [nn.Conv2d(3, 32, 3, 2, bias=False), batch_norm(32), nn.ReLU(),
              nn.Conv2d(32, 64, 3, bias=False), batch_norm(64), nn.ReLU(),
              entry_block(64, 128, 128, False), entry_block(128, 256, 256, True), entry_block(256, 728, 728, True)]
    layers += [Residual([layer for _ in range(3) for layer in [nn.ReLU()] + separable(728, 728)]) for _ in range(8)]
    layers += [entry_block(728, 728, 1024, True), *separable(1024, 1536), nn.ReLU(), *separable(1536, 2048), nn.ReLU()]
    return nn.Sequential(*layers), 2048


def lite0():
    layers, channels = [conv(3, 32, 3, 2), batch_norm(32), nn.ReLU6()], 32
    for repeats, kernel, stride, expansion, filters in (
            (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
            (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)):
        for i in range(repeats):
            step, wide = stride if i == 0 else 1, channels * expansion
            body = [] if expansion == 1 else [conv(channels, wide), batch_norm(wide), nn.ReLU6()]
            body += [conv(wide, wide, kernel, step, wide), batch_norm(wide), nn.ReLU6(), conv(wide, filters), batch_norm(filters)]
            layers += [Residual(body)] if step == 1 and channels == filters else body
            channels = filters
    return nn.Sequential(*layers, conv(channels, 1280), batch_norm(1280), nn.ReLU6()), 1280


class Member(nn.Module):
    def __init__(self, backbone, classes):
        super().__init__()
        self.backbone, features = {"xception": xception, "efficientnet_lite0": lite0}[backbone]()
        self.hidden = nn.Linear(features, 512)
        self.dropout = nn.Dropout(0.5)
        self.predictions = nn.Linear(512, classes)
        nn.init.kaiming_normal_(self.hidden.weight)

    def forward(self, x):
        x = self.backbone(x).mean((2, 3))
        return self.predictions(self.dropout(F.relu(self.hidden(x))))


def member(backbone, classes=7):
    torch.manual_seed(1)
    return Member(backbone, classes)
