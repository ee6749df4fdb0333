#!/usr/bin/env bash
# Strangers' projects build against weft: with find_package and pkg-config on an installed (and moved) tree, and with
# add_subdirectory, where only the stranger's own file is compiled.  run.sh SOURCE_DIR BUILD_DIR COMPILER
set -euo pipefail

source=$(realpath "$1")
build=$(realpath "$2")
compiler=$3
here=$(realpath "$(dirname "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

configure() { # PROJECT OPTIONS...
  local project=$1
  shift
  cmake -S "$here/$project" -B "$project" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON "$@"
}

# Of the flags in the stranger's compile command, all are its own but C++20 and the include folders.
check_flags() { # PROJECT
  local flags
  flags=$(grep '"command"' "$1/compile_commands.json" | grep 'consumer/main.cpp' | grep -o ' -[A-Za-z][^ ]*')
  flags=$(grep -vE -- ' (-I.*|-isystem|-std=(c|gnu)\+\+(20|2a)|-Wall|-Wextra|-Werror|-o|-c)$' <<< "$flags" || true)
  [[ -z $flags ]] || {
    echo "$1: weft passes flags on: $flags" >&2
    exit 1
  }
}

# Nothing is linked but the compiler's own libraries and what the build was asked to take; cuBLASLt is opened when it is
# needed.
check_libraries() { # PROGRAM
  if ldd "$1" | grep -i cublas; then
    echo "$1 loads cuBLASLt at its start" >&2
    exit 1
  fi
  grep -q '^WEFT_ONEDNN:STRING=OFF$' "$build/CMakeCache.txt" || return 0
  if ldd "$1" | grep -E 'dnnl|gomp'; then
    echo "$1 links libraries that nobody asked for" >&2
    exit 1
  fi
}

echo "-- find_package"
cmake --install "$build" --prefix "$work/installed" > /dev/null
mv installed moved
cmp "$source/LICENSE" moved/share/doc/weft/LICENSE
grep -q '^License: MIT$' "$(find moved -name weft.pc)"
configure find_package -DCMAKE_PREFIX_PATH="$work/moved"
cmake --build find_package
find_package/consumer
check_libraries find_package/consumer
check_flags find_package

echo "-- pkg-config"
PKG_CONFIG_PATH=$(dirname "$(find moved -name weft.pc)")
export PKG_CONFIG_PATH
read -ra flags <<< "$(pkg-config --cflags --libs weft)"
"$compiler" -std=c++20 -Wall -Wextra -Werror "$here/main.cpp" "${flags[@]}" -o with_pkg_config
./with_pkg_config
check_libraries ./with_pkg_config

echo "-- add_subdirectory"
configure add_subdirectory -DWEFT_SOURCE="$source"
ninja -C add_subdirectory "$(ninja -C add_subdirectory -t query consumer | grep -o "CMakeFiles/consumer.dir.*main.cpp.o")"
check_flags add_subdirectory
