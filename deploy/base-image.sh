#!/usr/bin/env bash
# Makes the Debian base image that deploy/Dockerfile starts FROM, with debootstrap and docker import:
# for machines that can pull no image from a registry. Does nothing when the image is there.
# Usage: bash deploy/base-image.sh [--suite bookworm|trixie] [--force]
# The mirror is the one this machine's apt uses for the suite, else debootstrap's default; or
# ATELIER_DEBIAN_MIRROR.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

suite=bookworm
force=no
while [ $# -gt 0 ]; do
  case "$1" in
    --suite) suite=${2:?--suite needs bookworm or trixie}; shift 2 ;;
    --force) force=yes; shift ;;
    *) echo "base-image: unknown option $1 (known: --suite, --force)" >&2; exit 2 ;;
  esac
done
image="atelier-debian:$suite"

command -v docker >/dev/null || {
  echo "base-image: no docker command: bash deploy/setup.sh --containers installs one" >&2; exit 1; }
docker info >/dev/null 2>&1 || {
  echo "base-image: the Docker daemon does not answer; start it, or run as a user it accepts" >&2; exit 1; }
if [ "$force" = no ] && docker image inspect "$image" >/dev/null 2>&1; then
  echo "base-image: $image is there"
  exit 0
fi

sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
if ! command -v debootstrap >/dev/null; then
  echo "base-image: installing debootstrap"
  "${sudo[@]}" apt-get -qq update
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install debootstrap >/dev/null
fi

mirror=${ATELIER_DEBIAN_MIRROR:-}
if [ -z "$mirror" ]; then
  mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 2>/dev/null |
    awk -v suite="$suite" '$1 == suite {print $2; exit}')
fi
work=$(mktemp -d)
trap '"${sudo[@]}" rm -rf --one-file-system "$work"' EXIT
echo "base-image: debootstrap $suite (a few minutes)"
# mirror unset: debootstrap's default
"${sudo[@]}" debootstrap --variant=minbase --include=ca-certificates "$suite" "$work/root" ${mirror:+"$mirror"} |
  awk '/^I: (Retrieving|Extracting|Installing|Unpacking|Configuring)/ {n++; if (n % 40 == 0) {printf "base-image: %d steps\n", n; fflush()}} /^E:/ {print}'
"${sudo[@]}" rm -rf "$work/root/var/cache/apt/archives"/*.deb "$work/root/var/lib/apt/lists"/*_*
"${sudo[@]}" tar -C "$work/root" -c . | docker import --change 'CMD ["bash"]' - "$image" >/dev/null
echo "base-image: $image is ready ($(docker image inspect --format '{{.Size}}' "$image" | awk '{printf "%d MB", $1 / 1e6}'))"
