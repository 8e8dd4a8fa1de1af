"""What users' tests may import; each part stands alone and needs no control plane."""
