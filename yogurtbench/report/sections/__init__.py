"""Each part of a report as plain data: no markup, no drawing."""
