"""Octets in JSON: a member with text, or one with base64 beside it."""

from __future__ import annotations

import base64
import binascii

from ueagent.errors import UsageError


def octets_of(request: object, forms: tuple[str, str]) -> bytes:
    """What stands in exactly one of two members, text and base64. UsageError: both, none, or no base64."""
    text, encoded = (getattr(request, form) for form in forms)
    if (text is None) == (encoded is None):
        raise UsageError(f"{forms[0]}_form", f"exactly one of {forms[0]} and {forms[1]} is set", field=forms[0])
    if text is not None:
        return bytes(text.encode("utf-8"))
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise UsageError("not_base64", f"{forms[1]} is not base64", field=forms[1]) from None


def form_of(octets: bytes, forms: tuple[str, str], *, as_base64: bool = False) -> dict[str, str]:
    """Text; what cannot be text is base64 anyway."""
    if not as_base64:
        try:
            return {forms[0]: octets.decode("utf-8")}
        except UnicodeDecodeError:
            pass
    return {forms[1]: base64.b64encode(octets).decode("ascii")}
