"""One way to open every source, and what it says to wrong arguments."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from src.data import open_dataset
from src.data.digits import Digits
from src.data.image_folder import ImageFolder
from src.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def test_sources(tmp_path):
    (tmp_path / "train" / "cat").mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(tmp_path / "train" / "cat" / "a.png")
    assert isinstance(open_dataset("folder", str(tmp_path), "train"), ImageFolder)
    digits = open_dataset("digits", None, "val")
    assert isinstance(digits, Digits) and len(digits) == 360


@pytest.mark.parametrize(
    ("source", "root", "message"),
    [
        ("digits", "/data", "takes no folder, but got '/data'"),
        ("folder", None, "needs the folder that holds train/ and val/"),
        ("cifar", None, "unknown data source 'cifar': expected 'digits' or 'folder'"),
    ],
)
def test_errors(source, root, message):
    with pytest.raises(UserError, match=message):
        open_dataset(source, root, "train")


def test_import_is_light_and_silent():
    code = "import sys, src.data.loader; print([m for m in ('sklearn', 'mindspore') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
