"""The agent: one process where the trials run, natively or in the guest, that serves requests."""
