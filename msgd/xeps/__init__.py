"""One small module per XEP."""
