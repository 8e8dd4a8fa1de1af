"""The control plane's features, each an identical slice."""
