"""Files for other programs and other people: Markdown, verdicts, pyperf, the wire catalogue."""
