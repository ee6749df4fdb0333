#!/usr/bin/env bash
# Measures training steps, images/s: needle at batch 128 and 512, page at batch 64. Prints a table of medians and writes
# them to build/bench.json.
#   bench.sh [--peer FILE] [--rounds N] [--seconds S]
# FILE is a Python program that measures PyTorch and prints rows like tests/bench/train_bench does; it runs in turns
# with weft, so that both see the same machine. --rounds (3) is the number of turns, --seconds (2) the time per figure.
set -euo pipefail
cd "$(dirname "$0")/.."

peer='' rounds=3 seconds=2
while (($#)); do
  case $1 in
    --peer) peer=${2:?--peer needs a file} ;;
    --rounds) rounds=${2:?--rounds needs a number} ;;
    --seconds) seconds=${2:?--seconds needs a number} ;;
    *)
      echo "usage: bench.sh [--peer FILE] [--rounds N] [--seconds S]" >&2
      exit 2
      ;;
  esac
  shift 2
done
if [[ -n $peer && ! -f $peer ]]; then
  echo "bench.sh: $peer is not there" >&2
  exit 2
fi
# Debian's PyTorch belongs to Debian's Python, whatever else is first in the path.
python=/usr/bin/python3
if [[ -n $peer ]] && ! "$python" -c 'import torch' 2> /dev/null; then
  echo "bench.sh: no PyTorch (scripts/setup.sh --bench installs it): weft alone is measured" >&2
  peer=
fi

scripts/setup.sh
cmake -S . -B build -G Ninja -DWEFT_TESTS=ON -DWEFT_PROGRAM=ON > /dev/null
cmake --build build --target train_bench > /dev/null

rows=$(mktemp build/bench.XXXXXX)
trap 'rm -f "$rows"' EXIT
for ((round = 1; round <= rounds; ++round)); do
  for work in "needle 128,512" "page 64"; do
    read -r model batch <<< "$work"
    echo "bench.sh: round $round of $rounds, $model at batch $batch" >&2
    build/tests/train_bench train --model "$model" --batch "$batch" --seconds "$seconds" >> "$rows"
    [[ -z $peer ]] || "$python" -B "$peer" train --device cpu --model "$model" --batch "$batch" --seconds "$seconds" >> "$rows"
  done
done

awk -v json=build/bench.json -v rounds="$rounds" '
  function field(name) {
    if (!match($0, "\"" name "\": *\"?[^\",}]*")) return ""
    value = substr($0, RSTART, RLENGTH)
    sub("^\"" name "\": *\"?", "", value)
    return value
  }
  function median(key,    n, i, j, t, v) {
    n = split(samples[key], v, " ")
    for (i = 2; i <= n; ++i)
      for (j = i; j > 1 && v[j] + 0 < v[j - 1] + 0; --j) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
    return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
  }
  {
    work = field("model") " " field("batch")
    name = field("peer") (field("mode") == "" ? "" : " " field("mode"))
    if (!((work, name) in samples)) { ++count; works[count] = work; names[count] = name; threads[count] = field("threads") }
    samples[work, name] = samples[work, name] " " field("images_per_s")
  }
  END {
    printf "%-8s %5s  %-32s %12s  %s\n", "model", "batch", "", "images/s", "weft is faster by"
    printf "[" > json
    for (i = 1; i <= count; ++i) {
      split(works[i], w, " ")
      speed = median(works[i] SUBSEP names[i])
      ratio = median(works[i] SUBSEP "weft") / speed
      printf "%-8s %5d  %-32s %12.0f  %s\n", w[1], w[2], names[i], speed, (names[i] == "weft" ? "" : sprintf("%.2f", ratio))
      printf "%s\n  {\"what\": \"train\", \"model\": \"%s\", \"batch\": %d, \"peer\": \"%s\", \"threads\": %d, \"rounds\": %d, \"images_per_s\": %.1f}",
        (i > 1 ? "," : ""), w[1], w[2], names[i], threads[i], rounds, speed > json
    }
    print "\n]" > json
  }' "$rows"
