"""What lies in the cache of kernels is counted, judged and removed, and nothing else is touched."""

import hashlib
import os
import pwd

import pytest
from support.kernels import FOREIGN, answer

from minivan import kernel_cache
from minivan.cli import main
from minivan.kernel_survey import clear, kept, versions


@pytest.fixture
def filled(cache):
    """A cache with one kernel of this version, one of another version, and files that are nobody's business."""
    assert not answer()
    other = cache.with_name("minivan-0123456789abcdef")
    other.mkdir(0o755)
    (other / f"fast.network.run-{'0' * 32}.kernel").write_bytes(b"not what the first line says\n")
    (cache.parent / "minivan-notes").mkdir()
    (cache.parent / "minivan-notes" / "mine.kernel").write_text("mine")
    return cache


def cache_owner(folder):
    return pwd.getpwuid(folder.stat().st_uid).pw_name


def test_what_no_process_here_would_load_and_what_was_left_unfinished_is_counted(filled, monkeypatch, capsys):
    monkeypatch.setattr("minivan.doctor.CHECKED", ())
    with monkeypatch.context() as patch:
        other = {**kernel_cache._compiler(), "numba": "0.1"}
        patch.setattr(kernel_cache, "_compiler", lambda: other)
        assert not answer()
    (filled / f"a-{'0' * 32}.kernel.{'0' * 16}.tmp").write_bytes(b"half")
    own = versions()[0]
    assert (own.kernels, own.foreign, own.unfinished) == (2, 1, 1)
    main(["doctor"])
    said = capsys.readouterr().out
    assert f"of {cache_owner(filled)}: 2 kernels" in said and "1 of them for other" in said and "1 files that were left" in said


def test_a_checksum_of_nothing_that_minivan_wrote_is_damage(filled):
    rest = b"no JSON\n1\nno pickle"
    (filled / f"a-{'0' * 32}.kernel").write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    assert versions()[0].damaged == (f"a-{'0' * 32}.kernel",)


def test_versions_are_counted_this_one_first_and_damage_is_seen(filled):
    own, other = versions()
    assert own.used_here and own.kernels == 1 and own.size > 0 and not own.damaged and own.doubt is None
    assert 0 < own.seconds < 60 and own.owner == cache_owner(filled) and own.foreign == own.unfinished == 0
    assert not other.used_here and other.damaged == (f"fast.network.run-{'0' * 32}.kernel",)


def test_files_of_another_user_or_writable_by_others_are_doubted(filled):
    (kernel,) = filled.iterdir()
    kernel.chmod(0o666)
    assert "others may write" in versions()[0].doubt
    kernel.chmod(0o644)
    if os.geteuid() == 0:
        os.chown(kernel, FOREIGN, -1)
        assert f"belongs to user {FOREIGN}" in versions()[0].doubt


def test_clear_leaves_other_users_theirs(filled, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: FOREIGN)
    assert clear() == 0 and len(versions()) == 2
    monkeypatch.undo()
    assert clear() == 2


def test_clear_removes_kernels_and_nothing_else(filled, tmp_path, capsys):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"a-{'0' * 32}.kernel").write_text("not in the cache")
    (filled.parent / "minivan-fedcba9876543210").symlink_to(outside)
    (filled / "notes.txt").write_text("mine")
    (filled / f"b-{'0' * 32}.kernel").symlink_to(outside / f"a-{'0' * 32}.kernel")
    assert clear() == 2
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {
        "kernels/minivan-notes/mine.kernel",
        f"kernels/{filled.name}/b-{'0' * 32}.kernel",
        f"kernels/{filled.name}/notes.txt",
        f"outside/a-{'0' * 32}.kernel",
    }
    assert (filled.parent / "minivan-fedcba9876543210").is_symlink()
    assert clear() == 0 and not answer()


def test_what_is_kept_is_known_by_name_and_for_certain_by_what_the_file_says(cache, monkeypatch):
    name = "ops.activation._power_of_two"
    assert not kept(name) and not kept(name, "(float64")
    assert not answer()
    assert kept(name) and kept(name, "(float64") and not kept(name, "(Lanes") and not kept(name[:-1])
    with monkeypatch.context() as patch:
        patch.setattr(kernel_cache, "_compiler", lambda: {"numba": "0.1"})
        assert kept(name) and not kept(name, "(float64")
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert kept(name) and not kept(name, "(float64")
    cache.chmod(0o777)  # whoever may write it is not trusted
    assert not kept(name) and not kept(name, "(float64")


def test_an_empty_and_a_missing_cache_are_no_fault(cache):
    assert versions() == [] and clear() == 0


def test_the_command_clears_before_it_looks(filled, monkeypatch, capsys):
    monkeypatch.setattr("minivan.doctor.CHECKED", ())
    assert main(["doctor", "--clear"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("removed 2 files of compiled kernels\n") and "no kernels yet" in said


def test_damage_is_wrong_and_other_versions_are_told_of(filled, monkeypatch, capsys):
    monkeypatch.setattr("minivan.doctor.CHECKED", ())
    (kernel,) = filled.iterdir()
    kernel.write_bytes(kernel.read_bytes()[:-1])
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "1 damaged" in said and "1 other versions of minivan left 29 bytes" in said
