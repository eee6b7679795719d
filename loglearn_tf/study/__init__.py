"""What a study is: its settings, its grid of runs, and the folders that finished runs leave; no TensorFlow."""
