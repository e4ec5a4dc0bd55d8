"""Files: run directories, checkpoints, collections, and who may write them."""
