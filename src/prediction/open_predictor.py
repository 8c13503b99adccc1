"""What the options of predict.py name: a classifier or a detector, whichever the file holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import Config
from ..detection.catalogue import list_detectors
from ..devices.device import set_up_device
from ..engine.run_folder import RunFolder
from ..errors import UserError
from ..export.detector_file import describes_detector, load_detector
from ..export.exported_file import read_key
from ..tasks.detection import Detection
from ..weights.checkpoint import Checkpoint, read_checkpoint
from ..weights.detector_card import DetectorCard
from .box_predictor import BoxPredictor
from .coco_images import CocoImages
from .detector import Detector, create_detector
from .label_predictor import LabelPredictor
from .open_classifier import create_classifier, open_model_file
from .options import MAX_BOXES, SCORE_THRESHOLD, PredictOptions
from .predictor import Predictor

_OF_CLASSIFIERS = ("top_k",)
_OF_DETECTORS = ("score_threshold", "max_boxes", "coco_results")


def open_predictor(options: PredictOptions, config: Config, given: Mapping[str, Any], folder: RunFolder) -> Predictor:
    """An exported file, perhaps with its key, a checkpoint, or the run's best one.

    Args:
        options: of predict.py.
        config: chooses the device, and describes checkpoints that do not describe themselves.
        given: what the command line says itself, see `card_of`.
        folder: of the run.

    Raises:
        UserError: options that exclude each other or that the file has no use for, or it cannot be opened.
    """
    if options.model_file is not None and options.checkpoint is not None:
        raise UserError("--model_file and --checkpoint were both given: give one of them")
    if options.model_file is None and options.decrypt_key_file is not None:
        raise UserError("--decrypt_key_file is for an encrypted file: add --model_file FILE.mindir")
    names_detector = _names_detector(config, given)
    if options.model_file is not None:
        path = Path(options.model_file)
        if names_detector or describes_detector(path):
            return _open_detector_file(path, options, config)
        _refuse(options, _OF_DETECTORS, "detectors", path)
        key = None if options.decrypt_key_file is None else read_key(options.decrypt_key_file)
        return LabelPredictor(open_model_file(path, config, key, given), options)
    checkpoint = read_checkpoint(folder.choose_checkpoint(options.checkpoint))
    if names_detector or isinstance(checkpoint.card, DetectorCard):
        return _open_detector(checkpoint, options, config, given)
    _refuse(options, _OF_DETECTORS, "detectors", checkpoint.path)
    return LabelPredictor(create_classifier(checkpoint, config, given), options)


def _open_detector(
    checkpoint: Checkpoint, options: PredictOptions, config: Config, given: Mapping[str, Any]
) -> BoxPredictor:
    if isinstance(checkpoint.card, DetectorCard):
        _refuse(options, _OF_CLASSIFIERS, "classifiers", checkpoint.path)
    threshold = SCORE_THRESHOLD if options.score_threshold is None else options.score_threshold
    max_boxes = options.max_boxes or MAX_BOXES
    detector = create_detector(checkpoint, config, given, threshold, max_boxes)
    coco = None if options.coco_results is None else CocoImages(config.data, detector.card, checkpoint.path)
    return BoxPredictor(detector, options, threshold, max_boxes, coco)


def _open_detector_file(path: Path, options: PredictOptions, config: Config) -> BoxPredictor:
    _refuse(options, _OF_CLASSIFIERS, "classifiers", path)
    key = None if options.decrypt_key_file is None else read_key(options.decrypt_key_file)
    set_up_device(config.device, config.seed, Detection.uses_convolution)
    file, run = load_detector(path, key)
    detector = Detector(run, file.card, file.batch_size)
    threshold = SCORE_THRESHOLD if options.score_threshold is None else options.score_threshold
    coco = None if options.coco_results is None else CocoImages(config.data, file.card, path)
    return BoxPredictor(detector, options, threshold, options.max_boxes or MAX_BOXES, coco)


def _names_detector(config: Config, given: Mapping[str, Any]) -> bool:
    """Whether the command line asks for a detector, itself or by its configuration."""
    asks = "config" in given or "name" in given.get("model", {})
    return asks and config.model.name in list_detectors()


def _refuse(options: PredictOptions, names: Sequence[str], kind: str, path: Path) -> None:
    """Raises UserError where one of the options `names`, which are for `kind`, is given."""
    for name in names:
        if getattr(options, name) is not None:
            raise UserError(f"--{name} is for {kind}, and {path} holds none: leave it out")
