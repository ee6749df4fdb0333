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
if [[ -x moved/bin/weft ]]; then moved/bin/weft info > /dev/null; fi

echo "-- pkg-config, as the README writes it"
command=$(grep -E '^ +g\+\+ .*pkg-config' "$source/README.md")
command=${command//PREFIX\/lib\/pkgconfig/$(dirname "$(find "$work/moved" -name weft.pc)")}
export LD_LIBRARY_PATH
LD_LIBRARY_PATH=$(dirname "$(find "$work/moved" -name 'libweft.*' | head -n 1)") # nothing is in it where the build is static
strangers=("$compiler")
if command -v clang++ > /dev/null; then strangers+=(clang++); fi
for stranger in "${strangers[@]}"; do
  line=${command/g++/"$stranger -Wall -Wextra -Werror"}
  eval "${line//main.cpp/$here/main.cpp}"
  ./my_program
  check_libraries ./my_program
done

echo "-- what a stranger adds to weft"
has_json=$("$compiler" -E -x c++ -include nlohmann/json.hpp /dev/null > /dev/null 2>&1 && echo yes || true)
for program in "$here"/*.cpp; do
  if [[ $program == */main.cpp || ($program == */own_json.cpp && -z $has_json) ]]; then continue; fi
  line=${command/g++/"$compiler -Wall -Wextra -Werror"}
  line=${line/-O2/-O0}
  eval "${line//main.cpp/$program}"
  ./my_program
done
unset LD_LIBRARY_PATH

# Its objects are those of the build at hand, except the one that knows whether there is a CUDA backend.
echo "-- a shared library, installed and moved"
if grep -q '^WEFT_PROGRAM:STRING=OFF$\|^BUILD_SHARED_LIBS:.*=ON$\|^WEFT_ONEDNN:STRING=ON$' "$build/CMakeCache.txt"; then
  echo "   left out: the build has no program, is shared itself, or links oneDNN"
else
  cmake -S "$source" -B shared -G Ninja -DCMAKE_CXX_COMPILER="$compiler" -DBUILD_SHARED_LIBS=ON -DWEFT_TESTS=OFF \
    -DWEFT_PROGRAM=ON -DWEFT_CUDA=OFF > /dev/null
  ninja -C shared CMakeFiles/weft.dir/core/device/backend.cpp.o > /dev/null
  cp -rs "$build"/CMakeFiles/weft_{objects,nn,simd_*,cli}.dir shared/CMakeFiles/
  (cd shared && eval "$(ninja -t commands weft_program | grep -v -- ' -c ')")
  cmake --install shared --prefix shared_installed > /dev/null
  mv shared_installed shared_moved
  shared_moved/bin/weft info > /dev/null
  library=$(find shared_moved -name 'libweft.so.*' -type l)
  readelf -d "$library" | grep -q "SONAME.*\[$(basename "$library")\]"
  [[ $library =~ libweft\.so\.[0-9]+\.[0-9]+$ ]]
fi

echo "-- add_subdirectory"
configure add_subdirectory -DWEFT_SOURCE="$source"
ninja -C add_subdirectory "$(ninja -C add_subdirectory -t query consumer | grep -o "CMakeFiles/consumer.dir.*main.cpp.o")"
check_flags add_subdirectory
if command -v nvcc > /dev/null; then
  (unset CUDAARCHS CUDAHOSTCXX && configure add_subdirectory -DWEFT_SOURCE="$source" -DWEFT_CUDA=ON > /dev/null)
fi

echo "-- without GoogleTest and CLI11"
cd "$source"
without=(-DCMAKE_DISABLE_FIND_PACKAGE_GTest=ON -DCMAKE_DISABLE_FIND_PACKAGE_CLI11=ON -DWEFT_CUDA=OFF -G Ninja)
cmake -S . -B "$work/without" "${without[@]}" > "$work/without.log"
for line in "no program: CLI11 (libcli11-dev)" "no tests: CLI11 (libcli11-dev) and GoogleTest (libgtest-dev and libgmock-dev)"; do
  grep -qF "weft: $line not found" "$work/without.log"
done
for option in WEFT_TESTS WEFT_PROGRAM; do
  if cmake -S . -B "$work/without" "${without[@]}" -D$option=ON > /dev/null 2> "$work/without.log"; then
    echo "$option=ON is not an error where its libraries are missing" >&2
    exit 1
  fi
  grep -qF "$option=ON, but CLI11" "$work/without.log"
  cmake -S . -B "$work/without" "${without[@]}" -D$option=OFF > /dev/null
done
