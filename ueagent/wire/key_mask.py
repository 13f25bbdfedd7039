"""SDP for logs: every `inline:` key, and what else carries one, replaced by `****` (POL-8)."""

from __future__ import annotations

import re
from typing import Final

_MASK: Final = b"****"

# What introduces a key. Possessive, so that hostile spacing costs linear time.
_KEY_FOLLOWS: Final = re.compile(
    rb"inline\s*+:"
    rb"|crypto\s*+:(?:[ \t]*+\d++(?=\s))?+(?:[ \t]++[A-Za-z0-9_]{1,32}+(?=\s))?+"  # also for unknown key methods
    rb"|key-mgmt\s*+:(?:[ \t]*+[A-Za-z0-9-]{1,16}+(?=\s))?+"  # RFC 4567, 3.1
    rb"|(?:^|(?<=[\r\n]))k\s*+=(?:\s*+\w{1,16}+\s*+:)?+",  # RFC 4566, 5.12
    re.IGNORECASE,
)
_LINE_OF_SDP: Final = re.compile(rb"[\r\n]++(?=[a-z]=[^=\s])")  # `k==` may end a folded key
_WORD: Final = re.compile(rb"[^\s|;]+")
_HARMLESS: Final = re.compile(
    rb"(?:2\^)?\d{1,15}|\d{1,9}:\d{1,3}"
    rb"|-?(?:KDR|WSH)=\d{1,9}|-?(?:UNENCRYPTED_SRTC?P|UNAUTHENTICATED_SRTP|FEC_ORDER=(?:FEC_SRTP|SRTP_FEC))|-?FEC_KEY=",
    re.IGNORECASE,
)


def mask_keys(sdp: bytes) -> bytes:
    """`sdp` without key material; it need not be SDP that parses.

    After a word that introduces a key, whatever is not known to be harmless is masked, up to the next line of SDP: odd
    spacing, letter case, folded lines and unknown key methods give nothing away.
    """
    starts = list(_KEY_FOLLOWS.finditer(sdp))
    pieces: list[bytes] = []
    done = 0
    for i, start in enumerate(starts):
        limit = starts[i + 1].start() if i + 1 < len(starts) else len(sdp)
        line_end = _LINE_OF_SDP.search(sdp, start.end(), limit + 4)  # it looks ahead over `k=x`
        end = min(line_end.start(), limit) if line_end else limit
        pieces += [sdp[done : start.end()], _mask_words(sdp[start.end() : end])]
        done = end
    return b"".join([*pieces, sdp[done:]])


def _mask_words(region: bytes) -> bytes:
    """The first word is the key, also when it looks like a number."""
    first = True

    def mask(word: re.Match[bytes]) -> bytes:
        nonlocal first
        harmless = not first and _HARMLESS.fullmatch(word[0]) is not None
        first = False
        return word[0] if harmless else _MASK

    return _WORD.sub(mask, region)
