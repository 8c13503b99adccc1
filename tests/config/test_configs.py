"""Every file in config/: loads, builds at reduced depth, and trains one step; the demos reach their accuracy."""

import json
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

import eval as eval_script
import export as export_script
import train as train_script
from src.config import Config, load_config
from src.data.scenes import make_scenes
from src.engine.from_config import create_optimizer, create_schedule
from src.engine.train_step import TrainStep
from src.models import get_variant, list_models
from src.optim.loss import create_loss
from src.tasks import create_task
from src.tasks.classification import Classification, ClassificationLoss
from src.tasks.configured_card import create_card
from src.weights.checkpoint import read_checkpoint
from src.weights.fine_tuning import freeze

ROOT = Path(__file__).resolve().parents[2] / "config"
ALL = sorted(path for path in ROOT.rglob("*.yaml") if path.parent.name != "base")
DETECTORS = [path for path in ALL if load_config(path).data.source == "coco"]
FILES = [path for path in ALL if path not in DETECTORS]


def reduce(config: Config) -> None:
    """One block a stage and a small image; widths, heads and everything else as they are."""
    structure = config.model.structure
    network = get_variant(config.model.name).network.__name__
    if network == "PyramidTNT":
        structure["depths"] = [1, 1, 1, 1]
    elif network == "T2TViTDense":
        structure["block_config"] = [1, 1, 1, 1]
    else:
        structure["depth"] = 1
        if network == "TNT":
            structure["inner_blocks"] = [1]
    config.model.image_size = 32


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_config_builds_and_trains_one_step(path):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    config = load_config(path)
    reduce(config)
    card = create_card(config, ["a", "b", "c"])
    net = Classification(config, card).create_network(for_training=True)
    freeze(net, config.freeze)
    optimizer = create_optimizer(config, net, config.optimizer.lr)
    step = TrainStep(
        ClassificationLoss(net, create_loss(label_smoothing=config.train.label_smoothing)),
        optimizer,
        config.optimizer.clip_norm,
        batch_size=2,
    )
    before = net.head.weight.asnumpy().copy()
    images = ms.Tensor(np.random.RandomState(0).randn(2, 3, 32, 32).astype(np.float32))
    assert np.isfinite(step(images, ms.Tensor([0, 2], ms.int32)).asnumpy().item())
    assert np.abs(net.head.weight.asnumpy() - before).max() > 0


@pytest.mark.parametrize("path", DETECTORS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_config_of_a_detector_describes_it(path):
    config = load_config(path)
    task = create_task(config)
    task.open_without_data()
    assert task.card.model == config.model.name and list(task.card.canvas) == list(config.model.image_size)
    schedule = create_schedule(config, steps_per_epoch=100, images_per_step=16)
    assert 0 < schedule.at(0) <= schedule.at(99) and schedule.at(100 * config.schedule.epochs - 1) < schedule.lr


@pytest.mark.parametrize("name", list_models())
def test_every_variant_has_a_config_with_its_published_accuracy(name):
    text = (ROOT / "classification" / f"{name}.yaml").read_text()
    assert f"name: {name}\n" in text
    published = get_variant(name).published
    assert published is None or str(published["top1"]) in text


@pytest.mark.slow
@pytest.mark.parametrize("name,accuracy", [("ptnt_digits", 97.0), ("tnt_digits", 95.0), ("t2t_digits", 95.0)])
def test_demo_reaches_its_accuracy(name, accuracy, capsys):
    config = ["--config", str(ROOT / "demo" / f"{name}.yaml")]
    train_script.main(config)
    best = read_checkpoint(f"output/{name}/checkpoints/best.ckpt")
    assert best.progress["best_score"] >= accuracy
    capsys.readouterr()
    eval_script.main(config)
    assert f"top-1 {best.progress['best_score']:.2f} %" in capsys.readouterr().out
    export_script.main(config)
    assert list(Path(f"output/{name}/export").glob("*.mindir"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,scores",
    [
        ("retinanet_scenes", {"ap": 60.0, "ap50": 90.0}),
        ("mask_rcnn_scenes", {"ap50": 90.0, "mask_ap50": 85.0}),
        ("cascade_mask_rcnn_scenes", {"ap50": 90.0, "mask_ap50": 85.0}),
    ],
)
def test_a_demo_of_detection_reaches_its_scores(name, scores):
    make_scenes("output/scenes", size=128, num_train=5000, num_val=100)
    train_script.main(["--config", str(ROOT / "demo" / f"{name}.yaml")])
    lines = Path(f"output/{name}/metrics.jsonl").read_text().splitlines()
    last = [entry for entry in map(json.loads, lines) if entry["kind"] == "eval"][-1]
    assert last["images"] == 100 and all(last[score] >= least for score, least in scores.items()), last


@pytest.mark.slow
def test_the_full_recipe_reaches_its_accuracy_raw_and_averaged():
    train_script.main(["--config", str(ROOT / "demo" / "ptnt_digits_full_recipe.yaml")])
    lines = Path("output/ptnt_digits_full_recipe/metrics.jsonl").read_text().splitlines()
    last = [entry for entry in map(json.loads, lines) if entry["kind"] == "eval"][-1]
    assert last["images"] == 360
    assert last["top1"] >= 97.0 and last["ema_top1"] >= 97.0
