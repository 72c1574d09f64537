import threading

import pytest

from s2change_plugin.engine import threads
from s2change_plugin.engine.threads import in_order


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many cores each thread was given, on a machine of eight."""
    given: list[int] = []
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.setattr(threads, "share_cores", given.append)
    return given


@pytest.mark.parametrize(("items", "each"), [(1, 8), (2, 4), (3, 2), (4, 2), (40, 2)])
def test_few_items_have_all_cores_between_them(items: int, each: int, shares: list[int]) -> None:
    together = threading.Barrier(min(items, 4), timeout=20)

    def meet(item: int) -> int:
        if item < together.parties:
            together.wait()
        return item

    assert list(in_order(meet, range(items))) == list(range(items))
    assert shares == [each] * together.parties


def test_nothing_to_do_is_done_at_once(shares: list[int]) -> None:
    assert list(in_order(abs, [])) == []
    assert not shares
