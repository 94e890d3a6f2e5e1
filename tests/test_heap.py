"""Freed memory is asked back where the C library can be asked."""

import ctypes
from types import SimpleNamespace

import pytest
from tickcast import heap


def test_all_that_can_be_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(malloc_trim=kept.append))
    heap.trim()
    assert kept == [0]


def test_a_library_that_knows_no_such_call_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    heap.trim()


def test_this_machine_s_library_takes_the_call() -> None:
    heap.trim()
