"""How well each particle's images agree with a map that they had no part in."""
