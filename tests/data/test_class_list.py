"""The file of `data.classes`: which class folders, in which order, by which labels."""

import pytest

from src.data import open_dataset
from src.data.class_list import read_class_list
from src.errors import UserError
from tests.data.test_image_folder import put


def write(text):
    with open("classes.txt", "w", encoding="utf-8", newline="") as file:
        file.write(text)
    return "classes.txt"


def opened(root, split, text):
    return open_dataset("folder", str(root), split, write(text))


def test_a_folder_a_line_with_or_without_a_label():
    found = read_class_list(write("\ufeffb\r\nn02012849, crane, the bird\r\na,b\tcomma\r\n  c d  \n"))
    assert found.names == ["b", "n02012849", "a,b", "c d"]
    assert found.labels == ["b", "crane, the bird", "comma", "c d"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "classes.txt: expected a text file with one class folder a line, .*: the file is empty"),
        ("a\n\nb\n", "line 2 is empty"),
        ("a\nb,\n", "line 2 is 'b,': expected one class folder a line, or a folder, a tab or comma, and its label"),
        ("\ta\n", "line 1 is empty|line 1 is '"),
        ("a\nb\x1b[31m\n", r"line 2 is 'b\\x1b\[31m'"),
        ("a\nb\na,c\n", "lines 1 and 3 both have the class 'a': remove one"),
        ("a\nb,a\n", "lines 1 and 2 both have the label 'a': remove one"),
        ("é\ne\u0301\n", "lines 1 and 2 both have the class"),
        ("a," + "b" * 1001, "line 1 is 'a,bbb"),
    ],
)
def test_lines_that_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        read_class_list(write(text))


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    for file, reason in (("latin.txt", "it is not UTF-8 text"), ("none.txt", "No such file"), (".", "Is a directory")):
        with pytest.raises(UserError, match=f"^{file}: expected a text file with one class folder a line.*{reason}"):
            read_class_list(file)


def test_order_labels_and_a_subset(tmp_path):
    put(tmp_path, *(f"{split}/{name}/1.png" for split in ("train", "val") for name in "abcd"))
    train, val = (opened(tmp_path, split, "c,cat\na\n") for split in ("train", "val"))
    assert train.classes == val.classes == ["cat", "a"]
    assert [(train.path(i).parent.name, train.label(i)) for i in range(len(train))] == [("a", 1), ("c", 0)]
    assert [val.label(i) for i in range(len(val))] == [1, 0]
    left_out = "left out 2 class folders that classes.txt does not name: b, d"
    assert train.describe_ignored() == f"{tmp_path / 'train'}: {left_out}"


def test_validation_may_lack_classes_and_have_further_ones(tmp_path):
    put(tmp_path, "train/a/1.png", "train/b/1.png", "train/c/1.png", "val/b/1.png", "val/z/1.png")
    val = opened(tmp_path, "val", "c\nb\n")
    assert (val.classes, [val.label(i) for i in range(len(val))], val.left_out) == (["c", "b"], [1], ["z"])
    with pytest.raises(UserError, match="val has none of the classes that classes.txt names: add their images"):
        opened(tmp_path, "val", "c\n")


def test_a_class_that_there_is_none_of(tmp_path):
    put(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/1.png", "val/z/1.png")
    for split in ("train", "val"):
        with pytest.raises(
            UserError, match=r"names 1 of its 2 classes that .*/train does not have: z; there are a, b:"
        ):
            opened(tmp_path, split, "a\nz\n")


def test_folders_that_a_file_system_took_apart(tmp_path):
    put(tmp_path, "train/e\u0301/1.png", "train/a/1.png")
    train = opened(tmp_path, "train", "é\na\n")
    assert (train.classes, [train.label(i) for i in range(2)]) == (["é", "a"], [1, 0])


def test_only_for_class_folders():
    with pytest.raises(UserError, match="data.classes chooses among .*: leave it out with data source 'digits'"):
        open_dataset("digits", None, "train", "classes.txt")
