"""Bootstrapping over Ub, step by step, against the lab's BSF without sockets."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from support.ub import BSF, IMPI, NOW, Clock, bsf, store, usim

from ueagent.errors import AgentError, AuthenticationFailed, KmsError, MalformedMessage, UnexpectedMessage
from ueagent.keymgmt.aka import AkaKeys, SyncFailure
from ueagent.keymgmt.bootstrapping import (
    BSF_TYPE,
    BootstrappedContext,
    Bootstrapping,
    build_info,
    default_bsf,
    parse_info,
)
from ueagent.keymgmt.usim import IND_BITS, SoftwareUsim
from ueagent.lab.bsf import Bsf
from ueagent.model.http import HttpRequest, HttpResponse


class Walk:
    """One run; `answers` are the BSF's, in order."""

    def __init__(self, server: Bsf | None = None, card: SoftwareUsim | None = None) -> None:
        self.run = Bootstrapping(IMPI, BSF, random.Random(3).randbytes)
        self.server = server or bsf(store(), Clock())
        self.card = card or usim()
        self.requests: list[HttpRequest] = []
        self.answers: list[HttpResponse] = []

    def send(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = asyncio.run(self.server.handle(replace(request, headers=headers)))
        answer = replace(answer, headers={name.lower(): value for name, value in answer.headers.items()})
        self.answers.append(answer)
        return answer

    def challenge_answered(self, response: HttpResponse) -> AkaKeys | SyncFailure:
        challenge = self.run.challenged(response)
        return self.card.authenticate(challenge.rand, challenge.autn)

    def whole(self) -> BootstrappedContext:
        response = self.send(self.run.begin())
        while True:
            outcome = self.challenge_answered(response)
            response = self.send(self.run.respond(outcome))
            if isinstance(outcome, AkaKeys):
                return self.run.finish(response, NOW)


def test_first_request_says_who_asks_and_proves_nothing() -> None:
    """KMS-1."""
    request = Walk().run.begin()
    assert (request.method, request.target) == ("GET", "/")
    assert request.headers["User-Agent"] == "3gpp-gba"
    assert request.headers["Authorization"] == (
        f'Digest username="{IMPI}", realm="{BSF}", nonce="", uri="/", response=""'
    )


def test_both_sides_share_a_key_for_the_kms_afterwards() -> None:
    """KMS-1, KMS-2, KMS-4."""
    users = store()
    ours = Walk(bsf(users, Clock())).whole()
    theirs = users.context(ours.identifier, NOW)
    assert theirs is not None
    assert ours.key_for("kms.example.com") == theirs.key_for("kms.example.com")
    assert len(ours.key_for("kms.example.com")) == 32
    assert ours.key_for("kms.example.com") != ours.key_for("other.example.com")
    assert ours.expires == NOW + 3600


def test_identifier_names_the_random_value_and_the_bsf() -> None:
    """KMS-5."""
    context = Walk().whole()
    assert context.identifier.endswith(f"=@{BSF}")


def test_usim_that_is_ahead_resynchronises_the_network() -> None:
    """RFC 3310, 3.4."""
    card = usim()
    card.seen = {0: 1000}
    walk = Walk(card=card)
    walk.whole()
    assert [answer.status for answer in walk.answers] == [401, 401, 200]
    assert "auts=" in walk.requests[1].headers["Authorization"]
    assert max(card.seen.values()) > 1000


def test_network_that_never_synchronises_is_given_up() -> None:
    walk = Walk()
    response = walk.send(walk.run.begin())
    for _ in range(2):
        walk.run.challenged(response)
        walk.run.respond(SyncFailure(bytes(14)))
    with pytest.raises(KmsError, match="bsf_refused"):
        walk.run.challenged(response)


def test_forged_auts_does_not_move_the_network() -> None:
    users = store()
    walk = Walk(bsf(users, Clock()))
    walk.run.challenged(walk.send(walk.run.begin()))
    assert walk.send(walk.run.respond(SyncFailure(bytes(14)))).status == 403
    assert int.from_bytes(users.next_sqn(IMPI), "big") >> IND_BITS == 2


def test_wrong_key_in_the_usim_stops_at_the_network_s_challenge() -> None:
    walk = Walk(card=usim(bytes(16)))
    with pytest.raises(AuthenticationFailed, match="aka_mac"):
        walk.whole()


def test_unknown_user_is_refused() -> None:
    walk = Walk(bsf(store(), Clock()))
    walk.run = Bootstrapping("nobody@example.com", BSF, random.Random(3).randbytes)
    with pytest.raises(KmsError, match="bsf_refused"):
        walk.whole()


def test_challenge_is_good_for_one_answer() -> None:
    walk = Walk()
    walk.whole()
    assert walk.send(walk.requests[-1]).status == 401


def answered() -> tuple[Walk, HttpResponse]:
    walk = Walk()
    outcome = walk.challenge_answered(walk.send(walk.run.begin()))
    return walk, walk.send(walk.run.respond(outcome))


def test_changed_identifier_is_noticed() -> None:
    """The body is covered by rspauth."""
    walk, response = answered()
    with pytest.raises(AuthenticationFailed, match="aka_server"):
        walk.run.finish(replace(response, body=response.body.replace(b"bsf.", b"bsg.")), NOW)


def test_answer_without_the_server_s_proof_is_refused() -> None:
    walk, response = answered()
    with pytest.raises(AgentError):
        walk.run.finish(replace(response, headers={"content-type": BSF_TYPE}), NOW)


def test_expired_keys_are_refused() -> None:
    """KMS-6."""
    walk, response = answered()
    with pytest.raises(KmsError, match="bootstrapping_expired"):
        walk.run.finish(response, NOW + 3600)


def test_steps_out_of_order_are_refused() -> None:
    walk = Walk()
    with pytest.raises(UnexpectedMessage):
        walk.run.respond(SyncFailure(bytes(14)))
    with pytest.raises(UnexpectedMessage):
        walk.run.finish(HttpResponse(200), NOW)


def test_keys_of_the_usim_are_wiped_at_the_end() -> None:
    walk = Walk()
    outcome = walk.challenge_answered(walk.send(walk.run.begin()))
    assert isinstance(outcome, AkaKeys)
    walk.run.respond(outcome)
    walk.run.close()
    assert [len(key) for key in (outcome.res, outcome.ck, outcome.ik)] == [0, 0, 0]


def test_information_of_the_bsf_reads_back() -> None:
    body = build_info("abc=@bsf.example.com", NOW)
    assert parse_info(HttpResponse(200, {"content-type": BSF_TYPE}, body)) == ("abc=@bsf.example.com", NOW)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<BootstrappingInfo/>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><BootstrappingInfo xmlns="uri:3gpp-gba"><btid>&b;</btid></BootstrappingInfo>',
        build_info("a", NOW).replace(b"2023-11-14", b"2023-99-14"),
        build_info("", NOW),
        build_info("a" * 5000, NOW),
    ],
)
def test_information_that_is_none_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessage, match="bsf_info"):
        parse_info(HttpResponse(200, {"content-type": BSF_TYPE}, body))


def test_bsf_of_an_identity_made_from_an_imsi() -> None:
    """KMS-8."""
    assert default_bsf(IMPI) == "bsf.mnc015.mcc234.pub.3gppnetwork.org"
    assert default_bsf("user@ims.example.com") is None
