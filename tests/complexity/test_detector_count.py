"""The cost of a detector: a tiny one counted by hand, against what a forward pass multiplies, and the command."""

import csv
import functools
import json
import re
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from mindspore.nn.utils import no_init_parameters

import complexity as command
from src.complexity.count import MODULES, PARTS, count, create_unfilled_detector, create_unfilled_model
from src.detection.catalogue import backbone_of, create_detector, list_detectors
from src.layers.attention import ScaledDotProductAttention
from src.layers.resized_pos import ResizedPosEmbed, ResizedRelativePos
from src.layers.unfold import UnfoldConv2d
from src.models import list_models
from src.terminal.command import run_command
from tests.complexity.test_count import Forward

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "complexity.md"
STRUCTURE = {
    "depths": (1, 7, 1, 1),
    "inner_dims": (2, 4, 6, 8),
    "inner_num_heads": (1, 2, 2, 2),
    "outer_dims": (8, 12, 16, 20),
    "outer_num_heads": (1, 2, 2, 2),
}
TINY = {
    "num_classes": 3,
    "canvas": (64, 96),
    "table_size": 32,
    "fpn_channels": 4,
    "stacked_convs": 2,
    "backbone": STRUCTURE,
}


def tiny(**changes) -> nn.Cell:
    return create_detector("retinanet_ptnt_s", **{**TINY, **changes})


def test_multiply_adds_of_a_tiny_detector_by_hand():
    with no_init_parameters():
        parts = count(tiny()).multiply_adds
    # Stages of 8 x 12, 4 x 6, 2 x 3, 1 x 2 sentences, of widths 8, 12, 16, 20; averaged squares of 4, 2, 1, 1.
    assert parts["stem"] == 32 * 48 * 9 * (3 * 4 + 4 * 2) + 16 * 24 * 9 * 4 * 8 + 96 * 9 * (8 * 16 + 16 * 8)
    assert parts["inner attention"] == 16 * (
        96 * (4 * 2**2 + 2 * 16 * 2)
        + 2 * 24 * (4 * 4**2 + 2 * 16 * 4)  # two blocks of more than six have words
        + 6 * (4 * 6**2 + 2 * 16 * 6)
        + 2 * (4 * 8**2 + 2 * 16 * 8)
    )
    assert parts["inner MLP"] == 16 * 8 * (96 * 2**2 + 2 * 24 * 4**2 + 6 * 6**2 + 2 * 8**2)
    assert parts["word-to-sentence"] == 16 * (96 * 2 * 8 + 2 * 24 * 4 * 12 + 6 * 6 * 16 + 2 * 8 * 20)
    assert parts["outer attention"] == (
        (2 * 96 + 3 * 6) * 8**2 + 2 * 96 * 6 * 8  # 6 keys, which the reduction's layer makes
        + 7 * ((2 * 24 + 3 * 6) * 12**2 + 2 * 24 * 6 * 12)
        + 4 * 6 * 16**2 + 2 * 6 * 6 * 16
        + 4 * 2 * 20**2 + 2 * 2 * 2 * 20
    )  # fmt: skip
    assert parts["outer MLP"] == 8 * (96 * 8**2 + 7 * 24 * 12**2 + 6 * 16**2 + 2 * 20**2)
    assert parts["aggregation"] == 9 * (
        24 * (16 * 2 * 4 + 8 * 12) + 6 * (16 * 4 * 6 + 12 * 16) + 2 * (16 * 6 * 8 + 16 * 20)
    )
    # Tables for 32 x 32: stages of 4 x 4, 2 x 2, 1 x 1, 1 x 1 sentences with a key each. Rows, then columns.
    assert parts["position tables"] == (
        8 * (8 * 4 * 4 + 12 * 4 * 8)  # the sentences' table
        + 1 * (8 * 4 * 4 + 12 * 4 * 8) + 1 * 1 * 96 * 6
        + 2 * (4 * 2 * 2 + 6 * 2 * 4) + 7 * 2 * 24 * 6
        + 2 * (2 * 1 * 1 + 3 * 1 * 2) + 2 * 6 * 6
        + 2 * (1 * 1 * 1 + 2 * 1 * 1) + 2 * 2 * 2
    )  # fmt: skip
    # 2 x 2 weights at each sentence, 9 at each of the four positions made of it.
    assert parts["upsample neck"] == (4 + 4 * 9) * (96 * 8**2 + 24 * 12**2 + 6 * 16**2 + 2 * 20**2)
    # Strides 8, 16, 32 are 8 x 12, 4 x 6, 2 x 4; then 1 x 2 and 1 x 1.
    assert parts["FPN"] == 96 * 12 * 4 + 24 * 16 * 4 + 8 * 20 * 4 + 9 * ((96 + 24 + 8) * 4**2 + 2 * 20 * 4 + 1 * 4**2)
    assert parts["head"] == (96 + 24 + 8 + 2 + 1) * 9 * (2 * 2 * 4**2 + 4 * 9 * 3 + 4 * 9 * 4)
    assert list(parts) == [part for part in PARTS if part in parts] and len(parts) == 11


TWO_STAGES = {**TINY, "fc_channels": 6, "mask_convs": 2, "proposals": 10}
del TWO_STAGES["stacked_convs"]


@pytest.mark.parametrize("kind,heads,boxes", [("mask_rcnn", 1, 3), ("cascade_mask_rcnn", 3, 1)])
def test_two_stages_by_hand(kind, heads, boxes):
    with no_init_parameters():
        cost = count(create_detector(f"{kind}_ptnt_s", **TWO_STAGES))
    parts, modules = cost.multiply_adds, cost.parameters_by_module
    # Strides 4 to 32 are 16 x 24, 8 x 12, 4 x 6, 2 x 4, and every second position of the last: 1 x 2.
    sizes = (16 * 24, 8 * 12, 4 * 6, 2 * 4)
    assert parts["FPN"] == sum(n * (c * 4 + 9 * 4**2) for n, c in zip(sizes, (8, 12, 16, 20), strict=True))
    assert parts["RPN head"] == (sum(sizes) + 2) * (9 * 4**2 + 4 * 3 * (1 + 4))
    outputs = (3 + 1) + 4 * boxes
    assert parts["box head"] == heads * 10 * (4 * 7 * 7 * 6 + 6 * 6 + 6 * outputs)
    assert parts["mask head"] == heads * 100 * 14 * 14 * (2 * 9 * 4**2 + 4 * 4**2 + 4 * 4 * 3)
    assert cost.regions == {"box head": 10, "mask head": 100}
    assert modules["RPN head"] == 9 * 4**2 + 4 + (4 + 1) * 3 * (1 + 4)
    assert modules["box head"] == heads * ((4 * 7 * 7 + 1) * 6 + (6 + 1) * 6 + (6 + 1) * outputs)
    assert modules["mask head"] == heads * (2 * (9 * 4**2 + 4) + 4 * 4**2 + 4 + (4 + 1) * 3)


def test_parameters_of_a_tiny_detector_by_hand():
    with no_init_parameters():
        modules = count(tiny()).parameters_by_module
    assert list(modules) == ["backbone", "upsample neck", "FPN", "head"]
    assert modules["upsample neck"] == sum(4 * c * c + 9 * c * c + 2 * c + 4 * c for c in (8, 12, 16, 20))
    assert modules["FPN"] == (12 + 16 + 20) * 4 + 3 * 4 + 3 * (9 * 16 + 4) + (9 * 20 * 4 + 4) + (9 * 16 + 4)
    assert modules["head"] == 4 * (9 * 16 + 4) + 9 * 4 * 9 * (3 + 4) + 9 * (3 + 4)


@functools.cache
def unfilled(name: str) -> nn.Cell:
    return create_unfilled_detector(name, (128, 192), 5)


@pytest.mark.parametrize("name", list_detectors())
def test_parameters_are_those_of_the_network_without_statistics(name):
    net = unfilled(name)
    sizes = [p.size for key, p in net.parameters_and_names() if not re.search(r"\.moving_(mean|variance)$", key)]
    complexity = count(net)
    assert complexity.parameters == complexity.trainable == sum(sizes) == sum(complexity.parameters_by_module.values())


@pytest.mark.parametrize("name", list_detectors())
def test_the_backbone_is_the_classifier_without_head_at_the_canvas(name):
    net = unfilled(name)
    classifier = count(create_unfilled_model(backbone_of(name), (128, 192), 0))
    parts = count(net).multiply_adds
    assert {part: parts.pop(part) for part in classifier.multiply_adds} == classifier.multiply_adds
    heads = ["head"] if name.startswith("retinanet") else ["RPN head", "box head", "mask head"]
    assert list(parts) == ["position tables", "upsample neck", "FPN", *heads]
    native = count(create_unfilled_model(backbone_of(name), num_classes=0))  # whose tables the backbone has
    assert count(net).parameters_by_module["backbone"] == native.parameters


class DetectorForward(Forward):
    """The same with transposed and MindSpore's own convolutions, resized tables and biases of low rank."""

    def add(self, cell, inputs, outputs):
        super().add(cell, inputs, outputs)
        if isinstance(cell, nn.Conv2dTranspose):
            self.total += inputs[0].size // cell.weight.shape[0] * cell.weight.size
        elif type(cell) is nn.Conv2d:
            self.total += outputs.size * cell.weight.size // cell.weight.shape[0]
        elif isinstance(cell, ResizedPosEmbed):
            self.add_resizing(cell.over_grid, outputs.shape[2])
        elif isinstance(cell, ResizedRelativePos):
            self.add_resizing(cell.over_queries, outputs[0].shape[1] * outputs[0].shape[3])
        elif isinstance(cell, ScaledDotProductAttention) and len(inputs) > 3 and isinstance(inputs[3], tuple):
            left, right = inputs[3]
            self.total += left.size * right.shape[3]

    def add_resizing(self, grid, width):
        self.total += (grid.rows.size * grid.old[1] + grid.columns.size * grid.new[0]) * width


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"canvas": (96, 160), "table_size": 64},
        {"canvas": (64, 64), "table_size": 64},
        {"relative_pos": (False, True, False, True), "stacked_convs": 0, "backbone": {**STRUCTURE, "se": True}},
    ],
)
def test_counts_what_a_forward_pass_multiplies(changes):
    ms.set_context(mode=ms.PYNATIVE_MODE)  # hooks act in this mode only
    net = tiny(**changes).set_train(False)
    assert not any(isinstance(cell, UnfoldConv2d) for _, cell in net.cells_and_names())
    forward = DetectorForward(net)
    net(ms.Tensor(np.zeros((1, 3, *net.canvas), np.float32)))
    assert count(net).total == forward.total


def test_the_turned_canvas_shares_the_parameters():
    with no_init_parameters():
        landscape, portrait = (count(tiny(canvas=canvas)) for canvas in ((64, 128), (128, 64)))
    assert landscape.parameters == portrait.parameters
    assert landscape.multiply_adds["head"] == portrait.multiply_adds["head"]


def test_tables_of_the_canvas_are_not_multiplied_with():
    with no_init_parameters():
        assert "position tables" not in count(tiny(canvas=(64, 64), table_size=64)).multiply_adds


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What one call writes of three detectors at the usual canvas, and another of a detector and a classifier."""
    folder = tmp_path_factory.mktemp("complexity")
    calls = {"usual": [f"retinanet_ptnt_{size}" for size in ("ti", "s", "m", "b")]}
    calls["two"] = [
        f"{kind}_ptnt_{size}" for kind in ("mask_rcnn", "cascade_mask_rcnn") for size in ("ti", "s", "m", "b")
    ]
    calls["mixed"] = ["retinanet_ptnt_ti", "ptnt_ti_patch16_192", "--num_classes", "7"]
    for call, arguments in calls.items():
        kinds = ("json", "csv", "markdown")
        command.main(arguments + [text for kind in kinds for text in (f"--{kind}", str(folder / f"{call}.{kind}"))])
    return folder


def test_json(files):
    content = json.loads((files / "usual.json").read_text())
    assert "the product of low rank" in content["what_is_counted"]
    for entry in content["networks"]:
        assert (entry["image_size"], entry["num_classes"]) == ([800, 1344], 80)
        assert entry["published_accuracy"] is None
        assert sum(entry["multiply_adds_by_part"].values()) == entry["multiply_adds"]
        assert sum(entry["parameters_by_module"].values()) == entry["parameters"]
        positions = 100 * 168 + 50 * 84 + 26 * 42 + 13 * 21 + 7 * 11
        assert entry["multiply_adds_by_part"]["head"] == positions * 9 * 256 * (8 * 256 + 9 * 84)
    detector, classifier = json.loads((files / "mixed.json").read_text())["networks"]
    assert (detector["num_classes"], classifier["num_classes"]) == (7, 7)
    assert "parameters_by_module" not in classifier and classifier["image_size"] == [192, 192]


def test_csv(files):
    with (files / "mixed.csv").open(newline="") as file:
        detector, classifier = csv.DictReader(file)
    assert (detector["image_height"], detector["image_width"], detector["classes"]) == ("800", "1344", "7")
    modules = [f"parameters of {module}" for module in MODULES]
    assert sum(int(detector[module] or 0) for module in modules) == int(detector["parameters"])
    assert [classifier[module] for module in modules] == [""] * len(modules)
    for row in (detector, classifier):
        assert sum(int(row[part]) for part in PARTS) == int(row["multiply_adds"])
    assert int(classifier["FPN"]) == 0 < int(detector["FPN"])


def test_the_guide_holds_the_tables_as_the_command_writes_them(files):
    for call, number in (("usual", 4), ("two", 5)):
        blocks = [block.strip() for block in (files / f"{call}.markdown").read_text().split("\n\n")]
        tables = [block for block in blocks if block.startswith("|")]
        assert len(tables) == number
        for table in tables[1:]:
            assert f"\n\n{table}\n\n" in GUIDE.read_text()


def test_two_stages_at_the_usual_size(files):
    content = json.loads((files / "two.json").read_text())
    assert (
        "a box head for each of 1,000 proposals of the image, and a mask head for each of 100 detections"
        in (content["what_is_counted"])
    )
    positions = 200 * 336 + 100 * 168 + 50 * 84 + 26 * 42 + 13 * 21
    for entry in content["networks"]:
        heads, outputs = (3, 81 + 4) if entry["model"].startswith("cascade") else (1, 81 + 320)
        assert entry["regions_by_part"] == {"box head": 1000, "mask head": 100}
        parts = entry["multiply_adds_by_part"]
        assert parts["RPN head"] == positions * (9 * 256**2 + 15 * 256)
        assert parts["box head"] == heads * 1000 * (12544 * 1024 + 1024**2 + 1024 * outputs)
        assert parts["mask head"] == heads * 100 * 14**2 * (4 * 9 * 256**2 + 4 * 256**2 + 4 * 256 * 80)
        # Those of mmdetection's and torchvision's Mask R-CNN for 80 classes.
        assert entry["parameters_by_module"]["RPN head"] == 593_935
        if heads == 1:
            assert entry["parameters_by_module"]["box head"] == 14_306_705
            assert entry["parameters_by_module"]["mask head"] == 2_643_280
        assert sum(entry["parameters_by_module"].values()) == entry["parameters"]


def test_the_numbers_in_the_sentences_of_the_guide(files):
    guide = " ".join(GUIDE.read_text().split())
    entry = json.loads((files / "usual.json").read_text())["networks"][1]
    finest = 40 * 100 * 168 * 128**2
    assert entry["multiply_adds_by_part"]["upsample neck"] > finest
    assert f"{finest / 1e9:.1f} G of `retinanet_ptnt_s`" in guide


def test_text_names_the_canvas_and_what_is_counted(capsys):
    command.main(["retinanet_ptnt_ti", "--canvas", "64", "96", "--num_classes", "3"])
    out = capsys.readouterr().out
    assert re.search(r"^retinanet_ptnt_ti +64 x 96 +3 ", out, re.M)
    assert "Parameters of detectors by module" in out and "RetinaNet: millions of multiply-adds by part" in out
    assert "Not counted: boxes of anchors" in " ".join(out.split())
    command.main(["ptnt_ti_patch16_192"])
    assert "etector" not in capsys.readouterr().out


def test_detectors_fit_the_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for columns in (72, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        command.main(["retinanet_ptnt_ti", "--canvas", "64"])
        assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


def test_without_names_it_counts_classifiers(capsys):
    command.main(["--json", "a.json"])
    assert [entry["model"] for entry in json.loads(Path("a.json").read_text())["networks"]] == list_models()


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["retinanet_ptnt_x"], "unknown detector 'retinanet_ptnt_x'; did you mean retinanet_ptnt_s"),
        (["retinanet_ptnt_s", "--image_size", "256"], "--image_size: it is for classifiers; retinanet_ptnt_s is a"),
        (["ptnt_s_patch16_256", "--canvas", "64"], "--canvas: it is for detectors; ptnt_s_patch16_256 is a classifier"),
        (["--canvas", "64"], "--canvas: it is for detectors; tnt_ti_patch16_224 is a classifier, give --image_size"),
        (["retinanet_ptnt_s", "--canvas", "100", "64"], "canvas: expected height and width, positive multiples of 32"),
        (["retinanet_ptnt_s", "--canvas", "1", "2", "3"], "--canvas: expected a side, or height and width, in pixels"),
        (["retinanet_ptnt_s", "--canvas", "8192"], "--canvas: expected a whole number from 1 to 4096, got 8192"),
        (["retinanet_ptnt_s", "--num_classes", "0"], "num_classes: expected a whole number from 1 to 1000000, got 0"),
        (["retinanet_ptnt_s", "--plot", "a.png"], "--plot: it has classifiers only; leave out retinanet_ptnt_s"),
        (["retinanet_ptnt_s", "--formula"], "the closed form is that of the TNT paper; retinanet_ptnt_s is no TNT"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_command(lambda: command.main(arguments))
    out, err = capsys.readouterr()
    assert stopped.value.code == 2 and not out
    assert message in err and err.startswith("error: ") and err.count("\n") == 1
    assert list(Path().iterdir()) == []
