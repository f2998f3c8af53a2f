"""Triton's own client against atelier-aggregator: answers, metadata, stream, metrics, clean stop.

with_tritonclient.sh runs it. Needs ATELIER_BIN_DIR and
ATELIER_TESTS_DIR (make_seeded_run). Where `atelier` is built, its `predict` must give the same bits.
"""
import os
import pathlib
import queue
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

BIN = pathlib.Path(os.environ["ATELIER_BIN_DIR"])
TESTS = pathlib.Path(os.environ["ATELIER_TESTS_DIR"])


class Aggregator:
    """Started on a free port; the port is in its log."""

    def __init__(self, run):
        self.process = subprocess.Popen(
            [BIN / "atelier-aggregator", "--run", run, "--listen", "127.0.0.1:0", "--http-port", "0",
             "--threads", "1"], stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            found = re.search(r"port (\d+), metrics on (\d+)", line)
            if found:
                self.address = f"127.0.0.1:{found[1]}"
                self.metrics = f"http://127.0.0.1:{found[2]}/metrics"
                return
        raise RuntimeError("atelier-aggregator ended before it listened")

    def stop(self):
        self.process.terminate()
        self.process.communicate(timeout=30)
        return self.process.returncode


def image_input(pictures):
    tensor = triton.InferInput("image", [len(pictures)], "BYTES")
    tensor.set_data_from_numpy(np.array(pictures, dtype=np.object_))
    return tensor


def wait_ready(client):
    end = time.monotonic() + 60
    while not client.is_model_ready("ensemble"):
        assert time.monotonic() < end, "the model was not ready within 60 s"
        time.sleep(0.05)
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("second") and not client.is_model_ready("nobody")


def check_description(client):
    assert client.get_server_metadata().name == "atelier"
    metadata = client.get_model_metadata("ensemble", as_json=True)
    assert [t["name"] for t in metadata["inputs"]] == ["image", "pixels"], metadata
    assert metadata["outputs"][0]["shape"] == ["-1", "2"], metadata
    config = client.get_model_config("ensemble").config
    assert [s.model_name for s in config.ensemble_scheduling.step] == ["first", "second", "third"]


def check_answers(client, pictures):
    result = client.infer("ensemble", [image_input(pictures)], request_id="seven", client_timeout=60)
    probabilities = result.as_numpy("probabilities")
    response = result.get_response()
    assert probabilities.shape == (len(pictures), 2) and probabilities.dtype == np.float32
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-5
    assert response.id == "seven" and response.parameters["ensemble_version"].string_param == "seeded@1"
    assert response.parameters["members_used"].string_param == "first,second,third"
    assert not response.parameters["degraded"].bool_param
    labels = [["dog", "house"][i] for i in probabilities.argmax(axis=1)]
    assert [b.decode() for b in result.as_numpy("label")] == labels

    members = [client.infer(name, [image_input(pictures)]).as_numpy("probabilities")
               for name in ("first", "second", "third")]
    mean = (sum(m.astype(np.float64) for m in members) / 3).astype(np.float32)
    assert mean.tobytes() == probabilities.tobytes(), "not the mean of the members, to the bit"

    only = client.infer("ensemble", [image_input(pictures)], outputs=[triton.InferRequestedOutput("label")])
    assert only.as_numpy("probabilities") is None and len(only.as_numpy("label")) == len(pictures)

    pixels = triton.InferInput("pixels", [2, 33, 20, 3], "UINT8")
    pixels.set_data_from_numpy(np.random.default_rng(1).integers(0, 256, (2, 33, 20, 3), dtype=np.uint8))
    assert client.infer("ensemble", [pixels]).as_numpy("probabilities").shape == (2, 2)
    return probabilities


def check_errors(client, pictures):
    for tensor, model, code in (
            (image_input([b"no picture"]), "ensemble", "INVALID_ARGUMENT"),
            (image_input(pictures[:1] * 65), "ensemble", "RESOURCE_EXHAUSTED"),
            (image_input(pictures), "nobody", "NOT_FOUND")):
        try:
            client.infer(model, [tensor])
            raise AssertionError(f"{code} expected")
        except InferenceServerException as error:
            assert code in error.status(), error
    try:
        client.get_inference_statistics()
        raise AssertionError("UNIMPLEMENTED expected")
    except InferenceServerException as error:
        assert "UNIMPLEMENTED" in error.status(), error


def check_stream(client, pictures, expected):
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for i, picture in enumerate(pictures):
        client.async_stream_infer("ensemble", [image_input([picture])], request_id=str(i))
    for i in range(len(pictures)):
        result, error = answers.get(timeout=60)
        assert error is None, error
        assert result.get_response().id == str(i)
        # Another batch size than in `expected`: float32's tolerance.
        assert np.abs(result.as_numpy("probabilities")[0] - expected[i]).max() < 1e-5
    client.stop_stream()


def check_cli(run, folder, pictures, expected, address):
    if not (BIN / "atelier").exists():
        print("atelier is not built: its predict was not compared")
        return
    for source in (["--ensemble", run], ["--aggregator", address]):
        out = folder / "probabilities.npy"
        subprocess.run([BIN / "atelier", "predict", pictures, *source, "--out", folder / "s.csv",
                        "--probabilities", out], check=True, capture_output=True,
                       env=os.environ | {"ATELIER_HOME": str(folder / "home")})
        assert np.load(out).tobytes() == expected.tobytes(), f"atelier predict {source} differs"


def check_metrics(url):
    text = urllib.request.urlopen(url, timeout=10).read().decode()
    for name in ('requests_total{api="oip",code="OK"}', "request_seconds_bucket", "queue_bytes 0",
                 "images_total"):
        assert f"atelier_aggregator_{name}" in text, f"{name} is not in\n{text}"


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([TESTS / "make_seeded_run", folder], check=True)
        files = sorted((folder / "pictures").iterdir())
        pictures = [file.read_bytes() for file in files]
        aggregator = Aggregator(folder / "run")
        try:
            with triton.InferenceServerClient(aggregator.address) as client:
                wait_ready(client)
                check_description(client)
                expected = check_answers(client, pictures)
                check_errors(client, pictures)
                check_stream(client, pictures, expected)
            check_cli(folder / "run", folder, folder / "pictures", expected, aggregator.address)
            check_metrics(aggregator.metrics)
        finally:
            code = aggregator.stop()
        assert code == 0, f"atelier-aggregator ended with {code}"
    print("triton's client and atelier-aggregator agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
