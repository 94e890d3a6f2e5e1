"""Arrays from bytes that nobody has vouched for: what numpy wrote comes back, anything else is a BundleError."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tickcast import bundle_files
from tickcast.errors import BundleError

NAMES = ("forecast", "kind", "ticks")
ARRAYS = {
    "ticks": np.arange(24.0).reshape(2, 3, 4),
    "forecast": np.arange(6, dtype=np.float32).reshape(3, 2).T,  # written in Fortran's order
    "kind": np.array(["real", "extreme"]),
}


def packed(write=np.savez_compressed, **changed):
    file = io.BytesIO()
    write(file, **{**ARRAYS, **changed})
    return file.getvalue()


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def unpacked():
    with zipfile.ZipFile(io.BytesIO(packed())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def refusal(content):
    with pytest.raises(BundleError) as raised:
        bundle_files.arrays(content, NAMES)
    return str(raised.value)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_what_numpy_wrote_comes_back(write):
    found = bundle_files.arrays(packed(write), NAMES)
    assert list(found) == list(NAMES)
    for name, array in found.items():
        assert array.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_a_shape_that_the_data_does_not_fill_is_refused_before_anything_is_allocated():
    members = unpacked()
    members["ticks.npy"] = members["ticks.npy"].replace(b"(2, 3, 4)", b"(999999999, 999999999)", 1)
    assert refusal(zipped(members)) == "not arrays: ticks is not as long as its header says"


def test_a_small_file_that_unpacks_to_a_large_one_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr(bundle_files, "UNPACKED_BYTES_MAX", 50_000_000)
    content = packed(ticks=np.zeros(10_000_000))
    assert len(content) < 200_000
    assert refusal(content) == "longer than 50000000 bytes when unpacked"


def test_a_header_that_is_an_expression_is_not_evaluated():
    members = unpacked()
    members["ticks.npy"] = members["ticks.npy"].replace(b"(2, 3, 4)", b"(2,3)+(4,)", 1)
    assert refusal(zipped(members)) == "not arrays: ticks has no header that says so"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not arrays: File is not a zip file"),
        (packed(kind=np.array([print, None], object)), "not arrays: kind has no header"),
        (packed(other=np.zeros(1)), "holds ['forecast', 'kind', 'other', 'ticks'], must hold"),
        (packed(kind=np.frombuffer(b"\xff" * 8, "<U1")), "not arrays: kind holds what is no text"),
        (zipped(unpacked(), zipfile.ZIP_LZMA), "not arrays: packed in another way than numpy does it"),
    ],
)
def test_what_is_no_file_of_these_arrays_is_refused(content, message):
    assert message in refusal(content)


@given(st.data())
def test_no_damage_gets_anything_but_an_answer_out_of_it(data):
    content = bytearray(packed(np.savez))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) - 30, len(content))) :]
    try:
        found = bundle_files.arrays(bytes(content), NAMES)
    except BundleError:
        return
    assert {name: array.dtype.kind for name, array in found.items()} == {"forecast": "f", "kind": "U", "ticks": "f"}
