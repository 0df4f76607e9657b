"""Memory of the capture, stored and read back."""

from datetime import UTC, datetime

import pytest

from producers.odoo import windows
from producers.odoo.memory import Memory, StateDamaged
from producers.odoo.state import MemoryState

START = datetime(2026, 11, 2, tzinfo=UTC)


def test_only_what_changed_is_stored_and_positions_come_last() -> None:
    store, memory = MemoryState(), Memory(["res.partner"])
    memory.move("res.partner", windows.begin(START))
    memory.hashes["res.partner"].put(300, b"\x01" * 16)
    memory.log.add(9)
    assert memory.save(store)
    assert list(store.values) == ["hashes/res.partner/1", "log/0", "position/res.partner"]
    assert not memory.save(store)
    again = Memory.load(store, ["res.partner"])
    assert again.progress("res.partner") == windows.begin(START)
    assert again.hashes["res.partner"].get(300) == b"\x01" * 16
    assert 9 in again.log
    assert not again.save(store)


def test_a_model_that_is_no_longer_captured_is_left_alone() -> None:
    store, memory = MemoryState(), Memory(["res.partner"])
    memory.hashes["res.partner"].put(1, b"\x01" * 16)
    memory.save(store)
    assert Memory.load(store, []).hashes == {}


@pytest.mark.parametrize("key", ["position/res.partner", "hashes/res.partner/0", "hashes/res.partner/x", "log/0"])
def test_a_damaged_value_is_named_by_its_key(key: str) -> None:
    store = MemoryState()
    store.values[key] = b"\x00garbage"
    with pytest.raises(StateDamaged, match=key):
        Memory.load(store, ["res.partner"])
