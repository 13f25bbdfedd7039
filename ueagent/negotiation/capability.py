"""What this agent can do right now: one value, copied into a session when it begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ueagent.model.suites import suite_named


@dataclass(frozen=True, slots=True)
class Capability:
    """`suites`: names that at least one engine present can run."""

    suites: frozenset[str]

    def usable(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of `names`, in their order, that are present and may be negotiated at all (POL-10: no NULL, no F8)."""
        known = ((name, suite_named(name)) for name in names)
        return tuple(name for name, suite in known if suite is not None and suite.selectable and name in self.suites)
