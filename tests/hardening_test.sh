#!/usr/bin/env bash
# The program has what Debian's own flags give: an address that changes, tables that are read-only after the start, and
# guarded stacks and copies.  hardening_test.sh PROGRAM
set -euo pipefail
export LC_ALL=C

program=$1
fail() {
  echo "hardening_test: $*" >&2
  exit 1
}

readelf --file-header "$program" | grep -Eq 'Type: +DYN' || fail "not position-independent"
readelf --program-headers --wide "$program" | grep -q GNU_RELRO || fail "no RELRO segment"
readelf --dynamic --wide "$program" | grep -Eq 'BIND_NOW|FLAGS_1.* NOW' || fail "symbols are not bound at the start"
readelf --program-headers --wide "$program" | grep -E 'GNU_STACK' | grep -q RWE && fail "the stack is executable"
symbols=$(readelf --dyn-syms --wide "$program")
[[ $symbols == *__stack_chk_fail* ]] || fail "no stack protector"
grep -Eq '__[a-z]+_chk' <<< "${symbols//__stack_chk_fail/}" || fail "no checked copies (_FORTIFY_SOURCE)"
