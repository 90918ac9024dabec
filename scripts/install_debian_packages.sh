#!/usr/bin/env bash
# Installs GDAL's own tools, the independent reader and COG validator of the tests, a C++ compiler for the kernels of
# the CPU engine, the browser of the map's tests, and QGIS for Python. Says so and goes on where it cannot. QGIS is the
# largest: 930 MB of disk; three minutes on two busy cores.
set -euo pipefail

packages=(gdal-bin python3-gdal g++ chromium python3-qgis)

skip() {
    echo "Debian packages: $1; tests that need them are skipped."
    exit 0
}

command -v dpkg-query >/dev/null || skip "this is not Debian"
# shellcheck disable=SC2016  # the format is dpkg's, not the shell's
if [ "$(dpkg-query --show --showformat='${db:Status-Status}\n' "${packages[@]}" 2>/dev/null | grep -cx installed)" \
    -eq "${#packages[@]}" ]; then
    exit 0
fi
command -v apt-get >/dev/null || skip "there is no apt-get"
[ "$(id -u)" -eq 0 ] || skip "not root (install ${packages[*]} by hand)"

export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet || skip "apt-get update failed"
apt-get install --quiet --yes --no-install-recommends "${packages[@]}" || skip "apt-get install failed"
