"""Building the native kernel: the cache, what its key depends on, and compilers that are missing or fail."""

import os
import platform
import re
import shutil

import pytest
from compilers import WORKS, WRITES, script

from regjax.core.caching import cache_folder
from regjax.native import build as module
from regjax.native.build import BuildError, build, compiler, is_built


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache, and no failure remembered."""
    monkeypatch.setenv("REGJAX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_failures", {})
    return tmp_path


def test_it_is_built_once(folder, monkeypatch):
    path = script(folder / "fake", WRITES)
    monkeypatch.setenv("CXX", path)
    assert not is_built("float32")
    found = build("float32")
    assert found.path.read_text() == "library\n"
    assert found.path.parent == cache_folder("native") == folder / "cache" / "native"
    assert found.how.startswith("fake 1.0, ")
    assert f"-DREAL=float, source {module.source_digest()}" in found.how
    assert is_built("float32")
    assert not is_built("float64")
    assert build("float32") == found
    assert (folder / "fake.runs").read_text() == "run\n"
    assert build("float64").path != found.path
    assert sorted(p.suffix for p in found.path.parent.iterdir()) == [".json", ".json", ".so", ".so"]


@pytest.mark.parametrize(
    "change",
    [
        {"source_digest": lambda: "other"},
        {"_version": lambda command: "other"},
        {"flags": lambda: ("-O0",)},
        {"_processor": lambda: "other"},
    ],
)
def test_it_is_built_anew_for_another_source_compiler_or_processor(change, folder, monkeypatch):
    monkeypatch.setenv("CXX", script(folder / "fake", WRITES))
    build("float32")
    for name, value in change.items():
        monkeypatch.setattr(module, name, value)
    assert not is_built("float32")


def test_a_library_whose_record_is_damaged_is_built_again(folder, monkeypatch):
    monkeypatch.setenv("CXX", script(folder / "fake", WRITES))
    found = build("float32")
    found.path.with_suffix(".json").write_text("{")
    assert not is_built("float32")
    assert build("float32") == found
    assert is_built("float32")


@pytest.mark.parametrize("damage", [b"", b"libr", b"Library\n"])
def test_a_library_that_is_cut_off_is_built_again_once(damage, folder, monkeypatch):
    monkeypatch.setenv("CXX", script(folder / "fake", WRITES))
    found = build("float32")
    found.path.write_bytes(damage)
    assert not is_built("float32")
    for _ in range(2):
        assert build("float32").path.read_text() == "library\n"
    assert (folder / "fake.runs").read_text() == "run\n" * 2
    found.path.unlink()
    assert not is_built("float32")


def test_a_command_of_several_words(folder, monkeypatch):
    path = script(folder / "fake", WRITES)
    alone = script(folder / "cache it", 'exec "$@"')
    monkeypatch.setenv("CXX", f"'{alone}' '{path}' -m64")
    assert compiler() == (alone, path, "-m64")
    found = build("float32")
    assert found.path.read_text() == "library\n"
    assert found.how.startswith(f"fake 1.0, {path} -m64 -std=c++17")
    assert is_built("float32")
    monkeypatch.setenv("CXX", f"'{alone}' '{path}' -m32")
    assert not is_built("float32")  # other words may make another library


def test_a_compiler_that_fails_is_said_and_not_tried_again(folder, monkeypatch):
    path = script(folder / "fake", WORKS + 'echo "train.cc:1: error: no such thing" >&2\nexit 1')
    monkeypatch.setenv("CXX", path)
    for _ in range(2):
        with pytest.raises(BuildError, match=r"fake failed: train.cc:1: error: no such thing"):
            build("float32")
    assert (folder / "fake.runs").read_text() == "run\n"
    assert not is_built("float32")
    assert list((folder / "cache" / "native").iterdir()) == []  # no half library


def test_a_machine_without_a_compiler(folder, monkeypatch):
    for asked in ("no-such-compiler", "no-such-compiler -O2", "'g++"):
        monkeypatch.setenv("CXX", asked)
        assert compiler() is None
        assert not is_built("float32")
        said = r"there is no C\+\+ compiler: \$CXX must be a command, got " + re.escape(repr(asked))
        with pytest.raises(BuildError, match=said):
            build("float32")
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(BuildError, match=r"compiler: c\+\+, g\+\+ and clang\+\+ are no commands"):
        build("float32")


def test_a_folder_that_cannot_be_written(folder, monkeypatch):
    monkeypatch.setenv("CXX", script(folder / "fake", WRITES))
    (folder / "cache").write_text("a file")
    with pytest.raises(BuildError, match="fake failed: "):
        build("float32")


def test_the_compiler_and_the_folder_are_the_users_to_choose(folder, monkeypatch):
    path = script(folder / "mine", WRITES)
    monkeypatch.setenv("CXX", path)
    assert compiler() == (path,)
    paths = [p for name in ("c++", "g++", "clang++") if (p := shutil.which(name))]
    for unset in ("", " "):
        monkeypatch.setenv("CXX", unset)
        assert compiler() == ((paths[0],) if paths else None)
    monkeypatch.delenv("CXX")
    assert compiler() == ((paths[0],) if paths else None)
    monkeypatch.delenv("REGJAX_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    assert cache_folder("native") == folder / "regjax" / "native"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(folder))
    assert cache_folder("native") == folder / ".cache" / "regjax" / "native"


@pytest.mark.slow
def test_flags_name_this_processor(monkeypatch):
    assert "-march=native" in module.flags() or "-mcpu=native" in module.flags()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "-mcpu=native" in module.flags()
    assert os.path.isfile(os.path.join(os.path.dirname(module.__file__), module.SOURCE))
