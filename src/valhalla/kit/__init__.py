"""Machinery that knows libraries but no feature."""
