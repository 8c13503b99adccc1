"""Checkpoints: round trip, refusals, and nothing lost when writing fails."""

import mmap
import os
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest

from src.checkpoint import load_state, load_weights, read_checkpoint, save_checkpoint
from src.errors import TemporaryError, UserError
from src.model_card import ModelCard

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
    net = CARD.create_network()
    moment = ms.Parameter(ms.Tensor(np.arange(3, dtype=np.float32)), name="adam_m.head.bias")
    path = tmp_path / "folder" / "net.ckpt"
    save_checkpoint(path, net.get_parameters(), CARD, [moment], {"epoch": 3, "best_top1": 90.5})
    return path, net


def test_round_trip(saved):
    path, net = saved
    checkpoint = read_checkpoint(path)
    assert checkpoint.card == CARD and checkpoint.progress == {"epoch": 3, "best_top1": 90.5}
    other = checkpoint.card.create_network()
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
        raise ValueError("the size exceeds current available memory")

    monkeypatch.setattr(ms, "load_checkpoint", fail)
    with pytest.raises(
        TemporaryError, match="net.ckpt, which is not damaged: the size exceeds current available memory"
    ):
        read_checkpoint(path)


def test_room_is_made_for_a_file_that_the_free_memory_does_not_hold(saved, monkeypatch):
    path, _ = saved
    sysconf, room = os.sysconf, []

    def make(*args):
        room.append(args[1])
        return mmap.mmap(*args)

    # one page is free until something asks for memory; MindSpore looks there too
    free = {"SC_AVPHYS_PAGES": lambda: sysconf("SC_AVPHYS_PAGES") if room else 1}
    monkeypatch.setattr(os, "sysconf", lambda name: free[name]() if name in free else sysconf(name))
    monkeypatch.setattr("src.checkpoint.mmap", SimpleNamespace(mmap=make, PAGESIZE=mmap.PAGESIZE))
    assert read_checkpoint(path).has_checksum
    assert room[0] > path.stat().st_size


def test_missing_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="none.ckpt does not exist"):
        read_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(UserError, match="is not a file"):
        read_checkpoint(tmp_path)


def test_another_networks_weights_are_refused_and_nothing_changes(saved):
    path, _ = saved
    net = ModelCard(**{**CARD.__dict__, "arguments": {**CARD.arguments, "depth": 2}, "classes": ["a"]}).create_network()
    before = weights_of(net)
    with pytest.raises(UserError, match=r"of 74 parameters 29 missing \(blocks.1.*2 of another shape \(head.weight"):
        load_weights(net, read_checkpoint(path))
    for name, value in weights_of(net).items():
        np.testing.assert_array_equal(before[name], value)


def test_files_of_other_programs_have_no_card(tmp_path):
    net = CARD.create_network()
    ms.save_checkpoint(net, str(tmp_path / "foreign.ckpt"))
    checkpoint = read_checkpoint(tmp_path / "foreign.ckpt")
    assert checkpoint.card is None
    load_weights(CARD.create_network(), checkpoint)
