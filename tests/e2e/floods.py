"""Floods (RELIABILITY, P10): of connections, of slow clients, of giant messages and of resets.

Each takes a service with connect(timeout) -> raw_http2.Connection, memory() in bytes and descriptors() in use,
`connections` (how many to open), `slow_clients` (how many at once), `limit` (of a message, in bytes) and `quota` (of
unfinished messages, in bytes), and the path of a gRPC method; returns what it did in words.
"""
import os
import pathlib
import time

import raw_http2

MIB = 1 << 20
RESOURCE_EXHAUSTED = b"grpc-status\x018"  # as a header field: name, length of the value, value


def flood_of_connections(service, _):
    """More connections than the service has descriptors, half of them silent, half introduced; held for a while."""
    opened = []
    for i in range(service.connections):
        try:
            connection = service.connect(timeout=2)
        except OSError:
            break  # the listener's queue is full
        opened.append(connection)
        if i % 2:
            connection.greet()
    end = time.monotonic() + 5  # a flood that lasts
    most = 0
    while time.monotonic() < end:
        most = max(most, service.descriptors())
        time.sleep(0.1)
    for connection in opened:
        connection.close()
    return f"{len(opened)} connections, {most} descriptors"


def resident_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"no VmRSS of process {pid}")


def open_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def flood_of_slow_clients(service, path):
    """Prefaces, headers and messages by the byte."""
    clients = []
    for i in range(service.slow_clients):
        client = service.connect()
        clients.append(client)
        if i % 3 > 0:
            client.greet()
        if i % 3 > 1:
            client.send(raw_http2.call_headers(1, path))
    slow = [raw_http2.PREFACE, raw_http2.call_headers(1, path), raw_http2.message(b"x" * 1000)]
    for step in range(16):
        for i, client in enumerate(clients):
            data = slow[i % 3][step:step + 1]
            client.send(raw_http2.frame(raw_http2.DATA, 0, 1, data) if i % 3 == 2 else data)
        time.sleep(0.4)  # in all more than this house's handshake may take
    closed = 0
    for client in clients:
        client.read(0)
        closed += not client.open
        client.close()
    return f"{len(clients)} clients, {closed} sent away"


def push(client, data, size, seconds):
    """Sends `size` bytes, `data` again and again, as fast as the server takes them; returns how many it took."""
    sent, end = 0, time.monotonic() + seconds
    while sent < size and client.open and time.monotonic() < end:
        taken = client.send_data(1, data[:size - sent])
        client.read(0 if taken else 0.005)
        sent += taken
    return sent


def flood_of_giant_messages(service, path):
    """A byte over the limit, refused; then messages that claim 2 GiB, sent until the service takes no more."""
    piece = b"x" * MIB
    for _ in range(3):
        with service.connect() as client:
            client.greet()
            client.send(raw_http2.call_headers(1, path))
            push(client, raw_http2.message(b"", service.limit + 1), 5, 20)
            push(client, piece, service.limit + 1, 20)
            end = time.monotonic() + 20
            while RESOURCE_EXHAUSTED not in client.received and client.open and time.monotonic() < end:
                client.read(0.05)
            assert RESOURCE_EXHAUSTED in client.received, "a message over the limit was not RESOURCE_EXHAUSTED"
    before = peak = service.memory()
    clients, sent = [], 0
    for _ in range(20):
        client = service.connect()
        clients.append(client)
        client.greet()
        client.send(raw_http2.call_headers(1, path))
        push(client, raw_http2.message(b"", 1 << 31), 5, 2)
        sent += push(client, piece, 64 * MIB, 2)
        peak = max(peak, service.memory())
    for client in clients:
        client.close()
    # What the allocator needs on top varies; without a quota it would be 2.5 of it.
    assert peak - before < 1.3 * service.quota, f"{(peak - before) // MIB} MiB more: gRPC's quota does not hold"
    return f"3 messages refused, {sent // MIB} MiB of unfinished ones sent, {peak // MIB} MiB resident meanwhile"


def flood_of_resets(service, path):
    """Calls that are taken back at once (CVE-2023-44487)."""
    begun = connections = 0
    while begun < 20_000:
        connections += 1
        with service.connect() as client:
            client.greet()
            for stream in range(1, 4001, 2):
                begun += 1
                if not client.send(raw_http2.call_headers(stream, path) +
                                   raw_http2.frame(raw_http2.RESET, 0, stream, b"\0\0\0\x08")):
                    break
                if stream % 200 == 1:
                    client.read(0)
    return f"{begun} calls over {connections} connections"



# The one that may cost a service its life comes last.
ALL = (flood_of_slow_clients, flood_of_giant_messages, flood_of_resets, flood_of_connections)
