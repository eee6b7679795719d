"""Helpers that know nothing of the experiment."""
