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
from src.engine.build import create_card, create_optimizer, create_training_network
from src.engine.train_step import TrainStep
from src.models import get_variant, list_models
from src.optim.loss import create_loss
from src.weights.checkpoint import read_checkpoint
from src.weights.fine_tuning import freeze

ROOT = Path(__file__).resolve().parents[2] / "config"
FILES = sorted(path for path in ROOT.rglob("*.yaml") if path.parent.name != "base")


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
    net = create_training_network(config, card)
    freeze(net, config.freeze)
    optimizer = create_optimizer(config, net, config.optimizer.lr)
    loss = create_loss(config.train.label_smoothing)
    step = TrainStep(net, loss, optimizer, config.optimizer.clip_norm, batch_size=2)
    before = net.head.weight.asnumpy().copy()
    images = ms.Tensor(np.random.RandomState(0).randn(2, 3, 32, 32).astype(np.float32))
    assert np.isfinite(float(step(images, ms.Tensor([0, 2], ms.int32)).asnumpy()))
    assert np.abs(net.head.weight.asnumpy() - before).max() > 0


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
    assert best.progress["best_top1"] >= accuracy
    capsys.readouterr()
    eval_script.main(config)
    assert f"top-1 {best.progress['best_top1']:.2f} %" in capsys.readouterr().out
    export_script.main(config)
    assert list(Path(f"output/{name}/export").glob("*.mindir"))


@pytest.mark.slow
def test_the_full_recipe_reaches_its_accuracy_raw_and_averaged():
    train_script.main(["--config", str(ROOT / "demo" / "ptnt_digits_full_recipe.yaml")])
    lines = Path("output/ptnt_digits_full_recipe/metrics.jsonl").read_text().splitlines()
    last = [entry for entry in map(json.loads, lines) if entry["kind"] == "eval"][-1]
    assert last["images"] == 360
    assert last["top1"] >= 97.0 and last["ema_top1"] >= 97.0
