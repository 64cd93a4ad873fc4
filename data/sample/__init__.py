"""Made-up gateway traffic with a known truth: put the folder ``data`` on the path, then ``from sample.stream import generate``."""
