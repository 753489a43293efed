"""The commands: options in, Python functions called, text or JSON out."""
