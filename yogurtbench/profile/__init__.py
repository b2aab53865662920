"""Where the instructions of a round trip go: a recording of the emulator's, made into a profile."""
