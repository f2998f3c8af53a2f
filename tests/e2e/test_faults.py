"""The coordinator's files: order of syncs, failing fsync, death at every kind of write, damaged artifacts, a full disk.
P2, P5, P9.

Faults are injected into system calls with strace, which counts them per thread. Number of places: ATELIER_FAULTS (default
3 failing syncs and one death at each kind of write, seeded by ATELIER_FAULT_SEED; `all` tries every one that a run has).
"""
import collections
import hashlib
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

import cluster
import pictures
from npy import read_npy

FAULTS = os.environ.get("ATELIER_FAULTS", "3")
SEED = int(os.environ.get("ATELIER_FAULT_SEED", "1"))
TRAIN = ["--recipe", "fast", "--members", "tiny_cnn", "--set", "stages.train.epochs=6", "--deterministic", "--threads", 1,
         "--checkpoint-seconds", 1, "--set", "image.size=64", "--set", "batch_size=8", "--data", "."]
# What makes a checkpoint and a commit durable, in the order of a write.
SYNCS = "fsync,fdatasync"
KILLED_AT = ["fsync,fdatasync", "rename,renameat,renameat2", "pwrite64", "write", "unlink,unlinkat"]
PER_THREAD = 24  # no thread of a run makes more of these calls
USUAL = 6        # most make this many


def can_trace():
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-D", "-qq", "-o", "/dev/null", "true"], capture_output=True).returncode == 0


def strace(trace, calls, *options):
    """The command in front of a coordinator whose `calls` are written to the file `trace`."""
    return ["strace", "-D", "-f", "-y", "-qq", "-s", "400", "-o", str(trace), "-e", f"trace={calls}", *options]


def traced_calls(text):
    """(thread, call with its arguments and result), in the order in which they began."""
    calls, unfinished = [], {}
    for line in text.splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", call)
        if resumed:
            calls[unfinished.pop(thread)][1] += resumed.group(1)
        elif re.match(r"\w+\(", call):
            if call.endswith("<unfinished ...>"):
                unfinished[thread] = len(calls)
                call = call.removesuffix("<unfinished ...>").rstrip()
            calls.append([thread, call])
    return calls


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wait_for_coordinator(fleet):
    """Until it answers or is dead."""
    cluster.wait_for("the coordinator answers", lambda: fleet.coordinator.process.poll() is not None or
                     cluster.run_atelier("health", fleet.coordinator.address, check=False).returncode == 0, 60)


class Faulty(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="atelier_faults_"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.pictures = pictures.make_dataset(cls.folder / "pictures", per_class=40, test=5)

    @classmethod
    def undisturbed(cls, trace=None):
        """Its task; what its coordinator syncs and makes goes to the file `trace`."""
        folder = cls.folder / "undisturbed"
        folder.mkdir()
        with cluster.Cluster(folder, cls.pictures) as fleet:
            fleet.add_trainer("trainer")
            if trace:
                fleet.coordinator.terminate()
                fleet.coordinator.wrapper = strace(trace, f"{SYNCS},mkdir,mkdirat,rename,renameat,renameat2")
                fleet.coordinator.start()
                wait_for_coordinator(fleet)
            process = fleet.start_train("--out", folder / "run", *TRAIN)
            assert process.wait(120) == 0, (folder / "train.log").read_text()
            return fleet.show(fleet.run_ids()[0])["tasks"][0]

    def artifacts(self, fleet):
        return [path for path in (fleet.state / "artifacts").rglob("*") if path.is_file() and len(path.name) == 64]

    def check_end(self, fleet, process, name):
        """The run ended as the undisturbed one; every stored artifact is what its name says."""
        self.assertEqual(process.wait(180), 0, f"{name}\n{(fleet.folder / 'train.log').read_text()}\n" +
                         fleet.coordinator.log_tail())
        task = fleet.show(fleet.run_ids()[0])["tasks"][0]
        self.assertEqual(task["final_weights_digest"], self.expected["final_weights_digest"], name)
        self.assertEqual(task["weights_digest"], self.expected["weights_digest"], name)
        for path in self.artifacts(fleet):
            self.assertEqual(sha256(path), path.name, f"{name}: a torn artifact")
        with sqlite3.connect(f"file:{fleet.state}/coordinator.db?mode=ro", uri=True) as db:
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])

    def acknowledged(self, fleet):
        """Every checkpoint that the database names is there and whole (P2: it was durable before anybody heard of it)."""
        if not (fleet.state / "coordinator.db").exists():
            return
        with sqlite3.connect(f"file:{fleet.state}/coordinator.db?mode=ro", uri=True) as db:
            try:
                digests = {row[0] for row in db.execute("SELECT digest FROM checkpoints")}
            except sqlite3.OperationalError:
                return  # it died before it made its tables
        for digest in digests:
            path = fleet.state / "artifacts" / digest[:2] / digest
            self.assertTrue(path.is_file(), f"acknowledged checkpoint {digest} is lost")
            self.assertEqual(sha256(path), digest)


@unittest.skipUnless(can_trace(), "no strace here, or it may not trace")
class TracedFaults(Faulty):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.trace = cls.folder / "strace.log"
        cls.expected = cls.undisturbed(cls.trace)

    def places(self):
        if FAULTS == "all":
            return list(range(1, PER_THREAD + 1))
        return sorted(random.Random(SEED).sample(range(1, USUAL + 1), int(FAULTS)))

    def check_failed_syncs(self, name, traced, died):
        """A file whose fsync failed is neither published nor synced again; one of the database ends the process."""
        lines = traced.splitlines()
        for number, line in enumerate(lines):
            failed = re.search(r"f(?:data)?sync\(\d+<([^>]*)>\).*INJECTED", line)
            if not failed:
                continue
            path = failed.group(1)
            if "coordinator.db" in path:
                self.assertTrue(died, f"{name}: the database's sync failed and the coordinator went on")
                continue
            for later in lines[number + 1:]:
                if os.path.isdir(path):
                    continue
                self.assertNotIn(path, later, f"{name}: {path} was used after its sync had failed")

    def with_fault(self, name, injection):
        """One training whose coordinator runs under `injection`; when it dies it is restarted without."""
        folder = self.folder / name
        folder.mkdir()
        with cluster.Cluster(folder, self.pictures, state=folder / "state") as fleet:
            fleet.add_trainer("trainer")
            fleet.coordinator.terminate()
            calls = injection.split(":")[0]
            trace = folder / "strace.log"
            fleet.coordinator.wrapper = strace(trace, f"{calls},rename,renameat,renameat2", "-e", f"inject={injection}")
            fleet.coordinator.start()
            wait_for_coordinator(fleet)
            process = fleet.start_train("--out", folder / "run", *TRAIN)
            self.addCleanup(lambda: process.poll() is None and (process.kill(), process.wait()))
            died = False

            def ended_or_died():
                nonlocal died
                died = fleet.coordinator.process.poll() is not None
                return died or process.poll() is not None
            cluster.wait_for(f"{name}: an end", ended_or_died, 180)
            traced = trace.read_text(errors="replace")
            if "error=" in injection:
                self.check_failed_syncs(name, traced, died)
            hit = "INJECTED" in traced or died
            print(f"{name}: {'died and was restarted' if died else 'hit' if hit else 'missed'}", flush=True)
            if died:
                self.acknowledged(fleet)
                fleet.coordinator.wrapper = []
                fleet.coordinator.start().wait_healthy()
                # Submitted in time, or given up.
                cluster.wait_for(f"{name}: a run or a refusal", lambda: process.poll() is not None or fleet.run_ids(), 60)
                if process.poll() not in (None, 0):  # the client had given up: its run goes on all the same
                    if fleet.run_ids():
                        process = subprocess.Popen([str(cluster.BIN / "atelier"), "runs", "watch", fleet.run_ids()[0],
                                                    "--coordinator", fleet.coordinator.address],
                                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    else:
                        process = fleet.start_train("--out", folder / "run", *TRAIN)
            self.check_end(fleet, process, name)
        shutil.rmtree(folder)
        return hit

    def test_a_new_folder_is_durable_before_anything_is_in_it(self):
        calls = traced_calls(self.trace.read_text(errors="replace"))
        artifacts = (self.folder / "undisturbed" / "state" / "artifacts").resolve()
        below = [(thread, call) for thread, call in calls if str(artifacts) in call]
        # Folders that an earlier process made and perhaps did not live to sync.
        self.assertRegex(below[0][1], rf"^fsync\(\d+<{re.escape(str(artifacts))}>\) += 0")
        made = 0
        for number, (thread, call) in enumerate(below):
            folder = re.match(r'mkdir(?:at)?\((?:AT_FDCWD[^,]*, )?"([^"]+)", \w+\) += 0', call)
            if not folder:
                continue
            made += 1
            following = below[number + 1:]
            synced = next(i for i, (later, _) in enumerate(following) if later == thread)
            self.assertRegex(following[synced][1], rf"^fsync\(\d+<{re.escape(str(artifacts))}>\) += 0")
            for _, between in following[:synced]:
                self.assertNotIn(folder.group(1), between)
        self.assertGreater(made, 0, "no folder was made")
        syncs = collections.Counter(thread for thread, call in calls if re.match("f(data)?sync", call))
        self.assertLessEqual(max(syncs.values()), PER_THREAD)

    def test_what_was_there_at_the_start_is_durable_before_it_is_called_stored(self):
        # As if the coordinator before had been killed between each file's rename and its folder's sync.
        folder = self.folder / "stored"
        shutil.copytree(self.folder / "undisturbed" / "state", folder / "state")
        trace = folder / "strace.log"
        with cluster.Cluster(folder, self.pictures, state=folder / "state") as fleet:
            fleet.add_trainer("trainer")
            fleet.coordinator.terminate()
            fleet.coordinator.wrapper = strace(trace, "fsync,utimensat")
            fleet.coordinator.start()
            wait_for_coordinator(fleet)
            self.check_end(fleet, fleet.start_train("--out", folder / "run", *TRAIN), "stored")
        calls = traced_calls(trace.read_text(errors="replace"))
        durable, waited = set(), 0
        for number, (thread, call) in enumerate(calls):
            if synced := re.match(r"fsync\(\d+<([^>]+)>\) += 0", call):
                durable.add(synced.group(1))
            touched = re.match(r'utimensat\(AT_FDCWD[^,]*, "([^"]+)/[0-9a-f]{64}", [^)]*\) += 0', call)
            if touched and touched.group(1) not in durable:
                following = next((later for other, later in calls[number + 1:] if other == thread), "nothing")
                self.assertRegex(following, rf"^fsync\(\d+<{re.escape(touched.group(1))}>\) += 0")
                waited += 1
        self.assertGreater(waited, 0, "nothing that was there was uploaded again")

    def test_a_failing_fsync_acknowledges_nothing_that_is_lost(self):
        # Files and folders alone, too: the database has the first syncs (fdatasync), and where one fails the coordinator
        # has ended before it comes to those.
        if FAULTS == "all":
            faults = itertools.product([SYNCS, "fsync"], self.places())
        else:
            faults = zip(itertools.cycle(["fsync", SYNCS]), self.places())
        hits = cluster.side_by_side(self.with_fault, [(f"{calls.replace(',', '-')}-{n}", f"{calls}:error=EIO:when={n}")
                                                      for calls, n in faults])
        self.assertTrue(any(hits), "no fault was injected")

    def test_death_at_a_write_loses_nothing_that_was_acknowledged(self):
        faults = []
        for calls in KILLED_AT:
            places = self.places() if FAULTS == "all" else [random.Random(f"{SEED}{calls}").randint(1, USUAL)]
            faults += [(f"{calls.split(',')[0]}-{n}", f"{calls}:signal=KILL:when={n}") for n in places]
        self.assertTrue(any(cluster.side_by_side(self.with_fault, faults)), "no fault was injected")


class Faults(Faulty):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.expected = cls.undisturbed()

    def test_a_plan_right_after_a_restart_waits_for_the_data_service(self):
        folder = self.folder / "restart"
        folder.mkdir()
        with cluster.Cluster(folder, self.pictures) as fleet:
            fleet.add_trainer("trainer")
            data = fleet.services["data-0"]
            data.signal(signal.SIGSTOP)
            fleet.coordinator.terminate()
            fleet.coordinator.start().wait_healthy()
            process = fleet.start_train("--out", folder / "run", *TRAIN)
            log = folder / "train.log"
            cluster.wait_for("it says that it waits", lambda: process.poll() is not None or
                             "waiting for a data-service" in log.read_text(), 60)
            data.signal(signal.SIGCONT)
            self.check_end(fleet, process, "restart")

    def test_a_damaged_artifact_is_named_and_the_last_good_version_is_served(self):
        folder = self.folder / "damage"
        folder.mkdir()
        with cluster.Cluster(folder, self.pictures) as fleet:
            fleet.add_trainer("trainer")
            for name in ("one", "two"):
                process = fleet.start_train("--name", "colours", "--out", folder / name, *TRAIN)
                self.assertEqual(process.wait(120), 0, (folder / "train.log").read_text())
                if name == "one":
                    first = fleet.show(fleet.run_ids()[0])
            fleet.atelier("ensembles", "promote", "colours@1")
            aggregator = fleet.add_aggregator("aggregator", "--local-fallback", "only", "--name", "colours")
            answers = []

            def served(version):
                path = folder / "p.npy"
                asked = cluster.run_atelier("predict", self.pictures / "test", "--aggregator", aggregator.address,
                                            "--json", "--probabilities", path, check=False)
                if asked.returncode != 0:
                    return None
                answers.append((json.loads(asked.stdout)["ensemble_version"], read_npy(path)))
                return answers[-1] if answers[-1][0] == version else None
            before = cluster.wait_for("version 1 answers", lambda: served("colours@1"), 60)
            # Version 2 has the same weights (deterministic, same seed): damage them, and version 1 is in memory.
            weights = fleet.state / "artifacts" / first["tasks"][0]["weights_digest"][:2] / \
                first["tasks"][0]["weights_digest"]
            content = bytearray(weights.read_bytes())
            content[len(content) // 2] ^= 1
            weights.write_bytes(content)
            fleet.atelier("ensembles", "promote", "colours@2")
            cluster.wait_for("the damage is named", lambda: "damaged" in aggregator.log_tail(), 60)
            after = cluster.wait_for("version 1 still answers", lambda: served("colours@1"), 60)
            self.assertEqual(after[1], before[1])


class FullDisk(Faulty):
    def test_a_full_disk_acknowledges_nothing_predicts_on_and_heals(self):
        folder = self.folder / "full"
        disk = folder / "disk"
        disk.mkdir(parents=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(disk)],
                          capture_output=True).returncode != 0:
            self.skipTest("may not mount a tmpfs here")
        self.addCleanup(lambda: subprocess.run(["umount", "-l", str(disk)], capture_output=True))
        with cluster.Cluster(folder, self.pictures, state=disk / "state") as fleet:
            fleet.add_trainer("trainer")
            process = fleet.start_train("--name", "first", "--out", folder / "first", *TRAIN)
            self.assertEqual(process.wait(120), 0, (folder / "train.log").read_text())
            first = set(fleet.run_ids())
            aggregator = fleet.add_aggregator("aggregator", "--name", "first")
            predict = lambda: cluster.run_atelier("predict", self.pictures / "test", "--aggregator", aggregator.address,
                                                  check=False).returncode == 0
            cluster.wait_for("the first ensemble is served", predict, 60)

            def committed():
                second = set(fleet.run_ids()) - first
                task = fleet.show(second.pop())["tasks"][0] if second else None
                return task if task and (task["checkpoint_epoch"], task["checkpoint_step"]) > (0, 0) else None
            process = fleet.start_train("--name", "second", "--out", folder / "second", *TRAIN, "--set", "stages.train.epochs=40")
            cluster.wait_for("a checkpoint of the second run", committed, 60)
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"\0" * 4096)
                except OSError:
                    pass  # full
            cluster.wait_for("somebody says that the disk is full", lambda: any(
                "disk" in service.log_tail() or "space" in service.log_tail() or "full" in service.log_tail()
                for service in fleet.services.values()), 60)
            self.assertTrue(predict(), "predictions go on")
            self.acknowledged(fleet)
            filler.unlink()
            cluster.wait_for("the second run ends", lambda: process.poll() is not None, 180)
            log = (folder / "train.log").read_text()
            self.assertEqual(process.returncode, 0, log)
            second = (set(fleet.run_ids()) - first).pop()
            # Waiting for room is no failure: attempts are few, a disk may be full for a night.
            self.assertNotIn("failed", [attempt["end"] for attempt in fleet.show(second)["tasks"][0]["attempts"]])
            for path in self.artifacts(fleet):
                self.assertEqual(sha256(path), path.name)


if __name__ == "__main__":
    cluster.main()
