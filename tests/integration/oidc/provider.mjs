// A certified OpenID provider for the tests. Whoever types a login in is that user; their claims come from USERS.
// Environment: MODULES (folder with node_modules), PORT, USERS (claims by login), KEY (private RSA key as JWK).
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const from = createRequire(`${process.env.MODULES}/package.json`);
const { default: Provider } = await import(pathToFileURL(from.resolve("oidc-provider")));
const users = JSON.parse(process.env.USERS);
const issuer = `http://127.0.0.1:${process.env.PORT}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "rootmend",
      token_endpoint_auth_method: "none",
      application_type: "native",
      redirect_uris: ["http://127.0.0.1/callback"],
      grant_types: ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
      response_types: ["code"],
    },
    {
      client_id: "another-service",
      token_endpoint_auth_method: "none",
      application_type: "native",
      redirect_uris: ["http://127.0.0.1/callback"],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  jwks: { keys: [JSON.parse(process.env.KEY)] },
  cookies: { keys: ["only-for-tests"] },
  claims: { openid: ["sub"], profile: ["name"], email: ["email", "email_verified"], groups: ["groups"] },
  scopes: ["openid", "offline_access", "profile", "email", "groups"],
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...users[id] }) }),
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo: () => ({
        scope: "groups",
        audience: "urn:rootmend",
        accessTokenFormat: "jwt",
        accessTokenTTL: 600,
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  extraTokenClaims: (_, token) => ({ groups: users[token.accountId]?.groups }),
});
provider.listen(Number(process.env.PORT), "127.0.0.1", () => console.log("ready"));
