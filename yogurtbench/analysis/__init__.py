"""Statistics over stored results: comparisons, gates, history, budgets. Needs no kernel."""
