"""A cached case for tests of data."""

from __future__ import annotations

import pytest

from medups.data.cache import cached
from tests.data.phantom_cases import BTCV, SYNAPSE, synapse_cases


@pytest.fixture
def case(phantoms, tmp_path):
    return cached(synapse_cases(phantoms)["0001"], tmp_path / "cache", BTCV, SYNAPSE)
