"""The wire programs: compiled, attached, counted, traced and detached. Needs root."""
