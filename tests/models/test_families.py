"""What every family of networks must be known to; a new one fails here with the list of what it lacks.

docs/adding_a_network.md says where each is.
"""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from mindspore import nn

from src.compilation.mixed_precision import FLOAT32_CELLS, HALF_CELLS
from src.complexity.count import count
from src.export.onnx_cells import build_onnx
from src.models import catalogue, create_model, get_variant, list_models, resolve_arguments
from src.models.arguments import RULES
from src.models.memory_need import num_activations, num_weights
from src.models.network import Network, TrainedNetwork
from src.models.variant import FeatureInfo, Variant
from src.visualization.position_figures import position_tables
from src.visualization.taps import record
from src.weights.author_names import reference_names
from src.weights.recognition import check_variant, recognise

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = {
    "TNT": {"image_size": 32, "depth": 1},
    "PyramidTNT": {"image_size": 64, "depths": (1, 1, 1, 1)},
    "T2TViT": {"image_size": 32, "depth": 1},
    "T2TViTDense": {"image_size": 32, "block_config": (1, 1)},
}
"""What makes one variant of each family small enough for this test."""

CONTRACT = {name for kind in (TrainedNetwork, Network) for name in vars(kind) if name[0] != "_"}
CONTRACT |= set(Network.__annotations__)


def families():
    """The first variant of each class of networks."""
    found = {}
    for name in list_models():
        found.setdefault(get_variant(name).network, name)
    return found


def cells_without_a_precision(net):
    """Cells with weights of their own that neither get half precision nor stay in float32 by name."""
    lost = set()

    def walk(cell):
        if isinstance(cell, (*HALF_CELLS, *FLOAT32_CELLS)):
            return
        if cell is not net and any("weight" in p.name for p in cell.get_parameters(expand=False)):
            lost.add(type(cell).__name__)
        for part in cell.cells():
            walk(part)

    walk(net)
    return lost


def lacks(name, small):
    """What the family of a variant lacks, in words with the file where it belongs."""
    network, missing = get_variant(name).network, []

    def tried(what, action):
        try:
            action()
        except Exception as error:  # whatever it is that does not know the network
            missing.append(f"{what} ({type(error).__name__}: {str(error).splitlines()[0][:80]})")

    arguments = [parameter for parameter in inspect.signature(network.__init__).parameters if parameter != "self"]
    if unknown := [argument for argument in arguments if argument not in RULES]:
        return [f"src/models/arguments.py: kind and range of {', '.join(unknown)}"]
    resolved = resolve_arguments(name, small)
    tried("src/models/memory_need.py: weights", lambda: num_weights(network, resolved))
    tried("src/models/memory_need.py: activations", lambda: num_activations(network, resolved))
    if missing:
        return missing
    net = create_model(name, **small).set_train(False)
    missing += [f"{inspect.getfile(network)}: {member}" for member in sorted(CONTRACT) if not hasattr(net, member)]
    missing += [f"src/compilation/mixed_precision.py: {cell}" for cell in sorted(cells_without_a_precision(net))]
    tried("src/complexity/count.py: its cost", lambda: count(net))
    tried("src/export/onnx_cells.py: its nodes", lambda: build_onnx(net, (3, *net.image_size)))
    images = np.zeros((1, 3, *net.image_size), np.float32)
    tried("src/visualization/taps.py: its blocks and attention", lambda: record(net, images).blocks()[0])
    tried("src/visualization/position_figures.py: its tables", lambda: position_tables(net)["sentences"])
    sizes = {key: value for key, value in small.items() if key != "image_size"}
    shapes = {key: p.shape for key, p in reference_names(net).items()} if not missing else {}
    tried("src/weights/recognition.py: its names and shapes", lambda: check_variant(name, sizes, recognise(shapes)))
    own = [v for v in list_models() if get_variant(v).network is network]
    for readme in ("README.md", "README_CN.md"):
        text = (REPOSITORY / readme).read_text()
        missing += [f"{readme}: a row of {variant}" for variant in own if f"`{variant}`" not in text]
    configured = {path.stem for path in (REPOSITORY / "config/classification").glob("*.yaml")}
    missing += [f"config/classification: {variant}.yaml" for variant in own if variant not in configured]
    sections = re.findall("^## (.*)", (REPOSITORY / "docs/differences.md").read_text(), re.M)
    if not any(network.__name__.startswith(section.replace("-", "")) for section in sections):
        missing.append("docs/differences.md: a section")
    return missing


@pytest.mark.parametrize("network", families(), ids=lambda network: network.__name__)
def test_a_family_is_known_to_all_who_must_know_it(network):
    assert lacks(families()[network], SMALL[network.__name__]) == []


class Newcomer(nn.Cell):
    """A network that has just been written."""

    def __init__(self, num_classes=1000, image_size=32, in_channels=3, depth=1):
        super().__init__()
        self.num_classes, self.image_size = num_classes, (image_size, image_size)
        self.feature_info = (FeatureInfo(8, 4),)
        self.embed = nn.Conv3d(1, 8, 1)
        self.head = nn.Dense(8, num_classes)


class NewcomerWithAnArgument(Newcomer):
    def __init__(self, num_classes=1000, image_size=32, in_channels=3, surprise=1):
        super().__init__(num_classes, image_size, in_channels)


def register(monkeypatch, network):
    variant = Variant(network, 32, (0.5,) * 3, (0.5,) * 3, {})
    monkeypatch.setitem(catalogue._VARIANTS, "newcomer", variant)


def test_a_new_family_is_told_step_by_step_what_it_lacks(monkeypatch):
    register(monkeypatch, NewcomerWithAnArgument)
    assert lacks("newcomer", {}) == ["src/models/arguments.py: kind and range of surprise"]
    register(monkeypatch, Newcomer)
    assert [line.partition(" (")[0] for line in lacks("newcomer", {})] == [
        "src/models/memory_need.py: weights",
        "src/models/memory_need.py: activations",
    ]
    for function in ("num_weights", "num_activations"):
        monkeypatch.setitem(globals(), function, lambda *arguments: 1)
    monkeypatch.setattr("src.models.num_weights", lambda *arguments: 1)
    found = [line.partition(" (")[0] for line in lacks("newcomer", {})]
    members = ("block_stages", "forward_features", "forward_head", "forward_maps", "no_weight_decay", "table_resizers")
    for member in (*members, "uses_batch_norm", "uses_convolution"):
        assert f"{__file__}: {member}" in found
    places = {line.partition(":")[0] for line in found}
    assert places >= {
        "src/compilation/mixed_precision.py",
        "src/complexity/count.py",
        "src/export/onnx_cells.py",
        "src/visualization/taps.py",
        "src/visualization/position_figures.py",
        "src/weights/recognition.py",
        "README.md",
        "README_CN.md",
        "config/classification",
        "docs/differences.md",
    }
