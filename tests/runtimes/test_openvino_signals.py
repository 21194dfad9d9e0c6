"""OpenVINO gives threads stacks for signals; none may be gone while it is in use."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from everymask.runtimes.on_openvino import OpenVinoEngine
from tests.runtimes.bundles import graph

pytest.importorskip("openvino")
_NONE = 2


class _Stack(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is looked up as Linux lists it")
def test_engines_that_go_in_any_order_leave_a_stack_for_signals() -> None:
    first = OpenVinoEngine(graph(), threads=1)
    second = OpenVinoEngine(graph(), threads=1)
    del first
    del second
    stack = _Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    places = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines()]
    mapped = any(int(begin, 16) <= (stack.start or 0) < int(end, 16) for begin, end in places)
    assert mapped or stack.flags & _NONE
