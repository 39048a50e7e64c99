#!/bin/sh
# Prometheus and promtool, from Debian's package: fetched if they are missing and this is root with apt. Otherwise the tests
# that need them are skipped, and say so.
command -v prometheus > /dev/null && command -v promtool > /dev/null && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || exit 0
# The package would start a server: a policy that forbids it is the way to say no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -qq -y --no-install-recommends prometheus > /dev/null 2>&1 ||
    { apt-get update -qq > /dev/null 2>&1 && apt-get install -qq -y --no-install-recommends prometheus > /dev/null 2>&1; } ||
    echo "prometheus could not be installed: its tests are skipped" >&2
exit 0
