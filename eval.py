"""Evaluates a checkpoint: python eval.py --config config/demo/ptnt_digits.yaml --checkpoint FILE"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from src.engine.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.checkpoint import load_weights, read_checkpoint  # isort: skip
from src.config import parse_command_line
from src.engine.build import (
    create_card,
    create_compiler_cache,
    create_eval_loader,
    describe_ignored,
    evaluation_input,
    open_split,
)
from src.engine.device import current_device
from src.engine.distribution import Exchange, serve_if_scheduler, start_distribution
from src.engine.evaluation import evaluate
from src.engine.progress import Progress
from src.engine.run_folder import RunFolder
from src.engine.skipped_images import SkippedImages
from src.engine.trained_network import choose_checkpoint, set_up_device_for
from src.errors import UserError
from src.fine_tuning import fit_image_size
from src.json_file import write_json
from src.output_file import check_output_file


@dataclass
class EvalOptions:
    """What to evaluate.

    Args:
        checkpoint: file to evaluate; the run's best checkpoint when null.
        json: file to write the scores to.
    """

    checkpoint: str | None = None
    json: str | None = None


def main(argv: Sequence[str] | None = None) -> None:
    serve_if_scheduler()
    config, options, name = parse_command_line(
        "eval.py", "Measures accuracy and loss over every validation image exactly once.", EvalOptions, argv
    )
    if options.json is not None:
        check_output_file(options.json)
    folder = RunFolder(config.output, name)
    path = choose_checkpoint(options.checkpoint, folder)
    checkpoint = read_checkpoint(path)
    dataset = open_split(config, "val")
    card = create_card(config, dataset.classes)
    if checkpoint.card is not None and checkpoint.card.model != card.model:
        raise UserError(f"{path} holds {checkpoint.card.model}, but the configuration names {card.model}")
    settings = set_up_device_for(card, config)
    ranks = start_distribution(current_device())
    exchange = Exchange(ranks)
    net = card.create_network()
    weights, resized = fit_image_size(net, checkpoint)
    load_weights(net, replace(checkpoint, weights=weights))
    if ranks.is_first:
        ignored = [line for line in [describe_ignored(dataset)] if line]
        print(f"{settings[0]}; {card.model} from {path}", *resized, *ignored, sep="\n")
    loader = create_eval_loader(config, card, dataset, ranks)
    config.compiler_cache &= folder.path.is_dir()  # a checkpoint from elsewhere leaves nothing behind
    cache = create_compiler_cache(config, folder, "evaluation", ranks)
    cache.compile("evaluation", net.set_train(False), evaluation_input(config, card))
    with Progress("evaluate", len(loader) * config.train.batch_size, shown=ranks.is_first) as progress:
        scores = evaluate(net, loader, progress, config.limit_batches, exchange.gather)
    skipped = SkippedImages(loader, exchange=exchange, tell=print)
    skipped.name()
    count = skipped.count()
    if not ranks.is_first:
        return
    if count:
        print(f"{count} images could not be read and were left out")
    print(scores)
    if options.json is not None:
        write_json(options.json, {"model": card.model, "checkpoint": str(path), **scores.to_dict()})


if __name__ == "__main__":
    run_command(main)
