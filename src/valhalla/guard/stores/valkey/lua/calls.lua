-- calls: the requests of callers who came together, one after the other; each has its own answer, an error too. After
-- the lines' number ARGV holds a request and its mark for each of them. What one of them does the next ones find.
local answers = {}
for place = 2, #ARGV, 2 do
  q, mark = cmsgpack.unpack(ARGV[place]), ARGV[place + 1]
  local done, answer = pcall(q[1] == 1 and begin or cas)
  answers[#answers + 1] = (done or type(answer) == 'table') and answer or { err = 'ERR ' .. tostring(answer) }
end
-- if this fails all of them do, and are told that they may not have been done
write_charges()
return answers
