"""Helpers that are independent of the experiment."""
