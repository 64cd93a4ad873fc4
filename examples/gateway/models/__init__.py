"""Two models small enough to be trained when the gateway starts; that they work is the point, not how well."""
