"""The contract between what is learned and those who train, evaluate, audit and time it.

The training loop, eval.py, the audit and the benchmarks know a task through this and nothing else: they hold no word of
labels, boxes or the numbers that say how good a network is.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mindspore import nn

from ..data.eval_batch import EvalBatch
from ..devices.ranks import Exchange, Ranks
from ..terminal.text_table import Table
from ..weights.checkpoint import Checkpoint
from ..weights.detector_card import DetectorCard
from ..weights.model_card import ModelCard
from .scores import ScoreKind, Scores


class BatchesToTrain(Protocol):
    """Batches of training, this rank's share of them.

    Attributes:
        bad_images: index in the data -> why it cannot be read, of the images that were skipped so far.
    """

    bad_images: dict[int, str]

    def __len__(self) -> int:
        """Optimizer steps of an epoch."""
        ...

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[tuple[np.ndarray, ...]]:
        """Micro-batches of any epoch from a step of it on, as many a step as `train.accumulate` says.

        A batch is a function of (seed, epoch, step, rank). Its arrays are valid until the next one is asked for.
        """
        ...


class BatchesToJudge(Protocol):
    """Every image of the validation data once over all ranks, in as many batches on each; see `BatchesToTrain`."""

    bad_images: dict[int, str]

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[EvalBatch]: ...


class Scorer(Protocol):
    """Counts how good a network's outputs are, batch by batch."""

    def add(self, outputs: Any, truth: tuple[np.ndarray, ...], num_valid: int) -> None:
        """Takes note of a batch.

        Args:
            outputs: of the network, an array or a tuple of arrays.
            truth: of the batch, see `EvalBatch`.
            num_valid: how many rows count.
        """
        ...

    def scores(self, exchange: Exchange) -> Scores:
        """The scores of all that was added here and on the other ranks; all ranks must ask, and get the same.

        Raises:
            NotFiniteError: on every rank, where outputs are not finite on any.
            UserError: nothing was added.
        """
        ...

    def table(self) -> Table:
        """Scores of each class, after `scores`."""
        ...

    def write_report(self, folder: Path) -> list[str]:
        """Writes what a person wants to know beyond the scores, after `scores`, and returns the names of the files.

        Args:
            folder: exists.

        Raises:
            UserError: a file cannot be written.
        """
        ...


class Task(Protocol):
    """What is learned. It is opened once, in one of three ways, before anything else is asked of it.

    Attributes:
        card: what a deployer must know about the network.
        loss_names: of the losses that `create_losses` gives; their sum is minimised.
        score_kinds: what a scorer gives. The first decides which weights are the best, the highest.
        uses_convolution: whether graphs hold MindSpore's convolutions, which the device is to be set up for.
        takes_any_batch: whether one graph of the predictions is for any batch size.
    """

    card: ModelCard | DetectorCard
    loss_names: tuple[str, ...]
    score_kinds: tuple[ScoreKind, ...]
    takes_any_batch: bool

    @property
    def uses_convolution(self) -> bool: ...

    def open_for_training(self, resumed: Checkpoint | None) -> list[str]:
        """Opens the data and decides the card, which stays that of the run that goes on.

        Returns:
            What a user should know about both.

        Raises:
            UserError: the data cannot be used, or `resumed` is of another network or for other data.
        """
        ...

    def open_for_evaluation(self, checkpoint: Checkpoint, given: Mapping[str, Any]) -> list[str]:
        """Opens the validation data for the network of a checkpoint; see `open_for_training`.

        Args:
            checkpoint: with the network.
            given: what the command line says itself, `CommandLine.given`.
        """
        ...

    def card_of(self, checkpoint: Checkpoint, given: Mapping[str, Any]) -> ModelCard | DetectorCard:
        """The card of a checkpoint as the user asks for it; see `open_for_evaluation`."""
        ...

    def open_without_data(self) -> None:
        """Decides the card by the configuration alone, for those who look at the network and at no data."""
        ...

    def facts(self) -> dict[str, Any]:
        """What must be the same on all ranks, by names for messages; values that JSON can hold."""
        ...

    def training_data(self) -> dict[str, Any]:
        """What checkpoints say about the data they were trained on, for those who judge them; few plain values."""
        ...

    def describe(self) -> str:
        """The network and what it tells apart, in a few words."""
        ...

    def create_train_batches(self, ranks: Ranks) -> BatchesToTrain: ...

    def create_eval_batches(self, ranks: Ranks) -> BatchesToJudge: ...

    def create_network(self, for_training: bool) -> nn.Cell:
        """The network with random weights: as the configuration trains it, or as it is in evaluation."""
        ...

    def load_network(self, checkpoint: Checkpoint) -> tuple[nn.Cell, list[str]]:
        """The network to judge, with the weights of a checkpoint, and what was adapted, as lines for the user."""
        ...

    def load_initial_weights(self, net: nn.Cell, checkpoint: Checkpoint) -> list[str]:
        """Fills `net` from another run's checkpoint as far as it fits; returns what did not, as lines for the log."""
        ...

    def create_losses(self, net: nn.Cell) -> nn.Cell:
        """A Cell around `net` that takes the arrays of a batch and gives the losses, float32 (len(loss_names),)."""
        ...

    def create_predictions(self, net: nn.Cell) -> nn.Cell:
        """A Cell around `net`, or itself, that takes the inputs of a batch of evaluation and gives what is judged."""
        ...

    def create_scorer(self) -> Scorer: ...

    def example_batch(self, batch_size: int) -> tuple[np.ndarray, ...]:
        """Arrays of the shapes and types of a batch of training; their values mean nothing."""
        ...

    def example_inputs(self, batch_size: int) -> tuple[np.ndarray, ...]:
        """The same of the inputs of a batch of evaluation."""
        ...
