"""The compose file with three trainers: train, lose the busy one to `docker kill` on the way, end, serve. And with the
TLS overlay: what is reached from elsewhere, and floods of it.

Runs where a Docker daemon answers and says so where none does. The image holds the binaries of this build
(packed_image.sh), and so this machine's Debian; the project name is its own, so that nothing of the user's is touched.
"""
import hashlib
import json
import os
import pathlib
import platform
import shutil
import ssl
import subprocess
import sys
import tempfile
import unittest

import cluster
import floods
import pictures
import raw_http2
from npy import read_npy
from tiny_weights import random_weights

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROJECT = f"atelier_test_{os.getpid()}"
IMAGE = f"{PROJECT}:packed"
EDGE_IMAGE = f"{PROJECT}_edge:latest"
SUITE = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
# tiny_cnn at 96 px: some 10 s of training on one thread, so that most of it is left after the first checkpoint.
TRAIN = ["--recipe", "fast", "--members", "tiny_cnn", "--epochs", 16, "--set", "image.size=96", "--set",
         "batch_size=8", "--checkpoint-seconds", 1, "--data", "."]


def run(*command, **kwargs):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, **kwargs)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {result.returncode}\n{result.stdout}\n"
                             f"{result.stderr}")
    return result.stdout


def why_not():
    """Why containers cannot be tested here, or None."""
    if shutil.which("docker") is None:
        return "no docker command"
    if subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
        return "no Docker daemon answers"
    if shutil.which("docker-compose") is None and subprocess.run(
            ["docker", "compose", "version"], capture_output=True).returncode != 0:
        return "no docker-compose (bash deploy/setup.sh --containers installs it)"
    if SUITE not in ("bookworm", "trixie"):
        return f"this machine's binaries need an image of its own system, {SUITE or 'unknown'}: known are bookworm and trixie"
    if AS_ROOT and (shutil.which("sudo") is None or subprocess.run([*AS_ROOT, "true"], capture_output=True).returncode != 0):
        return "making an image and looking into containers needs root, or a sudo that asks for no password"
    base = subprocess.run(["bash", str(ROOT / "deploy/base-image.sh"), "--suite", SUITE], capture_output=True, text=True)
    if base.returncode != 0:
        return f"the base image cannot be made here: {base.stdout[-500:]}{base.stderr[-500:]}"
    return None


def setUpModule():
    """The images: of this build's binaries and of the edge."""
    unittest.addModuleCleanup(subprocess.run, ["docker", "rmi", "-f", IMAGE, EDGE_IMAGE], capture_output=True)
    cluster.side_by_side(run, [
        ("bash", ROOT / "tests/e2e/packed_image.sh", IMAGE, cluster.BIN, SUITE),
        ("docker", "build", "-q", "--build-arg", f"BASE=atelier-debian:{SUITE}", "-f", ROOT / "deploy/edge/Dockerfile",
         "-t", EDGE_IMAGE, ROOT / "deploy/edge")])


class Composed(unittest.TestCase):
    """One project of containers."""
    FILES = ["docker-compose.yaml"]
    UP = []

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="atelier_containers_"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.pictures = pictures.make_dataset(self.folder / "pictures", per_class=64, test=6)
        self.prepare()
        # The containers read them as their own user.
        for path in (self.folder, *self.folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.ports = [cluster.free_port(), cluster.free_port(), cluster.free_port()]
        self.coordinator, self.aggregator, self.edge = (f"127.0.0.1:{port}" for port in self.ports)
        self.environment = dict(os.environ, ATELIER_IMAGE=IMAGE, ATELIER_DATA_DIR=str(self.pictures),
                                ATELIER_COORDINATOR_PORT=str(self.ports[0]),
                                ATELIER_AGGREGATOR_PORT=str(self.ports[1]), ATELIER_TRAINER_THREADS="1",
                                ATELIER_EDGE_PORT=str(self.ports[2]), ATELIER_EDGE_IMAGE=EDGE_IMAGE,
                                ATELIER_TLS_DIR=str(self.folder / "tls"),
                                ATELIER_WEIGHTS_DIR=str(self.folder / "home" / "weights"))
        self.compose = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
        for file in self.FILES:
            self.compose += ["-f", str(ROOT / "deploy" / file)]
        self.compose += ["-p", PROJECT]
        self.addCleanup(lambda: subprocess.run([*self.compose, "down", "--volumes", "--timeout", "20"],
                                               env=self.environment, capture_output=True))
        run(*self.compose, "up", "-d", "--no-build", *self.UP, env=self.environment)
        self.check_hardening()

    def inspect(self):
        return json.loads(run("docker", "inspect", *run(*self.compose, "ps", "-q", env=self.environment).split()))

    def check_health(self):
        """Every container that runs is found healthy by its own check."""
        def all_healthy():
            return all(container["State"]["Health"]["Status"] == "healthy" for container in self.inspect()
                       if container["State"]["Running"])
        cluster.wait_for("every container is healthy", all_healthy, 60, 0.5)

    def check_hardening(self):
        """Every container is confined as RELIABILITY wants it; the limits are those that the daemon took, not the file's."""
        containers = self.inspect()
        self.assertGreaterEqual(len(containers), 3)
        limits = json.loads(run("docker", "info", "--format", "[{{.MemoryLimit}}, {{.PidsLimit}}]"))
        for container in containers:
            with self.subTest(container["Name"]):
                self.assertNotIn(container["Config"]["User"].partition(":")[0], ("", "0", "root"))
                self.assertIn("Healthcheck", container["Config"])
                host = container["HostConfig"]
                self.assertTrue(host["ReadonlyRootfs"])
                self.assertEqual(host["CapDrop"], ["ALL"])
                self.assertFalse(host["CapAdd"])
                self.assertFalse(host["Privileged"])
                self.assertIn("no-new-privileges:true", host["SecurityOpt"])
                self.assertIn("nofile", [limit["Name"] for limit in host["Ulimits"]])
                for limited, found in zip(limits, (host["Memory"], host["PidsLimit"])):
                    if limited:  # else this kernel cannot
                        self.assertGreater(found or 0, 0)

    def prepare(self):
        pass

    def atelier(self, *arguments, **kwargs):
        return cluster.run_atelier(*arguments, **kwargs)


class ManyTrainers(Composed):
    UP = ["--scale", "trainer=3"]

    def task(self):
        runs = json.loads(self.atelier("runs", "list", "--json", "--coordinator", self.coordinator).stdout)
        if not runs:
            return None
        shown = self.atelier("runs", "show", runs[0]["run_id"], "--json", "--coordinator", self.coordinator)
        return json.loads(shown.stdout)["tasks"][0]

    def test_a_killed_trainer_is_replaced_and_the_ensemble_is_served(self):
        cluster.wait_for("the coordinator is healthy", lambda: self.atelier(
            "health", self.coordinator, check=False).returncode == 0, 90)
        out = self.folder / "run"
        with (self.folder / "train.log").open("wb") as log:
            training = subprocess.Popen(
                [str(part) for part in (cluster.BIN / "atelier", "train", "--coordinator", self.coordinator, "--out",
                                        out, *TRAIN)], stdout=log, stderr=log)
        self.addCleanup(lambda: (training.kill(), training.wait()))

        def with_a_checkpoint():
            if training.poll() is not None:
                raise AssertionError("the training ended before it could be disturbed:\n" +
                                     (self.folder / "train.log").read_text())
            task = self.task()
            return task if task and task["checkpoint_epoch"] >= 1 else None

        task = cluster.wait_for("a checkpoint of a later epoch", with_a_checkpoint, 180)
        busy = task["attempts"][-1]["trainer"]  # HOST-PID, and the host name is the container's id
        run("docker", "kill", busy.rsplit("-", 1)[0])
        self.assertEqual(training.wait(240), 0, (self.folder / "train.log").read_text())
        ended = self.task()
        self.assertEqual(ended["state"], "done")
        self.assertEqual(len(ended["attempts"]), 2)
        self.assertNotEqual(ended["attempts"][1]["trainer"], busy)
        start = ended["attempts"][1]
        self.assertGreaterEqual((start["start_epoch"], start["start_step"]),
                                (task["checkpoint_epoch"], task["checkpoint_step"]))

        def served():
            path = self.folder / "served.npy"
            answer = self.atelier("predict", self.pictures / "test", "--aggregator", self.aggregator,
                                  "--probabilities", path, check=False)
            return read_npy(path) if answer.returncode == 0 else None

        offline = self.folder / "offline.npy"
        self.atelier("predict", self.pictures / "test", "--ensemble", out, "--probabilities", offline)
        rows = cluster.wait_for("the aggregator serves the promoted ensemble", served, 60)
        for row, expected in zip(rows, read_npy(offline), strict=True):
            for a, b in zip(row, expected):
                self.assertAlmostEqual(a, b, delta=1e-5)
        self.check_health()


class Edge(Composed):
    """The TLS overlay. To the floods it is a service whose memory and descriptors are the aggregator's."""
    FILES = ["docker-compose.yaml", "docker-compose.tls.yaml"]
    UP = ["coordinator", "aggregator", "edge"]
    METHOD = "/inference.GRPCInferenceService/ModelInfer"
    connections = 1500
    slow_clients = 150  # of one address the edge takes 200
    limit = 16 << 20
    quota = 512 << 20

    def prepare(self):
        tls = self.folder / "tls"
        tls.mkdir()
        self.certificate = tls / "certificate.pem"
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", tls / "key.pem", "-out", self.certificate)
        (tls / "edge.pem").write_text(self.certificate.read_text() + (tls / "key.pem").read_text())
        self.fetch_weights()
        self.tls = ssl.create_default_context(cafile=str(self.certificate))
        self.tls.set_alpn_protocols(["h2"])

    def fetch_weights(self):
        """As a user does on a machine with a network: into the folder that the overlay mounts."""
        upstream = self.folder / "upstream.safetensors"
        random_weights(upstream, 1)
        weights = self.folder / "home" / "weights"
        weights.mkdir(parents=True)
        catalogue = weights / "own.json"
        catalogue.write_text(json.dumps([{"name": "tiny_cnn", "files": [{"file": upstream.name}]}]))
        self.atelier("weights", "fetch", "tiny_cnn", "--file", upstream, env={
            "ATELIER_HOME": str(weights.parent), "ATELIER_WEIGHTS_CATALOGUE": str(catalogue)})

    def train_inside(self, out, *arguments):
        return subprocess.run([*self.compose, "exec", "-T", "-e",
                               "ATELIER_WEIGHTS_CATALOGUE=/var/lib/atelier/weights/own.json", "coordinator", "atelier",
                               "train", "--coordinator", "127.0.0.1:7070", "--data", ".", "--out", out, "--epochs", "1",
                               "--set", "image.size=32", *arguments],
                              env=self.environment, capture_output=True, text=True)

    def check_training_inside(self):
        """It begins with the mounted weights, and what it made is served at the edge."""
        lacking = self.train_inside("/tmp/run0", "--members", "efficientnet_lite0")
        self.assertEqual(lacking.returncode, 1, lacking.stdout)
        self.assertIn("atelier weights fetch efficientnet_lite0", lacking.stderr)
        run(*self.compose, "up", "-d", "--no-build", "data", "trainer", env=self.environment)
        trained = self.train_inside("/tmp/run1", "--members", "tiny_cnn")
        self.assertEqual(trained.returncode, 0, trained.stderr)
        written = run(*self.compose, "exec", "-T", "coordinator", "cat", "/tmp/run1/run.json", env=self.environment)
        fetched = self.folder / "home" / "weights" / "tiny_cnn.safetensors"
        self.assertIn(hashlib.sha256(fetched.read_bytes()).hexdigest(), written)
        cluster.wait_for("the edge serves it", lambda: self.atelier(
            "predict", self.pictures / "test", "--aggregator", f"https://localhost:{self.ports[2]}", check=False,
            env={"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(self.certificate)}).returncode == 0, 60)

    def connect(self, timeout=20):
        return raw_http2.Connection(self.ports[2], timeout, self.tls)

    def container(self, service):
        return run(*self.compose, "ps", "-q", service, env=self.environment).strip()

    def pid(self):
        """Of the aggregator, below its init."""
        for line in run("docker", "top", self.container("aggregator"), "-eo", "pid,args").splitlines():
            pid, _, command = line.strip().partition(" ")
            if command.strip().startswith("atelier-aggregator"):
                return int(pid)
        raise AssertionError("the aggregator's container has no aggregator")

    def memory(self):
        return floods.resident_bytes(self.flooded)

    def descriptors(self):
        return len(run(*AS_ROOT, "ls", f"/proc/{self.flooded}/fd").split())  # of another user's process

    def serves(self, address, trusted=None):
        return self.atelier("health", address, check=False, env={
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(trusted)} if trusted else None).returncode == 0

    def answers(self):
        return self.serves(f"https://localhost:{self.ports[2]}", self.certificate)

    def test_only_the_edge_is_reached_it_outlives_floods_and_serves_what_is_trained_inside(self):
        cluster.wait_for("an answer through the edge", self.answers, 60)
        run(*self.compose, "exec", "-T", "coordinator", "atelier-convert", "--help", env=self.environment)
        for address, trusted in ((self.coordinator, None), (self.aggregator, None), (self.edge, None),
                                 (f"https://localhost:{self.ports[2]}", None)):  # a certificate nobody signed
            self.assertFalse(self.serves(address, trusted), address)

        self.flooded = self.pid()
        floods.flood_of_resets(self, self.METHOD)  # what it allocates once and keeps
        for flood in floods.ALL:
            before = self.memory()
            what = flood(self, self.METHOD)
            cluster.wait_for(f"an answer after {flood.__name__}", self.answers, 5)
            try:
                cluster.wait_for("memory back", lambda: self.memory() <= 1.1 * before, 60, 0.5)
            except TimeoutError:
                self.fail(f"after {flood.__name__} ({what}): {before >> 20} -> {self.memory() >> 20} MiB")
            print(f"edge: {flood.__name__}: {what}; {before >> 20} -> {self.memory() >> 20} MiB", flush=True)
        self.assertEqual(self.pid(), self.flooded, "the aggregator was started again")
        self.check_training_inside()
        self.check_health()


if __name__ == "__main__":
    reason = why_not()
    if reason:
        print(f"SKIPPED: {reason}")
        sys.exit(77)
    unittest.main(verbosity=2)
