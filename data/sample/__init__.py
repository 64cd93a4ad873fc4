"""Made-up gateway traffic with a known truth; with ``data`` on the path: ``from sample.stream import generate``."""
