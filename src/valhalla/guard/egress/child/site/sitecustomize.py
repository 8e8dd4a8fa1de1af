"""Runs at the start of every Python program in a sealed process; then the one that it stands in front of, if any."""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

try:
    from valhalla.guard.egress.child.process import seal_process
except ImportError:
    # another environment: the kernel's layer holds it all the same
    pass
else:
    seal_process()

_here = str(Path(__file__).parent)
_spec = importlib.machinery.PathFinder.find_spec("sitecustomize", [p for p in sys.path if p != _here])
if _spec is not None and _spec.loader is not None:
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["sitecustomize"] = _module
    _spec.loader.exec_module(_module)
