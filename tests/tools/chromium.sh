#!/bin/sh
# Installs Chromium, which the tests of the console use: where apt is and we are root. Elsewhere those tests are skipped.
set -eu
for name in chromium chromium-browser google-chrome; do
  command -v "$name" > /dev/null && exit 0
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
  echo "Chromium is not installed, and only root can install it by apt: the tests of the console in a browser are skipped." >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
[ -n "$(ls /var/lib/apt/lists 2> /dev/null | grep _Packages || true)" ] || apt-get -qq update
apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core > /dev/null ||
  { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core > /dev/null; } ||
  echo "Chromium could not be installed: the tests of the console in a browser are skipped." >&2
