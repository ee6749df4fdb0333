#!/usr/bin/env bash
# Installs the Debian packages that weft is built and tested with; does nothing when they are there.
#   setup.sh            to build and test
#   setup.sh --fetch    also curl, for scripts/fetch_cifar10.sh
#   setup.sh --format   also clang-format, clang-tidy and Doxygen, for scripts/check.sh, scripts/tidy.sh and docs/Doxyfile
#   setup.sh --bench    also PyTorch, for scripts/bench.sh --peer
set -euo pipefail

packages=(g++ cmake ninja-build ccache pkg-config nlohmann-json3-dev libcli11-dev libgtest-dev libgmock-dev
  librapidcheck-dev locales valgrind)
for argument in "$@"; do
  case $argument in
    --fetch) packages+=(curl ca-certificates) ;;
    --format) packages+=(clang-format clang-tidy doxygen) ;;
    --bench) packages+=(python3-torch) ;;
    *)
      echo "usage: setup.sh [--fetch] [--format] [--bench]" >&2
      exit 2
      ;;
  esac
done

if ! command -v dpkg-query > /dev/null; then
  echo "setup.sh: not a Debian system; install these yourself: ${packages[*]}" >&2
  exit 0
fi
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}.\n' "${packages[@]}" 2> /dev/null || true)
missing=()
for package in "${packages[@]}"; do
  [[ $installed == *"installed $package."* ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
  command -v sudo > /dev/null || {
    echo "setup.sh: needs root or sudo to install ${missing[*]}" >&2
    exit 1
  }
  as_root=(sudo)
fi
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
echo "setup.sh: installing ${missing[*]}" >&2
# The package lists are fetched only where those at hand do not serve.
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" > /dev/null 2>&1 || {
  "${apt[@]}" update
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" > /dev/null
}
