#!/bin/sh
# Builds every libFuzzer target of this folder with ASan and UBSan: build.sh [OUT]   (default: build/fuzz)
# CC: a clang; PYTHON: an interpreter that has cffi (it reads native/build_native.py for the flags of each file).
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
native=$(dirname -- "$here")
out=${1:-$(dirname -- "$native")/build/fuzz}
cc=${CC:-clang}
common="-std=c11 -D_GNU_SOURCE -g -O1 -fno-omit-frame-pointer -pthread -Wall -Wextra -Werror -Wno-unused-parameter"
common="$common -I$native/include -I$native/src -I$native/../firmware_bindings/firmware"
mkdir -p "$out/objects"

# One line per source of the core: file, then its own ISA flags.
(cd "$native/.." && CC=$cc "${PYTHON:-python3}" - <<'LIST'
import sys
from pathlib import Path

sys.path.insert(0, "native")
import build_native

for source in build_native.sources():
    print(source, *build_native.ISA_FLAGS.get(Path(source).name, []))
LIST
) >"$out/sources"

objects=
while read -r source flags; do
  object=$out/objects/$(basename "$source" .c).o
  # shellcheck disable=SC2086 # the flags are words
  "$cc" $common $flags -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
    -c "$native/../$source" -o "$object"
  objects="$objects $object"
done <"$out/sources"

for target in "$here"/*.c; do
  # shellcheck disable=SC2086
  "$cc" $common -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all "$target" $objects \
    -o "$out/$(basename "$target" .c)"
done
