"""The `tickcast` command: its table, and what it says when something is not as it should be."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from tickcast import __version__, cli, errors
from tickcast.cli import COMMANDS


def _status(*arguments: str) -> int | str | None:
    """The exit status of `tickcast ARGUMENTS` in this process."""
    try:
        cli.main(arguments)
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_a_function_of_its_name_that_explains_itself(name, capsys):
    command = COMMANDS[name]
    function = getattr(importlib.import_module(command.module), cli.module_function(name))
    assert inspect.getdoc(function)
    assert _status(*name.split(), "--help") == 0
    out = capsys.readouterr().out
    assert f"tickcast {name}" in out
    assert " ".join(inspect.getdoc(function).split()[:3]) in out


@pytest.mark.parametrize("name", ["train", "demo"])
def test_every_registered_family_can_be_asked_for_and_no_other(name):
    from tickcast_export.families import FAMILIES  # here: it takes seconds, and most tests need none of it

    function = getattr(importlib.import_module(COMMANDS[name].module), name)
    assert set(get_args(get_type_hints(function)["family"])) == set(FAMILIES)


@pytest.mark.parametrize("asked", [(), ("--help",), ("-h",), ("help",)])
def test_help_lists_every_command(asked, capsys):
    assert _status(*asked) == 0
    out = capsys.readouterr().out
    assert [name for name, command in COMMANDS.items() if name not in out or command.summary not in out] == []


@pytest.mark.parametrize(("typed", "meant"), [("verfy", "verify"), ("check_config", "check-config"), ("ruin", "run")])
def test_a_mistyped_command_is_met_with_the_one_that_was_meant(typed, meant, capsys):
    assert _status(typed) == 2
    assert f"no command '{typed}'; did you mean {meant}?" in capsys.readouterr().err


def test_a_command_like_no_other_is_met_with_the_list(capsys):
    assert _status("xyzzy") == 2
    err = capsys.readouterr().err
    assert "did you mean" not in err
    assert "check-config" in err


@pytest.mark.parametrize("asked", [("bench",), ("bench", "--help")])
def test_the_first_word_of_several_commands_lists_them_and_no_other(asked, capsys):
    assert _status(*asked) == 0
    out = capsys.readouterr().out
    assert [name for name, command in COMMANDS.items() if command.summary in out] == [
        "bench engine",
        "bench kafka",
        "bench fleet",
    ]


def test_a_mistyped_second_word_is_met_with_the_command_that_was_meant(capsys):
    assert _status("bench", "enigne") == 2
    err = capsys.readouterr().err
    assert "no command 'bench enigne'; did you mean bench engine?" in err
    assert "check-config" not in err


def test_an_unknown_option_is_a_usage_error_that_names_it(capsys):
    assert _status("version", "--verbos") == 2
    assert "--verbos" in capsys.readouterr().err


def test_version_is_printed(capsys):
    assert _status("version") == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ConfigurationError, 78),
        (errors.BundleError, 78),
        (errors.ProviderError, 78),
        (errors.BrokerError, 1),
    ],
)
def test_an_error_of_ours_is_one_message_and_its_exit_status(error, status, monkeypatch, capsys):
    def version() -> None:
        raise error("what went wrong")

    monkeypatch.setattr("tickcast.commands.version.version", version)
    assert _status("version") == status
    assert capsys.readouterr().err == "tickcast: what went wrong\n"


def test_an_error_of_nobody_s_keeps_its_traceback(monkeypatch):
    def version() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tickcast.commands.version.version", version)
    with pytest.raises(ZeroDivisionError):
        cli.main(["version"])


@pytest.mark.parametrize(("name", "library", "extra"), [("train", "keras", "export"), ("export", "keras", "export")])
def test_a_command_whose_extra_is_not_installed_says_what_to_install(name, library, extra):
    code = f"import sys; sys.modules[{library!r}] = None; from tickcast.cli import main; main([{name!r}, '--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 78, done.stderr
    assert f"`tickcast {name}` needs {library}: pip install 'tickcast[{extra}]'" in done.stderr


def test_a_command_of_the_daemon_that_cannot_be_imported_is_a_fault_and_shows_as_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "tickcast.commands.version", None)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["version"])


def test_check_config_exits_78_with_every_problem(tmp_path: Path, capsys):
    file = tmp_path / "desk.toml"
    file.write_text('[kafka]\ngroup = "g"\n[http]\nport = -1\n')
    assert _status("check-config", "--config", str(file)) == 78
    err = capsys.readouterr().err
    for key in ("kafka.group", "kafka.bootstrap_servers", "http.port", "models"):
        assert f"{file}: {key}: " in err


@pytest.mark.parametrize("name", ["run", "check-config", "verify", "audit", "version"])
def test_a_production_command_loads_nothing_of_research(name):
    code = (
        "import sys; from tickcast import cli; from importlib import import_module;"
        f"import_module(cli.COMMANDS[{name!r}].module);"
        "print([m for m in ('tensorflow', 'keras', 'tf2onnx', 'onnx', 'tickcast_export') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
