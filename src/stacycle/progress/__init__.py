"""How far a run has come, from its files alone: so that it can be asked from another terminal, or after a kill."""
