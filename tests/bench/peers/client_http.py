"""client_http.py ADDRESS PICTURES BATCH CLIENTS SECONDS: multipart POSTs over a kept connection, requests made beforehand."""
import http.client
import json
import sys

from load import groups, read_pictures, run_load

address, folder, batch, clients, seconds = *sys.argv[1:3], *map(int, sys.argv[3:5]), float(sys.argv[5])
BOUNDARY = "atelier-bench"


def encode(pictures):
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{i}.jpg"\r\n'
             f"Content-Type: image/jpeg\r\n\r\n".encode() + picture + b"\r\n" for i, picture in enumerate(pictures)]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def make_call():
    connection = http.client.HTTPConnection(address, timeout=60)

    def call(body):
        connection.request("POST", "/predict", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        assert len(json.loads(text)["probabilities"]) == batch
    return call


run_load([encode(group) for group in groups(read_pictures(folder), batch)], make_call, batch, clients, seconds)
