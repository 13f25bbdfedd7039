"""AES-CCM written down from RFC 3610, block by block."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def ccm_by_hand(key: bytes, nonce: bytes, data: bytes, tag_length: int) -> tuple[bytes, bytes]:
    """RFC 3610, 2, without additional data."""
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    size = 15 - len(nonce)

    def key_stream(counter: int) -> bytes:
        return block.update(bytes([size - 1]) + nonce + counter.to_bytes(size, "big"))

    mac = block.update(bytes([8 * ((tag_length - 2) // 2) + size - 1]) + nonce + len(data).to_bytes(size, "big"))
    hidden = b""
    for number, start in enumerate(range(0, len(data), 16)):
        chunk = data[start : start + 16]
        mac = block.update(bytes(a ^ b for a, b in zip(mac, chunk.ljust(16, b"\0"), strict=True)))
        hidden += bytes(a ^ b for a, b in zip(chunk, key_stream(number + 1), strict=False))
    return hidden, bytes(a ^ b for a, b in zip(mac, key_stream(0), strict=True))[:tag_length]
