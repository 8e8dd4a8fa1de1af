"""Disposable, enforced slices of real infrastructure."""
