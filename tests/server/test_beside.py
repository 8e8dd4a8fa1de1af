"""Processes beside the control plane: what is missing is said in words, and nothing is left where nothing was."""

from __future__ import annotations

from pathlib import Path

import pytest

from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit import liblog
from valhalla.kit.cellkey import CellKey
from valhalla.server import beside
from valhalla.server.beside import Beside
from valhalla.server.options import ServeOptions


@pytest.fixture(autouse=True)
def _the_log_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own decides how it logs; the one of the tests has decided."""
    monkeypatch.setattr(beside, "configure", lambda **_: None)
    monkeypatch.setattr(liblog, "capture", lambda _: None)


ELSEWHERE = "postgresql://valhalla:wrong@127.0.0.1:9/valhalla"


def test_without_a_control_plane_it_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no control plane runs on") as caught:
        Beside.of(ServeOptions(data_dir=tmp_path / "none", config=None, overrides={}))
    assert "valhalla up" in caught.value.advice
    assert not (tmp_path / "none").exists()


def test_a_cell_key_is_never_made(tmp_path: Path) -> None:
    """Passwords that derive from a new one are nobody's."""
    options = ServeOptions(data_dir=tmp_path / "none", config=None, overrides={"database_url": ELSEWHERE})
    with pytest.raises(Misconfigured, match="there is no cell key") as caught:
        Beside.of(options)
    assert "--data-dir" in caught.value.advice
    assert not (tmp_path / "none").exists()


def test_without_nats_it_says_which_setting_names_it(tmp_path: Path) -> None:
    CellKey.load_or_create(tmp_path / "cell.key")
    options = ServeOptions(data_dir=tmp_path, config=None, overrides={"database_url": ELSEWHERE})
    with pytest.raises(Unavailable, match="no nats_url is set") as caught:
        Beside.of(options)
    assert "VALHALLA_NATS_URL" in caught.value.advice
