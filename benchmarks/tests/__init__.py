"""What the measuring itself promises: `pytest benchmarks`."""
