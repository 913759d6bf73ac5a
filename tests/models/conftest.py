"""A server with a small file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from website import Site, serving


@pytest.fixture
def content() -> bytes:
    return np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture
def site(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # before pooch tries again
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving({"model.pt": content}) as site:
        yield site
