"""An ImageNet-layout set of 2,000 generated JPEGs in 20 classes, from folders and from MindRecord: the same run."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

import eval as eval_script
import make_mindrecord as make_mindrecord_script
import train as train_script

CONFIG = """
model:
  name: tnt_ti_patch16_224
  image_size: 32
  structure: {depth: 2, inner_dim: 8, inner_num_heads: 2, outer_dim: 64, outer_num_heads: 2}
data:
  workers: 2
  rand_augment: rand-m9-mstd0.5-inc1
  erase_prob: 0.25
  mixup: 0.8
  cutmix: 1.0
  repeats: 3
schedule: {epochs: 2, warmup_epochs: 0, cooldown_epochs: 0}
train: {batch_size: 32, ema_decay: 0.99, ema_warmup: true, log_every: 5}
"""

NUM_CLASSES, NUM_TRAIN, NUM_VAL = 20, 80, 20


def draw_image(label, rng):
    """A polygon of label + 3 corners in a colour of its own, on noise."""
    width, height = rng.integers(60, 120, 2).tolist()
    image = Image.fromarray(rng.integers(0, 90, (height, width, 3), dtype=np.uint8))
    angle, radius = rng.uniform(0, 2 * np.pi), 0.4 * min(width, height)
    corners = angle + np.arange(label + 3) * 2 * np.pi / (label + 3)
    points = [(width / 2 + radius * np.cos(a), height / 2 + radius * np.sin(a)) for a in corners]
    hue = Image.new("HSV", (1, 1), (label * 255 // NUM_CLASSES, 255, 230)).convert("RGB").getpixel((0, 0))
    ImageDraw.Draw(image).polygon(points, fill=hue)
    return image


@pytest.mark.slow
def test_folders_and_mindrecord_give_identical_metrics(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", NUM_TRAIN), ("val", NUM_VAL)):
        for label in range(NUM_CLASSES):
            folder = tmp_path / "images" / split / f"class_{label:02d}"
            folder.mkdir(parents=True)
            for index in range(count):
                draw_image(label, rng).save(folder / f"{index:03d}.jpg", quality=90)
    (tmp_path / "small.yaml").write_text(CONFIG)
    make_mindrecord_script.main([str(tmp_path / "images"), "--output", str(tmp_path / "packed"), "--shards", "3"])

    entries, scores = {}, {}
    for source, root in (("folder", "images"), ("mindrecord", "packed")):
        data = ["--data.source", source, "--data", root, "--output", source]
        train_script.main(["--config", "small.yaml", *data])
        lines = (tmp_path / source / "small" / "metrics.jsonl").read_text().splitlines()
        entries[source] = [json.loads(line) for line in lines]
        for entry in entries[source]:
            del entry["images_per_second"]
            entry.pop("data_wait", None)
        eval_script.main(["--config", "small.yaml", *data, "--json", f"{source}.json"])
        scores[source] = json.loads((tmp_path / f"{source}.json").read_text())
        del scores[source]["checkpoint"]
    assert entries["folder"] == entries["mindrecord"]
    assert scores["folder"] == scores["mindrecord"]
    last = entries["folder"][-1]
    assert last["images"] == NUM_CLASSES * NUM_VAL and last["step"] == 2 * (1536 // 32)
    assert last["top1"] > 3 * 100 / NUM_CLASSES and last["loss"] < np.log(NUM_CLASSES)  # it learns
