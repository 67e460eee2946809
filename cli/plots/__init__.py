"""Figures: one module a kind, each drawing a report on a matplotlib figure."""
