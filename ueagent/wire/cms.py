"""CMS AuthEnvelopedData for pre-shared keys (RFC 5083, 5084, 5652; TS 33.328, Annex I): DER to values and back.

    ContentInfo { id-ct-authEnvelopedData, [0] AuthEnvelopedData {
        0, SET { [2] KEKRecipientInfo { 4, { keyIdentifier }, AES wrap, encryptedKey } },
        { id-data, { AEAD, { nonce, ICVlen } }, [0] encryptedContent }, mac } }

The octets are read and written by asn1crypto; nothing here decrypts. Algorithms are named as in the standards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from asn1crypto import core

from ueagent.errors import MalformedMessage

MAX_SIZE: Final = 1 << 20  # octets, checked before parsing
MAX_RECIPIENTS: Final = 64
MAX_OID: Final = 64  # octets
DEFAULT_ICV_LENGTH: Final = 12  # RFC 5084, 3.1 and 3.2

_AUTH_ENVELOPED_DATA: Final = "1.2.840.113549.1.9.16.1.23"
_DATA: Final = "1.2.840.113549.1.7.1"
_AES: Final = "2.16.840.1.101.3.4.1"

# Name -> object identifier. RFC 3565, 2.3.2 and RFC 5084; MIME-7, MIME-8.
CONTENT_OIDS: Final = MappingProxyType(
    {
        "aes128-GCM": f"{_AES}.6",
        "aes256-GCM": f"{_AES}.46",
        "aes128-CCM": f"{_AES}.7",
        "aes256-CCM": f"{_AES}.47",
    }
)
WRAP_OIDS: Final = MappingProxyType({"aes128-wrap": f"{_AES}.5", "aes256-wrap": f"{_AES}.45"})
_CONTENT_NAMES: Final = MappingProxyType({oid: name for name, oid in CONTENT_OIDS.items()})
_WRAP_NAMES: Final = MappingProxyType({oid: name for name, oid in WRAP_OIDS.items()})


@dataclass(frozen=True, slots=True)
class KekRecipient:
    """A content key wrapped by a shared key. `wrap` is None for an algorithm that has no row here."""

    key_id: bytes
    wrap: str | None
    encrypted_key: bytes


@dataclass(frozen=True, slots=True)
class AuthEnvelopedData:
    """Recipients of other kinds than KEKRecipientInfo are counted in `other_recipients` and not kept."""

    recipients: tuple[KekRecipient, ...]
    algorithm: str
    nonce: bytes
    encrypted: bytes = field(repr=False)
    mac: bytes
    other_recipients: int = 0


# ------------------------------------------------------------------------------------------------------------ ASN.1 --


class _Oid(core.ObjectIdentifier):  # type: ignore[misc]  # asn1crypto has no types
    """The library reads an arc in time that grows with the square of its length: long ones are refused before."""

    @property
    def dotted(self) -> str:
        if len(self.contents) > MAX_OID:
            raise ValueError("an object identifier longer than any of ours")
        return str(super().dotted)


class _Algorithm(core.Sequence):  # type: ignore[misc]
    _fields = [("algorithm", _Oid), ("parameters", core.Any, {"optional": True})]


class _AeadParameters(core.Sequence):  # type: ignore[misc]
    _fields = [("nonce", core.OctetString), ("icv_length", core.Integer, {"default": DEFAULT_ICV_LENGTH})]


class _KekIdentifier(core.Sequence):  # type: ignore[misc]
    _fields = [
        ("key_identifier", core.OctetString),
        ("date", core.GeneralizedTime, {"optional": True}),
        ("other", core.Any, {"optional": True}),
    ]


class _KekRecipientInfo(core.Sequence):  # type: ignore[misc]
    _fields = [
        ("version", core.Integer),
        ("kekid", _KekIdentifier),
        ("key_encryption_algorithm", _Algorithm),
        ("encrypted_key", core.OctetString),
    ]


class _RecipientInfo(core.Choice):  # type: ignore[misc]
    _alternatives = [
        ("ktri", core.Sequence),
        ("kari", core.Sequence, {"implicit": 1}),
        ("kekri", _KekRecipientInfo, {"implicit": 2}),
        ("pwri", core.Sequence, {"implicit": 3}),
        ("ori", core.Sequence, {"implicit": 4}),
    ]


class _RecipientInfos(core.SetOf):  # type: ignore[misc]
    _child_spec = _RecipientInfo


class _EncryptedContentInfo(core.Sequence):  # type: ignore[misc]
    _fields = [
        ("content_type", _Oid),
        ("content_encryption_algorithm", _Algorithm),
        ("encrypted_content", core.OctetString, {"implicit": 0, "optional": True}),
    ]


class _Attributes(core.SetOf):  # type: ignore[misc]
    _child_spec = core.Any


class _AuthEnvelopedData(core.Sequence):  # type: ignore[misc]
    _fields = [
        ("version", core.Integer),
        ("originator_info", core.Sequence, {"implicit": 0, "optional": True}),
        ("recipient_infos", _RecipientInfos),
        ("auth_encrypted_content_info", _EncryptedContentInfo),
        ("auth_attrs", _Attributes, {"implicit": 1, "optional": True}),
        ("mac", core.OctetString),
        ("unauth_attrs", _Attributes, {"implicit": 2, "optional": True}),
    ]


class _ContentInfo(core.Sequence):  # type: ignore[misc]
    _fields = [("content_type", _Oid), ("content", core.Any, {"explicit": 0})]
    _oid_pair = ("content_type", "content")
    _oid_specs = {_AUTH_ENVELOPED_DATA: _AuthEnvelopedData}


# --------------------------------------------------------------------------------------------------------- building --


def build_auth_enveloped_data(value: AuthEnvelopedData) -> bytes:
    """DER of the ContentInfo. KeyError for an algorithm without a row."""
    parameters: dict[str, Any] = {"nonce": value.nonce}
    if len(value.mac) != DEFAULT_ICV_LENGTH:  # DER leaves defaults out
        parameters["icv_length"] = len(value.mac)
    recipients = [
        _RecipientInfo(
            "kekri",
            _KekRecipientInfo(
                {
                    "version": 4,  # RFC 5652, 6.2.3
                    "kekid": {"key_identifier": recipient.key_id},
                    "key_encryption_algorithm": {"algorithm": WRAP_OIDS[recipient.wrap or ""]},
                    "encrypted_key": recipient.encrypted_key,
                }
            ),
        )
        for recipient in value.recipients
    ]
    enveloped = _AuthEnvelopedData(
        {
            "version": 0,  # RFC 5083, 2.1
            "recipient_infos": recipients,
            "auth_encrypted_content_info": {
                "content_type": _DATA,
                "content_encryption_algorithm": {
                    "algorithm": CONTENT_OIDS[value.algorithm],
                    "parameters": _AeadParameters(parameters),
                },
                "encrypted_content": value.encrypted,
            },
            "mac": value.mac,
        }
    )
    return bytes(_ContentInfo({"content_type": _AUTH_ENVELOPED_DATA, "content": enveloped}).dump(force=True))


# ---------------------------------------------------------------------------------------------------------- parsing --


def parse_auth_enveloped_data(data: bytes) -> AuthEnvelopedData:
    """What `data` (DER; BER is understood) holds, or MalformedMessage.

    Refused as well: attributes, contents other than id-data, a tag of another length than ICVlen, octets behind the
    end. Lengths of nonce and tag are for the algorithm to judge.
    """
    if len(data) > MAX_SIZE:
        raise MalformedMessage("cms_too_long", f"{len(data)} octets of CMS, at most {MAX_SIZE} are read")
    try:
        return _read(data)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        # asn1crypto reads on demand: what it finds wrong surfaces in whatever type the place happens to raise
        raise MalformedMessage("cms_syntax", "not a CMS AuthEnvelopedData") from error


def _read(data: bytes) -> AuthEnvelopedData:
    info = _ContentInfo.load(data, strict=True)
    if info["content_type"].native != _AUTH_ENVELOPED_DATA:
        raise MalformedMessage("cms_content_type", "CMS of another type than AuthEnvelopedData", field="contentType")
    enveloped = info["content"]
    if enveloped["version"].native != 0:
        raise MalformedMessage("cms_version", "AuthEnvelopedData of another version than 0", field="version")
    for unwanted in ("auth_attrs", "unauth_attrs", "originator_info"):
        if not isinstance(enveloped[unwanted], core.Void):
            raise MalformedMessage("cms_attributes", f"{unwanted} has no place here", field=unwanted)
    content = enveloped["auth_encrypted_content_info"]
    if content["content_type"].native != _DATA:
        raise MalformedMessage("cms_inner_type", "protected content of another type than id-data", field="contentType")
    algorithm = content["content_encryption_algorithm"]
    name = _CONTENT_NAMES.get(algorithm["algorithm"].native)
    if name is None:
        raise MalformedMessage("cms_algorithm", "content encryption that is not AES-GCM or AES-CCM", field="algorithm")
    parameters = algorithm["parameters"].parse(_AeadParameters)
    mac = bytes(enveloped["mac"].native)
    if parameters["icv_length"].native != len(mac):
        raise MalformedMessage("cms_icv_length", "the tag is not as long as ICVlen says", field="mac")
    infos = enveloped["recipient_infos"]
    if not 1 <= len(infos) <= MAX_RECIPIENTS:
        raise MalformedMessage("cms_recipients", f"{len(infos)} recipients, 1 to {MAX_RECIPIENTS} are read")
    recipients = tuple(_recipient(one.chosen) for one in infos if one.name == "kekri")
    encrypted = content["encrypted_content"].native  # None: detached
    if encrypted is None:
        raise MalformedMessage("cms_detached", "the encrypted content is not in the message", field="encryptedContent")
    return AuthEnvelopedData(
        recipients=recipients,
        algorithm=name,
        nonce=bytes(parameters["nonce"].native),
        encrypted=bytes(encrypted),
        mac=mac,
        other_recipients=len(infos) - len(recipients),
    )


def _recipient(info: Any) -> KekRecipient:
    if info["version"].native != 4:
        raise MalformedMessage("cms_recipient_version", "KEKRecipientInfo of another version than 4", field="version")
    algorithm = info["key_encryption_algorithm"]
    if not isinstance(algorithm["parameters"], core.Void):
        raise MalformedMessage("cms_wrap_parameters", "AES wrap has no parameters", field="keyEncryptionAlgorithm")
    return KekRecipient(
        key_id=bytes(info["kekid"]["key_identifier"].native),
        wrap=_WRAP_NAMES.get(algorithm["algorithm"].native),
        encrypted_key=bytes(info["encrypted_key"].native),
    )
