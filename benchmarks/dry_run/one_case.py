"""Compiles a case on the GPU backend: what runs inside the dry run. one_case.py NAME

Where it is refused, a line says so and why, and the exit code is 1.
"""

import sys
import tempfile
from pathlib import Path

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from mindspore import Tensor  # isort: skip

from benchmarks.device_checks.child import first_line
from benchmarks.dry_run.cases import BATCH_SIZE, FILES, INFERENCE, REFUSED, Case, all_cases
from src.compilation.mixed_precision import set_precision, store_half
from src.config import Config
from src.devices.device import set_up_device
from src.engine.from_config import create_schedule, create_train_step
from src.export.exported_file import load_exported
from src.export.exporter import COMPARED_BATCH_SIZES, Form, write_with_mindspore
from src.layers.cpu_operators import native_operators
from src.tasks import create_task
from src.tasks.task import Task
from src.weights.fine_tuning import freeze


def compile_case(case: Case) -> None:
    """Compiles and runs it on the device that is set up; whatever MindSpore raises is a refusal."""
    config = case.config()
    task = create_task(config)
    task.open_without_data()
    set_up_device("GPU", seed=0, uses_convolution=task.uses_convolution)
    if case.kind in INFERENCE:
        predict(task, INFERENCE[case.kind])
    elif case.kind in FILES:
        load_file(task, *FILES[case.kind])
    else:
        train(config, task)


def predict(task: Task, precision: str) -> None:
    """The predictions of a batch."""
    net = task.create_network(for_training=False)
    set_precision(net, precision, "GPU")
    _wait_for(task.create_predictions(net).set_train(False)(*map(Tensor, task.example_inputs(BATCH_SIZE))))


def train(config: Config, task: Task) -> None:
    """A whole step of training: as many batches as it accumulates."""
    net = task.create_network(for_training=True)
    freeze(net, config.freeze)
    net.set_train()
    images = config.train.batch_size * config.train.accumulate
    step = create_train_step(config, task.create_losses(net), net, create_schedule(config, 100, images))
    batch = tuple(map(Tensor, task.example_batch(config.train.batch_size)))
    for _ in range(config.train.accumulate):
        _wait_for(step(*batch))


def load_file(task: Task, precision: str, batch_size: int | None) -> None:
    """The network written as a MINDIR file, loaded back, and run."""
    net = task.create_network(for_training=False)
    if precision == "float16":
        store_half(net)
    cell = task.create_predictions(net).set_train(False)
    inputs = [Tensor(array) for array in task.example_inputs(1)]
    if batch_size is None:
        inputs = [Tensor(shape=[None, *array.shape[1:]], dtype=array.dtype) for array in inputs]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.mindir"
        with native_operators(cell):
            write_with_mindspore(cell, inputs, file, Form(precision=precision, batch_size=batch_size))
        run = load_exported(file)
        for size in COMPARED_BATCH_SIZES if batch_size is None else (batch_size,):
            run(*task.example_inputs(size))


def _wait_for(outputs: Tensor | tuple[Tensor, ...]) -> None:
    for output in outputs if isinstance(outputs, tuple) else (outputs,):
        output.asnumpy()


def main() -> int:
    try:
        compile_case(all_cases()[sys.argv[1]])
    except Exception as error:  # what MindSpore refuses is the outcome, whatever it raises
        message = first_line(error).partition("- C++ Call Stack")[0].strip()
        print(f"\n{REFUSED}: {type(error).__name__}: {message}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    run_command(main)
