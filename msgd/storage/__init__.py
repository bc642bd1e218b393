"""One schema, several databases behind one interface."""
