"""`tickcast promote` decides about the two bundles that it began to look at, or says that it does not."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from test_record import configured
from tickcast import cli
from tickcast.commands import promote as command
from tickcast.errors import UsageError
from tickcast.promotion import Contest, Judged
from tickcast.promotion_looks import Verdict
from topic_log import TopicLog

OLD, NEW, THIRD = (letter * 64 for letter in "abc")


class Reader(TopicLog):
    """A cluster without records, where a real one would be asked."""

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *raised: object) -> None:
        pass


def promote(folder: Path, *options: str) -> int:
    """Its exit status."""
    path = configured(folder)
    path.write_text(f'{path.read_text()}\n[promotion]\ncontrol_topic = "control"\naudit_file = "audit.jsonl"\n')
    with pytest.raises(SystemExit) as ended:
        cli.main(["promote", "--config", str(path), "--who", "ada", *options])
    return int(ended.value.code or 0)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The shadows that are found there, look by look; its error is always the lower one."""
    shadows: list[str] = []

    def contest(settings: object, place: int | None, controls: object) -> Contest:
        return Contest(None, 0, "group/*", OLD, shadows.pop(0), None)  # type: ignore[arg-type]

    verdict = Verdict((), 5_000, 0.1, True, "the error is lower")
    monkeypatch.setattr(command, "TopicReader", lambda kafka: Reader())
    monkeypatch.setattr(command, "ControlTopic", lambda *about: SimpleNamespace(read=bool, controls={}))
    monkeypatch.setattr(command.promotion, "contest", contest)
    monkeypatch.setattr(command.promotion, "judge", lambda *about: Judged(verdict, None))
    return shadows


def test_a_bundle_that_is_no_shadow_any_more_is_not_promoted(
    seen: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another one was put into its place while the topics were read: daemons would look for this one in vain."""
    seen += [NEW, THIRD]
    assert promote(tmp_path, "--wait-s", "60") == UsageError.exit_status
    assert "another bundle made the shadow" in capsys.readouterr().err
    assert not (tmp_path / "audit.jsonl").exists()


def test_the_one_that_was_looked_at_is(seen: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen += [NEW, NEW]
    assert promote(tmp_path, "--dry-run") == 0
    told = capsys.readouterr().out
    assert "promoted: the error is lower" in told
    assert NEW in told


def test_what_needs_a_reason_or_has_nothing_to_wait_for_is_refused(
    seen: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, why in (
        (["--force"], "--reason"),
        (["--back", "--force", "--reason", "x"], "one of them"),
        (["--back", "--reason", "x", "--wait-s", "3"], "--wait-s"),
    ):
        assert promote(tmp_path, *options) == UsageError.exit_status
        assert why in capsys.readouterr().err
