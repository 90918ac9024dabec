#!/usr/bin/env bash
# Bundles the part of OpenLayers that the page of `tilegen serve` uses. Needs npm; the result is kept in the repository,
# so only who changes the version runs this. npm checks the SHA-512 of what it downloads; the sum below is of the result.
set -euo pipefail

OPENLAYERS=10.11.0
ESBUILD=0.28.2
SHA256=8d5e32b41f9ea6e354a74d496ad3bd0754e751cf6368d96ef8bde31b6e6f7054

here="$(cd "$(dirname "$0")" && pwd)"
target="$here/../tilegen/server/page/openlayers.js"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund --save-exact "ol@$OPENLAYERS" "esbuild@$ESBUILD"
cp "$here/openlayers.js" entry.js
licence="/*! OpenLayers $OPENLAYERS, https://openlayers.org, BSD-2-Clause, (c) OpenLayers Contributors; with rbush and quickselect, MIT and ISC, (c) Volodymyr Agafonkin. See openlayers.LICENSE.txt. */"
npx esbuild entry.js --bundle --minify --format=esm --target=es2020 --legal-comments=none --banner:js="$licence" \
    --log-level=warning --outfile=bundle.js
echo "$SHA256  bundle.js" | sha256sum --check --quiet
cp bundle.js "$target"
