#!/bin/sh
# Runs every built target for some seconds each: run.sh [SECONDS] [OUT]   (defaults: 60, build/fuzz)
# New inputs go to OUT/found/TARGET; the seeds in corpus/TARGET stay as they are.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
seconds=${1:-60}
out=${2:-$(dirname -- "$(dirname -- "$here")")/build/fuzz}
for source in "$here"/*.c; do
  target=$(basename "$source" .c)
  mkdir -p "$out/found/$target"
  seeds=$here/corpus/$target
  [ -d "$seeds" ] || seeds=
  # shellcheck disable=SC2086 # no seeds: no argument
  "$out/$target" -max_total_time="$seconds" -max_len=8192 -artifact_prefix="$out/" -print_final_stats=1 \
    "$out/found/$target" $seeds
done
