"""Evaluates a checkpoint: python eval.py --config config/demo/ptnt_digits.yaml --checkpoint FILE"""

import json
from dataclasses import dataclass
from pathlib import Path

from src.engine.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.checkpoint import load_weights, read_checkpoint  # isort: skip
from src.config import parse_command_line
from src.engine.build import create_card, create_eval_loader, open_split, uses_convolution
from src.engine.device import set_up_device
from src.engine.evaluation import evaluate
from src.engine.progress import Progress
from src.engine.run_folder import RunFolder
from src.errors import UserError


@dataclass
class EvalOptions:
    """What to evaluate.

    Args:
        checkpoint: file to evaluate; the run's best checkpoint when null.
        json: file to write the scores to.
    """

    checkpoint: str | None = None
    json: str | None = None


def main() -> None:
    config, options, name = parse_command_line(
        "eval.py", "Measures accuracy and loss over every validation image exactly once.", EvalOptions
    )
    path = Path(options.checkpoint or RunFolder(config.output, name).best)
    if options.checkpoint is None and not path.exists():
        raise UserError(f"{path} does not exist: train it with 'python train.py', or give --checkpoint FILE")
    checkpoint = read_checkpoint(path)
    settings = set_up_device(config.device, config.seed, uses_convolution(config))
    card = create_card(config, open_split(config, "val").classes)
    net = card.create_network()
    load_weights(net, checkpoint)
    print(f"{settings[0]}; {card.model} from {path}")
    loader = create_eval_loader(config, card)
    with Progress("evaluate", len(loader) * config.train.batch_size) as progress:
        scores = evaluate(net, loader, progress, config.limit_batches)
    print(scores)
    if options.json:
        write_json(Path(options.json), {"model": card.model, "checkpoint": str(path), **scores.to_dict()})


def write_json(path: Path, content: dict) -> None:
    try:
        path.write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"--json: cannot write {path}: {error}") from error


if __name__ == "__main__":
    run_command(main)
