"""The last steps before a server's program runs: own session, fewer rights, a life tied to the parent's.

Usage: launch.py DEATH_SIGNAL PARENT_PID UID:GID|- PATHS PROGRAM [ARGUMENT ...], PATHS being the number of paths
that must be readable and follow it. Runs isolated (``-I -S``) with only the built-in and C modules: 15 ms.
"""

from __future__ import annotations

import ctypes
import os
import sys

REFUSED = 120
"""The exit status when a step is refused; the reason is one line on stderr."""

_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522
_SIGPIPE, _SIGXFSZ = 13, 25

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    """Prepare this process as the arguments say and become the program."""
    death_signal, parent, user, count, *rest = arguments
    paths, command = rest[: int(count)], rest[int(count) :]
    os.setsid()
    os.umask(0o077)
    os.chdir("/")
    os.closerange(3, 256)
    for number in (_SIGPIPE, _SIGXFSZ):  # Python ignores these, and exec would pass that on
        _libc.signal(number, None)
    if user != "-":
        uid, gid = (int(part) for part in user.split(":"))
        _become(uid, gid, [*paths, command[0]])
    if sys.platform == "linux":
        # after the change of user, which clears it
        _prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != int(parent):
            _refuse("the parent ended before the program started")
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def _become(uid: int, gid: int, paths: list[str]) -> None:
    os.setgroups([])
    os.setgid(gid)
    if sys.platform == "linux":
        # the saved user id stays root, so that this is only a trial
        os.setresuid(uid, uid, 0)
        blocked = _blocked(paths)
        os.setresuid(0, 0, 0)
        if blocked:
            _become_with_search(uid)
    os.setuid(uid)
    if path := _blocked(paths):
        _refuse(f"user {uid} cannot read {path}: a folder above it is closed to others")


def _become_with_search(uid: int) -> None:
    """Change the user but keep the right to pass closed folders; without it nothing is said here.

    The secure bit makes access(2) count the capability too: Postgres finds its own files with it.
    """
    try:
        _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    except OSError:
        return
    os.setuid(uid)
    bit = 1 << _CAP_DAC_READ_SEARCH
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    for right in (bit, 0):
        # effective, permitted, inheritable; then the upper 32 capabilities
        if _libc.capset(header, (ctypes.c_uint32 * 6)(right, right, right, 0, 0, 0)) == 0:
            break
    else:
        _refuse("root's capabilities cannot be dropped")
    if right:
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_READ_SEARCH)


def _blocked(paths: list[str]) -> str | None:
    program = paths[-1]
    for path in paths:
        execute = os.X_OK if path == program or os.path.isdir(path) else 0  # noqa: PTH112 - pathlib costs 5 ms
        if not os.access(path, os.R_OK | execute):
            return path
    return None


def _prctl(option: int, *values: int) -> None:
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)][:4]
    if _libc.prctl(option, *padded) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def _refuse(reason: str) -> None:
    sys.stderr.write(f"launch: {reason}\n")
    sys.stderr.flush()
    os._exit(REFUSED)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        _refuse(str(error))
