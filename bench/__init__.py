"""How fast and how big: quotaloop beside yardsticks, on the same data and machine; ``python -m bench``."""
