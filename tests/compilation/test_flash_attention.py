"""Flash attention: who can use it, what the operator is given, and that the training step compiles with it.

The operator itself runs on Ascend only. Its stand-in here is written from the formula that MindSpore documents.
"""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from src.compilation.flash_attention import use_flash_attention
from src.config import Config
from src.engine.from_config import create_train_step
from src.errors import UserError
from src.layers.attention import ScaledDotProductAttention
from src.models import create_model
from src.portability.graph_operators import list_operators
from src.tasks.classification import Classification, ClassificationLoss
from src.tasks.configured_card import create_card

SMALL = {
    "tnt_ti_patch16_224": {"image_size": 32, "depth": 1, "num_classes": 5},
    "ptnt_s_patch16_256": {"image_size": 64, "depths": [1, 1, 1, 1], "num_classes": 5},
    "t2t_vit_7": {"image_size": 32, "depth": 1, "num_classes": 5},
}


def documented_formula(query, key, value, head_num, real_shift=None):
    """`ops.flash_attention_score` with its default arguments; (B, S, H) each."""

    def heads(x):
        return x.reshape(x.shape[0], x.shape[1], head_num, -1).swapaxes(1, 2)

    scores = 1.0 * (heads(query) @ heads(key).swapaxes(2, 3))
    if real_shift is not None:
        scores = scores + real_shift
    x = ops.softmax(scores, -1) @ heads(value)
    return x.swapaxes(1, 2).reshape(query.shape)


@pytest.mark.parametrize("has_bias", [False, True])
def test_the_operator_is_given_what_the_plain_form_computes_with(has_bias, monkeypatch):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    monkeypatch.setattr(ops, "flash_attention_score", documented_formula)
    rng = np.random.default_rng(0)
    q, k, v = (Tensor(rng.standard_normal((2, n, 32)), ms.float32) for n in (5, 3, 3))
    bias = Tensor(rng.standard_normal((1, 2, 5, 3)), ms.float32) if has_bias else None
    attention = ScaledDotProductAttention(num_heads=2, dim=32)
    plain = attention(q, k, v, bias).asnumpy()
    attention.is_flash = True
    np.testing.assert_allclose(attention(q, k, v, bias).asnumpy(), plain, atol=1e-5)


@pytest.mark.parametrize(("variant", "attentions"), list(zip(SMALL, (1, 4, 1), strict=True)))
def test_training_step_compiles(variant, attentions):
    net = create_model(variant, **SMALL[variant])
    use_flash_attention(net, "float16", "Ascend")
    config = Config()
    config.train.precision, config.train.batch_size = "float16", 2
    images = Tensor(np.zeros((2, 3, *net.image_size), np.float32))
    found = list_operators(
        create_train_step(config, ClassificationLoss(net), net, 1e-3), images, Tensor([0, 1], ms.int32)
    )
    assert found["FlashAttentionScore"] == found["FlashAttentionScoreGrad"] == attentions


@pytest.mark.parametrize(("precision", "device"), [("float32", "Ascend"), ("float16", "GPU"), ("float16", "CPU")])
def test_other_devices_and_precisions_are_refused(precision, device):
    with pytest.raises(
        UserError, match=f"expected device Ascend and .* float16 or bfloat16, got {device} and {precision}"
    ):
        use_flash_attention(create_model("t2t_vit_7", **SMALL["t2t_vit_7"]), precision, device)


def test_networks_that_cannot_are_refused():
    with pytest.raises(
        UserError, match="expected heads of a multiple of 16 channels .* has heads of 5, 40; leave it out"
    ):
        use_flash_attention(create_model("ptnt_ti_patch16_192"), "float16", "Ascend")
    net = create_model("t2t_vit_7", **SMALL["t2t_vit_7"], attn_drop_rate=0.1)
    with pytest.raises(UserError, match="expected model.attn_drop_rate 0"):
        use_flash_attention(net, "float16", "Ascend")


def test_the_configuration_key_reaches_the_network():
    config = Config()
    config.train.flash_attention = True
    card = create_card(config, ["0", "1"])
    with pytest.raises(UserError, match="train.flash_attention: expected device Ascend"):
        Classification(config, card).create_network(for_training=True)
