"""Who is let in, and what happens to those who should not be here."""
