// A strict OAuth client that nobody here wrote: oauth4webapi. Reads its task as
// JSON from argv, prints what it saw as JSON.
import * as oauth from 'oauth4webapi'
import { createHash, randomUUID } from 'node:crypto'
import { exportJWK, generateKeyPair, importJWK, SignJWT } from 'jose'

const task = JSON.parse(process.argv[2])
const insecure = { [oauth.allowInsecureRequests]: true } // loopback, no TLS
const seen = {}

const issuer = new URL(task.issuer)
const as = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }),
)
const client = { client_id: task.client }
const key = await importJWK(task.key, task.alg)
const auth = oauth.PrivateKeyJwt({ key, kid: task.key.kid })
const keyPair = await generateKeyPair(task.alg, { extractable: false })
const DPoP = oauth.DPoP(client, keyPair)

async function once(ask) {
  try {
    return await ask()
  } catch (err) {
    if (!oauth.isDPoPNonceError(err)) throw err
    seen.nonces = (seen.nonces ?? 0) + 1 // the server asked for its nonce; the handle has it now
    return ask()
  }
}

const token = await once(async () =>
  oauth.processClientCredentialsResponse(as, client,
    await oauth.clientCredentialsGrantRequest(as, client, auth, { resource: task.resource, ...task.parameters }, { DPoP, ...insecure })))
seen.token = token

const about = async () =>
  oauth.processIntrospectionResponse(as, client,
    await oauth.introspectionRequest(as, client, auth, token.access_token, insecure))
seen.introspection = await about()

const call = async (method, url, body) => {
  const headers = new Headers(body ? { 'content-type': 'application/json' } : {})
  const ask = () => oauth.protectedResourceRequest(token.access_token, method, new URL(url), headers, body, { DPoP, ...insecure })
  try {
    const res = await once(ask)
    return { status: res.status, body: await res.text() }
  } catch (err) {
    if (err instanceof oauth.WWWAuthenticateChallengeError) {
      return { status: err.status, challenge: err.cause }
    }
    throw err
  }
}
seen.calls = []
for (const c of task.calls) seen.calls.push(await call(c.method, c.url, c.body))

// The token and a proof as their receiver must see them (RFC 9068, RFC 9449), checked by code that is not ours.
const url = task.calls[0].url
const proof = await new SignJWT({ htm: 'GET', htu: url, ath: createHash('sha256').update(token.access_token).digest('base64url') })
  .setProtectedHeader({ typ: 'dpop+jwt', alg: task.alg, jwk: await exportJWK(keyPair.publicKey) })
  .setIssuedAt().setJti(randomUUID()).sign(keyPair.privateKey)
const received = (resource, headers) =>
  oauth.validateJwtAccessToken(as, new Request(url, { headers: { authorization: `DPoP ${token.access_token}`, ...headers } }), resource, { requireDPoP: true, ...insecure })
seen.received = (await received(task.resource, { dpop: proof })).sub
seen.notReceived = []
for (const [name, resource, headers] of [['without a proof', task.resource, {}], ['for another resource', task.resource + 'x', { dpop: proof }]]) {
  await received(resource, headers).then(() => {}, () => seen.notReceived.push(name))
}

await oauth.processRevocationResponse(
  await oauth.revocationRequest(as, client, auth, token.access_token, insecure))
seen.afterRevocation = { introspection: await about(), call: await call(task.calls[0].method, task.calls[0].url) }
console.log(JSON.stringify(seen))
