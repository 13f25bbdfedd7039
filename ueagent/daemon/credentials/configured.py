"""The credential provider that the configuration asks for. Each is a row of PROVIDERS. KMS-7, KMS-8."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ueagent.daemon.config import CredentialsConfig
from ueagent.daemon.credentials.key_files import read_keys
from ueagent.daemon.credentials.provider import CredentialProvider, ProvisionedPsk
from ueagent.daemon.http_client import Origin, parse_origin
from ueagent.errors import UsageError
from ueagent.keymgmt.aka import Usim
from ueagent.keymgmt.bootstrapping import default_bsf

PSK_LENGTHS: Final = range(16, 65)  # octets
USIM_LENGTHS: Final = range(16, 17)  # of K and of OPc: TS 35.206


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What providers need of the machine: randomness, UTC seconds since 1970, and whom to trust for https."""

    rng: Callable[[int], bytes]
    clock: Callable[[], float]
    tls: ssl.SSLContext | None = None


def provider_of(config: CredentialsConfig, around: Surroundings) -> CredentialProvider:
    """UsageError `bad_config` for what is missing or cannot be read."""
    return PROVIDERS[config.provider](config, around)


def required(value: str | None, key: str, why: str) -> str:
    """UsageError `bad_config`: `key` is not set."""
    if not value:
        raise UsageError("bad_config", f"{key} is not set, and {why} needs it", field=key)
    return value


def origin_of(url: str, key: str) -> Origin:
    """UsageError `bad_config` about `key`."""
    try:
        return parse_origin(url)
    except UsageError as error:
        raise UsageError("bad_config", f"{key}: {error.detail}", field=key) from None


def _of(config: CredentialsConfig, name: str) -> str:
    return required(getattr(config, name), f"credentials.{name}", f'provider = "{config.provider}"')


def _provisioned(config: CredentialsConfig, around: Surroundings) -> CredentialProvider:
    identity = _of(config, "psk_identity").encode("utf-8")
    (key,) = read_keys(_of(config, "psk_file"), "credentials.psk_file", (PSK_LENGTHS,))
    return ProvisionedPsk(identity, key)


def _software(config: CredentialsConfig, around: Surroundings) -> CredentialProvider:
    from ueagent.daemon.credentials.kept_usim import KeptUsim
    from ueagent.keymgmt.usim import SoftwareUsim

    path, state = _of(config, "usim_file"), _of(config, "usim_state")
    k, opc = read_keys(path, "credentials.usim_file", (USIM_LENGTHS, USIM_LENGTHS))
    try:
        return _bootstrapped(config, around, KeptUsim(lambda seen: SoftwareUsim(k, opc, seen), state))
    finally:
        k.wipe()
        opc.wipe()


def _modem(config: CredentialsConfig, around: Surroundings) -> CredentialProvider:
    from ueagent.daemon.credentials.modem import ModemUsim

    return _bootstrapped(config, around, ModemUsim(_of(config, "modem_port")))


def _bootstrapped(config: CredentialsConfig, around: Surroundings, usim: Usim) -> CredentialProvider:
    from ueagent.daemon.credentials.gba import GbaCredentials

    impi = _of(config, "impi")
    bsf = config.bsf or default_bsf(impi) or _of(config, "bsf")
    origin = origin_of(config.bsf_url or f"http://{bsf}", "credentials.bsf_url")
    return GbaCredentials(impi, bsf, origin, usim, around.rng, around.clock, around.tls)


_Create = Callable[[CredentialsConfig, Surroundings], CredentialProvider]
PROVIDERS: Final[Mapping[str, _Create]] = MappingProxyType({"psk": _provisioned, "gba": _software, "modem": _modem})
