"""Trained networks as models for use elsewhere."""
