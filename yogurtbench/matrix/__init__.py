"""A matrix: read from YAML, validated with positions, and expanded into a plan."""
