"""Names what images show: python predict.py IMAGE_OR_FOLDER... --model_file FILE.mindir"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.engine.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.config import parse_command_line  # isort: skip
from src.engine.classifier import open_checkpoint, open_model_file
from src.engine.prediction import Prediction, find_images, predict_images, to_dict
from src.engine.prediction_table import PredictionTable
from src.engine.run_folder import RunFolder
from src.engine.trained_network import choose_checkpoint
from src.errors import UserError
from src.json_file import write_json
from src.output_file import check_output_file


@dataclass
class PredictOptions:
    """What to look at, and with what.

    Args:
        images: image files, and folders that are searched for images.
        model_file: file written by export.py.
        checkpoint: file with the weights; the run's best checkpoint when neither it nor model_file is given.
        top_k: labels an image.
        json: file to write the predictions to.
        batch_size: images a step; when null that of the model file, or 16 where it takes any.
    """

    images: list[str]
    model_file: str | None = None
    checkpoint: str | None = None
    top_k: int = 5
    json: str | None = None
    batch_size: int | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 when something had to be skipped."""
    config, options, name = parse_command_line(
        "predict.py", "Prints the most probable labels of images.", PredictOptions, argv
    )
    if options.model_file is not None and options.checkpoint is not None:
        raise UserError("--model_file and --checkpoint were both given: give one of them")
    if options.json is not None:
        check_output_file(options.json)
    files, skipped = find_images(options.images)
    for problem in skipped:
        print(f"skipped: {problem.reason}", file=sys.stderr)
    if not files:
        raise UserError("there is no image to look at")
    if options.model_file is not None:
        classifier = open_model_file(Path(options.model_file), config)
    else:
        classifier = open_checkpoint(choose_checkpoint(options.checkpoint, RunFolder(config.output, name)), config)

    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    table = PredictionTable(files, classifier.card.classes, columns)
    predictions = []
    batch_size = classifier.batch_size(options.batch_size, len(files))
    for result in predict_images(
        classifier, files, batch_size=batch_size, top_k=options.top_k, workers=config.data.workers
    ):
        if isinstance(result, Prediction):
            print(*([] if predictions else [table.header()]), *table.rows(result), sep="\n")
            predictions.append(result)
        else:
            print(f"skipped: {result.reason}", file=sys.stderr)
            skipped.append(result)
    if not predictions:
        raise UserError(f"none of the {len(files)} files could be read as an image")
    if options.json is not None:
        write_json(options.json, to_dict(predictions, skipped))
    return 1 if skipped else 0


if __name__ == "__main__":
    run_command(main)
