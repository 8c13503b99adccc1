"""Stands between msrun and a process of a run: waits until the launcher has adopted it, then becomes the program.

    python3 -I -S wait_for_launcher.py LAUNCHER NODE_RANK PYTHON PROGRAM [ARGUMENT ...]

msrun ends when it has started everybody, and the kernel makes the launcher (process LAUNCHER) their parent. From then
on it also kills this process when the launcher dies, however that happens: nothing is left behind. Needs only Python's
own library, because msrun starts it with whatever python3 is on the PATH.
"""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1

SCHEDULER = "import mindspore; mindspore.communication.init('mccl')"  # returns, or exits, when all ranks have left


def main() -> None:
    launcher, node_rank, python, *program = sys.argv[1:]
    starter = os.getppid()
    while os.getppid() != int(launcher):
        if os.getppid() != starter:
            sys.exit(f"error: expected process {launcher} as parent, got {os.getppid()}: the launcher is gone")
        time.sleep(0.01)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(launcher):
        sys.exit("error: the launcher is gone")
    os.kill(os.getpid(), signal.SIGSTOP)  # until the launcher has read who this is
    if os.environ["MS_ROLE"] == "MS_SCHED":
        # msrun starts a scheduler wherever it finds the address to be its own; one process alone needs none
        if node_rank != "0" or os.environ["MS_WORKER_NUM"] == "1":
            return
        program = ["-c", SCHEDULER]
    os.execv(python, [python, *program])


if __name__ == "__main__":
    main()
