"""What is needed of OpenSSL and stands only in pyOpenSSL's low-level binding. Nothing else of ours names that binding.

TLS-3, TLS-6, TLS-13: groups and signature algorithms. DTLS-14: the exporter, into memory that can be wiped.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Final

import OpenSSL
from OpenSSL import SSL, crypto
from OpenSSL._util import ffi, lib

from ueagent.errors import ResourceError
from ueagent.model.keys import Secret

SUPPORTED: Final = "pyOpenSSL 24.3 and later, with OpenSSL 3.0 and later"
GROUPS: Final = b"X25519:P-256:P-384"  # TLS-13
SIGNATURES: Final = (  # TLS-6: no SHA-1, no MD5
    b"ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:"
    b"rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:"
    b"rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512"
)

# ffdhe2048 (RFC 7919, A.1), for peers whose only forward-secret suite is DHE_RSA (RFC 7345, 4; TLS-6: 2048 bits).
_FFDHE2048: Final = bytes.fromhex(
    "FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695A9E13641146433FBCC939DCE249B3EF9"
    "7D2FE363630C75D8F681B202AEC4617AD3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3B557135E7F57C935"
    "984F0C70E0E68B77E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797ABC0AB182B324FB61D108A94BB2C8E3FB"
    "B96ADAB760D7F4681D4F42A3DE394DF4AE56EDE76372BB190B07A7C8EE0A6D709E02FCE1CDF7E2ECC03404CD28342F61"
    "9172FE9CE98583FF8E4F1232EEF28183C3FE3B1B4C6FAD733BB5FCBC2EC22005C58EF1837D1683B2C6F34A26C1B2EFFA"
    "886B423861285C97FFFFFFFFFFFFFFFF"
)

_DH_HEAD: Final = bytes.fromhex("30820108 02820101 00")  # SEQUENCE { INTEGER p, INTEGER g } (PKCS #3)
_DH_GENERATOR: Final = bytes.fromhex("020102")

_NEEDED: Final = (
    "BIO_get_mem_data",
    "PEM_read_bio_DHparams",
    "SSL_CTX_set_tmp_dh",
    "SSL_CTX_set1_curves_list",
    "SSL_CTX_set1_sigalgs_list",
    "SSL_CTX_set_cookie_generate_cb",
    "SSL_CTX_set_psk_client_callback",
    "SSL_CTX_set_psk_server_callback",
    "SSL_OP_COOKIE_EXCHANGE",
    "SSL_OP_NO_QUERY_MTU",
    "SSL_OP_NO_RENEGOTIATION",
    "SSL_export_keying_material",
    "SSL_get_extms_support",
)

__all__ = ["ffi", "lib"]  # for psk


def check_library() -> None:
    """ResourceError `tls_library` when the installed library lacks something, with the versions that have it."""
    missing = [name for name in _NEEDED if not hasattr(lib, name)]
    if not missing:
        missing = [name for name in ("Cryptography_HAS_PSK", "Cryptography_HAS_SIGALGS") if not getattr(lib, name, 0)]
    if missing:
        found = f"pyOpenSSL {OpenSSL.__version__} with {SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()}"
        detail = f"{found} lacks {', '.join(missing)}; supported: {SUPPORTED}"
        raise ResourceError("tls_library", detail)


def restrict(context: SSL.Context) -> None:
    """Groups and signature algorithms of the profile; no renegotiation (TLS-7), and an MTU that stays as it is set."""
    context.set_options(lib.SSL_OP_NO_RENEGOTIATION | lib.SSL_OP_NO_QUERY_MTU)
    if lib.SSL_CTX_set1_curves_list(native(context), GROUPS) != 1:
        raise ResourceError("tls_library", f"no groups {GROUPS.decode()}; supported: {SUPPORTED}")
    if lib.SSL_CTX_set1_sigalgs_list(native(context), SIGNATURES) != 1:
        raise ResourceError("tls_library", f"no signatures {SIGNATURES.decode()}; supported: {SUPPORTED}")


def set_dhe_group(context: SSL.Context) -> None:
    """What a server needs for a DHE suite."""
    der = _DH_HEAD + _FFDHE2048 + _DH_GENERATOR
    pem = b"-----BEGIN DH PARAMETERS-----\n" + base64.encodebytes(der) + b"-----END DH PARAMETERS-----\n"
    bio = ffi.gc(lib.BIO_new_mem_buf(pem, len(pem)), lib.BIO_free)
    group = ffi.gc(lib.PEM_read_bio_DHparams(bio, ffi.NULL, ffi.NULL, ffi.NULL), lib.DH_free)
    if group == ffi.NULL or lib.SSL_CTX_set_tmp_dh(native(context), group) != 1:
        raise ResourceError("tls_library", f"no group ffdhe2048; supported: {SUPPORTED}")


class Verifier:
    """Asks for the peer's certificate and lets `judge(connection, load)` decide about it; `load()` gives it.

    The library asks once for each of its doubts, and once at the end, so `judge` is called several times for one peer.

    Doubts of the library about the chain are heard and passed over: self-signed is what we expect (DTLS-7). Unlike
    pyOpenSSL's own callback a refusal is sent as the alert `bad_certificate` (DTLS-8). Keep it as long as the context.
    """

    def __init__(
        self, context: SSL.Context, judge: Callable[[SSL.Connection, Callable[[], crypto.X509]], bool]
    ) -> None:
        self._judge = judge
        self._problem: BaseException | None = None
        self._callback = ffi.callback("int(int, X509_STORE_CTX *)", self._called)
        mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        lib.SSL_CTX_set_verify(native(context), mode, self._callback)

    def raise_problem(self) -> None:
        """A bug in `judge` must not get lost in the library."""
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem

    def _called(self, ok: int, store: Any) -> int:
        good = False
        try:
            good = lib.X509_STORE_CTX_get_error_depth(store) > 0 or self._ask(store)
        except BaseException as problem:
            self._problem = problem
        lib.X509_STORE_CTX_set_error(store, lib.X509_V_OK if good else SSL.X509VerificationCodes.ERR_CERT_REJECTED)
        return int(good)

    def _ask(self, store: Any) -> bool:
        def load() -> crypto.X509:
            raw = lib.X509_STORE_CTX_get_current_cert(store)
            lib.X509_up_ref(raw)
            return crypto.X509._from_raw_x509_ptr(raw)

        ssl = lib.X509_STORE_CTX_get_ex_data(store, lib.SSL_get_ex_data_X509_STORE_CTX_idx())
        return self._judge(SSL.Connection._reverse_mapping[ssl], load)


def native(context: SSL.Context) -> Any:
    return context._context


def waiting_output(connection: SSL.Connection) -> int:
    """Octets that the connection has for the peer."""
    return int(lib.BIO_get_mem_data(connection._from_ssl, ffi.NULL))


def export(connection: SSL.Connection, label: bytes, length: int) -> Secret:
    """RFC 5705 without context: `length` octets."""
    raw = ffi.new("unsigned char[]", length)
    done = lib.SSL_export_keying_material(connection._ssl, raw, length, label, len(label), ffi.NULL, 0, 0)
    try:
        if done != 1:
            raise ResourceError("tls_library", "the library does not export keys")
        with memoryview(ffi.buffer(raw, length)) as octets:
            return Secret(octets)
    finally:
        ffi.memmove(raw, bytes(length), length)


def has_extended_master_secret(connection: SSL.Connection) -> bool:
    """RFC 7627."""
    return bool(lib.SSL_get_extms_support(connection._ssl) == 1)
