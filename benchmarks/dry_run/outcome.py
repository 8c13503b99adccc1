"""What came out of compiling a case for GPU."""

import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.device_checks.check import module_environment
from benchmarks.dry_run.cases import REFUSED, Case
from benchmarks.dry_run.gpu_process import DryRun, run_dry
from benchmarks.dry_run.kernel_log import CPU, NOWHERE, KernelChoice
from benchmarks.dry_run.stand_ins import StandIns
from src.errors import counted

ON_GPU, ON_CPU = "all on GPU kernels", "on CPU"

SCRIPT = Path(__file__).with_name("one_case.py")


@dataclass(frozen=True)
class Outcome:
    """A case and what came out.

    Attributes:
        case: what was compiled.
        refusal: why there is no graph; empty where there is one.
        choice: of kernels.
    """

    case: Case
    refusal: str = ""
    choice: KernelChoice = field(default_factory=KernelChoice)

    @property
    def state(self) -> str:
        """ON_GPU, ON_CPU or REFUSED."""
        if self.refusal:
            return REFUSED
        return ON_CPU if self.on_cpu else ON_GPU

    @property
    def on_cpu(self) -> list[str]:
        """Operators that a node without a kernel for the GPU has, in alphabetical order."""
        return sorted({use.operator for use in self.choice.uses(CPU, NOWHERE)})

    def __str__(self) -> str:
        if self.state == ON_CPU:
            return f"{counted(len(self.on_cpu), 'operator')} on CPU: {', '.join(self.on_cpu)}"
        return f"{REFUSED}: {self.refusal}" if self.refusal else ON_GPU


def compile_for_gpu(case: Case, cuda: StandIns, seconds: float) -> Outcome:
    """Compiles a case in a process of its own.

    Args:
        case: of `all_cases()`.
        cuda: what stands for CUDA.
        seconds: after which it is given up.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        run = run_dry(cuda, [str(SCRIPT), case.name], seconds, output, module_environment(), Path(folder))
        output.seek(0)
        printed = output.read().decode(errors="replace")
    return Outcome(case, refusal_of(run, printed, seconds), run.choice)


def refusal_of(run: DryRun, printed: str, seconds: float) -> str:
    """Why a process did not compile its case; empty where it did."""
    lines = printed.strip().splitlines()
    last = lines[-1].strip() if lines else "it printed nothing"
    if run.exit_code is None:
        return f"nothing within {seconds:.0f} s"
    if run.exit_code < 0:
        return f"its process was ended by {signal.Signals(-run.exit_code).name}: {last}"
    if run.exit_code:
        begin = f"{REFUSED}: "
        return next((line.removeprefix(begin) for line in reversed(lines) if line.startswith(begin)), last)
    return "" if run.choice.counts else "no graph was compiled for the GPU"
