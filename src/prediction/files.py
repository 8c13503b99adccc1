"""Predictions as JSON and CSV files, which appear whole or not at all."""

import os
from collections.abc import Iterable
from typing import Any

from ..errors import UserError
from ..files.csv_file import csv_line, csv_text, write_csv
from ..files.json_file import write_json
from ..files.output_file import check_output_file
from .predictions import Prediction, Skipped


def check_prediction_files(json: str | None, csv: str | None, coco_results: str | None = None) -> None:
    """Refuses, before the work is done, files that could not be written; None is for none.

    Raises:
        UserError: another ending than .json or .csv, a folder, in no folder that can be written, or one file for two
            contents.
    """
    for path, ending in ((json, ".json"), (csv, ".csv"), (coco_results, ".json")):
        if path is not None:
            check_output_file(path, ending)
    if json is not None and coco_results is not None and os.path.realpath(json) == os.path.realpath(coco_results):
        raise UserError(f"--json and --coco_results are both {json}: give them different names")


def to_dict(predictions: Iterable[Prediction], skipped: Iterable[Skipped]) -> dict[str, Any]:
    """Plain values for JSON."""
    return {
        "images": [
            {
                "file": str(prediction.file),
                "predictions": [{"label": label, "probability": share} for label, share in prediction.top],
            }
            for prediction in predictions
        ],
        "skipped": [{"file": str(item.file), "reason": item.reason} for item in skipped],
    }


def to_csv(predictions: Iterable[Prediction]) -> str:
    """A line for each label of each image: file, rank, label, probability. Skipped files are not in it.

    A file or label that a spreadsheet would take for a formula has an apostrophe before it (OWASP, "CSV injection").
    """
    lines = [csv_line("file", "rank", "label", "probability")]
    for prediction in predictions:
        for rank, (label, share) in enumerate(prediction.top, start=1):
            lines.append(csv_line(csv_text(str(prediction.file)), rank, csv_text(label), share))
    return "".join(lines)


def write_predictions(json: str | None, csv: str | None, predictions: list[Prediction], skipped: list[Skipped]) -> None:
    """Writes the files that are named.

    Raises:
        UserError: a file cannot be written; an older one of its name is intact.
    """
    if json is not None:
        write_json(json, to_dict(predictions, skipped))
    if csv is not None:
        write_csv(csv, to_csv(predictions))
