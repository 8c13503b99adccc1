"""convert.py as a user runs it: files of torch.save to the authors' logits, back bit for bit, and every refusal.

The files here are written by hand; tests/torch_files/check_with_torch.py does the same with PyTorch at full size.
"""

import json
import os
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
import safetensors.numpy

import convert as command
import eval as eval_command
from src.config import Config
from src.errors import UserError
from src.models import create_model
from src.tasks.trained_network import open_trained_network
from src.terminal.command import run_command
from src.weights.author_names import load_reference_weights, reference_names, reference_weights
from src.weights.checkpoint import read_checkpoint, save_checkpoint
from src.weights.conversion import convert_file
from src.weights.described_network import create_network
from src.weights.model_card import ModelCard
from src.weights.timm_names import to_timm
from src.weights.torch_file import write_safetensors
from tests.parity import Case, load_case
from tests.reference.fill import fill_parameter
from tests.weights.test_torch_file import dict_of, legacy_file, named, number, storage, tensor, zip_file

STORAGES = {"float16": "Half", "float32": "Float", "float64": "Double", "int64": "Long"}
# tiny reference cases, and the variant that each is with other sizes
CASES = {
    "tiny_tnt": "tnt_s_patch16_224",
    "tiny_tnt_se": "tnt_s_patch16_224",
    "tiny_pyramid_tnt": "ptnt_s_patch16_256",
    "tiny_t2t_performer": "t2t_vit_14",
    "tiny_t2t_transformer": "t2t_vit_t_14",
}
PYRAMID = "tiny_pyramid_tnt"
TNT = "tiny_tnt"


def weights_of(case: Case) -> dict[str, np.ndarray]:
    """The state dict of a case with PyTorch's types."""
    weights = {name: fill_parameter(name, shape, case.meta["seed"]) for name, shape in case.meta["state_dict"]}
    return {n: a.astype(np.int64) if n.endswith("num_batches_tracked") else a for n, a in weights.items()}


def options_of(name: str) -> list[str]:
    """--model and --structure of a tiny case."""
    kwargs = dict(load_case(name).meta["kwargs"])
    kwargs.update(kwargs.pop("configs", {}))
    structure = {key: value for key, value in kwargs.items() if key not in ("img_size", "num_classes", "se")}
    return ["--model", CASES[name], "--structure", json.dumps(structure)]


def pickled(weights: dict[str, np.ndarray], first_key: int = 0) -> tuple[bytes, dict[str, np.ndarray]]:
    """The opcodes of a state dict, and its storages by their keys, which are numbers."""
    items, storages = {}, {}
    for key, (name, array) in enumerate(weights.items(), start=first_key):
        strides = tuple(stride // array.itemsize for stride in array.strides)
        items[name] = tensor(storage(STORAGES[array.dtype.name], str(key), array.size), array.shape, strides)
        storages[str(key)] = array
    return dict_of(items), storages


def write_zip(path: Path, weights: dict[str, np.ndarray]) -> Path:
    path.write_bytes(zip_file(*pickled(weights)))
    return path


def run(*argv: str | Path) -> None:
    command.main([str(argument) for argument in argv])


def same_bits(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(
        first[n].dtype == second[n].dtype and first[n].tobytes() == second[n].tobytes() for n in first
    )


# --- to the authors' logits, and back ---


@pytest.mark.parametrize("name", CASES)
def test_every_format_gives_the_authors_logits(name, tmp_path):
    case = load_case(name)
    weights = weights_of(case)
    content, storages = pickled(weights)
    files = {
        "flat.pth": zip_file(content, storages),
        "flat.pth.tar": legacy_file(content, storages),
        "wrapped.pth.tar": zip_file(
            dict_of({"epoch": number(3), "model": pickled({f"module.{n}": a for n, a in weights.items()})[0]}), storages
        ),
    }
    for file, data in files.items():
        (tmp_path / file).write_bytes(data)
    write_safetensors(tmp_path / "flat.safetensors", weights)
    written = []
    for file in (*files, "flat.safetensors"):
        run("--input", file, "--output", "net.ckpt", *options_of(name))
        written.append(read_checkpoint("net.ckpt").weights)
    assert all(same_bits(written[0], other) for other in written[1:])

    trained = open_trained_network(Path("net.ckpt"), Config())  # what export.py and predict.py do
    assert trained.card.classes == [str(label) for label in range(10)]
    ms.set_context(mode=ms.PYNATIVE_MODE)
    logits = trained.net(case.images()).asnumpy()
    np.testing.assert_allclose(logits, case.arrays["logits"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", [TNT, PYRAMID, "tiny_t2t_performer"])
def test_back_to_pytorch_without_a_changed_bit(name, tmp_path, capsys):
    weights = weights_of(load_case(name))
    weights["head.bias"][:5] = [-0.0, np.inf, 1e-45, -3e38, np.nan]
    run("--input", write_zip(tmp_path / "a.pth", weights), "--output", "a.ckpt", *options_of(name))
    run("--reverse", "--input", "a.ckpt", "--output", "a.safetensors")
    assert f"{CASES[name]} from a.ckpt\nwritten: a.safetensors (" in capsys.readouterr().out
    back = safetensors.numpy.load_file("a.safetensors")
    assert same_bits(back, weights)
    counts = [array for key, array in back.items() if key.endswith("num_batches_tracked")]
    assert len(counts) == (5 if name == PYRAMID else 0) and all(a.shape == () and a == 0 for a in counts)
    run("--input", "a.safetensors", "--output", "b.ckpt", *options_of(name))
    assert same_bits(read_checkpoint("a.ckpt").weights, read_checkpoint("b.ckpt").weights)


def test_averaged_weights_are_preferred_and_said(tmp_path, capsys):
    weights = weights_of(load_case(TNT))
    averaged, storages = pickled(weights)
    latest, more = pickled({name: array + 1 for name, array in weights.items()}, first_key=len(weights))
    content = dict_of({"state_dict": latest, "state_dict_ema": averaged})
    (tmp_path / "a.pth").write_bytes(zip_file(content, storages | more))
    run("--input", "a.pth", "--output", "ema.ckpt", *options_of(TNT))
    text = capsys.readouterr().out
    assert "those of 'state_dict_ema' (also there: state_dict)" in text and "left unread: state_dict" in text
    run("--input", "a.pth", "--output", "raw.ckpt", "--key", "state_dict", *options_of(TNT))
    assert "those of 'state_dict' (also there: state_dict_ema)" in capsys.readouterr().out
    ema, raw = (read_checkpoint(file).weights["head.bias"] for file in ("ema.ckpt", "raw.ckpt"))
    np.testing.assert_array_equal(ema, weights["head.bias"])
    np.testing.assert_array_equal(raw, weights["head.bias"] + 1)


def test_timm_names_give_the_authors_logits(tmp_path, capsys):
    case = load_case(TNT)
    path = write_zip(tmp_path / "a.pth", to_timm(weights_of(case)))
    run("--input", path, "--output", "a.ckpt", "--report", "report.txt", *options_of(TNT))
    assert "1 absent, 0 missing, 0 unexpected\n  absent   outer_tokens: stays zero" in capsys.readouterr().out
    lines = Path("report.txt").read_text().splitlines()
    assert "renamed  blocks.2.mlp.fc1.weight (192, 48) -> blocks.2.outer_mlp.fc1.weight" in lines
    assert "renamed  pixel_pos (1, 8, 4, 4) -> inner_pos" in lines
    checkpoint = read_checkpoint("a.ckpt")
    np.testing.assert_array_equal(checkpoint.weights["outer_tokens"], np.zeros((1, 16, 48), np.float32))
    net = open_trained_network(Path("a.ckpt"), Config()).net
    ms.set_context(mode=ms.PYNATIVE_MODE)
    np.testing.assert_allclose(net(case.images()).asnumpy(), case.arrays["logits"], rtol=0, atol=1e-4)


def test_back_to_timm_without_a_changed_bit(tmp_path):
    weights = weights_of(load_case(TNT))
    weights["outer_tokens"] = np.zeros_like(weights["outer_tokens"])
    run("--input", write_zip(tmp_path / "a.pth", weights), "--output", "a.ckpt", *options_of(TNT))
    run("--reverse", "--names", "timm", "--input", "a.ckpt", "--output", "a.safetensors")
    written = safetensors.numpy.load_file("a.safetensors")
    assert same_bits(written, to_timm(weights)) and "outer_tokens" not in written
    run("--input", "a.safetensors", "--output", "b.ckpt", *options_of(TNT))
    assert same_bits(read_checkpoint("a.ckpt").weights, read_checkpoint("b.ckpt").weights)


@pytest.mark.parametrize(
    ("case", "reason"),
    [("tiny_tnt_se", "no TNT with squeeze-and-excitation"), (PYRAMID, "timm has TNT only")],
)
def test_what_timm_does_not_have(case, reason, tmp_path, capfd):
    path = write_zip(tmp_path / "a.pth", weights_of(load_case(case)))
    run("--input", path, "--output", "a.ckpt", *options_of(case))
    error = refused(capfd, "--reverse", "--names", "timm", "--input", "a.ckpt", "--output", "a.safetensors")
    assert reason in error and not Path("a.safetensors").exists()


def test_timm_names_without_a_command_line():
    case = load_case(TNT)
    weights = to_timm(weights_of(case))
    net = case.build()
    report = load_reference_weights(net, weights)
    assert report.loaded.keys() == weights.keys() and report.loaded["pixel_pos"] == "inner_pos"
    assert report.absent == {"outer_tokens": "stays zero, nothing uses it; timm's files leave it out"}
    ms.set_context(mode=ms.PYNATIVE_MODE)
    np.testing.assert_allclose(net(case.images()).asnumpy(), case.arrays["logits"], rtol=0, atol=1e-4)

    weights["pixel_embed.proj.bias"] = np.ones(3, np.float32)
    del weights["norm1_proj.weight"]
    problem = r"1 missing: proj_norm1.weight \(\d+,\); 1 of another shape: pixel_embed.proj.bias \(3,\) for"
    with pytest.raises(UserError, match=problem):
        load_reference_weights(net, weights)


def test_no_more_than_ten_names_of_a_kind():
    net = load_case(TNT).build()
    weights = {f"layers.{number}.weight": np.zeros(1, np.float32) for number in range(200)}
    with pytest.raises(UserError) as refusal:
        load_reference_weights(net, weights)
    message = str(refusal.value)
    assert (
        f"{len(reference_names(net))} missing: " in message
        and f" and {len(reference_names(net)) - 10} more;" in message
    )
    assert message.endswith("layers.9.weight (1,) and 190 more") and message.count("layers.") == 10
    assert len(message) < 1000


def test_evaluation_takes_the_checkpoint(tmp_path, capsys):
    structure = {"depth": 1, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 8, "outer_num_heads": 2}
    weights = reference_weights(create_model("tnt_ti_patch16_224", **structure, num_classes=10, image_size=32))
    path = write_zip(tmp_path / "a.pth", weights)
    run("--input", path, "--output", "a.ckpt", "--model", "tnt_ti_patch16_224", "--structure", json.dumps(structure))
    capsys.readouterr()
    config = Path(command.__file__).parent / "config" / "demo" / "tnt_digits.yaml"
    options = ["--config", str(config), "--checkpoint", "a.ckpt", "--model.structure", json.dumps(structure)]
    eval_command.main([*options, "--limit_batches", "1", "--device", "CPU"])
    assert "32 images" in capsys.readouterr().out


# --- what is told ---


def test_report_of_every_array(tmp_path, capsys):
    weights = weights_of(load_case(PYRAMID))
    size = ["--image_size", "96", "64"]
    path = write_zip(tmp_path / "a.pth", weights)
    run("--input", path, "--output", "a.ckpt", "--report", "report.txt", *size, *options_of(PYRAMID))
    lines = Path("report.txt").read_text().splitlines()
    assert len(lines) == len(weights) and [line.split()[1] for line in lines] == list(weights)
    assert lines[0] == "resized  outer_pos (1, 64, 32) -> outer_pos (1, 96, 32)"
    assert "resized  stages.0.relative_pos (1, 2, 64, 4) -> stages.0.relative_pos (1, 2, 96, 6)" in lines
    assert "loaded   inner_pos (1, 16, 4)" in lines
    assert "renamed  norm.weight (64,) -> norm.gamma" in lines
    batches = "counts batches; the running averages have a constant momentum"
    assert f"unused   patch_embed.common_conv.1.num_batches_tracked (): {batches}" in lines
    kinds = [line.split()[0] for line in lines]
    text = capsys.readouterr().out
    assert f"{len(weights)} arrays\nptnt_s_patch16_256" in text and "10 classes, 3 channels, 96 x 64 pixels" in text
    assert (kinds.count("resized"), kinds.count("unused")) == (5, 5)
    counts = f"{kinds.count('loaded')} loaded, {kinds.count('renamed')} renamed, 5 resized, 5 unused, 0 absent"
    assert f"{counts}, 0 missing, 0 unexpected\n  resized  outer_pos" in text
    assert "written: report.txt\nwritten: a.ckpt (" in text
    assert text.endswith("config/classification/ptnt_s_patch16_256.yaml --checkpoint a.ckpt --data DIR\n")
    card = read_checkpoint("a.ckpt").card
    assert card.image_size == (96, 64) and card.mean == (0.5,) * 3 and card.crop_pct == 0.9


def test_narrow_and_wide_numbers_are_told(tmp_path, capsys):
    weights = weights_of(load_case(TNT))
    weights["head.bias"] = weights["head.bias"].astype(np.float64)
    weights["cls_token"] = weights["cls_token"].astype(np.float16)
    run("--input", write_zip(tmp_path / "a.pth", weights), "--output", "a.ckpt", *options_of(TNT))
    text = capsys.readouterr().out
    assert "1 were float16 and are float32 now, exactly" in text
    assert "1 were float64 and are float32 now, rounded where needed" in text
    np.testing.assert_array_equal(read_checkpoint("a.ckpt").weights["cls_token"], weights["cls_token"])


def test_squeeze_and_excitation_is_told_by_the_weights(tmp_path, capsys):
    path = write_zip(tmp_path / "a.pth", weights_of(load_case("tiny_tnt_se")))
    run("--input", path, "--output", "a.ckpt", *options_of("tiny_tnt_se"))
    assert "tnt_s_patch16_224, se True, patch_size 8" in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])  # with and without a byte-order mark
def test_published_variant_by_itself_with_class_names(encoding, tmp_path, capsys):
    """T2T-ViT-7 for grey images of 32 x 32 and five classes."""
    net = create_model("t2t_vit_7", num_classes=5, in_channels=1, image_size=32)
    path = write_zip(tmp_path / "a.pth", reference_weights(net))
    (tmp_path / "names.txt").write_text("cat\n狗\nbird\ncat\na b\n", encoding=encoding)
    run("--input", path, "--output", "a.ckpt", "--classes", "names.txt")
    assert "t2t_vit_7, num_heads 4: 5 classes, 1 channels, 32 x 32 pixels" in capsys.readouterr().out
    card = read_checkpoint("a.ckpt").card
    assert card.model == "t2t_vit_7" and card.arguments == {"num_heads": 4}
    assert card.classes == ["cat", "狗", "bird", "cat", "a b"]
    assert card.mean == pytest.approx((0.449,), abs=1e-6) and card.in_channels == 1


def test_1000_classes_have_the_labels_of_imagenet(tmp_path, capsys):
    net = create_model("tnt_ti_patch16_224", depth=1, num_classes=1000, image_size=32)
    path = write_zip(tmp_path / "a.pth", reference_weights(net))
    run("--input", path, "--output", "a.ckpt", "--model", "tnt_ti_patch16_224", "--structure", "{depth: 1}")
    assert "labels: n01440764 tench, n01443537 goldfish, " in capsys.readouterr().out
    classes = read_checkpoint("a.ckpt").card.classes
    assert (len(classes), classes[134], classes[517]) == (1000, "n02012849 crane", "n03126707 crane")


def test_weights_for_images_that_are_not_square(tmp_path, capfd):
    structure = {"depth": 1, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 8, "outer_num_heads": 2}
    net = create_model("tnt_s_patch16_224", **structure, num_classes=10, image_size=(32, 48))
    path = write_zip(tmp_path / "a.pth", reference_weights(net))
    options = ["--input", path, "--model", "tnt_s_patch16_224", "--structure", json.dumps(structure), "--output"]
    assert "6 entries, which form no square grid" in refused(capfd, *options, "a.ckpt")
    run(*options, "a.ckpt", "--old_image_size", "32", "48")
    assert read_checkpoint("a.ckpt").card.image_size == (32, 48)
    assert same_bits(read_checkpoint("a.ckpt").weights, {p.name: p.asnumpy() for p in net.get_parameters()})
    run(*options, "b.ckpt", "--old_image_size", "48", "32", "--image_size", "64")
    assert read_checkpoint("b.ckpt").weights["outer_pos"].shape == (1, 17, 8)


# --- refusals: one line, exit code 2, nothing written ---


def refused(capfd, *argv: str | Path) -> str:
    """The one line on stderr; makes sure that the working directory is as before."""
    capfd.readouterr()
    before = sorted((path, path.stat().st_mtime_ns) for path in Path.cwd().rglob("*"))
    with pytest.raises(SystemExit) as end:
        run_command(partial(command.main, [str(argument) for argument in argv]))
    assert end.value.code == 2
    assert sorted((path, path.stat().st_mtime_ns) for path in Path.cwd().rglob("*")) == before
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and err[:-1].isprintable()
    return err


def bad_files() -> dict[str, tuple[bytes, str]]:
    weights = {"cls_token": np.ones((1, 1, 8), np.float32), "tokens_to_token.project.bias": np.ones(8, np.float32)}
    whole = zip_file(*pickled(weights))
    legacy = legacy_file(*pickled(weights))
    resnet = {"conv1.weight": np.ones((4, 3, 7, 7), np.float32), "fc.bias": np.ones(4, np.float32)}
    return {
        "truncated zip": (whole[: len(whole) // 2], "damaged or cut short"),
        "truncated legacy": (legacy[:-9], "damaged or cut short"),
        "empty": (b"", "the file is empty"),
        "web page": (b"<!DOCTYPE html><html><title>Sign in</title></html>", "it is a web page"),
        "text": (b"version https://git-lfs.github.com/spec/v1\n", "it is text"),
        "malicious": (zip_file(named("os.system") + b"(X\x04\0\0\0lstR", {}), "names one whole"),
        "options of a training script": (
            zip_file(dict_of({"config": named("yacs.config.CfgNode") + b")R"}), {}),
            "its pickle names 'yacs.config.CfgNode'",
        ),
        "another network": (zip_file(*pickled(resnet)), "another network (conv1.weight, fc.bias, ...)"),
        "names of several lines": (
            zip_file(*pickled({**weights, "blocks.0\n\x1b[2J": np.ones(1, np.float32)})),
            r"expected names of parameters, got 'blocks.0\n\x1b[2J'",
        ),
        "no elements": (
            zip_file(*pickled({**weights, "head.weight": np.ones((2**40, 0), np.float32)})),
            "head.weight of shape (1099511627776, 0) has no elements",
        ),
    }


@pytest.mark.parametrize("kind", bad_files())
def test_bad_file(kind, tmp_path, capfd):
    data, message = bad_files()[kind]
    (tmp_path / "a.pth").write_bytes(data)
    if kind == "malicious":
        message = "'os.system', which would need code to be run: refused, nothing was executed"
    error = refused(capfd, "--input", "a.pth", "--output", "a.ckpt", "--report", "report.txt")
    assert error.startswith("error: a.pth: ") and message in error


def test_missing_unexpected_and_other_shapes_are_all_named(tmp_path, capfd):
    weights = weights_of(load_case(TNT))
    del weights["head.bias"], weights["blocks.1.proj.weight"]
    weights |= {"dist_token": np.ones((1, 1, 48), np.float32), "norm.weight": np.ones(7, np.float32)}
    path = write_zip(tmp_path / "a.pth", weights)
    error = refused(capfd, "--input", path, "--output", "a.ckpt", "--report", "report.txt", *options_of(TNT))
    expected = (
        "the weights do not fit the network: 2 missing: blocks.1.proj.weight (48, 128), head.bias (10,); "
        "1 unexpected: dist_token (1, 1, 48); 1 of another shape: norm.weight (7,) for (48,)\n"
    )
    assert error == f"error: {path}: {expected}"


def test_wrong_architecture(tmp_path, capfd):
    path = write_zip(tmp_path / "a.pth", weights_of(load_case(TNT)))
    found = "found TNT with depth 3, inner_dim 8, outer_dim 48"
    for options, message in (
        (["--model", "t2t_vit_14"], f"{found}, but t2t_vit_14 has another architecture, T2TViT"),
        (["--model", "tnt_b_patch16_224"], f"{found}, but tnt_b_patch16_224 has depth 12, inner_dim 40, outer_dim 640"),
        (["--model", "auto"], f"{found}: no published variant"),
        ([], f"{found}: no published variant"),
        (["--model", "vgg"], "unknown model 'vgg'"),
    ):
        assert message in refused(capfd, "--input", path, "--output", "a.ckpt", *options)


def test_legacy_timm(tmp_path, capfd):
    weights = to_timm(weights_of(load_case(TNT)))
    for block in range(3):
        weights[f"blocks.{block}.proj.bias"] = np.zeros(48, np.float32)
        weights[f"blocks.{block}.norm1_proj.weight"] = np.ones(8, np.float32)
        del weights[f"blocks.{block}.norm2_proj.weight"], weights[f"blocks.{block}.norm2_proj.bias"]
    path = write_zip(tmp_path / "a.pth", weights)
    assert "legacy TNT" in refused(capfd, "--input", path, "--output", "a.ckpt", *options_of(TNT))


def test_other_arguments_that_cannot_be_used(tmp_path, capfd):
    path = write_zip(tmp_path / "a.pth", weights_of(load_case(TNT)))
    (tmp_path / "folder.ckpt").mkdir()
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "hole.txt").write_text("a\n\nb\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "own.ckpt").write_bytes(path.read_bytes())  # a torch file with our ending
    given = ["--input", path, "--output", "a.ckpt", *options_of(TNT)]
    for options, message in (
        (["--input", path], "the following arguments are required: --output"),
        (["--input", "none.pth", "--output", "a.ckpt"], "none.pth: cannot be read: No such file or directory"),
        (["--input", path, "--output", "a.pth"], "a.pth: expected a name that ends in .ckpt"),
        (["--input", path, "--output", "folder.ckpt"], "folder.ckpt is a folder"),
        (["--input", path, "--output", "none/a.ckpt"], "cannot write none/a.ckpt: none is not a folder"),
        (["--input", path, "--output", path / "a.ckpt"], "is not a folder that can be written"),
        (["--input", "own.ckpt", "--output", "own.ckpt"], "--input and --output are the same file"),
        ([*given, "--report", "none/report.txt"], "cannot write none/report.txt"),
        ([*given, "--modle", "x"], "unrecognized arguments: --modle x"),
        ([*given, "--key", "ema"], "expected weights under the key 'ema'"),
        ([*given, "--classes", "two.txt"], "the head has 10 classes, but 2 names were given"),
        (
            [*given, "--classes", "hole.txt"],
            "hole.txt: expected a text file with one class name a line: line 2 is empty",
        ),
        ([*given, "--classes", os.devnull], "the file is empty"),
        ([*given, "--classes", "latin.txt"], "it is not UTF-8 text"),
        ([*given, "--classes", "none.txt"], "none.txt: expected a text file"),
        ([*given, "--image_size", "1", "2", "3"], "--image_size: expected a side, or height and width"),
        ([*given, "--image_size", "-8"], "--image_size: expected a whole number from 1 to 16384, got -8"),
        ([*given, "--image_size", str(10**9)], "--image_size: expected a whole number from 1 to 16384, got 1000000000"),
        ([*given, "--structure", "{a: &a [*a]}"], "line 1: expected an alias of something finished"),
        ([*given, "--structure", "[" * 50000], "line 1: expected at most 20 levels of nesting"),
        ([*given, "--structure", "{1: 2}"], "line 1: expected a name as key, got 1"),
        ([*given, "--report", "x" * 5000], "argument --report: expected a path of 1 to 3500 bytes"),
        ([*given, "--report", "a\udcff"], "argument --report: expected UTF-8 text without control characters"),
        ([*given, "--image_size", "33"], "TNT takes sides that are positive multiples of 8"),
        ([*given, "--old_image_size", "8", "16"], "outer_pos"),
        ([*given, "--structure", "[1, 2"], "--structure: expected something like"),
        ([*given, "--structure", "{depth: x}"], "depth: expected a whole number from 1 to 1000, got 'x'"),
        ([*given, "--structure", "{num_classes: 3}"], "num_classes is told by the weights"),
        ([*given[:4], "--structure", "{depth: 3}"], "expected with the name of a variant"),
        (["--reverse", *given[:4]], "expected a name that ends in .safetensors"),
        (["--reverse", *given], "--model has no meaning with --reverse"),
        ([*given, "--names", "timm"], "--names has no meaning without --reverse"),
        (["--reverse", "--input", path, "--output", "a.safetensors"], "is not a readable MindSpore checkpoint"),
    ):
        assert message in refused(capfd, *options), options


def test_checkpoints_are_not_converted_again(tmp_path, capfd):
    card = ModelCard("t2t_vit_7", {"depth": 1}, ["a", "b"], (32, 32), 3, (0.5,) * 3, (0.5,) * 3, 0.9)
    net = create_network(card)
    save_checkpoint(tmp_path / "own.ckpt", net.get_parameters(), card)
    assert "it is a MindSpore checkpoint already" in refused(capfd, "--input", "own.ckpt", "--output", "b.ckpt")
    ms.save_checkpoint(net, str(tmp_path / "bare.ckpt"))
    error = refused(capfd, "--reverse", "--input", "bare.ckpt", "--output", "b.safetensors")
    assert "bare.ckpt does not say which network it holds" in error


# --- src/weights/author_names.py ---


def test_loading_is_strict_and_changes_nothing_when_it_refuses():
    net = load_case(TNT).build()
    before = {p.name: p.asnumpy().copy() for p in net.get_parameters()}
    weights = reference_weights(net)
    weights["head.bias"] = weights["head.bias"] + 1
    weights["extra"] = np.zeros(1, np.float32)
    with pytest.raises(UserError, match=r"^the weights do not fit the network: 1 unexpected: extra \(1,\)$"):
        load_reference_weights(net, weights)
    assert same_bits(before, {p.name: p.asnumpy() for p in net.get_parameters()})


def test_names_of_every_case_are_the_authors():
    for name in CASES:
        case = load_case(name)
        case.meta["factory"] = CASES[name]
        assert set(reference_weights(case.build())) == {key for key, _ in case.meta["state_dict"]}
        assert set(reference_names(case.build())) <= {key for key, _ in case.meta["state_dict"]}


def test_conversion_without_a_command_line(tmp_path):
    """What starts a training from the authors' weights may use."""
    kwargs = load_case(TNT).meta["kwargs"]
    structure = {key: value for key, value in kwargs.items() if key not in ("img_size", "num_classes")}
    path = write_zip(tmp_path / "a.pth", weights_of(load_case(TNT)))
    conversion = convert_file(path, CASES[TNT], structure, image_size=(64, 32))
    assert conversion.net.image_size == (64, 32)
    assert set(conversion.old_shapes) == {"outer_pos", "outer_tokens"}
