"""A trained run for tests of commands."""

from __future__ import annotations

import pytest

from tests.cli.commands import TINY, medups


@pytest.fixture(scope="session")
def run(phantoms, tmp_path_factory):
    """A run folder of a few steps."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe = [*TINY, f"data.root={phantoms}", f"data.cache={folder.parent / 'cache'}", f"output={folder}"]
    assert medups("train", *recipe) == 0
    return folder, recipe
