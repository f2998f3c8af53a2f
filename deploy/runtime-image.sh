#!/usr/bin/env bash
# What a base image lacks to run the binaries: the shared libraries that they load, and their user. The libraries'
# package names carry versions that differ between Debian's suites, so they are taken from what the -dev packages of
# deploy/setup.sh depend on. One script, because a further layer takes seconds in fuse-overlayfs.
set -euo pipefail

development=(libtorch-dev libgrpc++-dev libprotobuf-dev libopencv-dev libabsl-dev libyaml-cpp-dev
  libsqlitecpp-dev libsqlite3-dev libcurl4-openssl-dev libhdf5-dev libseccomp-dev libzip-dev libssl-dev
  prometheus-cpp-dev libcpp-httplib-dev libjpeg-dev libpng-dev libwebp-dev libonnx-dev)
wanted='^(libtorch[0-9]|libgrpc\+\+[0-9]|libgrpc[0-9]|libprotobuf[0-9]|libopencv-(core|imgproc|imgcodecs)[0-9]|libabsl[0-9]|libyaml-cpp[0-9]|libsqlitecpp[0-9]|libsqlite3-[0-9]|libcurl4|libhdf5-[0-9]|libseccomp[0-9]|libzip[0-9]|libssl[0-9]|libprometheus-cpp-core[0-9]|libcpp-httplib[0-9]|libjpeg62|libpng16|libwebp[0-9]|libwebpdemux|libdnnl|libonnx[0-9])'

export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
mapfile -t packages < <(
  { apt-cache depends "${development[@]}"; apt-cache depends libjpeg62-turbo-dev libpng-dev libwebp-dev; } |
    awk '$1 ~ /Depends:$/ {print $2}' | grep -E "$wanted" | grep -vE -- '-dev$' | sort -u)
echo "runtime: ${packages[*]}"
apt-get -qq -y --no-install-recommends install "${packages[@]}" libopenblas0-pthread libgomp1 >/dev/null
rm -rf /var/lib/apt/lists/*

useradd --system --uid 10001 --create-home --home-dir /var/lib/atelier atelier
mkdir -p /var/lib/atelier/state
chown -R atelier:atelier /var/lib/atelier
