"""train.py and eval.py on a tiny detector and a few scenes, as a user runs them."""

import json
import shutil
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from PIL import Image

import eval as eval_script
import train as train_script
import visualize as visualize_script
from src.data.scenes import make_scenes
from src.detection import create_detector
from src.errors import UserError
from src.weights.checkpoint import read_checkpoint, save_checkpoint
from src.weights.fine_tuning import lr_scales
from tests.command_output import without_outcome
from tests.tasks.detection_runs import (
    CONFIG,
    edit,
    last,
    metrics,
    other_ways,
    stop_and_go_on,
    train_on_two_ranks,
    train_otherwise,
)

pytestmark = pytest.mark.usefixtures("equal_graphs")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with tiny.yaml, seven scenes, and a finished run."""
    folder = tmp_path_factory.mktemp("detection")
    (folder / "tiny.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_scenes("scenes", size=96, num_train=7, num_val=3, seed=1)
        train_script.main(["--config", "tiny.yaml"])
    return folder


def make_portrait(split, numbers):
    """Cuts the right third of some scenes off, and what lies there."""
    path = Path(f"scenes/annotations/instances_{split}2017.json")
    content = json.loads(path.read_text())
    for number in numbers:
        entry = content["images"][number]
        image = Image.open(f"scenes/{split}2017/{entry['file_name']}")
        image.crop((0, 0, 64, 96)).save(f"scenes/{split}2017/{entry['file_name']}")
        entry["width"] = 64
        own = [a for a in content["annotations"] if a["image_id"] == entry["id"]]
        for annotation in own:
            annotation.pop("segmentation", None)
            x, y, width, height = annotation["bbox"]
            annotation["bbox"] = [min(x, 40), y, min(width, 20), height]
            annotation["area"] = annotation["bbox"][2] * height
    path.write_text(json.dumps(content))


@pytest.fixture
def folder(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_run_leaves_its_record(folder):
    run = folder / "runs" / "tiny"
    steps, scores = metrics(run, "train"), metrics(run, "eval")
    assert [e["step"] for e in steps] == [1, 2, 3, 4, 5, 6]
    assert all(e["loss"] == pytest.approx(e["loss_cls"] + e["loss_bbox"]) for e in steps)
    rates = [1e-6, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4]
    assert [e["learning_rate"] for e in steps] == [pytest.approx(rate) for rate in rates]
    assert {"ap", "ap50", "ar100", "ema_ap", "images"} <= scores[0].keys() and scores[0]["images"] == 3
    card = last(run).card
    assert card.classes == [str(digit) for digit in range(10)] and card.category_ids == list(range(1, 11))
    assert (card.canvas, card.short_side, card.long_side) == ((96, 96), 96, 96)
    log = (run / "train.log").read_text()
    assert "retinanet_ptnt_ti, 10 classes, canvas of 96 x 96 pixels, 1 image an epoch left over" in log


@pytest.mark.slow
def test_images_of_both_orientations(folder):
    """Four landscape and three portrait scenes are three batches, each of one canvas."""
    make_portrait("train", range(3))
    make_portrait("val", range(1))
    canvas = ["--model.image_size", "[64, 128]", "--data.short_sides", "48", "64"]
    train_script.main(["--config", "tiny.yaml", "--output", "turned", "--schedule.epochs", "1", *canvas])
    run = folder / "turned" / "tiny"
    assert [e["step"] for e in metrics(run, "train")] == [1, 2, 3]
    assert [e["images"] for e in metrics(run, "eval")] == [3]
    assert (last(run).card.canvas, last(run).card.long_side) == ((64, 128), 96)


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(folder):
    stop_and_go_on(folder, step=4)


@pytest.mark.slow
@other_ways
def test_other_ways_to_train_begin_alike(folder, options):
    train_otherwise(folder, options)


@pytest.mark.slow
def test_two_ranks_train_as_one(folder):
    train_on_two_ranks(folder, "ap")


def test_the_best_checkpoint_is_judged(folder, capsys):
    eval_script.main(["--config", "tiny.yaml", "--json", "scores.json", "--per_class"])
    lines = without_outcome(capsys.readouterr().out).splitlines()
    assert "Scores of each class in percent" in lines and lines[-1].split()[0] == "9" and len(lines[-1].split()) == 4
    scores = json.loads((folder / "scores.json").read_text())
    best = read_checkpoint(folder / "runs" / "tiny" / "checkpoints" / "best.ckpt").progress["best_score"]
    assert scores["ap"] == pytest.approx(best, abs=1e-6) and scores["model"] == "retinanet_ptnt_ti"


def test_pictures_of_scores_and_anchors(folder):
    assert visualize_script.main(["--config", "tiny.yaml", "--folder", "pictures"]) == 0
    found = sorted(str(path.relative_to("pictures")) for path in Path("pictures").rglob("*.png"))
    assert found == [f"{n + 1}_{n:06d}/{kind}.png" for n in range(3) for kind in ("anchors", "scores")]
    with pytest.raises(UserError, match="other.png is not among the 3 images of the configuration's validation split"):
        visualize_script.main(["other.png", "--config", "tiny.yaml", "--folder", "pictures"])


def test_layers_of_a_detector_learn_at_rates_of_their_own(folder):
    card = last(folder / "runs" / "tiny").card
    net = create_detector(card.model, **card.detector_arguments())
    scales = lr_scales(net, layer_decay=0.5, backbone_lr_scale=0.1)
    assert scales["bbox_head.retina_cls.weight"] == scales["upsample.0.0.weight"] == 1.0
    assert scales["backbone.stages.3.blocks.0.outer_attn.q.weight"] == pytest.approx(0.1 * 0.5)
    assert scales["backbone.inner_pos"] == pytest.approx(0.1 * 0.5**5)


def test_outputs_that_are_not_finite_are_no_score(folder):
    card = last(folder / "runs" / "tiny").card
    net = create_detector(card.model, **card.detector_arguments())
    weight = net.bbox_head.retina_cls.weight
    weight.set_data(ms.Tensor(np.full(weight.shape, np.nan, np.float32)))
    save_checkpoint("bad.ckpt", net.get_parameters(), card)
    with pytest.raises(UserError, match="not finite"):
        eval_script.main(["--config", "tiny.yaml", "--checkpoint", "bad.ckpt"])


def rename_category(content):
    content["categories"][0]["name"] = "zero"


def drop_annotations(content):
    content["annotations"] = []


def not_a_number(content):
    content["annotations"][0]["bbox"][0] = "x"


def negative(content):
    content["annotations"][0]["bbox"][2] = -1


def unknown_category(content):
    content["annotations"][0]["category_id"] = 77


def unknown_image(content):
    content["annotations"][0]["image_id"] = 123456


def missing_image(content):
    for entry in content["images"]:
        Path("scenes/train2017", entry["file_name"]).unlink()


def another_size(content):
    for entry in content["images"]:
        entry["width"] += 1


WRONG = [
    (["--data.root", "nowhere"], None, "data folder nowhere does not exist"),
    (["--data.train_annotations", "annotations/none.json"], None, "none.json"),
    (["--model.image_size", "[60, 128]"], None, "canvas: expected height and width, positive multiples of 32"),
    (["--model.image_size", "[128, 64]"], None, "not higher than wide"),
    (["--data.short_sides", "128"], None, "short_sides must be"),
    (["--data.long_side", "512"], None, "long_side must be"),
    (["--model.name", "retinanet_ptnt_x"], None, "retinanet_ptnt_x"),
    (["--model.name", "ptnt_ti_patch16_192"], None, "expected another data.source than 'coco', or a detector"),
    (["--data.source", "digits", "--data.root", "null"], None, "expected data.source 'coco', got 'digits'"),
    (["--model.structure", "{fpn_chanels: 8}"], None, "did you mean fpn_channels"),
    (["--model.structure", "{backbone: {depths: [1, 1]}}"], None, "depths: expected a list of 4 entries"),
    (["--model.in_channels", "1"], None, "detectors take images of 3 channels"),
    (["--model.num_classes", "3"], None, "model.num_classes is 3, but .* has 10 categories"),
    (["--model.drop_rate", "0.1"], None, "detectors have stochastic depth only"),
    (["--data.mixup", "0.8"], None, "data.mixup: has no meaning for detection"),
    (["--train.loss", "focal"], None, "train.loss: has no meaning for detection"),
    (["--train.batch_size", "9"], None, "too few for one batch of 9"),
    (["--model.image_size", "16384"], None, "2 images on a canvas of 16384 x 16384 pixels would"),
    ([], rename_category, "other categories than"),
    ([], drop_annotations, "an empty list .annotations."),
    ([], not_a_number, "bbox"),
    ([], negative, "bbox"),
    ([], unknown_category, "77"),
    ([], unknown_image, "123456"),
    ([], missing_image, r"cannot read image .*\.png"),
    ([], another_size, "pixels, but .* says"),
]  # fmt: skip


@pytest.mark.parametrize("options,change,message", WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_wrong_input_is_told_in_one_line_and_nothing_is_lost(folder, options, change, message):
    if change is not None:
        edit(change)
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*") if path.name != ".lock"}
    with pytest.raises(UserError, match=message) as found:
        train_script.main(["--config", "tiny.yaml", "--output", "wrong", *options])
    assert "\n" not in str(found.value)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_other_data_than_the_checkpoints_is_refused(folder):
    edit(rename_category)
    edit(rename_category, "scenes/annotations/instances_val2017.json")
    with pytest.raises(UserError, match="the data has other categories than .*1 label new .zero. and 1 label gone"):
        train_script.main(["--config", "tiny.yaml", "--resume"])


def test_data_of_fewer_categories_is_not_compared(folder):
    def drop(content):
        gone = content["categories"].pop()["id"]
        content["annotations"] = [a for a in content["annotations"] if a["category_id"] != gone]

    edit(drop, "scenes/annotations/instances_val2017.json")
    with pytest.raises(UserError, match="has 9 labels, .* knows 10: their scores would not be comparable"):
        eval_script.main(["--config", "tiny.yaml"])
