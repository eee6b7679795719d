"""Execution of a study: runs are distributed to workers, on this machine or on a cluster."""
