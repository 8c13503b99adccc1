"""Trains a network: python train.py --config config/demo/ptnt_digits.yaml"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.config import dump_config, parse_command_line  # isort: skip
from src.devices.ranks import serve_if_scheduler
from src.engine.run_folder import RunFolder
from src.engine.training import Training, check_start
from src.terminal.outcome import next_line, written_line
from src.terminal.progress import tell_line


@dataclass
class TrainOptions:
    """How to start.

    Args:
        resume: continue a run: 'auto' (or nothing) from the folder's last checkpoint where there is one, or a path.
        overwrite: delete the run that the folder already holds, and start anew.
        allow_changes: resume also with a configuration that differs from the run's.
        profile: record a profile of a few steps after the first.
        check: start nothing; look whether configuration, data, folder and packages are as a run needs them, and print
            the resulting configuration.
    """

    resume: str = field(default="never", metadata={"bare": "auto"})
    overwrite: bool = False
    allow_changes: bool = False
    profile: bool = False
    check: bool = False


def main(argv: Sequence[str] | None = None) -> None:
    serve_if_scheduler()
    config, options, name, _ = parse_command_line(
        "train.py", "Trains a network and keeps its last and its best checkpoint.", TrainOptions, argv
    )
    folder = RunFolder(config.output, name)
    if options.check:
        check_start(config, folder, options.resume, options.overwrite, options.allow_changes)
        print(dump_config(config), end="")
        return
    training = Training(config, folder, options.resume, options.overwrite, options.allow_changes, options.profile)
    scores = training.run()
    if training.ranks.is_first:
        if scores is not None:
            tell_line(written_line(folder.path, ", ".join(folder.contents())))
        tell_line(next_line("eval.py", "--config", folder.config))


if __name__ == "__main__":
    run_command(main)
