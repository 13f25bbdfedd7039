"""Tests against other programs: each says its row of the interop matrix, which is printed at the end of a run."""

from __future__ import annotations

import pytest
from support.matrix import Matrix


def pytest_configure(config: pytest.Config) -> None:
    if not any(isinstance(plugin, Matrix) for plugin in config.pluginmanager.get_plugins()):
        config.pluginmanager.register(Matrix())
