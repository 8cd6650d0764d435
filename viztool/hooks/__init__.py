"""Capture what layers put out, safely: the core that all other rooms stand on."""
