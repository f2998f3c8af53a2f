"""Runs the benchmarks and prints their tables. Usage: run.sh, which makes the peers and the build."""
import argparse
import datetime
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import cases
import quiet
import report
from engine import ROOT, peer


def processor():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    name = named.get("model name", "unknown")
    flags = named.get("flags", "").split()
    having = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16") if flag in flags]
    return f"{name} (family {named.get('cpu family', '?')}, model {named.get('model', '?')}; {', '.join(having)})"


def machine(rounds):
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {"processor": processor(), "cores": os.cpu_count(), "rounds": rounds, "commit": commit.stdout.strip() or "unknown",
            "when": datetime.datetime.now().strftime("%Y-%m-%d %H:%M")}


def pictures(asked, scratch):
    """The folder asked for, or the paintings beside the project, or made ones."""
    for folder in filter(None, (asked, ROOT.parent / "shared/data/pacs-art/train")):
        if pathlib.Path(folder).is_dir():
            return pathlib.Path(folder).resolve()
    if asked:
        sys.exit(f"bench: --pictures {asked} is no folder")
    subprocess.run(peer("make_pictures.py", scratch / "pictures"), check=True)
    return scratch / "pictures"


def parse_arguments(known):
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks, by default all: " + ", ".join(known))
    parser.add_argument("--out", default="bench-results", type=pathlib.Path, help="folder for bench.json and bench.md; tables "
                        "of other benchmarks that are there stay (default %(default)s)")
    parser.add_argument("--pictures", help="DIR/<class>/*.jpg; by default the paintings in ../shared, else made ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="least length of one measurement (default %(default)s)")
    parser.add_argument("--patience", type=float, default=quiet.patience_seconds,
                        help="seconds to spend in all on rounds that others disturbed (default %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the names of the benchmarks")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(known)}")
    options.names = options.names or known
    return options


def run_case(name, setting, about, failed):
    """The case's tables; what failed is added to `failed`."""
    print(f"bench: {name}", flush=True)
    try:
        made = cases.CASES[name](setting)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"bench: {name} failed: {error}", flush=True)
        failed.append(name)
        return []
    for table in made:
        table.case, table.measured = name, f"{about['when']} at commit {about['commit']}"
        failed += [f"{name}: {row.engine}" for row in table.rows if row.failure]
    return made


def main():
    known = list(cases.CASES)
    options = parse_arguments(known)
    if options.list:
        print("\n".join(known))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))  # servers and engines end with us
    options.out.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="atelier-bench-"))
    about, failed = machine(options.rounds), []
    tables = report.read(options.out, about, options.names)
    quiet.patience_seconds = options.patience
    others = quiet.wait_until_quiet()
    if others > quiet.DISTURBED:
        print(f"bench: something else uses {others:.0%} of the machine; disturbed rounds are measured again", flush=True)
    try:
        with (options.out / "bench.log").open("a") as log:
            setting = cases.Setting(scratch, pictures(options.pictures, scratch), options.rounds, options.seconds, log)
            for name in options.names:
                tables += run_case(name, setting, about, failed)
                tables.sort(key=lambda table: known.index(table.case))
                report.write(options.out, about, tables)  # what is there by now survives an interrupt
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print("\n" + report.markdown(about, tables))
    print(f"bench: wrote {options.out}/bench.json and {options.out}/bench.md")
    if failed:
        print(f"bench: failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
