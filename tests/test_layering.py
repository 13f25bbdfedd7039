"""Who may import whom (docs/architecture.md, Layers), read from the import statements of the whole tree.

`import_rules_broken` is the rule book; the first test applies it to the tree, the others show that each rule bites.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "ueagent": ROOT / "ueagent",
    "ueagent_native": ROOT / "native" / "ueagent_native",
    "ueagent_hw": ROOT / "hw" / "ueagent_hw",
    "ueagent_firmware": ROOT / "firmware_bindings" / "ueagent_firmware",
    "ueagent_bench": ROOT / "bench" / "ueagent_bench",
}

# A part imports from lower layers and from itself; parts of one layer do not know each other.
LAYERS = {
    "ueagent.errors": 0,
    "ueagent.model": 0,
    "ueagent.wire": 1,
    "ueagent.crypto": 1,
    "ueagent.ipc": 1,
    "ueagent.channel": 2,
    "ueagent.keymgmt": 3,
    "ueagent.negotiation": 4,
    "ueagent.session": 5,
    "ueagent.daemon": 6,
    "ueagent.client": 6,
    "ueagent.lab": 7,
    "ueagent.cli": 8,
    "ueagent.__main__": 9,
}
BOTTOM = 0  # values and errors may name each other
LAST_PURE = 5

# What only these parts may import; a part covers its submodules.
ONLY_IN = {
    "ueagent_native": ("ueagent.daemon", "ueagent_hw", "ueagent_native", "ueagent_bench"),
    "ueagent_hw": ("ueagent.daemon", "ueagent_hw", "ueagent_bench", "ueagent.cli.accel", "ueagent.lab.demo"),
    "ueagent_firmware": ("ueagent_hw", "ueagent_firmware", "ueagent.cli.inspect", "ueagent.cli.accel"),
    "ueagent_bench": ("ueagent.cli.bench", "ueagent_bench"),
    "ueagent.lab": ("ueagent.lab", "ueagent.cli.lab", "ueagent.cli.demo"),
    "OpenSSL": ("ueagent.channel", "ueagent.lab", "ueagent_bench.scenarios.dtls_handshakes"),
    "aiortc": ("ueagent_bench.scenarios.dtls_handshakes",),
    "cryptography": (
        "ueagent.crypto",
        "ueagent.channel",
        "ueagent.lab",
        "ueagent_bench",
        "ueagent_firmware",
    ),
    "pylibsrtp": ("ueagent.lab", "ueagent_bench"),
    "serial": ("ueagent_hw", "ueagent.daemon.credentials.modem"),
    "h11": ("ueagent.daemon.http_client", "ueagent.lab"),
    "sqlite3": ("ueagent.lab",),
    "structlog": ("ueagent.daemon.logs",),
    "msgspec": ("ueagent.ipc", "ueagent.daemon", "ueagent.client", "ueagent.cli", "ueagent.lab"),
    "asn1crypto": ("ueagent.wire.cms",),
    "cffi": ("ueagent_native",),
    "_cffi_backend": ("ueagent_native",),
    "numpy": ("ueagent_native", "ueagent_bench"),
    "matplotlib": ("ueagent_bench",),
    "asyncio": (
        "ueagent.daemon",
        "ueagent.client",
        "ueagent.lab",
        "ueagent.cli",
        "ueagent_bench.scenarios.dtls_handshakes",
        "ueagent_bench.scenarios.kms_session",
        "ueagent_bench.scenarios.mikey_ticket",
        "ueagent_bench.scenarios.tls_relay",
    ),
    "asyncvarlink": (),
    "pytest": (),
}

# Protocol cores take the time as `now` and randomness as `rng`, and leave input and output to the layers above.
IMPURE = ("socket", "socketserver", "select", "selectors", "asyncio", "ssl", "http", "urllib.request", "subprocess")
IMPURE += ("threading", "multiprocessing", "signal", "time", "random", "secrets", "uuid")
IMPURE_NAMES = ("os.urandom", "os.getrandom", "os.environ", "os.getenv")

# The parts outside the layers know nothing of the agent.
SELF_CONTAINED = {
    "ueagent_native": ("ueagent_native",),
    "ueagent_firmware": ("ueagent_firmware",),
    "ueagent_hw": ("ueagent_hw", "ueagent_native", "ueagent_firmware"),
}


def covers(part: str, module: str) -> bool:
    return module == part or module.startswith(part + ".")


def part_of(module: str) -> str | None:
    return next((part for part in LAYERS if covers(part, module)), None)


def imports_of(module: str, tree: ast.AST, *, is_package: bool) -> Iterator[tuple[str, int]]:
    """(absolute dotted name, line) of everything imported anywhere in the file, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                own = module.split(".")
                kept = own[: len(own) - node.level + (1 if is_package else 0)]
                base = ".".join([*kept, *([base] if base else [])])
            # `from a import b` may name the module a.b or something inside a.
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def layers_in_order(module: str, name: str) -> str | None:
    part, other = part_of(module), part_of(name)
    if part is None or other is None or part == other:
        return None
    if LAYERS[other] > LAYERS[part]:
        return f"layer {LAYERS[other]} is above layer {LAYERS[part]}"
    if LAYERS[other] == LAYERS[part] != BOTTOM:
        return "parts of one layer do not import each other"
    return None


def errors_know_nobody(module: str, name: str) -> str | None:
    if module in ("ueagent", "ueagent.errors") and covers("ueagent", name):
        return "it imports nothing of the agent"
    return None


def owners_only(module: str, name: str) -> str | None:
    for only, users in ONLY_IN.items():
        if covers(only, name) and not any(covers(user, module) for user in users):
            return f"{only} belongs to {', '.join(users) or 'nobody'}"
    return None


def protocol_cores_are_pure(module: str, name: str) -> str | None:
    part = part_of(module)
    if part is None or LAYERS[part] > LAST_PURE:
        return None
    return "a protocol core is pure" if any(covers(impure, name) for impure in (*IMPURE, *IMPURE_NAMES)) else None


def outside_parts_stand_alone(module: str, name: str) -> str | None:
    for owner, known in SELF_CONTAINED.items():
        ours = name.split(".")[0] in FOLDERS
        if covers(owner, module) and ours and not any(covers(part, name) for part in known):
            return f"{owner} knows only {', '.join(known)}"
    return None


def lab_is_not_even_named(module: str, text: str) -> str | None:
    users = (*ONLY_IN["ueagent.lab"], "ueagent.cli.commands")
    if covers("ueagent.lab", text) and not any(covers(user, module) for user in users):
        return "only the lab's own commands may load it"
    return None


IMPORT_RULES = (layers_in_order, errors_know_nobody, owners_only, protocol_cores_are_pure, outside_parts_stand_alone)


def names_used(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Dotted names like os.urandom."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}", node.lineno


def strings_of(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno


def import_rules_broken(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """One sentence for each place of `module` that the rules do not allow."""
    tree = ast.parse(source)
    checks = [(rule, found) for rule in IMPORT_RULES for found in imports_of(module, tree, is_package=is_package)]
    checks += [(protocol_cores_are_pure, found) for found in names_used(tree) if found[0] in IMPURE_NAMES]
    checks += [(lab_is_not_even_named, found) for found in strings_of(tree)]
    return [f"{module}:{line}: {name}: {why}" for rule, (name, line) in checks if (why := rule(module, name))]


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = list(path.relative_to(folder).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            found[".".join([package, *parts])] = path
    return found


def test_every_import_keeps_to_the_layers() -> None:
    broken = []
    for module, path in modules().items():
        broken += import_rules_broken(module, path.read_text(), is_package=path.name == "__init__.py")
    assert not broken, "\n".join(broken)


def test_every_part_of_the_agent_has_a_layer() -> None:
    homeless = [name for name in modules() if covers("ueagent", name) and name != "ueagent" and part_of(name) is None]
    assert homeless == []


def reachable(start: str) -> set[str]:
    """Modules of ours that importing `start` can load, import statements inside functions included."""
    known = modules()
    seen: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name in seen or name not in known:
            continue
        seen.add(name)
        pieces = name.split(".")
        todo += [".".join(pieces[:count]) for count in range(1, len(pieces))]  # importing a.b.c runs a and a.b
        path = known[name]
        for found, _line in imports_of(name, ast.parse(path.read_text()), is_package=path.name == "__init__.py"):
            todo += [found, found.rpartition(".")[0]]
    return seen


def test_the_daemon_never_imports_the_lab() -> None:
    seen = reachable("ueagent.cli.run") | reachable("ueagent.cli.commands")
    assert "ueagent.daemon.agent" in seen, "the walk must reach the daemon, else it shows nothing"
    assert not [name for name in seen if covers("ueagent.lab", name)]


BITES = {
    "lower layer imports higher": ("ueagent.wire.sdp", "from ueagent.session import session"),
    "also inside a function": ("ueagent.wire.sdp", "def f():\n    import ueagent.daemon.agent"),
    "also relatively": ("ueagent.wire.sdp", "from ..session import session"),
    "codecs import key derivation": ("ueagent.wire.sdp", "from ueagent.crypto import keywrap"),
    "codecs import the API": ("ueagent.crypto.keywrap", "import ueagent.ipc.api"),
    "client imports the daemon": ("ueagent.client", "from ueagent.daemon import config"),
    "errors import anything of ours": ("ueagent.errors", "from ueagent.model import keys"),
    "model imports a codec": ("ueagent.model.keys", "from ueagent.wire import sdp"),
    "session imports the C core": ("ueagent.session.leg", "import ueagent_native"),
    "commands import the C core": ("ueagent.cli.engines", "from ueagent_native import engines"),
    "commands import the hardware": ("ueagent.cli.engines", "from ueagent_hw import choose"),
    "lab imports the C core": ("ueagent.lab.agw", "from ueagent_native.srtp import SrtpContext"),
    "C core imports the agent": ("ueagent_native.relay", "from ueagent.model.keys import Secret"),
    "hardware imports the agent": ("ueagent_hw.choose", "from ueagent.errors import EngineError"),
    "firmware imports the C core": ("ueagent_firmware.frame", "import ueagent_native"),
    "daemon imports the bench": ("ueagent.daemon.agent", "import ueagent_bench"),
    "daemon imports the lab": ("ueagent.daemon.agent", "from ueagent.lab import edge"),
    "daemon names the lab": ("ueagent.daemon.agent", "load('ueagent.lab.edge')"),
    "lab imports a command": ("ueagent.lab.demo", "from ueagent.cli import table"),
    "sockets in a codec": ("ueagent.wire.sdp", "import socket"),
    "event loop in a session": ("ueagent.session.session", "import asyncio"),
    "clock in a mechanism": ("ueagent.keymgmt.sdes", "from time import monotonic"),
    "random in a mechanism": ("ueagent.keymgmt.sdes", "import random"),
    "secrets in a mechanism": ("ueagent.keymgmt.sdes", "import secrets"),
    "urandom in a mechanism": ("ueagent.keymgmt.sdes", "import os\nkey = os.urandom(16)"),
    "urandom by name": ("ueagent.keymgmt.sdes", "from os import urandom"),
    "environment in a planner": ("ueagent.negotiation.planner", "import os\nflag = os.environ['X']"),
    "TLS library outside the channel": ("ueagent.keymgmt.dtls_srtp", "from OpenSSL import SSL"),
    "libsrtp in the daemon": ("ueagent.daemon.runner", "import pylibsrtp"),
    "serial port in the daemon": ("ueagent.daemon.runner", "import serial"),
    "logging library outside logs": ("ueagent.daemon.runner", "import structlog"),
    "msgspec in a session": ("ueagent.session.session", "import msgspec"),
    "test client in the product": ("ueagent.client", "import asyncvarlink"),
}


@pytest.mark.parametrize("case", BITES)
def test_rule_bites(case: str) -> None:
    module, source = BITES[case]
    assert len(import_rules_broken(module, source)) >= 1


ALLOWED = {
    "session imports downwards": ("ueagent.session.session", "from ueagent.negotiation import planner"),
    "values name errors": ("ueagent.model.media", "from ueagent.errors import UsageError"),
    "a package imports itself": ("ueagent.wire.sdp", "from . import sdp_attributes"),
    "daemon imports the C core": (
        "ueagent.daemon.relay_host",
        "from ueagent_native.relay import Relay\nimport asyncio",
    ),
    "hardware imports the C core": ("ueagent_hw.inventory", "from ueagent_native import engines\nimport time"),
    "lab terminates with libsrtp": ("ueagent.lab.agw", "import pylibsrtp\nimport socket"),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_rule_lets_pass(case: str) -> None:
    module, source = ALLOWED[case]
    assert import_rules_broken(module, source) == []
