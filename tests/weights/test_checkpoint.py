"""Checkpoints: round trip, refusals, and nothing lost when writing fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src.errors import TemporaryError, UserError
from src.weights.checkpoint import read_checkpoint, save_checkpoint
from src.weights.checkpoint_file import read_checkpoint_file, write_checkpoint_file
from src.weights.described_network import create_network
from src.weights.loading import load_state, load_weights
from src.weights.model_card import ModelCard

PROGRESS = {"step": 6, "steps_per_epoch": 2, "epoch": 3.0, "best_score": 90.5, "losses": [0.5], "config": {"seed": 1}}
CARD = ModelCard(
    model="tnt_s_patch16_224",
    arguments={"depth": 1, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 16, "outer_num_heads": 2},
    classes=["a", "b", "ü"],
    image_size=(32, 48),
    in_channels=3,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    crop_pct=0.9,
)


def weights_of(net):
    return {p.name: p.asnumpy().copy() for p in net.get_parameters()}


@pytest.fixture
def saved(tmp_path):
    net = create_network(CARD)
    moment = ms.Parameter(ms.Tensor(np.arange(3, dtype=np.float32)), name="adam_m.head.bias")
    path = tmp_path / "folder" / "net.ckpt"
    save_checkpoint(path, net.get_parameters(), CARD, [moment], PROGRESS)
    return path, net


def test_round_trip(saved):
    path, net = saved
    checkpoint = read_checkpoint(path)
    assert checkpoint.card == CARD and checkpoint.progress == PROGRESS
    other = create_network(checkpoint.card)
    load_weights(other, checkpoint)
    for name, value in weights_of(net).items():
        np.testing.assert_array_equal(weights_of(other)[name], value)
    moment = ms.Parameter(ms.Tensor(np.zeros(3, np.float32)), name="adam_m.head.bias")
    load_state([moment], checkpoint)
    np.testing.assert_array_equal(moment.asnumpy(), [0, 1, 2])
    assert os.listdir(path.parent) == ["net.ckpt"]


def test_a_second_save_replaces_the_first(saved):
    path, net = saved
    save_checkpoint(path, net.get_parameters(), CARD, progress={"epoch": 4})
    assert read_checkpoint(path).progress == {"epoch": 4}
    with pytest.raises(UserError, match="holds weights only"):
        load_state([], read_checkpoint(path))


def test_a_failed_save_keeps_the_old_file(saved, monkeypatch):
    path, net = saved

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match="No space left on device"):
        save_checkpoint(path, net.get_parameters(), CARD, progress={"epoch": 9})
    assert read_checkpoint(path).progress["epoch"] == 3
    assert os.listdir(path.parent) == ["net.ckpt"]


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the checkpoint"):
        save_checkpoint(tmp_path / "file" / "net.ckpt", [], CARD)


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "flipped"])
def test_damaged_files_are_refused(saved, kind):
    path, _ = saved
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"truncated": content[:-100], "empty": b"", "text": b"<html>not found</html>", "flipped": content}[kind]
    other = path.with_name(f"{kind}.ckpt")
    other.write_bytes(damaged)
    with pytest.raises(UserError, match=f"{kind}.ckpt is not a readable MindSpore checkpoint"):
        read_checkpoint(other)


def test_a_file_that_cannot_be_loaded_now_is_not_called_damaged(saved, monkeypatch):
    path, _ = saved

    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("src.weights.checkpoint_file.np.empty", fail)
    with pytest.raises(
        TemporaryError, match="cannot read the checkpoint .*net.ckpt: its .* bytes do not fit into the m"
    ):
        read_checkpoint(path)


def test_missing_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="none.ckpt does not exist"):
        read_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(UserError, match="is not a file"):
        read_checkpoint(tmp_path)


def test_another_networks_weights_are_refused_and_nothing_changes(saved):
    path, _ = saved
    net = create_network(ModelCard(**{**CARD.__dict__, "arguments": {**CARD.arguments, "depth": 2}, "classes": ["a"]}))
    before = weights_of(net)
    with pytest.raises(UserError, match=r"of 74 parameters 29 missing \(blocks.1.*2 of another shape \(head.weight"):
        load_weights(net, read_checkpoint(path))
    for name, value in weights_of(net).items():
        np.testing.assert_array_equal(before[name], value)


def test_files_of_other_programs_have_no_card(tmp_path):
    net = create_network(CARD)
    ms.save_checkpoint(net, str(tmp_path / "foreign.ckpt"))
    checkpoint = read_checkpoint(tmp_path / "foreign.ckpt")
    assert checkpoint.card is None
    load_weights(create_network(CARD), checkpoint)


def test_mindspore_reads_what_we_write(saved):
    path, net = saved
    theirs = ms.load_checkpoint(str(path))
    assert json.loads(theirs.pop("metadata")) == {
        "format": 1,
        "card": json.loads(json.dumps(CARD.to_dict())),
        "progress": PROGRESS,
    }
    np.testing.assert_array_equal(theirs.pop("training_state/adam_m.head.bias").asnumpy(), [0, 1, 2])
    assert theirs.keys() == weights_of(net).keys()
    for name, value in weights_of(net).items():
        np.testing.assert_array_equal(theirs[name].asnumpy(), value)


def test_checkpoints_that_mindspore_wrote_are_read(saved):
    """As all were before this project wrote the format by itself."""
    path, net = saved
    entries = [{"name": p.name, "data": p} for p in net.get_parameters()]
    entries.append({"name": "training_state/adam_m.head.bias", "data": ms.Tensor(np.arange(3, dtype=np.float32))})
    metadata = json.dumps({"format": 1, "card": CARD.to_dict(), "progress": PROGRESS})
    ms.save_checkpoint(entries, "theirs.ckpt", append_dict={"metadata": metadata}, crc_check=True)
    ours, theirs = read_checkpoint(path), read_checkpoint("theirs.ckpt")
    assert (ours.card, ours.progress, ours.has_checksum) == (theirs.card, theirs.progress, theirs.has_checksum)
    for kind in ("weights", "state"):
        mine, other = getattr(ours, kind), getattr(theirs, kind)
        assert list(mine) == list(other)
        for name in mine:
            np.testing.assert_array_equal(mine[name], other[name])


def with_text(path, **texts):
    """Writes a copy of the checkpoint, with other texts; returns its name."""
    content = read_checkpoint_file(path)
    with open("other.ckpt", "wb") as file:
        write_checkpoint_file(file, [*content.arrays.items(), *{**content.texts, **texts}.items()])
    return "other.ckpt"


def metadata(**changes):
    return json.dumps({"format": 1, "card": CARD.to_dict(), "progress": PROGRESS, **changes})


@pytest.mark.parametrize(
    "text,reason",
    [
        ("", "network cannot be used: Expecting value"),
        ("[" * 100_000, "network cannot be used: it is nested too deeply"),
        (metadata().replace("0.9", "9" * 5000), "network cannot be used: "),
        (metadata().replace("0.9", "NaN"), "network cannot be used: NaN is not JSON"),
        (metadata().replace("0.9", "1e999"), "network cannot be used: the number '1e999' is too large or too small"),
        (metadata().replace('"crop_pct"', '"mean": [], "mean"'), "network cannot be used: 'mean' comes twice"),
        ("5", "network cannot be used: expected format, card and progress, got 5"),
        ("{}", "network cannot be used: expected format, card and progress, got .*"),
        (metadata(more=1), r"network cannot be used: expected format, card and progress, got \['format', .*'more'\]"),
        (metadata(format=2), "network cannot be used: expected format 1, got 2; use the version of this project"),
        (metadata(format=True), "network cannot be used: expected format 1, got True"),
        (metadata(card=None), "network cannot be used: expected names and values, got None"),
        (metadata(card={**CARD.to_dict(), "crop_pct": 0}), "network cannot be used: crop_pct: expected a number"),
        (metadata(progress=[]), r"what it says about its training cannot be used: expected names and values, got \[\]"),
        (metadata(progress={"step": -1}), "training cannot be used: step: expected a whole number .*, got -1"),
    ],
)  # fmt: skip
def test_metadata_that_cannot_be_used(saved, text, reason):
    path = with_text(saved[0], metadata=text)
    with pytest.raises(UserError, match=rf"^other\.ckpt: .*{reason}") as found:
        read_checkpoint(path)
    assert "\n" not in str(found.value) and found.value.exit_code == 2


def test_a_text_beside_the_tensors_is_refused(saved):
    with pytest.raises(
        UserError, match="other.ckpt: expected tensors only, got the text 'lr'; save it without append_d"
    ):
        read_checkpoint(with_text(saved[0], lr="0.1"))


def test_no_nan_is_written(saved):
    path, net = saved
    before = path.read_bytes()
    with pytest.raises(ValueError):
        save_checkpoint(path, net.get_parameters(), CARD, progress={"config": {"seed": float("nan")}})
    with pytest.raises(UserError, match="best_score: expected a number, got nan"):
        save_checkpoint(path, net.get_parameters(), CARD, progress={"best_score": float("nan")})
    assert path.read_bytes() == before and os.listdir(path.parent) == ["net.ckpt"]


def test_weights_of_another_type_are_refused(saved):
    """Bytes of float32 that say they are whole numbers have the same size."""
    path, net = saved
    content = read_checkpoint_file(path)
    content.arrays["head.bias"] = content.arrays["head.bias"].view(np.int32)
    with open("other.ckpt", "wb") as file:
        write_checkpoint_file(file, [*content.arrays.items(), *content.texts.items()])
    before = weights_of(net)
    with pytest.raises(UserError, match=r"1 of another type \(head.bias int32 for float32\)$"):
        load_weights(net, read_checkpoint("other.ckpt"))
    np.testing.assert_array_equal(weights_of(net)["head.bias"], before["head.bias"])


def test_half_precision_is_taken(tmp_path):
    net = create_network(CARD)
    half = [{"name": p.name, "data": p.astype(ms.bfloat16)} for p in net.get_parameters()]
    ms.save_checkpoint(half, "half.ckpt")
    load_weights(net, read_checkpoint("half.ckpt"))
    np.testing.assert_array_equal(net.head.weight.asnumpy(), half[-2]["data"].astype(ms.float32).asnumpy())


def test_a_state_without_its_step_is_refused(saved):
    checkpoint = read_checkpoint(saved[0])
    del checkpoint.progress["steps_per_epoch"]
    with pytest.raises(UserError, match="net.ckpt does not say its steps_per_epoch and cannot be resumed from"):
        load_state([], checkpoint)


def test_a_checkpoint_is_read_and_listed_without_mindspore(saved):
    """Where no network is built, nothing of it is needed."""
    script = (
        "import sys; from src.weights.checkpoint import read_checkpoint; found = read_checkpoint(sys.argv[1])\n"
        "print(found.card.model, found.card.classes[:2], found.progress['step'], len(found.weights), *found.state)\n"
        "print([name for name in sys.modules if name.startswith(('mindspore', 'src.layers', 'src.models'))])"
    )
    command = [sys.executable, "-c", script, str(saved[0])]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"tnt_s_patch16_224 ['a', 'b'] 6 {len(read_checkpoint(saved[0]).weights)} adam_m.head.bias",
        "[]",
    ]
