"""The same work as a competent user would write it, without this project; each module is a program of its own."""
