"""Checks who includes whom. Usage: check_layers.py SOURCE_ROOT

A folder includes only folders above it in ORDER, and of another service only its client.h
(services/cli/embedded.cc, which composes the services, also their service.h). FORBIDDEN lists what
a folder must not know at all, by the prefixes of the headers that would bring it in.
"""
import pathlib
import re
import sys

ORDER = [
    "common/base", "common/concurrency", "common/vision", "common/nn", "common/ensemble",
    "common/artifacts", "common/rpc",
    "services/data", "services/coordinator", "services/trainer", "services/aggregator",
    "services/cli",
]

GRPC = ("grpcpp/", "grpc/", "grpc++/")
TORCH = ("torch/", "ATen/", "c10/")
OPENCV = ("opencv2/",)
PROTOS = ("atelier/v1/", "inference/")

FORBIDDEN = {
    "common/base": GRPC + TORCH + OPENCV + PROTOS,
    "common/concurrency": GRPC + TORCH + OPENCV + PROTOS + ("common/vision/", "common/nn/"),
    "common/vision": GRPC + TORCH,
    "common/nn": GRPC + OPENCV,
    "common/ensemble": GRPC + TORCH + OPENCV,
    "common/artifacts": GRPC + TORCH + OPENCV,
    "common/rpc": TORCH + OPENCV + PROTOS + ("common/vision/", "common/nn/", "common/ensemble/"),
    "services/data": TORCH + OPENCV,
    "services/coordinator": TORCH + OPENCV + ("common/vision/",),
    "services/trainer": OPENCV + ("services/aggregator/",),
    "services/aggregator": TORCH + OPENCV + ("services/data/",),
    "services/cli": TORCH + OPENCV,
    "services/cli/convert": TORCH + OPENCV + GRPC + PROTOS + ("common/rpc/",),
}

# The folder-wide rule has an exception where a smaller file must know more.
ALLOWED = {
    # "who is there": versions of the libraries in use
    ("services/cli/version_command.cc", "grpcpp/grpcpp.h"),
}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
IMPORT = re.compile(r'^\s*import\s+(?:public\s+)?"([^"]+)"', re.MULTILINE)
# Files of a service that speak gRPC; everything else there is domain.
WIRE = re.compile(r"(^|_)(service|client|handler|reactor|wire|main|registration|session|stream)")


def room_of(path):
    for room in sorted(ORDER, key=len, reverse=True):
        if path == room or path.startswith(room + "/"):
            return room
    return None


def included_room_error(path, room, header):
    target = room_of(header)
    if target is None or target == room:
        return None
    if ORDER.index(target) > ORDER.index(room):
        return f"{room} must not include {target}, which is below it"
    if target.startswith("services/") and room.startswith("services/"):
        name = header.rsplit("/", 1)[-1]
        if name == "client.h":
            return None
        if path == "services/cli/embedded.cc" and name == "service.h":
            return None
        return f"of {target} only client.h may be included"
    return None


def check_file(path, text):
    """Yields messages for one source file; `path` is relative to the root."""
    room = room_of(path)
    if room is None:
        return
    forbidden = ()
    for folder, prefixes in FORBIDDEN.items():
        if path.startswith(folder + "/"):
            forbidden += prefixes
    for header in INCLUDE.findall(text):
        if (path, header) in ALLOWED:
            continue
        if header.startswith(forbidden):
            yield f"{path}: must not know {header}"
        error = included_room_error(path, room, header)
        if error:
            yield f"{path}: includes {header}: {error}"
        if header.endswith(".grpc.pb.h") and not WIRE.search(pathlib.PurePath(path).stem):
            yield f"{path}: a domain file must not include generated gRPC code ({header})"


def check_proto(path, text):
    for imported in IMPORT.findall(text):
        if path.startswith("protos/inference/") and not imported.startswith("inference/"):
            yield f"{path}: the Open Inference Protocol stands alone, but imports {imported}"
        if path.startswith("protos/atelier/") and imported.startswith("inference/"):
            yield f"{path}: atelier.v1 must not import {imported}"


def check_tree(root):
    root = pathlib.Path(root)
    files = 0
    for top in ("common", "services", "protos"):
        for file in sorted((root / top).rglob("*")):
            if file.suffix not in (".h", ".cc", ".proto"):
                continue
            files += 1
            path = file.relative_to(root).as_posix()
            check = check_proto if file.suffix == ".proto" else check_file
            yield from check(path, file.read_text(encoding="utf-8"))
    if files < 20:
        yield f"only {files} files found under {root}: wrong root?"


def main():
    errors = list(check_tree(sys.argv[1]))
    for error in errors:
        print(error)
    print(f"layering: {len(errors)} violations")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
