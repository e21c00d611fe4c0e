// The client most Node programs use: openid-client. Same task, same answer as oauth4webapi.mjs.
import * as client from 'openid-client'
import { generateKeyPair, importJWK } from 'jose'

const task = JSON.parse(process.argv[2])
const seen = {}
const key = await importJWK(task.key, task.alg)
const config = await client.discovery(new URL(task.issuer), task.client, undefined,
  client.PrivateKeyJwt({ key, kid: task.key.kid }), { algorithm: 'oauth2', execute: [client.allowInsecureRequests] })
const DPoP = client.getDPoPHandle(config, await generateKeyPair(task.alg, { extractable: false }))

const token = await client.clientCredentialsGrant(config, { resource: task.resource }, { DPoP })
seen.token = token
seen.introspection = await client.tokenIntrospection(config, token.access_token)
const call = async ({ method, url, body }) => {
  try {
    const headers = new Headers(body ? { 'content-type': 'application/json' } : {})
    const res = await client.fetchProtectedResource(config, token.access_token, new URL(url), method, body, headers, { DPoP })
    return { status: res.status, body: await res.text() }
  } catch (err) {
    if (err.code !== 'OAUTH_WWW_AUTHENTICATE_CHALLENGE') throw err
    return { status: err.status, challenge: err.cause }
  }
}
seen.calls = []
for (const c of task.calls) seen.calls.push(await call(c))
await client.tokenRevocation(config, token.access_token)
seen.afterRevocation = {
  introspection: await client.tokenIntrospection(config, token.access_token),
  call: await call(task.calls[0]),
}
console.log(JSON.stringify(seen))
