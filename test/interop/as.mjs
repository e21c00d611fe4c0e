// as.mjs {host, port, resource, life, client}: npm's oidc-provider as the authorization server of an upstream. It lets clients
// register, rotates refresh tokens, and tells on stdout what it does. POST /test/forget ends all that it gave.
import Provider from "oidc-provider";

const { host, port, resource, life, client } = JSON.parse(process.argv[2]);
const issuer = `http://${host}:${port}`;
const say = (...words) => console.log(...words);
const grants = new Set();

const provider = new Provider(issuer, {
  clients: [
    { client_id: "introspector", client_secret: "introspector-secret", redirect_uris: [], response_types: [], grant_types: [] },
    { client_id: "ours", client_secret: client.secret, redirect_uris: [client.redirect], application_type: "native", grant_types: ["authorization_code", "refresh_token"] },
  ],
  scopes: ["openid", "offline_access", "contacts"],
  features: {
    devInteractions: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, asked) => {
        if (asked !== resource) throw new Error("unknown resource " + asked);
        return { scope: "notes", accessTokenFormat: "opaque", accessTokenTTL: life };
      },
    },
  },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async (_, c) => c.grantTypeAllowed("refresh_token"),
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  ttl: { AccessToken: life, AuthorizationCode: 60, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
  cookies: { keys: ["of a test"] },
});

provider.on("grant.success", (ctx) => {
  grants.add(ctx.oidc.entities.Grant?.jti);
  say("grant", ctx.oidc.params.grant_type, ctx.oidc.entities.Account?.accountId);
});
provider.on("grant.error", (ctx, err) => say("refused", ctx.oidc.params?.grant_type, err.message, err.error_detail ?? ""));
provider.on("refresh_token.destroyed", () => say("destroyed refresh_token"));
provider.on("registration_create.success", () => say("registered"));
provider.on("server_error", (_, err) => say("error", err.stack));
provider.use(async (ctx, next) => {
  if (ctx.method === "POST" && ctx.path === "/token/revocation") say("asked to revoke");
  if (ctx.method !== "POST" || ctx.path !== "/test/forget") return next();
  for (const id of grants) {
    await provider.RefreshToken.revokeByGrantId(id);
    await provider.AccessToken.revokeByGrantId(id);
  }
  ctx.status = 204;
});
provider.listen(port, "127.0.0.1", () => say("ready"));
