"""Engines and servers: processes that bench.py starts, asks in turn and stops."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import quiet

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BENCH = ROOT / "build/bench"
BIN = ROOT / "build/bin"
START_SECONDS = 600  # building a Keras graph of Xception takes its time


def peer(script, *arguments):
    """The command of a script in peers/."""
    return [sys.executable, str(HERE / "peers" / script), *map(str, arguments)]


class Engine:
    """One implementation of what is measured; see round_loop.h for the protocol."""

    def __init__(self, name, command, ours=False, environment=None):
        self.name, self.ours, self.command = name, ours, [str(part) for part in command]
        self.environment = dict(os.environ, **(environment or {}))
        self.values = []
        self.others = []  # what others had of the machine meanwhile
        self.failure = None
        self.process = None

    def start(self, log):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                        text=True, env=self.environment)
        if self.process.stdout.readline().strip() != "ready":
            self.fail("did not start")

    def measure(self):
        if self.failure is not None:
            return
        value, others = quiet.undisturbed(self._round)
        if value is not None:
            self.values.append(value)
            self.others.append(others)

    def _round(self):
        try:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError) as error:
            self.fail(f"gave no value: {error}")
            return None

    def fail(self, why):
        self.failure = why
        print(f"bench: {self.name} {why}; see the log", flush=True)

    def stop(self):
        if self.process is None:
            return
        try:
            self.process.stdin.close()
        except OSError:
            pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def interleave(engines, rounds, log):
    """Starts all engines (one after the other: warming up is work), then asks each once in every round."""
    try:
        for engine in engines:
            engine.start(log)
        for number in range(rounds):
            for engine in engines:
                engine.measure()
                if engine.values and engine.failure is None:
                    print(f"bench:   round {number + 1}/{rounds} {engine.name}: {engine.values[-1]}"
                          f" (others {engine.others[-1]:.0%})", flush=True)
    finally:
        for engine in engines:
            engine.stop()
    return engines


def free_port():
    """A port whose HTTP twin (+1000) is free too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1000))
            except (OSError, OverflowError):
                continue
            return port


class Server:
    """A process that answers on a port; a context manager."""

    def __init__(self, log, command, address, seconds=120):
        self.address = address
        self.process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        end = time.monotonic() + seconds
        host, port = address.split(":")
        while True:
            try:
                socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.stop()
                    raise RuntimeError(f"{command[0]} does not listen on {address}; see the log") from None
                time.sleep(0.1)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
