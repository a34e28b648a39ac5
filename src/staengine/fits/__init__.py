"""Fits of CTF, alignment and motion to what particles show."""
