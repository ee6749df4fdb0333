#!/usr/bin/env bash
# Checks the format (.clang-format, by clang-format 14) and the length (500 lines) of every tracked source file.
set -euo pipefail
cd "$(dirname "$0")/.."

format=$(command -v clang-format-14 || command -v clang-format) || {
  echo "check.sh: clang-format is not installed (scripts/setup.sh --format)" >&2
  exit 1
}
mapfile -t sources < <(git ls-files -- '*.h' '*.cpp' '*.cu' '*.cuh')
status=0
awk 'FNR == 501 { print FILENAME ": more than 500 lines"; long = 1 } END { exit long }' "${sources[@]}" >&2 || status=1
"$format" --dry-run --Werror "${sources[@]}" || status=1
((status)) || echo "check.sh: ${#sources[@]} files are in order"
exit "$status"
