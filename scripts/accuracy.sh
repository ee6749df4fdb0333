#!/usr/bin/env bash
# Writes docs/accuracy.md: the largest errors of the pointwise functions, activations, losses and the softmax family on
# each instruction set of this machine, as tests/accuracy_test measures them.
#   accuracy.sh [--build DIR]
# DIR (build) is a configured build; the test is compiled there if it is not up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build
while (($#)); do
  case $1 in
    --build) build=${2:?--build needs a folder} ;;
    *)
      echo "usage: accuracy.sh [--build DIR]" >&2
      exit 2
      ;;
  esac
  shift 2
done

cmake --build "$build" --target accuracy_test
rows=$(mktemp -d)
trap 'rm -rf "$rows"' EXIT
sets='portable'
grep -qw avx2 /proc/cpuinfo && sets="avx2 $sets"
grep -qw avx512f /proc/cpuinfo && sets="avx512 $sets"
for set in $sets; do
  isa=$set
  [[ $set == "${sets%% *}" ]] && isa=  # the widest is the default
  WEFT_ISA=$isa WEFT_ACCURACY_TABLE=$rows/$set "$build/tests/accuracy_test" --gtest_brief=1
done

{
  cat << TEXT
# Accuracy

The largest errors of values and first gradients that \`tests/accuracy_test.cpp\` finds on its grids, against long double, in units in the last place of the result (for subnormal results: of the least
number). The grids go over the whole range of the dtype, both signs, zeros, infinities and NaN: about 3,600 numbers for functions of one operand, about 7,500 pairs for two. "fused" is the gradient as a step
of training takes it, "composed" the one under \`create_graph\`. \`scripts/accuracy.sh\` writes this page.

Machine: $(uname -m), $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), C library $(getconf GNU_LIBC_VERSION), $("${CXX:-c++}" --version | head -1).

What a large figure means:

- gelu, gelu by tanh, celu's gradient and those of erf and erfc: the argument of an exponential is rounded, which costs its size. The values there are near 0. silu's composed gradient has subnormal
  exponentials there.
- The softmax family where logits are far apart: their difference, which is the argument of an exponential, is rounded.
- softmax's and log_softmax's gradients and logsumexp's value are measured in units of 1 where they are smaller: they follow from an output or a sum that is rounded, as in PyTorch. Cross entropy of
  labels keeps its digits there, so that a loss of 4e-18 is not 0.
- The gradients of gelu and silu between -3 and 0, where they pass 0, are measured in units of 1/4.

What was decided:

- Activations and their gradients are their limits at infinity, and NaN stays NaN. The gradient at NaN is nobody's promise.
- logsumexp of nothing but -infinity is -infinity with gradient 0, as in PyTorch. With +infinity its gradient is NaN, and so are softmax, log_softmax and cross entropy of a row with +infinity or of -infinity
  alone.
- A class of probability or weight 0 adds nothing to cross entropy, also where its logit is -infinity; PyTorch gives NaN. The same for binary cross entropy of an infinite logit whose target agrees: 0.
- With class weights and smoothing 1, cross entropy is the smoothed part alone: the label's own loss adds nothing, also where it is infinite.
- mean is the sum divided by the count, as in PyTorch: it is infinite where the sum leaves the range.
- atan2's gradient is 0 where an operand is infinite, and NaN where both are 0.
- The gradients of sigmoid and tanh come from the input and not, as PyTorch's, from the output, which rounds to 1 long before the gradient is 0.
TEXT
  for set in $sets; do
    printf '\n## %s\n\n' "$set"
    echo '| | f32 value | fused gradient | composed | f64 value | fused gradient | composed |'
    echo '|---|---|---|---|---|---|---|'
    cat "$rows/$set"
  done
} > docs/accuracy.md
echo "docs/accuracy.md"
