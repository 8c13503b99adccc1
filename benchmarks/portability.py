"""What MindSpore documents about the operators of all networks: python benchmarks/portability.py --markdown FILE

Small networks of the demos' size, of which the operators are those of the published ones; inference, the training step
of the demo's configuration, and of classifiers the step with all that a recipe can switch on. `python export.py
--audit` does the same for one configuration. Ends with exit code 2 where an operator is documented as missing on a
target; the file is written all the same.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

import mindspore as ms  # isort: skip

from benchmarks.written_table import WrittenTable
from src.config import Config, load_config
from src.devices.device import set_up_device
from src.portability.audit import audit_graphs, check_targets, inference_operators, training_operators
from src.portability.docstrings import PLATFORMS
from src.tasks import create_task
from src.tasks.configured_card import create_card

REPOSITORY = Path(__file__).resolve().parent.parent
CLASSES = [str(digit) for digit in range(10)]
NETWORKS = {
    "TNT": ("tnt_digits", {}),
    "PyramidTNT": ("ptnt_digits", {}),
    "T2T-ViT": ("t2t_digits", {}),
    "T2T-ViT_t": ("t2t_digits", {"name": "t2t_vit_t_14"}),
}
"""Family, demo configuration, and what differs from it in `model`."""

DETECTORS = {
    "RetinaNet": ("retinanet_scenes", "retinanet_ptnt_ti"),
    "Mask R-CNN": ("mask_rcnn_scenes", "mask_rcnn_ptnt_ti"),
    "Cascade Mask R-CNN": ("mask_rcnn_scenes", "cascade_mask_rcnn_ptnt_ti"),
}
"""Kind, demo configuration, and the detector in it."""

SEVERAL_DEVICES = ("AllGather", "AllReduce", "Broadcast")
"""Not in the graphs above, which are those of one device: src/devices/ranks.py and src/optim/optimizer.py call them."""


def full_recipe(config: Config) -> Config:
    """`config` with dropout, mixing, clipping, moving average, half precision and accumulation; changed in place."""
    config.model.drop_rate = config.model.attn_drop_rate = config.model.drop_path_rate = 0.1
    config.data.mixup = 0.8
    config.optimizer.clip_norm = 1.0
    config.train.precision, config.train.accumulate = "float16", 2
    config.train.ema_decay, config.train.ema_warmup = 0.99, True
    return config


def detector_graphs(demo: str, name: str) -> dict[str, Counter[str]]:
    """Operators of a detector: its predictions, and the training step of a demo's configuration for one image."""
    config = load_config(REPOSITORY / f"config/demo/{demo}.yaml")
    config.model.name, config.train.batch_size = name, 1
    task = create_task(config)
    task.open_without_data()
    return {"inference": inference_operators(task), "training": training_operators(config, task)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/portability.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--target", nargs="+", default=PLATFORMS, help="of Ascend, GPU, CPU; all when left out")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="document whose tables of it are replaced")
    options = parser.parse_args()
    targets = check_targets(options.target)
    place = None if options.markdown is None else WrittenTable(options.markdown, "portability.py")
    set_up_device("CPU", seed=0, uses_convolution=True)
    graphs = {}
    for family, (name, changes) in NETWORKS.items():
        config = load_config(REPOSITORY / f"config/demo/{name}.yaml")
        vars(config.model).update(changes)
        card = create_card(config, CLASSES)
        recipe = full_recipe(config)
        graphs[f"{family} inference"] = inference_operators(create_task(config, card))
        graphs[f"{family} training"] = training_operators(config, create_task(config, card))
        graphs[f"{family} training"] += training_operators(recipe, create_task(recipe, card))
        print(f"{family}: done", flush=True)
    result = audit_graphs("All families, one device", graphs, targets)
    kinds, further = [], {}
    for kind, detector in DETECTORS.items():
        own = detector_graphs(*detector)
        kinds.append(audit_graphs(kind, own, targets))
        further |= {f"{kind} {graph}": set(found) - set().union(*graphs.values()) for graph, found in own.items()}
        print(f"{kind}: done", flush=True)
    detectors = audit_graphs("Detectors, in addition", further, targets)
    summaries = "\n".join(f"- {kind.subject}, {kind.summary()}" for kind in kinds)
    several = audit_graphs("Several devices, in addition", {"training": SEVERAL_DEVICES}, targets)
    print(result.to_text(), detectors.to_text(), summaries, several.to_text(), sep="\n\n")
    if place is not None:
        parts = [result.to_markdown(), detectors.to_markdown(), summaries, several.to_markdown()]
        place.write("\n\n".join([f"MindSpore {ms.__version__}.", *parts]))
    for part in (result, detectors):
        part.check()


if __name__ == "__main__":
    run_command(main)
