// Inputs that were recognised as repeats, so that nothing was done twice.
// Parameters: change the number of days in the first line. Returns: reason, target, decisions, inputs, suppressed.
WITH 7 AS days
MATCH (d:Decision)
WHERE d.last_seen > datetime() - duration({days: days})
RETURN d.reason AS reason, d.target_key AS target, count(*) AS decisions, sum(d.repeat_count) AS inputs,
       sum(d.repeat_count) - count(*) AS suppressed
ORDER BY suppressed DESC LIMIT 50
