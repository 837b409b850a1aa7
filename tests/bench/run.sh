#!/bin/sh
# Measures lastack beside nginx and HAProxy; see run.py --help. Installs and builds what is missing.
set -eu
cd "$(dirname "$0")/../.."
case " $* " in
*" --help "*) ;;
*) sh conf/packages.sh bench
   [ -f build/release/build.ninja ] || cmake --preset release >/dev/null
   cmake --build --preset release >/dev/null ;;
esac
exec /usr/bin/python3 tests/bench/run.py "$@"
