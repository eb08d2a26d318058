"""Memory that a busy time left behind goes back to the system."""

import ctypes

import pytest

from keyledger.assembly.service.freed_memory import KEPT_MB, Allocator, FreedMemory, glibc

MB = 1 << 20


@pytest.mark.parametrize(
    ("free", "trims"),
    [
        pytest.param([50, 50, 50], 0, id="what was free from the beginning stays"),
        pytest.param([50, 10, 50, 50], 1, id="what is freed after a busy time is given back once"),
        pytest.param([10, 10 + KEPT_MB], 0, id="a little stays for the next allocations"),
        pytest.param([10, 60, 0, 60, 60], 2, id="each busy time counts"),
        pytest.param([10, 60, 60 + KEPT_MB + 1], 2, id="what is freed more slowly is given back as well"),
    ],
)
def test_memory_is_given_back_when_much_was_freed(free: list[int], trims: int) -> None:
    told, trimmed = iter(free), list[None]()
    memory = FreedMemory(Allocator(lambda: next(told) * MB, lambda: trimmed.append(None)))
    for _ in free:
        memory.look()
    assert len(trimmed) == trims


def test_the_allocator_of_this_process_tells_what_is_free() -> None:
    allocator = glibc()
    if allocator is None:
        pytest.skip("this process has another allocator than glibc 2.33 or later")
    library = ctypes.CDLL(None)
    library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [library.malloc(8_000) for _ in range(4_000)]
    before = allocator.free()
    for block in blocks[:-1]:
        library.free(block)
    assert allocator.free() - before > 16 * MB
    allocator.trim()
    library.free(blocks[-1])
