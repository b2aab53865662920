"""A Debian guest in QEMU, all in RAM: its image, its accelerator, and the machine it makes."""
