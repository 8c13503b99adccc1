"""ImageNet layout: labels, order, what is skipped, and what is said when the folder is not as expected."""

import pytest
from PIL import Image

from src.data.image_folder import ImageFolder
from src.errors import UserError


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (len(name), 0, 0)).save(path, format="PNG")
    return root


def relative(dataset, root):
    return [dataset.path(i).relative_to(root).as_posix() for i in range(len(dataset))]


def test_sorted_classes_nested_folders_and_endings(tmp_path):
    put(tmp_path, "train/b/2.JPEG", "train/b/deep/er/2.png", "train/b/deep/er/1.png", "train/a/x.webp", "train/b/1.bmp")
    train = ImageFolder(tmp_path, "train")
    assert train.classes == ["a", "b"]
    assert relative(train, tmp_path) == [
        "train/a/x.webp",
        "train/b/1.bmp",
        "train/b/2.JPEG",
        "train/b/deep/er/1.png",
        "train/b/deep/er/2.png",
    ]
    assert [train.label(i) for i in range(5)] == [0, 1, 1, 1, 1]
    image, label = train[1]
    assert (image.getpixel((0, 0)), label) == ((len("train/b/1.bmp"), 0, 0), 1)
    assert train.ignored == []


def test_other_files_are_named(tmp_path):
    put(
        tmp_path,
        "train/a/x.png",
        "train/a/._x.png",
        "train/a/deep/.DS_Store",
        "train/a/.cache/y.png",
        "train/.tmp/z.png",
    )
    (tmp_path / "train" / "a" / "notes.txt").touch()
    (tmp_path / "train" / "a" / "no_ending").touch()
    (tmp_path / "train" / "labels.csv").touch()
    train = ImageFolder(str(tmp_path), "train")
    assert relative(train, tmp_path) == ["train/a/x.png"]
    assert train.ignored == [
        ".tmp/", "labels.csv", "a/._x.png", "a/.cache/", "a/deep/.DS_Store", "a/no_ending", "a/notes.txt",
    ]  # fmt: skip
    assert train.describe_ignored() == (
        f"{tmp_path / 'train'}: left out 7 entries that are no image or hidden: "
        ".tmp/, labels.csv, a/._x.png, a/.cache/, a/deep/.DS_Store and 2 more"
    )


def test_every_ending_that_pillow_reads(tmp_path):
    endings = ["bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "png", "ppm", "tga", "tif", "tiff", "webp"]
    train = ImageFolder(put(tmp_path, *(f"train/a/1.{ending}" for ending in [*endings, "JPG", "Png"])), "train")
    assert (len(train), train.describe_ignored()) == (len(endings) + 2, None)
    assert all(train[i][0].size == (2, 2) for i in range(len(train)))


def test_links_are_followed_but_not_in_circles(tmp_path):
    put(tmp_path, "elsewhere/1.png", "train/a/2.png")
    (tmp_path / "train" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "elsewhere")
    assert relative(ImageFolder(tmp_path, "train"), tmp_path) == ["train/a/2.png", "train/b/1.png"]


def test_val_takes_the_labels_of_train(tmp_path):
    put(tmp_path, "train/a/1.png", "train/b/1.png", "train/c/1.png", "val/c/1.png", "val/a/1.png")
    val = ImageFolder(tmp_path, "val")
    assert val.classes == ["a", "b", "c"]
    assert [val.label(i) for i in range(len(val))] == [0, 2]


def test_val_alone_brings_its_own_classes(tmp_path):
    val = ImageFolder(put(tmp_path, "val/c/1.png", "val/a/1.png"), "val")
    assert val.classes == ["a", "c"]


def test_val_with_unknown_classes(tmp_path):
    put(tmp_path, "train/a/1.png", "val/a/1.png", "val/dgo/1.png", "val/cta/1.png")
    with pytest.raises(UserError, match=r"val has classes that .*train does not have: cta, dgo;"):
        ImageFolder(tmp_path, "val")


def test_missing_folders(tmp_path):
    with pytest.raises(UserError, match=r"nowhere does not exist.*expected ROOT/train/CLASS/image\.jpg"):
        ImageFolder(tmp_path / "nowhere", "train")
    put(tmp_path, "a/1.png")
    with pytest.raises(UserError, match=r"has no folder train/; expected ROOT/train/CLASS/image\.jpg"):
        ImageFolder(tmp_path, "train")


def test_no_class_folders(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match=r"train has no class folders but nothing at all; expected"):
        ImageFolder(tmp_path, "train")
    put(tmp_path, "val/1.png", "val/2.png")  # as the validation images of ImageNet come
    with pytest.raises(UserError, match=r"val has no class folders but 2 other entries \(1\.png, 2\.png\); expected"):
        ImageFolder(tmp_path, "val")


def test_class_without_images(tmp_path):
    put(tmp_path, "train/a/1.png")
    for name in "bcdefgh":
        (tmp_path / "train" / name).mkdir()
    (tmp_path / "train" / "b" / "1.txt").touch()
    with pytest.raises(UserError, match=r"folders without images: b, c, d, e, f and 2 more;.*no images: b/1\.txt"):
        ImageFolder(tmp_path, "train")


def test_no_images_at_all(tmp_path):
    (tmp_path / "train" / "a").mkdir(parents=True)
    with pytest.raises(UserError, match="class folders without images: a;"):
        ImageFolder(tmp_path, "train")


def test_only_two_splits(tmp_path):
    put(tmp_path, "test/a/1.png")
    with pytest.raises(UserError, match="unknown split 'test': expected 'train' or 'val'"):
        ImageFolder(tmp_path, "test")


def test_broken_image_is_named_when_it_is_read(tmp_path):
    put(tmp_path, "train/a/1.png")
    (tmp_path / "train" / "a" / "2.jpg").write_text("text")
    train = ImageFolder(tmp_path, "train")
    train[0]
    with pytest.raises(UserError, match=r"cannot read image .*train/a/2\.jpg"):
        train[1]
