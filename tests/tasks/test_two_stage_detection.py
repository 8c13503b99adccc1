"""train.py and eval.py on a tiny Mask R-CNN and Cascade Mask R-CNN, as a user runs them."""

import json
import shutil
from pathlib import Path

import pytest

import eval as eval_script
import train as train_script
import visualize as visualize_script
from src.data.scenes import make_scenes
from src.errors import UserError
from tests.tasks.detection_runs import (
    CONFIG,
    EDITS,
    edit,
    last,
    metrics,
    other_ways,
    stop_and_go_on,
    train_on_two_ranks,
    train_otherwise,
)

pytestmark = pytest.mark.usefixtures("equal_graphs")

STRUCTURE = """    anchor_scale: 4.0
    fc_channels: 16
    mask_convs: 1
    proposals: 20
    regions: 16
    window: 16
"""
MASKS = (
    CONFIG.replace("retinanet_ptnt_ti", "mask_rcnn_ptnt_ti")
    .replace("    anchor_scale: 2.0\n", STRUCTURE)
    .replace("    stacked_convs: 1\n", "")
    .replace("epochs: 2", "epochs: 1")
    .replace("decay_epochs: [1]", "decay_epochs: []")
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with tiny.yaml, seven scenes, and a finished run."""
    folder = tmp_path_factory.mktemp("masks")
    (folder / "tiny.yaml").write_text(MASKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_scenes("scenes", size=96, num_train=7, num_val=3, seed=1)
        train_script.main(["--config", "tiny.yaml"])
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_run_leaves_its_record(folder):
    run = folder / "runs" / "tiny"
    steps, scores = metrics(run, "train"), metrics(run, "eval")
    assert [entry["step"] for entry in steps] == [1, 2, 3]
    for entry in steps:
        parts = [entry[f"loss_{name}"] for name in ("rpn_cls", "rpn_bbox", "cls", "bbox", "mask")]
        assert entry["loss"] == pytest.approx(sum(parts)) and min(parts) > 0
    assert {"ap", "ap50", "mask_ap", "mask_ap75", "ema_mask_ap", "images"} <= scores[0].keys()
    assert last(run).card.model == "mask_rcnn_ptnt_ti" and last(run).card.arguments["window"] == 16


def test_pictures_of_scores_and_anchors(folder):
    assert visualize_script.main(["--config", "tiny.yaml", "--folder", "pictures"]) == 0
    found = sorted(str(path.relative_to("pictures")) for path in Path("pictures").rglob("*.png"))
    assert found == [f"{n + 1}_{n:06d}/{kind}.png" for n in range(3) for kind in ("anchors", "scores")]


def test_objects_without_pixels_are_named(folder):
    def drop(content):
        content["annotations"][3].pop("segmentation")

    number = json.loads(Path(EDITS).read_text())["annotations"][3]["id"]
    edit(drop)
    with pytest.raises(UserError, match=rf"{EDITS}: annotation {number}: 'segmentation' must be .* missing") as found:
        train_script.main(["--config", "tiny.yaml", "--output", "wrong"])
    assert "\n" not in str(found.value)


def test_arguments_of_the_other_kind_are_refused(folder):
    with pytest.raises(UserError, match="mask_rcnn_ptnt_ti has no argument 'stacked_convs'"):
        train_script.main(["--config", "tiny.yaml", "--output", "wrong", "--model.structure", "{stacked_convs: 1}"])


@pytest.mark.slow
def test_a_run_that_is_stopped_goes_on_to_the_same_bits(folder):
    stop_and_go_on(folder, step=2)


@pytest.mark.slow
@other_ways
def test_other_ways_to_train_begin_alike(folder, options):
    train_otherwise(folder, options)


@pytest.mark.slow
def test_two_ranks_train_as_one(folder):
    train_on_two_ranks(folder, "mask_ap")


@pytest.mark.slow
def test_a_cascade_trains_and_is_judged(folder, capsys):
    (folder / "cascade.yaml").write_text(MASKS.replace("mask_rcnn", "cascade_mask_rcnn"))
    train_script.main(["--config", "cascade.yaml"])
    entry = metrics(folder / "runs" / "cascade", "train")[0]
    assert {"loss_rpn_cls", "loss_s0_cls", "loss_s1_bbox", "loss_s2_mask"} <= entry.keys()
    eval_script.main(["--config", "cascade.yaml", "--per_class"])
    assert "mask AP50" in capsys.readouterr().out
