"""Names what images show, or finds it in them: python predict.py IMAGE_OR_FOLDER... --checkpoint FILE"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.config import parse_command_line  # isort: skip
from src.engine.run_folder import RunFolder
from src.errors import UserError, counted, show_warnings_in_one_line
from src.prediction.drawing import Drawings
from src.prediction.files import check_prediction_files
from src.prediction.open_predictor import open_predictor
from src.prediction.options import PredictOptions
from src.prediction.predictions import Skipped, find_images
from src.terminal.outcome import next_line, next_step, same_run, written_line
from src.terminal.progress import Progress, print_line
from src.terminal.text_table import terminal_width


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 when something had to be skipped."""
    config, options, name, given = parse_command_line(
        "predict.py", "Prints the most probable labels of images, or the boxes found in them.", PredictOptions, argv
    )
    check_prediction_files(options.json, options.csv, options.coco_results)
    show_warnings_in_one_line(lambda line: print_line(line, to_stderr=True), every_image=True)
    files, skipped = find_images(options.images)
    for problem in skipped:
        print_line(f"skipped: {problem.reason}", to_stderr=True)
    if not files:
        raise UserError("there is no image to look at")
    drawings = None if options.draw is None else Drawings(options.draw, files)
    predictor = open_predictor(options, config, given, RunFolder(config.output, name))
    for line in predictor.changes:
        print_line(line, to_stderr=True)
    table = predictor.table(files, terminal_width())

    predictions = []
    results = predictor.predict(files, config.data.workers)
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
                predictor.draw(drawings, result)
    if not predictions:
        raise UserError(f"none of the {len(files)} files could be read as an image")
    predictor.write(predictions, skipped)
    for line in _outcome(options, len(predictions), given, sys.argv[1:] if argv is None else argv):
        print_line(line, to_stderr=True)
    return 1 if skipped else 0


def _outcome(options: PredictOptions, count: int, given: Mapping[str, Any], argv: Sequence[str]) -> list[str]:
    """What was written, and what would be next: pictures, then a file for deployment, then its use."""
    lines = [written_line(file) for file in (options.json, options.csv, options.coco_results) if file is not None]
    if options.draw is None:
        images = options.images if len(options.images) < 4 else ["IMAGE_OR_FOLDER"]
        more = [word for word in argv if word not in options.images]
        return [*lines, next_line("predict.py", *images, *more, "--draw", "drawn")]
    lines.append(written_line(options.draw, counted(count, "image")))
    if options.model_file is not None:
        return [*lines, next_step("copy a script of deploy/ beside the file, see docs/deployment.md")]
    checkpoint = [] if options.checkpoint is None else ["--checkpoint", options.checkpoint]
    return [*lines, next_line("export.py", *same_run(given), *checkpoint)]


if __name__ == "__main__":
    run_command(main)
