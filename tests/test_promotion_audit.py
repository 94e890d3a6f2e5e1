"""The audit file: lines are only added, each is whole, and what is none is named."""

import threading

import msgspec
import pytest
from test_promotion_record import A, B, decision
from tickcast import promotion_audit
from tickcast.errors import ConfigurationError
from tickcast.promotion_record import Decision


def test_every_decision_is_a_line_at_the_end(tmp_path):
    path = tmp_path / "promotions.jsonl"
    decisions = [decision(0, A, B, "refused"), decision(1, A, B), decision(2, B, A, "back")]
    lengths = []
    for each in decisions:
        promotion_audit.append(path, each)
        lengths.append(path.stat().st_size)
        assert promotion_audit.read(path) == decisions[: len(lengths)]
    assert lengths == sorted(set(lengths))
    assert path.stat().st_mode & 0o777 == promotion_audit.MODE


def test_after_a_line_that_was_cut_off_the_next_one_is_whole(tmp_path):
    path = tmp_path / "promotions.jsonl"
    path.write_bytes(b'{"v":1,"decided":"pro')
    promotion_audit.append(path, decision(1, A, B))
    cut, whole = path.read_bytes().splitlines()
    assert cut == b'{"v":1,"decided":"pro'
    assert msgspec.json.decode(whole, type=Decision) == decision(1, A, B)
    with pytest.raises(ConfigurationError, match=r"line 1: no decision"):
        promotion_audit.read(path)


def test_lines_of_several_writers_do_not_mix(tmp_path):
    path = tmp_path / "promotions.jsonl"

    def write() -> None:
        for _ in range(20):
            promotion_audit.append(path, decision(1, A, B))

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert promotion_audit.read(path) == [decision(1, A, B)] * 80


def test_a_file_that_cannot_be_written_or_read_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be written"):
        promotion_audit.append(tmp_path / "absent" / "promotions.jsonl", decision(1, A, B))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        promotion_audit.read(tmp_path / "absent.jsonl")
