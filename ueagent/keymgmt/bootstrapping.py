"""Bootstrapping over Ub (3GPP TS 24.109, 4; TS 33.220, 4.5.2), without sockets: KMS-1, -2, -5, -8.

UE                              BSF
 | GET /  (who I am)             |       begin
 |------------------------------>|
 | 401 with RAND, AUTN           |       challenged
 |<------------------------------|       ... the USIM ...
 | GET /  (response, or auts)    |       respond
 |------------------------------>|
 | 200 with B-TID and lifetime   |       finish
 |<------------------------------|
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from xml.etree import ElementTree

from ueagent.crypto.gba import bootstrapped_key, naf_id, naf_key
from ueagent.errors import KmsError, MalformedMessage, UnexpectedMessage
from ueagent.keymgmt import aka
from ueagent.keymgmt.aka import AkaKeys, Challenge, SyncFailure
from ueagent.model.http import HttpRequest, HttpResponse
from ueagent.model.keys import Secret

PRODUCT: Final = "3gpp-gba"  # TS 24.109, 4.2
BSF_TYPE: Final = "application/vnd.3gpp.bsf+xml"
TARGET: Final = "/"
MAX_INFO: Final = 4096  # octets
MAX_RESYNCS: Final = 1

_NAMESPACE: Final = "{uri:3gpp-gba}"
_IMSI_DOMAIN: Final = re.compile(r"@ims\.(mnc\d{3}\.mcc\d{3})\.3gppnetwork\.org$")
_DATE: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)?")


def default_bsf(impi: str) -> str | None:
    """The BSF of an IMPI that was made from an IMSI; else None. TS 23.003, 16.2; KMS-8."""
    match = _IMSI_DOMAIN.search(impi.lower())
    return f"bsf.{match[1]}.pub.3gppnetwork.org" if match else None


@dataclass(frozen=True, slots=True, eq=False)
class BootstrappedContext:
    """What both sides share until `expires` (UTC seconds since 1970). Owner: the credential provider."""

    identifier: str  # B-TID
    impi: str
    rand: bytes
    expires: float
    ks: Secret = field(repr=False)

    def key_for(self, fqdn: str) -> Secret:
        """Ks_NAF for the KMS of this name. KMS-2, KMS-3."""
        return naf_key(self.ks, self.rand, self.impi, naf_id(fqdn))

    def wipe(self) -> None:
        self.ks.wipe()


class Bootstrapping:
    """One run. Each method is one step of the drawing; a step out of order is UnexpectedMessage."""

    def __init__(self, impi: str, bsf: str, rng: Callable[[int], bytes]) -> None:
        if not impi or set(impi + bsf) & set('"\\\r\n'):
            raise ValueError("not an identity or a host name")
        self._impi = impi
        self._bsf = bsf
        self._rng = rng
        self._resyncs = 0
        self._challenge: Challenge | None = None
        self._sent: str | None = None
        self._keys: AkaKeys | None = None

    def begin(self) -> HttpRequest:
        return self._request(aka.build_first_authorization(self._impi, self._bsf, TARGET))

    def challenged(self, response: HttpResponse) -> Challenge:
        """RAND and AUTN for the USIM. KmsError `bsf_refused`, MalformedMessage."""
        if self._challenge is not None and self._sent is None:
            raise UnexpectedMessage(
                "bootstrapping_order", "this challenge has not been answered", expected=("respond",)
            )
        if self._keys is not None or self._resyncs > MAX_RESYNCS:
            raise KmsError("bsf_refused", "the BSF does not accept the answer of the USIM")
        if response.status != 401:
            raise KmsError("bsf_refused", f"the BSF answers {response.status} where it should ask for authentication")
        self._challenge = aka.parse_challenge(response.headers.get("www-authenticate", ""))
        self._sent = None
        return self._challenge

    def respond(self, outcome: AkaKeys | SyncFailure) -> HttpRequest:
        """Takes over `outcome`'s keys. After a SyncFailure the next response is another challenge."""
        challenge = self._challenge
        if challenge is None or self._sent is not None:
            raise UnexpectedMessage("bootstrapping_order", "there is no challenge to answer", expected=("challenged",))
        cnonce = self._rng(16).hex()
        if isinstance(outcome, SyncFailure):
            self._resyncs += 1
            password: bytes | bytearray = aka.NO_PASSWORD
            auts: bytes | None = outcome.auts
        else:
            self._keys = outcome
            password, auts = outcome.res.reveal(), None
        self._sent = aka.build_authorization(challenge, self._impi, "GET", TARGET, b"", password, cnonce, auts)
        return self._request(self._sent)

    def finish(self, response: HttpResponse, now: float) -> BootstrappedContext:
        """The shared context, once the BSF has proven itself. KmsError, MalformedMessage, AuthenticationFailed."""
        keys, challenge, sent = self._keys, self._challenge, self._sent
        if keys is None or challenge is None or sent is None:
            raise UnexpectedMessage("bootstrapping_order", "nothing has been answered yet", expected=("respond",))
        if response.status != 200:
            raise KmsError("bsf_refused", f"the BSF answers {response.status} to the response of the USIM")
        info = response.headers.get("authentication-info", "")
        aka.check_info(info, sent, response.body, keys.res.reveal())
        identifier, expires = parse_info(response)
        if expires <= now:
            raise KmsError("bootstrapping_expired", "the BSF gives keys that have expired")
        return BootstrappedContext(identifier, self._impi, challenge.rand, expires, bootstrapped_key(keys.ck, keys.ik))

    def close(self) -> None:
        """Wipes RES, CK and IK; always called at the end."""
        if self._keys is not None:
            self._keys.wipe()

    def _request(self, authorization: str) -> HttpRequest:
        return HttpRequest("GET", TARGET, {"User-Agent": PRODUCT, "Authorization": authorization})


def build_info(identifier: str, expires: float) -> bytes:
    """The body of the BSF's 200. TS 24.109, Annex C."""
    root = ElementTree.Element("BootstrappingInfo", {"xmlns": "uri:3gpp-gba"})
    ElementTree.SubElement(root, "btid").text = identifier
    when = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ElementTree.SubElement(root, "lifetime").text = when
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def parse_info(response: HttpResponse) -> tuple[str, float]:
    """B-TID and the end of its life, or MalformedMessage."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != BSF_TYPE or len(response.body) > MAX_INFO or b"<!" in response.body:  # no DTD, no entities
        raise MalformedMessage("bsf_info", f"the BSF sent no {BSF_TYPE} of at most {MAX_INFO} octets")
    try:
        root = ElementTree.fromstring(response.body)  # noqa: S314 - a short text without declarations, checked above
        identifier = (root.findtext(f"{_NAMESPACE}btid") or "").strip()
        match = _DATE.fullmatch((root.findtext(f"{_NAMESPACE}lifetime") or "").strip())
        if not identifier or not identifier.isascii() or match is None:
            raise ValueError
        zone = "+00:00" if match[2] in (None, "Z") else match[2]
        return identifier, datetime.fromisoformat(match[1] + zone).timestamp()
    except (ElementTree.ParseError, ValueError, OverflowError, LookupError):
        raise MalformedMessage("bsf_info", "the BSF sent no B-TID and lifetime") from None
