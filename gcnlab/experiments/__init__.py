"""Measurements on trained networks: each a module with one command, its cost and its result's type."""
