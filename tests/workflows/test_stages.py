"""Reading ahead and writing behind change neither the order nor the errors."""

from __future__ import annotations

import threading

import pytest

from medups.errors import InputError
from medups.workflows.stages import in_stages


def run(count, refuse=(), ahead=lambda item: True):
    """Items 0 to count; ``refuse`` are (stage, item) that raise InputError."""
    events = []

    def stage(name):
        def call(item, value=None):
            events.append((name, item))
            if (name, item) in refuse:
                raise InputError(f"{name} {item}")
            assert value == {"read": None, "work": f"read {item}", "write": f"work {item}"}[name]
            return f"{name} {item}"

        return call

    results = [
        (item, None if error is None else str(error))
        for item, error in in_stages(iter(range(count)), (stage("read"), stage("work"), stage("write")), ahead)
    ]
    return results, events


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_every_item_passes_all_stages_in_order(count, ahead):
    results, events = run(count, ahead=lambda item: ahead)
    assert results == [(item, None) for item in range(count)]
    for name in ("read", "work", "write"):
        assert [item for stage, item in events if stage == name] == list(range(count))
    if not ahead:
        assert all(events.index(("work", n)) < events.index(("read", n + 1)) for n in range(count - 1))


def test_a_refused_item_does_not_stop_the_others():
    results, _ = run(6, refuse={("read", 1), ("work", 2), ("write", 4), ("read", 5)})
    assert sorted(results) == [(0, None), (1, "read 1"), (2, "work 2"), (3, None), (4, "write 4"), (5, "read 5")]


def test_the_next_item_is_read_and_the_last_one_written_during_work():
    """Work on item 1 waits until item 2 is read and item 0 written; without overlap it would wait for ever."""
    read, written = threading.Event(), threading.Event()

    def work(item, value):
        if item == 1:
            assert read.wait(20)
            assert written.wait(20)

    stages = (lambda item: item == 2 and read.set(), work, lambda item, value: item == 0 and written.set())
    assert [item for item, _ in in_stages(iter(range(3)), stages, lambda item: True)] == [0, 1, 2]


@pytest.mark.parametrize("failing", ["read", "work", "write"])
def test_other_errors_stop_everything(failing):
    written = []

    def stage(name):
        def call(item, value=None):
            if name == failing and item == 2:
                raise OSError(28, "No space left on device")
            if name == "write":
                written.append(item)

        return call

    with pytest.raises(OSError, match="No space left"):
        list(in_stages(iter(range(6)), (stage("read"), stage("work"), stage("write")), lambda item: True))
    assert written[:1] == [0]
    assert max(written) <= 3
