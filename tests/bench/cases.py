"""The benchmarks: each makes engines, has them measured in turn, and returns tables."""
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import time

import quiet
import report
from engine import BENCH, BIN, Engine, Server, free_port, interleave, peer
from serving import serving

WORKERS = 2
TRAINING = {"size": 192, "batch": 16}  # recipe fast
PIPELINE = {"size": 200, "batch": 20}  # recipe seed


@dataclasses.dataclass
class Setting:
    scratch: pathlib.Path
    pictures: pathlib.Path
    rounds: int
    seconds: float
    log: object


def training(backbone):
    def run(setting):
        engines = []
        for precision in ("float32", "bfloat16"):
            arguments = (backbone, TRAINING["size"], TRAINING["batch"], precision, setting.seconds)
            engines += [Engine(f"Keras {precision}", peer("train_keras.py", *arguments)),
                        Engine(f"PyTorch {precision}", peer("train_torch.py", *arguments)),
                        Engine(f"Atelier {precision}", [BENCH / "bench_training_step", *arguments], ours=True)]
        interleave(engines, setting.rounds, setting.log)
        return [report.Table(f"train_{backbone}",
                             f"Training {backbone}, {TRAINING['size']} px, batch {TRAINING['batch']}: whole steps",
                             "images/s", report.rows_of(engines))]
    return run


def pipeline(setting):
    rest = (setting.pictures, PIPELINE["size"], PIPELINE["batch"], WORKERS)
    peers = [Engine("albumentations + torch DataLoader", peer("pipeline_torch.py", "albumentations", *rest)),
             Engine("torchvision v2 + torch DataLoader", peer("pipeline_torch.py", "torchvision", *rest)),
             Engine("tf.data", peer("pipeline_tf.py", *rest)),
             Engine("Keras ImageDataGenerator (no CutMix)", peer("pipeline_keras.py", *rest))]
    ours = Engine("Atelier", [BENCH / "bench_pipeline", *rest], ours=True)
    interleave([*peers, ours], setting.rounds, setting.log)
    rows = report.rows_of(peers)
    for part in ("first epoch", "later epochs"):
        for row in report.rows_of([ours], part):
            row.engine = f"Atelier, {part}"
            rows.append(row)
    return [report.Table("pipeline", f"Data pipeline: decode, resize {PIPELINE['size']}, affine, flips, brightness, CutMix, "
                         f"batches of {PIPELINE['batch']}, {WORKERS} workers", "images/s", rows,
                         note="Later epochs: decoded pictures stay in the data-service's cache, bounded in bytes. Atelier takes "
                         "CutMix' partner from a second, independently augmented stream; the peers mix within the batch.")]


def kernels(setting):
    """Google Benchmark repeats and interleaves by itself."""
    out = setting.scratch / "kernels.json"
    subprocess.run([BENCH / "bench_kernels", f"--benchmark_repetitions={setting.rounds}", "--benchmark_min_time=0.2",
                    "--benchmark_enable_random_interleaving=true", f"--benchmark_out={out}", "--benchmark_out_format=json"],
                   check=True, stdout=setting.log, stderr=setting.log)
    times = {}
    for run in json.loads(out.read_text())["benchmarks"]:
        if run.get("run_type") == "iteration":
            times.setdefault(run["run_name"], []).append(run["real_time"])
    tables = {}
    for name, values in times.items():
        kernel, where, precision, engine = name.split("/")[:4]
        table = tables.setdefault((kernel, where, precision), report.Table(
            f"kernel_{kernel}_{where}_{precision}".replace(" ", "_"), f"{kernel}, {where}, {precision}",
            "ms", [], lower_is_better=True))
        table.rows.append(report.Row(engine, engine == "atelier", values))
    return [report.merged("kernels", "Kernels, forward and backward, against LibTorch's operators", list(tables.values()))]


def transport(setting):
    address = f"127.0.0.1:{free_port()}"
    with Server(setting.log, [BIN / "atelier-data", "--root", setting.pictures, "--listen", address], address):
        engines = [Engine("Atelier", [BENCH / "bench_transport", address, 192, 16], ours=True)]
        engines.append(Engine("bare TCP socket in Python", peer("socket_copy.py", 192 * 192 * 3 * 16, setting.seconds / 5)))
        interleave(engines, setting.rounds, setting.log)
    rows = report.rows_of(engines[1:])
    for part in ("ready batches", "batches of cached pictures"):
        for row in report.rows_of(engines[:1], part):
            row.engine = f"Atelier, {part}"
            rows.append(row)
    return [report.Table("transport", "Batch transport over loopback, 192 px, batch 16 (1.8 MB a message)", "GB/s", rows)]


def coordinator(setting):
    """Not interleaved: the numbers of trainers cannot be there at once."""
    small = setting.scratch / "few"
    for picture in sorted(setting.pictures.glob("*/*.jpg"))[::20]:
        (small / picture.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, small / picture.parent.name)
    tables = {key: report.Table(f"coordinator_{key.replace(' ', '_')}", title, unit, [], lower_is_better=True)
              for key, title, unit in (
                  ("share of a core", "Coordinator under simulated trainers, each reporting once a second", "share of one core"),
                  ("cost", "The same, per trainer", "ms of CPU per trainer and second"),
                  ("answer p99 ms", "The same: a report's answer, 99th percentile", "ms"),
                  ("answered", "The same: reports answered", "part"))}
    for trainers in (250, 500, 1000):
        address, data = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        state = setting.scratch / f"state-{trainers}"
        with Server(setting.log, [BIN / "atelier-coordinator", "--state", state, "--listen", address], address) as server, \
             Server(setting.log, [BIN / "atelier-data", "--root", small, "--listen", data, "--coordinator", address], data):
            time.sleep(2)  # registers
            engine = Engine(f"{trainers} trainers", [BENCH / "bench_coordinator_load", address, server.process.pid, trainers,
                                                     2 * setting.seconds], ours=True)
            interleave([engine], setting.rounds, setting.log)
        for key, table in tables.items():
            if key == "cost":
                row = report.rows_of([engine], "share of a core")[0]
                row.values = [1e3 * value / trainers for value in row.values]
            else:
                row = report.rows_of([engine], key)[0]
            table.rows.append(row)
    tables["answered"].lower_is_better = False
    return list(tables.values())


def checkpoints(setting):
    """Whole `atelier train` processes; the second epoch's seconds, with checkpoints each second and with none."""
    some = setting.scratch / "some"
    for picture in sorted(setting.pictures.glob("*/*.jpg"))[::8]:
        (some / picture.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, some / picture.parent.name)

    def epoch(name, seconds):
        run, counts = setting.scratch / f"run-{name}-{seconds}", setting.scratch / f"counts-{name}-{seconds}"
        counts.mkdir()
        subprocess.run([BIN / "atelier", "train", "--data", some, "--recipe", "fast", "--members", name, "--no-pretrained",
                        "--epochs", "2", "--set", "precision=bfloat16", "--checkpoint-seconds", str(seconds), "--out", run], check=True,
                       stdout=setting.log, stderr=setting.log,
                       env={**os.environ, "ATELIER_CALL_COUNTS": str(counts)})
        shown = json.loads(subprocess.run([BIN / "atelier", "runs", "show", run, "--json"], check=True,
                                          capture_output=True).stdout)
        history = shown["tasks"][0]["history"]
        calls = sum(count for file in counts.iterdir() for method, count in json.loads(file.read_text()).items()
                    if method.endswith("CommitCheckpoint"))
        shutil.rmtree(run)
        shutil.rmtree(counts)
        return min(entry["seconds"] for entry in history), sum(entry["seconds"] for entry in history), calls

    tables = []
    for name in ("xception", "efficientnet_lite0"):
        rows = {seconds: report.Row(f"checkpoints {label}", True, []) for seconds, label in ((3600, "none within an epoch"),
                                                                                          (1, "every second"))}
        per_checkpoint = []
        for _ in range(setting.rounds):
            found = {}
            for seconds, row in rows.items():
                found[seconds], others = quiet.undisturbed(lambda: epoch(name, seconds))
                row.others.append(others)
            for seconds, row in rows.items():
                row.values.append(found[seconds][0])
            extra_calls = found[1][2] - found[3600][2]
            if extra_calls > 0:
                per_checkpoint.append((found[1][1] - found[3600][1]) / extra_calls)
            print(f"bench:   {name}: {found}", flush=True)
        none, each = min(rows[3600].values), min(rows[1].values)
        cost = sorted(per_checkpoint)[len(per_checkpoint) // 2] if per_checkpoint else 0
        tables.append(report.Table(f"checkpoints_{name}", f"Checkpoint stall, {name}: seconds of an epoch", "s",
                                   list(rows.values()), lower_is_better=True,
                                   note=f"Lost to a checkpoint every second: {each / none - 1:.1%}. One checkpoint costs "
                                   f"{1e3 * cost:.0f} ms (median of the rounds): {cost / 60:.2%} at the default of one a minute."))
    return tables


CASES = {
    "train_xception": training("xception"),
    "train_efficientnet_lite0": training("efficientnet_lite0"),
    "pipeline": pipeline,
    "kernels": kernels,
    "transport": transport,
    "coordinator": coordinator,
    "serving": serving,
    "checkpoints": checkpoints,
}
