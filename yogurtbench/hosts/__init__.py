"""The hosts that run trials: this kernel (native) or a guest (vm).

A host takes trials and gives attempts as they happen.
"""
