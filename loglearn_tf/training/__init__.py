"""One run: from patches to a trained network and its scored clips."""
