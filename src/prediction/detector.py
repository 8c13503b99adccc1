"""A trained detector ready to run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Tensor

from ..compilation.shared_graphs import share_graphs
from ..config import Config
from ..data.box_transforms import CHANNELS
from ..detection.kinds import create_predictions
from ..devices.device import set_up_device
from ..errors import counted
from ..memory import check_fits
from ..tasks.configured_detector import detector_card_of
from ..tasks.detection import Detection
from ..weights.checkpoint import Checkpoint
from ..weights.detector_card import DetectorCard
from .batch_size import choose_batch_size

BATCH_SIZE = 1
_COPIES = 2  # of a batch: the one that is being made, and the one that the network works on


@dataclass(frozen=True)
class Detector:
    """Wherever the network comes from.

    Attributes:
        run: images (B, 3, H, W), their shapes (B, 2) and scales (B, 2), all float32 -> boxes (B, m, 4), scores (B, m),
            labels (B, m), counts (B,), see `RetinaNetPredictions`; of a detector with masks also probabilities
            (B, m, S, S) float32 of each detection's own class within its box.
        card: labels, and how images are prepared.
        fixed_batch_size: the only B that `run` takes; None for any.
        changes: in what it is not as its file says, as lines for the user.
    """

    run: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, ...]]
    card: DetectorCard
    fixed_batch_size: int | None = None
    changes: Sequence[str] = ()

    def batch_size(self, wanted: int | None, num_images: int) -> int:
        """Images a step: what is `wanted`, or 1, but no more than there are; or the fixed one.

        Raises:
            UserError: another one is wanted than the fixed one, or none at all, or they cannot fit into memory.
        """
        size = choose_batch_size(wanted, self.fixed_batch_size, BATCH_SIZE, num_images)
        height, width = self.card.canvas
        batch = f"{counted(size, 'image')} of {CHANNELS} channels and {height} x {width} pixels"
        check_fits(4 * _COPIES * size * CHANNELS * height * width, batch, "lower the batch size")
        return size


def create_detector(
    checkpoint: Checkpoint, config: Config, given: Mapping[str, Any], score_threshold: float, max_boxes: int
) -> Detector:
    """The detector of a checkpoint, on the device; each batch size and canvas is compiled at its first batch.

    Args:
        checkpoint: content of the file.
        config: chooses the device, and see `detector_card_of`.
        given: what the command line says itself, see `detector_card_of`.
        score_threshold: boxes have a higher score.
        max_boxes: of an image.

    Raises:
        UserError: `detector_card_of` refuses it, its weights do not fit, or the device is not there.
    """
    card, changes = detector_card_of(checkpoint, config, given)
    set_up_device(config.device, config.seed, Detection.uses_convolution)
    net, adapted = Detection(config, card).load_network(checkpoint)
    share_graphs(net)
    cell = create_predictions(net, score_threshold=score_threshold, max_per_image=max_boxes).set_train(False)

    def run(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(output.asnumpy() for output in cell(*map(Tensor, inputs)))

    return Detector(run, card, changes=[*changes, *adapted])
