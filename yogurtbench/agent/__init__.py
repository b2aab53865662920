"""What runs where the trials run, natively or in the guest: one process that serves requests."""
