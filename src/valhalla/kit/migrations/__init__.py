"""The schema's history: one file per step, plain SQL, independent of the code's tables."""
