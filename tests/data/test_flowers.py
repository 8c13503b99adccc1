"""Flowers-102 as it is published: numbers in MATLAB files, which set is which split, and what is missing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from src.data import open_dataset
from src.data.flowers import Flowers102
from src.errors import UserError

REPOSITORY = Path(__file__).parents[2]
LABELS = [77, 77, 1, 102, 1, 30, 77]  # of images 1 to 7
SETS = {"trnid": [6, 2], "valid": [3], "tstid": [7, 1, 5, 4]}


@pytest.fixture
def root(tmp_path):
    """Red is the number in an image's name."""
    (tmp_path / "jpg").mkdir()
    for number in range(1, 8):
        Image.new("RGB", (4, 3), (number, 0, 0)).save(tmp_path / "jpg" / f"image_{number:05d}.jpg", format="PNG")
    save(tmp_path / "imagelabels.mat", np.uint8, labels=LABELS)
    save(tmp_path / "setid.mat", np.uint16, **SETS)
    return tmp_path


def save(path, dtype, **variables):
    savemat(path, {name: np.array([values], dtype) for name, values in variables.items()}, do_compression=True)


def content(split):
    return [(split[i][0].getpixel((0, 0))[0], split[i][1]) for i in range(len(split))]


def test_splits(root):
    train, val = Flowers102(root, "train"), Flowers102(str(root), "val")
    assert content(train) == [(6, 29), (2, 76), (3, 0)]
    assert content(val) == [(7, 76), (1, 76), (5, 0), (4, 101)]
    assert [val.label(i) for i in range(4)] == [76, 76, 0, 101] and type(val.label(0)) is int
    assert (val[0][0].mode, val[0][0].size) == ("RGB", (4, 3))


def test_classes_are_numbers(root):
    classes = Flowers102(root, "val").classes
    assert (len(classes), classes[0], classes[76], classes[101]) == (102, "1", "77", "102")


def test_numbers_as_matlab_has_them_by_default(root):
    save(root / "imagelabels.mat", np.float64, labels=LABELS)
    save(root / "setid.mat", np.float64, **SETS)
    val = Flowers102(root, "val")
    assert content(val) == [(7, 76), (1, 76), (5, 0), (4, 101)] and type(val.label(0)) is int


def test_source(root):
    assert isinstance(open_dataset("flowers102", str(root), "val"), Flowers102)
    with pytest.raises(
        UserError, match=r"'flowers102' needs the folder that holds jpg/, imagelabels\.mat and setid\.mat,"
    ):
        open_dataset("flowers102", None, "val")


def test_only_two_splits(root):
    with pytest.raises(UserError, match="unknown split 'test': expected 'train' or 'val'"):
        Flowers102(root, "test")


def test_missing_files(root):
    with pytest.raises(UserError, match=r"nowhere does not exist.*expected ROOT/jpg/, as 102flowers\.tgz unpacks"):
        Flowers102(root / "nowhere", "train")
    (root / "jpg" / "image_00005.jpg").unlink()
    assert len(Flowers102(root, "train")) == 3
    with pytest.raises(
        UserError, match=r"jpg lacks 1 of the 4 images of this split, the first is image_00005\.jpg; 102"
    ):
        Flowers102(root, "val")
    (root / "jpg").rename(root / "images")
    with pytest.raises(UserError, match=r"jpg cannot be listed: No such file.*images in 102flowers\.tgz: unpack it"):
        Flowers102(root, "train")
    (root / "setid.mat").unlink()
    with pytest.raises(
        UserError, match=r"setid\.mat cannot be read: No such file.*has 'trnid', 'valid' and 'tstid', 1,0"
    ):
        Flowers102(root, "train")
    (root / "imagelabels.mat").unlink()
    with pytest.raises(UserError, match=r"imagelabels\.mat cannot be read.*'labels', 8,189 numbers.*: get it again"):
        Flowers102(root, "train")


@pytest.mark.parametrize("values", [[77, 0], [77, 103], [77, 1.5], [77, np.nan], []])
def test_wrong_labels(root, values):
    save(root / "imagelabels.mat", np.float64, labels=values)
    with pytest.raises(
        UserError, match=rf"imagelabels\.mat is damaged.*{len(values)} numbers that are not all from 1 to 102"
    ):
        Flowers102(root, "val")


def test_image_without_a_label(root):
    save(root / "setid.mat", np.uint16, trnid=[1], valid=[2], tstid=[8])
    with pytest.raises(UserError, match=r"setid\.mat is damaged.*1 numbers that are not all from 1 to 7"):
        Flowers102(root, "val")


def test_damaged_files(root):
    path = root / "setid.mat"
    whole = path.read_bytes()
    for broken in [whole[:n] for n in (0, 1, 100, 127, 130, 150, len(whole) - 1)] + [b"<html>" * 100, b"\x89HDF" * 200]:
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"setid\.mat (is damaged|cannot be read).*: get it again") as error:
            Flowers102(root, "val")
        assert "\n" not in str(error.value)
    savemat(path, {"tstid": "seven"})
    with pytest.raises(UserError, match="setid.mat is damaged"):
        Flowers102(root, "val")
    save(path, np.uint16, tstid=[1])
    with pytest.raises(UserError, match="KeyError: 'trnid'"):
        Flowers102(root, "train")


def test_import_is_light():
    code = "import sys, src.data; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
