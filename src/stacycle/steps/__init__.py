"""Steps: one module each, with all that is known of a step; `registry` finds them."""
