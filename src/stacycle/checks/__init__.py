"""Checks of what goes into a program and of what comes out."""
