"""The report: one page with every choice and picture."""
