"""Real forward passes, counted: the calculator's claim to truth."""
