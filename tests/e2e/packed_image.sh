#!/usr/bin/env bash
# Makes the image of the tests with containers: the runtime stage of deploy/Dockerfile, with binaries
# that were built on this machine. The packages are installed into a folder, not into a layer: daemons
# that keep their layers in fuse-overlayfs take four times as long (150 s instead of 40).
# Usage: bash tests/e2e/packed_image.sh IMAGE BIN_FOLDER bookworm|trixie
# The suite is this machine's, whose libraries the binaries need; starts from its base image (deploy/base-image.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

image=${1:?the image to make}
bin=${2:?the folder with the binaries}
suite=${3:?bookworm or trixie}
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
work=$(mktemp -d)
root="$work/root"
clean_up() {
  if mountpoint -q "$root/proc"; then "${sudo[@]}" umount "$root/proc"; fi
  "${sudo[@]}" rm -rf --one-file-system "$work"
}
trap clean_up EXIT

mkdir "$root"
container=$(docker create "atelier-debian:$suite")
docker export "$container" | "${sudo[@]}" tar -C "$root" -x
docker rm "$container" >/dev/null
"${sudo[@]}" mount -t proc proc "$root/proc"
"${sudo[@]}" cp /etc/resolv.conf "$root/etc/resolv.conf"
"${sudo[@]}" cp deploy/runtime-image.sh "$root/tmp"
"${sudo[@]}" chroot "$root" bash /tmp/runtime-image.sh
"${sudo[@]}" rm "$root/tmp/runtime-image.sh"
"${sudo[@]}" umount "$root/proc"
for binary in atelier atelier-{convert,health,coordinator,data,trainer,aggregator}; do
  "${sudo[@]}" strip -o "$root/usr/local/bin/$binary" "$bin/$binary"
done
changes=()
while IFS= read -r line; do changes+=(--change "$line"); done < <(
  awk '/ AS runtime$/ {runtime = 1} runtime && /^(ENV|EXPOSE|CMD|USER|WORKDIR) /' deploy/Dockerfile)
"${sudo[@]}" tar -C "$root" -c . | docker import "${changes[@]}" - "$image"
