#!/usr/bin/env bash
# The README's two commands on a fresh Debian: a container of nothing but git, bash and python3, and
# a fresh clone of HEAD with nothing beside it.
# Usage: bash tests/platform/bare_debian.sh bookworm|trixie [COMMAND…]
#   default: deploy/demo.sh, tests/run.sh, deploy/demo.sh again; prints how long each took
# PIP_* and *_proxy of the environment, and the CA bundle that PIP_CERT names, are handed in. So is the
# compiler's cache that CCACHE_DIR names: a machine of the same Debian has compiled most of it then, if
# from this path and in this language; without it the build takes as long as on a fresh machine.
# Ends with 77 (skipped) where no Docker daemon answers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

suite=${1:?bookworm or trixie}
shift
if [ $# -gt 0 ]; then commands=("$*"); else
  commands=("bash deploy/demo.sh" "bash tests/run.sh" "bash deploy/demo.sh")
fi
docker info >/dev/null 2>&1 || { echo "bare_debian: SKIPPED: no Docker daemon answers"; exit 77; }
bash deploy/base-image.sh --suite "$suite"

container="atelier-bare-$suite-$$"
bundle=$(mktemp -d)
trap 'docker rm -f "$container" >/dev/null 2>&1; rm -rf "$bundle"' EXIT
git bundle create -q "$bundle/atelier.bundle" HEAD
options=(-v "$bundle:/bundle:ro")
while IFS='=' read -r name _; do
  case "$name" in PIP_FIND_LINKS) ;; PIP_* | *_proxy | *_PROXY) options+=(-e "$name") ;; esac
done < <(env)
checkout=/root/atelier
if [ -n "${CCACHE_DIR:-}" ]; then
  options+=(-e "CCACHE_DIR=$CCACHE_DIR" -v "$CCACHE_DIR:$CCACHE_DIR")
  checkout=$PWD
  # The language of messages is part of what it compares.
  for name in LANG LC_ALL LC_CTYPE LC_MESSAGES; do
    if [ -n "${!name:-}" ]; then options+=(-e "$name"); fi
  done
fi
if [ -n "${PIP_CERT:-}" ]; then options+=(-v "$PIP_CERT:$PIP_CERT:ro"); fi

docker run -d --name "$container" "${options[@]}" "atelier-debian:$suite" sleep infinity >/dev/null
inside() { docker exec -e DEBIAN_FRONTEND=noninteractive "$container" bash -c "$1"; }
inside "apt-get -qq update && apt-get -qq -y --no-install-recommends install git python3 >/dev/null"
inside "git clone -q /bundle/atelier.bundle '$checkout'"
for command in "${commands[@]}"; do
  echo "bare_debian: $suite: $command"
  started=$SECONDS
  inside "cd '$checkout' && $command"
  echo "bare_debian: $suite: $command: $((SECONDS - started)) s"
done
