#!/usr/bin/env bash
# Downloads CIFAR-10 into data/cifar-10-batches-bin, checked against its SHA-256; does nothing when it is there.
# Leaves nothing behind when it fails. CIFAR10_URL names another mirror of the same archive.
set -euo pipefail
cd "$(dirname "$0")/.."

url=${CIFAR10_URL:-https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz}
sha256=c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd
folder=cifar-10-batches-bin

fail() {
  echo "fetch_cifar10.sh: $*" >&2
  exit 1
}

download() { # URL FILE
  if command -v curl > /dev/null; then
    curl --fail --location --silent --connect-timeout 10 --speed-limit 1000 --speed-time 30 --output "$2" "$1"
  elif command -v wget > /dev/null; then
    wget --quiet --tries=1 --dns-timeout=10 --connect-timeout=10 --read-timeout=30 --output-document="$2" "$1"
  elif command -v python3 > /dev/null; then
    python3 -c 'import shutil, sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=10) as source, open(sys.argv[2], "wb") as target:
    shutil.copyfileobj(source, target)' "$1" "$2" 2> /dev/null
  else
    fail "needs curl, wget or python3"
  fi
}

[[ -d data/$folder ]] && exit 0
mkdir -p data
work=$(mktemp -d data/.fetch.XXXXXX)
trap 'rm -rf "$work"; rmdir data 2> /dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "fetch_cifar10.sh: downloading $url (170 MB)"
download "$url" "$work/archive" || fail "$url cannot be downloaded"
actual=$(sha256sum "$work/archive" | cut -d ' ' -f 1)
[[ $actual == "$sha256" ]] || fail "$url has SHA-256 $actual, not $sha256"
tar -xzf "$work/archive" -C "$work" "$folder"
chmod 755 "$work/$folder"
mv -T "$work/$folder" "data/$folder"
