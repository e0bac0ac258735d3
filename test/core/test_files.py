"""Files are replaced as a whole or not at all."""

from pathlib import Path

import pytest

from occ_core.files import check_target, replacing, write_atomically


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_atomically(path, "Bäume")
    assert path.read_text(encoding="utf-8") == "Bäume"
    assert [each.name for each in path.parent.iterdir()] == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half of the ")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_can_be_made_is_refused(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.touch()
    folder.mkdir()
    for fine in (file, folder / "new", tmp_path / "a" / "b"):
        check_target(fine, "file")
    for fine in (folder, tmp_path / "a" / "b"):
        check_target(fine, "folder")
    with pytest.raises(ValueError, match=r"cannot write the file .*folder: .*folder is a folder"):
        check_target(folder, "file")
    with pytest.raises(ValueError, match=r"cannot write the folder .*file: .*file is a file"):
        check_target(file, "folder")
    for kind in ("file", "folder"):
        with pytest.raises(ValueError, match=rf"the {kind} .*file/a/b: .*file is a file; choose"):
            check_target(file / "a" / "b", kind)
