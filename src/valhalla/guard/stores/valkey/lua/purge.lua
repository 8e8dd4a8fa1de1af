-- purge: drop results that are over; rows go by themselves. q is { verb, limit }.
q = cmsgpack.unpack(ARGV[2])
return sweep(q[2])
