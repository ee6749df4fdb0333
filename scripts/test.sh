#!/usr/bin/env bash
# Installs what is missing, builds into build/ and runs the tests; arguments go to ctest. WEFT_WERROR=ON makes
# warnings errors.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
cmake -S . -B build -G Ninja -DWEFT_WERROR="${WEFT_WERROR:-OFF}" -DWEFT_PTX_TESTS=OFF \
  -DWEFT_TESTS=ON -DWEFT_PROGRAM=ON
cmake --build build
ctest --test-dir build --output-on-failure -j "$(nproc)" "$@"
