from collections.abc import Sequence

import pytest
import torch

from s2change_plugin.engine.batches import in_batches, is_out_of_memory


class Network:
    """Doubles numbers, and runs out of memory above a number of them at once, or at once for one too large by itself."""

    def __init__(self, most: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        self.most, self.error = most, error
        self.sizes: list[int] = []

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.sizes.append(len(batch))
        if len(batch) > self.most:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return [2 * item for item in batch]


def test_each_item_is_predicted_once_and_in_order_whatever_the_memory() -> None:
    for count in (0, 1, 5, 16, 33):
        for most in (1, 2, 3, 7, 100):
            network = Network(most)
            assert list(in_batches(network, range(count), 16, lambda text: None)) == [2 * item for item in range(count)]
            assert sum(size for size in network.sizes if size <= most) == count


def test_it_goes_on_with_the_smaller_size_and_says_each_halving_once() -> None:
    said: list[str] = []
    network = Network(5)
    assert list(in_batches(network, range(40), 16, said.append)) == [2 * item for item in range(40)]
    assert network.sizes == [16, 8, *[4] * 10]
    assert said == [f"The GPU's memory is short: going on with batches of {size}." for size in (8, 4)]


def test_a_last_batch_that_is_not_full_is_halved_from_what_it_holds() -> None:
    said: list[str] = []
    network = Network(1)
    assert list(in_batches(network, [1, 2, 3], 16, said.append, memory="The memory")) == [2, 4, 6]
    assert network.sizes == [3, 1, 1, 1]
    assert said == ["The memory is short: going on with batches of 1."]


def test_one_item_that_does_not_fit_is_a_memory_error() -> None:
    with pytest.raises(MemoryError, match="2.00 GiB"):
        list(in_batches(Network(0), range(3), 2, lambda text: None))


def test_results_come_before_the_items_after_the_next_batch_are_taken() -> None:
    taken: list[int] = []

    def items() -> object:
        for item in range(10):
            taken.append(item)
            yield item

    results = in_batches(Network(9), items(), 3, lambda text: None)
    assert next(results) == 0
    assert taken == [0, 1, 2]


def test_another_failure_is_not_taken_for_short_memory() -> None:
    def broken(batch: Sequence[int]) -> list[int]:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        list(in_batches(broken, range(4), 4, lambda text: None))


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 20.00 MiB.",
        "MPS backend out of memory (MPS allocated: 8.0 GB)",
        "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.",
        "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
    ],
)
def test_what_pytorch_says_of_short_memory_is_known_on_every_device(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))
    assert not is_out_of_memory(ValueError(text))
