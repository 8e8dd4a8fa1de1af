"""What one cell can hold and do, and what a fleet of them needs: the numbers that the simulation starts from.

Every constant of ``Measured`` was measured on one two-core virtual machine (PostgreSQL 18.4, Redis 7.0, NATS 2.15,
loopback, fdatasync of 96 µs) with up to 10,000 live sandboxes. ``Assumed`` holds what nobody measured: sizes of
machines, behaviour of users, prices. The prices are placeholders to be replaced, not quotes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Measured:
    """Taken from a machine; units in the names."""

    relations_per_sandbox: int = 20
    disk_kb_per_sandbox: float = 154
    attribute_catalog_kb_per_sandbox: float = 19.5
    wal_kb_per_sandbox: float = 96
    cycles_per_s: float = 153
    """Build + claim + drop, sustained with 10,000 live."""
    build_ms_alone: float = 5.9
    drop_ms_alone: float = 3.0
    claim_ms: float = 1.04
    """Under that churn; p99 8.2 ms."""
    claims_per_s_ceiling: float = 3254
    """Claims over HTTP with a shared commit, 64 callers, from a full pool."""
    valkey_kb_per_user: float = 0.9
    nats_kb_per_account: float = 0.7
    checkpoint_s_per_1000_builds: float = 2.5
    """8-15 s after 4,000-5,000 builds: each brings 20 new files to be synced."""


@dataclass(frozen=True)
class Assumed:
    """Not measured; change them to your own."""

    live: int = 1_000_000
    mean_life_s: float = 900
    cell_live_limit: int = 10_000
    arena_limit: int = 1_000
    headroom: float = 0.25
    """Free places: a dead cell's sandboxes must fit elsewhere, and hashing is never even."""
    rate_share: float = 0.5
    """Part of the sustained rate that may be planned for."""
    tenants: int = 5_000
    tenant_spread: float = 1.5
    """Sigma of the log-normal sizes of tenants; 1.5: the largest has about 100 times the median."""
    pool_floor: int = 200
    fill_pace_per_s: float = 40
    detect_s: float = 3
    """From a cell's death until nobody tries it any more."""
    attempt_s: float = 0.25
    """What a claim loses that tried a dead cell."""
    recreate_s: float = 15
    """Mean time until the owner of a lost sandbox asks for a new one."""
    data_mb_per_sandbox: float = 2
    connected_share: float = 0.02
    backend_mb: float = 8
    shared_buffers_mb: float = 1024
    process_mb: float = 250
    """The goal for a control plane with 10,000 live."""
    cell_vcpus: int = 2
    price_vcpu_month: float = 25.0
    price_gb_ram_month: float = 3.5
    price_gb_disk_month: float = 0.10


@dataclass(frozen=True)
class Plan:
    """A fleet for one ``Assumed``, by arithmetic; ``simulate`` then finds out how it behaves."""

    measured: Measured = field(default_factory=Measured)
    assumed: Assumed = field(default_factory=Assumed)

    @property
    def claims_per_s(self) -> float:
        """Steady state: as many begin as end."""
        return self.assumed.live / self.assumed.mean_life_s

    @property
    def cells_for_live(self) -> int:
        return math.ceil(self.assumed.live * (1 + self.assumed.headroom) / self.assumed.cell_live_limit)

    @property
    def cells_for_rate(self) -> int:
        return math.ceil(self.claims_per_s / (self.measured.cycles_per_s * self.assumed.rate_share))

    @property
    def cells(self) -> int:
        return max(self.cells_for_live, self.cells_for_rate)

    @property
    def slots_per_cell(self) -> float:
        """Live ones and the pool."""
        return self.assumed.live / self.cells + self.assumed.pool_floor

    @property
    def arenas_per_cell(self) -> int:
        return math.ceil(self.slots_per_cell / self.assumed.arena_limit)

    @property
    def build_s(self) -> float:
        """Share of a sustained cycle that goes into building, in the proportion of the two alone."""
        alone = self.measured.build_ms_alone + self.measured.drop_ms_alone
        return self.measured.build_ms_alone / alone / self.measured.cycles_per_s

    @property
    def drop_s(self) -> float:
        return 1 / self.measured.cycles_per_s - self.build_s

    @property
    def cell_disk_gb(self) -> float:
        own = self.measured.disk_kb_per_sandbox + self.measured.attribute_catalog_kb_per_sandbox
        return self.slots_per_cell * (own / 1e6 + self.assumed.data_mb_per_sandbox / 1e3)

    @property
    def cell_memory_gb(self) -> float:
        a, m = self.assumed, self.measured
        backends = self.slots_per_cell * a.connected_share * a.backend_mb
        users = self.slots_per_cell * (m.valkey_kb_per_user + m.nats_kb_per_account) / 1e3
        return (a.shared_buffers_mb + backends + users + a.process_mb) / 1e3

    @property
    def arena_relations(self) -> int:
        """Rows of ``pg_class`` that a scan of one arena reads."""
        return self.assumed.arena_limit * self.measured.relations_per_sandbox

    @property
    def cell_files(self) -> float:
        return self.slots_per_cell * self.measured.relations_per_sandbox

    @property
    def cell_wal_mb_per_s(self) -> float:
        return self.claims_per_s / self.cells * self.measured.wal_kb_per_sandbox / 1e3

    @property
    def checkpoint_share(self) -> float:
        """Part of all time in which a checkpoint syncs the files of new sandboxes; 1 or more does not work."""
        return self.claims_per_s / self.cells / 1000 * self.measured.checkpoint_s_per_1000_builds

    def processes(self, claims_per_s: float) -> int:
        """Control-plane processes of two cores, each at half of the rate that was measured."""
        return math.ceil(claims_per_s / (self.measured.claims_per_s_ceiling * self.assumed.rate_share))

    @property
    def cost_month(self) -> float:
        a = self.assumed
        cell = a.cell_vcpus * a.price_vcpu_month + math.ceil(self.cell_memory_gb) * a.price_gb_ram_month
        return self.cells * (cell + self.cell_disk_gb * a.price_gb_disk_month)

    @property
    def cost_per_1000_sandbox_hours(self) -> float:
        return self.cost_month / (self.assumed.live * 730) * 1000
