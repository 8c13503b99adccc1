"""CIFAR as its archives unpack: pixels by hand, both versions alike, pickles that run nothing, and every broken file.

The pickles are put together opcode by opcode as Python 2 wrote them (protocol 2, texts as byte strings).
"""

import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from src.data import open_dataset
from src.data.cifar import ARCHIVES, Cifar
from src.errors import UserError

NAMES = {
    10: [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"],
    100: [b"fine_%02d" % number for number in range(100)],
}
NO_NAMES = b"".join((b"NNN", b"J\xff\xff\xff\xff" * 2, b"K\x00"))


def python2(value, order=b"\x89"):
    """Opcodes of a value; `order` is False for rows one after another, b"\x88" (True) for columns."""
    if isinstance(value, bytes):
        return (b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<i", len(value))) + value
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(python2(item) for item in value) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(python2(key) + python2(item, order) for key, item in value.items()) + b"u"
    kind = python2(value.dtype.str[1:].encode())
    dtype = b"cnumpy\ndtype\n" + kind + b"K\x00K\x01\x87R(K\x03" + python2(b"|") + NO_NAMES + b"tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + python2(b"b") + b"\x87R"
    shape = b"(" + b"".join(python2(side) for side in value.shape) + b"t"
    raw = value.tobytes("F" if order == b"\x88" else "C")
    return empty + b"(K\x01" + shape + dtype + order + python2(raw) + b"tb"


def put_pickle(path, content, order=b"\x89"):
    path.write_bytes(b"\x80\x02" + python2(content, order) + b".")


def make(root, num_classes, binary, num_images=3):
    """An archive of random pixels, `num_images` a file; labels count on. Returns its folder, pixels and labels."""
    archive = ARCHIVES[num_classes][binary]
    folder = root / archive.folder
    folder.mkdir()
    rng = np.random.default_rng(num_classes)
    all_pixels, all_labels = [], []
    for name in archive.train + archive.val:
        pixels = rng.integers(0, 256, (num_images, 3072), np.uint8)
        labels = [(len(all_labels) + i) * 7 % num_classes for i in range(num_images)]
        all_pixels.append(pixels)
        all_labels += labels
        if binary:
            coarse = [[19]] * num_images if num_classes == 100 else [[]] * num_images
            rows = [bytes([*c, label]) + row.tobytes() for c, label, row in zip(coarse, labels, pixels, strict=True)]
            (folder / name).write_bytes(b"".join(rows))
        elif num_classes == 10:
            filenames = [b"a_s_%06d.png" % i for i in range(num_images)]
            put_pickle(
                folder / name, {b"batch_label": b"batch", b"labels": labels, b"data": pixels, b"filenames": filenames}
            )
        else:
            coarse = [19] * num_images
            put_pickle(folder / name, {b"data": pixels, b"coarse_labels": coarse, b"fine_labels": labels})
    if binary:
        (folder / archive.names).write_bytes(b"\n".join(NAMES[num_classes]) + b"\n\n")
    elif num_classes == 10:
        meta = {b"num_cases_per_batch": 10000, b"label_names": NAMES[10], b"num_vis": 3072}
        put_pickle(folder / archive.names, meta)
    else:
        put_pickle(folder / archive.names, {b"coarse_label_names": [b"fish"], b"fine_label_names": NAMES[100]})
    return folder, np.concatenate(all_pixels), all_labels


def test_stand_ins_are_pickles_of_arrays():
    """What the tests write is what Python's own reader takes for the values."""
    pixels = np.arange(600, dtype=np.uint8).reshape(2, 300)
    for order in (b"\x89", b"\x88"):
        data = b"\x80\x02" + python2({b"data": pixels, b"labels": [1, 2]}, order) + b"."
        content = pickle.loads(data, encoding="bytes")
        assert content[b"labels"] == [1, 2] and np.array_equal(content[b"data"], pixels)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(("num_classes", "num_train"), [(10, 15), (100, 3)])
def test_every_image(tmp_path, num_classes, num_train, binary):
    folder, pixels, labels = make(tmp_path, num_classes, binary)
    train, val = Cifar(tmp_path, "train", num_classes), Cifar(str(folder), "val", num_classes)
    assert (len(train), len(val)) == (num_train, 3)
    assert train.classes == val.classes == [name.decode() for name in NAMES[num_classes]]
    images = [split[i] for split in (train, val) for i in range(len(split))]
    assert [label for _, label in images] == labels == [s.label(i) for s in (train, val) for i in range(len(s))]
    for (image, label), row in zip(images, pixels, strict=True):
        assert (image.mode, image.size, type(label)) == ("RGB", (32, 32), int)
        assert np.array_equal(np.asarray(image).transpose(2, 0, 1).ravel(), row)


def test_names_with_a_byte_order_mark(tmp_path):
    folder, _, _ = make(tmp_path, 10, binary=True)
    names = folder / ARCHIVES[10][1].names
    names.write_bytes(b"\xef\xbb\xbf" + names.read_bytes())
    assert Cifar(tmp_path, "val", 10).classes[0] == "airplane"


@pytest.mark.parametrize("binary", [False, True])
def test_place_of_a_value(tmp_path, binary):
    """Value 1024 + 2 * 32 + 5 is green, third row, sixth column."""
    folder, _, _ = make(tmp_path, 10, binary, num_images=1)
    row = np.zeros((1, 3072), np.uint8)
    row[0, 1024 + 2 * 32 + 5] = 200
    if binary:
        (folder / "test_batch.bin").write_bytes(b"\x03" + row.tobytes())
    else:
        put_pickle(folder / "test_batch", {b"data": row, b"labels": [3]})
    image, label = Cifar(tmp_path, "val", 10)[0]
    assert (image.getpixel((5, 2)), np.asarray(image).sum(), label) == ((0, 200, 0), 200, 3)


def test_array_stored_by_columns(tmp_path):
    folder, pixels, _ = make(tmp_path, 100, False)
    put_pickle(folder / "test", {b"data": pixels[:3], b"fine_labels": [0, 1, 2]}, order=b"\x88")
    val = Cifar(tmp_path, "val", 100)
    assert [np.array_equal(val[i][0], pixels[i].reshape(3, 32, 32).transpose(1, 2, 0)) for i in range(3)] == [True] * 3


def test_both_data_sets_in_one_folder(tmp_path):
    for num_classes in (10, 100):
        for binary in (False, True):
            make(tmp_path, num_classes, binary)
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(bytes(3073))
    assert [len(Cifar(tmp_path, "val", num_classes)) for num_classes in (10, 100)] == [3, 3]  # not the binary one
    assert len(Cifar(tmp_path / "cifar-10-batches-bin", "val", 10)) == 1


def test_pixels_stay_bytes(tmp_path):
    make(tmp_path, 100, True, num_images=200)
    tracemalloc.start()
    train = Cifar(tmp_path, "train", 100)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(train) == 200 and held < 1.1 * 200 * 3072 and peak < 2.2 * 200 * 3072


@pytest.mark.parametrize("num_classes", [10, 100])
def test_sources(tmp_path, num_classes):
    make(tmp_path, num_classes, False)
    val = open_dataset(f"cifar{num_classes}", str(tmp_path), "val")
    assert isinstance(val, Cifar) and len(val.classes) == num_classes
    with pytest.raises(
        UserError, match=rf"'cifar{num_classes}' needs the folder that holds cifar-{num_classes}-.*, but"
    ):
        open_dataset(f"cifar{num_classes}", None, "val")


def test_only_two_splits(tmp_path):
    with pytest.raises(UserError, match="unknown split 'test': expected 'train' or 'val'"):
        Cifar(tmp_path, "test", 10)


def test_folder_without_the_archive(tmp_path):
    with pytest.raises(
        UserError, match=r"nowhere cannot be listed: No such file.*expected cifar-10-batches-py/ or cif"
    ):
        Cifar(tmp_path / "nowhere", "train", 10)
    with pytest.raises(UserError, match=r"holds nothing; expected cifar-100-python/ or cifar-100-binary/, as the off"):
        Cifar(tmp_path, "train", 100)
    make(tmp_path, 10, False)
    for name in "abcdef":
        (tmp_path / f"{name}.tar.gz").touch()
    with pytest.raises(
        UserError, match=r"holds a\.tar\.gz, b\.tar\.gz, c.*, d\.tar\.gz and 2 more; expected cifar-100-"
    ):
        Cifar(tmp_path, "train", 100)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(("num_classes", "count"), [(10, "10,000"), (100, "50,000")])
def test_missing_files(tmp_path, num_classes, count, binary):
    folder, _, _ = make(tmp_path, num_classes, binary)
    archive = ARCHIVES[num_classes][binary]
    (folder / archive.train[-1]).unlink()
    assert len(Cifar(tmp_path, "val", num_classes)) == 3
    message = rf"{archive.folder}/{archive.train[-1]} cannot be read: No such file.*official file has {count} images of"
    with pytest.raises(UserError, match=message):
        Cifar(tmp_path, "train", num_classes)
    (folder / archive.names).unlink()
    with pytest.raises(UserError, match=rf"{archive.names} cannot.*has {num_classes} class names: unpack the archive"):
        Cifar(tmp_path, "val", num_classes)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("num_classes", [10, 100])
def test_cut_files(tmp_path, num_classes, binary):
    folder, _, _ = make(tmp_path, num_classes, binary, num_images=2)
    path = folder / ARCHIVES[num_classes][binary].val[0]
    whole = path.read_bytes()
    cuts = [0, 1, 2, 20, 60, 200, 1000, len(whole) - 1]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"damaged or cut short \(.*the official file has 10,000 images") as error:
            Cifar(tmp_path, "val", num_classes)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_bytes_that_are_no_records(tmp_path):
    folder, _, _ = make(tmp_path, 10, True)
    (folder / "test_batch.bin").write_bytes(bytes(2 * 3073 + 5))
    with pytest.raises(UserError, match="6151 bytes are no whole number of records of 3073"):
        Cifar(tmp_path, "val", 10)
    (folder / "test_batch.bin").write_bytes(bytes(3073) + b"\x0a" + bytes(3072))
    with pytest.raises(UserError, match="labels from 0 to 10, expected whole numbers below 10"):
        Cifar(tmp_path, "val", 10)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({b"data": np.zeros((2, 3072), np.uint8)}, "KeyError: b'labels'"),
        ({b"labels": [1, 2]}, "KeyError: b'data'"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, r"shape \(2, 3072\) with labels of shape \(1,\)"),
        ({b"data": np.zeros((2, 3071), np.uint8), b"labels": [1, 2]}, r"pixels of shape \(2, 3071\)"),
        ({b"data": np.zeros((0, 3072), np.uint8), b"labels": []}, "no images"),
        ({b"data": np.zeros((2, 3, 1024), np.uint8), b"labels": [1, 2]}, "no array of two dimensions"),
        ({b"data": np.zeros((2, 3072), np.int8), b"labels": [1, 2]}, "no array of uint8"),
        ({b"data": b"x" * 3072, b"labels": [1]}, "no array of two dimensions"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, -1]}, "labels from -1 to 1, expected whole numbers"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 10]}, "labels from 1 to 10, expected whole numbers"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [b"1", b"2"]}, "damaged"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, [2]]}, "damaged"),
        ([1, 2], "damaged"),
    ],
)
def test_pickles_of_something_else(tmp_path, content, message):
    folder, _, _ = make(tmp_path, 10, False)
    put_pickle(folder / "test_batch", content)
    with pytest.raises(UserError, match=message) as error:
        Cifar(tmp_path, "val", 10)
    assert "test_batch" in str(error.value) and "\n" not in str(error.value)


def test_class_names_of_another_number(tmp_path):
    folder, _, _ = make(tmp_path, 10, False)
    put_pickle(folder / "batches.meta", {b"label_names": NAMES[10][:9]})
    with pytest.raises(UserError, match=r"batches\.meta is damaged.*9 class names.*official file has 10 class names"):
        Cifar(tmp_path, "val", 10)


class Evil:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.mark.parametrize("name", ["test_batch", "batches.meta"])
@pytest.mark.parametrize(
    ("evil", "named"),
    [
        (Evil(os.mkdir, "harm"), "posix.mkdir"),
        (Evil(eval, "__import__('os').mkdir('harm')"), "__builtin__.eval"),
        (Evil(np.save, "harm", 1), "numpy.save"),
    ],
)
def test_nothing_is_run(tmp_path, name, evil, named):
    folder, _, _ = make(tmp_path, 10, False)
    (folder / name).write_bytes(pickle.dumps({"data": evil}, protocol=2))
    before = sorted(os.listdir())
    with pytest.raises(UserError, match=rf"{name}: its pickle names '{named}', which.*refused, nothing was run"):
        Cifar(tmp_path, "val", 10)
    assert sorted(os.listdir()) == before


def test_numpy_is_not_called_either(tmp_path):
    """An array of 2 ** 60 bytes, asked for by way of a name that is allowed."""
    folder, _, _ = make(tmp_path, 10, False)
    huge = b"cnumpy\nndarray\n\x8a\x08" + struct.pack("<q", 2**60) + b"\x85R"
    (folder / "test_batch").write_bytes(b"\x80\x02}(" + python2(b"labels") + b"]" + python2(b"data") + huge + b"u.")
    with pytest.raises(UserError, match="no array of two dimensions"):
        Cifar(tmp_path, "val", 10)
