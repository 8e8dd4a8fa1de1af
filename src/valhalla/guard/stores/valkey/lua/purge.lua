-- purge: drop what is over. q is { ledger, limit }.
return sweep(q[2])
