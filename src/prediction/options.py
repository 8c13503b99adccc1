"""The options of predict.py."""

from dataclasses import dataclass, field

TOP_K = 5
SCORE_THRESHOLD = 0.3
MAX_BOXES = 100


@dataclass
class PredictOptions:
    """What to look at, and with what; the checkpoint or model file says whether it gives labels or boxes.

    Args:
        images: image files, and folders that are searched for images.
        model_file: MINDIR or ONNX file written by export.py.
        decrypt_key_file: file with the key of an encrypted model_file.
        checkpoint: file with the weights; the run's best checkpoint when neither it nor model_file is given.
        top_k: classifiers: labels an image; 5 when null.
        score_threshold: detectors: boxes have a higher score; 0.3 when null.
        max_boxes: detectors: boxes an image at most; 100 when null.
        batch_size: images a step; when null that of the model file, or where it takes any 16, and 1 for detectors.
        json: file to write the predictions to, and what was skipped and why.
        csv: file to write the predictions to, a line for each label or box.
        coco_results: detectors: file to write COCO's results to, where all images are of the configuration's val split.
        draw: folder for copies of the images with their predictions below, or boxes and masks in them.
    """

    images: list[str]
    model_file: str | None = None
    decrypt_key_file: str | None = None
    checkpoint: str | None = None
    top_k: int | None = field(default=None, metadata={"range": (1, 10**6)})
    score_threshold: float | None = field(default=None, metadata={"range": (0, 1)})
    max_boxes: int | None = field(default=None, metadata={"range": (1, 1000)})
    batch_size: int | None = field(default=None, metadata={"range": (1, 10**6)})
    json: str | None = None
    csv: str | None = None
    coco_results: str | None = None
    draw: str | None = None
