// Verifies an access token against the published keys with jose, and tries to
// make it accept what it must not. Prints the header and the claims.
import { createRemoteJWKSet, jwtVerify } from 'jose'

const task = JSON.parse(process.argv[2])
const as = await (await fetch(task.issuer + '/.well-known/oauth-authorization-server')).json()
const keys = createRemoteJWKSet(new URL(as.jwks_uri))
const want = { issuer: task.issuer, audience: task.resource, typ: 'at+jwt', algorithms: ['EdDSA', 'Ed25519'],
  requiredClaims: ['sub', 'client_id', 'iat', 'exp', 'jti'] }
const { protectedHeader, payload } = await jwtVerify(task.token, keys, want)

const refused = []
const flipped = task.token.slice(0, -10) + (task.token.at(-10) === 'A' ? 'B' : 'A') + task.token.slice(-9)
for (const [name, token, options] of [
  ['signature', flipped, want],
  ['audience', task.token, { ...want, audience: task.resource + 'x' }],
  ['expired', task.token, { ...want, currentDate: new Date((payload.exp + 1) * 1000) }],
]) {
  await jwtVerify(token, keys, options).then(() => {}, () => refused.push(name))
}
const jwks = await (await fetch(as.jwks_uri)).json()
console.log(JSON.stringify({ header: protectedHeader, claims: payload, refused, private: jwks.keys.filter((k) => 'd' in k).length }))
