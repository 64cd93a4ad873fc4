"""``spark-submit --py-files CODE.zip submit_build.py --store URL``: parse what has landed and build its hours."""

from __future__ import annotations

import sys

from jobs import stages
from jobs.spark.submitted import main

if __name__ == "__main__":
    sys.exit(main(stages.build, __doc__))
