"""Evaluates a checkpoint: python eval.py --config config/demo/ptnt_digits.yaml --checkpoint FILE"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from mindspore import Tensor  # isort: skip

from src.config import dump_config, parse_command_line
from src.devices.device import current_device, set_up_device
from src.devices.ranks import Exchange, serve_if_scheduler, start_distribution
from src.engine.agreement import check_same_start
from src.engine.evaluation import evaluate
from src.engine.from_config import create_compiler_cache
from src.engine.prefetch import batches_ahead
from src.engine.run_folder import RunFolder
from src.engine.skipped_images import SkippedImages
from src.errors import counted
from src.files.json_file import write_json
from src.files.output_file import check_output_file, check_output_folder
from src.files.whole_file import make_folder
from src.tasks import create_task
from src.terminal.outcome import next_line, same_run, written_line
from src.terminal.progress import Progress, print_line
from src.terminal.text_table import terminal_width
from src.weights.checkpoint import read_checkpoint


@dataclass
class EvalOptions:
    """What to evaluate.

    Args:
        checkpoint: file to evaluate; the run's best checkpoint when null.
        json: file to write the scores to.
        per_class: print the scores of each class too.
        report: folder to write tables and pictures to: scores of each class, what is taken for what, every image,
            calibration, the most confident mistakes (classification); scores of each class (detection).
        check: evaluate nothing; look whether configuration, checkpoint and data are as an evaluation needs them, and
            print the resulting configuration.
    """

    checkpoint: str | None = None
    json: str | None = None
    per_class: bool = False
    report: str | None = None
    check: bool = False


def main(argv: Sequence[str] | None = None) -> None:
    serve_if_scheduler()
    config, options, name, given = parse_command_line(
        "eval.py", "Measures accuracy and loss over every validation image exactly once.", EvalOptions, argv
    )
    if options.json is not None:
        check_output_file(options.json)
    if options.report is not None:
        check_output_folder(options.report)
    folder = RunFolder(config.output, name)
    path = folder.choose_checkpoint(options.checkpoint)
    checkpoint, task = read_checkpoint(path), create_task(config)
    lines = task.open_for_evaluation(checkpoint, given)
    if options.check:
        print(dump_config(config), end="")
        return
    settings = set_up_device(config.device, config.seed, task.uses_convolution)
    ranks = start_distribution(current_device())
    exchange = Exchange(ranks)
    check_same_start(exchange, config, task.facts())
    net, adapted = task.load_network(checkpoint)
    net = task.create_predictions(net).set_train(False)
    if ranks.is_first:
        for line in (f"{settings[0]}; {task.card.model} from {path}", *adapted, *lines):
            print_line(line)
    batches = task.create_eval_batches(ranks)
    config.compiler_cache &= folder.path.is_dir()  # a checkpoint from elsewhere leaves nothing behind
    cache = create_compiler_cache(config, folder, "evaluation", ranks, card=task.card.to_dict())
    cache.compile("evaluation", net, *map(Tensor.from_numpy, task.example_inputs(config.train.batch_size)))
    with Progress("evaluate", len(batches) * config.train.batch_size, shown=ranks.is_first) as progress:
        scorer = task.create_scorer()
        ahead = batches_ahead(config.data.prefetch_to_device)
        scores = evaluate(net, batches, scorer, exchange, progress, config.limit_batches, ahead)
    skipped = SkippedImages(batches, exchange=exchange, tell=print_line)
    skipped.name()
    count = skipped.count()
    if not ranks.is_first:
        return
    if count:
        print(f"{counted(count, 'image')} could not be read and left out")
    print(scores)
    if options.per_class:
        print(scorer.table().text(terminal_width()))
    if options.json is not None:
        write_json(options.json, {"model": task.card.model, "checkpoint": str(path), **scores.to_dict()})
        print_line(written_line(options.json))
    if options.report is not None:
        make_folder(options.report)
        print_line(written_line(options.report, ", ".join(scorer.write_report(Path(options.report)))))
    print_line(next_line("export.py", *same_run(given), "--checkpoint", path))


if __name__ == "__main__":
    run_command(main)
