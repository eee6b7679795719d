"""A study carried out: runs given to workers, here or on a cluster."""
