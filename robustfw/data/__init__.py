"""Examples: splits, their declared form and range."""
