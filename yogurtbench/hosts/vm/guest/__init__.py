"""What runs in the guest alone: init, and how the guest is put to sleep for the instruction clock."""
