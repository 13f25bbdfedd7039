#!/bin/sh
# Builds the firmware for the emulated boards with arm-none-eabi-gcc: build.sh OUT   ->   OUT/BOARD.elf
# The crypto primitives are the host's (native/src/prim), in their 32-bit form. What a media job spends its time in is
# built for speed, everything else for size.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
native=$here/../../native
out=$1
mkdir -p "$out"
cc=${ARM_CC:-arm-none-eabi-gcc}
common="-std=c11 -flto -g -mthumb -ffunction-sections -fdata-sections -fshort-enums -Wall -Wextra -Werror
  -DUMSA_TEST_HOOKS -I$native/include -I$native/src -I$here"
fast="$native/src/prim/aes_word.c $here/sha1_small.c $here/frame.c $here/slot.c $here/boards/support.c"
small="$here/device.c $here/crypt.c $here/x25519.c $native/src/prim/ghash.c $native/src/prim/hmac_sha1.c
  $here/boards/main.c $here/boards/startup.c $here/boards/emulated.c"
build() { # BOARD CPU IRQ
  objects=
  for source in $fast $small "$here/boards/$1.c"; do
    case " $fast " in
    *" $source "*) level="-O2 -fno-predictive-commoning" ;;
    *) level=-Os ;;
    esac
    object=$out/$1.$(basename "$source" .c).o
    # shellcheck disable=SC2086 # words
    "$cc" $common $level -mcpu="$2" -DBOARD_UART_IRQ="$3" -c "$source" -o "$object"
    objects="$objects $object"
  done
  # shellcheck disable=SC2086 # words
  "$cc" -flto -g -Os -mthumb -mcpu="$2" $objects -nostartfiles --specs=nano.specs \
    -Wl,--gc-sections -Wl,-T,"$here/boards/cortex_m.ld" -Wl,-Map,"$out/$1.map" -o "$out/$1.elf"
}
build lm3s6965evb cortex-m3 5
build mps2-an386 cortex-m4 0
