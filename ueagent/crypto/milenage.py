"""Milenage (3GPP TS 35.206): the authentication functions f1..f5* of a USIM and of its home network.

    TEMP = E(RAND ^ OPc)      OUTn = E(rot(TEMP ^ OPc, rn) ^ cn) ^ OPc      E: AES-128 under K

Used by the software USIM, by the lab's authentication centre and by the scripted modem of the tests.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ueagent.model.keys import Secret

BLOCK: Final = 16  # octets of K, OP, OPc, RAND, AUTN, CK and IK
SQN_LENGTH: Final = 6
AMF_LENGTH: Final = 2
MAC_LENGTH: Final = 8
RES_LENGTH: Final = 8
AUTS_LENGTH: Final = SQN_LENGTH + MAC_LENGTH
RESYNC_AMF: Final = bytes(AMF_LENGTH)  # TS 33.102, 6.3.3: AUTS is computed with a zero AMF

# TS 35.206, 4.1: rotation in octets and last octet of the constant, for OUT2..OUT5; OUT1 rotates another value.
_OUT1_ROTATION: Final = 8
_ROWS: Final = {2: (0, 1), 3: (4, 2), 4: (8, 4), 5: (12, 8)}


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """What f2, f3, f4, f5 and f5* make of one RAND. Whoever holds it wipes it."""

    res: Secret
    ck: Secret
    ik: Secret
    ak: bytes
    ak_resync: bytes

    def wipe(self) -> None:
        for key in (self.res, self.ck, self.ik):
            key.wipe()


class Milenage:
    """The functions under one K and OPc, 16 octets each; takes copies, `wipe` ends its use. Block cipher by library."""

    def __init__(self, k: Secret, opc: Secret) -> None:
        if len(k) != BLOCK or len(opc) != BLOCK:
            raise ValueError("K and OPc have 16 octets")
        self._k = k.copy()
        self._opc = opc.copy()

    def wipe(self) -> None:
        self._k.wipe()
        self._opc.wipe()

    def vector(self, rand: bytes) -> Vector:
        """f2..f5*. `rand` has 16 octets."""
        temp = self._temp(rand)
        out2, out3, out4, out5 = (self._out(temp, *_ROWS[n]) for n in (2, 3, 4, 5))
        return Vector(Secret(out2[8:]), Secret(out3), Secret(out4), out2[:SQN_LENGTH], out5[:SQN_LENGTH])

    def macs(self, rand: bytes, sqn: bytes, amf: bytes) -> tuple[bytes, bytes]:
        """f1 and f1*: MAC-A for AUTN and MAC-S for AUTS. `sqn` has 6 octets, `amf` 2."""
        if len(sqn) != SQN_LENGTH or len(amf) != AMF_LENGTH:
            raise ValueError("SQN has 6 octets, AMF 2")
        mixed = _rotate(_xor((sqn + amf) * 2, self._opc.reveal()), _OUT1_ROTATION)
        out1 = _xor(_encrypt(self._k, _xor(self._temp(rand), mixed)), self._opc.reveal())
        return out1[:MAC_LENGTH], out1[MAC_LENGTH:]

    def autn(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """(SQN ^ AK) || AMF || MAC-A, as the network sends it. TS 33.102, 6.3.2."""
        vector = self.vector(rand)
        vector.wipe()
        return _xor(sqn, vector.ak) + amf + self.macs(rand, sqn, amf)[0]

    def open_autn(self, rand: bytes, autn: bytes) -> bytes | None:
        """The SQN inside a 16-octet AUTN, or None when its MAC is wrong."""
        vector = self.vector(rand)
        vector.wipe()
        sqn = _xor(autn[:SQN_LENGTH], vector.ak)
        amf = autn[SQN_LENGTH : SQN_LENGTH + AMF_LENGTH]
        return sqn if hmac.compare_digest(self.macs(rand, sqn, amf)[0], autn[-MAC_LENGTH:]) else None

    def auts(self, rand: bytes, sqn: bytes) -> bytes:
        """(SQN ^ AK*) || MAC-S: the USIM tells the network its highest SQN. TS 33.102, 6.3.3."""
        vector = self.vector(rand)
        vector.wipe()
        return _xor(sqn, vector.ak_resync) + self.macs(rand, sqn, RESYNC_AMF)[1]

    def open_auts(self, rand: bytes, auts: bytes) -> bytes | None:
        """The SQN inside a 14-octet AUTS, or None when its MAC is wrong."""
        vector = self.vector(rand)
        vector.wipe()
        sqn = _xor(auts[:SQN_LENGTH], vector.ak_resync)
        return sqn if hmac.compare_digest(self.macs(rand, sqn, RESYNC_AMF)[1], auts[SQN_LENGTH:]) else None

    def _temp(self, rand: bytes) -> bytes:
        if len(rand) != BLOCK:
            raise ValueError("RAND has 16 octets")
        return _encrypt(self._k, _xor(rand, self._opc.reveal()))

    def _out(self, temp: bytes, rotation: int, constant: int) -> bytes:
        opc = self._opc.reveal()
        turned = bytearray(_rotate(_xor(temp, opc), rotation))
        turned[-1] ^= constant
        return _xor(_encrypt(self._k, turned), opc)


def opc_of(k: Secret, op: Secret) -> Secret:
    """OPc = E(OP) ^ OP under K. TS 35.206, 4.1."""
    return Secret(_xor(_encrypt(k, op.reveal()), op.reveal()))


def _encrypt(key: Secret, block: bytes | bytearray) -> bytes:
    cipher = Cipher(algorithms.AES(bytes(key.reveal())), modes.ECB()).encryptor()  # noqa: S305 - one block, TS 35.206
    return cipher.update(bytes(block)) + cipher.finalize()


def _xor(one: bytes | bytearray, other: bytes | bytearray) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _rotate(block: bytes, octets: int) -> bytes:
    return block[octets:] + block[:octets]
