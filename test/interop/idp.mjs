// idp.mjs {host, port, redirect, logout, secret}: npm's oidc-provider as the identity provider that people of an organisation sign in with.
// Whoever calls themselves NAME has NAME@example.com, and is in the group that follows a plus: sec+guards.
import Provider from "oidc-provider";

const { host, port, redirect, logout, secret } = JSON.parse(process.argv[2]);
const provider = new Provider(`http://${host}:${port}`, {
  clients: [{ client_id: "lanyard", client_secret: secret, redirect_uris: [redirect], application_type: "native", response_types: ["code"], grant_types: ["authorization_code"], ...(logout && { backchannel_logout_uri: logout, backchannel_logout_session_required: true }) }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"], groups: ["groups"] },
  scopes: ["openid", "email", "profile", "groups", "offline_access"],
  features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true } },
  fetch: (url, { dispatcher, ...options }) => fetch(url, options), // what refuses this machine is left out
  pkce: { required: () => true },
  findAccount: (_, id) => {
    const [name, group] = id.split("+");
    return { accountId: id, claims: () => ({ sub: id, email: `${name}@example.com`, email_verified: name !== "unsure", name: `${name} of Acme`, groups: group ? [group] : [] }) };
  },
  cookies: { keys: ["of a test"] },
});
provider.on("backchannel.error", (_, err) => console.log("logout refused", err.message, err.cause ?? ""));
provider.on("backchannel.success", () => console.log("logout taken"));
provider.on("server_error", (_, err) => console.log("error", err.stack));
provider.on("grant.error", (_, err) => console.log("refused", err.message, err.error_detail ?? ""));
provider.on("authorization.error", (_, err) => console.log("refused", err.message, err.error_detail ?? ""));
provider.listen(port, "127.0.0.1", () => console.log("ready"));
