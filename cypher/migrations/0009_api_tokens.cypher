// API tokens are found by their public id.
// Parameters: none. Returns: nothing.
CREATE CONSTRAINT rootmend_api_token_id IF NOT EXISTS FOR (n:ApiToken) REQUIRE n.id IS UNIQUE;
CREATE INDEX rootmend_api_token_scope IF NOT EXISTS FOR (n:ApiToken) ON (n.scope);
