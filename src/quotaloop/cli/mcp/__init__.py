"""The server that assistants ask: the calls of the command line over the Model Context Protocol."""
