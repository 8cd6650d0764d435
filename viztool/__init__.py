"""See what a convolutional network sees: on your network, on your photo."""

__version__ = "0.1.0"
