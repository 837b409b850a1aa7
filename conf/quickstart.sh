#!/bin/sh
# On a fresh Debian 12: installs what the build needs, builds build/release/lastack, runs `lastack demo`.
# Arguments go to the demo: sh conf/quickstart.sh --stay
set -eu
cd "$(dirname "$0")/.."
sh conf/packages.sh build
cmake --preset release -DLASTACK_TESTS=OFF >/dev/null
cmake --build --preset release
exec build/release/lastack demo "$@"
