#!/usr/bin/env bash
# The rules of docs/architecture.md about which file may include which. Prints each include that breaks one and exits
# with 1. First it plants an include of each forbidden kind, and fails where the rules do not name it.
#   layers_test.sh SOURCES
set -euo pipefail
cd "$1"

broken_rules() { # reads lines "FILE INCLUDED" and prints those that break a rule
  awk '
    function broken(rule) { print $1 " includes " $2 ": " rule }
    BEGIN {
      level["runtime"] = 0; level["array"] = 1; level["matmul"] = 2; level["conv"] = 3
      level["spatial"] = level["norm"] = level["train"] = 2
      device_headers = "^weft/(error|shape|dtype|device|scalar|conv_algo|precision)\\.h$"
      containers = "^(algorithm|deque|functional|list|map|memory|queue|set|string|unordered_map|unordered_set|vector)$"
      allowed["cpu/runtime/denormals.h weft/denormals.h"]  # which that file implements
      allowed["cpu/runtime/denormals.cpp weft/denormals.h"]
    }
    $1 == "core/device/backend.cpp" || ($0 in allowed) { next }  # the first chooses between the devices
    { split($1, from, "/"); split($2, to, "/"); wing = from[1]; target = to[1] }
    wing ~ /^(cpu|cuda)$/ || $1 ~ /^core\/device\// {
      if (target == "weft" && $2 !~ device_headers)
        broken("a device sees of the public headers only error, shape, dtype, device, scalar, conv_algo and precision")
      if (target == "core" && to[2] != "device") broken("a device sees only the room device of core")
      if (target ~ /^(cpu|cuda|nn)$/ && target != wing) broken("a device sees neither nn nor another device")
    }
    wing == "core" && from[2] != "device" && (target ~ /^(cpu|cuda|nn)$/ || $2 ~ /^weft\/(nn\/|weft\.h)/) {
      broken("core sees neither nn nor a device")
    }
    wing == "nn" && target ~ /^(core|cpu|cuda|nn|tests|\.\.?)$/ {
      broken("nn sees public headers, and its own by their paths in nn/")
    }
    wing ~ /^(cpu|cuda)$/ && target == wing && from[2] != to[2] {
      if (level[to[2]] >= level[from[2]] || (to[2] == "matmul" && from[2] != "conv"))
        broken("rooms of a device: runtime < array < matmul < conv; spatial, norm and train see runtime and array")
    }
    $1 ~ /_simd\.cpp$/ && ($2 == "core/device/backend.h" || $2 ~ containers) {
      broken("a file that is compiled per instruction set sees neither the contract nor a standard container")
    }'
}

while read -r file included words; do
  found=$(broken_rules <<< "$file $included")
  [[ $found == *"$words"* ]] || { echo "not named: $file includes $included" && exit 1; }
done << 'PLANTED'
cpu/conv/conv.cpp weft/tensor.h public headers only
core/device/conv_plan.h weft/ops.h public headers only
cuda/norm/norm.cu core/ops/op_support.h only the room device of core
cpu/array/gather.cpp cuda/array/gather.h neither nn nor another device
cuda/train/loss.cu nn/train/tally.h neither nn nor another device
core/ops/conv.cpp cpu/conv/conv.h core sees neither
core/value/array.cpp weft/nn/module.h core sees neither
core/include/weft/ops.h weft/weft.h core sees neither
nn/optim/rules.cpp core/device/backend.h nn sees public headers
nn/cli/check.cpp cpu/runtime/simd.h nn sees public headers
nn/train/tally.h ../../core/value/views.h nn sees public headers
nn/include/weft/nn/optim.h core/device/backend.h nn sees public headers
cpu/runtime/threads.cpp cpu/array/nest.h rooms of a device
cpu/matmul/gemm.cpp cpu/conv/conv.h rooms of a device
cpu/norm/norm.cpp cpu/matmul/gemm.h rooms of a device
cuda/spatial/pool.cu cuda/train/loss.h rooms of a device
cpu/conv/conv_simd.cpp core/device/backend.h compiled per instruction set
cpu/norm/norm_simd.cpp vector compiled per instruction set
PLANTED

found=$(grep -rE --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' '^ *# *include [<"]' core cpu cuda nn |
  sed -E 's/^([^:]*):[^<"]*[<"]([^>"]*).*/\1 \2/' | broken_rules)
if [[ -n $found ]]; then
  echo "$found"
  exit 1
fi
