"""What killed programs leave is swept by the next; what lives is not touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from valhalla.sandbox.local import local
from valhalla.sandbox.local.folders import Folder, sweep


def program(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], stdout=subprocess.PIPE, text=True
    )


HOLD = """
    import sys, time
    from valhalla.sandbox import local
    box = local(path=sys.argv[1])
    box.connect().execute("INSERT INTO communities (name) VALUES ('a')")
    print(box.path.parent, flush=True)
    time.sleep(60)
"""


def test_the_next_call_removes_what_a_killed_program_left(tmp_path: Path) -> None:
    with program(HOLD, str(tmp_path)) as holder:
        assert holder.stdout is not None
        left = Path(holder.stdout.readline().strip())
        with local(path=tmp_path) as box:
            assert left.is_dir()  # its program lives
            assert box.path is not None
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (left / "db.sqlite-wal").exists()
    with local(path=tmp_path):
        assert not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_forgets_its_box_leaves_nothing(tmp_path: Path) -> None:
    code = "import sys; from valhalla.sandbox import local; box = local(path=sys.argv[1]); box.connect(); sys.exit(3)"
    with program(code, str(tmp_path)) as forgetful:
        assert forgetful.wait() == 3
    assert list(tmp_path.iterdir()) == []


def test_a_fork_does_not_end_its_parents_box(tmp_path: Path) -> None:
    with local(path=tmp_path) as box:
        child = os.fork()
        if child == 0:
            try:
                box.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert box.path is not None
        assert box.path.exists()
        assert box.connect().execute("SELECT count(*) FROM communities").fetchone() == (0,)


def test_a_reused_process_id_does_not_protect_a_leftover(tmp_path: Path) -> None:
    left = tmp_path / f"vh-box-{os.getpid()}-1-0123456789ab"
    left.mkdir()
    assert sweep(tmp_path) == [left]


def test_a_locked_folder_stays_although_its_process_cannot_be_seen(tmp_path: Path) -> None:
    """As from another container that shares the disk."""
    folder = Folder(tmp_path)
    alien = folder.path.rename(tmp_path / "vh-box-4194305-1-0123456789ab")
    assert sweep(tmp_path) == []
    folder.remove()  # lets go of the lock
    assert sweep(tmp_path) == [alien]


def test_other_folders_and_links_are_left_alone(tmp_path: Path) -> None:
    (victim := tmp_path / "mine").mkdir()
    (tmp_path / "vh-box-notes").mkdir()
    (tmp_path / "vh-box-4194305-1-0123456789ab").symlink_to(victim)
    assert sweep(tmp_path) == []
    assert victim.is_dir()
    assert sweep(tmp_path / "nowhere") == []
