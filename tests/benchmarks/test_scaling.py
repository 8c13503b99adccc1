"""The formulas against numbers that a person can check, and what the script prints."""

import json

import pytest

from benchmarks.scaling import (
    Sizes,
    Table,
    all_reduce_seconds,
    efficiency,
    hiding_batch,
    main,
    rates_of,
    ring_bytes,
    sizes_of,
)
from src.errors import UserError


def test_ring():
    """Each of 4 devices sends 3 + 3 quarters."""
    assert ring_bytes(8.0, 4) == 12.0
    assert [ring_bytes(64.0, n) for n in (2, 8, 64)] == [64.0, 112.0, 126.0]
    assert all_reduce_seconds(8e9, 4, 6e9, messages=1, latency=0.0) == 2.0
    assert all_reduce_seconds(8e9, 4, 6e9, messages=10, latency=0.5) == 7.0


@pytest.mark.parametrize(
    "seconds,rate,overlap,batch", [(0.5, 100, 1, 50), (0.5, 100, 0.5, 100), (0.505, 100, 1, 51), (0, 9, 1, 1)]
)
def test_hiding_batch(seconds, rate, overlap, batch):
    assert hiding_batch(seconds, rate, overlap) == batch


def test_efficiency_without_hiding():
    assert efficiency(0.0, 100, 50) == 1.0
    assert efficiency(0.5, 100, 50) == 0.5


def test_rates_follow_multiply_adds_within_a_family():
    costs = {"tnt_a": 10, "tnt_b": 20, "ptnt_a": 5, "t2t_a": 40}
    all_sizes = [Sizes(name, 1, 1, 0, 0, cost) for name, cost in costs.items()]
    rates = rates_of(all_sizes, {"tnt_a": 100.0, "ptnt_a": 60.0})
    assert rates == {"tnt_a": 100.0, "tnt_b": 50.0, "ptnt_a": 60.0, "t2t_a": 25.0}


def test_sizes_of_published_networks():
    tnt, ptnt = sizes_of("tnt_ti_patch16_224"), sizes_of("ptnt_ti_patch16_192")
    assert (tnt.trainable, tnt.norms, tnt.norm_channels) == (6_076_408, 0, 0)
    assert (ptnt.trainable, ptnt.norms) == (10_578_529, 5)
    assert ptnt.norm_channels == 10 + 5 + 20 + 40 + 80  # of the stem's convolutions
    assert ptnt.multiply_adds == 586_434_560


def test_tables(capsys):
    options = "--devices 2 8 --links 1 --latency 0 --rate ptnt_ti_patch16_192=300 --image_bytes 1e5"
    main(["--models", "ptnt_ti*", *options.split()])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("`ptnt_ti_patch16_192`")]
    gradients, norms, two, eight, images = (line[1:] for line in lines)
    assert gradients == ["10,578,529", gradients[1], "42.3", "42.3", "74.0"]
    kilobytes = 4 * 4 * 155 * 1.75 / 1e3
    assert norms == ["5", "155", "20", f"{kilobytes:.1f}", f"{kilobytes / 1e3:.2f}"]
    # 42.3 ms are the time of 12.7 images; two thirds of the time of 19.04 images hide them
    assert two == ["42.3", "20", "91"]
    assert eight == ["74.0", "34", "85"]  # 128 images take 426.7 ms; 426.7 / 500.7
    assert images == ["300.0", "600", "2,400", "60.0", "240.0"]


def test_half_precision_gradients_and_one_message(capsys):
    main("--models tnt_ti* --devices 2 --links 1 --latency 1 --messages 3 --gradient_bytes 2".split())
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("`tnt_ti")]
    assert rows[0][3:] == ["12.2", "12.2"]
    assert rows[1][1] == "3012.2"


def test_measured_file(tmp_path, capsys):
    content = {"model": "tnt_ti_patch16_224", "arguments": {}, "training": {"images_per_second": 12.5}}
    (tmp_path / "measured.json").write_text(json.dumps(content))
    main("--models tnt_ti* tnt_s_p* --devices 8 --markdown --measured measured.json".split())
    out = capsys.readouterr().out
    assert "| `tnt_ti_patch16_224` | 12.5 | 100 | 11.5 |" in out
    assert "| `tnt_s_patch16_224` | 3.4 * |" in out  # 12.5 * 1.404 / 5.217


def test_plain_and_markdown():
    table = Table("What", ["Name", "n"], [["a", "10"]])
    assert table.plain() == ["What", "Name   n", "a     10", ""]
    assert table.markdown() == ["What:", "", "| Name | n |", "| --- | ---: |", "| a | 10 |", ""]


@pytest.mark.parametrize(
    "options,message",
    [
        (["--devices", "1"], "--devices: expected a number of at least 2 without fraction, got '1'"),
        (["--links", "0"], "--links: expected a number above 0, got '0'"),
        (["--overlap", "1.5"], "--overlap: expected a number above 0 and at most 1, got '1.5'"),
        (["--latency", "nan"], "--latency: expected a number of at least 0, got 'nan'"),
        (["--rate", "tnt_s_patch16_224"], "--rate: expected MODEL=IMAGES/S, got 'tnt_s_patch16_224'"),
        (["--gradient_bytes", "3"], "--gradient_bytes: invalid choice: 3"),
    ],
)
def test_wrong_options(options, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(options)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_what_is_refused(tmp_path):
    with pytest.raises(UserError, match="unknown model 'tnt_s'; did you mean"):
        main(["--rate", "tnt_s=1"])
    with pytest.raises(UserError, match="--models tnt_s: no such network; did you mean"):
        main(["--models", "tnt_s"])
    with pytest.raises(UserError, match="none.json: expected a file that step_time.py --json wrote"):
        main(["--measured", "none.json"])
    other = {"model": "tnt_s_patch16_224", "arguments": {"depth": 4}, "training": {"images_per_second": 1}}
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match="was measured with {'depth': 4}; expected the published network"):
        main(["--measured", "other.json"])
