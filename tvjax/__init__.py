"""X-ray images without their noise, and without a knob to turn."""
