"""Class features: what a network's head is applied to, one vector an image."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mindspore import Tensor, nn

from ..compilation.shared_graphs import share_graphs
from ..config import Config
from ..data.eval_batch import EvalBatch
from ..data.loader import Dataset
from ..devices.ranks import Exchange, Ranks
from ..engine.skipped_images import SkippedImages
from ..errors import UserError, writing_error
from ..files.whole_file import whole_file
from ..tasks.classification import create_eval_loader
from ..tasks.trained_network import TrainedNetwork
from ..terminal.progress import Progress
from .predictions import NOT_FINITE


@dataclass(frozen=True)
class LabelledFeatures:
    """Of the images of a data set, in its order.

    Attributes:
        features: (n, D) float32.
        files: n names, as the data set describes its images.
        labels: (n,) int32, indices into `classes`; -1 where the class is not known.
        classes: class names in label order.
    """

    features: np.ndarray
    files: Sequence[str]
    labels: np.ndarray
    classes: Sequence[str]


class ClassFeatures(nn.Cell):
    """What a network's head is applied to: images (B, C, H, W) -> (B, D). The weights are shared."""

    def __init__(self, net: nn.Cell):
        super().__init__(auto_prefix=False)
        self.net = net

    def construct(self, images):
        return self.net.forward_head(self.net.forward_features(images), pre_logits=True)


def collect_features(
    net: nn.Cell, batches: Iterable[EvalBatch], advance: Callable[[int], None] = lambda count: None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class features, labels and indices of all images: (n, D), (n,), (n,).

    Args:
        net: a network of `create_model`, in evaluation mode.
        batches: images, their labels and their indices, as `EvalLoader` yields them.
        advance: is told how many images are done after each batch.
    """
    cell = ClassFeatures(net).set_train(False)
    parts = []
    for (images,), (labels, indices), num_valid in batches:
        features = cell(Tensor(images)).asnumpy()
        parts.append(tuple(values[:num_valid].copy() for values in (features, labels, indices)))
        advance(num_valid)
    return tuple(map(np.concatenate, zip(*parts, strict=True)))


def features_of(
    trained: TrainedNetwork, config: Config, dataset: Dataset, batch_size: int, tell: Callable[[str], None]
) -> LabelledFeatures:
    """The class features of a data set, prepared as for evaluation.

    Args:
        trained: the network.
        config: workers, and what becomes of images that cannot be read.
        dataset: see `src.data`.
        batch_size: images a step.
        tell: prints a line about images that are left out.

    Raises:
        UserError: an image cannot be read, or none can, or the features are not finite.
    """
    config = replace(config, train=replace(config.train, batch_size=batch_size))
    batches = create_eval_loader(config, trained.card, dataset, Ranks())
    share_graphs(trained.net)
    with Progress("features", len(dataset)) as progress:
        features, labels, indices = collect_features(trained.net, batches, progress.advance)
    SkippedImages(batches, exchange=Exchange(Ranks()), tell=tell).name()
    if len(features) == 0:
        raise UserError("none of the images could be read")
    if not np.isfinite(features).all():
        raise UserError(NOT_FINITE)
    return LabelledFeatures(features, [dataset.describe(int(i)) for i in indices], labels, dataset.classes)


def write_features(path: str | Path, found: LabelledFeatures) -> None:
    """Writes `features`, `files`, `labels` and `classes` as an .npz file.

    Raises:
        UserError: it cannot be written; an older one of its name is intact.
    """
    texts = {name: np.array(getattr(found, name), dtype=np.str_) for name in ("files", "classes")}
    try:
        with whole_file(path) as file:
            np.savez(file, features=found.features, labels=found.labels, **texts)
    except OSError as error:
        raise writing_error(f"cannot write {path}: {error.strerror}", error) from error
