"""Charts, as figures and as SVG."""
