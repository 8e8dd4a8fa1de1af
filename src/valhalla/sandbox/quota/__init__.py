"""Growth control: how much of the shared servers one sandbox may take, and the watchdog that ends what takes more."""

from valhalla.sandbox.quota.contracts import Excess, QuotaLimits
from valhalla.sandbox.quota.watchdog import Watchdog

__all__ = ["Excess", "QuotaLimits", "Watchdog"]
