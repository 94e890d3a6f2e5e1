"""What `tickcast install-service` puts where, says, and leaves alone."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tickcast import cli, install_service
from tickcast.errors import ConfigurationError
from tickcast.install_service import UNIT, Service
from tickcast.registry_config import RegistryConfig
from tickcast.security_config import SecurityConfig

ROOT = Path(__file__).parents[1]
OPT = Path("/opt/tickcast/bin/tickcast")
UNITS = "etc/systemd/system"
ALWAYS = {
    "etc/sysusers.d/tickcast.conf",
    "etc/tmpfiles.d/tickcast.conf",
    f"{UNITS}/{UNIT}",
    "etc/tickcast/desk.toml",
}


def run(*arguments: str) -> int:
    """The exit status of `tickcast install-service ARGUMENTS`."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["install-service", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def written(root: Path) -> dict[str, str]:
    """Path below `root` -> content of everything in it."""
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_everything_is_put_in_place_and_said_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install_service, "executable", lambda: Path("/srv/tick/bin/tickcast"))
    monkeypatch.setattr(install_service, "imported_from", lambda: ())
    assert run("desk", "--root", str(tmp_path), "--cpu-only", "--low-latency", "--cpus", "2-3,6") == 0
    found = written(tmp_path)
    drop_ins = {f"{UNITS}/tickcast@desk.service.d/{name}.conf" for name in ("10-cpu-only", "20-lowlatency")}
    assert found.keys() == ALWAYS | drop_ins
    said = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[1] for line in said if line.startswith("wrote ")) == sorted(
        str(tmp_path / path) for path in found
    )
    assert [line.strip() for line in said[-4:]] == [
        f"next, as root, on the host that boots from {tmp_path}, once /etc/tickcast/desk.toml says what you want:",
        "systemd-sysusers && systemd-tmpfiles --create tickcast.conf && systemctl daemon-reload",
        "put the bundle at /var/lib/tickcast/bundles/desk: a folder, or a link to one",
        "systemctl enable --now tickcast@desk",
    ]
    unit = found[f"{UNITS}/{UNIT}"]
    assert "ExecStart=/srv/tick/bin/tickcast run --config /etc/tickcast/%i.toml\n" in unit
    assert str(OPT) not in unit
    assert "\nCPUAffinity=2-3,6\n" in found[f"{UNITS}/tickcast@desk.service.d/20-lowlatency.conf"]
    example = tomllib.loads(found["etc/tickcast/desk.toml"])
    assert example["models"][0]["bundle"] == "/var/lib/tickcast/bundles/desk"
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {0o644}


@pytest.mark.parametrize("cpu_only", [True, False])
@pytest.mark.parametrize("has_librdkafka", [True, False])
def test_a_new_configuration_names_the_client_and_the_provider_that_are_known_of_the_host(
    cpu_only: bool,
    has_librdkafka: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(install_service, "has_librdkafka", lambda: has_librdkafka)
    assert run("desk", "--root", str(tmp_path), *(["--cpu-only"] if cpu_only else [])) == 0
    configuration = tmp_path / "etc/tickcast/desk.toml"
    written = tomllib.loads(configuration.read_text())
    assert written["kafka"].get("client") == ("confluent-kafka" if has_librdkafka else None)
    assert written["inference"].get("provider") == ("cpu" if cpu_only else None)
    [line] = [line for line in capsys.readouterr().out.splitlines() if f"{configuration}  (" in line]
    assert ('client = "confluent-kafka"' in line, 'provider = "cpu"' in line) == (has_librdkafka, cpu_only)


def test_the_faster_client_is_looked_for_where_the_service_will_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[str] = []
    monkeypatch.setattr("importlib.util.find_spec", known.append)
    assert not install_service.has_librdkafka()
    assert known == ["confluent_kafka"]


def test_with_a_configuration_of_yours_the_bundle_is_where_that_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = tmp_path / "etc/tickcast/desk.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text("mine")
    assert run("desk", "--root", str(tmp_path)) == 0
    assert "put the bundle where `models.bundle` says:" in capsys.readouterr().out


def test_a_second_installation_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("desk", "--root", str(tmp_path)) == 0
    before = written(tmp_path)
    capsys.readouterr()
    assert run("desk", "--root", str(tmp_path)) == 0
    assert written(tmp_path) == before
    fates = [line.split()[0] for line in capsys.readouterr().out.splitlines() if f"{tmp_path}/" in line]
    assert set(fates) == {"unchanged"}
    assert len(fates) == len(before)


def test_a_file_that_somebody_changed_is_kept_and_said_and_replaced_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("desk", "--root", str(tmp_path))
    unit, configuration = tmp_path / UNITS / UNIT, tmp_path / "etc/tickcast/desk.toml"
    original = unit.read_text()
    unit.write_text("[Service]\n")
    configuration.write_text("mine")
    capsys.readouterr()

    assert run("desk", "--root", str(tmp_path)) == 1
    assert unit.read_text() == "[Service]\n"
    said = capsys.readouterr()
    assert f"kept          {unit}  (differs" in said.out
    assert "--force" in said.err

    assert run("desk", "--root", str(tmp_path), "--force") == 0
    assert unit.read_text() == original
    assert configuration.read_text() == "mine"
    out = capsys.readouterr().out
    assert f"replaced      {unit}" in out
    assert f"kept          {configuration}  (yours)" in out


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("desk", "--root", str(tmp_path), "--dry-run") == 0
    assert written(tmp_path) == {}
    said = capsys.readouterr().out
    assert said.count("would write") >= len(ALWAYS)
    assert "next" not in said


def test_what_an_earlier_installation_left_in_force_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("desk", "--root", str(tmp_path), "--cpu-only")
    capsys.readouterr()
    run("desk", "--root", str(tmp_path))
    left = tmp_path / UNITS / "tickcast@desk.service.d/10-cpu-only.conf"
    assert f"in force      {left}" in capsys.readouterr().out
    assert left.exists()


def test_a_masked_unit_is_kept_and_when_replaced_what_it_led_to_is_left_alone(tmp_path: Path) -> None:
    unit, null = tmp_path / UNITS / UNIT, tmp_path / "null"
    unit.parent.mkdir(parents=True)
    null.touch()
    null.chmod(0o666)
    unit.symlink_to(null)

    assert run("desk", "--root", str(tmp_path)) == 1
    assert unit.is_symlink()
    assert run("desk", "--root", str(tmp_path), "--force") == 0
    assert not unit.is_symlink()
    assert "ExecStart=" in unit.read_text()
    assert (null.read_text(), null.stat().st_mode & 0o777) == ("", 0o666)


def test_a_configuration_that_leads_nowhere_is_not_written_through(tmp_path: Path) -> None:
    configuration, elsewhere = tmp_path / "etc/tickcast/desk.toml", tmp_path / "elsewhere"
    configuration.parent.mkdir(parents=True)
    configuration.symlink_to(elsewhere)
    assert run("desk", "--root", str(tmp_path), "--force") == 0
    assert configuration.is_symlink()
    assert not elsewhere.exists()


def test_a_link_out_of_the_root_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, host = tmp_path / "image", tmp_path / "host"
    (image / "etc").mkdir(parents=True)
    host.mkdir()
    (image / "etc/sysusers.d").symlink_to(host)
    assert run("desk", "--root", str(image)) == 78
    assert "a link leads out of" in capsys.readouterr().err
    assert list(host.iterdir()) == []


def test_instances_share_the_unit_and_have_drop_ins_of_their_own(tmp_path: Path) -> None:
    run("desk", "--root", str(tmp_path), "--cpu-only")
    run("other", "--root", str(tmp_path))
    found = written(tmp_path)
    assert not any("tickcast@other.service.d/10" in path for path in found)
    assert tomllib.loads(found["etc/tickcast/other.toml"])["models"][0]["bundle"].endswith("/other")


def test_an_installation_in_somebody_s_home_is_shown_to_the_service_and_nothing_else_of_it() -> None:
    home = Path("/home", "quant")
    needs = (home / "venv", home / "python", home / "venv/lib", Path("/usr"))
    files = install_service.files(Service("desk", home / "venv/bin/tickcast", needs=needs))
    [drop_in] = [file.content for file in files if file.path.endswith("30-visible.conf")]
    assert [line for line in drop_in.splitlines() if line[:1] not in ("#", "")] == [
        "[Service]",
        "ProtectHome=tmpfs",
        f"BindReadOnlyPaths={home}/python",
        f"BindReadOnlyPaths={home}/venv",
    ]
    elsewhere = install_service.files(Service("desk", OPT, needs=(Path("/opt/tickcast"), Path("/usr"))))
    assert not any("visible" in file.path for file in elsewhere)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a/b"], "'a/b': a service's name"),
        ([".hidden"], "a service's name"),
        (["x" * 101], "a service's name"),
        (["bundles"], "is not an instance's folder"),
        (["desk", "--cpus", "2"], "--low-latency"),
        (["desk", "--low-latency", "--cpus", "two"], "numbers and ranges"),
    ],
)
def test_what_systemd_would_take_amiss_is_refused(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "--root", str(tmp_path)) == 78
    assert said in capsys.readouterr().err
    assert written(tmp_path) == {}


def test_a_path_that_a_unit_cannot_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a unit cannot name such a path"):
        Service("desk", Path("/srv/my tickcast/bin/tickcast"))


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc").write_text("a file")
    assert run("desk", "--root", str(tmp_path)) == 78
    assert f"{tmp_path / 'etc/sysusers.d/tickcast.conf'}: " in capsys.readouterr().err


def test_the_command_is_the_one_of_this_python() -> None:
    assert install_service.executable() == Path(sys.executable).with_name("tickcast")


def test_every_file_of_the_folder_is_installed_by_some_option() -> None:
    service = Service("desk", OPT, cpu_only=True, low_latency=True)
    contents = {file.content for file in install_service.files(service)}
    templates = {path.name for path in (ROOT / "systemd").iterdir() if path.suffix != ".md"}
    assert {name for name in templates if install_service.template(name) in contents} == templates - {"example.toml"}


def test_every_secret_of_a_configuration_has_a_credential_that_the_guide_names() -> None:
    secrets = {
        f"{section}-{name.removesuffix('_file').replace('_', '-')}"
        for section, kind in (("kafka", SecurityConfig), ("registry", RegistryConfig))
        for name in kind.model_fields
        if name.endswith(("key_file", "password_file"))
    }
    unit, guide = install_service.template(UNIT), (ROOT / "deploy/README.md").read_text("utf-8")
    loaded = re.findall(r"^LoadCredential=([\w-]+):tickcast\.%i\.([\w-]+)$", unit, flags=re.MULTILINE)
    assert sorted(loaded) == sorted((name, name) for name in secrets)
    assert [name for name in secrets if f"{name}`" not in guide] == []


def test_a_file_that_was_not_installed_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.conf: not there"):
        install_service.template("absent.conf")


def test_systemd_finds_nothing_to_complain_of(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    run("desk", "--root", str(tmp_path), "--cpu-only", "--low-latency", "--cpus", "0")
    instance = tmp_path / UNITS / "tickcast@desk.service"
    shutil.copyfile(tmp_path / UNITS / UNIT, instance)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(instance)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
