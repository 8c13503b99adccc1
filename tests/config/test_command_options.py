"""Options of the commands themselves, besides the configuration's."""

from functools import partial

import pytest

import predict
import visualize
from src.config import parse_command_line
from src.errors import UserError


def test_options_of_commands_have_bounds():
    line = partial(parse_command_line, "predict.py", "", predict.PredictOptions)
    for option in ("top_k", "batch_size"):
        for number in (0, -1, 10**6 + 1, 10**30):
            with pytest.raises(UserError, match=rf"^predict\.py: {option} is {number}: expected from 1 to 1000000$"):
                line([f"--{option}", str(number), "a.png"])
    with pytest.raises(
        UserError, match=r"^predict\.py: images is xxx.*: expected a path of 1 to 3500 bytes, names of at"
    ):
        line(["x" * 256])
    assert line(["a\udcff\n.png"]).options.images == ["a\udcff\n.png"]  # files have the names that they have
    point = partial(parse_command_line, "visualize.py", "", visualize.VisualizeOptions)
    assert point(["--point", "[0.5, 1]"]).options.point == (0.5, 1.0)
    for text in ("[0.5, 1.1]", "[.nan, 0]", "[-1, 0]"):
        with pytest.raises(UserError, match=r"^visualize\.py: point is .*: expected from 0 to 1$"):
            point(["--point", text])
