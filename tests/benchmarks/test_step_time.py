"""The benchmark prints what it says, and its figures follow from each other; no time is tested."""

import json
import os
import statistics
from pathlib import Path

import pytest

from benchmarks.step_time import main, measure_operators, operator_table
from src.complexity.count import count
from src.errors import UserError
from src.models import create_model

STRUCTURE = {"depth": 1, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 16, "outer_num_heads": 2, "num_classes": 5}
FIELDS = [
    "compile time",
    "step time, median",
    "images a second",
    "peak resident memory",
    "multiply-adds a step",
    "matrix product, NumPy",
    "matrix product, MindSpore",
    "share of NumPy's rate",
]


@pytest.fixture(autouse=True)
def environment_comes_back(monkeypatch):
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(variable, os.environ.get(variable, "1"))


def test_table_and_json(capfd):
    structure = [f"{key}={value}" for key, value in STRUCTURE.items()]
    options = "--batch_size 2 --image_size 32 48 --threads 1 --steps 3 --products 2 --device CPU --json out.json"
    more = ["--recompute", "--starts", "--structure", *structure, "inner_blocks=[]"]
    main(["tnt_s_patch16_224", *options.split(), *more])

    result = json.loads(Path("out.json").read_text())
    net = create_model("tnt_s_patch16_224", **STRUCTURE, inner_blocks=[], image_size=(32, 48))
    assert result["arguments"] == {**STRUCTURE, "inner_blocks": [], "image_size": [32, 48]}
    assert (result["batch_size"], result["threads"], result["environment"]["device"]) == (2, "1", "CPU")
    for kind, factor in (("inference", 1), ("training", 3), ("recomputed", 3)):
        measured = result[kind]
        assert measured["image_size"] == [32, 48]
        assert measured["multiply_adds"] == factor * 2 * count(net).total
        assert len(measured["times"]) == 3
        assert measured["step_seconds"] == statistics.median(measured["times"])
        assert measured["images_per_second"] == pytest.approx(2 / measured["step_seconds"])
        rate = measured["multiply_adds"] / measured["step_seconds"]
        assert measured["share"] == pytest.approx(rate / measured["numpy_rate"])
        assert measured["compile_seconds"] > 0 and measured["mindspore_rate"] > 0
        assert 100 * 2**20 < measured["peak_memory_bytes"] < 16 * 2**30  # Python with MindSpore takes over 100 MiB

    lines = capfd.readouterr().out.splitlines()
    for kind in ("inference", "training", "recomputed"):
        assert f"{kind}: compiling" in lines
        assert [line for line in lines if line.startswith(f"{kind}: step 3 of 3, ")]
    assert "tnt_s_patch16_224, batch of 2, 32 x 48 pixels, float32, CPU, threads: 1" in lines
    first, second = lines[-2:]
    assert first.startswith("from the end of imports to the first finished step of training: ")
    assert "graph training_step compiled in" in first and "graph training_step read from the compiler cache" in second
    assert len(result["start_seconds"]) == 2 and min(result["start_seconds"]) > 0
    lines = lines[:-2]
    assert lines[-9].split() == ["inference", "training", "recomputed"]
    for field, line in zip(FIELDS, lines[-8:], strict=True):
        assert line.startswith(field)
        assert len(line.removeprefix(field).replace(" s", "").replace(" MiB", "").replace(" G/s", "").split()) == 3
    assert f"{result['inference']['multiply_adds']:,}" in lines[-4]
    assert f"{result['training']['share']:.3f}" in lines[-1]


def test_operators(capsys):
    arguments = {**STRUCTURE, "image_size": 32}
    inference = measure_operators("inference", "tnt_s_patch16_224", arguments, 2, "CPU", "float32")
    assert list(inference.values()) == sorted(inference.values(), reverse=True)
    assert {"MatMul", "BatchMatMul", "Transpose"} <= inference.keys()


def test_operator_table():
    table = operator_table({"inference": {"MatMul": 2.0, "Erf": 1.0}, "training": {"AdamWeightDecay": 4.0, "Erf": 3.0}})
    assert [line.split() for line in table] == [
        ["ms", "of", "a", "step", "inference", "training"],
        ["AdamWeightDecay", "0.0", "4.0"],
        ["Erf", "1.0", "3.0"],
        ["MatMul", "2.0", "0.0"],
        ["all", "operators", "3.0", "7.0"],
    ]


def test_wrong_input_in_the_new_process_is_a_user_error(capfd):
    with pytest.raises(UserError, match="tnt_s_patch16_224 has no argument 'dept'; did you mean depth"):
        main(["tnt_s_patch16_224", "--structure", "dept=1"])


@pytest.mark.parametrize(
    "options,message",
    [
        ([], "one of the arguments MODEL --config is required"),
        (["tnt_s_patch16_224", "--batch_size", "0"], "--batch_size: expected a whole number of at least 1, got '0'"),
        (["tnt_s_patch16_224", "--image_size", "32.0"], "expected a whole number of at least 1, got '32.0'"),
        (["tnt_s_patch16_224", "--structure", "depth"], "--structure: expected KEY=VALUE, got 'depth'"),
        (
            ["tnt_s_patch16_224", "--structure", "depth=["],
            "--structure: expected a value in YAML: not valid YAML in line 1",
        ),
    ],
)
def test_wrong_options(options, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(options)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_what_is_refused_before_anything_runs():
    with pytest.raises(UserError, match="unknown model 'tnt_s'; did you mean"):
        main(["tnt_s"])
    with pytest.raises(UserError, match="cannot write missing/out.json"):
        main(["tnt_s_patch16_224", "--json", "missing/out.json"])
