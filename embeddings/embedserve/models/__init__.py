"""Models: what is known (`catalog`), where weights come from (`sources`), tokenizers and strict loading."""
