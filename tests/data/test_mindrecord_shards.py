"""Packing: continuing after an interruption, what is verified, and every wrong input before anything is written."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data import mindrecord_shards
from src.data.mindrecord import MindRecord, Shard
from src.data.mindrecord_shards import Split, make_mindrecord
from src.errors import UserError

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 3)):
        for name in ("a", "b"):
            (tmp_path / "folder" / split / name).mkdir(parents=True)
            for i in range(count):
                path = tmp_path / "folder" / split / name / f"{i}.bmp"
                Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).save(path)
    return tmp_path / "folder"


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output"


def listing(output):
    return {path.name: path.stat().st_mtime_ns for path in output.iterdir() if path.suffix != ".json"}


def test_what_it_says(folder, output, capsys):
    (folder / "train" / "a" / "notes.txt").touch()
    make_mindrecord(folder, output, 2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "train: 20 images in 2 classes",
        f"{folder / 'train'}: left out 1 entry that is no image or hidden: a/notes.txt",
        "val: 6 images in 2 classes",
    ]
    assert [line.split(",")[0] for line in lines[3:]] == [
        "train-0-of-2.mindrecord: 10 images", "train-1-of-2.mindrecord: 10 images",
        "val-0-of-2.mindrecord: 3 images", "val-1-of-2.mindrecord: 3 images",
    ]  # fmt: skip
    assert sorted(listing(output)) == sorted(
        f"{split}-{k}-of-2.mindrecord{ending}" for split in ("train", "val") for k in (0, 1) for ending in ("", ".db")
    )
    assert len({path.stat().st_mode for path in output.iterdir()}) == 1  # readable for whoever may read the others


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, UserError("broken"), OSError(28, "No space left")])
def test_an_interrupted_run_continues(folder, output, monkeypatch, capsys, interruption):
    verify, calls = mindrecord_shards._verify, []

    def interrupted(split, k, path, digests):
        if len(calls) == 2:
            raise interruption
        calls.append(path.name)
        verify(split, k, path, digests)

    monkeypatch.setattr(mindrecord_shards, "_verify", interrupted)
    with pytest.raises((KeyboardInterrupt, UserError)):
        make_mindrecord(folder, output, 4)
    finished = listing(output)
    assert calls == ["train-0-of-4.mindrecord", "train-1-of-4.mindrecord"]
    assert sorted(finished) == sorted(name + ending for name in calls for ending in ("", ".db"))
    with pytest.raises(UserError, match=r"is unfinished, 6 files are missing; run make_mindrecord\.py again"):
        MindRecord(output, "train")
    monkeypatch.setattr(mindrecord_shards, "_verify", verify)
    capsys.readouterr()
    make_mindrecord(folder, output)  # takes the number of files from what is there
    assert "already finished: 10 of 26 images" in capsys.readouterr().out
    assert {name: listing(output)[name] for name in finished} == finished
    assert len(MindRecord(output, "train")) == 20


def test_a_killed_run_continues(folder, output):
    code = (
        "import time, src.data.mindrecord_shards as m; from pathlib import Path\n"
        "verify = m._verify\n"
        "def slow(split, k, path, digests):\n"
        "    if k == 1: print('waiting', flush=True); time.sleep(60)\n"
        "    verify(split, k, path, digests)\n"
        "m._verify = slow\n"
        f"m.make_mindrecord(Path({str(folder)!r}), Path({str(output)!r}), 3)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    for line in run.stdout:
        if line == "waiting\n":
            break
    run.kill()
    run.wait()
    assert (output / ".unfinished" / "train-1-of-3.mindrecord").exists()
    finished = listing(output)
    assert "train-0-of-3.mindrecord" in finished and "train-1-of-3.mindrecord" not in finished
    make_mindrecord(folder, output, 3)
    assert listing(output)["train-0-of-3.mindrecord"] == finished["train-0-of-3.mindrecord"]
    assert not (output / ".unfinished").exists()
    assert len(MindRecord(output, "train")) == 20


def test_a_finished_one_is_left_alone(folder, output):
    make_mindrecord(folder, output, 2)
    before = listing(output)
    make_mindrecord(folder, output)
    assert listing(output) == before


@pytest.mark.parametrize("damaged", ["train-1-of-2.mindrecord", "train-1-of-2.mindrecord.db"])
def test_a_damaged_file_is_made_again(folder, output, capsys, damaged):
    make_mindrecord(folder, output, 2)
    before = listing(output)
    os.truncate(output / damaged, 1000)
    capsys.readouterr()
    make_mindrecord(folder, output)
    assert "train-1-of-2.mindrecord cannot be used:" in capsys.readouterr().out
    after = listing(output)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"train-1-of-2.mindrecord", "train-1-of-2.mindrecord.db"}
    assert len(MindRecord(output, "train")) == 20


def test_every_byte_is_compared(folder, output, monkeypatch):
    write = mindrecord_shards._write

    def flipping(split, k, path, report):
        digests = write(split, k, path, report)
        data = bytearray(path.read_bytes())
        place = data.index(split.images.path(split.bounds[k] + 3).read_bytes()) + 60
        data[place] ^= 1
        path.write_bytes(data)
        return digests

    monkeypatch.setattr(mindrecord_shards, "_write", flipping)
    with pytest.raises(UserError, match=r"train-0-of-2\.mindrecord does not hold .*train/a/3\.bmp as it was read"):
        make_mindrecord(folder, output, 2)
    assert [path.name for path in output.iterdir()] == ["mindrecord.json"]


def test_wrong_labels_are_noticed(folder, output, monkeypatch):
    write = mindrecord_shards._write

    def relabelled(split, k, path, report):
        digests = write(split, k, path, report)
        split.labels[split.bounds[k]] = 1
        return digests

    monkeypatch.setattr(mindrecord_shards, "_write", relabelled)
    with pytest.raises(UserError, match="does not hold the names and labels"):
        make_mindrecord(folder, output)


def test_other_images_are_refused(folder, output):
    make_mindrecord(folder, output, 2)
    before = listing(output)
    with pytest.raises(UserError, match=r"holds MindRecord files of other or changed images, or another number of fil"):
        make_mindrecord(folder, output, 3)
    image = folder / "val" / "b" / "1.bmp"
    os.utime(image, ns=(0, time.time_ns()))
    with pytest.raises(UserError, match=r"of other or changed images, .*\(val: 2 files\)"):
        make_mindrecord(folder, output)
    assert listing(output) == before


def test_an_unwanted_number_of_files_can_be_changed_as_long_as_none_is_finished(folder, output, monkeypatch):
    monkeypatch.setattr(mindrecord_shards, "_write", lambda *args: (_ for _ in ()).throw(UserError("no")))
    with pytest.raises(UserError, match="no"):
        make_mindrecord(folder, output, 5)
    monkeypatch.undo()
    make_mindrecord(folder, output, 2)
    assert len(MindRecord(output, "val")) == 6


def test_a_full_folder_is_refused(folder, output):
    output.mkdir()
    (output / "thesis.txt").touch()
    with pytest.raises(UserError, match=r"output is not empty and holds no mindrecord\.json; give a new folder"):
        make_mindrecord(folder, output)
    with pytest.raises(UserError, match=r"is inside .*train, where folders are classes"):
        make_mindrecord(folder, folder / "train" / "packed")


def test_bad_folders(folder, output):
    with pytest.raises(UserError, match=r"has no folder train/; expected ROOT/train/CLASS/image\.jpg"):
        make_mindrecord(folder / "train", output)
    (folder / "train" / "c").mkdir()
    with pytest.raises(UserError, match="class folders without images: c;"):
        make_mindrecord(folder, output)
    assert not output.exists()


def test_missing_and_changing_images(folder, output, monkeypatch):
    (folder / "val" / "a" / "gone.png").symlink_to(folder / "nowhere")
    with pytest.raises(UserError, match=r"cannot read image .*val/a/gone\.png: No such file"):
        make_mindrecord(folder, output)
    (folder / "val" / "a" / "gone.png").unlink()
    layout = Split.layout

    def changing(split):
        (folder / "val" / "b" / "2.bmp").write_bytes(b"shorter")
        return layout(split)

    monkeypatch.setattr(Split, "layout", changing)
    with pytest.raises(UserError, match=r"2\.bmp has changed while it was being packed"):
        make_mindrecord(folder, output)
    assert sorted(listing(output)) == ["train-0-of-1.mindrecord", "train-0-of-1.mindrecord.db"]


def test_too_large_an_image(folder, output):
    with open(folder / "train" / "a" / "huge.bmp", "wb") as file:
        file.truncate(1 << 28)  # takes no space
    with pytest.raises(UserError, match=r"huge\.bmp has 268,435,456 bytes; MindRecord takes at most 268,435,448"):
        make_mindrecord(folder, output)


def test_empty_images(folder, output):
    for i in range(6):
        (folder / "val" / "b" / f"empty{i}.png").touch()
    with pytest.raises(UserError, match=r"these images are: .*val/b/empty0\.png, .*empty4\.png and 1 more; replace"):
        make_mindrecord(folder, output)
    assert not output.exists()


def test_no_space(folder, output, monkeypatch):
    usage = type("Usage", (), {"free": 17_000_000})
    monkeypatch.setattr(mindrecord_shards.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"output needs 17 MB, but its disk has 17 MB left"):
        make_mindrecord(folder, output)
    assert not output.exists()


def test_no_space_while_writing(folder, output):
    """A limit on the size of files stands for a full disk."""
    code = (
        "import resource, sys, make_mindrecord; from src.terminal.command import run_command\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "run_command(make_mindrecord.main)"
    )
    arguments = [str(folder), "--output", str(output)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "train-0-of-1.mindrecord: " in done.stderr
    assert [path.name for path in output.iterdir()] == ["mindrecord.json"]
    assert json.loads((output / "mindrecord.json").read_text())["splits"]["train"][0]["bytes"] is None


@pytest.mark.parametrize("number", [0, -1, 257])
def test_number_of_files(folder, output, number):
    with pytest.raises(UserError, match=rf"--shards must be from 1 to 256, got {number}"):
        make_mindrecord(folder, output, number)


def test_layout(folder, monkeypatch):
    split = Split(folder, "train", 100)  # no more files than images
    assert [split.bounds[0], split.bounds[-1], len(split.shards)] == [0, 20, 20]
    assert [shard.file for shard in split.shards][:2] == ["train-00-of-20.mindrecord", "train-01-of-20.mindrecord"]
    assert split.layout() == (1 << 14, 1 << 16)
    monkeypatch.setattr(mindrecord_shards, "SHARD_BYTES", int(split.sizes.sum()) // 3 - 1)
    assert len(Split(folder, "train", None).shards) == 4
    split.sizes[0] = 100_000_000  # the page holds it whole
    assert split.layout()[1] == 1 << 27
    split.sizes = np.full(1_000_000, 110_000)  # ImageNet's in one file: 13,000 pages need a long header
    split.bounds, split.shards = [0, 1_000_000], [Shard("one", 1_000_000, "")]
    assert split.layout() == (1 << 23, 1 << 24)


def test_many_pages_and_images_of_about_a_page(folder, output):
    """Images of just over half a page fill only half of it: the header still has room for all pages."""
    for i in range(300):
        (folder / "train" / "b" / f"{i:03}.png").write_bytes(bytes(33_000))
    (folder / "train" / "b" / "last.png").write_bytes(bytes(65_528))  # with its length exactly a page
    make_mindrecord(folder, output)
    assert Split(folder, "train", None).layout()[1] == 1 << 18
    packed = MindRecord(output, "train")
    assert packed.read(len(packed) - 1) == bytes(65_528)


def test_names_that_utf8_cannot_hold(folder, output):
    odd = os.fsdecode(b"b\xff")
    os.rename(folder / "train" / "b", folder / "train" / odd)
    os.rename(folder / "val" / "b", folder / "val" / odd)
    make_mindrecord(folder, output)
    packed = MindRecord(output, "train")
    assert packed.classes == ["a", odd]
    assert packed.describe(19).startswith("train/b\\udcff/9.bmp (in ")


def test_command_line(folder, output):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "make_mindrecord.py", *map(str, arguments)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
        )

    done = run(folder, "--output", output, "--shards", 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"\nwritten: {output} (" in done.stdout
    assert done.stdout.endswith(f"train.py --config CONFIG --data.source mindrecord --data {output}\n")
    for arguments, message in (
        ((folder,), "arguments are required: --output; see --help"),
        ((folder, "--output", output, "--shards", "many"), "--shards: expected a whole number from 1 to 256, got many"),
        ((folder / "nowhere", "--output", output), "nowhere does not exist or is no folder"),
    ):
        done = run(*arguments)
        assert done.returncode == 2 and done.stdout == "" and message in done.stderr and done.stderr.count("\n") == 1
