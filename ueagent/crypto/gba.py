"""Keys of the generic bootstrapping architecture: Ks and Ks_NAF. 3GPP TS 33.220, Annex B; KMS-2, KMS-3.

Ks = CK || IK      Ks_NAF = HMAC-SHA-256(Ks, 01 || "gba-me" || 0006 || RAND || 0010 || IMPI || len || NAF_Id || len)
"""

from __future__ import annotations

import base64
import hmac
from typing import Final

from ueagent.model.keys import Secret

FC: Final = 0x01  # TS 33.220, B.3
LABEL_ME: Final = "gba-me"  # Ks_(ext_)NAF, usable in the terminal
LABEL_UICC: Final = "gba-u"  # Ks_int_NAF, which stays in the UICC
UA_IMS_MEDIA: Final = bytes.fromhex("0100000006")  # TS 33.220, H.3: IMS UE to KMS over HTTP
RAND_LENGTH: Final = 16


def bootstrapped_key(ck: Secret, ik: Secret) -> Secret:
    """Ks, 32 octets. TS 33.220, 4.5.2."""
    joined = ck.reveal() + ik.reveal()
    ks = Secret(joined)
    joined[:] = bytes(len(joined))
    return ks


def naf_id(fqdn: str, ua_protocol: bytes = UA_IMS_MEDIA) -> bytes:
    """FQDN of the NAF, then the five octets of the Ua security protocol identifier. TS 33.220, 4.5.2 and H.3."""
    return fqdn.lower().encode("ascii") + ua_protocol


def naf_key(ks: Secret, rand: bytes, impi: str, naf: bytes, label: str = LABEL_ME) -> Secret:
    """Ks_NAF, 32 octets. `rand` is that of the bootstrapping, `naf` comes from `naf_id`."""
    parameters = (label.encode("utf-8"), rand, impi.encode("utf-8"), naf)
    s = bytes((FC,)) + b"".join(part + len(part).to_bytes(2, "big") for part in parameters)
    return Secret(hmac.digest(ks.reveal(), s, "sha256"))


def transaction_identifier(rand: bytes, bsf: str) -> str:
    """B-TID: base64(RAND)@BSF. TS 33.220, 4.5.2; KMS-5."""
    return f"{base64.b64encode(rand).decode('ascii')}@{bsf}"
