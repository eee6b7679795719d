"""One run: patches in, a trained network and its scored clips out."""
