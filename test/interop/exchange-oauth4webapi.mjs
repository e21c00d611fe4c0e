// Token exchange (RFC 8693) with oauth4webapi, as strict as it is. Same task, same answer as exchange-openid-client.mjs.
import * as oauth from 'oauth4webapi'
import { generateKeyPair, importJWK } from 'jose'

const task = JSON.parse(process.argv[2])
const insecure = { [oauth.allowInsecureRequests]: true } // loopback, no TLS
const issuer = new URL(task.issuer)
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }))
const client = { client_id: task.client }
const auth = oauth.PrivateKeyJwt({ key: await importJWK(task.key, task.alg), kid: task.key.kid })
const DPoP = oauth.DPoP(client, await generateKeyPair(task.alg, { extractable: false }))
const seen = { advertised: as.grant_types_supported.includes(task.grant) }

const once = async (ask) => {
  try {
    return await ask()
  } catch (err) {
    if (!oauth.isDPoPNonceError(err)) throw err
    return ask()
  }
}
const exchange = (subject_token) => once(async () => oauth.processGenericTokenEndpointResponse(as, client,
  await oauth.genericTokenEndpointRequest(as, client, auth, task.grant,
    { subject_token, subject_token_type: task.kind, resource: task.resource, scope: 'read' }, { DPoP, ...insecure })))
const token = await exchange(task.subject)
seen.token = token
const res = await once(() => oauth.protectedResourceRequest(token.access_token, 'GET', new URL(task.url), new Headers(), undefined, { DPoP, ...insecure }))
seen.call = { status: res.status, body: await res.text() }
seen.introspection = await oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, token.access_token, insecure))
seen.refused = await exchange(task.wrong).then(() => 'nothing', (err) => err.error)
console.log(JSON.stringify(seen))
