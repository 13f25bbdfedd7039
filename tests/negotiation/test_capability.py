"""Capability: what may be negotiated at all."""

from ueagent.model.suites import SUITES
from ueagent.negotiation.capability import Capability


def test_null_f8_and_unknown_suites_are_never_usable() -> None:
    """POL-10, F8 parsed and never selected."""
    everything = Capability(frozenset([*SUITES, "AES_CM_256_HMAC_SHA1_80"]))
    wanted = ("NULL_HMAC_SHA1_80", "F8_128_HMAC_SHA1_80", "AES_CM_256_HMAC_SHA1_80", "AEAD_AES_128_GCM")
    assert everything.usable(wanted) == ("AEAD_AES_128_GCM",)


def test_order_is_that_of_the_policy() -> None:
    here = Capability(frozenset({"AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80"}))
    wanted = ("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM", "AEAD_AES_128_GCM")
    assert here.usable(wanted) == ("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM")
