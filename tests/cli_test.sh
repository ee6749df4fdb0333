#!/usr/bin/env bash
# What the shell sees of the program: exit codes, files and their contents.  cli_test.sh WEFT CMAKE
set -uo pipefail

weft=$(realpath "$1")
cmake=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
images=(--data builtin --limit 256 --batch 64 --epochs 1)
small=(--device cpu "${images[@]}")  # a machine's GPU would be taken, and another model

fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

# expect CODE TEXT COMMAND...: the exit code, and one line on stderr that contains TEXT (none at all where it is empty).
expect() {
  local code=$1 text=$2 actual=0
  shift 2
  "$@" > stdout 2> stderr || actual=$?
  ((actual == code)) || fail "exit code $actual, not $code: $* ($(tail -n 1 stderr))"
  [[ -z $text ]] || grep -qF -- "$text" stderr || fail "no '$text' in '$(cat stderr)': $*"
  if ((code > 2)) && [[ $(grep -c '^weft: ' stderr) != 1 ]]; then fail "not one line: $* ($(cat stderr))"; fi
}

cat > get.cmake <<- 'END'
	string(JSON value GET "${LINE}" "${KEY}")
	message(STATUS "${value}")
END
json() { # LINE KEY
  "$cmake" -D "LINE=$1" -D "KEY=$2" -P get.cmake 2> json_error | sed 's/^-- //'
}

only_run_files() { # FOLDER
  [[ $(cd "$1" && echo *) == "log.jsonl model.safetensors" ]] || fail "$1 holds $(ls -A "$1")"
}

# A run, its log and its checkpoint.
expect 0 "" "$weft" train "${small[@]}" --out run
only_run_files run
grep -q 'CIFAR' stdout && fail "a result on the built-in images calls itself CIFAR"
accuracy=$(sed -n 's/^test accuracy on built-in shapes: \([0-9.]*%\).*/\1/p' stdout)
[[ -n $accuracy ]] || fail "no test accuracy in: $(cat stdout)"
events=
while IFS= read -r line; do
  event=$(json "$line" event)
  [[ -n $event ]] || fail "log.jsonl: not a JSON object with an event: $line ($(cat json_error))"
  events+="$event "
done < run/log.jsonl
[[ $events == "run_start epoch checkpoint run_end " ]] || fail "log.jsonl has the events $events"
[[ $(json "$(head -n 1 run/log.jsonl)" train_images) == 256 ]] || fail "--limit: $(head -n 1 run/log.jsonl)"

expect 0 "" "$weft" eval run/model.safetensors --device cpu --data builtin --limit 256
grep -qF "built-in shapes: $accuracy," stdout || fail "eval: $(cat stdout), but the run had $accuracy"
expect 0 "" "$weft" info run/model.safetensors
grep -q '^model: resnet9-narrow$' stdout || fail "info: $(head -n 3 stdout)"
sed 's/"model":"resnet9-narrow"/"model":"needle"        /' run/model.safetensors > former.safetensors
expect 0 "" "$weft" info former.safetensors
grep -q '^model: needle$' stdout || fail "info: $(head -n 3 stdout)"
expect 0 "" "$weft" eval former.safetensors --device cpu --data builtin --limit 256
grep -qF "built-in shapes: $accuracy," stdout || fail "the model's former name: $(cat stdout), but the run had $accuracy"
expect 0 "" "$weft" info run/model.safetensors
grep -q '^mean: 0\.[0-9]* 0\.[0-9]* 0\.[0-9]*$' stdout || fail "info: $(head -n 5 stdout)"
grep -q '^stddev: 0\.[0-9]* 0\.[0-9]* 0\.[0-9]*$' stdout || fail "info: $(head -n 5 stdout)"
if grep -q conv_choices stdout; then fail "info: choices of algorithms without --conv-timing"; fi
expect 0 "" "$weft" info
expect 0 "" "$weft" train --help
expect 0 "" "$weft" train "${small[@]}" --conv-timing --out timed
expect 0 "" "$weft" info timed/model.safetensors
grep -q '^weft.conv_choices: .*"cpu f32 weight_grad n ' stdout || fail "info: no choices of algorithms: $(cat stdout)"
expect 0 "" "$weft" --version

# The same seed gives the same bits, another seed does not.
expect 0 "" "$weft" train "${small[@]}" --out again
cmp run/model.safetensors again/model.safetensors || fail "two equal runs differ"
expect 0 "" env OMP_NUM_THREADS=1 "$weft" train "${small[@]}" --out again
cmp run/model.safetensors again/model.safetensors || fail "one thread gives other bits"
expect 0 "" "$weft" train "${small[@]}" --seed 2 --out again
cmp -s run/model.safetensors again/model.safetensors && fail "--seed changes nothing"

# Former names of models, recipes and initialisations are still taken, but not shown.
expect 0 "" "$weft" train "${small[@]}" --model needle --recipe needle --init needle --out again
cmp run/model.safetensors again/model.safetensors || fail "a former name means something else"
[[ $(json "$(head -n 1 again/log.jsonl)" recipe) == adam ]] || fail "--recipe needle: $(head -n 1 again/log.jsonl)"
expect 1 "a batch of 512 exceeds the 256 images" "$weft" train --data builtin --limit 256 --model page --recipe page --out wrong
expect 0 "" "$weft" train --help
if grep -qE 'needle|page' stdout; then fail "train --help shows a former name"; fi

# The instruction sets of the CPU agree in every family of kernels. An environment names one; then there is no other.
expect 0 "" "$weft" check --device cpu
if grep -q 'avx' stdout; then
  grep -q '^weft check cpu, .*: all of [1-9][0-9]* cases agree with avx' stdout || fail "check: $(tail -n 1 stdout)"
  for family in "functions of one number" "batch norm" "implicit products" "training steps of ResNet9"; do
    grep -q "^$family  *[1-9]" stdout || fail "check: no line of $family"
  done
fi
expect 0 "" env WEFT_ISA=portable "$weft" check --device cpu
grep -q 'portable is the only instruction set' stdout || fail "check: $(tail -n 1 stdout)"

# Usage: 2.
expect 2 "" "$weft"
expect 2 "--nonsense" "$weft" train --nonsense
expect 2 "--model" "$weft" train --model resnet50
expect 2 "--recipe" "$weft" train --recipe resnet9
expect 2 "--init" "$weft" train --init page
expect 2 "--batch" "$weft" train --batch 0
expect 2 "--epochs" "$weft" train --epochs many
expect 2 "--epochs" "$weft" train --epochs 0.5
expect 2 "--lr" "$weft" train --lr nan
expect 2 "--lr" "$weft" train --lr inf
expect 2 "--seed" "$weft" train --seed -1
expect 2 "--device" "$weft" train --device gpu
expect 2 "--device" "$weft" eval --device gpu
expect 2 "--device" "$weft" check --device gpu

# Other errors: 1.
expect 1 "a batch of 512 exceeds the 256 images" "$weft" train --data builtin --limit 256 --recipe dawnbench --out wrong
expect 1 "the last would be alone" "$weft" train --device cpu --data builtin --limit 129 --epochs 1 --out wrong

# Data: 3, and no run folder.
expect 3 "nowhere" "$weft" train --data nowhere --out wrong
mkdir -p broken
for i in 1 2 3 4 5; do truncate -s 30730000 broken/data_batch_$i.bin; done
truncate -s 30730000 broken/test_batch.bin
truncate -s 30729999 broken/data_batch_3.bin
expect 3 "data_batch_3.bin" "$weft" train --data broken --out wrong
truncate -s 30730001 broken/data_batch_3.bin
expect 3 "30730001" "$weft" train --data broken --out wrong
truncate -s 30730000 broken/data_batch_3.bin
printf '\x0a' | dd of=broken/data_batch_5.bin bs=1 seek=$((3073 * 7)) conv=notrunc status=none
expect 3 "data_batch_5.bin" "$weft" train --data broken --out wrong
[[ ! -e wrong ]] || fail "a run that could not start left a folder"
: > file
expect 3 "file/run" "$weft" train "${small[@]}" --out file/run

# Checkpoints: 3.
expect 3 "absent.safetensors" "$weft" eval absent.safetensors --device cpu --data builtin --limit 10
head -c 1000 /dev/urandom > garbage.safetensors
expect 3 "garbage.safetensors" "$weft" eval garbage.safetensors --device cpu --data builtin --limit 10
head -c -1 run/model.safetensors > short.safetensors
expect 3 "short.safetensors" "$weft" eval short.safetensors --device cpu --data builtin --limit 10
sed 's/"model":"resnet9-narrow"/"model":"resnet9"       /' run/model.safetensors > other.safetensors
expect 3 "other.safetensors" "$weft" eval other.safetensors --device cpu --data builtin --limit 10

# Images are normalised as those were that the model was trained on.
expect 0 "" "$weft" eval run/model.safetensors --device cpu --data builtin --limit 256
mv stdout as_trained
sed 's/"mean":"0\./"mean":"3./' run/model.safetensors > other.safetensors
expect 0 "" "$weft" eval other.safetensors --device cpu --data builtin --limit 256
cut -d'(' -f1 as_trained | cmp -s - <(cut -d'(' -f1 stdout) && fail "the mean of the metadata changes nothing"
sed 's/"mean":"0\./"mean":"x./' run/model.safetensors > other.safetensors
expect 3 "mean must be three finite numbers, but is 'x." "$weft" eval other.safetensors --device cpu --data builtin

# Devices: 4, where there is no GPU.
"$weft" info | grep -q '^cuda: available' || expect 4 "cuda" "$weft" train "${images[@]}" --device cuda --out wrong

# GPUs below compute capability 8.0 are not taken, and the reason is said; tests/cuda_on_cpu can have such.
if "$weft" info | grep -q 'CPU standing in for CUDA'; then
  export WEFT_CUDA_ON_CPU_CAPABILITY=7.5
  expect 0 "device: cpu (CPU standing in for CUDA (CUDA's device 0) has compute capability 7.5, weft needs 8.0 or more" \
    "$weft" eval run/model.safetensors --device auto --data builtin --limit 32
  expect 4 "device cuda:1 is not available: CPU standing in" "$weft" train "${images[@]}" --device cuda:1 --out wrong
  unset WEFT_CUDA_ON_CPU_CAPABILITY
fi

# Divergence: 6, and the model of before; also where only the last step ruined it.
mkdir diverged
cp run/model.safetensors diverged
expect 6 "try a smaller --lr" "$weft" train --device cpu --data builtin --limit 128 --epochs 1 --lr 1e30 --out diverged
cmp run/model.safetensors diverged/model.safetensors || fail "a model that diverged replaced another"

if "$weft" info | grep -q '^cuda: available'; then  # where the loss of a label that is no class is not a number either
  expect 6 "check that every label" "$weft" train --device cuda --model resnet9-narrow --data builtin --limit 32 --batch 16 \
    --epochs 1 --lr 1e30 --out diverged
fi

# A folder whose name is not UTF-8.
expect 0 "" "$weft" train "${small[@]}" --out $'not\xffutf8'
[[ $(json "$(tail -n 1 $'not\xffutf8'/log.jsonl)" reason) == "done" ]] || fail "the log of a folder that is not UTF-8"

# Signals: a checkpoint that can be read, and 128 + the signal. A signal mostly lands within an epoch, whose model nobody
# has measured; between two epochs the model is the one that was just measured.
for signal in INT TERM; do
  rm -rf stopped
  # A background job of a script ignores SIGINT, which setsid's child would inherit: env resets it.
  env --default-signal=INT "$weft" train --device cpu --data builtin --limit 4096 --batch 64 --epochs 1000 --out stopped \
    > stdout 2> stderr &
  pid=$!
  for _ in {1..600}; do
    grep -qs '"checkpoint"' stopped/log.jsonl && break
    sleep 0.1
  done
  kill -"$signal" "$pid"
  code=0
  wait "$pid" || code=$?
  ((code == 128 + $(kill -l "$signal"))) || fail "SIG$signal: exit code $code ($(cat stderr))"
  only_run_files stopped
  [[ $(json "$(tail -n 1 stopped/log.jsonl)" reason) == signal ]] || fail "the log ends with $(tail -n 1 stopped/log.jsonl)"
  expect 0 "" "$weft" eval stopped/model.safetensors --device cpu --data builtin --limit 4096
  measured=$(sed -n 's/^test accuracy on built-in shapes: \([0-9.]*\)%.*/\1/p' stdout)
  expect 0 "" "$weft" info stopped/model.safetensors
  grep -q '^epochs: [1-9]' stdout || fail "info: no epochs of a run that was stopped"
  stated=$(sed -n 's/^test_accuracy: //p' stdout)
  if [[ $(json "$(tail -n 3 stopped/log.jsonl | head -n 1)" event) == epoch ]]; then
    [[ $(awk -v a="$stated" 'BEGIN { printf "%.2f", 100 * a }') == "$measured" ]] ||
      fail "info: the accuracy $stated of a model that has $measured%"
  else
    [[ -z $stated ]] || fail "info: the accuracy $stated, which this model was not measured at"
  fi
done

# A signal that the parent has had ignored stays so.
(
  trap '' INT
  exec "$weft" train --device cpu --data builtin --limit 4096 --batch 64 --epochs 3 --out ignored > stdout 2> stderr
) &
pid=$!
for _ in {1..600}; do
  grep -qs '"epoch"' ignored/log.jsonl && break
  sleep 0.1
done
kill -INT "$pid"
wait "$pid" || fail "SIGINT that was ignored: exit code $?"

# A checkpoint that cannot be written whole: an error, the old one intact, no temporary file.
full_disk() { # FOLDER COMMAND...
  local folder=$1
  shift
  cp run/model.safetensors "$folder"/model.safetensors
  expect 3 "model.safetensors" "$@" "$weft" train "${small[@]}" --seed 3 --out "$folder"
  cmp run/model.safetensors "$folder"/model.safetensors || fail "$folder: the old checkpoint is damaged"
  only_run_files "$folder"
}
mkdir limited
full_disk limited bash -c "trap '' XFSZ; ulimit -f 1000; exec \"\$@\"" limited
mkdir full
if mount -t tmpfs -o size=2500k weft_cli_test full 2> stderr; then
  trap 'umount "$work"/full; rm -rf "$work"' EXIT
  full_disk full env
else
  echo "SKIPPED: a full file system ($(cat stderr))"
fi

# Address space that ends within a run: an error that says so, whichever allocation it meets. The limits begin where the
# program itself just loads; a sanitizer's shadow memory never fits.
within() { # KILOBYTES COMMAND...
  (ulimit -v "$1" && shift && exec "$@")
}
limit=20000
while ((limit < 4000000)) && ! within "$limit" "$weft" --version > stdout 2>&1; do limit=$((limit + limit / 20)); done
if ((limit < 4000000)); then
  ran_out=0
  for more in 0 8000 16000 24000 32000 40000 48000 56000 64000; do
    code=0
    within $((limit + more)) "$weft" train --device cpu --data builtin --limit 512 --batch 512 --epochs 1 --out tight \
      > stdout 2> stderr || code=$?
    ((code == 0)) || { ((code == 5)) && [[ $(cat stderr) == "weft: out of memory"* ]] && ran_out=$((ran_out + 1)); } ||
      fail "$((limit + more)) kB of address space: exit code $code ($(cat stderr))"
  done
  ((ran_out)) || fail "$limit kB of address space, in which the program just loads, were enough to train"
fi

((failures)) && exit 1
echo "cli_test: all as it should be"
