"""What can be said of a trained net apart from attacks: limits set by the data, images that fool it, its slopes.

The modules compute and yield; they read no files of runs and print nothing. `robustfw analyze` runs them.
"""
