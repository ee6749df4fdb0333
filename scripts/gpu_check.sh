#!/usr/bin/env bash
# Everything that only a GPU can show, on a machine with one and without network, in the order of what it tells: first
# figures of the device, `weft check`, 20 training steps of both models in every mode and a profile of their kernels; the
# tests that need a GPU, a few hundred training steps, compute-sanitizer's tools; the benchmarks beside PyTorch. A stage
# that fails is reported and the others go on; a part ends after eight minutes. Writes gpu_check.json, gpu_check.log and
# table.txt, after each stage anew.
#   gpu_check.sh [--part first|check|bench] [--deps FOLDER] [--gtest FOLDER] [--data FOLDER] [--peer FILE] [--out FOLDER]
#   gpu_check.sh --peer-compile --peer FILE [...]   instead: the benchmark at batch 512 beside torch.compile
#   gpu_check.sh --train-page --data FOLDER [...]   instead: the recipe dawnbench, 24 epochs
# --part: one of the three alone, where all are too much for one call. The first needs only the programs weft and
# train_bench.
# --deps: what scripts/gpu_deps.sh copied, where packages are missing. --gtest (DEPS/googletest): GoogleTest's sources.
# --data (the built-in images): CIFAR-10's binary files. --peer: a program that measures PyTorch, as for bench.sh.
# --out: build/gpu_check. WEFT_COMMIT names the commit where git does not; PYTHON is the Python that has PyTorch.
# shellcheck disable=SC2317  # stage calls the functions
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

usage() {
  sed -n '7,9s/^# *//p' "$0" >&2
  exit 2
}
PATH=$PATH:/usr/local/cuda/bin  # compute-sanitizer
deps='' gtest='' data=builtin peer='' out=build/gpu_check mode=all part=all command=$*
while (($#)); do
  case $1 in
    --peer-compile) mode=compile && shift && continue ;;
    --train-page) mode=page && shift && continue ;;
  esac
  (($# > 1)) || usage
  case $1 in
    --deps) deps=$(realpath "$2") ;;
    --gtest) gtest=$(realpath "$2") ;;
    --data) data=$2 ;;
    --peer) peer=$2 ;;
    --out) out=$2 ;;
    --part) part=$2 ;;
    *) usage ;;
  esac
  shift 2
done
[[ -n $gtest || ! -d $deps/googletest ]] || gtest=$deps/googletest
[[ $mode != compile || -f $peer ]] || usage
[[ $part =~ ^(all|first|check|bench)$ ]] || usage
build=build/gpu python=${PYTHON:-python3}
mkdir -p "$out" && rm -f "$out"/{gpu_check.log,gpu_check.json,table.txt} && out=$(realpath "$out") || exit 2
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null; rm -rf "$work"' EXIT
rows=$work/rows stages=$work/stages failed=0
touch "$rows" "$stages"
gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2> /dev/null | head -n 1)
commit=${WEFT_COMMIT:-$(git describe --always --dirty 2> /dev/null || echo unknown)}

record() { # NAME SECONDS RESULT
  echo "{\"stage\": \"$1\", \"seconds\": $2, \"result\": \"$3\"}" >> "$stages"
  [[ $3 == failed* ]] && failed=1
  echo "== $1: $3, $2 s"
  report > /dev/null  # a run that is cut short leaves what it has
}
part_end=1000000  # by SECONDS
limited() { # SECONDS COMMAND...: a program that waits for the GPU may not end when it is asked to
  local limit=$1 left=$((part_end - SECONDS))
  shift
  ((left > 0)) || left=1
  timeout -k 5 "$((limit < left ? limit : left))" "$@"
}
stage() { # NAME COMMAND...: the output goes to the log, the end of a failed one's to the screen too
  local name=$1 start=$SECONDS status=0 result=ok
  shift
  ((SECONDS < part_end)) || { record "$name" 0 "skipped: the eight minutes are over" && return 1; }
  "$@" > "$work/$name" 2>&1 || status=$?
  { echo "== $name: $*" && cat "$work/$name"; } >> "$out/gpu_check.log"
  ((status == 0)) || { result="failed: status $status" && tail -n 20 "$work/$name"; }
  ((status != 124 && status != 137)) || result="${out_of_time:-failed: out of time}"
  grep -ohE '^\[  FAILED  \] [^ ,]+' "$work/$name" | awk '{ print $4 }' | sort -u > "$work/failed"
  [[ ! -s $work/failed ]] || sed "s/.*/{\"what\": \"failed test\", \"stage\": \"$name\", \"name\": \"&\"}/" "$work/failed" >> "$rows"
  record "$name" $((SECONDS - start)) "$result"
  return "$status"
}

configure() {
  local options=(-DCMAKE_BUILD_TYPE=Release -DWEFT_CUDA=ON -DWEFT_INSTALL=OFF -DWEFT_CUDA_ON_CPU=OFF -DWEFT_TESTS=ON
    -DWEFT_PROGRAM=ON) chip cublas
  chip=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | head -n 1 | tr -d '. ')
  case $chip in
    [1-8][0-9]) chip=$chip-real ;;
    9[0-9] | 1[0-9][0-9]) chip=${chip}a-real ;;
    *) chip=native ;;
  esac
  if command -v ninja; then options+=(-G Ninja); fi
  options+=(-DCMAKE_CUDA_ARCHITECTURES="$chip" -DWEFT_DEPS="$deps" -DWEFT_GTEST_SOURCE="$gtest")
  cmake -S . -B "$build" "${options[@]}" && return
  # Perhaps a toolkit without cuBLAS: PyTorch's.
  cublas=$("$python" -c 'import nvidia; print(*nvidia.__path__, sep="\n")' |
    xargs -rI{} find {} -name 'libcublasLt.so*' | head -n 1)
  [[ -n $cublas ]] || return 1
  options+=("-DCUDA_cublasLt_LIBRARY=$cublas" "-DCMAKE_CXX_FLAGS=-isystem $(dirname "$(dirname "$cublas")")/include")
  cmake -S . -B "$build" "${options[@]}"
}
compile() { # TARGETS
  local options=()
  [[ ! -f $build/build.ninja ]] || options=(-- -k 0)  # what does not build keeps nothing else from being tested
  limited 300 cmake --build "$build" --parallel "$(nproc)" --target "$@" "${options[@]}"
}
tests() { # all but the op table
  WEFT_REQUIRE_CUDA=1 limited 300 ctest --test-dir "$build" --output-on-failure -j "$(nproc)" --no-tests=error -L '^gpu$' \
    -E '^device_test\.'
}

# In parts beside each other: an error that breaks the device for a process leaves it to the other parts.
op_table() { # PARTS SECONDS NAME COMMAND...: the outputs to $work/NAME.of.PART
  local parts=$1 limit=$2 name=$3 part pids=() failures=() status=0
  shift 3
  for ((part = 0; part < parts; ++part)); do
    WEFT_REQUIRE_CUDA=1 GTEST_TOTAL_SHARDS=$parts GTEST_SHARD_INDEX=$part limited "$limit" "$@" --gtest_brief=1 \
      > "$work/$name.of.$part" 2>&1 &
    pids+=($!)
  done
  for part in "${!pids[@]}"; do  # those that failed last, where the end is looked at
    if wait "${pids[part]}"; then cat "$work/$name.of.$part"; else status=$? && failures+=("$work/$name.of.$part"); fi
  done
  ((status == 0)) || cat "${failures[@]}"
  return "$status"
}

# compute-sanitizer's tools over a row of each family of kernels. One that runs out of time is "partial".
sanitizer_rows='abs exp gelu add power atan2 remainder equal logical_and where to clone contiguous flip pad dilate as_strided
  concatenate expand sum max argmax var mean sum_to logsumexp matmul linear im2col col2im conv1d conv2d conv3d
  conv2d_input_grad conv2d_weight_grad conv_transpose2d composed__conv2d_input_grad max_pool2d max_pool2d_with_indices
  max_unpool2d avg_pool2d adaptive_avg_pool2d lp_pool2d global_avg_pool interpolate batch_norm group_norm instance_norm
  layer_norm softmax log_softmax cross_entropy nll_loss binary_cross_entropy_with_logits huber_loss dropout one_hot weighted'
sanitizers() {
  local tool options first filter='' row test=$build/tests/device_test start=$SECONDS out_of_time='partial: out of time'
  [[ -x $test ]] && ((SECONDS < part_end)) || return
  for row in $sanitizer_rows; do filter+=":*Contiguous*/$row:*First*/$row"; done
  first=$("$test" --gtest_list_tests --gtest_filter='*Contiguous*/add' | awk '/^ / { print s $1; exit } { s = $1 }')
  limited 60 compute-sanitizer "$test" --gtest_filter="$first" > "$work/trial" 2>&1
  { echo "== sanitizers: trial with $first" && cat "$work/trial"; } >> "$out/gpu_check.log"
  if ! grep -q 'ERROR SUMMARY' "$work/trial" || grep -qiE 'not supported|internal' "$work/trial"; then
    record sanitizers $((SECONDS - start)) "skipped: compute-sanitizer is not there or does not work on this machine"
    return
  fi
  for tool in memcheck racecheck synccheck initcheck; do
    options=(--tool "$tool" --error-exitcode 9)
    [[ $tool != memcheck ]] || options+=(--report-api-errors no)  # weft checks every call itself
    # Without segments each array is an allocation of its own, whose bounds the tools see.
    WEFT_CUDA_SEGMENTS=0 stage "$tool" op_table 4 60 "$tool" compute-sanitizer "${options[@]}" "$test" --gtest_filter="${filter#:}"
  done
}

train() { # NAME SECONDS OPTIONS...: every epoch's losses and accuracies, without times, to $work/NAME.bits
  local name=$1 limit=$2 run=$build/run_$1
  shift 2
  rm -rf "$run"
  limited "$limit" "$build/weft" train --device cuda --data "$data" --out "$run" "$@" || return
  grep '"event": *"epoch"' "$run/log.jsonl" > "$work/epochs" || return
  grep -oE '"(loss|accuracy)": *[^,}]*' "$work/epochs" > "$work/$name.bits"
  tail -n 1 "$work/epochs" | sed "s/^{/{\"what\": \"run\", \"name\": \"$name\", /" >> "$rows"
}
same_bits() { # NAME NAME
  stage "bits_$2" diff "$work/$1.bits" "$work/$2.bits"
}
training() {
  local needle=(60 --model resnet9-narrow --batch 128 --limit 12800 --epochs 3)  # 300 steps
  local page=(90 --model resnet9 --batch 512 --limit 25600 --epochs 4)      # 200 steps
  stage train_needle train needle "${needle[@]}"
  stage train_needle_again train needle_again "${needle[@]}" && same_bits needle needle_again
  stage train_needle_no_graph train needle_no_graph "${needle[@]}" --no-graph && same_bits needle needle_no_graph
  stage train_page train page "${page[@]}" --precision bf16
  stage train_page_no_graph train page_no_graph "${page[@]}" --precision bf16 --no-graph &&
    same_bits page page_no_graph
}

# Writes clocks (MHz), power (W) and temperature (C) four times a second, after the time of the sample.
sample_clocks() {
  stdbuf -oL nvidia-smi -i 0 --query-gpu=clocks.sm,clocks.mem,power.draw,temperature.gpu --format=csv,noheader,nounits -lms 250 \
    2> /dev/null > >(LC_ALL=C && while read -r line; do echo "$EPOCHREALTIME, $line"; done > "$work/clocks") &
}
# Adds the medians of the samples between "from" and "until" to a row. Values that are not numbers are left out.
with_clocks() {
  LC_ALL=C awk -v file="$work/clocks" '
    function number(name) {
      return match($0, "\"" name "\": *[0-9.e+]+") ? substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) + 0 : ""
    }
    function median(which, n,    i, j, t) {
      for (i = 2; i <= n; ++i)
        for (j = i; j > 1 && values[which, j] < values[which, j - 1]; --j) {
          t = values[which, j]; values[which, j] = values[which, j - 1]; values[which, j - 1] = t
        }
      return values[which, int((n + 1) / 2)]
    }
    BEGIN { split("sm_mhz memory_mhz watts celsius", names, " ") }
    {
      from = number("from"); until = number("until"); added = ""
      if (from != "" && until != "") {
        for (i = 1; i <= 4; ++i) counts[i] = 0
        while ((getline line < file) > 0) {
          split(line, sample, /, */)
          if (sample[1] + 0 < from || sample[1] + 0 > until) continue
          for (i = 1; i <= 4; ++i) if (sample[i + 1] ~ /^[0-9]+([.][0-9]+)?$/) values[i, ++counts[i]] = sample[i + 1] + 0
        }
        close(file)
        for (i = 1; i <= 4; ++i) if (counts[i]) added = added sprintf(", \"%s\": %g", names[i], median(i, counts[i]))
      }
      sub(/}$/, added "}")
      print
      fflush()
    }'
}

# Times 20 steps of a model three times, in every precision. A way computes all convolutions: by the table, pinned to an
# algorithm, or composed of copies and matrix products.
steps() { # MODEL BATCH WAYS OPTIONS...
  local job=(--device cuda --model "$1" --batch "$2" --steps 20 --runs 3 --precision "fp32,tf32,bf16" --algo "$3")
  shift 3
  limited 60 "$build/tests/train_bench" train "${job[@]}" "$@" | with_clocks | tee -a "$rows"
}
device_figures() {
  limited 60 "$build/tests/train_bench" device --device cuda | tee -a "$rows"
}
# Profiles ordinary steps. The events slow these runs down, so that their images/s are not kept.
profile() { # MODEL BATCH
  local precision file=$work/profile status=0
  for precision in fp32 bf16; do
    rm -f "$file"
    WEFT_CUDA_PROFILE=$file limited 60 "$build/tests/train_bench" train --device cuda --model "$1" --batch "$2" --steps 20 \
      --precision "$precision" || status=$?
    sed -E "s/^\{\"what\": \"(kernel|profile)\"/&, \"model\": \"$1\", \"batch\": $2, \"mode\": \"$precision\"/" "$file" |
      tee -a "$rows" || status=$?
  done
  return "$status"
}
columns() { # MODEL BATCH: steps by im2col with columns of several MiB at a time
  local job=(--device cuda --model "$1" --batch "$2" --steps 20 --runs 3 --precision bf16 --algo im2col --graph) mib status=0
  for mib in 32 64 128 256 512; do
    WEFT_CUDA_COLUMN_MIB=$mib limited 30 "$build/tests/train_bench" train "${job[@]}" | with_clocks | tee -a "$rows" ||
      status=$?
  done
  return "$status"
}

bench() { # MODEL BATCH: a process per figure, so that the peak memory is its own
  local job=(--device cuda --model "$1" --batch "$2" --seconds 0.5 --runs 3) precision mode_options status=0
  local modes=(--graph)
  [[ $2 != 128 ]] || modes+=('')
  [[ $2 != 512 ]] || modes+=('--graph --conv-timing')
  for mode_options in "${modes[@]}"; do
    for precision in fp32 tf32 bf16; do
      # shellcheck disable=SC2086
      limited 60 "$build/tests/train_bench" train "${job[@]}" --precision "$precision" $mode_options | with_clocks |
        tee -a "$rows" || status=$?
    done
  done
  return "$status"
}
bench_peer() { # MODEL BATCHES SECONDS OPTIONS...
  local job=(--device cuda --model "$1" --batch "$2" --seconds 0.5) limit=$3
  shift 3
  limited "$limit" "$python" -B "$peer" train "${job[@]}" "$@" | tee -a "$rows"
}

conv() { # MODEL BATCH ALGORITHMS: GFLOP/s of each layer and pass, by those of the algorithms that apply
  local precision status=0
  for precision in fp32 tf32 bf16; do
    limited 30 "$build/tests/conv_bench" --device cuda --model "$1" --batch "$2" --algo "$3" --precision "$precision" \
      --seconds 0.05 | tee -a "$rows" || status=$?
  done
  return "$status"
}

table() {
  awk '
    function field(name) {
      if (!match($0, "\"" name "\": *\"?[^\",}]*")) return ""
      value = substr($0, RSTART, RLENGTH)
      sub("^\"" name "\": *\"?", "", value)
      return value
    }
    /"what": *"train"/ {
      work = field("model") " " field("batch"); speed = field("images_per_s"); who = field("peer")
      if (!(work in lines)) works[++count] = work
      few = field("steps") == "" ? "" : ", " field("steps") " steps"
      spread = field("runs") == "" ? "" : " (" int(field("images_per_s_min")) " to " int(field("images_per_s_max")) ")"
      host = field("host_us") == "" ? "" : sprintf(", host %.0f us", field("host_us"))
      if (field("graph_nodes") != "") host = host ", " field("graph_nodes") " nodes"
      if (field("sm_mhz") != "") host = host ", " field("sm_mhz") " MHz"
      if (field("watts") != "") host = host sprintf(", %.0f W", field("watts"))
      lines[work] = lines[work] sprintf("  %-8s %-36s %12s images/s%s %8s MiB%s\n", who, field("mode") few,
        speed == "" ? "error" : int(speed), spread, int(field("peak_mib")), host)
      if (few == "" && speed + 0 > best[work, who]) best[work, who] = speed + 0
    }
    /"what": *"device"/ {
      printf "device: first kernel after %.2f s, first product %.2f s, copy %d GB/s, product %s: %.1f TFLOP/s\n",
        field("s_to_first_kernel"), field("s_of_first_product"), field("copy_gb_per_s"), field("product"), field("tflop_per_s")
    }
    /"what": *"profile"/ {
      profiles[++profile_count] = sprintf("%s %s %s, ordinary steps by kernel: %d launches, %.0f us, of each time %.1f us are its two events\n",
        field("model"), field("batch"), field("mode"), field("launches"), field("us"), field("empty_us"))
      listed = 0
    }
    /"what": *"kernel"/ && ++listed <= 10 {
      registers = field("registers") == "" ? "" : sprintf(", %d registers, %d bytes shared, occupancy %.2f",
        field("registers"), field("shared_bytes"), field("occupancy"))
      profiles[profile_count] = profiles[profile_count] sprintf("  %5.1f %%  %-40s %6d times %9.2f us%s\n",
        100 * field("share"), field("name") (field("instance") > 1 ? " #" field("instance") : ""), field("count"),
        field("mean_us"), registers)
    }
    /"what": *"failed test"/ { print "failed: " field("stage") " " field("name") }
    /"what": *"run"/ { name = field("name"); sub(/.*"test": */, ""); print name ": test accuracy " field("accuracy") }
    END {
      for (i = 1; i <= count; ++i) {
        peer = best[works[i], "pytorch"]
        print works[i] (peer ? sprintf(": best to best %.2f", best[works[i], "weft"] / peer) : "")
        printf "%s", lines[works[i]]
      }
      for (i = 1; i <= profile_count; ++i) printf "%s", profiles[i]
    }' "$rows"
  sed -E 's/.*"stage": "(.*)", "seconds": (.*), "result": "(.*)"}/\1: \3, \2 s/' "$stages"
}
listed() { sed '$!s/$/,/; s/^/  /' "$1"; }
report() {
  grep '^{' "$rows" > "$work/clean"
  printf '{"date": "%s", "commit": "%s", "gpu": "%s", "threads": %d, "command": "gpu_check.sh %s", "seconds": %d,\n' \
    "$(date -u +%FT%TZ)" "$commit" "$gpu" "$(nproc)" "$command" "$SECONDS" > "$out/gpu_check.json"
  printf '"stages": [\n%s\n],\n"rows": [\n%s\n]}\n' "$(listed "$stages")" "$(listed "$work/clean")" >> "$out/gpu_check.json"
  { echo "$gpu, weft $commit" && table; } | tee "$out/table.txt"
}

if [[ -n $peer ]] && ! "$python" -c 'import torch; assert torch.cuda.is_available()' 2> /dev/null; then
  record peer 0 "skipped: no PyTorch that sees a GPU"
  peer=''
fi
run_first() {
  stage info "$build/weft" info
  stage device device_figures
  stage weft_check limited 60 "$build/weft" check --device cuda:0 --hashes tests/golden/gpu_hashes.txt
  local ways=automatic,implicit_gemm,im2col
  stage steps_needle steps needle 128 $ways
  stage steps_needle_graph steps needle 128 $ways --graph
  stage steps_page_graph steps page 512 $ways --graph
  stage profile_needle profile needle 128
  stage profile_page profile page 512
  stage steps_needle_composed steps needle 128 composed --graph
  stage steps_page_composed steps page 512 composed --graph
}
run_checks() {
  stage op_table op_table 8 250 op_table "$build/tests/device_test"
  stage ctest tests
  training
  sanitizers
}
run_benchmarks() {
  local model batch
  for model in needle page; do
    for batch in 128 512 1024; do stage "bench_${model}_$batch" bench "$model" "$batch"; done
    [[ -z $peer ]] || stage "peer_$model" bench_peer "$model" 128,512,1024 150
  done
  stage columns columns page 512
  for model in needle page; do stage "conv_$model" conv "$model" 512 im2col,implicit_gemm,winograd; done
  stage conv_pointwise conv pointwise 128 im2col,implicit_gemm
  stage conv_depthwise conv depthwise 128 automatic,direct,copy
}
# No program of an earlier commit, should this one's not build; objects stay.
[[ ! -d $build ]] || find "$build" -maxdepth 2 -type f -executable ! -name '*.so*' -delete
built() { # PROGRAM...: whether all are there
  local program
  for program in "$@"; do [[ -x $build/$program ]] || return; done
}
begin_part() { part_end=$((SECONDS + 480)); }
[[ $mode != all ]] || begin_part
sample_clocks
stage configure configure || { report && exit 1; }
case $mode in
  all)
    stage build_first compile weft_program train_bench
    if [[ $part =~ ^(all|first)$ ]]; then built weft tests/train_bench && run_first; fi
    if [[ $part =~ ^(all|check)$ ]]; then
      [[ $part != all ]] || begin_part
      stage build_tests compile all
      built weft && run_checks
    fi
    if [[ $part =~ ^(all|bench)$ ]]; then
      [[ $part != all ]] || begin_part
      stage build_bench compile conv_bench
      built tests/train_bench && run_benchmarks
    fi
    ;;
  compile)
    stage build compile train_bench
    built tests/train_bench && for model in needle page; do
      stage "bench_${model}_512" bench "$model" 512
      stage "peer_${model}_512" bench_peer "$model" 512 270 --modes fp32-compile,tf32-compile,bf16-compile
    done
    ;;
  page)
    stage build compile weft_program
    built weft && stage train_page_24 train page_24 560 --model resnet9 --precision bf16
    ;;
esac
report
exit "$failed"
