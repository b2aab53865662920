"""Where trials run: on this kernel (native) or in a guest (vm). A host takes trials and gives attempts as they happen."""
