"""The methods of org.ueagent.Message. What they do is in `daemon.messages`, loaded where a KMS is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ueagent.daemon.forms import form_of, octets_of
from ueagent.errors import AgentError, UsageError
from ueagent.ipc import api
from ueagent.wire.mime import STREAM_ABOVE, UNDECIPHERABLE, Part

if TYPE_CHECKING:
    from ueagent.daemon.handlers import Context
    from ueagent.daemon.ipc_server import Connection
    from ueagent.daemon.messages import Messages


def describe(context: Context, connection: Connection, request: api.MessageDescribeRequest) -> api.MessageDescribeReply:
    messages = context.messages
    return api.MessageDescribeReply(
        mechanisms=[] if messages is None else ["S/MIME"],
        identities=[] if messages is None else messages.identities,
        setting=context.config.policy.message_e2e.value,
    )


async def protect(context: Context, connection: Connection, request: api.ProtectRequest) -> api.ProtectReply:
    messages = _messages(context)
    made = await messages.protect(
        Part(request.content_type, octets_of(request, api.CONTENT_FORMS)),
        request.recipient,
        sender=request.sender,
        resolvers=request.resolvers,
        clear=[Part(part.content_type, octets_of(part, api.CONTENT_FORMS), part.disposition) for part in request.clear],
        reuse=request.reuse,
    )
    context.log.info("message_protected", uid=connection.peer.uid, octets=len(made.body))
    stream = len(made.body) > STREAM_ABOVE
    return api.ProtectReply(content_type=made.content_type, stream=stream, **form_of(made.body, api.BODY_FORMS))


async def open_(context: Context, connection: Connection, request: api.OpenRequest) -> api.OpenReply:
    messages = _messages(context)
    try:
        opened = await messages.open(
            request.content_type, octets_of(request, api.BODY_FORMS), recipient=request.recipient
        )
    except AgentError as error:
        context.log.warning("message_refused", uid=connection.peer.uid, reason=error)
        raise
    context.log.info("message_opened", uid=connection.peer.uid, origin_proven=opened.origin_proven)
    differs = request.asserted_identity not in (None, opened.sender)
    return api.OpenReply(
        content_type=opened.content.content_type,
        sender=opened.sender,
        origin_proven=opened.origin_proven,
        clear=[_part(part) for part in opened.clear],
        warnings=["asserted_identity_differs"] if differs else [],
        **form_of(opened.content.content, api.CONTENT_FORMS),
    )


def _part(part: Part) -> api.MessagePart:
    return api.MessagePart(
        content_type=part.content_type, disposition=part.disposition, **form_of(part.content, api.CONTENT_FORMS)
    )


def _messages(context: Context) -> Messages:
    if context.messages is None:
        detail = "there are no credentials for a KMS (credentials.provider), or policy.message_e2e is off"
        raise UsageError("mechanism_unavailable", detail, sip_status_hint=UNDECIPHERABLE)
    return context.messages
