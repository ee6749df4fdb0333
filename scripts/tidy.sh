#!/usr/bin/env bash
# clang-tidy over the C++ sources of core/, cpu/ and nn/ that changed since a commit, as build/ compiles them.
#   tidy.sh [--deep] [--most N] [COMMIT]   COMMIT: the last one that is half a day old
# --deep also has the checks clang-analyzer-*, which take as long again. --most N takes the N files with the most added
# lines and says how many it leaves out.
set -euo pipefail
cd "$(dirname "$0")/.."

checks=(--checks='-clang-analyzer-*') most=''
while (($#)); do
  case $1 in
    --deep) checks=() && shift ;;
    --most) most=$2 && shift 2 ;;
    *) break ;;
  esac
done
since=${1:-$(git rev-list -1 --before=12.hours.ago HEAD)}
[[ -f build/compile_commands.json ]] || {
  echo "tidy.sh: configure build/ first (cmake -S . -B build)" >&2
  exit 2
}
tidy=$(command -v clang-tidy-14 || command -v clang-tidy) || {
  echo "tidy.sh: clang-tidy is not installed (scripts/setup.sh --format)" >&2
  exit 1
}
mapfile -t changed < <(git diff --numstat --no-renames --diff-filter=d "${since:-HEAD~1}" -- 'core/*.cpp' 'cpu/*.cpp' 'nn/*.cpp' |
  sort -rn | cut -f 3)  # by lines added
files=()
for file in "${changed[@]}"; do  # those that this build compiles
  grep -qF "\"file\": \"$PWD/$file\"" build/compile_commands.json && files+=("$file")
done
count=${#files[@]}
if [[ -n $most ]]; then files=("${files[@]:0:most}"); fi
echo "tidy.sh: ${#files[@]} of $count files"
((${#files[@]})) || exit 0
printf '%s\0' "${files[@]}" | xargs -0 -P "${JOBS:-$(nproc)}" -n 1 "$tidy" -p build --quiet "${checks[@]}" 2> /dev/null
