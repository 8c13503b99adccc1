"""Oxford-IIIT Pets as its archives unpack: lists, class names, and what is said when something is missing."""

import pytest
from PIL import Image

from src.data import open_dataset
from src.data.oxford_pets import OxfordPets
from src.errors import UserError

TRAINVAL = "Abyssinian_100 1 1 1\nAbyssinian_2 1 1 1\namerican_bulldog_10 2 2 1\nBengal_7 3 1 2\n"
TEST = "Bengal_8 3 1 2\namerican_bulldog_11 2 2 1\n"


@pytest.fixture
def root(tmp_path):
    """Red is the number in an image's name; the images that no list names must not be read."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "trainval.txt").write_text(TRAINVAL)
    (tmp_path / "annotations" / "test.txt").write_text(TEST)
    (tmp_path / "images").mkdir()
    for line in (TRAINVAL + TEST).splitlines():
        name = line.split()[0]
        red = int(name.rpartition("_")[2])
        Image.new("RGB", (4, 3), (red, 0, 0)).save(tmp_path / "images" / f"{name}.jpg", format="PNG")
    (tmp_path / "images" / "Abyssinian_100.mat").touch()
    (tmp_path / "images" / "Bombay_1.jpg").touch()
    return tmp_path


def test_splits(root):
    train, val = OxfordPets(root, "train"), OxfordPets(str(root), "val")
    assert train.classes == val.classes == ["Abyssinian", "american_bulldog", "Bengal"]
    assert [train[i][0].getpixel((0, 0))[0] for i in range(len(train))] == [100, 2, 10, 7]
    assert [train[i][1] for i in range(4)] == [train.label(i) for i in range(4)] == [0, 0, 1, 2]
    assert [(val[i][0].getpixel((0, 0))[0], val.label(i)) for i in range(len(val))] == [(8, 2), (11, 1)]
    assert (val[0][0].mode, val[0][0].size) == ("RGB", (4, 3))
    assert val.path(1) == root / "images" / "american_bulldog_11.jpg"


def test_lists_with_a_byte_order_mark(root):
    (root / "annotations" / "trainval.txt").write_text(TRAINVAL, encoding="utf-8-sig")
    train = OxfordPets(root, "train")
    assert train.classes[0] == "Abyssinian" and train.path(0).name == "Abyssinian_100.jpg"


def test_classes_come_from_both_lists(root):
    (root / "annotations" / "trainval.txt").write_text("Abyssinian_2 1 1 1\n")
    assert OxfordPets(root, "train").classes == ["Abyssinian", "american_bulldog", "Bengal"]


def test_source(root):
    assert isinstance(open_dataset("oxford_pets", str(root), "val"), OxfordPets)
    with pytest.raises(UserError, match="'oxford_pets' needs the folder that holds images/ and annotations/, but none"):
        open_dataset("oxford_pets", None, "val")


def test_only_two_splits(root):
    with pytest.raises(UserError, match="unknown split 'test': expected 'train' or 'val'"):
        OxfordPets(root, "test")


def test_missing_folders(root):
    with pytest.raises(UserError, match=r"nowhere does not exist.*expected ROOT/images/ and ROOT/annotations/, as"):
        OxfordPets(root / "nowhere", "train")
    with pytest.raises(UserError, match=r"images/annotations/trainval\.txt cannot be read: No such file.*3,680 lines"):
        OxfordPets(root / "images", "train")
    (root / "images").rename(root / "pictures")
    with pytest.raises(UserError, match=r"images cannot be listed: No such file.*images in images\.tar\.gz: unpack it"):
        OxfordPets(root, "train")


def test_missing_images(root):
    (root / "images" / "Abyssinian_2.jpg").unlink()
    (root / "images" / "Bengal_7.jpg").unlink()
    assert len(OxfordPets(root, "val")) == 2
    with pytest.raises(
        UserError, match=r"images lacks 2 of the 4 images of this split, the first is Abyssinian_2\.jpg"
    ):
        OxfordPets(root, "train")


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"test\.txt is empty; annotations\.tar\.gz has there 3,669 lines such as 'Abyssinian_100 1 1 1'"),
        (b"Bengal_8 3 1 2\nBengal_9 3", r"test\.txt: line 2 is 'Bengal_9 3'; annotations"),
        (b"Bengal_8.jpg 3 1 2\n", r"line 1 is 'Bengal_8\.jpg 3 1 2'"),
        (b"Bengal_8 0 1 2\n", "line 1 is 'Bengal_8 0 1 2'"),
        (b"<html>\n", "line 1 is '<html>'"),
        (b"Bengal_8 3 1 2\n\xff\xfe", r"test\.txt is no text; annotations"),
        (b"Birman_8 3 1 2\n", "line 1 gives class 3 to Birman, others to Bengal"),
        (b"Birman_8 5 1 2\n", "its lists name 4 classes up to number 5;.*the numbers 1 to 37"),
    ],
)
def test_damaged_list(root, content, message, split):
    (root / "annotations" / "test.txt").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        OxfordPets(root, split)
    assert "\n" not in str(error.value)


def test_broken_image_is_named_when_it_is_read(root):
    (root / "images" / "Bengal_8.jpg").write_text("text")
    val = OxfordPets(root, "val")
    val[1]
    with pytest.raises(UserError, match=r"cannot read image .*images/Bengal_8\.jpg"):
        val[0]
