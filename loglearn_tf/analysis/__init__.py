"""Turns finished runs into accuracies, comparisons and reports. No TensorFlow is needed."""
