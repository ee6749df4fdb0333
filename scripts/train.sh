#!/usr/bin/env bash
# Installs what is missing, builds the program, gets CIFAR-10 and trains; arguments go to `weft train`. Where CIFAR-10
# cannot be downloaded, it trains on the built-in images. --data takes a folder of your own, or "builtin".
set -euo pipefail
cd "$(dirname "$0")/.."

data=(--data data/cifar-10-batches-bin)
for argument in "$@"; do
  case $argument in
    --data | --data=* | -h | --help) data=() ;;
  esac
done

setup=()
if ((${#data[@]})) && [[ ! -d ${data[1]} ]]; then setup=(--fetch); fi
scripts/setup.sh "${setup[@]}"
cmake -S . -B build -G Ninja -DWEFT_PROGRAM=ON > /dev/null
cmake --build build --target weft_program
exec 3>&2
if ((${#data[@]})) && ! reason=$(scripts/fetch_cifar10.sh 2>&1 >&3); then
  echo "train.sh: no CIFAR-10 (${reason#fetch_cifar10.sh: }): training on the built-in images instead" >&2
  data=(--data builtin)
fi
exec build/weft train "${data[@]}" "$@"
