"""Finished runs to accuracies, comparisons and reports; no TensorFlow."""
