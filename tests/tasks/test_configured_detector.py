"""The detector that a configuration describes."""

import pytest

from src.config import load_config
from src.errors import UserError
from src.tasks.configured_detector import describe_detector


def card(se=False, **structure):
    """Of a configuration with `model.se` and `model.structure`."""
    config = load_config("config/detection/retinanet_ptnt_ti_1x.yaml")
    config.model.se, config.model.structure = se, structure
    return describe_detector(config, ["a"], [1])


@pytest.fixture(autouse=True)
def at_the_root(request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)


@pytest.mark.parametrize(
    "se,structure,arguments",
    [
        (False, {}, {}),
        (True, {}, {"backbone": {"se": True}}),
        (True, {"backbone": {"qkv_bias": True}}, {"backbone": {"se": True, "qkv_bias": True}}),
        (True, {"fpn_channels": 8}, {"fpn_channels": 8, "backbone": {"se": True}}),
        (False, {"backbone": {"qkv_bias": True}}, {"backbone": {"qkv_bias": True}}),
    ],
)
def test_what_is_not_as_published(se, structure, arguments):
    assert card(se, **structure).arguments == arguments


@pytest.mark.parametrize(
    "se,structure,message",
    [
        (True, {"backbone": {"se": False}}, "model.structure.backbone.se: give it as model.se"),
        (False, {"batch_norm": "eval"}, "model.structure.batch_norm: give it as model.batch_norm"),
        (False, {"backbone": 5}, "backbone"),
        (True, {"backbone": 5}, "backbone"),
    ],
)
def test_what_belongs_elsewhere_is_refused(se, structure, message):
    with pytest.raises(UserError, match=message) as found:
        card(se, **structure)
    assert "\n" not in str(found.value)
