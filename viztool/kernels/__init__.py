"""What a kernel looks for: its weights, the picture that excites it most, and the photos that do."""
