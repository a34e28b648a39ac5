"""Preflight: data, set-up, disk and plan, before hours are spent."""
