"""export_onnx.py DIR SIZE: DIR/<backbone>.onnx with softmax, any batch, seeded weights."""
import pathlib
import sys

import torch

from torch_models import member

folder, size = pathlib.Path(sys.argv[1]), int(sys.argv[2])
for backbone in ("xception", "efficientnet_lite0"):
    model = torch.nn.Sequential(member(backbone, classes=2), torch.nn.Softmax(1)).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.onnx.export(model, (torch.zeros(2, 3, size, size),), str(folder / f"{backbone}.onnx"), input_names=["pixels"],
                      output_names=["probabilities"], dynamic_shapes=({0: batch},), dynamo=True)
