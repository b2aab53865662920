"""A run's folder: written while it runs, read back as records and as a dataframe."""
