"""Arrays to pictures: uint8 (H, W, 3) RGB from numbers, with numpy and OpenCV alone."""
