import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from s2change_plugin.engine.turns import Turns, is_out_of_memory


class Device:
    """Doubles numbers, and runs out of memory with more than some at a time, once they have met there."""

    def __init__(self, most: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        self.most, self.error = most, error
        self.inside, self.peak, self.lock = 0, 0, threading.Lock()
        self.done: list[int] = []

    def double(self, item: int) -> int:
        with self.lock:
            self.inside += 1
            self.peak = max(self.peak, self.inside)
            full = self.inside > self.most
        try:
            # Long enough for others to come in.
            threading.Event().wait(0.01)
            if full:
                raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB.")
            self.done.append(item)
            return 2 * item
        finally:
            with self.lock:
                self.inside -= 1


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_each_window_is_predicted_once_whatever_the_memory(most: int) -> None:
    device, said = Device(most), list[str]()
    turns = Turns(8, said.append)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda item: turns.take(lambda: device.double(item)), range(40)))
    assert found == [2 * item for item in range(40)]
    assert sorted(device.done) == list(range(40))
    expected = {1: 3, 2: 2, 3: 2, 8: 0}
    assert len(said) == expected[most]
    if said:
        assert said[-1] == f"The memory is short: going on with {'1 window' if most == 1 else '2 windows'} at a time."


def test_after_a_halving_no_more_than_half_are_on_the_device_at_a_time() -> None:
    device = Device(2)
    turns = Turns(4, lambda text: None)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda item: turns.take(lambda: device.double(item)), range(8)))
        device.peak = 0
        list(threads.map(lambda item: turns.take(lambda: device.double(item)), range(24)))
    assert device.peak == 2


def test_memory_that_is_short_for_one_alone_is_said_and_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(MemoryError, match="2.00 GiB"):
        Turns(2, lambda text: None).take(lambda: Device(0).double(1))
    with pytest.raises(RuntimeError, match="shapes"):
        Turns(2, lambda text: None).take(lambda: (_ for _ in ()).throw(RuntimeError("shapes do not match")))


def test_every_way_to_say_that_memory_is_short_is_known() -> None:
    for text in (
        "CUDA out of memory.",
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory",
        "not enough memory: you tried to allocate 9 bytes.",
        "MPS backend out of memory",
    ):
        assert is_out_of_memory(RuntimeError(text))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes"))
    assert not is_out_of_memory(ValueError("out of memory"))
