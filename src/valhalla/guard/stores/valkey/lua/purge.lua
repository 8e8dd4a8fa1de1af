-- purge: drop results that are over; rows go by themselves. q is { ledger, limit }.
return sweep(q[2])
