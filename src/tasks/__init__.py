"""What can be learned: one contract (`src.tasks.task`), and what fulfils it."""

from ..config import Config
from ..detection.catalogue import list_detectors
from ..errors import UserError
from ..weights.detector_card import DetectorCard
from ..weights.model_card import ModelCard
from .classification import Classification
from .detection import Detection
from .task import Task


def create_task(config: Config, card: ModelCard | DetectorCard | None = None) -> Task:
    """The task of a configuration, to be opened; with the card of a network that is there it needs no opening.

    Raises:
        UserError: a detector on images without boxes, or a classifier on COCO.
    """
    is_detector = config.model.name in list_detectors()
    if is_detector != (config.data.source == "coco"):
        needs = "data.source 'coco'" if is_detector else "another data.source than 'coco', or a detector"
        raise UserError(f"model.name is {config.model.name!r}: expected {needs}, got {config.data.source!r}")
    return Detection(config, card) if is_detector else Classification(config, card)
