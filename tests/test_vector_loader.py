"""Missing outside vectors are never silent."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import vectors


def test_missing_outside_vectors_are_skipped_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vectors, "_OUTSIDE", tmp_path)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="aes_gcm_test"):
        next(vectors.wycheproof("aes_gcm_test.json"))


def test_missing_outside_vectors_fail_under_ci(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vectors, "_OUTSIDE", tmp_path)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="aes_gcm_test"):
        next(vectors.wycheproof("aes_gcm_test.json"))


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "vectors").rglob("*.json")), ids=lambda p: p.stem)
def test_every_vector_file_has_the_common_form(path: Path) -> None:
    """With a source, and with a note for every flag."""
    assert vectors.load(str(path.relative_to(Path(__file__).parent / "vectors").with_suffix("")))
