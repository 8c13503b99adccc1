"""Exported files compute what the network does, describe themselves, and appear whole or not at all."""

import errno
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

import export as command
from src.devices.device import set_up_device
from src.errors import UserError
from src.export import exporter as export
from src.export.exported_file import load_exported, read_sidecar, sha256_of, sidecar_of
from src.export.exporter import COMPARED_BATCH_SIZES, Exporter, Form, check_form
from src.models.feature_extractor import FeatureExtractor
from src.terminal.command import run_command
from src.weights.checkpoint import save_checkpoint
from src.weights.described_network import create_network
from src.weights.model_card import ModelCard

pytestmark = pytest.mark.usefixtures("equal_graphs")

REPOSITORY = Path(__file__).resolve().parents[2]
STATISTICS = {"in_channels": 3, "mean": (0.5, 0.4, 0.3), "std": (0.5, 0.6, 0.7), "crop_pct": 0.9}
CARDS = {
    "tnt": ModelCard(
        model="tnt_ti_patch16_224",
        arguments={"depth": 1, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 8, "outer_num_heads": 2},
        classes=["cat", "狗", "bird"],
        image_size=(32, 16),
        **STATISTICS,
    ),
    "ptnt": ModelCard(
        model="ptnt_ti_patch16_192",
        arguments={
            "depths": [1, 1, 1, 1],
            "inner_dims": [4, 4, 4, 4],
            "inner_num_heads": [1, 1, 2, 2],
            "outer_dims": [8, 8, 8, 8],
            "outer_num_heads": [1, 1, 2, 2],
        },
        classes=["cat", "dog"],
        image_size=(64, 32),
        **STATISTICS,
    ),
}
TOY_CARD = ModelCard("tnt_ti_patch16_224", {}, ["a", "b"], (4, 4), **STATISTICS)


def create_filled(card: ModelCard) -> nn.Cell:
    """Random values everywhere, also where initial ones are 0 or 1."""
    set_up_device("CPU", 1, True)
    net = create_network(card)
    rng = np.random.default_rng(1)
    for parameter in net.get_parameters():
        values = rng.uniform(0.1, 0.6, parameter.shape)
        signs = 1 if parameter.name.endswith("variance") else rng.choice((-1, 1), parameter.shape)
        parameter.set_data(Tensor((values * signs).astype(np.float32)))
    return net


def create_toy() -> nn.Cell:
    """Compiles at once."""
    return nn.SequentialCell(nn.Flatten(), nn.Dense(3 * 4 * 4, 2))


def draw_images(card: ModelCard, batch_size: int) -> np.ndarray:
    shape = (batch_size, card.in_channels, *card.image_size)
    return np.random.default_rng(batch_size).standard_normal(shape, dtype=np.float32)


def refuse(capfd, *argv: str) -> str:
    """What the command says on stderr when it ends with code 2."""
    with pytest.raises(SystemExit) as end:
        run_command(partial(command.main, argv))
    assert end.value.code == 2
    return capfd.readouterr().err


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[pytest.mark.slow] if name == "ptnt" else []) for name in CARDS]
)
def test_any_batch_size_in_a_fresh_process(family, tmp_path):
    card = CARDS[family]
    net = create_filled(card)
    written = Exporter(net, card).write(tmp_path / "out" / "net.mindir")
    assert written.comparison.largest_difference <= 1e-5
    assert written.comparison.batch_sizes == COMPARED_BATCH_SIZES == (1, 3)
    images = {str(size): draw_images(card, size) for size in COMPARED_BATCH_SIZES}
    np.savez("images.npz", **images)
    program = (
        "import mindspore as ms, numpy as np; ms.set_context(mode=ms.GRAPH_MODE); images = np.load('images.npz');"
        "net = ms.nn.GraphCell(ms.load('out/net.mindir'));"
        "np.savez('logits.npz', **{key: net(ms.Tensor(images[key])).asnumpy() for key in images})"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    logits = np.load("logits.npz")
    for key, values in images.items():
        expected = net(Tensor(values)).asnumpy()
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(logits[key], expected, rtol=0, atol=1e-5)


def test_command_exports_the_best_checkpoint_of_the_run(tmp_path, capsys):
    card = CARDS["tnt"]
    checkpoint = tmp_path / "output" / "ptnt_digits" / "checkpoints" / "best.ckpt"
    save_checkpoint(checkpoint, create_filled(card).get_parameters(), card)
    command.main(["--batch_size", "2"])
    path = tmp_path / "output" / "ptnt_digits" / "export" / "tnt_ti_patch16_224_batch2.mindir"
    assert sorted(path.parent.iterdir()) == [path, sidecar_of(path)]
    assert sorted(tmp_path.iterdir()) == [tmp_path / "output"]
    text = capsys.readouterr().out
    assert f"written: {path.relative_to(tmp_path)} (" in text and "batch size 2" in text
    assert text.endswith(f"--model_file {path.relative_to(tmp_path)}\n") and "predict.py IMAGE_OR_FOLDER" in text
    assert "largest difference from the network (logits): " in text and "at batch size 2 (allowed: 1e-05; " in text

    content = json.loads(sidecar_of(path).read_text(encoding="utf-8"))
    assert content["sha256"] == sha256_of(path)
    assert content["checkpoint"] == {"file": "best.ckpt", "sha256": sha256_of(checkpoint)}
    assert content["input"] == {
        "name": "images",
        "layout": "NCHW",
        "shape": [2, 3, 32, 16],
        "dtype": "float32",
        "normalized": True,
    }
    assert content["output"] == {"content": "logits", "names": ["logits"], "shapes": [[2, 3]], "dtype": "float32"}
    assert content["mindspore"] == ms.__version__ and content["file_format"] == "MINDIR"
    assert content["comparison_with_network"]["largest_difference"] <= 1e-5
    model = content["model"]
    assert model["classes"] == ["cat", "狗", "bird"] and model["image_size"] == [32, 16]
    assert model["mean"] == [0.5, 0.4, 0.3] and model["std"] == [0.5, 0.6, 0.7] and model["crop_pct"] == 0.9
    assert "bicubic" in model["resize"]
    sidecar = read_sidecar(path)
    assert sidecar.card == card and sidecar.batch_size == 2
    run = load_exported(path)
    assert run(draw_images(card, 2)).shape == (2, 3)
    with pytest.raises(RuntimeError):
        run(draw_images(card, 3))


def test_checkpoint_of_another_program_is_described_by_the_config(tmp_path, capfd):
    net = create_filled(CARDS["tnt"])
    ms.save_checkpoint(net, "foreign.ckpt")
    assert "foreign.ckpt does not say which network" in refuse(capfd, "--checkpoint", "foreign.ckpt")
    Path("tiny.yaml").write_text(
        "model: {name: tnt_ti_patch16_224, num_classes: 3, image_size: [32, 16], structure: {depth: 1, inner_dim: 4, "
        "inner_num_heads: 2, outer_dim: 8, outer_num_heads: 2}}\n"
    )
    options = ["--config", "tiny.yaml", "--checkpoint", "foreign.ckpt"]
    assert "foreign.ckpt does not fit this network" in refuse(capfd, *options, "--model.num_classes", "4")
    command.main([*options, "--file_name", "x.mindir", "--batch_size", "1"])
    assert read_sidecar("x.mindir").card.classes == ["0", "1", "2"]


def test_a_run_without_checkpoint_says_how_to_get_one(capfd):
    message = refuse(capfd)
    assert "output/ptnt_digits/checkpoints/best.ckpt does not exist" in message
    assert "run_demo.sh" in message and "train.py --config" in message and "--checkpoint" in message
    assert message.count("\n") == 1


def test_command_refuses_in_one_line_and_leaves_nothing(tmp_path, capfd):
    save_checkpoint("a.ckpt", create_filled(CARDS["tnt"]).get_parameters(), CARDS["tnt"])
    content = Path("a.ckpt").read_bytes()
    Path("cut.ckpt").write_bytes(content[: len(content) // 2])
    Path("file").write_text("")
    Path("folder.mindir").mkdir()
    Path("link.mindir").symlink_to("elsewhere.mindir")
    Path("y.mindir.json").symlink_to("elsewhere.json")
    before = sorted(tmp_path.rglob("*"))
    for options, expected in [
        (["--checkpoint", "none.ckpt"], "none.ckpt does not exist"),
        (["--checkpoint", "cut.ckpt"], "cut.ckpt is not a readable MindSpore checkpoint"),
        (["--checkpoint", "a.ckpt", "--file_format", "MINDR"], "unknown file format 'MINDR'; did you mean MINDIR"),
        (
            ["--checkpoint", "a.ckpt", "--file_format", "tflite"],
            "unknown file format 'tflite'; known: MINDIR, AIR, ONNX",
        ),
        (["--checkpoint", "a.ckpt", "--file_format", "AIR"], "on Ascend only, not on CPU; use --file_format MINDIR"),
        (["--checkpoint", "a.ckpt", "--file_name", "folder.mindir"], "folder.mindir is a folder: give the name of"),
        (["--checkpoint", "a.ckpt", "--file_name", "link"], "cannot write link.mindir: it is a link or no file"),
        (["--checkpoint", "a.ckpt", "--file_name", "y"], "cannot write y.mindir.json: it is a link or no file"),
        (["--checkpoint", "a.ckpt", "--file_name", "x.air"], "x.air: the name of MINDIR files must end in .mindir"),
        (["--checkpoint", "a.ckpt", "--file_name", "file/x.mindir"], "cannot write file/x.mindir: Not a directory"),
        (["--checkpoint", "a.ckpt", "--batch_size", "0"], "batch_size is 0: expected from 1 to 65536"),
        (["--checkpoint", "a.ckpt", "--batch_size", "65537"], "batch_size is 65537: expected from 1 to 65536"),
        (["--checkpoint", "a.ckpt", "--batch_size", "100000"], "batch_size is 100000: expected from 1 to 65536"),
        (["--checkpoint", "a.ckpt", "--batch_size", "two"], "batch_size: expected int or null, got two"),
        (["--checkpoint", "a.ckpt", "--device", "GPU"], "device GPU is not available"),
        (
            ["--checkpoint", "a.ckpt", "--precision", "half"],
            "precision: expected one of float32, float16, int8, got 'half'",
        ),
        (["--checkpoint", "a.ckpt", "--image_size", "40"], "TNT takes sides that are positive multiples of 16"),
        (["--checkpoint", "a.ckpt", "--stages", "1"], "stages: expected rising indices from 0 to 0, got [1]"),
        (["--checkpoint", "a.ckpt", "--encrypt_key_file", "file"], "expected 16, 24 or 32 bytes, got 0"),
        (["--checkpoint", "a.ckpt", "--audit", "--target", "NPU"], "'NPU' is no device of MindSpore"),
    ]:
        message = refuse(capfd, *options)
        assert message.startswith("error: ") and expected in message and message.count("\n") == 1, message
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("error", [1e-3, np.nan])
def test_a_file_that_computes_something_else_is_not_published(error, tmp_path, monkeypatch):
    def load_wrong(path, key=None):
        run = load_exported(path)
        return lambda images: run(images) + np.float32(error)

    monkeypatch.setattr(export, "load_exported", load_wrong)
    with pytest.raises(UserError, match="differs from the network by (1.0e-03|nan) where 1e-05 is allowed"):
        Exporter(create_toy(), TOY_CARD).write(tmp_path / "new" / "x.mindir")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("problem", "raised"),
    [(OSError(errno.ENOSPC, "No space left on device"), UserError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_failed_or_interrupted_export_leaves_the_old_file(problem, raised, tmp_path, monkeypatch):
    path = tmp_path / "x.mindir"
    Exporter(create_toy(), TOY_CARD).write(path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}

    def write_half(*args, file_name, **kwargs):
        Path(file_name).write_bytes(b"half")
        raise problem

    monkeypatch.setattr(ms, "export", write_half)
    with pytest.raises(raised):
        Exporter(create_toy(), TOY_CARD).write(path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert os.getcwd() == str(tmp_path)
    assert read_sidecar(path).card == TOY_CARD


def test_any_characters_in_the_path_and_the_usual_permissions(tmp_path):
    path = tmp_path / "my models" / "网络 (1).mindir"
    net = create_toy()
    Exporter(net, TOY_CARD).write(os.path.relpath(path))
    images = draw_images(TOY_CARD, 2)
    np.testing.assert_array_equal(load_exported(path)(images), net(Tensor(images)).asnumpy())
    (tmp_path / "new file").write_text("")
    assert path.stat().st_mode == (tmp_path / "new file").stat().st_mode


def test_weights_in_files_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("mindspore.train.serialization.TOTAL_SAVE", 0)  # what happens above 1 GB
    path = tmp_path / "big one.mindir"
    for _ in range(2):  # the second replaces the first
        net = create_toy()
        written = Exporter(net, TOY_CARD).write(path)
        assert sorted(file.name for file in tmp_path.iterdir()) == [
            "big one.mindir",
            "big one.mindir.json",
            "big_one_variables",
        ]
        weights = tmp_path / "big_one_variables" / "data_0"
        assert written.num_bytes == path.stat().st_size + weights.stat().st_size
        (tmp_path / "new folder").mkdir()
        assert weights.parent.stat().st_mode == (tmp_path / "new folder").stat().st_mode
        (tmp_path / "new folder").rmdir()
        images = draw_images(TOY_CARD, 2)
        np.testing.assert_array_equal(load_exported(path)(images), net(Tensor(images)).asnumpy())


def test_air_is_written_on_ascend_for_one_batch_size(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "current_device", lambda: "Ascend")
    shapes = []

    def write(net, images, file_name, file_format, **encryption):
        assert file_format == "AIR"
        shapes.append(tuple(images.shape))
        Path(file_name).write_bytes(b"air")

    monkeypatch.setattr(ms, "export", write)
    with pytest.raises(UserError, match="add --batch_size N"):
        Exporter(create_toy(), TOY_CARD).write(tmp_path / "x.air", Form("AIR"))
    written = Exporter(create_toy(), TOY_CARD).write(tmp_path / "x.air", Form("AIR", batch_size=2))
    assert written.comparison is None and shapes == [(2, 3, 4, 4)]
    assert json.loads((tmp_path / "x.air.json").read_text())["comparison_with_network"] is None
    with pytest.raises(UserError, match="x.air cannot be run here: expected a file with the ending .mindir or .onnx"):
        load_exported(tmp_path / "x.air")


def test_several_formats_and_sizes_in_one_call(tmp_path, capsys):
    """A file each, position tables resized, each compared with the network of its size."""
    card = CARDS["tnt"]
    save_checkpoint("a.ckpt", create_filled(card).get_parameters(), card)
    command.main(
        ["--checkpoint", "a.ckpt", "--file_name", "out/net", "--file_format", "MINDIR", "ONNX"]
        + ["--image_size", "32", "48", "--pixels"]
    )
    names = [f"net_{side}{ending}" for side in (32, 48) for ending in (".mindir", ".onnx")]
    assert sorted(path.name for path in Path("out").iterdir()) == sorted([*names, *(f"{n}.json" for n in names)])
    assert capsys.readouterr().out.count("largest difference from the network (logits)") == 4
    for side in (32, 48):
        pixels = np.random.default_rng(3).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
        for ending in (".mindir", ".onnx"):
            sidecar = read_sidecar(f"out/net_{side}{ending}")
            assert sidecar.card.image_size == (side, side) and sidecar.takes_pixels
        by_mindspore, by_onnx = (load_exported(f"out/net_{side}{ending}")(pixels) for ending in (".mindir", ".onnx"))
        assert np.ptp(by_onnx) > 0.1
        np.testing.assert_allclose(by_mindspore, by_onnx, rtol=0, atol=1e-4)


def test_maps_of_stages_encrypted(tmp_path):
    card = CARDS["ptnt"]
    net = create_filled(card)
    key = bytes(range(16))
    written = Exporter(net, card).write("maps.mindir", Form(stages=(1, 3), key=key))
    assert written.comparison.measure == "maps, relative to their largest value"
    sidecar = read_sidecar("maps.mindir")
    assert sidecar.content == "feature maps" and sidecar.encryption == "AES-GCM"
    content = json.loads(Path("maps.mindir.json").read_text())
    assert content["output"]["names"] == ["map0", "map1"] and content["output"]["shapes"][1] == [None, 8, 1, 1]
    images = draw_images(card, 2)
    expected = FeatureExtractor(net, (1, 3))(Tensor(images))
    for got, value in zip(load_exported("maps.mindir", key)(images), expected, strict=True):
        np.testing.assert_allclose(got, value.asnumpy(), rtol=1e-5, atol=1e-4)
    for wrong in (None, bytes(16)):
        with pytest.raises(UserError, match="maps.mindir is not a MINDIR file"):
            load_exported("maps.mindir", wrong)


def test_half_precision_halves_the_file():
    card = ModelCard("tnt_ti_patch16_224", {"depth": 2}, ["a", "b"], (32, 32), **STATISTICS)
    exporter = Exporter(create_filled(card), card)
    full, half = exporter.write("full.mindir"), exporter.write("half.mindir", Form(precision="float16"))
    assert half.comparison.measure == "probabilities" and 0 < half.comparison.largest_difference < 1e-2
    assert half.num_bytes < 0.6 * full.num_bytes


def test_names_tell_the_forms_and_sizes_of_a_network_apart(tmp_path, capsys):
    save_checkpoint("a.ckpt", create_filled(CARDS["tnt"]).get_parameters(), CARDS["tnt"])
    command.main(["--checkpoint", "a.ckpt"])
    command.main(["--checkpoint", "a.ckpt", "--precision", "float16", "--pixels", "--image_size", "16"])
    command.main(["--checkpoint", "a.ckpt", "--stages", "0", "--batch_size", "1"])
    names = ["tnt_ti_patch16_224", "tnt_ti_patch16_224_16_float16_pixels", "tnt_ti_patch16_224_stages_0_batch1"]
    folder = Path("output/ptnt_digits/export")
    written = [path for name in names for path in (folder / f"{name}.mindir", folder / f"{name}.mindir.json")]
    assert sorted(folder.iterdir()) == sorted(written)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("written: ")]
    assert [line.split()[1] for line in lines] == list(map(str, written))


def test_a_file_of_other_content_is_replaced_on_demand_only(tmp_path, capfd):
    net = create_filled(CARDS["tnt"])
    save_checkpoint("a.ckpt", net.get_parameters(), CARDS["tnt"])
    first = next(iter(net.get_parameters()))
    first.set_data(first * 2)
    save_checkpoint("b.ckpt", net.get_parameters(), CARDS["tnt"])
    shutil.copy("a.ckpt", "copy.ckpt")
    of_a = ["--checkpoint", "a.ckpt", "--file_name", "x.mindir"]
    command.main(of_a)
    command.main(["--checkpoint", "copy.ckpt", "--file_name", "x.mindir"])  # the same content
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    advice = "give --overwrite to replace it, or another name with --file_name\n"
    for changed, expected in [
        (["--checkpoint", "b.ckpt", "--file_name", "x.mindir"], "(it differs in checkpoint)"),
        ([*of_a, "--precision", "float16"], "(it differs in precision)"),
        ([*of_a, "--pixels"], "(it differs in input)"),
        ([*of_a, "--image_size", "16"], "(it differs in input, model)"),
        (["--checkpoint", "b.ckpt", "--file_name", "x", "--file_format", "ONNX", "MINDIR"], "checkpoint"),
    ]:
        message = refuse(capfd, *changed)
        assert message.startswith("error: x.mindir exists already and is another export (it differs in "), message
        assert expected in message and message.endswith(advice) and message.count("\n") == 1
    Path("y.mindir").write_text("something")
    before[tmp_path / "y.mindir"] = b"something"
    message = refuse(capfd, "--checkpoint", "a.ckpt", "--file_name", "y")
    assert message == f"error: y.mindir exists already and is no whole export: {advice}"
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    command.main(["--checkpoint", "b.ckpt", "--file_name", "x.mindir", "--precision", "float16", "--overwrite"])
    assert read_sidecar("x.mindir").precision == "float16"


def test_an_encrypted_file_is_not_compared(tmp_path, capfd):
    save_checkpoint("a.ckpt", create_filled(CARDS["tnt"]).get_parameters(), CARDS["tnt"])
    Path("key").write_bytes(bytes(range(16)))
    options = ["--checkpoint", "a.ckpt", "--encrypt_key_file", "key"]
    command.main(options)
    assert "tnt_ti_patch16_224_encrypted.mindir --decrypt_key_file key\n" in capfd.readouterr().out
    assert "exists already, and encrypted files are not compared: give --overwrite" in refuse(capfd, *options)


def test_audit_of_a_configuration(tmp_path, capsys):
    Path("tiny.yaml").write_text(
        "model: {name: tnt_ti_patch16_224, num_classes: 3, image_size: 32, structure: {depth: 1, inner_dim: 4, "
        "inner_num_heads: 2, outer_dim: 8, outer_num_heads: 2}}\n"
    )
    command.main(["--audit", "--config", "tiny.yaml"])
    text = capsys.readouterr().out
    assert "LayerNormGrad" in text and "Left unknown for at least one of them: 0 of" in text
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_batch_sizes_that_no_description_may_have(tmp_path):
    check_form(Form(batch_size=65536), tmp_path / "a.mindir")
    for batch_size in (0, 65537, 100_000):
        with pytest.raises(UserError, match=f"^batch_size: expected from 1 to 65536, got {batch_size}$"):
            Exporter(create_toy(), TOY_CARD).write("a.mindir", Form(batch_size=batch_size))
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_cannot_fit_is_refused_at_once(monkeypatch):
    monkeypatch.setattr("src.memory.machine_memory", lambda: 10**7)
    with pytest.raises(UserError, match="^60,000 images of 3 channels and 4 x 4 pixels would take at least 0.0 GB"):
        Exporter(create_toy(), TOY_CARD).write("a.mindir", Form(batch_size=60_000))
