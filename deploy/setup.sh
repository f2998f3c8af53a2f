#!/usr/bin/env bash
# Installs from Debian what Atelier's build, tests and demo need and this machine lacks.
# Usage: bash deploy/setup.sh [--lint] [--containers]
#   --lint        also clang-tidy-22 (tests/lint.sh) and clang-22 with libFuzzer (tests/fuzz)
#   --containers  also debootstrap and docker-compose, and Docker where there is no docker command
#                 (deploy/base-image.sh, tests with containers)
# Asks for sudo only when not root. A second run changes nothing and takes a second.
set -euo pipefail

packages=(
  # tools
  build-essential ca-certificates ccache cmake git mold ninja-build pkg-config
  python3 python3-pip python3-venv
  # LibTorch, with the fast BLAS: without libopenblas0-pthread it falls back to a reference BLAS, 20 times slower
  libtorch-dev libopenblas0-pthread libgloo-dev
  # ONNX' protobuf messages, the library that libtorch is linked with
  libonnx-dev
  # services
  libabsl-dev libcli11-dev libcpp-httplib-dev libcurl4-openssl-dev libgrpc++-dev libjpeg-dev
  libopencv-dev libpng-dev libprotobuf-dev libsqlite3-dev libsqlitecpp-dev libssl-dev libwebp-dev
  libyaml-cpp-dev nlohmann-json3-dev prometheus-cpp-dev protobuf-compiler protobuf-compiler-grpc
  # atelier-convert
  libhdf5-dev libseccomp-dev libzip-dev
  # report
  libjs-chart.js
  # tests; strace makes system calls fail
  googletest libbenchmark-dev libgmock-dev libgtest-dev strace
)
no_docker=false
for argument in "$@"; do
  case "$argument" in
    --lint) packages+=(clang-22 clang-tidy-22 libclang-rt-22-dev) ;;
    --containers)
      packages+=(debootstrap docker-compose)
      command -v docker >/dev/null || { no_docker=true; packages+=(docker.io); } ;;
    *) echo "setup: unknown option $argument (known: --lint, --containers)" >&2; exit 2 ;;
  esac
done

missing=()
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null |
  awk '$2 == "installed" {print $1}' || true)
for package in "${packages[@]}"; do
  grep -qxF "$package" <<<"$installed" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ] && ! $no_docker; then
  echo "setup: all ${#packages[@]} Debian packages are there"
  exit 0
fi

sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: run as root or install sudo; missing: ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Indexes first: on a fresh machine there are none, on an old one they may name files that are gone.
if ! "${apt[@]}" update >"$log" 2>&1; then
  cat "$log" >&2
  echo "setup: apt-get update failed; check the network and /etc/apt/sources.list" >&2
  exit 1
fi
# Since trixie the command is a package of its own, which docker.io only recommends.
if $no_docker && [ -n "$(apt-cache show docker-cli 2>/dev/null)" ]; then
  packages+=(docker-cli)
  missing+=(docker-cli)
fi
echo "setup: installing ${#missing[@]} of ${#packages[@]} Debian packages: ${missing[*]}"
started=$SECONDS
"${apt[@]}" --no-install-recommends install "${missing[@]}" >"$log" 2>&1 &
pid=$!
while kill -0 "$pid" 2>/dev/null; do
  printf '\rsetup: %3d s, %s packages unpacked, %s configured ' $((SECONDS - started)) \
    "$(grep -c '^Unpacking' "$log" || true)" "$(grep -c '^Setting up' "$log" || true)"
  sleep 1
done
echo
if ! wait "$pid"; then
  tail -n 30 "$log" >&2
  echo "setup: apt-get install failed (the last lines are above)" >&2
  exit 1
fi
echo "setup: done in $((SECONDS - started)) s"
