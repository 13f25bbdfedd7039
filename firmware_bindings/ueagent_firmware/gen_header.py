"""Writes what follows from `messages`: the firmware's C header and the tables of PROTOCOL.md.

`python -m ueagent_firmware.gen_header FOLDER` rewrites both in firmware_bindings; a test compares them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from ueagent_firmware import messages as m

HEADER = "firmware/messages.h"
DOCUMENT = "PROTOCOL.md"
_CONSTANTS = (
    "VERSION", "HEAD", "CRC", "MAX_BODY", "MAX_PACKET", "SLOTS", "CREDITS", "ALL_SLOTS", "HEARTBEAT_MS", "ANY_SSRC",
)  # fmt: skip
_ENUMS = {"OP": m.Op, "STATUS": m.Status, "SUITE": m.Suite, "CAP": m.Capability, "TEST": m.SelfTest}


def c_header() -> str:
    """Constants, enumerations, and for each member of a body its offset: UMSA_KEY_SALT_AT, UMSA_KEY_LEN."""
    lines = [
        "/* UMSA-1: numbers and bodies. Generated from ueagent_firmware/messages.py; see PROTOCOL.md. */",
        "#ifndef UMSA_MESSAGES_H",
        "#define UMSA_MESSAGES_H",
        "",
        *(f"#define UMSA_{name} {getattr(m, name)}" for name in _CONSTANTS),
    ]
    for prefix, enum in _ENUMS.items():
        lines += ["", *(f"#define UMSA_{prefix}_{row.name} 0x{row.value:02x}" for row in enum)]
    for body, fields in m.BODIES.items():
        lines.append("")
        at = 0
        for field in fields:
            lines.append(f"#define UMSA_{body.upper()}_{field.name.upper()}_AT {at}")
            at += field.size
        lines.append(f"#define UMSA_{body.upper()}_LEN {at}")
    return "\n".join([*lines, "", "#endif", ""])


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(map(str, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables() -> dict[str, str]:
    """The generated parts of PROTOCOL.md by name."""
    found = {
        "constants": _table(("name", "value"), ((name, getattr(m, name)) for name in _CONSTANTS)),
        "ops": _table(("op", "code", "meaning"), ((o.name, f"0x{o:02x}", m.OP_MEANINGS[o]) for o in m.Op)),
        "statuses": _table(("status", "code", "meaning"), ((s.name, s.value, m.STATUS_MEANINGS[s]) for s in m.Status)),
        "suites": _table(("suite", "code"), ((s.name, s.value) for s in m.Suite)),
        "capabilities": _table(("bit", "value"), ((c.name, f"0x{c:02x}") for c in m.Capability)),
        "self-tests": _table(
            ("bit", "value", "known answer"), ((t.name, f"0x{t:02x}", m.SELF_TEST_SOURCES[t]) for t in m.SelfTest)
        ),
    }
    for body, fields in m.BODIES.items():
        rows, at = [], 0
        for field in fields:
            rows.append((at, field.size, field.name, field.meaning))
            at += field.size
        found[f"body {body}"] = _table(("at", "octets", "member", "meaning"), rows)
    return found


def document(text: str) -> str:
    """`text` with what stands between `<!-- NAME -->` and `<!-- end -->` written anew. KeyError: no such table."""
    made = tables()
    return re.sub(
        r"<!-- (?!end)([\w -]+) -->.*?<!-- end -->",
        lambda found: f"<!-- {found[1]} -->\n{made[found[1]]}\n<!-- end -->",
        text,
        flags=re.S,
    )


def main(folder: Path) -> None:
    (folder / HEADER).write_text(c_header())
    path = folder / DOCUMENT
    path.write_text(document(path.read_text()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
