"""Runs the benchmarks and prints their tables. Usage: run.sh, which makes the peers and the build."""
import argparse
import datetime
import os
import pathlib
import shutil
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


def main():
    known = list(cases.CASES)
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks, by default all: " + ", ".join(known))
    parser.add_argument("--out", default="bench-results", help="folder for bench.json and bench.md (default %(default)s)")
    parser.add_argument("--pictures", help="DIR/<class>/*.jpg; by default the paintings in ../shared, else made ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="least length of one measurement (default %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the names of the benchmarks")
    options = parser.parse_args()
    if options.list:
        print("\n".join(known))
        return 0
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(known)}")
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="atelier-bench-"))
    tables, failed = [], []
    about = machine(options.rounds)
    others = quiet.wait_until_quiet()
    if others > quiet.DISTURBED:
        print(f"bench: something else uses {others:.0%} of the machine; disturbed rounds are measured again", flush=True)
    try:
        with (out / "bench.log").open("a") as log:
            setting = cases.Setting(scratch, pictures(options.pictures, scratch), options.rounds, options.seconds, log)
            for name in options.names or known:
                print(f"bench: {name}", flush=True)
                try:
                    tables += cases.CASES[name](setting)
                except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                    print(f"bench: {name} failed: {error}", flush=True)
                    failed.append(name)
                report.write(out, about, tables)  # what is there by now survives an interrupt
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print("\n" + report.markdown(about, tables))
    print(f"bench: wrote {out}/bench.json and {out}/bench.md")
    failed += [row.engine for table in tables for row in table.rows if row.failure]
    if failed:
        print(f"bench: failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
