"""The softphones of docs/dialer against a real agent and the lab edge: real speech, bit for bit.

The far end of a call echoes, so what comes back has crossed the access network twice as SRTP, once each way, and was
opened by libsrtp in between.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.local_agent import running_agent

from ueagent.errors import NegotiationFailed
from ueagent.lab.edge import Edge, EdgeConfig
from ueagent.lab.edge_service import EdgeService
from ueagent.lab.faults import Mode
from ueagent.lab.g711 import PCMU
from ueagent.lab.wave import shipped_speech

FOLDER = Path(__file__).parents[2] / "docs" / "dialer"
PACKETS = 25  # half a second
SPEECH = shipped_speech().samples[8000 : 8000 + 160 * PACKETS]
SPOKEN = PCMU.encode(SPEECH)
NO_LEAKS = "detect_leaks=0"  # dialer.c leaves what it holds to the system when it gives up
PATIENCE = 60  # seconds for a call of two, on a busy machine


@asynccontextmanager
async def network(
    folder: Path, edge: EdgeConfig | None = None, log: io.StringIO | None = None, **sections: Any
) -> AsyncIterator[tuple[Path, Path]]:
    """An agent and a lab edge whose far ends speak SPEECH: their sockets."""
    async with running_agent(log, **sections) as agent:
        path = agent.path.with_name("edge.sock")
        async with EdgeService(Edge(edge or EdgeConfig()), path, SPEECH):
            yield agent.path, path


async def program(*command: str | Path, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(env or {})}
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.fixture(scope="module")
def c_dialer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dialer.c, compiled as its head says, with all warnings as errors and with sanitizers."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler is not None, "a C compiler is part of what building this project needs"
    out = tmp_path_factory.mktemp("dialer") / "dialer"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-g"]
    if "libasan" not in os.environ.get("LD_PRELOAD", ""):
        flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    done = subprocess.run([compiler, *flags, "-o", out, FOLDER / "dialer.c"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(params=["python", "c"])
def command(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "c":
        return [str(request.getfixturevalue("c_dialer"))]
    # -I -S: nothing but the standard library can be imported.
    return [sys.executable, "-I", "-S", str(FOLDER / "dialer.py")]


def one_call(
    command: list[str], folder: Path, mode: str, edge: EdgeConfig | None = None, **sections: Any
) -> tuple[dict[str, Any], bytes]:
    """A whole run of a dialer: what the agent knew of the call at its end, and the recording."""
    play, record = folder / "play.ul", folder / "record.ul"
    play.write_bytes(SPOKEN)

    async def run() -> tuple[int, str, str]:
        async with network(folder, edge, **sections) as (agent, lab):
            return await program(*command, agent, lab, mode, play, record)

    status, out, err = asyncio.run(run())
    assert status == 0, err
    state: dict[str, Any] = json.loads(out)
    return state, record.read_bytes()


def test_dialer_calls_and_hears_its_own_speech_bit_for_bit(command: list[str], tmp_path: Path) -> None:
    """SDES-13: from a first sequence number below 2^15; REG, SDP and SDES from end to end."""
    state, recording = one_call(command, tmp_path, "call")
    assert recording == SPOKEN
    (line,), (counters,) = state["lines"], state["counters"]
    assert (line["mechanism"], line["scope"], line["assured"], line["keys_in_place"]) == ("SDES", "e2ae", True, True)
    assert (state["role"], state["state"]) == ("offerer", "established")
    assert (counters["packets_sent"], counters["packets_received"]) == (PACKETS, PACKETS)
    assert counters["rtcp_sent"] == 1
    assert (counters["plain_sent"], counters["auth_failures"], counters["repeated_index"]) == (0, 0, 0)


def test_dialer_is_called_and_records_the_far_ends_speech_bit_for_bit(command: list[str], tmp_path: Path) -> None:
    state, recording = one_call(command, tmp_path, "answer")
    assert recording == SPOKEN
    (line,), (counters,) = state["lines"], state["counters"]
    assert (line["mechanism"], line["scope"], line["assured"]) == ("SDES", "e2ae", True)
    assert state["role"] == "answerer"
    assert (counters["packets_sent"], counters["packets_received"]) == (PACKETS, PACKETS)


def test_dialer_follows_a_strict_network(command: list[str], tmp_path: Path) -> None:
    """REG-14, REG-16: every header value of the agent reaches the network, in REGISTER and in INVITE."""
    edge = EdgeConfig(mode=Mode.STRICT)
    state, recording = one_call(command, tmp_path, "call", edge, registration={"strict": True})
    assert recording == SPOKEN
    assert state["lines"][0]["scope"] == "e2ae"


def test_dialer_falls_back_where_policy_lets_it(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """POL-6: 488 to the secured offer, then a plain one; the report says so."""
    offers: list[bytes] = []
    take = Edge.offer_from_ue

    async def refuse_the_first(edge: Edge, binding: str, offer: bytes, **more: Any) -> tuple[str, bytes]:
        offers.append(offer)
        if len(offers) == 1:
            raise NegotiationFailed("not_acceptable", "refused for the test", sip_status_hint=488)
        return await take(edge, binding, offer, **more)

    monkeypatch.setattr(Edge, "offer_from_ue", refuse_the_first)
    state, recording = one_call(command, tmp_path, "call")
    assert recording == SPOKEN
    assert [b"RTP/SAVP" in offer for offer in offers] == [True, False]
    (line,) = state["lines"]
    assert (line["mechanism"], line["reason"]) == ("none", "refused")
    assert state["counters"][0]["plain_sent"] >= PACKETS


def test_dialer_does_not_fall_back_where_policy_forbids_it(command: list[str], tmp_path: Path) -> None:
    """POL-4: without an agreement and with `required`, nothing is sent."""
    play = tmp_path / "play.ul"
    play.write_bytes(SPOKEN)

    async def run() -> tuple[int, str, str]:
        edge = EdgeConfig(mode=Mode.NONE)
        async with network(tmp_path, edge, policy={"sdes_e2ae": "required"}) as (agent, lab):
            return await program(*command, agent, lab, "call", play, tmp_path / "r", env={"ASAN_OPTIONS": NO_LEAKS})

    status, out, err = asyncio.run(run())
    assert (status, out) == (1, "")
    assert "must be secured" in err


def test_dialer_without_an_agent_says_so(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*command, tmp_path / "a", tmp_path / "b", "call", tmp_path / "p", tmp_path / "r"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("dialer: ")


def test_dialer_explains_its_arguments(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert "AGENT_SOCKET EDGE_SOCKET call|answer PLAY RECORD" in done.stderr


# ------------------------------------------------------------------------------------------- dialer.py from inside --


@pytest.fixture
def dialer_py() -> ModuleType:
    spec = importlib.util.spec_from_file_location("documented_dialer", FOLDER / "dialer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its annotations are looked up there
    spec.loader.exec_module(module)
    return module


def with_dialer(module: ModuleType, folder: Path, work: Callable[[Any, Path], None], **sections: Any) -> None:
    """`work(dialer, agent_socket)` in a thread of its own, since this dialer waits where it stands."""

    def whole(agent: Path, lab: Path) -> None:
        dialer = module.Dialer(module.Varlink(str(agent)), module.Varlink(str(lab)))
        try:
            work(dialer, agent)
        finally:
            dialer.agent.close()
            dialer.network.close()
            dialer.phone.close()

    async def run() -> None:
        async with network(folder, **sections) as (agent, lab):
            await asyncio.wait_for(asyncio.to_thread(whole, agent, lab), PATIENCE)

    asyncio.run(run())


def test_rekey_in_a_call_changes_the_key_and_loses_nothing(dialer_py: ModuleType, tmp_path: Path) -> None:
    """DYN-10, SDES-17: two halves of one speech under two keys."""

    def work(dialer: Any, agent: Path) -> None:
        dialer.register()
        dialer.place_call()
        events = dialer.listen_to_events(str(agent))
        dialer.talk(SPOKEN[:1600], events)
        dialer.rekey()
        age = dialer.status()["counters"][0]["key_age_ms"]
        dialer.talk(SPOKEN[1600:], events)
        state = dialer.status()
        dialer.hang_up()
        events.close()
        assert dialer.phone.recording() == SPOKEN
        assert age < 1000
        assert state["counters"][0]["packets_received"] == PACKETS
        assert state["counters"][0]["auth_failures"] == 0

    with_dialer(dialer_py, tmp_path, work)


def test_dialer_rekeys_when_the_agent_wants_it(
    dialer_py: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SDES-19: a key of 2^10 packets is replaced before it is used up."""

    def work(dialer: Any, agent: Path) -> None:
        monkeypatch.setattr(dialer_py, "PACKET_SECONDS", 0.001)
        dialer.register()
        dialer.place_call()
        events = dialer.listen_to_events(str(agent))
        dialer.talk(SPOKEN * 44, events)  # 1100 packets
        counters = dialer.status()["counters"][0]
        assert counters["packets_sent"] == 44 * PACKETS
        assert dialer.phone.version == 2
        dialer.hang_up()
        events.close()

    with_dialer(dialer_py, tmp_path, work, policy={"sdes_lifetime_exponent": 10})
    assert "rekey_wanted: soft_limit" in capsys.readouterr().err


def test_other_media_lines_of_an_offer_are_refused(dialer_py: ModuleType) -> None:
    phone = dialer_py.Phone()
    offer = "v=0\r\nm=video 4000 RTP/AVP 96 97\r\nm=audio 4002 RTP/AVP 0 8\r\nm=audio 4004 RTP/AVP 0\r\n"
    lines = [line for line in phone.answer(offer).splitlines() if line.startswith("m=")]
    port = phone.rtp.getsockname()[1]
    assert lines == ["m=video 0 RTP/AVP 96 97", f"m=audio {port} RTP/AVP 0", "m=audio 0 RTP/AVP 0"]
    phone.close()


def test_recording_is_in_order_across_the_wrap_of_sequence_numbers(dialer_py: ModuleType) -> None:
    phone = dialer_py.Phone()
    phone.heard = [(0xFFFF, b"b"), (0xFFFE, b"a"), (1, b"d"), (0, b"c")]
    assert phone.recording() == b"abcd"
    phone.close()


def test_end_of_the_session_is_told_as_such(dialer_py: ModuleType, tmp_path: Path) -> None:
    def work(dialer: Any, agent: Path) -> None:
        dialer.register()
        dialer.place_call()
        events = dialer.listen_to_events(str(agent))
        dialer.agent.call("org.ueagent.Session.Release", session=dialer.session)
        with pytest.raises(ConnectionError, match="ended this call"):
            dialer.talk(SPOKEN, events)
        with pytest.raises(dialer_py.Refused, match="no session of that name") as refused:
            dialer.status()
        assert (refused.value.error, refused.value.code) == ("UsageError", "no_such_session")
        events.close()

    with_dialer(dialer_py, tmp_path, work)


# ------------------------------------------------------------------------------------------------ other ways to talk --


def run_beside_an_agent(work: Callable[[Path], Awaitable[None]], folder: Path) -> None:
    async def run() -> None:
        async with network(folder) as (agent, _):
            await work(agent)

    asyncio.run(run())


def test_foreign_library_describes_the_agent(tmp_path: Path) -> None:
    async def work(agent: Path) -> None:
        status, out, err = await program(sys.executable, FOLDER / "foreign.py", agent)
        assert status == 0, err
        assert "AEAD_AES_128_GCM" in out.split()

    run_beside_an_agent(work, tmp_path)


def test_every_line_of_the_shell_examples_works(tmp_path: Path) -> None:
    """With the default socket, as a user's terminal has it."""
    lines = [line for line in (FOLDER / "look.sh").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) >= 4

    async def work(agent: Path) -> None:
        (agent.parent / "ueagent").mkdir()
        (agent.parent / "ueagent" / "agent.sock").symlink_to(agent)
        tools = tmp_path / "bin"
        tools.mkdir()
        (tools / "ueagent").write_text(f'#!/bin/sh\nexec {sys.executable} -P -m ueagent "$@"\n')
        (tools / "ueagent").chmod(0o755)
        env = {"PATH": f"{tools}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(agent.parent)}
        for line in lines:
            if os.geteuid() == 0:  # root's default socket is the system's
                line = line.replace("ueagent call", f"ueagent call --socket {agent}")
                line = line.replace("ueagent status", f"ueagent status --socket {agent}")
            status, out, err = await program("sh", "-c", line, env=env)
            assert status == 0, (line, err)
            assert out, line

    run_beside_an_agent(work, tmp_path)


def test_speech_of_these_tests_is_no_silence() -> None:
    assert len(set(SPOKEN)) > 50
    assert max(array("h", SPEECH)) > 1000
