"""Predictions as JSON and CSV files, which appear whole or not at all."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from ..files.json_file import write_json
from ..files.output_file import check_output_file
from ..files.whole_file import write_whole
from .predictions import Prediction, Skipped

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def check_prediction_files(json: str | None, csv: str | None) -> None:
    """Refuses, before the work is done, files that could not be written; None is for none.

    Raises:
        UserError: another ending than .json or .csv, a folder, or in no folder that can be written.
    """
    for path, ending in ((json, ".json"), (csv, ".csv")):
        if path is not None:
            check_output_file(path, ending)


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
    lines = [_line("file", "rank", "label", "probability")]
    for prediction in predictions:
        for rank, (label, share) in enumerate(prediction.top, start=1):
            lines.append(_line(_as_text(str(prediction.file)), rank, _as_text(label), share))
    return "".join(lines)


def _line(*cells: Any) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)  # whose own line end makes it quote both characters of it in cells
    return text.getvalue().removesuffix("\r\n") + "\n"


def _as_text(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def write_predictions(json: str | None, csv: str | None, predictions: list[Prediction], skipped: list[Skipped]) -> None:
    """Writes the files that are named.

    Raises:
        UserError: a file cannot be written; an older one of its name is intact.
    """
    if json is not None:
        write_json(json, to_dict(predictions, skipped))
    if csv is not None:
        write_whole(csv, to_csv(predictions).encode("utf-8", "backslashreplace"))  # odd bytes of file names
