"""How many contexts a MiB holds: one direction, one stream, replay lists of 128 packets."""

from __future__ import annotations

from typing import Final

from ueagent_native._core import ffi, lib

from ueagent_bench.model import Fact, Setting, short_name

_MIB: Final = 1 << 20
_WINDOW: Final = 128


def facts(setting: Setting) -> list[Fact]:
    found = []
    for row in (lib.ums_suite_at(i) for i in range(lib.ums_suite_count())):
        suite = ffi.string(row.name).decode()
        if suite not in setting.suites:
            continue
        for name, direction in (("send", lib.UMS_SEND), ("receive", lib.UMS_RECEIVE)):
            config = ffi.new("ums_srtp_config *")
            config.suite, config.direction, config.n_keys, config.max_ssrc = row.suite, direction, 1, 1
            config.rtp_window = config.rtcp_window = _WINDOW
            size = lib.ums_srtp_sizeof(config)
            found.append(Fact(f"memory_{name}_{short_name(suite)}", round(_MIB / size, 1), "contexts per MiB"))
    return found
