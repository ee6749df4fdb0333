#!/usr/bin/env bash
# clang-tidy over the C++ sources of core/, cpu/ and nn/ that changed since a commit, as build/ compiles them.
#   tidy.sh [--deep] [COMMIT]   COMMIT: the last one that is half a day old
# --deep also has the checks clang-analyzer-*, which take as long again.
set -euo pipefail
cd "$(dirname "$0")/.."

checks=(--checks='-clang-analyzer-*')
if [[ ${1:-} == --deep ]]; then
  checks=()
  shift
fi
since=${1:-$(git rev-list -1 --before=12.hours.ago HEAD)}
[[ -f build/compile_commands.json ]] || {
  echo "tidy.sh: configure build/ first (cmake -S . -B build)" >&2
  exit 2
}
tidy=$(command -v clang-tidy-14 || command -v clang-tidy) || {
  echo "tidy.sh: clang-tidy is not installed (scripts/setup.sh --format)" >&2
  exit 1
}
mapfile -t changed < <(git diff --name-only --diff-filter=d "${since:-HEAD~1}" -- 'core/*.cpp' 'cpu/*.cpp' 'nn/*.cpp')
files=()
for file in "${changed[@]}"; do  # those that this build compiles
  grep -qF "\"file\": \"$PWD/$file\"" build/compile_commands.json && files+=("$file")
done
echo "tidy.sh: ${#files[@]} files"
((${#files[@]})) || exit 0
printf '%s\0' "${files[@]}" | xargs -0 -P "${JOBS:-$(nproc)}" -n 1 "$tidy" -p build --quiet "${checks[@]}" 2> /dev/null
