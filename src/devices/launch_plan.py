"""What a launch script is to start: its options, checked, and the command line of MindSpore's launcher `msrun`.

`msrun` starts one process a device, gives each its rank and starts the scheduler through which they find each other. It
is told not to wait for them (--join=False): watching is src/devices/launcher.py's.
"""

import argparse
import inspect
import json
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config import parse_command_line
from ..config.typed_value import shortened
from ..errors import UserError
from ..terminal.script_parser import whole_number

PORT = 8118
"""Where the scheduler listens if several hosts must know it; msrun's own default."""

TCP_ESTABLISHED = "01"  # in /proc/net/tcp
CPU_PROCESSES = 2
FORMATION_SECONDS = 600
"""How long the processes wait for each other at the start; msrun's own default."""

WAIT_FOR_LAUNCHER = Path(__file__).with_name("wait_for_launcher.py")


@dataclass(frozen=True)
class LaunchOptions:
    """The command line of a launch script.

    Args:
        arguments: what is not the launcher's, for train.py or eval.py; always names a --config.
        config: the file that it names.
        devices: processes to start on this host; None for as many as there are devices.
        nnodes: number of hosts.
        node_rank: which of them this is.
        master_addr: name or address of host 0.
        master_port: of the scheduler there; None for any that is free.
        rank_table: JSON file for clusters that need one.
        bind_core: keep each process on processor cores of its own.
        restarts: how often to start again, resuming, after a failure.
    """

    arguments: tuple[str, ...]
    config: str
    devices: int | None
    nnodes: int
    node_rank: int
    master_addr: str
    master_port: int | None
    rank_table: Path | None
    bind_core: bool
    restarts: int


@dataclass(frozen=True)
class LaunchPlan:
    """Everything that decides a start on this host.

    Args:
        program: absolute path of train.py or eval.py.
        arguments: of the program.
        device: 'Ascend', 'GPU' or 'CPU'.
        devices: processes on this host, the same number on every host.
        nnodes, node_rank: number of hosts, and which this is.
        master_addr, master_port: IPv4 address and port of the scheduler, which runs on host 0.
        logs: absolute path of the folder for the logs.
        rank_table, bind_core: as in LaunchOptions.
    """

    program: Path
    arguments: tuple[str, ...]
    device: str
    devices: int
    nnodes: int
    node_rank: int
    master_addr: str
    master_port: int
    logs: Path
    rank_table: Path | None = None
    bind_core: bool = False

    @property
    def ranks(self) -> range:
        """Those on this host."""
        return range(self.node_rank * self.devices, (self.node_rank + 1) * self.devices)

    def log_of(self, rank: int | None) -> Path:
        """Where a rank writes; None is the scheduler."""
        return self.logs / ("scheduler.log" if rank is None else f"worker_{rank}.log")


def parse_launch_options(script: str, argv: Sequence[str], can_resume: bool) -> LaunchOptions:
    """Splits the command line of a launch script into its own options and those of the program.

    Args:
        script: name of the script, for messages.
        argv: what follows it.
        can_resume: whether the program knows --resume, so that --restarts makes sense.

    Raises:
        UserError: a wrong or missing option.
    """
    parser = _Parser(prog=script, add_help=False, allow_abbrev=False)
    parser.add_argument("--devices", type=whole_number(1, 1024))
    parser.add_argument("--hosts", type=_hosts)
    parser.add_argument("--nnodes", type=whole_number(1, 65536))
    parser.add_argument("--node_rank", type=whole_number(0, 65535))
    parser.add_argument("--master_addr")
    parser.add_argument("--master_port", type=whole_number(1024, 65535))
    parser.add_argument("--rank_table", type=_json_file)
    parser.add_argument("--bind_core", action="store_true")
    if can_resume:
        parser.add_argument("--restarts", type=whole_number(0, 10**6), default=0)
    own, arguments = parser.parse_known_args(list(argv))
    if own.bind_core and shutil.which("taskset") is None:
        raise UserError(f"{script}: --bind_core: needs the command taskset (in the package util-linux), found none")
    nnodes, node_rank, master_addr = _place_among_hosts(script, own)
    config = _config_of(arguments)
    if config is None:
        config = str(_repository() / _default_config())
        arguments = ["--config", config, *arguments]
    return LaunchOptions(
        tuple(arguments),
        config,
        own.devices,
        nnodes,
        node_rank,
        master_addr,
        own.master_port,
        own.rank_table,
        own.bind_core,
        own.restarts if can_resume else 0,
    )


def msrun_command(plan: LaunchPlan, launcher: int, python: str = sys.executable) -> list[str]:
    """The command line that starts the processes of this host, and the scheduler on host 0.

    Args:
        plan: what to start.
        launcher: id of the process that will watch them.
        python: interpreter for all of them.
    """
    command = [python, "-m", "mindspore.parallel.cluster.run"]  # what the command msrun is, in this interpreter
    command += [f"--worker_num={plan.nnodes * plan.devices}", f"--local_worker_num={plan.devices}"]
    command += [f"--master_addr={plan.master_addr}", f"--master_port={plan.master_port}"]
    if plan.nnodes > 1:
        command.append(f"--node_rank={plan.node_rank}")
    command += [f"--log_dir={plan.logs}", "--join=False", f"--cluster_time_out={FORMATION_SECONDS}"]
    if plan.bind_core:
        command.append("--bind_core=True")
    if plan.rank_table is not None:
        command.append(f"--rank_table_file={plan.rank_table}")
    # msrun starts nothing but 'python' and 'python3' of the PATH; WAIT_FOR_LAUNCHER goes on to the right interpreter
    adopted = ["python3", "-I", "-S", str(WAIT_FOR_LAUNCHER), str(launcher), str(plan.node_rank), python]
    return [*command, *adopted, str(plan.program), *plan.arguments]


def process_environment(plan: LaunchPlan, environment: Mapping[str, str], cores: int) -> dict[str, str]:
    """Environment of msrun and of what it starts.

    Args:
        plan: what to start.
        environment: of this process.
        cores: processor cores that it may use, shared among the processes where they are the device.
    """
    defaults = {"PYTHONUNBUFFERED": "1", "GLOG_v": "4"}  # GLOG_v as in src.terminal.command
    if plan.device == "CPU":
        defaults["OMP_NUM_THREADS"] = str(max(1, cores // plan.devices))
    return {**defaults, **environment}


def resuming(arguments: Sequence[str], before: object = None, now: object = None) -> tuple[str, ...]:
    """Arguments of train.py to go on with the run that `arguments` began.

    Where nothing was saved since, `--resume` alone would train from scratch in place of going on from the checkpoint
    that they name, or go on with the run that they wanted overwritten: then they stay.

    Args:
        arguments: of the first start.
        before, now: what tells whether the run's last checkpoint is another one than before the first start, see
            `src.files.file_lock.stamp`; None where there is none.
    """
    names_path = any(
        argument.startswith("--resume=") or (argument == "--resume" and not (after or "--").startswith("--"))
        for argument, after in zip(arguments, (*arguments[1:], None), strict=True)
    )
    if before == now and (names_path or ("--overwrite" in arguments and now is not None)):
        return tuple(arguments)
    kept: list[str] = []
    for before, argument in zip(("", *arguments), arguments, strict=False):
        is_path_to_resume = before == "--resume" and not argument.startswith("--")
        if argument.partition("=")[0] not in ("--resume", "--overwrite") and not is_path_to_resume:
            kept.append(argument)
    return (*kept, "--resume")


def free_port() -> int:
    """A port that nobody on this host listens on."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        return listener.getsockname()[1]


def is_connected(port: int) -> bool:
    """Whether anybody has a connection to `port` of this host (Linux)."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for local, _, state in (line.split()[1:4] for line in lines):
            if int(local.rpartition(":")[2], 16) == port and state == TCP_ESTABLISHED:
                return True
    return False


def is_free(port: int) -> bool:
    """Whether nobody on this host listens on `port`."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
        except OSError:
            return False
    return True


def is_own_address(host: str) -> bool:
    """Whether a name or an address is one of this host's."""
    try:
        address = socket.gethostbyname(host)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise UserError(f"{self.prog}: {shortened(message.removeprefix('argument '), 300)}; see --help")


def _place_among_hosts(script: str, own: argparse.Namespace) -> tuple[int, int, str]:
    """Number of hosts, which of them this is, and host 0."""
    if own.hosts is not None:
        for name in ("nnodes", "master_addr"):
            if getattr(own, name) is not None:
                raise UserError(f"{script}: --{name}: leave it out, --hosts says it already")
        nnodes, master_addr, node_rank = len(own.hosts), own.hosts[0], own.node_rank
        if node_rank is None:
            found = [rank for rank, host in enumerate(own.hosts) if is_own_address(host)]
            if len(found) != 1:
                raise UserError(
                    f"{script}: --node_rank is missing: expected one of --hosts {','.join(own.hosts)} to be this host, "
                    f"{socket.gethostname()}, found {len(found)}"
                )
            node_rank = found[0]
    else:
        given = [f"--{name}" for name in ("node_rank", "master_addr") if getattr(own, name) is not None]
        if own.nnodes is None and given:
            raise UserError(f"{script}: --nnodes is missing: {' and '.join(given)} need the number of hosts")
        nnodes, node_rank, master_addr = own.nnodes or 1, own.node_rank, own.master_addr
        if nnodes == 1:
            node_rank, master_addr = node_rank or 0, master_addr or "127.0.0.1"
        if node_rank is None:
            raise UserError(f"{script}: --node_rank is missing: say which of the {nnodes} hosts this is, from 0")
        if master_addr is None:
            raise UserError(f"{script}: --master_addr is missing: give the name or address of host 0")
    if node_rank >= nnodes:
        raise UserError(f"{script}: --node_rank: expected 0 to {nnodes - 1} for {nnodes} hosts, got {node_rank}")
    return nnodes, node_rank, master_addr


def _hosts(text: str) -> list[str]:
    hosts = text.split(",")
    if not all(hosts) or len(set(hosts)) < len(hosts):
        raise argparse.ArgumentTypeError(f"expected different names or addresses, as in node0,node1, got '{text}'")
    return hosts


def _json_file(text: str) -> Path:
    try:
        json.loads(Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"expected a JSON file, got '{text}': {error}") from None
    return Path(text).resolve()


def _config_of(arguments: Sequence[str]) -> str | None:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    return parser.parse_known_args(list(arguments))[0].config


def _default_config() -> str:
    return inspect.signature(parse_command_line).parameters["default_config"].default


def _repository() -> Path:
    return Path(__file__).resolve().parents[2]
