// A resource server elsewhere: verifies an access token with jose, and reads in the status list that it names
// whether it is still good (draft-ietf-oauth-status-list). The list is asked for at each of the addresses given.
import { inflateSync } from 'node:zlib'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const task = JSON.parse(process.argv[2])
const keys = createRemoteJWKSet(new URL(task.at[0] + '/oauth/jwks'))
const { payload } = await jwtVerify(task.token, keys, { issuer: task.issuer, audience: task.resource, typ: 'at+jwt', algorithms: ['EdDSA'] })
const { idx, uri } = payload.status.status_list
const seen = []
for (const at of task.at) {
  const res = await fetch(uri.replace(task.issuer, at), { headers: { accept: 'application/statuslist+jwt' } })
  const list = await jwtVerify(await res.text(), keys, { subject: uri, typ: 'statuslist+jwt', algorithms: ['EdDSA'], requiredClaims: ['iat', 'exp', 'ttl'] })
  const { bits, lst } = list.payload.status_list
  const packed = inflateSync(Buffer.from(lst, 'base64url'))
  const perByte = 8 / bits
  seen.push({ status: (packed[Math.floor(idx / perByte)] >> ((idx % perByte) * bits)) & ((1 << bits) - 1), ttl: list.payload.ttl, places: packed.length * perByte,
    set: packed.reduce((n, b) => n + b.toString(2).replaceAll('0', '').length, 0), type: res.headers.get('content-type'), cache: res.headers.get('cache-control') })
}
console.log(JSON.stringify({ seen, uri }))
