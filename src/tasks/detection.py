"""Object detection: boxes with labels, COCO's data layout and scores."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from mindspore import nn
from mindspore.nn.utils import no_init_parameters

from ..compilation.recompute import recompute_blocks
from ..compilation.shared_graphs import share_graphs
from ..config import Config, flat_values
from ..data.coco import Coco
from ..data.detection_loader import DetectionEvalLoader, DetectionTrainLoader, Encode
from ..data.labels import count_of, labels_of, match_labels, named, unknown_labels
from ..detection.catalogue import NUM_CLASSES, create_detector
from ..detection.kinds import create_losses, create_predictions, create_targets, has_masks, loss_names_of
from ..devices.ranks import Ranks
from ..errors import UserError, counted
from ..weights.checkpoint import Checkpoint
from ..weights.detector_card import DetectorCard
from ..weights.detector_start import load_backbone_or_detector
from ..weights.loading import load_weights
from .batch_memory import check_detector_fits
from .configured_detector import create_detector_card, describe_detector, detector_card_of
from .detection_scores import SCORE_KINDS, SCORE_KINDS_WITH_MASKS, DetectionScorer, import_coco_tools
from .scores import ScoreKind

_OTHER_TASK = (
    *(f"data.{name}" for name in ("rand_augment", "three_augment", "augmix", "color_jitter", "erase_prob")),
    *(f"data.{name}" for name in ("mixup", "cutmix")),
    *(f"data.{name}" for name in ("train_list", "val_list", "classes", "val_split", "balance")),
    *("train.loss", "train.class_weights", "train.teacher"),
)
"""Keys that have no meaning here: each must have its default."""


class Detection:
    """The task; see `src.tasks.task.Task`.

    Args:
        config: of the run.
        card: of the network, where it is there; decided when the task is opened otherwise.
    """

    uses_convolution = True
    takes_any_batch = False

    def __init__(self, config: Config, card: DetectorCard | None = None):
        self.config = config
        self._num_ranks, self._num_left_out = 1, 0
        if card is not None:
            self.card = card

    @property
    def _model(self) -> str:
        return self.card.model if hasattr(self, "card") else self.config.model.name

    @property
    def loss_names(self) -> tuple[str, ...]:
        return loss_names_of(self._model)

    @property
    def score_kinds(self) -> tuple[ScoreKind, ...]:
        return SCORE_KINDS_WITH_MASKS if has_masks(self._model) else SCORE_KINDS

    def open_for_training(self, resumed: Checkpoint | None) -> list[str]:
        import_coco_tools()
        self._train_set, self._val_set = self._open("train"), self._open("val")
        self.card = create_detector_card(self.config, self._train_set)
        if resumed is not None:
            _check_same_task(resumed, self.card)
        if self._val_set.classes != self.card.classes:
            raise UserError(
                f"{self._val_set.annotations_file} has other categories than {self._train_set.annotations_file}; both "
                "must have the same, with the same ids"
            )
        lines = [line for data in (self._train_set, self._val_set) if (line := data.describe_ignored())]
        number = counted(len(self._val_set), "validation image")
        return [*lines, f"{len(self._train_set):,} training and {number} of {labels_of(self.card.classes)}"]

    def open_for_evaluation(self, checkpoint: Checkpoint, given: Mapping[str, Any]) -> list[str]:
        import_coco_tools()
        self._val_set = self._open("val")
        self.card, lines = detector_card_of(checkpoint, self.config, given)
        match = match_labels(self.card.classes, self._val_set.classes, checkpoint.path)
        ids = dict(zip(match.outputs, self._val_set.category_ids, strict=True))
        if len(ids) < len(self.card.classes):
            raise UserError(
                f"{self._val_set.annotations_file} has {count_of(self._val_set.classes)}, {checkpoint.path} knows "
                f"{len(self.card.classes)}: their scores would not be comparable; evaluate on data with all of them"
            )
        self.card = replace(self.card, classes=match.classes, category_ids=[ids[i] for i in range(len(ids))])
        number = counted(len(self._val_set), "validation image")
        return [*lines, *match.lines, f"{number} of {labels_of(self.card.classes)}"]

    def card_of(self, checkpoint: Checkpoint, given: Mapping[str, Any]) -> DetectorCard:
        return detector_card_of(checkpoint, self.config, given)[0]

    def open_without_data(self) -> None:
        count = self.config.model.num_classes or NUM_CLASSES
        labels = [str(label) for label in range(count)]
        self.card = describe_detector(self.config, labels, list(range(1, count + 1)))

    @property
    def validation_set(self) -> Coco:
        """What was opened to be judged on."""
        return self._val_set

    def facts(self) -> dict[str, Any]:
        facts = {}
        for name in ("_train_set", "_val_set"):
            data = getattr(self, name, None)
            if data is not None:
                kind = "training" if name == "_train_set" else "validation"
                facts |= {
                    f"number of {kind} images": len(data),
                    f"categories of the {kind} images": [data.classes, data.category_ids],
                    f"names of the {kind} images": data.fingerprint(),
                }
        return facts

    def training_data(self) -> dict[str, Any]:
        return {}

    def describe(self) -> str:
        height, width = self.card.canvas
        number = self._num_left_out
        left_out = f", {counted(number, 'image')} an epoch left over by its batches" if number else ""
        classes = counted(len(self.card.classes), "class", "classes")
        return f"{self.card.model}, {classes}, canvas of {height} x {width} pixels{left_out}"

    def create_train_batches(self, ranks: Ranks) -> DetectionTrainLoader:
        config = self.config
        check_detector_fits(self.card, config, is_trained=True, max_objects=self._train_set.max_objects)
        batches = DetectionTrainLoader(
            self._train_set,
            **self._images(),
            short_sides=config.data.short_sides,
            flip_prob=config.data.flip_prob,
            batch_size=config.train.batch_size,
            seed=config.seed,
            encode=self._targets(),
            workers=config.data.workers,
            on_bad_image=config.data.on_bad_image,
            rank=ranks.rank,
            num_ranks=ranks.count,
            accumulate=config.train.accumulate,
        )
        self._num_ranks, self._num_left_out = ranks.count, batches.num_left_out
        return batches

    def create_eval_batches(self, ranks: Ranks) -> DetectionEvalLoader:
        check_detector_fits(self.card, self.config, is_trained=False)
        return DetectionEvalLoader(
            self._val_set,
            **self._images(),
            short_sides=[self.card.short_side],
            batch_size=self.config.train.batch_size,
            workers=self.config.data.workers,
            on_bad_image=self.config.data.on_bad_image,
            rank=ranks.rank,
            num_ranks=ranks.count,
        )

    def create_network(self, for_training: bool) -> nn.Cell:
        if not for_training:
            return create_detector(self.card.model, **self.card.detector_arguments()).set_train(False)
        model = self.config.model
        for name in ("drop_rate", "attn_drop_rate"):
            if getattr(model, name):
                raise UserError(f"model.{name}: detectors have stochastic depth only; leave it out")
        net = create_detector(
            self.card.model,
            **self.card.detector_arguments(),
            batch_norm=model.batch_norm,
            drop_path_rate=model.drop_path_rate,
        )
        if self.config.train.recompute:
            recompute_blocks(net)
        return net

    def load_network(self, checkpoint: Checkpoint) -> tuple[nn.Cell, list[str]]:
        with no_init_parameters():  # the checkpoint's take their place
            net = self.create_network(for_training=False)
        load_weights(net, checkpoint)
        return net, []

    def load_initial_weights(self, net: nn.Cell, checkpoint: Checkpoint) -> list[str]:
        return load_backbone_or_detector(net, checkpoint, self.card)

    def create_losses(self, net: nn.Cell) -> nn.Cell:
        return create_losses(net, self._num_ranks)

    def create_predictions(self, net: nn.Cell) -> nn.Cell:
        share_graphs(net)
        return create_predictions(net)

    def create_scorer(self) -> DetectionScorer:
        images = [self._val_set.image_id(index) for index in range(len(self._val_set))]
        return DetectionScorer(
            self._val_set.annotations_file, self.card.category_ids, images, has_masks(self.card.model)
        )

    def example_batch(self, batch_size: int) -> tuple[np.ndarray, ...]:
        images = self.example_inputs(batch_size)[0]
        box = np.array([[0, 0, *self.card.canvas[::-1]]], np.float32) / 2
        mask = np.ones((1, *self.card.canvas), np.uint8)
        targets = self._targets()(box, np.zeros(1, np.int32), self.card.canvas, self.card.canvas, mask)
        return (images, *(np.stack([values] * batch_size) for values in targets.values()))

    def example_inputs(self, batch_size: int) -> tuple[np.ndarray, ...]:
        shape = (batch_size, 3, *self.card.canvas)
        images = np.random.default_rng(self.config.seed).standard_normal(shape, np.float32)
        sizes = np.array([self.card.canvas] * batch_size, np.float32)
        return images, sizes, np.ones((batch_size, 2), np.float32)

    def _targets(self) -> Encode:
        max_objects = self._train_set.max_objects if hasattr(self, "_train_set") else 1
        return create_targets(self.card.model, self.card.arguments, len(self.card.classes), max_objects)

    def _open(self, split: str) -> Coco:
        data = self.config.data
        if data.root is None:
            raise UserError("data source 'coco' needs the folder that holds annotations/ and the images: --data DIR")
        given, usual = dict(flat_values(self.config)), dict(flat_values(Config()))
        if wrong := [key for key in _OTHER_TASK if given[key] != usual[key]]:
            raise UserError(f"{wrong[0]}: has no meaning for detection; leave it out")
        return Coco(
            data.root,
            split,
            data.train_annotations if split == "train" else data.val_annotations,
            data.train_images if split == "train" else data.val_images,
            for_training=split == "train",
            keep_segmentations=False,
            needs_masks=split == "train" and has_masks(self._model),
        )

    def _images(self) -> dict[str, Any]:
        card = self.card
        return {"canvas": card.canvas, "mean": card.mean, "std": card.std, "long_side": card.long_side}


def _check_same_task(checkpoint: Checkpoint, here: DetectorCard) -> None:
    """Raises UserError unless a checkpoint is of this run's detector and for the same categories."""
    there, path = checkpoint.card, checkpoint.path
    if not isinstance(there, DetectorCard):
        raise UserError(f"{path} holds no detector and cannot be resumed from; start from its weights with --init_from")
    before, now = asdict(there), asdict(here)
    differences = [
        f"{key}: {before[key]} and {now[key]}"
        for key in ("model", "arguments", "canvas", "mean", "std")
        if before[key] != now[key]
    ]
    if differences:
        raise UserError(
            f"{path} holds another network than the configuration describes ({'; '.join(differences)}): change it "
            "back, or train the other network in a run of its own"
        )
    new, gone = unknown_labels(there.classes, here.classes), unknown_labels(here.classes, there.classes)
    if new or gone or there.classes != here.classes:
        what = [f"{count_of(x)} {how} ({named(x)})" for x, how in ((new, "new"), (gone, "gone")) if x]
        raise UserError(
            f"the data has other categories than {path} was trained for: {' and '.join(what) or 'another order'}; "
            "resume with the data of the run, or start a new run from it with --init_from"
        )
