// Token exchange (RFC 8693) with openid-client: an agent acts on behalf of a person, and is told when it may not.
import * as client from 'openid-client'
import { generateKeyPair, importJWK } from 'jose'

const task = JSON.parse(process.argv[2])
const key = await importJWK(task.key, task.alg)
const config = await client.discovery(new URL(task.issuer), task.client, undefined,
  client.PrivateKeyJwt({ key, kid: task.key.kid }), { algorithm: 'oauth2', execute: [client.allowInsecureRequests] })
const DPoP = client.getDPoPHandle(config, await generateKeyPair(task.alg, { extractable: false }))
const seen = { advertised: config.serverMetadata().grant_types_supported.includes(task.grant) }

const exchange = (subject_token) => client.genericGrantRequest(config, task.grant,
  { subject_token, subject_token_type: task.kind, resource: task.resource, scope: 'read' }, { DPoP })
const token = await exchange(task.subject)
seen.token = token
const res = await client.fetchProtectedResource(config, token.access_token, new URL(task.url), 'GET', undefined, undefined, { DPoP })
seen.call = { status: res.status, body: await res.text() }
seen.introspection = await client.tokenIntrospection(config, token.access_token)
seen.refused = await exchange(task.wrong).then(() => 'nothing', (err) => err.error)
console.log(JSON.stringify(seen))
