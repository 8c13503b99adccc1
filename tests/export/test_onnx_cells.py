"""ONNX files compute what the networks do, at any batch size, in every variant and with every option."""

import sys
from functools import cache

import mindspore as ms
import numpy as np
import onnx
import pytest
from mindspore import Tensor, nn, ops

from src.errors import UserError
from src.export.onnx_cells import build_onnx
from src.export.onnx_session import load_onnx
from src.models import create_model, list_models
from src.models.feature_extractor import FeatureExtractor

TNT = {"depth": 2, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 8, "outer_num_heads": 2, "image_size": (32, 48)}
PTNT = {
    "depths": (2, 1, 1, 1),
    "inner_dims": (4, 4, 8, 8),
    "inner_num_heads": (1, 2, 2, 2),
    "outer_dims": (8, 8, 16, 16),
    "outer_num_heads": (1, 2, 2, 2),
    "image_size": (64, 96),
}
T2T = {"token_dim": 4, "embed_dim": 8, "depth": 2, "num_heads": 2, "image_size": (32, 48)}
DENSE = {"token_dim": 4, "embed_dim": 8, "growth_rate": 4, "block_config": (2, 1), "num_heads": 2, "image_size": 32}
TINY = {
    "tnt": ("tnt_ti_patch16_224", TNT),
    "tnt, biases and gate": ("tnt_ti_patch16_224", {**TNT, "qkv_bias": True, "se": True}),
    "tnt, one inner block": ("tnt_ti_patch16_224", {**TNT, "inner_blocks": (1,)}),
    "tnt, grey": ("tnt_ti_patch16_224", {**TNT, "in_channels": 1}),
    "tnt, other patches": ("tnt_ti_patch16_224", {**TNT, "patch_size": 8, "inner_stride": 3}),
    "tnt, features": ("tnt_ti_patch16_224", {**TNT, "num_classes": 0}),
    "tnt, one patch": ("tnt_ti_patch16_224", {**TNT, "image_size": 16}),
    "ptnt": ("ptnt_ti_patch16_192", PTNT),
    "ptnt, biases and gate": ("ptnt_ti_patch16_192", {**PTNT, "qkv_bias": True, "se": True}),
    "ptnt, odd grids": ("ptnt_ti_patch16_192", {**PTNT, "image_size": (32, 160)}),
    "ptnt, grey": ("ptnt_ti_patch16_192", {**PTNT, "in_channels": 1}),
    "ptnt, features": ("ptnt_ti_patch16_192", {**PTNT, "num_classes": 0}),
    "t2t, performer": ("t2t_vit_7", T2T),
    "t2t, biases and grey": ("t2t_vit_7", {**T2T, "qkv_bias": True, "in_channels": 1}),
    "t2t, transformer": ("t2t_vit_t_14", T2T),
    "t2t, convolution": ("t2t_vit_c_14", T2T),
    "t2t, patch": ("t2t_vit_7", {**T2T, "tokens_type": "patch"}),
    "t2t, gate": ("t2t_vit_14_se", {**T2T, "embed_dim": 16}),
    "t2t, ghost": ("t2t_vit_16_ghost", T2T),
    "t2t, dense": ("t2t_vit_dense", DENSE),
}


@pytest.fixture(autouse=True)
def pynative():
    """Nothing to compile."""
    ms.set_context(mode=ms.PYNATIVE_MODE)


def create(name: str, **arguments) -> nn.Cell:
    """Random values everywhere, also where initial ones are 0 or 1."""
    net = create_model(name, **arguments).set_train(False)
    rng = np.random.default_rng(0)
    for parameter in net.get_parameters():
        values = rng.standard_normal(parameter.shape)
        if parameter.name.endswith("variance"):
            values = np.exp(0.3 * values)
        elif parameter.ndim > 1:
            values /= np.sqrt(np.prod(parameter.shape[1:]))
        elif parameter.name.endswith(("gamma", ".weight")):
            values = 1 + 0.3 * values
        else:
            values *= 0.3
        parameter.set_data(Tensor(values.astype(np.float32)))
    return net


def create_tiny(case: str) -> nn.Cell:
    name, arguments = TINY[case]
    return create(name, **{"num_classes": 5, **arguments})


@cache
def run_tiny(case: str) -> tuple[nn.Cell, np.ndarray, np.ndarray]:
    """A network, three images, and the logits that it computes of them: every image alone, whatever the batch size."""
    net = create_tiny(case)
    images = draw(3, *image_shape(net, TINY[case][1].get("in_channels", 3)))
    return net, images, net(Tensor(images)).asnumpy()


def image_shape(net: nn.Cell, channels: int = 3) -> tuple[int, int, int]:
    return (channels, *net.image_size)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape[0]).standard_normal(shape, dtype=np.float32)


def load(model: onnx.ModelProto, tmp_path):
    onnx.save(model, tmp_path / "net.onnx")
    return load_onnx(tmp_path / "net.onnx")


def assert_same(run, images: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert np.ptp(expected) > 0.1
    for batch_size in (1, 3):
        logits = run(images[:batch_size])
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected[:batch_size], rtol=0, atol=tolerance)


@pytest.mark.parametrize("case", TINY)
def test_any_batch_size(case, tmp_path):
    net, images, expected = run_tiny(case)
    assert_same(load(build_onnx(net, images.shape[1:]), tmp_path), images, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_published_variants(name, tmp_path):
    net = create(name)
    images = draw(3, *image_shape(net))
    assert_same(load(build_onnx(net, images.shape[1:]), tmp_path), images, net(Tensor(images)).asnumpy())


def test_one_batch_size(tmp_path):
    net, images, expected = run_tiny("tnt")
    model = build_onnx(net, image_shape(net), batch_size=2)
    assert [side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim] == [2, 3, 32, 48]
    run = load(model, tmp_path)
    np.testing.assert_allclose(run(images[:2]), expected[:2], rtol=0, atol=1e-5)
    with pytest.raises(Exception, match="Got: 3 Expected: 2"):
        run(images)


@pytest.mark.parametrize("case", ["tnt", "t2t, biases and grey"])
def test_pixels_in(case, tmp_path):
    net = create_tiny(case)
    channels = TINY[case][1].get("in_channels", 3)
    mean, std = (0.5, 0.4, 0.3)[:channels], (0.2, 0.6, 0.7)[:channels]
    run = load(build_onnx(net, image_shape(net, channels), mean=mean, std=std), tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (3, *net.image_size, channels), np.uint8)
    images = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    expected = net(Tensor(images)).asnumpy()
    for batch_size in (1, 3):
        np.testing.assert_allclose(run(pixels[:batch_size]), expected[:batch_size], rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", ["tnt", "ptnt, odd grids", "t2t, dense"])
@pytest.mark.parametrize("stages", [None, (1,)])
def test_maps_of_stages(case, stages, tmp_path):
    net = create_tiny(case)
    extractor = FeatureExtractor(net, stages)
    model = build_onnx(extractor, image_shape(net))
    assert [output.name for output in model.graph.output] == [f"map{i}" for i in range(len(extractor.stages))]
    assert not any(node.name.startswith(("norm/", "head/")) for node in model.graph.node)
    run = load(model, tmp_path)
    images = draw(3, *image_shape(net))
    maps = extractor(Tensor(images))
    for batch_size in (1, 3):
        for found, expected in zip(run(images[:batch_size]), maps, strict=True):
            np.testing.assert_allclose(found, expected.asnumpy()[:batch_size], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "case", ["tnt", "ptnt", "t2t, performer", "t2t, transformer", "t2t, gate", "t2t, ghost", "t2t, dense"]
)
def test_half_precision(case, tmp_path):
    net, images, expected = run_tiny(case)
    half, full = (build_onnx(net, image_shape(net), precision=precision) for precision in ("float16", "float32"))
    assert_same(load(half, tmp_path), images, expected, tolerance=1e-2)
    assert len(half.SerializeToString()) < len(full.SerializeToString())
    types = {value.name: value.data_type for value in half.graph.initializer}
    of_op = {op: [types.get(n.input[1]) for n in half.graph.node if n.op_type == op] for op in ("MatMul", "Conv")}
    norms = [types[n.input[1]] for n in half.graph.node if n.op_type == "LayerNormalization"]
    assert set(norms) == {onnx.TensorProto.FLOAT}
    assert onnx.TensorProto.FLOAT16 in of_op["MatMul"]
    if case.startswith("t2t"):  # the tokens stay in float32
        tokens = [types[name] for name in types if name.startswith("tokens_to_token")]
        assert set(tokens) == {onnx.TensorProto.FLOAT}


def test_half_precision_of_a_published_variant_keeps_most_digits(tmp_path):
    net = create("tnt_ti_patch16_224", depth=2, num_classes=10)
    run = load(build_onnx(net, image_shape(net), precision="float16"), tmp_path)
    images = draw(2, *image_shape(net))
    expected = net(Tensor(images)).asnumpy()
    difference = np.abs(run(images) - expected).max()
    assert 0 < difference < 1e-2 * np.abs(expected).max()


def test_names_and_metadata():
    net = create_tiny("tnt")
    model = build_onnx(net, image_shape(net), name="my net")
    assert model.graph.name == "my net" and model.producer_name
    assert model.opset_import[0].version == 17 and model.ir_version == 8  # ONNX Runtime 1.12 and later
    assert {prop.key: prop.value for prop in model.metadata_props} == {
        "precision": "float32",
        "mindspore": ms.__version__,
    }
    assert [value.name for value in model.graph.input] == ["images"]
    assert [value.name for value in model.graph.output] == ["logits"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    nodes = {node.name: node for node in model.graph.node}
    assert list(nodes["blocks.1.inner_attn.qk/MatMul"].input)[1] == "blocks.1.inner_attn.qk.weight.T"
    assert len(nodes) == len(model.graph.node)
    constants = {value.name: onnx.numpy_helper.to_array(value) for value in model.graph.initializer}
    np.testing.assert_array_equal(constants["head.weight.T"].T, net.head.weight.asnumpy())
    extracted = build_onnx(FeatureExtractor(net), image_shape(net))
    assert extracted.graph.name == "TNT" and "blocks.1.inner_attn.qk/MatMul" in {n.name for n in extracted.graph.node}


def test_the_network_stays_as_it_is():
    net = create_tiny("t2t, performer")
    before = {parameter.name: parameter.asnumpy().copy() for parameter in net.get_parameters()}
    build_onnx(net, image_shape(net), precision="float16")
    for parameter in net.get_parameters():
        np.testing.assert_array_equal(parameter.asnumpy(), before[parameter.name])


def test_unknown_cells_are_refused():
    class Cube(nn.Cell):
        def construct(self, x):
            return ops.pow(x, 3)

    net = create_tiny("tnt")
    net.blocks[0].outer_mlp.act = Cube()
    with pytest.raises(TypeError, match="how a Cube is written as ONNX is not known"):
        build_onnx(net, image_shape(net))
    with pytest.raises(TypeError, match="how a Cube is written"):
        build_onnx(Cube(), (3, 4, 4))


def test_wrong_input_of_the_user(tmp_path, monkeypatch):
    net = create_tiny("tnt")
    with pytest.raises(UserError, match="expected a precision of float32, float16 for an ONNX file, got 'int8'"):
        build_onnx(net, image_shape(net), precision="int8")
    content = build_onnx(net, image_shape(net)).SerializeToString()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cut.onnx is not an ONNX file that ONNX Runtime .* can load"):
        load_onnx(tmp_path / "cut.onnx")
    for name in ("onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(UserError, match="need the package onnx: pip install -r requirements-onnx.txt"):
        build_onnx(net, image_shape(net))
    with pytest.raises(UserError, match="need the package onnxruntime: pip install -r requirements-onnx.txt"):
        load_onnx(tmp_path / "cut.onnx")
