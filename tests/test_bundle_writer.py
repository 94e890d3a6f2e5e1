"""A bundle is written whole, certified, or not at all; models of others are bundled too."""

import dataclasses
import os
import stat

import models
import numpy as np
import pytest
from tickcast import bundle
from tickcast.bundle import Golden
from tickcast.errors import BundleError, UsageError
from tickcast_export import bundle_writer


@pytest.fixture(scope="module")
def draft():
    return models.draft("stacked")


def test_a_bundle_reads_back_as_it_was_written(draft, tmp_path):
    written = bundle_writer.write(draft, tmp_path / "deep" / "bundle")
    assert written == dataclasses.replace(bundle.load(tmp_path / "deep" / "bundle"), golden=written.golden)
    assert written.graphs == draft.graphs
    assert np.array_equal(written.golden.ticks, draft.golden.ticks)
    assert written.manifest.certificate.graphs[0].error_max > 0
    assert written.manifest.tools.keys() >= {"tickcast", "onnxruntime", "tensorflow", "keras", "tf2onnx", "onnx"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["bundle"]


@pytest.mark.parametrize(("umask", "folder", "file"), [(0, 0o755, 0o644), (0o022, 0o755, 0o644), (0o077, 0o700, 0o600)])
def test_nobody_else_may_write_a_bundle_and_the_umask_is_kept_to(draft, tmp_path, umask, folder, file):
    before = os.umask(umask)
    try:
        bundle_writer.write(draft, tmp_path / "bundle")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "bundle").stat().st_mode) == folder
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "bundle").iterdir()} == {file}


def test_failed_parity_writes_nothing(draft, tmp_path):
    wrong = Golden(draft.golden.ticks, draft.golden.forecast + np.float32(1), draft.golden.kind)
    with pytest.raises(BundleError, match="do not compute"):
        bundle_writer.write(dataclasses.replace(draft, golden=wrong), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_failed_parity_leaves_the_bundle_that_is_there(draft, tmp_path):
    before = bundle_writer.write(draft, tmp_path / "bundle")
    wrong = Golden(draft.golden.ticks, draft.golden.forecast + np.float32(1), draft.golden.kind)
    with pytest.raises(BundleError, match="do not compute"):
        bundle_writer.write(dataclasses.replace(draft, golden=wrong), tmp_path / "bundle", replace=True)
    assert bundle.load(tmp_path / "bundle").sha256 == before.sha256


def test_a_bundle_that_is_there_is_replaced_only_when_asked(draft, tmp_path):
    bundle_writer.write(draft, tmp_path / "bundle")
    newer = dataclasses.replace(draft, manifest=draft.manifest.model_copy(update={"version": "2"}))
    with pytest.raises(UsageError, match="exists already; --force"):
        bundle_writer.write(newer, tmp_path / "bundle")
    assert bundle.load(tmp_path / "bundle").manifest.version == "1"
    bundle_writer.write(newer, tmp_path / "bundle", replace=True)
    assert bundle.load(tmp_path / "bundle").manifest.version == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_is_no_bundle_is_never_replaced(draft, tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="is no bundle"):
        bundle_writer.write(draft, tmp_path, replace=True)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_draft_that_would_not_load_is_not_put_in_place(draft, tmp_path):
    manifest = draft.manifest.model_copy(update={"golden_sha256": "0" * 64})
    with pytest.raises(BundleError, match=r"golden\.npz: sha256"):
        bundle_writer.write(dataclasses.replace(draft, manifest=manifest), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []
