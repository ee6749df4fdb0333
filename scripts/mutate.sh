#!/usr/bin/env bash
# Plants the faults of scripts/mutants.txt one at a time, each in a copy of the tree, and reports which of them the
# tests notice. Exits 1 if one survives that is not listed as equivalent, or if one cannot be planted or compiled.
#
#     scripts/mutate.sh [--quick] [REGEX]      those whose line matches REGEX; all without one
#
# Each program that a line names must fail. All tests follow where none of them does, unless --quick is given. The copy and its
# build are kept in $WEFT_MUTATION_DIR (build/mutation): the next run compiles only what changed. $JOBS and $WEFT_CMAKE
# set the number of jobs and further options of cmake.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=0
if [[ ${1:-} == --quick ]]; then
  quick=1
  shift
fi
pattern=${1:-.}
list=$PWD/scripts/mutants.txt
work=${WEFT_MUTATION_DIR:-$PWD/build/mutation}
jobs=${JOBS:-$(nproc)}
source=$PWD
mkdir -p "$work"

git ls-files -z | while IFS= read -r -d '' file; do
  if [[ -f $file ]] && ! cmp -s "$file" "$work/$file"; then
    mkdir -p "$work/$(dirname "$file")"
    cp "$file" "$work/$file"
  fi
done
(cd "$work" && find core cpu nn tests -type f) | while IFS= read -r file; do
  if [[ ! -f $file ]]; then rm "$work/$file"; fi
done
read -ra options <<<"${WEFT_CMAKE:-}"
launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
cmake -S "$work" -B "$work/build" -G Ninja -DWEFT_CUDA=OFF -DWEFT_CUDA_ON_CPU=OFF -DWEFT_ONEDNN=OFF -DWEFT_TESTS=ON -DWEFT_PROGRAM=ON \
  "${launcher[@]}" "${options[@]}" >"$work/configure.log"

planted=
restore() { if [[ -n $planted ]]; then cp "$source/$planted" "$work/$planted"; fi; }
trap restore EXIT

build() { cmake --build "$work/build" -j "$jobs" --target "$@" >"$work/build.log" 2>&1; }
run() { ctest --test-dir "$work/build" -j "$jobs" --timeout 600 --stop-on-failure "$@" >"$work/test.log" 2>&1; }
passing() {
  local program
  for program in "$@"; do
    if run -R "^$program(\\.|\$)"; then printf ' %s' "$program"; fi
  done
}

# file :: sed expression :: programs [:: why no test can notice it]
mutants=()
declare -A needed=()
while IFS= read -r line; do
  [[ $line =~ ^[[:space:]]*(#|$) ]] && continue
  grep -qE -- "$pattern" <<<"$line" || continue
  mutants+=("$line")
  rest=${line#* :: } && rest=${rest#* :: }
  for program in ${rest%% :: *}; do needed[$program]=1; done
done <"$list"
((${#mutants[@]})) || { echo "mutate.sh: no line of $list matches $pattern" >&2; exit 1; }

build "${!needed[@]}" || { echo "mutate.sh: the tree does not compile, see $work/build.log" >&2; exit 1; }
for program in "${!needed[@]}"; do
  run -R "^$program(\\.|\$)" || { echo "mutate.sh: $program fails without a fault, see $work/test.log" >&2; exit 1; }
done

killed=0 survived=0 equivalent=0 broken=0
for line in "${mutants[@]}"; do
  file=${line%% :: *} rest=${line#* :: }
  expression=${rest%% :: *} rest=${rest#* :: }
  programs=${rest%% :: *} reason=
  if [[ $rest == *" :: "* ]]; then reason=${rest#* :: }; fi
  read -ra targets <<<"$programs"

  planted=$file
  sed -E -e "$expression" "$source/$file" >"$work/planted"
  changed=$(diff "$source/$file" "$work/planted" | grep -c '^>' || true)
  cp "$work/planted" "$work/$file"
  if [[ $changed != 1 ]]; then
    result="BROKEN (changes $changed lines)" && broken=$((broken + 1))
  elif ! build "${targets[@]}"; then
    result="BROKEN (does not compile)" && broken=$((broken + 1))
  else
    blind=$(passing "${targets[@]}")
    if [[ -z $blind ]]; then
      result="killed" && killed=$((killed + 1))
    elif [[ $blind != " $programs" ]]; then
      result="SURVIVED in$blind" && survived=$((survived + 1))
    elif ((!quick)) && build all && ! run; then
      result="killed by others, see $work/test.log" && killed=$((killed + 1))
    elif [[ -n $reason ]]; then
      result="equivalent: $reason" && equivalent=$((equivalent + 1))
    else
      result="SURVIVED" && survived=$((survived + 1))
    fi
  fi
  printf '%-28s %s  (%s)\n' "$file" "$expression" "$result"
  restore
  planted=
done
echo "mutate.sh: ${#mutants[@]} faults, $killed killed, $equivalent equivalent, $survived survived, $broken broken"
((survived == 0 && broken == 0))
