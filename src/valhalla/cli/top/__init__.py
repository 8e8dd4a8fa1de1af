"""``valhalla top``: the control plane in one terminal."""
