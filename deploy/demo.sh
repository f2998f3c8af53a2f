#!/usr/bin/env bash
# The main job on real pictures, from a bare Debian machine: set-up, build, ImageNet weights, pictures
# (Debian's package openclipart-png), train an ensemble of two backbones, evaluate it on pictures set
# aside, serve it, predict through gRPC, write a report. A second run trains again and skips the rest.
# Usage: bash deploy/demo.sh [--out DIR] [--members a,b]     DIR: build/demo of this repository if not given
set -euo pipefail
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=build/demo
members=xception,efficientnet_lite0
while [ $# -gt 0 ]; do
  case "$1" in
    --out) work=$(cd "$caller" && realpath -m "${2:?--out needs a folder}"); shift 2 ;;
    --members) members=${2:?--members needs names}; shift 2 ;;
    *) echo "demo: unknown option $1 (known: --out, --members)" >&2; exit 2 ;;
  esac
done
mkdir -p "$work"
work=$(cd "$work" && pwd)

begin=$SECONDS
step() { printf '\n== %s (%d:%02d since the start)\n' "$1" $(((SECONDS - begin) / 60)) $(((SECONDS - begin) % 60)); }

step "1/7 set-up"
bash deploy/setup.sh

step "2/7 build"
[ -f build/build.ninja ] || cmake --preset release
cmake --build build --parallel "$(nproc)" --target \
  atelier atelier-convert atelier-coordinator atelier-data atelier-trainer atelier-aggregator
export PATH="$PWD/build/bin:$PATH"

step "3/7 weights"
for member in ${members//,/ }; do atelier weights fetch "$member"; done

step "4/7 pictures"
clipart="$work/openclipart"
if [ ! -d "$clipart/png" ]; then
  echo "demo: downloading Debian's package openclipart-png (131 MB)"
  download=$(mktemp -d)
  # Indexes are there after set-up; an old machine's may name a file that is gone.
  (cd "$download" && { apt-get -qq download openclipart-png 2>/dev/null ||
    { if [ "$(id -u)" -eq 0 ]; then apt-get -qq update; else sudo apt-get -qq update; fi
      apt-get -qq download openclipart-png; }; })
  mkdir -p "$download/tree"
  dpkg-deb -x "$download"/openclipart-png_*.deb "$download/tree"
  mkdir -p "$clipart"
  mv "$download/tree/usr/share/openclipart/png" "$clipart/png"
  rm -rf "$download"
fi
python3 deploy/demo_pictures.py "$clipart/png" "$work/pictures" "$work/held-out"

step "5/7 train"
run="$work/run-$(date +%Y%m%d-%H%M%S)"
# A tenth of the pictures that recipe fast is made for: smaller ones, and a shorter warm-up.
atelier train --data "$work/pictures" --recipe fast --epochs 3 --members "$members" --name clipart --promote \
  --set image.size=160 --set stages.train.schedule.warmup_steps=8 --out "$run"

step "6/7 evaluate on the pictures set aside"
atelier evaluate --ensemble "$run" --data "$work/held-out" --json >"$run/held-out.json"

step "7/7 serve, and predict through gRPC"
log="$work/serve.log"
atelier serve --ensemble "$run" --port 0 >"$log" 2>"$work/serve.err" &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true' EXIT
# serve prints one line once it is ready.
until address=$(grep -oE '127\.0\.0\.1:[0-9]+' "$log" | head -n 1) && [ -n "$address" ]; do
  kill -0 "$server" 2>/dev/null || { cat "$work/serve.err" >&2; echo "demo: serve ended before it was ready" >&2; exit 1; }
  sleep 0.2
done
echo "demo: serving at $address"
atelier predict "$work/pictures/test" --aggregator "$address" --out "$run/served-submission.csv"
kill "$server"
wait "$server" || { echo "demo: serve did not stop cleanly" >&2; exit 1; }
trap - EXIT

python3 - "$run" "$work/held-out" <<'PYTHON'
import csv, json, pathlib, sys
run, held_out = map(pathlib.Path, sys.argv[1:])
scores = json.loads((run / "held-out.json").read_text())
chance = 1 / len(scores["classes"])
print("demo: held-out pictures:", scores["images"])
for name, member in scores["members"].items():
    print(f"demo:   {name:20s} {100 * member['accuracy']:5.1f} %")
accuracy = scores["ensemble"]["accuracy"]
print(f"demo:   {'ensemble':20s} {100 * accuracy:5.1f} %   (chance {100 * chance:.1f} %)")
# The served answers are those of evaluate: same pictures, by file name.
truth = {p.name: p.parent.name for p in held_out.glob("*/*")}
rows = list(csv.reader((run / "served-submission.csv").open()))[1:]
names = sorted(truth, key=lambda name: name.encode())
served = sum(scores["classes"][int(row[1])] == truth[name] for name, row in zip(names, rows))
if len(rows) != len(names) or abs(served / len(names) - accuracy) > 1e-9:
    sys.exit(f"demo: FAILED: served predictions score {served}/{len(names)}, evaluate {accuracy}")
if accuracy < 3 * chance:
    sys.exit("demo: FAILED: under three times chance")
PYTHON
printf '\ndemo: done in %d:%02d. Report: %s\n' $(((SECONDS - begin) / 60)) $(((SECONDS - begin) % 60)) "$run/report.html"
