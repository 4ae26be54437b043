"""Out of memory: told from other errors, and what would have fitted."""

import pytest
import torch

from simulacra.memory import doubling, is_out_of_memory, micro_batches_that_fit


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("Storage size calculation overflowed with sizes=[784, 1000000000000000000]"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error, is_it):
    assert is_out_of_memory(error) is is_it


def test_an_allocation_no_machine_can_make_is_out_of_memory():
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def trial(rows_that_fit, batch, tried, error=MemoryError):
    """What is found where so many rows fit at a time, and what was tried for it."""
    attempts = []

    def attempt(number):
        attempts.append(number)
        if -(-batch // number) > rows_that_fit:
            raise error()

    return micro_batches_that_fit(attempt, doubling(range(tried + 1, batch + 1), tried)), attempts


def test_the_first_doubling_that_fits_is_found():
    assert trial(rows_that_fit=16, batch=64, tried=1) == (4, [2, 4])
    assert trial(rows_that_fit=10, batch=64, tried=1) == (8, [2, 4, 8])
    assert trial(rows_that_fit=10, batch=64, tried=3) == (12, [6, 12])


def test_numbers_at_least_double_and_end_with_the_last():
    assert list(doubling([3, 5, 7, 15, 21], 1)) == [3, 7, 15, 21]
    assert list(doubling([3], 2)) == [3]
    assert not list(doubling([], 1))


def test_nothing_fits_where_not_even_one_row_does():
    assert trial(rows_that_fit=0, batch=8, tried=1) == (None, [2, 4, 8])


def test_other_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        trial(rows_that_fit=1, batch=8, tried=1, error=ZeroDivisionError)
