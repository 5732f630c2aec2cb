// Why nothing was done: decisions that led to no execution, counted by kind and by the check that said no.
// Parameters: change the number of days in the first line. Returns: kind, check, how often, an example in words.
WITH 7 AS days
MATCH (d:Decision)
WHERE d.last_seen > datetime() - duration({days: days}) AND NOT d.kind IN ['permit', 'joined']
RETURN d.kind AS kind, d.check AS check, count(*) AS decisions, sum(d.repeat_count) AS inputs,
       head(collect(d.message)) AS example, head(collect(d.id)) AS decision
ORDER BY decisions DESC
