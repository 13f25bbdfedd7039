"""Configuration: every key validated, with one clear message."""

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ueagent.daemon.config import SECTIONS, Config, build_toml, parse_config, read_config
from ueagent.errors import UsageError
from ueagent.model.security import SecurityPolicy, Setting


def refused(text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse_config(tomllib.loads(text))
    assert caught.value.code == "bad_config"
    return caught.value


def test_empty_file_gives_the_defaults() -> None:
    assert parse_config({}) == Config()


def test_every_field_of_every_section_has_a_row_and_no_row_lacks_a_field() -> None:
    assert [section.name for section in SECTIONS] == [found.name for found in fields(Config)]
    for section in SECTIONS:
        assert [key.name for key in section.keys] == [found.name for found in fields(section.kind)]


def test_defaults_pass_their_own_checks() -> None:
    assert parse_config(tomllib.loads(build_toml(Config()))) == Config()


def test_printed_configuration_reads_back_as_the_same() -> None:
    config = parse_config(
        tomllib.loads(
            """
            [ipc]
            socket = "/run/x \\" y/agent.sock"
            group = "phones"
            [network]
            address = "192.0.2.7"
            address6 = "2001:db8::7"
            ports = [40000, 40999]
            [policy]
            sdes_e2ae = "required"
            suites = ["AES_CM_128_HMAC_SHA1_80"]
            sdes_lifetime_exponent = 31
            [engine]
            disabled = ["portable"]
            [log]
            format = "json"
            file = "/var/log/ueagent.log"
            """
        )
    )
    assert config.policy.sdes_e2ae is Setting.REQUIRED
    assert config.network.ports == (40000, 40999)
    assert parse_config(tomllib.loads(build_toml(config))) == config


def test_every_key_of_the_printed_configuration_has_a_comment_that_says_what_is_allowed() -> None:
    printed = build_toml(Config())
    for section in SECTIONS:
        for key in section.keys:
            assert f"# {key.doc}\n# allowed: {key.check.allowed}\n" in printed


@pytest.mark.parametrize(
    ("text", "field", "hint"),
    [
        ('[policy]\nsdes_e2a = "off"', "policy.sdes_e2a", "did you mean policy.sdes_e2ae?"),
        ("[netwrok]", "netwrok", "did you mean network?"),
        ("[colour]", "colour", "there are: ipc, network"),
        ("ipc = 5", "ipc", "write [ipc]"),
        ('[policy]\nsdes_e2ae = "maybe"', "policy.sdes_e2ae", '"off", "allowed", "preferred", "required"'),
        ("[policy]\nsuites = []", "policy.suites", "not empty"),
        ('[policy]\nsuites = ["NULL_HMAC_SHA1_80"]', "policy.suites", "AEAD_AES_128_GCM"),
        ('[policy]\nsuites = ["F8_128_HMAC_SHA1_80"]', "policy.suites", "AEAD_AES_128_GCM"),
        ('[policy]\nsuites = ["AEAD_AES_128_GCM", "AEAD_AES_128_GCM"]', "policy.suites", "different"),
        ("[policy]\naudio_window = 63", "policy.audio_window", "from 64 to 1024"),
        ("[policy]\nsdes_mki = 1", "policy.sdes_mki", "true or false"),
        ("[ipc]\nmax_clients = true", "ipc.max_clients", "whole number"),
        ("[ipc]\nmax_message = 10", "ipc.max_message", "from 4096"),
        ('[ipc]\nsocket = "agent.sock"', "ipc.socket", "absolute path"),
        ('[network]\naddress = "::1"', "network.address", "IPv4"),
        ('[network]\naddress = "phone.example"', "network.address", "IPv4"),
        ('[network]\naddress = "0.0.0.0"', "network.address", "IPv4"),
        ('[network]\naddress6 = "ff02::1"', "network.address6", "IPv6"),
        ("[network]\nports = [50000, 40000]", "network.ports", "low < high"),
        ("[network]\nports = [80, 90]", "network.ports", "low < high"),
        ('[log]\nlevel = "loud"', "log.level", '"debug"'),
        ("[relay]\nmax_legs = 0", "relay.max_legs", "from 1"),
        ("[relay]\nmax_legs = 1.5", "relay.max_legs", "from 1"),
    ],
)
def test_what_does_not_fit_is_named_with_what_is_allowed(text: str, field: str, hint: str) -> None:
    error = refused(text)
    assert error.field == field
    assert hint in error.detail
    assert "\n" not in error.detail


def test_lab_switches_have_no_key() -> None:
    """POL-10: what is below the floor cannot be switched on from here."""
    names = " ".join(key.name for section in SECTIONS for key in section.keys)
    assert not any(word in names for word in ("lab", "null", "unencrypted", "unauthenticated", "insecure"))


def test_every_field_of_the_policy_can_be_configured() -> None:
    """POL-1"""
    section = next(section for section in SECTIONS if section.kind is SecurityPolicy)
    assert {key.name for key in section.keys} == {found.name for found in fields(SecurityPolicy)}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([(s.name, key.name) for s in SECTIONS for key in s.keys]), _VALUES)
def test_any_value_is_taken_or_refused_by_name(where: tuple[str, str], value: object) -> None:
    section, key = where
    found = None
    try:
        parse_config({section: {key: value}})
    except UsageError as error:
        found = error.field
    assert found in (None, f"{section}.{key}")


def test_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('[log]\nlevel = "debug"\n')
    assert read_config(file).log.level == "debug"


@pytest.mark.parametrize("octets", [b"[log", b"\xff\xfe", b"a = [" + b"[" * 100_000, b"#" * 300_000])
def test_file_that_is_no_toml_is_one_error(tmp_path: Path, octets: bytes) -> None:
    file = tmp_path / "agent.toml"
    file.write_bytes(octets)
    with pytest.raises(UsageError) as caught:
        read_config(file)
    assert caught.value.code == "bad_config"


def test_missing_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_config(tmp_path / "none.toml")
