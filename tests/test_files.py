"""Files: whole or not at all, no links followed, and what is read may be anything."""

from __future__ import annotations

import errno
import json
import os

import pytest

from robustfw.storage import files
from robustfw.storage.files import (
    append_line,
    json_bytes,
    parse_json,
    printable,
    read_bytes,
    read_json,
    safe_child,
    write_whole,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_or_left(tmp_path, monkeypatch):
    path = tmp_path / "it"
    write_whole(path, b"one")
    write_whole(path, b"two", within=tmp_path)
    assert path.read_bytes() == b"two"

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"three")
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == ["it"]


def test_a_line_for_which_there_is_no_room_is_not_there(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "lines"
    append_line(path, b"first", within=tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large|No space left"):
            append_line(path, b"second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"first\n"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("write", [write_whole, append_line])
@pytest.mark.parametrize("link", ["run/file", "run/folder"])
def test_no_link_within_a_run_is_followed(write, link, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    (tmp_path / "run").mkdir()
    target = tmp_path / "precious" / ("file" if link == "run/file" else "")
    (tmp_path / link).symlink_to(target)
    path = tmp_path / link if link == "run/file" else tmp_path / link / "file"
    with pytest.raises(OSError, match=r"is a link, and none is followed there"):
        write(path, b"theirs", within=tmp_path / "run")
    assert (tmp_path / "precious" / "file").read_text() == "mine"
    assert names(tmp_path / "precious") == ["file"]
    assert (tmp_path / link).is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_the_run_itself_may_be_a_link(tmp_path):
    (tmp_path / "large disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "large disk")
    write_whole(tmp_path / "run" / "file", b"it", within=tmp_path / "run")
    assert names(tmp_path / "large disk") == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "..", ".", "", "a\0b", "a\\b", "C:x", "link", "link/x", None, 3]
)
def test_names_that_lead_out_are_refused(name, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path.parent)
    with pytest.raises(ValueError, match=r"."):
        safe_child(tmp_path, name)
    assert safe_child(tmp_path, "a/b.json") == tmp_path / "a" / "b.json"


def test_leftovers_are_removed_once_nobody_can_be_writing_them(tmp_path):
    for name in (".a.json.1.tmp", ".b.json.2-ab.tmp", ".notes", "c.tmp"):
        (tmp_path / name).touch()
    files.remove_leftovers(tmp_path)
    assert len(names(tmp_path)) == 4
    os.utime(tmp_path / ".b.json.2-ab.tmp", (0, 0))
    files.remove_leftovers(tmp_path)
    assert names(tmp_path) == [".a.json.1.tmp", ".notes", "c.tmp"]
    files.remove_leftovers(tmp_path, "a.json", older=0)
    assert names(tmp_path) == [".notes", "c.tmp"]
    files.remove_leftovers(tmp_path / "nothing")


# Reading


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("9" * 5000, "a number in it has 5000 digits"),
        ("[" + "9" * 301 + "]", "a number in it has 301 digits"),
        ("1e999", "too large"),
        ("NaN", "NaN is no number"),
        ("-Infinity", "Infinity is no number"),
        ("[" * 100_000, "nested too deeply"),
        ("[" * 100 + "]" * 100, "nested too deeply"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested too deeply"),
        ("", "Expecting value"),
        ("{", "Expecting"),
    ],
)
def test_what_is_no_sound_json_is_a_value_error(text, words, tmp_path):
    (tmp_path / "it.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_json(tmp_path / "it.json")


def test_sound_json_comes_back(tmp_path):
    value = {"a": [1, 2.5, None, True, "δ"], "large": 10**299, "name": os.fsdecode(b"caf\xe9")}
    (tmp_path / "it.json").write_bytes(json_bytes(value))
    assert read_json(tmp_path / "it.json") == value
    assert json.loads((tmp_path / "it.json").read_bytes()) == value
    assert parse_json("[NaN]", nan=True)[0] != parse_json("[NaN]", nan=True)[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_does_not_keep_the_reader_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        read_bytes(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(ValueError, match="more than the 10"):
        read_bytes(tmp_path / "large", 10)


def test_what_misleads_a_reader_is_replaced():
    assert printable("a\x00b\x1b[31mc\u202ed\udc80 δ\n") == "a�b�[31mc�d� δ\n"
