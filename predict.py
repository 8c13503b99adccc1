"""Names what images show, or finds it in them: python predict.py IMAGE_OR_FOLDER... --checkpoint FILE"""

from collections.abc import Sequence

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.config import parse_command_line  # isort: skip
from src.engine.run_folder import RunFolder
from src.errors import UserError, show_warnings_in_one_line
from src.prediction.drawing import Drawings
from src.prediction.files import check_prediction_files
from src.prediction.open_predictor import open_predictor
from src.prediction.options import PredictOptions
from src.prediction.predictions import Skipped, find_images
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
    return 1 if skipped else 0


if __name__ == "__main__":
    run_command(main)
