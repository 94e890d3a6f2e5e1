"""Model files: whole or not written, and refused with a reason where the card is missing or does not hold."""

import zipfile

import models
import numpy as np
import pytest
from tickcast.errors import BundleError, UsageError
from tickcast_export import model_card


@pytest.fixture(scope="module")
def model():
    return models.trained("stacked")


@pytest.fixture
def path(model, tmp_path):
    model_card.save(model, models.card("stacked"), models.ticks(3), tmp_path / "model.keras")
    return tmp_path / "model.keras"


def without(path, entry, instead=None):
    """The archive at `path` with one entry less, or another one in its place."""
    changed = path.with_name("changed.keras")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(changed, "w") as copy:
        for name in archive.namelist():
            if name != entry:
                copy.writestr(name, archive.read(name))
        if instead is not None:
            copy.writestr(entry, instead)
    return changed


def test_nothing_but_the_file_is_left(path):
    assert [entry.name for entry in path.parent.iterdir()] == ["model.keras"]
    assert model_card.has_card(path)


def test_a_sample_of_other_ticks_leaves_the_old_file(model, path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="sample ticks are float32"):
        model_card.save(model, models.card("stacked"), models.ticks(3).astype(np.float32), path)
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize("entry", [model_card.CARD_ENTRY, model_card.SAMPLE_ENTRY])
def test_a_keras_file_without_our_entries_is_refused(path, entry):
    with pytest.raises(UsageError, match=r"no model of `tickcast train`.*" + entry):
        model_card.load(without(path, entry))


def test_a_card_that_does_not_hold_is_refused_by_key(path):
    card = models.card("stacked").model_dump_json().replace('"target_scale":', '"target_scale":-')
    with pytest.raises(BundleError, match=r"tickcast\.json: target_scale"):
        model_card.load(without(path, model_card.CARD_ENTRY, card))


def test_a_card_of_another_model_is_refused(path):
    card = models.card("stacked").model_copy(update={"horizons": (1, 2)}).model_dump_json()
    with pytest.raises(BundleError, match=r"takes .* and gives"):
        model_card.load(without(path, model_card.CARD_ENTRY, card))


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"text")
    assert not model_card.has_card(tmp_path / "model.keras")
    with pytest.raises(UsageError, match="not a Keras archive"):
        model_card.load(tmp_path / "model.keras")
    with pytest.raises(UsageError, match="cannot be read"):
        model_card.load(tmp_path / "missing.keras")


def test_a_file_of_another_name_is_not_written(model, tmp_path):
    with pytest.raises(UsageError, match=r"named \*\.keras"):
        model_card.save(model, models.card("stacked"), models.ticks(3), tmp_path / "model.h5")
