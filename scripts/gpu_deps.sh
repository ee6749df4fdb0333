#!/usr/bin/env bash
# Copies what a machine without packages and network needs to build and test weft into FOLDER: GoogleTest's sources and
# the headers of CLI11 and nlohmann-json, for scripts/gpu_check.sh --deps FOLDER (and WEFT_DEPS, WEFT_GTEST_SOURCE).
#   gpu_deps.sh FOLDER
set -euo pipefail

if (($# != 1)); then
  echo "usage: gpu_deps.sh FOLDER" >&2
  exit 2
fi
folder=$1
gtest=${WEFT_GTEST_SOURCE:-/usr/src/googletest}
include=${WEFT_INCLUDE:-/usr/include}
for needed in "$gtest/CMakeLists.txt" "$include/CLI/CLI.hpp" "$include/nlohmann/json.hpp"; do
  [[ -f $needed ]] || {
    echo "gpu_deps.sh: $needed is not there (scripts/setup.sh installs it)" >&2
    exit 1
  }
done

rm -rf "$folder/googletest" "$folder/CLI11" "$folder/nlohmann"
mkdir -p "$folder/googletest" "$folder/CLI11/include" "$folder/nlohmann/include"
# The libraries' own tests and documents stay behind.
(cd "$gtest" && tar -c --exclude='*/test' --exclude='*/docs' --exclude='*/samples' .) | tar -x -C "$folder/googletest"
cp -rL "$include/CLI" "$folder/CLI11/include/"
cp -rL "$include/nlohmann" "$folder/nlohmann/include/"
echo "gpu_deps.sh: $(du -sh "$folder" | cut -f 1) in $folder" >&2
