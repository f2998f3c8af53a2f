"""Runs Atelier's services as real processes on free loopback ports, for tests that kill them."""
import concurrent.futures
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

BIN = pathlib.Path(os.environ.get("ATELIER_BIN_DIR", pathlib.Path(__file__).parents[2] / "build/bin"))
START_SECONDS = 30


given_ports = set()
given_ports_lock = threading.Lock()


def free_port():
    """A port whose HTTP twin (+1000) is free too; each only once, for those who start their services at the same time.

    Below those that Linux gives to outgoing connections: a service that is started again finds its port free."""
    while True:
        port = random.SystemRandom().randrange(10000, 31000)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1000))
            except OSError:
                continue
            with given_ports_lock:
                if not given_ports & {port, port + 1000}:
                    given_ports.update((port, port + 1000))
                    return port


def accepts(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def side_by_side(work, items, at_a_time=2):
    """work(*item) for each, `at_a_time`: much of what a fleet does is waiting. Their results, in order; raises the first
    failure once all have ended."""
    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        futures = [pool.submit(work, *item) for item in items]
    return [future.result() for future in futures]


def wait_for(what, condition, seconds, poll=0.05):
    """Polls `condition` until it returns something true; fails naming `what`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds} s")
        time.sleep(poll)


class Service:
    """One process that can be killed, stopped, continued and started again on the same port."""

    def __init__(self, folder, name, binary, arguments, environment=None):
        self.name = name
        self.environment = dict(os.environ, GOMP_SPINCOUNT="1000", **(environment or {}))
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.log = pathlib.Path(folder) / f"{name}.log"
        self.command = [str(BIN / binary), "--listen", self.address, *map(str, arguments)]
        self.wrapper = []  # a command in front, for the next start
        self.process = None

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.wrapper + self.command, stdout=log, stderr=log, env=self.environment)
        return self

    def wait_healthy(self):
        def healthy():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n" + self.log_tail())
            if not accepts(self.port):
                return False
            return subprocess.run([BIN / "atelier-health", self.address], capture_output=True).returncode == 0
        wait_for(f"{self.name} healthy", healthy, START_SECONDS)
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL, and reaped: nothing of it runs when this returns."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self, seconds=30):
        if self.process is None or self.process.poll() is not None:
            return None
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def log_tail(self, lines=40):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


class Cluster:
    """Coordinator, data-services, trainers and (on demand) an aggregator in one folder."""

    def __init__(self, folder, data_root, lease_ms=2000, data_services=1, environment=None, state=None):
        self.folder = pathlib.Path(folder)
        self.state = pathlib.Path(state) if state else self.folder / "state"
        self.environment = environment
        self.data_root = pathlib.Path(data_root).resolve()
        self.services = {}
        self.coordinator = self._add("coordinator", "atelier-coordinator",
                                     ["--state", self.state, "--lease-ms", lease_ms])
        self.coordinator.start().wait_healthy()
        for i in range(data_services):
            self.add_data(f"data-{i}")

    def _add(self, name, binary, arguments):
        self.services[name] = Service(self.folder, name, binary, arguments, self.environment)
        return self.services[name]

    def add_data(self, name):
        return self._add(name, "atelier-data", ["--root", self.data_root, "--coordinator", self.coordinator.address,
                                                "--id", name]).start().wait_healthy()

    def add_trainer(self, name, *arguments):
        return self._add(name, "atelier-trainer", ["--coordinator", self.coordinator.address, "--id", name,
                                                   "--threads", 1, *arguments]).start().wait_healthy()

    def add_aggregator(self, name, *arguments):
        return self._add(name, "atelier-aggregator", ["--coordinator", self.coordinator.address,
                                                      *arguments]).start().wait_healthy()

    def atelier(self, *arguments, check=True, **kwargs):
        """Runs the CLI against this cluster's coordinator."""
        return run_atelier(*arguments, "--coordinator", self.coordinator.address, check=check, **kwargs)

    def show(self, run):
        return json.loads(self.atelier("runs", "show", run, "--json").stdout)

    def run_ids(self):
        return [run["run_id"] for run in json.loads(self.atelier("runs", "list", "--json").stdout)]

    def start_train(self, *arguments):
        """`atelier train` in the background."""
        with (self.folder / "train.log").open("ab") as log:
            return subprocess.Popen([str(BIN / "atelier"), "train", "--coordinator", self.coordinator.address,
                                     *map(str, arguments)], stdout=log, stderr=log)

    def stop(self):
        """SIGTERM to what still runs; each must end by itself with 0 (P11)."""
        codes = {service.name: service.terminate() for service in reversed(list(self.services.values()))}
        for name, code in codes.items():
            if code not in (None, 0):
                raise AssertionError(f"{name} ended with {code} after SIGTERM:\n{self.services[name].log_tail()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def run_atelier(*arguments, check=True, timeout=300, env=None):
    result = subprocess.run([str(BIN / "atelier"), *map(str, arguments)], capture_output=True, text=True,
                            timeout=timeout, env=dict(os.environ, GOMP_SPINCOUNT="1000", **(env or {})))
    if check and result.returncode != 0:
        raise AssertionError(f"atelier {' '.join(map(str, arguments))} ended with {result.returncode}\n"
                             f"{result.stdout}\n{result.stderr}")
    return result


def main():
    """unittest.main(), but a run in which nothing passed and something was skipped ends with 77: ctest must not call it passed."""
    result = unittest.main(verbosity=2, exit=False).result
    if result.wasSuccessful() and result.skipped and len(result.skipped) >= result.testsRun:
        sys.exit(77)
    sys.exit(not result.wasSuccessful())
