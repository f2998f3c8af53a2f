"""Weights of tiny_cnn that were not trained, for a catalogue of a test's own."""
import json
import math
import random

import cluster
from safetensors import write_safetensors


def random_weights(path, seed):
    """The bytes of the file that it writes."""
    noise = random.Random(seed)
    shown = json.loads(cluster.run_atelier("model", "show", "tiny_cnn", "--json").stdout)
    tensors = {}
    for layer in shown["layers"]:
        for variable in layer["variables"]:
            shape = variable["shape"]
            tensors["backbone/" + variable["name"]] = (
                shape, [noise.uniform(0.5, 1.5) for _ in range(math.prod(shape))])
    write_safetensors(path, tensors, {"backbone": "tiny_cnn"})
    return path.read_bytes()
