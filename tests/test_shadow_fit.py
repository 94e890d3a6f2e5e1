"""What may be another bundle's shadow, and what `tickcast promote` wants to know before it looks at anything."""

import pytest
from factories import manifest_with
from tickcast import shadow_fit
from tickcast.cli import main
from tickcast.errors import BundleError
from tickcast.manifest import WindowRules

COLUMNS = ("bid", "ask")
FITTING = {"columns": COLUMNS, "reference_columns": COLUMNS, "rules": WindowRules(window=4)}
TOML = """
[kafka]
bootstrap_servers = "127.0.0.1:1"
group_id = "g"
input_topics = ["ticks"]
output_topic = "forecasts"
dead_letter_topic = "dead"
{promotion}
[[models]]
bundle = "b"
"""


def test_other_horizons_and_features_are_no_hindrance():
    answering, shadow = manifest_with(**FITTING, horizons=(1, 2)), manifest_with(**FITTING, horizons=(2, 3, 9))
    shadow_fit.check(answering, shadow, "windowed")
    assert shadow_fit.common_horizons(answering, shadow) == (2,)


@pytest.mark.parametrize(
    ("changes", "mode", "said"),
    [
        ({"rules": WindowRules(window=5)}, "windowed", "its window rules"),
        ({"columns": ("ask", "bid")}, "windowed", "its columns are ask, bid"),
        ({"reference_columns": ()}, "windowed", "no changes of one mid"),
        ({"horizons": (3,)}, "windowed", "none of its horizons, 3"),
        ({}, "carried", "windows only"),
    ],
)
def test_what_could_not_be_compared_is_refused_with_the_reason(changes, mode, said):
    with pytest.raises(BundleError, match=said):
        shadow_fit.check(manifest_with(**FITTING), manifest_with(**{**FITTING, **changes}), mode)


@pytest.mark.parametrize(
    ("promotion", "options", "said"),
    [
        ("", [], "promotion.control_topic: not set"),
        ("[promotion]\ncontrol_topic = 'c'", ["--force"], "--reason"),
        ("[promotion]\ncontrol_topic = 'c'", ["--back"], "--reason"),
        ("[promotion]\ncontrol_topic = 'c'", ["--back", "--force", "--reason", "x"], "one of them"),
    ],
)
def test_promote_says_what_is_missing_before_it_asks_the_cluster(tmp_path, capsys, promotion, options, said):
    path = tmp_path / "desk.toml"
    path.write_text(TOML.format(promotion=promotion))
    with pytest.raises(SystemExit) as ended:
        main(["promote", "--config", str(path), *options])
    assert ended.value.code == 78
    assert said in capsys.readouterr().err
