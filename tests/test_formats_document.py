"""`docs/formats.md`: every configuration in it loads as it stands, and between them they use every format."""

import re
from pathlib import Path

import pytest
from tickcast import codec, config, errors, forecast_formats

DOCUMENT = Path(__file__).parents[1] / "docs" / "formats.md"
TEXT = DOCUMENT.read_text("utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
ENVIRONMENT = {"CREDENTIALS_DIRECTORY": "/run/credentials/tickcast"}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r'format = "(\w+)"', block)[0])
def test_a_configuration_of_the_document_loads(block, tmp_path):
    file = tmp_path / "desk.toml"
    file.write_text(block)
    settings = config.load(file, ENVIRONMENT)
    assert settings.input.format != "json"
    if settings.input.schema_file:
        assert settings.input.schema_file == str(tmp_path / Path(settings.input.schema_file).name)
    if settings.registry.password_file:
        assert settings.registry.password_file == "/run/credentials/tickcast/registry-password"
        assert settings.registry.ca_file == str(tmp_path / "ca.pem")


def test_every_format_is_shown():
    shown = {match for block in BLOCKS for match in re.findall(r'\[input\]\nformat = "(\w+)"', block)}
    assert shown == set(codec.DECODERS) - {"json"}
    for name in {*codec.DECODERS, *forecast_formats.FORMATS}:
        assert f"`{name}`" in TEXT


def test_every_reason_of_a_record_that_cannot_be_read_is_told():
    reasons = [errors.EmptyRecord, errors.UndecodableRecord, errors.UnknownSchema, errors.InvalidRecord]
    assert [kind.reason for kind in reasons if f"| `{kind.reason}` |" not in TEXT] == []


def test_schemas_must_come_from_somewhere(tmp_path):
    file = tmp_path / "desk.toml"
    for block in BLOCKS:
        if "[registry]" in block:
            file.write_text(re.sub(r"\[registry\]\n.*?\n\n", "", block, flags=re.DOTALL))
            with pytest.raises(errors.ConfigurationError, match=r"needs input\.schema_file, or registry\.url"):
                config.load(file, {})
