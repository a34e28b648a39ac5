"""Diagnosis: why a program failed, and what to do."""
