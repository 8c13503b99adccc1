"""MindRecord files against the folder they were made of, against MindSpore's own reader, and when they are damaged."""

import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data import open_dataset
from src.data.image_folder import ImageFolder
from src.data.loader import EvalLoader
from src.data.mindrecord import MindRecord
from src.data.mindrecord_shards import make_mindrecord
from src.errors import UserError

REPOSITORY = Path(__file__).parents[2]
FILES = {"train": [24, 11, 3], "val": [4, 0, 2]}  # images a class
CLASSES = ["big cat", 'it\'s "a" dog', "übung"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder and its MindRecord files: three classes, one of them not in val/, and two broken images."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, counts in FILES.items():
        for name, count in zip(CLASSES, counts, strict=True):
            for i in range(count):
                path = root / "folder" / split / name / ("deep" * (i % 3 == 0)) / f"{i}.{('jpg', 'PNG')[i % 2]}"
                path.parent.mkdir(parents=True, exist_ok=True)
                size = (int(rng.integers(8, 40)), int(rng.integers(8, 40)), 3)
                Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(path)
    (root / "folder" / "train" / CLASSES[1] / "broken 'one'.jpg").write_bytes(b"no image")
    (root / "folder" / "train" / CLASSES[1] / "short.jpg").write_bytes(b"\xff")
    make_mindrecord(root / "folder", root / "packed", 3)
    return root


@pytest.fixture
def packed(made, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(made / "packed", tmp_path / "packed"))


def test_a_list_with_a_byte_order_mark(packed):
    manifest = packed / "mindrecord.json"
    manifest.write_bytes(b"\xef\xbb\xbf" + manifest.read_bytes())
    assert MindRecord(packed, "val").classes == CLASSES


def is_good(data: bytes) -> bool:
    return len(data) > 8


@pytest.mark.parametrize("split", ["train", "val"])
def test_same_as_the_folder(made, split):
    folder, packed = ImageFolder(made / "folder", split), open_dataset("mindrecord", str(made / "packed"), split)
    assert packed.classes == folder.classes == CLASSES
    assert len(packed) == len(folder) == sum(FILES[split]) + 2 * (split == "train")
    assert [packed.label(i) for i in range(len(packed))] == [folder.label(i) for i in range(len(folder))]
    for i in np.random.default_rng(1).permutation(len(folder)):
        data = folder.path(i).read_bytes()
        assert packed.read(i) == data
        if is_good(data):
            (image, label), (expected, expected_label) = packed[i], folder[i]
            assert (image.mode, image.tobytes(), label) == ("RGB", expected.tobytes(), expected_label)


@pytest.mark.parametrize("split", ["train", "val"])
def test_mindspore_reads_the_same(made, split):
    import mindspore.dataset as ds

    packed = MindRecord(made / "packed", split)
    files = sorted(str(path) for path in (made / "packed").glob(f"{split}-*.mindrecord"))
    assert len(files) == 3
    reader = ds.MindDataset(files, shuffle=False, num_parallel_workers=1)
    assert reader.get_dataset_size() == len(packed)
    folder = ImageFolder(made / "folder", split)
    for i, row in enumerate(reader.create_dict_iterator(num_epochs=1, output_numpy=True)):
        assert set(row) == {"data", "label", "file_name"}
        assert row["data"].tobytes() == packed.read(i)
        assert (row["label"], row["label"].dtype) == (packed.label(i), np.int32)
        assert str(row["file_name"]) == folder.path(i).relative_to(made / "folder" / split).as_posix()
    assert i == len(packed) - 1


def test_sizes_stay_close(made):
    images = sum(path.stat().st_size for path in (made / "folder").rglob("*") if path.is_file())
    assert sum(path.stat().st_size for path in (made / "packed").iterdir()) < images + 6 * 256 * 1024


def test_same_batches_as_from_the_folder(tmp_path, made):
    folder = Path(shutil.copytree(made / "folder", tmp_path / "folder"))
    for name in ("broken 'one'.jpg", "short.jpg"):
        (folder / "train" / CLASSES[1] / name).unlink()
    make_mindrecord(folder, tmp_path / "packed", 2)
    common = {"image_size": 16, "mean": (0.5,) * 3, "std": (0.5,) * 3, "in_channels": 3, "batch_size": 4, "workers": 2}
    for source, root in (("folder", folder), ("mindrecord", tmp_path / "packed")):
        dataset = open_dataset(source, str(root), "val")
        batches = list(EvalLoader(dataset, crop_pct=0.9, **common))
        images = np.concatenate([batch.inputs[0] for batch in batches])
        if source == "folder":
            expected = images
    np.testing.assert_array_equal(images, expected)


def test_many_threads_at_once(made):
    packed = MindRecord(made / "packed", "train")
    expected = [packed.read(i) for i in range(len(packed))]
    fresh = MindRecord(made / "packed", "train")
    order = np.random.default_rng(2).integers(0, len(packed), 2000)
    with ThreadPoolExecutor(8) as threads:
        for index, data in zip(order, threads.map(fresh.read, order), strict=True):
            assert data == expected[index]


def test_it_can_be_sent_to_another_process(made):
    packed = MindRecord(made / "packed", "train")
    first = packed.read(0)  # with an open file
    assert pickle.loads(pickle.dumps(packed)).read(0) == first
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(packed.read, (len(packed) - 1,)) == packed.read(len(packed) - 1)


def test_reading_does_not_import_mindspore(made):
    code = (
        "import sys; from src.data import open_dataset\n"
        f"open_dataset('mindrecord', {str(made / 'packed')!r}, 'val')[0]\n"
        "print('mindspore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_broken_image_has_its_original_name(made):
    folder, packed = ImageFolder(made / "folder", "train"), MindRecord(made / "packed", "train")
    broken = [i for i in range(len(folder)) if not is_good(folder.path(i).read_bytes())]
    assert len(broken) == 2
    for i, name in zip(broken, ("broken 'one'.jpg", "short.jpg"), strict=True):
        with pytest.raises(UserError) as error:
            packed[i]
        assert f"cannot read image train/{CLASSES[1]}/{name} (in {made / 'packed' / 'train-'}" in str(error.value)
        assert "0x" not in str(error.value)


def test_no_such_folder_or_split(made, tmp_path):
    with pytest.raises(UserError, match=r"holds no mindrecord\.json; expected a folder that make_mindrecord\.py wrote"):
        MindRecord(tmp_path, "train")
    with pytest.raises(UserError, match="unknown split 'test'"):
        MindRecord(made / "packed", "test")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "classes": [], "splits": {"train": [{}], "val": []}}'])
def test_damaged_manifest(tmp_path, text):
    (tmp_path / "mindrecord.json").write_text(text)
    with pytest.raises(UserError, match=r"mindrecord\.json is damaged"):
        MindRecord(tmp_path, "train")


def damage_index(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("train-1-of-3.mindrecord", Path.unlink, r"train-1-of-3\.mindrecord: No such file"),
        ("train-1-of-3.mindrecord.db", Path.unlink, r"train-1-of-3\.mindrecord\.db: No such file"),
        ("train-1-of-3.mindrecord", lambda p: os.truncate(p, 20000), r"has 20,000 bytes instead of [\d,]+;"),
        ("train-1-of-3.mindrecord.db", lambda p: os.truncate(p, 0), r"\.db has 0 bytes instead of"),
        ("train-1-of-3.mindrecord.db", damage_index, r"its index .*cannot be read: file is not a database"),
        ("train-1-of-3.mindrecord", damage_index, r"its header is damaged"),
    ],
)
def test_damaged_files_are_named(packed, file, damage, message):
    damage(packed / file)
    with pytest.raises(UserError, match=rf"train-1-of-3\.mindrecord cannot be used: .*{message}"):
        MindRecord(packed, "train")


def test_damage_after_opening(packed):
    dataset = MindRecord(packed, "train")
    expected = dataset.read(0)
    last = packed / "train-2-of-3.mindrecord"
    os.truncate(last, 20000)
    with pytest.raises(UserError, match=r"train-2-of-3\.mindrecord cannot be used: it is cut short: no image of"):
        dataset.read(len(dataset) - 1)
    last.write_bytes(bytes(10_000_000))
    with pytest.raises(UserError, match="its index does not belong to it"):
        dataset.read(len(dataset) - 1)
    assert dataset.read(0) == expected
