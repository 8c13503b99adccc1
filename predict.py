"""Names what images show: python predict.py IMAGE_OR_FOLDER... --model_file FILE.mindir"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.config import parse_command_line  # isort: skip
from src.engine.run_folder import RunFolder
from src.errors import UserError, show_warnings_in_one_line
from src.prediction.classifier import open_classifier
from src.prediction.drawing import Drawings
from src.prediction.files import check_prediction_files, write_predictions
from src.prediction.predictions import Skipped, find_images, predict_images
from src.prediction.table import PredictionTable
from src.terminal.progress import Progress, print_line


@dataclass
class PredictOptions:
    """What to look at, and with what.

    Args:
        images: image files, and folders that are searched for images.
        model_file: MINDIR or ONNX file written by export.py.
        decrypt_key_file: file with the key of an encrypted model_file.
        checkpoint: file with the weights; the run's best checkpoint when neither it nor model_file is given.
        top_k: labels an image.
        batch_size: images a step; when null that of the model file, or 16 where it takes any.
        json: file to write the predictions to, and what was skipped and why.
        csv: file to write the predictions to, a line for each label.
        draw: folder for copies of the images with their predictions below.
    """

    images: list[str]
    model_file: str | None = None
    decrypt_key_file: str | None = None
    checkpoint: str | None = None
    top_k: int = field(default=5, metadata={"range": (1, 10**6)})
    batch_size: int | None = field(default=None, metadata={"range": (1, 10**6)})
    json: str | None = None
    csv: str | None = None
    draw: str | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 when something had to be skipped."""
    config, options, name, given = parse_command_line(
        "predict.py", "Prints the most probable labels of images.", PredictOptions, argv
    )
    check_prediction_files(options.json, options.csv)
    show_warnings_in_one_line(lambda line: print_line(line, to_stderr=True), every_image=True)
    files, skipped = find_images(options.images)
    for problem in skipped:
        print_line(f"skipped: {problem.reason}", to_stderr=True)
    if not files:
        raise UserError("there is no image to look at")
    drawings = None if options.draw is None else Drawings(options.draw, files)
    classifier = open_classifier(
        options.model_file, options.decrypt_key_file, options.checkpoint, config, given, RunFolder(config.output, name)
    )
    for line in classifier.changes:
        print_line(line, to_stderr=True)
    batch_size = classifier.batch_size(options.batch_size, len(files))
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    table = PredictionTable(files, classifier.card.classes, columns)

    predictions = []
    results = predict_images(classifier, files, batch_size=batch_size, top_k=options.top_k, workers=config.data.workers)
    with Progress("predicting", len(files)) as progress:
        for result in results:
            progress.advance(1)
            if isinstance(result, Skipped):
                print_line(f"skipped: {result.reason}", to_stderr=True)
                skipped.append(result)
                continue
            for row in [*([] if predictions else [table.header()]), *table.rows(result)]:
                print_line(row)
            predictions.append(result)
            if drawings is not None:
                drawings.draw(result)
    if not predictions:
        raise UserError(f"none of the {len(files)} files could be read as an image")
    write_predictions(options.json, options.csv, predictions, skipped)
    return 1 if skipped else 0


if __name__ == "__main__":
    run_command(main)
