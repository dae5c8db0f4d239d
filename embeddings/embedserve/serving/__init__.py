"""What a server process is beside HTTP: loaded models and their use, admission, clean-up, its state."""
