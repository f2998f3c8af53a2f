"""Prediction end to end from JPEG bytes: the ensemble of Xception and EfficientNet-Lite0, seeded weights."""
import subprocess

import report
from engine import BENCH, BIN, ROOT, Engine, Server, free_port, interleave, peer

SIZE = 192
# pictures in a request, requests at a time
LOADS = ((1, 1), (1, 4), (8, 1))


def export_models(setting):
    """The peers' ONNX files: PyTorch's export of the same two networks."""
    models = setting.scratch / "onnx"
    models.mkdir(exist_ok=True)
    subprocess.run(peer("export_onnx.py", models, SIZE), check=True, stdout=setting.log, stderr=setting.log)
    return models


def serving(setting):
    run, models = setting.scratch / "served", export_models(setting)
    subprocess.run([BENCH / "bench_make_ensemble", run, str(SIZE)], check=True, stderr=setting.log)
    protocol = setting.scratch / "oip.pb"
    subprocess.run(["protoc", f"-I{ROOT}/protos", "--include_imports", f"--descriptor_set_out={protocol}",
                    "inference/grpc_predict_v2.proto"], check=True)
    ours, theirs = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    tables = []
    with Server(setting.log, [BIN / "atelier-aggregator", "--run", run, "--listen", ours], ours), \
         Server(setting.log, peer("serve_fastapi.py", theirs.split(":")[1], models, SIZE), theirs):
        for batch, clients in LOADS:
            load = (setting.pictures, batch, clients, setting.seconds)
            engines = [Engine("FastAPI + ONNX Runtime over HTTP", peer("client_http.py", theirs, *load)),
                       Engine("ONNX Runtime in process, no server", peer("client_none.py", models, SIZE, *load)),
                       Engine("Atelier's aggregator over gRPC", peer("client_grpc.py", ours, protocol, *load), ours=True)]
            interleave(engines, setting.rounds, setting.log)
            said = f"{batch} picture{'s' if batch > 1 else ''} a request, {clients} client{'s' if clients > 1 else ''}"
            best = {engine.name: max((value for value in engine.values), key=lambda value: value["images/s"], default=None)
                    for engine in engines}
            note = "; ".join(f"{name}: p50 {value['p50 ms']:.0f} ms, p99 {value['p99 ms']:.0f} ms"
                             for name, value in best.items() if value)
            tables.append(report.Table(f"serving_{batch}_{clients}", f"Prediction from JPEG bytes, two members, {SIZE} px; {said}",
                                       "images/s", report.rows_of(engines, "images/s"), note=f"A request takes: {note}."))
    return tables
