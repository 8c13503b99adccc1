"""Images that a text file lists: its spellings, its classes, and one message about all its wrong lines."""

import pickle

import pytest

from src.data import open_dataset
from src.data.image_folder import ImageFolder
from src.data.image_list import ImageList, read_image_list
from src.data.val_split import ValSplit
from src.errors import UserError
from tests.data.test_image_folder import put


@pytest.fixture
def root(tmp_path):
    return put(tmp_path / "images", "a/1.png", "a/2.png", "b/1.png", "b/2.png", "c/x, y.png")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def read(root, text, **more):
    return [tuple(image) for image in read_image_list(write(root / "list.csv", text), **more)]


BOTH = [("a/1.png", "ant"), ("c/x, y.png", "sea bird")]


@pytest.mark.parametrize(
    "text",
    [
        'a/1.png,ant\n"c/x, y.png",sea bird\n',
        '\ufeffa/1.png , ant\r\n"c/x, y.png", "sea bird"\r\n',
        "a/1.png\tant\nc/x, y.png\tsea bird",
        'file,label\na/1.png,ant\n"c/x, y.png",sea bird\n',
        'id,Class_Name,split,IMAGE_PATH\n1,ant,0,a/1.png\n2,sea bird,1,"c/x, y.png"\n',
        "label\tpath\nant\ta/1.png\nsea bird\tc/x, y.png\n",
        'a/./1.png,ant\n"b/../c/x, y.png",sea bird\n',
    ],
)
def test_spellings_of_one_list(root, text):
    assert read(root, text) == BOTH


def test_what_files_are_relative_to(root, tmp_path):
    path = write(tmp_path / "lists" / "train.csv", "a/1.png,ant\n")
    assert read_image_list(path, root) == read_image_list(write(root / "x.csv", f"{root}/a/1.png,ant"))
    with pytest.raises(UserError, match=r"1 file not in .*/lists: a/1.png \(line 1\): correct the list, or give ano"):
        read_image_list(path)
    assert ImageList(root, "train", path).path(0) == root / "a" / "1.png"


def test_one_message_about_everything(root):
    lines = [
        "file,label", "a/1.png,ant", "a/1.png,bee", "a/../a/1.png,ant", "../secret.png,ant", "/etc/passwd,ant",
        "b/1.png,", "b/2.png,a\x1b[31m", "b/2.png", '"b/2.png,ant', ",ant", *(f"none/{i}.png,ant" for i in range(12)),
    ]  # fmt: skip
    with pytest.raises(UserError) as error:
        read(root, "\n".join(lines))
    said = str(error.value)
    assert said.startswith(f"{root / 'list.csv'}: expected a file and its label on each line, with a comma or tab")
    for part in (
        "2 files named twice: a/1.png (lines 2 and 3), a/../a/1.png (lines 2 and 4)",
        f"2 files not below {root}: ../secret.png (line 5), /etc/passwd (line 6);",
        "1 file without a name: line 11",
        "1 label empty: line 7",
        "1 label no printable name: line 8 ('a\\x1b[31m')",
        "2 lines without 2 parts: 9 ('b/2.png'), 10 ('\"b/2.png,ant')",
        f"12 files not in {root}: none/0.png (line 12), none/1.png (line 13)",
        "none/9.png (line 21) and 2 more: correct the list",
    ):
        assert part in said, part
    assert said.isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("a/1.png,ant\n\nb/1.png,bee\n", "line 2 is empty"),
        (b"a/1.png,caf\xe9\n", "it is not UTF-8 text"),
        ("file,label\n", "there is a header only"),
        ("file,path,label\na,b,c\n", "its header has file and path, which mean the same here: rename all but one"),
        ("c/x, y.png,bird\n", r"1 line without 2 parts: 1 \('c/x, y.png,bird'\)"),
        ("a/1.png\0,ant\n", "1 file not below"),
        ("a,ant\n", "1 file not in"),
    ],
)
def test_lists_that_are_refused(root, text, message):
    with pytest.raises(UserError, match=message):
        read(root, text)


def test_no_such_list(root):
    with pytest.raises(UserError, match="none.csv: expected a text file with a file and its label .*: No such file"):
        read_image_list(root / "none.csv")


def test_the_same_as_folders(tmp_path):
    put(tmp_path, *(f"{split}/{name}/{i}.png" for split in ("train", "val") for name in ("b", "a") for i in (1, 2)))
    for split in ("train", "val"):
        folder = ImageFolder(tmp_path, split)
        lines = [f"{split}/{folder.name(i)},{folder.classes[folder.label(i)]}" for i in range(len(folder))]
        write(tmp_path / f"{split}.csv", "\n".join(lines))
    lists = {"train_list": str(tmp_path / "train.csv"), "val_list": str(tmp_path / "val.csv")}
    for split in ("train", "val"):
        found, folder = open_dataset("list", None, split, **lists), ImageFolder(tmp_path, split)
        assert (found.classes, len(found)) == (folder.classes, len(folder)) == (["a", "b"], 4)
        assert [found.describe(i) for i in range(4)] == [folder.describe(i) for i in range(4)]
        for i in range(4):
            (image, label), (expected, expected_label) = pickle.loads(pickle.dumps(found))[i], folder[i]
            assert (image.tobytes(), label) == (expected.tobytes(), expected_label)
        assert found.fingerprint() == open_dataset("list", str(tmp_path), split, **lists).fingerprint()


def test_validation_has_the_labels_of_training(root):
    train, val = write(root / "train.csv", "b/1.png,bee\na/1.png,ant"), write(root / "val.csv", "b/2.png,bee")
    found = ImageList(None, "val", train, val)
    assert (found.classes, found.label(0), found.describe_ignored()) == (["ant", "bee"], 1, None)
    alone = ImageList(None, "val", None, val)
    assert (alone.classes, alone.label(0)) == (["bee"], 0)
    other = write(root / "other.csv", "b/2.png,wasp")
    with pytest.raises(UserError, match="other.csv has classes that .*train.csv does not have: wasp"):
        ImageList(None, "val", train, other)


def test_no_image_of_training_is_judged(root, tmp_path):
    train = write(tmp_path / "train.csv", "images/a/1.png,ant\nimages/a/2.png,ant\n")
    val = write(root / "val.csv", "a/2.png,ant\nb/1.png,ant\n")
    with pytest.raises(UserError, match="^1 image of .*/val.csv is in .*/train.csv too: a/2.png"):
        ImageList(None, "val", train, val)


def test_chosen_classes(root):
    classes = write(root / "classes.txt", "bee,Biene\nant\n")
    text = "a/1.png,ant\nb/1.png,bee\na/2.png,cat\n"
    train, val = write(root / "train.csv", text), write(root / "val.csv", "b/2.png,bee")
    found = open_dataset("list", None, "train", classes, train_list=train)
    assert (found.classes, [found.label(i) for i in range(len(found))]) == (["Biene", "ant"], [1, 0])
    assert found.describe_ignored() == f"{train}: left out 1 class that {classes} does not name: cat"
    assert open_dataset("list", None, "val", classes, train_list=train, val_list=val).label(0) == 0
    with pytest.raises(UserError, match="names 1 of its 2 classes that .*/train.csv does not have: dog"):
        open_dataset("list", None, "train", write(root / "wrong.txt", "dog\nant\n"), train_list=train)
    with pytest.raises(UserError, match="val.csv has none of the classes that .*/ant.txt names"):
        open_dataset("list", None, "val", write(root / "ant.txt", "ant"), train_list=train, val_list=val)


def test_one_list_divided(tmp_path):
    put(tmp_path, *(f"{name}/{i}.png" for name in "ab" for i in range(10)))
    train = write(tmp_path / "all.csv", "\n".join(f"{name}/{i}.png,{name}" for i in range(10) for name in "ba"))
    split = ValSplit(0.3, 5)
    for part in ("train", "val"):
        found = open_dataset("list", None, part, val_split=split, train_list=train)
        folder = ImageFolder(tmp_path, part, val_split=split)
        names = [str(found.path(i)) for i in range(len(found))]
        assert sorted(names) == sorted(str(folder.path(i)) for i in range(len(folder)))
        assert found.division == folder.division and len(found) == {"train": 14, "val": 6}[part]
    with pytest.raises(UserError, match="data.val_split divides data.train_list: leave it or data.val_list out"):
        open_dataset("list", None, "val", val_split=split, train_list=train, val_list=train)


def test_what_a_list_needs(tmp_path):
    with pytest.raises(UserError, match="data source 'list' needs data.train_list: a text file with a file and its"):
        open_dataset("list", None, "train", val_list="x.csv")
    with pytest.raises(UserError, match=r"needs data.val_list \(or data.val_split, which divides data.train_list\)"):
        open_dataset("list", None, "val", train_list="x.csv")
    with pytest.raises(UserError, match="data folder none does not exist"):
        open_dataset("list", "none", "train", train_list="x.csv")
    with pytest.raises(UserError, match="data.train_list is for data source 'list', got 'folder': set that, or leave"):
        open_dataset("folder", str(tmp_path), "train", train_list="x.csv")
