"""Evaluates a checkpoint: python eval.py --config config/demo/ptnt_digits.yaml --checkpoint FILE"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.weights.checkpoint import read_checkpoint  # isort: skip
from src.config import parse_command_line
from src.data.labels import match_labels
from src.data.relabeled import Relabeled
from src.devices.device import current_device
from src.devices.ranks import Exchange, serve_if_scheduler, start_distribution
from src.engine.agreement import check_same_start
from src.engine.batch_memory import check_batch_fits
from src.engine.build import create_compiler_cache, create_eval_loader, describe_ignored, evaluation_input, open_split
from src.engine.evaluation import evaluate
from src.engine.run_folder import RunFolder
from src.engine.skipped_images import SkippedImages
from src.engine.trained_network import build_network, card_of, choose_checkpoint, set_up_device_for
from src.files.json_file import write_json
from src.files.output_file import check_output_file
from src.terminal.progress import Progress, print_line


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
    config, options, name, given = parse_command_line(
        "eval.py", "Measures accuracy and loss over every validation image exactly once.", EvalOptions, argv
    )
    if options.json is not None:
        check_output_file(options.json)
    folder = RunFolder(config.output, name)
    path = choose_checkpoint(options.checkpoint, folder)
    checkpoint = read_checkpoint(path)
    dataset = open_split(config, "val")
    card, lines = card_of(checkpoint, config, given, dataset.classes)
    match = match_labels(card.classes, dataset.classes, path)
    card = replace(card, classes=match.classes)
    settings = set_up_device_for(card, config)
    check_batch_fits(card, config.train.batch_size)
    ranks = start_distribution(current_device())
    exchange = Exchange(ranks)
    check_same_start(exchange, config, {"validation": dataset})
    net, resized = build_network(card, checkpoint)
    if ranks.is_first:
        ignored = [line for line in [describe_ignored(dataset)] if line]
        for line in (f"{settings[0]}; {card.model} from {path}", *lines, *resized, *ignored, *match.lines):
            print_line(line)
    loader = create_eval_loader(config, card, Relabeled(dataset, match.classes, match.outputs), ranks)
    config.compiler_cache &= folder.path.is_dir()  # a checkpoint from elsewhere leaves nothing behind
    cache = create_compiler_cache(config, folder, "evaluation", ranks, card=card.to_dict())
    cache.compile("evaluation", net, evaluation_input(config, card))
    with Progress("evaluate", len(loader) * config.train.batch_size, shown=ranks.is_first) as progress:
        scores = evaluate(net, loader, progress, config.limit_batches, exchange.gather)
    skipped = SkippedImages(loader, exchange=exchange, tell=print_line)
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
