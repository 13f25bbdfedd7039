"""The documents say what is: every name in them exists, and what must be named is named."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from ueagent.cli.commands import COMMANDS
from ueagent.daemon.config import SECTIONS, Config, parse_config
from ueagent.ipc import api

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
PACKAGE_FOLDERS = ("ueagent", "native", "hw", "firmware_bindings", "bench")
TOP = (*PACKAGE_FOLDERS, "docs", "tests")


def text_of(page: str) -> str:
    return (DOCS / page).read_text("utf-8")


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, content) of the code blocks."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)


def prose(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def code_words(page: str) -> set[str]:
    """What stands between backquotes in the prose, and what the tree of the architecture lists."""
    return set(re.findall(r"`([^`\n]+)`", prose(page)))


# ------------------------------------------------------------------------------------------------------- all pages --


def test_there_are_three_pages() -> None:
    assert [page.name for page in PAGES] == ["architecture.md", "dialer.md", "security.md"]


@pytest.mark.parametrize("page", [page.name for page in PAGES])
def test_every_path_in_a_page_exists(page: str) -> None:
    text = text_of(page)
    found = re.findall(rf"(?<![\w/.-])((?:{'|'.join(TOP)})/[\w/.*-]*\w(?:\.\w+)?/?)", text)
    assert found
    for path in {*found, *re.findall(r"\.\./([\w/.]+\.md)", text)}:
        assert list(ROOT.glob(path.rstrip("/"))), f"{page} names {path}"


@pytest.mark.parametrize("page", [page.name for page in PAGES])
def test_every_configuration_key_in_a_page_exists(page: str) -> None:
    known = {f"{section.name}.{key.name}" for section in SECTIONS for key in section.keys}
    sections = "|".join(section.name for section in SECTIONS)
    named = {word for word in code_words(page) if re.fullmatch(rf"(?:{sections})\.\w+", word)}
    named -= {word for word in named if word.endswith((".py", ".c", ".h", ".md"))}
    assert named <= known


@pytest.mark.parametrize("page", [page.name for page in PAGES])
def test_every_command_in_a_page_exists(page: str) -> None:
    known = {command.name for command in COMMANDS}
    named = set(re.findall(r"`ueagent ([a-z]+)", prose(page)))
    assert named <= known


@pytest.mark.parametrize("page", [page.name for page in PAGES])
def test_every_method_in_a_page_exists(page: str) -> None:
    short = "|".join(interface.rpartition(".")[2] for interface in api.INTERFACES)
    known = {name.removeprefix("org.ueagent.") for name in api.METHODS}
    named = set(re.findall(rf"\b((?:{short})\.[A-Z]\w+)", text_of(page)))
    assert {name for name in named if name.rpartition(".")[2] not in api.ERRORS} <= known


@pytest.mark.parametrize("page", [page.name for page in PAGES])
def test_no_line_is_longer_than_the_code_may_be(page: str) -> None:
    long = [
        line for line in text_of(page).splitlines() if len(line) > 120 and not line.startswith(("|", "ueagent call"))
    ]
    assert long == []


# ---------------------------------------------------------------------------------------------------- architecture --


def test_architecture_names_every_package_of_the_tree() -> None:
    text = text_of("architecture.md")
    packages = [
        path.parent.relative_to(ROOT) for folder in PACKAGE_FOLDERS for path in (ROOT / folder).rglob("__init__.py")
    ]
    assert len(packages) > 10
    missing = [str(package) for package in packages if str(package) != "ueagent" and str(package) not in text]
    assert missing == []


def test_architecture_names_every_module_below_the_commands() -> None:
    """Layers 0 to 6, where a newcomer looks for the place of a thing."""
    text = text_of("architecture.md")
    folders = ("model", "wire", "ipc", "keymgmt", "negotiation", "session", "daemon")
    modules = [path for folder in folders for path in (ROOT / "ueagent" / folder).glob("*.py")]
    missing = [path.name for path in modules if path.name != "__init__.py" and path.name not in text]
    assert missing == []


def test_layers_in_the_table_are_those_that_are_enforced() -> None:
    tree = ast.parse((ROOT / "tests" / "test_layering.py").read_text())
    (layers,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "LAYERS"
    ]
    written = {}
    for number, packages in re.findall(r"^\| (\d) \| ([^|]+) \|", text_of("architecture.md"), re.MULTILINE):
        for package in re.findall(r"`([^`]+)`", packages):
            written[package.removesuffix(".py").replace("/", ".")] = int(number)
    assert written == {name: level for name, level in layers.items() if name != "ueagent.__main__"}


def test_error_tree_is_the_one_of_the_code() -> None:
    (tree,) = [content for _, content in blocks("architecture.md") if content.startswith("AgentError")]
    named = re.findall(r"^ *(\w+)", tree, re.MULTILINE)
    code = ast.parse((ROOT / "ueagent" / "errors.py").read_text())
    assert named == [node.name for node in code.body if isinstance(node, ast.ClassDef)]


def test_classes_in_the_text_exist() -> None:
    source = "".join(path.read_text() for path in (ROOT / "ueagent").rglob("*.py"))
    source += (ROOT / "native" / "ueagent_native" / "values.py").read_text()
    named = {word for word in code_words("architecture.md") if re.fullmatch(r"(?:[A-Z][a-z]+){2,}", word)}
    assert len(named) > 15
    assert sorted(word for word in named if not re.search(rf"^class {word}\b", source, re.MULTILINE)) == []


def test_tables_in_the_text_exist() -> None:
    source = "".join(path.read_text() for path in (ROOT / "ueagent").rglob("*.py"))
    source += (ROOT / "native" / "src" / "engine.c").read_text()
    named = set(re.findall(r"\b[A-Z]{4,}\b(?=:| table|`| \()", text_of("architecture.md"))) - {"SDES", "DTLS", "SRTP"}
    assert {"SUITES", "METHODS", "SECTIONS", "COMMANDS"} <= named
    assert sorted(word for word in named if not re.search(rf"\b{word}\b", source)) == []


# ---------------------------------------------------------------------------------------------------------- dialer --


def test_dialer_page_covers_every_method_error_and_event() -> None:
    words = code_words("dialer.md")
    for name in api.METHODS:
        assert name.removeprefix("org.ueagent.") in words, name
    for name in (*api.ERRORS, *get_args(api.EventKind)):
        assert name in words, name


def values_of(text: str) -> Iterator[dict[str, Any]]:
    """JSON objects one after the other."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        value, at = decoder.raw_decode(text, at)
        at += len(text[at:]) - len(text[at:].lstrip())
        yield value


def test_every_example_call_and_reply_fits_the_interface() -> None:
    """A json block is a call and its reply, or its replies."""
    shown = set()
    for language, content in blocks("dialer.md"):
        if language == "json":
            call, *replies = values_of(content)
            shown.add(call["method"])
            msgspec.convert(call["parameters"], api.METHODS[call["method"]].request)
            assert replies, call["method"]
            for reply in replies:
                check_reply(reply, call["method"])
    assert shown == set(api.METHODS)


def test_configuration_examples_are_read() -> None:
    examples = [content for language, content in blocks("dialer.md") if language == "toml"]
    assert examples
    for example in examples:
        parse_config(tomllib.loads(example))


def test_every_error_code_in_the_table_is_one_of_the_code() -> None:
    table = text_of("dialer.md").split("| `code` | When |\n|---|---|\n")[1].split("\n\n")[0]
    codes = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    source = "".join(path.read_text() for path in (ROOT / "ueagent").rglob("*.py"))
    assert len(codes) > 10
    assert [code for code in codes if f'"{code}"' not in source] == []


def test_limits_in_the_page_are_the_defaults() -> None:
    limits = {"ipc.max_message": "256 KiB", "ipc.max_clients_per_user": "64", "ipc.max_sessions_per_user": "128"}
    limits |= {"ipc.max_bindings_per_user": "16", "relay.max_legs": "256", "relay.max_ssrc": "8"}
    limits |= {"ipc.event_queue": "256"}
    config = Config()
    for name, shown in limits.items():
        section, _, key = name.partition(".")
        value = getattr(getattr(config, section), key)
        assert shown == (f"{value // 1024} KiB" if key == "max_message" else str(value))
        assert f"`{name}`" in text_of("dialer.md")
        assert re.search(rf"\b{shown}\b", text_of("dialer.md"))


def check_reply(reply: dict[str, Any], method: str) -> None:
    parameters = reply["parameters"]
    if "error" in reply:
        interface, _, name = reply["error"].rpartition(".")
        assert interface == method.rpartition(".")[0]
        assert name in api.ERRORS
        given: Any = msgspec.convert(parameters, api.ErrorParameters)
    else:
        given = msgspec.convert(parameters, api.METHODS[method].reply)
    assert covers(msgspec.to_builtins(given), parameters), method


def covers(known: Any, given: Any) -> bool:
    """Whether everything in `given` is something that the interface has (unknown reply members pass msgspec)."""
    if isinstance(given, dict):
        return all(key in known and covers(known[key], value) for key, value in given.items())
    if isinstance(given, list):
        return len(known) == len(given) and all(map(covers, known, given))
    return bool(known == given)


def test_a_member_that_the_interface_lacks_is_found() -> None:
    with pytest.raises(AssertionError):
        check_reply({"parameters": {"mechanisms": [], "setting": "off", "more": 1}}, "org.ueagent.Message.Describe")


def test_every_code_block_is_code_that_the_tests_run() -> None:
    """Verbatim from docs/dialer; test_dialers.py runs those files."""
    sources = {"python": "*.py", "c": "*.c", "sh": "*.sh"}
    found = [(language, content) for language, content in blocks("dialer.md") if language in sources]
    assert {language for language, _ in found} == set(sources)
    for language, content in found:
        files = [path.read_text("utf-8") for path in (DOCS / "dialer").glob(sources[language])]
        assert any(content in text for text in files), content


def test_no_other_kind_of_block_stands_in_the_dialer_page() -> None:
    assert {language for language, _ in blocks("dialer.md")} <= {"python", "c", "sh", "json", "toml", "text"}


# -------------------------------------------------------------------------------------------------------- security --


def test_protections_that_the_security_page_names_are_those_that_describe_reports() -> None:
    for word in ("locked", "dontdump", "wipeonfork", "non_dumpable", "no_core_file"):
        assert word in code_words("security.md")


def test_every_requirement_of_policy_and_secrecy_is_on_the_security_page() -> None:
    for requirement in ("POL-3", "POL-8", "POL-10", "SDES-21"):
        assert requirement in text_of("security.md")
