"""A task of its own for the training loop: lines through points, with two losses and a median, which no sum gives.

Run as a script it trains; `python toy_task.py OUTPUT [auto]`.
"""

import sys
from pathlib import Path

import numpy as np
from mindspore import dtype as mstype
from mindspore import nn, ops

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.config import Config, OptimizerConfig, ScheduleConfig, TrainConfig
from src.data.eval_batch import EvalBatch
from src.devices.ranks import serve_if_scheduler
from src.engine.run_folder import RunFolder
from src.engine.training import Training
from src.tasks.scores import ScoreKind, Scores
from src.weights.loading import load_weights
from src.weights.model_card import ModelCard

NUM_ROWS, FEATURES, GLOBAL_BATCH, STEPS = 22, 4, 8, 3
TRUE = np.random.default_rng(7).standard_normal((FEATURES, 2)).astype(np.float32)


def rows(count, *seed):
    inputs = np.random.default_rng(seed).standard_normal((count, FEATURES), np.float32)
    return inputs, inputs @ TRUE


class Line(nn.Dense):
    """With what the training step asks of every network."""

    def __init__(self):
        super().__init__(FEATURES, 2)

    def block_stages(self):
        return []

    def no_weight_decay(self):
        return set()


class TwoLosses(nn.Cell):
    """Of the height and of the slope."""

    def __init__(self, net):
        super().__init__(auto_prefix=False)
        self.net = net

    def construct(self, inputs, heights, slopes):
        found = self.net(inputs).astype(mstype.float32)
        return ops.square(found - ops.stack((heights, slopes), axis=1)).mean(axis=0)


class TrainBatches:
    bad_images = {}

    def __init__(self, batch_size, ranks):
        self._size, self._ranks = batch_size, ranks

    def __len__(self):
        return STEPS

    def epoch(self, epoch, first_step=0):
        for step in range(first_step, STEPS):
            inputs, truth = rows(GLOBAL_BATCH, 1, epoch, step)
            own = slice(self._ranks.rank * self._size, (self._ranks.rank + 1) * self._size)
            yield inputs[own], truth[own, 0].copy(), truth[own, 1].copy()


class EvalBatches:
    bad_images = {}

    def __init__(self, batch_size, ranks):
        self._size, self._own, self._count = batch_size, range(ranks.rank, NUM_ROWS, ranks.count), ranks.count

    def __len__(self):
        return -(-NUM_ROWS // (self._size * self._count))

    def __iter__(self):
        inputs, truth = rows(NUM_ROWS, 2)
        for number in range(len(self)):
            chosen = list(self._own[number * self._size : (number + 1) * self._size])
            filled = chosen + [0] * (self._size - len(chosen))
            yield EvalBatch((inputs[filled],), (truth[filled],), len(chosen))


class Median:
    """Each rank has rows, and the median is of all of them."""

    def __init__(self):
        self._errors = [np.zeros((0, 1))]

    def add(self, outputs, truth, num_valid):
        found, (expected,) = outputs[:num_valid], (array[:num_valid] for array in truth)
        self._errors.append(np.abs(found - expected).sum(axis=1, keepdims=True).astype(np.float64))

    def scores(self, exchange):
        errors = exchange.rows(np.concatenate(self._errors))[:, 0]
        return Scores(ToyTask.score_kinds, (-float(np.median(errors)), float(errors.max())), len(errors))


class ToyTask:
    loss_names = ("height", "slope")
    score_kinds = (ScoreKind("median", "closeness"), ScoreKind("worst", "worst error", is_loss=True))
    uses_convolution = False
    takes_any_batch = True

    def __init__(self, config):
        self.config = config
        self.card = ModelCard("line", {}, ["height", "slope"], (1, 1), 1, (0.0,), (1.0,), 1.0)

    def open_for_training(self, resumed):
        return ["lines through points"]

    def facts(self):
        return {"number of rows": NUM_ROWS}

    def training_data(self):
        return {"rows": NUM_ROWS}

    def describe(self):
        return "a line"

    def create_train_batches(self, ranks):
        return TrainBatches(self.config.train.batch_size, ranks)

    def create_eval_batches(self, ranks):
        return EvalBatches(self.config.train.batch_size, ranks)

    def create_network(self, for_training):
        return Line()

    def load_network(self, checkpoint):
        net = self.create_network(for_training=False)
        load_weights(net, checkpoint)
        return net.set_train(False), []

    def create_losses(self, net):
        return TwoLosses(net)

    def create_predictions(self, net):
        return net

    def create_scorer(self):
        return Median()

    def example_inputs(self, batch_size):
        return (rows(batch_size, 0)[0],)


def config(num_ranks=1, output="runs"):
    return Config(
        device="CPU",
        output=output,
        compiler_cache=False,
        optimizer=OptimizerConfig(lr=0.1, weight_decay=0.0),
        schedule=ScheduleConfig(epochs=2, warmup_epochs=0, cooldown_epochs=1),
        train=TrainConfig(batch_size=GLOBAL_BATCH // num_ranks, log_every=2, save_every=2, ema_decay=0.5),
    )


def train(num_ranks=1, output="runs", resume="never"):
    """Trains, and returns the scores of the last evaluation."""
    of_run = config(num_ranks, output)
    return Training(of_run, RunFolder(of_run.output, "toy"), resume, task=ToyTask(of_run)).run()


if __name__ == "__main__":
    serve_if_scheduler()
    train(2, *sys.argv[1:])
