"""client_grpc.py ADDRESS DESCRIPTORS PICTURES BATCH CLIENTS SECONDS: the Open Inference Protocol, requests made beforehand."""
import pathlib
import struct
import sys

import grpc
import numpy as np
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from load import groups, read_pictures, run_load

address, descriptors, folder, batch, clients, seconds = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6])
pool = descriptor_pool.DescriptorPool()
for file in FileDescriptorSet.FromString(pathlib.Path(descriptors).read_bytes()).file:
    pool.Add(file)
Request, Response = (message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.ModelInfer{name}"))
                     for name in ("Request", "Response"))


def encode(pictures):
    request = Request(model_name="ensemble")
    tensor = request.inputs.add(name="image", datatype="BYTES", shape=[len(pictures)])
    assert tensor.name == "image"
    request.raw_input_contents.append(b"".join(struct.pack("<I", len(picture)) + picture for picture in pictures))
    return request.SerializeToString()


def make_call():
    channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
    infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

    def call(request):
        response = Response.FromString(infer(request, timeout=60, wait_for_ready=True))
        probabilities = np.frombuffer(response.raw_output_contents[0], np.float32)
        assert abs(probabilities.sum() - batch) < 1e-3, response
    return call


def wait_ready():
    """The aggregator listens before its members are loaded."""
    name = pool.FindMessageTypeByName("inference.ModelReadyRequest")
    ask, answer = (message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.ModelReady{kind}"))
                   for kind in ("Request", "Response"))
    assert name is not None
    with grpc.insecure_channel(address) as channel:
        ready = channel.unary_unary("/inference.GRPCInferenceService/ModelReady")
        while not answer.FromString(ready(ask(name="ensemble").SerializeToString(), timeout=60)).ready:
            pass


wait_ready()
run_load([encode(group) for group in groups(read_pictures(folder), batch)], make_call, batch, clients, seconds)
