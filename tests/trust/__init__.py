"""What strangers may try, where a transcript cannot say it: many inputs at once, and defects of our own."""
