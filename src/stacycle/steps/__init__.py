"""Steps: one module each, with all that is known of a step; `registry` finds them.

Beside them: `step` (the record that each module holds), `sizes` (what it writes), `dry_run` (what it will run).
"""
