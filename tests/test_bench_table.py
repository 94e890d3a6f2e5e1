"""Figures and tables as a terminal shows them."""

import io

import pytest
from rich.console import Console
from tickcast import bench_table


@pytest.mark.parametrize(
    ("per_s", "text"), [(15_249.0, "15,200/s"), (999.9, "1,000/s"), (123.4, "123/s"), (4.26, "4.26/s")]
)
def test_a_rate_has_three_digits(per_s, text):
    assert bench_table.rate(per_s) == text


def test_a_share_has_a_decimal():
    assert bench_table.share(0.98449) == "98.4%"


def test_without_a_terminal_no_cell_of_a_wide_table_is_cut():
    header = ("", *(f"column {number}" for number in range(7)))
    made = bench_table.table("title", header, [("a name of some length", *["1,234 us"] * 7)])
    out = io.StringIO()
    console = Console(file=out, width=bench_table.console().width)
    console.print(made)
    assert out.getvalue().count("1,234 us") == 7
    assert "…" not in out.getvalue()
