#!/bin/sh
# Installs what the tests need, builds, runs everything. As root on Debian 12.
#
#   sh tests/run.sh          the whole suite at a scale for every day
#   sh tests/run.sh --full   the same with the issue's own figures
#
# One step fails: the others still run, the end says which, and the exit status is 1.
set -u
cd "$(dirname "$0")/.." || exit 1
case "${1:-}" in
"") FUZZ_SECONDS=2; packages=tests ;;
--full) FUZZ_SECONDS=60; packages=full; LASTACK_FULL=1; export LASTACK_FULL ;;
*) echo "usage: sh tests/run.sh [--full]" >&2; exit 2 ;;
esac

failed=""
passed=0
step() { # NAME COMMAND...
    name=$1; shift
    start=$(date +%s)
    echo "=== $name"
    if "$@"; then
        passed=$((passed + 1))
        echo "=== $name: passed ($(($(date +%s) - start)) s)"
    else
        failed="$failed $name"
        echo "=== $name: FAILED ($(($(date +%s) - start)) s)"
    fi
}

build() { # PRESET [TARGET]
    cmake --preset "$1" >/dev/null && cmake --build --preset "$1" --target "${2:-all}" 2>&1 | tail -n 30 &&
        cmake --build --preset "$1" --target "${2:-all}" >/dev/null
}

unit() { # PRESET
    ctest --test-dir "build/$1" --output-on-failure --no-tests=error -j 2
}

wire() { # PRESET PYTEST-ARGUMENTS...
    preset=$1; shift
    LASTACK_BIN="build/$preset/lastack" /usr/bin/python3 -m pytest -q -p no:cacheprovider "$@"
}

fuzz() {
    build fuzz fuzzers || return 1
    found=0
    for program in build/fuzz/fuzz_*; do
        target=${program##*/fuzz_}
        [ -x "$program" ] || continue
        found=$((found + 1))
        work=$(mktemp -d)
        "$program" -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=1024 -print_final_stats=0 -verbosity=0 \
            -artifact_prefix="$work/" "$work" "tests/fuzz/corpus/$target" || { echo "fuzz_$target failed; input in $work"; return 1; }
        rm -rf "$work"
    done
    [ "$found" -gt 0 ]
}

sh conf/packages.sh $packages || exit 1
for preset in release asan tsan; do
    step "build-$preset" build "$preset"
    step "unit-$preset" unit "$preset"
done
step coverage sh tests/coverage.sh
step wire wire release tests/wire
step hosts wire release tests/hosts
step bench wire release tests/bench
step wire-asan wire asan -m sanitizer tests/wire tests/hosts
step wire-tsan wire tsan -m sanitizer tests/wire tests/hosts
step fuzz fuzz

if [ -n "$failed" ]; then
    echo "failed:$failed"
    set -- $failed
    echo "$passed passed, $# failed"
    exit 1
fi
echo "$passed passed, 0 failed"
