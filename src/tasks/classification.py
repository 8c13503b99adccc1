"""Image classification: one label an image, cross-entropy, top-1 and top-5."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from mindspore import dtype as mstype
from mindspore import nn

from ..compilation.flash_attention import use_flash_attention
from ..compilation.mixed_precision import set_precision
from ..compilation.recompute import recompute_blocks
from ..compilation.shared_graphs import share_graphs
from ..config import Config
from ..data import division_of, open_dataset
from ..data.image_folder import ImageFolder
from ..data.image_list import ImageList
from ..data.labels import count_of, labels_of, match_labels, named, unknown_labels
from ..data.loader import Dataset, EvalLoader, TrainLoader
from ..data.relabeled import Relabeled, relabeled
from ..data.val_split import Division, ValSplit, check_same_division, check_start, trained_on
from ..devices.device import current_device
from ..devices.ranks import Ranks
from ..errors import UserError, counted
from ..layers.conv import convolves_by_kernel
from ..models import create_model, get_variant
from ..models.same_network import network_differences
from ..optim.distillation import Distillation, Teacher
from ..optim.loss import class_weights, create_loss
from ..weights.checkpoint import Checkpoint, read_checkpoint
from ..weights.described_network import check_card, create_network
from ..weights.fine_tuning import load_initial_weights
from ..weights.model_card import ModelCard
from .batch_memory import check_batch_fits, check_training_fits
from .classification_scores import ClassificationScorer, score_kinds
from .configured_card import card_of, create_card
from .scores import ScoreKind
from .trained_network import TrainedNetwork, build_network

NUM_CLASSES = 1000
"""Where neither data nor the configuration says it: those of ImageNet-1k."""


class ClassificationLoss(nn.Cell):
    """Images (B, C, H, W), int32 labels (B,) or soft targets (B, K) -> the loss, float32 (1,).

    Args:
        net: images -> logits (B, K).
        loss: of logits and targets; plain cross-entropy when None.
        teacher: images -> logits, which are learned too; None for none.
        distillation: of both networks' logits.
        weight: share of that.
    """

    def __init__(
        self,
        net: nn.Cell,
        loss: nn.Cell | None = None,
        teacher: nn.Cell | None = None,
        distillation: nn.Cell | None = None,
        weight: float = 0.0,
    ):
        super().__init__(auto_prefix=False)
        self.net, self.loss = net, loss or create_loss()
        self.teacher, self.distillation, self.weight = teacher, distillation, weight

    def construct(self, images, targets):
        logits = self.net(images).astype(mstype.float32)
        loss = self.loss(logits, targets)
        if self.teacher is not None:
            loss = (1.0 - self.weight) * loss + self.weight * self.distillation(logits, self.teacher(images))
        return loss.reshape((1,))


class Classification:
    """The task; see `src.tasks.task.Task`.

    Args:
        config: of the run.
        card: of the network, where it is there; decided when the task is opened otherwise.
    """

    loss_names = ("loss",)
    takes_any_batch = True

    def __init__(self, config: Config, card: ModelCard | None = None):
        self.config = config
        self._division: Division | None = None
        if card is not None:
            self.card = card

    @property
    def score_kinds(self) -> tuple[ScoreKind, ...]:
        return score_kinds(len(self.card.classes))

    @property
    def uses_convolution(self) -> bool:
        return get_variant(self.card.model).network.uses_convolution and not convolves_by_kernel()

    def open_for_training(self, resumed: Checkpoint | None) -> list[str]:
        train_set, val_set = open_split(self.config, "train"), open_split(self.config, "val")
        self._division = division_of(train_set)
        lines = [line for line in dict.fromkeys(map(describe_ignored, (train_set, val_set))) if line]
        self.card = create_card(self.config, train_set.classes)
        if resumed is not None:
            _check_same_task(resumed, self.card)
            check_same_division(trained_on(resumed.progress), self._division, resumed.path)
            self.card = replace(self.card, classes=resumed.card.classes)
            train_set, more = relabeled(train_set, self.card.classes, resumed.path)
            lines += more
        val_set, more = relabeled(val_set, self.card.classes, "the training set" if resumed is None else resumed.path)
        lines += more if resumed is None else []  # the same as of the training set
        if self._division is not None:
            lines.append(
                f"data.val_split {self._division.val_split} and seed {self._division.seed} choose what validates"
            )
        number = counted(len(val_set), "validation image")
        lines.append(f"{len(train_set):,} training and {number} of {labels_of(self.card.classes)}")
        self._train_set, self._val_set = train_set, val_set
        self._datasets = {"training": train_set, "validation": val_set}
        return lines

    def open_for_evaluation(self, checkpoint: Checkpoint, given: Mapping[str, Any]) -> list[str]:
        val_set = open_split(self.config, "val")
        card, lines = card_of(checkpoint, self.config, given, val_set.classes)
        lines += check_same_division(trained_on(checkpoint.progress), division_of(val_set), checkpoint.path)
        match = match_labels(card.classes, val_set.classes, checkpoint.path)
        lines += [line for line in [describe_ignored(val_set)] if line]
        self.card = replace(card, classes=match.classes)
        self._val_set = Relabeled(val_set, match.classes, match.outputs)
        self._datasets = {"validation": self._val_set}
        return [*lines, *match.lines, f"{counted(len(val_set), 'validation image')} of {labels_of(self.card.classes)}"]

    def card_of(self, checkpoint: Checkpoint, given: Mapping[str, Any]) -> ModelCard:
        return card_of(checkpoint, self.config, given)[0]

    def open_without_data(self) -> None:
        count = self.config.model.num_classes
        self.card = create_card(self.config, [str(label) for label in range(NUM_CLASSES if count is None else count)])

    def facts(self) -> dict[str, Any]:
        return facts_of(self._datasets)

    def training_data(self) -> dict[str, Any]:
        return {} if self._division is None else asdict(self._division)

    def describe(self) -> str:
        return f"{self.card.model}, {counted(len(self.card.classes), 'class', 'classes')}"

    def create_train_batches(self, ranks: Ranks) -> TrainLoader:
        """Augmented batches, this rank's share of them."""
        check_training_fits(self.card, self.config)
        config, data = self.config, self.config.data
        return TrainLoader(
            self._train_set,
            **_images(self.card),
            batch_size=config.train.batch_size,
            seed=config.seed,
            crop_scale=data.crop_scale,
            crop_ratio=data.crop_ratio,
            flip_prob=data.flip_prob,
            rand_augment=data.rand_augment,
            three_augment=data.three_augment,
            augmix=data.augmix,
            color_jitter=data.color_jitter,
            erase_prob=data.erase_prob,
            mixup=data.mixup,
            cutmix=data.cutmix,
            mix_prob=data.mix_prob,
            mix_switch_prob=data.mix_switch_prob,
            label_smoothing=config.train.label_smoothing,
            balance=data.balance,
            repeats=data.repeats,
            workers=data.workers,
            on_bad_image=data.on_bad_image,
            accumulate=config.train.accumulate,
            rank=ranks.rank,
            num_ranks=ranks.count,
        )

    def create_eval_batches(self, ranks: Ranks) -> EvalLoader:
        return create_eval_loader(self.config, self.card, self._val_set, ranks)

    def create_network(self, for_training: bool) -> nn.Cell:
        if not for_training:
            return create_network(self.card)
        model = self.config.model
        network = get_variant(self.card.model).network
        if model.batch_norm != "train" and not network.uses_batch_norm:
            raise UserError(
                f"model.batch_norm is {model.batch_norm!r}, but {self.card.model} has no batch norm; leave it out"
            )
        net = create_model(
            self.card.model,
            **self.card.network_arguments(),
            **({"batch_norm": model.batch_norm} if network.uses_batch_norm else {}),
            drop_rate=model.drop_rate,
            attn_drop_rate=model.attn_drop_rate,
            drop_path_rate=model.drop_path_rate,
        )
        if self.config.train.recompute:
            recompute_blocks(net)
        if self.config.train.flash_attention:
            use_flash_attention(net, self.config.train.precision, current_device())
        return net

    def load_network(self, checkpoint: Checkpoint) -> tuple[nn.Cell, list[str]]:
        check_batch_fits(self.card, self.config.train.batch_size)
        return build_network(self.card, checkpoint)

    def load_initial_weights(self, net: nn.Cell, checkpoint: Checkpoint) -> list[str]:
        check_start(trained_on(checkpoint.progress), self._division, checkpoint.path)
        return load_initial_weights(net, checkpoint, self.card, self.config.init_head)

    def create_losses(self, net: nn.Cell) -> ClassificationLoss:
        train = self.config.train
        loss = create_loss(train.loss, train.label_smoothing, self._class_weights())
        if train.teacher is None:
            return ClassificationLoss(net, loss)
        distillation = Distillation(train.distillation, train.distillation_temperature)
        return ClassificationLoss(net, loss, self._create_teacher(), distillation, train.distillation_weight)

    def _create_teacher(self) -> Teacher:
        """The network of `train.teacher`, for this one's images and labels."""
        checkpoint, card = read_checkpoint(self.config.train.teacher), self.card
        there = checkpoint.card
        if not isinstance(there, ModelCard):
            raise UserError(f"train.teacher: {checkpoint.path} holds no classifier of this project")
        check_card(there, checkpoint.path)
        if there.in_channels != card.in_channels:
            raise UserError(
                f"train.teacher: {checkpoint.path} takes {there.in_channels} channels, the network {card.in_channels}"
            )
        outputs = match_labels(there.classes, card.classes, checkpoint.path).outputs
        net, _ = build_network(replace(there, image_size=card.image_size), checkpoint)
        set_precision(net, self.config.train.precision, current_device())
        mean, std, own_mean, own_std = map(np.array, (there.mean, there.std, card.mean, card.std))
        return Teacher(net, outputs, own_std / std, (own_mean - mean) / std)

    def create_predictions(self, net: nn.Cell) -> nn.Cell:
        share_graphs(net)
        return net

    def create_scorer(self) -> ClassificationScorer:
        return ClassificationScorer(self.card.classes, self._val_set)

    def example_batch(self, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        num_classes = max(len(self.card.classes), 1)
        labels = np.arange(batch_size, dtype=np.int32) % num_classes
        targets = np.eye(num_classes, dtype=np.float32)[labels] if self._mixes() else labels
        return (*self.example_inputs(batch_size), targets)

    def example_inputs(self, batch_size: int) -> tuple[np.ndarray]:
        shape = (batch_size, self.card.in_channels, *self.card.image_size)
        return (np.random.default_rng(self.config.seed).standard_normal(shape, np.float32),)

    def _class_weights(self) -> np.ndarray | None:
        """Of the training images that are there; of equal ones where none are."""
        power = {"none": None, "sqrt": 0.5, "full": 1.0}[self.config.train.class_weights]
        if power is None:
            return None
        count = len(self.card.classes)
        if not hasattr(self, "_train_set"):
            return np.ones(count)
        data = self._train_set
        return class_weights(np.array([data.label(index) for index in range(len(data))]), count, power)

    def _mixes(self) -> bool:
        """Whether batches are mixed, so that targets are soft, and smoothed already."""
        return self.config.data.mixup > 0 or self.config.data.cutmix > 0


def open_split(config: Config, split: str) -> Dataset:
    """The data of `config`, 'train' or 'val'."""
    data = config.data
    val_split = None if data.val_split is None else ValSplit(data.val_split, config.seed)
    return open_dataset(data.source, data.root, split, data.classes, val_split, data.train_list, data.val_list)


def open_to_judge(config: Config, trained: TrainedNetwork) -> tuple[Dataset, list[str]]:
    """The validation data of `config` for a trained network, and what a user should know about it.

    Raises:
        UserError: as `open_split` and `check_same_division` do.
    """
    dataset = open_split(config, "val")
    return dataset, check_same_division(trained.trained_on, division_of(dataset), trained.path)


def facts_of(datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """What hosts compare to tell whether they read the same, see `Task.facts`; data sets by names for messages."""
    facts = {}
    for name, dataset in datasets.items():
        facts |= {
            f"number of {name} images": len(dataset),
            f"labels of the {name} images": dataset.classes,
            f"names of the {name} images": dataset.fingerprint(),
        }
    return facts


def describe_ignored(dataset: Dataset) -> str | None:
    """A line about classes and files that are left out, where the source can tell."""
    return dataset.describe_ignored() if isinstance(dataset, ImageFolder | ImageList) else None


def create_eval_loader(config: Config, card: ModelCard, dataset: Dataset, ranks: Ranks) -> EvalLoader:
    """Every image of `dataset` once over all ranks."""
    check_batch_fits(card, config.train.batch_size)
    return EvalLoader(
        dataset,
        **_images(card),
        batch_size=config.train.batch_size,
        crop_pct=card.crop_pct,
        workers=config.data.workers,
        on_bad_image=config.data.on_bad_image,
        rank=ranks.rank,
        num_ranks=ranks.count,
    )


def _images(card: ModelCard) -> dict[str, Any]:
    """How loaders make them."""
    return {"image_size": card.image_size, "mean": card.mean, "std": card.std, "in_channels": card.in_channels}


def _check_same_task(checkpoint: Checkpoint, here: ModelCard) -> None:
    """Raises UserError unless a checkpoint is of this run's network and for labels of the same names."""
    there, path = checkpoint.card, checkpoint.path
    if not isinstance(there, ModelCard):
        raise UserError(
            f"{path} was not saved by such a run of this project and cannot be resumed from; start from its weights "
            "with --init_from"
        )
    check_card(there, path)
    if differences := network_differences(there.model, there.arguments, here.model, here.arguments):
        raise UserError(
            f"{path} holds another network than the configuration describes ({'; '.join(differences)}): change "
            "it back, or train the other network in a run of its own"
        )
    new, gone = unknown_labels(there.classes, here.classes), unknown_labels(here.classes, there.classes)
    if new or gone:
        what = [
            f"{count_of(labels)} {how} ({named(labels)})" for labels, how in ((new, "new"), (gone, "gone")) if labels
        ]
        raise UserError(
            f"the data has other labels than {path} was trained for: {' and '.join(what)}; resume with the data of "
            "the run, or train a new run on this data that starts from it with --init_from"
        )
