"""What a study is: its settings, its grid of runs, and its run folders. No TensorFlow is needed."""
