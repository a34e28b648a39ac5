"""Where tilt series come from: one module for each program that aligned them, found by its `SOURCE`."""
