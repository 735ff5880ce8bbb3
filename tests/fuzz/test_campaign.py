"""A short run of the campaign; ``python -m tests.fuzz`` runs it for longer."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz.campaign import run
from tests.fuzz.seeds import SEEDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
TRIES = 60


@pytest.mark.parametrize("format_name", SEEDS)
def test_changed_files_are_read_or_refused(format_name):
    outcomes = list(run(format_name, 0, TRIES))
    assert len(outcomes) == TRIES
    assert not [outcome for outcome in outcomes if outcome.wrong]
    kinds = {outcome.kind for outcome in outcomes}
    assert kinds == {"read", "refused"}  # both occur, so that the changes reach the readers
