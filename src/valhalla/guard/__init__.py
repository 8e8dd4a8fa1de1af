"""Any Python callable under one pipeline: dedup, policy, limits, dry-run lock, approvals, retry, ledger."""
