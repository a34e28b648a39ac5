"""Steps: what the rules run, one module each."""
