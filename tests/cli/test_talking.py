"""`ueagent call`, `status` and `engines` with a real agent on the other end."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.local_agent import plain_sdp, socket_folder

from ueagent.cli import exits
from ueagent.cli.commands import main
from ueagent.cli.status import HEAD, table
from ueagent.client import AgentClient
from ueagent.ipc import api

PATIENCE = 30.0
PROGRAM = [sys.executable, "-m", "ueagent"]


@pytest.fixture(scope="module")
def agent() -> Iterator[str]:
    """The socket of an agent in a process of its own."""
    with socket_folder() as folder:
        path = os.fspath(folder / "agent.sock")
        process = subprocess.Popen([*PROGRAM, "run", "--socket", path], stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr
            assert "running" in process.stderr.readline()
            yield path
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


@pytest.fixture
def call_in_progress(agent: str) -> Iterator[str]:
    async def create() -> str:
        async with AgentClient.connect(agent) as client:
            await client.registration_update(binding="home", status=200, security_server=["sdes-srtp;mediasec"])
            made = await client.create_offer(
                sdp=plain_sdp(5000), signalling="confidentiality", binding="home", detached=True
            )
            return made.session

    async def release(session: str) -> None:
        async with AgentClient.connect(agent) as client:
            await client.release(session=session)

    session = asyncio.run(create())
    yield session
    asyncio.run(release(session))


def test_call_prints_the_reply_as_json(agent: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "org.ueagent.Agent.Describe", "--socket", agent]) == exits.OK
    assert json.loads(capsys.readouterr().out)["mechanisms"] == ["DTLS-SRTP", "SDES", "TLS", "DTLS"]


def test_call_takes_parameters_from_stdin(agent: str) -> None:
    parameters = json.dumps({"binding": "home"})
    done = subprocess.run(
        [*PROGRAM, "call", "org.ueagent.Registration.Offer", "-", "--socket", agent],
        input=parameters,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert json.loads(done.stdout)["headers"][0]["name"] == "Security-Client"


def test_refused_call_fails_with_the_reason_on_stderr(agent: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "org.ueagent.Session.Status", '{"session": "x"}', "--socket", agent]) == exits.FAILED
    assert "no_such_session" in capsys.readouterr().err
    assert main(["call", "org.ueagent.No.Such", "--socket", agent]) == exits.FAILED
    assert "interface_not_found" in capsys.readouterr().err


def test_call_of_a_method_with_many_replies_says_how(agent: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "org.ueagent.Agent.Subscribe", "--socket", agent]) == exits.USAGE
    assert capsys.readouterr().err.endswith("say --more\n")


def test_call_with_more_prints_a_line_for_each_reply_and_ends_cleanly_on_a_signal(agent: str) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "call", "org.ueagent.Agent.Subscribe", "--more", "--socket", agent],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        assert json.loads(process.stdout.readline()) == {}
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (exits.OK, "")
    finally:
        process.kill()


def test_status_prints_one_table_when_stdout_is_no_terminal(
    agent: str, call_in_progress: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--socket", agent]) == exits.OK
    head, _, row = capsys.readouterr().out.splitlines()
    assert tuple(head.split()) == HEAD
    assert call_in_progress in row
    assert "home" in row


def test_status_as_json_is_the_reply_of_the_agent(
    agent: str, call_in_progress: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--json", "--socket", agent]) == exits.OK
    (session,) = json.loads(capsys.readouterr().out)["sessions"]
    assert session["session"] == call_in_progress
    assert session["counters"][0]["packets_sent"] == 0


def test_status_without_calls_says_so(agent: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--once", "--socket", agent]) == exits.OK
    assert capsys.readouterr().out == "no calls\n"


def test_live_status_redraws_until_a_signal_ends_it(agent: str) -> None:
    primary, secondary = os.openpty()
    try:
        process = subprocess.Popen(
            [*PROGRAM, "status", "--interval", "0.1", "--socket", agent], stdout=secondary, stderr=subprocess.PIPE
        )
        os.close(secondary)
        seen = b""
        while seen.count(b"\x1b[H\x1b[J") < 3:
            seen += os.read(primary, 4096)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (exits.OK, b"")
    finally:
        os.close(primary)


def test_agent_that_goes_away_ends_a_subscription_with_its_own_status(tmp_path: Path) -> None:
    with socket_folder() as folder:
        path = os.fspath(folder / "agent.sock")
        running = subprocess.Popen([*PROGRAM, "run", "--socket", path], stderr=subprocess.PIPE, text=True)
        assert running.stderr
        running.stderr.readline()
        follower = subprocess.Popen(
            [*PROGRAM, "call", "org.ueagent.Agent.Subscribe", "--more", "--socket", path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert follower.stdout
        follower.stdout.readline()
        running.kill()
        running.communicate(timeout=PATIENCE)
        _, err = follower.communicate(timeout=PATIENCE)
        assert follower.returncode == exits.NO_AGENT
        assert "closed the connection" in err


def test_output_that_nobody_reads_is_no_traceback(agent: str) -> None:
    command = f"{' '.join(PROGRAM)} call org.ueagent.Agent.Describe --socket {agent} | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
def test_output_that_cannot_be_written_is_a_failure(agent: str) -> None:
    command = f"{' '.join(PROGRAM)} call org.ueagent.Agent.Describe --socket {agent} > /dev/full"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == exits.FAILED
    assert done.stderr == "ueagent: cannot write the output: No space left on device\n"


# ------------------------------------------------------------------------------------------------------- rendering --


def line(**members: object) -> api.LineState:
    given = {
        "line": 0,
        "medium": "audio",
        "mechanism": "SDES",
        "keyed_by": "SDES",
        "scope": "e2ae",
        "suite": "AEAD_AES_128_GCM",
        "assured": True,
        "peer": "access-edge",
        "identity_basis": "none",
        "keys_in_place": True,
        **members,
    }
    return api.LineState(**given)  # type: ignore[arg-type]


def session(*lines: api.LineState, counters: list[api.LineCounters] | None = None) -> api.SessionState:
    return api.SessionState(
        session="s1",
        role="offerer",
        state="established",
        emergency=False,
        detached=False,
        age_ms=5,
        binding="home",
        lines=list(lines),
        counters=counters or [],
    )


def cells(text: str) -> str:
    return " ".join(text.splitlines()[2].split())


def test_row_tells_who_mechanism_scope_suite_assurance_packets_and_failures() -> None:
    counters = api.LineCounters(
        line=0, engine="aesni", packets_sent=5, packets_received=7, auth_failures=1, replays=2, too_old=3, wrong_mki=4
    )
    printed = table([session(line(identity="sip:bob@example.org"), counters=[counters])])
    assert cells(printed) == ("s1 sip:bob@example.org 0 audio SDES e2ae AEAD_AES_128_GCM yes secured 5 7 10 aesni")


def test_line_without_protection_says_why() -> None:
    plain = line(mechanism="none", scope="none", suite=None, assured=False, keys_in_place=False, reason="off")
    assert cells(table([session(plain)])) == "s1 home 0 audio none none - no off - - - -"


def test_session_without_lines_has_a_row() -> None:
    assert cells(table([session()])).startswith("s1 home ")


def test_identity_of_the_network_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in table([session(line(identity="\x1b[2Jx"))])


# --------------------------------------------------------------------------------------------------------- engines --


def test_engines_tells_presence_self_test_and_choice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", "--self-test"]) == exits.OK
    printed = capsys.readouterr().out
    assert re.search(r"^portable +yes +passed", printed, re.MULTILINE)
    assert re.search(r"^AEAD_AES_128_GCM +\w+ +\w+ is the fastest one usable", printed, re.MULTILINE)


def test_engines_as_json_names_machine_engines_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", "--json"]) == exits.OK
    found = json.loads(capsys.readouterr().out)
    assert {"machine", "cpu_features", "engines", "choices"} <= set(found)
    assert {choice["suite"] for choice in found["choices"]} >= {"AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80"}
    assert not [choice for choice in found["choices"] if choice["suite"].startswith("NULL")]


def test_engines_chooses_as_the_configuration_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c").write_text('[engine]\norder = ["portable"]\n')
    assert main(["engines", "--json", "--config", os.fspath(tmp_path / "c")]) == exits.OK
    assert {choice["engine"] for choice in json.loads(capsys.readouterr().out)["choices"]} == {"portable"}


def test_engines_with_a_wrong_configuration_has_its_own_status(tmp_path: Path) -> None:
    (tmp_path / "c").write_text('[engine]\norder = ["abacus"]\n')
    assert main(["engines", "--config", os.fspath(tmp_path / "c")]) == exits.CONFIG


def test_engine_that_fails_its_self_test_is_not_chosen_and_fails_the_command() -> None:
    script = (
        "import sys; from ueagent_native._core import ffi, lib\n"
        "kept = ffi.new('char[]', b'FIPS-197 C.1 AES-128'); lib.ums_engine_corrupt_test(kept)\n"
        "from ueagent.cli.commands import main; sys.exit(main(['engines', '--self-test']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == exits.FAILED
    assert re.search(r"^portable +yes +failed: FIPS-197 C.1 AES-128", done.stdout, re.MULTILINE)
    assert re.search(r"^AEAD_AES_128_GCM +- +no engine: .*failed its self-test", done.stdout, re.MULTILINE)
