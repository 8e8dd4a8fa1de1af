"""Every way out against every layer: what is blocked has no effect, and what is said to pass does pass."""

from __future__ import annotations

import pytest
from tests.guard.egress.probes import PROBES, Probe
from tests.guard.egress.world import World, need_kernel, soon

from valhalla.guard.egress import Layer, SealTimeout, sealed

COLUMNS = {
    "L2": [Layer.PROTOCOL],
    "L3": [Layer.AUDIT],
    "L4": [Layer.KERNEL],
    "all": list(Layer),
}
CASES = [
    pytest.param(probe, layers, verdict, id=f"{probe.name}-{column}")
    for probe in PROBES
    for (column, layers), verdict in zip(COLUMNS.items(), probe.verdicts, strict=True)
]


@pytest.fixture(autouse=True)
def _quiet_fork(recwarn: pytest.WarningsRecorder) -> None:
    del recwarn


@pytest.mark.parametrize(("probe", "layers", "verdict"), CASES)
def test_a_way_out(world: World, probe: Probe, layers: list[Layer], verdict: str) -> None:
    if Layer.KERNEL in layers:
        need_kernel()
    if layers == [Layer.KERNEL]:
        world.patience = 0.3
    way = probe.prepare(world)
    raised: BaseException | None = None
    with sealed(layers=layers) as seal:
        try:
            # a client that has to be rescued by the deadline need not have a long one
            seal.run(way.attempt, deadline=0.5 if verdict == "h" else 20) if Layer.KERNEL in layers else way.attempt()
        except Exception as error:  # noqa: BLE001 - libraries wrap it in their own
            raised = error

    if verdict == "p":
        assert raised is None
        assert soon(way.arrived)
        return
    assert not way.arrived()
    assert isinstance(raised, SealTimeout) == (verdict == "h"), raised
    # the kernel tells nobody but the caller, and system() tells its caller by a number
    if layers != [Layer.KERNEL]:
        assert raised is not None
    if layers not in ([Layer.KERNEL], list(Layer)):
        assert [attempt.layer for attempt in seal.blocked] != []
