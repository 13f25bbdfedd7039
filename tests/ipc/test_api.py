"""The structs of the contract. POL-8."""

from __future__ import annotations

import pytest

from ueagent.ipc import api

STRUCTS = {kind for row in api.METHODS.values() for kind in (row.request, row.reply)}
FILLERS = {"session": "s", "signalling": "none", "final": True, "retry": True, "lines": []}
FILLERS |= {
    "content_type": "text/plain",
    "recipient": "sip:b",
    "sender": "sip:a",
    "origin_proven": False,
    "stream": False,
}


@pytest.mark.parametrize("form", api.SDP_FORMS)
def test_no_repr_shows_sdp(form: str) -> None:
    """POL-8: SDP may hold keys; that there is some may show."""
    kinds = [kind for kind in STRUCTS if form in kind.__struct_fields__]
    assert len(kinds) == 6
    for kind in kinds:
        given = {name: value for name, value in FILLERS.items() if name in kind.__struct_fields__}
        shown = repr(kind(**given, **{form: "a=crypto:1 inline:secret"}))
        assert "secret" not in shown
        assert f"{form}=..." in shown
        assert shown.startswith(f"{kind.__name__}(")


@pytest.mark.parametrize("form", [*api.CONTENT_FORMS, *api.BODY_FORMS])
def test_no_repr_shows_what_a_message_says(form: str) -> None:
    """POL-8: contents are private."""
    kinds = [kind for kind in {*STRUCTS, api.MessagePart} if form in kind.__struct_fields__]
    assert len(kinds) == (3 if form in api.CONTENT_FORMS else 2)
    for kind in kinds:
        given = {name: value for name, value in FILLERS.items() if name in kind.__struct_fields__}
        assert "secret" not in repr(kind(**given, **{form: "a secret"}))
