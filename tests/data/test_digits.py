"""The embedded digits: the split is fixed for ever, pixels can be checked by hand."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from src.data import digits
from src.data.digits import Digits, read_digits, val_indices
from src.errors import UserError


@pytest.fixture(scope="module")
def train():
    return Digits("train")


@pytest.fixture(scope="module")
def val():
    return Digits("val")


@pytest.mark.parametrize("file", [digits._FILE, "elsewhere.csv.gz"])
def test_they_are_scikit_learns(file, monkeypatch):
    monkeypatch.setattr(digits, "_FILE", file)
    ours, theirs = read_digits(), (load_digits().images, load_digits().target)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


def test_nothing_of_scikit_learn_is_imported():
    script = "import sys; from src.data.digits import Digits; Digits('val'); sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).resolve().parents[2]).returncode == 0


def test_split_counts(train, val):
    assert (len(train), len(val)) == (1437, 360)
    assert train.classes == val.classes == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    # 178 182 177 183 181 182 181 179 174 180 images a class; times 360 / 1797 that is
    # 35.66 36.46 35.46 36.66 36.26 36.46 36.26 35.86 34.86 36.06
    assert np.bincount([val.label(i) for i in range(360)]).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]


def test_split_is_the_same_for_ever():
    chosen = val_indices(load_digits().target)
    assert chosen[:10].tolist() == [3, 7, 13, 19, 36, 38, 43, 48, 53, 55]
    digest = hashlib.sha256(chosen.astype("<i8").tobytes()).hexdigest()
    assert digest == "d040d215f6d53853c9970b2d18eb9baf0d3094938a1baddba4675d9b45e11fb6"


def test_rest_goes_to_the_largest_remainders():
    # 5, 3 and 2 of 10 samples, 4 of them chosen: shares 2.0, 1.2, 0.8 -> 2, 1, 0, and the missing one from class 2
    labels = np.array([0, 1, 0, 2, 0, 1, 0, 2, 0, 1])
    chosen = val_indices(labels, num_val=4)
    assert np.bincount(labels[chosen]).tolist() == [2, 1, 1]
    assert chosen.tolist() == sorted(set(chosen.tolist()))


def test_splits_are_disjoint_and_complete(train, val):
    targets = load_digits().target
    labels = [split.label(i) for split in (train, val) for i in range(len(split))]
    assert np.bincount(labels).tolist() == np.bincount(targets).tolist()
    in_val = np.zeros(1797, bool)
    in_val[val_indices(targets)] = True
    assert [train.label(i) for i in range(1437)] == targets[~in_val].tolist()


def test_pixels(val):
    image, label = val[0]  # number 3 of the file, whose first row is 0 0 7 15 13 1 0 0
    assert (image.mode, image.size, label, type(label)) == ("RGB", (8, 8), 3, int)
    pixels = np.asarray(image)
    assert pixels[0, :, 0].tolist() == [0, 0, 112, 239, 207, 16, 0, 0]
    assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all()


def test_full_range_is_used(train):
    images = np.stack([np.asarray(train[i][0]) for i in range(len(train))])
    assert (images.min(), images.max()) == (0, 255)


def test_unknown_split():
    with pytest.raises(UserError, match="'test'.*'train' or 'val'"):
        Digits("test")
