#!/bin/sh
# Installs Debian packages that are missing: `build` what a build needs, `tests` that and what the tests need, `full` that
# and what only `tests/run.sh --full` needs, `bench` what tests need and what the benchmarks measure with and against.
set -u
BUILD="gcc libc6-dev cmake ninja-build pkg-config libev-dev libyaml-dev libc-ares-dev libssl-dev iproute2"
TESTS="$BUILD clang libclang-rt-14-dev python3 python3-pytest python3-yaml python3-h11 curl gcovr nginx-light haproxy apache2 openssl testssl.sh \
    php-fpm php-cli php-memcached libapache2-mod-php memcached libmemcached-tools nutcracker iproute2 strace procps slowhttptest \
    nodejs node-ws python3-cryptography python3-websockets python3-httpx python3-aiohttp"
FULL="$TESTS chromium wordpress wordpress-theme-twentytwentythree mariadb-server php-mysql php-gd"
BENCH="$TESTS valgrind linux-perf"
case "${1:-}" in
build) wanted=$BUILD ;;
tests) wanted=$TESTS ;;
full) wanted=$FULL ;;
bench) wanted=$BENCH ;;
*) echo "usage: packages.sh build|tests|full|bench" >&2; exit 2 ;;
esac
missing=""
for package in $wanted; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "packages are missing:$missing" >&2
    echo "install them as root: apt-get install$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# Servers come for the tests alone: they are not started by their packages.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 1' HUP INT TERM # without it a signal ends this shell past the trap above
fi
# Another apt-get may be at work (a fresh machine that updates itself): wait for it.
install() { apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=600 $missing; }
install >/dev/null 2>&1 || { apt-get update -q && install; }
