"""One folder of classes divided by `data.val_split`: which images validate, and on which a network may be judged."""

import hashlib
import shutil
from dataclasses import asdict

import pytest

from src.data import open_dataset
from src.data.image_folder import ImageFolder
from src.data.mindrecord import Manifest, MindRecord
from src.data.mindrecord_shards import make_mindrecord
from src.data.val_split import Division, ValSplit, check_same_division, check_start, trained_on
from src.errors import UserError
from tests.data.test_image_folder import put

COUNTS = {"ant": 2, "bee": 10, "cat": 25}


@pytest.fixture
def root(tmp_path):
    return put(tmp_path / "images", *(f"{name}/{i}.png" for name, count in COUNTS.items() for i in range(count)))


def names_of(dataset):
    return [dataset.name(i) for i in range(len(dataset))]


def both(root, share=0.1, seed=42, **options):
    return [ImageFolder(root, split, val_split=ValSplit(share, seed), **options) for split in ("train", "val")]


@pytest.mark.parametrize(
    ("share", "counts"), [(0.1, [1, 1, 3]), (0.01, [1, 1, 1]), (0.5, [1, 5, 13]), (0.99, [1, 9, 24])]
)
def test_the_share_of_each_class(root, share, counts):
    train, val = both(root, share)
    assert train.classes == val.classes == list(COUNTS)
    assert [[val.label(i) for i in range(len(val))].count(label) for label in range(3)] == counts
    everything = [f"{name}/{i}.png" for name, count in COUNTS.items() for i in range(count)]
    assert sorted(names_of(train) + names_of(val)) == sorted(everything)
    assert names_of(train) == [name for name in sorted(everything) if name not in names_of(val)]
    assert [train.label(i) for i in range(len(train))] == [list(COUNTS).index(name[:3]) for name in names_of(train)]
    assert train[0][0].size == (2, 2) and train.path(0) == root / train.name(0)


def test_the_order_is_that_of_the_hashes(root):
    order = sorted((f"cat/{i}.png" for i in range(25)), key=lambda name: hashlib.sha256(f"7\0{name}".encode()).digest())
    assert {name for name in names_of(both(root, seed=7)[1]) if name.startswith("cat")} == set(order[:3])


def test_a_function_of_seed_and_names_alone(root, tmp_path):
    moved = shutil.copytree(root, tmp_path / "elsewhere" / "moved")
    (root / "bee" / "note.txt").touch()
    one, other = both(root), both(moved)
    assert [names_of(part) for part in one] == [names_of(part) for part in other]
    assert one[0].division == one[1].division == other[0].division
    assert names_of(one[1]) != names_of(both(root, seed=43)[1])
    put(root, "dog/1.png", "dog/2.png")  # another class changes nothing in the others
    assert [name for name in names_of(both(root)[1]) if not name.startswith("dog")] == names_of(one[1])


def test_composed_letters_fall_on_the_same_side(tmp_path):
    divided = []
    for letter in ("é", "e\u0301"):
        root = put(tmp_path / str(len(letter)), *(f"{letter}/{i}.png" for i in range(6)))
        divided.append(both(root, 0.5))
    assert [name[-5] for name in names_of(divided[0][1])] == [name[-5] for name in names_of(divided[1][1])]
    assert divided[0][0].division == divided[1][0].division


def test_chosen_classes(root):
    (classes := root.parent / "classes.txt").write_text("cat\nant\n")
    val = open_dataset("folder", str(root), "val", str(classes), ValSplit(0.1, 42))
    assert names_of(val) == [name for name in names_of(both(root)[1]) if not name.startswith("bee")]
    assert val.classes == ["cat", "ant"] and val.left_out == ["bee"]


def test_classes_of_one_image_are_named(root):
    put(root, "dog/1.png", "eel/1.png")
    with pytest.raises(UserError, match="images has 2 classes of one image: dog, eel; expected at least two"):
        both(root)
    (root / "dog" / "1.png").rename(root / "dog" / "1.txt")
    with pytest.raises(UserError, match="has class folders without images: dog"):
        both(root)


@pytest.mark.parametrize("names", [["train", "val"], ["train"], ["Train", "test", "validation"]])
def test_folders_of_splits_are_no_classes(tmp_path, names):
    put(tmp_path, *(f"{name}/a/{i}.png" for name in names for i in range(3)))
    said = f"has the folders {', '.join(sorted(names))}, which are no classes; .*leave data.val_split out, or give .*/"
    with pytest.raises(UserError, match=said + sorted(names)[0]):
        both(tmp_path)


def test_without_it_one_folder_of_classes_is_told_of_it(root):
    with pytest.raises(UserError, match=r"has no folder train/; .* give data.val_split, such as 0.1"):
        ImageFolder(root, "train")
    with pytest.raises(
        UserError, match="data.val_split divides one folder .*: leave it out with data source 'cifar10'"
    ):
        open_dataset("cifar10", str(root), "train", val_split=ValSplit(0.1, 42))
    (root.parent / "empty").mkdir()
    with pytest.raises(UserError, match="has no class folders but nothing at all; expected ROOT/CLASS/image.jpg"):
        both(root.parent / "empty")


HERE = Division(0.1, 42, "digest")


def test_what_a_checkpoint_says():
    assert trained_on({}) is None  # converted
    assert trained_on({"step": 3}) == trained_on({"step": 3, "training_data": {}}) == {}
    assert trained_on({"training_data": asdict(HERE)}) == asdict(HERE)


@pytest.mark.parametrize(
    ("trained", "message"),
    [
        ({}, "x.ckpt was trained without data.val_split, which is 0.1 here: "),
        (
            {"seed": 43},
            "x.ckpt was trained with --data.val_split 0.1 --seed 43, here they are 0.1 and 42: .* give --data",
        ),
        ({"val_split": 0.2}, "was trained with --data.val_split 0.2 --seed 42"),
        ({"images": "others"}, "was trained on a part of other images than data.val_split divides here"),
    ],
)
def test_never_judged_on_images_of_training(trained, message):
    with pytest.raises(UserError, match=message):
        check_same_division({**asdict(HERE), **trained} if trained else {}, HERE, "x.ckpt")


def test_who_may_be_judged():
    assert check_same_division(asdict(HERE), HERE, "x.ckpt") == []
    assert check_same_division(asdict(HERE), None, "x.ckpt") == []
    assert check_same_division({}, None, "x.ckpt") == []
    said = "x.ckpt does not say what it was trained on: if on these images, its scores mean nothing"
    assert check_same_division(None, HERE, "x.ckpt") == [said]


def test_which_weights_training_may_start_from():
    for trained in (None, {}, asdict(HERE), {**asdict(HERE), "seed": 1, "images": "others"}):
        check_start(trained, HERE, "x.ckpt")
    check_start(asdict(HERE), None, "x.ckpt")
    with pytest.raises(UserError, match="would be judged on images that it was trained on"):
        check_start({**asdict(HERE), "seed": 1}, HERE, "x.ckpt")


def test_packed_as_divided(root, tmp_path):
    (classes := tmp_path / "classes.txt").write_text("cat,Katze\nbee\n")
    output = tmp_path / "packed"
    from make_mindrecord import main

    main([str(root), "--output", str(output), "--classes", str(classes), "--val_split", "0.2", "--seed", "5"])
    for split in ("train", "val"):
        folder = open_dataset("folder", str(root), split, str(classes), ValSplit(0.2, 5))
        packed = MindRecord(output, split)
        assert packed.classes == folder.classes == ["Katze", "bee"]
        assert [packed.label(i) for i in range(len(packed))] == [folder.label(i) for i in range(len(folder))]
        assert [packed.read(i) for i in range(len(packed))] == [folder.path(i).read_bytes() for i in range(len(folder))]
        assert packed.division == folder.division is not None
    with pytest.raises(UserError, match="holds MindRecord files of other or changed images"):
        make_mindrecord(root, output, val_split=ValSplit(0.2, 6))
    with pytest.raises(UserError, match="is inside .*images, where folders are classes"):
        make_mindrecord(root, root / "packed", val_split=ValSplit(0.2, 5))
    with pytest.raises(UserError, match="--val_split: expected a number above 0 and below 1, got 10"):
        main([str(root), "--output", str(output), "--val_split", "10"])
    with pytest.raises(UserError, match="--seed decides which images validate: give --val_split too"):
        main([str(root), "--output", str(output), "--seed", "5"])
    text = (output / "mindrecord.json").read_text()
    (output / "mindrecord.json").write_text(text.replace('"seed": 5', '"seed": "5"'))
    with pytest.raises(UserError, match=r"mindrecord.json is damaged \(ValueError: expected a share"):
        Manifest.read(output)
