"""A run from beginning to end: a host, a sweep, progress, a report."""
