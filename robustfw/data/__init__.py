"""Data: splits of examples, their declared shape and range, and the checks of both."""
