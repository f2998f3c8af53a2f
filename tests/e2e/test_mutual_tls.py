"""All services and the command line with certificates: the main job, who is refused, and a change of the authority."""
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import tempfile
import unittest
import unittest.mock

import cluster
import pictures
import raw_http2

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"
RELOAD_SECONDS = 30  # services look at their files every 5 s


def openssl(*arguments, given=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=given, check=True, capture_output=True, timeout=60).stdout


class Authority:
    def __init__(self, folder, name):
        self.certificate = folder / f"{name}-ca.pem"
        self.key = folder / f"{name}-ca.key"
        openssl("req", "-x509", *CURVE, "-days", 2, "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate)

    def issue(self, folder):
        """A certificate for loopback as FOLDER/cert.pem and key.pem, this authority as ca.pem; an environment with them."""
        folder.mkdir(exist_ok=True)
        key = folder / "new-key.pem"
        request = openssl("req", *CURVE, "-subj", "/CN=atelier", "-addext", NAMES, "-keyout", key)
        certificate = openssl("x509", "-req", "-CA", self.certificate, "-CAkey", self.key, "-days", 2,
                              "-copy_extensions", "copy", given=request)
        (folder / "cert.pem").write_bytes(certificate)
        key.rename(folder / "key.pem")
        shutil.copy(self.certificate, folder / "ca.pem")
        return {"ATELIER_TLS_CERT": str(folder / "cert.pem"), "ATELIER_TLS_KEY": str(folder / "key.pem"),
                "ATELIER_TLS_CA": str(folder / "ca.pem")}


class Fleet(cluster.Cluster):
    """Its services have their identity from flags; what else runs has its own from the environment."""

    def __init__(self, identity, *arguments):
        self.flags = [word for variable, path in identity.items()
                      for word in ("--" + variable.removeprefix("ATELIER_").lower().replace("_", "-"), path)]
        super().__init__(*arguments, environment=dict.fromkeys(identity, ""))

    def _add(self, name, binary, arguments):
        return super()._add(name, binary, [*arguments, *self.flags])


def takes(service, identity):
    """Whether the service speaks HTTP/2 with who shows this certificate (None: none), as client of any server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if identity:
        context.load_cert_chain(identity["ATELIER_TLS_CERT"], identity["ATELIER_TLS_KEY"])
    try:
        with raw_http2.Connection(service.port, tls=context) as connection:
            connection.greet()
            return bool(connection.socket.recv(1))
    except OSError:
        return False


@unittest.skipUnless(shutil.which("openssl"), "no openssl to make certificates with")
class MutualTls(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.folder = pathlib.Path(temp.name)
        self.authority = Authority(self.folder, "first")
        self.friend = self.authority.issue(self.folder / "friend")
        self.home = {"ATELIER_HOME": str(self.folder / "home")}

    def atelier(self, *arguments, identity, check=True):
        return cluster.run_atelier(*arguments, check=check, env=dict(self.home, **(identity or {})))

    def test_the_main_job_among_friends(self):
        data = pictures.make_dataset(self.folder / "pictures", per_class=24, test=3)
        services = self.authority.issue(self.folder / "services")
        with unittest.mock.patch.dict(os.environ, self.friend):
            fleet = Fleet(services, self.folder, data)
            self.addCleanup(fleet.stop)
            fleet.add_trainer("trainer-0")
            # Its members are the trainer's: it dials what the trainer said of itself.
            aggregator = fleet.add_aggregator("aggregator", "--local-fallback", "off")
        coordinator = ("--coordinator", fleet.coordinator.address)
        run = self.folder / "run"
        self.atelier("train", *coordinator, "--data", ".", "--out", run, "--recipe", "fast", "--members", "tiny_cnn",
                     "--epochs", 1, "--set", "image.size=32", identity=self.friend)
        cluster.wait_for("a prediction", lambda: self.atelier(
            "predict", data / "test", "--aggregator", aggregator.address, "--out", self.folder / "s.csv",
            identity=self.friend, check=False).returncode == 0, 60)
        self.assertEqual(len((self.folder / "s.csv").read_text().splitlines()), 4)

        def runs(identity):
            done = self.atelier("runs", "list", *coordinator, "--json", identity=identity, check=False)
            return json.loads(done.stdout) if done.returncode == 0 else None

        second = Authority(self.folder, "second")
        stranger = second.issue(self.folder / "stranger")
        for identity in (None, stranger):
            self.assertIsNone(runs(identity))
            for service in fleet.services.values():
                self.assertFalse(takes(service, identity), service.name)
                self.assertTrue(takes(service, self.friend), service.name)

        second.issue(self.folder / "services")  # in the place of the files that are in use
        for service in fleet.services.values():
            cluster.wait_for(f"{service.name} takes the new authority's", lambda it=service: takes(it, stranger),
                             RELOAD_SECONDS)
            self.assertFalse(takes(service, self.friend), service.name)
        self.assertEqual(len(runs(stranger)), 1)

    def test_what_is_missing_or_contradicts_itself_is_said(self):
        def refusal(binary, *arguments, **environment):
            done = subprocess.run([cluster.BIN / binary, *arguments], capture_output=True, text=True, timeout=60,
                                  env=dict(os.environ, **environment))
            self.assertNotEqual(done.returncode, 0)
            return done.stderr

        certificate = {"ATELIER_TLS_CERT": self.friend["ATELIER_TLS_CERT"]}
        for binary, arguments in (("atelier", ("health", "127.0.0.1:1")), ("atelier-health", ("127.0.0.1:1",)),
                                  ("atelier-data", ("--root", str(self.folder)))):
            self.assertIn("--tls-key (ATELIER_TLS_KEY), --tls-ca (ATELIER_TLS_CA)", refusal(binary, *arguments, **certificate))
        both = refusal("atelier-data", "--root", str(self.folder), "--listen", "127.0.0.1:0", "--insecure", **self.friend)
        self.assertIn("--insecure", both)
        self.assertIn("--tls-cert", both)
        self.assertEqual(self.atelier("--help", identity=certificate).returncode, 0)


if __name__ == "__main__":
    cluster.main()
