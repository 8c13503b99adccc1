"""What the launch scripts run: python scripts/launch.py train.py|eval.py SCRIPT [ARGUMENT ...]"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.terminal.command import run_command  # first: it lets Ctrl-C end this while it is importing

from src.devices.launcher import launch  # isort: skip


def main() -> int:
    program, script, *arguments = sys.argv[1:]
    return launch(script, Path(__file__).resolve().parent.parent / program, arguments)


if __name__ == "__main__":
    run_command(main)
