"""``valhalla mcp``: what agents may do here, over the Model Context Protocol."""
