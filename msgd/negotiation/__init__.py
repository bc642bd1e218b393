"""A connection becomes an identity: STARTTLS, SASL, binding, stream management."""
