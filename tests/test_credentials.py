"""Secrets come from files that nobody else may read, and no message repeats one."""

import os

import pytest
from tickcast import credentials
from tickcast.errors import ConfigurationError

SETTING = "kafka.security.password_file"
SECRET = "correct-horse-battery"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "password"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


def refusal(path):
    with pytest.raises(ConfigurationError) as raised:
        credentials.read(SETTING, str(path))
    message = str(raised.value)
    assert message.startswith(f"{SETTING}: {path}: ")
    assert SECRET not in message
    assert SECRET not in repr(raised.value.__context__)
    return message.removeprefix(f"{SETTING}: {path}: ")


@pytest.mark.parametrize("text", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n"])
def test_the_newline_that_an_editor_leaves_is_no_part_of_a_secret(file, text):
    file.write_bytes(text.encode())
    assert credentials.read(SETTING, str(file)) == SECRET


def test_spaces_and_further_lines_are_part_of_it(file):
    file.write_text(f" {SECRET} \n\n")
    assert credentials.read(SETTING, str(file)) == f" {SECRET} \n"


def test_a_secret_is_found_through_a_link_as_kubernetes_lays_them_out(file, tmp_path):
    (tmp_path / "link").symlink_to(file)
    assert credentials.read(SETTING, str(tmp_path / "link")) == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o666, 0o601])
def test_a_secret_of_ours_that_others_may_read_is_refused(file, mode):
    file.chmod(mode)
    assert refusal(file) == f"others may read it (mode {mode:04o}); chmod {mode & 0o700:04o}"


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_secret_for_us_alone_is_taken(file, mode):
    file.chmod(mode)
    assert credentials.read(SETTING, str(file)) == SECRET


def test_a_secret_of_another_s_may_be_for_a_group_but_not_for_all(file, monkeypatch):
    """As root gives one to a daemon, or Kubernetes by fsGroup."""
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    file.chmod(0o640)
    assert credentials.read(SETTING, str(file)) == SECRET
    file.chmod(0o644)
    assert refusal(file) == "others may read it (mode 0644); chmod 0640"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (SECRET.encode() + b"\0", "holds a zero byte"),
        (SECRET.encode() + b"\xff", "not UTF-8"),
        (SECRET.encode() * 4_000, "longer than 65536 bytes"),
    ],
)
def test_what_can_be_no_secret_is_refused(file, content, message):
    file.write_bytes(content)
    assert refusal(file) == message


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    assert refusal(tmp_path / "absent") == "cannot be read: No such file or directory"
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert refusal(tmp_path / "pipe") == "no regular file"
    (tmp_path / "folder").mkdir(0o700)
    assert refusal(tmp_path / "folder") == "cannot be read: Is a directory"
