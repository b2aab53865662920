"""The plan: which trials run, how long they take, what they can decide. Pure."""
