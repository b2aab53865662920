"""The parts that every stage uses: records, metrics, errors, processes, paths, words.

Imports no other package of ours.
"""
