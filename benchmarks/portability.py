"""What MindSpore documents about the operators of all families: python benchmarks/portability.py --markdown FILE

Small networks of the demos' size, of which the operators are those of the published ones; inference, the training step
of the demo's configuration, and the step with all that a recipe can switch on. `python export.py --audit` does the same
for one configuration. Ends with exit code 2 where an operator is documented as missing on a target; the file is written
all the same.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

import mindspore as ms  # isort: skip

from src.config import Config, load_config
from src.devices.device import set_up_device
from src.engine.build import create_card
from src.errors import UserError
from src.files.output_file import check_output_file
from src.portability.audit import audit_graphs, check_targets, inference_operators, training_operators
from src.portability.docstrings import PLATFORMS

REPOSITORY = Path(__file__).resolve().parent.parent
CLASSES = [str(digit) for digit in range(10)]
NETWORKS = {
    "TNT": ("tnt_digits", {}),
    "PyramidTNT": ("ptnt_digits", {}),
    "T2T-ViT": ("t2t_digits", {}),
    "T2T-ViT_t": ("t2t_digits", {"name": "t2t_vit_t_14"}),
}
"""Family, demo configuration, and what differs from it in `model`."""

SEVERAL_DEVICES = ("AllGather", "AllReduce", "Broadcast")
"""Not in the graphs above, which are those of one device: src/devices/ranks.py and src/optim/optimizer.py call them."""

BEGIN, END = "<!-- written by benchmarks/portability.py -->", "<!-- end of what is written -->"


def full_recipe(config: Config) -> Config:
    """`config` with dropout, mixing, clipping, moving average, half precision and accumulation; changed in place."""
    config.model.drop_rate = config.model.attn_drop_rate = config.model.drop_path_rate = 0.1
    config.data.mixup = 0.8
    config.optimizer.clip_norm = 1.0
    config.train.precision, config.train.accumulate = "float16", 2
    config.train.ema_decay, config.train.ema_warmup = 0.99, True
    return config


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/portability.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--target", nargs="+", default=PLATFORMS, help="of Ascend, GPU, CPU; all when left out")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help=f"replaces what stands between {BEGIN} and {END}")
    options = parser.parse_args()
    targets = check_targets(options.target)
    if options.markdown is not None:
        check_output_file(options.markdown, ".md")
        if not options.markdown.is_file() or BEGIN not in options.markdown.read_text(encoding="utf-8"):
            raise UserError(f"--markdown {options.markdown}: expected a file with the lines {BEGIN} and {END}")
    set_up_device("CPU", seed=0, uses_convolution=True)
    graphs = {}
    for family, (name, changes) in NETWORKS.items():
        config = load_config(REPOSITORY / f"config/demo/{name}.yaml")
        vars(config.model).update(changes)
        card = create_card(config, CLASSES)
        graphs[f"{family} inference"] = inference_operators(card)
        graphs[f"{family} training"] = training_operators(config, card) + training_operators(full_recipe(config), card)
        print(f"{family}: done", flush=True)
    result = audit_graphs("All families, one device", graphs, targets)
    several = audit_graphs("Several devices, in addition", {"training": SEVERAL_DEVICES}, targets)
    print(result.to_text(), several.to_text(), sep="\n\n")
    if options.markdown is not None:
        before, _, rest = options.markdown.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        tables = f"MindSpore {ms.__version__}.\n\n{result.to_markdown()}\n\n{several.to_markdown()}"
        options.markdown.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}", encoding="utf-8")
    result.check()


if __name__ == "__main__":
    run_command(main)
