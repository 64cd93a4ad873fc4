"""Events of a gateway on their way out: a line each, numbered, on disk before anything else."""
