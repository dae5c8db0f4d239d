"""Optimizing: an int8 model made from a float32 one, judged before it is installed. Only one command enters here."""
