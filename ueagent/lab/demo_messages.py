"""The protected MESSAGE of the demonstration: two agents, a KMS that both trust, and somebody who may not read.

Alice's softphone -- agent == MESSAGE == agent -- Bob's softphone      e2e, keyed by MIKEY-TICKET
                        \\__ KMS, BSF __/                               over HTTP, with a software USIM each
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ueagent.client import AgentClient, body_octets, content_octets
from ueagent.daemon.config import CredentialsConfig, KmsConfig
from ueagent.errors import AgentError, KmsError, NegotiationFailed
from ueagent.ipc import api
from ueagent.lab.kms_service import KmsService, KmsServiceConfig

DOMAIN: Final = "example.com"
_TEXT: Final = "Nobody between us can read this, and you know who wrote it: Ünïcødé, too.\r\n"
_TYPE: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class MessageReport:
    """One message as its recipient has it. `problems` are the checks that failed, as sentences.

    `verified`: the KMS vouches for `sender`. `plaintext_on_wire`: words of the content that the body shows.
    """

    name: str
    mechanism: str = "none"
    keyed_by: str = "none"
    scope: str = "none"
    verified: bool = False
    sender: str | None = None
    recipient: str | None = None
    octets: int = 0
    bit_exact: bool = False
    plaintext_on_wire: int = 0
    problems: tuple[str, ...] = ()


def identity_of(name: str) -> str:
    return f"sip:{name}@{DOMAIN}"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A user of the lab's KMS. `usim` holds K and OPc."""

    name: str
    usim: Path
    state: Path

    def credentials(self, kms: KmsService) -> CredentialsConfig:
        return CredentialsConfig(
            provider="gba",
            identities=(identity_of(self.name),),
            impi=f"{self.name}@{DOMAIN}",
            bsf=KmsServiceConfig().bsf_name,
            bsf_url=kms.bsf_url,
            usim_file=str(self.usim),
            usim_state=str(self.state),
        )


def kms_of(kms: KmsService) -> KmsConfig:
    config = KmsServiceConfig()
    return KmsConfig(identity=config.identity, url=kms.kms_url, name=config.name)


def subscribe(folder: Path, names: tuple[str, ...]) -> tuple[KmsService, dict[str, Subscriber]]:
    """A KMS with its BSF, not started yet, and users with fresh USIMs; their files go into `folder`."""
    rows, made = [], {}
    for name in names:
        k, opc = secrets.token_bytes(16), secrets.token_bytes(16)
        usim = folder / f"{name}.usim"
        usim.touch(mode=0o600)
        usim.write_text(f"{k.hex()}\n{opc.hex()}\n")
        made[name] = Subscriber(name, usim, folder / f"{name}.sqn")
        row = {"impi": f"{name}@{DOMAIN}", "identity": identity_of(name), "k": k.hex(), "opc": opc.hex()}
        rows += ["[[user]]", *(f"{key} = {json.dumps(value)}" for key, value in row.items())]
    users = folder / "users.toml"
    users.touch(mode=0o600)
    users.write_text("\n".join(rows) + "\n")
    return KmsService(KmsServiceConfig(), users), made


async def exchange_message(clients: dict[str, AgentClient], sender: str, recipient: str, other: str) -> MessageReport:
    """Protect, carry, open; then try to open it again, and as somebody whom its ticket does not name."""
    name = "message"
    try:
        made = await clients[sender].protect_message(
            recipient=identity_of(recipient), content_type=_TYPE, content=_TEXT
        )
        outsider = await _refused(clients[other], made)
        opened = await clients[recipient].open_message(
            content_type=made.content_type, body=body_octets(made), asserted_identity=identity_of(sender)
        )
        again = await _refused(clients[recipient], made)
    except AgentError as error:
        return MessageReport(name, problems=(str(error),))
    body = body_octets(made)
    report = MessageReport(
        name=name,
        mechanism="S/MIME",
        keyed_by="MIKEY-TICKET",
        scope="e2e",
        verified=opened.sender == identity_of(sender) and not opened.warnings,
        sender=opened.sender,
        recipient=identity_of(recipient),
        octets=len(body),
        bit_exact=content_octets(opened) == _TEXT.encode() and opened.content_type == _TYPE,
        plaintext_on_wire=sum(word in body for word in _TEXT.encode().split() if len(word) > 4),
    )
    checks = (
        (report.verified, f"the message came from {report.sender}"),
        (report.bit_exact, "what was opened is not what was protected"),
        (report.plaintext_on_wire == 0, f"{report.plaintext_on_wire} words of the message were readable"),
        (isinstance(outsider, KmsError), "somebody who is not its recipient could open the message"),
        (isinstance(again, NegotiationFailed), "the message could be opened twice"),
    )
    return replace(report, problems=tuple(sentence for good, sentence in checks if not good))


async def _refused(client: AgentClient, message: api.ProtectReply) -> AgentError | None:
    try:
        await client.open_message(content_type=message.content_type, body=body_octets(message))
    except AgentError as error:
        return error
    return None
