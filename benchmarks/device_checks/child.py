"""The process of a check: python -m benchmarks.device_checks.child CHECK DEVICE QUICK FIRST FILE

Appends two lines to FILE for each part, from number FIRST on: its name when it begins, what came out when it ended.
"""

import json
import sys
import time
from typing import Any

import numpy as np
from mindspore import Tensor

from src.devices.device import set_up_device
from src.errors import UserError

from . import CHECKS
from .check import FAIL, NOT_APPLICABLE, PASS, REFUSED, STARTS, Measurement, NotApplicable, Part

MOST = 240
"""Characters of a message."""


def first_line(error: Exception) -> str:
    """What an error says, in one line: MindSpore's messages begin with rules and blank lines."""
    lines = (line.strip() for line in str(error).splitlines())
    said = " ".join(line for line in lines if line and not set(line) <= set("-=#"))
    return said[:MOST] + ("..." if len(said) > MOST else "") or type(error).__name__


def run_part(part: Part) -> dict[str, Any]:
    """What came out, as JSON can hold it."""
    since = time.perf_counter()
    try:
        measurement = part()
        found = {
            "state": PASS if measurement.holds else FAIL,
            "difference": measurement.difference,
            "bound": measurement.bound,
            "note": measurement.note,
            "facts": dict(measurement.facts),
        }
    except NotApplicable as reason:
        found = {"state": NOT_APPLICABLE, "note": str(reason)}
    except AssertionError as error:
        found = {"state": FAIL, "note": first_line(error)}
    except UserError as error:
        found = {"state": REFUSED, "note": first_line(error)}
    except Exception as error:  # whatever a device's library raises is a row
        found = {"state": REFUSED, "note": f"{type(error).__name__}: {first_line(error)}"}
    return found | {"seconds": round(time.perf_counter() - since, 2)}


def start() -> Measurement:
    """The first thing that the device computes."""
    found = (Tensor(np.ones(2, np.float32)) + 1.0).asnumpy()
    return Measurement(float(np.abs(found - 2.0).max()), 0.0)


def main(name: str, device: str, quick: str, first: str, file: str) -> None:
    set_up_device(device, seed=0)
    parts = CHECKS[name].parts(device, quick == "quick")
    with open(file, "a", encoding="utf-8") as lines:

        def tell(entry: dict[str, Any]) -> None:
            print(json.dumps(entry), file=lines, flush=True)

        tell({"begins": STARTS})
        started = run_part(start)
        if started["state"] != PASS:
            tell({"part": STARTS, **started})
            parts = {}
        tell({"begins": None})
        for number, (part_name, part) in enumerate(parts.items()):
            if number >= int(first):
                tell({"begins": part_name})
                tell({"part": part_name, **run_part(part)})
        tell({"done": True})


if __name__ == "__main__":
    main(*sys.argv[1:])
