"""Run a program that dies with its parent: `tether.py SIGNAL PARENT USER_ID GROUP_ID PROGRAM [ARGUMENT …]`.

A script and not a `preexec_fn`, which is not safe in a process with threads. It becomes the program, so nothing stands
between; the program is a whole path, for the new identity may not be able to read even Python's library. The ids are
"-" to stay who we are; dropping them must come before the tie, because a change of identity cuts it. Linux only:
elsewhere the kernel offers no such tie, and only an orderly stop ends the children.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(signal_number: str, parent: str, user: str, group: str, *command: str) -> None:
    """Replace this process by the command."""
    if user != "-":
        os.setgroups([])
        os.setgid(int(group))
        os.setuid(int(user))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal_number))
        if os.getppid() != int(parent):
            sys.exit(1)
    os.execve(command[0], command, os.environ)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
