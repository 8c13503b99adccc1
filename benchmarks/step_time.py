"""Times a network: python benchmarks/step_time.py tnt_s_patch16_224 --batch_size 8, or a detector, or one of a file:
python benchmarks/step_time.py --config config/demo/mask_rcnn_scenes.yaml

Inference and training are measured one after the other, each in a process of its own, so that compilation is cold and
the peak of resident memory is that of one of them (of the host: a GPU's or NPU's own memory is not in it). Training is
one whole step of the recipe: forward, loss, gradients, AdamW. A detector's inference ends with its boxes and masks.
With --recompute training is measured again with recomputed blocks (`train.recompute`). With --starts two more
processes train a step each, the second with the compiler cache that the first one left. With --operators more processes
run a few steps under MindSpore's profiler, which slows them.

- compile time: the first call minus a later one.
- step time: the median of several steps after warm-up, from input tensors to the result on the host.
- share: multiply-adds / step time / rate, where rate is what this machine reaches in a plain matrix product: the best
  of 20 NumPy `a @ b`, float32, 2048 x 2048, with the same number of threads, between the steps. Training counts three
  times the forward's multiply-adds; src/complexity/count.py says what counts as one. MindSpore's own matrix product is
  timed in the same way.

Only figures from an otherwise idle machine mean anything. Linux only (resident memory is read from /proc).
"""

import argparse
import csv
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

import mindspore as ms  # isort: skip
import numpy as np
from mindspore import nn, ops

from benchmarks.timed.loop import SIDE, peak_memory
from src.compilation.compiler_cache import CompilerCache
from src.complexity.count import count
from src.config import Config, DataConfig, ModelConfig, TrainConfig, load_config
from src.config.yaml_file import parse_yaml
from src.detection import list_detectors
from src.devices.device import current_device, set_up_device
from src.devices.versions import describe_environment
from src.engine.from_config import create_train_step
from src.errors import UserError
from src.files.json_file import write_json
from src.files.output_file import check_output_file
from src.models import get_variant
from src.rule import Precision
from src.tasks import create_task

WARM_UP_STEPS = 2
PAUSE = 0.1
"""Seconds between the two libraries: after its work, the threads of one stay busy for a while, waiting for more."""

PROFILED_STEPS = 5
SHOWN_OPERATORS = 20

KINDS = {"inference": 1, "training": 3, "recomputed": 3}
"""What is measured, and its multiply-adds as a multiple of the forward's; those of recomputing do not count."""


@dataclass(frozen=True)
class Measurement:
    """Inference or training of one network.

    Attributes:
        device: where it ran.
        image_size: (height, width) in pixels.
        multiply_adds: of one step, all images of the batch.
        compile_seconds: first call minus a later one.
        step_seconds: median.
        times: seconds of each step.
        images_per_second: batch size / step time.
        peak_memory_bytes: most resident memory of the process, compilation included.
        numpy_rate, mindspore_rate: multiply-adds a second of the best matrix product.
        share: of NumPy's rate.
    """

    device: str
    image_size: tuple[int, int]
    multiply_adds: int
    compile_seconds: float
    step_seconds: float
    times: list[float]
    images_per_second: float
    peak_memory_bytes: int
    numpy_rate: float
    mindspore_rate: float
    share: float


def measure(
    kind: str,
    model: str,
    arguments: dict[str, Any],
    batch_size: int,
    num_steps: int,
    num_products: int,
    device: str | None,
    precision: Precision = "float32",
) -> Measurement:
    """Measures one of `KINDS`. Meant for a fresh process.

    Args:
        kind: 'inference', 'training' or 'recomputed'.
        model: one of `list_models()` or `list_detectors()`.
        arguments: of the network, and other keys of the section `model`.
        batch_size: images a step.
        num_steps: steps that are timed.
        num_products: matrix products of each library that are timed between them.
        device: CPU, GPU or Ascend; what is there when None.
        precision: of the matrix products.

    Raises:
        UserError: the network cannot be built, or the device is not there, or has not the precision.
    """
    cell, inputs, net = build(kind, model, arguments, batch_size, device, precision)
    multiply_adds = KINDS[kind] * batch_size * count(net).total

    def step():
        _to_host(cell(*inputs))

    _tell(kind, "compiling")
    first, *_ = _time(step, 1 + WARM_UP_STEPS)
    peak_bytes = peak_memory()  # before the matrices below add theirs

    a, b = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32)
    tensor_a, tensor_b, matmul = ms.Tensor(a), ms.Tensor(b), ops.MatMul()
    times, numpy_times, mindspore_times = [], [], []
    for i in range(num_steps):
        due = num_products * (i + 1) // num_steps - num_products * i // num_steps  # spread evenly over the steps
        times += _time(step, 1)
        numpy_times += _time(lambda: a @ b, due)
        mindspore_times += _time(lambda: matmul(tensor_a, tensor_b).asnumpy(), due)
        _tell(kind, f"step {i + 1} of {num_steps}, {times[-1]:.4g} s")

    step_seconds = statistics.median(times)
    numpy_rate = SIDE**3 / min(numpy_times)
    return Measurement(
        device=current_device(),
        image_size=tuple(inputs[0].shape[2:]),
        multiply_adds=multiply_adds,
        compile_seconds=first - step_seconds,
        step_seconds=step_seconds,
        times=times,
        images_per_second=batch_size / step_seconds,
        peak_memory_bytes=peak_bytes,
        numpy_rate=numpy_rate,
        mindspore_rate=SIDE**3 / min(mindspore_times),
        share=multiply_adds / step_seconds / numpy_rate,
    )


def measure_start(
    model: str, arguments: dict[str, Any], batch_size: int, device: str | None, precision: Precision, cache: Path
) -> tuple[float, str]:
    """Seconds from here to the first finished step of training, and how it got its graph. Meant for a fresh process.

    Args:
        model, arguments, batch_size, device, precision: see `measure`.
        cache: folder of the compiler cache.
    """
    since = time.perf_counter()
    cell, inputs, _ = build("training", model, arguments, batch_size, device, precision)
    line = CompilerCache(cache, "training_step", {"batch_size": batch_size}).compile("training_step", cell, *inputs)
    _to_host(cell(*inputs))
    return time.perf_counter() - since, line


def measure_operators(
    kind: str, model: str, arguments: dict[str, Any], batch_size: int, device: str | None, precision: Precision
) -> dict[str, float]:
    """Milliseconds of a step for each kind of operator that the host ran, the most first; see `measure`.

    Raises:
        UserError: as `measure`; MindSpore's profiler recorded no operators of the host.
    """
    cell, inputs, _ = build(kind, model, arguments, batch_size, device, precision)
    for _ in range(1 + WARM_UP_STEPS):
        _to_host(cell(*inputs))
    with tempfile.TemporaryDirectory() as folder:
        profiler = ms.Profiler(output_path=folder)
        for _ in range(PROFILED_STEPS):
            _to_host(cell(*inputs))
        profiler.analyse()
        table = next(Path(folder).rglob("cpu_op_type_info_*.csv"), None)
        if table is None:
            raise UserError("--operators: MindSpore's profiler recorded no operators of the CPU")
        rows = list(csv.DictReader(table.read_text().splitlines()))
    times = {row["op_type"]: float(row["total_compute_time"]) / PROFILED_STEPS for row in rows}
    return dict(sorted(times.items(), key=lambda item: -item[1]))


def build(
    kind: str,
    model: str,
    arguments: dict[str, Any],
    batch_size: int,
    device: str | None,
    precision: Precision = "float32",
) -> tuple[nn.Cell, tuple[ms.Tensor, ...], nn.Cell]:
    """What to call, with what, and the network in it."""
    structure = dict(arguments)
    settings = {key.name: structure.pop(key.name) for key in fields(ModelConfig) if key.name in structure}
    config = Config(
        model=ModelConfig(name=model, structure=structure, **settings),
        data=DataConfig(source="coco" if model in list_detectors() else "folder"),
        train=TrainConfig(batch_size=batch_size, recompute=kind == "recomputed", precision=precision),
    )
    task = create_task(config)
    task.open_without_data()
    for line in set_up_device(device, config.seed, task.uses_convolution):
        _tell(kind, line)
    net = task.create_network(for_training=kind != "inference")
    if kind == "inference":
        inputs = tuple(map(ms.Tensor, task.example_inputs(batch_size)))
        return task.create_predictions(net).set_train(False), inputs, net
    batch = tuple(map(ms.Tensor, task.example_batch(batch_size)))
    return create_train_step(config, task.create_losses(net), net, config.optimizer.lr), batch, net


def _to_host(outputs: ms.Tensor | tuple[ms.Tensor, ...]) -> None:
    for output in outputs if isinstance(outputs, tuple) else (outputs,):
        output.asnumpy()


def _time(action: Callable[[], Any], repetitions: int) -> list[float]:
    """Seconds of each repetition."""
    time.sleep(PAUSE)
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return seconds


def _tell(kind: str, line: str) -> None:
    print(f"{kind}: {line}", flush=True)


def _in_new_process(function: Callable, *arguments: Any) -> Any:
    """What a function of this file returns there.

    Not by `multiprocessing`, and with Python's own view of the environment: importing MindSpore sets
    OMP_NUM_THREADS=1 behind Python's back, and new processes would inherit it."""
    with tempfile.TemporaryDirectory() as folder:
        task, result = Path(folder) / "task", Path(folder) / "result"
        task.write_bytes(pickle.dumps((function.__name__, *arguments)))
        script = Path(folder) / "script.py"  # a file, because the compiler cache reads what was started
        script.write_text(
            "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
            "from benchmarks import step_time\n"
            "step_time.run_task(Path(sys.argv[2]), Path(sys.argv[3]))\n"
        )
        ended = subprocess.run(
            [sys.executable, str(script), str(Path(__file__).resolve().parent.parent), str(task), str(result)],
            env=dict(os.environ),
        )
        if not result.exists():
            raise UserError(
                f"the process of {arguments[0]} ended with {ended.returncode}; if memory ran out, lower --batch_size"
            )
        outcome = pickle.loads(result.read_bytes())
    if isinstance(outcome, UserError):
        raise outcome
    return outcome


def run_task(task: Path, result: Path) -> None:
    """Calls the function whose name and arguments are pickled in `task`; its result, or what the user did wrong, goes
    to `result`."""
    try:
        name, *arguments = pickle.loads(task.read_bytes())
        outcome = globals()[name](*arguments)
    except UserError as error:
        outcome = error
    result.write_bytes(pickle.dumps(outcome))


def _table(measurements: dict[str, Measurement]) -> list[str]:
    rows = [
        ("compile time", lambda m: f"{m.compile_seconds:.2f} s"),
        ("step time, median", lambda m: f"{m.step_seconds:.4g} s"),
        ("images a second", lambda m: f"{m.images_per_second:.2f}"),
        ("peak resident memory", lambda m: f"{m.peak_memory_bytes / 2**20:,.0f} MiB"),
        ("multiply-adds a step", lambda m: f"{m.multiply_adds:,}"),
        ("matrix product, NumPy", lambda m: f"{m.numpy_rate / 1e9:.1f} G/s"),
        ("matrix product, MindSpore", lambda m: f"{m.mindspore_rate / 1e9:.1f} G/s"),
        ("share of NumPy's rate", lambda m: f"{m.share:.3f}"),
    ]
    lines = [f"{'':26}" + "".join(f"{kind:>20}" for kind in measurements)]
    return lines + [f"{name:26}" + "".join(f"{show(m):>20}" for m in measurements.values()) for name, show in rows]


def operator_table(operators: dict[str, dict[str, float]]) -> list[str]:
    """Lines for the operators that take longest, from what `measure_operators` gave for each kind of measurement."""
    sums = {kind: sum(times.values()) for kind, times in operators.items()}
    names = sorted({name for times in operators.values() for name in times})
    names.sort(key=lambda name: -max(times.get(name, 0.0) for times in operators.values()))
    lines = [f"{'ms of a step':26}" + "".join(f"{kind:>20}" for kind in operators)]
    for name in names[:SHOWN_OPERATORS]:
        lines.append(f"{name:26}" + "".join(f"{times.get(name, 0.0):>20.1f}" for times in operators.values()))
    return [*lines, f"{'all operators':26}" + "".join(f"{total:>20.1f}" for total in sums.values())]


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="step_time.py", description="Times inference and a training step of a network, each in a new process."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("model", metavar="MODEL", nargs="?", help="variant or detector, such as tnt_s_patch16_224")
    what.add_argument("--config", metavar="FILE", type=Path, help="take the network of its section 'model'")
    parser.add_argument("--batch_size", type=_positive, default=8, help="images a step (default 8)")
    parser.add_argument(
        "--image_size", type=_positive, nargs="+", metavar="SIDE", help="side, or height and width; published if absent"
    )
    parser.add_argument(
        "--structure",
        type=_key_and_value,
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="further arguments of the network, values in YAML: depth=4 outer_dim=96 se=true 'inner_blocks=[1, 2]'",
    )
    parser.add_argument("--threads", type=_positive, help="of NumPy and of MindSpore; their own choice if absent")
    parser.add_argument("--device", choices=("CPU", "GPU", "Ascend"), help="what is there if absent")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32", help="of the matrix products")
    parser.add_argument("--steps", type=_positive, default=10, help="steps that are timed (default 10)")
    parser.add_argument("--products", type=_positive, default=20, help="matrix products that are timed (default 20)")
    parser.add_argument("--recompute", action="store_true", help="measure training with recomputed blocks too")
    parser.add_argument("--starts", action="store_true", help="measure a first and a second start of training too")
    parser.add_argument("--operators", action="store_true", help="show the time of each kind of operator too (CPU)")
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _key_and_value(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    try:
        return key, parse_yaml(value, "expected a value in YAML")
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    model, arguments = options.model, dict(options.structure)
    if options.config is not None:
        own = load_config(options.config).model
        given = {key.name: getattr(own, key.name) for key in fields(own) if getattr(own, key.name) != key.default}
        model = given.pop("name")
        arguments = {**given.pop("structure", {}), **given, **arguments}
    elif model not in list_detectors():
        get_variant(model)
    if options.json is not None:
        check_output_file(options.json)
    if options.image_size is not None:
        sides = options.image_size
        arguments["image_size"] = sides[0] if len(sides) == 1 else tuple(sides)
    if options.threads is not None:
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[variable] = str(options.threads)  # read when the new processes load MindSpore and NumPy
    sizes = (options.batch_size, options.steps, options.products)
    kinds = [kind for kind in KINDS if kind != "recomputed" or options.recompute]
    where = options.device, options.precision
    measurements = {kind: _in_new_process(measure, kind, model, arguments, *sizes, *where) for kind in kinds}
    operators = {}
    if options.operators:
        batch = (model, arguments, options.batch_size, *where)
        operators = {kind: _in_new_process(measure_operators, kind, *batch) for kind in kinds}
    starts = []
    if options.starts:
        with tempfile.TemporaryDirectory() as cache:
            start = (model, arguments, options.batch_size, *where, Path(cache))
            starts = [_in_new_process(measure_start, *start) for _ in range(2)]
    inference = measurements["inference"]
    height, width = inference.image_size
    threads = os.environ.get("OMP_NUM_THREADS", f"all of {len(os.sched_getaffinity(0))}")
    print(
        f"\n{model}, batch of {options.batch_size}, {height} x {width} pixels, {options.precision}, "
        f"{inference.device}, threads: {threads}\n"
    )
    print("\n".join(_table(measurements)))
    for seconds, line in starts:
        print(f"from the end of imports to the first finished step of training: {seconds:.1f} s ({line})")
    if operators:
        print("", *operator_table(operators), sep="\n")
    if options.json is not None:
        content = {
            "model": model,
            "arguments": arguments,
            "batch_size": options.batch_size,
            "threads": threads,
            **{kind: asdict(measurement) for kind, measurement in measurements.items()},
            "operator_milliseconds": operators,
            "start_seconds": [seconds for seconds, _ in starts],
            "environment": describe_environment(inference.device),
        }
        write_json(options.json, content)


if __name__ == "__main__":
    run_command(main)
