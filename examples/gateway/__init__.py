"""A gateway to two toy models over every protocol that the edge meters: what an API of one's own would look like."""
