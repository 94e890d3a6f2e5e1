"""What is written as TOML reads back as it was."""

import tomllib

from tickcast import toml_text


def test_tables_and_arrays_of_tables_read_back() -> None:
    tables = {"kafka": {"topics": ["a", "b"], "text": 'say "so"\\\n', "number": 3}, "log": {"on": True, "part": 0.5}}
    arrays = {"models": [{"bundle": "one"}, {"bundle": "two"}]}
    assert tomllib.loads(toml_text.document(tables, arrays)) == {**tables, **arrays}
