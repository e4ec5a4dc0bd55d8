"""One script, one question; run as ``python -m benchmarks.<script>``. See README.md."""
