"""Compares protos/inference with the descriptors that the PyPI package tritonclient publishes.

Usage: with_tritonclient.sh VENV oip_wire_identity.py SOURCE_ROOT
Every message, field, enum value and method of ours must be theirs: same full name, number, type,
label and oneof. grpc_predict_v2.proto must also miss nothing; model_config.proto is a subset.
"""
import pathlib
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2
from tritonclient.grpc import model_config_pb2, service_pb2


def compiled(root):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "set"
        subprocess.run(["protoc", f"-I{root}/protos", f"--descriptor_set_out={out}",
                        "--include_imports", "inference/grpc_predict_v2.proto"], check=True)
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file


def published(module):
    file = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file


def flatten(files):
    """{full name: comparable} of every field, enum value and method."""
    found = {}

    def enum(prefix, proto):
        for value in proto.value:
            found[f"{prefix}.{proto.name}.{value.name}"] = value.number

    def message(prefix, proto):
        name = f"{prefix}.{proto.name}"
        found[name] = "message"
        for field in proto.field:
            oneof = proto.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
            found[f"{name}.{field.name}"] = (field.number, field.type, field.label, field.type_name, oneof)
        for nested in proto.nested_type:
            message(name, nested)
        for nested in proto.enum_type:
            enum(name, nested)

    for file in files:
        for proto in file.message_type:
            message(file.package, proto)
        for proto in file.enum_type:
            enum(file.package, proto)
        for service in file.service:
            for method in service.method:
                found[f"{file.package}.{service.name}/{method.name}"] = (
                    method.input_type, method.output_type, method.client_streaming, method.server_streaming)
    return found


def main():
    ours_files = compiled(sys.argv[1])
    ours = flatten(ours_files)
    service = flatten([published(service_pb2)])
    theirs = service | flatten([published(model_config_pb2)])
    errors = [f"{name}: ours {value}, theirs {theirs.get(name, 'absent')}"
              for name, value in ours.items() if theirs.get(name) != value]
    errors += [f"{name}: missing" for name in service if name not in ours]
    for error in errors:
        print(error)
    print(f"compared {len(ours)} names, {len(errors)} differ")
    return 1 if errors or len(ours) < 200 else 0


if __name__ == "__main__":
    sys.exit(main())
