"""Decisions: what depends on results, made by a rule that says why, or by a person in the config.

Each is a pure function from tables (and maps) to a `Decision`. Why the rules are these: docs/decisions-evidence.md.
"""
