"""train_torch.py BACKBONE SIZE BATCH float32|bfloat16 SECONDS: images/s of a PyTorch training step, channels_last."""
import sys

import numpy as np
import torch
import torch.nn.functional as F

from rounds import answer_rounds, rate
from torch_models import member

backbone, size, batch, precision, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5])
torch.set_num_threads(2)
model = member(backbone).to(memory_format=torch.channels_last).train()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, eps=1e-7, fused=True)
pixels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (batch, size, size, 3), dtype=np.uint8))
labels = F.one_hot(torch.arange(batch) % 7, 7).float()


def step():
    x = (pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        logits = model(x).float()
    loss = F.cross_entropy(logits, labels) + 1e-3 * model.hidden.weight.square().sum()
    loss.item()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return batch


for _ in range(3):
    step()
answer_rounds(lambda: rate(step, seconds))
