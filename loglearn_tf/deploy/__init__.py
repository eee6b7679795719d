"""Trained networks as models to use elsewhere."""
