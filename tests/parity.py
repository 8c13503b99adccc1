"""Cases of tests/reference: the authors' networks on weights and inputs drawn by fill.py, and what came out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn, ops
from mindspore.nn.utils import no_init_parameters

from benchmarks.cases.case import Row
from src.compilation.shared_graphs import share_graphs
from src.config.former_names import current_names
from src.engine.train_step import TrainStep
from src.models import create_model
from src.models.pyramid_tnt import PyramidTNT
from src.models.t2t_vit import T2TViT
from src.models.tnt import TNT
from src.optim.loss import create_loss
from src.optim.optimizer import AdamW, decay_groups
from src.tasks.classification import ClassificationLoss
from src.weights.author_names import load_reference_weights, reference_names
from tests.reference.fill import fill_input, fill_parameter

FOLDER = Path(__file__).parent / "reference"
NETWORKS = {"TNT": TNT, "PyramidTNT": PyramidTNT, "T2T_ViT": T2TViT}


@dataclass
class Case:
    """One reference case: what was built, and the arrays that came out."""

    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def build(self) -> nn.Cell:
        """The network with the case's weights, through the public interface."""
        kwargs = dict(self.meta.get("kwargs", {}))
        kwargs.update(current_names(kwargs.pop("configs", {})))
        if "img_size" in kwargs:
            kwargs["image_size"] = kwargs.pop("img_size")
        if "se" in kwargs:
            kwargs["se"] = bool(kwargs["se"])
        factory = self.meta["factory"]
        create = NETWORKS[factory] if factory in NETWORKS else lambda **kw: create_model(factory, **kw)
        with no_init_parameters():  # the case's weights take their place
            net = create(**kwargs)
        seed = self.meta["seed"]
        weights = {name: fill_parameter(name, shape, seed) for name, shape in self.meta["state_dict"]}
        load_reference_weights(net, weights)
        return net.set_train(bool(self.meta.get("train_mode")))

    def images(self, draw: int = 0) -> ms.Tensor:
        """The case's input; `draw` counts the batches of its training run from 1."""
        offset = 0 if draw == 0 else 99 + draw
        return ms.Tensor(fill_input(self.meta["input"], self.meta["seed"] + offset))

    def labels(self) -> ms.Tensor:
        return ms.Tensor(self.arrays["labels"].astype(np.int32))


def load_case(name: str) -> Case:
    meta = json.loads((FOLDER / f"{name}.json").read_text())
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return Case(meta, dict(arrays))


class _Gradients(nn.Cell):
    """The training step's own loss and gradients, without the update."""

    def __init__(self, step: TrainStep):
        super().__init__(auto_prefix=False)
        self.step = step

    def construct(self, images, labels):
        losses, gradients = self.step.value_and_grad(ops.ones((), ms.float32), images, labels)  # the loss is not scaled
        return losses[1], gradients


def create_step(case: Case, net: nn.Cell) -> TrainStep:
    """The shipped training step with the recipe's decay groups and the case's settings."""
    adamw = case.meta["adamw"]
    optimizer = AdamW(decay_groups(net, adamw["weight_decay"]), adamw["lr"], 0.0, *adamw["betas"], adamw["eps"])
    share_graphs(net)
    step = TrainStep(
        ClassificationLoss(net, create_loss(label_smoothing=adamw["label_smoothing"])),
        optimizer,
        adamw["clip"],
        batch_size=case.meta["input"][0],
    )
    net.set_train(bool(case.meta.get("train_mode")))
    return step


class _LogitsAndFeatures(nn.Cell):
    """Both results in one compilation."""

    def __init__(self, net: nn.Cell):
        super().__init__(auto_prefix=False)
        self.net = net

    def construct(self, images):
        features = self.net.forward_features(images)
        return self.net.forward_head(features), self.net.forward_head(features, pre_logits=True)


def check_forward(case: Case) -> None:
    """Logits, and the pooled features where the case holds them (the tiny ones hold logits only)."""
    net = case.build()
    share_graphs(net)
    logits, features = _LogitsAndFeatures(net)(case.images())
    np.testing.assert_allclose(logits.asnumpy(), case.arrays["logits"], rtol=0, atol=1e-4)
    if "features" in case.arrays:
        np.testing.assert_allclose(features.asnumpy(), case.arrays["features"], rtol=0, atol=1e-4)


def gradient_rows(case: Case) -> Iterator[Row]:
    """Loss, the norm of every gradient, and the first entries of each."""
    net = case.build()
    optimizer = AdamW(decay_groups(net, 0.0), 0.0)
    share_graphs(net)
    step = TrainStep(ClassificationLoss(net), optimizer, batch_size=case.meta["input"][0])
    net.set_train(bool(case.meta.get("train_mode")))
    loss, gradients = _Gradients(step)(case.images(), case.labels())
    yield Row("loss", abs(loss.asnumpy().item() - float(case.arrays["loss"])), 1e-4)
    ours = {p.name: g.asnumpy() for p, g in zip(optimizer.parameters, gradients, strict=True)}
    names = {name: p.name for name, p in reference_names(net).items() if p.requires_grad}
    assert set(case.meta["grad_norms"]) == set(names)
    for name, expected in case.meta["grad_norms"].items():
        gradient = ours[names[name]]
        yield Row(f"norm of {name}", abs(np.linalg.norm(gradient) - expected), max(1e-3 * expected, 1e-5))
        first = case.arrays[f"grad/{name}"]
        yield Row(f"gradient of {name}", np.abs(gradient.ravel()[: first.size] - first.ravel()).max(), 1e-4)


def training_rows(case: Case) -> Iterator[Row]:
    """The losses of the authors' AdamW run, and the batch-norm statistics after it.

    A bias directly before a batch norm has a true gradient of zero: AdamW moves it by rounding noise, at most lr a
    step, and the running mean follows it. Its tolerance is widened by that.
    """
    net = case.build()
    step = create_step(case, net)
    losses = [
        step(case.images(draw), case.labels()).asnumpy().item() for draw in range(1, case.meta["adamw"]["steps"] + 1)
    ]
    yield Row("losses", np.abs(losses - case.arrays["adamw_losses"]).max(), 1e-3)
    drift = case.meta["adamw"]["lr"] * case.meta["adamw"]["steps"]
    for name, value in case.arrays.items():
        if name.startswith("buffer/"):
            got = reference_names(net)[name.removeprefix("buffer/")].asnumpy()
            bound = 1e-3 + (drift if name.endswith("running_mean") else 0.0)
            yield Row(name, np.abs(got - value).max(), bound)


def check_gradients(case: Case) -> None:
    _check(gradient_rows(case))


def check_training(case: Case) -> None:
    _check(training_rows(case))


def _check(rows: Iterator[Row]) -> None:
    assert not [f"{row.name}: {row.difference:.1e} of {row.bound:.0e}" for row in rows if not row.holds]
