"""Links to other servers: two msgd, and real Prosody and ejabberd, in a small internet of their own."""
