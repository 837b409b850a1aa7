#!/bin/sh
# What of src/codec/ the unit tests and the replayed fuzz corpora run through: lines and branches, with the places
# that are not reached. Fails below 95 % of the lines, and when a branch of HTTP/1.1's files is missed that is not
# explained here.
#
#   sh tests/coverage.sh
#
# Not reached, and why:
#   la_assert(...)            an assertion that holds
#   i == 0                    la_http_worth_parsing, on a first byte that is an LF: no parser ever says MORE after it,
#                             so no caller can have seen it; the test keeps p[i - 1] inside the buffer all the same
set -eu
cd "$(dirname "$0")/.."
explained='la_assert\(|\|\| i == 0 \|\|'

cmake --preset coverage >/dev/null
targets=$(ls tests/unit/codec_*.c | sed 's|.*/|unit_|; s|\.c$||'; ls tests/fuzz/codec_*.c | sed 's|.*/|fuzz_|; s|\.c$||')
cmake --build --preset coverage --target $targets >/dev/null
find build/coverage -name '*.gcda' -delete
ctest --test-dir build/coverage -R '^(unit|fuzz)_codec_' --output-on-failure >build/coverage/ctest.log ||
    { cat build/coverage/ctest.log; exit 1; }

report() { # FILTER OPTION... (the compiler's own checks have data files too, of sources that are gone)
    gcovr --root . --object-directory build/coverage/CMakeFiles/la_codec.dir build/coverage/CMakeFiles/la_codec.dir \
        --filter "$@"
}
report 'src/codec/' --txt --fail-under-line 95
report 'src/codec/http1_' --branches --exclude-branches-by-pattern ".*($explained).*" --fail-under-branch 100
