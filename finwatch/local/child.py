"""A child process that ends with its parent, also when the parent is killed with -9.

Run as a file: `python -I -S child.py PARENT_PID PROGRAM ARGUMENT...`. It asks the kernel to kill it when its parent
ends (Linux), then becomes PROGRAM. That is done after exec, not in a preexec_fn: the parent runs librdkafka's threads,
and Python code between fork and exec of such a process may hang. It imports nothing of finwatch for the same reason
that it is started with -S: 15 ms instead of 300.

Where the kernel has no such wish (macOS), processes of finwatch follow their parent by their standard input
(`follow_parent`), and what another program leaves is ended when the directory is opened next.
"""

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1
FOLLOW = "FINWATCH_FOLLOW_STDIN"
"""Environment variable by which the supervisor says that standard input is a pipe it holds open."""


def follow_parent() -> None:
    """End this process at once when the pipe on standard input is closed, if the supervisor has given it one."""
    if os.environ.pop(FOLLOW, "") != "1":
        return

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _become(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        # The wish is about the thread that started us: the supervisor starts children from a thread that lasts.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:  # it ended before the wish was known
            sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 a list, no shell
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
