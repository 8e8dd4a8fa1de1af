"""L4: Linux' own refusal, for one thread and what it starts."""
